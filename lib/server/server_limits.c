/*
 * Deadlines and memory. Every connection stands in one heap by the time at which it is to be looked
 * at. That time may lie before its deadline, never behind: putting a deadline off costs nothing,
 * and the look that comes too early puts the connection where it now belongs.
 */
#include "config.h"
#include "server/internal.h"

#include <string.h>

/* ---- the order of deadlines ------------------------------------------------------------------ */

static void place(struct lintel_server *server, size_t at, struct lintel_connection *connection)
{
    server->order[at] = connection;
    connection->place = (uint32_t)at;
}

static void sift_up(struct lintel_server *server, struct lintel_connection *connection)
{
    size_t at = connection->place;

    while (at > 0 && server->order[(at - 1) / 2]->due > connection->due) {
        place(server, at, server->order[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(server, at, connection);
}

static void sift_down(struct lintel_server *server, struct lintel_connection *connection)
{
    size_t at = connection->place, child;

    for (;;) {
        child = 2 * at + 1;
        if (child >= server->connections)
            break;
        if (child + 1 < server->connections &&
            server->order[child + 1]->due < server->order[child]->due)
            child++;
        if (server->order[child]->due >= connection->due)
            break;
        place(server, at, server->order[child]);
        at = child;
    }
    place(server, at, connection);
}

int lintelp_order_add(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    size_t capacity = server->order_capacity;
    struct lintel_connection **order;

    if (server->connections == capacity) {
        capacity = capacity > 0 ? 2 * capacity : 16;
        order = lintelp_server_resize(server->allocator, server->order, capacity * sizeof *order);
        if (order == NULL)
            return LINTEL_E_NOMEM;
        server->order = order;
        server->order_capacity = capacity;
    }
    connection->due = NEVER;
    place(server, server->connections++, connection);
    return LINTEL_OK;
}

void lintelp_order_remove(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    struct lintel_connection *last = server->order[--server->connections];

    if (last == connection)
        return;
    place(server, connection->place, last);
    sift_up(server, last);
    sift_down(server, last);
}

/* ---- one connection's deadlines -------------------------------------------------------------- */

static uint64_t after(uint64_t since, uint64_t ms)
{
    return ms < NEVER - since ? since + ms : NEVER;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Bytes of what has begun, as far as headers have come. */
static uint64_t begun_size(const struct lintel_connection *connection)
{
    uint64_t size;

    (void)lintel_stream_begun(connection->stream, &size);
    return size + lintel_assembler_size(connection->assembler);
}

static int has_begun(const struct lintel_connection *connection)
{
    return !connection->input_over && !connection->half_open &&
           (lintel_stream_begun(connection->stream, NULL) ||
            lintel_assembler_is_open(connection->assembler));
}

static uint64_t frame_deadline(const struct lintel_connection *connection)
{
    const struct lintel_server *server = connection->server;
    uint64_t rate = server->min_rate, size;

    if (connection->frame_since == 0 || connection->paused || server->frame_ms == NEVER)
        return NEVER;
    size = begun_size(connection);
    return after(connection->frame_since,
                 server->frame_ms + size / rate * 1000 + size % rate * 1000 / rate);
}

static uint64_t write_deadline(const struct lintel_connection *connection)
{
    return connection->write_since == 0
               ? NEVER
               : after(connection->write_since, connection->server->write_ms);
}

/* An open request puts it off, and what has a deadline of its own. */
static uint64_t idle_deadline(const struct lintel_connection *connection)
{
    if (connection->input_over || connection->half_open || connection->pending > 0 ||
        connection->frame_since != 0 || connection->write_since != 0)
        return NEVER;
    return after(connection->idle_since, connection->server->idle_ms);
}

/* It holds storage, and has had a turn since it was last asked to give some back. */
static int may_trim(const struct lintel_connection *connection)
{
    return connection->held_bytes > connection->kept_bytes && !connection->half_open &&
           !lintelp_node_empty(&connection->node);
}

static uint64_t handshake_deadline(const struct lintel_connection *connection)
{
    if (!connection->half_open || connection->input_over)
        return NEVER;
    return after(connection->since, connection->server->handshake_ms);
}

/* The first that ends the connection. */
static uint64_t hard_deadline(const struct lintel_connection *connection)
{
    return earlier(earlier(idle_deadline(connection), handshake_deadline(connection)),
                   earlier(frame_deadline(connection), write_deadline(connection)));
}

static uint64_t deadline(const struct lintel_connection *connection)
{
    uint64_t at;

    if (connection->phase == PHASE_LINGER)
        return after(connection->since, LINGER_MS);
    at = hard_deadline(connection);
    return may_trim(connection) ? earlier(at, after(connection->since, TRIM_MS)) : at;
}

/* ---- who is cut ------------------------------------------------------------------------------ */

static void cut_slow(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    uint64_t offset = lintel_stream_offset(connection->stream), size = begun_size(connection);
    struct lintel_error error;

    server->counters.cut_slow++;
    lintelp_server_error(&error, LINTEL_E_TIMEOUT, 0,
                         "frame at byte %llu: not whole within %llu ms and what %llu bytes take at "
                         "%llu bytes a second",
                         (unsigned long long)offset, (unsigned long long)server->frame_ms,
                         (unsigned long long)size, (unsigned long long)server->min_rate);
    error.at = offset;
    lintelp_connection_end(connection, LINTEL_E_TIMEOUT, LINTEL_BYE_TOO_SLOW, &error);
    /* Behind half a record nothing can be said. */
    connection->broken = lintel_stream_begun(connection->stream, NULL) == 2;
}

static void cut_handshake(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    struct lintel_error error;

    server->counters.not_sealed++;
    lintelp_server_error(&error, LINTEL_E_TIMEOUT, 0, "the handshake was not done within %llu ms",
                         (unsigned long long)server->handshake_ms);
    lintelp_connection_end(connection, LINTEL_E_TIMEOUT, LINTEL_BYE_TOO_SLOW, &error);
}

static void cut_idle(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    struct lintel_error error;

    server->counters.cut_idle++;
    lintelp_server_error(&error, LINTEL_E_TIMEOUT, 0, "idle for %llu ms",
                         (unsigned long long)server->idle_ms);
    lintelp_connection_end(connection, LINTEL_E_TIMEOUT, LINTEL_BYE_IDLE, &error);
}

static void cut_unread(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    struct lintel_error error;

    server->counters.cut_unread++;
    lintelp_server_error(
        &error, LINTEL_E_TIMEOUT, 0, "the peer took nothing of %zu bytes for %llu ms",
        lintel_stream_queued(connection->stream), (unsigned long long)server->write_ms);
    lintelp_connection_cut(connection, LINTEL_E_TIMEOUT, &error);
}

static void cut_late(struct lintel_connection *connection, uint64_t now)
{
    if (connection->phase == PHASE_LINGER)
        return;
    if (write_deadline(connection) <= now)
        cut_unread(connection);
    else if (handshake_deadline(connection) <= now)
        cut_handshake(connection);
    else if (frame_deadline(connection) <= now)
        cut_slow(connection);
    else if (idle_deadline(connection) <= now)
        cut_idle(connection);
    else
        return;
    lintelp_touch(connection);
}

/* ---- what a turn came to --------------------------------------------------------------------- */

static void note_frame(struct lintel_connection *connection, uint64_t now)
{
    if (!has_begun(connection) || connection->fresh)
        connection->frame_since = connection->paused = 0;
    if (has_begun(connection) && connection->frame_since == 0)
        connection->frame_since = now;
    connection->fresh = 0;
    if (connection->frame_since == 0)
        return;
    if (connection->paused == !lintelp_connection_may_read(connection))
        return;
    connection->frame_since = connection->paused ? now - (connection->frame_since - 1)
                                                 : now - connection->frame_since + 1;
    connection->paused = !connection->paused;
}

/* Count its storage anew. */
static void weigh(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;

    server->held_bytes -= connection->held_bytes;
    connection->held_bytes = 0;
    if (connection->stream != NULL)
        connection->held_bytes = lintel_stream_memory(connection->stream) +
                                 lintel_assembler_memory(connection->assembler) +
                                 connection->kept_bytes;
    server->held_bytes += connection->held_bytes;
}

void lintelp_limits_note(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    uint64_t now = uv_now(server->loop), at;

    weigh(connection);
    if (connection->phase == PHASE_CLOSED)
        return;
    note_frame(connection, now);
    if (connection->pending > 0)
        connection->idle_since = now;
    at = deadline(connection);
    if (at <= now)
        cut_late(connection, now);
    if (at >= connection->due)
        return;
    connection->due = at;
    sift_up(server, connection);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static struct lintel_connection *connection_of(struct node *node)
{
    return (struct lintel_connection *)(void *)((char *)node -
                                                offsetof(struct lintel_connection, node));
}

static void trim(struct lintel_connection *connection)
{
    lintel_stream_trim(connection->stream);
    if (!lintel_assembler_is_open(connection->assembler)) {
        lintel_assembler_free(connection->assembler);
        connection->assembler = NULL;
    }
    weigh(connection);
    lintelp_node_remove(&connection->node);
}

/* A queue cannot be taken back, and a BYE behind it would not be read. */
static void give_up(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    struct lintel_error error;

    server->counters.cut_memory++;
    lintelp_server_error(&error, LINTEL_E_NOMEM, 0,
                         "the limit of %llu bytes over all connections was reached, and this one "
                         "holds the most, %zu",
                         (unsigned long long)server->max_memory, connection->held_bytes);
    if (connection->phase == PHASE_OPEN && !connection->input_over &&
        lintel_stream_queued(connection->stream) <= connection->held_bytes / 2) {
        lintelp_connection_end(connection, LINTEL_E_NOMEM, LINTEL_BYE_INTERNAL, &error);
        lintel_assembler_free(connection->assembler);
        connection->assembler = NULL;
        lintel_stream_end_input(connection->stream);
    } else {
        lintelp_connection_cut(connection, LINTEL_E_NOMEM, &error);
    }
    lintelp_touch(connection);
    weigh(connection);
}

static struct lintel_connection *heaviest(const struct lintel_server *server)
{
    struct lintel_connection *found = NULL;
    size_t i;

    for (i = 0; i < server->connections; i++)
        if (!server->order[i]->broken &&
            (found == NULL || server->order[i]->held_bytes > found->held_bytes))
            found = server->order[i];
    return found;
}

/* What one that is about to be closed holds is as good as free. */
void lintelp_limits_memory(struct lintel_server *server)
{
    struct lintel_connection *connection;
    size_t held;

    while (server->held_bytes > HELD_MAX && !lintelp_node_empty(&server->busy))
        trim(connection_of(server->busy.next));
    for (held = server->held_bytes; held > server->max_memory;) {
        connection = heaviest(server);
        if (connection == NULL || connection->held_bytes == 0)
            return;
        held -= connection->held_bytes;
        give_up(connection);
        if (!connection->broken)
            held += connection->held_bytes;
    }
}

/* ---- what is due ----------------------------------------------------------------------------- */

/* What is late gets one more turn, in which what has come meanwhile is read, and written what now
 * can be: it may be we who were late. Then lintelp_limits_note() has the say. */
static void look_at(struct lintel_connection *connection, uint64_t now)
{
    int lingers = connection->phase == PHASE_LINGER;
    uint64_t late = lingers ? after(connection->since, LINGER_MS) : hard_deadline(connection);

    if (late <= now) {
        if (lingers)
            connection->broken = 1;
        else
            connection->again = 1;
        lintelp_touch(connection);
    } else if (may_trim(connection) && after(connection->since, TRIM_MS) <= now) {
        trim(connection);
    }
}

void lintelp_limits_due(struct lintel_server *server)
{
    uint64_t now = uv_now(server->loop);
    struct lintel_connection *connection;

    while (server->connections > 0 && server->order[0]->due <= now) {
        connection = server->order[0];
        look_at(connection, now);
        connection->due = connection->touched ? NEVER : deadline(connection);
        if (connection->due <= now)
            connection->due = now + 1;
        sift_down(server, connection);
    }
    if (server->retry_at != 0 && now >= server->retry_at)
        lintelp_server_resume_accepting(server);
    if (server->drain_at != 0 && now >= server->drain_at) {
        server->drain_at = 0;
        lintel_server_stop(server);
    }
}

static void on_timer(uv_timer_t *timer)
{
    struct lintel_server *server = timer->data;

    server->timer_at = 0;
    lintelp_limits_due(server);
    lintelp_timer_update(server);
}

void lintelp_timer_update(struct lintel_server *server)
{
    uint64_t now = uv_now(server->loop);
    uint64_t at = server->connections > 0 ? server->order[0]->due : NEVER;

    if (server->retry_at != 0)
        at = earlier(at, server->retry_at);
    if (server->drain_at != 0)
        at = earlier(at, server->drain_at);
    if (at == NEVER || (server->timer_at != 0 && server->timer_at <= at))
        return;
    server->timer_at = at;
    (void)uv_timer_start(&server->timer, on_timer, at > now ? at - now : 1, 0);
}
