/* The handful of system calls of lib/net. Read internal.h first. */
#include "config.h"
#include "net/internal.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- errors ---------------------------------------------------------------------------------- */

void lintelp_text_plain(struct lintelp_text *text, const char *s)
{
    for (; *s != '\0'; s++) {
        uint8_t byte = (uint8_t)*s;
        if (byte >= 0x20 && byte < 0x7F) {
            lintelp_text_char(text, *s);
            continue;
        }
        lintelp_text_str(text, "\\x");
        lintelp_text_bytes(text, &byte, 1);
    }
}

void lintelp_text_errno(struct lintelp_text *text, int number)
{
    lintelp_text_str(text, ": ");
    lintelp_text_plain(text, strerror(number));
}

int lintelp_fail_errno(struct lintel_error *error, int number, const char *what, const char *where)
{
    struct lintelp_text text = lintelp_error(error, LINTEL_E_SYSTEM, 0);

    lintelp_text_str(&text, what);
    if (where[0] != '\0')
        lintelp_text_char(&text, ' ');
    lintelp_text_plain(&text, where);
    lintelp_text_errno(&text, number);
    if (error != NULL)
        error->system = number;
    return LINTEL_E_SYSTEM;
}

/* ---- time ------------------------------------------------------------------------------------ */

uint64_t lintelp_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

int lintelp_deadline_left(struct lintelp_deadline *deadline)
{
    uint64_t now, left;

    if (deadline->timeout_ms <= 0)
        return deadline->timeout_ms < 0 ? -1 : 0;
    now = lintelp_now();
    if (deadline->end == 0)
        deadline->end = now + (uint64_t)deadline->timeout_ms * 1000000;
    if (now >= deadline->end)
        return 0;
    left = (deadline->end - now + 999999) / 1000000;
    return left < INT_MAX ? (int)left : INT_MAX;
}

int lintelp_poll_once(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int rc = poll(fds, count, timeout_ms);

    return rc < 0 && errno == EINTR ? 0 : rc;
}

int lintelp_poll(struct pollfd *fds, nfds_t count, struct lintelp_deadline *deadline)
{
    for (;;) {
        int left = lintelp_deadline_left(deadline);
        int rc;
        if (left == 0)
            return 0;
        rc = lintelp_poll_once(fds, count, left);
        if (rc != 0)
            return rc;
    }
}

/* ---- bytes ----------------------------------------------------------------------------------- */

int lintelp_end_init(struct lintelp_end *end, int fd)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return -1;
    end->fd = fd & (INT_MAX >> 1);
    end->is_socket = S_ISSOCK(status.st_mode) ? 1 : 0;
    return 0;
}

/* Whether a descriptor that knows no MSG_DONTWAIT would not wait. Returns 0, or -1 with EAGAIN. */
static int ready(int fd, short events)
{
    struct pollfd one = {fd, events, 0};
    int rc;

    do
        rc = poll(&one, 1, 0);
    while (rc < 0 && errno == EINTR);
    if (rc == 0)
        errno = EAGAIN;
    return rc > 0 ? 0 : -1;
}

ssize_t lintelp_read(const struct lintelp_end *end, void *out, size_t size, int wait)
{
    ssize_t got;

    if (!end->is_socket && !wait && ready(end->fd, POLLIN) != 0)
        return -1;
    do {
        if (end->is_socket)
            got = recv(end->fd, out, size, wait ? 0 : MSG_DONTWAIT);
        else
            got = read(end->fd, out, size);
    } while (got < 0 && errno == EINTR);
    return got;
}

ssize_t lintelp_receive(const struct lintelp_end *end, struct msghdr *message, int wait)
{
    ssize_t got;

    do
        got = recvmsg(end->fd, message, MSG_CMSG_CLOEXEC | (wait ? 0 : MSG_DONTWAIT));
    while (got < 0 && errno == EINTR);
    return got;
}

ssize_t lintelp_send(const struct lintelp_end *end, const struct msghdr *message)
{
    ssize_t put;

    do
        put = sendmsg(end->fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    return put;
}

/* writev() with SIGPIPE blocked; one that this call raised is taken away again. */
static ssize_t write_quietly(int fd, const struct iovec *iov, int count)
{
    static const struct timespec at_once = {0, 0};
    sigset_t pipe_only, before, pending;
    ssize_t put;
    int saved;

    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    sigemptyset(&pending);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe_only, &before);
    do
        put = writev(fd, iov, count);
    while (put < 0 && errno == EINTR);
    saved = errno;
    if (put < 0 && saved == EPIPE && !sigismember(&pending, SIGPIPE))
        while (sigtimedwait(&pipe_only, NULL, &at_once) < 0 && errno == EINTR)
            continue;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return put;
}

/* A pipe that is writable takes PIPE_BUF bytes without waiting, and more may wait. */
static ssize_t write_pipe(int fd, struct iovec *iov, size_t count)
{
    size_t room = PIPE_BUF, used = 0;

    if (ready(fd, POLLOUT) != 0)
        return -1;
    while (used < count && room > 0) {
        if (iov[used].iov_len > room)
            iov[used].iov_len = room;
        room -= iov[used++].iov_len;
    }
    return write_quietly(fd, iov, (int)used);
}

ssize_t lintelp_write(const struct lintelp_end *end, struct iovec *iov, size_t count)
{
    struct msghdr message;

    if (!end->is_socket)
        return write_pipe(end->fd, iov, count);
    memset(&message, 0, sizeof message);
    message.msg_iov = iov;
    message.msg_iovlen = count;
    return lintelp_send(end, &message);
}
