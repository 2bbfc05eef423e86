#include "config.h"

#include <string.h>

#include "diagram.h"
#include "generate.h"
#include "tool.h"

/* ---- the list -------------------------------------------------------------------------------- */

static int print_list(void)
{
    int width = 0;
    for (size_t i = 0; i < lintel_layout_known_count(); i++) {
        int size = (int)strlen(lintel_layout_known(i)->name);
        width = size > width ? size : width;
    }
    for (size_t i = 0; i < lintel_layout_known_count(); i++) {
        const struct lintel_known_layout *known = lintel_layout_known(i);
        printf("%-*s  %s  # %s\n", width, known->name, known->text, known->reference);
    }
    return TOOL_OK;
}

/* ---- one ------------------------------------------------------------------------------------- */

static void print_name(const char *text)
{
    for (size_t i = 0; i < lintel_layout_known_count(); i++)
        if (strcmp(lintel_layout_known(i)->name, text) == 0)
            printf("%s, %s\n", text, lintel_layout_known(i)->reference);
}

static void print_place(const struct lintel_layout *layout, const struct lintel_view *view)
{
    const struct lintel_field *field = lintel_layout_field(layout, view->field);
    const char *where = view->in_trailer ? "trailer " : "";
    char text[64];
    if (view->code == 'v')
        snprintf(text, sizeof text, "%svarint", where);
    else if (field->size == 1)
        snprintf(text, sizeof text, "%sbyte %u", where, (unsigned)field->offset);
    else
        snprintf(text, sizeof text, "%sbytes %u-%u", where, (unsigned)field->offset,
                 (unsigned)(field->offset + field->size - 1));
    printf("%-*s", lintel_layout_trailer_max(layout) > 0 ? 18 : 12, text);
}

static void print_ops(const struct lintel_view *view)
{
    if (view->mask)
        printf(", of its bits 0x%llx", (unsigned long long)view->mask);
    if (view->shift)
        printf(", shifted right by %u", view->shift);
    if (view->factor != 1)
        printf(", times %llu", (unsigned long long)view->factor);
    if (view->sum < 0)
        printf(", minus %llu", (unsigned long long)-(view->sum + 1) + 1);
    if (view->sum > 0)
        printf(", plus %llu", (unsigned long long)view->sum);
}

/* What the number on the wire counts, in words. */
static void print_counts(const struct lintel_layout *layout, const struct lintel_view *view)
{
    size_t header = lintel_layout_header_max(layout), trailer = lintel_layout_trailer_max(layout);
    uint64_t more = view->sum < 0 ? (uint64_t) - (view->sum + 1) + 1 : (uint64_t)view->sum;
    const char *plural = more == 1 ? "" : "s";
    if (view->sum == 0)
        printf("; counts the payload");
    else if (view->sum > 0)
        printf("; counts the payload less %llu byte%s", (unsigned long long)more, plural);
    else if (lintel_layout_header_min(layout) == header && more == header + trailer)
        printf("; counts the whole frame");
    else
        printf("; counts the payload and %llu byte%s more", (unsigned long long)more, plural);
    if (view->factor != 1)
        printf(", in units of %llu bytes", (unsigned long long)view->factor);
}

static void print_view(const struct lintel_layout *layout, size_t index, int width)
{
    const struct lintel_view *view = lintel_layout_view(layout, index);
    size_t length = 0;
    const char *constant = lintel_layout_constant_text(layout, index, &length);
    printf("  %-*s  ", width, view->name);
    print_place(layout, view);
    printf("  %c", view->code);
    print_ops(view);
    if (constant)
        printf("; always %.*s", (int)length, constant);
    if (strcmp(view->name, "length") == 0)
        print_counts(layout, view);
    putchar('\n');
}

static void print_sizes(const struct lintel_layout *layout)
{
    size_t least = lintel_layout_header_min(layout), most = lintel_layout_header_max(layout);
    printf("\nheader %zu", least);
    if (most > least)
        printf(" to %zu", most);
    printf(" byte%s, ", most == 1 ? "" : "s");
    if (lintel_layout_trailer_max(layout) > 0)
        printf("trailer %zu byte%s, ", lintel_layout_trailer_max(layout),
               lintel_layout_trailer_max(layout) == 1 ? "" : "s");
    printf("%s, payload at most %llu bytes\n",
           lintel_layout_little_endian(layout) ? "little-endian" : "big-endian",
           (unsigned long long)lintel_layout_length_max(layout));
}

