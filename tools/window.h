/*
 * window: the requests that wait for their replies, in order. Replies may come in any order; what
 * came too early is held, in the form in which it will be printed, until its turn.
 */
#ifndef LINTEL_WINDOW_H
#define LINTEL_WINDOW_H

#include "tool.h"

enum request_state {
    REQUEST_OPEN,    /* its reply has not come */
    REQUEST_ANSWERED /* the reply is whole in output, and was not printed yet */
};

struct request {
    uint64_t id;
    uint64_t number;  /* from 1, in the order of the payloads */
    int64_t deadline; /* of tool_now_ms(); -1: none, or it is still being sent */
    uint64_t size;    /* bytes of payload */
    enum request_state state;
    struct tool_buffer output; /* what is to be printed */
};

/* A ring; requests [0, count) from first on, the oldest first; the first is always open. */
struct window {
    struct request *ring;
    size_t capacity;
    size_t first, count;
    uint64_t numbered;   /* requests there ever were */
    uint64_t open_bytes; /* payload of those that are open */
    uint64_t held;       /* bytes in all outputs */
    int in_order;        /* replies carry no id */
};

/* TOOL_OK, or TOOL_FAILED with the reason printed. To be ended with window_free(). */
int window_open(struct window *window, size_t capacity, int in_order);
void window_free(struct window *window);

/* The request of that place in the order, 0 being the oldest. */
struct request *window_at(struct window *window, size_t place);
/* Add a request; there must be room. */
struct request *window_push(struct window *window, uint64_t id);
/* Take the youngest back: it was never sent whole. */
void window_pop_last(struct window *window);
/* The open request that a reply with this id belongs to; NULL. */
struct request *window_find(struct window *window, uint64_t id);
/* Print and drop the answered ones at the front, up to the first that is open; with all, print all
 * that are answered, wherever they are. TOOL_OK, or TOOL_FAILED with the reason printed. */
int window_print(struct window *window, int all);

#endif
