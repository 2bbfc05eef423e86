/* Streams over sockets, both ends on one processor, against bare read and write of the same bytes.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHUNK     ((size_t)256 * 1024)
#define ROUNDTRIP 2000

/* ---- two ends -------------------------------------------------------------------------------- */

enum kind { UNIX_PAIR, TCP_PAIR };

static void tcp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int one = 1;

    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (struct sockaddr *)&address, size) < 0 || listen(listener, 1) < 0 ||
        getsockname(listener, (struct sockaddr *)&address, &size) < 0 ||
        connect(fds[0], (struct sockaddr *)&address, size) < 0)
        bench_fail("a TCP connection on loopback");
    fds[1] = accept(listener, NULL, NULL);
    (void)setsockopt(fds[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)setsockopt(fds[1], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    (void)close(listener);
}

/* A child runs one end and exits; returns the other. */
static int fork_end(enum kind kind, void (*end)(int fd, size_t size), size_t size)
{
    int fds[2];

    if (kind == TCP_PAIR)
        tcp_pair(fds);
    else if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        bench_fail("socketpair");
    switch (fork()) {
    case -1:
        bench_fail("fork");
        break;
    case 0:
        (void)close(fds[0]);
        end(fds[1], size);
        _exit(0);
    default:
        (void)close(fds[1]);
    }
    return fds[0];
}

static void join_end(void)
{
    int status;

    if (wait(&status) < 0 || status != 0)
        bench_fail("the other end failed");
}

/* Processor time of this process and of the children that were waited for: with both ends on one
 * processor that is the wall time, less what other programs took of it. */
static double both_cpu_ns(void)
{
    struct rusage self, children;
    double ns = 0;

    (void)getrusage(RUSAGE_SELF, &self);
    (void)getrusage(RUSAGE_CHILDREN, &children);
    ns += (double)(self.ru_utime.tv_sec + self.ru_stime.tv_sec) * 1e9;
    ns += (double)(self.ru_utime.tv_usec + self.ru_stime.tv_usec) * 1e3;
    ns += (double)(children.ru_utime.tv_sec + children.ru_stime.tv_sec) * 1e9;
    ns += (double)(children.ru_utime.tv_usec + children.ru_stime.tv_usec) * 1e3;
    return ns;
}

static struct lintel_stream *sealed_on(int fd, const struct lintel_seal_keys *keys)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;

    options.seal_keys = keys;
    if (lintel_stream_new(&stream, fd, fd, &options, NULL) < 0)
        bench_fail("stream");
    return stream;
}

static struct lintel_stream *stream_on(int fd)
{
    return sealed_on(fd, NULL);
}

/* ---- raw bytes ------------------------------------------------------------------------------- */

static void write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t put = write(fd, bytes, size);
        if (put <= 0)
            bench_fail("write");
        bytes += put;
        size -= (size_t)put;
    }
}

static void read_all(int fd, uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t got = read(fd, bytes, size);
        if (got <= 0)
            bench_fail("read");
        bytes += got;
        size -= (size_t)got;
    }
}

