/*
 * The server: its life, its listeners, accepting, the turn, and one timer for everything that has a
 * time. Read internal.h first.
 *
 * Out of descriptors, a listening socket stays readable while accept fails: polling it would spin.
 * The listeners are then not polled until a connection has closed or RETRY_MS have passed.
 */
#include "config.h"
#include "server/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- small things ---------------------------------------------------------------------------- */

void *lintelp_server_resize(const struct lintel_allocator *allocator, void *ptr, size_t size)
{
    if (allocator != NULL && allocator->resize != NULL)
        return allocator->resize(allocator->user, ptr, size);
    if (size > 0)
        return realloc(ptr, size);
    free(ptr);
    return NULL;
}

int lintelp_server_error(struct lintel_error *error, int status, int system, const char *format,
                         ...)
{
    va_list arguments;
    char *at;

    if (error == NULL)
        return status;
    memset(error, 0, sizeof *error);
    error->status = status;
    error->system = system;
    va_start(arguments, format);
    vsnprintf(error->text, sizeof error->text, format, arguments);
    va_end(arguments);
    for (at = error->text; *at != '\0'; at++)
        if (*at < ' ' || *at > '~')
            *at = '?';
    return status;
}

void lintelp_node_init(struct node *head)
{
    head->next = head->previous = head;
}

int lintelp_node_empty(const struct node *head)
{
    return head->next == head;
}

void lintelp_node_append(struct node *head, struct node *node)
{
    node->next = head;
    node->previous = head->previous;
    head->previous->next = node;
    head->previous = node;
}

/* Removing twice is harmless. */
void lintelp_node_remove(struct node *node)
{
    node->previous->next = node->next;
    node->next->previous = node->previous;
    lintelp_node_init(node);
}

/* ---- the turn -------------------------------------------------------------------------------- */

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

static void wake(struct lintel_server *server)
{
    uv_idle_start(&server->idle, on_idle);
}

void lintelp_touch(struct lintel_connection *connection)
{
    struct lintel_server *server = connection->server;

    if (connection->touched || connection->phase == PHASE_CLOSED)
        return;
    connection->touched = 1;
    connection->next_touched = NULL;
    if (server->touched == NULL)
        wake(server);
    *server->last_touched = connection;
    server->last_touched = &connection->next_touched;
}

/* End the input of all connections, and work on all of them. */
static void end_all(struct lintel_server *server, int bye, const struct lintel_error *error)
{
    size_t i;

    for (i = 0; i < server->connections; i++) {
        lintelp_connection_end(server->order[i], LINTEL_E_CLOSED, bye, error);
        lintelp_touch(server->order[i]);
    }
}

static void close_own_handles(struct lintel_server *server);

static void on_check(uv_check_t *check)
{
    struct lintel_server *server = check->data;
    struct lintel_connection *connection, *next = server->touched;
    int more;

    server->touched = NULL;
    server->last_touched = &server->touched;
    server->handshakes = TURN_HANDSHAKES;
    while ((connection = next) != NULL) {
        next = connection->next_touched;
        /* It counts as touched in its own turn: one that closes must not be on the list after. */
        more = lintelp_connection_turn(connection);
        connection->touched = 0;
        lintelp_limits_note(connection);
        if (more)
            lintelp_touch(connection);
    }
    lintelp_limits_memory(server);
    if (server->touched == NULL)
        uv_idle_stop(&server->idle);
    if (server->life >= LIFE_DRAINING && server->connections == 0)
        close_own_handles(server);
    else
        lintelp_timer_update(server);
}

