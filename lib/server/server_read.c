/*
 * What a connection reads: frames in batches, put together to messages, or in pieces; control
 * frames; and, while it lingers, nothing at all.
 */
#include "config.h"
#include "server/internal.h"

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- the end of the input -------------------------------------------------------------------- */

/* The peer ended inside a frame or a message. Under a seal nothing is said to that. */
static void end_short(struct lintel_connection *connection, int bye,
                      const struct lintel_error *error)
{
    int sealed = lintel_stream_seal(connection->stream) != NULL;

    lintelp_connection_end(connection, LINTEL_E_TRUNCATED, sealed ? BYE_NONE : bye, error);
    if (sealed)
        connection->broken = 1;
}

/* The peer's end, or a BYE of its, which is not answered by another: between fragments that is a
 * truncation. */
static int truncates(struct lintel_connection *connection, int bye)
{
    struct lintel_error error;

    if (lintel_assembler_end(connection->assembler) != LINTEL_E_TRUNCATED)
        return 0;
    lintel_assembler_error(connection->assembler, &error);
    end_short(connection, bye, &error);
    return 1;
}

/* recv has said that no more frames come. */
static void input_failed(struct lintel_connection *connection, int status)
{
    struct lintel_error error;
    int reason = lintel_bye_reason(status);

    /* After a failure of its seal nothing more is said. */
    if (status == LINTEL_E_RESET || status == LINTEL_E_SYSTEM || status == LINTEL_E_CLOSED ||
        (status == LINTEL_E_SEAL && lintel_stream_seal(connection->stream) != NULL)) {
        lintelp_connection_break(connection, status);
        return;
    }
    connection->peer_ended = status == LINTEL_E_END || status == LINTEL_E_TRUNCATED;
    if (status == LINTEL_E_END && truncates(connection, LINTEL_BYE_MALFORMED))
        return;
    lintel_stream_error(connection->stream, &error);
    if (status == LINTEL_E_TRUNCATED)
        end_short(connection, LINTEL_BYE_MALFORMED, error.status == status ? &error : NULL);
    else
        lintelp_connection_end(connection, status, reason < 0 ? BYE_NONE : reason,
                               error.status == status ? &error : NULL);
}

/* ---- control frames -------------------------------------------------------------------------- */

static void refuse(struct lintel_connection *connection, int status, uint64_t offset,
                   const char *what)
{
    struct lintel_error error;

    lintelp_server_error(&error, status, 0, "frame at byte %llu: %s", (unsigned long long)offset,
                         what);
    error.at = offset;
    lintelp_connection_end(connection, status, lintel_bye_reason(status), &error);
}

static void take_bye(struct lintel_connection *connection, const uint8_t *payload)
{
    uint32_t reason = lintel_get_u32be(payload);
    struct lintel_error error;

    if (truncates(connection, BYE_NONE))
        return;
    lintelp_server_error(&error, reason == LINTEL_BYE_DONE ? LINTEL_E_END : LINTEL_E_REFUSED, 0,
                         "the peer said BYE %u (%s)", (unsigned)reason, lintel_bye_text(reason));
    lintelp_connection_end(connection, error.status, BYE_NONE, &error);
}

