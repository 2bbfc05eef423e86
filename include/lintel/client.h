/*
 * client: calls over a stream. Request and reply by id, many under way, replies in any order.
 *
 *     start 1 | start 2 | start 3 |            | start 4 |
 *     next                        | 2 | 1      |         | 4 | 3: no reply in time
 *
 * Pull style: calls are started, and finished ones are taken one by one, each exactly once and on
 * every path: with its reply, when its time is up, or when the connection is lost. Nothing is held
 * of a reply that was not taken: it stays in the stream, and the peer feels that.
 *
 * Lintel's own layout pairs by id, and so does another one with a number named `id`. In any other
 * the replies come strictly in the order of the requests: there a call whose time is up keeps its
 * place, and its reply is passed over when it comes.
 *
 * This side asks: requests of the peer are dropped and counted. Reconnecting is left to the caller,
 * who is told of each call whether it may be repeated. One client, one thread at a time. Read
 * stream.h first.
 */
#ifndef LINTEL_CLIENT_H
#define LINTEL_CLIENT_H

#include "lintel/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LINTEL_CALLS_LIMIT ((uint32_t)1 << 16) /* calls open at once unless set; our choice */
#define LINTEL_CALLS_MAX   ((uint32_t)1 << 24) /* the most that can be set; our choice */

struct lintel_client;

struct lintel_client_options {
    size_t size;                              /* set by LINTEL_CLIENT_OPTIONS_INIT */
    const struct lintel_allocator *allocator; /* kept; NULL: malloc and free */
    uint32_t max_calls; /* open at once, with places that are kept; 0: LINTEL_CALLS_LIMIT. A small
                           id of another layout bounds it, too */
    uint64_t max_queue; /* unwritten bytes over which no call is started without waiting; 0: 16 MiB
                         */
};
#define LINTEL_CLIENT_OPTIONS_INIT                    \
    {                                                 \
        sizeof(struct lintel_client_options), 0, 0, 0 \
    }

/* ---- life ------------------------------------------------------------------------------------ */

/*
 * Make a client of a stream from which nothing but messages is to be received.
 *
 * Takes    stream: closed by lintel_client_close(), and here on failure
 * Gives    *out, to be closed with lintel_client_close()
 * Returns  LINTEL_OK; LINTEL_E_NOMEM
 *          LINTEL_E_RANGE  max_calls is over LINTEL_CALLS_MAX
 *          LINTEL_E_USAGE  out or stream is NULL, or options->size is not one this library knows
 */
LINTEL_API LINTEL_MUST_USE int lintel_client_new(struct lintel_client **out,
                                                 struct lintel_stream *stream,
                                                 const struct lintel_client_options *options,
                                                 struct lintel_error *error);

/*
 * Connect to an endpoint's text and make a client of it. stream_options and options may be NULL.
 *
 * Returns  as lintel_stream_open() and lintel_client_new()
 */
LINTEL_API LINTEL_MUST_USE int
lintel_client_open(struct lintel_client **out, const char *endpoint, int timeout_ms,
                   const struct lintel_stream_options *stream_options,
                   const struct lintel_client_options *options, struct lintel_error *error);

/* Close the stream and free everything, with the calls that are open. NULL is left alone. */
LINTEL_API
void lintel_client_close(struct lintel_client *client);

/* ---- calls ----------------------------------------------------------------------------------- */

/* What is asked. All zero is an empty request of type 0 that waits for its reply for ever. */
struct lintel_call {
    uint32_t type;
    /* In a foreign layout: header and trailer are those of this frame, but for length and id.
     * Borrowed; NULL: type goes to the view of that name. Lintel's own layout ignores it. */
    const struct lintel_frame *like;
    const void *payload;
    size_t size;
    int deadline_ms; /* from lintel_client_start() to the reply; 0 or below: none */
    void *user;      /* comes back in struct lintel_finished */
    /* 1: the payload goes without a copy, kept until release (which may be NULL) is called, exactly
     * once, as lintel_stream_send_ref() does. A message in fragments is copied and released at
     * once. */
    int by_reference;
    lintel_release *release;
    void *release_user;
};

/* What became of a request. */
enum lintel_outcome {
    LINTEL_CALL_ANSWERED,    /* the reply is there, an ERROR reply too */
    LINTEL_CALL_NOT_SENT,    /* it did not go out whole: the peer cannot have handled it */
    LINTEL_CALL_NOT_HANDLED, /* it went out, and the peer's BYE says that it was not taken */
    LINTEL_CALL_UNKNOWN      /* it went out, or still may; whether it was handled nobody can tell */
};

struct lintel_finished {
    uint32_t id;
    void *user; /* the caller's, as in struct lintel_call */
    /* LINTEL_OK; LINTEL_E_REFUSED for an ERROR reply, whose text is message's payload (hostile,
     * and not always UTF-8); LINTEL_E_TIMEOUT; or what ended the connection. */
    int status;
    enum lintel_outcome outcome;
    struct lintel_message message; /* the reply, where outcome is LINTEL_CALL_ANSWERED; else zero */
};

