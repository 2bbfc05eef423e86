/*
 * The handshake of a sealed connection, and how many of them may be under way. Until it is done no
 * handler hears of the connection: peers that do not hold a key cost what this file lets them.
 */
#include "config.h"
#include "server/internal.h"

/* ---- half-open ------------------------------------------------------------------------------- */

static struct lintel_connection *connection_of(struct node *node)
{
    return (struct lintel_connection *)(void *)((char *)node -
                                                offsetof(struct lintel_connection, node));
}

/* The oldest without a valid first message, else the oldest, makes room. */
static void make_room(struct lintel_server *server)
{
    struct node *ring = lintelp_node_empty(&server->waiting) ? &server->greeted : &server->waiting;
    struct lintel_connection *oldest = connection_of(ring->next);
    struct lintel_error error;

    lintelp_server_error(&error, LINTEL_E_TIMEOUT, 0,
                         "dropped: more than %llu handshakes are under way",
                         (unsigned long long)server->max_half_open);
    lintelp_connection_end(oldest, LINTEL_E_TIMEOUT, LINTEL_BYE_TOO_MANY, &error);
    oldest->hasty = 1;
    lintelp_half_open_remove(oldest);
}

void lintelp_half_open_add(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;

    if (server->counters.half_open >= server->max_half_open)
        make_room(server);
    connection->half_open = 1;
    server->counters.half_open++;
    lintelp_node_remove(&connection->node);
    lintelp_node_append(&server->waiting, &connection->node);
}

void lintelp_half_open_remove(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;

    if (!connection->half_open)
        return;
    connection->half_open = 0;
    server->counters.half_open--;
    lintelp_node_remove(&connection->node);
    lintelp_node_append(&server->busy, &connection->node);
}

/* ---- the handshake --------------------------------------------------------------------------- */

/* The stream has told the peer what may be told. */
static void handshake_failed(struct lintel_connection *connection, int status)
{
    struct lintel_error error;

    connection->server->counters.not_sealed++;
    lintel_stream_error(connection->stream, &error);
    lintelp_connection_end(connection, status, BYE_NONE, error.status == status ? &error : NULL);
    /* Without memory for a HELLO it would wait for a peer that waits for it. */
    if (status == LINTEL_E_RESET || status == LINTEL_E_SYSTEM || status == LINTEL_E_CLOSED ||
        status == LINTEL_E_NOMEM)
        connection->broken = 1;
}

/* Who it is is known now. Returns 1 if the handler takes it. */
static int introduce(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;

    lintelp_half_open_remove(connection);
    connection->refused = 0;
    connection->idle_since = uv_now(server->loop);
    if (server->handler.setup == NULL ||
        server->handler.setup(server->handler.user, connection) == 0)
        return !connection->input_over;
    connection->refused = 1;
    lintelp_connection_end(connection, LINTEL_E_CLOSED, BYE_NONE, NULL);
    return 0;
}

int lintelp_connection_handshake(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;
    const struct lintel_seal *seal = lintel_stream_seal(connection->stream);
    int rc;

    if (connection->input_over || server->handshakes == 0)
        return 0;
    rc = lintel_stream_handshake(connection->stream, 0);
    server->handshakes--;
    if (rc == 1)
        return introduce(connection);
    connection->again = 0;
    if (rc < 0) {
        handshake_failed(connection, rc);
    } else if (lintel_seal_state(seal) == LINTEL_SEAL_R1) {
        lintelp_node_remove(&connection->node);
        lintelp_node_append(&server->greeted, &connection->node);
    }
    return 0;
}
