/* One word of a header, in C: out of it to a value, and back. */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "generate_c.h"

void c_print_u64(uint64_t number)
{
    printf(number < 10     ? "%" PRIu64
           : number < 1024 ? "UINT64_C(%" PRIu64 ")"
                           : "UINT64_C(0x%" PRIx64 ")",
           number);
}

/* The least unsigned type that takes it. */
static unsigned bits_for(uint64_t number)
{
    return number <= UINT8_MAX ? 8 : number <= UINT16_MAX ? 16 : number <= UINT32_MAX ? 32 : 64;
}

unsigned c_bits_of(const struct generate_view *view)
{
    if (view->kind == GENERATE_INT)
        return view->view->size == 3 ? 32 : 8 * view->view->size;
    if (view->kind == GENERATE_UINT)
        return view->can_fail || view->is_length || view->view->factor > 1 || view->view->sum
                   ? 64
                   : bits_for(view->full);
    return 8;
}

void c_print_type(const struct generate_view *view)
{
    if (view->kind == GENERATE_REAL)
        printf("%s", view->view->code == 'f' ? "float" : "double");
    else
        printf("%sint%u_t", view->kind == GENERATE_INT ? "" : "u", c_bits_of(view));
}

/* "    if (NAME is not from min to max)\n        return -1;\n", of what the type can hold. */
static void print_range(const char *name, uint64_t min, uint64_t max, uint64_t most)
{
    if (min > max) {
        printf("    return -1;\n");
        return;
    }
    if (min == 0 && max >= most)
        return;
    printf("    if (");
    if (min > 0) {
        printf("%s < ", name);
        c_print_u64(min);
    }
    if (max < most) {
        printf("%s%s > ", min > 0 ? " || " : "", name);
        c_print_u64(max);
    }
    printf(")\n        return -1;\n");
}

void c_print_number(const struct generate_view *view, const char *lead, const char *word)
{
    unsigned shift = view->view->shift;
    int masked = view->mask != view->width;
    printf("    %s = %s%s", lead, masked && shift ? "(" : "", word);
    if (masked) {
        printf(" & ");
        c_print_u64(view->mask);
    }
    if (shift)
        printf("%s >> %u", masked ? ")" : "", shift);
    printf(";\n");
}

void c_print_judged(const struct generate_view *view)
{
    uint64_t sum = (uint64_t)view->view->sum;
    if (view->can_fail)
        print_range("number", view->number_min, view->number_max, view->full);
    if (view->view->factor > 1) {
        printf("    number *= ");
        c_print_u64(view->view->factor);
        printf(";\n");
    }
    if (view->view->sum) {
        printf("    number %s ", view->view->sum < 0 ? "-=" : "+=");
        c_print_u64(view->view->sum < 0 ? 0 - sum : sum);
        printf(";\n");
    }
    if (view->is_length && view->value_max > LINTEL_LENGTH_MAX)
        print_range("number", 0, LINTEL_LENGTH_MAX, UINT64_MAX);
}

void c_print_bits(const struct generate_view *view, const char *lead, const char *value,
                  unsigned type_bits)
{
    uint64_t sum = (uint64_t)view->view->sum, max = view->value_max;
    if (view->is_length && max > LINTEL_LENGTH_MAX)
        max = LINTEL_LENGTH_MAX;
    if (view->number_min > view->number_max)
        printf("    return -1;\n");
    else
        print_range(value, view->value_min, max, UINT64_MAX >> (64 - type_bits));
    char taken_off[128];
    if (view->view->sum)
        snprintf(taken_off, sizeof taken_off, "(%s %s UINT64_C(%" PRIu64 "))", value,
                 view->view->sum < 0 ? "+" : "-", view->view->sum < 0 ? 0 - sum : sum);
    else
        snprintf(taken_off, sizeof taken_off, "%s", value);
    if (view->view->factor > 1) {
        printf("    if (%s %% ", taken_off);
        c_print_u64(view->view->factor);
        printf(" != 0)\n        return -1;\n");
    }
    printf("    %s = ", lead);
    if (view->view->factor > 1) {
        printf("%s / ", taken_off);
        c_print_u64(view->view->factor);
    } else {
        printf("%s%s", type_bits < 64 ? "(uint64_t)" : "", taken_off);
    }
    if (view->view->shift)
        printf(" << %u", view->view->shift);
    printf(";\n");
    if (view->full & (view->full + 1)) {
        printf("    if ((bits & ~UINT64_C(0x%" PRIx64 ")) != 0)\n        return -1;\n", view->mask);
    }
}

void c_print_signed_range(const struct generate_view *view, const char *value, unsigned type_bits)
{
    int64_t most = (int64_t)(view->width >> 1);
    if (8 * view->view->size < type_bits)
        printf("    if (%s < -INT64_C(%" PRId64 ") - 1 || %s > INT64_C(%" PRId64 "))\n"
               "        return -1;\n",
               value, most, value, most);
}

void c_print_fixed(const struct writer *w, const struct generate_view *view)
{
    uint64_t mask, bits;
    generate_fixed(view, w->job->layout, &mask, &bits);
    if (!mask)
        return;
    if (bits && !view->is_length) {
        printf("    bits |= ");
        c_print_u64(bits);
        printf(";\n");
    }
    printf("    if ((bits & ");
    c_print_u64(mask);
    printf(") != ");
    c_print_u64(bits);
    printf(")\n        return -1;\n");
}

void c_print_value(const struct writer *w, const struct generate_view *view, const char *word)
{
    switch (view->kind) {
    case GENERATE_INT:
        printf("(int%u_t)%s_sign(%s, UINT64_C(0x%" PRIx64 "))", c_bits_of(view), w->prefix, word,
               (view->width >> 1) + 1);
        break;
    case GENERATE_BOOL:
        printf("%s != 0", word);
        break;
    default:
        printf("number");
        break;
    }
}

void c_print_literal(const uint8_t *bytes, size_t size)
{
    printf("\"");
    for (size_t i = 0; i < size; i++) {
        printf("\\x%02x", bytes[i]);
        if (i % 16 == 15 && i + 1 < size)
            printf("\"\n           \"");
    }
    printf("\"");
}

void c_print_mismatch(const struct generate_view *view, const char *word, const char *place)
{
    switch (view->kind) {
    case GENERATE_BYTE:
    case GENERATE_BYTES:
        printf("memcmp(%s, ", place);
        c_print_literal(view->constant.as.bytes, view->constant.size);
        printf(", %u) != 0", (unsigned)view->view->size);
        break;
    case GENERATE_BOOL:
        printf("%s %s 0", word, view->bits ? "==" : "!=");
        break;
    default:
        if (view->mask == view->width) {
            printf("%s != ", word);
        } else {
            printf("(%s & ", word);
            c_print_u64(view->mask);
            printf(") != ");
        }
        c_print_u64(view->bits);
        break;
    }
}

int c_is_in(const struct generate_view *view, const struct run *run)
{
    return view->view->field >= run->first && view->view->field < run->last;
}

int c_is_number(const struct lintel_field *field)
{
    return !strchr("xcsv", field->code);
}
