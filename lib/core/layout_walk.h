/*
 * layout, inside: walking over the fields of a header or a trailer, whole or not. Varints make the
 * place of what is behind them depend on the bytes, so everyone who looks at bytes walks.
 */
#ifndef LINTELP_CORE_LAYOUT_WALK_H
#define LINTELP_CORE_LAYOUT_WALK_H

#include "core/layout.h"

#include <string.h>

/* A run of fields, header or trailer, over the bytes it stands in. */
struct lintelp_walk {
    const struct lintel_layout *layout;
    const uint8_t *bytes;
    size_t have;
    size_t at;   /* of the field's first byte */
    size_t size; /* of the field */
    size_t field, last;
    int status; /* 1: the field is whole; 0: more bytes are needed; else what is wrong with it */
    uint64_t word;
};

static inline struct lintelp_walk lintelp_walk_begin(const struct lintel_layout *layout,
                                                     int trailer, const uint8_t *bytes, size_t have)
{
    struct lintelp_walk w = {layout, bytes, have, 0, 0, 0, layout->header_fields, 0, 0};
    if (trailer) {
        w.field = layout->header_fields;
        w.last = layout->field_count;
    }
    return w;
}

/* Look at the field that begins at w->at. Returns 0 behind the last one; then w->at is the size of
 * the whole run. */
static inline int lintelp_walk_look(struct lintelp_walk *w)
{
    const struct lintel_field *field = &w->layout->fields[w->field];

    if (w->field == w->last)
        return 0;
    if (field->code == 'v') {
        int size = lintelp_varint_get(&w->word, w->bytes + w->at, w->have - w->at, field->size);
        w->status = size > 0 ? 1 : size;
        w->size = size > 0 ? (size_t)size : 0;
        return 1;
    }
    w->status = w->have - w->at >= field->size;
    w->size = field->size;
    if (w->status && field->size <= 8)
        w->word = lintelp_load(w->bytes + w->at, field->size, w->layout->little);
    return 1;
}

static inline void lintelp_walk_on(struct lintelp_walk *w)
{
    w->at += w->size;
    w->field++;
}

/* Bytes that must be there before it is worth looking again. A varint may turn out bad with every
 * byte of it. */
static inline uint64_t lintelp_walk_need(const struct lintelp_walk *w)
{
    return w->layout->varints ? w->have + 1 : w->at + w->size;
}

/* The bits of a floating-point number of 4 or 8 bytes. */
static inline uint64_t lintelp_word_of(double real, unsigned size)
{
    uint64_t word;
    uint32_t half;
    float f = (float)real;

    memcpy(&word, &real, sizeof word);
    memcpy(&half, &f, sizeof half);
    return size == 8 ? word : half;
}

#endif
