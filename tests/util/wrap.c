#include "config.h"
#include "wrap.h"

#include "lintel/status.h"

#include <stdarg.h>
#include <setjmp.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct state {
    unsigned count;
    const int *outcomes;
    size_t left;
    int rest;
    unsigned skip, times; /* wrap_fail */
    int number;
};

static struct state states[WRAP_CALLS];
static int (*call_hook)(void *user, enum wrap_call call);
static void *call_user;
static int resizing;
static long blocks;
static int clock_is_ours;
static uint64_t clock_ms;
static int (*wait_hook)(void *user, int timeout_ms);
static void *wait_user;
static void (*recvmsg_hook)(void *user, struct msghdr *message);
static void *recvmsg_user;
static const char *const *addresses;
static size_t address_count;

void wrap_reset(void)
{
    memset(states, 0, sizeof states);
    call_hook = NULL;
    clock_is_ours = 0;
    wait_hook = NULL;
    recvmsg_hook = NULL;
    addresses = NULL;
}

unsigned wrap_count(enum wrap_call call)
{
    return states[call].count;
}

void wrap_script(enum wrap_call call, const int *outcomes, size_t count, int rest)
{
    states[call].outcomes = outcomes;
    states[call].left = count;
    states[call].rest = rest;
}

void wrap_fail(enum wrap_call call, unsigned skip, unsigned times, int number)
{
    states[call].skip = skip;
    states[call].times = times;
    states[call].number = number;
}

void wrap_on_call(int (*hook)(void *user, enum wrap_call call), void *user)
{
    call_hook = hook;
    call_user = user;
}

void wrap_clock(uint64_t ms)
{
    clock_is_ours = 1;
    clock_ms = ms;
}

uint64_t wrap_clock_now(void)
{
    return clock_ms;
}

int wrap_clock_is_ours(void)
{
    return clock_is_ours;
}

void wrap_clock_advance(uint64_t ms)
{
    clock_ms += ms;
}

void wrap_on_wait(int (*hook)(void *user, int timeout_ms), void *user)
{
    wait_hook = hook;
    wait_user = user;
}

void wrap_on_recvmsg(void (*hook)(void *user, struct msghdr *message), void *user)
{
    recvmsg_hook = hook;
    recvmsg_user = user;
}

void wrap_addresses(const char *const *list, size_t count)
{
    addresses = list;
    address_count = count;
}

int wrap_is_resizing(void)
{
    return resizing;
}

long wrap_blocks(void)
{
    return blocks;
}

int wrap_outcome(enum wrap_call call)
{
    struct state *state = &states[call];
    int value = state->rest;

    state->count++;
    if (state->left > 0) {
        value = *state->outcomes++;
        state->left--;
    } else if (state->times > 0 && state->skip > 0) {
        state->skip--;
    } else if (state->times > 0) {
        state->times--;
        value = -state->number;
    } else if (value == WRAP_REAL && call_hook != NULL) {
        value = call_hook(call_user, call);
    }
    if (value < 0)
        errno = -value;
    return value;
}

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __real_recv(int fd, void *out, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *out, size_t size, int flags);
ssize_t __real_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t __real_read(int fd, void *out, size_t size);
ssize_t __wrap_read(int fd, void *out, size_t size);
ssize_t __real_writev(int fd, const struct iovec *iov, int count);
ssize_t __wrap_writev(int fd, const struct iovec *iov, int count);
int __real_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms);
int __real_clock_gettime(clockid_t id, struct timespec *out);
int __wrap_clock_gettime(clockid_t id, struct timespec *out);
int __real_socket(int family, int type, int protocol);
int __wrap_socket(int family, int type, int protocol);
int __real_connect(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size);
int __real_bind(int fd, const struct sockaddr *address, socklen_t size);
int __wrap_bind(int fd, const struct sockaddr *address, socklen_t size);
int __real_listen(int fd, int backlog);
int __wrap_listen(int fd, int backlog);
int __real_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags);
int __real_shutdown(int fd, int how);
int __wrap_shutdown(int fd, int how);
int __real_getsockname(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *size);
int __real_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size);
int __real_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size);
int __real_getpeername(int fd, struct sockaddr *address, socklen_t *size);
int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *size);
int __real_fcntl(int fd, int what, ...);
int __wrap_fcntl(int fd, int what, ...);
int __real_fstat(int fd, struct stat *out);
int __wrap_fstat(int fd, struct stat *out);
int __real_lstat(const char *path, struct stat *out);
int __wrap_lstat(const char *path, struct stat *out);
int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __real_close(int fd);
int __wrap_close(int fd);
int __real_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out);
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out);
int __real_getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
                       socklen_t host_size, char *service, socklen_t service_size, int flags);
