#include "core/pack.h"

/* ---- refusals -------------------------------------------------------------------------------- */

int lintelp_refuse_usage(struct lintel_error *error)
{
    return lintelp_fail(error, LINTEL_E_USAGE, 0, "a NULL where a format, values or bytes must be");
}

static int refuse_numbers(struct lintel_error *error, int status, const char *before,
                          uint64_t takes, const char *between, uint64_t given)
{
    struct lintelp_text text = lintelp_error(error, status, 0);
    lintelp_text_str(&text, before);
    lintelp_text_u64(&text, takes);
    lintelp_text_str(&text, between);
    lintelp_text_u64(&text, given);
    return status;
}

int lintelp_refuse_count(struct lintel_error *error, size_t takes, size_t given)
{
    return refuse_numbers(error, LINTEL_E_COUNT, "the number of values is ", takes, ", not ",
                          given);
}

int lintelp_refuse_capacity(struct lintel_error *error, size_t takes, size_t given)
{
    return refuse_numbers(error, LINTEL_E_SPACE, "the format packs to ", takes,
                          " bytes, there is room for ", given);
}

int lintelp_refuse_size(struct lintel_error *error, size_t takes, size_t given)
{
    return refuse_numbers(error, LINTEL_E_SPACE, "the format unpacks ", takes, " bytes, not ",
                          given);
}

struct lintelp_text lintelp_complain(struct lintel_error *error, const struct lintelp_item *item,
                                     size_t index)
{
    struct lintelp_text text = lintelp_error(error, LINTEL_E_RANGE, item->column);
    lintelp_text_str(&text, "value ");
    lintelp_text_u64(&text, (uint64_t)index + 1);
    lintelp_text_str(&text, ", for '");
    lintelp_text_char(&text, item->code);
    lintelp_text_str(&text, "' at column ");
    lintelp_text_u64(&text, item->column);
    lintelp_text_str(&text, ": ");
    return text;
}

int lintelp_refuse_value(struct lintel_error *error, const struct lintelp_item *item, size_t index,
                         const char *sentence)
{
    struct lintelp_text text = lintelp_complain(error, item, index);
    lintelp_text_str(&text, sentence);
    return LINTEL_E_RANGE;
}

static void text_integer(struct lintelp_text *text, const struct lintel_value *value)
{
    if (value->kind == LINTEL_INT)
        lintelp_text_i64(text, value->as.i);
    else
        lintelp_text_u64(text, value->as.u);
}

/* The least signed number of that many bytes. */
static int64_t least(size_t size)
{
    return INT64_MIN / ((int64_t)1 << (64 - size * 8));
}

static int refuse_integer(struct lintel_error *error, const struct lintelp_item *item, size_t index,
                          const struct lintel_value *value)
{
    unsigned drop = 64 - (unsigned)item->size * 8;
    struct lintelp_text text = lintelp_complain(error, item, index);

    text_integer(&text, value);
    lintelp_text_str(&text, " is not in ");
    if (item->form == LINTELP_UNSIGNED)
        lintelp_text_char(&text, '0');
    else
        lintelp_text_i64(&text, least(item->size));
    lintelp_text_str(&text, " to ");
    lintelp_text_u64(&text, (item->form == LINTELP_SIGNED ? INT64_MAX : UINT64_MAX) >> drop);
    return LINTEL_E_RANGE;
}

/* ---- one value ------------------------------------------------------------------------------- */

/* An integer of 1 to 8 bytes, its low ones. */
static void put_integer(uint8_t *out, uint64_t u, size_t size, int little)
{
    for (size_t i = 0; i < size; i++)
        out[little ? i : size - 1 - i] = (uint8_t)(u >> (8 * i));
}

static uint64_t get_integer(const uint8_t *bytes, size_t size, int little)
{
    uint64_t u = 0;
    for (size_t i = 0; i < size; i++)
        u = u << 8 | bytes[little ? size - 1 - i : i];
    return u;
}

static int is_integer(const struct lintel_value *value)
{
    return value->kind == LINTEL_UINT || value->kind == LINTEL_INT;
}

static int is_negative(const struct lintel_value *value)
{
    return value->kind == LINTEL_INT && value->as.i < 0;
}

