/*
 * What the suites share: bytes from hex, memory flush against an unmapped page, an allocator that
 * fails when told to, the vectors of proto/, and a decoder's whole story as one text.
 */
#ifndef LINTEL_TEST_UTIL_H
#define LINTEL_TEST_UTIL_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "lintel/decoder.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ---- bytes ----------------------------------------------------------------------------------- */

struct bytes {
    uint8_t *data; /* from malloc, never NULL */
    size_t size;
};

/* Hex digits to bytes; blanks and newlines are passed over, '#' begins a comment to the line's end.
 * The caller frees data. Fails the test on anything else. */
struct bytes from_hex(const char *hex);
/* A whole file; the caller frees data. data has a NUL behind it. data is NULL if there is none. */
struct bytes from_file(const char *path);

/* A copy whose last byte is the last of its page, with an unmapped page behind it. */
uint8_t *guard_copy(const void *bytes, size_t size);
void guard_free(uint8_t *copy, size_t size);

/* ---- memory ---------------------------------------------------------------------------------- */

/* Counts what it gives, and fails on request. Initialise with failing_init(). */
struct failing {
    struct lintel_allocator allocator;
    long fail_at;    /* the call that fails, from 1; 0: none */
    int for_good;    /* 1: all calls from there on fail */
    long calls;      /* allocations and resizes so far */
    size_t live;     /* bytes out now */
    size_t peak;     /* the most that were out at once */
    size_t greatest; /* the greatest single block asked for */
    long blocks;     /* blocks out now */
};
void failing_init(struct failing *failing);

/* ---- vectors --------------------------------------------------------------------------------- */

struct vector {
    const char *name;
    const char *layout; /* text or known name */
    struct bytes wire;
    const char *expected; /* frames.txt or error.txt */
    uint64_t max_frame;   /* 0: the default */
};

/* Call use for each vector of a kind, "valid" or "invalid", in proto/vectors; returns their number.
 * The directory is found through $srcdir. */
int each_vector(const char *kind, void (*use)(const struct vector *vector));

/* ---- a decoder's story ----------------------------------------------------------------------- */

/* A growing text; begin with all zero, end with free(text.data). */
struct text {
    char *data;
    size_t size;
};
void text_add(struct text *text, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* How bytes are handed to the decoder and taken out. */
struct way {
    const size_t *cuts; /* sizes of the pieces; the last repeats; NULL: one piece */
    size_t count;
    int in_place; /* 1: space and filled; 0: feed */
    int batch;    /* frames a call; 0: lintel_decoder_next() */
    int guarded;  /* 1: every piece lies against an unmapped page */
};

/* Hand the next bytes to a decoder, fed or in place; returns how many it took. */
size_t hand_in(struct lintel_decoder *decoder, const uint8_t *bytes, size_t size, int in_place);

/* One line for a frame: "OFFSET LENGTH PAYLOAD VIEW=VALUE ...", as in proto/vectors/README.md. */
void tell_frame(struct text *text, const struct lintel_layout *layout,
                const struct lintel_frame *frame);

/* Everything that comes out of these bytes, frame by frame, and how it ends: "end", or "error NAME
 * OFFSET" and the text. The caller frees it. */
char *story(const struct lintel_decoder_options *options, const uint8_t *bytes, size_t size,
            const struct way *way);

/* The story must be the same whole, in place, in batches, byte by byte and at every cut in two. */
char *same_story_every_way(const char *name, const struct lintel_decoder_options *options,
                           const uint8_t *bytes, size_t size);

/* A layout, or the test fails with what is wrong. */
struct lintel_layout *make_layout(const char *text);

#endif
