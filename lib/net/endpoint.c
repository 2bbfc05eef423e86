/* Endpoints: their text, and connecting to them. The listener is in endpoint_listener.c. */
#include "config.h"
#include "lintel/endpoint.h"

#include "net/endpoint_address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

/* ---- reading the text ------------------------------------------------------------------------ */

static const struct {
    const char *name;
    enum lintel_scheme scheme;
} schemes[] = {
    {"tcp", LINTEL_TCP}, {"unix", LINTEL_UNIX},         {"fd", LINTEL_FD},
    {"udp", LINTEL_UDP}, {"unixgram", LINTEL_UNIXGRAM},
};
#define SCHEMES (sizeof schemes / sizeof schemes[0])

/* A text being read; column is that of rest's first character, from 1. */
struct reader {
    const char *text;
    const char *rest;
    struct lintel_error *error;
};

/* Start the sentence of a syntax error at a place of the text. */
static struct lintelp_text refuse(const struct reader *reader, const char *at)
{
    return lintelp_error(reader->error, LINTEL_E_SYNTAX, (uint64_t)(at - reader->text) + 1);
}

static int refuse_with(const struct reader *reader, const char *at, const char *sentence)
{
    struct lintelp_text text = refuse(reader, at);

    lintelp_text_str(&text, sentence);
    return LINTEL_E_SYNTAX;
}

/* "WHAT is N bytes, over the limit of LIMIT" at the first byte that is over it. */
static int refuse_long(const struct reader *reader, const char *start, size_t size, size_t limit,
                       const char *what)
{
    struct lintelp_text text = refuse(reader, start + limit);

    lintelp_text_str(&text, what);
    lintelp_text_str(&text, " is ");
    lintelp_text_u64(&text, size);
    lintelp_text_str(&text, " bytes, over the limit of ");
    lintelp_text_u64(&text, limit);
    return LINTEL_E_SYNTAX;
}

static int read_scheme(struct reader *reader, enum lintel_scheme *scheme)
{
    const char *colon = strstr(reader->text, "://");
    struct lintelp_text text;

    for (size_t i = 0; colon != NULL && i < SCHEMES; i++) {
        size_t size = strlen(schemes[i].name);
        if (size == (size_t)(colon - reader->text) &&
            memcmp(reader->text, schemes[i].name, size) == 0) {
            *scheme = schemes[i].scheme;
            reader->rest = colon + 3;
            return LINTEL_OK;
        }
    }
    text = refuse(reader, reader->text);
    if (colon == NULL) {
        lintelp_text_str(&text, "no scheme");
    } else {
        lintelp_text_str(&text, "unknown scheme ");
        lintelp_text_quote(&text, reader->text, (size_t)(colon - reader->text));
    }
    lintelp_text_str(&text, "; there are");
    for (size_t i = 0; i < SCHEMES; i++) {
        lintelp_text_str(&text, i > 0 ? ", " : " ");
        lintelp_text_str(&text, schemes[i].name);
        lintelp_text_str(&text, "://");
    }
    return LINTEL_E_SYNTAX;
}

static int is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static int is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The host as it stands between start and end, without brackets. */
static int read_host(struct reader *reader, char out[256], const char *start, const char *end)
{
    size_t size = (size_t)(end - start);

    if (size > 255)
        return refuse_long(reader, start, size, 255, "the host");
    for (const char *c = start; c < end; c++)
        if ((unsigned char)*c <= ' ' || *c == 0x7F || *c == '/' || *c == '[' || *c == ']')
            return refuse_with(reader, c, "a character that no host has");
    memcpy(out, start, size);
    out[size] = '\0';
    return LINTEL_OK;
}

/* What stands in brackets has to be an IPv6 address; a zone may follow it. */
static int read_ipv6(struct reader *reader, char out[256])
{
    const char *start = reader->rest + 1;
    const char *end = strchr(start, ']');
    char address[INET6_ADDRSTRLEN];
    struct in6_addr number;
    size_t size;
    int rc;

    if (end == NULL)
        return refuse_with(reader, reader->rest, "a '[' without its ']'");
    if ((rc = read_host(reader, out, start, end)) != LINTEL_OK)
        return rc;
    size = strcspn(out, "%");
    if (size >= sizeof address)
        return refuse_with(reader, start, "not an IPv6 address");
    memcpy(address, out, size);
    address[size] = '\0';
    if (inet_pton(AF_INET6, address, &number) != 1)
        return refuse_with(reader, start, "not an IPv6 address");
    reader->rest = end + 1;
    return LINTEL_OK;
}

