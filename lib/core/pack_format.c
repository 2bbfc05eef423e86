#include "core/pack.h"

#include "core/internal.h"

#define SIZE_LIMIT (SIZE_MAX / 2)

/* ---- the language ---------------------------------------------------------------------------- */

struct code {
    uint8_t form;
    uint8_t native;   /* bytes under @; 0: not there */
    uint8_t align;    /* under @ */
    uint8_t standard; /* bytes in the other orders; 0: not there */
};

/* clang-format off */
#define ALIGN(type) offsetof(struct { char before; type it; }, it)
#define NATIVE(type) sizeof(type), ALIGN(type)
static const struct code codes[128] = {
    ['x'] = {LINTELP_PAD, NATIVE(char), 1},
    ['c'] = {LINTELP_CHAR, NATIVE(char), 1},
    ['b'] = {LINTELP_SIGNED, NATIVE(signed char), 1},
    ['B'] = {LINTELP_UNSIGNED, NATIVE(unsigned char), 1},
    ['?'] = {LINTELP_BOOL, NATIVE(_Bool), 1},
    ['h'] = {LINTELP_SIGNED, NATIVE(short), 2},
    ['H'] = {LINTELP_UNSIGNED, NATIVE(unsigned short), 2},
    ['i'] = {LINTELP_SIGNED, NATIVE(int), 4},
    ['I'] = {LINTELP_UNSIGNED, NATIVE(unsigned int), 4},
    ['l'] = {LINTELP_SIGNED, NATIVE(long), 4},
    ['L'] = {LINTELP_UNSIGNED, NATIVE(unsigned long), 4},
    ['q'] = {LINTELP_SIGNED, NATIVE(long long), 8},
    ['Q'] = {LINTELP_UNSIGNED, NATIVE(unsigned long long), 8},
    ['n'] = {LINTELP_SIGNED, NATIVE(size_t), 0},
    ['N'] = {LINTELP_UNSIGNED, NATIVE(size_t), 0},
    ['t'] = {LINTELP_SIGNED, 0, 1, 3},
    ['T'] = {LINTELP_UNSIGNED, 0, 1, 3},
    ['e'] = {LINTELP_FLOATING, sizeof(uint16_t), ALIGN(short), 2},
    ['f'] = {LINTELP_FLOATING, NATIVE(float), 4},
    ['d'] = {LINTELP_FLOATING, NATIVE(double), 8},
    ['s'] = {LINTELP_STRING, NATIVE(char), 1},
    ['p'] = {LINTELP_PASCAL, NATIVE(char), 1},
    ['P'] = {LINTELP_POINTER, NATIVE(void *), 0},
};
/* clang-format on */

static int host_is_little(void)
{
    const uint16_t one = 1;
    return lintel_get_u16le(&one) == 1;
}

static int is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

void lintelp_scan_begin(struct lintelp_scan *scan, const char *text)
{
    memset(scan, 0, sizeof *scan);
    scan->text = text;
    scan->native = text[0] != '<' && text[0] != '>' && text[0] != '!' && text[0] != '=';
    scan->little = text[0] == '<' || (text[0] != '>' && text[0] != '!' && host_is_little());
    scan->at = !scan->native || text[0] == '@';
}

/* Start the text of a complaint about the character at that index. */
static struct lintelp_text complain(struct lintel_error *error, size_t at)
{
    struct lintelp_text text = lintelp_error(error, LINTEL_E_SYNTAX, at + 1);
    lintelp_text_str(&text, "column ");
    lintelp_text_u64(&text, at + 1);
    lintelp_text_str(&text, ": ");
    return text;
}

static int refuse_size(struct lintel_error *error, size_t at)
{
    struct lintelp_text text = complain(error, at);
    lintelp_text_str(&text, "the size is over the limit of ");
    lintelp_text_u64(&text, SIZE_LIMIT);
    lintelp_text_str(&text, " bytes");
    return LINTEL_E_SYNTAX;
}

static int refuse_code(const struct lintelp_scan *scan, size_t at, int counted,
                       struct lintel_error *error)
{
    struct lintelp_text text = complain(error, at);
    uint8_t c = (uint8_t)scan->text[at];

