#include "config.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "keys.h"
#include "receive.h"

#define BATCH       64                  /* frames taken at once */
#define TURNS       16                  /* batches of one connection before the next one's turn */
#define ACCEPTS     64                  /* connections taken in one turn */
#define QUEUE_MAX   ((size_t)64 * 1024) /* bytes of answers that stop reading */
#define LINGER_MS   1000                /* fixed by the protocol, as the bytes */
#define LINGER_SIZE ((size_t)1 << 20)

/* ---- opening --------------------------------------------------------------------------------- */

static int add_connection(struct receive *receive, int in, int out)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct connection *connection = &receive->connections[receive->count];
    struct lintel_error error;
    options.layout = receive->framing->layout;
    options.max_frame = receive->framing->max_frame;
    options.seal_keys = receive->keys;
    *connection = (struct connection){.number = ++receive->accepted, .since = tool_now_ms()};
    int rc = lintel_stream_new(&connection->stream, in, out, &options, &error);
    if (rc != LINTEL_OK)
        return tool_fail_error(NULL, &error);
    receive->count++;
    return TOOL_OK;
}

int receive_open(struct receive *receive, const struct lintel_endpoint *endpoint)
{
    struct lintel_error error;
    int fds[2];
    int rc = lintel_listener_open(&receive->listener, endpoint, 0, &error);
    if (rc == LINTEL_E_UNSUPPORTED && endpoint->scheme == LINTEL_FD) {
        rc = lintel_endpoint_connect(endpoint, fds, -1, &error);
        if (rc == LINTEL_OK)
            return add_connection(receive, fds[0], fds[1]);
    }
    return rc == LINTEL_OK ? TOOL_OK : tool_fail_error(NULL, &error);
}

/* ---- ending one connection ------------------------------------------------------------------- */

static void drop(struct receive *receive, struct connection *connection)
{
    lintel_stream_close(connection->stream);
    connection->stream = NULL;
    receive->full = 0;
}

/* Shut down writing; what the peer has under way is passed over, so that closing does not take back
 * what was sent. */
static void finish(struct receive *receive, struct connection *connection, int ended)
{
    if (lintel_stream_shutdown(connection->stream, 0) < 0) {
        drop(receive, connection);
        return;
    }
    connection->linger = 1;
    connection->ended = ended;
    connection->linger_end = tool_now_ms() + LINGER_MS;
    connection->linger_left = LINGER_SIZE;
}

/* The peer's key has not shown itself yet. */
static int is_half_open(const struct connection *connection)
{
    const struct lintel_seal *seal = lintel_stream_seal(connection->stream);
    return seal && !lintel_seal_id(seal);
}

/* BYE where the layout has one, then the end. */
static void say_bye(struct receive *receive, struct connection *connection,
                    enum lintel_bye_reason reason)
{
    const struct lintel_header header = {.flags = LINTEL_CONTROL, .type = LINTEL_BYE};
    uint8_t payload[8];
    if (is_half_open(connection))
        (void)!lintel_stream_bye(connection->stream, reason, 0);
    lintel_put_u32be(payload, (uint32_t)reason);
    lintel_put_u32be(payload + 4, connection->last_id);
    if (lintel_layout_is_lintel(receive->framing->layout))
        (void)!lintel_stream_send(connection->stream, &header, payload, sizeof payload, 0);
    finish(receive, connection, 0);
}

static void complain(struct receive *receive, const struct connection *connection,
                     const struct lintel_error *error)
{
    char what[64];
    snprintf(what, sizeof what, "connection %llu", (unsigned long long)connection->number);
    receive->broken = 1;
    (void)tool_fail_error(what, error);
}

static void complain_of(struct receive *receive, const struct connection *connection, int status,
                        const char *text)
{
    struct lintel_error error = {.status = status};
    snprintf(error.text, sizeof error.text, "%s", text);
    complain(receive, connection, &error);
}

/* Pass over what is there. */
static void discard(struct connection *connection)
{
    uint8_t bytes[16384];
    struct pollfd one = {lintel_stream_in_fd(connection->stream), POLLIN, 0};
    while (!connection->ended && poll(&one, 1, 0) > 0) {
        size_t left = connection->linger_left;
        long got = tool_read(one.fd, bytes, left < sizeof bytes ? left : sizeof bytes);
        connection->ended = got <= 0 || (size_t)got == left;
        connection->linger_left -= got > 0 ? (size_t)got : 0;
    }
}