static int read_name(struct reader *reader, char out[256])
{
    const char *end = strchr(reader->rest, ':');
    int rc;

    if (end != NULL && strchr(end + 1, ':') != NULL)
        return refuse_with(reader, reader->rest,
                           "more than one ':'; an IPv6 address stands in brackets");
    if (end == NULL)
        end = reader->rest + strlen(reader->rest);
    if ((rc = read_host(reader, out, reader->rest, end)) != LINTEL_OK)
        return rc;
    reader->rest = end;
    return LINTEL_OK;
}

/* A port is digits up to 65535; the name of a service has a letter in it. */
static int read_service(struct reader *reader, char out[64])
{
    const char *start = reader->rest;
    size_t size = strlen(start);
    unsigned long port = 0;
    int digits = 1, letter = 0;

    if (size == 0)
        return refuse_with(reader, start, "no port");
    for (const char *c = start; *c != '\0'; c++) {
        letter |= is_letter(*c);
        digits &= is_digit(*c);
        if (!is_letter(*c) && !is_digit(*c) && strchr("-_.+", *c) == NULL)
            return refuse_with(reader, c, "a character that no port and no service name has");
        if (digits && port <= 65535)
            port = port * 10 + (unsigned long)(*c - '0');
    }
    if (digits && port > 65535)
        return refuse_with(reader, start, "the port exceeds 65535");
    if (!digits && !letter)
        return refuse_with(reader, start, "neither a port nor a service name");
    if (size > 63)
        return refuse_long(reader, start, size, 63, "the port");
    memcpy(out, start, size + 1);
    return LINTEL_OK;
}

static int read_host_port(struct reader *reader, struct lintel_endpoint *out)
{
    int rc = *reader->rest == '[' ? read_ipv6(reader, out->host) : read_name(reader, out->host);

    if (rc != LINTEL_OK)
        return rc;
    if (*reader->rest != ':')
        return refuse_with(reader, reader->rest, "a ':' and a port are missing");
    reader->rest++;
    return read_service(reader, out->service);
}

static int read_path(struct reader *reader, struct lintel_endpoint *out)
{
    const char *path = reader->rest;
    size_t size = strlen(path);
    /* An abstract name has no NUL behind it in sun_path, but has one here. */
    size_t limit = sizeof out->path - 1;

    if (path[0] != '/' && path[0] != '@')
        return refuse_with(reader, path, "a path begins with '/', an abstract name with '@'");
    if (size == 1)
        return refuse_with(reader, path + 1, "an empty name");
    if (size > limit)
        return refuse_long(reader, path, size, limit, path[0] == '@' ? "the name" : "the path");
    memcpy(out->path, path, size + 1);
    return LINTEL_OK;
}

static int read_fd(struct reader *reader, int *out)
{
    const char *start = reader->rest;
    int fd = 0;

    if (!is_digit(*start))
        return refuse_with(reader, start, "a descriptor is a number");
    for (; is_digit(*reader->rest); reader->rest++) {
        int digit = *reader->rest - '0';
        if (fd > (INT_MAX - digit) / 10)
            return refuse_with(reader, start, "the descriptor exceeds 2147483647");
        fd = fd * 10 + digit;
    }
    *out = fd;
    return LINTEL_OK;
}

static int read_fds(struct reader *reader, struct lintel_endpoint *out)
{
    int rc = read_fd(reader, &out->fds[0]);

    if (rc != LINTEL_OK)
        return rc;
    out->fds[1] = out->fds[0];
    if (*reader->rest == ',') {
        reader->rest++;
        if ((rc = read_fd(reader, &out->fds[1])) != LINTEL_OK)
            return rc;
    }
    if (*reader->rest != '\0')
        return refuse_with(reader, reader->rest, "text behind the descriptor");
    return LINTEL_OK;
}

