/*
 * pack: struct-style formats <-> bytes, values, and inline accessors for single numbers.
 *
 * The format language is CPython's `struct` (docs.python.org/3/library/struct.html), whole: the
 * same sizes, bytes and refusals. Besides it there are `T` and `t`, 24 bits without and with sign,
 * in the standard orders; and `0p` is an empty value in both directions.
 *
 *     lintel_pack(out, sizeof out, &error, "!HBBI", 0x4C54, 1, flags, length)   types are known
 *     lintel_format_pack(format, out, sizeof out, values, 4, &error)            compiled once
 *     lintel_put_u32be(out + 4, length)                                         one swap, one store
 *
 * This room does no I/O and touches only the memory it is given.
 */
#ifndef LINTEL_PACK_H
#define LINTEL_PACK_H

#include <string.h>

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

/* A value that is a text without its NUL; keeps the pointer as above. NULL is refused when packed.
 */
static inline struct lintel_value lintel_text(const char *text)
{
    return lintel_bytes(text, text != NULL ? strlen(text) : 1);
}

/* ---- formats, compiled once ------------------------------------------------------------------ */

/* A format, parsed and checked. It never changes, and may be shared between threads. */
struct lintel_format;

/*
 * Compile a format.
 *
 * Gives    *out, to be released with lintel_format_free()
 * Returns  LINTEL_OK
 *          LINTEL_E_SYNTAX  the text is not a format, or its size is over PTRDIFF_MAX; error->at is
 *                           the column
 *          LINTEL_E_NOMEM
 *          LINTEL_E_USAGE   out or text is NULL
 * Copies   text. Keeps allocator (NULL: malloc and free) until lintel_format_free().
 */
LINTEL_API LINTEL_MUST_USE int lintel_format_new(struct lintel_format **out, const char *text,
                                                 const struct lintel_allocator *allocator,
                                                 struct lintel_error *error);

/* Release a format. NULL is left alone. */
LINTEL_API
void lintel_format_free(struct lintel_format *format);

/* Bytes that it packs to; 0 for NULL. */
LINTEL_API
size_t lintel_format_size(const struct lintel_format *format);

/* How many values it takes; 0 for NULL. */
LINTEL_API
size_t lintel_format_count(const struct lintel_format *format);

/* The code of the value of that index ('H', 's', ...); NUL past the last one, and for NULL. */
LINTEL_API
char lintel_format_code(const struct lintel_format *format, size_t index);

/*
 * Pack values into out, padding as zeros. An integer code takes LINTEL_UINT and LINTEL_INT, a
 * floating-point code any number, `?` anything (true unless 0 or empty), `c` one byte, `s` and `p`
 * bytes, which are cut or filled with zeros to their width. A NaN keeps its sign, and of the bits
 * behind its exponent as many as there is room for.
 *
 * Returns  LINTEL_OK, lintel_format_size() bytes were written
 *          LINTEL_E_COUNT  count is not the number of values
 *          LINTEL_E_SPACE  capacity is below lintel_format_size()
 *          LINTEL_E_RANGE  a value does not fit, or is of the wrong kind; the text names it by its
 *                          number from 1, and error->at is the column of its code. What is in out
 *                          is not specified
 *          LINTEL_E_USAGE  a NULL
 * Borrows  values and what they point to, which may not overlap out
 */
LINTEL_API LINTEL_MUST_USE int lintel_format_pack(const struct lintel_format *format, void *out,
                                                  size_t capacity,
                                                  const struct lintel_value *values, size_t count,
                                                  struct lintel_error *error);

/*
 * Unpack bytes into values: LINTEL_UINT for unsigned codes, `P` and `?` (0 or 1), LINTEL_INT for
 * signed ones, LINTEL_FLOAT, and LINTEL_BYTES for `c`, `s` and `p`. They pack to the same bytes
 * again; the bits of a NaN are in as.u, where no floating-point register has touched them.
 *
 * Returns  LINTEL_OK
 *          LINTEL_E_COUNT  count is not the number of values
 *          LINTEL_E_SPACE  size is not lintel_format_size()
 *          LINTEL_E_USAGE  a NULL
 * Lends    values of kind LINTEL_BYTES point into bytes
 */
