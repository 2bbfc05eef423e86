/* endpoint: texts with exact columns, connecting, listening, accepting. */
#include "config.h"
#include "lintel/endpoint.h"

#include "wrap.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LONG_63 "a23456789012345678901234567890123456789012345678901234567890123"
#define LONG_100                                                             \
    "1234567890123456789012345678901234567890123456789012345678901234567890" \
    "123456789012345678901234567890"

static char folder[64];

static int setup(void **state)
{
    (void)state;
    wrap_reset();
    snprintf(folder, sizeof folder, "/tmp/lintel-endpoint-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    wrap_reset();
    return rmdir(folder);
}

static struct lintel_endpoint parsed(const char *text)
{
    struct lintel_endpoint endpoint;
    struct lintel_error error;

    if (lintel_endpoint_parse(&endpoint, text, &error) != LINTEL_OK)
        fail_msg("%s: %s", text, error.text);
    return endpoint;
}

static struct lintel_listener *listening(const char *text)
{
    struct lintel_endpoint endpoint = parsed(text);
    struct lintel_listener *listener;
    struct lintel_error error;

    if (lintel_listener_open(&listener, &endpoint, 0, &error) != LINTEL_OK)
        fail_msg("%s: %s", text, error.text);
    return listener;
}

static int connected(const char *text)
{
    struct lintel_endpoint endpoint = parsed(text);
    struct lintel_error error;
    int fds[2];

    if (lintel_endpoint_connect(&endpoint, fds, -1, &error) != LINTEL_OK)
        fail_msg("%s: %s", text, error.text);
    assert_int_equal(fds[0], fds[1]);
    return fds[0];
}

static int accepted(struct lintel_listener *listener)
{
    int fd = -1;

    assert_int_equal(lintel_listener_accept(listener, &fd, -1, NULL), 1);
    return fd;
}

static const char *in_folder(char out[128], const char *prefix, const char *name)
{
    snprintf(out, 128, "%s%s/%s", prefix, folder, name);
    return out;
}

static void expect_passes_bytes(int a, int b)
{
    char c = 0;

    assert_int_equal(write(a, "x", 1), 1);
    assert_int_equal(recv(b, &c, 1, 0), 1);
    assert_int_equal(c, 'x');
}

/* ---- texts ----------------------------------------------------------------------------------- */

static void endpoint_parse_reads_every_scheme(void **state)
{
    static const struct {
        const char *text;
        enum lintel_scheme scheme;
        const char *host, *service, *path;
        int in, out;
    } cases[] = {
        {"tcp://127.0.0.1:80", LINTEL_TCP, "127.0.0.1", "80", "", -1, -1},
        {"tcp://[::1]:4242", LINTEL_TCP, "::1", "4242", "", -1, -1},
        {"tcp://[fe80::1%lo]:1", LINTEL_TCP, "fe80::1%lo", "1", "", -1, -1},
        {"tcp://localhost:http", LINTEL_TCP, "localhost", "http", "", -1, -1},
        {"tcp://localhost:z39-50", LINTEL_TCP, "localhost", "z39-50", "", -1, -1},
        {"tcp://:0", LINTEL_TCP, "", "0", "", -1, -1},
        {"tcp://h:65535", LINTEL_TCP, "h", "65535", "", -1, -1},
        {"udp://h:53", LINTEL_UDP, "h", "53", "", -1, -1},
        {"unix:///run/x.sock", LINTEL_UNIX, "", "", "/run/x.sock", -1, -1},
        {"unix:///a b:c@d", LINTEL_UNIX, "", "", "/a b:c@d", -1, -1},
        {"unix://@name", LINTEL_UNIX, "", "", "@name", -1, -1},
        {"unixgram:///x", LINTEL_UNIXGRAM, "", "", "/x", -1, -1},
        {"fd://3", LINTEL_FD, "", "", "", 3, 3},
        {"fd://0,1", LINTEL_FD, "", "", "", 0, 1},
        {"fd://2147483647", LINTEL_FD, "", "", "", 2147483647, 2147483647},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lintel_endpoint endpoint = parsed(cases[i].text);
        char text[LINTEL_ENDPOINT_TEXT_SIZE];
        print_message("%s\n", cases[i].text);
        assert_int_equal(endpoint.scheme, cases[i].scheme);
        assert_string_equal(endpoint.host, cases[i].host);
        assert_string_equal(endpoint.service, cases[i].service);
        assert_string_equal(endpoint.path, cases[i].path);
        assert_int_equal(endpoint.fds[0], cases[i].in);
        assert_int_equal(endpoint.fds[1], cases[i].out);
        assert_int_equal(lintel_endpoint_text(&endpoint, text, sizeof text), strlen(cases[i].text));
        assert_string_equal(text, cases[i].text);
    }
}

static void endpoint_parse_refuses_with_the_column(void **state)
{
    static const struct {
        const char *text;
        unsigned column;
        const char *sentence;
    } cases[] = {
        {"", 1, "no scheme; there are tcp://, unix://, fd://, udp://, unixgram://"},
        {"127.0.0.1:80", 1, "no scheme; there are tcp://, unix://, fd://, udp://, unixgram://"},
        {"http://x:80", 1,
         "unknown scheme \"http\"; there are tcp://, unix://, fd://, udp://, unixgram://"},
        {"TCP://x:80", 1,
         "unknown scheme \"TCP\"; there are tcp://, unix://, fd://, udp://, unixgram://"},
        {"t\x01://x", 1,
         "unknown scheme \"t\\x01\"; there are tcp://, unix://, fd://, udp://, unixgram://"},
        {"tcp://", 7, "a ':' and a port are missing"},
        {"tcp://host", 11, "a ':' and a port are missing"},
        {"tcp://host:", 12, "no port"},
        {"tcp://::1:80", 7, "more than one ':'; an IPv6 address stands in brackets"},
        {"tcp://[::1:80", 7, "a '[' without its ']'"},
        {"tcp://[::1]", 12, "a ':' and a port are missing"},
        {"tcp://[::1]x:80", 12, "a ':' and a port are missing"},
        {"tcp://[]:80", 8, "not an IPv6 address"},
        {"tcp://[host]:80", 8, "not an IPv6 address"},
        {"tcp://[127.0.0.1]:80", 8, "not an IPv6 address"},
        {"tcp://[" LONG_100 "]:80", 8, "not an IPv6 address"},
        {"tcp://a b:80", 8, "a character that no host has"},
        {"tcp://a/b:80", 8, "a character that no host has"},
        {"tcp://ab]:80", 9, "a character that no host has"},
        {"tcp://h:80/", 11, "a character that no port and no service name has"},
        {"tcp://h: 80", 9, "a character that no port and no service name has"},
        {"tcp://h:65536", 9, "the port exceeds 65535"},
        {"tcp://h:99999999999999999999999", 9, "the port exceeds 65535"},
        {"tcp://h:-1", 9, "neither a port nor a service name"},
        {"tcp://h:" LONG_63 "x", 72, "the port is 64 bytes, over the limit of 63"},
        {"tcp://" LONG_100 LONG_100 LONG_100 ":80", 262,
         "the host is 300 bytes, over the limit of 255"},
        {"unix://", 8, "a path begins with '/', an abstract name with '@'"},
        {"unix://x", 8, "a path begins with '/', an abstract name with '@'"},
        {"unix://@", 9, "an empty name"},
        {"unix:///", 9, "an empty name"},
        {"unix:///1234567" LONG_100, 115, "the path is 108 bytes, over the limit of 107"},
        {"unix://@1234567" LONG_100, 115, "the name is 108 bytes, over the limit of 107"},
        {"fd://", 6, "a descriptor is a number"},
        {"fd://x", 6, "a descriptor is a number"},
        {"fd://-1", 6, "a descriptor is a number"},
        {"fd://3,", 8, "a descriptor is a number"},
        {"fd://3x", 7, "text behind the descriptor"},
        {"fd://3,4,5", 9, "text behind the descriptor"},
        {"fd://2147483648", 6, "the descriptor exceeds 2147483647"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lintel_endpoint endpoint;
        struct lintel_error error;
        print_message("%s\n", cases[i].text);
        assert_int_equal(lintel_endpoint_parse(&endpoint, cases[i].text, &error), LINTEL_E_SYNTAX);
        assert_int_equal(error.status, LINTEL_E_SYNTAX);
        assert_string_equal(error.text, cases[i].sentence);
        assert_int_equal(error.at, cases[i].column);
        assert_int_equal(lintel_endpoint_parse(&endpoint, cases[i].text, NULL), LINTEL_E_SYNTAX);
    }
}

static void endpoint_parse_takes_what_is_just_in_the_limits(void **state)
{
    static const char *const texts[] = {
        "tcp://" LONG_100 LONG_100
        "1234567890123456789012345678901234567890123456789012345:" LONG_63,
        "unix:///123456" LONG_100,
        "unix://@123456" LONG_100,
        "unixgram:///123456" LONG_100,
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct lintel_endpoint endpoint = parsed(texts[i]);
        char text[LINTEL_ENDPOINT_TEXT_SIZE], cut[8];
        lintel_endpoint_text(&endpoint, text, sizeof text);
        assert_string_equal(text, texts[i]);
        assert_int_equal(lintel_endpoint_text(&endpoint, cut, sizeof cut), 7);
        assert_memory_equal(cut, texts[i], 7);
        assert_int_equal(lintel_endpoint_text(&endpoint, NULL, 0), 0);
    }
}

static void endpoint_calls_refuse_null(void **state)
{
    struct lintel_endpoint endpoint = parsed("fd://0");
    struct lintel_listener *listener;
    int fds[2];

    (void)state;
    assert_int_equal(lintel_endpoint_parse(NULL, "fd://0", NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_endpoint_parse(&endpoint, NULL, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_endpoint_connect(NULL, fds, 0, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_endpoint_connect(&endpoint, NULL, 0, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_listener_open(NULL, &endpoint, 0, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_listener_open(&listener, NULL, 0, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_listener_accept(NULL, fds, 0, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_listener_count(NULL), 0);
    assert_int_equal(lintel_listener_fd(NULL, 0), -1);
    assert_int_equal(lintel_endpoint_text(NULL, NULL, 0), 0);
    lintel_listener_close(NULL);
}

static void endpoint_datagram_schemes_are_unsupported(void **state)
{
    static const char *const texts[] = {"udp://127.0.0.1:5", "unixgram:///tmp/x"};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct lintel_endpoint endpoint = parsed(texts[i]);
        struct lintel_listener *listener;
        int fds[2];
        assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, NULL), LINTEL_E_UNSUPPORTED);
        assert_int_equal(lintel_listener_open(&listener, &endpoint, 0, NULL), LINTEL_E_UNSUPPORTED);
    }
}

/* ---- listening and connecting ---------------------------------------------------------------- */

static void expect_close_on_exec(int fd)
{
    int flags = fcntl(fd, F_GETFD);

    assert_true(flags >= 0 && (flags & FD_CLOEXEC) != 0);
}

static void expect_blocking(int fd)
{
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
}

static int option(int fd, int level, int name)
{
    int value = -1;
    socklen_t size = sizeof value;

    assert_int_equal(getsockopt(fd, level, name, &value, &size), 0);
    return value;
}

/* Listen, connect to what the listener says it is, pass a byte each way, look at the flags. */
static void expect_works(const char *text)
{
    int before = open_descriptors();
    struct lintel_listener *listener = listening(text);
    char real[LINTEL_ENDPOINT_TEXT_SIZE];

    for (size_t i = 0; i < lintel_listener_count(listener); i++) {
        size_t size = lintel_listener_text(listener, i, real, sizeof real);
        int a, b;
        assert_int_equal(size, strlen(real));
        a = connected(real);
        b = accepted(listener);
        expect_passes_bytes(a, b);
        expect_passes_bytes(b, a);
        expect_close_on_exec(lintel_listener_fd(listener, i));
        expect_close_on_exec(a);
        expect_close_on_exec(b);
        expect_blocking(a);
        expect_blocking(b);
        if (strncmp(real, "tcp:", 4) == 0) {
            assert_int_not_equal(option(a, IPPROTO_TCP, TCP_NODELAY), 0);
            assert_int_not_equal(option(b, IPPROTO_TCP, TCP_NODELAY), 0);
            assert_int_not_equal(option(lintel_listener_fd(listener, i), SOL_SOCKET, SO_REUSEADDR),
                                 0);
            assert_string_not_equal(strrchr(real, ':'), ":0");
        }
        close(a);
        close(b);
    }
    assert_int_equal(lintel_listener_fd(listener, lintel_listener_count(listener)), -1);
    assert_int_equal(lintel_listener_text(listener, 99, real, sizeof real), 0);
    lintel_listener_close(listener);
    assert_int_equal(open_descriptors(), before);
}

static int has_ipv6(void)
{
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int rc = fd >= 0 ? bind(fd, (struct sockaddr *)&address, sizeof address) : -1;

    if (fd >= 0)
        close(fd);
    return rc == 0;
}

static void listener_works_on_tcp(void **state)
{
    (void)state;
    expect_works("tcp://127.0.0.1:0");
    expect_works("tcp://localhost:0");
    if (has_ipv6())
        expect_works("tcp://[::1]:0");
}

static void listener_works_on_unix(void **state)
{
    char text[128];

    (void)state;
    expect_works(in_folder(text, "unix://", "s"));
    expect_works("unix://@lintel-test-endpoint");
}

static void listener_of_every_address_has_one_port(void **state)
{
    struct lintel_listener *listener = listening("tcp://:0");
    char a[LINTEL_ENDPOINT_TEXT_SIZE], b[LINTEL_ENDPOINT_TEXT_SIZE];

    (void)state;
    if (has_ipv6()) {
        assert_int_equal(lintel_listener_count(listener), 2);
        lintel_listener_text(listener, 0, a, sizeof a);
        lintel_listener_text(listener, 1, b, sizeof b);
        assert_string_equal(strrchr(a, ':'), strrchr(b, ':'));
        assert_string_not_equal(a, b);
    }
    lintel_listener_close(listener);
}

static void listener_tries_another_port_when_one_is_taken(void **state)
{
    static const int second_bind_fails[] = {WRAP_REAL, -EADDRINUSE};
    struct lintel_listener *listener;
    int before = open_descriptors();

    (void)state;
    if (!has_ipv6())
        skip();
    wrap_script(WRAP_BIND, second_bind_fails, 2, WRAP_REAL);
    listener = listening("tcp://:0");
    assert_int_equal(lintel_listener_count(listener), 2);
    assert_int_equal(wrap_count(WRAP_BIND), 5); /* one of them has_ipv6() */
    lintel_listener_close(listener);
    assert_int_equal(open_descriptors(), before);
}

static void listener_gives_up_after_a_bounded_number_of_ports(void **state)
{
    struct lintel_endpoint endpoint = parsed("tcp://127.0.0.1:0");
    struct lintel_listener *listener;
    struct lintel_error error;
    int before = open_descriptors();

    (void)state;
    wrap_script(WRAP_BIND, NULL, 0, -EADDRINUSE);
    assert_int_equal(lintel_listener_open(&listener, &endpoint, 0, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, EADDRINUSE);
    assert_string_equal(error.text, "bind to 127.0.0.1:0: Address already in use");
    assert_int_equal(open_descriptors(), before);
}

static void listener_passes_over_addresses_that_are_not_there(void **state)
{
    static const int second_bind_fails[] = {WRAP_REAL, -EADDRNOTAVAIL};
    struct lintel_listener *listener;

    (void)state;
    if (!has_ipv6())
        skip();
    wrap_script(WRAP_BIND, second_bind_fails, 2, WRAP_REAL);
    listener = listening("tcp://:0");
    assert_int_equal(lintel_listener_count(listener), 1);
    lintel_listener_close(listener);
}

static void listener_reports_a_port_in_use(void **state)
{
    struct lintel_listener *first = listening("tcp://127.0.0.1:0"), *second;
    char text[LINTEL_ENDPOINT_TEXT_SIZE], expected[LINTEL_ENDPOINT_TEXT_SIZE + 64];
    struct lintel_endpoint endpoint;
    struct lintel_error error;

    (void)state;
    lintel_listener_text(first, 0, text, sizeof text);
    endpoint = parsed(text);
    assert_int_equal(lintel_listener_open(&second, &endpoint, 0, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, EADDRINUSE);
    snprintf(expected, sizeof expected, "bind to %s: Address already in use",
             text + strlen("tcp://"));
    assert_string_equal(error.text, expected);
    lintel_listener_close(first);
}

static void listener_every_call_can_fail(void **state)
{
    static const enum wrap_call calls[] = {WRAP_SOCKET, WRAP_BIND, WRAP_LISTEN, WRAP_RESIZE};
    char path[128], file[128];
    const char *texts[] = {"tcp://127.0.0.1:0", in_folder(path, "unix://", "s"), "tcp://:0"};
    int before = open_descriptors();
    struct stat status;

    (void)state;
    for (size_t i = 0; i < 3; i++)
        for (size_t call = 0; call < 4; call++) {
            struct lintel_endpoint endpoint = parsed(texts[i]);
            struct lintel_listener *listener = NULL;
            struct lintel_error error;
            int rc;
            wrap_fail(calls[call], 0, 1, EACCES);
            rc = lintel_listener_open(&listener, &endpoint, 0, &error);
            assert_int_equal(rc, calls[call] == WRAP_RESIZE ? LINTEL_E_NOMEM : LINTEL_E_SYSTEM);
            if (rc == LINTEL_E_SYSTEM)
                assert_int_equal(error.system, EACCES);
            assert_int_equal(open_descriptors(), before);
            assert_int_not_equal(stat(in_folder(file, "", "s"), &status), 0);
        }
}

static void listener_replaces_a_stale_socket_file(void **state)
{
    char text[128], path[128];
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int stale = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    (void)state;
    in_folder(path, "", "s");
    memcpy(address.sun_path, path, strlen(path) + 1);
    assert_int_equal(bind(stale, (struct sockaddr *)&address, sizeof address), 0);
    close(stale);
    expect_works(in_folder(text, "unix://", "s"));
}

static void listener_never_replaces_a_live_socket_or_a_file(void **state)
{
    char text[128], path[128];
    struct lintel_listener *live = listening(in_folder(text, "unix://", "s")), *other;
    struct lintel_endpoint endpoint = parsed(text);
    struct lintel_error error;
    struct stat status;
    int fd;

    (void)state;
    in_folder(path, "", "s");
    assert_int_equal(lintel_listener_open(&other, &endpoint, 0, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, EADDRINUSE);
    fd = connected(text);
    close(fd);
    lintel_listener_close(live);
    assert_int_not_equal(stat(path, &status), 0);

    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    assert_int_equal(lintel_listener_open(&other, &endpoint, 0, &error), LINTEL_E_SYSTEM);
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISREG(status.st_mode));
    unlink(path);
}

static void listener_close_leaves_a_file_that_is_not_its_own(void **state)
{
    char text[128], path[128];
    struct lintel_listener *listener = listening(in_folder(text, "unix://", "s"));
    struct stat status;
    int fd;

    (void)state;
    in_folder(path, "", "s");
    unlink(path);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    close(fd);
    lintel_listener_close(listener);
    assert_int_equal(stat(path, &status), 0);
    unlink(path);
}

static void listener_takes_a_descriptor_that_listens(void **state)
{
    struct lintel_listener *first = listening("tcp://127.0.0.1:0"), *given;
    char text[LINTEL_ENDPOINT_TEXT_SIZE], real[LINTEL_ENDPOINT_TEXT_SIZE];
    int fd = dup(lintel_listener_fd(first, 0)), flags, a, b;

    (void)state;
    assert_int_equal(fcntl(fd, F_SETFL, O_RDWR), 0);
    flags = fcntl(fd, F_GETFL);
    snprintf(text, sizeof text, "fd://%d", fd);
    given = listening(text);
    lintel_listener_text(first, 0, real, sizeof real);
    lintel_listener_text(given, 0, text, sizeof text);
    assert_string_equal(text, real);
    assert_int_equal(lintel_listener_accept(given, &b, 0, NULL), 0);
    a = connected(real);
    b = accepted(given);
    expect_passes_bytes(a, b);
    assert_int_equal(fcntl(fd, F_GETFL), flags);
    close(a);
    close(b);
    lintel_listener_close(given);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
    lintel_listener_close(first);
}

static void listener_refuses_descriptors_that_do_not_listen(void **state)
{
    struct lintel_listener *listener;
    struct lintel_endpoint endpoint;
    struct lintel_error error;
    char text[64];
    int pair[2], pipes[2];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
    snprintf(text, sizeof text, "fd://%d", pair[0]);
    endpoint = parsed(text);
    assert_int_equal(lintel_listener_open(&listener, &endpoint, 0, NULL), LINTEL_E_UNSUPPORTED);
    snprintf(text, sizeof text, "fd://%d,%d", pipes[0], pipes[1]);
    endpoint = parsed(text);
    assert_int_equal(lintel_listener_open(&listener, &endpoint, 0, NULL), LINTEL_E_UNSUPPORTED);
    close(pair[0]);
    snprintf(text, sizeof text, "fd://%d", pair[0]);
    endpoint = parsed(text);
    assert_int_equal(lintel_listener_open(&listener, &endpoint, 0, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, EBADF);
    close(pair[1]);
    close(pipes[0]);
    close(pipes[1]);
}

/* ---- accepting ------------------------------------------------------------------------------- */

static void listener_accept_passes_over_vanished_connections(void **state)
{
    static const int outcomes[] = {-ECONNABORTED, -EINTR, -EPROTO, -ENETDOWN};
    struct lintel_listener *listener = listening("unix://@lintel-test-accept");
    int a = connected("unix://@lintel-test-accept"), b;

    (void)state;
    wrap_script(WRAP_ACCEPT4, outcomes, 4, WRAP_REAL);
    b = accepted(listener);
    expect_passes_bytes(a, b);
    assert_int_equal(wrap_count(WRAP_ACCEPT4), 5);
    close(a);
    close(b);
    lintel_listener_close(listener);
}

static void listener_accept_says_that_it_may_not(void **state)
{
    struct lintel_listener *listener = listening("unix://@lintel-test-accept");
    int a = connected("unix://@lintel-test-accept"), b = -1;
    struct lintel_error error;

    (void)state;
    wrap_script(WRAP_ACCEPT4, NULL, 0, -EPERM);
    assert_int_equal(lintel_listener_accept(listener, &b, 0, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, EPERM);
    close(a);
    lintel_listener_close(listener);
}

static void listener_accept_does_not_wait_for_a_vanished_connection(void **state)
{
    static const int vanished[] = {-EAGAIN};
    struct lintel_listener *listener = listening("unix://@lintel-test-accept");
    int fd = -1;

    (void)state;
    assert_int_equal(lintel_listener_accept(listener, &fd, 0, NULL), 0);
    assert_int_equal(fd, -1);
    wrap_clock(1000);
    wrap_script(WRAP_ACCEPT4, vanished, 1, WRAP_REAL);
    assert_int_equal(lintel_listener_accept(listener, &fd, 250, NULL), LINTEL_E_TIMEOUT);
    assert_int_equal(wrap_clock_now(), 1250);
    lintel_listener_close(listener);
}

static void listener_accept_reports_out_of_descriptors(void **state)
{
    static const int numbers[] = {EMFILE, ENFILE, ENOBUFS, ENOMEM};
    struct lintel_listener *listener = listening("unix://@lintel-test-accept");
    int a = connected("unix://@lintel-test-accept"), b = -1;

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        struct lintel_error error;
        wrap_fail(WRAP_ACCEPT4, 0, 1, numbers[i]);
        assert_int_equal(lintel_listener_accept(listener, &b, -1, &error), LINTEL_E_SYSTEM);
        assert_int_equal(error.system, numbers[i]);
    }
    b = accepted(listener);
    close(a);
    close(b);
    lintel_listener_close(listener);
}

static void listener_accept_asks_every_socket(void **state)
{
    struct lintel_listener *listener = listening("tcp://:0");
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    size_t count = lintel_listener_count(listener);
    int a, b;

    (void)state;
    for (size_t round = 0; round < 4; round++) {
        const char *port;
        char real[64];
        lintel_listener_text(listener, round % count, text, sizeof text);
        port = strrchr(text, ':');
        snprintf(real, sizeof real, "tcp://%s%s", round % count == 0 ? "127.0.0.1" : "[::1]", port);
        a = connected(real);
        b = accepted(listener);
        expect_passes_bytes(a, b);
        close(a);
        close(b);
    }
    lintel_listener_close(listener);
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void connect_reports_the_last_failure_with_its_address(void **state)
{
    struct lintel_listener *listener = listening("tcp://127.0.0.1:0");
    char text[LINTEL_ENDPOINT_TEXT_SIZE], expected[LINTEL_ENDPOINT_TEXT_SIZE + 64];
    struct lintel_endpoint endpoint;
    struct lintel_error error;
    int fds[2] = {-1, -1}, before;

    (void)state;
    lintel_listener_text(listener, 0, text, sizeof text);
    lintel_listener_close(listener);
    before = open_descriptors();
    endpoint = parsed(text);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, ECONNREFUSED);
    snprintf(expected, sizeof expected, "connect to %s: Connection refused",
             text + strlen("tcp://"));
    assert_string_equal(error.text, expected);
    endpoint = parsed("unix:///nowhere/at\x01"
                      "all");
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, &error), LINTEL_E_SYSTEM);
    assert_string_equal(error.text, "connect to /nowhere/at\\x01all: No such file or directory");
    assert_int_equal(open_descriptors(), before);
}

static void connect_does_not_meet_itself(void **state)
{
    static const int itself[] = {WRAP_ITSELF};
    struct lintel_listener *listener = listening("tcp://127.0.0.1:0");
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_endpoint endpoint;
    struct lintel_error error;
    int fds[2];

    (void)state;
    lintel_listener_text(listener, 0, text, sizeof text);
    lintel_listener_close(listener);
    endpoint = parsed(text);
    wrap_script(WRAP_CONNECT, itself, 1, WRAP_REAL);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, ECONNREFUSED);
}

static void connect_tries_every_address(void **state)
{
    static const int first_fails[] = {-ENETUNREACH};
    struct lintel_listener *listener = listening("tcp://:0");
    char text[LINTEL_ENDPOINT_TEXT_SIZE], real[LINTEL_ENDPOINT_TEXT_SIZE + 16];
    struct lintel_endpoint endpoint;
    struct lintel_error error;
    int fds[2], rc;

    (void)state;
    lintel_listener_text(listener, 0, text, sizeof text);
    snprintf(real, sizeof real, "tcp://localhost%s", strrchr(text, ':'));
    endpoint = parsed(real);
    wrap_script(WRAP_CONNECT, first_fails, 1, WRAP_REAL);
    rc = lintel_endpoint_connect(&endpoint, fds, -1, &error);
    if (wrap_count(WRAP_CONNECT) == 1) {
        assert_int_equal(rc, LINTEL_E_SYSTEM);
        assert_int_equal(error.system, ENETUNREACH);
    } else {
        assert_int_equal(rc, LINTEL_OK);
        close(fds[0]);
    }
    lintel_listener_close(listener);
}

static void connect_honours_the_deadline(void **state)
{
    struct lintel_endpoint endpoint = parsed("tcp://127.0.0.1:9");
    struct lintel_error error;
    int fds[2], before = open_descriptors();

    (void)state;
    wrap_clock(5000);
    wrap_script(WRAP_CONNECT, NULL, 0, -EINPROGRESS);
    wrap_script(WRAP_POLL, NULL, 0, WRAP_NOTHING);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, 0, &error), LINTEL_E_TIMEOUT);
    assert_string_equal(error.text, "connect to 127.0.0.1:9: no answer in time");
    assert_int_equal(wrap_count(WRAP_CLOCK), 0);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, 300, &error), LINTEL_E_TIMEOUT);
    assert_int_equal(wrap_clock_now(), 5300);
    assert_int_equal(open_descriptors(), before);
}

static void connect_shares_the_deadline_among_the_addresses(void **state)
{
    struct lintel_endpoint endpoint = parsed("tcp://localhost:9");
    struct lintel_error error;
    int fds[2];

    (void)state;
    wrap_clock(5000);
    wrap_script(WRAP_CONNECT, NULL, 0, -EINPROGRESS);
    wrap_script(WRAP_POLL, NULL, 0, WRAP_NOTHING);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, 300, &error), LINTEL_E_TIMEOUT);
    assert_int_equal(wrap_clock_now(), 5300);
    assert_true(wrap_count(WRAP_POLL) == wrap_count(WRAP_CONNECT));
}

