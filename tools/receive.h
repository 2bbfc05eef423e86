/*
 * receive: connections that are listened to, several at once, under poll(2). What a peer sends is
 * handed on frame by frame; control frames are answered here. A peer who breaks the protocol is
 * told so with a BYE and closed; the others do not notice.
 */
#ifndef LINTEL_RECEIVE_H
#define LINTEL_RECEIVE_H

#include <poll.h>

#include "tool.h"

#define RECEIVE_MAX 1024 /* connections at once; further ones wait to be accepted */

struct connection {
    struct lintel_stream *stream;
    uint64_t number;  /* from 1, in the order of arrival */
    uint32_t last_id; /* of the last request that was taken */
    int linger;       /* 1: over; what was told it goes out, what it still sends is passed over */
    int ended;        /* 1: it has ended, too */
    int surplus;      /* 1: frames of it came that were not taken any more */
    int waits;        /* 1: all was taken, its end is waited for, and more is reset */
    int64_t since;    /* of tool_now_ms(), as linger_end */
    int64_t linger_end;
    size_t linger_left; /* bytes */
};

struct receive {
    struct tool_framing *framing;
    const struct lintel_seal_keys *keys; /* NULL: plain */
    struct lintel_listener *listener;    /* NULL: the one connection is given, or all have to go */
    /* Takes each frame that is no control frame: TOOL_OK; else no more are taken. */
    int (*frame)(void *user, const struct lintel_frame *frame);
    void *user;

    int broken;  /* a peer broke the protocol, or its connection; the reason is printed */
    int stopped; /* frame() said so */
    int busy;    /* frames may be there without anything to wait for */
    int full;    /* out of descriptors, until one is closed */
    uint64_t accepted;
    size_t count;
    struct connection connections[RECEIVE_MAX];
    struct pollfd fds[RECEIVE_MAX + 64];
};

/* Bind, or take the connection that fd:// names: TOOL_OK, or an exit status with the reason
 * printed. To be ended with receive_close(). */
int receive_open(struct receive *receive, const struct lintel_endpoint *endpoint);
/* What to wait for, in receive->fds: how many; *wait_ms is the most to wait, -1 for ever. */
nfds_t receive_wants(struct receive *receive, int *wait_ms);
/* Accept, read, answer what can be without waiting. */
void receive_work(struct receive *receive);
/* Listen no more, and end all connections; then work until count is 0. Where the reason is
 * LINTEL_BYE_DONE a peer of which all was taken may end by itself, so that one that is about to end
 * does not take a BYE for a failure; others are told LINTEL_BYE_DRAINING, that they have sent in
 * vain. */
void receive_end(struct receive *receive, enum lintel_bye_reason reason);
void receive_close(struct receive *receive);

#endif
