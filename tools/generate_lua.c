/* A layout as a Wireshark dissector: tables of what it says, then dissector.lua, which reads them.
 */
#include "config.h"

#include <inttypes.h>
#include <string.h>

#include "generate.h"

static const char *const engine[] = {
#include "dissector.inc"
};

static void print_u64(const char *name, uint64_t number)
{
    printf(", %s = UInt64.new(0x%" PRIx64 ", 0x%" PRIx64 ")", name, number & 0xffffffff,
           number >> 32);
}

static void print_hex(const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    for (size_t i = 0; i < size; i++)
        printf("%02x", from[i]);
}

static unsigned trailing_zeros(uint64_t mask)
{
    unsigned count = 0;
    while (count < 64 && !(mask >> count & 1))
        count++;
    return count;
}

/* Whether Wireshark reads the view by itself: the whole field, or the bits of a mask moved down to
 * the right end. */
static int is_plain(const struct generate_view *view)
{
    if (view->kind == GENERATE_BOOL || view->view->code == 'v')
        return 0;
    if (view->kind != GENERATE_UINT)
        return 1;
    if (view->view->factor != 1 || view->view->sum)
        return 0;
    return view->mask == view->width ||
           (view->view->size <= 4 && view->view->shift == trailing_zeros(view->mask));
}

static void print_type(const struct generate_view *view)
{
    unsigned bits = 8 * view->view->size;
    if (view->kind == GENERATE_BYTE || view->kind == GENERATE_BYTES)
        printf("bytes");
    else if (view->kind == GENERATE_REAL)
        printf(view->view->code == 'f' ? "float" : "double");
    else if (!is_plain(view))
        printf(view->kind == GENERATE_BOOL ? "uint8" : "uint64");
    else if (view->mask == view->width && strchr("bhtilq", view->view->code))
        printf("int%u", bits);
    else
        printf("uint%u", bits);
}

static void print_proto(const struct generate_view *view)
{
    int is_number = view->kind == GENERATE_UINT || view->kind == GENERATE_INT;
    printf("\n        proto = ProtoField.");
    print_type(view);
    printf("(NAME .. \".%s\", \"%s\"", view->view->name, view->view->name);
    if (is_number || view->kind == GENERATE_BOOL)
        printf(", base.DEC");
    if (is_plain(view) && is_number && view->mask != view->width)
        printf(", nil, 0x%" PRIx64, view->mask);
    printf(")");
}

static void print_constant(const struct generate_job *job, const struct generate_view *view,
                           size_t index)
{
    size_t size = 0;
    const char *text = lintel_layout_constant_text(job->layout, index, &size);
    if (!text)
        return;
    printf(",\n        shown = \"");
    for (size_t i = 0; i < size; i++)
        printf(text[i] == '"' || text[i] == '\\' ? "\\%c" : "%c", text[i]);
    printf("\"");
    if (view->constant.kind == LINTEL_BYTES) {
        printf(", bytes = \"");
        print_hex(view->constant.as.bytes, view->constant.size);
        printf("\"");
    } else {
        print_u64("bits", view->bits);
    }
}

static void print_view(const struct generate_job *job, size_t index)
{
    struct generate_view view;
    generate_look(&view, job->layout, index);
    printf("\n      { name = \"%s\"", view.view->name);
    if (is_plain(&view))
        printf(", plain = true");
    if (view.kind == GENERATE_BOOL)
        printf(", boolean = true");
    if (view.kind == GENERATE_UINT) {
        if (view.mask != view.width)
            print_u64("mask", view.mask);
        if (view.view->shift)
            printf(", shift = %u", view.view->shift);
        if (view.view->factor != 1)
            print_u64("factor", view.view->factor);
        if (view.view->sum)
            print_u64(view.view->sum < 0 ? "minus" : "plus",
                      view.view->sum < 0 ? 0 - (uint64_t)view.view->sum : (uint64_t)view.view->sum);
        if (view.number_min > 0)
            print_u64("min", view.number_min);
        if (view.number_max < view.full)
            print_u64("max", view.number_max);
    }
    printf(",");
    print_proto(&view);
    print_constant(job, &view, index);
    printf(" },");
}

