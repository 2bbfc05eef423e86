#include "config.h"

#ifdef HAVE_UV

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "lintel/server.h"
#include "serve.h"
#include "serve_exec.h"
#include "tool.h"

#define LINES_A_SECOND 20 /* about connections, on standard error */
#define SAME_SIGNAL_MS 100

struct serve {
    struct serve_settings *settings;

    uv_loop_t loop;
    uv_signal_t signals[2];
    int signals_open;
    struct lintel_server *server;
    struct exec *exec;        /* -H exec */
    struct tool_buffer upper; /* -H upper */
    size_t listeners;
    int stopping; /* a signal came */
    uint64_t stopping_since;
    int clean;

    int64_t lines_since; /* the second that is counted */
    unsigned lines, lines_left_out;
};

/* What is remembered of a connection. The kernel forgets who the peer was when that has closed. */
struct peer {
    struct job *jobs; /* -H exec */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } address;
};

/* ---- lines about connections ----------------------------------------------------------------- */

/* Who it is, as far as the kernel knew: "tcp://[::1]:4242". */
static void peer_text(char *out, size_t size, const struct peer *peer)
{
    struct lintel_endpoint endpoint = {.scheme = LINTEL_TCP};
    socklen_t length = sizeof peer->address;
    snprintf(out, size, "a connection");
    if (peer->address.any.sa_family != AF_INET && peer->address.any.sa_family != AF_INET6)
        return;
    if (getnameinfo(&peer->address.any, length, endpoint.host, sizeof endpoint.host,
                    endpoint.service, sizeof endpoint.service, NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    lintel_endpoint_text(&endpoint, out, size);
}

/* Peers must not be able to fill a disk with lines. */
static int may_print(struct serve *serve)
{
    int64_t now = tool_now_ms();
    if (now - serve->lines_since >= 1000) {
        if (serve->lines_left_out)
            tool_fail("%u more lines were left out", serve->lines_left_out);
        serve->lines_since = now;
        serve->lines = serve->lines_left_out = 0;
    }
    if (serve->lines < LINES_A_SECOND) {
        serve->lines++;
        return 1;
    }
    serve->lines_left_out++;
    return 0;
}

static void report(struct serve *serve, const struct peer *peer, const struct lintel_error *error)
{
    char who[LINTEL_ENDPOINT_TEXT_SIZE];
    if (!may_print(serve))
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
    struct serve *serve = user;
    struct tool_buffer *buffer = &serve->upper;
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
                    const struct lintel_frame *frame, struct lintel_request *request)
{
    (void)user;
    (void)connection;
    (void)frame;
    lintel_request_drop(request);
}

static void run(void *user, struct lintel_connection *connection, const struct lintel_frame *frame,
                struct lintel_request *request)
{
    struct serve *serve = user;
    struct peer *peer = lintel_connection_user(connection);
    (void)frame;
    exec_request(serve->exec, &peer->jobs, request);
}

static int setup(void *user, struct lintel_connection *connection)
{
    struct peer *peer = calloc(1, sizeof *peer);
    socklen_t length = sizeof peer->address;
    (void)user;
    if (!peer)
        return -1;
    if (getpeername(lintel_connection_fd(connection), &peer->address.any, &length) != 0)
        peer->address.any.sa_family = AF_UNSPEC;
    lintel_connection_set_user(connection, peer);
    return 0;
}

static void finish(void *user, struct lintel_connection *connection,
                   const struct lintel_error *error)
{
    struct serve *serve = user;
    struct peer *peer = lintel_connection_user(connection);
    if (serve->exec)
        exec_finish(serve->exec, &peer->jobs);
    if (error->status != LINTEL_E_END && !serve->stopping)
        report(serve, peer, error);
    free(peer);
    if (serve->listeners == 0 && lintel_server_connections(serve->server) == 0)
        lintel_server_drain(serve->server);
}

static int choose_handler(struct serve *serve, struct lintel_handler *handler)
{
    const char *name = serve->settings->handler;
    handler->setup = setup;
    handler->finish = finish;
    handler->user = serve;
    if (strcmp(name, "echo") == 0)
        handler->frame = echo;
    else if (strcmp(name, "upper") == 0)
        handler->frame = upper;
    else if (strcmp(name, "discard") == 0)
        handler->frame = discard;
    else if (strncmp(name, "exec:", 5) == 0 && name[5])
        handler->frame = run;
    else
        return tool_misuse("-H: \"%s\" is not echo, upper, discard or exec:CMD", name);
    return TOOL_OK;
}

/* ---- listening ------------------------------------------------------------------------------- */

/* Descriptors that were given must not go on to the children of exec; 1 if one of them is standard
 * output, which then carries frames and nothing else. */
static int guard_given(const char *text)
{
    struct lintel_endpoint endpoint;
    int is_output = 0;
    if (lintel_endpoint_parse(&endpoint, text, NULL) != LINTEL_OK || endpoint.scheme != LINTEL_FD)
        return 0;
    for (int i = 0; i < 2; i++) {
        is_output |= endpoint.fds[i] == STDOUT_FILENO;
        if (endpoint.fds[i] > STDERR_FILENO)
            (void)fcntl(endpoint.fds[i], F_SETFD, FD_CLOEXEC);
    }
    return is_output;
}

static void print_listening(const struct serve *serve, struct tool_buffer *given)
{
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    for (size_t i = 0; lintel_server_endpoint(serve->server, i, text, sizeof text) > 0; i++)
        printf("listening on %s\n", text);
    if (given->used > 0)
        fwrite(given->bytes, 1, given->used, stdout);
}

static int listen_all(struct serve *serve, int argc, char **argv)
{
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct tool_buffer given = {0};
    struct lintel_error error;
    int status = TOOL_OK, quiet = 0;
    for (int i = 0; i < argc && status == TOOL_OK; i++) {
        quiet |= guard_given(argv[i]);
        if (lintel_server_listen(serve->server, argv[i], &error) != LINTEL_OK) {
            status = tool_fail_error(argv[i], &error);
        } else if (lintel_server_endpoint(serve->server, serve->listeners, text, sizeof text) > 0) {
            while (lintel_server_endpoint(serve->server, serve->listeners, text, sizeof text) > 0)
                serve->listeners++;
        } else {
            int used = snprintf(text, sizeof text, "listening on %s\n", argv[i]);
            status = tool_buffer_add(&given, text, (size_t)used);
        }
    }
    if (status == TOOL_OK && !quiet) {
        print_listening(serve, &given);
        status = tool_flush();
    }
    tool_buffer_free(&given);
    return status;
}

/* ---- running --------------------------------------------------------------------------------- */

/* timeout(1) and others signal their child and then its group: twice for one request. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct serve *serve = handle->data;
    uint64_t now = uv_now(&serve->loop);
    (void)number;
    if (!serve->stopping) {
        serve->stopping = 1;
        serve->stopping_since = now;
        lintel_server_drain(serve->server);
    } else if (now - serve->stopping_since >= SAME_SIGNAL_MS) {
        lintel_server_stop(serve->server);
    }
}

/* The loop ends with its last handle; the signals are watched to the end, so that one that comes
 * late does not kill. */
static void on_stopped(void *user, int clean)
{
    struct serve *serve = user;
    serve->clean = clean;
    for (int i = 0; i < serve->signals_open; i++)
        uv_unref((uv_handle_t *)&serve->signals[i]);
}

static void close_signals(struct serve *serve)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < serve->signals_open; i++)
        uv_close((uv_handle_t *)&serve->signals[i], NULL);
    uv_run(&serve->loop, UV_RUN_DEFAULT);
}

