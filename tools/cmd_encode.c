#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "frame_json.h"
#include "payload.h"
#include "tool.h"

struct encode {
    struct tool_framing framing;
    int lines, whole, json;
    uint64_t chunk, id;
};

static int put_frame(void *user, const struct message_head *head, const void *payload, size_t size)
{
    const struct lintel_layout *layout = ((const struct encode *)user)->framing.layout;
    uint8_t header[LINTEL_HEADER_MAX], trailer[LINTEL_HEADER_MAX];
    size_t header_size, trailer_size;
    struct lintel_error error;
    if (lintel_frame_put_header(layout, header, sizeof header, &header_size, &head->header, size,
                                &error) < 0 ||
        lintel_frame_put_trailer(layout, trailer, sizeof trailer, &trailer_size, &head->header,
                                 &error) < 0)
        return tool_fail_error(NULL, &error);
    if (tool_write(header, header_size) || tool_write(payload, size))
        return TOOL_FAILED;
    return tool_write(trailer, trailer_size);
}

/* ---- payloads -------------------------------------------------------------------------------- */

static int encode_payloads(struct encode *encode, struct payload_input *input,
                           struct message *message)
{
    for (;;) {
        switch (payload_input_next(input, message)) {
        case PAYLOAD_SENT:
            message->id = tool_next_id(&encode->framing, message->id);
            break;
        case PAYLOAD_READ:
            /* What is there goes out before more is waited for: the input may be a live one. */
            if (tool_flush() || payload_input_read(input))
                return TOOL_FAILED;
            break;
        case PAYLOAD_END:
            return TOOL_OK;
        case PAYLOAD_FAILED:
            return TOOL_FAILED;
        }
    }
}

static int run_payloads(struct encode *encode)
{
    struct payload_input input;
    struct message message = {
        .framing = &encode->framing, .id = encode->id, .frame = put_frame, .user = encode};
    payload_input_open(&input, STDIN_FILENO, "standard input",
                       encode->whole   ? PAYLOAD_WHOLE
                       : encode->chunk ? PAYLOAD_CHUNKS
                                       : PAYLOAD_LINES);
    input.chunk = encode->chunk;
    int status = encode_payloads(encode, &input, &message);
    message_free(&message);
    return status;
}

/* ---- JSON ------------------------------------------------------------------------------------ */

static int put_json(struct encode *encode, struct frame_json *json, char *line, size_t size)
{
    struct message_head head;
    int read = frame_json_read(json, &head, line, size);
    if (read <= 0)
        return read < 0 ? TOOL_FAILED : TOOL_OK;
    return put_frame(encode, &head, json->payload.bytes, json->payload.used);
}

/* The whole lines of what was read; what is left moves to the front. */
static int put_lines(struct encode *encode, struct frame_json *json, struct tool_buffer *text,
                     size_t fresh, int ended)
{
    size_t begin = 0, look = text->used - fresh;
    while (begin < text->used) {
        uint8_t *newline = memchr(text->bytes + look, '\n', text->used - look);
        if (!newline && !ended)
            break;
        size_t end = newline ? (size_t)(newline - text->bytes) : text->used;
        if (put_json(encode, json, (char *)text->bytes + begin, end - begin))
            return TOOL_FAILED;
        begin = look = newline ? end + 1 : end;
    }
    if (begin > 0)
        memmove(text->bytes, text->bytes + begin, text->used - begin);
    text->used -= begin;
    return TOOL_OK;
}

static int read_json(struct encode *encode, struct frame_json *json, struct tool_buffer *text)
{
    uint64_t limit =
        encode->framing.limit > UINT64_MAX / 4 ? UINT64_MAX : 2 * encode->framing.limit + 65536;
    for (;;) {
        if (tool_flush() || tool_buffer_reserve(text, 65536))
            return TOOL_FAILED;
        long got = tool_read(STDIN_FILENO, text->bytes + text->used, 65536);
        if (got < 0)
            return tool_fail("cannot read standard input: %s", strerror(errno));
        text->used += (size_t)got;
        if (put_lines(encode, json, text, (size_t)got, got == 0))
            return TOOL_FAILED;
        if (got == 0)
            return TOOL_OK;
        if (text->used > limit)
            return tool_fail("line %llu is longer than that of a frame of %llu bytes",
                             (unsigned long long)json->line + 1,
                             (unsigned long long)encode->framing.limit);
    }
}

static int run_json(struct encode *encode)
{
    static struct frame_json json;
    struct tool_buffer text = {NULL, 0, 0};
    json.framing = &encode->framing;
    int status = read_json(encode, &json, &text);
    tool_buffer_free(&text);
    frame_json_free(&json);
    return status;
}

/* ---- the command line ------------------------------------------------------------------------ */

static int check_options(struct encode *encode, int argc, char **argv)
{
    if (argc > 0)
        return tool_misuse("it reads standard input and takes no argument, not \"%s\"", argv[0]);
    if (encode->lines + encode->whole + encode->json + (encode->chunk > 0) > 1)
        return tool_misuse("one of --lines, --chunk, --whole and --json");
    if (encode->id == UINT64_MAX) {
        encode->id = 1;
        return TOOL_OK;
    }
    if (encode->json)
        return tool_misuse("--id: with --json each frame says its id");
    if (encode->framing.id_view < 0)
        return tool_misuse("--id: the layout has no view \"id\" that can count");
    if (encode->id > encode->framing.id_max)
        return tool_misuse("--id: %llu is more than %llu", (unsigned long long)encode->id,
                           (unsigned long long)encode->framing.id_max);
    return TOOL_OK;
}

int cmd_encode(int argc, char **argv)
{
    struct encode encode = {.id = UINT64_MAX};
    const struct tool_option options[] = {
        {"lines", 0, TOOL_FLAG, NULL,
         "a frame per line, without its newline; a last line without\n"
         "one is a line, a carriage return is data (the default)",
         &encode.lines, 0, 0},
        {"chunk", 0, TOOL_SIZE, "BYTES",
         "a frame per so many bytes, K M G; the last has what is left", &encode.chunk, 1, 0},
        {"whole", 0, TOOL_FLAG, NULL, "one message, an empty one too", &encode.whole, 0, 0},
        {"json", 0, TOOL_FLAG, NULL, "a frame per line as decode --json prints it", &encode.json, 0,
         0},
        {"id", 0, TOOL_NUMBER, "N",
         "the id of the first frame, the others count on from there;\n0: all have id 0 (1)",
         &encode.id, 0, UINT64_MAX - 1},
        TOOL_HEADER_OPTIONS(&encode.framing),
        TOOL_LAYOUT_OPTIONS(&encode.framing),
        TOOL_OPTIONS_END,
    };
    const struct tool_usage usage = {
        "",
        "Makes frames of standard input. A payload over the frame limit goes in fragments of 256K\n"
        "in lintel's own layout, and is an error in any other. Ids count past the largest to 1.\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    status = tool_framing_open(&encode.framing);
    if (status == TOOL_OK)
        status = check_options(&encode, argc, argv);
    if (status == TOOL_OK)
        status = encode.json ? run_json(&encode) : run_payloads(&encode);
    tool_framing_close(&encode.framing);
    return status;
}
