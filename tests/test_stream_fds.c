/* stream: descriptors that travel with a frame of a UNIX socket, under every cut, failure and lie
 * that they can meet, and the peer's credentials. None is ever left open. */
#include "config.h"
#include "util.h"
#include "wrap.h"

#include "lintel/stream.h"
#include "net/stream_fds.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define POOL     6
#define WIRE_MAX ((size_t)1 << 17)
#define ROOM     4 /* what is received at a time by who takes 3 */

static int setup(void **state)
{
    (void)state;
    wrap_reset();
    return 0;
}

/* ---- helpers --------------------------------------------------------------------------------- */

/* Those that a program started by exec would have. */
static int inherited_descriptors(void)
{
    int count = 0;

    for (int fd = 0; fd < 1024; fd++) {
        int flags = fcntl(fd, F_GETFD);
        count += flags >= 0 && (flags & FD_CLOEXEC) == 0;
    }
    return count;
}

/* Descriptors that can be told apart wherever they have come to: each of another pipe. */
struct pool {
    int fds[POOL];
    ino_t inodes[POOL];
};

static void open_pool(struct pool *pool)
{
    for (int i = 0; i < POOL; i++) {
        struct stat status;
        int ends[2];
        assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
        pool->fds[i] = ends[0];
        close(ends[1]);
        assert_int_equal(fstat(ends[0], &status), 0);
        pool->inodes[i] = status.st_ino;
    }
}

static void close_pool(struct pool *pool)
{
    for (int i = 0; i < POOL; i++)
        close(pool->fds[i]);
}

static uint8_t *pattern(size_t size)
{
    static uint8_t bytes[WIRE_MAX];

    for (size_t i = 0; bytes[1] == 0 && i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251 + 3);
    assert_true(size <= sizeof bytes);
    return bytes;
}

static struct lintel_stream_options taking(uint32_t max_fds)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;

    options.max_fds = max_fds;
    return options;
}

static struct lintel_stream *stream_on(int fd, const struct lintel_stream_options *options)
{
    struct lintel_stream *stream;
    struct lintel_error error;