    if (counted && is_blank(scan->text[at])) {
        lintelp_text_str(&text, "a blank between a count and its code");
        return LINTEL_E_SYNTAX;
    }
    lintelp_text_quote(&text, &c, 1);
    if (c < 128 && codes[c].form != LINTELP_NONE)
        lintelp_text_str(&text, scan->native ? " is for the orders < > ! and = only"
                                             : " is for the native order @ only");
    else
        lintelp_text_str(&text, " is not a format code");
    return LINTEL_E_SYNTAX;
}

/* Read digits, if there are any; *count is 1 if not. */
static int scan_count(struct lintelp_scan *scan, size_t *count, struct lintel_error *error)
{
    const char *text = scan->text;
    size_t start = scan->at;

    *count = is_digit(text[start]) ? 0 : 1;
    for (; is_digit(text[scan->at]); scan->at++) {
        size_t digit = (size_t)(text[scan->at] - '0');
        if (*count > (SIZE_LIMIT - digit) / 10)
            return refuse_size(error, start);
        *count = *count * 10 + digit;
    }
    if (text[scan->at] == '\0') {
        struct lintelp_text complaint = complain(error, start);
        lintelp_text_str(&complaint, "a count without a code");
        return LINTEL_E_SYNTAX;
    }
    return LINTEL_OK;
}

/* Make room for count times the code at scan->at, aligned; *offset is where. */
static int scan_place(struct lintelp_scan *scan, size_t *offset, const struct code *code,
                      size_t count, struct lintel_error *error)
{
    size_t size = scan->native ? code->native : code->standard;
    size_t gap = 0;

    if (scan->native && scan->size % code->align != 0)
        gap = code->align - scan->size % code->align;
    if (gap > SIZE_LIMIT - scan->size || count > (SIZE_LIMIT - scan->size - gap) / size)
        return refuse_size(error, scan->at);
    *offset = scan->size + gap;
    scan->size = *offset + count * size;
    return LINTEL_OK;
}

/* Read one code with its count; item->repeat is 0 where it has no values. */
static int scan_item(struct lintelp_scan *scan, struct lintelp_item *item,
                     struct lintel_error *error)
{
    const struct code *code = &codes[0];
    size_t start = scan->at;
    size_t count;
    int status = scan_count(scan, &count, error);
    uint8_t c = (uint8_t)scan->text[scan->at];

    if (status < 0)
        return status;
    if (c < 128)
        code = &codes[c];
    item->size = scan->native ? code->native : code->standard;
    if (item->size == 0)
        return refuse_code(scan, scan->at, scan->at > start, error);
    status = scan_place(scan, &item->offset, code, count, error);
    if (status < 0)
        return status;

    item->first = scan->count;
    item->repeat = code->form == LINTELP_PAD ? 0 : count;
    item->column = scan->at + 1;
    item->code = (char)c;
    item->form = code->form;
    item->little = scan->little;
    item->native = scan->native;
    if (code->form == LINTELP_STRING || code->form == LINTELP_PASCAL) {
        item->size = count;
        item->repeat = 1;
    }
    scan->count += item->repeat;
    scan->at++;
    return LINTEL_OK;
}

int lintelp_scan_next(struct lintelp_scan *scan, struct lintelp_item *item,
                      struct lintel_error *error)
{
    while (scan->text[scan->at] != '\0') {
        int status;
        if (is_blank(scan->text[scan->at])) {
            scan->at++;
            continue;
        }
        status = scan_item(scan, item, error);
        if (status < 0)
            return status;
        if (item->repeat > 0)
            return 1;
    }
    return 0;
}

int lintelp_scan_all(struct lintelp_scan *scan, size_t *items, const char *text,
                     struct lintel_error *error)
{
    struct lintelp_item item;
    int status;

    *items = 0;
    lintelp_scan_begin(scan, text);
    while ((status = lintelp_scan_next(scan, &item, error)) > 0)
        ++*items;
    return status;
}

