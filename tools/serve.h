/*
 * serve: what cmd_serve.c, which reads the command line, says to serve.c, which needs libuv and
 * runs the servers. A server and its handler are in serve_worker.c, the handler exec in
 * serve_exec.c.
 */
#ifndef LINTEL_SERVE_H
#define LINTEL_SERVE_H

#include "keys.h"
#include "tool.h"

#define SERVE_WORKERS_MAX 256

struct serve_settings {
    struct tool_framing framing; /* opened */
    const char *handler;         /* as on the command line */
    struct keys_options keys_options;
    struct lintel_seal_keys *keys; /* of these; NULL: plain */
    uint64_t max_children, workers;
    /* As struct lintel_server_options; sizes of UINT64_MAX and times of -1 are no limit. */
    uint64_t max_connections, max_message, max_queue, max_pending, max_memory, min_rate;
    int frame_timeout_ms, write_timeout_ms, idle_timeout_ms, drain_timeout_ms;
    int handshake_timeout_ms;
};

/* The initializers of a serve without options. */
#define SERVE_DEFAULTS                                                                 \
    .handler = "echo", .max_children = 64, .workers = 1, .max_connections = 10000,     \
    .max_message = LINTEL_MESSAGE_LIMIT, .max_queue = 1024 * 1024, .max_pending = 64,  \
    .max_memory = (uint64_t)1 << 30, .min_rate = 64 * 1024, .frame_timeout_ms = 10000, \
    .write_timeout_ms = 30000, .idle_timeout_ms = 300000, .drain_timeout_ms = 5000,    \
    .handshake_timeout_ms = 5000

/* Serve the endpoints, which can be read, until a signal. Returns an exit status. */
int serve_run(struct serve_settings *settings, int argc, char **argv);

#endif
