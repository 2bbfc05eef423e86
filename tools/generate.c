#include "config.h"

#include <string.h>

#include "generate.h"

#define PREFIX_MAX 64 /* characters; "frame_" may come before them */

/* ---- names ----------------------------------------------------------------------------------- */

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

int generate_clean(char out[GENERATE_NAME_SIZE], const char *name)
{
    const char *before = is_digit(name[0]) ? "frame_" : "";
    size_t used = strlen(before);
    if (!name[0] || strlen(name) >= GENERATE_NAME_SIZE - used)
        return 0;
    memcpy(out, before, used);
    memcpy(out + used, name, strlen(name) + 1);
    for (char *c = out; *c; c++)
        if (!is_letter(*c) && !is_digit(*c))
            *c = '_';
    return 1;
}

int generate_open(struct generate_job *job, const struct lintel_layout *layout, const char *name,
                  const char *prefix)
{
    job->layout = layout;
    job->known = NULL;
    job->has_prefix = prefix != NULL;
    for (size_t i = 0; i < lintel_layout_known_count(); i++)
        if (strcmp(lintel_layout_known(i)->name, name) == 0)
            job->known = lintel_layout_known(i);
    if ((prefix && strlen(prefix) > PREFIX_MAX) ||
        !generate_clean(job->prefix, prefix       ? prefix
                                     : job->known ? job->known->name
                                                  : "frame"))
        return tool_misuse("--prefix: \"%.100s\" is not a name of 1 to %d characters", prefix,
                           PREFIX_MAX);
    return TOOL_OK;
}

void generate_print_comment(const char *text)
{
    for (; *text; text++) {
        putchar(*text);
        if ((text[0] == '*' && text[1] == '/') || (text[0] == '/' && text[1] == '*'))
            putchar(' ');
    }
}

/* ---- views ----------------------------------------------------------------------------------- */

static uint64_t width_of(const struct lintel_view *view)
{
    unsigned bits = (view->code == 'v' ? 7 : 8) * view->size;
    return bits >= 64 ? UINT64_MAX : ((uint64_t)1 << bits) - 1;
}

static enum generate_kind kind_of(char code)
{
    switch (code) {
    case '?':
        return GENERATE_BOOL;
    case 'f':
    case 'd':
        return GENERATE_REAL;
    case 'c':
        return GENERATE_BYTE;
    case 's':
    case 'x':
        return GENERATE_BYTES;
    default:
        return GENERATE_UINT;
    }
}

static uint64_t real_bits(const struct lintel_view *view, double real)
{
    uint64_t bits = 0;
    if (view->code == 'd') {
        memcpy(&bits, &real, sizeof bits);
        return bits;
    }
    uint32_t half;
    float single = (float)real;
    memcpy(&half, &single, sizeof half);
    return half;
}

static uint64_t constant_bits(const struct generate_view *view)
{
    switch (view->kind) {
    case GENERATE_UINT:
        return generate_bits(view, view->constant.as.u);
    case GENERATE_INT:
        return (uint64_t)view->constant.as.i & view->width;
    case GENERATE_REAL:
        return real_bits(view->view, view->constant.as.f);
    default:
        return view->constant.as.u;
    }
}

void generate_look(struct generate_view *out, const struct lintel_layout *layout, size_t index)
{
    const struct lintel_view *view = lintel_layout_view(layout, index);
    int64_t least = 0;
    uint64_t greatest = 0;
    int ops = lintel_layout_sums(layout, index, &least, &greatest);
    int has_sign = strchr("bhtilq", view->code) && !view->mask && !view->shift;

    memset(out, 0, sizeof *out);
    out->view = view;
    out->field = lintel_layout_field(layout, view->field);
    out->is_length = strcmp(view->name, "length") == 0;
    out->kind = kind_of(view->code);
    out->width = width_of(view);
    out->mask = (view->mask ? view->mask : out->width) >> view->shift << view->shift;
    out->full = out->mask >> view->shift;
    if (out->kind == GENERATE_UINT && has_sign && !ops && !out->is_length)
        out->kind = GENERATE_INT;
    if (out->kind == GENERATE_UINT) {
        uint64_t below = 0 - (uint64_t)least;
        uint64_t most = (UINT64_MAX - greatest) / view->factor;
        out->number_min = below / view->factor + (below % view->factor != 0);
        out->number_max = has_sign ? out->full >> 1 : out->full;
        if (out->number_max > most)
            out->number_max = most;
        out->value_min = out->number_min * view->factor + (uint64_t)view->sum;
        out->value_max = out->number_max * view->factor + (uint64_t)view->sum;
        out->can_fail = out->number_min > 0 || out->number_max < out->full;
    }
    if (lintel_layout_constant(layout, index, &out->constant))
        out->bits = constant_bits(out);
}

