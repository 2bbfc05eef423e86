/*
 * layout, inside: what a compiled layout looks like to the rooms above. No room changes one.
 *
 * A header is judged in this order, and only when it is whole: constants, then the view named
 * `version`, then the rules of lintel's own protocol, then numbers that can fail, then the length,
 * then the limit. A varint that cannot be read ends the header early and is judged in its place.
 */
#ifndef LINTELP_CORE_LAYOUT_H
#define LINTELP_CORE_LAYOUT_H

#include "lintel/layout.h"

/* Whether big-endian numbers are swapped on this machine, and eight bytes that are written as a
 * big-endian number as they are loaded from memory. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#define BIG_IS_SWAPPED     0
#define MEMORY_ORDER(bits) (bits)
#else
#define BIG_IS_SWAPPED 1
#define MEMORY_ORDER(bits)                                                               \
    (((bits)&0xFF) << 56 | ((bits)&0xFF00) << 40 | ((bits)&0xFF0000) << 24 |             \
     ((bits)&0xFF000000) << 8 | ((bits) >> 8 & 0xFF000000) | ((bits) >> 24 & 0xFF0000) | \
     ((bits) >> 40 & 0xFF00) | (bits) >> 56)
#endif

/* A view with what it takes to compute and to invert it. */
struct lintelp_view {
    struct lintel_view seen; /* what the public header shows; mask 0 stands for the field whole */
    uint64_t mask;           /* the same, never 0 for integers: bits of the word that count */
    int64_t low;             /* the least of the running sums, at most 0 */
    uint64_t high;           /* the greatest of the running sums, at least 0 */
    uint8_t ops;             /* 1: it has a mask, a shift, a factor or a sum */
    uint8_t sums;            /* 1: it has a sum */
    uint8_t fallible;        /* 1: reading it can overflow or go below zero */
    uint8_t hex;             /* 1: its constant was written in hex */
    uint64_t bits;           /* constant: its bits, in their place in the word */
    const uint8_t *bytes;    /* constant of s, c, x: its bytes; else NULL */
    double real;             /* constant of f, d */
    const char *written;     /* constant as it stands in the text */
    size_t written_size;
};

/* Where a plain unsigned view of a header without varints stands; size 0: it is not so plain. */
struct lintelp_slot {
    uint16_t offset;
    uint8_t size;
};

/*
 * The short way through headers without varints, or with one, the length, at their end. Eight bytes
 * are loaded at a time, so a header is looked at this way only where `span` bytes are there.
 *
 *     check[i]: load 8 bytes at offset, and with mask, compare with bits (memory order)
 *     length:   load 8 bytes at length_at, swap to this order, >> shift, & mask, * factor, + sum;
 *               or the varint there
 */
struct lintelp_plan {
    uint8_t usable;
    uint8_t checks;
    uint8_t swap;   /* 1: the length's order is not this machine's */
    uint8_t varint; /* the length is a varint of at most so many bytes; 0: it is none */
    uint8_t shift;
    uint16_t length_at;
    uint16_t span;                  /* bytes that must be there: the header's, at least 8 */
    uint64_t mask, factor, raw_max; /* raw_max: the greatest word that the code can carry */
    int64_t sum;
    struct lintelp_check {
        uint16_t offset;
        uint64_t mask, bits;
    } check[4];
};

/*
 * Once it is made, and nothing changes it then:
 * - 0 <= length < view_count, and that view is an integer of the header that is not constant
 * - header_fields <= field_count; the views of a field are views[first_view .. first_view + views)
 * - header_min <= header_max <= LINTEL_HEADER_MAX, and equal but for varints; trailers as well
 * - length_max <= LINTEL_LENGTH_MAX
 * - plan.usable: each of its loads ends within plan.span bytes, a varint within header_max
 */
struct lintel_layout {
    const struct lintel_allocator *allocator;
    const char *text;
    const struct lintel_field *fields;
    const struct lintelp_view *views;
    uint16_t field_count, header_fields, view_count;
    uint8_t fixed;  /* 1: not from the heap */
    uint8_t little; /* 1: little-endian on the wire */
    uint8_t lintel; /* 1: lintel's own */
    uint8_t varints;
    int16_t length, id, type, flags, version; /* view indices; -1: there is none */
    uint32_t header_min, header_max, trailer_min, trailer_max;
    uint64_t length_max;
    struct lintelp_slot id_slot, type_slot, flags_slot, length_slot;
    struct lintelp_plan plan;
};