/* Closing with something unread is a reset: the peer learns that not all of it was taken. */
static void look(struct connection *connection)
{
    struct pollfd one = {lintel_stream_in_fd(connection->stream), POLLIN, 0};
    connection->ended |= poll(&one, 1, 0) > 0;
}

static void linger(struct receive *receive, struct connection *connection)
{
    if (connection->waits)
        look(connection);
    else
        discard(connection);
    if (lintel_stream_flush(connection->stream, 0) == 0 || !connection->ended)
        if (tool_now_ms() < connection->linger_end)
            return;
    drop(receive, connection);
}

/* ---- what comes ------------------------------------------------------------------------------ */

static void take_bye(struct receive *receive, struct connection *connection,
                     const struct lintel_frame *frame)
{
    char text[64];
    uint32_t reason = lintel_get_u32be(frame->payload);
    if (reason != LINTEL_BYE_DONE) {
        snprintf(text, sizeof text, "the peer said BYE %u", (unsigned)reason);
        complain_of(receive, connection, LINTEL_E_REFUSED, text);
    }
    finish(receive, connection, 0);
}

/* Their form the decoder has judged. */
static void take_control(struct receive *receive, struct connection *connection,
                         const struct lintel_header *header, const struct lintel_frame *frame)
{
    const struct lintel_header pong = {
        .flags = LINTEL_CONTROL, .type = LINTEL_PONG, .id = header->id};
    switch (header->type) {
    case LINTEL_PING:
        (void)!lintel_stream_send(connection->stream, &pong, frame->payload, frame->length, 0);
        break;
    case LINTEL_BYE:
        take_bye(receive, connection, frame);
        break;
    case LINTEL_HELLO:
    case LINTEL_SEALED:
        complain_of(receive, connection, LINTEL_E_SEAL,
                    receive->keys ? "HELLO or SEALED inside of a seal"
                                  : "the peer wants a sealed session, and no key was given");
        say_bye(receive, connection,
                receive->keys ? LINTEL_BYE_MALFORMED : LINTEL_BYE_NOT_AUTHENTICATED);
        break;
    case LINTEL_FDS:
        complain_of(receive, connection, LINTEL_E_MALFORMED,
                    "the peer announced descriptors that are not taken here");
        say_bye(receive, connection, LINTEL_BYE_MALFORMED);
        break;
    default:
        break;
    }
}

static void take_frame(struct receive *receive, struct connection *connection,
                       const struct lintel_frame *frame)
{
    struct lintel_header header = {0, 0, 0, NULL};
    if (lintel_layout_is_lintel(receive->framing->layout) &&
        lintel_header_read(receive->framing->layout, &header, frame) == LINTEL_OK &&
        (header.flags & LINTEL_CONTROL)) {
        take_control(receive, connection, &header, frame);
        return;
    }
    if (header.id != 0 && !(header.flags & (LINTEL_MORE | LINTEL_REPLY)))
        connection->last_id = header.id;
    receive->stopped = receive->frame(receive->user, frame) != TOOL_OK;
}

static void take_end(struct receive *receive, struct connection *connection, int status)
{
    struct lintel_error error;
    if (status == LINTEL_E_END) {
        finish(receive, connection, 1);
        if (connection->stream)
            linger(receive, connection);
        return;
    }
    lintel_stream_error(connection->stream, &error);
    complain(receive, connection, &error);
    if (status == LINTEL_E_RESET || status == LINTEL_E_SYSTEM || status == LINTEL_E_CLOSED)
        drop(receive, connection);
    else
        say_bye(receive, connection,
                status == LINTEL_E_VERSION     ? LINTEL_BYE_VERSION
                : status == LINTEL_E_TOO_LARGE ? LINTEL_BYE_TOO_LARGE
                                               : LINTEL_BYE_MALFORMED);
}

static int may_go_on(const struct receive *receive, const struct connection *connection)
{
    return connection->stream && !connection->linger && !receive->stopped;
}

/* A batch of frames: 1 if there may be more. */
static int take_batch(struct receive *receive, struct connection *connection)
{
    struct lintel_frame frames[BATCH];
    int count = lintel_stream_recv_batch(connection->stream, frames, BATCH, 0);
    if (count < 0)
        take_end(receive, connection, count);
    for (int i = 0; i < count && may_go_on(receive, connection); i++) {
        take_frame(receive, connection, &frames[i]);
        connection->surplus = i < count - 1;
    }
    return count > 0 && may_go_on(receive, connection);
}

static int is_held(const struct connection *connection)
{
    return lintel_stream_queued(connection->stream) > QUEUE_MAX;
}

