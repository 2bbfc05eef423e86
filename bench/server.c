/*
 * A server with many connections against a loop over epoll that speaks the same framing and was
 * written for nothing else. Each connection has one request of 64 bytes under way. The server is a
 * process of its own, and where there are two processors on another one than its clients: wall time
 * a request is then that of the slower side.
 */
#define _GNU_SOURCE
#include "config.h"

#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "echo.h"

#define PAYLOAD  64
#define WIRE     (LINTEL_HEADER_SIZE + PAYLOAD)
#define EVENTS   256
#define HONEST   100 /* beside the drips, */
#define DRIPS    1000
#define DRIPS_MS 1 /* of which one sends a byte so often: each of them once a second */

/* ---- the server's process -------------------------------------------------------------------- */

struct peer {
    pid_t pid;
    clockid_t clock;
    struct sockaddr_in address;
};

static void leave_this_processor(void)
{
    cpu_set_t others;
    long all = sysconf(_SC_NPROCESSORS_CONF);

    CPU_ZERO(&others);
    for (long i = 0; i < all && i < CPU_SETSIZE; i++)
        CPU_SET((size_t)i, &others);
    CPU_CLR((size_t)sched_getcpu(), &others);
    (void)sched_setaffinity(0, sizeof others, &others);
}

static int listener(struct sockaddr_in *address)
{
    socklen_t size = sizeof *address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(fd, (struct sockaddr *)address, size) < 0 || listen(fd, 4096) < 0 ||
        getsockname(fd, (struct sockaddr *)address, &size) < 0)
        bench_fail("a listener on loopback");
    return fd;
}

static struct peer start(void (*serve)(int listener))
{
    struct peer peer;
    int fd = listener(&peer.address);

    peer.pid = fork();
    if (peer.pid < 0)
        bench_fail("fork");
    if (peer.pid == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        leave_this_processor();
        serve(fd);
        _exit(1);
    }
    (void)close(fd);
    if (clock_getcpuclockid(peer.pid, &peer.clock) != 0)
        bench_fail("the clock of another process");
    return peer;
}

static double peer_cpu_ns(const struct peer *peer)
{
    struct timespec t;

    if (clock_gettime(peer->clock, &t) != 0)
        bench_fail("the server ended");
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void end(const struct peer *peer)
{
    (void)kill(peer->pid, SIGKILL);
    (void)waitpid(peer->pid, NULL, 0);
}

/* ---- the clients ----------------------------------------------------------------------------- */

struct client {
    int fd;
    size_t got; /* bytes of the reply that is awaited */
    double since;
};

struct load {
    struct client *clients;
    size_t count;
    int epoll;
    size_t left;     /* requests to be sent */
    size_t awaited;  /* replies */
    double *latency; /* of each reply; NULL: nobody asks */
    size_t replies;
    int *drips; /* NULL: there are none */
    size_t dripped;
    double drip_at;
};

/* Descriptors for so many connections; 0 if there are not as many to be had. */
static int have_descriptors(size_t count)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return 0;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur >= count + 64;
}

