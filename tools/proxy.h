/*
 * proxy: connections that are passed on, many at once, in one loop. A pair is a connection that
 * came and the one made for it; a flow is one direction of a pair.
 *
 *     from --read--> held --frames, faults--> queue --write--> to
 *
 * What passes are the bytes as they came: frames are found in them, to be shown and to be hit by
 * faults, and never made anew.
 */
#ifndef LINTEL_PROXY_H
#define LINTEL_PROXY_H

#include "chaos.h"
#include "connector.h"
#include "show.h"

/* ---- one side of a pair (proxy_io.c) --------------------------------------------------------- */

struct proxy_end {
    int in, out; /* out is -1 when it was closed to end the writing */
    int in_socket, out_socket;
};

/* Take the descriptors: sockets, or pipes. */
void proxy_end_open(struct proxy_end *end, const int fds[2]);
/* Close them; with reset a connection is reset where its kind knows that. */
void proxy_end_close(struct proxy_end *end, int reset);
/* Read, or write, without waiting: bytes, 0 at the end of the input, or -1 with errno. */
ssize_t proxy_end_read(const struct proxy_end *end, void *bytes, size_t size);
ssize_t proxy_end_write(const struct proxy_end *end, const void *bytes, size_t size);
/* Shut down writing. */
void proxy_end_shut(struct proxy_end *end);
/* Who is at the other end: "tcp://[::1]:4242"; "" where that is not known. */
void proxy_end_peer(const struct proxy_end *end, char *out, size_t size);

/* ---- what waits to be written (proxy_queue.c) ------------------------------------------------ */

enum proxy_step { PROXY_WRITE, PROXY_SHUT, PROXY_RESET };

struct proxy_item {
    enum proxy_step step;
    size_t size; /* bytes of PROXY_WRITE that are left, at least 1 */
    int64_t due; /* of tool_now_ms(): not before; 0: at once */
};

/* Items in the order in which they are done; all zero is an empty one. */
struct proxy_queue {
    struct tool_buffer bytes; /* of all items that write */
    size_t written;           /* of them */
    struct proxy_item *items;
    size_t first, used, capacity; /* of items: first <= used <= capacity */
};

/* Append: TOOL_OK, or TOOL_FAILED with the reason printed. */
int proxy_queue_write(struct proxy_queue *queue, const void *bytes, size_t size, int64_t due);
int proxy_queue_step(struct proxy_queue *queue, enum proxy_step step, int64_t due);
/* The first item; NULL where there is none. */
const struct proxy_item *proxy_queue_first(const struct proxy_queue *queue);
/* The bytes of the first item. */
const uint8_t *proxy_queue_bytes(const struct proxy_queue *queue);
/* So many bytes of the first item are done, or the step is. */
void proxy_queue_done(struct proxy_queue *queue, size_t size);
/* Memory that it takes. */
size_t proxy_queue_size(const struct proxy_queue *queue);
void proxy_queue_free(struct proxy_queue *queue);

/* ---- one direction (proxy_flow.c) ------------------------------------------------------------ */

struct proxy;
struct proxy_pair;

enum proxy_reading {
    PROXY_BEGINS, /* whether a sealed session begins is not known yet */
    PROXY_FRAMES,
    PROXY_BYTES /* no frames, or none any more */
};

struct proxy_flow {
    struct proxy *proxy;
    struct proxy_pair *pair;
    char direction; /* '>' from the side that connected, '<' back */
    struct proxy_end *from, *to;

    enum proxy_reading reading;
    struct lintel_decoder *decoder; /* of PROXY_FRAMES */
    uint64_t base;                  /* offset of the first byte that the decoder was given */
    uint64_t frames;
    int sealed;              /* 1: it began with a HELLO */
    int skipping;            /* 1: a frame over the limit came, and that was said */
    uint64_t arrived;        /* bytes */
    struct tool_buffer held; /* the last of them: not passed yet, or not looked at yet */
    size_t passed;           /* of held */
    int ended;               /* 1: nothing is read any more */
    int discards;            /* 1: what is read is thrown away */

    struct proxy_queue queue;
    int blocked; /* 1: there was no room to write, wait for some */
    int shut;    /* 1: nothing is written any more */
    int broken;  /* 1: because that failed */

    int poll_in, poll_out; /* where in proxy->fds it waits; -1: it does not */
};

/* Read and write what can be without waiting. */
void proxy_flow_work(struct proxy_flow *flow, int readable, int writable);
/* Whether to wait for input; whether for room to write. */
int proxy_flow_wants_in(const struct proxy_flow *flow);
int proxy_flow_wants_out(const struct proxy_flow *flow);
void proxy_flow_close(struct proxy_flow *flow);

/* ---- all of them (proxy.c) ------------------------------------------------------------------- */

struct proxy_pair {
    struct proxy_pair *next;
    uint64_t number;   /* from 1, in the order of arrival */
    int waits;         /* 1: until there is a descriptor for upstream */
    int connected;     /* 1: both ends are there */
    int reset;         /* 1: it is to be reset now */
    uint8_t seal_mode; /* as the first HELLO says; 0: none came */
    struct proxy_end client, upstream;
    struct proxy_flow forth, back;
};

struct proxy {
    struct tool_framing framing;
    enum show_form form;
    int quiet;
    struct chaos chaos;
    int holds;      /* 1: frames are held until they are whole, so that faults can meet them */
    uint64_t split; /* bytes of a write at most; 0: no limit */
    uint64_t delay_ms;

    struct lintel_listener *listener; /* NULL: nobody is taken any more */
    struct connector connector;
    int single;         /* 1: upstream is a connection that was given, for one */
    int given;          /* 1: the one connection was given; its failure is that of the program */
    int silent;         /* 1: standard output is one of the connections */
    int busy;           /* 1: there is something to do without anything to wait for */
    int failed;         /* 1: a connection that was given could not be passed on */
    int64_t now;        /* of tool_now_ms(), in this turn */
    int64_t wakes;      /* when the first delayed item is due; -1: none is */
    int64_t until;      /* it waits no longer than to this; -1: it does */
    int64_t full_until; /* out of descriptors: none is taken before; 0: not */
    int64_t full_said;  /* when it was said last */
    uint64_t accepted;
    size_t waiting; /* pairs that do */
    struct proxy_pair *pairs;
    struct pollfd *fds;
    size_t fds_count, fds_capacity;
    size_t listening; /* how many of them are the listener's */
};

/* Listen, pass on until a signal comes, or a connection that was given has ended: an exit status.
 * The options are set. */
int proxy_run(struct proxy *proxy, const struct lintel_endpoint *from,
              const struct lintel_endpoint *to);

#endif
