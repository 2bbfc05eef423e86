/* stream: messages, control frames, and the ways a session ends. */
#include "config.h"
#include "lintel/stream.h"

#include "wrap.h"

#include "util.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- helpers --------------------------------------------------------------------------------- */

static int setup(void **state)
{
    (void)state;
    wrap_reset();
    return 0;
}

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static struct lintel_stream *stream_of(int fd, const struct lintel_stream_options *options)
{
    struct lintel_stream *stream;
    struct lintel_error error;

    if (lintel_stream_new(&stream, fd, fd, options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return stream;
}

/* A stream and the other end of its connection. */
static struct lintel_stream *stream_and_peer(int *peer, const struct lintel_stream_options *options)
{
    int fds[2];

    make_pair(fds);
    *peer = fds[1];
    return stream_of(fds[0], options);
}

static struct lintel_stream_options small_frames(uint64_t max_frame)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;

    options.max_frame = max_frame;
    return options;
}

static void write_bytes(int fd, const void *bytes, size_t size)
{
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
}

/* A frame written by hand, as a peer would. */
static void peer_says(int fd, uint8_t flags, uint32_t type, uint32_t id, const void *payload,
                      size_t size)
{
    uint8_t wire[400];

    lintel_header_put(wire, flags, type, id, (uint32_t)size);
    memcpy(wire + LINTEL_HEADER_SIZE, payload, size);
    write_bytes(fd, wire, LINTEL_HEADER_SIZE + size);
}

static void peer_says_bye(int fd, uint32_t reason, uint32_t last_id)
{
    uint8_t payload[8];

    lintel_put_u32be(payload, reason);
    lintel_put_u32be(payload + 4, last_id);
    peer_says(fd, LINTEL_CONTROL, LINTEL_BYE, 0, payload, sizeof payload);
}

/* What the peer reads, frame by frame: "FLAGS TYPE ID HEX" each, and "end" if that has come. */
static char *peer_reads(int fd)
{
    struct lintel_stream *stream = stream_of(dup(fd), NULL);
    struct lintel_frame frame;
    struct lintel_header header;
    struct text text = {0};
    int rc;

    while ((rc = lintel_stream_recv(stream, &frame, 0)) == 1) {
        assert_int_equal(lintel_header_read(NULL, &header, &frame), LINTEL_OK);
        text_add(&text, "%02x %u %u ", header.flags, header.type, header.id);
        for (size_t i = 0; i < frame.length; i++)
            text_add(&text, "%02x", frame.payload[i]);
        text_add(&text, "\n");
    }
    text_add(&text, "%s", rc == LINTEL_E_END ? "end" : rc == 0 ? "" : lintel_status_name(rc));
    lintel_stream_close(stream);
    return text.data;
}

static void expect_peer_reads(int fd, const char *expected)
{
    char *got = peer_reads(fd);

    assert_string_equal(got, expected);
    free(got);
}

static void expect_text(const struct lintel_stream *stream, int status, const char *expected)
{
    struct lintel_error error;

    lintel_stream_error(stream, &error);
    assert_int_equal(error.status, status);
    if (strstr(error.text, expected) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", expected, error.text);
}

static uint8_t *pattern(size_t size)
{
    uint8_t *bytes = malloc(size + 1);

    assert_non_null(bytes);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 251 + 3);
    return bytes;
}

/* Both ends in turn, without waiting, until a message is there. */
static void carry(struct lintel_stream *from, struct lintel_stream *to,
                  struct lintel_message *message)
{
    int rc;

    for (;;) {
        assert_true(lintel_stream_flush(from, 0) >= 0);
        rc = lintel_stream_recv_message(to, message, 0);
        assert_true(rc >= 0);
        if (rc == 1)
            return;
    }
}

/* ---- messages -------------------------------------------------------------------------------- */

static void message_goes_in_fragments_and_comes_whole(void **state)
{
    static const size_t sizes[] = {0, 1, 99, 100, 101, 199, 200, 201, 1000, 70000};
    const struct lintel_header header = {0, 7, 5, NULL};
    struct lintel_stream_options options = small_frames(100);
    struct lintel_message message;
    uint8_t *payload = pattern(70000);
    int fds[2];

    (void)state;
    make_pair(fds);
    struct lintel_stream *a = stream_of(fds[0], &options), *b = stream_of(fds[1], &options);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        assert_int_equal(lintel_stream_send_message(a, &header, payload, sizes[i], 0), LINTEL_OK);
        carry(a, b, &message);
        assert_int_equal(message.header.flags, 0);
        assert_int_equal(message.header.type, 7);
        assert_int_equal(message.header.id, 5);
        assert_int_equal(message.frame.length, sizes[i]);
        assert_memory_equal(message.frame.payload, payload, sizes[i]);
        assert_int_equal(message.fragments, sizes[i] <= 100 ? 1 : (sizes[i] + 99) / 100);
    }
    lintel_stream_close(a);
    lintel_stream_close(b);
    free(payload);
}