static void on_async(uv_async_t *async)
{
    struct lintel_server *server = async->data;

    lintelp_mailbox_empty(server->mailbox);
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void poll_listeners(struct lintel_server *server, int on)
{
    struct listening *listening;
    size_t i;

    for (listening = server->listening; listening != NULL; listening = listening->next) {
        for (i = 0; i < listening->count; i++) {
            if (on)
                (void)uv_poll_start(&listening->ports[i].poll, UV_READABLE, on_acceptable);
            else
                (void)uv_poll_stop(&listening->ports[i].poll);
        }
    }
}

static void pause_accepting(struct lintel_server *server)
{
    server->counters.accept_failures++;
    server->retry_at = uv_now(server->loop) + RETRY_MS;
    poll_listeners(server, 0);
    lintelp_timer_update(server);
}

void lintelp_server_resume_accepting(struct lintel_server *server)
{
    if (server->retry_at == 0)
        return;
    server->retry_at = 0;
    poll_listeners(server, 1);
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct listening *listening = ((struct port *)(void *)poll)->owner;
    struct lintel_server *server = listening->server;
    int i, fd, rc = status < 0 ? -1 : 1;

    (void)events;
    for (i = 0; i < TURN_ACCEPTS && rc == 1; i++) {
        if (server->life != LIFE_RUNNING)
            return;
        rc = lintel_listener_accept(listening->listener, &fd, 0, NULL);
        if (rc == 1 && server->accepted != NULL && server->accepted(server->accepted_user, fd))
            continue;
        if (rc == 1)
            (void)lintelp_connection_open(server, fd, fd, 0, NULL);
    }
    if (rc < 0)
        pause_accepting(server);
}

static void on_port_closed(uv_handle_t *handle)
{
    struct listening *listening = ((struct port *)(void *)handle)->owner;
    struct lintel_server *server = listening->server;

    if (--listening->closing == 0)
        lintelp_server_resize(server->allocator, listening, 0);
    lintelp_server_handle_closed(server);
}

/* Close the first count handles, and then what they wait for. */
static void listening_close(struct listening *listening, size_t count)
{
    struct lintel_listener *listener = listening->listener;
    struct lintel_server *server = listening->server;
    size_t i;

    listening->closing = count;
    for (i = 0; i < count; i++)
        uv_close((uv_handle_t *)&listening->ports[i].poll, on_port_closed);
    if (count == 0)
        lintelp_server_resize(server->allocator, listening, 0);
    lintel_listener_close(listener);
}

static void close_listeners(struct lintel_server *server)
{
    struct listening *listening;

    while ((listening = server->listening) != NULL) {
        server->listening = listening->next;
        listening_close(listening, listening->count);
    }
    server->retry_at = 0;
}

/* Takes listener. */
static int listening_new(struct lintel_server *server, struct lintel_listener *listener, int given,
                         struct lintel_error *error)
{
    size_t count = lintel_listener_count(listener), i;
    struct listening **at = &server->listening;
    struct listening *listening = lintelp_server_resize(
        server->allocator, NULL, sizeof *listening + count * sizeof listening->ports[0]);
    int fd, rc;

    if (listening == NULL) {
        lintel_listener_close(listener);
        return lintelp_server_error(error, LINTEL_E_NOMEM, 0, "out of memory");
    }
    listening->next = NULL;
    listening->server = server;
    listening->listener = listener;
    listening->count = count;
    for (i = 0; i < count; i++) {
        fd = lintel_listener_fd(listener, i);
        rc = lintelp_poll_init(server->loop, &listening->ports[i].poll, fd, given);
        if (rc != 0) {
            listening_close(listening, i);
            return lintelp_server_error(error, LINTEL_E_SYSTEM, -rc,
                                        "cannot wait for descriptor %d: %s", fd, uv_strerror(rc));
        }
        listening->ports[i].owner = listening;
        server->handles++;
    }
    while (*at != NULL)
        at = &(*at)->next;
    *at = listening;
    if (server->retry_at == 0)
        for (i = 0; i < count; i++)
            (void)uv_poll_start(&listening->ports[i].poll, UV_READABLE, on_acceptable);
    return LINTEL_OK;
}

/* ---- the beginning and the end --------------------------------------------------------------- */

static int start(struct lintel_server *server, struct lintel_error *error)
{
    int rc;

    if (server->life != LIFE_NEW)
        return LINTEL_OK;
    rc = uv_async_init(server->loop, &server->async, on_async);
    if (rc != 0)
        return lintelp_server_error(error, LINTEL_E_SYSTEM, -rc, "the loop has no way to wake: %s",
                                    uv_strerror(rc));
    uv_unref((uv_handle_t *)&server->async);
    (void)uv_check_init(server->loop, &server->check);
    (void)uv_check_start(&server->check, on_check);
    uv_unref((uv_handle_t *)&server->check);
    (void)uv_idle_init(server->loop, &server->idle);
    (void)uv_timer_init(server->loop, &server->timer);
    server->async.data = server->check.data = server->idle.data = server->timer.data = server;
    server->handles = 4;
    server->mailbox->async = &server->async;
    server->life = LIFE_RUNNING;
    return LINTEL_OK;
}

static void release(struct lintel_server *server)
{
    lintelp_mailbox_detach(server->mailbox);
    lintelp_mailbox_empty(server->mailbox);
    lintelp_mailbox_unref(server->mailbox);
    if (server->order != NULL)
        lintelp_server_resize(server->allocator, server->order, 0);
    lintelp_server_resize(server->allocator, server, 0);
}

static void report_stopped(struct lintel_server *server)
{
    server->life = LIFE_STOPPED;
    if (server->free_when_stopped)
        release(server);
    else if (server->stopped != NULL)
        server->stopped(server->stopped_user, server->clean);
}

void lintelp_server_handle_closed(struct lintel_server *server)
{
    if (--server->handles == 0)
        report_stopped(server);
}

static void on_own_closed(uv_handle_t *handle)
{
    lintelp_server_handle_closed(handle->data);
}

static void close_own_handles(struct lintel_server *server)
{
    if (server->ended)
        return;
    server->ended = 1;
    lintelp_mailbox_detach(server->mailbox);
    uv_close((uv_handle_t *)&server->async, on_own_closed);
    uv_close((uv_handle_t *)&server->check, on_own_closed);
    uv_close((uv_handle_t *)&server->idle, on_own_closed);
    uv_close((uv_handle_t *)&server->timer, on_own_closed);
}

/* ---- public ---------------------------------------------------------------------------------- */

/* What max_frame amounts to; the decoder has the say whether the layout can carry it. */
static int find_limit(struct lintel_server *server, struct lintel_error *error)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_decoder *decoder = NULL;
    uint64_t carried = lintel_layout_length_max(server->layout);
    int rc;

    options.layout = server->layout;
    options.allocator = server->allocator;
    options.max_frame = server->max_frame_option;
    rc = lintel_decoder_new(&decoder, &options, error);
    lintel_decoder_free(decoder);
    server->max_frame = server->max_frame_option;
    if (server->max_frame == 0)
        server->max_frame = carried < LINTEL_FRAME_LIMIT ? carried : LINTEL_FRAME_LIMIT;
    if (server->max_message < server->max_frame)
        server->max_message = server->max_frame;
    return rc;
}

