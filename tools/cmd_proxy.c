#include "config.h"

#include "proxy.h"

struct options {
    int text, json, hex;
    const char *faults[CHAOS_FAULTS];
};

static const char *const fault_names[CHAOS_FAULTS] = {"corrupt", "drop", "duplicate", "reset",
                                                      "half-close"};

static int read_faults(struct proxy *proxy, const struct options *options)
{
    for (int i = 0; i < CHAOS_FAULTS; i++)
        if (options->faults[i] &&
            !chaos_read(&proxy->chaos, (enum chaos_fault)i, options->faults[i]))
            return tool_misuse("--%s: \"%s\" is not a probability, 0 to 1 or 0%% to 100%%",
                               fault_names[i], options->faults[i]);
    return TOOL_OK;
}

static int read_endpoint(struct lintel_endpoint *out, const char *text)
{
    struct lintel_error error;
    if (lintel_endpoint_parse(out, text, &error) != LINTEL_OK)
        return tool_misuse("%s: %s", text, error.text);
    if (out->scheme == LINTEL_UDP || out->scheme == LINTEL_UNIXGRAM)
        return tool_misuse("%s: datagrams are not passed on, only connections", text);
    return TOOL_OK;
}

static int run(struct proxy *proxy, const struct options *options, int argc, char **argv)
{
    struct lintel_endpoint from, to;
    if (argc != 2)
        return argc < 2 ? tool_misuse("LISTEN and UPSTREAM are wanted")
                        : tool_misuse("one LISTEN and one UPSTREAM, not %d endpoints", argc);
    if (options->text + options->json + options->hex + proxy->quiet > 1)
        return tool_misuse("one of --text, --json, --hex and --quiet");
    proxy->form = options->json ? SHOW_JSON : options->hex ? SHOW_HEX : SHOW_TEXT;
    int status = read_endpoint(&from, argv[0]);
    if (status == TOOL_OK)
        status = read_endpoint(&to, argv[1]);
    if (status == TOOL_OK)
        status = read_faults(proxy, options);
    if (status == TOOL_OK)
        status = tool_framing_open(&proxy->framing);
    return status == TOOL_OK ? proxy_run(proxy, &from, &to) : status;
}

int cmd_proxy(int argc, char **argv)
{
    static struct proxy proxy;
    struct options chosen = {0, 0, 0, {NULL}};
    const struct tool_option options[] = {
        {"text", 0, TOOL_FLAG, NULL, "a line a frame, for people (this is the default)",
         &chosen.text, 0, 0},
        {"json", 0, TOOL_FLAG, NULL, "a JSON object a line, as encode --json reads it",
         &chosen.json, 0, 0},
        {"hex", 0, TOOL_FLAG, NULL, "all bytes of each frame, in hexadecimal", &chosen.hex, 0, 0},
        {"quiet", 0, TOOL_FLAG, NULL, "show no frames", &proxy.quiet, 0, 0},
        {"split", 0, TOOL_SIZE, "N", "pass bytes on in writes of at most N bytes (no limit)",
         &proxy.split, 1, 0},
        {"delay", 0, TOOL_NUMBER, "MS", "pass each frame on so many milliseconds later (0)",
         &proxy.delay_ms, 0, 3600000},
        {"corrupt", 0, TOOL_TEXT, "P", "change a byte of a frame", &chosen.faults[CHAOS_CORRUPT], 0,
         0},
        {"drop", 0, TOOL_TEXT, "P", "leave a frame out", &chosen.faults[CHAOS_DROP], 0, 0},
        {"duplicate", 0, TOOL_TEXT, "P", "pass a frame on twice", &chosen.faults[CHAOS_DUPLICATE],
         0, 0},
        {"reset", 0, TOOL_TEXT, "P", "reset the connection, on both sides, in place of a frame",
         &chosen.faults[CHAOS_RESET], 0, 0},
        {"half-close", 0, TOOL_TEXT, "P",
         "end the direction after a frame, and discard what follows",
         &chosen.faults[CHAOS_HALF_CLOSE], 0, 0},
        {"seed", 0, TOOL_NUMBER, "N", "what the faults are drawn from (0)", &proxy.chaos.seed, 0,
         0},
        TOOL_LAYOUT_OPTIONS(&proxy.framing),
        TOOL_OPTIONS_END,
    };
    const struct tool_usage usage = {
        "LISTEN UPSTREAM",
        "Takes connections on LISTEN, makes one to UPSTREAM for each, passes the bytes on both "
        "ways,\n"
        "and shows the frames in them. LISTEN and UPSTREAM are tcp://HOST:PORT, unix:///PATH,\n"
        "unix://@NAME, fd://N or fd://IN,OUT. With the options below it makes faults: P is their\n"
        "probability for each frame, as 0.05 or 5%; the same seed and the same frames meet the "
        "same\n"
        "faults, and standard error says which.\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    status = run(&proxy, &chosen, argc, argv);
    tool_framing_close(&proxy.framing);
    return status;
}
