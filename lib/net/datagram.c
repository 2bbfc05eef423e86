/* Datagrams: sockets, and frames that travel alone. */
#include "config.h"
#include "lintel/datagram.h"

#include "core/internal.h"
#include "net/endpoint_address.h"

#include <errno.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#define UDP_MAX   ((size_t)65535) /* of any UDP datagram; fixed by its header */
#define DROPS_MAX 64              /* in a row, before the clock is looked at */
#define DROPPED   2

struct lintel_datagram {
    const struct lintel_allocator *allocator;
    struct lintel_decoder *decoder;
    const struct lintel_layout *layout;
    uint64_t max_frame;
    struct lintel_listener *bound; /* NULL: opened, and fds[0] is ours */
    int is_unix;
    uint8_t *buffer;
    size_t capacity; /* of buffer: any UDP datagram, or the largest UNIX one that came */
    struct lintel_datagram_counts counters;
    struct lintel_error error;
    size_t count;        /* at least 1 */
    size_t next;         /* the socket to ask first */
    struct pollfd fds[]; /* fd and POLLIN */
};

/* ---- life ------------------------------------------------------------------------------------ */

void lintel_datagram_close(struct lintel_datagram *d)
{
    if (d == NULL)
        return;
    if (d->bound == NULL && d->count > 0)
        close(d->fds[0].fd);
    lintel_listener_close(d->bound);
    lintel_decoder_free(d->decoder);
    if (d->buffer != NULL)
        (void)lintelp_resize(d->allocator, d->buffer, 0);
    (void)lintelp_resize(d->allocator, d, 0);
}

static int fail_memory(struct lintel_error *error)
{
    return lintelp_fail(error, LINTEL_E_NOMEM, 0, "datagram: out of memory");
}

/* All but the sockets. */
static int new_datagram(struct lintel_datagram **out, size_t sockets, int is_unix,
                        const struct lintel_datagram_options *o, struct lintel_error *error)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    size_t size = sizeof(struct lintel_datagram) + sockets * sizeof(struct pollfd);
    struct lintel_datagram *d = lintelp_resize(o->allocator, NULL, size);
    uint64_t most;
    int rc;

    if (d == NULL)
        return fail_memory(error);
    memset(d, 0, size);
    d->allocator = o->allocator;
    d->is_unix = is_unix;
    options.layout = o->layout;
    options.allocator = o->allocator;
    options.max_frame = o->max_frame;
    rc = lintel_decoder_new(&d->decoder, &options, error);
    if (rc == LINTEL_OK && (d->buffer = lintelp_resize(o->allocator, NULL, UDP_MAX)) == NULL)
        rc = fail_memory(error);
    if (rc != LINTEL_OK) {
        lintel_datagram_close(d);
        return rc;
    }
    d->capacity = UDP_MAX;
    d->layout = lintel_decoder_layout(d->decoder);
    most = lintel_layout_length_max(d->layout);
    d->max_frame = o->max_frame;
    if (d->max_frame == 0)
        d->max_frame = most < LINTEL_FRAME_LIMIT ? most : LINTEL_FRAME_LIMIT;
    *out = d;
    return LINTEL_OK;
}

static void add_socket(struct lintel_datagram *d, int fd)
{
    d->fds[d->count].fd = fd;
    d->fds[d->count].events = POLLIN;
    d->count++;
}

static int read_endpoint(struct lintel_endpoint *out, const char *text, const void *object,
                         const struct lintel_datagram_options *o, struct lintel_error *error)
{
    int rc;

    if (object == NULL || o->size != sizeof *o)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "datagram: NULL, or options of another size");
    rc = lintel_endpoint_parse(out, text, error);
    if (rc == LINTEL_OK && out->scheme != LINTEL_UDP && out->scheme != LINTEL_UNIXGRAM)
        return lintelp_fail(error, LINTEL_E_UNSUPPORTED, 0,
                            "datagrams are for udp:// and unixgram://");
    return rc;
}

/* Without a path in it, a UNIX address asks the system for a name that nobody has. */
static int bind_to_any_name(int fd)
{
    static const struct sockaddr none = {.sa_family = AF_UNIX};

    return bind(fd, &none, sizeof none.sa_family);
}

