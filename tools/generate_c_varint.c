/* A struct, decode() and encode() for a header or trailer with varints. */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "generate_c.h"

static void print_struct(const struct writer *w, const struct run *run)
{
    printf("struct %s_%s {\n", w->prefix, run->name);
    for (size_t i = 0; i < w->views; i++) {
        if (!c_is_in(&w->view[i], run))
            continue;
        printf("    ");
        c_print_type(&w->view[i]);
        printf(" %s", w->member[i]);
        if (w->view[i].kind == GENERATE_BYTES)
            printf("[%u]", (unsigned)w->view[i].view->size);
        printf(";\n");
    }
    printf("};\n\n");
}

static void print_take(const struct writer *w, size_t index)
{
    const struct lintel_field *field = lintel_layout_field(w->job->layout, index);
    unsigned size = field->size;
    if (field->code == 'v') {
        printf("    step = %s_read_varint(&word%zu, at + used, have - used, %u);\n"
               "    if (step <= 0)\n        return step;\n    used += (size_t)step;\n",
               w->prefix, index, size);
        return;
    }
    printf("    if (have - used < %u)\n        return 0;\n", size);
    if (field->views > 0 && c_is_number(field))
        printf("    word%zu = %s_load%u(at + used);\n", index, w->prefix, size);
    else if (field->views > 0)
        printf("    place%zu = at + used;\n", index);
    printf("    used += %u;\n", size);
}

static void print_fill(const struct writer *w, size_t index)
{
    const struct generate_view *view = &w->view[index];
    const char *member = w->member[index];
    unsigned size = view->view->size;
    char word[32], place[32];
    snprintf(word, sizeof word, "word%u", view->view->field);
    snprintf(place, sizeof place, "place%u", view->view->field);
    if (view->view->constant) {
        printf("    if (");
        c_print_mismatch(view, word, place);
        printf(")\n        return -1;\n");
    }
    switch (view->kind) {
    case GENERATE_UINT:
        c_print_number(view, "number", word);
        c_print_judged(view);
        printf("    out->%s = (uint%u_t)number;\n", member, c_bits_of(view));
        break;
    case GENERATE_REAL:
        printf("    real%u = (uint%u_t)%s;\n    memcpy(&out->%s, &real%u, %u);\n", size, 8 * size,
               word, member, size, size);
        break;
    case GENERATE_BYTE:
        printf("    out->%s = %s[0];\n", member, place);
        break;
    case GENERATE_BYTES:
        printf("    memcpy(out->%s, %s, %u);\n", member, place, size);
        break;
    default:
        printf("    out->%s = ", member);
        c_print_value(w, view, word);
        printf(";\n");
        break;
    }
}

/* 4 and 8 for the floats that there are. */
static unsigned real_sizes(const struct writer *w, const struct run *run, int constants_too)
{
    unsigned sizes = 0;
    for (size_t i = 0; i < w->views; i++)
        if (c_is_in(&w->view[i], run) && w->view[i].kind == GENERATE_REAL &&
            (constants_too || !w->view[i].view->constant))
            sizes |= w->view[i].view->size;
    return sizes;
}

static void print_reals(unsigned sizes)
{
    printf("%s%s", sizes & 4 ? "    uint32_t real4;\n" : "",
           sizes & 8 ? "    uint64_t real8;\n" : "");
}

static void print_decode(const struct writer *w, const struct run *run)
{
    printf(
        "/* Bytes used, *out filled in; 0 for more; -1 for bad, then *out is not to be used. */\n"
        "static inline int %s_decode%s(struct %s_%s *out, const void *bytes, size_t have)\n{\n"
        "    const uint8_t *at = (const uint8_t *)bytes;\n    size_t used = 0;\n"
        "    uint64_t number;\n    int step;\n",
        w->prefix, run->suffix, w->prefix, run->name);
    print_reals(real_sizes(w, run, 1));
    for (size_t i = run->first; i < run->last; i++) {
        const struct lintel_field *field = lintel_layout_field(w->job->layout, i);
        if (field->views > 0 && (c_is_number(field) || field->code == 'v'))
            printf("    uint64_t word%zu;\n", i);
        else if (field->views > 0)
            printf("    const uint8_t *place%zu;\n", i);
    }
    printf("\n");
    for (size_t i = run->first; i < run->last; i++)
        print_take(w, i);
    printf("\n");
    for (size_t i = 0; i < w->views; i++)
        if (c_is_in(&w->view[i], run))
            print_fill(w, i);
    printf("    return (int)used;\n}\n\n");
}

