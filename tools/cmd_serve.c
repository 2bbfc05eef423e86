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

static int check_endpoints(int argc, char **argv)
{
    struct lintel_endpoint endpoint;
    struct lintel_error error;
    if (argc == 0)
        return tool_misuse("wants an ENDPOINT");
    for (int i = 0; i < argc; i++)
        if (lintel_endpoint_parse(&endpoint, argv[i], &error) != LINTEL_OK)
            return tool_misuse("%s: %s", argv[i], error.text);
    return TOOL_OK;
}

int cmd_serve(int argc, char **argv)
{
    struct serve_settings settings = {.handler = "echo",
                                      .max_queue = 1024 * 1024,
                                      .max_pending = 64,
                                      .max_children = 64,
                                      .drain_timeout_ms = 5000};
    const struct tool_option options[] = {
        {"handler", 'H', TOOL_TEXT, "NAME", "echo, upper, discard, or exec:CMD (echo)",
         &settings.handler, 0, 0},
        TOOL_LAYOUT_OPTIONS(&settings.framing),
        {"max-queue", 0, TOOL_SIZE, "BYTES",
         "stop reading from a connection while more of its\nreplies are unsent, K M G (1M)",
         &settings.max_queue, 1, 0},
        {"max-pending", 0, TOOL_NUMBER, "N",
         "the same while so many of its requests are under way (64)", &settings.max_pending, 1,
         UINT32_MAX},
        {"max-children", 0, TOOL_NUMBER, "N", "commands of exec at once, further ones wait (64)",
         &settings.max_children, 1, 0},
        {"drain-timeout", 0, TOOL_TIME, "S",
         "on SIGTERM or SIGINT answer what was read, at most\nso many seconds (5)",
         &settings.drain_timeout_ms, 0, 0},
        TOOL_SEAL_OPTIONS,
        TOOL_OPTIONS_END};
    const struct tool_usage usage = {
        "ENDPOINT...",
        "Answer many connections. \"listening on ENDPOINT\" is printed for each, with the real "
        "port,\n"
        "once all are bound. echo replies with the payload, upper with it in upper case (ASCII),\n"
        "discard never; exec runs sh -c CMD for each request: the payload is its standard input,\n"
        "its standard output the reply. SIGTERM and SIGINT drain; a second one stops.\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    status = check_endpoints(argc, argv);
    if (status == TOOL_OK)
        status = tool_framing_open(&settings.framing);
    if (status == TOOL_OK)
        status = serve_run(&settings, argc, argv);
    tool_framing_close(&settings.framing);
    return status;
}