/* NULL is lintel's own. */
static inline const struct lintel_layout *lintelp_or_default(const struct lintel_layout *layout)
{
    return layout != NULL ? layout : lintel_layout_default();
}

/* What the bytes of a header, or of header, payload and trailer, come to. */
enum lintelp_verdict {
    LINTELP_FRAME, /* all of it is there and right */
    LINTELP_MORE,  /* at least `need` bytes, from the frame's first on, are needed */
    LINTELP_BAD    /* status and the facts below */
};

struct lintelp_judgement {
    uint32_t header_size, trailer_size;
    uint64_t length; /* payload bytes, once the header is judged */
    uint64_t need;
    int status;      /* LINTEL_E_... */
    int view;        /* the view it is about, -1 for none */
    uint64_t value;  /* LINTEL_E_TOO_LARGE against the limit: the length */
    uint8_t limited; /* 1: the header is right but for the limit, so the frame can be skipped */
};

/*
 * Judge the frame that begins at bytes, of which have are there. Pure: reads bytes[0..have) only.
 */
enum lintelp_verdict lintelp_layout_judge(const struct lintel_layout *layout,
                                          struct lintelp_judgement *out, const uint8_t *bytes,
                                          size_t have, uint64_t limit);

/* Judge a trailer alone; need then counts from its first byte. */
enum lintelp_verdict lintelp_layout_judge_trailer(const struct lintel_layout *layout,
                                                  struct lintelp_judgement *out,
                                                  const uint8_t *bytes, size_t have);

/* Bytes of a trailer that are worth waiting for before it is looked at: a varint may turn out bad
 * with its first. */
static inline uint32_t lintelp_trailer_least(const struct lintel_layout *layout)
{
    return layout->trailer_min == layout->trailer_max ? layout->trailer_min : 0;
}

/* Like judge for a header that is known to be whole and right: sizes and length only. */
int lintelp_layout_measure(const struct lintel_layout *layout, struct lintelp_judgement *out,
                           const uint8_t *header, size_t size);

/* Look at one view of a run of bytes, a header's or a trailer's, that may be wrong: 0 where it
 * cannot be read; else 1, its value, and for numbers the word as it stands on the wire. */
int lintelp_layout_peek(const struct lintel_layout *layout, size_t view, const uint8_t *bytes,
                        size_t have, struct lintel_value *value, uint64_t *word);

/* The number that a word of its field stands for: ops from left to right, each result from 0 to
 * 2^64-1, else LINTEL_E_TOO_SMALL or _TOO_LARGE. A signed word below zero is too small. */
int lintelp_view_compute(const struct lintelp_view *view, uint64_t word, uint64_t *value);
/* The bits that stand for a number. LINTEL_E_RANGE where there are none. */
int lintelp_view_invert(const struct lintelp_view *view, uint64_t value, uint64_t *bits);
/* 1 if the field of this view holds a signed integer whose sign counts. */
int lintelp_view_is_signed(const struct lintelp_view *view);
/* Fill in the short ways of a layout whose fields and views are there. */
void lintelp_layout_plan(struct lintel_layout *layout);

/* Read an unsigned varint of at most max bytes: its size, 0 if more bytes are needed, or a negative
 * status: LINTEL_E_TOO_LARGE, LINTEL_E_MALFORMED (longer than needed). */
int lintelp_varint_get(uint64_t *value, const uint8_t *bytes, size_t have, unsigned max);
/* Write one; returns its size. The caller has made sure that there is room for 10 bytes. */
unsigned lintelp_varint_put(uint8_t *out, uint64_t value);

/* Load an unsigned integer of 1 to 8 bytes. */
static inline uint64_t lintelp_load(const uint8_t *bytes, unsigned size, int little)
{
    uint64_t word = 0;
    for (unsigned i = 0; i < size; i++)
        word = word << 8 | bytes[little ? size - 1 - i : i];
    return word;
}

/* Store one; the bits above are cut. */
static inline void lintelp_store(uint8_t *out, unsigned size, int little, uint64_t word)
{
    for (unsigned i = 0; i < size; i++, word >>= 8)
        out[little ? i : size - 1 - i] = (uint8_t)word;
}

#endif
