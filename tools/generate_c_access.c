/* Accessors for a header or trailer whose fields stand in one place each. */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "generate_c.h"

#define PLACE_SIZE 64
#define WORD_SIZE  (PLACE_SIZE + GENERATE_NAME_SIZE + 32)

static void place_text(char out[PLACE_SIZE], const struct run *run,
                       const struct lintel_field *field, const char *qualifier)
{
    if (field->offset)
        snprintf(out, PLACE_SIZE, "(%suint8_t *)%s + %u", qualifier, run->name,
                 (unsigned)field->offset);
    else
        snprintf(out, PLACE_SIZE, "(%suint8_t *)%s", qualifier, run->name);
}

static void word_text(const struct writer *w, char out[WORD_SIZE], const struct run *run,
                      const struct lintel_field *field)
{
    char place[PLACE_SIZE];
    place_text(place, run, field, "const ");
    snprintf(out, WORD_SIZE, "%s_load%u(%s)", w->prefix, (unsigned)field->size, place);
}

/* A float or double out of a word, or the other way round. */
static void print_real(const char *to, const char *from)
{
    printf("    memcpy(&%s, &%s, sizeof %s);\n", to, from, to);
}

static void print_real_getter(const struct writer *w, const struct generate_view *view,
                              const struct run *run, const char *word)
{
    unsigned bits = 8 * view->view->size;
    printf("static inline ");
    c_print_type(view);
    printf(" %s_get_%s(const void *%s)\n{\n    uint%u_t word = (uint%u_t)%s;\n    ", w->prefix,
           view->view->name, run->name, bits, bits, word);
    c_print_type(view);
    printf(" value;\n\n");
    print_real("value", "word");
    printf("    return value;\n}\n\n");
}

static void print_length(const struct writer *w, const struct generate_view *view, const char *word)
{
    printf("static inline int64_t %s_length(const void *header)\n{\n", w->prefix);
    c_print_number(view, "uint64_t number", word);
    printf("\n");
    c_print_judged(view);
    printf("    return (int64_t)number;\n}\n\n");
}

static void print_number_getter(const struct writer *w, const struct generate_view *view,
                                const struct run *run, const char *word)
{
    printf("static inline ");
    if (view->can_fail)
        printf("int %s_get_%s(const void *%s, uint64_t *value)\n{\n", w->prefix, view->view->name,
               run->name);
    else {
        c_print_type(view);
        printf(" %s_get_%s(const void *%s)\n{\n", w->prefix, view->view->name, run->name);
    }
    c_print_number(view, "uint64_t number", word);
    printf("\n");
    c_print_judged(view);
    if (view->can_fail)
        printf("    *value = number;\n    return 0;\n}\n\n");
    else if (c_bits_of(view) == 64)
        printf("    return number;\n}\n\n");
    else
        printf("    return (uint%u_t)number;\n}\n\n", c_bits_of(view));
}

static void print_getter(const struct writer *w, const struct generate_view *view,
                         const struct run *run)
{
    char word[WORD_SIZE], place[PLACE_SIZE];
    word_text(w, word, run, view->field);
    place_text(place, run, view->field, "const ");
    if (view->is_length) {
        print_length(w, view, word);
        return;
    }
    switch (view->kind) {
    case GENERATE_UINT:
        print_number_getter(w, view, run, word);
        return;
    case GENERATE_REAL:
        print_real_getter(w, view, run, word);
        return;
    case GENERATE_BYTES:
        printf("static inline const uint8_t *%s_get_%s(const void *%s)\n{\n    return %s;\n}\n\n",
               w->prefix, view->view->name, run->name, place);
        return;
    case GENERATE_BYTE:
        snprintf(word, sizeof word, "*(%s)", place);
        break;
    case GENERATE_INT:
    case GENERATE_BOOL:
        break;
    }
    printf("static inline ");
    c_print_type(view);
    printf(" %s_get_%s(const void *%s)\n{\n    return ", w->prefix, view->view->name, run->name);
    if (view->kind == GENERATE_BYTE)
        printf("%s", word);
    else
        c_print_value(w, view, word);
    printf(";\n}\n\n");
}

static void print_store(const struct writer *w, const struct generate_view *view)
{
    unsigned size = view->view->size;
    if (view->mask == view->width)
        printf("    %s_store%u(at, bits);\n", w->prefix, size);
    else {
        printf("    %s_store%u(at, (%s_load%u(at) & ~UINT64_C(0x%" PRIx64 ")) | bits);\n",
               w->prefix, size, w->prefix, size, view->mask);
    }
    printf("    return 0;\n}\n\n");
}

static void print_bytes_setter(const struct generate_view *view, const char *place)
{
    unsigned size = view->view->size;
    printf("    if (size > %u)\n        return -1;\n    memset(%s, 0, %u);\n"
           "    if (size > 0)\n        memcpy(%s, bytes, size);\n    return 0;\n}\n\n",
           size, place, size, place);
}

