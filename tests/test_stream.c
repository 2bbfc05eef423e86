/* stream: the send loop and the recv loop under every cut, failure and end that they can meet. */
#include "config.h"
#include "lintel/stream.h"

#include "wrap.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define WIRE_MAX ((size_t)1 << 20)

static int setup(void **state)
{
    (void)state;
    wrap_reset();
    return 0;
}

/* ---- helpers --------------------------------------------------------------------------------- */

static uint8_t *pattern(size_t size)
{
    static uint8_t bytes[WIRE_MAX];

    if (bytes[1] == 0)
        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (uint8_t)(i * 7 + i / 251 + 3);
    assert_true(size <= sizeof bytes);
    return bytes;
}

/* Counts what is held, and can fail the nth allocation from now, or all from the nth on. */
struct memory {
    struct lintel_allocator allocator;
    size_t held, blocks;
    int fail_at, fail_on; /* 0: never */
};

static void *resize(void *user, void *ptr, size_t size)
{
    struct memory *memory = user;
    size_t *old = ptr != NULL ? (size_t *)ptr - 2 : NULL, *block;

    if (size > 0 && memory->fail_at > 0 && --memory->fail_at == 0) {
        memory->fail_at = memory->fail_on;
        return NULL;
    }
    if (old != NULL) {
        memory->held -= old[0];
        memory->blocks--;
    }
    if (size == 0) {
        free(old);
        return NULL;
    }
    block = realloc(old, size + 2 * sizeof(size_t));
    assert_non_null(block);
    block[0] = size;
    memory->held += size;
    memory->blocks++;
    return block + 2;
}

static struct memory new_memory(void)
{
    struct memory memory = {{resize, NULL}, 0, 0, 0, 0};

    return memory;
}

/* A socketpair whose sockets take little, so that writes are cut. */
static void make_pair(int fds[2], int send_buffer)
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    for (int i = 0; i < 2 && send_buffer > 0; i++)
        assert_int_equal(
            setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &send_buffer, sizeof send_buffer), 0);
}

static void make_tcp_pair(int fds[2])
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fds[0], (struct sockaddr *)&address, size), 0);
    fds[1] = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    assert_true(fds[1] >= 0);
    close(listener);
}

static struct lintel_stream *stream_on(int fd, const struct lintel_stream_options *options)
{
    struct lintel_stream *stream;
    struct lintel_error error;

    if (lintel_stream_new(&stream, fd, fd, options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return stream;
}

/* A stream on one end of a pair, and the other end. */
static struct lintel_stream *stream_and_peer(int *peer, const struct lintel_stream_options *options)
{
    int fds[2];

    make_pair(fds, 0);
    *peer = fds[1];
    return stream_on(fds[0], options);
}

static struct lintel_header numbered(uint32_t id)
{
    struct lintel_header header;

    memset(&header, 0, sizeof header);
    header.type = 7;
    header.id = id;
    return header;
}

/* Append a frame to wire bytes. */
static void encode(uint8_t *wire, size_t *used, uint32_t id, size_t size)
{
    struct lintel_header header = numbered(id);
    size_t step;

    assert_int_equal(lintel_frame_encode(NULL, wire + *used, WIRE_MAX - *used, &step, &header,
                                         pattern(size), size, NULL),
                     LINTEL_OK);
    *used += step;
}

static size_t read_all(int fd, uint8_t *out, size_t size)
{
    size_t used = 0;
    ssize_t got;

    while (used < size && (got = recv(fd, out + used, size - used, MSG_DONTWAIT)) > 0)
        used += (size_t)got;
    return used;
}

static void write_all(int fd, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        ssize_t put = send(fd, bytes, size, MSG_NOSIGNAL);
        assert_true(put > 0);
        bytes += put;
        size -= (size_t)put;
    }
}

static void expect_frame(const struct lintel_frame *frame, uint32_t id, size_t size)
{
    struct lintel_header header;

    assert_int_equal(lintel_header_read(lintel_layout_default(), &header, frame), LINTEL_OK);
    assert_int_equal(header.id, id);
    assert_int_equal(frame->length, size);
    assert_memory_equal(frame->payload, pattern(size), size);
}

static void expect_recv(struct lintel_stream *stream, uint32_t id, size_t size)
{
    struct lintel_frame frame;
    struct lintel_error error;
    int rc = lintel_stream_recv(stream, &frame, -1);

    if (rc != 1) {
        lintel_stream_error(stream, &error);
        fail_msg("frame %u: %s", id, error.text);
    }
    expect_frame(&frame, id, size);
}

static void expect_error(const struct lintel_stream *stream, int status, const char *text)
{
    struct lintel_error error;

    lintel_stream_error(stream, &error);
    assert_string_equal(error.text, text);
    assert_int_equal(error.status, status);
}

static int send_n(struct lintel_stream *stream, uint32_t id, size_t size, int timeout_ms)
{
    struct lintel_header header = numbered(id);

    return lintel_stream_send(stream, &header, pattern(size), size, timeout_ms);
}

struct released {
    unsigned count;
    const void *payload;
    size_t size;
};

static void on_release(void *user, const void *payload, size_t size)
{
    struct released *released = user;

    released->count++;
    released->payload = payload;
    released->size = size;
}

static int send_ref_n(struct lintel_stream *stream, uint32_t id, size_t size,
                      struct released *released, int timeout_ms)
{
    struct lintel_header header = numbered(id);

    return lintel_stream_send_ref(stream, &header, pattern(size), size, on_release, released,
                                  timeout_ms);
}

static void expect_unsent(const struct lintel_stream *stream, uint64_t frames, uint64_t bytes)
{
    uint64_t got_frames, got_bytes;

    lintel_stream_unsent(stream, &got_frames, &got_bytes);
    assert_int_equal(got_frames, frames);
    assert_int_equal(got_bytes, bytes);
    lintel_stream_unsent(stream, NULL, NULL);
}

/* ---- the plain way --------------------------------------------------------------------------- */

static const size_t sizes[] = {0, 1, 64, 4095, 4096, 5000, 32767, 32768, 70000, 300000};
#define SIZES (sizeof sizes / sizeof sizes[0])

static void expect_all_sizes(struct lintel_stream *a, struct lintel_stream *b)
{
    struct released released = {0, NULL, 0};

    for (uint32_t i = 0; i < SIZES; i++) {
        /* With timeout 0 the queue takes any frame; the peer is this same thread. */
        assert_int_equal(send_n(a, 2 * i, sizes[i], 0), LINTEL_OK);
        assert_int_equal(send_ref_n(a, 2 * i + 1, sizes[i], &released, 0), LINTEL_OK);
        for (uint32_t j = 0; j < 2; j++) {
            struct lintel_frame frame;
            int rc;
            while ((rc = lintel_stream_recv(b, &frame, 0)) == 0)
                assert_true(lintel_stream_flush(a, 0) >= 0);
            assert_int_equal(rc, 1);
            expect_frame(&frame, 2 * i + j, sizes[i]);
        }
        assert_int_equal(lintel_stream_flush(a, 0), 1);
        assert_int_equal(released.count, i + 1);
        assert_int_equal(released.size, sizes[i]);
        assert_ptr_equal(released.payload, pattern(sizes[i]));
    }
}

static void stream_carries_every_size(void **state)
{
    static uint8_t shared[16 * 1024];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;

    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        struct memory memory = new_memory();
        struct lintel_stream *a, *b;
        struct lintel_counters in, out;
        int fds[2];
        memory.allocator.user = &memory;
        options.allocator = &memory.allocator;
        options.receive_buffer = kind & 1 ? shared : NULL;
        options.receive_buffer_size = kind & 1 ? sizeof shared : 0;
        if (kind & 2)
            make_tcp_pair(fds);
        else
            make_pair(fds, 4096);
        a = stream_on(fds[0], &options);
        b = stream_on(fds[1], &options);
        expect_all_sizes(a, b);
        expect_all_sizes(b, a);
        lintel_stream_counters(a, &out);
        lintel_stream_counters(b, &in);
        assert_int_equal(out.frames_out, 2 * SIZES);
        assert_int_equal(in.frames_in, 2 * SIZES);
        assert_int_equal(out.bytes_out, in.bytes_in);
        assert_int_equal(in.bytes_out, out.bytes_in);
        lintel_stream_close(a);
        lintel_stream_close(b);
        assert_int_equal(memory.blocks, 0);
    }
}

static void stream_carries_a_foreign_layout_with_a_trailer(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_layout *layout;
    struct lintel_stream *a, *b;
    struct lintel_header header;
    struct lintel_frame frame;
    struct released released = {0, NULL, 0};
    int fds[2];

    (void)state;
    assert_int_equal(lintel_layout_new(&layout, "!B:type I:length * B:end=0xCE", NULL, NULL),
                     LINTEL_OK);
    options.layout = layout;
    make_pair(fds, 0);
    a = stream_on(fds[0], &options);
    b = stream_on(fds[1], &options);
    memset(&header, 0, sizeof header);
    for (uint32_t i = 0; i < SIZES - 2; i++) {
        header.type = i;
        assert_int_equal(lintel_stream_send(a, &header, pattern(sizes[i]), sizes[i], 0), LINTEL_OK);
        assert_int_equal(lintel_stream_send_ref(a, &header, pattern(sizes[i]), sizes[i], on_release,
                                                &released, 0),
                         LINTEL_OK);
        assert_int_equal(lintel_stream_flush(a, 0), 1);
        for (int j = 0; j < 2; j++) {
            assert_int_equal(lintel_stream_recv(b, &frame, -1), 1);
            assert_int_equal(frame.length, sizes[i]);
            assert_int_equal(frame.header[0], i);
            assert_int_equal(frame.trailer[0], 0xCE);
            assert_memory_equal(frame.payload, pattern(sizes[i]), sizes[i]);
        }
    }
    header.flags = LINTEL_REPLY;
    assert_int_equal(lintel_stream_send(a, &header, NULL, 0, -1), LINTEL_E_RANGE);
    expect_error(a, LINTEL_E_RANGE, "the layout has no view named flags");
    assert_ptr_equal(lintel_stream_layout(a), layout);
    lintel_stream_close(a);
    lintel_stream_close(b);
    lintel_layout_free(layout);
}

static void stream_gathers_small_frames_into_one_write(void **state)
{
    struct lintel_frame frames[64];
    struct lintel_stream *a, *b;
    int fds[2];

    (void)state;
    make_pair(fds, 0);
    a = stream_on(fds[0], NULL);
    b = stream_on(fds[1], NULL);
    for (uint32_t i = 0; i < 50; i++)
        assert_int_equal(send_n(a, i, i, -1), LINTEL_OK);
    assert_int_equal(wrap_count(WRAP_SENDMSG), 0);
    assert_int_equal(lintel_stream_queued(a), 50 * 16 + 49 * 25);
    expect_unsent(a, 50, 50 * 16 + 49 * 25);
    assert_int_equal(lintel_stream_flush(a, -1), 1);
    expect_unsent(a, 0, 0);
    assert_int_equal(wrap_count(WRAP_SENDMSG), 1);
    assert_int_equal(lintel_stream_recv_batch(b, frames, 64, -1), 50);
    for (uint32_t i = 0; i < 50; i++)
        expect_frame(&frames[i], i, i);
    assert_int_equal(wrap_count(WRAP_RECV), 1);
    assert_int_equal(wrap_count(WRAP_POLL), 0);
    assert_int_equal(wrap_count(WRAP_CLOCK), 0);
    lintel_stream_close(a);
    lintel_stream_close(b);
}

static void stream_writes_when_enough_is_gathered(void **state)
{
    uint8_t *wire = malloc(WIRE_MAX);
    struct lintel_stream *a;
    size_t sent = 0;
    int peer;

    (void)state;
    a = stream_and_peer(&peer, NULL);
    while (wrap_count(WRAP_SENDMSG) == 0) {
        assert_int_equal(send_n(a, 1, 1000, 0), LINTEL_OK);
        sent += 1016;
        assert_true(sent <= LINTEL_GATHER_SIZE + 2 * 1016);
    }
    assert_true(sent + 1016 >= LINTEL_GATHER_SIZE);
    assert_true(read_all(peer, wire, WIRE_MAX) > 0);
    lintel_stream_close(a);
    close(peer);
    free(wire);
}

