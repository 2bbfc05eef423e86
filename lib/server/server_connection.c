/*
 * One connection: from its first byte to its last.
 *
 *     OPEN    frames come in, answers go out; once the input is over, only answers
 *     ENDING  every request is answered and BYE is said; what is queued is being written
 *     LINGER  writing is shut down; input is discarded, as a close now would take back what the
 *             peer has not read yet
 *     CLOSED  finish was called, the handles are closing
 */
#include "config.h"
#include "server/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- ways to end ----------------------------------------------------------------------------- */

void lintelp_connection_end(struct lintel_connection *connection, int status, int bye,
                            const struct lintel_error *error)
{
    if (connection->input_over)
        return;
    connection->input_over = 1;
    connection->status = (int16_t)status;
    connection->bye = (uint8_t)bye;
    if (error != NULL) {
        connection->error =
            lintelp_server_resize(connection->server->allocator, NULL, sizeof *error);
        if (connection->error != NULL)
            *connection->error = *error;
    }
    lintelp_touch(connection);
}

static void forget_reason(struct lintel_connection *connection)
{
    if (connection->error != NULL)
        lintelp_server_resize(connection->server->allocator, connection->error, 0);
    connection->error = NULL;
    connection->input_over = 0;
}

void lintelp_connection_spoil(struct lintel_connection *connection, int status,
                              const struct lintel_error *error)
{
    if (connection->status == LINTEL_E_END)
        forget_reason(connection);
    lintelp_connection_end(connection, status, BYE_NONE, error);
}

void lintelp_connection_cut(struct lintel_connection *connection, int status,
                            const struct lintel_error *error)
{
    lintelp_connection_spoil(connection, status, error);
    connection->broken = 1;
}

void lintelp_connection_break(struct lintel_connection *connection, int status)
{
    struct lintel_error error;

    if (connection->broken || connection->phase > PHASE_ENDING)
        return;
    forget_reason(connection);
    lintel_stream_error(connection->stream, &error);
    lintelp_connection_cut(connection, status, error.status == status ? &error : NULL);
}

/* ---- control frames -------------------------------------------------------------------------- */

void lintelp_connection_control(struct lintel_connection *connection, uint32_t type, uint32_t id,
                                const void *payload, size_t size)
{
    struct lintel_header header = {.flags = LINTEL_CONTROL, .type = type, .id = id};
    int rc = lintel_stream_send(connection->stream, &header, payload, size, 0);

    if (rc < 0)
        lintelp_connection_break(connection, rc);
}

/* Nobody knows yet who the peer is. */
static int is_half_open(const struct lintel_connection *connection)
{
    const struct lintel_seal *seal = lintel_stream_seal(connection->stream);

    return seal != NULL && lintel_seal_id(seal) == NULL;
}

static void say_bye(struct lintel_connection *connection)
{
    uint8_t payload[8];

    if (is_half_open(connection) && connection->bye != BYE_NONE) {
        (void)!lintel_stream_bye(connection->stream, (enum lintel_bye_reason)connection->bye, 0);
        return;
    }
    if (!connection->server->is_lintel || connection->bye == BYE_NONE)
        return;
    lintel_put_u32be(payload, connection->bye);
    lintel_put_u32be(payload + 4, connection->last_id);
    lintelp_connection_control(connection, LINTEL_BYE, 0, payload, sizeof payload);
}

/* ---- waiting --------------------------------------------------------------------------------- */

int lintelp_connection_may_read(const struct lintel_connection *connection)
{
    const struct lintel_server *server = connection->server;

    return connection->phase == PHASE_OPEN && !connection->input_over && !connection->half_open &&
           connection->pending < server->max_pending &&
           lintel_stream_queued(connection->stream) <= server->max_queue;
}

/* 1 while there is somebody who wants its input. */
static int wants_input(const struct lintel_connection *connection)
{
    return lintelp_connection_may_read(connection) ||
           (connection->half_open && connection->phase == PHASE_OPEN && !connection->input_over);
}