/* A handshake has its time. */
static int is_late(const struct connection *connection)
{
    return is_half_open(connection) && tool_now_ms() - connection->since >= KEYS_HANDSHAKE_MS;
}

static void work(struct receive *receive, struct connection *connection)
{
    if (is_late(connection)) {
        complain_of(receive, connection, LINTEL_E_TIMEOUT, "the handshake was not done in time");
        say_bye(receive, connection, LINTEL_BYE_TOO_SLOW);
        return;
    }
    int more = !is_held(connection);
    for (int turn = 0; turn < TURNS && more; turn++)
        more = take_batch(receive, connection) && !is_held(connection);
    receive->busy |= more;
    /* A peer who is gone shows when it is read from. */
    if (connection->stream)
        (void)!lintel_stream_flush(connection->stream, 0);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void accept_some(struct receive *receive)
{
    struct lintel_error error;
    int fd;
    for (int i = 0; i < ACCEPTS && receive->count < RECEIVE_MAX; i++) {
        int rc = lintel_listener_accept(receive->listener, &fd, 0, &error);
        receive->full = rc < 0;
        if (rc != 1)
            return;
        receive->broken |= add_connection(receive, fd, fd) != TOOL_OK;
    }
}

static void forget_dropped(struct receive *receive)
{
    size_t kept = 0;
    for (size_t i = 0; i < receive->count; i++)
        if (receive->connections[i].stream)
            receive->connections[kept++] = receive->connections[i];
    receive->count = kept;
}

void receive_work(struct receive *receive)
{
    receive->busy = 0;
    if (receive->listener)
        accept_some(receive);
    for (size_t i = 0; i < receive->count && !receive->stopped; i++) {
        struct connection *connection = &receive->connections[i];
        if (connection->linger)
            linger(receive, connection);
        else
            work(receive, connection);
    }
    forget_dropped(receive);
}

nfds_t receive_wants(struct receive *receive, int *wait_ms)
{
    nfds_t count = 0;
    *wait_ms = receive->busy ? 0 : -1;
    for (size_t i = 0; i < receive->count; i++) {
        const struct connection *connection = &receive->connections[i];
        int in = lintel_stream_in_fd(connection->stream);
        int wants = lintel_stream_wants(connection->stream);
        if ((connection->linger || is_half_open(connection)) && *wait_ms < 0)
            *wait_ms = LINGER_MS;
        if (!connection->linger && !is_held(connection) &&
            lintel_stream_wait_ms(connection->stream) == 0)
            *wait_ms = 0;
        int reads = !connection->ended && (connection->linger || !is_held(connection));
        receive->fds[count++] = (struct pollfd){in, reads ? POLLIN : 0, 0};
        if ((wants & LINTEL_WANT_WRITE) && in == lintel_stream_out_fd(connection->stream))
            receive->fds[count - 1].events |= POLLOUT;
    }
    if (!receive->listener || receive->full || receive->count == RECEIVE_MAX)
        return count;
    for (size_t i = 0; i < lintel_listener_count(receive->listener); i++)
        receive->fds[count++] =
            (struct pollfd){lintel_listener_fd(receive->listener, i), POLLIN, 0};
    return count;
}

static void end_one(struct receive *receive, struct connection *connection,
                    enum lintel_bye_reason reason)
{
    struct lintel_frame frame;
    int rc = lintel_stream_recv(connection->stream, &frame, 0);
    if (rc == LINTEL_E_END && !connection->surplus) {
        finish(receive, connection, 1);
    } else if (rc < 0 && !connection->surplus) {
        drop(receive, connection);
    } else if (reason != LINTEL_BYE_DONE || rc == 1 || connection->surplus) {
        say_bye(receive, connection, reason == LINTEL_BYE_DONE ? LINTEL_BYE_DRAINING : reason);
    } else {
        finish(receive, connection, 0);
        connection->waits = 1;
    }
}

void receive_end(struct receive *receive, enum lintel_bye_reason reason)
{
    lintel_listener_close(receive->listener);
    receive->listener = NULL;
    receive->stopped = 0;
    for (size_t i = 0; i < receive->count; i++)
        if (!receive->connections[i].linger)
            end_one(receive, &receive->connections[i], reason);
    forget_dropped(receive);
}

void receive_close(struct receive *receive)
{
    for (size_t i = 0; i < receive->count; i++)
        lintel_stream_close(receive->connections[i].stream);
    lintel_listener_close(receive->listener);
}