/* ---- ping-pong ------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double middle(double *times)
{
    qsort(times, ROUNDTRIP, sizeof *times, compare);
    return times[ROUNDTRIP / 2];
}

static void raw_echo(int fd, size_t size)
{
    uint8_t frame[4096];

    for (int i = 0; i < ROUNDTRIP; i++) {
        read_all(fd, frame, size + 16);
        write_all(fd, frame, size + 16);
    }
}

static double raw_ping(enum kind kind, size_t size)
{
    uint8_t frame[4096] = {0};
    double times[ROUNDTRIP];
    int fd = fork_end(kind, raw_echo, size);

    for (int i = 0; i < ROUNDTRIP; i++) {
        double start = bench_wall_ns();
        write_all(fd, frame, size + 16);
        read_all(fd, frame, size + 16);
        times[i] = bench_wall_ns() - start;
    }
    (void)close(fd);
    join_end();
    return middle(times);
}

static void lintel_echo(int fd, size_t size)
{
    struct lintel_stream *stream = stream_on(fd);
    struct lintel_frame frame;

    (void)size;
    while (lintel_stream_recv(stream, &frame, -1) == 1) {
        struct lintel_header header;
        if (lintel_header_read(NULL, &header, &frame) < 0)
            bench_fail("header");
        header.flags = LINTEL_REPLY;
        if (lintel_stream_send(stream, &header, frame.payload, frame.length, -1) < 0)
            bench_fail("send");
    }
    lintel_stream_close(stream);
}

static double lintel_ping(enum kind kind, size_t size)
{
    struct lintel_stream *stream = stream_on(fork_end(kind, lintel_echo, size));
    struct lintel_header header = {0, 7, 1, NULL};
    struct lintel_frame frame;
    double times[ROUNDTRIP];
    uint8_t payload[4096] = {0};

    for (int i = 0; i < ROUNDTRIP; i++) {
        double start = bench_wall_ns();
        header.id = (uint32_t)i + 1;
        if (lintel_stream_send(stream, &header, payload, size, -1) < 0 ||
            lintel_stream_recv(stream, &frame, -1) != 1)
            bench_fail("ping");
        times[i] = bench_wall_ns() - start;
    }
    lintel_stream_close(stream);
    join_end();
    return middle(times);
}

/* ---- one way --------------------------------------------------------------------------------- */

/* How many frames of a size a round takes: enough that setting up two ends is nothing beside it. */
static size_t frames_of(size_t size)
{
    return (size < 4096 ? (size_t)128 << 20 : (size_t)512 << 20) / (size + 16);
}

/* Frames of that size in a row, the last of them cut. */
static uint8_t *framed(size_t size)
{
    uint8_t *chunk = malloc(CHUNK);
    size_t at = 0;

    memset(chunk, 0xA5, CHUNK);
    for (; CHUNK - at >= LINTEL_HEADER_SIZE; at += size + 16) {
        lintel_header_put(chunk + at, 0, 7, 0, (uint32_t)size);
        if (CHUNK - at < size + 16)
            break;
    }
    return chunk;
}

static uint8_t *payload_of(size_t size)
{
    return memset(malloc(size), 0xA5, size);
}

static void raw_sink(int fd, size_t size)
{
    uint8_t *chunk = malloc(CHUNK);
    size_t left = frames_of(size) * (size + 16);

    while (left > 0) {
        ssize_t got = read(fd, chunk, CHUNK);
        if (got <= 0)
            bench_fail("read");
        left -= (size_t)got;
    }
    write_all(fd, chunk, 1);
    free(chunk);
}

static double raw_stream(enum kind kind, size_t size)
{
    uint8_t *chunk = framed(size);
    size_t left = frames_of(size) * (size + 16);
    double start = both_cpu_ns();
    int fd = fork_end(kind, raw_sink, size);

    while (left > 0) {
        size_t step = left < CHUNK ? left : CHUNK;
        write_all(fd, chunk, step);
        left -= step;
    }
    read_all(fd, chunk, 1);
    (void)close(fd);
    join_end();
    free(chunk);
    return (both_cpu_ns() - start) / (double)frames_of(size);
}

/* What a hand-written loop does for whole frames: a header and a payload in one call, until it is
 * out, and into one buffer, until it is whole. */
static void hand_sink(int fd, size_t size)
{
    uint8_t *frame = malloc(size + 16);

    for (size_t i = frames_of(size); i > 0; i--)
        read_all(fd, frame, size + 16);
    write_all(fd, frame, 1);
    free(frame);
}

