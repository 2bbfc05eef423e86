/*
 * `lintel serve` as a process, beside many peers, slow ones, and ones that promise much. The peers
 * are bare sockets of this process, so that nothing of lintel is on their side.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lintel/lintel.h"

enum { WATCHDOG_SECONDS = 300, PAYLOAD = 64, WIRE = LINTEL_HEADER_SIZE + PAYLOAD };

/* ---- the server ------------------------------------------------------------------------------ */

struct server {
    pid_t pid;
    struct sockaddr_in address;
};

static void exec_server(int out, rlim_t descriptors, char *const *options)
{
    char *arguments[16] = {"lintel", "serve"};
    const char *program = getenv("LINTEL");
    struct rlimit limit = {descriptors, descriptors};
    int count = 2;

    while (*options != NULL)
        arguments[count++] = *options++;
    arguments[count] = "tcp://127.0.0.1:0";
    if (dup2(out, STDOUT_FILENO) < 0 || (descriptors > 0 && setrlimit(RLIMIT_NOFILE, &limit) < 0))
        _exit(126);
    execv(program != NULL ? program : "./lintel", arguments);
    _exit(127);
}

/* Reads the port it says that it listens on. descriptors 0: the limit of this process. */
static struct server start(rlim_t descriptors, char *const *options)
{
    struct server server;
    unsigned port;
    FILE *said;
    int fds[2];

    alarm(WATCHDOG_SECONDS);
    assert_int_equal(pipe(fds), 0);
    server.pid = fork();
    assert_true(server.pid >= 0);
    if (server.pid == 0) {
        close(fds[0]);
        exec_server(fds[1], descriptors, options);
    }
    close(fds[1]);
    said = fdopen(fds[0], "r");
    assert_non_null(said);
    assert_int_equal(fscanf(said, "listening on tcp://127.0.0.1:%u", &port), 1);
    fclose(said);
    memset(&server.address, 0, sizeof server.address);
    server.address.sin_family = AF_INET;
    server.address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server.address.sin_port = htons((uint16_t)port);
    return server;
}

static void stop(const struct server *server)
{
    int status;

    assert_int_equal(kill(server->pid, SIGTERM), 0);
    assert_int_equal(waitpid(server->pid, &status, 0), server->pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    alarm(0);
}

/* A number of its /proc/PID/status, such as "VmRSS:" in KiB. */
static long status_of(const struct server *server, const char *name)
{
    char path[64], line[256];
    long value = -1;
    FILE *file;

    snprintf(path, sizeof path, "/proc/%ld/status", (long)server->pid);
    file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file) != NULL)
        if (strncmp(line, name, strlen(name)) == 0)
            value = strtol(line + strlen(name), NULL, 10);
    fclose(file);
    return value;
}

/* Memory of a process means little where a sanitizer keeps its own. */
static void skip_if_instrumented(void)
{
    const char *instrumented = getenv("INSTRUMENTED");

    if (instrumented != NULL && strcmp(instrumented, "yes") == 0) {
        print_message("memory is not measured: the build is instrumented\n");
        skip();
    }
}

/* ---- peers ----------------------------------------------------------------------------------- */

static void need_descriptors(rlim_t count)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur >= count)
        return;
    print_message("%lu descriptors are wanted, and %lu to be had\n", (unsigned long)count,
                  (unsigned long)limit.rlim_cur);
    skip();
}

static int peer_of(const struct server *server)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&server->address, sizeof server->address),
                     0);
    assert_int_equal(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one), 0);
    return fd;
}

static void put_all(int fd, const void *bytes, size_t size)
{
    const uint8_t *at = bytes;

    while (size > 0) {
        ssize_t put = send(fd, at, size, MSG_NOSIGNAL);
        assert_true(put > 0);
        at += put;
        size -= (size_t)put;
    }
}

static void get_all(int fd, void *bytes, size_t size)
{
    assert_int_equal(recv(fd, bytes, size, MSG_WAITALL), (ssize_t)size);
}

