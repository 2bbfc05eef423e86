/*
 * generate: what `lintel layout` makes out of a layout for other programs: a C header, a Wireshark
 * dissector, a fuzzing dictionary. Each is a file of its own, and prints to standard output; all
 * ask the layout the same questions, which are answered here.
 */
#ifndef LINTEL_GENERATE_H
#define LINTEL_GENERATE_H

#include "tool.h"

#define GENERATE_NAME_SIZE 72

/* What is to be made, and of what. */
struct generate_job {
    const struct lintel_layout *layout;
    const struct lintel_known_layout *known; /* NULL where it has no name */
    int has_prefix;                          /* 1: it was given */
    char prefix[GENERATE_NAME_SIZE];         /* a C identifier */
    uint64_t port;                           /* of the dissector; 0: none */
};

/* How a view is read: everything that is behind mask, shift, factor and sums, worked out. */
struct generate_view {
    const struct lintel_view *view;
    const struct lintel_field *field;
    enum generate_kind {
        GENERATE_UINT,  /* number = (word & mask) >> shift, value = number * factor + sum */
        GENERATE_INT,   /* the word, with its sign */
        GENERATE_BOOL,  /* the word is not 0 */
        GENERATE_REAL,  /* f, d */
        GENERATE_BYTE,  /* c */
        GENERATE_BYTES, /* s, x */
    } kind;
    int is_length;
    uint64_t width;                  /* the bits of the whole field, of integers */
    uint64_t mask;                   /* the bits that are the view's own, of integers */
    uint64_t full;                   /* mask >> shift: what the number can be on the wire */
    uint64_t number_min, number_max; /* of those, the ones that can be read; empty if min > max */
    uint64_t value_min, value_max;   /* what they come to */
    int can_fail;                    /* 1: not every number can be read */
    uint64_t bits;                   /* of a constant, in their place in the word */
    struct lintel_value constant;
};

/* Fill in a job. prefix: NULL for the name of the layout. TOOL_OK, or TOOL_USAGE and the reason
 * printed. Keeps layout. */
int generate_open(struct generate_job *job, const struct lintel_layout *layout, const char *name,
                  const char *prefix);
/* A name as a C identifier: what cannot stand in one is '_'. 1 if it fits and is not empty. */
int generate_clean(char out[GENERATE_NAME_SIZE], const char *name);

void generate_look(struct generate_view *out, const struct lintel_layout *layout, size_t index);
/* What constants of the same word say of a view's own bits: which are fixed, and to what. */
void generate_fixed(const struct generate_view *view, const struct lintel_layout *layout,
                    uint64_t *mask, uint64_t *bits);
/* The bits of a value that can be read, in their place in the word. */
uint64_t generate_bits(const struct generate_view *view, uint64_t value);

/* A word of a field as it stands on the wire: its bytes, at most 10. */
size_t generate_store(uint8_t out[10], const struct lintel_layout *layout,
                      const struct lintel_field *field, uint64_t word);

/* A frame with the shortest payload that there can be. */
struct generate_frame {
    uint8_t header[LINTEL_HEADER_MAX], trailer[LINTEL_HEADER_MAX];
    size_t header_size, trailer_size;
    uint64_t length;
};
/* 1, or 0 where there is no frame that can be read. */
int generate_frame(struct generate_frame *out, const struct lintel_layout *layout);

/* The text of a layout in a comment between the marks of C, whatever is in it. */
void generate_print_comment(const char *text);

int generate_c(const struct generate_job *job);
int generate_dissector(const struct generate_job *job);
/* One layout; NULL: all that are known. */
int generate_dictionary(const struct generate_job *job);

#endif
