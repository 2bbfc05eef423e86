/*
 * layout: any header, described in one line that reads like a drawing of the frame.
 *
 *     lintel     !H:magic=0x4c54 B:version=1 B:flags,reserved&0xf0=0 I:type I:id I:length *
 *     postgres   !c:type I:length-4 *
 *     amqp       !B:type H:channel I:length * B:end=0xCE
 *
 * The grammar is in proto/layouts.md. A layout is checked whole when it is made, never changes
 * afterwards, and may be shared between threads. The one description drives both directions.
 * Header numbers are found by name or by index: a *view* is one named number, or byte string, of
 * the header or trailer, in the order of the text.
 *
 * This room does no I/O. Read pack.h (values) first.
 */
#ifndef LINTEL_LAYOUT_H
#define LINTEL_LAYOUT_H

#include "lintel/pack.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LINTEL_NAME_MAX    31   /* characters of a view's name; fixed by the grammar */
#define LINTEL_VIEWS_MAX   64   /* views of one layout; our choice */
#define LINTEL_FIELDS_MAX  64   /* fields of one layout; our choice */
#define LINTEL_HEADER_MAX  1024 /* bytes of a header, and of a trailer; our choice */
#define LINTEL_LENGTH_MAX  ((uint64_t)1 << 62)  /* bytes of any payload, whatever the layout */
#define LINTEL_FRAME_LIMIT ((uint64_t)16 << 20) /* payload bytes of a frame unless set */

struct lintel_layout;

/* A frame, seen in place: nothing here is a copy, and whoever fills it in says until when it lives.
 */
struct lintel_frame {
    const uint8_t *header;
    const uint8_t *payload;
    const uint8_t *trailer;
    size_t length;         /* bytes of payload */
    uint32_t header_size;  /* bytes */
    uint32_t trailer_size; /* bytes */
    uint64_t offset;       /* of the header's first byte in the stream */
};

/* What a layout says of one view. Lent by the layout; the strings live as long as it does. */
struct lintel_view {
    const char *name;
    char code;        /* of its field, as in the text: 'H', 's', 'v', ... */
    uint32_t size;    /* bytes of its field; the most there can be for a varint */
    uint64_t mask;    /* bits of the field that are its own, before the shift; 0: the field whole */
    unsigned shift;   /* right shift on the way in */
    uint64_t factor;  /* multiplied on the way in; 1 where there is none */
    int64_t sum;      /* added on the way in, all sums together */
    unsigned column;  /* of its name in the text, from 1 */
    uint16_t field;   /* index of its field */
    uint8_t constant; /* 1: a constant; its value is given by lintel_layout_constant() */
    uint8_t in_trailer; /* 1: it stands behind the payload */
};

/* One field of a layout: what stands in the bytes, named or not. */
struct lintel_field {
    char code;
    uint8_t in_trailer;
    uint16_t first_view; /* index of its first view, where views is not 0 */
    uint16_t views;      /* how many views share it */
    uint32_t size;       /* bytes; the most there can be for a varint */
    uint32_t offset;     /* from the first byte of header or trailer, varints before it at 1 byte */
};

/* ---- making one ------------------------------------------------------------------------------ */

/*
 * Make a layout from a known name ("postgres") or from a text in the grammar. A text with a blank,
 * a '*' or a ':' in it is a text; anything else is looked up.
 *
 * Gives    *out, to be released with lintel_layout_free()
 * Returns  LINTEL_OK
 *          LINTEL_E_SYNTAX  no such name, or the text is not a layout; error->at is the column
 *          LINTEL_E_NOMEM
 *          LINTEL_E_USAGE   out or text is NULL
 * Copies   text. Keeps allocator (NULL: malloc and free) until lintel_layout_free().
 */
LINTEL_API LINTEL_MUST_USE int lintel_layout_new(struct lintel_layout **out, const char *text,
                                                 const struct lintel_allocator *allocator,
                                                 struct lintel_error *error);

/* Release a layout. NULL and the default layout are left alone. */
LINTEL_API
void lintel_layout_free(struct lintel_layout *layout);

/* The layout of lintel's own protocol; always there, never freed. NULL means it everywhere. */
LINTEL_API
const struct lintel_layout *lintel_layout_default(void);

/* ---- known layouts --------------------------------------------------------------------------- */

struct lintel_known_layout {
    const char *name;
    const char *text;
    const char *reference; /* where it is specified */
};

/* How many layouts are known by name. */
LINTEL_API
size_t lintel_layout_known_count(void);

/* The known layout of that index, in the order of proto/layouts; NULL past the last one. */
LINTEL_API
const struct lintel_known_layout *lintel_layout_known(size_t index);

/* ---- asking one ------------------------------------------------------------------------------ */

/* The text it was made from (of a name: the text behind it). Lends until the layout is freed. */
LINTEL_API
const char *lintel_layout_text(const struct lintel_layout *layout);

/* 1 if this is lintel's own layout, by name or by text, with its flags and control frames; else 0.
 */
LINTEL_API
int lintel_layout_is_lintel(const struct lintel_layout *layout);