static int read_rest(struct reader *reader, struct lintel_endpoint *out)
{
    switch (out->scheme) {
    case LINTEL_TCP:
    case LINTEL_UDP:
        return read_host_port(reader, out);
    case LINTEL_UNIX:
    case LINTEL_UNIXGRAM:
        return read_path(reader, out);
    case LINTEL_FD:
        return read_fds(reader, out);
    }
    return LINTEL_E_USAGE;
}

int lintel_endpoint_parse(struct lintel_endpoint *out, const char *text, struct lintel_error *error)
{
    struct reader reader = {text, text, error};
    struct lintel_endpoint endpoint;
    int rc;

    if (out == NULL || text == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "a NULL to parse an endpoint");
    memset(&endpoint, 0, sizeof endpoint);
    endpoint.fds[0] = endpoint.fds[1] = -1;
    rc = read_scheme(&reader, &endpoint.scheme);
    if (rc == LINTEL_OK)
        rc = read_rest(&reader, &endpoint);
    if (rc == LINTEL_OK)
        *out = endpoint;
    return rc;
}

size_t lintel_endpoint_text(const struct lintel_endpoint *endpoint, char *out, size_t size)
{
    struct lintelp_text text = lintelp_text(out, out != NULL ? size : 0);
    int brackets;

    if (endpoint == NULL || (unsigned)endpoint->scheme >= SCHEMES)
        return 0;
    for (size_t i = 0; i < SCHEMES; i++)
        if (schemes[i].scheme == endpoint->scheme)
            lintelp_text_str(&text, schemes[i].name);
    lintelp_text_str(&text, "://");
    switch (endpoint->scheme) {
    case LINTEL_TCP:
    case LINTEL_UDP:
        brackets = strchr(endpoint->host, ':') != NULL;
        lintelp_text_str(&text, brackets ? "[" : "");
        lintelp_text_str(&text, endpoint->host);
        lintelp_text_str(&text, brackets ? "]:" : ":");
        lintelp_text_str(&text, endpoint->service);
        break;
    case LINTEL_UNIX:
    case LINTEL_UNIXGRAM:
        lintelp_text_str(&text, endpoint->path);
        break;
    case LINTEL_FD:
        lintelp_text_i64(&text, endpoint->fds[0]);
        if (endpoint->fds[1] != endpoint->fds[0]) {
            lintelp_text_char(&text, ',');
            lintelp_text_i64(&text, endpoint->fds[1]);
        }
        break;
    }
    return text.used;
}

/* ---- addresses ------------------------------------------------------------------------------- */

int lintelp_resolve(struct addrinfo **out, const struct lintel_endpoint *endpoint, int flags,
                    struct lintel_error *error)
{
    struct addrinfo hints;
    const char *host = endpoint->host[0] != '\0' ? endpoint->host : NULL;
    struct lintelp_text text;
    int rc;

    memset(&hints, 0, sizeof hints);
    hints.ai_family = AF_UNSPEC;
    hints.ai_socktype = endpoint->scheme == LINTEL_UDP ? SOCK_DGRAM : SOCK_STREAM;
    hints.ai_flags = flags;
    rc = getaddrinfo(host, endpoint->service, &hints, out);
    if (rc == 0)
        return LINTEL_OK;
    if (rc == EAI_SYSTEM)
        return lintelp_fail_errno(error, errno, "resolve", endpoint->host);
    if (rc == EAI_MEMORY)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "resolve: out of memory");
    text = lintelp_error(error, LINTEL_E_RESOLVE, 0);
    lintelp_text_str(&text, rc == EAI_SERVICE ? "service \"" : "host \"");
    lintelp_text_plain(&text, rc == EAI_SERVICE ? endpoint->service : endpoint->host);
    lintelp_text_str(&text, "\": ");
    lintelp_text_plain(&text, rc == EAI_SERVICE ? "no port is known for it" : gai_strerror(rc));
    return LINTEL_E_RESOLVE;
}

void lintelp_unix_address(struct lintelp_address *out, const char *path)
{
    struct sockaddr_un un;
    size_t size = strlen(path);

    memset(&un, 0, sizeof un);
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, path, size);
    if (path[0] == '@')
        un.sun_path[0] = '\0';
    else
        size++;
    memcpy(&out->any, &un, sizeof un);
    out->size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
}

