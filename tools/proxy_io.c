#include "config.h"

#include <errno.h>
#include <limits.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proxy.h"

static int is_socket(int fd)
{
    struct stat status;
    return fstat(fd, &status) == 0 && S_ISSOCK(status.st_mode);
}

void proxy_end_open(struct proxy_end *end, const int fds[2])
{
    int on = 1;
    *end = (struct proxy_end){fds[0], fds[1], is_socket(fds[0]), is_socket(fds[1])};
    /* Those that were given may not have it; those that are not TCP refuse. */
    if (end->out_socket)
        (void)setsockopt(end->out, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void close_one(int fd, int reset)
{
    const struct linger at_once = {1, 0};
    if (reset)
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(fd);
}

void proxy_end_close(struct proxy_end *end, int reset)
{
    if (end->out >= 0 && end->out != end->in)
        close_one(end->out, reset);
    if (end->in >= 0)
        close_one(end->in, reset);
    end->in = end->out = -1;
}

/* Whether a descriptor that is no socket would not wait. */
static int is_ready(int fd, short events)
{
    struct pollfd one = {fd, events, 0};
    if (poll(&one, 1, 0) > 0)
        return 1;
    errno = EAGAIN;
    return 0;
}

ssize_t proxy_end_read(const struct proxy_end *end, void *bytes, size_t size)
{
    ssize_t got;
    if (!end->in_socket && !is_ready(end->in, POLLIN))
        return -1;
    do
        got =
            end->in_socket ? recv(end->in, bytes, size, MSG_DONTWAIT) : read(end->in, bytes, size);
    while (got < 0 && errno == EINTR);
    return got;
}

/* A pipe that is ready takes PIPE_BUF bytes without waiting, and more may wait. */
ssize_t proxy_end_write(const struct proxy_end *end, const void *bytes, size_t size)
{
    ssize_t put;
    if (!end->out_socket && !is_ready(end->out, POLLOUT))
        return -1;
    if (!end->out_socket && size > PIPE_BUF)
        size = PIPE_BUF;
    do
        put = end->out_socket ? send(end->out, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL)
                              : write(end->out, bytes, size);
    while (put < 0 && errno == EINTR);
    return put;
}

void proxy_end_shut(struct proxy_end *end)
{
    if (end->out_socket) {
        (void)shutdown(end->out, SHUT_WR);
    } else if (end->out != end->in) {
        close(end->out);
        end->out = -1;
    }
}

void proxy_end_peer(const struct proxy_end *end, char *out, size_t size)
{
    struct lintel_endpoint peer = {.scheme = LINTEL_TCP};
    union {
        struct sockaddr any;
        struct sockaddr_in6 v6;
    } address;
    socklen_t length = sizeof address;
    out[0] = 0;
    if (end->in_socket && getpeername(end->in, &address.any, &length) == 0 &&
        (address.any.sa_family == AF_INET || address.any.sa_family == AF_INET6) &&
        getnameinfo(&address.any, length, peer.host, sizeof peer.host, peer.service,
                    sizeof peer.service, NI_NUMERICHOST | NI_NUMERICSERV) == 0)
        lintel_endpoint_text(&peer, out, size);
}
