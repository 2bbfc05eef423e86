/*
 * The floor is what a good engineer writes by hand for this job alone: level-triggered epoll, one
 * receive buffer, whole frames answered from it with one write, what is left of a frame kept for
 * the connection. It checks what a header says, and does without deadlines, queues and limits over
 * all connections.
 */
#define _GNU_SOURCE
#include "config.h"

#include "echo.h"

#include "bench.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS 256
#define BUFFER ((size_t)64 * 1024)
#define HEADER 16

/* ---- by hand --------------------------------------------------------------------------------- */

struct raw {
    int fd;
    size_t rest_size;
    uint8_t *rest; /* NULL but in the middle of a frame */
};

static uint8_t buffer[BUFFER];

static void raw_accept(int epoll, int listener)
{
    int fd, one = 1;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct raw *raw = calloc(1, sizeof *raw);
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = raw};
        if (raw == NULL || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
            bench_fail("a connection");
        raw->fd = fd;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    }
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* Make whole frames replies, where they lie. Returns their bytes. */
static size_t make_replies(uint8_t *bytes, size_t size)
{
    size_t at = 0;

    while (size - at >= HEADER) {
        uint8_t *p = bytes + at;
        uint32_t length = be32(p + 12);
        if (p[0] != 0x4C || p[1] != 0x54 || p[2] != 1 || length > 16777216)
            bench_fail("not a frame");
        if (length > size - at - HEADER)
            break;
        p[3] = LINTEL_REPLY;
        at += HEADER + length;
    }
    return at;
}

static void keep_rest(struct raw *raw, const uint8_t *bytes, size_t size)
{
    uint8_t *rest = size > 0 ? malloc(size) : NULL;

    if (size > 0) {
        if (rest == NULL)
            bench_fail("malloc");
        memcpy(rest, bytes, size);
    }
    free(raw->rest);
    raw->rest = rest;
    raw->rest_size = size;
}

static void raw_read(struct raw *raw)
{
    size_t size = raw->rest_size, whole;
    ssize_t n;

    if (size > 0)
        memcpy(buffer, raw->rest, size);
    n = recv(raw->fd, buffer + size, BUFFER - size, 0);
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        (void)close(raw->fd);
        free(raw->rest);
        free(raw);
        return;
    }
    size += (size_t)n;
    whole = make_replies(buffer, size);
    if (whole > 0 && send(raw->fd, buffer, whole, MSG_NOSIGNAL) != (ssize_t)whole)
        bench_fail("a client does not read");
    if (raw->rest_size > 0 || whole < size)
        keep_rest(raw, buffer + whole, size - whole);
}

void raw_echo_serve(int listener)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event events[EVENTS], event = {.events = EPOLLIN, .data.ptr = NULL};

    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        bench_fail("epoll");
    for (;;) {
        int n = epoll_wait(epoll, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.ptr == NULL)
                raw_accept(epoll, listener);
            else
                raw_read(events[i].data.ptr);
        }
    }
}

/* ---- lintel ---------------------------------------------------------------------------------- */

#ifdef HAVE_UV

#include "lintel/server.h"

#include <stdio.h>
#include <uv.h>

static void on_frame(void *user, struct lintel_connection *connection,
                     const struct lintel_frame *frame, struct lintel_request *request)
{
    (void)user;
    (void)connection;
    (void)lintel_request_reply(request, frame->payload, frame->length);
}

static void serve(int listener)
{
    struct lintel_handler handler = {.frame = on_frame};
    struct lintel_server *server;
    char endpoint[32];
    uv_loop_t loop;

    (void)snprintf(endpoint, sizeof endpoint, "fd://%d", listener);
    if (uv_loop_init(&loop) < 0 || lintel_server_new(&server, &loop, &handler, NULL, NULL) < 0 ||
        lintel_server_listen(server, endpoint, NULL) < 0)
        bench_fail("a server");
    (void)uv_run(&loop, UV_RUN_DEFAULT);
}

void (*const lintel_echo_serve)(int listener) = serve;
#else
void (*const lintel_echo_serve)(int listener) = NULL;
#endif