/* Nothing but its hangup was waited for; a peer could also have sent urgent data. */
static void look_for_hangup(struct lintel_connection *connection)
{
    struct pollfd fd = {lintel_stream_in_fd(connection->stream), 0, 0};

    if (poll(&fd, 1, 0) > 0 && (fd.revents & (POLLHUP | POLLERR)))
        connection->hangup = 1;
    else
        connection->urgent = 1;
}

/* libuv stops a handle whose descriptor is in an error, and says so with a status. */
static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct lintel_connection *connection = (struct lintel_connection *)(void *)poll;

    if (status < 0) {
        connection->hangup = 1;
        connection->armed = 0;
    } else if (events & UV_PRIORITIZED) {
        look_for_hangup(connection);
    }
    if (status < 0 || (events & UV_READABLE))
        connection->again = 1;
    lintelp_touch(connection);
}

static void on_out_poll(uv_poll_t *poll, int status, int events)
{
    struct lintel_connection *connection = ((struct out_poll *)(void *)poll)->connection;

    (void)events;
    if (status < 0)
        connection->out->armed = 0;
    lintelp_touch(connection);
}

static void arm(uv_poll_t *poll, uint8_t *armed, int events, uv_poll_cb callback)
{
    if (*armed == events)
        return;
    *armed = (uint8_t)events;
    if (events == 0)
        uv_poll_stop(poll);
    else
        (void)uv_poll_start(poll, events, callback);
}

static void wait_for_events(struct lintel_connection *connection)
{
    int writing = connection->phase != PHASE_LINGER && lintel_stream_queued(connection->stream) > 0;
    int events = connection->phase == PHASE_LINGER || wants_input(connection) ? UV_READABLE : 0;

    if (connection->out != NULL)
        arm(&connection->out->poll, &connection->out->armed, writing ? UV_WRITABLE : 0,
            on_out_poll);
    else if (writing)
        events |= UV_WRITABLE;
    else if (events == 0 && connection->peer_ended && !connection->urgent)
        events = UV_PRIORITIZED;
    if (!connection->hangup)
        arm(&connection->poll, &connection->armed, events, on_poll);
}

/* ---- settling -------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct lintel_connection *connection = (struct lintel_connection *)(void *)handle;
    struct lintel_server *server = connection->server;

    if (--connection->closing == 0)
        lintelp_server_resize(server->allocator, connection, 0);
    lintelp_server_handle_closed(server);
}

static void on_out_closed(uv_handle_t *handle)
{
    struct out_poll *out = (struct out_poll *)(void *)handle;
    struct lintel_connection *connection = out->connection;
    struct lintel_server *server = connection->server;

    lintelp_server_resize(server->allocator, out, 0);
    if (--connection->closing == 0)
        lintelp_server_resize(server->allocator, connection, 0);
    lintelp_server_handle_closed(server);
}

/* The handle must go before its descriptor is closed: libuv takes the number out of its epoll set,
 * and another connection may have got it by then. */
static void close_out(struct lintel_connection *connection)
{
    if (connection->out == NULL)
        return;
    uv_close((uv_handle_t *)&connection->out->poll, on_out_closed);
    connection->out = NULL;
}

static void finish(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    struct lintel_error plain = {.status = connection->status};
    const struct lintel_error *error = connection->error != NULL ? connection->error : &plain;

    if (connection->error == NULL)
        lintelp_server_error(&plain, connection->status, 0, "%s",
                             lintel_strerror(connection->status));
    if (!connection->refused && server->handler.finish != NULL)
        server->handler.finish(server->handler.user, connection, error);
    if (connection->refused && connection->status != LINTEL_E_CLOSED && server->refused != NULL)
        server->refused(server->refused_user, lintel_stream_in_fd(connection->stream), error);
}

/* The loop must not end while a connection only waits for an answer from elsewhere. */
static void join(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;

    lintelp_node_append(&server->busy, &connection->node);
    server->surplus += connection->surplus;
    server->counters.refused += connection->surplus;
    server->counters.accepted += !connection->surplus;
    if (server->connections == 1)
        uv_ref((uv_handle_t *)&server->async);
}

