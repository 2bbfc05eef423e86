/* The server is the program's own: serve.c, with everything that it keeps of a connection. */
#define _GNU_SOURCE
#include "config.h"

#include "idle.h"

#if defined(HAVE_UV) && defined(__linux__)
#include <features.h>
#endif
#if defined(HAVE_UV) && defined(__GLIBC__) && defined(__GLIBC_PREREQ)
#if __GLIBC_PREREQ(2, 33) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define CAN_MEASURE
#endif
#endif
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || \
    __has_feature(memory_sanitizer)
#undef CAN_MEASURE
#endif
#endif

#ifndef CAN_MEASURE

int idle_measure(int connections, int sealed, struct idle *out)
{
    (void)connections;
    (void)sealed;
    (void)out;
    return 1;
}

double idle_bare(int descriptors)
{
    (void)descriptors;
    return -1;
}

#else

#include "lintel/lintel.h"
#include "serve.h"

#include <arpa/inet.h>
#include <malloc.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#define SMALL     ((size_t)64)
#define LARGE     ((size_t)100 * 1024) /* more than the server receives at once */
#define WAIT_MS   10000                /* for the memory to go back */
#define QUIET_MS  1000                 /* four times what a server waits before it gives back */
#define NEARLY    1                    /* byte a connection that may be missing of "back" */
#define SPARE_FDS 64

static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2();

    return info.uordblks + info.hblkhd;
}

static uint64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- keys ------------------------------------------------------------------------------------ */

static struct lintel_seal_keys *keys_of(enum lintel_seal_role role)
{
    static const char shared[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= pair\n";
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys = NULL;

    options.role = role;
    options.psk = (struct lintel_seal_text){shared, sizeof shared - 1, "shared"};
    return lintel_seal_keys_new(&keys, &options, NULL) == LINTEL_OK ? keys : NULL;
}

/* ---- the server ------------------------------------------------------------------------------ */

/* Answers each byte with what is in use. */
static void *answer(void *argument)
{
    int fd = *(int *)argument;
    size_t size;
    char asked;

    while (read(fd, &asked, 1) == 1) {
        size = in_use();
        if (write(fd, &size, sizeof size) != sizeof size)
            break;
    }
    return NULL;
}

static _Noreturn void serve(int listener, int control, int said, struct lintel_seal_keys *keys)
{
    struct serve_settings settings = {SERVE_DEFAULTS, .keys = keys};
    char endpoint[32] = "fd://", *argv[] = {endpoint, NULL};
    pthread_t thread;

    endpoint[5] = (char)('0' + listener / 10 % 10);
    endpoint[6] = (char)('0' + listener % 10);
    if (dup2(said, STDOUT_FILENO) < 0 || pthread_create(&thread, NULL, answer, &control) != 0)
        _exit(1);
    _exit(serve_run(&settings, 1, argv));
}

/* ---- its peers ------------------------------------------------------------------------------- */

struct peers {
    struct sockaddr_in address;
    pid_t server;
    int control;
    int count;
    struct lintel_seal_keys *keys[2]; /* responder, initiator; NULL: plain */
    struct lintel_stream **streams;
};

static size_t ask(const struct peers *peers)
{
    size_t size = 0;

    if (write(peers->control, "?", 1) != 1 ||
        read(peers->control, &size, sizeof size) != sizeof size)
        return SIZE_MAX;
    return size;
}

static int start(struct peers *peers)
{
    socklen_t size = sizeof peers->address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int control[2], said[2];
    char byte;

    peers->address =
        (struct sockaddr_in){.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (listener < 0 || listener > 99 ||
        bind(listener, (struct sockaddr *)&peers->address, size) < 0 ||
        listen(listener, SOMAXCONN) < 0 ||
        getsockname(listener, (struct sockaddr *)&peers->address, &size) < 0 ||
        socketpair(AF_UNIX, SOCK_STREAM, 0, control) < 0 || pipe(said) < 0)
        return -1;
    peers->server = fork();
    if (peers->server == 0) {
        close(control[0]);
        close(said[0]);
        serve(listener, control[1], said[1], peers->keys[0]);
    }
    close(listener);
    close(control[1]);
    close(said[1]);
    peers->control = control[0];
    /* It says that it listens. */
    byte = 0;
    while (byte != '\n' && read(said[0], &byte, 1) == 1)
        continue;
    close(said[0]);
    return peers->server > 0 && byte == '\n' ? 0 : -1;
}

static int connect_all(struct peers *peers, int count)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;

    options.seal_keys = peers->keys[1];
    for (; peers->count < count; peers->count++) {
        struct lintel_stream **stream = &peers->streams[peers->count];
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
            return -1;
        if (connect(fd, (struct sockaddr *)&peers->address, sizeof peers->address) < 0) {
            close(fd);
            return -1;
        }
        if (lintel_stream_new(stream, fd, fd, &options, NULL) < 0 ||
            (peers->keys[1] != NULL && lintel_stream_handshake(*stream, WAIT_MS) != 1))
            return -1;
    }
    return 0;
}

static int request(struct lintel_stream *stream, const void *payload, size_t size)
{
    struct lintel_header header = {0, 7, 1, NULL};
    struct lintel_frame frame;
    int rc = lintel_stream_send(stream, &header, payload, size, WAIT_MS);

    if (rc == LINTEL_OK)
        rc = lintel_stream_recv(stream, &frame, WAIT_MS) == 1 && frame.length == size ? 0 : -1;
    lintel_stream_trim(stream);
    return rc;
}

/* What is in use when it has not changed for so long: a server trims what has been quiet. */
static size_t ask_settled(const struct peers *peers)
{
    size_t size = ask(peers), next;
    uint64_t began = now_ms(), since = began;

    while (now_ms() - since < QUIET_MS && now_ms() - began < WAIT_MS) {
        next = ask(peers);
        if (next != size)
            since = now_ms();
        size = next;
    }
    return size;
}

/* Connections are accepted in order: when the last one is answered, all are there. */
static int measure(struct peers *peers, int count, struct idle *out)
{
    static uint8_t payload[LARGE];
    size_t before = ask(peers), fresh, again;
    uint64_t began;

    if (connect_all(peers, count) < 0 || request(peers->streams[count - 1], payload, SMALL) < 0)
        return -1;
    fresh = peers->keys[0] != NULL ? ask_settled(peers) : ask(peers);
    for (int i = 0; i < count; i++)
        if (request(peers->streams[i], payload, SMALL) < 0)
            return -1;
    for (int i = 0; i < count; i++)
        if (request(peers->streams[i], payload, LARGE) < 0 ||
            request(peers->streams[i], payload, SMALL) < 0)
            return -1;
    /* The server gives back what a connection that has fallen quiet does not need. */
    began = now_ms();
    do
        again = ask(peers);
    while (again > fresh + (size_t)count * NEARLY && now_ms() - began < WAIT_MS);
    out->fresh = (double)(fresh - before) / count;
    out->again = ((double)again - (double)before) / count;
    return fresh == SIZE_MAX || again == SIZE_MAX ? -1 : 0;
}

static int may_open(int descriptors)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur >= (rlim_t)descriptors + SPARE_FDS;
}