/* Bytes of the shortest and of the longest header that this layout can have. */
LINTEL_API
size_t lintel_layout_header_min(const struct lintel_layout *layout);
/* The same, the longest. They differ only where there are varints. */
LINTEL_API
size_t lintel_layout_header_max(const struct lintel_layout *layout);
/* Bytes of the longest trailer; 0 where there is none. */
LINTEL_API
size_t lintel_layout_trailer_max(const struct lintel_layout *layout);

/* The most payload bytes that its length can carry, at most LINTEL_LENGTH_MAX. */
LINTEL_API
uint64_t lintel_layout_length_max(const struct lintel_layout *layout);

/* How many views it has. */
LINTEL_API
size_t lintel_layout_view_count(const struct lintel_layout *layout);
/* The view of that index, in the order of the text; NULL past the last one. Lends as the text. */
LINTEL_API
const struct lintel_view *lintel_layout_view(const struct lintel_layout *layout, size_t index);
/* The index of the view of that name; -1 where there is none. */
LINTEL_API
int lintel_layout_find(const struct lintel_layout *layout, const char *name);
/* The value of a constant view. Returns 1 and *out (bytes lent as the text), 0 if not constant. */
LINTEL_API
int lintel_layout_constant(const struct lintel_layout *layout, size_t view,
                           struct lintel_value *out);
/* The constant as it is written in the text ("0x4c54", "'ABC'"), and its length. Lends as above.
 * NULL where the view is not constant. */
LINTEL_API
const char *lintel_layout_constant_text(const struct lintel_layout *layout, size_t view,
                                        size_t *length);

/*
 * How the sums of a view run, taken from left to right: the least and the greatest they come to, 0
 * among them (-2 and 1 for "-2+3"). With mask, shift and factor this says which words it reads: a
 * number is from -least to 2^64-1-greatest before the sums.
 *
 * Returns  1 if the view has ops at all (without, a code with a sign may be below zero), else 0
 *          LINTEL_E_USAGE  a view that does not exist, or a NULL
 */
LINTEL_API
int lintel_layout_sums(const struct lintel_layout *layout, size_t view, int64_t *least,
                       uint64_t *greatest);

/* How many fields it has, nameless ones too. */
LINTEL_API
size_t lintel_layout_field_count(const struct lintel_layout *layout);
/* The field of that index, header then trailer; NULL past the last one. Lends as the text. */
LINTEL_API
const struct lintel_field *lintel_layout_field(const struct lintel_layout *layout, size_t index);
/* 1 if integers are little-endian on the wire, 0 if big-endian. */
LINTEL_API
int lintel_layout_little_endian(const struct lintel_layout *layout);

/* ---- reading and writing headers ------------------------------------------------------------- */

/*
 * Read views out of a frame that a decoder found under this layout.
 *
 * Returns  LINTEL_OK; values[i] is view i: UINT, INT (signed codes without ops), FLOAT (f, d) or
 *          BYTES (s, c: lent from the frame)
 *          LINTEL_E_COUNT      count is not the number of views
 *          LINTEL_E_MALFORMED  the frame was not made under this layout
 *          LINTEL_E_USAGE      a NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_layout_read(const struct lintel_layout *layout,
                                                  struct lintel_value *values, size_t count,
                                                  const struct lintel_frame *frame);

/* The same for one view. LINTEL_E_USAGE for a view that does not exist. */
LINTEL_API LINTEL_MUST_USE int lintel_layout_read_one(const struct lintel_layout *layout,
                                                      struct lintel_value *value, size_t view,
                                                      const struct lintel_frame *frame);

/*
 * Write the header of a frame with a payload of so many bytes: constants and the length are filled
 * in, the other views are taken from values, one per view in order. values may be NULL (all 0);
 * what stands in it for a constant view or the length is ignored. Views that share a field are
 * or-ed together; a decoder can read what is written.
 *
 * Returns  LINTEL_OK, *size is the bytes written
 *          LINTEL_E_RANGE      a value does not fit its view, or is of the wrong kind, or changes
 *                              the length or a constant of its field, or a view would be out of
 *                              range when read; the text names the view
 *          LINTEL_E_TOO_LARGE  the length is more than this layout can carry
 *          LINTEL_E_SPACE      capacity is too small; LINTEL_HEADER_MAX is always enough
 *          LINTEL_E_COUNT      count is not the number of views
 *          LINTEL_E_USAGE      a NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_layout_put_header(const struct lintel_layout *layout,
                                                        void *out, size_t capacity, size_t *size,
                                                        const struct lintel_value *values,
                                                        size_t count, uint64_t length,
                                                        struct lintel_error *error);

/* The trailer of the same frame; *size is 0 where there is none. Errors as above. */
LINTEL_API LINTEL_MUST_USE int lintel_layout_put_trailer(const struct lintel_layout *layout,
                                                         void *out, size_t capacity, size_t *size,
                                                         const struct lintel_value *values,
                                                         size_t count, struct lintel_error *error);

/*
 * Copy the header of a frame, with another length.
 *
 * Returns  as lintel_layout_put_header(); LINTEL_E_MALFORMED where the header is not this layout's
 */
LINTEL_API LINTEL_MUST_USE int lintel_layout_put_like(const struct lintel_layout *layout, void *out,
                                                      size_t capacity, size_t *size,
                                                      const struct lintel_frame *frame,
                                                      uint64_t length, struct lintel_error *error);

#ifdef __cplusplus
}
#endif
#endif