static void leave(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;

    lintelp_half_open_remove(connection);
    lintelp_node_remove(&connection->node);
    lintelp_order_remove(connection);
    server->surplus -= connection->surplus;
    if (server->connections == 0)
        uv_unref((uv_handle_t *)&server->async);
}

static void close_now(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;

    connection->phase = PHASE_CLOSED;
    lintelp_request_orphan_all(connection);
    leave(connection);
    finish(connection);
    close_out(connection);
    uv_close((uv_handle_t *)&connection->poll, on_closed);
    lintel_stream_close(connection->stream);
    connection->stream = NULL;
    lintel_assembler_free(connection->assembler);
    connection->assembler = NULL;
    if (connection->error != NULL)
        lintelp_server_resize(server->allocator, connection->error, 0);
    connection->error = NULL;
    lintelp_server_resume_accepting(server);
}

/* A peer that takes what had to wait for it is not idle. */
static void flush(struct lintel_connection *connection)
{
    size_t queued = lintel_stream_queued(connection->stream), left;
    uint64_t now = uv_now(connection->server->loop);
    int rc;

    if (connection->broken)
        return;
    if (queued > 0) {
        rc = lintel_stream_flush(connection->stream, 0);
        if (rc < 0)
            lintelp_connection_break(connection, rc);
    }
    left = lintel_stream_queued(connection->stream);
    if (connection->write_since != 0 && left < queued)
        connection->idle_since = now;
    if (left == 0)
        connection->write_since = 0;
    else if (connection->write_since == 0 || left < queued)
        connection->write_since = now;
}

/* It may hold storage from now on. It keeps its place: moving it to the end each time would touch
 * its neighbours. */
static void become_busy(struct lintel_connection *connection)
{
    if (connection->half_open)
        return;
    connection->since = uv_now(connection->server->loop);
    if (lintelp_node_empty(&connection->node))
        lintelp_node_append(&connection->server->busy, &connection->node);
}

/* Everything is written: say so, and wait for the peer's end unless it was seen. A seal may have a
 * last record to write first. */
static void shut_down(struct lintel_connection *connection)
{
    int rc;

    if (connection->out != NULL)
        arm(&connection->out->poll, &connection->out->armed, 0, on_out_poll);
    rc = lintel_stream_shutdown(connection->stream, 0);
    if (rc == 0) {
        if (connection->write_since == 0)
            connection->write_since = uv_now(connection->server->loop);
        return;
    }
    close_out(connection);
    if (rc < 0 || connection->peer_ended || connection->hasty) {
        connection->broken = 1;
        return;
    }
    connection->phase = PHASE_LINGER;
    connection->discarded = 0;
    connection->again = 0;
    connection->since = uv_now(connection->server->loop);
}

static int all_answered(const struct lintel_connection *connection)
{
    return connection->input_over && (connection->pending == 0 || connection->muted);
}

/* What has come and is not handed on is of no use any more. */
static void drop_input(struct lintel_connection *connection)
{
    lintel_stream_end_input(connection->stream);
    lintel_assembler_free(connection->assembler);
    connection->assembler = NULL;
}

static void settle(struct lintel_connection *connection)
{
    if (connection->input_over)
        drop_input(connection);
    if (connection->hangup && !(connection->again && wants_input(connection))) {
        lintelp_connection_break(connection, LINTEL_E_RESET);
        connection->broken = 1;
    }
    if (connection->phase == PHASE_OPEN && !connection->broken && all_answered(connection)) {
        say_bye(connection);
        connection->phase = PHASE_ENDING;
    }
    if (connection->phase <= PHASE_ENDING)
        flush(connection);
    if (connection->phase == PHASE_ENDING && !connection->broken &&
        lintel_stream_queued(connection->stream) == 0)
        shut_down(connection);
    if (connection->broken) {
        close_now(connection);
        return;
    }
    wait_for_events(connection);
}