LINTEL_API LINTEL_MUST_USE int lintel_format_unpack(const struct lintel_format *format,
                                                    struct lintel_value *values, size_t count,
                                                    const void *bytes, size_t size,
                                                    struct lintel_error *error);

/* ---- formats, used once ---------------------------------------------------------------------- */

/*
 * How many bytes a format packs to.
 *
 * Returns  as lintel_format_new(); it allocates nothing
 */
LINTEL_API LINTEL_MUST_USE int lintel_calcsize(size_t *size, const char *format,
                                               struct lintel_error *error);

/* Where lintel_unpack() stores a value: a pointer, and the type that it points to. */
enum lintel_target_type {
    LINTEL_TO_UINT,    /* an unsigned integer of that size */
    LINTEL_TO_INT,     /* a signed integer of that size */
    LINTEL_TO_BOOL,    /* _Bool */
    LINTEL_TO_FLOAT,   /* float or double */
    LINTEL_TO_TEXT,    /* const char * */
    LINTEL_TO_POINTER, /* void * */
    LINTEL_TO_VALUE    /* struct lintel_value */
};
struct lintel_target {
    void *to;
    size_t size; /* bytes of *to */
    enum lintel_target_type type;
};

/* What lintel_pack() calls. As lintel_format_new() and lintel_format_pack(), without allocating;
 * here `c` takes an integer from -128 to 255 too. */
LINTEL_API LINTEL_MUST_USE int lintel_pack_values(void *out, size_t capacity, const char *format,
                                                  const struct lintel_value *values, size_t count,
                                                  struct lintel_error *error);

/* What lintel_unpack() calls; there it is described. */
LINTEL_API LINTEL_MUST_USE int lintel_unpack_targets(const struct lintel_target *targets,
                                                     size_t count, const void *bytes, size_t size,
                                                     const char *format,
                                                     struct lintel_error *error);

#ifndef __cplusplus
/*
 * Pack arguments whose types the compiler knows, at most 32 of them:
 *
 *     lintel_pack(void *out, size_t capacity, struct lintel_error *error, const char *format, ...)
 *
 * An argument is of any integer type (_Bool and char too; a bit-field as +field, since not every
 * compiler selects by it), float, double, char * or const char * (a text without its NUL), void *
 * (for `P`), or struct lintel_value (for bytes). Any other type does not compile. A char, or any
 * integer from -128 to 255, will do for `c`. Arguments are evaluated once; nothing is allocated;
 * error may be NULL.
 *
 * Returns  as lintel_format_new() and lintel_format_pack()
 */
#define lintel_pack(out, capacity, error, ...)                                                   \
    lintel_pack_values(                                                                          \
        (out), (capacity), LINTELP_FIRST(__VA_ARGS__, 0),                                        \
        (const struct lintel_value[]){lintel_uint(0) LINTELP_EACH(LINTELP_VALUE, __VA_ARGS__)} + \
            1,                                                                                   \
        LINTELP_COUNT(__VA_ARGS__), (error))

/*
 * Unpack into the variables that the arguments point to, at most 32 of them:
 *
 *     lintel_unpack(const void *bytes, size_t size, struct lintel_error *error,
 *                   const char *format, ...)
 *
 * An argument points to any integer type, float, double, void * (for `P`), struct lintel_value
 * (takes anything; bytes are lent from the input), or const char *, which is set to a text inside
 * of the input where that is safe: its field ends in a NUL and has nothing but NULs from the first
 * one on. `c` goes into any integer, a character type keeps its bits. A number that the variable
 * cannot hold exactly is refused: 300 in a uint8_t, 2 in a _Bool, a double in a float that would
 * round it, a fraction in an int.
 *
 * Returns  LINTEL_OK
 *          LINTEL_E_SYNTAX, LINTEL_E_COUNT, LINTEL_E_SPACE, LINTEL_E_USAGE
 *                          as lintel_format_new() and lintel_format_unpack()
 *          LINTEL_E_RANGE  a value does not fit its variable; the text names it by its number
 *                          from 1
 *          After an error no variable has been written.
 */