uint64_t generate_bits(const struct generate_view *view, uint64_t value)
{
    return (value - (uint64_t)view->view->sum) / view->view->factor << view->view->shift;
}

void generate_fixed(const struct generate_view *view, const struct lintel_layout *layout,
                    uint64_t *mask, uint64_t *bits)
{
    *mask = *bits = 0;
    for (size_t i = 0; i < view->field->views; i++) {
        struct generate_view other;
        generate_look(&other, layout, view->field->first_view + i);
        if (!other.view->constant)
            continue;
        *mask |= other.mask & view->mask;
        *bits |= other.bits & view->mask;
    }
}

size_t generate_store(uint8_t out[10], const struct lintel_layout *layout,
                      const struct lintel_field *field, uint64_t word)
{
    size_t size = 0;
    if (field->code != 'v') {
        for (size_t i = 0; i < field->size; i++, word >>= 8)
            out[lintel_layout_little_endian(layout) ? i : field->size - 1 - i] = (uint8_t)word;
        return field->size;
    }
    for (; word >= 0x80; word >>= 7)
        out[size++] = (uint8_t)(word | 0x80);
    out[size++] = (uint8_t)word;
    return size;
}

/* ---- a frame --------------------------------------------------------------------------------- */

#define TRIES 10000 /* lengths that are tried; more than a few are needed by odd masks only */

/* The least number from here on that has no bits outside of the mask. */
static uint64_t next_number(uint64_t number, uint64_t mask)
{
    for (uint64_t bad; (bad = number & ~mask) != 0;) {
        unsigned top = 63;
        while (!(bad >> top & 1))
            top--;
        if (number >> top == UINT64_MAX >> top)
            return UINT64_MAX;
        number = ((number >> top) + 1) << top;
    }
    return number;
}

static uint64_t value_of(const struct generate_view *view, uint64_t number)
{
    return number * view->view->factor + (uint64_t)view->view->sum;
}

static int put_header(struct generate_frame *out, const struct lintel_layout *layout,
                      const struct lintel_value *values, const struct generate_view *length)
{
    uint64_t mask, bits;
    generate_fixed(length, layout, &mask, &bits);
    uint64_t free_bits = (length->mask & ~mask) >> length->view->shift;
    uint64_t fixed_bits = bits >> length->view->shift;
    uint64_t number = fixed_bits ? 0 : next_number(length->number_min, free_bits);

    for (int i = 0; i < TRIES && (number | fixed_bits) <= length->number_max; i++) {
        out->length = value_of(length, number | fixed_bits);
        if ((number | fixed_bits) >= length->number_min &&
            lintel_layout_put_header(layout, out->header, sizeof out->header, &out->header_size,
                                     values, lintel_layout_view_count(layout), out->length,
                                     NULL) == LINTEL_OK)
            return 1;
        number = next_number(number + 1, free_bits);
    }
    return 0;
}

int generate_frame(struct generate_frame *out, const struct lintel_layout *layout)
{
    struct lintel_value values[LINTEL_VIEWS_MAX];
    struct generate_view length = {0};
    size_t count = lintel_layout_view_count(layout);

    for (size_t i = 0; i < count; i++) {
        struct generate_view view;
        generate_look(&view, layout, i);
        values[i] = lintel_uint(0);
        if (view.kind == GENERATE_UINT && view.number_min > view.number_max)
            return 0;
        if (view.kind == GENERATE_UINT)
            values[i] = lintel_uint(value_of(&view, next_number(view.number_min, view.full)));
        if (view.is_length)
            length = view;
    }
    return put_header(out, layout, values, &length) &&
           lintel_layout_put_trailer(layout, out->trailer, sizeof out->trailer, &out->trailer_size,
                                     values, count, NULL) == LINTEL_OK;
}
