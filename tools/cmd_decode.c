#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "show.h"
#include "tool.h"

struct decode {
    struct tool_framing framing;
    int text, json, hex, raw;
    uint64_t skip;
    enum show_form form;
    const char *name; /* of the input, for people */
    int fd;
    struct lintel_decoder *decoder;
};

static int fail_input(const struct decode *decode)
{
    return tool_fail("cannot read %s: %s", decode->name, strerror(errno));
}

static int skip_input(struct decode *decode)
{
    uint8_t bytes[65536];
    for (uint64_t left = decode->skip; left > 0;) {
        long got = tool_read(decode->fd, bytes, left < sizeof bytes ? (size_t)left : sizeof bytes);
        if (got < 0)
            return fail_input(decode);
        if (got == 0)
            return tool_fail("the input ended before the %llu bytes to skip",
                             (unsigned long long)decode->skip);
        left -= (uint64_t)got;
    }
    return TOOL_OK;
}

/* Show the frames that are there: -1, more input is needed; else an exit status. */
static int show_frames(struct decode *decode)
{
    struct lintel_frame frame;
    int rc;
    while ((rc = lintel_decoder_next(decode->decoder, &frame)) == 1) {
        show_frame(stdout, decode->form, decode->framing.layout, &frame);
        if (ferror(stdout))
            return tool_flush();
    }
    if (rc == 0)
        return -1;
    if (rc == LINTEL_E_END)
        return TOOL_OK;
    struct lintel_error error;
    lintel_decoder_error(decode->decoder, &error);
    return tool_fail_error(NULL, &error);
}

static int read_frames(struct decode *decode)
{
    for (;;) {
        int status = show_frames(decode);
        if (status >= 0)
            return status;
        void *space;
        size_t size;
        int rc = lintel_decoder_space(decode->decoder, &space, &size);
        if (rc != LINTEL_OK)
            return tool_fail("%s", lintel_strerror(rc));
        /* Frames that came are shown before more is waited for: the input may be a live one. */
        if (tool_flush())
            return TOOL_FAILED;
        long got = tool_read(decode->fd, space, size);
        if (got < 0)
            return fail_input(decode);
        rc = got > 0 ? lintel_decoder_filled(decode->decoder, (size_t)got)
                     : lintel_decoder_end(decode->decoder);
        if (rc != LINTEL_OK)
            return tool_fail("%s", lintel_strerror(rc));
    }
}

static int run(struct decode *decode)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_error error;
    options.layout = decode->framing.layout;
    options.max_frame = decode->framing.max_frame;
    int rc = lintel_decoder_new(&decode->decoder, &options, &error);
    if (rc != LINTEL_OK)
        return tool_fail_error(NULL, &error);
    int status = skip_input(decode);
    if (status == TOOL_OK)
        status = read_frames(decode);
    lintel_decoder_free(decode->decoder);
    return status;
}

static int open_input(struct decode *decode, int argc, char **argv)
{
    if (argc > 1)
        return tool_misuse("one FILE, not %d", argc);
    if (decode->text + decode->json + decode->hex + decode->raw > 1)
        return tool_misuse("one of --text, --json, --hex and --raw");
    decode->form = decode->json  ? SHOW_JSON
                   : decode->hex ? SHOW_HEX
                   : decode->raw ? SHOW_RAW
                                 : SHOW_TEXT;
    decode->name = "standard input";
    decode->fd = STDIN_FILENO;
    if (argc == 0 || strcmp(argv[0], "-") == 0)
        return TOOL_OK;
    decode->name = argv[0];
    decode->fd = open(argv[0], O_RDONLY | O_CLOEXEC);
    return decode->fd < 0 ? tool_fail("cannot open %s: %s", argv[0], strerror(errno)) : TOOL_OK;
}

int cmd_decode(int argc, char **argv)
{
    struct decode decode = {.fd = -1};
    const struct tool_option options[] = {
        {"text", 0, TOOL_FLAG, NULL, "a line for people (this is the default)", &decode.text, 0, 0},
        {"json", 0, TOOL_FLAG, NULL, "a JSON object a line, as encode --json reads it",
         &decode.json, 0, 0},
        {"hex", 0, TOOL_FLAG, NULL, "all bytes of each frame, in hexadecimal", &decode.hex, 0, 0},
        {"raw", 0, TOOL_FLAG, NULL, "the payloads as they are, nothing between them", &decode.raw,
         0, 0},
        {"skip", 0, TOOL_SIZE, "BYTES",
         "pass over so many bytes before the first frame, K M G (0);\noffsets count from there",
         &decode.skip, 0, 0},
        TOOL_LAYOUT_OPTIONS(&decode.framing),
        TOOL_OPTIONS_END,
    };
    const struct tool_usage usage = {
        "[FILE]",
        "Shows the frames in FILE or standard input. It judges frames, not messages: fragments "
        "and\n"
        "control frames are shown as they come. What came before an error is printed.\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    status = tool_framing_open(&decode.framing);
    if (status == TOOL_OK)
        status = open_input(&decode, argc, argv);
    if (status == TOOL_OK)
        status = run(&decode);
    if (decode.fd > STDIN_FILENO)
        close(decode.fd);
    tool_framing_close(&decode.framing);
    return status;
}