static double hand_stream(enum kind kind, size_t size)
{
    uint8_t header[LINTEL_HEADER_SIZE], *payload = payload_of(size);
    double start = both_cpu_ns();
    int fd = fork_end(kind, hand_sink, size);

    for (size_t i = frames_of(size); i > 0; i--) {
        struct iovec parts[] = {{header, sizeof header}, {payload, size}};
        ssize_t put;
        lintel_header_put(header, 0, 7, 0, (uint32_t)size);
        put = writev(fd, parts, 2);
        if (put < (ssize_t)sizeof header)
            bench_fail("writev");
        write_all(fd, payload + (put - (ssize_t)sizeof header), size + sizeof header - (size_t)put);
    }
    read_all(fd, payload, 1);
    (void)close(fd);
    join_end();
    free(payload);
    return (both_cpu_ns() - start) / (double)frames_of(size);
}

static const struct lintel_seal_keys *const *oneway_keys; /* responder, initiator; NULL: plain */
static int oneway_in_pieces;

/* The frames that the next call ends. */
static size_t recv_some(struct lintel_stream *stream)
{
    struct lintel_frame frames[64];
    struct lintel_piece pieces[8];
    size_t whole = 0;
    int rc;

    if (!oneway_in_pieces && (rc = lintel_stream_recv_batch(stream, frames, 64, -1)) > 0)
        return (size_t)rc;
    if (!oneway_in_pieces || (rc = lintel_stream_recv_pieces(stream, pieces, 8, -1)) <= 0)
        bench_fail("recv");
    while (rc > 0)
        whole += (size_t)pieces[--rc].last;
    return whole;
}

static void lintel_sink(int fd, size_t size)
{
    struct lintel_stream *stream = sealed_on(fd, oneway_keys != NULL ? oneway_keys[0] : NULL);
    size_t left = frames_of(size);
    uint8_t done = 0;

    while (left > 0)
        left -= recv_some(stream);
    write_all(fd, &done, 1);
    lintel_stream_close(stream);
}

static double lintel_oneway(enum kind kind, size_t size)
{
    uint8_t *payload = payload_of(size);
    double start = both_cpu_ns();
    struct lintel_stream *stream =
        sealed_on(fork_end(kind, lintel_sink, size), oneway_keys != NULL ? oneway_keys[1] : NULL);
    struct lintel_header header = {0, 7, 0, NULL};
    struct lintel_counters counters;
    uint8_t done;

    for (size_t i = frames_of(size); i > 0; i--)
        if (size < 4096
                ? lintel_stream_send(stream, &header, payload, size, -1) < 0
                : lintel_stream_send_ref(stream, &header, payload, size, NULL, NULL, -1) < 0)
            bench_fail("send");
    if (lintel_stream_flush(stream, -1) != 1)
        bench_fail("flush");
    read_all(lintel_stream_in_fd(stream), &done, 1);
    lintel_stream_counters(stream, &counters);
    if (size >= 65536 && counters.payloads_copied != 0)
        bench_fail("a large payload was copied");
    lintel_stream_close(stream);
    join_end();
    free(payload);
    return (both_cpu_ns() - start) / (double)frames_of(size);
}

double bench_oneway(const struct lintel_seal_keys *const keys[2], size_t size)
{
    double ns;

    oneway_keys = keys;
    ns = lintel_oneway(UNIX_PAIR, size);
    oneway_keys = NULL;
    return ns;
}

/* ---- rows ------------------------------------------------------------------------------------ */

static double raw_ping_tcp(size_t size)
{
    return raw_ping(TCP_PAIR, size);
}

static double raw_ping_unix(size_t size)
{
    return raw_ping(UNIX_PAIR, size);
}

static double lintel_ping_tcp(size_t size)
{
    return lintel_ping(TCP_PAIR, size);
}

static double lintel_ping_unix(size_t size)
{
    return lintel_ping(UNIX_PAIR, size);
}

static double raw_stream_tcp(size_t size)
{
    return raw_stream(TCP_PAIR, size);
}

static double raw_stream_unix(size_t size)
{
    return raw_stream(UNIX_PAIR, size);
}

static double hand_stream_tcp(size_t size)
{
    return hand_stream(TCP_PAIR, size);
}

