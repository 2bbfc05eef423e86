/*
 * server: many connections on one libuv loop. Links with lintel-server.pc.
 *
 * The program owns the loop, its signals, threads and child processes; the server owns its
 * listeners and connections. A handler is three callbacks, as in Python's socketserver: setup when
 * a connection is there, frame for each message, finish when it is over. They run on the loop's
 * thread and must not block: one that needs time keeps the request, works elsewhere, and replies
 * later through lintel_request_post(), the only call here that may come from another thread.
 *
 * The server flushes each connection once per turn of the loop. Reading from a connection stops
 * while its unsent bytes or its kept requests are over the limits below, and goes on by itself.
 * Callbacks may call anything here, on this and on any other connection.
 *
 * With lintel's layout fragments are put together, PING is answered with PONG, and BYE ends the
 * peer's requests; handlers see whole messages only. Replies that nobody asked for are dropped and
 * counted. A peer over a limit is told with a BYE and closed; the others do not notice.
 */
#ifndef LINTEL_SERVER_H
#define LINTEL_SERVER_H

#include "lintel/seal.h"
#include "lintel/stream.h"

#ifdef __cplusplus
extern "C" {
#endif

struct uv_loop_s;
struct lintel_server;
struct lintel_connection;
struct lintel_request;

struct lintel_handler {
    /* A connection is there. 0 takes it, anything else closes it; finish is then not called.
     * NULL: all are taken. */
    int (*setup)(void *user, struct lintel_connection *connection);
    /* A message is there, as one frame, whatever fragments it came in. Lends frame and request
     * until it returns; a request that was not ended (reply, fail, drop) or kept by then wants no
     * reply (id 0) or fails as "not handled". */
    void (*frame)(void *user, struct lintel_connection *connection,
                  const struct lintel_frame *frame, struct lintel_request *request);
    /* It is over: LINTEL_E_END (orderly), LINTEL_E_TRUNCATED, LINTEL_E_RESET, LINTEL_E_CLOSED (this
     * side), LINTEL_E_REFUSED (a BYE with a reason), LINTEL_E_... The text says more. Lends error
     * until it returns; the connection goes after that. NULL: nobody wants to know. */
    void (*finish)(void *user, struct lintel_connection *connection,
                   const struct lintel_error *error);
    void *user;
    /* Not NULL: in place of frame, for messages too large to hold. Each piece of a message, as it
     * arrives; no limit but max_frame applies. request is NULL but with the last piece, and its
     * frame has only that. Lends as above. */
    void (*piece)(void *user, struct lintel_connection *connection,
                  const struct lintel_message_piece *piece, struct lintel_request *request);
};

/* For the options below, of which 0 is the default: no limit at all. */
#define LINTEL_UNLIMITED  UINT64_MAX
#define LINTEL_NO_TIMEOUT (-1)

struct lintel_server_options {
    size_t size;                        /* set by LINTEL_SERVER_OPTIONS_INIT */
    const struct lintel_layout *layout; /* kept; NULL: lintel's own */
    /* Kept until the server and every kept request are gone; NULL: malloc and free. Where
     * lintel_request_post() is called from other threads it is called from them, too. */
    const struct lintel_allocator *allocator;
    /* Called once, on the loop, when everything is closed after drain or stop; the server may be
     * freed in it. clean: 1 unless a request that was taken off a stream was not answered, or an
     * answer not written. */
    void (*stopped)(void *user, int clean);
    void *stopped_user;
    /* Called for each descriptor that was accepted, which is non-blocking: 1 if it was taken
     * elsewhere (lintel_server_adopt() of another loop), 0 if this server is to serve it. NULL: all
     * are served here. */
    int (*accepted)(void *user, int fd);
    void *accepted_user;
    /* Called for a connection of which no handler will hear: its handshake failed, or it was over
     * max_connections. fd is its descriptor, lent. NULL: nobody wants to know. */
    void (*refused)(void *user, int fd, const struct lintel_error *error);
    void *refused_user;
    /* Kept until the server is gone: every connection is sealed, plain peers are refused. setup is
     * called when the peer is known, lintel_connection_seal() says who it is. NULL: all are plain.
     */
    const struct lintel_seal_keys *seal_keys;

    /* Sizes are bytes. */
    uint64_t max_connections; /* further ones are told BYE 7; 0: 10000 */
    uint64_t max_frame;       /* payload, in and out; 0: as lintel_decoder_options. BYE 5 */
    uint64_t max_message;     /* put together, in and out; 0: 64 MiB, at least max_frame. BYE 5 */
    uint64_t max_queue;       /* of a connection: reading stops while more is unsent; a reply is
                                 always taken; 0: 1 MiB */
    uint64_t max_memory;  /* over all connections: the one that holds most goes, BYE 8; 0: 1 GiB */
    uint32_t max_pending; /* of a connection: reading stops while so many requests are kept;
                             0: 64 */
    uint32_t max_fds;     /* descriptors that a frame may bring over a UNIX socket; 0: none */
    /* Times are milliseconds. */
    int handshake_timeout_ms; /* of a sealed connection, from when it was accepted; 0: 5 s. BYE 3.
                                 At most 256 handshakes, or a tenth of max_connections, are under
                                 way; a newcomer then takes the place of the oldest */
    int frame_timeout_ms; /* a begun frame or message has so long from its first byte, and what it
                             takes at min_rate; it stands still while we do not read; 0: 10 s.
                             BYE 3 */
    uint64_t min_rate;    /* bytes a second; 0: 64 KiB */
    int write_timeout_ms; /* a write that makes no progress; closed; 0: 30 s */
    int idle_timeout_ms;  /* nothing came but control frames, and no request is open; 0: 300 s.
                             BYE 2 */
    int drain_timeout_ms; /* for lintel_server_drain(); 0: 5 s */
};
#define LINTEL_SERVER_OPTIONS_INIT                                                               \
    {                                                                                            \
        sizeof(struct lintel_server_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, \
            0, 0, 0, 0, 0                                                                        \
    }

/* ---- life ------------------------------------------------------------------------------------ */

/*
 * Make a server on a loop. Nothing listens yet, and the loop is not touched.
 *
 * Gives    *out, to be released with lintel_server_free()
 * Keeps    loop and layout until then; copies handler
 * Returns  LINTEL_OK; LINTEL_E_NOMEM
 *          LINTEL_E_RANGE  max_frame is more than the layout's length can carry
 *          LINTEL_E_USAGE  out, loop, handler, or both its frame and its piece are NULL, or
 *                          options->size is unknown
 */
LINTEL_API LINTEL_MUST_USE int lintel_server_new(struct lintel_server **out, struct uv_loop_s *loop,
                                                 const struct lintel_handler *handler,
                                                 const struct lintel_server_options *options,
                                                 struct lintel_error *error);

/*
 * Listen on an endpoint's text; may be called several times. fd:// of a connection, or a pair,
 * serves that one connection, as lintel_server_adopt().
 *
 * Returns  LINTEL_OK, or as lintel_endpoint_parse(), lintel_listener_open(), lintel_server_adopt()
 *          LINTEL_E_USAGE  a NULL, or the server drains or has stopped
 */
LINTEL_API LINTEL_MUST_USE int lintel_server_listen(struct lintel_server *server,
                                                    const char *endpoint,
                                                    struct lintel_error *error);

/*
 * Serve one connection that is open already: one socket twice, or a pair of pipes. Their modes stay
 * as they are.
 *
 * Takes    in and out: closed when the connection is over, and here on failure
 * Returns  LINTEL_OK, setup was called; or as lintel_stream_new()
 *          LINTEL_E_UNSUPPORTED  a descriptor that cannot be waited for, such as a file
 *          LINTEL_E_SYSTEM       not a descriptor; out of descriptors or of memory for them
 *          LINTEL_E_REFUSED      setup did not take it
 *          LINTEL_E_USAGE        server is NULL, drains or has stopped
 */
LINTEL_API LINTEL_MUST_USE int lintel_server_adopt(struct lintel_server *server, int in, int out,
                                                   struct lintel_error *error);

/* How many sockets listen, and the text of one with its real port: "tcp://127.0.0.1:40123". Returns
 * the characters without the NUL, 0 past the last. */
LINTEL_API
size_t lintel_server_endpoint(const struct lintel_server *server, size_t index, char *out,
                              size_t size);

/* Close the listeners, stop reading, answer what was taken off the streams, say BYE (lintel's
 * layout), close the connections; stopped is called when that is done or drain_timeout_ms have
 * passed. */
LINTEL_API
void lintel_server_drain(struct lintel_server *server);

/* Close everything at once; finish and stopped are called on the next turns of the loop. */
LINTEL_API
void lintel_server_stop(struct lintel_server *server);

/* Release a server. One that has stopped, or was never told to listen, adopt, drain or stop, goes
 * at once. Any other is stopped first and goes in the next turns of the loop; finish is still
 * called, stopped is not. Kept requests may outlive it. NULL is left alone. */
LINTEL_API
void lintel_server_free(struct lintel_server *server);

/* Connections open now. */
LINTEL_API
size_t lintel_server_connections(const struct lintel_server *server);

struct lintel_server_counts {
    uint64_t accepted;        /* connections taken, adopted ones too */
    uint64_t accept_failures; /* times that accepting had to pause, mostly out of descriptors */
    uint64_t refused;         /* connections over max_connections */
    uint64_t requests;        /* messages given to the handler whole */
    uint64_t replies_dropped; /* messages with REPLY that came from peers */
    uint64_t cut_slow;        /* connections ended for a frame that did not come in time, */
    uint64_t cut_unread;      /* for a write that made no progress, */
    uint64_t cut_idle;        /* for idling, */
    uint64_t cut_memory;      /* and for max_memory */
    uint64_t half_open;       /* sealed connections now whose handshake is not done */
    uint64_t not_sealed;      /* of which the handshake failed */
};

/* Counts since the server was made. */
LINTEL_API
void lintel_server_counters(const struct lintel_server *server, struct lintel_server_counts *out);

/* ---- connections ----------------------------------------------------------------------------- */

/* A pointer of the application's own on a connection; NULL until set. */
LINTEL_API
void *lintel_connection_user(const struct lintel_connection *connection);
/* Set that pointer. Keeps it until finish returns. */
LINTEL_API
void lintel_connection_set_user(struct lintel_connection *connection, void *user);

/* Send a frame that is not a reply. Copies payload. Errors as lintel_stream_send(); LINTEL_E_CLOSED
 * once this side has ended the connection. */
LINTEL_API LINTEL_MUST_USE int lintel_connection_send(struct lintel_connection *connection,
                                                      const struct lintel_header *header,
                                                      const void *payload, size_t size);

/* End a connection from this side: nothing more is read, kept requests are still answered, what was
 * sent is written, then it is closed in an orderly way. finish comes later, with LINTEL_E_CLOSED.
 */
LINTEL_API
void lintel_connection_close(struct lintel_connection *connection);

/* The descriptor that it reads from, to ask the kernel about the peer; valid until finish returns.
 * Lends: reading from it, or changing it, is for the server. */
LINTEL_API
int lintel_connection_fd(const struct lintel_connection *connection);

/*
 * In the frame callback: take the descriptors that came with that frame, where max_fds is set. They
 * are close-on-exec; those that are not taken are closed. A message of several fragments brings
 * none: theirs are closed.
 *
 * Returns  as lintel_stream_take_fds()
 * Gives    fds, to be closed with close()
 */
LINTEL_API LINTEL_MUST_USE int lintel_connection_take_fds(struct lintel_connection *connection,
                                                          const struct lintel_frame *frame,
                                                          int *fds, size_t capacity);

/* Who is at the other end of a UNIX socket. Returns as lintel_stream_credentials(). */
LINTEL_API LINTEL_MUST_USE int
lintel_connection_credentials(const struct lintel_connection *connection,
                              struct lintel_credentials *out);

/* The sealed session of a connection, to ask for the peer's name and the session's id; NULL where
 * it is plain. Lends, until finish returns. */
LINTEL_API
const struct lintel_seal *lintel_connection_seal(const struct lintel_connection *connection);

/* The layout of its frames. */
LINTEL_API
const struct lintel_layout *lintel_connection_layout(const struct lintel_connection *connection);

/* ---- requests -------------------------------------------------------------------------------- */

/* 1 if the peer waits for a reply: lintel's layout: id is not 0; a foreign one: always. */
LINTEL_API
int lintel_request_wants_reply(const struct lintel_request *request);

/*
 * Reply, on the loop's thread: in the frame callback, or later to a kept request. With lintel's
 * layout the reply has flags REPLY and the request's type and id; in a foreign layout the request's
 * header. Where there is no id, replies are put in order of the requests.
 *
 * Returns  LINTEL_OK, also where no reply is wanted
 *          LINTEL_E_CLOSED     the connection is gone
 *          LINTEL_E_TOO_LARGE  more than max_message, or than a frame in a foreign layout; the
 *                              request fails with that as its text
 *          LINTEL_E_NOMEM      the connection ends with that
 *          LINTEL_E_USAGE      a NULL; or it was ended before, or kept
 *          else as lintel_stream_send(); the connection ends with that
 * Takes    a kept request, on success and on failure. Copies payload.
 */
LINTEL_API int lintel_request_reply(struct lintel_request *request, const void *payload,
                                    size_t size);

/*
 * The same with an error as the answer: with lintel's layout flags REPLY and ERROR and the text as
 * payload, cut at max_frame; in a foreign one the connection is closed, after the replies that come
 * before.
 */
LINTEL_API int lintel_request_fail(struct lintel_request *request, const char *text);

/* End a request without a reply; in a layout without ids the replies behind it move up. Takes a
 * kept request. One that was ended before, or kept, is left alone, NULL too. */
LINTEL_API
void lintel_request_drop(struct lintel_request *request);

/*
 * Keep a request beyond the frame callback, with a copy of its frame.
 *
 * Gives    *kept, to be ended with lintel_request_reply(), _fail(), _drop() or _post(), even if the
 *          connection or the server is gone by then
 * Returns  LINTEL_OK; LINTEL_E_NOMEM; LINTEL_E_USAGE if it was kept or ended before
 */
LINTEL_API LINTEL_MUST_USE int lintel_request_keep(struct lintel_request *request,
                                                   struct lintel_request **kept);

/* The frame of a request; lent until the request is ended. */
LINTEL_API
const struct lintel_frame *lintel_request_frame(const struct lintel_request *request);

/*
 * Reply to a kept request from any thread. failed 1 makes it an error as lintel_request_fail()
 * does, with the payload as its text.
 *
 * Returns  LINTEL_OK, it will be sent on the loop, unless the connection ends before
 *          LINTEL_E_CLOSED  the connection is gone
 *          LINTEL_E_NOMEM   the request fails with that as its text
 *          LINTEL_E_USAGE   a NULL, or a request that is not kept
 * Takes    kept, on success and on failure. Copies payload.
 */
LINTEL_API int lintel_request_post(struct lintel_request *kept, int failed, const void *payload,
                                   size_t size);

#ifdef __cplusplus
}
#endif
#endif