static void connect_waits_for_room_in_a_unix_backlog(void **state)
{
    struct lintel_endpoint endpoint = parsed("unix://@lintel-test-backlog");
    struct lintel_listener *listener = listening("unix://@lintel-test-backlog");
    static const int full[] = {-EAGAIN, -EINTR};
    struct lintel_error error;
    int fds[2];

    (void)state;
    wrap_script(WRAP_CONNECT, full, 2, WRAP_REAL);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, 1000, &error), LINTEL_OK);
    expect_blocking(fds[0]);
    close(fds[0]);
    wrap_script(WRAP_CONNECT, full, 1, -EAGAIN);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, 0, &error), LINTEL_E_TIMEOUT);
    wrap_script(WRAP_CONNECT, full, 1, -EAGAIN);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, 1, &error), LINTEL_E_TIMEOUT);
    lintel_listener_close(listener);
}

static void connect_reports_names_that_do_not_resolve(void **state)
{
    struct lintel_endpoint endpoint = parsed("tcp://localhost:no-such-service");
    struct lintel_error error;
    int fds[2];

    (void)state;
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, &error), LINTEL_E_RESOLVE);
    assert_string_equal(error.text, "service \"no-such-service\": no port is known for it");
    endpoint = parsed("tcp://:80");
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, &error), LINTEL_E_RESOLVE);
    endpoint = parsed("tcp://300.300.300.300.invalid:80");
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, &error), LINTEL_E_RESOLVE);
    assert_int_equal(strncmp(error.text, "host \"300.300.300.300.invalid\": ", 32), 0);
}

