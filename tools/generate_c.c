/* A layout as a C header that stands alone: C11, and C++17. */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "generate_c.h"

/* ---- names
 * --------------------------------------------------------------------------------------- */

static void to_upper(char *text)
{
    for (; *text; text++)
        if (*text >= 'a' && *text <= 'z')
            *text = (char)(*text - 'a' + 'A');
}

static int is_taken(const struct writer *w, const char *name)
{
    for (size_t i = 0; i < w->macros; i++)
        if (strcmp(w->macro[i], name) == 0)
            return 1;
    return 0;
}

/* PREFIX_NAME or PREFIX_NAME_MORE, with underscores behind it until no other macro has it. */
static const char *macro(struct writer *w, const char *name, const char *more)
{
    char made[MACRO_SIZE];
    char *out = w->macro[w->macros];
    size_t size;
    snprintf(made, sizeof made, "%s_%s%s", w->upper, name, more);
    to_upper(made);
    for (size = strlen(made); is_taken(w, made) && size + 1 < sizeof made; size++) {
        made[size] = '_';
        made[size + 1] = 0;
    }
    memcpy(out, made, sizeof made);
    w->macros++;
    return out;
}

/* Words that cannot be the name of a member, in C or C++. */
static const char keywords[] =
    " alignas alignof and and_eq asm auto bitand bitor bool break case catch char char16_t "
    "char32_t "
    "char8_t class co_await co_return co_yield compl concept const const_cast consteval constexpr "
    "constinit continue decltype default delete do double dynamic_cast else enum explicit export "
    "extern false float for friend goto if inline int linux long mutable namespace new noexcept "
    "not "
    "not_eq nullptr operator or or_eq private protected public register reinterpret_cast requires "
    "restrict return short signed sizeof static static_assert static_cast struct switch template "
    "this thread_local throw true try typedef typeid typename typeof union unix unsigned using "
    "virtual void volatile wchar_t while xor xor_eq ";

static int is_reserved(const char *name)
{
    char word[LINTEL_NAME_MAX + 3];
    size_t small = 0;
    for (const char *c = name; *c; c++)
        small += *c >= 'a' && *c <= 'z';
    snprintf(word, sizeof word, " %s ", name);
    return name[0] == '_' || small == 0 || strstr(keywords, word) != NULL;
}

static const char *name_of(const struct writer *w, size_t index)
{
    return w->view[index].view->name;
}

/* A member is called as its view, with underscores behind it where the name is taken. */
static void name_member(struct writer *w, size_t index)
{
    char *out = w->member[index];
    const char *name = name_of(w, index);
    snprintf(out, sizeof w->member[index], "%s%s%s", name[0] == '_' ? "v" : "", name,
             is_reserved(name) ? "_" : "");
    for (size_t i = 0; i < w->views; i++) {
        int taken = i != index && (strcmp(out, name_of(w, i)) == 0 ||
                                   (i < index && strcmp(out, w->member[i]) == 0));
        if (taken) {
            strcat(out, "_");
            i = (size_t)-1;
        }
    }
}

/* ---- helpers
 * ------------------------------------------------------------------------------------- */

static void print_load_store(const struct writer *w, unsigned size)
{
    int little = lintel_layout_little_endian(w->job->layout);
    printf("static inline uint64_t %s_load%u(const uint8_t *at)\n{\n    return ", w->prefix, size);
    for (unsigned i = 0; i < size; i++) {
        unsigned shift = 8 * (little ? i : size - 1 - i);
        printf("%s(uint64_t)at[%u]", i ? " | " : "", i);
        if (shift)
            printf(" << %u", shift);
    }
    printf(";\n}\n\nstatic inline void %s_store%u(uint8_t *at, uint64_t word)\n{\n", w->prefix,
           size);
    for (unsigned i = 0; i < size; i++) {
        unsigned shift = 8 * (little ? i : size - 1 - i);
        if (shift)
            printf("    at[%u] = (uint8_t)(word >> %u);\n", i, shift);
        else
            printf("    at[%u] = (uint8_t)word;\n", i);
    }
    printf("}\n\n");
}

static int has_varints(const struct writer *w, const struct run *run)
{
    for (size_t i = run->first; i < run->last; i++)
        if (lintel_layout_field(w->job->layout, i)->code == 'v')
            return 1;
    return 0;
}

