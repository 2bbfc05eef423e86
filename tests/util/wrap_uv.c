/*
 * What libuv asks the system for. It is another library, so that -Wl,--wrap does not reach its
 * calls; but a program's own function of a name comes before that of the C library. Calls with
 * which libuv 1.44 cannot cope, and aborts, are left alone; test_torture.c lists them.
 */
#include "config.h"
#include "wrap_uv.h"

#include "wrap.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SEEN __attribute__((visibility("default")))

SEEN int epoll_create1(int flags);
SEEN int epoll_ctl(int set, int what, int fd, struct epoll_event *event);
SEEN int epoll_wait(int set, struct epoll_event *events, int capacity, int timeout_ms);
SEEN int eventfd(unsigned value, int flags);
SEEN int pipe2(int fds[2], int flags);
SEEN int ioctl(int fd, unsigned long what, ...);
SEEN int clock_gettime(clockid_t id, struct timespec *out);
int __real_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback);
int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback);
int __real_uv_mutex_init(uv_mutex_t *mutex);
int __wrap_uv_mutex_init(uv_mutex_t *mutex);

/* ---- memory ---------------------------------------------------------------------------------- */

static void *uv_malloc(size_t size)
{
    return wrap_outcome(WRAP_UV_MALLOC) < 0 ? NULL : malloc(size);
}

static void *uv_calloc(size_t count, size_t size)
{
    return wrap_outcome(WRAP_UV_MALLOC) < 0 ? NULL : calloc(count, size);
}

int wrap_uv_memory(void)
{
    return uv_replace_allocator(uv_malloc, realloc, uv_calloc, free);
}

/* ---- system calls ---------------------------------------------------------------------------- */

int epoll_create1(int flags)
{
    return wrap_outcome(WRAP_UV_EPOLL_CREATE) < 0 ? -1 : (int)syscall(SYS_epoll_create1, flags);
}

/* uv_poll_init() tries whether a descriptor can be added, without naming it; it aborts where what
 * was added cannot be removed, and the loop aborts where it cannot add. */
int epoll_ctl(int set, int what, int fd, struct epoll_event *event)
{
    int is_trial = event != NULL && event->data.fd == -1;
    int is_stop = event != NULL && event->events == 0;

    if (what == EPOLL_CTL_ADD && is_trial && wrap_outcome(WRAP_UV_EPOLL_ADD) < 0)
        return -1;
    if (what == EPOLL_CTL_DEL && is_stop && wrap_outcome(WRAP_UV_EPOLL_DEL) < 0)
        return -1;
    return (int)syscall(SYS_epoll_ctl, set, what, fd, event);
}

int epoll_wait(int set, struct epoll_event *events, int capacity, int timeout_ms)
{
    if (wrap_outcome(WRAP_UV_EPOLL_WAIT) < 0)
        return -1;
    return (int)syscall(SYS_epoll_pwait, set, events, capacity, timeout_ms, NULL, 8);
}

int eventfd(unsigned value, int flags)
{
    return wrap_outcome(WRAP_UV_EVENTFD) < 0 ? -1 : (int)syscall(SYS_eventfd2, value, flags);
}

int pipe2(int fds[2], int flags)
{
    return wrap_outcome(WRAP_UV_PIPE) < 0 ? -1 : (int)syscall(SYS_pipe2, fds, flags);
}

int ioctl(int fd, unsigned long what, ...)
{
    va_list args;
    void *argument;

    if (what == FIONBIO && wrap_outcome(WRAP_UV_IOCTL) < 0)
        return -1;
    va_start(args, what);
    argument = va_arg(args, void *);
    va_end(args);
    return (int)syscall(SYS_ioctl, fd, what, argument);
}

/* The loop's clock is that of wrap.c, if that is ours. */
int clock_gettime(clockid_t id, struct timespec *out)
{
    uint64_t ms = wrap_clock_now();

    if ((id != CLOCK_MONOTONIC && id != CLOCK_MONOTONIC_COARSE) || !wrap_clock_is_ours())
        return (int)syscall(SYS_clock_gettime, id, out);
    out->tv_sec = (time_t)(ms / 1000);
    out->tv_nsec = (long)(ms % 1000 * 1000000);
    return 0;
}

/* ---- what the library calls of libuv --------------------------------------------------------- */

int __wrap_uv_async_init(uv_loop_t *loop, uv_async_t *async, uv_async_cb callback)
{
    int value = wrap_outcome(WRAP_UV_ASYNC_INIT);

    return value < 0 ? value : __real_uv_async_init(loop, async, callback);
}

int __wrap_uv_mutex_init(uv_mutex_t *mutex)
{
    int value = wrap_outcome(WRAP_UV_MUTEX_INIT);

    return value < 0 ? value : __real_uv_mutex_init(mutex);
}