static void message_is_the_same_for_every_cut(void **state)
{
    const struct lintel_header header = {LINTEL_REPLY, 7, 5, NULL};
    struct lintel_stream_options options = small_frames(3);
    struct lintel_message message;

    (void)state;
    for (int most = 1; most < 60; most++) {
        int fds[2];
        wrap_reset();
        make_pair(fds);
        struct lintel_stream *a = stream_of(fds[0], &options), *b = stream_of(fds[1], &options);
        wrap_script(WRAP_SENDMSG, NULL, 0, most);
        wrap_script(WRAP_RECV, NULL, 0, most % 7 + 1);
        assert_int_equal(lintel_stream_send_message(a, &header, "abcdefgh", 8, -1), LINTEL_OK);
        assert_int_equal(lintel_stream_flush(a, -1), 1);
        assert_int_equal(lintel_stream_recv_message(b, &message, -1), 1);
        assert_int_equal(message.header.flags, LINTEL_REPLY);
        assert_int_equal(message.frame.length, 8);
        assert_memory_equal(message.frame.payload, "abcdefgh", 8);
        lintel_stream_close(a);
        lintel_stream_close(b);
    }
}

static void message_over_the_limit_of_another_layout_is_refused(void **state)
{
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    const struct lintel_header header = {0};
    uint8_t payload[256] = {0};
    struct lintel_message message;
    int peer;

    (void)state;
    options.layout = layout;
    struct lintel_stream *stream = stream_and_peer(&peer, &options);
    assert_int_equal(lintel_stream_send_message(stream, &header, payload, 256, 0),
                     LINTEL_E_TOO_LARGE);
    expect_text(stream, LINTEL_E_TOO_LARGE, "limit of 255");
    assert_int_equal(lintel_stream_send_message(stream, &header, payload, 255, -1), LINTEL_OK);
    write_bytes(peer, "\2hi", 3);
    assert_int_equal(lintel_stream_recv_message(stream, &message, 0), 1);
    assert_int_equal(message.frame.length, 2);
    assert_int_equal(lintel_stream_bye(stream, LINTEL_BYE_TOO_LARGE, 0), 1);
    lintel_stream_close(stream);
    close(peer);
    lintel_layout_free(layout);
}

/* The deadline is that of the first fragment; then the message is taken. */
static void message_that_has_begun_is_taken(void **state)
{
    const struct lintel_header header = {0, 7, 5, NULL};
    struct lintel_stream_options options = small_frames(LINTEL_FRAGMENT_SIZE);
    uint8_t *payload = pattern(4 * LINTEL_FRAGMENT_SIZE);
    struct lintel_message message;
    uint64_t frames;
    int fds[2];

    (void)state;
    make_pair(fds);
    struct lintel_stream *a = stream_of(fds[0], &options), *b = stream_of(fds[1], &options);
    wrap_clock(1000);
    assert_int_equal(lintel_stream_send_message(a, &header, payload, 4 * LINTEL_FRAGMENT_SIZE, 50),
                     LINTEL_OK);
    assert_true(lintel_stream_queued(a) > LINTEL_FRAGMENT_SIZE);
    assert_int_equal(lintel_stream_send_message(a, &header, payload, 4 * LINTEL_FRAGMENT_SIZE, 50),
                     LINTEL_E_TIMEOUT);
    lintel_stream_unsent(a, &frames, NULL);
    assert_true(frames <= 4);
    carry(a, b, &message);
    assert_int_equal(message.frame.length, 4 * LINTEL_FRAGMENT_SIZE);
    assert_memory_equal(message.frame.payload, payload, message.frame.length);
    assert_int_equal(lintel_stream_flush(a, 0), 1);
    assert_int_equal(lintel_stream_recv_message(b, &message, 0), 0);
    lintel_stream_close(a);
    lintel_stream_close(b);
    free(payload);
}

