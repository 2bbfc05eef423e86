#include "config.h"

#include <string.h>

#include "show.h"

#define LINE_SIZE 128 /* of lintel_frame_dump() for lintel's own layout: it is shorter */

/* ---- text ------------------------------------------------------------------------------------ */

static void print_text_value(FILE *out, const struct lintel_value *value, char code)
{
    char number[TOOL_FLOAT_SIZE];
    switch (value->kind) {
    case LINTEL_BYTES:
        tool_print_quoted(out, value->as.bytes, value->size);
        break;
    case LINTEL_FLOAT:
        tool_float_text(number, code, value);
        fputs(number, out);
        break;
    case LINTEL_INT:
        fprintf(out, "%lld", (long long)value->as.i);
        break;
    case LINTEL_UINT:
        fprintf(out, "%llu", (unsigned long long)value->as.u);
        break;
    }
}

/* What a person wants to know of a header: not what is the same in every frame, nor the length,
 * which stands at the end. */
static void print_views(FILE *out, const struct lintel_layout *layout,
                        const struct lintel_frame *frame)
{
    for (size_t i = 0; i < lintel_layout_view_count(layout); i++) {
        const struct lintel_view *view = lintel_layout_view(layout, i);
        struct lintel_value value;
        if (view->constant || strcmp(view->name, "length") == 0 ||
            lintel_layout_read_one(layout, &value, i, frame) < 0)
            continue;
        fprintf(out, "%s ", view->name);
        print_text_value(out, &value, view->code);
        putc(' ', out);
    }
}

static void print_head(FILE *out, const struct lintel_layout *layout,
                       const struct lintel_frame *frame)
{
    if (lintel_layout_is_lintel(layout)) {
        char line[LINE_SIZE];
        size_t used = lintel_frame_dump(layout, line, sizeof line, frame);
        fwrite(line, 1, used, out);
        return;
    }
    fprintf(out, "#%llu ", (unsigned long long)frame->offset);
    print_views(out, layout, frame);
    fprintf(out, "%zu %s", frame->length, frame->length == 1 ? "byte" : "bytes");
}

/* ---- hex ------------------------------------------------------------------------------------- */

struct dump {
    FILE *out;
    uint64_t offset;   /* of the first byte of the row */
    size_t used;       /* bytes in the row, below 16 */
    uint8_t bytes[16]; /* of the row */
};

static void end_row(struct dump *dump)
{
    if (dump->used == 0)
        return;
    fprintf(dump->out, "%08llx ", (unsigned long long)dump->offset);
    for (size_t i = 0; i < 16; i++) {
        fputs(i == 8 ? "  " : " ", dump->out);
        if (i < dump->used)
            fprintf(dump->out, "%02x", dump->bytes[i]);
        else
            fputs("  ", dump->out);
    }
    fputs("  |", dump->out);
    for (size_t i = 0; i < dump->used; i++)
        putc(dump->bytes[i] >= 0x20 && dump->bytes[i] < 0x7f ? dump->bytes[i] : '.', dump->out);
    fputs("|\n", dump->out);
    dump->offset += dump->used;
    dump->used = 0;
}

static void add_bytes(struct dump *dump, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        dump->bytes[dump->used++] = bytes[i];
        if (dump->used == sizeof dump->bytes)
            end_row(dump);
    }
}

static void print_bytes(FILE *out, const struct lintel_frame *frame)
{
    struct dump dump = {.out = out, .offset = frame->offset};
    add_bytes(&dump, frame->header, frame->header_size);
    add_bytes(&dump, frame->payload, frame->length);
    add_bytes(&dump, frame->trailer, frame->trailer_size);
    end_row(&dump);
}

/* ---- JSON ------------------------------------------------------------------------------------ */

#define EXACT_MAX (((uint64_t)1 << 53) - 1) /* the largest integer that every JSON reader keeps */

static void print_json_float(FILE *out, const struct lintel_value *value, char code)
{
    char text[TOOL_FLOAT_SIZE];
    tool_float_text(text, code, value);
    int plain = (value->as.u >> 52 & 0x7FF) != 0x7FF;
    fprintf(out, plain ? "%s" : "\"%s\"", text);
}

