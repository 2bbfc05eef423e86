/*
 * generate_c: the files that print a layout as a C header: generate_c.c the whole of it,
 * generate_c_word.c what becomes of one word, generate_c_access.c the accessors of a header without
 * varints, generate_c_varint.c the functions of one with them.
 */
#ifndef LINTEL_GENERATE_C_H
#define LINTEL_GENERATE_C_H

#include "generate.h"

#define MACROS_MAX (2 * LINTEL_VIEWS_MAX + 8)
#define MACRO_SIZE (GENERATE_NAME_SIZE + LINTEL_NAME_MAX + 16)

/* Header or trailer. */
struct run {
    const char *name;     /* what its parameter is called */
    const char *suffix;   /* of functions that each run has */
    size_t first, last;   /* fields */
    size_t least, most;   /* bytes */
    const uint8_t *fresh; /* as init() leaves it; NULL: zeros */
};

struct writer {
    const struct generate_job *job;
    const char *prefix;
    char upper[GENERATE_NAME_SIZE];
    size_t views;
    struct generate_view view[LINTEL_VIEWS_MAX];
    char member[LINTEL_VIEWS_MAX][LINTEL_NAME_MAX + LINTEL_VIEWS_MAX + 2];
    char macro[MACROS_MAX][MACRO_SIZE]; /* those that are taken */
    size_t macros;
};

/* ---- generate_c_word.c ----------------------------------------------------------------------- */

void c_print_u64(uint64_t number);
/* A byte string as a literal. */
void c_print_literal(const uint8_t *bytes, size_t size);
/* The type of what a getter gives, or of a member; and how many bits it has, of an integer. */
void c_print_type(const struct generate_view *view);
unsigned c_bits_of(const struct generate_view *view);
int c_is_in(const struct generate_view *view, const struct run *run);
/* Whether its bytes are loaded as one word. */
int c_is_number(const struct lintel_field *field);

/* In: "    LEAD = the number of a view, out of its word;", where lead ends in "number". */
void c_print_number(const struct generate_view *view, const char *lead, const char *word);
/* Then the number judged, and made the value. */
void c_print_judged(const struct generate_view *view);
/* What is in the word of a view that cannot fail, as an expression. */
void c_print_value(const struct writer *w, const struct generate_view *view, const char *word);
/* The condition that a constant is not as it should be; word is its word, place its bytes. */
void c_print_mismatch(const struct generate_view *view, const char *word, const char *place);

/* Out: a value judged, and "    LEAD = its bits;", where lead ends in "bits". */
void c_print_bits(const struct generate_view *view, const char *lead, const char *value,
                  unsigned type_bits);
/* A signed value must fit a field of so many bytes; its type is so many bits wide. */
void c_print_signed_range(const struct generate_view *view, const char *value, unsigned type_bits);
/* Constants of the same word say what some bits must be. */
void c_print_fixed(const struct writer *w, const struct generate_view *view);

/* ---- the two kinds of runs ------------------------------------------------------------------- */

void c_print_accessors(const struct writer *w, const struct run *run);
void c_print_varints(const struct writer *w, const struct run *run);

#endif
