/*
 * serve_worker: a loop, a server on it, and its handler. The first worker runs in the thread of the
 * program and has the listeners; the others run in threads of their own and are handed descriptors.
 */
#ifndef LINTEL_SERVE_WORKER_H
#define LINTEL_SERVE_WORKER_H

#include <stdatomic.h>
#include <uv.h>

#include "lintel/server.h"
#include "serve.h"
#include "serve_exec.h"

enum worker_order { WORKER_RUN, WORKER_DRAIN, WORKER_STOP };

struct worker {
    const struct serve_settings *settings;
    uv_loop_t loop;
    struct lintel_server *server;
    struct exec *exec;        /* -H exec */
    struct tool_buffer upper; /* -H upper */
    int stopping;             /* the end was asked for: connections that end are no news */
    int ended, clean;         /* the server has stopped; whether nothing was cut */
    atomic_size_t served;     /* connections, half-open ones among them, */
    atomic_size_t given;      /* and descriptors that are to become some */
    uint64_t most;            /* connections */

    /* Called on the worker's loop: the server has no connection left, and has stopped. NULL: not.
     */
    void (*on_empty)(void *user);
    void (*on_ended)(void *user);
    void *user;

    int in_thread; /* it has what follows, and a thread of its own */
    uv_thread_t thread;
    uv_async_t async; /* there are orders, or descriptors */
    uv_mutex_t mutex; /* of what follows */
    enum worker_order order;
    int *fds;
    size_t count, capacity;

    int64_t lines_since; /* the second that is counted */
    unsigned lines, lines_left_out;
};

/* Make the number-th worker of settings->workers, with its loop and server. options has what the
 * workers do not share in settings. TOOL_OK, or an exit status with the reason printed. To be ended
 * with worker_close() in either case. */
int worker_open(struct worker *worker, const struct serve_settings *settings, uint64_t number,
                int (*accepted)(void *user, int fd), void *user);
/* After its loop has ended. */
void worker_close(struct worker *worker);

/* Run in a thread of its own. TOOL_OK, or TOOL_FAILED with the reason printed. */
int worker_start(struct worker *worker);
/* Wait until that thread has ended. */
void worker_join(struct worker *worker);

/* On its loop: see how many connections it has, for worker_load(). */
void worker_count(struct worker *worker);

/* From any thread: the connections that it has, or is to have. */
size_t worker_load(struct worker *worker);

/* From any thread, once started: hand a descriptor over, 0 if it cannot be taken; give an order. */
int worker_give(struct worker *worker, int fd);
void worker_order(struct worker *worker, enum worker_order order);

#endif