static size_t unix_text(const struct lintelp_address *address, struct lintelp_text *text)
{
    struct sockaddr_un un;
    size_t size = address->size - offsetof(struct sockaddr_un, sun_path);

    memcpy(&un, &address->any, sizeof un);
    if (address->size <= offsetof(struct sockaddr_un, sun_path))
        return 0;
    for (size_t i = 0; i < size && (i == 0 || un.sun_path[0] == '\0' || un.sun_path[i] != '\0');
         i++)
        lintelp_text_char(text, un.sun_path[i] != '\0' ? un.sun_path[i] : '@');
    return text->used;
}

size_t lintelp_address_text(const struct lintelp_address *address, char *out, size_t size)
{
    struct lintelp_text text = lintelp_text(out, size);
    char host[NI_MAXHOST], port[NI_MAXSERV];
    int brackets = address->any.ss_family == AF_INET6;

    if (address->any.ss_family == AF_UNIX)
        return unix_text(address, &text);
    if (getnameinfo((const struct sockaddr *)&address->any, address->size, host, sizeof host, port,
                    sizeof port, NI_NUMERICHOST | NI_NUMERICSERV) != 0)
        return 0;
    lintelp_text_str(&text, brackets ? "[" : "");
    lintelp_text_str(&text, host);
    lintelp_text_str(&text, brackets ? "]:" : ":");
    lintelp_text_str(&text, port);
    return text.used;
}

int lintelp_fail_address(struct lintel_error *error, int number, const char *what,
                         const struct lintelp_address *address)
{
    char where[LINTEL_ENDPOINT_TEXT_SIZE];

    lintelp_address_text(address, where, sizeof where);
    return lintelp_fail_errno(error, number, what, where);
}