static void print_json_value(FILE *out, const struct lintel_value *value, char code)
{
    switch (value->kind) {
    case LINTEL_BYTES:
        putc('"', out);
        tool_print_hex(out, value->as.bytes, value->size);
        putc('"', out);
        break;
    case LINTEL_FLOAT:
        print_json_float(out, value, code);
        break;
    case LINTEL_INT:
        fprintf(out,
                value->as.i < -(int64_t)EXACT_MAX || value->as.i > (int64_t)EXACT_MAX ? "\"%lld\""
                                                                                      : "%lld",
                (long long)value->as.i);
        break;
    case LINTEL_UINT:
        fprintf(out, value->as.u > EXACT_MAX ? "\"%llu\"" : "%llu",
                (unsigned long long)value->as.u);
        break;
    }
}

static void print_json(FILE *out, const struct lintel_layout *layout,
                       const struct lintel_frame *frame, const struct show_origin *origin)
{
    const char *comma = "";
    putc('{', out);
    if (origin)
        fprintf(out, "\"connection\":%llu,\"direction\":\"%c\",%s",
                (unsigned long long)origin->connection, origin->direction,
                origin->seal == SHOW_PLAIN ? "" : "\"verified\":false,");
    fprintf(out, "\"offset\":%llu,\"header\":{", (unsigned long long)frame->offset);
    for (size_t i = 0; i < lintel_layout_view_count(layout); i++) {
        const struct lintel_view *view = lintel_layout_view(layout, i);
        struct lintel_value value;
        if (lintel_layout_read_one(layout, &value, i, frame) < 0)
            continue;
        fprintf(out, "%s\"%s\":", comma, view->name);
        print_json_value(out, &value, view->code);
        comma = ",";
    }
    fprintf(out, "},\"length\":%zu,\"payload\":\"", frame->length);
    tool_print_hex(out, frame->payload, frame->length);
    fputs("\"}\n", out);
}

/* ---- all ------------------------------------------------------------------------------------- */

#define TAG_SIZE 16 /* bytes at the end of a record; fixed by the protocol */

static void print_payload(FILE *out, const struct lintel_frame *frame, enum show_seal seal)
{
    size_t size = frame->length;
    if (seal == SHOW_SEALED) {
        fputs(" sealed", out);
        return;
    }
    if (seal == SHOW_UNVERIFIED) {
        fputs(" not verified", out);
        size -= size < TAG_SIZE ? size : TAG_SIZE;
    }
    putc(' ', out);
    tool_print_quoted(out, frame->payload, size);
}

static void show(FILE *out, enum show_form form, const struct lintel_layout *layout,
                 const struct lintel_frame *frame, const struct show_origin *origin)
{
    if (origin && form != SHOW_JSON)
        fprintf(out, "%llu %c ", (unsigned long long)origin->connection, origin->direction);
    switch (form) {
    case SHOW_TEXT:
        print_head(out, layout, frame);
        print_payload(out, frame, origin ? origin->seal : SHOW_PLAIN);
        putc('\n', out);
        break;
    case SHOW_HEX:
        print_head(out, layout, frame);
        if (origin && origin->seal != SHOW_PLAIN)
            fputs(origin->seal == SHOW_SEALED ? " sealed" : " not verified", out);
        putc('\n', out);
        print_bytes(out, frame);
        break;
    case SHOW_JSON:
        print_json(out, layout, frame, origin);
        break;
    case SHOW_RAW:
        fwrite(frame->payload, 1, frame->length, out);
        break;
    }
}

void show_frame(FILE *out, enum show_form form, const struct lintel_layout *layout,
                const struct lintel_frame *frame)
{
    show(out, form, layout, frame, NULL);
}

void show_passing(FILE *out, enum show_form form, const struct lintel_layout *layout,
                  const struct lintel_frame *frame, const struct show_origin *origin)
{
    show(out, form, layout, frame, origin);
}