static int connect_one(int *out, const struct lintelp_address *address, struct lintel_error *error)
{
    int family = address->any.ss_family, rc;
    int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return lintelp_fail_address(error, errno, "socket for", address);
    if (family == AF_UNIX && bind_to_any_name(fd) != 0) {
        rc = lintelp_fail_address(error, errno, "bind a socket for", address);
    } else if (connect(fd, (const struct sockaddr *)&address->any, address->size) != 0) {
        rc = lintelp_fail_address(error, errno, "connect to", address);
    } else {
        *out = fd;
        return LINTEL_OK;
    }
    close(fd);
    return rc;
}

static int connect_udp(int *fd, const struct lintel_endpoint *endpoint, struct lintel_error *error)
{
    struct addrinfo *list;
    int rc;

    if (endpoint->host[0] == '\0')
        return lintelp_fail(error, LINTEL_E_RESOLVE, 0,
                            "an empty host is every address, to bind to only");
    if ((rc = lintelp_resolve(&list, endpoint, 0, error)) != LINTEL_OK)
        return rc;
    rc = LINTEL_E_RESOLVE;
    for (struct addrinfo *at = list; at != NULL && rc != LINTEL_OK; at = at->ai_next) {
        struct lintelp_address address;
        address.size = at->ai_addrlen;
        memcpy(&address.any, at->ai_addr, at->ai_addrlen);
        rc = connect_one(fd, &address, error);
    }
    freeaddrinfo(list);
    return rc;
}

int lintel_datagram_open(struct lintel_datagram **out, const char *endpoint,
                         const struct lintel_datagram_options *options, struct lintel_error *error)
{
    static const struct lintel_datagram_options defaults = LINTEL_DATAGRAM_OPTIONS_INIT;
    const struct lintel_datagram_options *o = options != NULL ? options : &defaults;
    struct lintelp_address address;
    struct lintel_endpoint parsed;
    struct lintel_datagram *d;
    int fd = -1, rc;

    rc = read_endpoint(&parsed, endpoint, out, o, error);
    if (rc != LINTEL_OK)
        return rc;
    rc = new_datagram(&d, 1, parsed.scheme == LINTEL_UNIXGRAM, o, error);
    if (rc != LINTEL_OK)
        return rc;
    if (d->is_unix) {
        lintelp_unix_address(&address, parsed.path);
        rc = connect_one(&fd, &address, error);
    } else {
        rc = connect_udp(&fd, &parsed, error);
    }
    if (rc != LINTEL_OK) {
        lintel_datagram_close(d);
        return rc;
    }
    add_socket(d, fd);
    *out = d;
    return LINTEL_OK;
}

int lintel_datagram_bind(struct lintel_datagram **out, const char *endpoint,
                         const struct lintel_datagram_options *options, struct lintel_error *error)
{
    static const struct lintel_datagram_options defaults = LINTEL_DATAGRAM_OPTIONS_INIT;
    const struct lintel_datagram_options *o = options != NULL ? options : &defaults;
    struct lintel_listener *bound;
    struct lintel_endpoint parsed;
    struct lintel_datagram *d;
    int rc = read_endpoint(&parsed, endpoint, out, o, error);

    if (rc == LINTEL_OK)
        rc = lintelp_listener_bind(&bound, &parsed, error);
    if (rc != LINTEL_OK)
        return rc;
    rc = new_datagram(&d, lintel_listener_count(bound), parsed.scheme == LINTEL_UNIXGRAM, o, error);
    if (rc != LINTEL_OK) {
        lintel_listener_close(bound);
        return rc;
    }
    d->bound = bound;
    for (size_t i = 0; i < lintel_listener_count(bound); i++)
        add_socket(d, lintel_listener_fd(bound, i));
    *out = d;
    return LINTEL_OK;
}

/* ---- sending --------------------------------------------------------------------------------- */

static int fail_large(struct lintel_datagram *d, const char *what, uint64_t size, uint64_t limit)
{
    struct lintelp_text text = lintelp_error(&d->error, LINTEL_E_TOO_LARGE, 0);

    lintelp_text_str(&text, what);
    lintelp_text_u64(&text, size);
    lintelp_text_str(&text, " bytes exceeds the limit of ");
    lintelp_text_u64(&text, limit);
    return LINTEL_E_TOO_LARGE;
}

/* What a datagram of this socket can hold: of UDP what the headers leave, of a UNIX socket its
 * buffer without what the system keeps of it. */
