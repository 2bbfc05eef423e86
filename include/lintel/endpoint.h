/*
 * endpoint: addresses as text -> sockets.
 *
 *     tcp://HOST:PORT    IPv4, [IPv6], names; a service name is a port; port 0: the system chooses
 *     unix:///PATH       unix://@NAME is an abstract one
 *     fd://N             a listener or a connection that this process was given
 *     fd://IN,OUT        a pair of descriptors, pipes too
 *     udp://HOST:PORT    datagrams: these two are for datagram.h
 *     unixgram:///PATH
 *
 * Every descriptor made here is close-on-exec, TCP connections have TCP_NODELAY, listeners have
 * SO_REUSEADDR. Name resolution may block and is outside of every deadline.
 */
#ifndef LINTEL_ENDPOINT_H
#define LINTEL_ENDPOINT_H

#include "lintel/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum lintel_scheme { LINTEL_TCP, LINTEL_UNIX, LINTEL_FD, LINTEL_UDP, LINTEL_UNIXGRAM };

/* An endpoint, read. Plain data: copy it freely. */
struct lintel_endpoint {
    enum lintel_scheme scheme;
    char host[256];   /* tcp, udp: without the brackets; "" is every address, to listen only */
    char service[64]; /* tcp, udp: port or service name */
    char path[108];   /* unix: a path, or '@' and an abstract name; NUL-terminated */
    int fds[2];       /* fd: in and out, the same twice where one was given */
};

#define LINTEL_ENDPOINT_TEXT_SIZE 352 /* bytes of any endpoint's text with its NUL */

/*
 * Read an endpoint's text.
 *
 * Returns  LINTEL_OK
 *          LINTEL_E_SYNTAX  what is wrong is in error->text, the column in error->at
 *          LINTEL_E_USAGE   a NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_endpoint_parse(struct lintel_endpoint *out, const char *text,
                                                     struct lintel_error *error);

/* Write an endpoint's text: "tcp://[::1]:4242". Returns the characters written, without the NUL; a
 * longer text is cut at size - 1, and LINTEL_ENDPOINT_TEXT_SIZE is always enough. */
LINTEL_API
size_t lintel_endpoint_text(const struct lintel_endpoint *endpoint, char *out, size_t size);

/*
 * Connect: every address that the name has is tried in order, until the deadline; each has an equal
 * share of the time that is left when its turn comes.
 *
 * Gives    fds[0] and fds[1], to read from and to write to; one descriptor twice for sockets. They
 *          are blocking. With fd:// they are the descriptors named, as they are, which are taken.
 * Returns  LINTEL_OK
 *          LINTEL_E_RESOLVE  the name or the service has no address, or the host is empty
 *          LINTEL_E_SYSTEM   the last address failed; errno and address are in the text
 *          LINTEL_E_TIMEOUT  the last address did not answer in time; the address is in the text
 *          LINTEL_E_UNSUPPORTED  a datagram scheme, or fd:// of something that listens
 *          LINTEL_E_NOMEM, LINTEL_E_USAGE (a NULL)
 * timeout_ms  -1 waits for ever
 */
LINTEL_API LINTEL_MUST_USE int lintel_endpoint_connect(const struct lintel_endpoint *endpoint,
                                                       int fds[2], int timeout_ms,
                                                       struct lintel_error *error);

/* ---- listening ------------------------------------------------------------------------------- */

/* Sockets that listen on one endpoint: one for each address of a name, all with the same port. */
struct lintel_listener;

/*
 * Bind and listen. A stale UNIX socket file is replaced, but only if nobody listens on it; any
 * other file never. Addresses of a name that this machine does not have (::1 without IPv6) are
 * passed over as long as there is one that it has.
 *
 * Gives    *out, to be closed with lintel_listener_close()
 * Takes    the descriptor of fd://, on success only
 * Returns  LINTEL_OK
 *          LINTEL_E_RESOLVE, LINTEL_E_SYSTEM (in the text: which call, which address)
 *          LINTEL_E_UNSUPPORTED  a datagram scheme, or fd:// of something that does not listen
 *          LINTEL_E_NOMEM, LINTEL_E_USAGE
 * backlog  0: SOMAXCONN
 */
LINTEL_API LINTEL_MUST_USE int lintel_listener_open(struct lintel_listener **out,
                                                    const struct lintel_endpoint *endpoint,
                                                    int backlog, struct lintel_error *error);

/* Close the sockets and remove the socket file that was made, if it is still that one. NULL is left
 * alone. */
LINTEL_API
void lintel_listener_close(struct lintel_listener *listener);

/* How many sockets it has, at least 1. */
LINTEL_API
size_t lintel_listener_count(const struct lintel_listener *listener);

/* The descriptor of that index, for an event loop to wait on; -1 past the last. Lends. */
LINTEL_API
int lintel_listener_fd(const struct lintel_listener *listener, size_t index);

/* What it is bound to, with the real port and the real address: "tcp://127.0.0.1:40123". Returns
 * the characters, without the NUL. */
LINTEL_API
size_t lintel_listener_text(const struct lintel_listener *listener, size_t index, char *out,
                            size_t size);

/*
 * Take one connection, from whichever socket has one.
 *
 * Gives    *fd, close-on-exec, blocking, with TCP_NODELAY on TCP
 * Returns  1  *fd is a connection
 *          0  none is waiting (timeout_ms 0 only)
 *          LINTEL_E_TIMEOUT
 *          LINTEL_E_SYSTEM  EMFILE, ENFILE, ENOBUFS or ENOMEM: try again when some are free; EPERM:
 *                           this process may not
 *          LINTEL_E_USAGE
 *          A connection that was gone before it could be taken is passed over, without waiting
 *          beyond timeout_ms. A socket that came by fd:// keeps its mode: if it is blocking and
 *          another process takes from it too, the call may wait for ever.
 */
LINTEL_API LINTEL_MUST_USE int lintel_listener_accept(struct lintel_listener *listener, int *fd,
                                                      int timeout_ms, struct lintel_error *error);

#ifdef __cplusplus
}
#endif
#endif