static void message_limit_is_told(void **state)
{
    struct lintel_stream_options options = small_frames(10);
    struct lintel_message message;
    int peer;

    (void)state;
    options.max_message = 15;
    struct lintel_stream *stream = stream_and_peer(&peer, &options);
    peer_says(peer, 0, 7, 1, "whole", 5);
    peer_says(peer, LINTEL_MORE, 7, 2, "0123456789", 10);
    peer_says(peer, 0, 7, 2, "abcdef", 6);
    assert_int_equal(lintel_stream_recv_message(stream, &message, 0), 1);
    assert_int_equal(lintel_stream_recv_message(stream, &message, 0), LINTEL_E_TOO_LARGE);
    expect_text(stream, LINTEL_E_TOO_LARGE,
                "frame at byte 47: the message at byte 21 exceeds the limit of 15 bytes");
    expect_peer_reads(peer, "08 4 0 0000000500000001\nend");
    assert_int_equal(lintel_stream_recv_message(stream, &message, 0), LINTEL_E_TOO_LARGE);
    lintel_stream_close(stream);
    close(peer);
}

/* ---- control frames -------------------------------------------------------------------------- */

static void message_recv_answers_pings(void **state)
{
    struct lintel_message message;
    int peer;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    peer_says(peer, LINTEL_CONTROL, LINTEL_PING, 9, "?", 1);
    peer_says(peer, LINTEL_MORE, 7, 5, "a", 1);
    peer_says(peer, LINTEL_CONTROL, LINTEL_PING, 10, "", 0);
    peer_says(peer, LINTEL_CONTROL, LINTEL_PONG, 11, "unasked", 7);
    peer_says(peer, 0, 7, 5, "b", 1);
    assert_int_equal(lintel_stream_recv_message(stream, &message, 0), 1);
    assert_int_equal(message.frame.length, 2);
    assert_int_equal(lintel_stream_recv_message(stream, &message, 0), 0);
    assert_int_equal(lintel_stream_flush(stream, 0), 1);
    expect_peer_reads(peer, "08 3 9 3f\n08 3 10 \n");
    lintel_stream_close(stream);
    close(peer);
}

/* A peer that only asks and never reads costs 1 MiB and no more. */
static void message_recv_bounds_the_pongs(void **state)
{
    uint8_t pings[100 * (LINTEL_HEADER_SIZE + 125)] = {0};
    struct lintel_message message;
    int peer, rc = 0;
    size_t most = 0;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    for (size_t i = 0; i < 100; i++)
        lintel_header_put(pings + i * (LINTEL_HEADER_SIZE + 125), LINTEL_CONTROL, LINTEL_PING, 1,
                          125);
    while (rc == 0) {
        write_bytes(peer, pings, sizeof pings);
        rc = lintel_stream_recv_message(stream, &message, 0);
        if (lintel_stream_queued(stream) > most)
            most = lintel_stream_queued(stream);
    }
    assert_int_equal(rc, LINTEL_E_TOO_LARGE);
    expect_text(stream, LINTEL_E_TOO_LARGE, "a PING of a peer that does not read its PONGs");
    assert_true(most < ((size_t)1 << 20) + 2 * sizeof pings);
    lintel_stream_close(stream);
    close(peer);
}

