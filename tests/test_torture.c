/*
 * Every allocation and every system call fails, one after the other, once and from then on, through
 * a whole exchange (util/exchange.h). What must hold: a success or a documented error, nothing left
 * of memory and descriptors, no hang, no SIGPIPE, and law 6.
 *
 * libuv 1.44 gives an error back, and is failed, where memory for a loop, its epoll set, its
 * eventfd or its pipe cannot be had, where a descriptor cannot be added to the set or made
 * non-blocking by uv_poll_init(), and where a mutex or an async handle cannot be made. It passes
 * over what fails when a handle stops, and EINTR. It aborts, and is left alone, where
 *   - its table of descriptors cannot grow (maybe_resize, of any handle that starts);
 *   - epoll_ctl cannot add or modify what the loop is to wait for, or remove what uv_poll_init()
 *     added to try it (uv__io_poll, uv__io_check_fd);
 *   - epoll_wait fails otherwise than by EINTR (uv__io_poll);
 *   - the eventfd of a loop cannot be read or written (uv__async_io, uv__async_send);
 *   - the pipe of all signal handlers, made once in a process, cannot be made, read or written
 *     (uv__signal_global_reinit, uv__signal_block_and_lock);
 *   - a mutex cannot be locked or unlocked (uv_mutex_lock).
 */
#include "config.h"

#include "exchange.h"
#include "lintel/seal.h"
#include "util.h"
#include "wrap.h"
#include "wrap_uv.h"

#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

enum {
    POINTS_MIN = 2000,
    WATCHDOG_SECONDS = 40,
    COMPLAINTS_MAX = 20,
    AT_FIRST = 8,
    SPARE_MAX = 48
};

/* ---- faults ---------------------------------------------------------------------------------- */

enum how { ONCE, EIGHT_TIMES, LONG, FOR_GOOD, HOWS };
static const char *const how_names[HOWS] = {"once", "eight times", "500 times", "from then on"};
static const long how_often[HOWS] = {1, 8, 500, 1L << 30};

#define EACH(how) (1U << (how))
#define BOTH      (EACH(ONCE) | EACH(FOR_GOOD))
#define A_WHILE   (EACH(ONCE) | EACH(EIGHT_TIMES))
#define LENGTHY   (EACH(ONCE) | EACH(LONG))

struct fault {
    enum wrap_call call;
    const char *name;
    int outcome;        /* as in a script of wrap.h */
    const char *text;   /* of the outcome */
    unsigned hows;      /* EACH() */
    unsigned invisible; /* EACH(): nobody may notice */
};

#define ERROR(call, name, number, hows, invisible)             \
    {                                                          \
        WRAP_##call, name, -(number), #number, hows, invisible \
    }
#define SHORT(call, name)                                \
    {                                                    \
        WRAP_##call, name, 1, "1 byte", LENGTHY, LENGTHY \
    }

