/*
 * status: what every room shares: result codes and their texts, the error record that carries a
 * whole sentence, the allocator, and the attributes of public functions.
 *
 * Functions that can fail return an int: 0 or positive is success, negative is one of the codes
 * below. Partial input is never an error.
 *
 * Order of arguments, everywhere: the object; outputs; what is changed; inputs, each length right
 * after its buffer; callbacks, then their user pointer; options; the error record last.
 *
 * Ownership words, everywhere: *borrows* reads the caller's memory during the call only; *keeps*
 * holds the pointer until the time it says; *copies* lets the caller free at once; *takes* is the
 * owner from this moment, on success and on failure; *lends* points into the object, valid until
 * the time it says; *gives* hands over something to release with the function it names.
 */
#ifndef LINTEL_STATUS_H
#define LINTEL_STATUS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define LINTEL_API      __attribute__((visibility("default")))
#define LINTEL_MUST_USE __attribute__((warn_unused_result))
#else
#define LINTEL_API
#define LINTEL_MUST_USE
#endif

/* ---- result codes ---------------------------------------------------------------------------- */

enum lintel_status {
    LINTEL_OK = 0,

    /* The caller. */
    LINTEL_E_USAGE = -1,       /* misuse: a NULL object, a call in the wrong state */
    LINTEL_E_UNSUPPORTED = -2, /* not in this build, or not possible on this transport */
    LINTEL_E_SYNTAX = -3,      /* a format, a layout or an endpoint that cannot be read */
    LINTEL_E_RANGE = -4,       /* a value that does not fit, or is of the wrong kind */
    LINTEL_E_COUNT = -5,       /* too few or too many values */
    LINTEL_E_SPACE = -6,       /* the caller's buffer is too small */

    /* This machine. */
    LINTEL_E_NOMEM = -20,   /* out of memory, or over the memory budget */
    LINTEL_E_SYSTEM = -21,  /* a system call failed; the errno is kept */
    LINTEL_E_RESOLVE = -22, /* a host or service name has no address */
    LINTEL_E_TIMEOUT = -23, /* the deadline passed; the object is as it was and may be used on */

    /* The peer's bytes. */
    LINTEL_E_TRUNCATED = -40, /* the stream ended inside a frame or between fragments */
    LINTEL_E_TOO_SMALL = -41, /* a length, or another number, below the least it can be */
    LINTEL_E_TOO_LARGE = -42, /* a length over the limit, or a number over 64 bits */
    LINTEL_E_MISMATCH = -43,  /* a constant of the header is not what the layout says */
    LINTEL_E_VERSION = -44,   /* the peer speaks another version */
    LINTEL_E_MALFORMED = -45, /* flags, a control frame or a varint that the protocol forbids */
    LINTEL_E_SEAL = -46,      /* a record or a handshake did not verify */
    LINTEL_E_REFUSED = -47,   /* the peer answered with an error, or said BYE with a reason */

    /* The end. */
    LINTEL_E_END = -60,    /* the clean end: nothing more will come */
    LINTEL_E_CLOSED = -61, /* the connection is gone, or was closed on this side */
    LINTEL_E_RESET = -62   /* the peer reset the connection; sent bytes may be lost */
};

/*
 * One sentence for a status code, without a full stop: "out of memory".
 *
 * Returns  a constant string, never NULL; "unknown status" for anything that is not a code
 */
LINTEL_API
const char *lintel_strerror(int status);

/*
 * The name of a status code as it is written in source: "LINTEL_E_TRUNCATED".
 *
 * Returns  a constant string, never NULL; "LINTEL_E_?" for anything that is not a code
 */
LINTEL_API
const char *lintel_status_name(int status);

/* ---- the error record ------------------------------------------------------------------------ */

#define LINTEL_TEXT_SIZE 256 /* bytes of an error text with its NUL; longer ones are cut */

/*
 * What went wrong, where, and against which limit. Functions that say more than a code take a
 * pointer to one as their last argument, which may be NULL, and fill it in when they fail only.
 */
struct lintel_error {
    int status;                  /* LINTEL_E_..., or LINTEL_OK */
    int system;                  /* the errno behind LINTEL_E_SYSTEM and LINTEL_E_RESET, else 0 */
    uint64_t at;                 /* byte of the stream, or column (from 1) of a text; else 0 */
    char text[LINTEL_TEXT_SIZE]; /* one line, no newline, NUL-terminated; printable ASCII only */
};

/* ---- memory ---------------------------------------------------------------------------------- */

/*
 * One function does all: ptr NULL allocates size bytes, size 0 frees ptr and returns NULL, anything
 * else resizes. NULL for a size over 0 means out of memory, and ptr stays as it was.
 */
struct lintel_allocator {
    void *(*resize)(void *user, void *ptr, size_t size);
    void *user;
};

#ifdef __cplusplus
}
#endif
#endif