static uint64_t or_default(uint64_t value, uint64_t otherwise)
{
    return value != 0 ? value : otherwise;
}

static uint64_t time_or_default(int value, uint64_t otherwise)
{
    return value < 0 ? NEVER : or_default((uint64_t)value, otherwise);
}

/* What all connections have in common is there once. */
static void share_options(struct lintel_server *server)
{
    static const struct lintel_stream_options defaults = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream_options *o = &server->stream_options;

    *o = defaults;
    o->layout = server->layout;
    o->allocator = server->allocator;
    o->max_frame = server->max_frame_option;
    o->max_message = server->max_message;
    o->max_fds = server->max_fds;
    o->seal_keys = server->seal_keys;
    o->receive_buffer = server->receive_buffer;
    o->receive_buffer_size = sizeof server->receive_buffer;
    o->shared = 1;
}

static void take_limits(struct lintel_server *server, const struct lintel_server_options *options)
{
    server->max_frame_option = options->max_frame;
    server->max_connections = or_default(options->max_connections, 10000);
    server->max_message = or_default(options->max_message, LINTEL_MESSAGE_LIMIT);
    server->max_queue = or_default(options->max_queue, (uint64_t)1 << 20);
    server->max_memory = or_default(options->max_memory, (uint64_t)1 << 30);
    server->max_pending = (uint32_t)or_default(options->max_pending, 64);
    server->max_fds = options->max_fds;
    server->min_rate = or_default(options->min_rate, (uint64_t)64 << 10);
    server->frame_ms = time_or_default(options->frame_timeout_ms, 10000);
    server->write_ms = time_or_default(options->write_timeout_ms, 30000);
    server->idle_ms = time_or_default(options->idle_timeout_ms, 300000);
    server->drain_ms = time_or_default(options->drain_timeout_ms, 5000);
    server->handshake_ms = time_or_default(options->handshake_timeout_ms, 5000);
    server->max_half_open = server->max_connections / 10;
    if (server->max_half_open < HALF_OPEN_MIN)
        server->max_half_open = HALF_OPEN_MIN;
}

static void take_options(struct lintel_server *server, const struct lintel_server_options *options)
{
    server->layout = options->layout != NULL ? options->layout : lintel_layout_default();
    server->allocator = options->allocator;
    server->stopped = options->stopped;
    server->stopped_user = options->stopped_user;
    server->accepted = options->accepted;
    server->accepted_user = options->accepted_user;
    server->refused = options->refused;
    server->refused_user = options->refused_user;
    server->seal_keys = options->seal_keys;
    take_limits(server, options);
    server->is_lintel = lintel_layout_is_lintel(server->layout) != 0;
    server->ordered = !server->is_lintel && lintel_layout_find(server->layout, "id") < 0;
    share_options(server);
}