#define lintel_unpack(bytes, size, error, ...)                                                   \
    lintel_unpack_targets((const struct lintel_target[]){{NULL, 0, LINTEL_TO_UINT} LINTELP_EACH( \
                              LINTELP_TARGET, __VA_ARGS__)} +                                    \
                              1,                                                                 \
                          LINTELP_COUNT(__VA_ARGS__), (bytes), (size),                           \
                          LINTELP_FIRST(__VA_ARGS__, 0), (error))

/* How the two see their arguments. An array starts with an element that is not used, so that it is
 * never empty. */
static inline struct lintel_value lintelp_same(struct lintel_value value)
{
    return value;
}

static inline struct lintel_value lintelp_pointer(const void *pointer)
{
    return lintel_uint((uint64_t)(uintptr_t)pointer);
}

#define LINTELP_VALUE(x) \
    _Generic((x),                                                                                  \
        _Bool: lintel_uint,                                                                        \
        char: lintel_int,                                                                          \
        signed char: lintel_int,                                                                   \
        unsigned char: lintel_uint,                                                                \
        short: lintel_int,                                                                         \
        unsigned short: lintel_uint,                                                               \
        int: lintel_int,                                                                           \
        unsigned int: lintel_uint,                                                                 \
        long: lintel_int,                                                                          \
        unsigned long: lintel_uint,                                                                \
        long long: lintel_int,                                                                     \
        unsigned long long: lintel_uint,                                                           \
        float: lintel_float,                                                                       \
        double: lintel_float,                                                                      \
        char *: lintel_text,                                                                       \
        const char *: lintel_text,                                                                 \
        void *: lintelp_pointer,                                                                   \
        const void *: lintelp_pointer,                                                             \
        struct lintel_value: lintelp_same)(x)

#define LINTELP_TARGET(x)                        \
    {                                            \
        (x), sizeof *(x), LINTELP_TARGET_TYPE(x) \
    }
#define LINTELP_TARGET_TYPE(x) \
    _Generic((x),                                                                                  \
        _Bool *: LINTEL_TO_BOOL,                                                                   \
        char *: (char)-1 < (char)1 ? LINTEL_TO_INT : LINTEL_TO_UINT,                               \
        signed char *: LINTEL_TO_INT,                                                              \
        unsigned char *: LINTEL_TO_UINT,                                                           \
        short *: LINTEL_TO_INT,                                                                    \
        unsigned short *: LINTEL_TO_UINT,                                                          \
        int *: LINTEL_TO_INT,                                                                      \
        unsigned int *: LINTEL_TO_UINT,                                                            \
        long *: LINTEL_TO_INT,                                                                     \
        unsigned long *: LINTEL_TO_UINT,                                                           \
        long long *: LINTEL_TO_INT,                                                                \
        unsigned long long *: LINTEL_TO_UINT,                                                      \
        float *: LINTEL_TO_FLOAT,                                                                  \
        double *: LINTEL_TO_FLOAT,                                                                 \
        const char **: LINTEL_TO_TEXT,                                                             \
        void **: LINTEL_TO_POINTER,                                                                \
        struct lintel_value *: LINTEL_TO_VALUE)

