/* Listeners: the sockets behind an endpoint, and the connections that come in on them. */
#include "config.h"
#include "lintel/endpoint.h"

#include "core/internal.h"
#include "net/endpoint_address.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define ADDRESSES_MAX 64        /* of one name; our choice */
#define PORT_TRIES    32        /* ports that the system chose and another address has taken */
#define GONE_MAX      SOMAXCONN /* connections in a row that were gone: a backlog full of them */

struct lintel_listener {
    char path[108]; /* the socket file that was made; "" where there is none */
    dev_t device;   /* of that file, to know it again */
    ino_t inode;
    size_t count; /* at least 1 */
    size_t next;  /* the socket to ask first, so that none is left waiting behind the others */
    int type;     /* SOCK_STREAM; SOCK_DGRAM: bound only, for datagram.c */
    int backlog;
    int given;           /* the socket is not ours: its mode is not known and stays as it is */
    struct pollfd fds[]; /* fd and POLLIN */
};

static struct lintel_listener *listener_new(size_t capacity, int type, int backlog)
{
    size_t size = sizeof(struct lintel_listener) + capacity * sizeof(struct pollfd);
    struct lintel_listener *listener = lintelp_resize(NULL, NULL, size);

    if (listener == NULL)
        return NULL;
    memset(listener, 0, size);
    listener->type = type;
    listener->backlog = backlog > 0 ? backlog : SOMAXCONN;
    return listener;
}

static void listener_add(struct lintel_listener *listener, int fd)
{
    listener->fds[listener->count].fd = fd;
    listener->fds[listener->count].events = POLLIN;
    listener->count++;
}

static void close_all(struct lintel_listener *listener)
{
    while (listener->count > 0)
        close(listener->fds[--listener->count].fd);
}

void lintel_listener_close(struct lintel_listener *listener)
{
    struct stat now;

    if (listener == NULL)
        return;
    if (listener->path[0] != '\0' && lstat(listener->path, &now) == 0 &&
        now.st_dev == listener->device && now.st_ino == listener->inode)
        (void)unlink(listener->path);
    close_all(listener);
    lintelp_resize(NULL, listener, 0);
}

/* ---- tcp, udp -------------------------------------------------------------------------------- */

static in_port_t *port_of(struct lintelp_address *address)
{
    if (address->any.ss_family == AF_INET6)
        return &((struct sockaddr_in6 *)&address->any)->sin6_port;
    return &((struct sockaddr_in *)&address->any)->sin_port;
}

/* The socket to bind: one that listens must not wait in accept, one for datagrams may in send. */
static int new_socket(int family, int type)
{
    return socket(family, type | SOCK_CLOEXEC | (type == SOCK_STREAM ? SOCK_NONBLOCK : 0), 0);
}

static int start(int fd, int type, int backlog)
{
    return type == SOCK_STREAM ? listen(fd, backlog) : 0;
}

/* Make one socket that listens. Returns it, or -1 with errno and the name of the call. */
static int listen_inet(const struct lintelp_address *address, int type, int backlog,
                       const char **what)
{
    int family = address->any.ss_family, on = 1, saved;
    int fd = new_socket(family, type);

    *what = "socket for";
    if (fd < 0)
        return -1;
    if (type == SOCK_STREAM)
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    *what = "bind to";
    if (bind(fd, (const struct sockaddr *)&address->any, address->size) == 0) {
        *what = "listen on";
        if (start(fd, type, backlog) == 0)
            return fd;
    }
    saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

/* A name may have addresses that this machine does not have now, such as ::1 without IPv6. */
static int is_absent(int number)
{
    return number == EADDRNOTAVAIL || number == EAFNOSUPPORT || number == EPROTONOSUPPORT;
}

static int same_address(const struct addrinfo *a, const struct addrinfo *b)
{
    return a->ai_addrlen == b->ai_addrlen && memcmp(a->ai_addr, b->ai_addr, a->ai_addrlen) == 0;
}

static int seen_before(const struct addrinfo *list, const struct addrinfo *at)
{
    for (; list != at; list = list->ai_next)
        if (same_address(list, at))
            return 1;
    return 0;
}

static void find_port(int fd, in_port_t *port)
{
    struct lintelp_address bound;

    bound.size = sizeof bound.any;
    if (getsockname(fd, (struct sockaddr *)&bound.any, &bound.size) == 0)
        *port = *port_of(&bound);
}

/* One socket for each address, all with one port. *retry is set where the system chose a port that
 * is taken on another address. */
static int listen_each(struct lintel_listener *listener, const struct addrinfo *list, int *retry,
                       struct lintel_error *error)
{
    in_port_t port = 0;
    int rc = LINTEL_E_RESOLVE;

    *retry = 0;
    for (const struct addrinfo *at = list; at != NULL; at = at->ai_next) {
        struct lintelp_address address;
        const char *what;
        int fd, chosen, number;
        if (listener->count == ADDRESSES_MAX || seen_before(list, at))
            continue;
        address.size = at->ai_addrlen;
        memcpy(&address.any, at->ai_addr, at->ai_addrlen);
        chosen = *port_of(&address) == 0;
        if (chosen)
            *port_of(&address) = port;
        fd = listen_inet(&address, listener->type, listener->backlog, &what);
        if (fd >= 0) {
            listener_add(listener, fd);
            find_port(fd, &port);
            continue;
        }
        number = errno;
        *retry = chosen && number == EADDRINUSE;
        rc = lintelp_fail_address(error, number, what, &address);
        if (!is_absent(number))
            return rc;
    }
    return listener->count > 0 ? LINTEL_OK : rc;
}

static int open_inet(struct lintel_listener **out, const struct lintel_endpoint *endpoint, int type,
                     int backlog, struct lintel_error *error)
{
    struct lintel_listener *listener;
    struct addrinfo *list;
    int rc, retry = 1;

    if ((rc = lintelp_resolve(&list, endpoint, AI_PASSIVE, error)) != LINTEL_OK)
        return rc;
    listener = listener_new(ADDRESSES_MAX, type, backlog);
    if (listener == NULL) {
        freeaddrinfo(list);
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "listen: out of memory");
    }
    for (int i = 0; i < PORT_TRIES && retry; i++) {
        close_all(listener);
        rc = listen_each(listener, list, &retry, error);
    }
    freeaddrinfo(list);
    if (rc != LINTEL_OK)
        lintel_listener_close(listener);
    else
        *out = listener;
    return rc;
}