int __wrap_getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
                       socklen_t host_size, char *service, socklen_t service_size, int flags);
void *__real_lintelp_resize(const struct lintel_allocator *allocator, void *ptr, size_t size);
void *__wrap_lintelp_resize(const struct lintel_allocator *allocator, void *ptr, size_t size);

/* A copy of some parts that holds at most `limit` bytes. Returns their number. */
static int cut_parts(struct iovec out[1024], const struct iovec *iov, size_t count, int limit)
{
    size_t room = (size_t)limit, used = 0;

    for (; used < count && room > 0; used++) {
        out[used] = iov[used];
        if (out[used].iov_len > room)
            out[used].iov_len = room;
        room -= out[used].iov_len;
    }
    return (int)used;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    struct iovec parts[1024];
    struct msghdr cut = *message;
    int value = wrap_outcome(WRAP_SENDMSG);

    if (value < 0)
        return -1;
    if (value > 0) {
        cut.msg_iov = parts;
        cut.msg_iovlen = (size_t)cut_parts(parts, message->msg_iov, message->msg_iovlen, value);
    }
    return __real_sendmsg(fd, &cut, flags);
}

ssize_t __wrap_writev(int fd, const struct iovec *iov, int count)
{
    struct iovec parts[1024];
    int value = wrap_outcome(WRAP_WRITEV);

    if (value < 0)
        return -1;
    if (value == 0)
        return __real_writev(fd, iov, count);
    return __real_writev(fd, parts, cut_parts(parts, iov, (size_t)count, value));
}

static size_t at_most(size_t size, int value)
{
    return value > 0 && size > (size_t)value ? (size_t)value : size;
}

ssize_t __wrap_recv(int fd, void *out, size_t size, int flags)
{
    int value = wrap_outcome(WRAP_RECV);

    return value < 0 ? -1 : __real_recv(fd, out, at_most(size, value), flags);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *message, int flags)
{
    struct iovec parts[1024], *iov = message->msg_iov;
    size_t count = message->msg_iovlen;
    int value = wrap_outcome(WRAP_RECVMSG);
    ssize_t got;

    if (value < 0)
        return -1;
    if (value > 0) {
        message->msg_iov = parts;
        message->msg_iovlen = (size_t)cut_parts(parts, iov, count, value);
    }
    got = __real_recvmsg(fd, message, flags);
    message->msg_iov = iov;
    message->msg_iovlen = count;
    if (got >= 0 && recvmsg_hook != NULL)
        recvmsg_hook(recvmsg_user, message);
    return got;
}

ssize_t __wrap_read(int fd, void *out, size_t size)
{
    int value = wrap_outcome(WRAP_READ);

    return value < 0 ? -1 : __real_read(fd, out, at_most(size, value));
}

int __wrap_poll(struct pollfd *fds, nfds_t count, int timeout_ms)
{
    int value = wrap_outcome(WRAP_POLL);

    if (value < 0)
        return -1;
    if (!clock_is_ours || timeout_ms == 0)
        return __real_poll(fds, count, timeout_ms);
    for (;;) {
        int rc = value == WRAP_NOTHING ? 0 : __real_poll(fds, count, 0);
        if (rc != 0)
            return rc;
        if (wait_hook != NULL && wait_hook(wait_user, timeout_ms))
            continue;
        if (timeout_ms < 0)
            fail_msg("a poll would wait for ever");
        clock_ms += (uint64_t)timeout_ms;
        return 0;
    }
}

int __wrap_clock_gettime(clockid_t id, struct timespec *out)
{
    if (id != CLOCK_MONOTONIC)
        return __real_clock_gettime(id, out);
    (void)wrap_outcome(WRAP_CLOCK);
    if (!clock_is_ours)
        return __real_clock_gettime(id, out);
    out->tv_sec = (time_t)(clock_ms / 1000);
    out->tv_nsec = (long)(clock_ms % 1000 * 1000000);
    return 0;
}

int __wrap_socket(int family, int type, int protocol)
{
    return wrap_outcome(WRAP_SOCKET) < 0 ? -1 : __real_socket(family, type, protocol);
}

int __wrap_connect(int fd, const struct sockaddr *address, socklen_t size)
{
    int value = wrap_outcome(WRAP_CONNECT);

    if (value < 0)
        return -1;
    if (value == WRAP_ITSELF && __real_bind(fd, address, size) != 0)
        fail_msg("bind: %s", strerror(errno));
    if (value != WRAP_CUT_OFF)
        return __real_connect(fd, address, size);
    /* TCP goes on connecting; a UNIX socket was waiting for its turn, and has not begun. */
    if (address->sa_family == AF_UNIX || __real_connect(fd, address, size) == 0)
        errno = EINTR;
    return -1;
}