static int watch_signals(struct serve *serve)
{
    static const int numbers[2] = {SIGTERM, SIGINT};
    for (int i = 0; i < 2; i++) {
        int rc = uv_signal_init(&serve->loop, &serve->signals[i]);
        if (rc != 0)
            return tool_fail("cannot watch for signals: %s", uv_strerror(rc));
        serve->signals[i].data = serve;
        serve->signals_open++;
    }
    for (int i = 0; i < 2; i++) {
        int rc = uv_signal_start(&serve->signals[i], on_signal, numbers[i]);
        if (rc != 0)
            return tool_fail("cannot watch for signals: %s", uv_strerror(rc));
    }
    return TOOL_OK;
}

static int make_server(struct serve *serve)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_handler handler = {0};
    struct lintel_error error;
    int status = choose_handler(serve, &handler);
    if (status != TOOL_OK)
        return status;
    if (handler.frame == run) {
        serve->exec = exec_new(&serve->loop, serve->settings->handler + 5,
                               serve->settings->framing.limit, serve->settings->max_children);
        if (!serve->exec)
            return tool_fail("out of memory");
    }
    options.layout = serve->settings->framing.layout;
    options.max_frame = serve->settings->framing.max_frame;
    options.max_queue = serve->settings->max_queue;
    options.max_pending = (uint32_t)serve->settings->max_pending;
    options.drain_timeout_ms =
        serve->settings->drain_timeout_ms > 0 ? serve->settings->drain_timeout_ms : 1;
    options.stopped = on_stopped;
    options.stopped_user = serve;
    if (lintel_server_new(&serve->server, &serve->loop, &handler, &options, &error) != LINTEL_OK)
        return tool_fail_error(NULL, &error);
    return TOOL_OK;
}

static int run_loop(struct serve *serve, int argc, char **argv)
{
    int status = watch_signals(serve);
    if (status == TOOL_OK)
        status = listen_all(serve, argc, argv);
    if (status != TOOL_OK)
        lintel_server_stop(serve->server);
    uv_run(&serve->loop, UV_RUN_DEFAULT);
    close_signals(serve);
    if (status == TOOL_OK && !serve->clean)
        status = tool_fail("stopped before every request was answered");
    return status;
}

int serve_run(struct serve_settings *settings, int argc, char **argv)
{
    struct serve serve = {.settings = settings};
    int rc = uv_loop_init(&serve.loop);
    if (rc != 0)
        return tool_fail("cannot make a loop: %s", uv_strerror(rc));
    int status = make_server(&serve);
    if (status == TOOL_OK)
        status = run_loop(&serve, argc, argv);
    lintel_server_free(serve.server);
    exec_free(serve.exec);
    tool_buffer_free(&serve.upper);
    (void)uv_loop_close(&serve.loop);
    return status;
}

#endif