int lintel_server_new(struct lintel_server **out, struct uv_loop_s *loop,
                      const struct lintel_handler *handler,
                      const struct lintel_server_options *options, struct lintel_error *error)
{
    static const struct lintel_server_options defaults = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_server *server;
    int rc;

    if (options == NULL)
        options = &defaults;
    if (out == NULL || loop == NULL || handler == NULL ||
        (handler->frame == NULL && handler->piece == NULL) || options->size != sizeof *options)
        return lintelp_server_error(error, LINTEL_E_USAGE, 0, "misuse of lintel_server_new");
    server = lintelp_server_resize(options->allocator, NULL, sizeof *server);
    if (server == NULL)
        return lintelp_server_error(error, LINTEL_E_NOMEM, 0, "out of memory");
    memset(server, 0, offsetof(struct lintel_server, receive_buffer));
    server->loop = loop;
    server->handler = *handler;
    server->clean = 1;
    server->last_touched = &server->touched;
    lintelp_node_init(&server->busy);
    lintelp_node_init(&server->waiting);
    lintelp_node_init(&server->greeted);
    take_options(server, options);
    rc = find_limit(server, error);
    if (rc == LINTEL_OK) {
        rc = lintelp_mailbox_new(&server->mailbox, server->allocator);
        if (rc != LINTEL_OK)
            lintelp_server_error(error, rc, 0, "out of memory");
    }
    if (rc != LINTEL_OK) {
        lintelp_server_resize(options->allocator, server, 0);
        return rc;
    }
    *out = server;
    return LINTEL_OK;
}

static int listens(int fd)
{
    int value = 0;
    socklen_t size = sizeof value;

    return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &size) == 0 && value;
}

int lintel_server_listen(struct lintel_server *server, const char *endpoint,
                         struct lintel_error *error)
{
    struct lintel_endpoint parsed;
    struct lintel_listener *listener;
    int rc;

    if (server == NULL || endpoint == NULL || server->life > LIFE_RUNNING)
        return lintelp_server_error(error, LINTEL_E_USAGE, 0, "misuse of lintel_server_listen");
    rc = lintel_endpoint_parse(&parsed, endpoint, error);
    if (rc != LINTEL_OK)
        return rc;
    if (parsed.scheme == LINTEL_FD && (parsed.fds[0] != parsed.fds[1] || !listens(parsed.fds[0])))
        return lintel_server_adopt(server, parsed.fds[0], parsed.fds[1], error);
    rc = start(server, error);
    if (rc != LINTEL_OK)
        return rc;
    rc = lintel_listener_open(&listener, &parsed, 0, error);
    if (rc != LINTEL_OK)
        return rc;
    return listening_new(server, listener, parsed.scheme == LINTEL_FD, error);
}

int lintel_server_adopt(struct lintel_server *server, int in, int out, struct lintel_error *error)
{
    int rc = LINTEL_E_USAGE;

    if (server == NULL || server->life > LIFE_RUNNING)
        lintelp_server_error(error, rc, 0, "misuse of lintel_server_adopt");
    else
        rc = start(server, error);
    if (rc == LINTEL_OK)
        return lintelp_connection_open(server, in, out, 1, error);
    if (in >= 0)
        close(in);
    if (out >= 0 && out != in)
        close(out);
    return rc;
}

size_t lintel_server_endpoint(const struct lintel_server *server, size_t index, char *out,
                              size_t size)
{
    const struct listening *listening = server == NULL ? NULL : server->listening;

    for (; listening != NULL; listening = listening->next) {
        if (index < listening->count)
            return lintel_listener_text(listening->listener, index, out, size);
        index -= listening->count;
    }
    return 0;
}

void lintel_server_drain(struct lintel_server *server)
{
    struct lintel_error error;

    if (server == NULL || server->life > LIFE_RUNNING)
        return;
    if (start(server, NULL) != LINTEL_OK) {
        report_stopped(server);
        return;
    }
    server->life = LIFE_DRAINING;
    close_listeners(server);
    lintelp_server_error(&error, LINTEL_E_CLOSED, 0, "the server drains");
    end_all(server, LINTEL_BYE_DRAINING, &error);
    if (server->drain_ms != NEVER)
        server->drain_at = uv_now(server->loop) + server->drain_ms;
    lintelp_timer_update(server);
    wake(server);
}

void lintel_server_stop(struct lintel_server *server)
{
    if (server == NULL || server->life > LIFE_DRAINING)
        return;
    if (start(server, NULL) != LINTEL_OK) {
        report_stopped(server);
        return;
    }
    server->life = LIFE_STOPPING;
    server->drain_at = 0;
    close_listeners(server);
    end_all(server, BYE_NONE, NULL);
    wake(server);
}

void lintel_server_free(struct lintel_server *server)
{
    if (server == NULL)
        return;
    if (server->life == LIFE_NEW || server->life == LIFE_STOPPED) {
        release(server);
        return;
    }
    server->free_when_stopped = 1;
    lintel_server_stop(server);
}

size_t lintel_server_connections(const struct lintel_server *server)
{
    return server == NULL ? 0 : server->connections;
}

void lintel_server_counters(const struct lintel_server *server, struct lintel_server_counts *out)
{
    static const struct lintel_server_counts none;

    if (out != NULL)
        *out = server == NULL ? none : server->counters;
}