static void stream_sends_large_payloads_without_a_copy(void **state)
{
    struct lintel_counters counters;
    struct lintel_stream *a, *b;
    struct released released = {0, NULL, 0};
    int fds[2];

    (void)state;
    make_pair(fds, 0);
    a = stream_on(fds[0], NULL);
    b = stream_on(fds[1], NULL);
    assert_int_equal(send_n(a, 1, 65536, -1), LINTEL_OK);
    assert_int_equal(lintel_stream_queued(a), 0);
    assert_int_equal(send_ref_n(a, 2, 65536, &released, -1), LINTEL_OK);
    assert_int_equal(released.count, 0);
    assert_int_equal(lintel_stream_flush(a, -1), 1);
    assert_int_equal(released.count, 1);
    lintel_stream_counters(a, &counters);
    assert_int_equal(counters.payloads_copied, 0);
    expect_recv(b, 1, 65536);
    expect_recv(b, 2, 65536);
    lintel_stream_close(a);
    lintel_stream_close(b);
}

/* A process that echoes every frame and ends when it is told to. */
static pid_t fork_echo(int fd, int other)
{
    pid_t pid = fork();
    struct lintel_stream *stream;
    struct lintel_frame frame;

    if (pid != 0)
        return pid;
    close(other);
    stream = stream_on(fd, NULL);
    while (lintel_stream_recv(stream, &frame, -1) == 1) {
        struct lintel_header header = numbered(0);
        header.like = &frame;
        if (lintel_stream_send(stream, &header, frame.payload, frame.length, -1) != LINTEL_OK)
            _exit(2);
    }
    lintel_stream_close(stream);
    /* The calls of this side are reported by the exit status: one more than a multiple. */
    _exit(wrap_count(WRAP_POLL) == 0 && wrap_count(WRAP_SENDMSG) == 100 &&
                  wrap_count(WRAP_RECV) == 101
              ? 0
              : 3);
}

