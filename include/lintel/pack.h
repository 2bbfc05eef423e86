/*
 * pack: struct-style formats <-> bytes, values, and inline accessors for single integers.
 *
 * The format language is CPython's `struct` (docs.python.org/3/library/struct.html) and `T`/`t`, 24
 * bits without and with sign, in the standard orders. This room does no I/O and touches only the
 * memory it is given.
 */
#ifndef LINTEL_PACK_H
#define LINTEL_PACK_H

#include "lintel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- values ---------------------------------------------------------------------------------- */

enum lintel_kind {
    LINTEL_UINT,  /* as.u */
    LINTEL_INT,   /* as.i */
    LINTEL_FLOAT, /* as.f */
    LINTEL_BYTES  /* as.bytes and size */
};

/* One value on its way into or out of bytes. Whoever makes one of kind LINTEL_BYTES owns them. */
struct lintel_value {
    enum lintel_kind kind;
    size_t size; /* of as.bytes; else 0 */
    union {
        uint64_t u;
        int64_t i;
        double f;
        const void *bytes;
    } as;
};

/* A value that is an unsigned integer. */
static inline struct lintel_value lintel_uint(uint64_t u)
{
    struct lintel_value value;
    value.kind = LINTEL_UINT;
    value.size = 0;
    value.as.u = u;
    return value;
}

/* A value that is a signed integer. */
static inline struct lintel_value lintel_int(int64_t i)
{
    struct lintel_value value;
    value.kind = LINTEL_INT;
    value.size = 0;
    value.as.i = i;
    return value;
}

/* A value that is a floating-point number. */
static inline struct lintel_value lintel_float(double f)
{
    struct lintel_value value;
    value.kind = LINTEL_FLOAT;
    value.size = 0;
    value.as.f = f;
    return value;
}

/* A value that is a byte string; keeps the pointer for as long as the value is used. */
static inline struct lintel_value lintel_bytes(const void *bytes, size_t size)
{
    struct lintel_value value;
    value.kind = LINTEL_BYTES;
    value.size = size;
    value.as.bytes = bytes;
    return value;
}

#ifdef __cplusplus
}
#endif
#endif