static void print_setter(const struct writer *w, const struct generate_view *view,
                         const struct run *run)
{
    static const char *const parameter[] = {"uint64_t value", "int64_t value",
                                            "int value",      NULL,
                                            "uint8_t value",  "const void *bytes, size_t size"};
    char place[PLACE_SIZE];
    place_text(place, run, view->field, "");
    printf("static inline int %s_set_%s(void *%s, ", w->prefix, view->view->name, run->name);
    if (view->kind == GENERATE_REAL) {
        c_print_type(view);
        printf(" value)\n{\n");
    } else {
        printf("%s)\n{\n", parameter[view->kind]);
    }
    if (view->kind == GENERATE_BYTES) {
        print_bytes_setter(view, place);
        return;
    }
    if (view->kind == GENERATE_BYTE) {
        printf("    *(%s) = value;\n    return 0;\n}\n\n", place);
        return;
    }
    printf("    uint8_t *at = %s;\n    uint%u_t bits;\n\n", place,
           view->kind == GENERATE_REAL ? 8 * view->view->size : 64);
    switch (view->kind) {
    case GENERATE_UINT:
        c_print_bits(view, "bits", "value", 64);
        break;
    case GENERATE_INT:
        c_print_signed_range(view, "value", 64);
        printf("    bits = (uint64_t)value & UINT64_C(0x%" PRIx64 ");\n", view->width);
        break;
    case GENERATE_BOOL:
        printf(
            "    if (value < 0 || value > 1)\n        return -1;\n    bits = (uint64_t)value;\n");
        break;
    default:
        print_real("bits", "value");
        break;
    }
    c_print_fixed(w, view);
    print_store(w, view);
}

static int is_version(const struct generate_view *view)
{
    return view->view->constant && strcmp(view->view->name, "version") == 0;
}

/* Constants, then the version, then numbers, then the length, as a frame is judged. */
static int check_pass(const struct generate_view *view)
{
    if (view->view->constant)
        return is_version(view) ? 1 : 0;
    if (!view->can_fail && !(view->is_length && view->value_max > LINTEL_LENGTH_MAX))
        return -1;
    return view->is_length ? 3 : 2;
}

static void print_check_of(const struct writer *w, size_t index, const struct run *run)
{
    const struct generate_view *view = &w->view[index];
    char word[WORD_SIZE], place[PLACE_SIZE];
    word_text(w, word, run, view->field);
    place_text(place, run, view->field, "const ");
    printf("    if (");
    if (view->view->constant)
        c_print_mismatch(view, word, place);
    else if (view->is_length)
        printf("%s_length(header) < 0", w->prefix);
    else
        printf("%s_get_%s(%s, &number) != 0", w->prefix, view->view->name, run->name);
    printf(")\n        return %zu;\n", index + 1);
}

static void print_check(const struct writer *w, const struct run *run)
{
    int used = 0, numbers = 0;
    for (size_t i = 0; i < w->views; i++) {
        int pass = c_is_in(&w->view[i], run) ? check_pass(&w->view[i]) : -1;
        used |= pass >= 0;
        numbers |= pass == 2;
    }
    printf("/* 0 if it is right; else the number, from 1, of the first view that is not. */\n"
           "static inline int %s_check%s(const void *%s)\n{\n",
           w->prefix, run->suffix, run->name);
    if (numbers)
        printf("    uint64_t number;\n\n");
    if (!used)
        printf("    (void)%s;\n", run->name);
    for (int pass = 0; pass < 4; pass++)
        for (size_t i = 0; i < w->views; i++)
            if (c_is_in(&w->view[i], run) && check_pass(&w->view[i]) == pass)
                print_check_of(w, i, run);
    printf("    return 0;\n}\n\n");
}

static void print_init(const struct writer *w, const struct run *run)
{
    printf("/* Constants filled in%s, all else 0 where it can be. */\n"
           "static inline void %s_init%s(void *%s)\n{\n",
           run->first == 0 ? ", the least length" : "", w->prefix, run->suffix, run->name);
    if (run->most == 0) {
        printf("    (void)%s;\n}\n\n", run->name);
        return;
    }
    size_t zeros = 0;
    while (run->fresh && zeros < run->most && run->fresh[zeros] == 0)
        zeros++;
    if (!run->fresh || zeros == run->most) {
        printf("    memset(%s, 0, %zu);\n}\n\n", run->name, run->most);
        return;
    }
    printf("    memcpy(%s,\n           ", run->name);
    c_print_literal(run->fresh, run->most);
    printf(", %zu);\n}\n\n", run->most);
}

void c_print_accessors(const struct writer *w, const struct run *run)
{
    for (size_t i = 0; i < w->views; i++) {
        if (!c_is_in(&w->view[i], run))
            continue;
        print_getter(w, &w->view[i], run);
        if (!w->view[i].view->constant)
            print_setter(w, &w->view[i], run);
    }
    print_check(w, run);
    print_init(w, run);
}
