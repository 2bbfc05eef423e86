/*
 * What the files of the server share. Public headers only: the server is a user of liblintel.
 *
 *     server.c             life, listeners, accepting, the turn, the end
 *     server_connection.c  one connection: opening, waiting, settling, lingering, closing
 *     server_read.c        what it reads: frames, messages, pieces, control frames
 *     server_limits.c      deadlines and memory, and the one timer
 *     server_request.c     requests: replying in turn, keeping, posting from other threads
 *
 * The turn. Callbacks of libuv, and calls of the application, only note what happened and touch the
 * connection. Once per turn of the loop, from a uv_check handle, every touched connection is worked
 * on: it reads a bounded amount, hands the frames on, and settles: flushes, ends, waits. Nothing is
 * closed or freed outside of settling, so that callbacks may call everything.
 */
#ifndef LINTELP_SERVER_INTERNAL_H
#define LINTELP_SERVER_INTERNAL_H

#include "lintel/server.h"

#include <uv.h>

enum {
    TURN_FRAMES = 64,            /* frames of one batch */
    TURN_BYTES = 64 * 1024,      /* payload bytes of one connection in one turn, about */
    RECEIVE_SIZE = 64 * 1024,    /* the receive buffer that all connections share */
    TURN_ACCEPTS = 64,           /* connections taken from one socket in one turn */
    TURN_HANDSHAKES = 8,         /* handshake messages that are handled in one turn */
    HALF_OPEN_MIN = 256,         /* handshakes under way, where a tenth of all is less */
    SURPLUS_MAX = 64,            /* refused connections that linger; further ones are closed */
    HELD_MAX = 16 * 1024 * 1024, /* storage of all connections; above it they trim in turn */
    TRIM_MS = 250,               /* quiet so long, a connection gives its storage back */
    RETRY_MS = 250,              /* after accepting failed */
    LINGER_MS = 1000,            /* protocol, "Ending" */
    LINGER_BYTES = 1024 * 1024   /* protocol, "Ending" */
};

#define NEVER UINT64_MAX /* a time that does not come */

/* In place of a reason for a BYE: the peer ended first, or there is nobody to say it to. */
enum { BYE_NONE = 255 };

/* A ring: the head points at itself when it is empty. */
struct node {
    struct node *next, *previous;
};

/* What kept requests hold on to when connection and server are gone. */
struct mailbox {
    uv_mutex_t mutex;
    struct lintel_allocator allocator; /* resize NULL: malloc and free */
    struct lintel_request *first;      /* posted, in order */
    struct lintel_request **last;
    uv_async_t *async; /* NULL once the server does not listen to it */
    size_t references; /* the server, and every request on the heap */
};

enum answer {
    ANSWER_REPLY,
    ANSWER_FAIL,
    ANSWER_DROP,
    ANSWER_NO_MEMORY /* posted, but its payload could not be copied */
};

enum request_state {
    REQUEST_OPEN,  /* on the stack, in the frame callback */
    REQUEST_ENDED, /* on the stack still, but answered or kept */
    REQUEST_KEPT,  /* on the heap, the application's */
    REQUEST_HELD   /* on the heap, ours: answered, and waiting for its turn or for the loop */
};

struct lintel_request {
    /* NULL when the connection is gone; of a kept one it is changed under the mailbox's mutex. */
    struct lintel_connection *connection;
    struct lintel_frame frame;
    uint32_t type, id;
    uint32_t sequence; /* layouts without ids: its place */
    uint8_t wants_reply;
    uint8_t state; /* enum request_state */

    /* On the heap only: */
    uint8_t answer; /* enum answer, once it is held */
    struct mailbox *mailbox;
    struct node node;                   /* in the connection's kept, while it is kept */
    struct lintel_request *next_answer; /* in the mailbox, or in the connection's held */
    void *payload;
    size_t size;
    size_t held; /* bytes that count as the connection's */
};

enum phase {
    PHASE_OPEN,   /* frames, or answers still to come */
    PHASE_ENDING, /* all is said, not all is written */
    PHASE_LINGER, /* shut down; input is discarded until the peer's end */
    PHASE_CLOSED  /* finish was called; handles are closing */
};

/* One socket that listens. */
struct port {
    uv_poll_t poll;
    struct listening *owner;
};

struct listening {
    struct listening *next;
    struct lintel_server *server;
    struct lintel_listener *listener;
    size_t count;   /* sockets */
    size_t closing; /* handles not yet closed */
    uint8_t given;  /* fd://: the mode of the descriptor stays */
    struct port ports[];
};

/* The second handle of a connection that writes to another descriptor than it reads from. */
struct out_poll {
    uv_poll_t poll; /* first: the handle is this */
    struct lintel_connection *connection;
    uint8_t armed; /* uv events that are waited for */
};