static void put_request(int fd, uint32_t id)
{
    uint8_t wire[WIRE];

    memset(wire, (int)(id & 0xFF), sizeof wire);
    lintel_header_put(wire, 0, 7, id, PAYLOAD);
    put_all(fd, wire, sizeof wire);
}

static void get_reply(int fd, uint32_t id)
{
    uint8_t wire[WIRE], wanted[WIRE];

    memset(wanted, (int)(id & 0xFF), sizeof wanted);
    lintel_header_put(wanted, LINTEL_REPLY, 7, id, PAYLOAD);
    get_all(fd, wire, sizeof wire);
    assert_memory_equal(wire, wanted, sizeof wire);
}

static void get_end(int fd)
{
    uint8_t byte;

    assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

/* ---- many ------------------------------------------------------------------------------------ */

static void ten_thousand_connections_are_served_at_once(void **state)
{
    enum { COUNT = 10000, STEP = 500, ROUNDS = 3 };
    static int fds[COUNT];
    char *options[] = {NULL};
    struct server server;

    (void)state;
    need_descriptors(COUNT + 300);
    server = start(0, options);
    for (uint32_t i = 0; i < COUNT; i++) {
        fds[i] = peer_of(&server);
        put_request(fds[i], i + 1);
        /* No more than the listener's queue holds. */
        for (uint32_t j = i + 1 - STEP; (i + 1) % STEP == 0 && j <= i; j++)
            get_reply(fds[j], j + 1);
    }
    for (uint32_t round = 1; round < ROUNDS; round++) {
        for (uint32_t i = 0; i < COUNT; i++)
            put_request(fds[i], round * COUNT + i);
        for (uint32_t i = 0; i < COUNT; i++)
            get_reply(fds[i], round * COUNT + i);
    }
    print_message("%ld KiB for %d connections\n", status_of(&server, "VmRSS:"), COUNT);
    for (int i = 0; i < COUNT; i++)
        assert_int_equal(shutdown(fds[i], SHUT_WR), 0);
    for (int i = 0; i < COUNT; i++) {
        get_end(fds[i]);
        close(fds[i]);
    }
    stop(&server);
}

/* Connections come and go on several loops at once, and a drain meets some of them. */
static void workers_serve_what_they_are_handed(void **state)
{
    enum { PEERS = 300, ROUNDS = 6 };
    char *options[] = {"--workers", "3", NULL};
    struct server server;
    int fds[PEERS];

    (void)state;
    server = start(0, options);
    for (int i = 0; i < PEERS; i++)
        fds[i] = peer_of(&server);
    for (uint32_t round = 1; round <= ROUNDS; round++) {
        for (uint32_t i = 0; i < PEERS; i++)
            put_request(fds[i], round * PEERS + i);
        for (uint32_t i = 0; i < PEERS; i++) {
            get_reply(fds[i], round * PEERS + i);
            if (i % ROUNDS != round % ROUNDS)
                continue;
            close(fds[i]);
            fds[i] = peer_of(&server);
        }
    }
    stop(&server);
    for (int i = 0; i < PEERS; i++)
        close(fds[i]);
}

/* ---- slow ------------------------------------------------------------------------------------ */

struct drip {
    int fd; /* -1 once it was cut */
    size_t sent, got;
    uint8_t bye[LINTEL_HEADER_SIZE + 8];
};

/* A header that comes a byte at a time, and a payload that does. */
static void drip_once(struct drip *drip)
{
    uint8_t header[LINTEL_HEADER_SIZE];

    lintel_header_put(header, 0, 7, 1, 1000000);
    if (send(drip->fd, drip->sent < sizeof header ? header + drip->sent : (uint8_t *)"x", 1,
             MSG_NOSIGNAL) == 1)
        drip->sent++;
}

/* 1 if it was told why, and then cut. */
static int was_cut(struct drip *drip)
{
    ssize_t got;

    do {
        got = recv(drip->fd, drip->bye + drip->got, sizeof drip->bye - drip->got, MSG_DONTWAIT);
        drip->got += got > 0 ? (size_t)got : 0;
    } while (got > 0 && drip->got < sizeof drip->bye);
    if (drip->got < sizeof drip->bye) {
        assert_true(got < 0 && errno == EAGAIN);
        return 0;
    }
    assert_int_equal(drip->bye[3], LINTEL_CONTROL);
    assert_int_equal(lintel_get_u32be(drip->bye + 4), LINTEL_BYE);
    assert_int_equal(lintel_get_u32be(drip->bye + LINTEL_HEADER_SIZE), LINTEL_BYE_TOO_SLOW);
    close(drip->fd);
    drip->fd = -1;
    return 1;
}

/* The test ends only if drips do not put the deadline off. */
static void slow_peers_are_cut_and_the_others_served(void **state)
{
    enum { DRIPS = 1000, HONEST = 100 };
    static struct drip drips[DRIPS];
    char *options[] = {"--frame-timeout", "0.3", "--min-rate", "1G", NULL};
    int honest[HONEST], left = DRIPS;
    struct server server;
    uint32_t id = 0;

    (void)state;
    need_descriptors(DRIPS + HONEST + 300);
    server = start(0, options);
    for (int i = 0; i < HONEST; i++)
        honest[i] = peer_of(&server);
    for (int i = 0; i < DRIPS; i++)
        drips[i].fd = peer_of(&server);
    while (left > 0) {
        id++;
        for (int i = 0; i < HONEST; i++)
            put_request(honest[i], id);
        for (int i = 0; i < DRIPS; i++)
            if (drips[i].fd >= 0)
                drip_once(&drips[i]);
        for (int i = 0; i < HONEST; i++)
            get_reply(honest[i], id);
        for (int i = 0; i < DRIPS; i++)
            if (drips[i].fd >= 0)
                left -= was_cut(&drips[i]);
    }
    print_message("%u requests of each were answered meanwhile\n", (unsigned)id);
    for (int i = 0; i < HONEST; i++) {
        put_request(honest[i], id);
        get_reply(honest[i], id);
        close(honest[i]);
    }
    stop(&server);
}

/* ---- much ------------------------------------------------------------------------------------ */

static void announced_lengths_cost_the_process_nothing(void **state)
{
    enum { PEERS = 50, ANNOUNCED = 512 * 1024 * 1024, LIMIT_KIB = 1024 };
    char *options[] = {"--max-frame", "1G", "--max-message", "1G", NULL};
    uint8_t header[LINTEL_HEADER_SIZE];
    struct server server;
    long resident, claimed;
    int fds[PEERS + 1];

    (void)state;
    skip_if_instrumented();
    server = start(0, options);
    for (int i = 0; i <= PEERS; i++) {
        fds[i] = peer_of(&server);
        put_request(fds[i], 1);
        get_reply(fds[i], 1);
    }
    resident = status_of(&server, "VmRSS:");
    claimed = status_of(&server, "VmData:");
    lintel_header_put(header, 0, 7, 1, ANNOUNCED);
    for (int i = 0; i < PEERS; i++) {
        put_all(fds[i], header, sizeof header);
        put_all(fds[i], "0123456789", 10);
    }
    /* It is read in the order in which it came, and this came last. */
    put_request(fds[PEERS], 2);
    get_reply(fds[PEERS], 2);
    resident = status_of(&server, "VmRSS:") - resident;
    claimed = status_of(&server, "VmData:") - claimed;
    print_message("%ld KiB more are resident, %ld KiB are claimed\n", resident, claimed);
    assert_true(resident < LIMIT_KIB);
    assert_true(claimed < LIMIT_KIB);
    for (int i = 0; i <= PEERS; i++)
        close(fds[i]);
    stop(&server);
}

static void discarded_message_takes_constant_memory(void **state)
{
    enum { FRAGMENTS = 256, FRAGMENT = 1024 * 1024, LIMIT_KIB = 16 * 1024 };
    static uint8_t wire[LINTEL_HEADER_SIZE + FRAGMENT];
    char *options[] = {"-H", "discard", NULL};
    struct server server;
    long peak;
    int fd;

    (void)state;
    skip_if_instrumented();
    server = start(0, options);
    fd = peer_of(&server);
    for (int i = 1; i <= FRAGMENTS; i++) {
        lintel_header_put(wire, i < FRAGMENTS ? LINTEL_MORE : 0, 7, 1, FRAGMENT);
        put_all(fd, wire, sizeof wire);
    }
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    get_end(fd);
    peak = status_of(&server, "VmHWM:");
    print_message("%ld KiB at most for a message of %d MiB\n", peak, FRAGMENTS);
    assert_true(peak <= LIMIT_KIB);
    close(fd);
    stop(&server);
}

/* ---- out of descriptors ---------------------------------------------------------------------- */

static int descriptors_of(const struct server *server)
{
    char path[64];
    int count = -2; /* . and .. */
    DIR *folder;

    snprintf(path, sizeof path, "/proc/%ld/fd", (long)server->pid);
    folder = opendir(path);
    assert_non_null(folder);
    while (readdir(folder) != NULL)
        count++;
    closedir(folder);
    return count;
}

static double cpu_ms(const struct server *server)
{
    struct timespec time;
    clockid_t clock;

    assert_int_equal(clock_getcpuclockid(server->pid, &clock), 0);
    assert_int_equal(clock_gettime(clock, &time), 0);
    return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

/* Until it has said that the connection idles: about two seconds. */
static void wait_for_idle(int fd)
{
    uint8_t bye[LINTEL_HEADER_SIZE + 8];

    get_all(fd, bye, sizeof bye);
    assert_int_equal(lintel_get_u32be(bye + LINTEL_HEADER_SIZE), LINTEL_BYE_IDLE);
    get_end(fd);
    close(fd);
}

/*
 * A listener that cannot be accepted from stays readable. A server that goes on polling it uses all
 * the time that it gets; this one uses none but for what it does.
 */
static void out_of_descriptors_it_neither_spins_nor_dies(void **state)
{
    enum { LIMIT = 64, PEERS = 200, REQUESTS = 2000, SPUN_MS = 50 };
    char *options[] = {"--max-connections", "unlimited", "--idle-timeout", "2", NULL};
    struct server server;
    int fds[PEERS];
    uint8_t byte;
    double used;

    (void)state;
    server = start(LIMIT, options);
    for (uint32_t i = 0; i < PEERS; i++) {
        fds[i] = peer_of(&server);
        put_request(fds[i], i + 1);
    }
    while (descriptors_of(&server) < LIMIT)
        ;
    get_reply(fds[0], 1);
    assert_int_equal(recv(fds[PEERS - 1], &byte, 1, MSG_DONTWAIT), -1);
    for (uint32_t i = 1; i <= REQUESTS; i++) {
        put_request(fds[0], i);
        get_reply(fds[0], i);
    }
    used = cpu_ms(&server);
    wait_for_idle(fds[0]);
    used = cpu_ms(&server) - used;
    print_message("%.1f ms of the processor in two seconds without requests\n", used);
    assert_true(used < SPUN_MS);
    for (uint32_t i = 1; i < PEERS; i++) {
        get_reply(fds[i], i + 1);
        close(fds[i]);
    }
    stop(&server);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_thousand_connections_are_served_at_once),
        cmocka_unit_test(workers_serve_what_they_are_handed),
        cmocka_unit_test(slow_peers_are_cut_and_the_others_served),
        cmocka_unit_test(announced_lengths_cost_the_process_nothing),
        cmocka_unit_test(discarded_message_takes_constant_memory),
        cmocka_unit_test(out_of_descriptors_it_neither_spins_nor_dies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
