#include "core/pack.h"

/* Unpacking into the caller's variables: all values are checked before the first one is stored. */

/* An integer of 1, 2, 4 or 8 bytes in the order of this machine. */
static void store_integer(const struct lintel_target *target, uint64_t u)
{
    uint8_t u8 = (uint8_t)u;
    uint16_t u16 = (uint16_t)u;
    uint32_t u32 = (uint32_t)u;

    if (target->size == 1)
        memcpy(target->to, &u8, sizeof u8);
    else if (target->size == 2)
        memcpy(target->to, &u16, sizeof u16);
    else if (target->size == 4)
        memcpy(target->to, &u32, sizeof u32);
    else
        memcpy(target->to, &u, sizeof u);
}

static void store(const struct lintel_target *target, const struct lintel_value *value)
{
    int overflow = 0;
    _Bool is_true;

    switch (target->type) {
    case LINTEL_TO_BOOL:
        is_true = value->as.u != 0;
        memcpy(target->to, &is_true, sizeof is_true);
        break;
    case LINTEL_TO_FLOAT:
        store_integer(target, target->size == sizeof(double)
                                  ? value->as.u
                                  : lintelp_narrow(&lintelp_single, value->as.u, &overflow));
        break;
    case LINTEL_TO_TEXT:
        memcpy(target->to, &value->as.bytes, sizeof value->as.bytes);
        break;
    case LINTEL_TO_VALUE:
        memcpy(target->to, value, sizeof *value);
        break;
    default:
        store_integer(target, value->as.u);
        break;
    }
}

static int target_is_sound(const struct lintel_target *target)
{
    size_t size = target->size;

    if (target->to == NULL)
        return 0;
    switch (target->type) {
    case LINTEL_TO_UINT:
    case LINTEL_TO_INT:
        return size == 1 || size == 2 || size == 4 || size == 8;
    case LINTEL_TO_BOOL:
        return size == sizeof(_Bool);
    case LINTEL_TO_FLOAT:
        return size == sizeof(float) || size == sizeof(double);
    case LINTEL_TO_TEXT:
        return size == sizeof(const char *);
    case LINTEL_TO_POINTER:
        return size == sizeof(void *);
    case LINTEL_TO_VALUE:
        return size == sizeof(struct lintel_value);
    }
    return 0;
}

static const char *check_integer(const struct lintel_target *target,
                                 const struct lintel_value *value)
{
    unsigned bits = (unsigned)target->size * 8;
    int negative = value->kind == LINTEL_INT && value->as.i < 0;
    uint64_t magnitude = negative ? ~value->as.u : value->as.u;

    if (value->kind != LINTEL_UINT && value->kind != LINTEL_INT)
        return "a number or bytes, which an integer cannot hold";
    if (negative && target->type != LINTEL_TO_INT)
        return "a negative number, which the variable cannot hold";
    if (target->type == LINTEL_TO_INT)
        bits--;
    if (target->type == LINTEL_TO_BOOL)
        bits = 1;
    return bits == 64 || magnitude >> bits == 0 ? NULL
                                                : "a number that is too large for the variable";
}

/* A float must hold it exactly; any NaN will do for a NaN. */
static const char *check_float(const struct lintel_target *target, const struct lintel_value *value)
{
    const uint64_t infinity = (uint64_t)0x7FF << 52;
    uint64_t bits = value->as.u;
    int overflow = 0;

    if (value->kind != LINTEL_FLOAT)
        return "not a floating-point number";
    if (target->size == sizeof(double) || bits << 1 > infinity << 1)
        return NULL;
    if (lintelp_widen(&lintelp_single, lintelp_narrow(&lintelp_single, bits, &overflow)) != bits)
        return "a number that a float cannot hold exactly";
    return NULL;
}

/* `room` bytes stand from the value's first one to the end of its field. */
static const char *check_text(const struct lintel_value *value, size_t room)
{
    const char *bytes = value->as.bytes;
    size_t length = 0;

    if (value->kind != LINTEL_BYTES)
        return "not bytes";
    while (length < room && bytes[length] != '\0')
        length++;
    if (length == room || length > value->size)
        return "a text without a NUL behind it";
    for (size_t i = length; i < value->size; i++)
        if (bytes[i] != '\0')
            return "a text with a NUL inside";
    return NULL;
}

/* A value on its way into a variable. */
static const char *check(const struct lintelp_item *item, const struct lintel_target *target,
                         const struct lintel_value *value)
{
    switch (target->type) {
    case LINTEL_TO_VALUE:
        return NULL;
    case LINTEL_TO_FLOAT:
        return check_float(target, value);
    case LINTEL_TO_TEXT:
        return check_text(value, item->form == LINTELP_PASCAL && item->size > 0 ? item->size - 1
                                                                                : item->size);
    default:
        return check_integer(target, value);
    }
}

/* The value as the variable takes it. A byte that goes into a signed character keeps its bits. */
static struct lintel_value take(const struct lintelp_item *item, const struct lintel_target *target,
                                const uint8_t *bytes)
{
    if (item->form != LINTELP_CHAR || target->type > LINTEL_TO_INT)
        return lintelp_get_value(item, bytes);
    if (target->type == LINTEL_TO_INT && target->size == 1)
        return lintel_int(lintel_get_i8(bytes));
    return lintel_uint(bytes[0]);
}

/* Check the values of an item, or store them. */
static int do_item(const struct lintelp_item *item, const struct lintel_target *targets,
                   const uint8_t *bytes, int storing, struct lintel_error *error)
{
    const uint8_t *at = bytes + item->offset;

    for (size_t i = item->first; i < item->first + item->repeat; i++, at += item->size) {
        struct lintel_value value = take(item, &targets[i], at);
        const char *wrong;
        if (storing) {
            store(&targets[i], &value);
            continue;
        }
        if (!target_is_sound(&targets[i]))
            return lintelp_refuse_usage(error);
        wrong = check(item, &targets[i], &value);
        if (wrong != NULL)
            return lintelp_refuse_value(error, item, i, wrong);
    }
    return LINTEL_OK;
}

static int do_all(const char *format, const struct lintel_target *targets, const uint8_t *bytes,
                  int storing, struct lintel_error *error)
{
    struct lintelp_scan scan;
    struct lintelp_item item;
    int status = LINTEL_OK;

    lintelp_scan_begin(&scan, format);
    while (status == LINTEL_OK && lintelp_scan_next(&scan, &item, NULL) > 0)
        status = do_item(&item, targets, bytes, storing, error);
    return status;
}

int lintel_unpack_targets(const struct lintel_target *targets, size_t count, const void *bytes,
                          size_t size, const char *format, struct lintel_error *error)
{
    struct lintelp_scan scan;
    size_t items;
    int status;

    if (format == NULL || (bytes == NULL && size > 0) || (targets == NULL && count > 0))
        return lintelp_refuse_usage(error);
    status = lintelp_scan_all(&scan, &items, format, error);
    if (status < 0)
        return status;
    if (count != scan.count)
        return lintelp_refuse_count(error, scan.count, count);
    if (size != scan.size)
        return lintelp_refuse_size(error, scan.size, size);
    status = do_all(format, targets, bytes, 0, error);
    if (status == LINTEL_OK)
        status = do_all(format, targets, bytes, 1, error);
    return status;
}
