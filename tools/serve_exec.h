/*
 * serve_exec: the handler exec:CMD of `lintel serve`. `sh -c CMD` runs once per request, in a
 * process group of its own: the payload is its standard input, its standard output the reply. So
 * many run at once, further requests wait. Nothing here blocks the loop.
 */
#ifndef LINTEL_SERVE_EXEC_H
#define LINTEL_SERVE_EXEC_H

#include <stdint.h>

#include "lintel/server.h"

struct exec;
struct job;

struct exec_limits {
    uint64_t reply;    /* bytes of one */
    uint64_t memory;   /* bytes of all that are not whole yet */
    uint64_t children; /* at once */
};

/* Keeps command. NULL when out of memory. */
struct exec *exec_new(struct uv_loop_s *loop, const char *command,
                      const struct exec_limits *limits);
/* After the loop has ended. */
void exec_free(struct exec *exec);

/* Keep a request and run the command for it. *jobs is the list of what runs for one connection,
 * kept until exec_finish(); NULL at the beginning. */
void exec_request(struct exec *exec, struct job **jobs, struct lintel_request *request);
/* The connection is over: kill what runs for it. */
void exec_finish(struct exec *exec, struct job **jobs);

#endif
