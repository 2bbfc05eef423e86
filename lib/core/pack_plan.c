/*
 * pack_plan: packing and unpacking with a compiled format. The plan (pack.h) is made here; formats
 * without one, and values that it refuses, go through the items of pack.c.
 */
#include "core/pack.h"

#if defined(__GNUC__)
#define ALWAYS_INLINE inline __attribute__((always_inline))
#else
#define ALWAYS_INLINE inline
#endif

/* ---- making a plan --------------------------------------------------------------------------- */

/* How a field that is `shift` bytes into 8 bytes, and `width` bits wide, is shifted to their low
 * end, or multiplied away from it. */
static unsigned shift_up(const struct lintel_format *format, size_t shift, unsigned width)
{
    return (unsigned)(format->little ? 8 * shift : 64 - 8 * shift - width);
}

static void add_field(const struct lintel_format *format, struct lintelp_field *field,
                      const struct lintelp_item *item, size_t offset, size_t start)
{
    unsigned width = (unsigned)item->size * 8;
    size_t room = format->size < 8 ? 8 : format->size; /* bytes that may be loaded from */
    size_t at = start <= room - 8 ? start : room - 8;

    field->factor = (uint64_t)1 << shift_up(format, offset - start, width);
    field->outside = width < 64 ? ~(uint64_t)0 << width : 0;
    field->bias = item->form == LINTELP_SIGNED ? (uint64_t)1 << (width - 1) : 0;
    field->kind = item->form == LINTELP_SIGNED ? LINTEL_INT : LINTEL_UINT;
    field->at = (uint16_t)at;
    field->left = (uint8_t)(64 - width - shift_up(format, offset - at, width));
    field->right = (uint8_t)(64 - width);
}

static void make_windows(struct lintel_format *format)
{
    struct lintelp_field *field = format->fields;
    struct lintelp_field *window = field; /* its first field */
    size_t start = 0;                     /* its offset */

    for (size_t i = 0; i < format->items_count; i++) {
        const struct lintelp_item *item = &format->items[i];
        for (size_t j = 0; j < item->repeat; j++, field++) {
            size_t offset = item->offset + j * item->size;
            if (offset + item->size - start > 8) {
                /* It starts the next window, which must begin in this one or right behind it. */
                if (field == window || offset - start > 8)
                    return;
                window->bytes = (uint8_t)(offset - start);
                window = field;
                start = offset;
            }
            add_field(format, field, item, offset, start);
            window->fields++;
        }
    }
    if (format->size - start <= 8)
        format->last_bytes = format->size - start;
}

void lintelp_plan_make(struct lintel_format *format)
{
    for (size_t i = 0; i < format->items_count; i++)
        format->has_signed |= format->items[i].form == LINTELP_SIGNED;
    make_windows(format);
#if LINTELP_VECTOR
    lintelp_vector_make(format);
#endif
}

/* ---- following a plan ------------------------------------------------------------------------ */

static inline void store(uint8_t *out, uint64_t word, int little)
{
    if (little)
        lintel_put_u64le(out, word);
    else
        lintel_put_u64be(out, word);
}

static inline uint64_t load(const uint8_t *bytes, int little)
{
    return little ? lintel_get_u64le(bytes) : lintel_get_u64be(bytes);
}

static inline void store_half(uint8_t *out, uint32_t word, int little)
{
    if (little)
        lintel_put_u32le(out, word);
    else
        lintel_put_u32be(out, word);
}

static inline uint64_t load_half(const uint8_t *bytes, int little)
{
    return little ? lintel_get_u32le(bytes) : lintel_get_u32be(bytes);
}

/* The first bytes of what store() would write. */
static inline void store_part(uint8_t *out, uint64_t word, size_t bytes, int little)
{
    if (bytes == 8) {
        store(out, word, little);
        return;
    }
    if (bytes >= 4) {
        /* Two halves that meet or overlap. */
        store_half(out, (uint32_t)(little ? word : word >> 32), little);
        word >>= 8 * (little ? bytes - 4 : 8 - bytes);
        store_half(out + bytes - 4, (uint32_t)word, little);
        return;
    }
    for (; bytes > 0; bytes--) {
        *out++ = (uint8_t)(little ? word : word >> 56);
        word = little ? word >> 8 : word << 8;
    }
}

/* What load() would read, were there zeros behind the bytes, of which there are fewer than 8. */
static inline uint64_t load_part(const uint8_t *bytes, size_t size, int little)
{
    uint64_t word = 0;

    if (size >= 4) {
        word = load_half(bytes, little) << (little ? 0 : 32);
        return word | load_half(bytes + size - 4, little) << 8 * (little ? size - 4 : 8 - size);
    }
    for (size_t i = 0; i < size; i++)
        word |= (uint64_t)bytes[i] << 8 * (little ? i : 7 - i);
    return word;
}

/* What becomes of values on their way out. */
struct sums {
    uint64_t word;    /* the window */
    uint64_t outside; /* not 0: a value does not fit */
    uint32_t kinds;   /* not 0: a value is not of its field's kind */
};

static inline void add_value(struct sums *sums, const struct lintelp_field *field,
                             const struct lintel_value *value, int has_signed)
{
    uint64_t u = value->as.u;

    if (has_signed) {
        sums->kinds |= (uint32_t)value->kind ^ field->kind;
        sums->outside |= (u + field->bias) & field->outside;
        sums->word += (u & ~field->outside) * field->factor;
    } else {
        sums->kinds |= (uint32_t)value->kind ^ LINTEL_UINT;
        sums->outside |= u & field->outside;
        sums->word += u * field->factor;
    }
}