void lintelp_no_delay(int fd, int family)
{
    int on = 1;

    if (family == AF_INET || family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static int fail_timeout(struct lintel_error *error, const struct lintelp_address *address)
{
    struct lintelp_text text = lintelp_error(error, LINTEL_E_TIMEOUT, 0);
    char where[LINTEL_ENDPOINT_TEXT_SIZE];

    lintelp_address_text(address, where, sizeof where);
    lintelp_text_str(&text, "connect to ");
    lintelp_text_plain(&text, where);
    lintelp_text_str(&text, ": no answer in time");
    return LINTEL_E_TIMEOUT;
}

/* A connection to a port of this machine on which nobody listens can meet itself. */
static int met_itself(int fd)
{
    struct sockaddr_storage here, there;
    socklen_t here_size = sizeof here, there_size = sizeof there;

    memset(&here, 0, sizeof here);
    memset(&there, 0, sizeof there);
    return getsockname(fd, (struct sockaddr *)&here, &here_size) == 0 &&
           getpeername(fd, (struct sockaddr *)&there, &there_size) == 0 &&
           here_size == there_size && memcmp(&here, &there, here_size) == 0;
}

/* Returns 0, or an errno; ETIMEDOUT from us is ETIME. */
static int connect_inet(int fd, const struct lintelp_address *address,
                        struct lintelp_deadline *deadline)
{
    struct pollfd one = {fd, POLLOUT, 0};
    int number = 0, rc;
    socklen_t size = sizeof number;

    if (connect(fd, (const struct sockaddr *)&address->any, address->size) != 0) {
        if (errno != EINPROGRESS && errno != EINTR)
            return errno;
        rc = lintelp_poll(&one, 1, deadline);
        if (rc <= 0)
            return rc < 0 ? errno : ETIME;
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0)
            return errno;
    }
    return number != 0 ? number : met_itself(fd) ? ECONNREFUSED : 0;
}

/* A UNIX socket whose backlog is full says EAGAIN, and poll does not tell when there is room again:
 * only a blocking connect waits, and SO_SNDTIMEO is its deadline. */
static int connect_unix(int fd, const struct lintelp_address *address,
                        struct lintelp_deadline *deadline)
{
    const struct timeval none = {0, 0};

    for (;;) {
        int left, number;
        if (connect(fd, (const struct sockaddr *)&address->any, address->size) == 0) {
            (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
            return 0;
        }
        number = errno;
        if (number != EAGAIN && number != EINTR)
            return number;
        left = lintelp_deadline_left(deadline);
        if (left == 0)
            return ETIME;
        if (fcntl(fd, F_SETFL, O_RDWR) != 0)
            return errno;
        if (left > 0) {
            struct timeval wait = {left / 1000, left % 1000 * 1000};
            (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
        }
    }
}

static int connect_one(int *fd, const struct lintelp_address *address,
                       struct lintelp_deadline *deadline, struct lintel_error *error)
{
    int family = address->any.ss_family;
    int made = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int number;

    if (made < 0)
        return lintelp_fail_address(error, errno, "socket for", address);
    number = family == AF_UNIX ? connect_unix(made, address, deadline)
                               : connect_inet(made, address, deadline);
    if (number == 0 && fcntl(made, F_SETFL, O_RDWR) != 0)
        number = errno;
    if (number == 0) {
        lintelp_no_delay(made, family);
        *fd = made;
        return LINTEL_OK;
    }
    close(made);
    if (number == ETIME)
        return fail_timeout(error, address);
    return lintelp_fail_address(error, number, "connect to", address);
}

/* Every address has an equal share of the time that is left, so that one that does not answer
 * leaves some for the next. */
static int connect_tcp(int *fd, const struct lintel_endpoint *endpoint, int timeout_ms,
                       struct lintel_error *error)
{
    struct lintelp_deadline whole = {timeout_ms, 0};
    struct addrinfo *list, *at;
    int addresses = 0, rc;

    if (endpoint->host[0] == '\0')
        return lintelp_fail(error, LINTEL_E_RESOLVE, 0,
                            "an empty host is every address, to listen on only");
    if ((rc = lintelp_resolve(&list, endpoint, 0, error)) != LINTEL_OK)
        return rc;
    for (at = list; at != NULL; at = at->ai_next)
        addresses++;
    rc = LINTEL_E_RESOLVE;
    for (at = list; at != NULL && rc != LINTEL_OK; at = at->ai_next, addresses--) {
        struct lintelp_deadline share = {lintelp_deadline_left(&whole), 0};
        struct lintelp_address address;
        if (share.timeout_ms > 0)
            share.timeout_ms = (share.timeout_ms - 1) / addresses + 1;
        address.size = at->ai_addrlen;
        memcpy(&address.any, at->ai_addr, at->ai_addrlen);
        rc = connect_one(fd, &address, &share, error);
    }
    freeaddrinfo(list);
    return rc;
}

static int connect_fd(int fds[2], const struct lintel_endpoint *endpoint,
                      struct lintel_error *error)
{
    char where[LINTEL_ENDPOINT_TEXT_SIZE];
    int listens = 0;
    socklen_t size = sizeof listens;

    lintel_endpoint_text(endpoint, where, sizeof where);
    for (int i = 0; i < 2; i++)
        if (fcntl(endpoint->fds[i], F_GETFD) < 0)
            return lintelp_fail_errno(error, errno, "connect to", where);
    if (getsockopt(endpoint->fds[0], SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) == 0 && listens)
        return lintelp_fail(error, LINTEL_E_UNSUPPORTED, 0,
                            "this descriptor listens; it is no connection");
    fds[0] = endpoint->fds[0];
    fds[1] = endpoint->fds[1];
    return LINTEL_OK;
}

int lintel_endpoint_connect(const struct lintel_endpoint *endpoint, int fds[2], int timeout_ms,
                            struct lintel_error *error)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    struct lintelp_address address;
    int fd = -1, rc;

    if (endpoint == NULL || fds == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "a NULL to connect");
    switch (endpoint->scheme) {
    case LINTEL_FD:
        return connect_fd(fds, endpoint, error);
    case LINTEL_TCP:
        rc = connect_tcp(&fd, endpoint, timeout_ms, error);
        break;
    case LINTEL_UNIX:
        lintelp_unix_address(&address, endpoint->path);
        rc = connect_one(&fd, &address, &deadline, error);
        break;
    default:
        return lintelp_fail(error, LINTEL_E_UNSUPPORTED, 0,
                            "datagrams are no connection; open a datagram socket");
    }
    if (rc == LINTEL_OK)
        fds[0] = fds[1] = fd;
    return rc;
}
