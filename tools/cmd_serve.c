#include "config.h"

#include "serve.h"
#include "tool.h"

#ifndef HAVE_UV
int serve_run(struct serve_settings *settings, int argc, char **argv)
{
    (void)settings;
    (void)argc;
    (void)argv;
    return tool_fail("not in this build: it was made without libuv");
}
#endif

static int check_endpoints(const struct serve_settings *settings, int argc, char **argv)
{
    struct lintel_endpoint endpoint;
    struct lintel_error error;
    if (argc == 0)
        return tool_misuse("wants an ENDPOINT");
    for (int i = 0; i < argc; i++)
        if (lintel_endpoint_parse(&endpoint, argv[i], &error) != LINTEL_OK)
            return tool_misuse("%s: %s", argv[i], error.text);
        else if (keys_check_endpoint(&settings->keys_options, &endpoint) != TOOL_OK)
            return TOOL_USAGE;
    return TOOL_OK;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_settings settings = {SERVE_DEFAULTS};
    const struct tool_option options[] = {
        {"handler", 'H', TOOL_TEXT, "NAME", "echo, upper, discard, or exec:CMD (echo)",
         &settings.handler, 0, 0},
        TOOL_LAYOUT_OPTIONS(&settings.framing),
        {"max-message", 0, TOOL_SIZE_LIMIT, "BYTES",
         "largest message that is put together, at least max-frame (64M)", &settings.max_message, 1,
         0},
        {"max-connections", 0, TOOL_NUMBER_LIMIT, "N", "further ones are refused (10000)",
         &settings.max_connections, 1, 0},
        {"max-queue", 0, TOOL_SIZE_LIMIT, "BYTES",
         "stop reading from a connection while more of its\nreplies are unsent, K M G (1M)",
         &settings.max_queue, 1, 0},
        {"max-pending", 0, TOOL_NUMBER_LIMIT, "N",
         "the same while so many of its requests are under way (64)", &settings.max_pending, 1, 0},
        {"max-children", 0, TOOL_NUMBER_LIMIT, "N",
         "commands of exec at once, further ones wait (64)", &settings.max_children, 1, 0},
        {"max-memory", 0, TOOL_SIZE_LIMIT, "BYTES",
         "over all connections; the one that holds most goes (1G)", &settings.max_memory, 1, 0},
        {"handshake-timeout", 0, TOOL_TIME_LIMIT, "S", "of a sealed session (5)",
         &settings.handshake_timeout_ms, 0, 0},
        {"frame-timeout", 0, TOOL_TIME_LIMIT, "S",
         "a begun frame or message has so many seconds from its\nfirst byte, and what it takes at "
         "min-rate (10)",
         &settings.frame_timeout_ms, 0, 0},
        {"min-rate", 0, TOOL_SIZE, "BYTES", "a second, for that, K M G (64K)", &settings.min_rate,
         1, 0},
        {"write-timeout", 0, TOOL_TIME_LIMIT, "S", "of a write that makes no progress (30)",
         &settings.write_timeout_ms, 0, 0},
        {"idle-timeout", 0, TOOL_TIME_LIMIT, "S", "without a frame or an open request (300)",
         &settings.idle_timeout_ms, 0, 0},
        {"drain-timeout", 0, TOOL_TIME_LIMIT, "S",
         "on SIGTERM or SIGINT answer what was read, at most\nso many seconds (5)",
         &settings.drain_timeout_ms, 0, 0},
        {"workers", 0, TOOL_NUMBER, "N", "loops, each in a thread of its own (1)",
         &settings.workers, 1, SERVE_WORKERS_MAX},
        KEYS_OPTIONS(&settings.keys_options),
        TOOL_OPTIONS_END};
    const struct tool_usage usage = {
        "ENDPOINT...",
        "Answer many connections. \"listening on ENDPOINT\" is printed for each, with the real "
        "port,\n"
        "once all are bound. echo replies with the payload, upper with it in upper case (ASCII),\n"
        "discard never; exec runs sh -c CMD for each request: the payload is its standard input,\n"
        "its standard output the reply. SIGTERM and SIGINT drain; a second one stops. A limit may "
        "be\n"
        "\"unlimited\".\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    status = check_endpoints(&settings, argc, argv);
    if (status == TOOL_OK)
        status = tool_framing_open(&settings.framing);
    if (status == TOOL_OK)
        status = keys_open(&settings.keys, &settings.keys_options, LINTEL_SEAL_RESPONDER);
    if (status == TOOL_OK)
        status = serve_run(&settings, argc, argv);
    lintel_seal_keys_free(settings.keys);
    tool_framing_close(&settings.framing);
    return status;
}