static double hand_stream_unix(size_t size)
{
    return hand_stream(UNIX_PAIR, size);
}

static double lintel_oneway_tcp(size_t size)
{
    return lintel_oneway(TCP_PAIR, size);
}

static double lintel_oneway_unix(size_t size)
{
    return lintel_oneway(UNIX_PAIR, size);
}

static double pieces_of(enum kind kind, size_t size)
{
    double ns;

    oneway_in_pieces = 1;
    ns = lintel_oneway(kind, size);
    oneway_in_pieces = 0;
    return ns;
}

static double lintel_pieces_tcp(size_t size)
{
    return pieces_of(TCP_PAIR, size);
}

static double lintel_pieces_unix(size_t size)
{
    return pieces_of(UNIX_PAIR, size);
}

/* Of both ends, for a round trip; setting them up takes less than one for each. */
static double calls_of(double (*ping)(size_t size), size_t size)
{
    double calls = bench_calls(ping, size);
    return calls < 0 ? calls : (double)((long)calls / ROUNDTRIP);
}

static double raw_calls_tcp(size_t size)
{
    return calls_of(raw_ping_tcp, size);
}

static double raw_calls_unix(size_t size)
{
    return calls_of(raw_ping_unix, size);
}

static double lintel_calls_tcp(size_t size)
{
    return calls_of(lintel_ping_tcp, size);
}

static double lintel_calls_unix(size_t size)
{
    return calls_of(lintel_ping_unix, size);
}

#define OF_ITS_BYTES (1 / 0.85) /* at least 0.85 of the bytes a second */

const struct bench_row bench_stream_rows[] = {
    {"ping-pong, TCP", 64, raw_ping_tcp, lintel_ping_tcp, 1.1, 0, ""},
    {"ping-pong, UNIX", 64, raw_ping_unix, lintel_ping_unix, 1.1, 0, ""},
    {"ping-pong, TCP: system calls", 64, raw_calls_tcp, lintel_calls_tcp, 1, 0, "ptrace"},
    {"ping-pong, UNIX: system calls", 64, raw_calls_unix, lintel_calls_unix, 1, 0, "ptrace"},
    {"one way, TCP", 64, raw_stream_tcp, lintel_oneway_tcp, 1.5, 0, ""},
    {"one way, UNIX", 64, raw_stream_unix, lintel_oneway_unix, 2.0, 0, ""},
    {"one way, TCP", 65536, raw_stream_tcp, lintel_oneway_tcp, OF_ITS_BYTES, 0, ""},
    {"one way, UNIX", 65536, raw_stream_unix, lintel_oneway_unix, OF_ITS_BYTES, 0, ""},
    {"one way, TCP", 1048576, raw_stream_tcp, lintel_oneway_tcp, OF_ITS_BYTES, 0, ""},
    {"one way, UNIX", 1048576, raw_stream_unix, lintel_oneway_unix, OF_ITS_BYTES, 0, ""},
    {"one way in pieces, TCP", 65536, raw_stream_tcp, lintel_pieces_tcp, OF_ITS_BYTES, 0, ""},
    {"one way in pieces, UNIX", 65536, raw_stream_unix, lintel_pieces_unix, OF_ITS_BYTES, 0, ""},
    {"one way in pieces, TCP", 1048576, raw_stream_tcp, lintel_pieces_tcp, OF_ITS_BYTES, 0, ""},
    {"one way in pieces, UNIX", 1048576, raw_stream_unix, lintel_pieces_unix, OF_ITS_BYTES, 0, ""},
    {"one way, TCP, by hand whole", 1048576, hand_stream_tcp, lintel_oneway_tcp, OF_ITS_BYTES, 0,
     ""},
    {"one way, UNIX, by hand whole", 1048576, hand_stream_unix, lintel_oneway_unix, OF_ITS_BYTES, 0,
     ""},
    {NULL, 0, NULL, NULL, 0, 0, NULL},
};