static const struct fault faults[] = {
    ERROR(SENDMSG, "sendmsg", EINTR, A_WHILE, A_WHILE),
    ERROR(SENDMSG, "sendmsg", EAGAIN, BOTH, EACH(ONCE)),
    ERROR(SENDMSG, "sendmsg", EPIPE, BOTH, 0),
    ERROR(SENDMSG, "sendmsg", ECONNRESET, BOTH, 0),
    ERROR(SENDMSG, "sendmsg", ENOBUFS, BOTH, 0),
    SHORT(SENDMSG, "sendmsg"),
    ERROR(RECV, "recv", EINTR, A_WHILE, A_WHILE),
    ERROR(RECV, "recv", EAGAIN, BOTH, EACH(ONCE)),
    ERROR(RECV, "recv", ECONNRESET, BOTH, 0),
    ERROR(RECV, "recv", ETIMEDOUT, BOTH, 0),
    ERROR(RECV, "recv", ENOMEM, BOTH, 0),
    SHORT(RECV, "recv"),
    ERROR(RECVMSG, "recvmsg", EINTR, A_WHILE, A_WHILE),
    ERROR(RECVMSG, "recvmsg", EAGAIN, BOTH, EACH(ONCE)),
    ERROR(RECVMSG, "recvmsg", ECONNRESET, BOTH, 0),
    ERROR(RECVMSG, "recvmsg", ENOBUFS, BOTH, 0),
    SHORT(RECVMSG, "recvmsg"),
    ERROR(READ, "read", EINTR, A_WHILE, A_WHILE),
    ERROR(READ, "read", EAGAIN, BOTH, EACH(ONCE)),
    ERROR(READ, "read", EIO, BOTH, 0),
    SHORT(READ, "read"),
    ERROR(WRITEV, "writev", EINTR, A_WHILE, A_WHILE),
    ERROR(WRITEV, "writev", EAGAIN, BOTH, EACH(ONCE)),
    ERROR(WRITEV, "writev", EPIPE, BOTH, 0),
    ERROR(WRITEV, "writev", ENOMEM, BOTH, 0),
    SHORT(WRITEV, "writev"),
    ERROR(POLL, "poll", EINTR, A_WHILE, A_WHILE),
    ERROR(POLL, "poll", ENOMEM, BOTH, 0),
    ERROR(SOCKET, "socket", EMFILE, BOTH, 0),
    ERROR(SOCKET, "socket", ENFILE, BOTH, 0),
    ERROR(SOCKET, "socket", ENOBUFS, BOTH, 0),
    {WRAP_CONNECT, "connect", WRAP_CUT_OFF, "EINTR", A_WHILE, A_WHILE},
    ERROR(CONNECT, "connect", EAGAIN, BOTH, 0),
    ERROR(CONNECT, "connect", ECONNREFUSED, BOTH, 0),
    ERROR(CONNECT, "connect", ETIMEDOUT, BOTH, 0),
    ERROR(BIND, "bind", EADDRINUSE, BOTH, 0),
    ERROR(BIND, "bind", EACCES, BOTH, 0),
    ERROR(LISTEN, "listen", EADDRINUSE, BOTH, 0),
    ERROR(ACCEPT4, "accept4", EINTR, A_WHILE, A_WHILE),
    ERROR(ACCEPT4, "accept4", EAGAIN, BOTH, EACH(ONCE)),
    ERROR(ACCEPT4, "accept4", ECONNABORTED, A_WHILE, A_WHILE),
    ERROR(ACCEPT4, "accept4", EPERM, BOTH, EACH(ONCE)),
    ERROR(ACCEPT4, "accept4", EMFILE, BOTH, EACH(ONCE)),
    ERROR(ACCEPT4, "accept4", ENFILE, BOTH, EACH(ONCE)),
    ERROR(ACCEPT4, "accept4", ENOBUFS, BOTH, EACH(ONCE)),
    ERROR(ACCEPT4, "accept4", ENOMEM, BOTH, EACH(ONCE)),
    ERROR(SHUTDOWN, "shutdown", ENOTCONN, BOTH, 0),
    ERROR(SHUTDOWN, "shutdown", ENOBUFS, BOTH, 0),
    ERROR(GETSOCKNAME, "getsockname", ENOBUFS, BOTH, 0),
    ERROR(SETSOCKOPT, "setsockopt", ENOMEM, BOTH, BOTH),
    ERROR(GETSOCKOPT, "getsockopt", ENOBUFS, BOTH, 0),
    ERROR(GETPEERNAME, "getpeername", ENOBUFS, BOTH, BOTH),
    ERROR(FCNTL, "fcntl", EMFILE, BOTH, 0),
    ERROR(FSTAT, "fstat", ENOMEM, BOTH, 0),
    ERROR(LSTAT, "lstat", ENOMEM, BOTH, BOTH),
    ERROR(UNLINK, "unlink", EBUSY, BOTH, BOTH),
    ERROR(CLOSE, "close", EINTR, BOTH, BOTH),
    ERROR(CLOSE, "close", EIO, BOTH, BOTH),
    ERROR(GETADDRINFO, "getaddrinfo", EMFILE, BOTH, 0),
    ERROR(GETNAMEINFO, "getnameinfo", ENOMEM, BOTH, 0),
    ERROR(RESIZE, "lintelp_resize", ENOMEM, BOTH, 0),
    ERROR(ALLOCATOR, "the server's allocator", ENOMEM, BOTH, 0),
    ERROR(UV_MALLOC, "malloc of libuv", ENOMEM, BOTH, 0),
    ERROR(UV_EPOLL_CREATE, "epoll_create1 of libuv", EMFILE, BOTH, 0),
    ERROR(UV_EPOLL_ADD, "epoll_ctl of libuv, adding", ENOSPC, BOTH, 0),
    ERROR(UV_EPOLL_ADD, "epoll_ctl of libuv, adding", ENOMEM, BOTH, 0),
    ERROR(UV_EPOLL_DEL, "epoll_ctl of libuv, removing", ENOENT, BOTH, BOTH),
    ERROR(UV_EPOLL_WAIT, "epoll_wait of libuv", EINTR, A_WHILE, A_WHILE),
    ERROR(UV_EVENTFD, "eventfd of libuv", EMFILE, BOTH, 0),
    ERROR(UV_PIPE, "pipe2 of libuv", EMFILE, BOTH, 0),
    ERROR(UV_IOCTL, "ioctl of libuv", ENOMEM, BOTH, 0),
    ERROR(UV_IOCTL, "ioctl of libuv", EINTR, A_WHILE, A_WHILE),
    ERROR(UV_ASYNC_INIT, "uv_async_init", EMFILE, BOTH, 0),
    ERROR(UV_MUTEX_INIT, "uv_mutex_init", ENOMEM, BOTH, 0),
};