static int is_true(const struct lintel_value *value)
{
    if (value->kind == LINTEL_BYTES)
        return value->size > 0;
    if (value->kind == LINTEL_FLOAT)
        return value->as.u << 1 != 0; /* the bits without the sign */
    return value->as.u != 0;
}

/* Pointers go from the least signed to the greatest unsigned number. */
static int fits(const struct lintelp_item *item, const struct lintel_value *value)
{
    unsigned bits = (unsigned)item->size * 8;

    if (is_negative(value))
        return item->form != LINTELP_UNSIGNED && value->as.i >= least(item->size);
    if (item->form == LINTELP_SIGNED)
        bits--;
    return bits == 64 || value->as.u >> bits == 0;
}

static int put_float(const struct lintelp_item *item, uint8_t *out,
                     const struct lintel_value *value, size_t index, struct lintel_error *error)
{
    uint64_t bits = lintelp_double_bits(value);
    int overflow = 0;

    if (!is_integer(value) && value->kind != LINTEL_FLOAT)
        return lintelp_refuse_value(error, item, index, "not a number");
    if (item->size == 2)
        bits = lintelp_narrow(&lintelp_half, bits, &overflow);
    else if (item->size == 4)
        bits = lintelp_narrow(&lintelp_single, bits, &overflow);
    /* A native float is a C conversion, which goes to infinity. */
    if (overflow && !(item->native && item->size == 4))
        return lintelp_refuse_value(error, item, index, "the number is too large");
    put_integer(out, bits, item->size, item->little);
    return LINTEL_OK;
}

static int put_string(const struct lintelp_item *item, uint8_t *out,
                      const struct lintel_value *value, size_t index, struct lintel_error *error)
{
    size_t room = item->size;
    size_t size = value->size;

    if (value->kind != LINTEL_BYTES)
        return lintelp_refuse_value(error, item, index, "not bytes");
    if (value->as.bytes == NULL && size > 0)
        return lintelp_refuse_value(error, item, index, "bytes at NULL");
    if (item->form == LINTELP_PASCAL && room > 0) {
        room--;
        if (size > room)
            size = room;
        *out++ = (uint8_t)(size < 255 ? size : 255);
    }
    if (size > room)
        size = room;
    if (size > 0)
        memcpy(out, value->as.bytes, size);
    if (room > size)
        memset(out + size, 0, room - size);
    return LINTEL_OK;
}

/* chars: an integer will do for a byte. */
static int put_char(const struct lintelp_item *item, uint8_t *out, const struct lintel_value *value,
                    size_t index, int chars, struct lintel_error *error)
{
    if (chars && is_integer(value)) {
        if (is_negative(value) ? value->as.i < INT8_MIN : value->as.u > UINT8_MAX)
            return lintelp_refuse_value(error, item, index, "not in -128 to 255");
        *out = (uint8_t)value->as.u;
        return LINTEL_OK;
    }
    if (value->kind != LINTEL_BYTES || value->size != 1 || value->as.bytes == NULL)
        return lintelp_refuse_value(error, item, index, "not 1 byte");
    *out = *(const uint8_t *)value->as.bytes;
    return LINTEL_OK;
}

static int put_value(const struct lintelp_item *item, uint8_t *out,
                     const struct lintel_value *value, size_t index, int chars,
                     struct lintel_error *error)
{
    switch (item->form) {
    case LINTELP_BOOL:
        if ((unsigned)value->kind > LINTEL_BYTES)
            return lintelp_refuse_value(error, item, index, "not a value");
        put_integer(out, (uint64_t)is_true(value), item->size, item->little);
        return LINTEL_OK;
    case LINTELP_FLOATING:
        return put_float(item, out, value, index, error);
    case LINTELP_CHAR:
        return put_char(item, out, value, index, chars, error);
    case LINTELP_STRING:
    case LINTELP_PASCAL:
        return put_string(item, out, value, index, error);
    default:
        if (!is_integer(value))
            return lintelp_refuse_value(error, item, index, "not an integer");
        if (!fits(item, value))
            return refuse_integer(error, item, index, value);
        put_integer(out, value->as.u, item->size, item->little);
        return LINTEL_OK;
    }
}

static struct lintel_value get_string(const struct lintelp_item *item, const uint8_t *bytes)
{
    if (item->form == LINTELP_PASCAL && item->size > 0)
        return lintel_bytes(bytes + 1, bytes[0] < item->size ? bytes[0] : item->size - 1);
    return lintel_bytes(bytes, item->size);
}

