#include "config.h"

#ifdef HAVE_UV

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "serve_worker.h"

#define SAME_SIGNAL_MS 100

struct serve {
    struct serve_settings *settings;
    struct worker *workers; /* settings->workers of them, the first in this thread */
    uint64_t started;       /* of the others */
    atomic_uint ended;      /* workers whose server has stopped */
    uv_async_t async;       /* one of them has */

    uv_signal_t signals[2];
    int signals_open, async_open;
    size_t listeners;
    int stopping; /* a signal came */
    uint64_t stopping_since;
};

/* ---- the workers ----------------------------------------------------------------------------- */

/* On the loop of any of them. */
static void on_ended(void *user)
{
    struct serve *serve = user;
    atomic_fetch_add(&serve->ended, 1);
    uv_async_send(&serve->async);
}

static void end_all(struct serve *serve, enum worker_order order)
{
    struct worker *first = &serve->workers[0];
    for (uint64_t i = 1; i <= serve->started; i++)
        worker_order(&serve->workers[i], order);
    first->stopping = serve->stopping;
    if (order == WORKER_DRAIN)
        lintel_server_drain(first->server);
    else
        lintel_server_stop(first->server);
}

/* Descriptors that were given, and nothing that listens: when they are served the program ends. */
static void on_empty(void *user)
{
    struct serve *serve = user;
    if (serve->listeners == 0)
        end_all(serve, WORKER_DRAIN);
}

/* The worker with the fewest connections takes it; where all are full the first says so. */
static int on_accepted(void *user, int fd)
{
    struct serve *serve = user;
    struct worker *least = NULL;
    size_t fewest = SIZE_MAX;
    worker_count(&serve->workers[0]);
    for (uint64_t i = 0; i <= serve->started; i++) {
        size_t load = worker_load(&serve->workers[i]);
        if (load < fewest && load < serve->workers[i].most) {
            fewest = load;
            least = &serve->workers[i];
        }
    }
    return least && least != &serve->workers[0] && worker_give(least, fd);
}

/* ---- signals, and the end of all ------------------------------------------------------------- */

/* timeout(1) and others signal their child and then its group: twice for one request. */
static void on_signal(uv_signal_t *handle, int number)
{
    struct serve *serve = handle->data;
    uint64_t now = uv_now(handle->loop);
    (void)number;
    if (!serve->stopping) {
        serve->stopping = 1;
        serve->stopping_since = now;
        end_all(serve, WORKER_DRAIN);
    } else if (now - serve->stopping_since >= SAME_SIGNAL_MS) {
        end_all(serve, WORKER_STOP);
    }
}

/* The loop ends with its last handle; the signals are watched to the end, so that one that comes
 * late does not kill. */
static void on_async(uv_async_t *async)
{
    struct serve *serve = async->data;
    if (atomic_load(&serve->ended) < serve->started + 1)
        return;
    for (int i = 0; i < serve->signals_open; i++)
        uv_unref((uv_handle_t *)&serve->signals[i]);
    uv_unref((uv_handle_t *)&serve->async);
}

static int watch(struct serve *serve)
{
    static const int numbers[2] = {SIGTERM, SIGINT};
    uv_loop_t *loop = &serve->workers[0].loop;
    int rc = uv_async_init(loop, &serve->async, on_async);
    serve->async.data = serve;
    serve->async_open = rc == 0;
    for (int i = 0; i < 2 && rc == 0; i++) {
        rc = uv_signal_init(loop, &serve->signals[i]);
        serve->signals[i].data = serve;
        serve->signals_open += rc == 0;
    }
    for (int i = 0; i < 2 && rc == 0; i++)
        rc = uv_signal_start(&serve->signals[i], on_signal, numbers[i]);
    return rc == 0 ? TOOL_OK : tool_fail("cannot watch for signals: %s", uv_strerror(rc));
}

/* ---- opening --------------------------------------------------------------------------------- */

static int open_workers(struct serve *serve)
{
    uint64_t count = serve->settings->workers;
    int status = TOOL_OK;
    for (uint64_t i = 0; i < count && status == TOOL_OK; i++) {
        struct worker *worker = &serve->workers[i];
        worker->on_ended = on_ended;
        worker->on_empty = i == 0 ? on_empty : NULL;
        status = worker_open(worker, serve->settings, i, i == 0 ? on_accepted : NULL, serve);
        if (status == TOOL_OK && i == 0)
            status = watch(serve);
        else if (status == TOOL_OK)
            status = worker_start(worker);
        serve->started += status == TOOL_OK && i > 0;
    }
    return status;
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
    for (size_t i = 0; lintel_server_endpoint(serve->workers[0].server, i, text, sizeof text) > 0;
         i++)
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
        if (lintel_server_listen(serve->workers[0].server, argv[i], &error) != LINTEL_OK) {
            status = tool_fail_error(argv[i], &error);
        } else if (lintel_server_endpoint(serve->workers[0].server, serve->listeners, text,
                                          sizeof text) > 0) {
            while (lintel_server_endpoint(serve->workers[0].server, serve->listeners, text,
                                          sizeof text) > 0)
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

static void close_handles(struct serve *serve)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    for (int i = 0; i < serve->signals_open; i++)
        uv_close((uv_handle_t *)&serve->signals[i], NULL);
    if (serve->async_open)
        uv_close((uv_handle_t *)&serve->async, NULL);
    uv_run(&serve->workers[0].loop, UV_RUN_DEFAULT);
}

/* Every connection costs a descriptor: as many as are allowed, as far as the system lets us. */
static void raise_descriptor_limit(uint64_t connections)
{
    struct rlimit limit, wanted;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY)
        return;
    wanted.rlim_cur = connections < 1000000000 ? (rlim_t)connections + 256 : RLIM_INFINITY;
    if (limit.rlim_cur >= wanted.rlim_cur)
        return;
    wanted.rlim_max = wanted.rlim_cur > limit.rlim_max ? wanted.rlim_cur : limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &wanted) == 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/* What was opened without having been run is closed in a turn of its own. */
static int end_workers(struct serve *serve)
{
    int clean = 1;
    for (uint64_t i = 0; i < serve->settings->workers; i++) {
        struct worker *worker = &serve->workers[i];
        if (i > 0 && i <= serve->started)
            worker_join(worker);
        clean &= !worker->ended || worker->clean;
        if (worker->settings)
            worker_close(worker);
    }
    return clean;
}

int serve_run(struct serve_settings *settings, int argc, char **argv)
{
    struct serve serve = {.settings = settings};
    serve.workers = calloc((size_t)settings->workers, sizeof *serve.workers);
    if (!serve.workers)
        return tool_fail("out of memory");
    raise_descriptor_limit(settings->max_connections);
    int status = open_workers(&serve);
    if (status == TOOL_OK)
        status = listen_all(&serve, argc, argv);
    if (serve.workers[0].settings) {
        if (status != TOOL_OK && serve.workers[0].server)
            end_all(&serve, WORKER_STOP);
        if (serve.async_open)
            uv_run(&serve.workers[0].loop, UV_RUN_DEFAULT);
        close_handles(&serve);
    }
    if (!end_workers(&serve) && status == TOOL_OK)
        status = tool_fail("stopped before every request was answered");
    free(serve.workers);
    return status;
}

#endif