static size_t datagram_limit(const struct lintel_datagram *d, int fd)
{
    struct lintelp_address own;
    int buffer = 0;
    socklen_t size = sizeof buffer;

    own.any.ss_family = AF_INET;
    own.size = sizeof own.any;
    if (!d->is_unix) {
        (void)getsockname(fd, (struct sockaddr *)&own.any, &own.size);
        return UDP_MAX - (own.any.ss_family == AF_INET6 ? 8 : 28);
    }
    (void)getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &buffer, &size);
    return buffer > 32 ? (size_t)buffer - 32 : 0;
}

static ssize_t send_once(int fd, const struct msghdr *message, int flags)
{
    ssize_t put;

    do
        put = sendmsg(fd, message, flags | MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR && (flags & MSG_DONTWAIT));
    return put;
}

/* poll does not tell when a UNIX socket that is not connected has room again: only a call that
 * waits does, and SO_SNDTIMEO is its deadline. */
static ssize_t send_waiting(int fd, const struct msghdr *message, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    static const struct timeval none = {0, 0};
    ssize_t put;

    do {
        int left = lintelp_deadline_left(&deadline);
        struct timeval wait = {left > 0 ? left / 1000 : 0, left > 0 ? left % 1000 * 1000 : 0};
        if (left == 0) {
            errno = EAGAIN;
            return -1;
        }
        if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) != 0)
            return -1;
        put = send_once(fd, message, 0);
    } while (put < 0 && errno == EINTR);
    if (timeout_ms > 0) {
        int saved = errno;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &none, sizeof none);
        errno = saved;
    }
    return put;
}

static int send_parts(struct lintel_datagram *d, const struct lintel_datagram_peer *peer,
                      struct iovec parts[3], int timeout_ms)
{
    size_t size = parts[0].iov_len + parts[1].iov_len + parts[2].iov_len;
    struct lintel_datagram_peer to;
    struct msghdr message;
    int fd = d->fds[0].fd;
    ssize_t put;

    memset(&message, 0, sizeof message);
    message.msg_iov = parts;
    message.msg_iovlen = 3;
    if (d->bound != NULL) {
        to = *peer;
        fd = d->fds[to.socket].fd;
        message.msg_name = to.address;
        message.msg_namelen = to.size;
    }
    put = send_once(fd, &message, MSG_DONTWAIT);
    if (put < 0 && (errno == EAGAIN || errno == EWOULDBLOCK) && timeout_ms != 0)
        put = send_waiting(fd, &message, timeout_ms);
    if (put >= 0) {
        d->counters.frames_out++;
        d->counters.bytes_out += (uint64_t)put;
        return LINTEL_OK;
    }
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return lintelp_fail(&d->error, LINTEL_E_TIMEOUT, 0,
                            "there was no room for the datagram in time");
    if (errno == EMSGSIZE)
        return fail_large(d, "a datagram of ", size, datagram_limit(d, fd));
    return lintelp_fail_errno(&d->error, errno, "send a datagram", "");
}

/* What stands for more than itself does not travel alone. */
static int check_alone(struct lintel_datagram *d, const uint8_t *bytes, size_t size)
{
    struct lintel_frame frame = {.header = bytes, .header_size = (uint32_t)size};
    struct lintel_header header;

    if (!lintel_layout_is_lintel(d->layout))
        return LINTEL_OK;
    if (lintel_header_read(d->layout, &header, &frame) == LINTEL_OK &&
        (header.flags & (LINTEL_MORE | LINTEL_CONTROL)) == 0)
        return LINTEL_OK;
    return lintelp_fail(&d->error, LINTEL_E_UNSUPPORTED, 0,
                        "a datagram carries a whole frame, no fragment and no control frame");
}

