#include "config.h"

#ifdef HAVE_UV

#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve_worker.h"

#define LINES_A_SECOND 20 /* about connections, on standard error, a worker */

/* What is remembered of a connection. The kernel forgets who the peer was when that has closed. */
struct peer {
    struct job *jobs;                                /* -H exec */
    _Alignas(struct sockaddr_in6) uint8_t address[]; /* as long as its family's are */
};

/* ---- lines about connections ----------------------------------------------------------------- */

/* Bytes of an address of the network; of any other only the family is kept. */
static size_t address_size(sa_family_t family)
{
    if (family == AF_INET)
        return sizeof(struct sockaddr_in);
    return family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof family;
}

/* Who it is, as far as the kernel knew: "tcp://[::1]:4242". */
static void peer_text(char *out, size_t size, const struct peer *peer)
{
    struct lintel_endpoint endpoint = {.scheme = LINTEL_TCP};
    const struct sockaddr *address = (const struct sockaddr *)(const void *)peer->address;
    socklen_t length = (socklen_t)address_size(address->sa_family);
    snprintf(out, size, "a connection");
    if (length < sizeof *address)
        return;
    if (getnameinfo(address, length, endpoint.host, sizeof endpoint.host, endpoint.service,
                    sizeof endpoint.service, NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    lintel_endpoint_text(&endpoint, out, size);
}

/* Peers must not be able to fill a disk with lines. */
static int may_print(struct worker *worker)
{
    int64_t now = tool_now_ms();
    if (now - worker->lines_since >= 1000) {
        if (worker->lines_left_out)
            tool_fail("%u more lines were left out", worker->lines_left_out);
        worker->lines_since = now;
        worker->lines = worker->lines_left_out = 0;
    }
    if (worker->lines < LINES_A_SECOND) {
        worker->lines++;
        return 1;
    }
    worker->lines_left_out++;
    return 0;
}

static void report(struct worker *worker, const struct peer *peer, const struct lintel_error *error)
{
    char who[LINTEL_ENDPOINT_TEXT_SIZE];
    if (!may_print(worker))
        return;
    peer_text(who, sizeof who, peer);
    tool_fail_error(who, error);
}

/* ---- the handlers ---------------------------------------------------------------------------- */

static void echo(void *user, struct lintel_connection *connection, const struct lintel_frame *frame,
                 struct lintel_request *request)
{
    (void)user;
    (void)connection;
    (void)lintel_request_reply(request, frame->payload, frame->length);
}

static void upper(void *user, struct lintel_connection *connection,
                  const struct lintel_frame *frame, struct lintel_request *request)
{
    struct worker *worker = user;
    struct tool_buffer *buffer = &worker->upper;
    (void)connection;
    buffer->used = 0;
    if (tool_buffer_add(buffer, frame->payload, frame->length)) {
        (void)lintel_request_fail(request, "out of memory");
        return;
    }
    for (size_t i = 0; i < buffer->used; i++)
        if (buffer->bytes[i] >= 'a' && buffer->bytes[i] <= 'z')
            buffer->bytes[i] = (uint8_t)(buffer->bytes[i] - 'a' + 'A');
    (void)lintel_request_reply(request, buffer->bytes, buffer->used);
    if (buffer->capacity > 1024 * 1024)
        tool_buffer_free(buffer);
}

static void discard(void *user, struct lintel_connection *connection,
                    const struct lintel_message_piece *piece, struct lintel_request *request)
{
    (void)user;
    (void)connection;
    (void)piece;
    lintel_request_drop(request);
}

static void run(void *user, struct lintel_connection *connection, const struct lintel_frame *frame,
                struct lintel_request *request)
{
    struct worker *worker = user;
    struct peer *peer = lintel_connection_user(connection);
    (void)frame;
    exec_request(worker->exec, &peer->jobs, request);
}

/* NULL when out of memory. */
static struct peer *peer_of(int fd)
{
    struct sockaddr_storage name = {.ss_family = AF_UNSPEC};
    socklen_t length = sizeof name;
    if (getpeername(fd, (struct sockaddr *)&name, &length) != 0)
        name.ss_family = AF_UNSPEC;
    size_t size = address_size(name.ss_family);
    struct peer *peer = malloc(sizeof *peer + size);
    if (!peer)
        return NULL;
    peer->jobs = NULL;
    memcpy(peer->address, &name, size);
    return peer;
}

static int setup(void *user, struct lintel_connection *connection)
{
    struct peer *peer = peer_of(lintel_connection_fd(connection));
    (void)user;
    if (!peer)
        return -1;
    lintel_connection_set_user(connection, peer);
    return 0;
}

void worker_count(struct worker *worker)
{
    atomic_store(&worker->served, lintel_server_connections(worker->server));
}

static void tell_empty(struct worker *worker)
{
    worker_count(worker);
    if (worker->on_empty && lintel_server_connections(worker->server) == 0)
        worker->on_empty(worker->user);
}

static void finish(void *user, struct lintel_connection *connection,
                   const struct lintel_error *error)
{
    struct worker *worker = user;
    struct peer *peer = lintel_connection_user(connection);
    if (worker->exec)
        exec_finish(worker->exec, &peer->jobs);
    if (error->status != LINTEL_E_END && !worker->stopping)
        report(worker, peer, error);
    free(peer);
    tell_empty(worker);
}

/* One whom the handler never saw: its handshake failed, or there are too many. */
static void on_refused(void *user, int fd, const struct lintel_error *error)
{
    struct worker *worker = user;
    struct peer *peer = worker->stopping ? NULL : peer_of(fd);
    if (peer)
        report(worker, peer, error);
    free(peer);
    tell_empty(worker);
}

static int choose_handler(struct worker *worker, struct lintel_handler *handler)
{
    const char *name = worker->settings->handler;
    handler->setup = setup;
    handler->finish = finish;
    handler->user = worker;
    if (strcmp(name, "echo") == 0)
        handler->frame = echo;
    else if (strcmp(name, "upper") == 0)
        handler->frame = upper;
    else if (strcmp(name, "discard") == 0)
        handler->piece = discard;
    else if (strncmp(name, "exec:", 5) == 0 && name[5])
        handler->frame = run;
    else
        return tool_misuse("-H: \"%s\" is not echo, upper, discard or exec:CMD", name);
    return TOOL_OK;
}

/* ---- orders from other threads --------------------------------------------------------------- */

static void take(struct worker *worker, const int *fds, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (worker->ended)
            close(fds[i]);
        else
            (void)!lintel_server_adopt(worker->server, fds[i], fds[i], NULL);
        worker_count(worker);
        atomic_fetch_sub(&worker->given, 1);
    }
}

static void follow(struct worker *worker, enum worker_order order)
{
    if (order == WORKER_RUN || worker->ended)
        return;
    worker->stopping = 1;
    if (order == WORKER_DRAIN)
        lintel_server_drain(worker->server);
    else
        lintel_server_stop(worker->server);
}

static void on_async(uv_async_t *async)
{
    struct worker *worker = async->data;
    uv_mutex_lock(&worker->mutex);
    int *fds = worker->fds;
    size_t count = worker->count;
    enum worker_order order = worker->order;
    worker->fds = NULL;
    worker->count = worker->capacity = 0;
    uv_mutex_unlock(&worker->mutex);
    take(worker, fds, count);
    free(fds);
    follow(worker, order);
}

size_t worker_load(struct worker *worker)
{
    size_t given = atomic_load(&worker->given);
    return given + atomic_load(&worker->served);
}

int worker_give(struct worker *worker, int fd)
{
    int taken = 0;
    uv_mutex_lock(&worker->mutex);
    if (worker->count == worker->capacity) {
        size_t capacity = worker->capacity ? 2 * worker->capacity : 64;
        int *fds = realloc(worker->fds, capacity * sizeof *fds);
        worker->fds = fds ? fds : worker->fds;
        worker->capacity = fds ? capacity : worker->capacity;
    }
    if (worker->count < worker->capacity) {
        worker->fds[worker->count++] = fd;
        taken = 1;
        atomic_fetch_add(&worker->given, 1);
        uv_async_send(&worker->async);
    }
    uv_mutex_unlock(&worker->mutex);
    return taken;
}

void worker_order(struct worker *worker, enum worker_order order)
{
    uv_mutex_lock(&worker->mutex);
    worker->order = order;
    uv_async_send(&worker->async);
    uv_mutex_unlock(&worker->mutex);
}

/* ---- the thread ------------------------------------------------------------------------------ */

/* Only the program ends a worker; its async keeps the loop alive until then. */
static void run_thread(void *argument)
{
    struct worker *worker = argument;
    uv_run(&worker->loop, UV_RUN_DEFAULT);
}

int worker_start(struct worker *worker)
{
    int rc = uv_async_init(&worker->loop, &worker->async, on_async);
    if (rc != 0)
        return tool_fail("cannot start a worker: %s", uv_strerror(rc));
    worker->async.data = worker;
    worker->in_thread = 1;
    if ((rc = uv_mutex_init(&worker->mutex)) == 0) {
        if ((rc = uv_thread_create(&worker->thread, run_thread, worker)) == 0)
            return TOOL_OK;
        uv_mutex_destroy(&worker->mutex);
    }
    uv_close((uv_handle_t *)&worker->async, NULL);
    uv_run(&worker->loop, UV_RUN_DEFAULT);
    return tool_fail("cannot start a worker: %s", uv_strerror(rc));
}

void worker_join(struct worker *worker)
{
    (void)uv_thread_join(&worker->thread);
    take(worker, worker->fds, worker->count);
    free(worker->fds);
    uv_mutex_destroy(&worker->mutex);
}

/* ---- life ------------------------------------------------------------------------------------ */

static void on_stopped(void *user, int clean)
{
    struct worker *worker = user;
    worker->ended = 1;
    worker->clean = clean;
    if (worker->in_thread)
        uv_close((uv_handle_t *)&worker->async, NULL);
    worker->on_ended(worker->user);
}

static uint64_t share(uint64_t all, uint64_t workers, uint64_t number)
{
    if (all == LINTEL_UNLIMITED)
        return all;
    all = all / workers + (number < all % workers);
    return all > 0 ? all : 1;
}

static int open_exec(struct worker *worker, uint64_t number)
{
    const struct serve_settings *s = worker->settings;
    struct exec_limits limits = {.reply = s->max_message,
                                 .memory = share(s->max_memory, s->workers, number),
                                 .children = share(s->max_children, s->workers, number)};
    if (!lintel_layout_is_lintel(s->framing.layout) || limits.reply < s->framing.limit)
        limits.reply = s->framing.limit;
    worker->exec = exec_new(&worker->loop, s->handler + 5, &limits);
    return worker->exec ? TOOL_OK : tool_fail("out of memory");
}

static struct lintel_server_options options_of(const struct worker *worker, uint64_t number)
{
    const struct serve_settings *s = worker->settings;
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    options.layout = s->framing.layout;
    options.max_frame = s->framing.max_frame;
    options.max_message = s->max_message;
    options.max_connections = worker->most;
    options.max_queue = s->max_queue;
    options.max_pending = s->max_pending < UINT32_MAX ? (uint32_t)s->max_pending : UINT32_MAX;
    options.max_memory = share(s->max_memory, s->workers, number);
    options.min_rate = s->min_rate;
    options.frame_timeout_ms = s->frame_timeout_ms;
    options.write_timeout_ms = s->write_timeout_ms;
    options.idle_timeout_ms = s->idle_timeout_ms;
    options.drain_timeout_ms = s->drain_timeout_ms;
    options.handshake_timeout_ms = s->handshake_timeout_ms;
    options.seal_keys = s->keys;
    options.stopped = on_stopped;
    return options;
}

int worker_open(struct worker *worker, const struct serve_settings *settings, uint64_t number,
                int (*accepted)(void *user, int fd), void *user)
{
    struct lintel_server_options options;
    struct lintel_handler handler = {0};
    struct lintel_error error;
    int rc = uv_loop_init(&worker->loop);
    if (rc != 0)
        return tool_fail("cannot make a loop: %s", uv_strerror(rc));
    worker->settings = settings;
    worker->user = user;
    worker->most = share(settings->max_connections, settings->workers, number);
    int status = choose_handler(worker, &handler);
    if (status == TOOL_OK && handler.frame == run)
        status = open_exec(worker, number);
    if (status != TOOL_OK)
        return status;
    options = options_of(worker, number);
    options.stopped_user = worker;
    options.accepted = accepted;
    options.accepted_user = user;
    options.refused = on_refused;
    options.refused_user = worker;
    if (lintel_server_new(&worker->server, &worker->loop, &handler, &options, &error) != LINTEL_OK)
        return tool_fail_error(NULL, &error);
    return TOOL_OK;
}

void worker_close(struct worker *worker)
{
    lintel_server_free(worker->server);
    exec_free(worker->exec);
    tool_buffer_free(&worker->upper);
    (void)uv_loop_close(&worker->loop);
}

#endif