static int run(struct peers *peers, int connections, struct idle *out)
{
    int status, rc = -1;

    if (start(peers) == 0)
        rc = measure(peers, connections, out);
    for (int i = 0; i < peers->count; i++) {
        (void)!lintel_stream_shutdown(peers->streams[i], 0);
        lintel_stream_close(peers->streams[i]);
    }
    if (peers->server > 0) {
        (void)kill(peers->server, SIGTERM);
        if (waitpid(peers->server, &status, 0) != peers->server || status != 0)
            rc = -1;
        close(peers->control);
    }
    return rc;
}

int idle_measure(int connections, int sealed, struct idle *out)
{
    struct peers peers = {.server = -1};
    int rc;

    if (!may_open(connections) || (sealed && !lintel_has("sodium")))
        return 1;
    for (int side = 0; side < 2 && sealed; side++)
        peers.keys[side] = keys_of(side == 0 ? LINTEL_SEAL_RESPONDER : LINTEL_SEAL_INITIATOR);
    peers.streams = calloc((size_t)connections, sizeof(struct lintel_stream *));
    rc = peers.streams != NULL && (!sealed || (peers.keys[0] != NULL && peers.keys[1] != NULL))
             ? run(&peers, connections, out)
             : -1;
    free(peers.streams);
    lintel_seal_keys_free(peers.keys[0]);
    lintel_seal_keys_free(peers.keys[1]);
    return rc;
}

/* ---- the floor ------------------------------------------------------------------------------- */

static void on_poll(uv_poll_t *poll, int status, int events)
{
    (void)poll;
    (void)status;
    (void)events;
}

static void on_closed(uv_handle_t *handle)
{
    (void)close((int)(intptr_t)handle->data);
    free(handle);
}

static void close_handle(uv_handle_t *handle, void *argument)
{
    (void)argument;
    uv_close(handle, on_closed);
}

static int wait_on_one(uv_loop_t *loop)
{
    uv_poll_t *poll = malloc(sizeof *poll);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (poll == NULL || fd < 0 || uv_poll_init(loop, poll, fd) != 0)
        return -1;
    poll->data = (void *)(intptr_t)fd;
    return uv_poll_start(poll, UV_READABLE, on_poll);
}

double idle_bare(int descriptors)
{
    size_t before, after;
    uv_loop_t loop;
    int rc = 0;

    if (!may_open(descriptors) || uv_loop_init(&loop) != 0)
        return -1;
    before = in_use();
    for (int i = 0; i < descriptors && rc == 0; i++)
        rc = wait_on_one(&loop);
    after = in_use();
    uv_walk(&loop, close_handle, NULL);
    (void)uv_run(&loop, UV_RUN_DEFAULT);
    (void)uv_loop_close(&loop);
    return rc == 0 ? (double)(after - before) / descriptors : -1;
}

#endif