/* The server stops: what is open or unsent is cut. */
static void cut(struct lintel_connection *connection)
{
    if (connection->pending > 0 ||
        (connection->phase <= PHASE_ENDING && lintel_stream_queued(connection->stream) > 0)) {
        connection->server->clean = 0;
        lintelp_connection_spoil(connection, LINTEL_E_CLOSED, NULL);
    }
    close_now(connection);
}

int lintelp_connection_turn(struct lintel_connection *connection)
{
    if (connection->server->life >= LIFE_STOPPING) {
        cut(connection);
        return 0;
    }
    if (connection->phase == PHASE_LINGER) {
        if (connection->again)
            lintelp_connection_discard(connection);
    } else {
        become_busy(connection);
        if (connection->again &&
            (!connection->half_open || lintelp_connection_handshake(connection)))
            lintelp_connection_read(connection);
    }
    settle(connection);
    return connection->phase != PHASE_CLOSED && connection->again && wants_input(connection);
}

/* ---- opening --------------------------------------------------------------------------------- */

int lintelp_poll_init(uv_loop_t *loop, uv_poll_t *poll, int fd, int given)
{
    int mode = given ? fcntl(fd, F_GETFL) : 0;
    int rc;

    if (mode < 0)
        return uv_translate_sys_error(errno);
    rc = uv_poll_init(loop, poll, fd);
    if (given && !(mode & O_NONBLOCK))
        (void)fcntl(fd, F_SETFL, mode);
    return rc;
}

static int poll_error(struct lintel_error *error, int fd, int rc)
{
    if (rc == UV_EPERM)
        return lintelp_server_error(error, LINTEL_E_UNSUPPORTED, 0,
                                    "descriptor %d cannot be waited for: it is a file or the like",
                                    fd);
    return lintelp_server_error(error, LINTEL_E_SYSTEM, -rc, "cannot wait for descriptor %d: %s",
                                fd, uv_strerror(rc));
}

/* The stream, then the handles. What was made stays in the connection, for the caller to undo. */
static int open_parts(struct lintel_connection *connection, int in, int out, int given,
                      struct lintel_error *error)
{
    struct lintel_server *server = connection->server;
    struct out_poll *second;
    int rc;

    rc = lintel_stream_new(&connection->stream, in, out, &server->stream_options, error);
    if (rc != LINTEL_OK)
        return rc;
    rc = lintelp_poll_init(server->loop, &connection->poll, in, given);
    if (rc != 0)
        return poll_error(error, in, rc);
    connection->closing++;
    server->handles++;
    if (in == out)
        return LINTEL_OK;
    second = lintelp_server_resize(server->allocator, NULL, sizeof *second);
    if (second == NULL)
        return lintelp_server_error(error, LINTEL_E_NOMEM, 0, "out of memory");
    rc = lintelp_poll_init(server->loop, &second->poll, out, given);
    if (rc != 0) {
        lintelp_server_resize(server->allocator, second, 0);
        return poll_error(error, out, rc);
    }
    second->connection = connection;
    second->armed = 0;
    connection->out = second;
    connection->closing++;
    server->handles++;
    return LINTEL_OK;
}

static struct lintel_connection *connection_new(struct lintel_server *server)
{
    struct lintel_connection *connection =
        lintelp_server_resize(server->allocator, NULL, sizeof *connection);

    if (connection == NULL)
        return NULL;
    memset(connection, 0, sizeof *connection);
    connection->server = server;
    lintelp_node_init(&connection->kept);
    connection->bye = BYE_NONE;
    return connection;
}

static void open_undo(struct lintel_connection *connection)
{
    struct lintel_stream *stream = connection->stream;

    connection->phase = PHASE_CLOSED;
    close_out(connection);
    if (connection->closing > 0)
        uv_close((uv_handle_t *)&connection->poll, on_closed);
    else
        lintelp_server_resize(connection->server->allocator, connection, 0);
    lintel_stream_close(stream);
}