#define LINTELP_FIRST(first, ...) first
#define LINTELP_JOIN(a, b)        LINTELP_JOIN_(a, b)
#define LINTELP_JOIN_(a, b)       a##b
/* How many arguments follow the first one. */
#define LINTELP_COUNT(...)                                                                        \
    LINTELP_PICK(__VA_ARGS__, 32, 31, 30, 29, 28, 27, 26, 25, 24, 23, 22, 21, 20, 19, 18, 17, 16, \
                 15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0, 0)
#define LINTELP_PICK(_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11, _12, _13, _14, _15, _16, \
                     _17, _18, _19, _20, _21, _22, _23, _24, _25, _26, _27, _28, _29, _30, _31, \
                     _32, n, ...)                                                               \
    n
/* f of every argument after the first, each behind a comma. */
#define LINTELP_EACH(f, ...) LINTELP_JOIN(LINTELP_EACH_, LINTELP_COUNT(__VA_ARGS__))(f, __VA_ARGS__)
#define LINTELP_EACH_0(f, x)
#define LINTELP_EACH_1(f, x, a)       , f(a)
#define LINTELP_EACH_2(f, x, a, ...)  , f(a) LINTELP_EACH_1(f, x, __VA_ARGS__)
#define LINTELP_EACH_3(f, x, a, ...)  , f(a) LINTELP_EACH_2(f, x, __VA_ARGS__)
#define LINTELP_EACH_4(f, x, a, ...)  , f(a) LINTELP_EACH_3(f, x, __VA_ARGS__)
#define LINTELP_EACH_5(f, x, a, ...)  , f(a) LINTELP_EACH_4(f, x, __VA_ARGS__)
#define LINTELP_EACH_6(f, x, a, ...)  , f(a) LINTELP_EACH_5(f, x, __VA_ARGS__)
#define LINTELP_EACH_7(f, x, a, ...)  , f(a) LINTELP_EACH_6(f, x, __VA_ARGS__)
#define LINTELP_EACH_8(f, x, a, ...)  , f(a) LINTELP_EACH_7(f, x, __VA_ARGS__)
#define LINTELP_EACH_9(f, x, a, ...)  , f(a) LINTELP_EACH_8(f, x, __VA_ARGS__)
#define LINTELP_EACH_10(f, x, a, ...) , f(a) LINTELP_EACH_9(f, x, __VA_ARGS__)
#define LINTELP_EACH_11(f, x, a, ...) , f(a) LINTELP_EACH_10(f, x, __VA_ARGS__)
#define LINTELP_EACH_12(f, x, a, ...) , f(a) LINTELP_EACH_11(f, x, __VA_ARGS__)
#define LINTELP_EACH_13(f, x, a, ...) , f(a) LINTELP_EACH_12(f, x, __VA_ARGS__)
#define LINTELP_EACH_14(f, x, a, ...) , f(a) LINTELP_EACH_13(f, x, __VA_ARGS__)
#define LINTELP_EACH_15(f, x, a, ...) , f(a) LINTELP_EACH_14(f, x, __VA_ARGS__)
#define LINTELP_EACH_16(f, x, a, ...) , f(a) LINTELP_EACH_15(f, x, __VA_ARGS__)
#define LINTELP_EACH_17(f, x, a, ...) , f(a) LINTELP_EACH_16(f, x, __VA_ARGS__)
#define LINTELP_EACH_18(f, x, a, ...) , f(a) LINTELP_EACH_17(f, x, __VA_ARGS__)
#define LINTELP_EACH_19(f, x, a, ...) , f(a) LINTELP_EACH_18(f, x, __VA_ARGS__)
#define LINTELP_EACH_20(f, x, a, ...) , f(a) LINTELP_EACH_19(f, x, __VA_ARGS__)
#define LINTELP_EACH_21(f, x, a, ...) , f(a) LINTELP_EACH_20(f, x, __VA_ARGS__)
#define LINTELP_EACH_22(f, x, a, ...) , f(a) LINTELP_EACH_21(f, x, __VA_ARGS__)
#define LINTELP_EACH_23(f, x, a, ...) , f(a) LINTELP_EACH_22(f, x, __VA_ARGS__)
#define LINTELP_EACH_24(f, x, a, ...) , f(a) LINTELP_EACH_23(f, x, __VA_ARGS__)
#define LINTELP_EACH_25(f, x, a, ...) , f(a) LINTELP_EACH_24(f, x, __VA_ARGS__)
#define LINTELP_EACH_26(f, x, a, ...) , f(a) LINTELP_EACH_25(f, x, __VA_ARGS__)
#define LINTELP_EACH_27(f, x, a, ...) , f(a) LINTELP_EACH_26(f, x, __VA_ARGS__)
#define LINTELP_EACH_28(f, x, a, ...) , f(a) LINTELP_EACH_27(f, x, __VA_ARGS__)
#define LINTELP_EACH_29(f, x, a, ...) , f(a) LINTELP_EACH_28(f, x, __VA_ARGS__)
#define LINTELP_EACH_30(f, x, a, ...) , f(a) LINTELP_EACH_29(f, x, __VA_ARGS__)
#define LINTELP_EACH_31(f, x, a, ...) , f(a) LINTELP_EACH_30(f, x, __VA_ARGS__)
#define LINTELP_EACH_32(f, x, a, ...) , f(a) LINTELP_EACH_31(f, x, __VA_ARGS__)
#endif

