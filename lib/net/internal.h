/*
 * What the rooms of lib/net share and nobody else sees: errors with an errno in them, a deadline,
 * and the handful of system calls that move bytes. io.c is the only place that reads the clock or
 * touches a signal mask.
 */
#ifndef LINTELP_NET_INTERNAL_H
#define LINTELP_NET_INTERNAL_H

#include "core/text.h"

#include <poll.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

/* ---- errors ---------------------------------------------------------------------------------- */

/* Append text that may hold any byte: what is not printable ASCII is escaped. */
void lintelp_text_plain(struct lintelp_text *text, const char *s);
/* Append ": " and the sentence of an errno. */
void lintelp_text_errno(struct lintelp_text *text, int number);
/* "WHAT WHERE: sentence of the errno" with LINTEL_E_SYSTEM, which it returns. */
int lintelp_fail_errno(struct lintel_error *error, int number, const char *what, const char *where);

/* ---- time ------------------------------------------------------------------------------------ */

/* The monotonic clock in nanoseconds. */
uint64_t lintelp_now(void);

/* A call's timeout_ms. The clock is read when it first has to wait, not before. */
struct lintelp_deadline {
    int timeout_ms; /* below 0: none */
    uint64_t end;   /* on the monotonic clock; 0: not read yet */
};

/* Milliseconds left, rounded up; -1 for no deadline. */
int lintelp_deadline_left(struct lintelp_deadline *deadline);

/* poll() once. Returns as poll, and 0 for EINTR. */
int lintelp_poll_once(struct pollfd *fds, nfds_t count, int timeout_ms);

/* poll() until the deadline, without EINTR. Returns as poll: above 0, 0 when the deadline has
 * passed, -1 with errno. A timeout of 0 asks nothing and returns 0. */
int lintelp_poll(struct pollfd *fds, nfds_t count, struct lintelp_deadline *deadline);

/* ---- bytes ----------------------------------------------------------------------------------- */

/* One end of a connection. */
struct lintelp_end {
    signed fd : 31;         /* -1: closed */
    unsigned is_socket : 1; /* else a pipe, a terminal, a file: read and write */
};

/* Look at a descriptor. Returns 0, or -1 with errno. */
int lintelp_end_init(struct lintelp_end *end, int fd);

/* Receive; with wait 0 never waits. Returns bytes, 0 at the end, or -1 with errno, never EINTR. */
ssize_t lintelp_read(const struct lintelp_end *end, void *out, size_t size, int wait);

/* recvmsg and sendmsg on a socket as lintelp_read() and lintelp_write(), for what travels beside
 * the bytes; descriptors that come are closed on exec. */
ssize_t lintelp_receive(const struct lintelp_end *end, struct msghdr *message, int wait);
ssize_t lintelp_send(const struct lintelp_end *end, const struct msghdr *message);

/* Send without waiting and without SIGPIPE; may change iov. Returns bytes, or -1 with errno, never
 * EINTR. */
ssize_t lintelp_write(const struct lintelp_end *end, struct iovec *iov, size_t count);

#endif