/* ---- unix, unixgram -------------------------------------------------------------------------- */

/* Whether the file at a path is a socket that nobody has: only then connecting to it is refused.
 * Leaves in *file what it looked at. */
static int is_stale(const char *path, int type, const struct lintelp_address *address,
                    struct stat *file)
{
    int fd, number = 0;

    if (lstat(path, file) != 0 || !S_ISSOCK(file->st_mode))
        return 0;
    fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return 0;
    if (connect(fd, (const struct sockaddr *)&address->any, address->size) != 0)
        number = errno;
    close(fd);
    return number == ECONNREFUSED;
}

/* Bind; a stale socket file is removed first, if it is still the one that was looked at. Returns 0
 * or an errno. */
static int bind_unix(int fd, int type, const char *path, const struct lintelp_address *address)
{
    const struct sockaddr *any = (const struct sockaddr *)&address->any;
    struct stat stale, now;

    if (bind(fd, any, address->size) == 0)
        return 0;
    if (errno != EADDRINUSE || path[0] == '@')
        return errno;
    if (!is_stale(path, type, address, &stale))
        return EADDRINUSE;
    if (lstat(path, &now) == 0) {
        if (now.st_dev != stale.st_dev || now.st_ino != stale.st_ino)
            return EADDRINUSE;
        if (unlink(path) != 0 && errno != ENOENT)
            return errno;
    }
    return bind(fd, any, address->size) == 0 ? 0 : errno;
}

static void remember_file(struct lintel_listener *listener, const char *path)
{
    struct stat file;

    if (path[0] == '@' || lstat(path, &file) != 0)
        return;
    listener->device = file.st_dev;
    listener->inode = file.st_ino;
    memcpy(listener->path, path, strlen(path) + 1);
}

static int open_unix(struct lintel_listener **out, const struct lintel_endpoint *endpoint, int type,
                     int backlog, struct lintel_error *error)
{
    struct lintelp_address address;
    struct lintel_listener *listener = listener_new(1, type, backlog);
    int fd, number;

    if (listener == NULL)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "listen: out of memory");
    lintelp_unix_address(&address, endpoint->path);
    fd = new_socket(AF_UNIX, type);
    if (fd < 0) {
        number = errno;
        lintel_listener_close(listener);
        return lintelp_fail_address(error, number, "socket for", &address);
    }
    listener_add(listener, fd);
    number = bind_unix(fd, type, endpoint->path, &address);
    if (number != 0) {
        lintel_listener_close(listener);
        return lintelp_fail_address(error, number, "bind to", &address);
    }
    remember_file(listener, endpoint->path);
    if (start(fd, type, listener->backlog) != 0) {
        number = errno;
        lintel_listener_close(listener);
        return lintelp_fail_address(error, number, "listen on", &address);
    }
    *out = listener;
    return LINTEL_OK;
}

/* ---- fd -------------------------------------------------------------------------------------- */

static int open_fd(struct lintel_listener **out, const struct lintel_endpoint *endpoint,
                   struct lintel_error *error)
{
    char where[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_listener *listener;
    int fd = endpoint->fds[0], listens = 0, type = 0;
    socklen_t size = sizeof listens;

    lintel_endpoint_text(endpoint, where, sizeof where);
    if (fcntl(fd, F_GETFD) < 0)
        return lintelp_fail_errno(error, errno, "listen on", where);
    if (fd != endpoint->fds[1] || getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) != 0 ||
        !listens || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM)
        return lintelp_fail(error, LINTEL_E_UNSUPPORTED, 0,
                            "this descriptor is no stream socket that listens");
    listener = listener_new(1, SOCK_STREAM, 0);
    if (listener == NULL)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "listen: out of memory");
    listener->given = 1;
    listener_add(listener, fd);
    *out = listener;
    return LINTEL_OK;
}