/* The decoder has judged its length and its id. */
static void control(struct lintel_connection *connection, const struct lintel_header *header,
                    const uint8_t *payload, size_t size, uint64_t offset)
{
    if (!lintel_assembler_is_open(connection->assembler))
        connection->fresh = 1;
    switch (header->type) {
    case LINTEL_PING:
        lintelp_connection_control(connection, LINTEL_PONG, header->id, payload, size);
        return;
    case LINTEL_PONG:
        return;
    case LINTEL_BYE:
        take_bye(connection, payload);
        return;
    case LINTEL_HELLO:
    case LINTEL_SEALED:
        if (lintel_stream_seal(connection->stream) != NULL)
            refuse(connection, LINTEL_E_MALFORMED, offset, "HELLO or SEALED inside of a seal");
        else
            refuse(connection, LINTEL_E_SEAL, offset, "HELLO or SEALED, but no seal is configured");
        return;
    default:
        refuse(connection, LINTEL_E_MALFORMED, offset, "FDS, but descriptors are not taken here");
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

/* A message, or the last piece of one, is there. */
static void deliver(struct lintel_connection *connection, const struct lintel_header *header,
                    const struct lintel_frame *frame, const struct lintel_message_piece *piece)
{
    struct lintel_server *server = connection->server;

    connection->fresh = 1;
    connection->idle_since = uv_now(server->loop);
    if (server->is_lintel && (header->flags & LINTEL_REPLY)) {
        server->counters.replies_dropped++;
        return;
    }
    if (server->is_lintel && header->id != 0)
        connection->last_id = header->id;
    lintelp_request_deliver(connection, header, frame, piece);
}

static struct lintel_assembler *assembler(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;

    options.layout = server->layout;
    options.allocator = server->allocator;
    options.max_message = server->max_message;
    if (connection->assembler == NULL &&
        lintel_assembler_new(&connection->assembler, &options, NULL) != LINTEL_OK)
        return NULL;
    return connection->assembler;
}

static void assembling_failed(struct lintel_connection *connection, int status)
{
    struct lintel_error error;

    lintel_assembler_error(connection->assembler, &error);
    lintelp_connection_end(connection, status, lintel_bye_reason(status),
                           error.status == status ? &error : NULL);
}

static void take_fragment(struct lintel_connection *connection, const struct lintel_frame *frame)
{
    struct lintel_message message;
    int rc = LINTEL_E_NOMEM;

    if (assembler(connection) != NULL)
        rc = lintel_assembler_take(connection->assembler, &message, frame);
    if (rc < 0)
        assembling_failed(connection, rc);
    else if (rc == 1)
        deliver(connection, &message.header, &message.frame, NULL);
}

static void take_frame(struct lintel_connection *connection, const struct lintel_frame *frame)
{
    struct lintel_header header = {0};

    if (connection->server->is_lintel) {
        if (lintel_header_read(connection->server->layout, &header, frame) != LINTEL_OK)
            return;
        if (header.flags & LINTEL_CONTROL) {
            control(connection, &header, frame->payload, frame->length, frame->offset);
            return;
        }
        if ((header.flags & LINTEL_MORE) || lintel_assembler_is_open(connection->assembler)) {
            take_fragment(connection, frame);
            return;
        }
    }
    deliver(connection, &header, frame, NULL);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* The frame of a request that came in pieces: its header and trailer, and the last piece. */
static struct lintel_frame frame_of(const struct lintel_piece *piece)
{
    struct lintel_frame frame = {.header = piece->header,
                                 .payload = piece->bytes,
                                 .trailer = piece->trailer,
                                 .length = piece->size,
                                 .header_size = piece->header_size,
                                 .trailer_size = piece->trailer_size,
                                 .offset = piece->offset};

    return frame;
}

static void take_piece(struct lintel_connection *connection, const struct lintel_piece *piece)
{
    struct lintel_server *server = connection->server;
    struct lintel_message_piece part;
    struct lintel_frame frame = frame_of(piece);
    int rc = LINTEL_E_NOMEM;

    if (assembler(connection) != NULL)
        rc = lintel_assembler_take_piece(connection->assembler, &part, piece);
    if (rc < 0)
        assembling_failed(connection, rc);
    if (rc < 1)
        return;
    if (server->is_lintel && (part.header.flags & LINTEL_CONTROL))
        control(connection, &part.header, part.bytes, part.size, part.offset);
    else if (part.last)
        deliver(connection, &part.header, &frame, &part);
    else if (!server->is_lintel || !(part.header.flags & LINTEL_REPLY))
        server->handler.piece(server->handler.user, connection, &part, NULL);
}

/* ---- reading --------------------------------------------------------------------------------- */

/* How many requests may still be taken. */
static int room(const struct lintel_connection *connection)
{
    uint32_t left = connection->server->max_pending - connection->pending;

    return left < TURN_FRAMES ? (int)left : TURN_FRAMES;
}

/* A batch came to n. Once there is no more, libuv tells of what comes later; it tells no more of a
 * descriptor in an error, which is read to its end. A turn that stops before that is followed by
 * another. */
static void look_for_more(struct lintel_connection *connection, int n)
{
    if (n <= 0 || (!connection->hangup && lintel_stream_is_dry(connection->stream)))
        connection->again = 0;
}

/* Take a batch of frames and hand them on. Returns their size. */
static size_t read_frames(struct lintel_connection *connection)
{
    struct lintel_frame frames[TURN_FRAMES];
    size_t bytes = 0;
    int n, i;

    n = lintel_stream_recv_batch(connection->stream, frames, room(connection), 0);
    if (n < 0)
        input_failed(connection, n);
    for (i = 0; i < n; i++) {
        bytes += frames[i].header_size + frames[i].length;
        if (!connection->input_over)
            take_frame(connection, &frames[i]);
    }
    look_for_more(connection, n);
    return bytes;
}

static size_t read_pieces(struct lintel_connection *connection)
{
    struct lintel_piece pieces[TURN_FRAMES];
    size_t bytes = 0;
    int n, i;

    n = lintel_stream_recv_pieces(connection->stream, pieces, room(connection), 0);
    if (n < 0)
        input_failed(connection, n);
    for (i = 0; i < n; i++) {
        bytes += pieces[i].header_size + pieces[i].size;
        if (!connection->input_over)
            take_piece(connection, &pieces[i]);
    }
    look_for_more(connection, n);
    return bytes;
}

void lintelp_connection_read(struct lintel_connection *connection)
{
    int in_pieces = connection->server->handler.piece != NULL;
    size_t bytes = 0;

    while (connection->again && bytes < TURN_BYTES && lintelp_connection_may_read(connection))
        bytes += in_pieces ? read_pieces(connection) : read_frames(connection);
}

void lintelp_connection_discard(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    int fd = lintel_stream_in_fd(connection->stream);
    ssize_t n = recv(fd, server->receive_buffer, sizeof server->receive_buffer, MSG_DONTWAIT);

    if (n < 0 && errno == ENOTSOCK)
        n = read(fd, server->receive_buffer, sizeof server->receive_buffer);
    connection->again = 0;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR))
        return;
    if (n <= 0 || (size_t)n > LINGER_BYTES - connection->discarded)
        connection->broken = 1;
    else
        connection->discarded += (uint32_t)n;
}