static struct lintel_value get_float(const struct lintelp_item *item, const uint8_t *bytes)
{
    struct lintel_value value = lintel_float(0);

    value.as.u = get_integer(bytes, item->size, item->little);
    if (item->size == 2)
        value.as.u = lintelp_widen(&lintelp_half, value.as.u);
    else if (item->size == 4)
        value.as.u = lintelp_widen(&lintelp_single, value.as.u);
    return value;
}

struct lintel_value lintelp_get_value(const struct lintelp_item *item, const uint8_t *bytes)
{
    uint64_t u;

    if (item->form == LINTELP_STRING || item->form == LINTELP_PASCAL)
        return get_string(item, bytes);
    if (item->form == LINTELP_FLOATING)
        return get_float(item, bytes);
    if (item->form == LINTELP_CHAR)
        return lintel_bytes(bytes, 1);
    u = get_integer(bytes, item->size, item->little);
    if (item->form == LINTELP_BOOL)
        return lintel_uint(u != 0);
    if (item->form == LINTELP_SIGNED) {
        uint64_t sign = (uint64_t)1 << (item->size * 8 - 1);
        return lintel_int((int64_t)((u ^ sign) - sign));
    }
    return lintel_uint(u);
}

/* ---- one item -------------------------------------------------------------------------------- */

/* Pack the values of an item, after zeros from done on; *done is where it ends. */
static int put_item(const struct lintelp_item *item, uint8_t *out, size_t *done,
                    const struct lintel_value *values, int chars, struct lintel_error *error)
{
    uint8_t *at = out + item->offset;
    int status = LINTEL_OK;

    if (item->offset > *done)
        memset(out + *done, 0, item->offset - *done);
    for (size_t i = item->first; status == LINTEL_OK && i < item->first + item->repeat; i++) {
        status = put_value(item, at, &values[i], i, chars, error);
        at += item->size;
    }
    *done = (size_t)(at - out);
    return status;
}

static void get_item(const struct lintelp_item *item, struct lintel_value *values,
                     const uint8_t *bytes)
{
    const uint8_t *at = bytes + item->offset;

    for (size_t i = item->first; i < item->first + item->repeat; i++) {
        values[i] = lintelp_get_value(item, at);
        at += item->size;
    }
}

/* ---- with a compiled format ------------------------------------------------------------------ */

int lintelp_pack_items(const struct lintel_format *format, uint8_t *out,
                       const struct lintel_value *values, struct lintel_error *error)
{
    size_t done = 0;
    int status = LINTEL_OK;

    for (size_t i = 0; status == LINTEL_OK && i < format->items_count; i++)
        status = put_item(&format->items[i], out, &done, values, 0, error);
    if (status == LINTEL_OK && format->size > done)
        memset(out + done, 0, format->size - done);
    return status;
}

void lintelp_unpack_items(const struct lintel_format *format, struct lintel_value *values,
                          const uint8_t *bytes)
{
    for (size_t i = 0; i < format->items_count; i++)
        get_item(&format->items[i], values, bytes);
}

/* ---- with a format that is used once --------------------------------------------------------- */

int lintel_pack_values(void *out, size_t capacity, const char *format,
                       const struct lintel_value *values, size_t count, struct lintel_error *error)
{
    struct lintelp_scan scan;
    struct lintelp_item item;
    size_t items;
    size_t done = 0;
    int status;

    if (format == NULL || (out == NULL && capacity > 0) || (values == NULL && count > 0))
        return lintelp_refuse_usage(error);
    status = lintelp_scan_all(&scan, &items, format, error);
    if (status < 0)
        return status;
    if (count != scan.count)
        return lintelp_refuse_count(error, scan.count, count);
    if (capacity < scan.size)
        return lintelp_refuse_capacity(error, scan.size, capacity);
    lintelp_scan_begin(&scan, format);
    while (status == LINTEL_OK && lintelp_scan_next(&scan, &item, NULL) > 0)
        status = put_item(&item, out, &done, values, 1, error);
    if (status == LINTEL_OK && scan.size > done)
        memset((uint8_t *)out + done, 0, scan.size - done);
    return status;
}