static int connect_to(const struct peer *peer)
{
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;

    if (fd < 0 || connect(fd, (const struct sockaddr *)&peer->address, sizeof peer->address) < 0)
        bench_fail("a connection on loopback");
    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

static void put_request(uint8_t frame[WIRE], size_t number)
{
    memset(frame, 'x', WIRE);
    lintel_header_put(frame, 0, 7, (uint32_t)number + 1, PAYLOAD);
}

static void request(struct load *load, struct client *client)
{
    uint8_t frame[WIRE];

    if (load->left == 0)
        return;
    load->left--;
    load->awaited++;
    put_request(frame, (size_t)(client - load->clients));
    if (load->latency != NULL)
        client->since = bench_wall_ns();
    if (send(client->fd, frame, sizeof frame, MSG_NOSIGNAL) != (ssize_t)sizeof frame)
        bench_fail("a request");
}

static void receive(struct load *load, struct client *client)
{
    uint8_t frame[WIRE];
    ssize_t n = recv(client->fd, frame, sizeof frame - client->got, MSG_DONTWAIT);

    if (n <= 0)
        bench_fail("a reply");
    if (client->got == 0 && n == WIRE && lintel_get_u32be(frame + 8) != client - load->clients + 1)
        bench_fail("the reply to another request");
    client->got += (size_t)n;
    if (client->got < WIRE)
        return;
    client->got = 0;
    load->awaited--;
    if (load->latency != NULL)
        load->latency[load->replies] = bench_wall_ns() - client->since;
    load->replies++;
    request(load, client);
}

static void drip(struct load *load)
{
    uint8_t frame[WIRE];
    size_t number = load->dripped % DRIPS;
    double now = bench_wall_ns();

    if (now < load->drip_at)
        return;
    load->drip_at = now + DRIPS_MS * 1e6;
    put_request(frame, number);
    if (send(load->drips[number], frame + load->dripped / DRIPS % WIRE, 1, MSG_NOSIGNAL) != 1)
        bench_fail("a drip");
    load->dripped++;
}

/* Until so many more requests are answered. */
static void run(struct load *load, size_t requests)
{
    struct epoll_event events[EVENTS];

    load->left = requests;
    load->replies = 0;
    for (size_t i = 0; i < load->count; i++)
        request(load, &load->clients[i]);
    while (load->awaited > 0) {
        int n = epoll_wait(load->epoll, events, EVENTS, 10000);
        if (n <= 0)
            bench_fail("no reply comes");
        for (int i = 0; i < n; i++)
            receive(load, events[i].data.ptr);
        if (load->drips != NULL)
            drip(load);
    }
}

static void open_load(struct load *load, const struct peer *peer, size_t count, size_t drips)
{
    memset(load, 0, sizeof *load);
    load->clients = calloc(count, sizeof *load->clients);
    load->drips = drips > 0 ? calloc(drips, sizeof *load->drips) : NULL;
    load->count = count;
    load->epoll = epoll_create1(EPOLL_CLOEXEC);
    for (size_t i = 0; i < count; i++) {
        struct client *client = &load->clients[i];
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
        client->fd = connect_to(peer);
        if (epoll_ctl(load->epoll, EPOLL_CTL_ADD, client->fd, &event) < 0)
            bench_fail("epoll_ctl");
    }
    for (size_t i = 0; i < drips; i++)
        load->drips[i] = connect_to(peer);
    run(load, 4 * count);
}

static void close_load(struct load *load, size_t drips)
{
    for (size_t i = 0; i < load->count; i++)
        (void)close(load->clients[i].fd);
    for (size_t i = 0; i < drips; i++)
        (void)close(load->drips[i]);
    (void)close(load->epoll);
    free(load->clients);
    free(load->drips);
}

/* ---- measuring ------------------------------------------------------------------------------- */

enum what { WALL, SERVER_CPU };

static size_t requests_of(size_t connections)
{
    return connections == 1 ? 4000 : 24000;
}

static double measure(void (*serve)(int listener), size_t connections, enum what what)
{
    size_t requests = requests_of(connections);
    struct peer peer;
    struct load load;
    double ns;

    if (serve == NULL || !have_descriptors(connections))
        return -1;
    peer = start(serve);
    open_load(&load, &peer, connections, 0);
    ns = what == WALL ? bench_wall_ns() : peer_cpu_ns(&peer);
    run(&load, requests);
    ns = (what == WALL ? bench_wall_ns() : peer_cpu_ns(&peer)) - ns;
    close_load(&load, 0);
    end(&peer);
    return ns / (double)requests;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median latency of HONEST connections beside so many that send a byte now and then. */
static double latency(size_t drips)
{
    size_t requests = requests_of(HONEST);
    double *latencies = calloc(requests, sizeof *latencies), median;
    struct peer peer;
    struct load load;

    if (lintel_echo_serve == NULL || !have_descriptors(HONEST + drips)) {
        free(latencies);
        return -1;
    }
    peer = start(lintel_echo_serve);
    open_load(&load, &peer, HONEST, drips);
    load.latency = latencies;
    run(&load, requests);
    qsort(latencies, requests, sizeof *latencies, compare);
    median = latencies[requests / 2];
    close_load(&load, drips);
    end(&peer);
    free(latencies);
    return median;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static double raw_wall(size_t connections)
{
    return measure(raw_echo_serve, connections, WALL);
}

static double lintel_wall(size_t connections)
{
    return measure(lintel_echo_serve, connections, WALL);
}

static double raw_cpu(size_t connections)
{
    return measure(raw_echo_serve, connections, SERVER_CPU);
}

static double lintel_cpu(size_t connections)
{
    return measure(lintel_echo_serve, connections, SERVER_CPU);
}

static double quiet(size_t honest)
{
    (void)honest;
    return latency(0);
}

static double beside_drips(size_t honest)
{
    (void)honest;
    return latency(DRIPS);
}

#define OF_ITS_REQUESTS (1 / 0.75) /* at least 0.75 of the requests a second */
#define NEEDS           "libuv, or descriptors"

const struct bench_row bench_server_rows[] = {
    {"requests, connections", 1, raw_wall, lintel_wall, OF_ITS_REQUESTS, 0, NEEDS},
    {"requests, connections", 100, raw_wall, lintel_wall, OF_ITS_REQUESTS, 0, NEEDS},
    {"requests, connections", 1000, raw_wall, lintel_wall, OF_ITS_REQUESTS, 0, NEEDS},
    {"server's time, connections", 1, raw_cpu, lintel_cpu, 1.3, 0, NEEDS},
    {"server's time, connections", 100, raw_cpu, lintel_cpu, 1.3, 0, NEEDS},
    {"server's time, connections", 1000, raw_cpu, lintel_cpu, 1.3, 0, NEEDS},
    {"latency beside 1000 drips", HONEST, quiet, beside_drips, 2.0, 0, NEEDS},
    {NULL, 0, NULL, NULL, 0, 0, NULL},
};