/* ---- single numbers -------------------------------------------------------------------------- */

/*
 * lintel_get_u16be(bytes) reads an unsigned 16-bit number in big-endian order, and
 * lintel_put_u16be(bytes, u) writes one: one load or store and at most one swap, at any alignment.
 *
 *     u8  u16be u16le u24be u24le u32be u32le u64be u64le      uintN_t, uint32_t for 24 bits
 *     i8  i16be i16le i24be i24le i32be i32le i64be i64le      intN_t, int32_t for 24 bits
 *         f32be f32le f64be f64le                              float, double
 *
 * The caller sees to it that the bytes are there. Putting 24 bits writes the low ones of the
 * number.
 */
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LINTELP_BE16(u) __builtin_bswap16(u)
#define LINTELP_BE32(u) __builtin_bswap32(u)
#define LINTELP_BE64(u) __builtin_bswap64(u)
#define LINTELP_LE16(u) (u)
#define LINTELP_LE32(u) (u)
#define LINTELP_LE64(u) (u)
#elif defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define LINTELP_BE16(u) (u)
#define LINTELP_BE32(u) (u)
#define LINTELP_BE64(u) (u)
#define LINTELP_LE16(u) __builtin_bswap16(u)
#define LINTELP_LE32(u) __builtin_bswap32(u)
#define LINTELP_LE64(u) __builtin_bswap64(u)
#else
static inline uint64_t lintelp_order(const void *number, size_t size, int big)
{
    const unsigned char *b = (const unsigned char *)number;
    uint64_t u = 0;
    for (size_t i = 0; i < size; i++)
        u = u << 8 | b[big ? i : size - 1 - i];
    return u;
}
#define LINTELP_BE16(u) ((uint16_t)lintelp_order(&(u), 2, 1))
#define LINTELP_BE32(u) ((uint32_t)lintelp_order(&(u), 4, 1))
#define LINTELP_BE64(u) lintelp_order(&(u), 8, 1)
#define LINTELP_LE16(u) ((uint16_t)lintelp_order(&(u), 2, 0))
#define LINTELP_LE32(u) ((uint32_t)lintelp_order(&(u), 4, 0))
#define LINTELP_LE64(u) lintelp_order(&(u), 8, 0)
#endif

static inline uint8_t lintel_get_u8(const void *bytes)
{
    return *(const uint8_t *)bytes;
}

static inline int8_t lintel_get_i8(const void *bytes)
{
    return (int8_t)lintel_get_u8(bytes);
}

static inline void lintel_put_u8(void *bytes, uint8_t u)
{
    *(uint8_t *)bytes = u;
}

