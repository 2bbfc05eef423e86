/*
 * wrap: puts a test between the library and the system. A test program that is linked with
 * $(wrap_ld_flags) has every call below counted, and can give each kind a script of outcomes and
 * the whole a clock of its own. Without a script the real call is made.
 */
#ifndef LINTEL_TESTS_WRAP_H
#define LINTEL_TESTS_WRAP_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum wrap_call {
    WRAP_SENDMSG,
    WRAP_RECV,
    WRAP_RECVMSG,
    WRAP_READ,
    WRAP_WRITEV,
    WRAP_POLL,
    WRAP_CLOCK,
    WRAP_SOCKET,
    WRAP_CONNECT,
    WRAP_BIND,
    WRAP_LISTEN,
    WRAP_ACCEPT4,
    WRAP_SHUTDOWN,
    WRAP_GETSOCKNAME,
    WRAP_SETSOCKOPT,
    WRAP_GETSOCKOPT,
    WRAP_GETPEERNAME,
    WRAP_FCNTL,
    WRAP_FSTAT,
    WRAP_LSTAT,
    WRAP_UNLINK,
    WRAP_CLOSE,       /* a failure comes after the real call, as the system's does */
    WRAP_GETADDRINFO, /* a failure is EAI_SYSTEM with that errno */
    WRAP_GETNAMEINFO, /* the same */
    WRAP_RESIZE,      /* lintelp_resize() for a size over 0 */
    WRAP_ALLOCATOR,   /* a test's own allocator, where it was not lintelp_resize() that asked */
    /* What libuv calls, and what is called of it; wrap_uv.c. */
    WRAP_UV_MALLOC,
    WRAP_UV_EPOLL_CREATE,
    WRAP_UV_EPOLL_ADD, /* of uv_poll_init() */
    WRAP_UV_EPOLL_DEL, /* of a handle that stops */
    WRAP_UV_EPOLL_WAIT,
    WRAP_UV_EVENTFD,
    WRAP_UV_PIPE,
    WRAP_UV_IOCTL,
    WRAP_UV_ASYNC_INIT, /* the library's call of it; a failure is that libuv error */
    WRAP_UV_MUTEX_INIT, /* the same */
    WRAP_CALLS
};

#define WRAP_REAL    0 /* in a script: the real call */
#define WRAP_NOTHING 1 /* of a poll: nothing is ready, whatever the descriptors say */
#define WRAP_ITSELF  1 /* of a connect: from the very address that it goes to */
#define WRAP_CUT_OFF 2 /* of a connect: begun, and then interrupted by a signal: EINTR */

/* Forget counts, scripts, clock and hooks. */
void wrap_reset(void);

/* Calls since the reset. */
unsigned wrap_count(enum wrap_call call);

/*
 * Outcomes of the next calls of one kind, in order: a number above 0 is the most bytes that the
 * real call may move, below 0 a failure with that errno, 0 the real call. After the last one, each
 * call has the outcome `rest`. The array must live until the reset.
 */
void wrap_script(enum wrap_call call, const int *outcomes, size_t count, int rest);

/* The next call after `skip` real ones fails `times` times with an errno. */
void wrap_fail(enum wrap_call call, unsigned skip, unsigned times, int number);

/* Every call that no script is set for is asked for its outcome here. */
void wrap_on_call(int (*hook)(void *user, enum wrap_call call), void *user);

/* Count a call and have its outcome; below 0 errno is set. For what stands in wrap_uv.c, and for a
 * test's own allocator. */
int wrap_outcome(enum wrap_call call);
/* 1 inside of lintelp_resize(). */
int wrap_is_resizing(void);
/* Blocks that lintelp_resize() has out of malloc. */
long wrap_blocks(void);

/*
 * A clock that moves only when a poll would wait: it then goes on by the whole timeout at once. The
 * hook, if there is one, is asked before: it may let something happen, move the clock itself, and
 * return 1 to have the poll look again. A poll that would wait for ever fails the test.
 */
void wrap_clock(uint64_t ms);
uint64_t wrap_clock_now(void);
int wrap_clock_is_ours(void);
void wrap_clock_advance(uint64_t ms);
void wrap_on_wait(int (*hook)(void *user, int timeout_ms), void *user);

/* What a recvmsg has brought may be changed before the library sees it. */
void wrap_on_recvmsg(void (*hook)(void *user, struct msghdr *message), void *user);

/* Every name has these addresses, in this order. */
void wrap_addresses(const char *const *list, size_t count);

/* Entries of /proc/self/fd: as many before as after, or one has leaked. */
int open_descriptors(void);

#endif