    if (lintel_stream_new(&stream, fd, fd, options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return stream;
}

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

/* Two streams, of which the second takes descriptors. */
static void make_streams(struct lintel_stream *streams[2],
                         const struct lintel_stream_options *options)
{
    int fds[2];

    make_pair(fds);
    streams[0] = stream_on(fds[0], NULL);
    streams[1] = stream_on(fds[1], options);
}

static void close_streams(struct lintel_stream *streams[2])
{
    lintel_stream_close(streams[0]);
    lintel_stream_close(streams[1]);
}

static int send_n(struct lintel_stream *stream, uint32_t id, size_t size, const int *fds,
                  size_t count)
{
    struct lintel_header header = {.type = 7, .id = id};

    if (count == 0)
        return lintel_stream_send(stream, &header, pattern(size), size, 0);
    return lintel_stream_send_fds(stream, &header, pattern(size), size, fds, count, 0);
}

static void expect_frame(const struct lintel_frame *frame, uint32_t id, size_t size)
{
    struct lintel_header header;

    assert_int_equal(lintel_header_read(lintel_layout_default(), &header, frame), LINTEL_OK);
    assert_int_equal(header.flags, 0);
    assert_int_equal(header.id, id);
    assert_int_equal(frame->length, size);
    assert_memory_equal(frame->payload, pattern(size), size);
}

/* Take what came with a frame: descriptors `first` to `first + count - 1` of the pool, in order. */
static void expect_fds(struct lintel_stream *stream, const struct lintel_frame *frame,
                       const struct pool *pool, size_t first, size_t count)
{
    int fds[LINTEL_FDS_MAX];

    assert_int_equal(lintel_stream_take_fds(stream, frame->offset, fds, COUNT(fds)), (int)count);
    for (size_t i = 0; i < count; i++) {
        struct stat status;
        assert_int_equal(fstat(fds[i], &status), 0);
        assert_int_equal(status.st_ino, pool->inodes[(first + i) % POOL]);
        assert_int_equal(fcntl(fds[i], F_GETFD), FD_CLOEXEC);
        close(fds[i]);
    }
    assert_int_equal(lintel_stream_take_fds(stream, frame->offset, fds, COUNT(fds)), 0);
}

static void expect_error(const struct lintel_stream *stream, int status, const char *text)
{
    struct lintel_error error;

    lintel_stream_error(stream, &error);
    assert_string_equal(error.text, text);
    assert_int_equal(error.status, status);
}

/* One sendmsg with whatever bytes and descriptors. */
static void send_raw(int fd, const void *bytes, size_t size, const int *fds, size_t count)
{
    static uint8_t control[CMSG_SPACE(LINTEL_FDS_MAX * sizeof(int))];
    struct iovec part;
    struct msghdr message;
    struct cmsghdr *rights;

    memset(&message, 0, sizeof message);
    memset(control, 0, sizeof control);
    memcpy(&part.iov_base, &bytes, sizeof bytes);
    part.iov_len = size;
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    if (count > 0) {
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        rights = CMSG_FIRSTHDR(&message);
        rights->cmsg_level = SOL_SOCKET;
        rights->cmsg_type = SCM_RIGHTS;
        rights->cmsg_len = CMSG_LEN(count * sizeof(int));
        memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
    }
    assert_int_equal(sendmsg(fd, &message, MSG_NOSIGNAL), (int)size);
}

/* ---- there ----------------------------------------------------------------------------------- */

/* Frames with and without descriptors, one behind the other; what follows a frame with some has
 * none, or some of its own. */
static const struct {
    size_t size, fds;
} talk[] = {{3, 0}, {5, 2}, {0, 0}, {40, 1}, {0, 3}, {9, 1}, {1, 0}, {70, 6}, {2, 0}};

static void send_talk(struct lintel_stream *stream, const struct pool *pool)
{
    for (uint32_t i = 0; i < COUNT(talk); i++)
        assert_int_equal(send_n(stream, i, talk[i].size, pool->fds, talk[i].fds), LINTEL_OK);
}

/* Receive the talk in batches while the other side writes it. */
static void expect_talk(struct lintel_stream *streams[2], const struct pool *pool, int batch)
{
    struct lintel_frame frames[16];
    uint32_t next = 0;

    while (next < COUNT(talk)) {
        int rc = lintel_stream_recv_batch(streams[1], frames, batch, 0);
        if (rc < 0) {
            struct lintel_error error;
            lintel_stream_error(streams[1], &error);
            fail_msg("frame %u: %s", next, error.text);
        }
        for (int i = 0; i < rc; i++, next++) {
            expect_frame(&frames[i], next, talk[next].size);
            expect_fds(streams[1], &frames[i], pool, 0, talk[next].fds);
        }
        if (rc == 0)
            assert_true(lintel_stream_flush(streams[0], 0) >= 0);
    }
    assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
    assert_int_equal(lintel_stream_recv(streams[1], frames, 0), 0);
}

static void fds_come_with_their_frame(void **state)
{
    struct lintel_stream_options options = taking(POOL);
    struct lintel_stream *streams[2];
    struct lintel_counters in, out;
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    make_streams(streams, &options);
    send_talk(streams[0], &pool);
    expect_talk(streams, &pool, 16);
    lintel_stream_counters(streams[0], &out);
    lintel_stream_counters(streams[1], &in);
    assert_int_equal(out.frames_out, COUNT(talk));
    assert_int_equal(in.frames_in, COUNT(talk));
    assert_int_equal(out.bytes_out, in.bytes_in);
    /* Each FDS begins a call of its own, and what stands before the first goes alone. */
    assert_int_equal(wrap_count(WRAP_SENDMSG), 6);
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_come_with_their_frame_at_every_cut(void **state)
{
    static const int cuts[] = {0, 1, 2, 3, 15, 16, 17, 19, 20, 21, 35, 36, 37, 41, 57, 100};
    static uint8_t shared[4096];
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (size_t i = 0; i < COUNT(cuts) * COUNT(cuts); i++)
        for (int way = 0; way < 4; way++) {
            struct lintel_stream_options options = taking(POOL + (way & 1));
            struct lintel_stream *streams[2];
            options.receive_buffer = way & 1 ? shared : NULL;
            options.receive_buffer_size = way & 1 ? sizeof shared : 0;
            make_streams(streams, &options);
            send_talk(streams[0], &pool);
            wrap_script(WRAP_SENDMSG, NULL, 0, cuts[i / COUNT(cuts)]);
            wrap_script(WRAP_RECVMSG, NULL, 0, cuts[i % COUNT(cuts)]);
            expect_talk(streams, &pool, way & 2 ? 16 : 1);
            wrap_reset();
            close_streams(streams);
        }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_go_out_once_however_the_write_is_cut(void **state)
{
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (int cut = 1; cut < 60; cut++)
        for (int way = 0; way < 2; way++) {
            const int outcomes[] = {-EAGAIN, cut, -EINTR, -EAGAIN, way};
            struct lintel_stream_options options = taking(4);
            struct lintel_stream *streams[2];
            struct lintel_frame frame;
            make_streams(streams, &options);
            assert_int_equal(send_n(streams[0], 1, 30, pool.fds, 2), LINTEL_OK);
            assert_int_equal(send_n(streams[0], 2, 4, NULL, 0), LINTEL_OK);
            wrap_script(WRAP_SENDMSG, outcomes, COUNT(outcomes), 0);
            while (lintel_stream_flush(streams[0], 0) == 0)
                continue;
            assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
            expect_frame(&frame, 1, 30);
            expect_fds(streams[1], &frame, &pool, 0, 2);
            assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
            expect_frame(&frame, 2, 4);
            wrap_reset();
            close_streams(streams);
        }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_of_any_number_and_frames_of_any_size_go(void **state)
{
    static const size_t counts[] = {1, 2, 3, 4, 5, 64, 252, 253};
    static const size_t sizes[] = {0, 5, 4096, 70000};
    struct lintel_stream_options options = taking(LINTEL_FDS_MAX);
    int before = open_descriptors();
    struct lintel_stream *streams[2];
    struct pool pool;

    (void)state;
    open_pool(&pool);
    make_streams(streams, &options);
    for (size_t i = 0; i < COUNT(counts) * COUNT(sizes); i++) {
        size_t count = counts[i / COUNT(sizes)], size = sizes[i % COUNT(sizes)];
        int fds[LINTEL_FDS_MAX], rc;
        struct lintel_frame frame;
        for (size_t j = 0; j < count; j++)
            fds[j] = pool.fds[j % POOL];
        assert_int_equal(send_n(streams[0], 1, size, fds, count), LINTEL_OK);
        while ((rc = lintel_stream_recv(streams[1], &frame, 0)) == 0)
            assert_true(lintel_stream_flush(streams[0], 0) >= 0);
        assert_int_equal(rc, 1);
        expect_frame(&frame, 1, size);
        expect_fds(streams[1], &frame, &pool, 0, count);
    }
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* What has the wire of an FDS in it is proto/vectors/valid/lintel-fds. */
static void fds_are_announced_as_the_protocol_says(void **state)
{
    static const uint8_t fds_frame[] = {0x4c, 0x54, 1, 8, 0, 0, 0, 6, 0, 0,
                                        0,    0,    0, 0, 0, 4, 0, 0, 0, 3};
    struct lintel_stream *stream;
    uint8_t wire[64];
    int before = open_descriptors(), pair[2];
    struct pool pool;

    (void)state;
    open_pool(&pool);
    make_pair(pair);
    stream = stream_on(pair[0], NULL);
    assert_int_equal(send_n(stream, 9, 5, pool.fds, 3), LINTEL_OK);
    assert_int_equal(lintel_stream_queued(stream), 41);
    assert_int_equal(lintel_stream_flush(stream, 0), 1);
    assert_int_equal(recv(pair[1], wire, sizeof wire, MSG_DONTWAIT), 41);
    assert_memory_equal(wire, fds_frame, sizeof fds_frame);
    assert_int_equal(wire[20 + 11], 9);
    assert_memory_equal(wire + 36, pattern(5), 5);
    lintel_stream_close(stream);
    close(pair[1]);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void fds_wait_in_the_queue_as_duplicates(void **state)
{
    static const int blocked[] = {-EAGAIN, -EAGAIN};
    struct lintel_stream_options options = taking(2);
    int before = open_descriptors(), inherited = inherited_descriptors(), held;
    struct lintel_stream *streams[2];
    struct lintel_frame frame;
    struct pool pool;

    (void)state;
    open_pool(&pool);
    make_streams(streams, &options);
    held = open_descriptors();
    wrap_script(WRAP_SENDMSG, blocked, 2, 0);
    assert_int_equal(send_n(streams[0], 1, 5, pool.fds, 2), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(streams[0], 0), 0);
    assert_int_equal(send_n(streams[0], 2, 5, pool.fds + 2, 2), LINTEL_OK);
    assert_int_equal(open_descriptors(), held + 4);
    assert_int_equal(inherited_descriptors(), inherited);
    assert_int_equal(lintel_stream_wants(streams[0]), LINTEL_WANT_READ | LINTEL_WANT_WRITE);
    close_pool(&pool);
    assert_int_equal(lintel_stream_flush(streams[0], 0), 0);
    assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
    assert_int_equal(open_descriptors(), held - POOL);
    for (uint32_t i = 0; i < 2; i++) {
        assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
        expect_frame(&frame, i + 1, 5);
        expect_fds(streams[1], &frame, &pool, 2 * i, 2);
    }
    close_streams(streams);
    assert_int_equal(open_descriptors(), before);
}

static void fds_of_a_queue_that_is_closed_are_closed(void **state)
{
    int before = open_descriptors();
    struct lintel_stream *streams[2];
    uint64_t frames, bytes;
    struct pool pool;

    (void)state;
    open_pool(&pool);
    make_streams(streams, NULL);
    assert_int_equal(send_n(streams[0], 1, 5, pool.fds, 2), LINTEL_OK);
    assert_int_equal(send_n(streams[0], 2, 5, pool.fds, 3), LINTEL_OK);
    lintel_stream_unsent(streams[0], &frames, &bytes);
    assert_int_equal(frames, 2);
    assert_int_equal(bytes, 2 * 41);
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_held_for_one_frame_too_many_are_written_first(void **state)
{
    struct lintel_stream_options options = taking(LINTEL_FDS_MAX);
    int before = open_descriptors(), held;
    struct lintel_stream *streams[2];
    struct lintel_frame frame;
    int fds[200];
    struct pool pool;

    (void)state;
    open_pool(&pool);
    make_streams(streams, &options);
    held = open_descriptors();
    for (int i = 0; i < 200; i++)
        fds[i] = pool.fds[i % POOL];
    assert_int_equal(send_n(streams[0], 1, 5, fds, 200), LINTEL_OK);
    assert_int_equal(open_descriptors(), held + 200);
    assert_int_equal(send_n(streams[0], 2, 5, fds, 54), LINTEL_OK);
    assert_int_equal(open_descriptors(), held + 54);
    assert_int_equal(lintel_stream_queued(streams[0]), 41);
    assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
    expect_fds(streams[1], &frame, &pool, 0, 200);
    assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
    assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
    expect_fds(streams[1], &frame, &pool, 0, 54);

    /* It is not taken where that does not go in time. */
    assert_int_equal(send_n(streams[0], 3, 5, fds, 200), LINTEL_OK);
    wrap_clock(1000);
    wrap_script(WRAP_SENDMSG, NULL, 0, -EAGAIN);
    wrap_script(WRAP_POLL, NULL, 0, WRAP_NOTHING);
    assert_int_equal(
        lintel_stream_send_fds(streams[0], &(struct lintel_header){.type = 1}, "", 0, fds, 54, 500),
        LINTEL_E_TIMEOUT);
    assert_int_equal(wrap_clock_now(), 1500);
    assert_int_equal(open_descriptors(), held + 200);
    assert_int_equal(lintel_stream_queued(streams[0]), 41);
    wrap_reset();
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_are_closed_when_sending_fails(void **state)
{
    static const struct {
        int number, status;
    } cases[] = {{EPIPE, LINTEL_E_CLOSED},
                 {ECONNRESET, LINTEL_E_RESET},
                 {ETOOMANYREFS, LINTEL_E_SYSTEM},
                 {EIO, LINTEL_E_SYSTEM}};
    int before = open_descriptors();

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++)
        for (int written = 0; written < 3; written++) {
            const int outcomes[] = {7, 34, 41};
            struct lintel_stream_options options = taking(4);
            struct lintel_stream *streams[2];
            uint64_t frames, bytes;
            struct pool pool;
            int held;
            open_pool(&pool);
            make_streams(streams, &options);
            held = open_descriptors();
            assert_int_equal(send_n(streams[0], 1, 5, pool.fds, 2), LINTEL_OK);
            assert_int_equal(send_n(streams[0], 2, 5, pool.fds, 3), LINTEL_OK);
            wrap_script(WRAP_SENDMSG, outcomes, (size_t)written, -cases[i].number);
            assert_int_equal(lintel_stream_flush(streams[0], 0), cases[i].status);
            lintel_stream_unsent(streams[0], &frames, &bytes);
            assert_int_equal(frames, written < 2 ? 2 : 1);
            assert_int_equal(open_descriptors(), held);
            assert_int_equal(send_n(streams[0], 3, 5, pool.fds, 1), cases[i].status);
            assert_int_equal(open_descriptors(), held);
            wrap_reset();
            close_streams(streams);
            close_pool(&pool);
        }
    assert_int_equal(open_descriptors(), before);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void fds_send_refuses_what_cannot_be(void **state)
{
    static const struct lintel_header header = {.type = 7}, ping = {LINTEL_CONTROL, 2, 0, NULL},
                                      reserved = {.flags = 0x80};
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *streams[2], *a;
    int before = open_descriptors(), held;
    int fds[LINTEL_FDS_MAX + 1];
    struct pool pool;

    (void)state;
    open_pool(&pool);
    options.max_frame = 100;
    make_streams(streams, NULL);
    lintel_stream_close(streams[0]);
    {
        int pair[2];
        make_pair(pair);
        close(pair[1]);
        streams[0] = stream_on(pair[0], &options);
    }
    a = streams[0];
    held = open_descriptors();
    for (int i = 0; i <= LINTEL_FDS_MAX; i++)
        fds[i] = pool.fds[0];
    assert_int_equal(lintel_stream_send_fds(a, &header, "", 0, fds, 0, 0), LINTEL_E_COUNT);
    expect_error(a, LINTEL_E_COUNT, "a frame carries 1 to 253 descriptors, not 0");
    assert_int_equal(lintel_stream_send_fds(a, &header, "", 0, fds, LINTEL_FDS_MAX + 1, 0),
                     LINTEL_E_COUNT);
    expect_error(a, LINTEL_E_COUNT, "a frame carries 1 to 253 descriptors, not 254");
    assert_int_equal(lintel_stream_send_fds(a, &ping, "", 0, fds, 1, 0), LINTEL_E_MALFORMED);
    expect_error(a, LINTEL_E_MALFORMED, "no descriptors go with a control frame");
    assert_int_equal(lintel_stream_send_fds(a, &reserved, "", 0, fds, 1, 0), LINTEL_E_MALFORMED);
    assert_int_equal(lintel_stream_send_fds(a, &header, pattern(101), 101, fds, 1, 0),
                     LINTEL_E_TOO_LARGE);
    fds[2] = -1;
    assert_int_equal(lintel_stream_send_fds(a, &header, "", 0, fds, 4, 0), LINTEL_E_SYSTEM);
    expect_error(a, LINTEL_E_SYSTEM, "duplicate a descriptor: Bad file descriptor");
    assert_int_equal(lintel_stream_send_fds(NULL, &header, "", 0, fds, 1, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_send_fds(a, NULL, "", 0, fds, 1, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_send_fds(a, &header, NULL, 1, fds, 1, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_send_fds(a, &header, "", 0, NULL, 1, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_queued(a), 0);
    assert_int_equal(lintel_stream_shutdown(a, 0), 1);
    assert_int_equal(lintel_stream_send_fds(a, &header, "", 0, fds, 1, 0), LINTEL_E_CLOSED);
    assert_int_equal(open_descriptors(), held);
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
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

static void fds_need_a_unix_socket_and_our_layout(void **state)
{
    static const char unsupported[] =
        "descriptors travel on UNIX sockets, under lintel's own layout, and not with a "
        "sealed frame";
    struct lintel_stream_options options = taking(2);
    int before = open_descriptors(), fds[2], ends[2];
    struct lintel_layout *layout = make_layout("u32");
    struct lintel_stream *stream, *other;
    struct lintel_header header = {.type = 1};
    struct lintel_credentials peer;
    struct lintel_frame frame;
    struct lintel_error error;

    (void)state;
    make_tcp_pair(fds);
    stream = stream_on(fds[0], &options);
    other = stream_on(fds[1], &options);
    assert_int_equal(lintel_stream_send_fds(stream, &header, "", 0, fds, 1, 0),
                     LINTEL_E_UNSUPPORTED);
    expect_error(stream, LINTEL_E_UNSUPPORTED, unsupported);
    assert_int_equal(lintel_stream_credentials(stream, &peer), LINTEL_E_UNSUPPORTED);
    expect_error(stream, LINTEL_E_UNSUPPORTED, "only a UNIX socket tells who its peer is");
    /* The stream of a peer that sends an FDS all the same. */
    header = (struct lintel_header){LINTEL_CONTROL, LINTEL_FDS, 0, NULL};
    assert_int_equal(lintel_stream_send(stream, &header, "\0\0\0", 4, -1), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(stream, -1), 1);
    assert_int_equal(lintel_stream_recv(other, &frame, -1), LINTEL_E_MALFORMED);
    expect_error(other, LINTEL_E_MALFORMED,
                 "frame at byte 0: FDS on a stream that is no UNIX socket");
    lintel_stream_close(stream);
    lintel_stream_close(other);

    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    assert_int_equal(lintel_stream_new(&stream, ends[0], ends[1], &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_stream_send_fds(stream, &header, "", 0, ends, 1, 0),
                     LINTEL_E_UNSUPPORTED);
    assert_int_equal(lintel_stream_credentials(stream, &peer), LINTEL_E_UNSUPPORTED);
    assert_int_equal(send_n(stream, 1, 5, NULL, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_recv(stream, &frame, -1), 1);
    lintel_stream_close(stream);

    make_pair(fds);
    options.layout = layout;
    assert_int_equal(lintel_stream_new(&stream, fds[0], fds[0], &options, &error),
                     LINTEL_E_UNSUPPORTED);
    assert_string_equal(error.text, "descriptors travel under lintel's own layout");
    options.max_fds = 0;
    stream = stream_on(fds[1], &options);
    memset(&header, 0, sizeof header);
    assert_int_equal(lintel_stream_send_fds(stream, &header, "", 0, ends, 1, 0),
                     LINTEL_E_UNSUPPORTED);
    expect_error(stream, LINTEL_E_UNSUPPORTED, unsupported);
    lintel_stream_close(stream);
    lintel_layout_free(layout);

    make_pair(fds);
    close(fds[1]);
    options = taking(LINTEL_FDS_MAX + 1);
    assert_int_equal(lintel_stream_new(&stream, fds[0], fds[0], &options, NULL), LINTEL_E_RANGE);
    assert_int_equal(open_descriptors(), before);
}

/* ---- taking ---------------------------------------------------------------------------------- */

static void fds_that_nobody_takes_are_closed(void **state)
{
    struct lintel_stream_options options = taking(3);
    int before = open_descriptors(), held, fds[3];
    struct lintel_stream *streams[2];
    struct lintel_frame frame;
    struct pool pool;

    (void)state;
    open_pool(&pool);
    make_streams(streams, &options);
    held = open_descriptors();
    for (int way = 0; way < 3; way++) {
        assert_int_equal(send_n(streams[0], 1, 5, pool.fds, 3), LINTEL_OK);
        assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
        assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
        assert_int_equal(open_descriptors(), held + 3);
        assert_int_equal(lintel_stream_take_fds(streams[1], frame.offset, fds, 2), LINTEL_E_SPACE);
        assert_int_equal(lintel_stream_take_fds(streams[1], frame.offset, NULL, 0), LINTEL_E_SPACE);
        assert_int_equal(open_descriptors(), held + 3);
        if (way == 0)
            assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 0);
        if (way == 1)
            lintel_stream_trim(streams[1]);
        if (way < 2)
            assert_int_equal(open_descriptors(), held);
    }
    assert_int_equal(lintel_stream_take_fds(NULL, frame.offset, fds, 3), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_take_fds(streams[1], frame.offset, NULL, 3), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_take_fds(streams[0], frame.offset, fds, 3), 0);
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_received_ahead_stay_with_their_frames(void **state)
{
    struct lintel_stream_options options = taking(1);
    int before = open_descriptors(), got = 0, rc;
    struct lintel_stream *streams[2];
    struct lintel_frame frames[16];
    struct pool pool;

    (void)state;
    open_pool(&pool);
    make_streams(streams, &options);
    for (int i = 0; i < POOL; i++)
        assert_int_equal(send_n(streams[0], (uint32_t)i, 5, pool.fds + i, 1), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
    assert_int_equal(lintelp_stream_begin(streams[1]), LINTEL_OK);
    for (int i = 0; i < POOL; i++)
        lintelp_stream_receive_ahead(streams[1]);
    while ((rc = lintel_stream_recv_batch(streams[1], frames, 16, 0)) > 0) {
        for (int i = rc - 1; i >= 0; i--)
            expect_fds(streams[1], &frames[i], &pool, (size_t)(got + i), 1);
        got += rc;
    }
    assert_int_equal(got, POOL);
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* What was received at once goes into the decoder in two steps: in between, the end of a frame, and
 * the FDS behind it, are not there yet. */
static void fds_received_ahead_wait_for_all_of_their_bytes(void **state)
{
    enum { SIZE = 16414 };
    struct lintel_stream_options options = taking(1);
    const struct lintel_header header = {.type = 7, .id = 1};
    int before = open_descriptors();
    struct lintel_stream *streams[2];
    static uint8_t wire[SIZE + 16];
    struct lintel_frame frame;
    struct pool pool;
    size_t size;

    (void)state;
    open_pool(&pool);
    make_streams(streams, &options);
    assert_int_equal(
        lintel_frame_encode(NULL, wire, sizeof wire, &size, &header, pattern(SIZE), SIZE, NULL),
        LINTEL_OK);
    send_raw(lintel_stream_out_fd(streams[0]), wire, 100, NULL, 0);
    assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 0);
    send_raw(lintel_stream_out_fd(streams[0]), wire + 100, size - 100, NULL, 0);
    assert_int_equal(send_n(streams[0], 2, 5, pool.fds, 1), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
    lintelp_stream_receive_ahead(streams[1]);
    assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
    expect_frame(&frame, 1, SIZE);
    assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
    expect_frame(&frame, 2, 5);
    expect_fds(streams[1], &frame, &pool, 0, 1);
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_received_ahead_are_bounded(void **state)
{
    enum { FRAMES = 600 };
    struct lintel_stream_options options = taking(4);
    int before = open_descriptors(), held;
    struct lintel_stream *streams[2];
    struct lintel_frame frame;
    struct pool pool;
    uint32_t sent = 0;

    (void)state;
    open_pool(&pool);
    make_streams(streams, &options);
    held = open_descriptors();
    /* The system bounds what is under way, too. */
    for (; sent < FRAMES && lintel_stream_queued(streams[0]) == 0; sent++) {
        assert_int_equal(send_n(streams[0], sent, 0, pool.fds, 1 + sent % 4), LINTEL_OK);
        assert_true(lintel_stream_flush(streams[0], 0) >= 0);
    }
    assert_true(sent > 150);
    assert_int_equal(lintelp_stream_begin(streams[1]), LINTEL_OK);
    for (uint32_t i = 0; i < FRAMES && lintelp_stream_ahead_room(streams[1]) > 0; i++)
        lintelp_stream_receive_ahead(streams[1]);
    assert_int_equal(lintelp_stream_ahead_room(streams[1]), 0);
    assert_true(open_descriptors() <= held + LINTEL_FDS_MAX + 4);
    for (uint32_t i = 0; i < sent; i++) {
        assert_true(lintel_stream_flush(streams[0], 0) >= 0);
        assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
        expect_frame(&frame, i, 0);
        expect_fds(streams[1], &frame, &pool, 0, 1 + i % 4);
    }
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Two messages: one in three fragments, of which two bring descriptors, and one in a frame. */
static void send_fragments(struct lintel_stream *stream, const struct pool *pool)
{
    const struct lintel_header more = {LINTEL_MORE, 7, 1, NULL}, last = {.type = 7, .id = 1};
    const struct lintel_header ping = {LINTEL_CONTROL, LINTEL_PING, 5, NULL};
    const uint8_t *bytes = pattern(30);

    assert_int_equal(lintel_stream_send_fds(stream, &more, bytes, 10, pool->fds, 2, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_send(stream, &ping, NULL, 0, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_send(stream, &more, bytes + 10, 10, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_send_fds(stream, &last, bytes + 20, 10, pool->fds + 2, 1, 0),
                     LINTEL_OK);
    assert_int_equal(send_n(stream, 2, 5, pool->fds + 3, 3), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(stream, 0), 1);
}

/* Descriptors of a message, over as many calls as there were fragments that brought some. */
static void expect_message_fds(struct lintel_stream *stream, uint64_t offset,
                               const struct pool *pool, size_t first, size_t count)
{
    size_t got = 0;
    int fds[POOL], rc;

    while ((rc = lintel_stream_take_fds(stream, offset, fds, POOL)) > 0)
        for (int i = 0; i < rc; i++, got++) {
            struct stat status;
            assert_int_equal(fstat(fds[i], &status), 0);
            assert_int_equal(status.st_ino, pool->inodes[first + got]);
            close(fds[i]);
        }
    assert_int_equal(rc, 0);
    assert_int_equal(got, count);
}

static void fds_come_with_their_message(void **state)
{
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (int cut = 0; cut < 60; cut++) {
        struct lintel_stream_options options = taking(3);
        struct lintel_stream *streams[2];
        struct lintel_message message;
        int rc;
        make_streams(streams, &options);
        send_fragments(streams[0], &pool);
        wrap_script(WRAP_RECVMSG, NULL, 0, cut);
        for (uint32_t i = 0; i < 2; i++) {
            while ((rc = lintel_stream_recv_message(streams[1], &message, 0)) == 0)
                continue;
            assert_int_equal(rc, 1);
            assert_int_equal(message.header.id, i + 1);
            assert_int_equal(message.fragments, i == 0 ? 3 : 1);
            assert_int_equal(message.frame.length, i == 0 ? 30 : 5);
            assert_memory_equal(message.frame.payload, pattern(30), message.frame.length);
            expect_message_fds(streams[1], message.frame.offset, &pool, 3 * i, 3);
        }
        wrap_reset();
        close_streams(streams);
    }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_come_with_the_pieces_of_their_message(void **state)
{
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (int cut = 0; cut < 60; cut++)
        for (int late = 0; late < 2; late++) {
            struct lintel_stream_options options = taking(3);
            struct lintel_stream *streams[2];
            struct lintel_message_piece piece;
            uint8_t got[30];
            int rc;
            make_streams(streams, &options);
            send_fragments(streams[0], &pool);
            wrap_script(WRAP_RECVMSG, NULL, 0, cut);
            for (uint32_t i = 0; i < 2; i++) {
                size_t size = 0;
                do {
                    rc = lintel_stream_recv_piece(streams[1], &piece, 0);
                    assert_true(rc >= 0);
                    if (rc == 0)
                        continue;
                    assert_int_equal(piece.header.id, i + 1);
                    assert_int_equal(piece.position, size);
                    if (size == 0 && !late)
                        expect_message_fds(streams[1], piece.offset, &pool, 3 * i, i == 0 ? 2 : 3);
                    memcpy(got + size, piece.bytes, piece.size);
                    size += piece.size;
                } while (rc == 0 || !piece.last);
                assert_int_equal(size, i == 0 ? 30 : 5);
                assert_memory_equal(got, pattern(30), size);
                if (late)
                    expect_message_fds(streams[1], piece.offset, &pool, 3 * i, 3);
                else
                    expect_message_fds(streams[1], piece.offset, &pool, 2, i == 0 ? 1 : 0);
            }
            wrap_reset();
            close_streams(streams);
        }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_of_a_message_are_bounded(void **state)
{
    const struct lintel_header more = {LINTEL_MORE, 7, 1, NULL};
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (int pieces = 0; pieces < 2; pieces++) {
        struct lintel_stream_options options = taking(3);
        struct lintel_stream *streams[2];
        struct lintel_message_piece piece;
        struct lintel_message message;
        int rc;
        make_streams(streams, &options);
        for (int i = 0; i < 3; i++)
            assert_int_equal(lintel_stream_send_fds(streams[0], &more, "x", 1, pool.fds, 2, 0),
                             LINTEL_OK);
        assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
        do
            rc = pieces ? lintel_stream_recv_piece(streams[1], &piece, 0)
                        : lintel_stream_recv_message(streams[1], &message, 0);
        while (rc == 1);
        assert_int_equal(rc, LINTEL_E_TOO_LARGE);
        expect_error(streams[1], LINTEL_E_TOO_LARGE,
                     "frame at byte 57: more descriptors than a message may bring");
        close_streams(streams);
    }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* ---- what a peer may lie about --------------------------------------------------------------- */

enum { FDS_FRAME = -1, PING_FRAME = -2, END = -3 };

/* One sendmsg of a case: frames, or part of their bytes, and how many descriptors go with it. */
struct step {
    int frames[4]; /* FDS_FRAME, PING_FRAME, or the size of a frame and 1; 0: no more */
    uint32_t announced;
    size_t fds;
    size_t skip, keep; /* of the bytes; keep 0: all */
};

static size_t encode_step(uint8_t *out, const struct step *step)
{
    size_t used = 0, size;

    for (int i = 0; i < 4 && step->frames[i] != 0; i++) {
        struct lintel_header header = {.type = 7, .id = 1};
        uint8_t count[4];
        const void *payload = pattern(64);
        size_t length = step->frames[i] > 0 ? (size_t)step->frames[i] - 1 : 0;
        if (step->frames[i] < 0) {
            header = (struct lintel_header){LINTEL_CONTROL, LINTEL_PING, 0, NULL};
            if (step->frames[i] == FDS_FRAME)
                header.type = LINTEL_FDS;
            lintel_put_u32be(count, step->announced);
            payload = count;
            length = 4;
        }
        assert_int_equal(lintel_frame_encode(NULL, out + used, 512 - used, &size, &header, payload,
                                             length, NULL),
                         LINTEL_OK);
        used += size;
    }
    if (step->keep > 0)
        used = step->keep + step->skip;
    memmove(out, out + step->skip, used - step->skip);
    return used - step->skip;
}

static const struct {
    const char *name;
    struct step steps[4];
    int frames, status; /* status 0: none of these is wrong */
    const char *text;
} lies[] = {
    {"as announced", {{{FDS_FRAME, 6}, 2, 2, 0, 0}}, 1, 0, ""},
    {"none announced and none there", {{{FDS_FRAME, 6}, 0, 0, 0, 0}}, 1, 0, ""},
    {"with a control frame",
     {{{FDS_FRAME, PING_FRAME}, 2, 2, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 20: a control frame right behind an FDS"},
    {"a frame behind in the same call", {{{FDS_FRAME, 6, 6}, 1, 1, 0, 0}}, 2, 0, ""},
    {"the frame in a call of its own", {{{FDS_FRAME}, 1, 1, 0, 0}, {{6}, 0, 0, 0, 0}}, 1, 0, ""},
    {"the FDS in pieces", {{{FDS_FRAME}, 1, 1, 0, 3}, {{FDS_FRAME, 6}, 1, 0, 3, 0}}, 1, 0, ""},
    {"behind other frames", {{{6, 1}, 0, 0, 0, 0}, {{FDS_FRAME, 6, 3}, 2, 2, 0, 0}}, 4, 0, ""},
    {"missing",
     {{{FDS_FRAME, 6}, 1, 0, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 0: FDS announces 1 descriptor, 0 came"},
    {"missing behind a frame",
     {{{6, FDS_FRAME, 6}, 2, 0, 0, 0}},
     1,
     LINTEL_E_MALFORMED,
     "frame at byte 21: FDS announces 2 descriptors, 0 came"},
    {"some missing",
     {{{FDS_FRAME, 6}, 2, 1, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 0: FDS announces 2 descriptors, 1 came"},
    {"surplus",
     {{{FDS_FRAME, 6}, 1, 2, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 0: FDS announces 1 descriptor, 2 came"},
    {"surplus, one more than is taken",
     {{{FDS_FRAME, 6}, 3, 4, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 0: FDS announces 3 descriptors, 4 came"},
    {"surplus, and cut off",
     {{{FDS_FRAME, 6}, 2, 6, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 0: FDS announces 2 descriptors, 4 and more came"},
    {"none announced, and one there",
     {{{FDS_FRAME, 6}, 0, 1, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 0: FDS announces 0 descriptors, 1 came"},
    {"more than are taken",
     {{{FDS_FRAME, 6}, 4, 4, 0, 0}},
     0,
     LINTEL_E_TOO_LARGE,
     "frame at byte 0: FDS announces 4 descriptors, over the limit of 3"},
    {"more than can be",
     {{{FDS_FRAME, 6}, UINT32_MAX, 0, 0, 0}},
     0,
     LINTEL_E_TOO_LARGE,
     "frame at byte 0: FDS announces 4294967295 descriptors, over the limit of 3"},
    {"undeclared",
     {{{6}, 0, 1, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 0: descriptors came that no FDS announces"},
    {"undeclared, many",
     {{{6}, 0, 6, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 0: descriptors came that no FDS announces"},
    {"undeclared behind a frame",
     {{{6}, 0, 0, 0, 0}, {{6}, 0, 1, 0, 0}},
     1,
     LINTEL_E_MALFORMED,
     "frame at byte 21: descriptors came that no FDS announces"},
    {"undeclared at the end of a frame",
     {{{64}, 0, 0, 0, 30}, {{64}, 0, 2, 30, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 0: descriptors came that no FDS announces"},
    {"with both",
     {{{FDS_FRAME}, 1, 1, 0, 0}, {{6}, 0, 1, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 20: descriptors came that no FDS announces"},
    {"with the first and the second byte",
     {{{FDS_FRAME}, 1, 1, 0, 1}, {{FDS_FRAME, 6}, 1, 1, 1, 0}},
     0,
     LINTEL_E_MALFORMED,
     NULL /* at byte 0, or 20 where the system has joined them */},
    {"two FDS, one call",
     {{{FDS_FRAME, FDS_FRAME, 6}, 1, 1, 0, 0}},
     0,
     LINTEL_E_MALFORMED,
     "frame at byte 20: a control frame right behind an FDS"},
    {"two FDS, one lot",
     {{{FDS_FRAME, 6, FDS_FRAME, 6}, 1, 1, 0, 0}},
     1,
     LINTEL_E_MALFORMED,
     "frame at byte 41: FDS announces 1 descriptor, 0 came"},
    {"an end behind an FDS",
     {{{FDS_FRAME}, 1, 1, 0, 0}, {{END}, 0, 0, 0, 0}},
     0,
     LINTEL_E_TRUNCATED,
     "frame at byte 20: the stream ended between an FDS and its frame"},
    {"an end inside of an FDS",
     {{{FDS_FRAME}, 1, 1, 0, 7}, {{END}, 0, 0, 0, 0}},
     0,
     LINTEL_E_TRUNCATED,
     "frame at byte 0: the stream ended after 7 of at least 16 bytes"},
    {"an end inside of the frame",
     {{{FDS_FRAME, 6}, 1, 1, 0, 30}, {{END}, 0, 0, 0, 0}},
     0,
     LINTEL_E_TRUNCATED,
     NULL},
    {"an end behind all", {{{FDS_FRAME, 6}, 1, 1, 0, 0}, {{END}, 0, 0, 0, 0}}, 1, LINTEL_E_END, ""},
};

/* Whether this system says that it has cut descriptors off; qemu-user does not, and loses them. */
static int cuts_are_told;

static int find_out(void **state)
{
    _Alignas(struct cmsghdr) uint8_t control[CMSG_SPACE(2 * sizeof(int))];
    uint8_t byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message;
    struct cmsghdr *rights;
    int pair[2], fds[POOL] = {0, 1, 2, 0, 1, 2};

    (void)state;
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    make_pair(pair);
    send_raw(pair[1], &byte, 1, fds, POOL);
    assert_int_equal(recvmsg(pair[0], &message, MSG_CMSG_CLOEXEC), 1);
    cuts_are_told = (message.msg_flags & MSG_CTRUNC) != 0;
    if (!cuts_are_told)
        print_message("more than %d at a time: left out, this system does not tell it\n", ROOM);
    rights = CMSG_FIRSTHDR(&message);
    assert_non_null(rights);
    for (size_t i = 0; i < (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int); i++) {
        memcpy(fds, CMSG_DATA(rights) + i * sizeof(int), sizeof(int));
        close(fds[0]);
    }
    close(pair[0]);
    close(pair[1]);
    return 0;
}

static int can_be_told(size_t index)
{
    for (size_t i = 0; i < COUNT(lies[index].steps); i++)
        if (lies[index].steps[i].fds > ROOM && !cuts_are_told)
            return 0;
    return 1;
}

static void tell_lie(size_t index, int peer, const struct pool *pool)
{
    for (size_t i = 0; i < 4 && lies[index].steps[i].frames[0] != 0; i++) {
        const struct step *step = &lies[index].steps[i];
        uint8_t wire[512];
        if (step->frames[0] == END)
            assert_int_equal(shutdown(peer, SHUT_WR), 0);
        else
            send_raw(peer, wire, encode_step(wire, step), pool->fds, step->fds);
    }
}

/* Receive until nothing is there or an error: as many frames, and that error twice. */
static void expect_lie(size_t index, struct lintel_stream *stream, int batch)
{
    struct lintel_frame frames[8];
    struct lintel_error error;
    int got = 0, rc;

    while ((rc = lintel_stream_recv_batch(stream, frames, batch, 0)) > 0)
        got += rc;
    lintel_stream_error(stream, &error);
    if (rc != lies[index].status || got != lies[index].frames)
        fail_msg("%s: %d frames, then %d: %s", lies[index].name, got, rc, error.text);
    if (rc == 0 || rc == LINTEL_E_END)
        return;
    assert_int_equal(lintel_stream_recv(stream, frames, 0), rc);
    if (lies[index].text != NULL)
        expect_error(stream, rc, lies[index].text);
    assert_int_equal(lintel_stream_recv(stream, frames, -1), rc);
}

static void fds_that_are_not_as_announced_are_an_error(void **state)
{
    static uint8_t shared[4096];
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (size_t i = 0; i < COUNT(lies); i++)
        for (int way = 0; way < 12 && can_be_told(i); way++) {
            static const int cuts[] = {0, 1, 13};
            struct lintel_stream_options options = taking(3);
            struct lintel_stream *stream;
            int pair[2], held;
            options.receive_buffer = way & 1 ? shared : NULL;
            options.receive_buffer_size = way & 1 ? sizeof shared : 0;
            make_pair(pair);
            stream = stream_on(pair[0], &options);
            held = open_descriptors();
            wrap_script(WRAP_RECVMSG, NULL, 0, cuts[way / 4]);
            tell_lie(i, pair[1], &pool);
            expect_lie(i, stream, way & 2 ? 8 : 1);
            if (lies[i].status != 0)
                assert_int_equal(open_descriptors(), held);
            wrap_reset();
            lintel_stream_close(stream);
            close(pair[1]);
        }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* Who takes messages answers a lie with a BYE. */
static void fds_that_are_not_as_announced_are_answered_with_a_bye(void **state)
{
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (size_t i = 0; i < COUNT(lies); i++)
        for (int pieces = 0; pieces < 2 && can_be_told(i); pieces++) {
            struct lintel_stream_options options = taking(3);
            struct lintel_message_piece piece;
            struct lintel_message message;
            struct lintel_stream *stream;
            uint8_t bye[64];
            int pair[2], held, rc;
            make_pair(pair);
            stream = stream_on(pair[0], &options);
            held = open_descriptors();
            tell_lie(i, pair[1], &pool);
            do
                rc = pieces ? lintel_stream_recv_piece(stream, &piece, 0)
                            : lintel_stream_recv_message(stream, &message, 0);
            while (rc == 1);
            assert_int_equal(rc, lies[i].status);
            if (rc != 0 && rc != LINTEL_E_END) {
                if (lies[i].text != NULL && !(pieces && rc == LINTEL_E_TRUNCATED))
                    expect_error(stream, rc, lies[i].text);
                assert_int_equal(recv(pair[1], bye, sizeof bye, MSG_DONTWAIT), 24);
                assert_int_equal(lintel_get_u32be(bye + 4), LINTEL_BYE);
                assert_int_equal(lintel_get_u32be(bye + 16), rc == LINTEL_E_TOO_LARGE
                                                                 ? LINTEL_BYE_TOO_LARGE
                                                                 : LINTEL_BYE_MALFORMED);
                assert_int_equal(open_descriptors(), held);
            }
            lintel_stream_close(stream);
            close(pair[1]);
        }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* A frame that never ends is no place to pile up descriptors in. */
static void fds_inside_of_a_frame_are_refused_before_it_is_whole(void **state)
{
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (int joined = 0; joined < 2; joined++) {
        struct lintel_stream_options options = taking(3);
        struct lintel_stream *stream;
        struct lintel_frame frame;
        int pair[2], held;
        make_pair(pair);
        stream = stream_on(pair[0], &options);
        held = open_descriptors();
        send_raw(pair[1], "LT\1", 3, NULL, 0);
        if (!joined)
            assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
        /* The system joins these bytes to those before, and the frame begins among them. */
        send_raw(pair[1], "", 1, pool.fds, 3);
        if (joined)
            assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
        send_raw(pair[1], "", 1, pool.fds, 3);
        assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_MALFORMED);
        expect_error(stream, LINTEL_E_MALFORMED,
                     "frame at byte 0: descriptors came that no FDS announces");
        assert_int_equal(open_descriptors(), held);
        lintel_stream_close(stream);
        close(pair[1]);
    }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_are_closed_by_the_system_unless_asked_for(void **state)
{
    int before = open_descriptors();
    struct lintel_stream *streams[2];
    struct lintel_header header;
    struct lintel_frame frame;
    struct pool pool;
    int held, fd;

    (void)state;
    open_pool(&pool);
    make_streams(streams, NULL);
    held = open_descriptors();
    assert_int_equal(send_n(streams[0], 1, 5, pool.fds, 3), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
    assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
    assert_int_equal(lintel_header_read(lintel_layout_default(), &header, &frame), LINTEL_OK);
    assert_int_equal(header.flags, LINTEL_CONTROL);
    assert_int_equal(header.type, LINTEL_FDS);
    assert_int_equal(lintel_get_u32be(frame.payload), 3);
    assert_int_equal(lintel_stream_take_fds(streams[1], frame.offset, &fd, 1), 0);
    assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
    expect_frame(&frame, 1, 5);
    assert_int_equal(wrap_count(WRAP_RECVMSG), 0);
    assert_int_equal(open_descriptors(), held);
    close_streams(streams);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* ---- failures of this side ------------------------------------------------------------------- */

/* As the system does where a process has too many descriptors: the last are not there. */
static void starve(void *user, struct msghdr *message)
{
    struct cmsghdr *rights = CMSG_FIRSTHDR(message);
    size_t count, gone = *(size_t *)user;

    if (rights == NULL)
        return;
    count = (rights->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = count - gone; i < count; i++) {
        int fd;
        memcpy(&fd, CMSG_DATA(rights) + i * sizeof fd, sizeof fd);
        close(fd);
    }
    rights->cmsg_len = CMSG_LEN((count - gone) * sizeof(int));
    if (gone == count)
        message->msg_controllen = 0;
    message->msg_flags |= MSG_CTRUNC;
}

static void fds_that_this_process_has_no_room_for_are_reported(void **state)
{
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (size_t gone = 1; gone <= 3; gone++) {
        struct lintel_stream_options options = taking(5);
        struct lintel_stream *streams[2];
        struct lintel_error error;
        struct lintel_frame frame;
        int held;
        make_streams(streams, &options);
        held = open_descriptors();
        assert_int_equal(send_n(streams[0], 1, 5, pool.fds, 3), LINTEL_OK);
        assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
        wrap_on_recvmsg(starve, &gone);
        for (int i = 0; i < 2; i++) {
            assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), LINTEL_E_SYSTEM);
            expect_error(streams[1], LINTEL_E_SYSTEM,
                         "frame at byte 0: receive descriptors: Too many open files");
            lintel_stream_error(streams[1], &error);
            assert_int_equal(error.system, EMFILE);
        }
        assert_int_equal(open_descriptors(), held);
        wrap_reset();
        close_streams(streams);
    }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_are_closed_when_receiving_fails(void **state)
{
    static const int failures[] = {ECONNRESET, EIO, EBADF};
    int before = open_descriptors();
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (size_t i = 0; i < COUNT(failures); i++)
        for (int calls = 1; calls < 4; calls++) {
            const int outcomes[] = {10, -EINTR, 15};
            struct lintel_stream_options options = taking(3);
            struct lintel_stream *streams[2];
            struct lintel_frame frame;
            int held;
            make_streams(streams, &options);
            held = open_descriptors();
            assert_int_equal(send_n(streams[0], 1, 5, pool.fds, 3), LINTEL_OK);
            assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
            wrap_script(WRAP_RECVMSG, outcomes, (size_t)calls, -failures[i]);
            assert_int_equal(lintel_stream_recv(streams[1], &frame, 0),
                             failures[i] == ECONNRESET ? LINTEL_E_RESET : LINTEL_E_SYSTEM);
            assert_int_equal(open_descriptors(), held);
            wrap_reset();
            close_streams(streams);
        }
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* Send and receive the talk, trying again what had no memory. Returns how often it had none. */
static int talk_without_memory(struct lintel_stream *streams[2], const struct pool *pool)
{
    struct lintel_frame frame;
    int none = 0;

    for (uint32_t i = 0; i < COUNT(talk); i++) {
        size_t queued = lintel_stream_queued(streams[0]);
        int rc = send_n(streams[0], i, talk[i].size, pool->fds, talk[i].fds);
        if (rc == LINTEL_E_NOMEM) {
            assert_int_equal(lintel_stream_queued(streams[0]), queued);
            none++;
            i--;
            continue;
        }
        assert_int_equal(rc, LINTEL_OK);
    }
    assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
    for (uint32_t i = 0; i < COUNT(talk); i++) {
        int rc = lintel_stream_recv(streams[1], &frame, 0);
        if (rc == LINTEL_E_NOMEM) {
            none++;
            i--;
            continue;
        }
        assert_int_equal(rc, 1);
        expect_frame(&frame, i, talk[i].size);
        expect_fds(streams[1], &frame, pool, 0, talk[i].fds);
    }
    return none;
}

static void fds_survive_every_failing_allocation(void **state)
{
    int before = open_descriptors(), none = 0, refused = 0;
    struct pool pool;

    (void)state;
    open_pool(&pool);
    for (unsigned skip = 0; skip < 40; skip++) {
        struct lintel_stream_options options = taking(POOL);
        struct lintel_stream *streams[2];
        int pair[2], rc;
        make_pair(pair);
        wrap_fail(WRAP_RESIZE, skip, 1, ENOMEM);
        rc = lintel_stream_new(&streams[1], pair[1], pair[1], &options, NULL);
        if (rc == LINTEL_OK)
            rc = lintel_stream_new(&streams[0], pair[0], pair[0], NULL, NULL);
        else
            close(pair[0]);
        if (rc < 0) {
            assert_int_equal(rc, LINTEL_E_NOMEM);
            if (refused++ >= 1)
                lintel_stream_close(streams[1]);
        } else {
            none += talk_without_memory(streams, &pool);
            close_streams(streams);
        }
        wrap_reset();
    }
    assert_int_equal(refused, 2);
    assert_true(none > 10);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* A socket that does not say what it is: nobody but this machine is to blame. */
static void fds_of_an_unknown_socket_are_a_system_error(void **state)
{
    const struct lintel_stream_options options = taking(1);
    const struct lintel_header header = {.id = 1};
    struct lintel_credentials credentials;
    struct lintel_stream *streams[2], *none;
    struct lintel_error error;
    int pair[2], fd = 0;

    (void)state;
    make_pair(pair);
    wrap_fail(WRAP_GETSOCKNAME, 0, 1, ENOBUFS);
    assert_int_equal(lintel_stream_new(&none, pair[0], pair[0], &options, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, ENOBUFS);
    close(pair[1]);
    make_streams(streams, &options);
    wrap_fail(WRAP_GETSOCKNAME, 0, 2, ENOBUFS);
    assert_int_equal(lintel_stream_send_fds(streams[0], &header, "", 0, &fd, 1, 0),
                     LINTEL_E_SYSTEM);
    assert_int_equal(lintel_stream_credentials(streams[0], &credentials), LINTEL_E_SYSTEM);
    assert_int_equal(lintel_stream_send_fds(streams[0], &header, "", 0, &fd, 1, 0), LINTEL_OK);
    close_streams(streams);
}

static void fds_errors_need_no_memory(void **state)
{
    struct lintel_stream_options options = taking(1);
    int before = open_descriptors(), pair[2];
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct pool pool;
    uint8_t wire[512];

    (void)state;
    open_pool(&pool);
    make_pair(pair);
    stream = stream_on(pair[0], &options);
    send_raw(pair[1], wire, encode_step(wire, &lies[0].steps[0]), pool.fds, 1);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_TOO_LARGE);
    lintel_stream_close(stream);
    close(pair[1]);

    make_pair(pair);
    stream = stream_on(pair[0], &options);
    send_raw(pair[1], "L", 1, NULL, 0);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    send_raw(pair[1], "T", 1, pool.fds, 1);
    wrap_fail(WRAP_RESIZE, 0, 100, ENOMEM);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_MALFORMED);
    expect_error(stream, LINTEL_E_MALFORMED, lintel_strerror(LINTEL_E_MALFORMED));
    lintel_stream_close(stream);
    close(pair[1]);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

/* ---- the rest -------------------------------------------------------------------------------- */

static void fds_frame_has_a_deadline_from_its_fds_on(void **state)
{
    struct lintel_stream_options options = taking(2);
    int before = open_descriptors(), pair[2], held;
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct pool pool;
    uint8_t wire[512];

    (void)state;
    open_pool(&pool);
    make_pair(pair);
    options.frame_timeout_ms = 300;
    stream = stream_on(pair[0], &options);
    held = open_descriptors();
    wrap_clock(1000);
    send_raw(pair[1], wire, encode_step(wire, &(struct step){{FDS_FRAME}, 2, 2, 0, 0}), pool.fds,
             2);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    assert_int_equal(open_descriptors(), held + 2);
    assert_int_equal(lintel_stream_wait_ms(stream), 300);
    wrap_clock_advance(300);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_TIMEOUT);
    expect_error(stream, LINTEL_E_TIMEOUT,
                 "frame at byte 20: not whole within 300 ms of its first byte");
    assert_int_equal(open_descriptors(), held);
    lintel_stream_close(stream);
    close(pair[1]);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void on_trace(void *user, char direction, const struct lintel_frame *frame)
{
    struct text *text = user;
    char line[128];

    lintel_frame_dump(lintel_layout_default(), line, sizeof line, frame);
    text_add(text, "%c %s\n", direction, line);
}

static void fds_frames_are_traced(void **state)
{
    struct lintel_stream_options options = taking(2);
    struct text out = {NULL, 0}, in = {NULL, 0};
    int before = open_descriptors(), pair[2];
    struct lintel_stream *a, *b;
    struct lintel_frame frame;
    struct pool pool;

    (void)state;
    open_pool(&pool);
    make_pair(pair);
    options.trace = on_trace;
    options.trace_user = &out;
    a = stream_on(pair[0], &options);
    options.trace_user = &in;
    b = stream_on(pair[1], &options);
    assert_int_equal(send_n(a, 1, 2, NULL, 0), LINTEL_OK);
    assert_int_equal(send_n(a, 2, 5, pool.fds, 2), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(a, 0), 1);
    assert_int_equal(lintel_stream_recv(b, &frame, 0), 1);
    assert_int_equal(lintel_stream_recv(b, &frame, 0), 1);
    assert_string_equal(out.data, "> #0 type 7 id 1 2 bytes\n"
                                  "> #18 FDS id 0 4 bytes\n"
                                  "> #38 type 7 id 2 5 bytes\n");
    assert_string_equal(in.data, "< #0 type 7 id 1 2 bytes\n"
                                 "< #18 FDS id 0 4 bytes\n"
                                 "< #38 type 7 id 2 5 bytes\n");
    free(out.data);
    free(in.data);
    lintel_stream_close(a);
    lintel_stream_close(b);
    close_pool(&pool);
    assert_int_equal(open_descriptors(), before);
}

static void fds_cost_a_stream_nothing_that_has_none(void **state)
{
    struct lintel_stream_options options = taking(POOL);
    struct lintel_stream *streams[2];
    struct lintel_frame frame;
    struct pool pool;
    size_t idle;

    (void)state;
    open_pool(&pool);
    make_streams(streams, &options);
    assert_null(streams[0]->work);
    idle = lintel_stream_memory(streams[1]);
    assert_int_equal(idle, 0);
    assert_int_equal(send_n(streams[0], 1, 5, pool.fds, POOL), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(streams[0], 0), 1);
    assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 1);
    assert_true(lintel_stream_memory(streams[1]) > idle);
    assert_int_equal(lintel_stream_recv(streams[1], &frame, 0), 0);
    lintel_stream_trim(streams[0]);
    assert_null(streams[0]->work);
    assert_int_equal(lintel_stream_memory(streams[0]), 0);
    lintel_stream_trim(streams[1]);
    assert_int_equal(lintel_stream_memory(streams[1]), idle);
    close_streams(streams);
    close_pool(&pool);
}

static void stream_credentials_are_the_peers(void **state)
{
    struct lintel_credentials peer = {-1, 0, 0};
    struct lintel_stream *streams[2];

    (void)state;
    make_streams(streams, NULL);
    assert_int_equal(lintel_stream_credentials(streams[0], &peer), LINTEL_OK);
    assert_int_equal(peer.pid, getpid());
    assert_int_equal(peer.uid, getuid());
    assert_int_equal(peer.gid, getgid());
    assert_int_equal(lintel_stream_credentials(NULL, &peer), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_credentials(streams[0], NULL), LINTEL_E_USAGE);
    close_streams(streams);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(fds_come_with_their_frame),
        TEST(fds_come_with_their_frame_at_every_cut),
        TEST(fds_go_out_once_however_the_write_is_cut),
        TEST(fds_of_any_number_and_frames_of_any_size_go),
        TEST(fds_are_announced_as_the_protocol_says),
        TEST(fds_wait_in_the_queue_as_duplicates),
        TEST(fds_of_a_queue_that_is_closed_are_closed),
        TEST(fds_held_for_one_frame_too_many_are_written_first),
        TEST(fds_are_closed_when_sending_fails),
        TEST(fds_send_refuses_what_cannot_be),
        TEST(fds_need_a_unix_socket_and_our_layout),
        TEST(fds_that_nobody_takes_are_closed),
        TEST(fds_received_ahead_stay_with_their_frames),
        TEST(fds_received_ahead_wait_for_all_of_their_bytes),
        TEST(fds_received_ahead_are_bounded),
        TEST(fds_come_with_their_message),
        TEST(fds_come_with_the_pieces_of_their_message),
        TEST(fds_of_a_message_are_bounded),
        TEST(fds_that_are_not_as_announced_are_an_error),
        TEST(fds_that_are_not_as_announced_are_answered_with_a_bye),
        TEST(fds_inside_of_a_frame_are_refused_before_it_is_whole),
        TEST(fds_are_closed_by_the_system_unless_asked_for),
        TEST(fds_that_this_process_has_no_room_for_are_reported),
        TEST(fds_are_closed_when_receiving_fails),
        TEST(fds_survive_every_failing_allocation),
        TEST(fds_of_an_unknown_socket_are_a_system_error),
        TEST(fds_errors_need_no_memory),
        TEST(fds_frame_has_a_deadline_from_its_fds_on),
        TEST(fds_frames_are_traced),
        TEST(fds_cost_a_stream_nothing_that_has_none),
        TEST(stream_credentials_are_the_peers),
    };

    alarm(300); /* a watchdog: a deadlock ends the test */
    return cmocka_run_group_tests(tests, find_out, NULL);
}