struct lintel_connection {
    uv_poll_t poll; /* first: the handle is the connection; its data is the application's user */
    struct lintel_server *server;
    struct lintel_stream *stream;
    struct lintel_assembler *assembler;     /* NULL but around fragments */
    struct node node;                       /* in the server's busy, waiting, greeted, or none */
    struct lintel_connection *next_touched; /* valid while touched */
    struct out_poll *out;                   /* NULL: one descriptor */
    struct node kept;                       /* requests on the heap that wait for an answer */
    struct lintel_request *held;            /* answers that wait for their turn, in order */
    struct lintel_error *error;             /* why it ends; NULL: status says all */
    /* Times are those of uv_now. */
    uint64_t due;         /* it is looked at then; no later than its first deadline */
    uint64_t since;       /* its last activity, or its shutdown */
    uint64_t idle_since;  /* the last that counts for idling */
    uint64_t frame_since; /* the first byte of what has begun; 0: nothing has; while it stands
                             still, 1 more than what has passed since then */
    uint64_t write_since; /* the last progress of writing; 0: nothing is queued */
    size_t kept_bytes;    /* of requests on the heap */
    size_t held_bytes;    /* storage, after its last turn */
    uint32_t place;       /* in the server's order of deadlines */
    union {
        uint32_t last_id;     /* lintel's layout: of the last request taken off the stream */
        uint32_t sequence_in; /* layouts without ids: place of the next request */
        uint32_t discarded;   /* bytes, while it lingers */
    };
    uint32_t sequence_out; /* layouts without ids: place of the next reply */
    uint32_t pending;      /* requests on the heap */
    int16_t status;        /* why it ends */
    uint8_t phase;         /* enum phase */
    uint8_t bye;           /* why to say BYE at the end, or BYE_NONE */
    uint8_t armed;         /* uv events that are waited for */
    uint8_t closing;       /* handles not yet closed */
    unsigned touched : 1;
    unsigned again : 1;      /* there may be something to read */
    unsigned hangup : 1;     /* the descriptor is in an error, and is no longer waited for */
    unsigned input_over : 1; /* no more frames are handed on */
    unsigned peer_ended : 1; /* the peer's end was seen */
    unsigned broken : 1;     /* to be closed as soon as it settles */
    unsigned urgent : 1;     /* waiting for its hangup alone would spin */
    unsigned muted : 1;      /* a reply in a layout without ids is missing: none may follow */
    unsigned refused : 1;    /* by setup, or surplus: finish is not called */
    unsigned surplus : 1;    /* over max_connections */
    unsigned hasty : 1;      /* it does not linger */
    unsigned half_open : 1;  /* its handshake is not done */
    unsigned paused : 1;     /* frame_since stands still: it is not read */
    unsigned fresh : 1;      /* what was begun became whole in this turn: it is another now */
};

enum life { LIFE_NEW, LIFE_RUNNING, LIFE_DRAINING, LIFE_STOPPING, LIFE_STOPPED };

struct lintel_server {
    uv_loop_t *loop;
    struct lintel_handler handler;
    const struct lintel_layout *layout;
    const struct lintel_allocator *allocator;
    struct lintel_stream_options stream_options; /* of all connections */
    struct mailbox *mailbox;
    void (*stopped)(void *user, int clean);
    void *stopped_user;
    int (*accepted)(void *user, int fd);
    void *accepted_user;
    void (*refused)(void *user, int fd, const struct lintel_error *error);
    void *refused_user;
    const struct lintel_seal_keys *seal_keys;
    uint64_t max_frame_option; /* as it was given */
    uint64_t max_frame;        /* payload bytes, what it amounts to */
    /* The options, with their defaults filled in; a time of NEVER is no limit. */
    uint64_t max_message, max_queue, max_memory, max_connections, min_rate;
    uint64_t frame_ms, write_ms, idle_ms, drain_ms, handshake_ms;
    uint64_t max_half_open;
    uint32_t max_pending;
    uint32_t max_fds;
    uint8_t is_lintel;
    uint8_t ordered; /* replies have no id to go by */

    uint8_t life; /* enum life */
    uint8_t clean;
    uint8_t free_when_stopped;
    uint8_t ended; /* its own handles are closing */
    uint64_t retry_at,
        drain_at;      /* uv_now; 0: not. Listeners are not polled while retry_at is set */
    uint64_t timer_at; /* what the timer is set to; 0: it does not run */
    uv_async_t async;  /* posts; also keeps the loop alive while there are connections */
    uv_check_t check;
    uv_idle_t idle; /* runs while connections are touched: the loop must not block then */
    uv_timer_t timer;
    size_t handles; /* of libuv, not yet closed */

    struct listening *listening;
    /* Connections that may hold storage that they can give back, in the order in which they had a
     * turn after they were trimmed. */
    struct node busy;
    /* Connections that are half-open, the oldest first: without a valid first message, with one. */
    struct node waiting, greeted;
    int handshakes; /* that may still be handled in this turn */
    /* All connections, in the order of a heap: order[i].due >= order[(i - 1) / 2].due. */
    struct lintel_connection **order;
    size_t connections, order_capacity; /* connections <= order_capacity */
    size_t surplus;                     /* of them over max_connections */
    size_t held_bytes;                  /* the sum of theirs */
    struct lintel_connection *touched, **last_touched;
    struct lintel_server_counts counters;
    uint8_t receive_buffer[RECEIVE_SIZE];
};