static void print_helpers(const struct writer *w)
{
    size_t fields = lintel_layout_field_count(w->job->layout);
    int seen[9] = {0}, varints = 0, has_sign = 0;
    for (size_t i = 0; i < fields; i++) {
        const struct lintel_field *field = lintel_layout_field(w->job->layout, i);
        varints |= field->code == 'v';
        if (field->views > 0 && c_is_number(field))
            seen[field->size] = 1;
    }
    for (size_t i = 0; i < w->views; i++)
        has_sign |= w->view[i].kind == GENERATE_INT;
    for (unsigned size = 1; size < 9; size++)
        if (seen[size])
            print_load_store(w, size);
    if (has_sign)
        printf("static inline int64_t %s_sign(uint64_t word, uint64_t sign)\n"
               "{\n"
               "    if ((word & sign) == 0)\n"
               "        return (int64_t)word;\n"
               "    return -(int64_t)(sign - 1 - (word & (sign - 1))) - 1;\n"
               "}\n\n",
               w->prefix);
    if (!varints)
        return;
    printf("/* A varint of at most max bytes: its size, 0 for more, -1 for bad. */\n"
           "static inline int %s_read_varint(uint64_t *word, const uint8_t *at, size_t have,\n"
           "    unsigned max)\n"
           "{\n"
           "    uint64_t made = 0;\n"
           "\n"
           "    for (unsigned i = 0; i < max; i++) {\n"
           "        if (i == have)\n"
           "            return 0;\n"
           "        if (i == 9 && at[i] > 1)\n"
           "            return -1;\n"
           "        made |= (uint64_t)(at[i] & 0x7f) << 7 * i;\n"
           "        if (at[i] >= 0x80)\n"
           "            continue;\n"
           "        if (i > 0 && at[i] == 0)\n"
           "            return -1;\n"
           "        *word = made;\n"
           "        return (int)i + 1;\n"
           "    }\n"
           "    return -1;\n"
           "}\n\n"
           "/* Its size, or 0 where there is no room. */\n"
           "static inline size_t %s_write_varint(uint8_t *at, size_t room, uint64_t word)\n"
           "{\n"
           "    size_t size = 0;\n"
           "\n"
           "    for (; size < room; word >>= 7) {\n"
           "        at[size++] = (uint8_t)(word | (word >= 0x80 ? 0x80 : 0));\n"
           "        if (word < 0x80)\n"
           "            return size;\n"
           "    }\n"
           "    return 0;\n"
           "}\n\n",
           w->prefix, w->prefix);
}

/* ---- the whole
 * ----------------------------------------------------------------------------------- */

static void print_run(const struct writer *w, const struct run *run)
{
    printf("/* ---- %s ---- */\n\n", run->name);
    if (has_varints(w, run))
        c_print_varints(w, run);
    else
        c_print_accessors(w, run);
}

static void print_head(const struct writer *w)
{
    printf("/*\n * ");
    if (w->job->known)
        printf("%s: ", w->job->known->name);
    generate_print_comment(lintel_layout_text(w->job->layout));
    if (w->job->known) {
        printf("\n * ");
        generate_print_comment(w->job->known->reference);
    }
    printf(
        "\n *\n"
        " * Made by `lintel layout --c`. C11, and C++17. It needs the three headers below only.\n"
        " *\n"
        " * get_ and set_ read and write one view of a header of HEADER_SIZE bytes, or of a\n"
        " * trailer. Setters give 0, or -1 and change nothing where the value does not fit; of\n"
        " * views that share bits the one that is set last wins. Getters of views that not every\n"
        " * header has a value for give 0 and *value, or -1. length() is the bytes of payload, -1\n"
        " * where no frame can have the header; hold it against a limit of your own before\n"
        " * anything else. Where there are varints, decode() and encode() do it all by a "
        "struct.\n");
    if (lintel_layout_is_lintel(w->job->layout))
        printf(" *\n * Which flags and control frames there are, is not checked here. Beside the\n"
               " * library's own headers this one needs another --prefix.\n");
    printf(" */\n");
}

static void print_sizes(struct writer *w, const struct run *run)
{
    const char *upper = strcmp(run->name, "header") == 0 ? "HEADER" : "TRAILER";
    if (run->least == run->most) {
        printf("#define %s %zu\n", macro(w, upper, "_SIZE"), run->most);
        return;
    }
    printf("#define %s %zu\n", macro(w, upper, "_MIN"), run->least);
    printf("#define %s %zu\n", macro(w, upper, "_MAX"), run->most);
}