int lintel_calcsize(size_t *size, const char *format, struct lintel_error *error)
{
    struct lintelp_scan scan;
    size_t items;
    int status;

    if (size == NULL || format == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "a NULL where a format or a size must be");
    status = lintelp_scan_all(&scan, &items, format, error);
    if (status == LINTEL_OK)
        *size = scan.size;
    return status;
}

/* ---- the compiled form ----------------------------------------------------------------------- */

static int has_plan(const struct lintelp_scan *whole, const char *text)
{
    struct lintelp_scan scan;
    struct lintelp_item item;

    if (whole->count == 0 || whole->count > LINTELP_PLAN_VALUES || whole->size > LINTELP_PLAN_BYTES)
        return 0;
    lintelp_scan_begin(&scan, text);
    while (lintelp_scan_next(&scan, &item, NULL) > 0)
        if (item.form != LINTELP_UNSIGNED && item.form != LINTELP_SIGNED)
            return 0;
    return 1;
}

/* The first address from there on where pairs may be. An allocator need not give such. */
static struct lintelp_pair *align_pairs(void *from)
{
    size_t past = (uintptr_t)from % _Alignof(struct lintelp_pair);
    return (void *)((char *)from + (past > 0 ? _Alignof(struct lintelp_pair) - past : 0));
}

/* One block for the format and all that it points to; NULL when out of memory. */
static struct lintel_format *allocate(const struct lintelp_scan *scan, size_t items, int plan,
                                      const struct lintel_allocator *allocator)
{
    size_t fields = plan ? scan->count : 0;
    size_t pairs = plan ? lintelp_vector_pairs(scan->size, scan->count) : 0;
    size_t size = sizeof(struct lintel_format) + fields * sizeof(struct lintelp_field);
    struct lintel_format *format = NULL;

    if (pairs > 0)
        size += pairs * sizeof(struct lintelp_pair) + _Alignof(struct lintelp_pair);
    if (items <= (SIZE_LIMIT - size) / sizeof(struct lintelp_item))
        format = lintelp_resize(allocator, NULL, size + items * sizeof(struct lintelp_item));
    if (format == NULL)
        return NULL;
    memset(format, 0, size);
    format->allocator = allocator;
    format->size = scan->size;
    format->count = scan->count;
    format->little = scan->little;
    format->fields = (void *)(format + 1);
    format->items = (void *)(format->fields + fields);
    if (pairs > 0)
        format->pairs = align_pairs(format->items + items);
    return format;
}

int lintel_format_new(struct lintel_format **out, const char *text,
                      const struct lintel_allocator *allocator, struct lintel_error *error)
{
    struct lintelp_scan scan;
    struct lintelp_item item;
    struct lintel_format *format;
    size_t items;
    int status;
    int plan;

    if (out == NULL || text == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "a NULL where a format must be");
    status = lintelp_scan_all(&scan, &items, text, error);
    if (status < 0)
        return status;
    plan = has_plan(&scan, text);
    format = allocate(&scan, items, plan, allocator);
    if (format == NULL)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, lintel_strerror(LINTEL_E_NOMEM));

    lintelp_scan_begin(&scan, text);
    while (lintelp_scan_next(&scan, &item, NULL) > 0)
        format->items[format->items_count++] = item;
    if (plan)
        lintelp_plan_make(format);
    *out = format;
    return LINTEL_OK;
}

void lintel_format_free(struct lintel_format *format)
{
    if (format != NULL)
        lintelp_resize(format->allocator, format, 0);
}

size_t lintel_format_size(const struct lintel_format *format)
{
    return format != NULL ? format->size : 0;
}

size_t lintel_format_count(const struct lintel_format *format)
{
    return format != NULL ? format->count : 0;
}

char lintel_format_code(const struct lintel_format *format, size_t index)
{
    size_t low = 0;
    size_t high;

    if (format == NULL || index >= format->count)
        return '\0';
    /* The item is in [low, high). */
    for (high = format->items_count; high - low > 1;) {
        size_t middle = low + (high - low) / 2;
        if (format->items[middle].first <= index)
            low = middle;
        else
            high = middle;
    }
    return format->items[low].code;
}