static void connect_hands_over_descriptors_as_they_are(void **state)
{
    struct lintel_endpoint endpoint;
    struct lintel_error error;
    int pipes[2], fds[2], flags;
    char text[64];

    (void)state;
    assert_int_equal(pipe2(pipes, O_NONBLOCK), 0);
    flags = fcntl(pipes[0], F_GETFL);
    snprintf(text, sizeof text, "fd://%d,%d", pipes[0], pipes[1]);
    endpoint = parsed(text);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, &error), LINTEL_OK);
    assert_int_equal(fds[0], pipes[0]);
    assert_int_equal(fds[1], pipes[1]);
    assert_int_equal(fcntl(pipes[0], F_GETFL), flags);
    assert_int_equal(fcntl(pipes[0], F_GETFD), 0);
    close(pipes[1]);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, EBADF);
    close(pipes[0]);
}

static void connect_refuses_a_descriptor_that_listens(void **state)
{
    struct lintel_listener *listener = listening("unix://@lintel-test-listens");
    struct lintel_endpoint endpoint;
    char text[64];
    int fds[2];

    (void)state;
    snprintf(text, sizeof text, "fd://%d", lintel_listener_fd(listener, 0));
    endpoint = parsed(text);
    assert_int_equal(lintel_endpoint_connect(&endpoint, fds, -1, NULL), LINTEL_E_UNSUPPORTED);
    lintel_listener_close(listener);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(endpoint_parse_reads_every_scheme),
        TEST(endpoint_parse_refuses_with_the_column),
        TEST(endpoint_parse_takes_what_is_just_in_the_limits),
        TEST(endpoint_calls_refuse_null),
        TEST(endpoint_datagram_schemes_are_unsupported),
        TEST(listener_works_on_tcp),
        TEST(listener_works_on_unix),
        TEST(listener_of_every_address_has_one_port),
        TEST(listener_tries_another_port_when_one_is_taken),
        TEST(listener_gives_up_after_a_bounded_number_of_ports),
        TEST(listener_passes_over_addresses_that_are_not_there),
        TEST(listener_reports_a_port_in_use),
        TEST(listener_every_call_can_fail),
        TEST(listener_replaces_a_stale_socket_file),
        TEST(listener_never_replaces_a_live_socket_or_a_file),
        TEST(listener_close_leaves_a_file_that_is_not_its_own),
        TEST(listener_takes_a_descriptor_that_listens),
        TEST(listener_refuses_descriptors_that_do_not_listen),
        TEST(listener_accept_passes_over_vanished_connections),
        TEST(listener_accept_says_that_it_may_not),
        TEST(listener_accept_does_not_wait_for_a_vanished_connection),
        TEST(listener_accept_reports_out_of_descriptors),
        TEST(listener_accept_asks_every_socket),
        TEST(connect_reports_the_last_failure_with_its_address),
        TEST(connect_does_not_meet_itself),
        TEST(connect_tries_every_address),
        TEST(connect_honours_the_deadline),
        TEST(connect_shares_the_deadline_among_the_addresses),
        TEST(connect_waits_for_room_in_a_unix_backlog),
        TEST(connect_reports_names_that_do_not_resolve),
        TEST(connect_hands_over_descriptors_as_they_are),
        TEST(connect_refuses_a_descriptor_that_listens),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