/* It is told, and counts for nothing else. */
static int refuse_surplus(struct lintel_connection *connection, struct lintel_error *error)
{
    struct lintel_error why;

    lintelp_server_error(&why, LINTEL_E_REFUSED, 0, "over the limit of %llu connections",
                         (unsigned long long)connection->server->max_connections);
    connection->refused = 1;
    lintelp_connection_end(connection, LINTEL_E_REFUSED, LINTEL_BYE_TOO_MANY, &why);
    if (error != NULL)
        *error = why;
    return LINTEL_E_REFUSED;
}

int lintelp_connection_open(struct lintel_server *server, int in, int out, int given,
                            struct lintel_error *error)
{
    struct lintel_connection *connection = connection_new(server);
    int rc;

    if (connection == NULL) {
        close(in);
        if (out != in)
            close(out);
        return lintelp_server_error(error, LINTEL_E_NOMEM, 0, "out of memory");
    }
    rc = open_parts(connection, in, out, given, error);
    if (rc == LINTEL_OK && (rc = lintelp_order_add(connection)) != LINTEL_OK)
        lintelp_server_error(error, rc, 0, "out of memory");
    if (rc != LINTEL_OK) {
        open_undo(connection);
        return rc;
    }
    connection->since = connection->idle_since = uv_now(server->loop);
    connection->surplus = server->connections - server->surplus > server->max_connections;
    connection->hasty = connection->surplus && server->surplus >= SURPLUS_MAX;
    join(connection);
    lintelp_touch(connection);
    if (connection->surplus)
        return refuse_surplus(connection, error);
    if (server->seal_keys != NULL) {
        connection->refused = 1;
        lintelp_half_open_add(connection);
        return LINTEL_OK;
    }
    if (server->handler.setup == NULL ||
        server->handler.setup(server->handler.user, connection) == 0)
        return LINTEL_OK;
    connection->refused = 1;
    lintelp_connection_end(connection, LINTEL_E_CLOSED, BYE_NONE, NULL);
    return lintelp_server_error(error, LINTEL_E_REFUSED, 0, "the handler refused the connection");
}

/* ---- public ---------------------------------------------------------------------------------- */

void *lintel_connection_user(const struct lintel_connection *connection)
{
    return connection == NULL ? NULL : connection->poll.data;
}

void lintel_connection_set_user(struct lintel_connection *connection, void *user)
{
    if (connection != NULL)
        connection->poll.data = user;
}

int lintel_connection_fd(const struct lintel_connection *connection)
{
    return connection == NULL ? -1 : lintel_stream_in_fd(connection->stream);
}

int lintel_connection_take_fds(struct lintel_connection *connection,
                               const struct lintel_frame *frame, int *fds, size_t capacity)
{
    if (connection == NULL || frame == NULL)
        return LINTEL_E_USAGE;
    return lintel_stream_take_fds(connection->stream, frame->offset, fds, capacity);
}

int lintel_connection_credentials(const struct lintel_connection *connection,
                                  struct lintel_credentials *out)
{
    return lintel_stream_credentials(connection == NULL ? NULL : connection->stream, out);
}

const struct lintel_seal *lintel_connection_seal(const struct lintel_connection *connection)
{
    return connection == NULL ? NULL : lintel_stream_seal(connection->stream);
}

const struct lintel_layout *lintel_connection_layout(const struct lintel_connection *connection)
{
    return connection == NULL ? NULL : connection->server->layout;
}

int lintel_connection_send(struct lintel_connection *connection, const struct lintel_header *header,
                           const void *payload, size_t size)
{
    int rc;

    if (connection == NULL || header == NULL)
        return LINTEL_E_USAGE;
    if (connection->phase != PHASE_OPEN || connection->broken)
        return LINTEL_E_CLOSED;
    rc = lintel_stream_send(connection->stream, header, payload, size, 0);
    if (rc == LINTEL_E_CLOSED || rc == LINTEL_E_RESET || rc == LINTEL_E_SYSTEM)
        lintelp_connection_break(connection, rc);
    lintelp_touch(connection);
    return rc;
}

void lintel_connection_close(struct lintel_connection *connection)
{
    if (connection != NULL)
        lintelp_connection_end(connection, LINTEL_E_CLOSED, LINTEL_BYE_DONE, NULL);
}