int lintel_datagram_send(struct lintel_datagram *d, const struct lintel_datagram_peer *peer,
                         const struct lintel_header *header, const void *payload, size_t size,
                         int timeout_ms)
{
    uint8_t head[LINTEL_HEADER_MAX], tail[LINTEL_HEADER_MAX];
    size_t head_size, tail_size;
    struct iovec parts[3];
    int rc;

    if (d == NULL)
        return LINTEL_E_USAGE;
    if (header == NULL || (payload == NULL && size > 0) ||
        (d->bound != NULL &&
         (peer == NULL || peer->socket >= d->count || peer->size > sizeof peer->address)))
        return lintelp_fail(&d->error, LINTEL_E_USAGE, 0, "a NULL, or no peer, to send to");
    if (d->bound != NULL && peer->size == 0)
        return lintelp_fail(&d->error, LINTEL_E_UNSUPPORTED, 0,
                            "the peer has no address to answer to");
    if (size > d->max_frame)
        return fail_large(d, "a payload of ", size, d->max_frame);
    rc = lintel_frame_put_header(d->layout, head, sizeof head, &head_size, header, size, &d->error);
    if (rc == LINTEL_OK)
        rc = lintel_frame_put_trailer(d->layout, tail, sizeof tail, &tail_size, header, &d->error);
    if (rc == LINTEL_OK)
        rc = check_alone(d, head, head_size);
    if (rc != LINTEL_OK)
        return rc;
    parts[0] = (struct iovec){head, head_size};
    parts[1] = (struct iovec){NULL, size};
    parts[2] = (struct iovec){tail, tail_size};
    memcpy(&parts[1].iov_base, &payload, sizeof payload); /* iovec has no const in it */
    return send_parts(d, peer, parts, timeout_ms);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* A UNIX datagram can be of any size: before it is taken, its size is asked, and room is made for
 * as much of it as a frame within the limit can be. Returns 0, or -1 with errno. */
static int make_room(struct lintel_datagram *d, int fd)
{
    uint64_t most = lintel_frame_size_max(d->layout, d->max_frame);
    uint8_t byte, *grown;
    ssize_t size;

    do
        size = recv(fd, &byte, 1, MSG_PEEK | MSG_TRUNC | MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0)
        return -1;
    if ((size_t)size <= d->capacity || (uint64_t)size > most)
        return 0;
    grown = lintelp_resize(d->allocator, d->buffer, (size_t)size);
    if (grown == NULL) {
        errno = ENOMEM;
        return -1;
    }
    d->buffer = grown;
    d->capacity = (size_t)size;
    return 0;
}

/* Returns the bytes of a datagram, or -1 with errno. */
static ssize_t receive(struct lintel_datagram *d, size_t index, struct lintel_datagram_peer *peer,
                       int *flags)
{
    struct msghdr message;
    struct iovec part;
    ssize_t got;

    if (d->is_unix && make_room(d, d->fds[index].fd) != 0)
        return -1;
    part.iov_base = d->buffer;
    part.iov_len = d->capacity;
    memset(peer, 0, sizeof *peer);
    memset(&message, 0, sizeof message);
    message.msg_name = peer->address;
    message.msg_namelen = sizeof peer->address;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    do
        got = recvmsg(d->fds[index].fd, &message, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    *flags = message.msg_flags;
    peer->socket = (uint32_t)index;
    /* A UNIX socket without a name has a family, and nothing behind it. */
    if (message.msg_namelen > sizeof(sa_family_t) && message.msg_namelen <= sizeof peer->address)
        peer->size = (uint32_t)message.msg_namelen;
    return got;
}

static int drop(uint64_t *counter)
{
    ++*counter;
    return DROPPED;
}

static int drop_for(struct lintel_datagram *d, int status)
{
    switch (status) {
    case LINTEL_E_NOMEM:
        return fail_memory(&d->error);
    case LINTEL_E_TRUNCATED:
    case LINTEL_E_END:
        return drop(&d->counters.truncated);
    case LINTEL_E_TOO_LARGE:
        return drop(&d->counters.too_large);
    default:
        return drop(&d->counters.malformed);
    }
}

/* Exactly one whole frame, and none that stands for more than itself. */
static int judge(struct lintel_datagram *d, size_t size, struct lintel_frame *frame)
{
    struct lintel_header header;
    int rc;

    lintel_decoder_reset(d->decoder);
    rc = lintel_decoder_feed(d->decoder, d->buffer, size);
    if (rc != LINTEL_OK)
        return drop_for(d, rc);
    (void)lintel_decoder_end(d->decoder);
    rc = lintel_decoder_next(d->decoder, frame);
    if (rc != 1)
        return drop_for(d, rc);
    if (lintel_decoder_unread(d->decoder) > 0)
        return drop(&d->counters.surplus);
    if (lintel_layout_is_lintel(d->layout)) {
        if (lintel_header_read(d->layout, &header, frame) != LINTEL_OK)
            return drop(&d->counters.malformed);
        if (header.flags & LINTEL_CONTROL)
            return drop(&d->counters.control);
        if (header.flags & LINTEL_MORE)
            return drop(&d->counters.more);
    }
    d->counters.frames_in++;
    d->counters.bytes_in += size;
    return 1;
}

/* Returns 1 for a frame, DROPPED, 0 if nothing is there, or an error. */
static int take_one(struct lintel_datagram *d, size_t index, struct lintel_frame *frame,
                    struct lintel_datagram_peer *peer)
{
    int flags = 0;
    ssize_t got = receive(d, index, peer, &flags);

    if (got >= 0)
        return flags & MSG_TRUNC ? drop(&d->counters.truncated) : judge(d, (size_t)got, frame);
    if (errno == EAGAIN || errno == EWOULDBLOCK)
        return 0;
    if (errno == ENOMEM)
        return fail_memory(&d->error);
    return lintelp_fail_errno(&d->error, errno, "receive a datagram", "");
}

static int take_any(struct lintel_datagram *d, struct lintel_frame *frame,
                    struct lintel_datagram_peer *peer)
{
    for (size_t i = 0; i < d->count; i++) {
        size_t index = d->next;
        int rc = DROPPED;
        d->next = (d->next + 1) % d->count;
        for (int drops = 0; drops < DROPS_MAX && rc == DROPPED; drops++)
            rc = take_one(d, index, frame, peer);
        if (rc == 1 || rc < 0)
            return rc;
    }
    return 0;
}

int lintel_datagram_recv(struct lintel_datagram *d, struct lintel_frame *frame,
                         struct lintel_datagram_peer *peer, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    struct lintel_datagram_peer from;
    int rc;

    if (d == NULL)
        return LINTEL_E_USAGE;
    if (frame == NULL)
        return lintelp_fail(&d->error, LINTEL_E_USAGE, 0, "a NULL to receive into");
    for (;;) {
        rc = take_any(d, frame, &from);
        if (rc == 1 && peer != NULL)
            *peer = from;
        if (rc != 0 || timeout_ms == 0)
            return rc;
        rc = lintelp_poll(d->fds, (nfds_t)d->count, &deadline);
        if (rc < 0)
            return lintelp_fail_errno(&d->error, errno, "poll", "");
        if (rc == 0)
            return lintelp_fail(&d->error, LINTEL_E_TIMEOUT, 0, "no datagram came in time");
    }
}

/* ---- asking ---------------------------------------------------------------------------------- */

void lintel_datagram_counters(const struct lintel_datagram *d, struct lintel_datagram_counts *out)
{
    if (d != NULL && out != NULL)
        *out = d->counters;
}

size_t lintel_datagram_count(const struct lintel_datagram *d)
{
    return d != NULL ? d->count : 0;
}

int lintel_datagram_fd(const struct lintel_datagram *d, size_t index)
{
    return index < lintel_datagram_count(d) ? d->fds[index].fd : -1;
}

static size_t say_address(const struct lintelp_address *address, char *out, size_t size)
{
    struct lintelp_text text = lintelp_text(out, out != NULL ? size : 0);
    char where[LINTEL_ENDPOINT_TEXT_SIZE];

    if (lintelp_address_text(address, where, sizeof where) == 0)
        return 0;
    lintelp_text_str(&text, address->any.ss_family == AF_UNIX ? "unixgram://" : "udp://");
    lintelp_text_str(&text, where);
    return text.used;
}

size_t lintel_datagram_text(const struct lintel_datagram *d, size_t index, char *out, size_t size)
{
    struct lintelp_address own;
    int fd = lintel_datagram_fd(d, index);

    memset(&own, 0, sizeof own);
    own.size = sizeof own.any;
    if (fd < 0 || getsockname(fd, (struct sockaddr *)&own.any, &own.size) != 0)
        return 0;
    return say_address(&own, out, size);
}

size_t lintel_datagram_peer_text(const struct lintel_datagram_peer *peer, char *out, size_t size)
{
    struct lintelp_address address;

    if (peer == NULL || peer->size == 0 || peer->size > sizeof peer->address)
        return 0;
    memset(&address, 0, sizeof address);
    memcpy(&address.any, peer->address, peer->size);
    address.size = peer->size;
    return say_address(&address, out, size);
}

void lintel_datagram_error(const struct lintel_datagram *d, struct lintel_error *out)
{
    if (out == NULL)
        return;
    memset(out, 0, sizeof *out);
    if (d != NULL)
        *out = d->error;
}

const struct lintel_layout *lintel_datagram_layout(const struct lintel_datagram *d)
{
    return d != NULL ? d->layout : NULL;
}