static void message_recv_tells_how_the_peer_ended(void **state)
{
    static const struct {
        uint32_t reason;
        int status;
        const char *text;
    } cases[] = {
        {0, LINTEL_E_END, "BYE 0 (done), the last request it took has id 77"},
        {1, LINTEL_E_REFUSED, "BYE 1 (draining)"},
        {2, LINTEL_E_REFUSED, "BYE 2 (idle)"},
        {3, LINTEL_E_REFUSED, "BYE 3 (too slow)"},
        {4, LINTEL_E_REFUSED, "BYE 4 (ill-formed input)"},
        {5, LINTEL_E_REFUSED, "BYE 5 (too large)"},
        {6, LINTEL_E_REFUSED, "BYE 6 (not authenticated)"},
        {7, LINTEL_E_REFUSED, "BYE 7 (too many connections)"},
        {8, LINTEL_E_REFUSED, "BYE 8 (internal error)"},
        {9, LINTEL_E_REFUSED, "BYE 9 (another version)"},
        {4294967295, LINTEL_E_REFUSED, "BYE 4294967295 (reason unknown)"},
    };
    const struct lintel_header reply = {LINTEL_REPLY, 7, 5, NULL};
    struct lintel_message message;
    uint32_t reason, last_id;
    int peer;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_stream *stream = stream_and_peer(&peer, NULL);
        peer_says(peer, 0, 7, 5, "x", 1);
        peer_says_bye(peer, cases[i].reason, 77);
        peer_says(peer, 0, 7, 6, "behind it", 9);
        assert_int_equal(lintel_stream_recv_message(stream, &message, 0), 1);
        assert_int_equal(lintel_stream_peer_bye(stream, &reason, &last_id), 0);
        assert_int_equal(lintel_stream_recv_message(stream, &message, 0), cases[i].status);
        expect_text(stream, cases[i].status, cases[i].text);
        assert_int_equal(lintel_stream_peer_bye(stream, &reason, &last_id), 1);
        assert_int_equal(reason, cases[i].reason);
        assert_int_equal(last_id, 77);
        assert_int_equal(lintel_stream_peer_bye(stream, NULL, NULL), 1);
        /* It answers what is open, and says no BYE of its own. */
        assert_int_equal(lintel_stream_send_message(stream, &reply, "y", 1, 0), LINTEL_OK);
        assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
        expect_peer_reads(peer, "01 7 5 79\nend");
        assert_int_equal(lintel_stream_recv_message(stream, &message, 0), cases[i].status);
        lintel_stream_close(stream);
        close(peer);
    }
}

/* proto/lintel.md, "What a receiver does": the bytes, the status, and the reason told. */
static void message_recv_does_what_a_receiver_does(void **state)
{
    static const struct {
        const char *wire;
        int ends; /* the peer's end comes behind them */
        int status;
        const char *said;
    } cases[] = {
        {"4c55 01 00 00000001 00000001 00000000", 0, LINTEL_E_MISMATCH, "00000004"},
        {"4c54 01 10 00000001 00000001 00000000", 0, LINTEL_E_MISMATCH, "00000004"},
        {"4c54 02 00 00000001 00000001 00000000", 0, LINTEL_E_VERSION, "00000009"},
        {"4c54 01 02 00000001 00000001 00000000", 0, LINTEL_E_MALFORMED, "00000004"},
        {"4c54 01 08 00000007 00000000 00000000", 0, LINTEL_E_MALFORMED, "00000004"},
        {"4c54 01 00 00000001 00000001 00000401", 0, LINTEL_E_TOO_LARGE, "00000005"},
        {"4c54 01 04 00000001 00000001 00000000 4c54 01 00 00000001 00000002 00000000", 0,
         LINTEL_E_MALFORMED, "00000004"},
        {"4c54 01 00 00000001 00000001 00000002 61", 1, LINTEL_E_TRUNCATED, "00000004"},
        {"4c54", 1, LINTEL_E_TRUNCATED, "00000004"},
        {"4c54 01 04 00000001 00000001 00000001 61", 1, LINTEL_E_TRUNCATED, "00000004"},
        {"4c54 01 04 00000001 00000001 00000001 61"
         "4c54 01 08 00000004 00000000 00000008 00000000 00000000",
         0, LINTEL_E_TRUNCATED, NULL},
        {"4c54 01 08 00000005 00000000 00000010 00000000000000000000000000000000", 0, LINTEL_E_SEAL,
         "00000006"},
        {"4c54 01 08 00000001 00000000 00000033"
         "000000000000000000000000000000000000000000000000000000000000000000"
         "000000000000000000000000000000000000",
         0, LINTEL_E_SEAL, "00000006"},
        {"4c54 01 08 00000006 00000000 00000004 00000001", 0, LINTEL_E_MALFORMED, "00000004"},
    };
    struct lintel_stream_options options = small_frames(1024);
    struct lintel_message message;
    int peer;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        for (int pieces = 0; pieces < 2; pieces++) {
            struct lintel_message_piece piece;
            char expected[80];
            struct bytes wire = from_hex(cases[i].wire);
            struct lintel_stream *stream = stream_and_peer(&peer, &options);
            int rc;

            peer_says(peer, 0, 7, 300, "x", 1);
            write_bytes(peer, wire.data, wire.size);
            if (cases[i].ends)
                assert_int_equal(shutdown(peer, SHUT_WR), 0);
            do
                rc = pieces ? lintel_stream_recv_piece(stream, &piece, 0)
                            : lintel_stream_recv_message(stream, &message, 0);
            while (rc == 1);
            assert_int_equal(rc, cases[i].status);
            snprintf(expected, sizeof expected, "08 4 0 %s0000012c\nend", cases[i].said);
            if (cases[i].said == NULL) /* a BYE is not answered by one */
                expected[0] = '\0';
            expect_peer_reads(peer, expected);
            lintel_stream_close(stream);
            close(peer);
            free(wire.data);
        }
    }
}

