/*
 * server: many connections on one libuv loop. Links with lintel-server.pc.
 *
 * The program owns the loop, its signals, threads and child processes; the server owns its
 * listeners and connections. A handler is three callbacks, as in Python's socketserver: setup when
 * a connection is there, frame for each frame, finish when it is over. They run on the loop's
 * thread and must not block: one that needs time keeps the request, works elsewhere, and replies
 * later through lintel_request_post(), the only call here that may come from another thread.
 *
 * The server flushes each connection once per turn of the loop.
 */
#ifndef LINTEL_SERVER_H
#define LINTEL_SERVER_H

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
    /* A frame is there. Lends frame and request until it returns; a request that neither was
     * replied to nor kept by then wants no reply (id 0) or is answered with an ERROR. */
    void (*frame)(void *user, struct lintel_connection *connection,
                  const struct lintel_frame *frame, struct lintel_request *request);
    /* It is over: LINTEL_E_END (orderly), LINTEL_E_TRUNCATED, LINTEL_E_RESET, LINTEL_E_CLOSED (this
     * side), LINTEL_E_... NULL: nobody wants to know. */
    void (*finish)(void *user, struct lintel_connection *connection,
                   const struct lintel_error *error);
    void *user;
};

struct lintel_server_options {
    size_t size;                              /* set by LINTEL_SERVER_OPTIONS_INIT */
    const struct lintel_layout *layout;       /* kept; NULL: lintel's own */
    const struct lintel_allocator *allocator; /* kept; NULL: malloc and free */
    uint64_t max_frame;                       /* payload bytes; 0: as lintel_decoder_options */
    /* Called once, on the loop, when everything is closed after drain or stop; the server may be
     * freed in it. clean is 1 if every request that was read was answered, and the answers
     * written. */
    void (*stopped)(void *user, int clean);
    void *stopped_user;
    int drain_timeout_ms; /* 0: 5000 */
};
#define LINTEL_SERVER_OPTIONS_INIT                             \
    {                                                          \
        sizeof(struct lintel_server_options), 0, 0, 0, 0, 0, 0 \
    }

/* ---- life ------------------------------------------------------------------------------------ */

/*
 * Make a server on a loop. Nothing listens yet.
 *
 * Gives    *out, to be released with lintel_server_free()
 * Keeps    loop, layout and allocator until then; copies handler
 * Returns  LINTEL_OK; LINTEL_E_RANGE, LINTEL_E_NOMEM, LINTEL_E_SYSTEM, LINTEL_E_USAGE
 */
LINTEL_API LINTEL_MUST_USE int lintel_server_new(struct lintel_server **out, struct uv_loop_s *loop,
                                                 const struct lintel_handler *handler,
                                                 const struct lintel_server_options *options,
                                                 struct lintel_error *error);

/*
 * Listen on an endpoint's text; may be called several times. fd:// of a connection, or a pair,
 * serves that one connection.
 *
 * Returns  LINTEL_OK, or as lintel_endpoint_parse() and lintel_listener_open()
 */
LINTEL_API LINTEL_MUST_USE int lintel_server_listen(struct lintel_server *server,
                                                    const char *endpoint,
                                                    struct lintel_error *error);

/* Serve one connection that is open already. Takes in and out. Errors as lintel_stream_new(). */
LINTEL_API LINTEL_MUST_USE int lintel_server_adopt(struct lintel_server *server, int in, int out,
                                                   struct lintel_error *error);

/* How many sockets listen, and the text of one with its real port: "tcp://127.0.0.1:40123". Returns
 * the characters without the NUL, 0 past the last. */
LINTEL_API
size_t lintel_server_endpoint(const struct lintel_server *server, size_t index, char *out,
                              size_t size);

/* Close the listeners, answer what was read whole, close the connections; stopped is called when
 * that is done or drain_timeout_ms have passed. */
LINTEL_API
void lintel_server_drain(struct lintel_server *server);

/* Close everything at once; stopped is called on the next turn of the loop. */
LINTEL_API
void lintel_server_stop(struct lintel_server *server);

/* Release a server that has stopped, or never listened. NULL is left alone. */
LINTEL_API
void lintel_server_free(struct lintel_server *server);

/* Connections open now. */
LINTEL_API
size_t lintel_server_connections(const struct lintel_server *server);

/* ---- connections ----------------------------------------------------------------------------- */

/* A pointer of the application's own on a connection; NULL until set. */
LINTEL_API
void *lintel_connection_user(const struct lintel_connection *connection);
/* Set that pointer. Keeps it until finish returns. */
LINTEL_API
void lintel_connection_set_user(struct lintel_connection *connection, void *user);

/* Send a frame that is not a reply. Copies payload. Errors as lintel_stream_send(). */
LINTEL_API LINTEL_MUST_USE int lintel_connection_send(struct lintel_connection *connection,
                                                      const struct lintel_header *header,
                                                      const void *payload, size_t size);

/* End a connection from this side: what was sent is written, then it is closed in an orderly way.
 * finish comes later with LINTEL_E_CLOSED. */
LINTEL_API
void lintel_connection_close(struct lintel_connection *connection);

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
 * Returns  LINTEL_OK; LINTEL_E_CLOSED if the connection is gone; LINTEL_E_USAGE if it was replied
 *          to before; else as lintel_stream_send()
 * Takes    a kept request, on success and on failure. Copies payload.
 */
LINTEL_API LINTEL_MUST_USE int lintel_request_reply(struct lintel_request *request,
                                                    const void *payload, size_t size);

/*
 * The same with an error as the answer: with lintel's layout flags REPLY and ERROR and the text as
 * payload; in a foreign one the connection is closed.
 */
LINTEL_API LINTEL_MUST_USE int lintel_request_fail(struct lintel_request *request,
                                                   const char *text);

/*
 * Keep a request beyond the frame callback, with a copy of its frame.
 *
 * Gives    *kept, to be ended with lintel_request_reply(), _fail() or _post()
 * Returns  LINTEL_OK; LINTEL_E_NOMEM; LINTEL_E_USAGE if it was kept or replied to before
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
 * Returns  LINTEL_OK, it will be sent on the loop; LINTEL_E_CLOSED if the connection is gone;
 *          LINTEL_E_NOMEM; LINTEL_E_USAGE
 * Takes    kept, on success and on failure. Copies payload.
 */
LINTEL_API LINTEL_MUST_USE int lintel_request_post(struct lintel_request *kept, int failed,
                                                   const void *payload, size_t size);

#ifdef __cplusplus
}
#endif
#endif