static int print_one(const char *text)
{
    struct lintel_layout *layout;
    struct lintel_error error;
    int width = 0;
    int rc = lintel_layout_new(&layout, text, NULL, &error);
    if (rc == LINTEL_E_SYNTAX)
        return tool_misuse("%s", error.text);
    if (rc != LINTEL_OK)
        return tool_fail_error(NULL, &error);
    print_name(text);
    printf("%s\n\n", lintel_layout_text(layout));
    diagram_print(stdout, layout);
    print_sizes(layout);
    for (size_t i = 0; i < lintel_layout_view_count(layout); i++) {
        int size = (int)strlen(lintel_layout_view(layout, i)->name);
        width = size > width ? size : width;
    }
    for (size_t i = 0; i < lintel_layout_view_count(layout); i++)
        print_view(layout, i, width);
    lintel_layout_free(layout);
    return TOOL_OK;
}

/* ---- for other programs ---------------------------------------------------------------------- */

struct made {
    int c, dissector, dictionary;
    const char *prefix;
    uint64_t port;
};

static int make(const struct made *made, const char *text)
{
    struct generate_job job = {.port = made->port};
    struct lintel_layout *layout;
    struct lintel_error error;
    int rc = lintel_layout_new(&layout, text, NULL, &error);
    if (rc == LINTEL_E_SYNTAX)
        return tool_misuse("%s", error.text);
    if (rc != LINTEL_OK)
        return tool_fail_error(NULL, &error);
    /* The names of the library begin with lintel, the guards of its headers among them. */
    const char *prefix = made->c && strcmp(text, "lintel") == 0 ? "frame_lintel" : NULL;
    rc = generate_open(&job, layout, text, made->prefix ? made->prefix : prefix);
    if (rc == TOOL_OK)
        rc = made->c           ? generate_c(&job)
             : made->dissector ? generate_dissector(&job)
                               : generate_dictionary(&job);
    lintel_layout_free(layout);
    return rc;
}

static int check_made(const struct made *made, int operands)
{
    if (made->c + made->dissector + made->dictionary > 1)
        return tool_misuse("one of --c, --dissector and --dictionary");
    if ((made->c || made->dissector) && operands == 0)
        return tool_misuse("--%s wants NAME or SPEC", made->c ? "c" : "dissector");
    if (made->prefix && (operands == 0 || !(made->c || made->dissector || made->dictionary)))
        return tool_misuse("--prefix is for --c, --dissector and --dictionary of one layout");
    if (made->port && !made->dissector)
        return tool_misuse("--port is for --dissector");
    return TOOL_OK;
}

int cmd_layout(int argc, char **argv)
{
    struct made made = {0, 0, 0, NULL, 0};
    const struct tool_option options[] = {
        {"c", 0, TOOL_FLAG, NULL, "print a C header with inline accessors", &made.c, 0, 0},
        {"dissector", 0, TOOL_FLAG, NULL, "print a Wireshark dissector in Lua", &made.dissector, 0,
         0},
        {"dictionary", 0, TOOL_FLAG, NULL,
         "print a dictionary for libFuzzer and AFL; of all known\nlayouts without NAME",
         &made.dictionary, 0, 0},
        {"prefix", 0, TOOL_TEXT, "NAME",
         "what the names in there begin with (the layout's name;\nof a SPEC: frame)", &made.prefix,
         0, 0},
        {"port", 0, TOOL_NUMBER, "N", "the TCP port of the dissector (none)", &made.port, 1, 65535},
        TOOL_OPTIONS_END};
    const struct tool_usage usage = {
        "[NAME|SPEC]",
        "Lists the known layouts, each with what it is and where it is specified; draws the one\n"
        "that is named or written out as a bit diagram, and says what its fields are; or makes\n"
        "something of it for another program.\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    if (argc > 1)
        return tool_misuse("one NAME or SPEC, not %d", argc);
    status = check_made(&made, argc);
    if (status != TOOL_OK)
        return status;
    if (made.dictionary && argc == 0)
        return generate_dictionary(NULL);
    if (made.c || made.dissector || made.dictionary)
        return make(&made, argv[0]);
    return argc == 0 ? print_list() : print_one(argv[0]);
}