/* The loops are inlined for each order, with and without signed numbers. A value that is not of its
 * field's kind, or does not fit, sends all of them through the items. */
static ALWAYS_INLINE int plan_pack(const struct lintel_format *format, uint8_t *out,
                                   const struct lintel_value *values, struct lintel_error *error,
                                   int little, int has_signed)
{
    const struct lintelp_field *field = format->fields;
    const struct lintelp_field *last = field + format->count;
    const struct lintel_value *value = values;
    uint8_t *at = out;
    struct sums sums = {0, 0, 0};

    for (;;) {
        const struct lintelp_field *end = field + field->fields;
        size_t bytes = field->bytes;
        for (; end - field > 1; field += 2, value += 2) {
            add_value(&sums, &field[0], &value[0], has_signed);
            add_value(&sums, &field[1], &value[1], has_signed);
        }
        if (field < end)
            add_value(&sums, field++, value++, has_signed);
        if (field == last)
            break;
        store(at, sums.word, little);
        at += bytes;
        sums.word = 0;
    }
    if ((sums.outside | sums.kinds) != 0)
        return lintelp_pack_items(format, out, values, error);
    store_part(at, sums.word, format->last_bytes, little);
    return LINTEL_OK;
}

static inline void get_value(struct lintel_value *value, const struct lintelp_field *field,
                             uint64_t word, int has_signed)
{
    uint64_t u = word << field->left >> field->right;

    value->kind = has_signed ? (enum lintel_kind)field->kind : LINTEL_UINT;
    value->size = 0;
    value->as.u = has_signed ? (u ^ field->bias) - field->bias : u;
}

/* Fields are taken out of 8 bytes, so fewer than 8 are all loaded once. */
static ALWAYS_INLINE void plan_unpack(const struct lintel_format *format,
                                      struct lintel_value *value, const uint8_t *bytes, int little,
                                      int has_signed)
{
    const struct lintelp_field *field = format->fields;
    const struct lintelp_field *end = field + format->count;

    if (format->size < 8) {
        uint64_t word = load_part(bytes, format->size, little);
        for (; field < end; field++, value++)
            get_value(value, field, word, has_signed);
        return;
    }
    for (; field < end; field++, value++)
        get_value(value, field, load(bytes + field->at, little), has_signed);
}

static int pack_by_plan(const struct lintel_format *format, uint8_t *out,
                        const struct lintel_value *values, struct lintel_error *error)
{
    if (format->has_signed)
        return format->little ? plan_pack(format, out, values, error, 1, 1)
                              : plan_pack(format, out, values, error, 0, 1);
    return format->little ? plan_pack(format, out, values, error, 1, 0)
                          : plan_pack(format, out, values, error, 0, 0);
}

static void unpack_by_plan(const struct lintel_format *format, struct lintel_value *values,
                           const uint8_t *bytes)
{
    if (format->has_signed && format->little)
        plan_unpack(format, values, bytes, 1, 1);
    else if (format->has_signed)
        plan_unpack(format, values, bytes, 0, 1);
    else if (format->little)
        plan_unpack(format, values, bytes, 1, 0);
    else
        plan_unpack(format, values, bytes, 0, 0);
}

/* ---- the public functions -------------------------------------------------------------------- */

int lintelp_pack_plain(const struct lintel_format *format, void *out, size_t capacity,
                       const struct lintel_value *values, size_t count, struct lintel_error *error)
{
    if (format == NULL || (out == NULL && capacity > 0) || (values == NULL && count > 0))
        return lintelp_refuse_usage(error);
    if (count != format->count)
        return lintelp_refuse_count(error, format->count, count);
    if (capacity < format->size)
        return lintelp_refuse_capacity(error, format->size, capacity);
    if (format->last_bytes > 0)
        return pack_by_plan(format, out, values, error);
    return lintelp_pack_items(format, out, values, error);
}

int lintel_format_pack(const struct lintel_format *format, void *out, size_t capacity,
                       const struct lintel_value *values, size_t count, struct lintel_error *error)
{
#if LINTELP_VECTOR
    if (format != NULL && format->pairs_count > 0)
        return lintelp_vector_pack(format, out, capacity, values, count, error);
#endif
    return lintelp_pack_plain(format, out, capacity, values, count, error);
}

int lintelp_unpack_plain(const struct lintel_format *format, struct lintel_value *values,
                         size_t count, const void *bytes, size_t size, struct lintel_error *error)
{
    if (format == NULL || (bytes == NULL && size > 0) || (values == NULL && count > 0))
        return lintelp_refuse_usage(error);
    if (count != format->count)
        return lintelp_refuse_count(error, format->count, count);
    if (size != format->size)
        return lintelp_refuse_size(error, format->size, size);
    if (format->last_bytes > 0)
        unpack_by_plan(format, values, bytes);
    else
        lintelp_unpack_items(format, values, bytes);
    return LINTEL_OK;
}

int lintel_format_unpack(const struct lintel_format *format, struct lintel_value *values,
                         size_t count, const void *bytes, size_t size, struct lintel_error *error)
{
#if LINTELP_VECTOR
    if (format != NULL && format->pairs_count > 0)
        return lintelp_vector_unpack(format, values, count, bytes, size, error);
#endif
    return lintelp_unpack_plain(format, values, count, bytes, size, error);
}