static void stream_ping_pong_takes_one_write_and_one_read_a_side(void **state)
{
    struct lintel_stream *stream;
    int fds[2], status;
    pid_t pid;

    (void)state;
    make_pair(fds, 0);
    pid = fork_echo(fds[1], fds[0]);
    close(fds[1]);
    stream = stream_on(fds[0], NULL);
    for (uint32_t i = 0; i < 100; i++) {
        assert_int_equal(send_n(stream, i, 64, -1), LINTEL_OK);
        expect_recv(stream, i, 64);
    }
    assert_int_equal(wrap_count(WRAP_SENDMSG), 100);
    assert_int_equal(wrap_count(WRAP_RECV), 100);
    assert_int_equal(wrap_count(WRAP_POLL), 0);
    assert_int_equal(wrap_count(WRAP_CLOCK), 0);
    lintel_stream_close(stream);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* ---- every cut ------------------------------------------------------------------------------- */

/* A peer that reads whenever the stream waits. */
struct reader {
    int fd, pipe;
    size_t used;
    uint8_t bytes[WIRE_MAX];
};
static struct reader reader;

static size_t read_pipe(int fd, uint8_t *out)
{
    struct pollfd one = {fd, POLLIN, 0};
    size_t used = 0;
    ssize_t got;

    while (poll(&one, 1, 0) == 1 && (got = read(fd, out + used, 4096)) > 0)
        used += (size_t)got;
    return used;
}

static int read_on_wait(void *user, int timeout_ms)
{
    size_t got = reader.pipe
                     ? read_pipe(reader.fd, reader.bytes + reader.used)
                     : read_all(reader.fd, reader.bytes + reader.used, WIRE_MAX - reader.used);

    (void)user;
    (void)timeout_ms;
    reader.used += got;
    return got > 0;
}

static void start_reader(int fd)
{
    reader.fd = fd;
    reader.pipe = 0;
    reader.used = 0;
    wrap_clock(1000);
    wrap_on_wait(read_on_wait, NULL);
}

static void expect_read(const uint8_t *wire, size_t size)
{
    (void)read_on_wait(NULL, 0);
    assert_int_equal(reader.used, size);
    assert_memory_equal(reader.bytes, wire, size);
}

/* Send the same frames with a script for sendmsg, and compare the wire. */
/* A stream that writes to a pipe, and the other end of it. Nothing comes in. */
static struct lintel_stream *stream_and_pipe(int *peer)
{
    struct lintel_stream *stream;
    int out[2];

    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    *peer = out[0];
    assert_int_equal(
        lintel_stream_new(&stream, open("/dev/null", O_RDONLY | O_CLOEXEC), out[1], NULL, NULL),
        LINTEL_OK);
    return stream;
}

static void expect_wire(const int *outcomes, size_t count, int rest, int timeout_ms, int pipes)
{
    static const uint32_t frame_sizes[] = {5, 0, 4100, 3};
    static uint8_t wire[WIRE_MAX];
    struct released released = {0, NULL, 0};
    struct lintel_stream *stream;
    size_t used = 0;
    int peer, rc;

    stream = pipes ? stream_and_pipe(&peer) : stream_and_peer(&peer, NULL);
    wrap_reset();
    start_reader(peer);
    reader.pipe = pipes;
    wrap_script(pipes ? WRAP_WRITEV : WRAP_SENDMSG, outcomes, count, rest);
    for (uint32_t i = 0; i < 4; i++) {
        encode(wire, &used, i, frame_sizes[i]);
        if (i == 2)
            assert_int_equal(send_ref_n(stream, i, frame_sizes[i], &released, timeout_ms),
                             LINTEL_OK);
        else
            assert_int_equal(send_n(stream, i, frame_sizes[i], timeout_ms), LINTEL_OK);
    }
    while ((rc = lintel_stream_flush(stream, timeout_ms)) == 0)
        (void)read_on_wait(NULL, 0);
    assert_int_equal(rc, 1);
    assert_int_equal(released.count, 1);
    expect_read(wire, used);
    lintel_stream_close(stream);
    close(peer);
}

#define CUT_WIRE (4 * 16 + 5 + 4100 + 3)

static void stream_send_goes_on_from_every_cut(void **state)
{
    static const int modes[] = {-1, 1000, 0};

    (void)state;
    for (int cut = 1; cut < CUT_WIRE; cut++) {
        int outcomes[] = {cut, -EINTR, -EAGAIN, WRAP_REAL};
        int again[] = {-EAGAIN, cut, 1, -EINTR, -EINTR, 1};
        expect_wire(outcomes, 4, WRAP_REAL, modes[cut % 3], 0);
        expect_wire(again, 6, WRAP_REAL, modes[(cut + 1) % 3], 0);
        expect_wire(outcomes, 4, WRAP_REAL, modes[cut % 3], 1);
    }
    for (int i = 0; i < 6; i++) {
        expect_wire(NULL, 0, 1, modes[i % 3], i / 3);
        expect_wire(NULL, 0, 7, modes[i % 3], i / 3);
    }
}

static void stream_direct_send_goes_on_from_cuts(void **state)
{
    static const int modes[] = {-1, 1000, 0};
    static uint8_t wire[WIRE_MAX], got[WIRE_MAX];
    const int size = 40000;

    (void)state;
    for (int cut = 1; cut<16 + 5 + 16 + size + 16; cut += cut> 40 && cut < size ? 997 : 1)
        for (int i = 0; i < 3; i++) {
            int outcomes[] = {cut, -EAGAIN};
            struct lintel_counters counters;
            struct lintel_stream *stream;
            size_t used = 0;
            uint8_t *payload = malloc((size_t)size);
            struct lintel_header header = numbered(2);
            int peer, rc = 0;
            stream = stream_and_peer(&peer, NULL);
            wrap_script(WRAP_SENDMSG, outcomes, 2, WRAP_REAL);
            encode(wire, &used, 1, 5);
            encode(wire, &used, 2, (size_t)size);
            memcpy(payload, pattern((size_t)size), (size_t)size);
            assert_int_equal(send_n(stream, 1, 5, modes[i]), LINTEL_OK);
            assert_int_equal(lintel_stream_send(stream, &header, payload, (size_t)size, modes[i]),
                             LINTEL_OK);
            /* Copied: what the caller does with it now must not be seen. */
            memset(payload, 0xEE, (size_t)size);
            free(payload);
            while (rc == 0)
                rc = lintel_stream_flush(stream, modes[i]);
            assert_int_equal(rc, 1);
            assert_int_equal(read_all(peer, got, WIRE_MAX), used);
            assert_memory_equal(got, wire, used);
            lintel_stream_counters(stream, &counters);
            if (modes[i] < 0)
                assert_int_equal(counters.payloads_copied, 5);
            if (modes[i] == 0 && cut > 37 && cut < 37 + size)
                assert_int_equal(counters.payloads_copied, 5 + 37 + size - cut);
            lintel_stream_close(stream);
            close(peer);
            wrap_reset();
        }
}

static void expect_frames(const int *outcomes, size_t count, int rest, int timeout_ms,
                          size_t shared_size)
{
    static const uint32_t frame_sizes[] = {5, 0, 6000, 3, 40};
    static uint8_t wire[WIRE_MAX], shared[4096];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct lintel_frame frame;
    size_t used = 0;
    int peer, rc;

    options.receive_buffer = shared_size > 0 ? shared : NULL;
    options.receive_buffer_size = shared_size;
    stream = stream_and_peer(&peer, &options);
    for (uint32_t i = 0; i < 5; i++)
        encode(wire, &used, i, frame_sizes[i]);
    write_all(peer, wire, used);
    shutdown(peer, SHUT_WR);
    wrap_reset();
    wrap_script(WRAP_RECV, outcomes, count, rest);
    for (uint32_t i = 0; i < 5; i++) {
        while ((rc = lintel_stream_recv(stream, &frame, timeout_ms)) == 0)
            continue;
        assert_int_equal(rc, 1);
        expect_frame(&frame, i, frame_sizes[i]);
        /* Another stream may receive into it now. */
        if (frame.length < 100)
            memset(shared, 0xEE, sizeof shared);
    }
    while ((rc = lintel_stream_recv(stream, &frame, timeout_ms)) == 0)
        continue;
    assert_int_equal(rc, LINTEL_E_END);
    assert_int_equal(lintel_stream_recv(stream, &frame, timeout_ms), LINTEL_E_END);
    lintel_stream_close(stream);
    close(peer);
}

#define RECV_WIRE (5 * 16 + 5 + 6000 + 3 + 40)

static void stream_recv_goes_on_from_every_cut(void **state)
{
    static const int modes[] = {-1, 1000, 0};

    (void)state;
    for (int cut = 1; cut < RECV_WIRE; cut++) {
        int outcomes[] = {-EINTR, cut, -EAGAIN, -EINTR, WRAP_REAL};
        expect_frames(outcomes, 5, WRAP_REAL, modes[cut % 3], 0);
        expect_frames(outcomes, 5, WRAP_REAL, modes[cut % 3], 4096);
    }
    for (int i = 0; i < 3; i++)
        for (int step = 1; step < 40; step++) {
            expect_frames(NULL, 0, step, modes[i], 0);
            expect_frames(NULL, 0, step, modes[i], 4096);
            expect_frames(NULL, 0, WRAP_REAL, modes[i], (size_t)step);
        }
}

/* ---- failures -------------------------------------------------------------------------------- */

static int status_of(int number)
{
    return number == EPIPE        ? LINTEL_E_CLOSED
           : number == ECONNRESET ? LINTEL_E_RESET
                                  : LINTEL_E_SYSTEM;
}

/* Law 6: at whatever byte sending fails, what was taken and not written whole is counted. */
static void stream_failed_send_counts_what_was_lost(void **state)
{
    static const size_t frame_sizes[] = {5, 0, 4100, 3};
    static const int numbers[] = {EPIPE, ECONNRESET, ENOMEM, ETIMEDOUT};

    (void)state;
    for (int step = 0; step < 2 * CUT_WIRE; step++) {
        /* A pipe takes at most PIPE_BUF at once, so that it is not cut behind that. */
        const int cut = step / 2, pipes = step % 2 && cut <= PIPE_BUF;
        struct released released = {0, NULL, 0};
        int number = numbers[cut % 4], outcomes[] = {cut, -number}, peer;
        struct lintel_stream *stream =
            pipes ? stream_and_pipe(&peer) : stream_and_peer(&peer, NULL);
        struct lintel_error error;
        uint64_t whole = 0;
        size_t end = 0;
        wrap_reset();
        wrap_script(pipes ? WRAP_WRITEV : WRAP_SENDMSG, outcomes + (cut == 0), cut == 0 ? 1 : 2,
                    WRAP_REAL);
        for (uint32_t i = 0; i < 4; i++) {
            if (i == 2)
                assert_int_equal(send_ref_n(stream, i, frame_sizes[i], &released, -1), LINTEL_OK);
            else
                assert_int_equal(send_n(stream, i, frame_sizes[i], -1), LINTEL_OK);
            end += 16 + frame_sizes[i];
            whole += end <= (size_t)cut;
        }
        assert_int_equal(lintel_stream_flush(stream, cut % 2 ? -1 : 1000), status_of(number));
        expect_unsent(stream, 4 - whole, (uint64_t)(CUT_WIRE - cut));
        assert_int_equal(released.count, 1);
        assert_int_equal(lintel_stream_queued(stream), 0);
        assert_int_equal(lintel_stream_wants(stream), LINTEL_WANT_READ);
        /* Sticky, and the counts stay. */
        assert_int_equal(lintel_stream_flush(stream, -1), status_of(number));
        assert_int_equal(send_n(stream, 9, 1, -1), status_of(number));
        assert_int_equal(send_ref_n(stream, 9, 9999, &released, -1), status_of(number));
        assert_int_equal(released.count, 2);
        assert_int_equal(lintel_stream_shutdown(stream, -1), status_of(number));
        lintel_stream_error(stream, &error);
        assert_int_equal(error.system, number);
        expect_unsent(stream, 4 - whole, (uint64_t)(CUT_WIRE - cut));
        lintel_stream_close(stream);
        close(peer);
    }
}

/* Frames whose sizes repeat and do not: wherever two writes in a row end, those are counted that
 * are whole, and a frame that comes in between, as long as the last one or not, changes nothing. */
static void stream_counts_the_frames_that_are_whole(void **state)
{
    static const size_t payloads[] = {5, 5, 5, 0, 9, 5, 5, 9, 9, 0};
    enum { COUNT = sizeof payloads / sizeof payloads[0], FIRST = COUNT - 2 };
    size_t ends[COUNT], wire = 0, first = 0;

    (void)state;
    for (size_t i = 0; i < COUNT; i++) {
        wire += 16 + payloads[i];
        ends[i] = wire;
        if (i < FIRST)
            first = wire;
    }
    for (size_t one = 1; one < first; one++)
        for (size_t two = one; two < wire; two++) {
            int once[] = {(int)one, -EAGAIN}, again[] = {(int)(two - one), -EAGAIN};
            struct lintel_counters counters;
            uint64_t whole[] = {0, 0};
            int peer;
            struct lintel_stream *stream = stream_and_peer(&peer, NULL);
            for (size_t i = 0; i < COUNT; i++) {
                whole[0] += ends[i] <= one;
                whole[1] += ends[i] <= two;
            }
            for (uint32_t i = 0; i < FIRST; i++)
                assert_int_equal(send_n(stream, i, payloads[i], 0), LINTEL_OK);
            wrap_reset();
            wrap_script(WRAP_SENDMSG, once, 2, WRAP_REAL);
            assert_int_equal(lintel_stream_flush(stream, 0), 0);
            lintel_stream_counters(stream, &counters);
            assert_int_equal(counters.frames_out, whole[0]);
            expect_unsent(stream, FIRST - whole[0], first - one);
            for (uint32_t i = FIRST; i < COUNT; i++)
                assert_int_equal(send_n(stream, i, payloads[i], 0), LINTEL_OK);
            wrap_reset();
            wrap_script(WRAP_SENDMSG, again + (two == one), two == one ? 1 : 2, WRAP_REAL);
            assert_int_equal(lintel_stream_flush(stream, 0), 0);
            lintel_stream_counters(stream, &counters);
            assert_int_equal(counters.frames_out, whole[1]);
            expect_unsent(stream, COUNT - whole[1], wire - two);
            wrap_reset();
            assert_int_equal(lintel_stream_flush(stream, -1), 1);
            lintel_stream_counters(stream, &counters);
            assert_int_equal(counters.frames_out, COUNT);
            expect_unsent(stream, 0, 0);
            lintel_stream_close(stream);
            close(peer);
        }
}

static void stream_failing_send_call_does_not_count_its_own_frame(void **state)
{
    struct released released = {0, NULL, 0};

    (void)state;
    for (int ref = 0; ref < 2; ref++)
        for (int mode = -1; mode < 1; mode++) {
            int outcomes[] = {16 + 10 + 16 + 1000, -EPIPE}, peer, rc;
            struct lintel_stream *stream = stream_and_peer(&peer, NULL);
            wrap_reset();
            wrap_script(WRAP_SENDMSG, outcomes, 2, WRAP_REAL);
            assert_int_equal(send_n(stream, 1, 10, mode), LINTEL_OK);
            rc = ref ? send_ref_n(stream, 2, 300000, &released, mode)
                     : send_n(stream, 2, 300000, mode);
            assert_int_equal(rc, LINTEL_E_CLOSED);
            expect_unsent(stream, 0, 0);
            expect_error(stream, LINTEL_E_CLOSED, "send: Broken pipe; 0 frames (0 bytes) not sent");
            lintel_stream_close(stream);
            close(peer);
        }
    assert_int_equal(released.count, 2);
}

static void stream_recv_reports_each_failure(void **state)
{
    static const int numbers[] = {ECONNRESET, ENOMEM, ETIMEDOUT, EBADF};

    (void)state;
    for (size_t i = 0; i < 4; i++)
        for (int mode = -1; mode < 1; mode++) {
            static uint8_t wire[WIRE_MAX];
            struct lintel_stream *stream;
            struct lintel_frame frame;
            struct lintel_error error;
            size_t used = 0;
            int peer;
            stream = stream_and_peer(&peer, NULL);
            encode(wire, &used, 1, 10);
            encode(wire, &used, 2, 10);
            write_all(peer, wire, used - 1);
            wrap_reset();
            wrap_fail(WRAP_RECV, 1, 1, numbers[i]);
            expect_recv(stream, 1, 10);
            assert_int_equal(lintel_stream_recv(stream, &frame, mode), status_of(numbers[i]));
            lintel_stream_error(stream, &error);
            assert_int_equal(error.status, status_of(numbers[i]));
            assert_int_equal(error.system, numbers[i]);
            assert_int_equal(error.at, 26);
            assert_int_equal(lintel_stream_recv(stream, &frame, mode), status_of(numbers[i]));
            assert_int_equal(lintel_stream_wants(stream), 0);
            assert_int_equal(lintel_stream_wait_ms(stream), -1);
            /* Sending fails apart. */
            assert_int_equal(send_n(stream, 3, 10, -1), LINTEL_OK);
            assert_int_equal(lintel_stream_flush(stream, -1), 1);
            lintel_stream_close(stream);
            close(peer);
        }
}

static void stream_shows_no_eintr(void **state)
{
    int storm[1000], peer;
    struct lintel_stream *stream;
    static uint8_t wire[WIRE_MAX];
    size_t used = 0;

    (void)state;
    for (size_t i = 0; i < 1000; i++)
        storm[i] = i % 3 == 2 ? 1 : -EINTR;
    stream = stream_and_peer(&peer, NULL);
    wrap_script(WRAP_SENDMSG, storm, 1000, -EINTR);
    wrap_script(WRAP_RECV, storm, 1000, WRAP_REAL);
    wrap_script(WRAP_POLL, storm, 2, WRAP_REAL);
    assert_int_equal(send_n(stream, 1, 200, -1), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(stream, -1), 1);
    encode(wire, &used, 1, 200);
    write_all(peer, wire, used);
    expect_recv(stream, 1, 200);
    lintel_stream_close(stream);
    close(peer);
}

static void stream_poll_can_fail(void **state)
{
    static const int would_wait[] = {-EAGAIN};
    struct lintel_stream *stream;
    struct lintel_frame frame;
    int peer;

    (void)state;
    stream = stream_and_peer(&peer, NULL);
    wrap_script(WRAP_SENDMSG, would_wait, 1, WRAP_REAL);
    wrap_fail(WRAP_POLL, 0, 1, ENOMEM);
    assert_int_equal(send_n(stream, 1, 40000, -1), LINTEL_E_SYSTEM);
    expect_unsent(stream, 0, 0);
    wrap_reset();
    wrap_fail(WRAP_POLL, 0, 1, ENOMEM);
    assert_int_equal(lintel_stream_recv(stream, &frame, 1000), LINTEL_E_SYSTEM);
    lintel_stream_close(stream);
    close(peer);
}

/* Every allocation of an exchange fails in turn, once and from then on. A call that says so has
 * changed nothing and can be made again. */
static void stream_survives_every_failing_allocation(void **state)
{
    static const size_t frame_sizes[] = {5, 4100, 40000, 20000, 60};
    static uint8_t wire[WIRE_MAX], got[WIRE_MAX], shared[4096];
    size_t used = 0;
    unsigned failures = 0;

    (void)state;
    for (uint32_t i = 0; i < 5; i++)
        encode(wire, &used, i, frame_sizes[i]);
    for (int n = 1; n < 60; n++)
        for (int kind = 0; kind < 4; kind++) {
            struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
            struct memory memory = new_memory();
            struct released released = {0, NULL, 0};
            struct lintel_stream *stream;
            struct lintel_frame frame;
            int fds[2], rc;
            memory.allocator.user = &memory;
            memory.fail_at = n;
            memory.fail_on = kind & 1;
            options.allocator = &memory.allocator;
            options.receive_buffer = kind & 2 ? shared : NULL;
            options.receive_buffer_size = kind & 2 ? sizeof shared : 0;
            make_pair(fds, 0);
            rc = lintel_stream_new(&stream, fds[0], fds[0], &options, NULL);
            if (rc < 0) {
                assert_int_equal(rc, LINTEL_E_NOMEM);
                assert_int_equal(fcntl(fds[0], F_GETFD), -1);
                close(fds[1]);
                assert_int_equal(memory.blocks, 0);
                failures++;
                continue;
            }
            for (uint32_t i = 0; i < 5; i++) {
                uint64_t frames, bytes;
                size_t queued = lintel_stream_queued(stream);
                lintel_stream_unsent(stream, &frames, &bytes);
                rc = i == 1 ? send_ref_n(stream, i, frame_sizes[i], &released, 0)
                            : send_n(stream, i, frame_sizes[i], 0);
                if (rc == LINTEL_OK)
                    continue;
                failures++;
                assert_int_equal(rc, LINTEL_E_NOMEM);
                expect_error(stream, LINTEL_E_NOMEM, "out of memory");
                assert_int_equal(lintel_stream_queued(stream), queued);
                expect_unsent(stream, frames, bytes);
                memory.fail_at = 0;
                i--;
            }
            assert_int_equal(lintel_stream_flush(stream, 0), 1);
            assert_int_equal(released.count, 1 + (released.count > 1));
            assert_int_equal(read_all(fds[1], got, WIRE_MAX), used);
            assert_memory_equal(got, wire, used);
            write_all(fds[1], wire, used);
            for (uint32_t i = 0; i < 5; i++) {
                rc = lintel_stream_recv(stream, &frame, 0);
                if (rc == LINTEL_E_NOMEM) {
                    failures++;
                    memory.fail_at = 0;
                    rc = lintel_stream_recv(stream, &frame, 0);
                    /* Bytes in the shared buffer that cannot be kept are the one thing lost. */
                    if (rc == LINTEL_E_NOMEM && (kind & 2))
                        break;
                }
                assert_int_equal(rc, 1);
                expect_frame(&frame, i, frame_sizes[i]);
            }
            lintel_stream_close(stream);
            close(fds[1]);
            assert_int_equal(memory.blocks, 0);
        }
    assert_true(failures > 20);
}

static void stream_send_ref_releases_exactly_once(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct released released = {0, NULL, 0};
    struct lintel_header bad = numbered(1), good = numbered(1);
    struct lintel_stream *stream;
    int peer;

    (void)state;
    options.max_frame = 100000;
    stream = stream_and_peer(&peer, &options);
    bad.flags = 0x80;
    assert_int_equal(lintel_stream_send_ref(NULL, &good, "x", 1, on_release, &released, -1),
                     LINTEL_E_USAGE);
    assert_int_equal(released.count, 1);
    assert_int_equal(lintel_stream_send_ref(stream, NULL, "x", 1, on_release, &released, -1),
                     LINTEL_E_USAGE);
    assert_int_equal(released.count, 2);
    assert_int_equal(lintel_stream_send_ref(stream, &good, NULL, 1, on_release, &released, -1),
                     LINTEL_E_USAGE);
    assert_int_equal(released.count, 3);
    assert_int_equal(send_ref_n(stream, 1, 100001, &released, -1), LINTEL_E_TOO_LARGE);
    assert_int_equal(released.count, 4);
    expect_error(stream, LINTEL_E_TOO_LARGE,
                 "a payload of 100001 bytes exceeds the limit of 100000");
    for (size_t size = 10; size < 100000; size *= 100) {
        unsigned before = released.count;
        assert_int_equal(
            lintel_stream_send_ref(stream, &bad, pattern(size), size, on_release, &released, -1),
            LINTEL_E_MALFORMED);
        assert_int_equal(released.count, before + 1);
    }
    released.count = 0;
    assert_int_equal(lintel_stream_queued(stream), 0);
    assert_int_equal(lintel_stream_send_ref(stream, &good, NULL, 0, NULL, NULL, -1), LINTEL_OK);
    assert_int_equal(lintel_stream_send_ref(stream, &good, pattern(5000), 5000, NULL, NULL, -1),
                     LINTEL_OK);
    assert_int_equal(send_ref_n(stream, 1, 50000, &released, -1), LINTEL_OK);
    assert_int_equal(released.count, 0);
    lintel_stream_close(stream); /* unsent */
    assert_int_equal(released.count, 1);
    close(peer);

    stream = stream_and_peer(&peer, &options);
    assert_int_equal(lintel_stream_shutdown(stream, -1), 1);
    assert_int_equal(send_ref_n(stream, 1, 50000, &released, -1), LINTEL_E_CLOSED);
    assert_int_equal(released.count, 2);
    expect_error(stream, LINTEL_E_CLOSED, "this side was shut down for sending");
    lintel_stream_close(stream);
    close(peer);
}

/* ---- four ends ------------------------------------------------------------------------------- */

static void make_kind(int fds[2], int tcp)
{
    if (tcp)
        make_tcp_pair(fds);
    else
        make_pair(fds, 0);
}

static void stream_half_close_leaves_the_other_direction(void **state)
{
    (void)state;
    for (int tcp = 0; tcp < 2; tcp++) {
        struct lintel_stream *a, *b;
        struct lintel_frame frame;
        int fds[2];
        make_kind(fds, tcp);
        a = stream_on(fds[0], NULL);
        b = stream_on(fds[1], NULL);
        assert_int_equal(send_n(a, 1, 10, -1), LINTEL_OK);
        assert_int_equal(lintel_stream_shutdown(a, -1), 1);
        assert_int_equal(lintel_stream_shutdown(a, -1), 1);
        assert_int_equal(lintel_stream_flush(a, 0), 1);
        assert_int_equal(send_n(a, 2, 10, -1), LINTEL_E_CLOSED);
        expect_recv(b, 1, 10);
        assert_int_equal(lintel_stream_recv(b, &frame, -1), LINTEL_E_END);
        expect_error(b, LINTEL_E_END, "the end of the stream");
        assert_int_equal(lintel_stream_wants(b), 0);
        assert_int_equal(send_n(b, 3, 100000, -1), LINTEL_OK);
        assert_int_equal(lintel_stream_flush(b, -1), 1);
        expect_recv(a, 3, 100000);
        lintel_stream_close(b);
        assert_int_equal(lintel_stream_recv(a, &frame, -1), LINTEL_E_END);
        lintel_stream_close(a);
    }
}

static void stream_truncation_is_not_the_end(void **state)
{
    static uint8_t wire[WIRE_MAX];
    size_t used = 0;

    (void)state;
    encode(wire, &used, 1, 10);
    encode(wire, &used, 2, 10);
    for (int tcp = 0; tcp < 2; tcp++)
        for (size_t cut = 27; cut < used; cut++) {
            struct lintel_stream *stream;
            struct lintel_frame frame;
            struct lintel_error error;
            int fds[2];
            make_kind(fds, tcp);
            stream = stream_on(fds[0], NULL);
            write_all(fds[1], wire, cut);
            close(fds[1]);
            expect_recv(stream, 1, 10);
            assert_int_equal(lintel_stream_recv(stream, &frame, -1), LINTEL_E_TRUNCATED);
            assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_TRUNCATED);
            lintel_stream_error(stream, &error);
            assert_int_equal(error.status, LINTEL_E_TRUNCATED);
            assert_int_equal(error.at, 26);
            lintel_stream_close(stream);
        }
}