/* The point of this run. */
static struct {
    const struct fault *fault; /* NULL: every call fails from the nth on, as it is wont to */
    long n;
    enum how how;
    rlim_t descriptors; /* the limit; 0: as it is */
    long calls;         /* so far */
    int hit;
} point;

static const struct fault no_fault = {WRAP_CALLS, "", WRAP_REAL, "", 0, 0};
static const char tcp[] = "tcp://127.0.0.1:0";
static char socket_path[64], socket_endpoint[80];
static char where[256]; /* the same, to be read */
static long points;
static long reached[COUNT(faults)]; /* points of each fault */
static int complaints;
static volatile sig_atomic_t sigpipes;

/* The first error of a kind of call, other than EINTR and EAGAIN. */
static int usual_outcome(enum wrap_call call)
{
    for (size_t i = 0; i < COUNT(faults); i++)
        if (faults[i].call == call && faults[i].outcome < 0 && faults[i].outcome != -EINTR &&
            faults[i].outcome != -EAGAIN)
            return faults[i].outcome;
    return WRAP_REAL;
}

static int fail_here(enum wrap_call call, int outcome)
{
    point.hit = 1;
    /* Where a call says that it would wait, or did, time passes. */
    if (outcome == -EAGAIN || call == WRAP_POLL)
        wrap_clock_advance(call == WRAP_CONNECT ? 100 : 1);
    return outcome;
}

static int on_call(void *user, enum wrap_call call)
{
    const struct fault *fault = point.fault;

    (void)user;
    if (call == WRAP_CLOCK || (fault != NULL && call != fault->call))
        return WRAP_REAL;
    point.calls++;
    if (point.calls < point.n || point.calls - point.n >= how_often[point.how])
        return WRAP_REAL;
    return fail_here(call, fault != NULL ? fault->outcome : usual_outcome(call));
}

/* ---- one run --------------------------------------------------------------------------------- */

static void on_sigpipe(int number)
{
    (void)number;
    sigpipes++;
}

static void on_alarm(int number)
{
    (void)number;
    (void)!write(2, "hangs: ", 7);
    (void)!write(2, where, strlen(where));
    (void)!write(2, "\n", 1);
    _exit(1);
}

static int count_descriptors(void)
{
    DIR *folder = opendir("/proc/self/fd");
    int count = 0;

    if (folder == NULL)
        return 0;
    while (readdir(folder) != NULL)
        count++;
    (void)closedir(folder);
    return count;
}

static void complain(const char *what)
{
    print_error("%s: %s\n", where, what);
    complaints++;
}