static void print_run(const struct generate_job *job, int trailer)
{
    printf("local %s = {\n", trailer ? "TRAILER" : "HEADER");
    for (size_t i = 0; i < lintel_layout_field_count(job->layout); i++) {
        const struct lintel_field *field = lintel_layout_field(job->layout, i);
        if (field->in_trailer != trailer)
            continue;
        printf("    { size = %u%s, views = {", (unsigned)field->size,
               field->code == 'v'           ? ", varint = true"
               : strchr("xcs", field->code) ? ""
                                            : ", number = true");
        for (size_t j = 0; j < field->views; j++)
            print_view(job, field->first_view + j);
        printf("%s} },\n", field->views ? "\n    " : " ");
    }
    printf("}\n");
}

static int is_variable(const struct generate_job *job, int trailer)
{
    for (size_t i = 0; i < lintel_layout_field_count(job->layout); i++) {
        const struct lintel_field *field = lintel_layout_field(job->layout, i);
        if (field->code == 'v' && field->in_trailer == trailer)
            return 1;
    }
    return 0;
}

/* The protocol's name: none of those that Wireshark has already. */
static void name_of(const struct generate_job *job, char out[GENERATE_NAME_SIZE])
{
    char name[2 * GENERATE_NAME_SIZE];
    const char *known = job->known ? job->known->name : "frame";
    if (job->has_prefix)
        snprintf(name, sizeof name, "%s", job->prefix);
    else
        snprintf(name, sizeof name, "%s%s", strcmp(known, "lintel") == 0 ? "" : "lintel_", known);
    (void)generate_clean(out, name);
    for (char *c = out; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c - 'A' + 'a');
}

static void print_head(const struct generate_job *job, const char *name)
{
    printf("-- %s%s%s\n", job->known ? job->known->name : "", job->known ? ": " : "",
           lintel_layout_text(job->layout));
    if (job->known)
        printf("-- %s\n", job->known->reference);
    printf("--\n"
           "-- A Wireshark dissector over TCP, made by `lintel layout --dissector`.\n"
           "--\n"
           "--     tshark -X lua_script:FILE -X lua_script1:PORT\n"
           "--\n"
           "-- or in the folder of Wireshark's plugins. Ports: the argument of the script above; "
           "else\n"
           "-- `lintel layout --dissector --port N`, here %" PRIu64
           "%s; else the preference %s.ports\n"
           "-- (-o %s.ports:PORTS), which may be changed at any time; else \"Decode As\". The "
           "preference\n"
           "-- %s.limit is the largest payload.\n\n",
           job->port, job->port ? "" : " (none)", name, name, name);
}

int generate_dissector(const struct generate_job *job)
{
    char name[GENERATE_NAME_SIZE];
    uint64_t limit = lintel_layout_length_max(job->layout);
    name_of(job, name);
    print_head(job, name);
    printf("local NAME = \"%s\"\nlocal PORTS = (...) or \"", name);
    if (job->port)
        printf("%" PRIu64, job->port);
    printf("\"\nlocal LIMIT = %" PRIu64 "\nlocal LITTLE = %s\n",
           limit < LINTEL_FRAME_LIMIT ? limit : LINTEL_FRAME_LIMIT,
           lintel_layout_little_endian(job->layout) ? "true" : "false");
    printf("local HEADER_SIZE = %zu\nlocal TRAILER_SIZE = %zu\n",
           lintel_layout_header_min(job->layout), lintel_layout_trailer_max(job->layout));
    printf("local VARIABLE_HEADER = %s\nlocal VARIABLE_TRAILER = %s\n",
           is_variable(job, 0) ? "true" : "false", is_variable(job, 1) ? "true" : "false");
    print_run(job, 0);
    print_run(job, 1);
    for (size_t i = 0; i < sizeof engine / sizeof engine[0]; i++)
        printf("%s\n", engine[i]);
    return tool_flush();
}