int __wrap_bind(int fd, const struct sockaddr *address, socklen_t size)
{
    return wrap_outcome(WRAP_BIND) < 0 ? -1 : __real_bind(fd, address, size);
}

int __wrap_listen(int fd, int backlog)
{
    return wrap_outcome(WRAP_LISTEN) < 0 ? -1 : __real_listen(fd, backlog);
}

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *size, int flags)
{
    return wrap_outcome(WRAP_ACCEPT4) < 0 ? -1 : __real_accept4(fd, address, size, flags);
}

int __wrap_shutdown(int fd, int how)
{
    return wrap_outcome(WRAP_SHUTDOWN) < 0 ? -1 : __real_shutdown(fd, how);
}

int __wrap_getsockname(int fd, struct sockaddr *address, socklen_t *size)
{
    return wrap_outcome(WRAP_GETSOCKNAME) < 0 ? -1 : __real_getsockname(fd, address, size);
}

int __wrap_setsockopt(int fd, int level, int name, const void *value, socklen_t size)
{
    return wrap_outcome(WRAP_SETSOCKOPT) < 0 ? -1 : __real_setsockopt(fd, level, name, value, size);
}

int __wrap_getsockopt(int fd, int level, int name, void *value, socklen_t *size)
{
    return wrap_outcome(WRAP_GETSOCKOPT) < 0 ? -1 : __real_getsockopt(fd, level, name, value, size);
}

int __wrap_getpeername(int fd, struct sockaddr *address, socklen_t *size)
{
    return wrap_outcome(WRAP_GETPEERNAME) < 0 ? -1 : __real_getpeername(fd, address, size);
}

/* The library sets modes and duplicates: all that it hands over is a number, or nothing. */
int __wrap_fcntl(int fd, int what, ...)
{
    int number = 0;
    va_list args;

    if (wrap_outcome(WRAP_FCNTL) < 0)
        return -1;
    if (what == F_GETFD || what == F_GETFL)
        return __real_fcntl(fd, what);
    va_start(args, what);
    number = va_arg(args, int);
    va_end(args);
    return __real_fcntl(fd, what, number);
}

int __wrap_fstat(int fd, struct stat *out)
{
    return wrap_outcome(WRAP_FSTAT) < 0 ? -1 : __real_fstat(fd, out);
}

int __wrap_lstat(const char *path, struct stat *out)
{
    return wrap_outcome(WRAP_LSTAT) < 0 ? -1 : __real_lstat(path, out);
}

int __wrap_unlink(const char *path)
{
    return wrap_outcome(WRAP_UNLINK) < 0 ? -1 : __real_unlink(path);
}

int __wrap_close(int fd)
{
    int value = wrap_outcome(WRAP_CLOSE);
    int rc = __real_close(fd);

    if (value < 0)
        errno = -value;
    return value < 0 ? -1 : rc;
}

int __wrap_getnameinfo(const struct sockaddr *address, socklen_t size, char *host,
                       socklen_t host_size, char *service, socklen_t service_size, int flags)
{
    if (wrap_outcome(WRAP_GETNAMEINFO) < 0)
        return EAI_SYSTEM;
    return __real_getnameinfo(address, size, host, host_size, service, service_size, flags);
}

/* The list of a name is made of the lists of its addresses, and is freed as one. */
int __wrap_getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                       struct addrinfo **out)
{
    struct addrinfo **end = out;

    if (wrap_outcome(WRAP_GETADDRINFO) < 0)
        return EAI_SYSTEM;
    if (addresses == NULL)
        return __real_getaddrinfo(host, service, hints, out);
    for (size_t i = 0; i < address_count; i++) {
        if (__real_getaddrinfo(addresses[i], service, hints, end) != 0)
            fail_msg("%s is no address", addresses[i]);
        while (*end != NULL)
            end = &(*end)->ai_next;
    }
    return 0;
}

void *__wrap_lintelp_resize(const struct lintel_allocator *allocator, void *ptr, size_t size)
{
    void *block;

    if (size > 0 && wrap_outcome(WRAP_RESIZE) < 0)
        return NULL;
    resizing++;
    block = __real_lintelp_resize(allocator, ptr, size);
    resizing--;
    if (allocator == NULL && ptr == NULL)
        blocks += block != NULL;
    else if (allocator == NULL)
        blocks -= size == 0;
    return block;
}

int open_descriptors(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    assert_non_null(dir);
    while (readdir(dir) != NULL)
        count++;
    closedir(dir);
    return count;
}