/* The exchange, with the calls that fail, and the limit, of the point. */
static const char *exchange(const struct exchange_way *way, const struct exchange_terms *terms)
{
    struct rlimit before, limit;
    const char *wrong;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    limit = before;
    if (point.descriptors > 0)
        limit.rlim_cur = point.descriptors;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    wrap_reset();
    wrap_on_call(on_call, NULL);
    alarm(WATCHDOG_SECONDS);
    wrong = exchange_run(way, terms);
    alarm(0);
    wrap_reset();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    return wrong;
}

static void run(const struct exchange_way *way, const struct exchange_terms *terms)
{
    int descriptors = count_descriptors();
    long blocks = wrap_blocks();
    const char *wrong;
    char text[64];

    (void)remove(socket_path); /* where it could not be removed */
    point.calls = 0;
    point.hit = 0;
    wrong = exchange(way, terms);
    if (wrong != NULL)
        complain(wrong);
    (void)snprintf(text, sizeof text, "%d descriptors left", count_descriptors() - descriptors);
    if (text[0] != '0')
        complain(text);
    if (wrap_blocks() != blocks)
        complain("blocks of malloc are left");
    if (sigpipes > 0)
        complain("SIGPIPE");
    sigpipes = 0;
}

/* ---- all of them ----------------------------------------------------------------------------- */

static unsigned is_starving(const struct fault *fault, enum how how)
{
    return how == FOR_GOOD && (fault->outcome == -EAGAIN || fault->call == WRAP_ACCEPT4);
}

/* Points that are left out, so that instrumented builds have an end: of those that lie behind the
 * first few, each but one of so many. */
static long stride(void)
{
    const char *preloaded = getenv("LD_PRELOAD");
    const char *wanted = getenv("LINTEL_TORTURE_STRIDE");

    if (wanted != NULL && atol(wanted) > 0)
        return atol(wanted);
    if (preloaded != NULL && strstr(preloaded, "vgpreload") != NULL)
        return 16;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return 4;
#else
    return 1;
#endif
}

static long next(long n)
{
    return n < AT_FIRST ? n + 1 : n + stride();
}

static void each_point(const struct exchange_way *way, const struct fault *fault, enum how how)
{
    struct exchange_terms terms = {0};

    terms.whole = (fault->invisible & EACH(how)) != 0;
    terms.starved = is_starving(fault, how) & 1U;
    terms.memory = fault->call == WRAP_RESIZE || fault->call == WRAP_ALLOCATOR;
    for (long n = 1; complaints < COMPLAINTS_MAX; n = next(n)) {
        point.fault = fault;
        point.n = n;
        point.how = how;
        (void)snprintf(where, sizeof where, "%s: %s %ld: %s %s", way->name, fault->name, n,
                       fault->text, how_names[how]);
        run(way, &terms);
        if (!point.hit)
            return;
        points++;
        reached[fault - faults]++;
    }
}

/* Every call of every kind fails from the nth on. */
static void everything(const struct exchange_way *way)
{
    const struct exchange_terms terms = {.starved = 1, .memory = 1};

    point.hit = 1;
    for (long n = 1; point.hit && complaints < COMPLAINTS_MAX; n = next(n)) {
        point.fault = NULL;
        point.n = n;
        point.how = FOR_GOOD;
        (void)snprintf(where, sizeof where, "%s: every call from the %ldth on", way->name, n);
        run(way, &terms);
        points += point.hit;
    }
}

/* As many descriptors as are needed, or fewer. */
static void few_descriptors(const struct exchange_way *way)
{
    const struct exchange_terms terms = {.starved = 1, .memory = 1};
    int used = dup(0);

    assert_true(used > 0);
    close(used);
    point.fault = &no_fault;
    for (int spare = 0; spare < SPARE_MAX && complaints < COMPLAINTS_MAX; spare++) {
        point.descriptors = (rlim_t)used + (rlim_t)spare;
        (void)snprintf(where, sizeof where, "%s: %d spare descriptors", way->name, spare);
        run(way, &terms);
        points++;
    }
    point.descriptors = 0;
}

static void torture(const struct exchange_way *way)
{
    const struct exchange_terms whole = {.whole = 1};
    long before = points;

    complaints = 0;
    point.fault = &no_fault;
    (void)snprintf(where, sizeof where, "%s: nothing fails", way->name);
    run(way, &whole);
    for (size_t i = 0; i < COUNT(faults); i++)
        for (int how = 0; how < HOWS; how++)
            if (faults[i].hows & EACH(how))
                each_point(way, &faults[i], (enum how)how);
    everything(way);
    few_descriptors(way);
    print_message("%s: %ld points\n", way->name, points - before);
    assert_int_equal(complaints, 0);
}

