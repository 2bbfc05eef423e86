/*
 * serve: what cmd_serve.c, which reads the command line, says to serve.c, which needs libuv and
 * runs the server. The handler exec is in serve_exec.c.
 */
#ifndef LINTEL_SERVE_H
#define LINTEL_SERVE_H

#include "tool.h"

struct serve_settings {
    struct tool_framing framing; /* opened */
    const char *handler;         /* as on the command line */
    uint64_t max_queue, max_pending, max_children;
    int drain_timeout_ms;
};

/* Serve the endpoints, which can be read, until a signal. Returns an exit status. */
int serve_run(struct serve_settings *settings, int argc, char **argv);

#endif