/* ---- server.c -------------------------------------------------------------------------------- */

/* As lintel_allocator.resize, which may be NULL. */
void *lintelp_server_resize(const struct lintel_allocator *allocator, void *ptr, size_t size);
/* Fill an error in; error may be NULL. Returns status. */
int lintelp_server_error(struct lintel_error *error, int status, int system, const char *format,
                         ...) __attribute__((format(printf, 4, 5)));
void lintelp_node_init(struct node *head);
int lintelp_node_empty(const struct node *head);
void lintelp_node_append(struct node *head, struct node *node);
void lintelp_node_remove(struct node *node);
/* Work on the connection in this turn, or in the next. */
void lintelp_touch(struct lintel_connection *connection);
/* A descriptor is free again. */
void lintelp_server_resume_accepting(struct lintel_server *server);
/* A handle has closed. */
void lintelp_server_handle_closed(struct lintel_server *server);

/* ---- server_connection.c --------------------------------------------------------------------- */

/* Takes in and out. given: their modes are kept. As lintel_server_adopt(). */
int lintelp_connection_open(struct lintel_server *server, int in, int out, int given,
                            struct lintel_error *error);
/* uv_poll_init(); given: without the change of mode that it makes. Returns 0 or a libuv error. */
int lintelp_poll_init(uv_loop_t *loop, uv_poll_t *poll, int fd, int given);
/* What a turn does with one connection. Returns 1 if it is to have the next turn, too. */
int lintelp_connection_turn(struct lintel_connection *connection);
/* End the input; the first reason stays. error may be NULL: text is then that of the status. */
void lintelp_connection_end(struct lintel_connection *connection, int status, int bye,
                            const struct lintel_error *error);
/* The same without a BYE, where an answer is lost: an orderly end is then no reason that stays. */
void lintelp_connection_spoil(struct lintel_connection *connection, int status,
                              const struct lintel_error *error);
/* The same, and it closes when it settles, whatever is still queued. */
void lintelp_connection_cut(struct lintel_connection *connection, int status,
                            const struct lintel_error *error);
/* The stream cannot go on: it closes when it settles, and this is the reason that stays. */
void lintelp_connection_break(struct lintel_connection *connection, int status);
/* 1 while frames may be taken from it. */
int lintelp_connection_may_read(const struct lintel_connection *connection);
/* Send a control frame. */
void lintelp_connection_control(struct lintel_connection *connection, uint32_t type, uint32_t id,
                                const void *payload, size_t size);

/* ---- server_read.c --------------------------------------------------------------------------- */

/* Read all that is there, but not more than a turn's share, and hand it on. */
void lintelp_connection_read(struct lintel_connection *connection);
/* Read and drop, while it lingers. */
void lintelp_connection_discard(struct lintel_connection *connection);

/* ---- server_seal.c --------------------------------------------------------------------------- */

/* It counts as half-open from now on; where too many are, the oldest goes. */
void lintelp_half_open_add(struct lintel_connection *connection);
void lintelp_half_open_remove(struct lintel_connection *connection);
/* Go on with its handshake. Returns 1 when it is done, and the handler has taken it; else 0. */
int lintelp_connection_handshake(struct lintel_connection *connection);

/* ---- server_limits.c ------------------------------------------------------------------------- */

/* Put a connection into the order, and take it out. LINTEL_OK or LINTEL_E_NOMEM. */
int lintelp_order_add(struct lintel_connection *connection);
void lintelp_order_remove(struct lintel_connection *connection);
/* Note what its turn came to: clocks, deadline, storage. */
void lintelp_limits_note(struct lintel_connection *connection);
/* Keep to the bounds of memory over all connections. */
void lintelp_limits_memory(struct lintel_server *server);
/* Work on what is due, and set the timer to what comes next. */
void lintelp_limits_due(struct lintel_server *server);
/* Make sure that the timer runs when there is something to wait for. */
void lintelp_timer_update(struct lintel_server *server);

/* ---- server_request.c ------------------------------------------------------------------------ */

/* Hand a message to the handler; with its last piece, where it takes pieces. */
void lintelp_request_deliver(struct lintel_connection *connection,
                             const struct lintel_header *header, const struct lintel_frame *frame,
                             const struct lintel_message_piece *piece);
/* The connection is gone: its kept requests are on their own, held answers are freed. */
void lintelp_request_orphan_all(struct lintel_connection *connection);
/* Send what was posted. */
void lintelp_mailbox_empty(struct mailbox *mailbox);
int lintelp_mailbox_new(struct mailbox **out, const struct lintel_allocator *allocator);
/* The server is gone, or listens no more. */
void lintelp_mailbox_detach(struct mailbox *mailbox);
void lintelp_mailbox_unref(struct mailbox *mailbox);

#endif