/* One view into the word of its field. */
static void print_join(const struct writer *w, size_t index)
{
    const struct generate_view *view = &w->view[index];
    unsigned size = view->view->size;
    char value[sizeof w->member[0] + 8];
    snprintf(value, sizeof value, "in->%s", w->member[index]);
    switch (view->kind) {
    case GENERATE_UINT:
        c_print_bits(view, "bits", value, c_bits_of(view));
        break;
    case GENERATE_INT:
        c_print_signed_range(view, value, c_bits_of(view));
        printf("    bits = (uint64_t)%s & UINT64_C(0x%" PRIx64 ");\n", value, view->width);
        break;
    case GENERATE_BOOL:
        printf("    if (%s > 1)\n        return -1;\n    bits = %s;\n", value, value);
        break;
    default:
        printf("    memcpy(&real%u, &%s, %u);\n    bits = real%u;\n", size, value, size, size);
        break;
    }
    printf("    word |= bits;\n");
}

/* Where views share a word, constants and the length must still read as they should. */
static void print_clashes(const struct writer *w, const struct lintel_field *field)
{
    for (size_t i = field->first_view;
         field->views > 1 && i < (size_t)field->first_view + field->views; i++) {
        const struct generate_view *view = &w->view[i];
        if (view->view->constant) {
            printf("    if (");
            c_print_mismatch(view, "word", "");
            printf(")\n        return -1;\n");
        } else if (view->is_length) {
            c_print_number(view, "number", "word");
            c_print_judged(view);
            printf("    if (number != in->%s)\n        return -1;\n", w->member[i]);
        }
    }
}

static void print_give_word(const struct writer *w, const struct lintel_field *field)
{
    uint64_t constants = 0;
    size_t end = (size_t)field->first_view + field->views;
    for (size_t i = field->first_view; i < end; i++)
        constants |= w->view[i].view->constant ? w->view[i].bits : 0;
    printf("    word = ");
    c_print_u64(constants);
    printf(";\n");
    for (size_t i = field->first_view; i < end; i++)
        if (!w->view[i].view->constant)
            print_join(w, i);
    print_clashes(w, field);
    if (field->code == 'v')
        printf("    size = %s_write_varint(at + used, room - used, word);\n"
               "    if (size == 0)\n        return 0;\n    used += size;\n",
               w->prefix);
    else
        printf("    if (room - used < %u)\n        return 0;\n    %s_store%u(at + used, word);\n"
               "    used += %u;\n",
               (unsigned)field->size, w->prefix, (unsigned)field->size, (unsigned)field->size);
}

static void print_give_bytes(const struct writer *w, const struct lintel_field *field)
{
    const struct generate_view *view = &w->view[field->first_view];
    unsigned size = field->size;
    printf("    if (room - used < %u)\n        return 0;\n", size);
    if (field->views == 0) {
        printf("    memset(at + used, 0, %u);\n", size);
    } else if (view->view->constant) {
        printf("    memcpy(at + used, ");
        c_print_literal(view->constant.as.bytes, view->constant.size);
        printf(", %u);\n", size);
    } else if (view->kind == GENERATE_BYTE) {
        printf("    at[used] = in->%s;\n", w->member[field->first_view]);
    } else {
        printf("    memcpy(at + used, in->%s, %u);\n", w->member[field->first_view], size);
    }
    printf("    used += %u;\n", size);
}

static void print_encode(const struct writer *w, const struct run *run)
{
    int given = 0, numbers = 0, clash = 0;
    for (size_t i = 0; i < w->views; i++) {
        const struct generate_view *view = &w->view[i];
        if (!c_is_in(view, run) || view->view->constant)
            continue;
        given = 1;
        numbers |= view->kind != GENERATE_BYTE && view->kind != GENERATE_BYTES;
        clash |= view->is_length && view->field->views > 1;
    }
    printf(
        "/* Bytes written; 0 where there is no room; -1 where a value does not fit its view. What\n"
        "   constants have in *in does not matter. */\n"
        "static inline int %s_encode%s(void *bytes, size_t room, const struct %s_%s *in)\n{\n"
        "    uint8_t *at = (uint8_t *)bytes;\n    size_t used = 0, size;\n    uint64_t word;\n",
        w->prefix, run->suffix, w->prefix, run->name);
    print_reals(real_sizes(w, run, 0));
    printf("%s%s\n%s", numbers ? "    uint64_t bits;\n" : "", clash ? "    uint64_t number;\n" : "",
           given ? "" : "    (void)in;\n");
    for (size_t i = run->first; i < run->last; i++) {
        const struct lintel_field *field = lintel_layout_field(w->job->layout, i);
        if (c_is_number(field) || field->code == 'v')
            print_give_word(w, field);
        else
            print_give_bytes(w, field);
    }
    printf("    return (int)used;\n}\n\n");
}

void c_print_varints(const struct writer *w, const struct run *run)
{
    print_struct(w, run);
    print_decode(w, run);
    print_encode(w, run);
}