static inline void lintel_put_i8(void *bytes, int8_t i)
{
    *(uint8_t *)bytes = (uint8_t)i;
}

#define LINTELP_INTEGERS(bits, order, swap)                                     \
    static inline uint##bits##_t lintel_get_u##bits##order(const void *bytes)   \
    {                                                                           \
        uint##bits##_t u;                                                       \
        memcpy(&u, bytes, sizeof u);                                            \
        return swap(u);                                                         \
    }                                                                           \
    static inline int##bits##_t lintel_get_i##bits##order(const void *bytes)    \
    {                                                                           \
        return (int##bits##_t)lintel_get_u##bits##order(bytes);                 \
    }                                                                           \
    static inline void lintel_put_u##bits##order(void *bytes, uint##bits##_t u) \
    {                                                                           \
        u = swap(u);                                                            \
        memcpy(bytes, &u, sizeof u);                                            \
    }                                                                           \
    static inline void lintel_put_i##bits##order(void *bytes, int##bits##_t i)  \
    {                                                                           \
        lintel_put_u##bits##order(bytes, (uint##bits##_t)i);                    \
    }
LINTELP_INTEGERS(16, be, LINTELP_BE16)
LINTELP_INTEGERS(16, le, LINTELP_LE16)
LINTELP_INTEGERS(32, be, LINTELP_BE32)
LINTELP_INTEGERS(32, le, LINTELP_LE32)
LINTELP_INTEGERS(64, be, LINTELP_BE64)
LINTELP_INTEGERS(64, le, LINTELP_LE64)
#undef LINTELP_INTEGERS

/* The two bytes that follow each other in significance go as one 16-bit number. */
#define LINTELP_INTEGERS_24(order, high, low)                                 \
    static inline uint32_t lintel_get_u24##order(const void *bytes)           \
    {                                                                         \
        const uint8_t *b = (const uint8_t *)bytes;                            \
        return (uint32_t)b[high] << 16 | lintel_get_u16##order(b + (low));    \
    }                                                                         \
    static inline int32_t lintel_get_i24##order(const void *bytes)            \
    {                                                                         \
        return (int32_t)(lintel_get_u24##order(bytes) ^ 0x800000) - 0x800000; \
    }                                                                         \
    static inline void lintel_put_u24##order(void *bytes, uint32_t u)         \
    {                                                                         \
        uint8_t *b = (uint8_t *)bytes;                                        \
        b[high] = (uint8_t)(u >> 16);                                         \
        lintel_put_u16##order(b + (low), (uint16_t)u);                        \
    }                                                                         \
    static inline void lintel_put_i24##order(void *bytes, int32_t i)          \
    {                                                                         \
        lintel_put_u24##order(bytes, (uint32_t)i);                            \
    }
LINTELP_INTEGERS_24(be, 0, 1)
LINTELP_INTEGERS_24(le, 2, 0)
#undef LINTELP_INTEGERS_24

#define LINTELP_FLOATS(type, bits, order)                             \
    static inline type lintel_get_f##bits##order(const void *bytes)   \
    {                                                                 \
        uint##bits##_t u = lintel_get_u##bits##order(bytes);          \
        type f;                                                       \
        memcpy(&f, &u, sizeof f);                                     \
        return f;                                                     \
    }                                                                 \
    static inline void lintel_put_f##bits##order(void *bytes, type f) \
    {                                                                 \
        uint##bits##_t u;                                             \
        memcpy(&u, &f, sizeof u);                                     \
        lintel_put_u##bits##order(bytes, u);                          \
    }
LINTELP_FLOATS(float, 32, be)
LINTELP_FLOATS(float, 32, le)
LINTELP_FLOATS(double, 64, be)
LINTELP_FLOATS(double, 64, le)
#undef LINTELP_FLOATS

#ifdef __cplusplus
}
#endif
#endif