int lintel_listener_open(struct lintel_listener **out, const struct lintel_endpoint *endpoint,
                         int backlog, struct lintel_error *error)
{
    if (out == NULL || endpoint == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "a NULL to listen");
    switch (endpoint->scheme) {
    case LINTEL_TCP:
        return open_inet(out, endpoint, SOCK_STREAM, backlog, error);
    case LINTEL_UNIX:
        return open_unix(out, endpoint, SOCK_STREAM, backlog, error);
    case LINTEL_FD:
        return open_fd(out, endpoint, error);
    default:
        return lintelp_fail(error, LINTEL_E_UNSUPPORTED, 0,
                            "datagrams have no connections to listen for");
    }
}

int lintelp_listener_bind(struct lintel_listener **out, const struct lintel_endpoint *endpoint,
                          struct lintel_error *error)
{
    if (endpoint->scheme == LINTEL_UDP)
        return open_inet(out, endpoint, SOCK_DGRAM, 0, error);
    return open_unix(out, endpoint, SOCK_DGRAM, 0, error);
}

/* ---- asking ---------------------------------------------------------------------------------- */

size_t lintel_listener_count(const struct lintel_listener *listener)
{
    return listener != NULL ? listener->count : 0;
}

int lintel_listener_fd(const struct lintel_listener *listener, size_t index)
{
    return index < lintel_listener_count(listener) ? listener->fds[index].fd : -1;
}

size_t lintel_listener_text(const struct lintel_listener *listener, size_t index, char *out,
                            size_t size)
{
    struct lintelp_text text = lintelp_text(out, out != NULL ? size : 0);
    char where[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintelp_address bound;
    int fd = lintel_listener_fd(listener, index);

    if (fd < 0)
        return 0;
    memset(&bound, 0, sizeof bound);
    bound.size = sizeof bound.any;
    if (getsockname(fd, (struct sockaddr *)&bound.any, &bound.size) == 0 &&
        lintelp_address_text(&bound, where, sizeof where) > 0) {
        if (listener->type == SOCK_DGRAM)
            lintelp_text_str(&text, bound.any.ss_family == AF_UNIX ? "unixgram://" : "udp://");
        else
            lintelp_text_str(&text, bound.any.ss_family == AF_UNIX ? "unix://" : "tcp://");
        lintelp_text_str(&text, where);
        return text.used;
    }
    lintelp_text_str(&text, "fd://");
    lintelp_text_i64(&text, fd);
    return text.used;
}

/* ---- accepting ------------------------------------------------------------------------------- */

/* Errors of a connection that was gone before it could be taken; accept(2) says so. */
static int is_gone(int number)
{
    static const int gone[] = {ECONNABORTED, EPROTO, ENETDOWN,     ENOPROTOOPT, EPERM,
                               EHOSTDOWN,    ENONET, EHOSTUNREACH, ENETUNREACH, ETIMEDOUT};

    for (size_t i = 0; i < sizeof gone / sizeof gone[0]; i++)
        if (number == gone[i])
            return 1;
    return 0;
}

/* A socket that we were given may wait in accept, so it is asked first whether it has something. */
static int is_empty(const struct pollfd *socket)
{
    struct pollfd one = *socket;

    return poll(&one, 1, 0) == 0;
}

/* Returns 1, 0 if none is there, or -1 with errno. */
static int accept_one(const struct pollfd *socket, int given, int *out)
{
    struct lintelp_address peer;
    int fd, gone = 0;

    /* A process that may not accept at all is told the same, each time. */
    do {
        if (given && is_empty(socket))
            return 0;
        peer.size = sizeof peer.any;
        fd = accept4(socket->fd, (struct sockaddr *)&peer.any, &peer.size, SOCK_CLOEXEC);
    } while (fd < 0 && (errno == EINTR || (is_gone(errno) && ++gone < GONE_MAX)));
    if (fd < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
    lintelp_no_delay(fd, peer.any.ss_family);
    *out = fd;
    return 1;
}

int lintel_listener_accept(struct lintel_listener *listener, int *fd, int timeout_ms,
                           struct lintel_error *error)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    int rc;

    if (listener == NULL || fd == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "a NULL to accept");
    for (;;) {
        for (size_t i = 0; i < listener->count; i++) {
            rc = accept_one(&listener->fds[listener->next], listener->given, fd);
            listener->next = (listener->next + 1) % listener->count;
            if (rc < 0)
                return lintelp_fail_errno(error, errno, "accept", "");
            if (rc > 0)
                return rc;
        }
        if (timeout_ms == 0)
            return 0;
        rc = lintelp_poll(listener->fds, listener->count, &deadline);
        if (rc < 0)
            return lintelp_fail_errno(error, errno, "poll", "");
        if (rc == 0)
            return lintelp_fail(error, LINTEL_E_TIMEOUT, 0, "no connection came in time");
    }
}
