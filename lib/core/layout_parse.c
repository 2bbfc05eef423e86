/*
 * The text of a layout -> a compiled layout. The grammar is in proto/layouts.md. Everything that
 * cannot work is refused here, with its column.
 */
#include "core/internal.h"
#include "core/layout.h"
#include "core/text.h"

#include <string.h>

enum { WORD, REAL, TEXT, VARINT }; /* what stands in a field */

struct code {
    char code;
    uint8_t size; /* standard size; 0: the count */
    uint8_t shape;
    uint8_t is_signed;
};

static const struct code codes[] = {
    {'x', 0, TEXT, 0}, {'c', 1, TEXT, 0}, {'s', 0, TEXT, 0}, {'b', 1, WORD, 1},   {'B', 1, WORD, 0},
    {'?', 1, WORD, 0}, {'h', 2, WORD, 1}, {'H', 2, WORD, 0}, {'t', 3, WORD, 1},   {'T', 3, WORD, 0},
    {'i', 4, WORD, 1}, {'I', 4, WORD, 0}, {'l', 4, WORD, 1}, {'L', 4, WORD, 0},   {'q', 8, WORD, 1},
    {'Q', 8, WORD, 0}, {'f', 4, REAL, 0}, {'d', 8, REAL, 0}, {'v', 0, VARINT, 0},
};

struct parser {
    const char *text;
    size_t at; /* index of the next character */
    struct lintel_error *error;
    const struct lintel_allocator *allocator;
    struct lintel_layout made;
    size_t star; /* index of the '*', once seen */
    uint8_t starred;
    struct lintel_field fields[LINTEL_FIELDS_MAX];
    struct lintelp_view views[LINTEL_VIEWS_MAX];
    const char *names[LINTEL_VIEWS_MAX]; /* in the text, not terminated */
    size_t name_sizes[LINTEL_VIEWS_MAX];
};

static const struct code *find_code(char c)
{
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
        if (codes[i].code == c)
            return &codes[i];
    return NULL;
}

/* "layout, column 7: SENTENCE" */
static struct lintelp_text begin_error(const struct parser *p, size_t index)
{
    struct lintelp_text text = lintelp_error(p->error, LINTEL_E_SYNTAX, index + 1);
    lintelp_text_str(&text, "layout, column ");
    lintelp_text_u64(&text, index + 1);
    lintelp_text_str(&text, ": ");
    return text;
}

static int refuse(const struct parser *p, size_t index, const char *sentence)
{
    struct lintelp_text text = begin_error(p, index);
    lintelp_text_str(&text, sentence);
    return LINTEL_E_SYNTAX;
}

static int refuse_name(const struct parser *p, size_t view, const char *sentence)
{
    struct lintelp_text text = begin_error(p, p->views[view].seen.column - 1);
    lintelp_text_quote(&text, p->names[view], p->name_sizes[view]);
    lintelp_text_str(&text, sentence);
    return LINTEL_E_SYNTAX;
}