static void print_constants(struct writer *w)
{
    for (size_t i = 0; i < w->views; i++) {
        const struct generate_view *view = &w->view[i];
        if (view->kind == GENERATE_BYTES)
            printf("#define %s %u\n", macro(w, name_of(w, i), "_SIZE"), (unsigned)view->view->size);
        if (!view->view->constant)
            continue;
        printf("#define %s ", macro(w, name_of(w, i), ""));
        switch (view->constant.kind) {
        case LINTEL_BYTES:
            if (view->kind == GENERATE_BYTE)
                printf("0x%02x", *(const uint8_t *)view->constant.as.bytes);
            else
                c_print_literal(view->constant.as.bytes, view->constant.size);
            break;
        case LINTEL_FLOAT:
            printf("(%.17g)", view->constant.as.f);
            break;
        case LINTEL_INT:
            if (view->constant.as.i == INT64_MIN)
                printf("(-INT64_C(0x7fffffffffffffff) - 1)");
            else
                printf("(%" PRId64 ")", view->constant.as.i);
            break;
        case LINTEL_UINT:
            if (view->constant.as.u < 10)
                printf("%" PRIu64, view->constant.as.u);
            else
                printf("0x%" PRIx64, view->constant.as.u);
            break;
        }
        printf("\n");
    }
}

static void print_view_name(const struct writer *w)
{
    printf("/* The name of a view by its number, from 1, as check() gives it; else \"\". */\n"
           "static inline const char *%s_view_name(int number)\n{\n"
           "    static const char *const names[] = {",
           w->prefix);
    for (size_t i = 0; i < w->views; i++)
        printf("%s\"%s\"", i == 0 ? "" : i % 6 ? ", " : ",\n        ", name_of(w, i));
    printf("};\n    return number >= 1 && number <= %zu ? names[number - 1] : \"\";\n}\n\n",
           w->views);
}

static struct run run_of(const struct writer *w, int trailer, const struct generate_frame *frame)
{
    struct run run = {trailer ? "trailer" : "header", trailer ? "_trailer" : "", 0, 0, 0, 0, NULL};
    size_t fields = lintel_layout_field_count(w->job->layout);
    while (trailer && run.first < fields &&
           !lintel_layout_field(w->job->layout, run.first)->in_trailer)
        run.first++;
    for (run.last = run.first; run.last < fields; run.last++) {
        const struct lintel_field *field = lintel_layout_field(w->job->layout, run.last);
        if (field->in_trailer != trailer)
            break;
        run.least += field->code == 'v' ? 1 : field->size;
        run.most += field->size;
    }
    if (frame)
        run.fresh = trailer ? frame->trailer : frame->header;
    return run;
}

int generate_c(const struct generate_job *job)
{
    struct generate_frame frame;
    struct writer w = {.job = job, .prefix = job->prefix};
    int has_frame = generate_frame(&frame, job->layout);
    snprintf(w.upper, sizeof w.upper, "%s", job->prefix);
    to_upper(w.upper);
    w.views = lintel_layout_view_count(job->layout);
    for (size_t i = 0; i < w.views; i++)
        generate_look(&w.view[i], job->layout, i);
    for (size_t i = 0; i < w.views; i++)
        name_member(&w, i);
    struct run header = run_of(&w, 0, has_frame ? &frame : NULL);
    struct run trailer = run_of(&w, 1, has_frame ? &frame : NULL);

    print_head(&w);
    const char *guard = macro(&w, "LAYOUT", "_H");
    printf("#ifndef %s\n#define %s\n\n#include <stddef.h>\n#include <stdint.h>\n"
           "#include <string.h>\n\n",
           guard, guard);
    print_sizes(&w, &header);
    print_sizes(&w, &trailer);
    printf("#define %s UINT64_C(%" PRIu64 ")\n", macro(&w, "LENGTH", "_MAX"),
           lintel_layout_length_max(job->layout));
    print_constants(&w);
    printf("\n");
    print_helpers(&w);
    print_run(&w, &header);
    if (trailer.last > trailer.first)
        print_run(&w, &trailer);
    print_view_name(&w);
    printf("#endif\n");
    return tool_flush();
}