/* ---- this side's end ------------------------------------------------------------------------- */

static void stream_bye_is_the_last_frame(void **state)
{
    const struct lintel_header header = {LINTEL_REPLY, 7, 300, NULL};
    struct lintel_message message;
    int peer;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    peer_says(peer, 0, 7, 300, "x", 1);
    peer_says(peer, 0, 7, 0, "no reply wanted", 15);
    peer_says(peer, LINTEL_REPLY, 7, 8, "a reply", 7);
    peer_says(peer, LINTEL_MORE, 7, 301, "not whole", 9);
    for (int i = 0; i < 3; i++)
        assert_int_equal(lintel_stream_recv_message(stream, &message, 0), 1);
    assert_int_equal(lintel_stream_recv_message(stream, &message, 0), 0);
    assert_int_equal(lintel_stream_send(stream, &header, "y", 1, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_bye(stream, LINTEL_BYE_DRAINING, 0), 1);
    assert_int_equal(lintel_stream_send(stream, &header, "y", 1, 0), LINTEL_E_CLOSED);
    assert_int_equal(lintel_stream_bye(stream, LINTEL_BYE_IDLE, 0), 1);
    expect_peer_reads(peer, "01 7 300 79\n08 4 0 000000010000012c\nend");
    lintel_stream_close(stream);
    close(peer);
}

/* Bytes that were sent before the close arrive, although the peer's were not read. */
static void stream_linger_waits_for_the_end(void **state)
{
    int peer;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    peer_says(peer, 0, 7, 1, "unread", 6);
    assert_int_equal(lintel_stream_linger(stream, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_bye(stream, LINTEL_BYE_DONE, 0), 1);
    assert_int_equal(lintel_stream_linger(stream, 0), 0);
    assert_true(lintel_stream_wants(stream) & LINTEL_WANT_READ);
    assert_true(lintel_stream_wait_ms(stream) > 0 && lintel_stream_wait_ms(stream) <= 1000);
    assert_int_equal(lintel_stream_recv(stream, &(struct lintel_frame){0}, 0), LINTEL_E_CLOSED);
    peer_says(peer, 0, 7, 2, "more", 4);
    assert_int_equal(lintel_stream_linger(stream, 0), 0);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    assert_int_equal(lintel_stream_linger(stream, 0), 1);
    lintel_stream_close(stream);
    expect_peer_reads(peer, "08 4 0 0000000000000000\nend");
    close(peer);
}

/* A peer that has ended its side still reads: what waits for it is written first. */
static void stream_linger_writes_what_is_queued(void **state)
{
    static const struct lintel_header reply = {LINTEL_REPLY, 7, 5, NULL};
    static uint8_t payload[4 * 1024 * 1024], bytes[64 * 1024];
    struct lintel_message message;
    size_t got = 0;
    ssize_t n;
    int peer, rc;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    wrap_clock(5000);
    write_bytes(peer, "LT", 2);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    assert_int_equal(lintel_stream_send(stream, &reply, payload, sizeof payload, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_recv_message(stream, &message, 0), LINTEL_E_TRUNCATED);
    while ((rc = lintel_stream_linger(stream, 0)) == 0) {
        assert_int_equal(lintel_stream_wants(stream), LINTEL_WANT_WRITE);
        if ((n = recv(peer, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
            got += (size_t)n;
    }
    assert_int_equal(rc, 1);
    assert_int_equal(lintel_stream_queued(stream), 0);
    lintel_stream_close(stream);
    while ((n = recv(peer, bytes, sizeof bytes, 0)) > 0)
        got += (size_t)n;
    assert_int_equal(n, 0);
    assert_int_equal(got, 2 * LINTEL_HEADER_SIZE + sizeof payload + 8);
    close(peer);
}

static void stream_linger_lasts_a_second(void **state)
{
    int peer;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    wrap_clock(5000);
    assert_int_equal(lintel_stream_bye(stream, LINTEL_BYE_DONE, 0), 1);
    assert_int_equal(lintel_stream_linger(stream, 100), LINTEL_E_TIMEOUT);
    assert_int_equal(lintel_stream_linger(stream, -1), 1);
    assert_int_equal(wrap_clock_now(), 6000);
    assert_int_equal(lintel_stream_linger(stream, 0), 1);
    lintel_stream_close(stream);
    close(peer);
}

static void stream_linger_discards_a_mebibyte(void **state)
{
    static uint8_t bytes[16 * 1024];
    size_t written = 0;
    int peer;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    assert_int_equal(lintel_stream_bye(stream, LINTEL_BYE_DONE, 0), 1);
    while (lintel_stream_linger(stream, 0) == 0) {
        write_bytes(peer, bytes, sizeof bytes);
        written += sizeof bytes;
        assert_true(written <= ((size_t)1 << 20) + sizeof bytes);
    }
    assert_true(written >= (size_t)1 << 20);
    lintel_stream_close(stream);
    close(peer);
}

/* ---- in pieces ------------------------------------------------------------------------------- */

static void message_in_pieces_costs_no_memory(void **state)
{
    static uint8_t shared[64 * 1024];
    const size_t size = 8 * 1024 * 1024;
    const struct lintel_header header = {0, 7, 5, NULL};
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    uint8_t *payload = pattern(size);
    int fds[2];

    (void)state;
    for (int with_shared = 0; with_shared < 2; with_shared++) {
        struct lintel_message_piece piece = {0};
        size_t at = 0;
        int rc;
        make_pair(fds);
        options.max_frame = 1024 * 1024;
        struct lintel_stream *a = stream_of(fds[0], &options);
        options.receive_buffer = with_shared ? shared : NULL;
        options.receive_buffer_size = with_shared ? sizeof shared : 0;
        struct lintel_stream *b = stream_of(fds[1], &options);
        options.receive_buffer = NULL;
        options.receive_buffer_size = 0;
        assert_int_equal(lintel_stream_send_message(a, &header, payload, size, 0), LINTEL_OK);
        while (!piece.last) {
            assert_true(lintel_stream_flush(a, 0) >= 0);
            while (!piece.last && (rc = lintel_stream_recv_piece(b, &piece, 0)) != 0) {
                assert_int_equal(rc, 1);
                assert_int_equal(piece.position, at);
                assert_memory_equal(piece.bytes, payload + at, piece.size);
                at += piece.size;
            }
            assert_true(lintel_stream_memory(b) < 300 * 1024);
        }
        assert_int_equal(at, size);
        lintel_stream_close(a);
        lintel_stream_close(b);
    }
    free(payload);
}

/* Pieces with a trailer behind them, over a shared buffer, for every cut. */
static void pieces_with_a_trailer_are_the_same_for_every_cut(void **state)
{
    static const uint8_t wire[] = {0, 5,    'a', 'b', 'c', 'd', 'e', 0xCE, 0,
                                   0, 0xCE, 0,   3,   'f', 'g', 'h', 0xCE};
    static uint8_t shared[4096];
    struct lintel_layout *layout = make_layout("H:length * B:end=0xCE");
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;

    (void)state;
    options.layout = layout;
    options.receive_buffer = shared;
    options.receive_buffer_size = sizeof shared;
    for (size_t cut = 0; cut <= sizeof wire; cut++) {
        struct lintel_message_piece piece;
        struct text text = {0};
        int peer;
        struct lintel_stream *stream = stream_and_peer(&peer, &options);
        for (int part = 0; part < 2; part++) {
            write_bytes(peer, wire + (part ? cut : 0), part ? sizeof wire - cut : cut);
            while (lintel_stream_recv_piece(stream, &piece, 0) == 1) {
                for (size_t i = 0; i < piece.size; i++)
                    text_add(&text, "%c", piece.bytes[i]);
                text_add(&text, "%s", piece.last ? "|" : "");
            }
        }
        assert_string_equal(text.data, "abcde||fgh|");
        free(text.data);
        lintel_stream_close(stream);
        close(peer);
    }
    lintel_layout_free(layout);
}

static void begun_says_whether_a_frame_is_under_way(void **state)
{
    struct lintel_message_piece piece;
    struct lintel_frame frame;
    uint64_t size;
    int peer;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    assert_int_equal(lintel_stream_begun(stream, &size), 0);
    assert_int_equal(size, 0);
    write_bytes(peer, "LT", 2);
    assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
    assert_int_equal(lintel_stream_begun(stream, &size), 1);
    assert_int_equal(size, LINTEL_HEADER_SIZE);
    write_bytes(peer, "\1\0\0\0\0\7\0\0\0\5\0\0\0\144abc", 17);
    assert_int_equal(lintel_stream_recv_piece(stream, &piece, 0), 1);
    assert_int_equal(piece.size, 3);
    assert_int_equal(lintel_stream_begun(stream, &size), 1);
    assert_int_equal(size, LINTEL_HEADER_SIZE + 100);
    assert_int_equal(lintel_stream_begun(NULL, NULL), 0);
    lintel_stream_close(stream);
    close(peer);
}

/* ---- failing memory, misuse ------------------------------------------------------------------ */

static int whole_dialogue(struct failing *memory)
{
    const struct lintel_header header = {0, 7, 5, NULL};
    struct lintel_stream_options options = small_frames(8);
    struct lintel_stream *stream = NULL;
    struct lintel_message message;
    int fds[2], rc, tries = 0;

    make_pair(fds);
    options.allocator = &memory->allocator;
    rc = lintel_stream_new(&stream, fds[0], fds[0], &options, NULL);
    if (rc != LINTEL_OK) {
        close(fds[1]);
        return rc;
    }
    peer_says(fds[1], LINTEL_MORE, 7, 5, "abc", 3);
    peer_says(fds[1], LINTEL_CONTROL, LINTEL_PING, 5, "abc", 3);
    peer_says(fds[1], 0, 7, 5, "d", 1);
    peer_says_bye(fds[1], 1, 0);
    rc = lintel_stream_send_message(stream, &header, "abcdefghijklmnopq", 17, 0);
    while (rc >= 0 && tries < 3) {
        rc = lintel_stream_recv_message(stream, &message, 0);
        if (rc == LINTEL_E_NOMEM) {
            rc = 0;
            tries++;
        }
    }
    (void)!lintel_stream_bye(stream, LINTEL_BYE_DONE, 0);
    lintel_stream_close(stream);
    close(fds[1]);
    return rc;
}

static void messages_survive_every_failing_allocation(void **state)
{
    (void)state;
    for (int for_good = 0; for_good < 2; for_good++) {
        long calls = 1;
        for (long n = 0; n <= calls; n++) {
            struct failing memory;
            int rc;
            failing_init(&memory);
            memory.fail_at = n;
            memory.for_good = for_good;
            rc = whole_dialogue(&memory);
            if (n == 0)
                assert_int_equal(rc, LINTEL_E_REFUSED);
            else if (rc != LINTEL_E_REFUSED && rc != LINTEL_E_NOMEM && rc != 0)
                fail_msg("allocation %ld: %s", n, lintel_status_name(rc));
            assert_int_equal(memory.blocks, 0);
            if (n == 0)
                calls = memory.calls;
        }
        assert_true(calls > 5);
    }
}

/* Behind a message of which only the beginning is queued nothing may follow, even if there is room
 * for it: before the message are so many frames. Returns whether it was cut. */
static int is_cut_behind(unsigned frames)
{
    static const uint8_t payload[1000];
    const struct lintel_stream_options options = small_frames(500);
    const struct lintel_header header = {.id = 1};
    size_t before;
    int peer, is_cut;
    struct lintel_stream *stream = stream_and_peer(&peer, &options);

    for (unsigned i = 0; i < frames; i++)
        assert_int_equal(lintel_stream_send(stream, &header, "", 0, 0), LINTEL_OK);
    before = lintel_stream_queued(stream);
    wrap_fail(WRAP_RESIZE, 0, 100, ENOMEM);
    (void)!lintel_stream_send_message(stream, &header, payload, sizeof payload, 0);
    wrap_reset();
    is_cut = lintel_stream_queued(stream) - before == 500 + LINTEL_HEADER_SIZE;
    if (is_cut) {
        assert_int_equal(lintel_stream_send(stream, &header, "", 0, 0), LINTEL_E_NOMEM);
        assert_int_equal(lintel_stream_flush(stream, 0), LINTEL_E_NOMEM);
    }
    lintel_stream_close(stream);
    close(peer);
    return is_cut;
}

static void message_cut_by_memory_is_the_last(void **state)
{
    int cut = 0;

    (void)state;
    for (unsigned frames = 1; frames < 200; frames++)
        cut += is_cut_behind(frames);
    assert_true(cut > 0);
}

static void stream_bye_shuts_down_without_memory(void **state)
{
    const struct lintel_header header = {.id = 1};

    (void)state;
    for (unsigned skip = 0; skip < 3; skip++) {
        struct lintel_frame frame;
        struct lintel_stream *stream, *other;
        int fds[2];
        make_pair(fds);
        stream = stream_of(fds[0], NULL);
        other = stream_of(fds[1], NULL);
        wrap_fail(WRAP_RESIZE, skip, 100, ENOMEM);
        assert_int_equal(lintel_stream_bye(stream, LINTEL_BYE_DONE, 0), LINTEL_E_NOMEM);
        wrap_reset();
        assert_int_equal(lintel_stream_send(stream, &header, "", 0, 0), LINTEL_E_CLOSED);
        assert_int_equal(lintel_stream_recv(other, &frame, 0), LINTEL_E_END);
        assert_int_equal(lintel_stream_linger(stream, 0), 0);
        lintel_stream_close(stream);
        lintel_stream_close(other);
    }
}

static void stream_linger_ends_when_it_cannot_wait(void **state)
{
    int peer;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    wrap_clock(1000);
    wrap_script(WRAP_POLL, NULL, 0, -ENOMEM);
    assert_int_equal(lintel_stream_bye(stream, LINTEL_BYE_DONE, 0), 1);
    assert_int_equal(lintel_stream_linger(stream, -1), 1);
    assert_int_equal(wrap_count(WRAP_POLL), 1);
    lintel_stream_close(stream);
    close(peer);
}

static void message_calls_refuse_null(void **state)
{
    const struct lintel_header header = {0};
    struct lintel_message_piece piece;
    struct lintel_message message;
    int peer;

    (void)state;
    struct lintel_stream *stream = stream_and_peer(&peer, NULL);
    assert_int_equal(lintel_stream_recv_message(NULL, &message, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_recv_message(stream, NULL, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_recv_piece(NULL, &piece, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_recv_piece(stream, NULL, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_send_message(NULL, &header, "", 0, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_send_message(stream, NULL, "", 0, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_send_message(stream, &header, NULL, 1, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_bye(NULL, LINTEL_BYE_DONE, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_stream_peer_bye(NULL, NULL, NULL), 0);
    assert_int_equal(lintel_stream_linger(NULL, 0), LINTEL_E_USAGE);
    lintel_stream_close(stream);
    close(peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(message_goes_in_fragments_and_comes_whole, setup),
        cmocka_unit_test_setup(message_is_the_same_for_every_cut, setup),
        cmocka_unit_test_setup(message_over_the_limit_of_another_layout_is_refused, setup),
        cmocka_unit_test_setup(message_that_has_begun_is_taken, setup),
        cmocka_unit_test_setup(message_limit_is_told, setup),
        cmocka_unit_test_setup(message_recv_answers_pings, setup),
        cmocka_unit_test_setup(message_recv_bounds_the_pongs, setup),
        cmocka_unit_test_setup(message_recv_tells_how_the_peer_ended, setup),
        cmocka_unit_test_setup(message_recv_does_what_a_receiver_does, setup),
        cmocka_unit_test_setup(stream_bye_is_the_last_frame, setup),
        cmocka_unit_test_setup(stream_linger_waits_for_the_end, setup),
        cmocka_unit_test_setup(stream_linger_writes_what_is_queued, setup),
        cmocka_unit_test_setup(stream_linger_lasts_a_second, setup),
        cmocka_unit_test_setup(stream_linger_discards_a_mebibyte, setup),
        cmocka_unit_test_setup(message_in_pieces_costs_no_memory, setup),
        cmocka_unit_test_setup(pieces_with_a_trailer_are_the_same_for_every_cut, setup),
        cmocka_unit_test_setup(begun_says_whether_a_frame_is_under_way, setup),
        cmocka_unit_test_setup(messages_survive_every_failing_allocation, setup),
        cmocka_unit_test_setup(message_cut_by_memory_is_the_last, setup),
        cmocka_unit_test_setup(stream_bye_shuts_down_without_memory, setup),
        cmocka_unit_test_setup(stream_linger_ends_when_it_cannot_wait, setup),
        cmocka_unit_test_setup(message_calls_refuse_null, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