static char peek(const struct parser *p)
{
    return p->text[p->at];
}

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static int hex_digit(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

static int same(const char *a, const char *b)
{
    size_t size = strlen(a);
    return size == strlen(b) && memcmp(a, b, size) == 0;
}

static int begins_hex(const char *text)
{
    return text[0] == 'h' && text[1] == 'e' && text[2] == 'x' && text[3] == ':';
}

static int named(const struct parser *p, size_t view, const char *name)
{
    size_t size = strlen(name);
    return p->name_sizes[view] == size && memcmp(p->names[view], name, size) == 0;
}

/* number = decimal digits | "0x" hex digits, at most 64 bits */
static int parse_number(struct parser *p, uint64_t *out)
{
    size_t start = p->at;
    unsigned base = 10;
    uint64_t value = 0;

    if (peek(p) == '0' && (p->text[p->at + 1] == 'x' || p->text[p->at + 1] == 'X')) {
        base = 16;
        p->at += 2;
    }
    if (hex_digit(peek(p)) < 0 || hex_digit(peek(p)) >= (int)base)
        return refuse(p, start, "a number is expected");
    while (hex_digit(peek(p)) >= 0 && hex_digit(peek(p)) < (int)base) {
        unsigned digit = (unsigned)hex_digit(peek(p));
        if (value > (UINT64_MAX - digit) / base)
            return refuse(p, start, "the number is over 64 bits");
        value = value * base + digit;
        p->at++;
    }
    *out = value;
    return LINTEL_OK;
}

/* ---- ops ------------------------------------------------------------------------------------- */

static uint64_t width_mask(const struct lintel_field *field)
{
    unsigned bits = field->code == 'v' ? 7 * field->size : 8 * field->size;
    return bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
}

static int add_sum(struct parser *p, size_t start, struct lintelp_view *view, char op, uint64_t n)
{
    int64_t sum = view->seen.sum;
    int64_t step;

    if (n > INT64_MAX)
        return refuse(p, start, "the sum is over 63 bits");
    step = op == '+' ? (int64_t)n : -(int64_t)n;
    if ((step > 0 && sum > INT64_MAX - step) || (step < 0 && sum < -INT64_MAX - step))
        return refuse(p, start, "the sums are over 63 bits");
    sum += step;
    view->sums = 1;
    view->seen.sum = sum;
    if (sum < view->low)
        view->low = sum;
    if (sum > 0 && (uint64_t)sum > view->high)
        view->high = (uint64_t)sum;
    return LINTEL_OK;
}

static int add_mask(struct parser *p, size_t start, const struct lintel_field *field,
                    struct lintelp_view *view, uint64_t n)
{
    uint64_t width = width_mask(field);

    if (view->seen.mask != 0)
        return refuse(p, start, "a second mask");
    if (view->seen.factor != 1 || view->sums)
        return refuse(p, start, "a mask must come before factor and sums");
    if (n == 0)
        return refuse(p, start, "the mask is 0");
    if (n > (width >> view->seen.shift))
        return refuse(p, start, "the mask is wider than its field");
    view->seen.mask = n << view->seen.shift;
    return LINTEL_OK;
}

static int add_shift(struct parser *p, size_t start, const struct lintel_field *field,
                     struct lintelp_view *view, uint64_t n)
{
    uint64_t bits = view->seen.mask != 0 ? view->seen.mask : width_mask(field);

    if (view->seen.shift != 0)
        return refuse(p, start, "a second shift");
    if (view->seen.factor != 1 || view->sums)
        return refuse(p, start, "a shift must come before factor and sums");
    if (n == 0)
        return refuse(p, start, "the shift is 0");
    if (n >= 64 || bits >> n == 0)
        return refuse(p, start, "the shift leaves nothing of its field");
    view->seen.shift = (unsigned)n;
    return LINTEL_OK;
}

static int parse_op(struct parser *p, const struct lintel_field *field, struct lintelp_view *view)
{
    size_t start = p->at;
    char op = peek(p);
    uint64_t n;
    int rc;

    if (op == '>' && p->text[p->at + 1] != '>')
        return refuse(p, start, "'>' alone; a right shift is '>>'");
    p->at += op == '>' ? 2 : 1;
    rc = parse_number(p, &n);
    if (rc < 0)
        return rc;
    if (find_code(field->code)->shape == TEXT || find_code(field->code)->shape == REAL ||
        field->code == '?')
        return refuse(p, start, "ops need an integer field");
    view->ops = 1;
    if (op == '&')
        return add_mask(p, start, field, view, n);
    if (op == '>')
        return add_shift(p, start, field, view, n);
    if (op != '*')
        return add_sum(p, start, view, op, n);
    if (view->sums)
        return refuse(p, start, "a factor must come before sums");
    if (view->seen.factor != 1)
        return refuse(p, start, "a second factor");
    if (n < 2)
        return refuse(p, start, "the factor must be at least 2");
    view->seen.factor = n;
    return LINTEL_OK;
}

/* ---- constants ------------------------------------------------------------------------------- */

/* A quoted text, or "hex:" and digits; the bytes are decoded when the layout is put together. */
static int parse_bytes(struct parser *p, const struct lintel_field *field,
                       const struct lintelp_view *view)
{
    size_t start = p->at;
    size_t size = 0;

    if (find_code(field->code)->shape != TEXT)
        return refuse(p, start, "an integer's constant is a number");
    if (peek(p) == '\'') {
        for (p->at++; peek(p) != '\''; p->at++, size++)
            if (peek(p) < 0x20 || peek(p) > 0x7E)
                return refuse(p, p->at, "the text has no closing quote, or is not printable");
        p->at++;
    } else {
        for (p->at += 4; hex_digit(peek(p)) >= 0; p->at++)
            size++;
        if (size % 2 != 0)
            return refuse(p, start, "an odd number of hex digits");
        size /= 2;
    }
    if (size != view->seen.size) {
        struct lintelp_text text = begin_error(p, start);
        lintelp_text_str(&text, "the constant has ");
        lintelp_text_u64(&text, size);
        lintelp_text_str(&text, " bytes, its field ");
        lintelp_text_u64(&text, view->seen.size);
        return LINTEL_E_SYNTAX;
    }
    return LINTEL_OK;
}

static int parse_constant(struct parser *p, const struct lintel_field *field,
                          struct lintelp_view *view)
{
    const struct code *code = find_code(field->code);
    size_t start = ++p->at;
    int negative = 0;
    uint64_t n;
    int rc;

    view->seen.constant = 1;
    view->written = p->text + start;
    if (peek(p) == '\'' || begins_hex(p->text + p->at)) {
        rc = parse_bytes(p, field, view);
        view->written_size = p->at - start;
        return rc;
    }
    if (peek(p) == '-' && (code->shape == REAL || (code->is_signed && !view->ops))) {
        negative = 1;
        p->at++;
    }
    rc = parse_number(p, &n);
    if (rc < 0)
        return rc;
    view->written_size = p->at - start;
    view->hex = p->text[start + (size_t)negative] == '0' && view->written_size > 2;
    if (code->shape == TEXT)
        return refuse(p, start, "a constant of x, c or s is a 'text' or hex:digits");
    if (code->shape == REAL) {
        view->real = negative ? -(double)n : (double)n;
        return LINTEL_OK;
    }
    if (code->is_signed && !view->ops) {
        uint64_t most = width_mask(field) >> 1;
        if (n > most + (uint64_t)negative)
            return refuse(p, start, "the constant does not fit its field");
        view->bits = (negative ? 0 - n : n) & width_mask(field);
        return LINTEL_OK;
    }
    if ((field->code == '?' && n > 1) || lintelp_view_invert(view, n, &view->bits) < 0)
        return refuse(p, start, "the constant does not fit its field");
    return LINTEL_OK;
}

/* ---- views and fields ------------------------------------------------------------------------ */

static int parse_name(struct parser *p, size_t index)
{
    size_t start = p->at;

    if (!is_letter(peek(p)))
        return refuse(p, start, "a name is expected");
    while (is_letter(peek(p)) || is_digit(peek(p)))
        p->at++;
    p->names[index] = p->text + start;
    p->name_sizes[index] = p->at - start;
    if (p->at - start > LINTEL_NAME_MAX)
        return refuse(p, start, "the name is longer than 31 characters");
    for (size_t i = 0; i < index; i++)
        if (p->name_sizes[i] == p->name_sizes[index] &&
            memcmp(p->names[i], p->names[index], p->name_sizes[i]) == 0)
            return refuse_name(p, index, " is there already");
    return LINTEL_OK;
}

static int is_op(char c)
{
    return c == '&' || c == '>' || c == '*' || c == '+' || c == '-';
}

/* view = name { op number } [ "=" constant ] */
static int parse_view(struct parser *p, size_t field_index)
{
    const struct lintel_field *field = &p->fields[field_index];
    size_t index = p->made.view_count;
    struct lintelp_view *view = &p->views[index];
    int rc;

    if (index == LINTEL_VIEWS_MAX)
        return refuse(p, p->at, "more than 64 views");
    memset(view, 0, sizeof *view);
    view->seen.code = field->code;
    view->seen.size = field->size;
    view->seen.factor = 1;
    view->seen.column = (unsigned)p->at + 1;
    view->seen.field = (uint16_t)field_index;
    view->seen.in_trailer = field->in_trailer;
    rc = parse_name(p, index);
    while (rc == LINTEL_OK && is_op(peek(p)))
        rc = parse_op(p, field, view);
    view->mask = view->seen.mask != 0 ? view->seen.mask : width_mask(field);
    view->mask = view->mask >> view->seen.shift << view->seen.shift;
    if (rc == LINTEL_OK && peek(p) == '=')
        rc = parse_constant(p, field, view);
    if (rc == LINTEL_OK)
        p->made.view_count++;
    return rc;
}

static int end_of_field(const struct parser *p)
{
    return peek(p) == '\0' || is_blank(peek(p));
}

/* The views of one field must be able to stand in it together. */
static int check_sharing(const struct parser *p, const struct lintel_field *field)
{
    const struct lintelp_view *view = p->views + field->first_view;

    for (size_t i = 1; i < field->views; i++) {
        if (find_code(field->code)->shape == TEXT || find_code(field->code)->shape == REAL)
            return refuse_name(p, field->first_view + i, ": only integers are shared by views");
        for (size_t j = 0; j < i; j++)
            if (view[i].seen.constant && view[j].seen.constant &&
                ((view[i].bits ^ view[j].bits) & view[i].mask & view[j].mask) != 0)
                return refuse_name(p, field->first_view + i, ": its constant and another's clash");
    }
    return LINTEL_OK;
}

static int parse_count(struct parser *p, uint64_t *count)
{
    size_t start = p->at;
    int rc;

    if (!is_digit(peek(p)))
        return LINTEL_OK;
    rc = parse_number(p, count);
    if (rc < 0)
        return rc;
    if (*count == 0 || *count > LINTEL_HEADER_MAX)
        return refuse(p, start, "a count must be 1 to 1024");
    return LINTEL_OK;
}

static int parse_code(struct parser *p, struct lintel_field *field, uint64_t count, size_t start)
{
    const struct code *code = find_code(peek(p));

    if (code == NULL || peek(p) == '\0') {
        struct lintelp_text text = begin_error(p, p->at);
        lintelp_text_str(&text, "not a code: ");
        lintelp_text_quote(&text, p->text + p->at, peek(p) != '\0');
        return LINTEL_E_SYNTAX;
    }
    if (count > 0 && code->size != 0)
        return refuse(p, start, "only s, x and v take a count");
    if (code->shape == VARINT && count > 10)
        return refuse(p, start, "a varint has at most 10 bytes");
    field->code = code->code;
    field->size = code->size;
    if (code->size == 0)
        field->size = count > 0 ? (uint32_t)count : code->shape == VARINT ? 10 : 1;
    p->at++;
    return LINTEL_OK;
}

/* field = [count] code [":" view { "," view }] */
static int parse_field(struct parser *p)
{
    size_t start = p->at;
    uint32_t *low = p->starred ? &p->made.trailer_min : &p->made.header_min;
    uint32_t *high = p->starred ? &p->made.trailer_max : &p->made.header_max;
    struct lintel_field *field = &p->fields[p->made.field_count];
    uint64_t count = 0;
    int rc;

    if (p->made.field_count == LINTEL_FIELDS_MAX)
        return refuse(p, start, "more than 64 fields");
    memset(field, 0, sizeof *field);
    field->in_trailer = p->starred;
    field->first_view = p->made.view_count;
    field->offset = *low;
    rc = parse_count(p, &count);
    if (rc == LINTEL_OK)
        rc = parse_code(p, field, count, start);
    if (rc < 0)
        return rc;
    if (field->size > LINTEL_HEADER_MAX - *high)
        return refuse(p, start, "over 1024 bytes of header or trailer");
    *low += field->code == 'v' ? 1 : field->size;
    *high += field->size;
    p->made.varints |= field->code == 'v';
    if (peek(p) != ':' && field->code != 'x')
        return refuse(p, p->at, "':' and a name are expected; only x may be nameless");
    while (rc == LINTEL_OK && (peek(p) == ':' || (field->views > 0 && peek(p) == ','))) {
        if (peek(p) == ':' && field->views > 0)
            break;
        p->at++;
        rc = parse_view(p, p->made.field_count);
        field->views++;
    }
    if (rc == LINTEL_OK && !end_of_field(p))
        return refuse(p, p->at, "a blank is expected between fields");
    if (rc == LINTEL_OK)
        rc = check_sharing(p, field);
    p->made.field_count++;
    return rc;
}

static int parse_star(struct parser *p)
{
    if (p->starred)
        return refuse(p, p->at, "a second '*'");
    p->starred = 1;
    p->star = p->at++;
    p->made.header_fields = p->made.field_count;
    if (!end_of_field(p))
        return refuse(p, p->at, "a blank is expected behind '*'");
    return LINTEL_OK;
}

static int little_endian_machine(void)
{
    const uint16_t one = 1;
    uint8_t first;
    memcpy(&first, &one, 1);
    return first;
}

static int parse_text(struct parser *p)
{
    int rc = LINTEL_OK;

    while (is_blank(peek(p)))
        p->at++;
    if (peek(p) == '!' || peek(p) == '>' || peek(p) == '<' || peek(p) == '=') {
        p->made.little = peek(p) == '<' || (peek(p) == '=' && little_endian_machine());
        p->at++;
    }
    while (rc == LINTEL_OK) {
        while (is_blank(peek(p)))
            p->at++;
        if (peek(p) == '\0')
            break;
        rc = peek(p) == '*' ? parse_star(p) : parse_field(p);
    }
    return rc;
}

/* ---- the layout as a whole ------------------------------------------------------------------- */

/* The bits of a view that the constants of its field fix, as mask and bits. */
static uint64_t fixed_bits(const struct parser *p, const struct lintelp_view *view, uint64_t *bits)
{
    const struct lintel_field *field = &p->fields[view->seen.field];
    uint64_t fixed = 0;

    *bits = 0;
    for (int i = field->first_view; i < field->first_view + field->views; i++)
        if (p->views[i].seen.constant) {
            fixed |= p->views[i].mask & view->mask;
            *bits |= p->views[i].bits & p->views[i].mask & view->mask;
        }
    return fixed;
}

/* The least and the greatest number that a view can stand for, with what its field's constants fix.
 * Over 64 bits it is 2^64-1. Returns 0 where it is below zero whatever the word. */
static int range_of(const struct parser *p, const struct lintelp_view *view, uint64_t *least,
                    uint64_t *most)
{
    uint64_t bits, fixed = fixed_bits(p, view, &bits);
    uint64_t sign = lintelp_view_is_signed(view) ? view->mask & ~(view->mask >> 1) : 0;
    uint64_t factor = view->seen.factor, top = UINT64_MAX - view->high;

    if ((bits & sign) != 0)
        return 0;
    *least = bits >> view->seen.shift;
    *most = ((view->mask & ~fixed & ~sign) | bits) >> view->seen.shift;
    if (*most > top / factor)
        *most = top / factor;
    *most *= factor;
    if (view->low < 0 && *most < 0 - (uint64_t)view->low)
        return 0;
    *most += (uint64_t)view->seen.sum;
    if (*least > top / factor)
        *least = UINT64_MAX;
    else if (view->seen.sum < 0 && *least * factor < 0 - (uint64_t)view->seen.sum)
        *least = 0;
    else
        *least = *least * factor + (uint64_t)view->seen.sum;
    return 1;
}

static int check_length(struct parser *p, size_t index)
{
    struct lintelp_view *view = &p->views[index];
    const struct code *code = find_code(view->seen.code);
    uint64_t least, most;

    if (view->seen.in_trailer)
        return refuse_name(p, index, " must stand before '*'");
    if ((code->shape != WORD && code->shape != VARINT) || view->seen.code == '?')
        return refuse_name(p, index, " must be an integer");
    if (view->seen.constant)
        return refuse_name(p, index, " cannot be a constant");
    if (!range_of(p, view, &least, &most))
        return refuse_name(p, index, " would always be below zero");
    if (least > LINTEL_LENGTH_MAX)
        return refuse_name(p, index, " would always be over 2^62");
    p->made.length_max = most < LINTEL_LENGTH_MAX ? most : LINTEL_LENGTH_MAX;
    return LINTEL_OK;
}

static int check_whole(struct parser *p)
{
    int rc = LINTEL_OK;

    p->made.length = p->made.id = p->made.type = p->made.flags = p->made.version = -1;
    for (size_t i = 0; rc == LINTEL_OK && i < p->made.view_count; i++) {
        struct lintelp_view *view = &p->views[i];
        int integer = find_code(view->seen.code)->shape == WORD ||
                      find_code(view->seen.code)->shape == VARINT;
        view->fallible = view->low < 0 || view->high > 0 || view->seen.factor > 1 ||
                         (view->ops && lintelp_view_is_signed(view));
        if (named(p, i, "length")) {
            p->made.length = (int16_t)i;
            rc = check_length(p, i);
        } else if (named(p, i, "version") && view->seen.constant) {
            p->made.version = (int16_t)i;
        } else if (named(p, i, "id") && integer && !view->seen.constant && !view->seen.in_trailer) {
            p->made.id = (int16_t)i;
        } else if (named(p, i, "type") && integer && !view->seen.constant &&
                   !view->seen.in_trailer) {
            p->made.type = (int16_t)i;
        } else if (named(p, i, "flags") && integer && !view->seen.constant &&
                   !view->seen.in_trailer) {
            p->made.flags = (int16_t)i;
        }
    }
    if (rc == LINTEL_OK && !p->starred)
        return refuse(p, p->at, "there is no '*' where the payload stands");
    if (rc == LINTEL_OK && p->made.length < 0)
        return refuse(p, p->starred ? p->star : p->at, "no view before '*' is named length");
    return rc;
}

/* Bytes of the constant, out of its writing. */
static void constant_bytes(const struct lintelp_view *view, uint8_t *out)
{
    const char *digits = view->written + 4;

    if (view->written[0] == '\'') {
        memcpy(out, view->written + 1, view->seen.size);
        return;
    }
    for (uint32_t i = 0; i < view->seen.size; i++, digits += 2)
        out[i] = (uint8_t)(hex_digit(digits[0]) << 4 | hex_digit(digits[1]));
}

/* One block: the layout, fields, views, the text, then names and constant bytes. */
static int assemble(struct parser *p, struct lintel_layout **out)
{
    size_t text_size = strlen(p->text) + 1;
    size_t fields_size = p->made.field_count * sizeof p->fields[0];
    size_t views_size = p->made.view_count * sizeof p->views[0];
    size_t head = sizeof **out + fields_size + views_size;
    struct lintel_layout *layout;
    char *text, *pool;

    head = (sizeof **out + 15) / 16 * 16;
    layout = lintelp_resize(p->allocator, NULL,
                            head + views_size + fields_size + 2 * text_size + p->made.view_count);
    if (layout == NULL)
        return lintelp_fail(p->error, LINTEL_E_NOMEM, 0, "layout: out of memory");
    text = (char *)layout + head + views_size + fields_size;
    pool = text + text_size;
    memcpy(text, p->text, text_size);
    for (size_t i = 0; i < p->made.view_count; i++) {
        struct lintelp_view *view = &p->views[i];
        view->seen.name = pool;
        memcpy(pool, p->names[i], p->name_sizes[i]);
        pool += p->name_sizes[i];
        *pool++ = '\0';
        if (!view->seen.constant)
            continue;
        if (find_code(view->seen.code)->shape == TEXT) {
            constant_bytes(view, (uint8_t *)pool);
            view->bytes = (const uint8_t *)pool;
            pool += view->seen.size;
        }
        view->written = text + (view->written - p->text);
    }
    *layout = p->made;
    layout->allocator = p->allocator;
    layout->text = text;
    layout->views = memcpy((char *)layout + head, p->views, views_size);
    layout->fields = memcpy((char *)layout + head + views_size, p->fields, fields_size);
    lintelp_layout_plan(layout);
    *out = layout;
    return LINTEL_OK;
}

static const struct lintel_known_layout *find_known(const char *name)
{
    for (size_t i = 0; i < lintel_layout_known_count(); i++)
        if (same(lintel_layout_known(i)->name, name))
            return lintel_layout_known(i);
    return NULL;
}

static int is_name(const char *text)
{
    for (; *text != '\0'; text++)
        if (!is_letter(*text) && !is_digit(*text) && *text != '-')
            return 0;
    return 1;
}

int lintel_layout_new(struct lintel_layout **out, const char *text,
                      const struct lintel_allocator *allocator, struct lintel_error *error)
{
    const struct lintel_known_layout *known;
    struct parser p;
    int rc;

    if (out == NULL || text == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "layout: NULL");
    known = find_known(text);
    if (known == NULL && is_name(text)) {
        struct lintelp_text sentence = lintelp_error(error, LINTEL_E_SYNTAX, 1);
        lintelp_text_str(&sentence, "layout, column 1: no layout is named ");
        lintelp_text_quote(&sentence, text, strlen(text));
        return LINTEL_E_SYNTAX;
    }
    memset(&p.made, 0, sizeof p.made);
    p.text = known != NULL ? known->text : text;
    p.at = p.star = 0;
    p.starred = 0;
    p.error = error;
    p.allocator = allocator;
    rc = parse_text(&p);
    if (rc == LINTEL_OK)
        rc = check_whole(&p);
    if (rc == LINTEL_OK && !p.made.field_count)
        rc = refuse(&p, 0, "there are no fields");
    p.made.lintel = same(p.text, lintel_layout_default()->text) ? 1 : 0;
    return rc == LINTEL_OK ? assemble(&p, out) : rc;
}
