/*
 * What the fuzz targets share: numbers, layouts and values out of the input, and memory that is
 * counted and fails on request. A target is one LLVMFuzzerTestOneInput() in a file of its own; with
 * standalone.c it is an ordinary program that runs once over each file it is given.
 *
 * An input that ends early reads on as zeros.
 */
#ifndef LINTEL_FUZZ_H
#define LINTEL_FUZZ_H

#include <stddef.h>
#include <stdint.h>

#include "lintel/decoder.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* What does not hold ends the program, with its text on stderr. */
#define CHECK(condition) ((condition) ? (void)0 : fuzz_failed(__FILE__, __LINE__, #condition))
_Noreturn void fuzz_failed(const char *file, int line, const char *condition);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* ---- the input ------------------------------------------------------------------------------- */

struct input {
    const uint8_t *bytes;
    size_t size;
};

uint8_t input_byte(struct input *in);
/* Up to so many bytes: lends a part of the input; *got says how many. */
const uint8_t *input_take(struct input *in, size_t size, size_t *got);
/* A number of any width; those near powers of two are near at hand. */
uint64_t input_number(struct input *in);
/* Characters up to a newline or NUL, cut at capacity - 1. */
void input_line(struct input *in, char *out, size_t capacity);

/* A known layout by index (a byte from 0x80 on), else a line of text: a name or a layout. NULL:
 * there is none. */
struct lintel_layout *input_layout(struct input *in);
/* A value of any kind; bytes are lent from the input. */
struct lintel_value input_value(struct input *in);
/* A value for each view, of the right kind more often than not. */
void input_values(struct input *in, const struct lintel_layout *layout,
                  struct lintel_value values[LINTEL_VIEWS_MAX]);

/* ---- memory ---------------------------------------------------------------------------------- */

struct memory {
    struct lintel_allocator allocator;
    size_t greatest;     /* no block may be larger than this; 0: any */
    unsigned fail_every; /* every such call fails; 0: none */
    unsigned calls;
    unsigned failures;
    long blocks; /* out now */
};
void memory_init(struct memory *memory);

/* ---- what holds everywhere ------------------------------------------------------------------- */

/* An error record says something printable, and its code is the one returned. */
void check_error(const struct lintel_error *error, int status);
/* The same record, up to the end of its text. */
int same_error(const struct lintel_error *a, const struct lintel_error *b);
/* The same value, as numbers or as bytes; a shorter byte string is as if filled with zeros. */
int same_value(const struct lintel_value *a, const struct lintel_value *b);
/* A copy in a block of exactly that size, so that one byte over is seen; never NULL. */
uint8_t *copy_of(const void *bytes, size_t size);

#endif