/* ---- the ways -------------------------------------------------------------------------------- */

static void exchange_over_tcp(void **state)
{
    const struct exchange_way way = {.name = "tcp", .endpoint = tcp, .in_flight = 1};

    (void)state;
    torture(&way);
}

static void exchange_over_unix_with_descriptors(void **state)
{
    const struct exchange_way way = {.name = "unix", .endpoint = socket_endpoint, .fds = 1};

    (void)state;
    torture(&way);
}

static void exchange_with_a_handler_of_pieces(void **state)
{
    const struct exchange_way way = {
        .name = "pieces", .endpoint = socket_endpoint, .pieces = 1, .patient = 1};

    (void)state;
    torture(&way);
}

static void exchange_over_pipes(void **state)
{
    const struct exchange_way way = {.name = "pipes"};

    (void)state;
    torture(&way);
}

static void exchange_in_another_layout(void **state)
{
    const struct exchange_way way = {
        .name = "u32", .endpoint = tcp, .layout = "u32", .patient = 1, .in_flight = 1};

    (void)state;
    torture(&way);
}

static void exchange_of_pieces_in_another_layout(void **state)
{
    const struct exchange_way way = {
        .name = "u32, pieces", .endpoint = socket_endpoint, .layout = "u32", .pieces = 1};

    (void)state;
    torture(&way);
}

static struct lintel_seal_keys *keys_of(enum lintel_seal_role role, const char *text)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;

    options.role = role;
    options.psk = (struct lintel_seal_text){text, strlen(text), "psk"};
    assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_OK);
    return keys;
}

static void exchange_of_sealed_frames(void **state)
{
    struct exchange_way way = {.name = "sealed", .endpoint = socket_endpoint};
    struct lintel_seal_keys *client, *server;
    char text[LINTEL_SEAL_KEY_TEXT];
    int rc = lintel_seal_key_new(text, NULL);

    (void)state;
    if (rc == LINTEL_E_UNSUPPORTED)
        skip();
    assert_int_equal(rc, LINTEL_OK);
    way.client_keys = client = keys_of(LINTEL_SEAL_INITIATOR, text);
    way.server_keys = server = keys_of(LINTEL_SEAL_RESPONDER, text);
    torture(&way);
    lintel_seal_keys_free(client);
    lintel_seal_keys_free(server);
}

static void points_are_enough(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(faults); i++)
        if (reached[i] == 0)
            fail_msg("no %s ever said %s", faults[i].name, faults[i].text);
    print_message("%ld points; behind the first %d of a kind, each of %ld\n", points, AT_FIRST,
                  stride());
    assert_true(points >= POINTS_MIN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exchange_over_tcp),
        cmocka_unit_test(exchange_over_unix_with_descriptors),
        cmocka_unit_test(exchange_with_a_handler_of_pieces),
        cmocka_unit_test(exchange_over_pipes),
        cmocka_unit_test(exchange_in_another_layout),
        cmocka_unit_test(exchange_of_pieces_in_another_layout),
        cmocka_unit_test(exchange_of_sealed_frames),
        cmocka_unit_test(points_are_enough),
    };
    char folder[] = "/tmp/lintel-torture-XXXXXX";
    uv_loop_t loop;
    int rc;

    /* What libuv makes once in a process, it makes now. */
    if (wrap_uv_memory() != 0 || uv_loop_init(&loop) != 0 || uv_loop_close(&loop) != 0 ||
        mkdtemp(folder) == NULL)
        return 1;
    (void)snprintf(socket_path, sizeof socket_path, "%s/socket", folder);
    (void)snprintf(socket_endpoint, sizeof socket_endpoint, "unix://%s", socket_path);
    (void)signal(SIGPIPE, on_sigpipe);
    (void)signal(SIGALRM, on_alarm);
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    (void)remove(socket_path);
    (void)rmdir(folder);
    return rc;
}