/*
 * Start a call: the request is taken by the stream as lintel_stream_send_message() does, and goes
 * out when the stream is flushed or waits. Ids count from 1 to 4294967295, or as far as a foreign
 * layout's id goes, and on from 1; one that is open is passed over. Where replies come in order the
 * id is this side's alone, and not sent.
 *
 * Returns  LINTEL_OK, *id names the call; id may be NULL
 *          LINTEL_E_COUNT    max_calls are open
 *          LINTEL_E_TIMEOUT  the queue is full; with timeout_ms 0: max_queue are queued
 *          LINTEL_E_CLOSED   the connection was lost; take the finished calls, and open another
 *          LINTEL_E_NOMEM, LINTEL_E_USAGE, else as lintel_stream_send_message()
 *          After a failure there is no such call, and the peer cannot have handled it.
 * Copies   call; its payload as it says
 */
LINTEL_API LINTEL_MUST_USE int lintel_client_start(struct lintel_client *client, uint32_t *id,
                                                   const struct lintel_call *call, int timeout_ms);

/*
 * Take the next finished call. Flushes; receives only if nothing else is finished.
 *
 * Returns  1  *out is one
 *          0  none: no call is open, or none is finished yet (timeout_ms 0 only)
 *          LINTEL_E_TIMEOUT  none in time
 *          LINTEL_E_NOMEM    no memory to receive a reply; may be tried again
 *          LINTEL_E_...      the connection is lost, as lintel_stream_recv_message() says, and all
 *                            calls were given out. After a BYE of the peer writing is shut down.
 *          A reply that is there goes before the end of its call's time.
 * Lends    out->message until the next lintel_client_next() or lintel_client_call()
 */
LINTEL_API LINTEL_MUST_USE int lintel_client_next(struct lintel_client *client,
                                                  struct lintel_finished *out, int timeout_ms);

/*
 * Call and wait: one request, its reply. timeout_ms, below 0 for ever, counts for all of it and
 * takes the place of call->deadline_ms.
 *
 * Returns  LINTEL_OK, out->message is the reply; else out->status
 *          LINTEL_E_USAGE  a NULL, timeout_ms is 0, or other calls are open; *out is untouched
 *          else as lintel_client_start(), with outcome LINTEL_CALL_NOT_SENT
 * Lends    out->message as lintel_client_next()
 */
LINTEL_API LINTEL_MUST_USE int lintel_client_call(struct lintel_client *client,
                                                  struct lintel_finished *out,
                                                  const struct lintel_call *call, int timeout_ms);

/*
 * Give up a call: it is not given out any more, and its reply is dropped as a late one.
 *
 * Returns  LINTEL_OK; LINTEL_E_USAGE if no call with this id is open
 */
LINTEL_API
int lintel_client_cancel(struct lintel_client *client, uint32_t id);

/* ---- under an event loop --------------------------------------------------------------------- */

/* As lintel_stream_wants(), for the descriptors of lintel_client_stream(); 0 when the connection is
 * lost. Then call lintel_client_next() with timeout_ms 0, until it is not 1. */
LINTEL_API
int lintel_client_wants(const struct lintel_client *client);

/* Milliseconds until lintel_client_next() is to be called even if nothing became ready; -1 for
 * never. The soonest end of a call's time is at hand, however many there are. */
LINTEL_API
int lintel_client_wait_ms(const struct lintel_client *client);

/* ---- asking ---------------------------------------------------------------------------------- */

/* Calls that are open: started, and not given out or given up. */
LINTEL_API
size_t lintel_client_calls(const struct lintel_client *client);

struct lintel_client_counts {
    uint64_t started;   /* calls that start took */
    uint64_t answered;  /* replies given out */
    uint64_t refused;   /* ERROR replies among them */
    uint64_t timed_out; /* calls whose time was up */
    uint64_t lost;      /* calls that ended with the connection */
    uint64_t late;      /* dropped: replies to a call that is over, second ones too */
    uint64_t unknown;   /* dropped: replies to what was never asked */
    uint64_t requests;  /* dropped: requests of the peer */
};

/* Counts since the client was made. */
LINTEL_API
void lintel_client_counters(const struct lintel_client *client, struct lintel_client_counts *out);

/* The last error: that of the call that last failed, here or as a finished one. An ERROR reply's
 * text stands in it in quotes, escaped, and cut where it is long. */
LINTEL_API
void lintel_client_error(const struct lintel_client *client, struct lintel_error *out);

/*
 * The stream, for what is not a call: its descriptors, counters, lintel_stream_flush(), the end
 * (lintel_stream_shutdown(), _bye(), _linger()). Lends. Receiving from it is for the client, and
 * when the connection is lost flushing it could send what was reported as not sent.
 */
LINTEL_API
struct lintel_stream *lintel_client_stream(const struct lintel_client *client);

/* Bytes of storage that the client holds, itself and its stream apart. */
LINTEL_API
size_t lintel_client_memory(const struct lintel_client *client);

#ifdef __cplusplus
}
#endif
#endif