/* The peer closes with something unread; what it had sent before is still given out. */
static void stream_reset_is_its_own_result(void **state)
{
    static uint8_t wire[WIRE_MAX];
    size_t used = 0;

    (void)state;
    encode(wire, &used, 1, 10);
    for (int tcp = 0; tcp < 2; tcp++)
        for (int while_sending = 0; while_sending < 2; while_sending++) {
            struct lintel_stream *stream;
            struct lintel_frame frame;
            struct lintel_error error;
            int fds[2];
            make_kind(fds, tcp);
            stream = stream_on(fds[0], NULL);
            write_all(fds[1], wire, used);
            expect_recv(stream, 1, 10);
            assert_int_equal(send_n(stream, 1, 10, -1), LINTEL_OK);
            assert_int_equal(lintel_stream_flush(stream, -1), 1);
            if (!tcp)
                write_all(fds[1], wire, used);
            close(fds[1]);
            if (while_sending) {
                int rc = LINTEL_OK;
                for (int i = 0; rc >= 0 && i < 100; i++) {
                    assert_int_equal(send_n(stream, 2, 10, -1), LINTEL_OK);
                    rc = lintel_stream_flush(stream, -1);
                }
                /* A UNIX socket keeps the reset for who reads. */
                assert_int_equal(rc, tcp ? LINTEL_E_RESET : LINTEL_E_CLOSED);
            }
            if (!tcp)
                expect_recv(stream, 1, 10);
            assert_int_equal(lintel_stream_recv(stream, &frame, -1), LINTEL_E_RESET);
            assert_int_equal(lintel_stream_recv(stream, &frame, -1), LINTEL_E_RESET);
            lintel_stream_error(stream, &error);
            assert_int_equal(error.system, ECONNRESET);
            assert_string_equal(error.text, "receive: Connection reset by peer");
            lintel_stream_close(stream);
        }
}

static void stream_gives_what_came_before_a_broken_pipe(void **state)
{
    static uint8_t wire[WIRE_MAX];
    struct lintel_stream *stream;
    struct lintel_frame frame;
    size_t used = 0;
    int peer;

    (void)state;
    encode(wire, &used, 1, 10);
    encode(wire, &used, 2, 50000);
    stream = stream_and_peer(&peer, NULL);
    write_all(peer, wire, used);
    close(peer);
    assert_int_equal(send_n(stream, 9, 10, -1), LINTEL_OK);
    /* The flush inside of recv meets the broken pipe. */
    expect_recv(stream, 1, 10);
    expect_recv(stream, 2, 50000);
    assert_int_equal(lintel_stream_recv(stream, &frame, -1), LINTEL_E_END);
    assert_int_equal(lintel_stream_flush(stream, -1), LINTEL_E_CLOSED);
    expect_unsent(stream, 1, 26);
    expect_error(stream, LINTEL_E_CLOSED, "send: Broken pipe; 1 frame (26 bytes) not sent");
    lintel_stream_close(stream);
}

/* A peer that reads no more but does not end either: waiting for its answer would be in vain. */
static void stream_recv_reports_a_request_that_could_not_be_sent(void **state)
{
    struct lintel_stream *stream;
    struct lintel_frame frame;
    int peer;

    (void)state;
    for (int mode = -1; mode < 1000; mode += 1000) {
        stream = stream_and_peer(&peer, NULL);
        assert_int_equal(shutdown(peer, SHUT_RD), 0);
        assert_int_equal(send_n(stream, 9, 10, -1), LINTEL_OK);
        assert_int_equal(lintel_stream_recv(stream, &frame, mode), LINTEL_E_CLOSED);
        assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
        assert_int_equal(lintel_stream_wants(stream), LINTEL_WANT_READ);
        lintel_stream_close(stream);
        close(peer);
    }
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void send_and_take(struct lintel_stream *stream, size_t size, unsigned count)
{
    struct lintel_frame frame;

    for (uint32_t i = 0; i < count; i++)
        assert_int_equal(send_n(stream, i, size, -1), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(stream, -1), 1);
    for (uint32_t i = 0; i < count; i++) {
        assert_int_equal(lintel_stream_recv(stream, &frame, -1), 1);
        expect_frame(&frame, i, size);
    }
}

static void stream_two_that_both_send_do_not_lock(void **state)
{
    static const struct {
        size_t size;
        unsigned count;
        int pipes, tcp;
    } cases[] = {{65536, 128, 0, 0},
                 {1000, 8192, 0, 0},
                 {1 << 20, 8, 0, 0},
                 {65536, 32, 1, 0},
                 {65536, 128, 0, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lintel_stream *stream;
        int there[2], back[2], status;
        pid_t pid;
        if (cases[i].pipes) {
            assert_int_equal(pipe2(there, O_CLOEXEC), 0);
            assert_int_equal(pipe2(back, O_CLOEXEC), 0);
        } else {
            make_kind(there, cases[i].tcp);
            back[0] = there[1];
            back[1] = there[0];
            there[1] = there[0];
            there[0] = back[0];
        }
        pid = fork();
        if (pid == 0) {
            assert_int_equal(lintel_stream_new(&stream, there[0],
                                               back[0] == there[0] ? there[0] : back[1], NULL,
                                               NULL),
                             LINTEL_OK);
            send_and_take(stream, cases[i].size, cases[i].count);
            lintel_stream_close(stream);
            _exit(0);
        }
        if (cases[i].pipes) {
            close(there[0]);
            close(back[1]);
            assert_int_equal(lintel_stream_new(&stream, back[0], there[1], NULL, NULL), LINTEL_OK);
        } else {
            close(there[0]);
            stream = stream_on(there[1], NULL);
        }
        send_and_take(stream, cases[i].size, cases[i].count);
        lintel_stream_close(stream);
        assert_int_equal(waitpid(pid, &status, 0), pid);
        assert_int_equal(status, 0);
    }
}

/* What is received while a send waits stays within the budget. */
static void stream_receives_ahead_within_the_budget(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct memory memory = new_memory();
    struct lintel_counters counters;
    struct lintel_stream *stream;
    static uint8_t wire[WIRE_MAX];
    size_t used = 0;
    unsigned frames = 0;
    struct lintel_frame frame;
    int fds[2], rc;

    (void)state;
    memory.allocator.user = &memory;
    options.allocator = &memory.allocator;
    options.max_frame = 1000;
    options.max_memory = 50000;
    make_pair(fds, 0);
    while (used < 150000)
        encode(wire, &used, frames++, 1000);
    write_all(fds[1], wire, used);
    stream = stream_on(fds[0], &options);
    wrap_clock(1000);
    while ((rc = send_n(stream, 1, 1000, 100)) == LINTEL_OK)
        continue;
    assert_int_equal(rc, LINTEL_E_TIMEOUT);
    lintel_stream_counters(stream, &counters);
    assert_true(counters.bytes_in > 30000 && counters.bytes_in <= 50000);
    assert_int_equal(lintel_stream_wait_ms(stream), 0);
    for (uint32_t i = 0; i < frames; i++) {
        while ((rc = lintel_stream_recv(stream, &frame, 0)) == 0)
            continue;
        assert_int_equal(rc, 1);
        expect_frame(&frame, i, 1000);
    }
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    lintel_stream_close(stream);
    close(fds[1]);
    assert_int_equal(memory.blocks, 0);
}

/* The end, or a failure, that is met while a send waits comes after what was received before. */
static void stream_end_met_while_sending_comes_last(void **state)
{
    (void)state;
    for (int failing = 0; failing < 2; failing++) {
        static const int would_wait[] = {-EAGAIN, -EAGAIN, -EAGAIN};
        static const int broken[] = {WRAP_REAL, -ETIMEDOUT};
        static uint8_t wire[WIRE_MAX];
        struct lintel_stream *stream;
        struct lintel_frame frame;
        size_t used = 0;
        int peer;
        stream = stream_and_peer(&peer, NULL);
        encode(wire, &used, 1, 10);
        encode(wire, &used, 2, 10);
        write_all(peer, wire, used);
        shutdown(peer, SHUT_WR);
        wrap_reset();
        wrap_script(WRAP_SENDMSG, would_wait, 3, WRAP_REAL);
        if (failing)
            wrap_script(WRAP_RECV, broken, 2, WRAP_REAL);
        assert_int_equal(send_n(stream, 3, 10, -1), LINTEL_OK);
        assert_int_equal(lintel_stream_flush(stream, -1), 1);
        assert_int_equal(wrap_count(WRAP_RECV), 2);
        assert_int_equal(lintel_stream_wants(stream), 0);
        assert_int_equal(lintel_stream_wait_ms(stream), 0);
        expect_recv(stream, 1, 10);
        expect_recv(stream, 2, 10);
        assert_int_equal(lintel_stream_recv(stream, &frame, -1),
                         failing ? LINTEL_E_SYSTEM : LINTEL_E_END);
        assert_int_equal(wrap_count(WRAP_RECV), 2);
        lintel_stream_close(stream);
        close(peer);
    }
}

static void stream_views_outlive_a_send_that_receives(void **state)
{
    static const int would_wait[] = {-EAGAIN, -EAGAIN};
    static uint8_t wire[WIRE_MAX];
    struct lintel_stream *stream;
    struct lintel_frame frame;
    size_t used = 0;
    int peer;

    (void)state;
    stream = stream_and_peer(&peer, NULL);
    encode(wire, &used, 1, 3000);
    write_all(peer, wire, used);
    assert_int_equal(lintel_stream_recv(stream, &frame, -1), 1);
    for (int i = 0; i < 30; i++)
        write_all(peer, wire, used);
    start_reader(peer);
    for (int i = 0; i < 30; i++) {
        wrap_script(WRAP_SENDMSG, would_wait, 2, WRAP_REAL);
        assert_int_equal(lintel_stream_send(stream, &(struct lintel_header){.like = &frame},
                                            frame.payload, frame.length, -1),
                         LINTEL_OK);
        assert_int_equal(lintel_stream_flush(stream, -1), 1);
        expect_frame(&frame, 1, 3000);
    }
    for (int i = 0; i < 30; i++)
        expect_recv(stream, 1, 3000);
    lintel_stream_close(stream);
    close(peer);
}

static void stream_recv_honours_the_deadline(void **state)
{
    static uint8_t wire[WIRE_MAX];
    struct lintel_stream *stream;
    struct lintel_frame frame;
    size_t used = 0;
    int peer;

    (void)state;
    encode(wire, &used, 1, 10);
    stream = stream_and_peer(&peer, NULL);
    wrap_clock(1000);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    assert_int_equal(wrap_count(WRAP_POLL), 0);
    assert_int_equal(lintel_stream_recv(stream, &frame, 250), LINTEL_E_TIMEOUT);
    assert_int_equal(wrap_clock_now(), 1250);
    expect_error(stream, LINTEL_E_TIMEOUT, "no whole frame came in time");
    write_all(peer, wire, 20);
    assert_int_equal(lintel_stream_recv(stream, &frame, 250), LINTEL_E_TIMEOUT);
    write_all(peer, wire + 20, used - 20);
    write_all(peer, wire, used);
    wrap_reset();
    wrap_clock(1000);
    /* Neither poll nor clock where nothing has to be waited for. */
    assert_int_equal(lintel_stream_recv(stream, &frame, 250), 1);
    expect_frame(&frame, 1, 10);
    assert_int_equal(lintel_stream_recv(stream, &frame, 250), 1);
    assert_int_equal(wrap_count(WRAP_POLL), 0);
    assert_int_equal(wrap_count(WRAP_CLOCK), 0);
    lintel_stream_close(stream);
    close(peer);
}

static void stream_send_honours_the_deadline(void **state)
{
    static uint8_t got[WIRE_MAX];
    struct released released = {0, NULL, 0};
    struct lintel_stream *stream;
    uint64_t frames, bytes, more_frames;
    int peer, rc;

    (void)state;
    stream = stream_and_peer(&peer, NULL);
    wrap_clock(1000);
    while ((rc = send_n(stream, 1, 4000, 250)) == LINTEL_OK)
        continue;
    assert_int_equal(rc, LINTEL_E_TIMEOUT);
    assert_int_equal(wrap_clock_now(), 1250);
    assert_true(lintel_stream_queued(stream) <= LINTEL_GATHER_SIZE);
    lintel_stream_unsent(stream, &frames, &bytes);
    assert_int_equal(bytes, lintel_stream_queued(stream));
    assert_int_equal(send_n(stream, 1, 100000, 250), LINTEL_OK);
    assert_int_equal(send_n(stream, 1, 100000, 250), LINTEL_E_TIMEOUT);
    assert_int_equal(send_ref_n(stream, 1, 100000, &released, 250), LINTEL_E_TIMEOUT);
    assert_int_equal(released.count, 1);
    lintel_stream_unsent(stream, &more_frames, NULL);
    assert_int_equal(more_frames, frames + 1);
    assert_int_equal(lintel_stream_flush(stream, 250), LINTEL_E_TIMEOUT);
    assert_int_equal(wrap_clock_now(), 2250);
    /* The queue takes any frame of an event loop. */
    assert_int_equal(send_n(stream, 1, 100000, 0), LINTEL_OK);
    assert_int_equal(send_ref_n(stream, 1, 100000, &released, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(stream, 0), 0);
    assert_int_equal(lintel_stream_wants(stream), LINTEL_WANT_READ | LINTEL_WANT_WRITE);
    while ((rc = lintel_stream_flush(stream, 0)) == 0)
        assert_true(read_all(peer, got, WIRE_MAX) > 0);
    assert_int_equal(rc, 1);
    assert_int_equal(released.count, 2);
    lintel_stream_close(stream);
    close(peer);
}

static void stream_queue_of_an_event_loop_takes_any_frame(void **state)
{
    enum { FRAMES = 4000 };
    struct released released = {0, NULL, 0};
    struct lintel_stream *a, *b;
    struct lintel_frame frame;
    uint32_t next = 0;
    int fds[2], rc = 0;

    (void)state;
    make_pair(fds, 4096);
    a = stream_on(fds[0], NULL);
    b = stream_on(fds[1], NULL);
    for (uint32_t i = 0; i < FRAMES; i++)
        if (i % 1000 == 500)
            assert_int_equal(send_ref_n(a, i, 5000 + i, &released, 0), LINTEL_OK);
        else
            assert_int_equal(send_n(a, i, i % 1000, 0), LINTEL_OK);
    assert_true(lintel_stream_queued(a) > 4 * LINTEL_GATHER_SIZE);
    while (next < FRAMES) {
        assert_true(lintel_stream_flush(a, 0) >= 0);
        while ((rc = lintel_stream_recv(b, &frame, 0)) == 1) {
            expect_frame(&frame, next, next % 1000 == 500 ? 5000 + next : next % 1000);
            next++;
        }
        assert_int_equal(rc, 0);
    }
    assert_int_equal(released.count, FRAMES / 1000);
    lintel_stream_close(a);
    lintel_stream_close(b);
}

/* A queue that could not be written is not tried again with every frame of an event loop. */
static void stream_blocked_queue_is_left_alone_until_flushed(void **state)
{
    struct lintel_stream *stream;
    int peer;
    unsigned writes;

    (void)state;
    stream = stream_and_peer(&peer, NULL);
    while (lintel_stream_queued(stream) < LINTEL_GATHER_SIZE)
        assert_int_equal(send_n(stream, 1, 100000, 0), LINTEL_OK);
    writes = wrap_count(WRAP_SENDMSG);
    for (int i = 0; i < 1000; i++)
        assert_int_equal(send_n(stream, 1, i % 2 ? 100 : 40000, 0), LINTEL_OK);
    assert_int_equal(wrap_count(WRAP_SENDMSG), writes);
    assert_int_equal(lintel_stream_flush(stream, 0), 0);
    assert_int_equal(wrap_count(WRAP_SENDMSG), writes + 1);
    lintel_stream_close(stream);
    close(peer);
}

/* ---- the deadline of a begun frame ----------------------------------------------------------- */

struct drip {
    int fd;
    const uint8_t *bytes;
    size_t left;
    unsigned every_ms;
};

/* A byte each so many ms, as long as there are some. */
static int drip(void *user, int timeout_ms)
{
    struct drip *d = user;

    if (d->left == 0 || (timeout_ms >= 0 && (unsigned)timeout_ms <= d->every_ms))
        return 0;
    wrap_clock_advance(d->every_ms);
    assert_int_equal(write(d->fd, d->bytes, 1), 1);
    d->bytes++;
    d->left--;
    return 1;
}

static void stream_begun_frame_has_a_deadline_that_drips_do_not_put_off(void **state)
{
    static uint8_t wire[WIRE_MAX];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    size_t used = 0;

    (void)state;
    encode(wire, &used, 1, 10);
    options.frame_timeout_ms = 1000;
    for (int mode = -1; mode < 60000; mode += 50000) {
        struct lintel_stream *stream;
        struct lintel_frame frame;
        struct drip d;
        int peer;
        stream = stream_and_peer(&peer, &options);
        wrap_reset();
        wrap_clock(5000);
        write_all(peer, wire, used);
        assert_int_equal(lintel_stream_recv(stream, &frame, mode), 1);
        assert_int_equal(wrap_count(WRAP_CLOCK), 0);
        write_all(peer, wire, 1);
        d = (struct drip){peer, wire + 1, used, 100};
        wrap_on_wait(drip, &d);
        assert_int_equal(lintel_stream_recv(stream, &frame, mode), LINTEL_E_TIMEOUT);
        assert_int_equal(wrap_clock_now(), 6000);
        expect_error(stream, LINTEL_E_TIMEOUT,
                     "frame at byte 26: not whole within 1000 ms of its first byte");
        assert_int_equal(lintel_stream_recv(stream, &frame, mode), LINTEL_E_TIMEOUT);
        assert_int_equal(lintel_stream_wants(stream), 0);
        lintel_stream_close(stream);
        close(peer);
    }
}

static void stream_begun_frame_that_comes_in_time_is_given(void **state)
{
    static uint8_t wire[WIRE_MAX];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct drip d;
    size_t used = 0;
    int peer;

    (void)state;
    encode(wire, &used, 1, 10);
    options.frame_timeout_ms = 1000;
    stream = stream_and_peer(&peer, &options);
    wrap_clock(5000);
    for (int i = 0; i < 5; i++) {
        write_all(peer, wire, 1);
        d = (struct drip){peer, wire + 1, used - 1, 39};
        wrap_on_wait(drip, &d);
        expect_recv(stream, 1, 10);
    }
    lintel_stream_close(stream);
    close(peer);
}

static void stream_begun_frame_waits_while_we_do_not_read(void **state)
{
    static uint8_t wire[WIRE_MAX];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct lintel_frame frame;
    size_t used = 0;
    int peer;

    (void)state;
    encode(wire, &used, 1, 10);
    options.frame_timeout_ms = 1000;
    stream = stream_and_peer(&peer, &options);
    wrap_clock(5000);
    write_all(peer, wire, used);
    write_all(peer, wire, 5);
    expect_recv(stream, 1, 10);
    wrap_clock_advance(100000); /* busy with the frame */
    assert_int_equal(lintel_stream_recv(stream, &frame, 400), LINTEL_E_TIMEOUT);
    wrap_clock_advance(100000); /* busy elsewhere */
    assert_int_equal(lintel_stream_wait_ms(stream), -1);
    assert_int_equal(lintel_stream_recv(stream, &frame, 400), LINTEL_E_TIMEOUT);
    assert_int_equal(lintel_stream_recv(stream, &frame, 199), LINTEL_E_TIMEOUT);
    write_all(peer, wire + 5, used - 5);
    expect_recv(stream, 1, 10);
    write_all(peer, wire, 5);
    assert_int_equal(lintel_stream_recv(stream, &frame, 999), LINTEL_E_TIMEOUT);
    expect_error(stream, LINTEL_E_TIMEOUT, "no whole frame came in time");
    assert_int_equal(lintel_stream_recv(stream, &frame, 2), LINTEL_E_TIMEOUT);
    expect_error(stream, LINTEL_E_TIMEOUT,
                 "frame at byte 52: not whole within 1000 ms of its first byte");
    lintel_stream_close(stream);
    close(peer);
}

static void stream_tells_an_event_loop_when_to_call(void **state)
{
    static uint8_t wire[WIRE_MAX];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct lintel_frame frame;
    size_t used = 0;
    int peer;

    (void)state;
    encode(wire, &used, 1, 10);
    options.frame_timeout_ms = 1000;
    stream = stream_and_peer(&peer, &options);
    wrap_clock(5000);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    assert_int_equal(lintel_stream_wait_ms(stream), -1);
    assert_int_equal(wrap_count(WRAP_CLOCK), 0);
    write_all(peer, wire, 5);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    assert_int_equal(lintel_stream_wait_ms(stream), 1000);
    wrap_clock_advance(300);
    assert_int_equal(lintel_stream_wait_ms(stream), 700);
    write_all(peer, wire + 5, 1);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    assert_int_equal(lintel_stream_wait_ms(stream), 700);
    lintel_stream_pause(stream);
    wrap_clock_advance(50000);
    assert_int_equal(lintel_stream_wait_ms(stream), -1);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    assert_int_equal(lintel_stream_wait_ms(stream), 700);
    wrap_clock_advance(699);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    wrap_clock_advance(1);
    assert_int_equal(lintel_stream_wait_ms(stream), 0);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_TIMEOUT);
    assert_int_equal(lintel_stream_wait_ms(stream), -1);
    lintel_stream_close(stream);
    close(peer);
}

/* ---- descriptors ----------------------------------------------------------------------------- */

static void stream_changes_no_mode_and_leaks_nothing(void **state)
{
    static const int modes[] = {-1, 1000, 0};
    int before = open_descriptors();

    (void)state;
    for (int nonblocking = 0; nonblocking < 2; nonblocking++)
        for (int i = 0; i < 3; i++) {
            static uint8_t wire[WIRE_MAX];
            struct lintel_stream *stream;
            size_t used = 0;
            int fds[2], flags, rc;
            make_pair(fds, 0);
            if (nonblocking)
                assert_int_equal(fcntl(fds[0], F_SETFL, O_RDWR | O_NONBLOCK), 0);
            flags = fcntl(fds[0], F_GETFL);
            stream = stream_on(fds[0], NULL);
            assert_int_equal(lintel_stream_in_fd(stream), fds[0]);
            assert_int_equal(lintel_stream_out_fd(stream), fds[0]);
            assert_int_equal(send_n(stream, 1, 50000, modes[i]), LINTEL_OK);
            encode(wire, &used, 1, 10);
            write_all(fds[1], wire, used);
            expect_recv(stream, 1, 10);
            rc = lintel_stream_shutdown(stream, modes[i]);
            assert_int_equal(rc, 1);
            assert_int_equal(fcntl(fds[0], F_GETFL), flags);
            assert_int_equal(fcntl(fds[0], F_GETFD), FD_CLOEXEC);
            lintel_stream_close(stream);
            assert_int_equal(fcntl(fds[0], F_GETFD), -1);
            close(fds[1]);
        }
    assert_int_equal(open_descriptors(), before);
}

/* A descriptor that does not block is waited for by poll. */
static void stream_waits_on_a_descriptor_that_does_not_block(void **state)
{
    static uint8_t wire[WIRE_MAX];
    struct lintel_stream *stream;
    struct drip d;
    size_t used = 0;
    int fds[2];

    (void)state;
    encode(wire, &used, 1, 10);
    make_pair(fds, 0);
    assert_int_equal(fcntl(fds[0], F_SETFL, O_RDWR | O_NONBLOCK), 0);
    stream = stream_on(fds[0], NULL);
    wrap_clock(1000);
    d = (struct drip){fds[1], wire, used, 1};
    wrap_on_wait(drip, &d);
    expect_recv(stream, 1, 10);
    lintel_stream_close(stream);
    close(fds[1]);
}

static void stream_new_takes_the_descriptors_on_failure(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct lintel_error error;
    int before = open_descriptors(), fds[2];

    (void)state;
    make_pair(fds, 0);
    options.max_frame = (uint64_t)1 << 40;
    assert_int_equal(lintel_stream_new(&stream, fds[0], fds[1], &options, &error), LINTEL_E_RANGE);
    make_pair(fds, 0);
    options.size = 3;
    assert_int_equal(lintel_stream_new(&stream, fds[0], fds[1], &options, &error), LINTEL_E_USAGE);
    make_pair(fds, 0);
    assert_int_equal(lintel_stream_new(NULL, fds[0], fds[1], NULL, &error), LINTEL_E_USAGE);
    make_pair(fds, 0);
    close(fds[1]);
    assert_int_equal(lintel_stream_new(&stream, fds[0], fds[1], NULL, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, EBADF);
    for (int type = 0; type < 2; type++) {
        assert_int_equal(
            socketpair(AF_UNIX, (type ? SOCK_SEQPACKET : SOCK_DGRAM) | SOCK_CLOEXEC, 0, fds), 0);
        assert_int_equal(lintel_stream_new(&stream, fds[0], fds[1], NULL, &error),
                         LINTEL_E_UNSUPPORTED);
        assert_non_null(strstr(error.text, "not of a stream"));
    }
    assert_int_equal(lintel_stream_new(&stream, -1, -1, NULL, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_open(&stream, "fd://x", -1, NULL, &error), LINTEL_E_SYNTAX);
    assert_int_equal(lintel_stream_open(NULL, "fd://0", -1, NULL, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_open(&stream, "unix:///no/where", -1, NULL, &error),
                     LINTEL_E_SYSTEM);
    assert_int_equal(open_descriptors(), before);
}

static void stream_opens_an_endpoint(void **state)
{
    struct lintel_endpoint endpoint;
    struct lintel_listener *listener;
    struct lintel_stream *a, *b;
    int fd;

    (void)state;
    assert_int_equal(lintel_endpoint_parse(&endpoint, "unix://@lintel-test-stream", NULL),
                     LINTEL_OK);
    assert_int_equal(lintel_listener_open(&listener, &endpoint, 0, NULL), LINTEL_OK);
    assert_int_equal(lintel_stream_open(&a, "unix://@lintel-test-stream", -1, NULL, NULL),
                     LINTEL_OK);
    assert_int_equal(lintel_listener_accept(listener, &fd, -1, NULL), 1);
    b = stream_on(fd, NULL);
    assert_int_equal(send_n(a, 1, 100, -1), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(a, -1), 1);
    expect_recv(b, 1, 100);
    lintel_stream_close(a);
    lintel_stream_close(b);
    lintel_listener_close(listener);
}

/* ---- pipes ----------------------------------------------------------------------------------- */

static void stream_works_over_pipes(void **state)
{
    int there[2], back[2], status;
    struct lintel_stream *stream;
    struct lintel_frame frame;
    pid_t pid;

    (void)state;
    assert_int_equal(pipe2(there, O_CLOEXEC), 0);
    assert_int_equal(pipe2(back, O_CLOEXEC), 0);
    pid = fork();
    if (pid == 0) {
        char buffer[3000];
        ssize_t got;
        close(there[1]);
        close(back[0]);
        while ((got = read(there[0], buffer, sizeof buffer)) > 0)
            if (write(back[1], buffer, (size_t)got) != got)
                _exit(1);
        _exit(0);
    }
    close(there[0]);
    close(back[1]);
    assert_int_equal(lintel_stream_new(&stream, back[0], there[1], NULL, NULL), LINTEL_OK);
    for (uint32_t i = 0; i < SIZES; i++) {
        assert_int_equal(send_n(stream, i, sizes[i], -1), LINTEL_OK);
        expect_recv(stream, i, sizes[i]);
    }
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    assert_int_equal(lintel_stream_shutdown(stream, -1), 1);
    assert_int_equal(lintel_stream_out_fd(stream), -1);
    assert_int_equal(lintel_stream_recv(stream, &frame, -1), LINTEL_E_END);
    lintel_stream_close(stream);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

static void stream_pipe_never_waits_when_asked_not_to(void **state)
{
    static uint8_t got[WIRE_MAX];
    struct lintel_stream *stream;
    int ways[2], back[2], rc;
    size_t used = 0;

    (void)state;
    assert_int_equal(pipe2(ways, O_CLOEXEC), 0);
    assert_int_equal(pipe2(back, O_CLOEXEC), 0);
    assert_int_equal(lintel_stream_new(&stream, back[0], ways[1], NULL, NULL), LINTEL_OK);
    assert_int_equal(send_n(stream, 1, 500000, 0), LINTEL_OK);
    while ((rc = lintel_stream_flush(stream, 0)) == 0) {
        ssize_t step = read(ways[0], got + used, 10000);
        assert_true(step > 0);
        used += (size_t)step;
    }
    assert_int_equal(rc, 1);
    wrap_clock(1000);
    assert_int_equal(send_n(stream, 1, 100000, 250), LINTEL_OK);
    assert_int_equal(wrap_clock_now(), 1250);
    lintel_stream_close(stream);
    close(ways[0]);
    close(back[1]);
}

static void stream_raises_no_sigpipe(void **state)
{
    sigset_t pending, blocked, pipe_only;
    struct lintel_stream *stream;

    (void)state;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    for (int kind = 0; kind < 3; kind++) {
        int ways[2], back[2];
        if (kind == 0) {
            make_pair(ways, 0);
            close(ways[1]);
            stream = stream_on(ways[0], NULL);
        } else {
            assert_int_equal(pipe2(ways, O_CLOEXEC), 0);
            assert_int_equal(pipe2(back, O_CLOEXEC), 0);
            close(ways[0]);
            assert_int_equal(lintel_stream_new(&stream, back[0], ways[1], NULL, NULL), LINTEL_OK);
        }
        if (kind == 2) { /* one that was there before stays */
            sigprocmask(SIG_BLOCK, &pipe_only, NULL);
            raise(SIGPIPE);
        }
        assert_int_equal(send_n(stream, 1, 10, -1), LINTEL_OK);
        assert_int_equal(lintel_stream_flush(stream, -1), LINTEL_E_CLOSED);
        expect_unsent(stream, 1, 26);
        sigpending(&pending);
        assert_int_equal(sigismember(&pending, SIGPIPE), kind == 2);
        sigprocmask(SIG_SETMASK, NULL, &blocked);
        assert_int_equal(sigismember(&blocked, SIGPIPE), kind == 2);
        lintel_stream_close(stream);
        if (kind > 0)
            close(back[1]);
    }
    {
        const struct timespec at_once = {0, 0};
        assert_int_equal(sigtimedwait(&pipe_only, NULL, &at_once), SIGPIPE);
        sigprocmask(SIG_UNBLOCK, &pipe_only, NULL);
    }
}

/* ---- sharing, tracing, costs ----------------------------------------------------------------- */

/* The size of a frame that stream s has as its i-th; every stream has others. */
static size_t shared_size(unsigned s, uint32_t i)
{
    return (i * 37 + s * 11) % 300 + ((i + s) % 13 == 12 ? 6000 : 0);
}

static void stream_shared_buffer_serves_many(void **state)
{
    enum { STREAMS = 5, ROUNDS = 40 };
    static uint8_t shared[2000], wire[WIRE_MAX];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *streams[STREAMS];
    int peers[STREAMS];
    uint32_t next[STREAMS];

    (void)state;
    options.receive_buffer = shared;
    options.receive_buffer_size = sizeof shared;
    memset(next, 0, sizeof next);
    for (unsigned s = 0; s < STREAMS; s++) {
        size_t used = 0;
        for (uint32_t i = 0; i < ROUNDS; i++)
            encode(wire, &used, s * 1000 + i, shared_size(s, i));
        streams[s] = stream_and_peer(&peers[s], &options);
        write_all(peers[s], wire, used);
        shutdown(peers[s], SHUT_WR);
    }
    for (unsigned turn = 0; turn < 10 * STREAMS * ROUNDS; turn++) {
        unsigned s = turn % STREAMS;
        struct lintel_frame frames[3];
        int n = lintel_stream_recv_batch(streams[s], frames, (int)(1 + turn % 3), 0);
        for (int i = 0; i < n; i++, next[s]++)
            expect_frame(&frames[i], s * 1000 + next[s], shared_size(s, next[s]));
        if (n < 0)
            assert_int_equal(n, LINTEL_E_END);
    }
    for (int s = 0; s < STREAMS; s++) {
        assert_int_equal(next[s], ROUNDS);
        lintel_stream_close(streams[s]);
        close(peers[s]);
    }
}

struct seen {
    char text[200];
};

static void on_trace(void *user, char direction, const struct lintel_frame *frame)
{
    struct seen *seen = user;
    size_t used = strlen(seen->text);

    seen->text[used++] = direction;
    used += lintel_frame_dump(NULL, seen->text + used, sizeof seen->text - used - 1, frame);
    seen->text[used++] = ';';
    seen->text[used] = '\0';
}

static void stream_traces_frames_both_ways(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct released released = {0, NULL, 0};
    struct lintel_stream *a, *b;
    struct seen seen = {""};
    int fds[2];

    (void)state;
    options.trace = on_trace;
    options.trace_user = &seen;
    make_pair(fds, 0);
    a = stream_on(fds[0], &options);
    b = stream_on(fds[1], &options);
    assert_int_equal(send_n(a, 1, 5, -1), LINTEL_OK);
    assert_int_equal(send_ref_n(a, 2, 5000, &released, -1), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(a, -1), 1);
    expect_recv(b, 1, 5);
    expect_recv(b, 2, 5000);
    assert_string_equal(seen.text, ">#0 type 7 id 1 5 bytes;>#21 type 7 id 2 5000 bytes;"
                                   "<#0 type 7 id 1 5 bytes;<#21 type 7 id 2 5000 bytes;");
    lintel_stream_close(a);
    lintel_stream_close(b);
}

/* Frames that are gathered are on the wire what lintel_frame_encode() makes of them, whatever their
 * size and flags; and what it refuses is refused behind others, too. */
static void stream_gathers_what_encode_writes(void **state)
{
    static uint8_t wire[WIRE_MAX], got[WIRE_MAX];
    struct lintel_header header = numbered(0);
    struct lintel_stream *stream;
    size_t used = 0, step;
    int peer, rc;

    (void)state;
    stream = stream_and_peer(&peer, NULL);
    for (size_t size = 0; size <= 130; size++) {
        for (unsigned flags = 0; flags <= 0x11; flags++) {
            header.flags = (uint8_t)flags;
            header.type = (uint32_t)size * 0x01010101;
            header.id = ~header.type;
            rc = lintel_frame_encode(NULL, wire + used, WIRE_MAX - used, &step, &header,
                                     pattern(size), size, NULL);
            assert_int_equal(lintel_stream_send(stream, &header, pattern(size), size, 0), rc);
            used += rc == LINTEL_OK ? step : 0;
        }
        assert_int_equal(lintel_stream_flush(stream, 0), 1);
        assert_int_equal(read_all(peer, got, used), used);
        assert_memory_equal(got, wire, used);
        used = 0;
    }
    lintel_stream_close(stream);
    close(peer);
}

static void stream_idle_costs_little(void **state)
{
    static uint8_t shared[65536];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;

    (void)state;
    for (int sharing = 0; sharing < 2; sharing++) {
        struct memory memory = new_memory();
        struct lintel_stream *a, *b;
        size_t fresh;
        int fds[2];
        memory.allocator.user = &memory;
        options.allocator = &memory.allocator;
        options.receive_buffer = sharing ? shared : NULL;
        options.receive_buffer_size = sharing ? sizeof shared : 0;
        make_pair(fds, 0);
        b = stream_on(fds[1], NULL);
        a = stream_on(fds[0], &options);
        fresh = memory.held;
        assert_true(fresh <= 512);
        assert_int_equal(lintel_stream_memory(a), 0);
        expect_all_sizes(a, b);
        expect_all_sizes(b, a);
        assert_true(lintel_stream_memory(a) > 0);
        lintel_stream_trim(a);
        assert_int_equal(lintel_stream_memory(a), 0);
        assert_int_equal(memory.held, fresh);
        expect_all_sizes(b, a);
        lintel_stream_close(a);
        lintel_stream_close(b);
        assert_int_equal(memory.blocks, 0);
    }
}

/* Trimmed after every step, it goes on as if nothing had been: offsets, counts, views, the error.
 */
static void stream_trimmed_goes_on_where_it_was(void **state)
{
    static uint8_t shared[65536], wire[WIRE_MAX];
    const size_t lengths[] = {0, 5, 5000, 70000, 1};
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;

    (void)state;
    for (size_t step = 1; step < 200000; step = step * 3 + 1) {
        struct lintel_stream *stream;
        struct lintel_counters counters;
        struct lintel_frame frame;
        struct lintel_error error;
        size_t used = 0, at = 0, offset = 0, step_now;
        uint32_t id = 0;
        int peer, rc = 0;
        options.receive_buffer = step % 2 ? shared : NULL;
        options.receive_buffer_size = sizeof shared;
        stream = stream_and_peer(&peer, &options);
        for (uint32_t i = 0; i < 5; i++)
            encode(wire, &used, i + 1, step < 10 && lengths[i] > 100 ? 100 : lengths[i]);
        memcpy(wire + used, "GET / HTTP/1.1\r\n", 16);
        used += 16;
        while (at < used) {
            step_now = used - at < step ? used - at : step;
            write_all(peer, wire + at, step_now);
            at += step_now;
            while ((rc = lintel_stream_recv(stream, &frame, 0)) == 1) {
                expect_frame(&frame, ++id, frame.length);
                assert_int_equal(frame.offset, offset);
                offset += 16 + frame.length;
                lintel_stream_trim(stream);
            }
            lintel_stream_trim(stream);
        }
        assert_int_equal(rc, LINTEL_E_MISMATCH);
        lintel_stream_error(stream, &error);
        assert_int_equal(error.at, offset);
        assert_int_equal(id, 5);
        lintel_stream_counters(stream, &counters);
        assert_int_equal(counters.frames_in, 5);
        assert_int_equal(counters.bytes_in, used);
        lintel_stream_close(stream);
        close(peer);
    }
}

/* What is given back and cannot be had again is an error of that call alone. */
static void stream_trimmed_survives_failing_memory(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct memory memory = new_memory();
    struct lintel_stream *stream;
    struct lintel_frame frame;
    static uint8_t wire[WIRE_MAX];
    size_t used = 0;
    int peer;

    (void)state;
    memory.allocator.user = &memory;
    options.allocator = &memory.allocator;
    stream = stream_and_peer(&peer, &options);
    encode(wire, &used, 1, 10);
    write_all(peer, wire, used);
    for (int i = 1; i <= 2; i++) {
        memory.fail_at = i;
        assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_NOMEM);
        expect_error(stream, LINTEL_E_NOMEM, "out of memory");
        memory.fail_at = i;
        assert_int_equal(send_n(stream, 1, 5, 0), LINTEL_E_NOMEM);
        expect_unsent(stream, 0, 0);
        assert_int_equal(lintel_stream_memory(stream), 0);
    }
    expect_recv(stream, 1, 10);
    assert_int_equal(send_n(stream, 1, 5, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(stream, 0), 1);
    assert_int_equal(read_all(peer, wire, sizeof wire), 21);
    lintel_stream_close(stream);
    assert_int_equal(memory.blocks, 0);
    close(peer);
}

/* Nothing that a stream has still to say is given back. */
static void stream_trim_keeps_what_there_is_to_say(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_frame frame;
    struct lintel_stream *stream;
    struct lintel_error error;
    int peer;

    (void)state;
    options.max_frame = 10;
    stream = stream_and_peer(&peer, &options);
    assert_int_equal(lintel_stream_recv(stream, &frame, 1), LINTEL_E_TIMEOUT);
    lintel_stream_trim(stream);
    expect_error(stream, LINTEL_E_TIMEOUT, "no whole frame came in time");
    assert_int_equal(send_n(stream, 1, 11, 0), LINTEL_E_TOO_LARGE);
    lintel_stream_trim(stream);
    expect_error(stream, LINTEL_E_TOO_LARGE, "a payload of 11 bytes exceeds the limit of 10");
    assert_int_equal(send_n(stream, 1, 5, 0), LINTEL_OK);
    close(peer);
    assert_int_equal(lintel_stream_flush(stream, 0), LINTEL_E_CLOSED);
    lintel_stream_trim(stream);
    expect_unsent(stream, 1, 21);
    lintel_stream_error(stream, &error);
    assert_int_equal(error.system, EPIPE);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_END);
    lintel_stream_trim(stream);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_END);
    assert_int_equal(lintel_stream_flush(stream, 0), LINTEL_E_CLOSED);
    assert_int_equal(lintel_stream_wants(stream), 0);
    lintel_stream_close(stream);
}

static void stream_options_may_be_shared(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct memory memory = new_memory();
    struct lintel_stream *streams[4];
    struct lintel_frame frame;
    static uint8_t wire[WIRE_MAX];
    size_t used = 0, alone;
    int peers[4];

    (void)state;
    memory.allocator.user = &memory;
    options.allocator = &memory.allocator;
    options.max_frame = 10;
    streams[0] = stream_and_peer(&peers[0], &options);
    alone = memory.held;
    options = (struct lintel_stream_options)LINTEL_STREAM_OPTIONS_INIT;
    options.allocator = &memory.allocator;
    options.max_frame = 20;
    options.shared = 1;
    for (int i = 1; i < 4; i++)
        streams[i] = stream_and_peer(&peers[i], &options);
    assert_true(memory.held - alone <= 3 * (alone - sizeof options));
    encode(wire, &used, 1, 21);
    for (int i = 3; i >= 0; i--) {
        assert_int_equal(send_n(streams[i], 1, i > 0 ? 20 : 10, 0), LINTEL_OK);
        assert_int_equal(send_n(streams[i], 1, i > 0 ? 21 : 11, 0), LINTEL_E_TOO_LARGE);
        write_all(peers[i], wire, used);
        assert_int_equal(lintel_stream_recv(streams[i], &frame, 0), LINTEL_E_TOO_LARGE);
        lintel_stream_close(streams[i]);
        close(peers[i]);
    }
    assert_int_equal(memory.blocks, 0);
    options.max_frame = UINT64_MAX;
    make_pair(peers, 0);
    assert_int_equal(lintel_stream_new(&streams[0], peers[0], peers[0], &options, NULL),
                     LINTEL_E_RANGE);
    assert_int_equal(memory.blocks, 0);
    close(peers[1]);
}

/* Bytes that a stream holds are what came, however much is promised. */
static void stream_holds_what_came_not_what_is_promised(void **state)
{
    static uint8_t wire[WIRE_MAX];
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    size_t used = 0;
    int peer;

    (void)state;
    options.max_frame = (uint64_t)1 << 30;
    stream = stream_and_peer(&peer, &options);
    encode(wire, &used, 1, 10);
    wire[12] = 0x20; /* 512 MiB */
    write_all(peer, wire, used);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    assert_true(lintel_stream_memory(stream) <= 32 * 1024);
    lintel_stream_trim(stream);
    assert_true(lintel_stream_memory(stream) <= 100);
    lintel_stream_close(stream);
    close(peer);
}

static void stream_decoder_errors_are_sticky_and_come_after_frames(void **state)
{
    static uint8_t wire[WIRE_MAX];
    struct lintel_frame frames[4];
    struct lintel_stream *stream;
    struct lintel_error error;
    size_t used = 0;
    int peer;

    (void)state;
    stream = stream_and_peer(&peer, NULL);
    encode(wire, &used, 1, 10);
    memcpy(wire + used, "GET / HTTP/1.1\r\n", 16);
    write_all(peer, wire, used + 16);
    assert_int_equal(lintel_stream_recv_batch(stream, frames, 4, -1), 1);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lintel_stream_recv(stream, frames, -1), LINTEL_E_MISMATCH);
        lintel_stream_error(stream, &error);
        assert_int_equal(error.status, LINTEL_E_MISMATCH);
        assert_int_equal(error.at, 26);
        assert_non_null(strstr(error.text, "HTTP"));
    }
    assert_int_equal(send_n(stream, 1, 10, -1), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(stream, -1), 1);
    assert_int_equal(lintel_stream_wants(stream), 0);
    lintel_stream_close(stream);
    close(peer);
}

/* Wherever it is received: what it has given out is less than it asked for, or it does not know. */
static void stream_knows_when_it_is_dry(void **state)
{
    static uint8_t wire[WIRE_MAX], shared[1024];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct lintel_frame frames[4];
    size_t used = 0;
    int peer;

    (void)state;
    for (uint32_t i = 0; i < 3; i++)
        encode(wire, &used, i, 100);
    for (int sharing = 0; sharing < 2; sharing++) {
        options.receive_buffer = sharing ? shared : NULL;
        options.receive_buffer_size = sharing ? sizeof shared : 0;
        stream = stream_and_peer(&peer, &options);
        assert_int_equal(lintel_stream_is_dry(stream), 0);
        write_all(peer, wire, used);
        assert_int_equal(lintel_stream_recv_batch(stream, frames, 2, 0), 2);
        assert_int_equal(lintel_stream_is_dry(stream), 0); /* a frame is left */
        assert_int_equal(lintel_stream_recv_batch(stream, frames, 2, 0), 1);
        assert_int_equal(lintel_stream_is_dry(stream), 1);
        write_all(peer, wire, used - 1);
        assert_int_equal(lintel_stream_recv_batch(stream, frames, 4, 0), 2);
        assert_int_equal(lintel_stream_is_dry(stream), 0); /* a frame has begun */
        write_all(peer, wire + used - 1, 1);
        assert_int_equal(lintel_stream_recv_batch(stream, frames, 4, 0), 1);
        assert_int_equal(lintel_stream_is_dry(stream), 1);
        write_all(peer, wire, used / 3);
        write_all(peer, (const uint8_t *)"GET / HTTP/1.1\r\n", 16);
        assert_int_equal(lintel_stream_recv_batch(stream, frames, 4, 0), 1);
        assert_int_equal(lintel_stream_is_dry(stream), 0); /* an error is to be told */
        assert_int_equal(lintel_stream_recv(stream, frames, 0), LINTEL_E_MISMATCH);
        lintel_stream_close(stream);
        close(peer);
    }
}

/* A receive that was filled to the last byte says nothing of what is behind it. */
static void stream_that_received_all_it_could_is_not_dry(void **state)
{
    static uint8_t wire[WIRE_MAX], shared[1024];
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct lintel_frame frames[4];
    size_t used = 0;
    int peer;

    (void)state;
    options.receive_buffer = shared;
    options.receive_buffer_size = sizeof shared;
    stream = stream_and_peer(&peer, &options);
    encode(wire, &used, 1, sizeof shared - LINTEL_HEADER_SIZE);
    encode(wire, &used, 2, 100);
    write_all(peer, wire, used);
    assert_int_equal(lintel_stream_recv_batch(stream, frames, 4, 0), 1);
    assert_int_equal(lintel_stream_is_dry(stream), 0);
    assert_int_equal(lintel_stream_recv_batch(stream, frames, 4, 0), 1);
    assert_int_equal(lintel_stream_is_dry(stream), 1);
    close(peer);
    assert_int_equal(lintel_stream_recv_batch(stream, frames, 4, 0), LINTEL_E_END);
    assert_int_equal(lintel_stream_is_dry(stream), 0);
    lintel_stream_close(stream);
}

static void stream_shutdown_waits_for_the_queue(void **state)
{
    static uint8_t got[WIRE_MAX];
    struct lintel_stream *stream;
    size_t used = 0;
    int peer, rc;

    (void)state;
    stream = stream_and_peer(&peer, NULL);
    assert_int_equal(send_n(stream, 1, 900000, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_shutdown(stream, 0), 0);
    assert_int_equal(wrap_count(WRAP_SHUTDOWN), 0);
    assert_int_equal(send_n(stream, 1, 1, 0), LINTEL_E_CLOSED);
    while ((rc = lintel_stream_flush(stream, 0)) == 0)
        used += read_all(peer, got + used, WIRE_MAX - used);
    assert_int_equal(rc, 1);
    assert_int_equal(wrap_count(WRAP_SHUTDOWN), 1);
    used += read_all(peer, got + used, WIRE_MAX - used);
    assert_int_equal(used, 900016);
    assert_int_equal(recv(peer, got, 1, 0), 0);
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    lintel_stream_close(stream);
    close(peer);
}

static void stream_shutdown_can_fail(void **state)
{
    struct lintel_stream *stream;
    int peer;

    (void)state;
    stream = stream_and_peer(&peer, NULL);
    wrap_fail(WRAP_SHUTDOWN, 0, 1, ENOTCONN);
    assert_int_equal(lintel_stream_shutdown(stream, -1), LINTEL_E_CLOSED);
    assert_int_equal(lintel_stream_shutdown(stream, -1), LINTEL_E_CLOSED);
    lintel_stream_close(stream);
    close(peer);
}

static void stream_calls_refuse_null(void **state)
{
    struct lintel_stream *stream;
    struct lintel_counters counters;
    struct lintel_error error;
    struct lintel_frame frame;
    int peer;

    (void)state;
    stream = stream_and_peer(&peer, NULL);
    lintel_stream_error(stream, &error);
    assert_int_equal(error.status, LINTEL_OK);
    assert_string_equal(error.text, "");
    assert_int_equal(lintel_stream_send(NULL, NULL, NULL, 0, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_send(stream, NULL, NULL, 0, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_flush(NULL, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_shutdown(NULL, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_recv(NULL, &frame, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_recv(stream, NULL, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_recv_batch(stream, &frame, 0, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_queued(NULL), 0);
    assert_int_equal(lintel_stream_wants(NULL), 0);
    assert_int_equal(lintel_stream_is_dry(NULL), 0);
    assert_int_equal(lintel_stream_wait_ms(NULL), -1);
    assert_int_equal(lintel_stream_in_fd(NULL), -1);
    assert_int_equal(lintel_stream_out_fd(NULL), -1);
    assert_int_equal(lintel_stream_memory(NULL), 0);
    assert_null(lintel_stream_layout(NULL));
    lintel_stream_counters(NULL, &counters);
    lintel_stream_counters(stream, NULL);
    lintel_stream_error(NULL, &error);
    lintel_stream_error(stream, NULL);
    lintel_stream_pause(NULL);
    lintel_stream_trim(NULL);
    lintel_stream_close(NULL);
    expect_unsent(NULL, 0, 0);
    lintel_stream_close(stream);
    close(peer);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(stream_carries_every_size),
        TEST(stream_carries_a_foreign_layout_with_a_trailer),
        TEST(stream_gathers_small_frames_into_one_write),
        TEST(stream_writes_when_enough_is_gathered),
        TEST(stream_sends_large_payloads_without_a_copy),
        TEST(stream_ping_pong_takes_one_write_and_one_read_a_side),
        TEST(stream_send_goes_on_from_every_cut),
        TEST(stream_direct_send_goes_on_from_cuts),
        TEST(stream_recv_goes_on_from_every_cut),
        TEST(stream_failed_send_counts_what_was_lost),
        TEST(stream_counts_the_frames_that_are_whole),
        TEST(stream_failing_send_call_does_not_count_its_own_frame),
        TEST(stream_recv_reports_each_failure),
        TEST(stream_shows_no_eintr),
        TEST(stream_poll_can_fail),
        TEST(stream_survives_every_failing_allocation),
        TEST(stream_send_ref_releases_exactly_once),
        TEST(stream_half_close_leaves_the_other_direction),
        TEST(stream_truncation_is_not_the_end),
        TEST(stream_reset_is_its_own_result),
        TEST(stream_gives_what_came_before_a_broken_pipe),
        TEST(stream_recv_reports_a_request_that_could_not_be_sent),
        TEST(stream_two_that_both_send_do_not_lock),
        TEST(stream_receives_ahead_within_the_budget),
        TEST(stream_end_met_while_sending_comes_last),
        TEST(stream_views_outlive_a_send_that_receives),
        TEST(stream_recv_honours_the_deadline),
        TEST(stream_send_honours_the_deadline),
        TEST(stream_queue_of_an_event_loop_takes_any_frame),
        TEST(stream_blocked_queue_is_left_alone_until_flushed),
        TEST(stream_begun_frame_has_a_deadline_that_drips_do_not_put_off),
        TEST(stream_begun_frame_that_comes_in_time_is_given),
        TEST(stream_begun_frame_waits_while_we_do_not_read),
        TEST(stream_tells_an_event_loop_when_to_call),
        TEST(stream_changes_no_mode_and_leaks_nothing),
        TEST(stream_waits_on_a_descriptor_that_does_not_block),
        TEST(stream_new_takes_the_descriptors_on_failure),
        TEST(stream_opens_an_endpoint),
        TEST(stream_works_over_pipes),
        TEST(stream_pipe_never_waits_when_asked_not_to),
        TEST(stream_raises_no_sigpipe),
        TEST(stream_shared_buffer_serves_many),
        TEST(stream_traces_frames_both_ways),
        TEST(stream_gathers_what_encode_writes),
        TEST(stream_idle_costs_little),
        TEST(stream_trimmed_goes_on_where_it_was),
        TEST(stream_trimmed_survives_failing_memory),
        TEST(stream_trim_keeps_what_there_is_to_say),
        TEST(stream_options_may_be_shared),
        TEST(stream_holds_what_came_not_what_is_promised),
        TEST(stream_decoder_errors_are_sticky_and_come_after_frames),
        TEST(stream_knows_when_it_is_dry),
        TEST(stream_that_received_all_it_could_is_not_dry),
        TEST(stream_shutdown_waits_for_the_queue),
        TEST(stream_shutdown_can_fail),
        TEST(stream_calls_refuse_null),
    };

    alarm(300); /* a watchdog: a deadlock ends the test */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
