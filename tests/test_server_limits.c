/*
 * The limits of a server: who is told what, and that the others do not notice. Deadlines here are
 * short, and tests only wait for what has to come, or see that something does not come while the
 * loop's clock passes the deadline several times.
 */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "world.h"

enum { SHORT_MS = 20, SERVED_MS = 50 * SHORT_MS }; /* the latter: something comes first */

/* ---- helpers --------------------------------------------------------------------------------- */

static struct lintel_stream *new_client(struct world *world)
{
    return client_of(adopt_pair(world), NULL);
}

/* Let the loop's clock go on by so much. */
static void pass(struct world *world, uint64_t ms)
{
    uint64_t until;

    uv_update_time(&world->loop);
    until = uv_now(&world->loop) + ms;
    while (uv_now(&world->loop) < until)
        turn(world);
}

static void send_control(struct lintel_stream *stream, uint32_t type, uint32_t id)
{
    struct lintel_header header = {.flags = LINTEL_CONTROL, .type = type, .id = id};

    assert_int_equal(lintel_stream_send(stream, &header, "", 0, 0), LINTEL_OK);
    assert_true(lintel_stream_flush(stream, 0) >= 0);
}

static void send_fragment(struct lintel_stream *stream, uint32_t id, const void *payload,
                          size_t size)
{
    struct lintel_header header = {.flags = LINTEL_MORE, .type = 7, .id = id};

    assert_int_equal(lintel_stream_send(stream, &header, payload, size, 0), LINTEL_OK);
    assert_true(lintel_stream_flush(stream, 0) >= 0);
}

/* Bytes of a frame's header, and of nothing else. */
static void announce(int fd, uint32_t id, uint32_t length)
{
    uint8_t header[LINTEL_HEADER_SIZE];

    lintel_header_put(header, 0, 7, id, length);
    assert_int_equal(write(fd, header, sizeof header), (ssize_t)sizeof header);
}

/* The peer reads a BYE and its end; PONGs before it are passed over. */
static void expect_ended(struct world *world, struct lintel_stream *stream, unsigned reason,
                         uint32_t last_id)
{
    struct lintel_frame frame;
    struct lintel_header header;
    int rc;

    while ((rc = client_recv(world, stream, &frame)) == 1) {
        assert_int_equal(lintel_header_read(NULL, &header, &frame), LINTEL_OK);
        if (header.flags == LINTEL_CONTROL && header.type == LINTEL_PONG)
            continue;
        assert_int_equal(header.type, LINTEL_BYE);
        assert_int_equal(lintel_get_u32be(frame.payload), reason);
        assert_int_equal(lintel_get_u32be(frame.payload + 4), last_id);
    }
    assert_int_equal(rc, LINTEL_E_END);
}

static void expect_text(const struct world *world, int status, const char *text)
{
    assert_int_equal(world->last.status, status);
    if (strstr(world->last.text, text) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", text, world->last.text);
}

static struct lintel_server_counts counts(const struct world *world)
{
    struct lintel_server_counts counts;

    lintel_server_counters(world->server, &counts);
    return counts;
}

static void expect_served(struct world *world, struct lintel_stream *stream)
{
    client_send(stream, 77, "hello", 5);
    expect_reply(world, stream, 77, LINTEL_REPLY, "hello");
}

/* ---- idle ------------------------------------------------------------------------------------ */

static void idle_connection_is_told(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.idle_timeout_ms = SERVED_MS;
    world_open(&world, echo, &options);
    stream = new_client(&world);
    expect_served(&world, stream);
    expect_ended(&world, stream, LINTEL_BYE_IDLE, 77);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    expect_text(&world, LINTEL_E_TIMEOUT, "idle for 1000 ms");
    assert_int_equal(counts(&world).cut_idle, 1);
    world_close(&world);
}

/* The test ends only if PINGs do not keep the connection alive. */
static void idle_is_not_put_off_by_control_frames(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct world world;

    (void)state;
    options.idle_timeout_ms = SHORT_MS;
    world_open(&world, echo, &options);
    stream = new_client(&world);
    while (counts(&world).cut_idle == 0) {
        send_control(stream, LINTEL_PING, 1);
        assert_int_equal(client_recv(&world, stream, &frame), 1);
    }
    expect_ended(&world, stream, LINTEL_BYE_IDLE, 0);
    lintel_stream_close(stream);
    world_close(&world);
}

static void idle_is_put_off_by_an_open_request(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.idle_timeout_ms = SHORT_MS;
    world_open(&world, keep, &options);
    stream = new_client(&world);
    client_send(stream, 5, "", 0);
    pass(&world, 5 * SHORT_MS);
    assert_int_equal(world.finished, 0);
    assert_int_equal(world.kept_count, 1);
    assert_int_equal(lintel_request_reply(world.kept[0], "x", 1), LINTEL_OK);
    expect_reply(&world, stream, 5, LINTEL_REPLY, "x");
    expect_ended(&world, stream, LINTEL_BYE_IDLE, 5);
    lintel_stream_close(stream);
    world_close(&world);
}

/* Who has taken a reply for longer than that is not idle at its end. */
static void idle_begins_when_the_reply_is_written(void **state)
{
    static uint8_t payload[4 * 1024 * 1024];
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct world world;

    (void)state;
    options.idle_timeout_ms = 25 * SHORT_MS;
    world_open(&world, keep, &options);
    stream = new_client(&world);
    client_send(stream, 1, "", 0);
    while (world.kept_count < 1)
        turn(&world);
    assert_int_equal(lintel_request_reply(world.kept[0], payload, sizeof payload), LINTEL_OK);
    pass(&world, 30 * SHORT_MS);
    assert_int_equal(client_recv(&world, stream, &frame), 1);
    assert_int_equal(frame.length, sizeof payload);
    for (int i = 0; i < 3; i++)
        turn(&world);
    assert_int_equal(counts(&world).cut_idle, 0);
    client_send(stream, 2, "", 0);
    while (world.kept_count < 2 && world.finished == 0)
        turn(&world);
    assert_int_equal(world.kept_count, 2);
    assert_int_equal(lintel_request_reply(world.kept[1], "", 0), LINTEL_OK);
    expect_reply(&world, stream, 2, LINTEL_REPLY, "");
    lintel_stream_close(stream);
    world_close(&world);
}

static void idle_timeout_can_be_none(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.idle_timeout_ms = LINTEL_NO_TIMEOUT;
    options.frame_timeout_ms = options.write_timeout_ms = LINTEL_NO_TIMEOUT;
    world_open(&world, echo, &options);
    stream = new_client(&world);
    pass(&world, 3 * SHORT_MS);
    expect_served(&world, stream);
    lintel_stream_close(stream);
    world_close(&world);
}

/* ---- frames that do not come ----------------------------------------------------------------- */

/* Each byte comes, the frame does not: drips do not put the deadline off. */
static void begun_frame_has_a_deadline(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream, *other;
    struct world world;
    int fd;

    (void)state;
    options.frame_timeout_ms = SHORT_MS;
    options.min_rate = 1000000;
    world_open(&world, echo, &options);
    other = new_client(&world);
    fd = adopt_pair(&world);
    stream = client_of(dup(fd), NULL);
    expect_served(&world, stream);
    announce(fd, 78, 10000000);
    while (counts(&world).cut_slow == 0) {
        (void)!send(fd, "x", 1, MSG_NOSIGNAL);
        turn(&world);
    }
    expect_ended(&world, stream, LINTEL_BYE_TOO_SLOW, 77);
    expect_served(&world, other);
    close(fd);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    expect_text(&world, LINTEL_E_TIMEOUT,
                "frame at byte 21: not whole within 20 ms and what "
                "10000016 bytes take at 1000000 bytes a second");
    lintel_stream_close(other);
    world_close(&world);
}

/* At the least rate its bytes give it a second and more. */
static void begun_frame_has_time_for_its_length(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;
    int fd;

    (void)state;
    options.frame_timeout_ms = 1;
    options.min_rate = 10;
    world_open(&world, echo, &options);
    fd = adopt_pair(&world);
    stream = client_of(dup(fd), NULL);
    announce(fd, 78, 1000);
    pass(&world, 5 * SHORT_MS);
    assert_int_equal(counts(&world).cut_slow, 0);
    assert_int_equal(world.finished, 0);
    close(fd);
    lintel_stream_close(stream);
    world_close(&world);
}

static void begun_message_has_a_deadline(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.frame_timeout_ms = SHORT_MS;
    options.min_rate = 100000000;
    world_open(&world, echo, &options);
    stream = new_client(&world);
    while (counts(&world).cut_slow == 0) {
        send_fragment(stream, 78, "", 0);
        turn(&world);
    }
    expect_ended(&world, stream, LINTEL_BYE_TOO_SLOW, 0);
    lintel_stream_close(stream);
    world_close(&world);
}

/* Every frame is whole in time, one behind the other without a gap: each has its own deadline. */
static void expect_deadline_each(uint8_t flags, uint32_t type)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    uint8_t frame[LINTEL_HEADER_SIZE + 1], answers[4096];
    struct world world;
    uint64_t until;
    size_t half = 7;
    int fd;

    options.frame_timeout_ms = 10 * SHORT_MS;
    world_open(&world, ignore, &options);
    fd = adopt_pair(&world);
    lintel_header_put(frame, flags, type, 0, 1);
    frame[LINTEL_HEADER_SIZE] = 'x';
    assert_int_equal(write(fd, frame, half), (ssize_t)half);
    until = uv_now(&world.loop) + 30 * SHORT_MS;
    while (uv_now(&world.loop) < until && world.finished == 0) {
        assert_true(write(fd, frame + half, sizeof frame - half) > 0);
        assert_true(write(fd, frame, half) > 0);
        turn(&world);
        turn(&world);
        while (recv(fd, answers, sizeof answers, MSG_DONTWAIT) > 0)
            ;
    }
    assert_int_equal(counts(&world).cut_slow, 0);
    assert_int_equal(world.finished, 0);
    close(fd);
    world_close(&world);
}

static void begun_frame_is_another_than_the_last(void **state)
{
    (void)state;
    expect_deadline_each(0, 7);
    expect_deadline_each(LINTEL_REPLY, 7);
    expect_deadline_each(LINTEL_CONTROL, LINTEL_PING);
}

/* While we do not read, for the requests that are kept, the clock of the frame stands still. */
static void begun_frame_waits_while_we_do_not_read(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;
    int fd;

    (void)state;
    options.frame_timeout_ms = SHORT_MS;
    options.max_pending = 1;
    world_open(&world, keep, &options);
    fd = adopt_pair(&world);
    stream = client_of(dup(fd), NULL);
    client_send(stream, 1, "", 0);
    announce(fd, 2, 1);
    pass(&world, 5 * SHORT_MS);
    assert_int_equal(counts(&world).cut_slow, 0);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(lintel_request_reply(world.kept[0], "", 0), LINTEL_OK);
    expect_reply(&world, stream, 1, LINTEL_REPLY, "");
    while (world.kept_count < 2)
        turn(&world);
    assert_int_equal(lintel_request_reply(world.kept[1], "", 0), LINTEL_OK);
    expect_reply(&world, stream, 2, LINTEL_REPLY, "");
    assert_int_equal(counts(&world).cut_slow, 0);
    close(fd);
    lintel_stream_close(stream);
    world_close(&world);
}

/* ---- peers that do not read ------------------------------------------------------------------ */

static void unread_reply_has_a_deadline(void **state)
{
    static uint8_t payload[1024 * 1024];
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream, *other;
    struct world world;

    (void)state;
    options.write_timeout_ms = SHORT_MS;
    world_open(&world, echo, &options);
    other = new_client(&world);
    stream = new_client(&world);
    client_send(stream, 1, payload, sizeof payload);
    while (lintel_stream_flush(stream, 0) == 0)
        turn(&world);
    turn_until_finished(&world, 1);
    expect_text(&world, LINTEL_E_TIMEOUT, "the peer took nothing of ");
    assert_int_equal(counts(&world).cut_unread, 1);
    expect_served(&world, other);
    lintel_stream_close(stream);
    lintel_stream_close(other);
    world_close(&world);
}

/* The peer's orderly end is not how it ended. */
static void unread_reply_is_told_behind_the_end_too(void **state)
{
    static uint8_t payload[1024 * 1024];
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.write_timeout_ms = SHORT_MS;
    world_open(&world, keep, &options);
    stream = new_client(&world);
    client_send(stream, 1, "x", 1);
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    while (world.kept_count == 0)
        turn(&world);
    pass(&world, SHORT_MS);
    assert_int_equal(lintel_request_reply(world.kept[0], payload, sizeof payload), LINTEL_OK);
    turn_until_finished(&world, 1);
    expect_text(&world, LINTEL_E_TIMEOUT, "the peer took nothing of ");
    lintel_stream_close(stream);
    world_close(&world);
}

/* The same for a server that does not wait. */
static void unread_reply_is_told_by_a_stop(void **state)
{
    static uint8_t payload[1024 * 1024];
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    world_open(&world, keep, NULL);
    stream = new_client(&world);
    client_send(stream, 1, "x", 1);
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    while (world.kept_count == 0)
        turn(&world);
    turn(&world);
    assert_int_equal(lintel_request_reply(world.kept[0], payload, sizeof payload), LINTEL_OK);
    turn(&world);
    lintel_server_stop(world.server);
    turn_until_finished(&world, 1);
    expect_text(&world, LINTEL_E_CLOSED, lintel_strerror(LINTEL_E_CLOSED));
    lintel_stream_close(stream);
    world_close(&world);
    assert_int_equal(world.clean, 0);
}

/* A peer that reads slowly, for longer than the deadline, is not cut: the write makes progress. */
static void slowly_read_reply_is_not_cut(void **state)
{
    enum { REPLIES = 10, SIZE = 4 * 1024 * 1024, TIMEOUT_MS = 100 * SHORT_MS };
    uint8_t *payload = calloc(1, SIZE), bytes[16 * 1024];
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;
    uint64_t until, read_at = 0;
    int fd;

    (void)state;
    options.write_timeout_ms = TIMEOUT_MS;
    world_open(&world, keep, &options);
    fd = adopt_pair(&world);
    stream = client_of(dup(fd), NULL);
    for (uint32_t i = 1; i <= REPLIES; i++)
        client_send(stream, i, "", 0);
    while (world.frames < REPLIES)
        turn(&world);
    for (int i = 0; i < REPLIES; i++)
        assert_int_equal(lintel_request_reply(world.kept[i], payload, SIZE), LINTEL_OK);
    until = uv_now(&world.loop) + TIMEOUT_MS + 10 * SHORT_MS;
    while (uv_now(&world.loop) < until) {
        turn(&world);
        if (uv_now(&world.loop) == read_at)
            continue;
        read_at = uv_now(&world.loop);
        (void)!recv(fd, bytes, sizeof bytes, MSG_DONTWAIT);
    }
    assert_int_equal(counts(&world).cut_unread, 0);
    assert_int_equal(world.finished, 0);
    close(fd);
    lintel_stream_close(stream);
    world_close(&world);
    free(payload);
}

/* ---- too many, too large --------------------------------------------------------------------- */

static void surplus_connections_are_told(void **state)
{
    enum { MOST = 3, SURPLUS = 100 };
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_stream *streams[MOST], *surplus[SURPLUS], *next;
    struct world world;

    (void)state;
    options.max_connections = MOST;
    world_open(&world, echo, &options);
    listen_on(&world, "unix://@lintel-test-server-surplus", text);
    for (int i = 0; i < MOST; i++) {
        streams[i] = client_open(text);
        expect_served(&world, streams[i]);
    }
    for (int i = 0; i < SURPLUS; i++)
        surplus[i] = client_open(text);
    for (int i = 0; i < SURPLUS; i++)
        expect_bye(&world, surplus[i], LINTEL_BYE_TOO_MANY, 0);
    assert_int_equal(counts(&world).refused, SURPLUS);
    assert_int_equal(counts(&world).accepted, MOST);
    assert_int_equal(world.open, MOST);
    for (int i = 0; i < SURPLUS; i++)
        lintel_stream_close(surplus[i]);
    for (int i = 0; i < MOST; i++)
        expect_served(&world, streams[i]);
    lintel_stream_close(streams[0]);
    turn_until_finished(&world, 1);
    next = client_open(text);
    expect_served(&world, next);
    lintel_stream_close(next);
    for (int i = 1; i < MOST; i++)
        lintel_stream_close(streams[i]);
    world_close(&world);
}

static void large_message_is_told(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.max_frame = 10;
    options.max_message = 15;
    world_open(&world, echo, &options);
    stream = new_client(&world);
    send_fragment(stream, 1, "0123456789", 10);
    client_send(stream, 1, "01234", 5);
    /* It comes back in fragments, under the limit of a frame. */
    expect_reply(&world, stream, 1, LINTEL_REPLY | LINTEL_MORE, "0123456789");
    expect_reply(&world, stream, 1, LINTEL_REPLY, "01234");
    send_fragment(stream, 2, "0123456789", 10);
    client_send(stream, 2, "012345", 6);
    expect_ended(&world, stream, LINTEL_BYE_TOO_LARGE, 1);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    expect_text(&world, LINTEL_E_TOO_LARGE, "exceeds the limit of 15 bytes");
    assert_int_equal(world.frames, 1);
    world_close(&world);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The one that holds the most goes, and is told; the others are served. */
static void memory_is_bounded_over_all_connections(void **state)
{
    static uint8_t payload[600 * 1024];
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *large, *small;
    struct world world;

    (void)state;
    options.max_memory = 1024 * 1024;
    world_open(&world, echo, &options);
    small = new_client(&world);
    send_fragment(small, 3, payload, 100 * 1024);
    large = new_client(&world);
    client_send(large, 1, "x", 1);
    expect_reply(&world, large, 1, LINTEL_REPLY, "x");
    while (counts(&world).cut_memory == 0) {
        send_fragment(large, 2, payload, sizeof payload);
        while (lintel_stream_flush(large, 0) == 0)
            turn(&world);
        turn(&world);
    }
    expect_ended(&world, large, LINTEL_BYE_INTERNAL, 1);
    lintel_stream_close(large);
    turn_until_finished(&world, 1);
    expect_text(&world, LINTEL_E_NOMEM, "the limit of 1048576 bytes over all connections");
    client_send(small, 3, "", 0);
    while (world.frames < 2)
        turn(&world);
    assert_int_equal(counts(&world).cut_memory, 1);
    lintel_stream_close(small);
    world_close(&world);
}

static void memory_of_a_queue_is_bounded_too(void **state)
{
    static uint8_t payload[600 * 1024];
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *deaf, *other;
    struct world world;

    (void)state;
    options.max_memory = 1024 * 1024;
    options.max_queue = LINTEL_UNLIMITED;
    world_open(&world, echo, &options);
    other = new_client(&world);
    deaf = new_client(&world);
    while (world.finished == 0) {
        client_send(deaf, 1, payload, sizeof payload);
        while (world.finished == 0 && lintel_stream_flush(deaf, 0) == 0)
            turn(&world);
    }
    expect_text(&world, LINTEL_E_NOMEM, "and this one holds the most");
    expect_served(&world, other);
    lintel_stream_close(deaf);
    lintel_stream_close(other);
    world_close(&world);
}

/* What kept requests hold counts as the connection's. */
static void memory_of_kept_requests_counts(void **state)
{
    static uint8_t payload[300 * 1024];
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.max_memory = 1024 * 1024;
    world_open(&world, keep, &options);
    stream = new_client(&world);
    for (uint32_t id = 1; counts(&world).cut_memory == 0; id++) {
        assert_true(id < 10);
        client_send(stream, id, payload, sizeof payload);
        while (lintel_stream_flush(stream, 0) == 0)
            turn(&world);
        while (counts(&world).cut_memory == 0 && world.frames < (int)id)
            turn(&world);
        turn(&world);
    }
    while (world.kept_count > 0)
        lintel_request_drop(world.kept[--world.kept_count]);
    expect_ended(&world, stream, LINTEL_BYE_INTERNAL, (uint32_t)world.frames);
    lintel_stream_close(stream);
    world_close(&world);
}

/* 50 peers that announce 512 MiB and send 10 bytes: a length is a claim. */
static void announced_lengths_cost_nothing(void **state)
{
    enum { PEERS = 50 };
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct world world;
    int fds[PEERS];
    size_t before, after;

    (void)state;
    options.max_frame = 1024 * 1024 * 1024;
    world_open(&world, echo, &options);
    for (int i = 0; i < PEERS; i++)
        fds[i] = adopt_pair(&world);
    turn(&world);
    before = mallinfo2().uordblks + mallinfo2().hblkhd;
    for (int i = 0; i < PEERS; i++) {
        announce(fds[i], 1, 512 * 1024 * 1024);
        assert_int_equal(write(fds[i], "0123456789", 10), 10);
    }
    for (int i = 0; i < 10; i++)
        turn(&world);
    after = mallinfo2().uordblks + mallinfo2().hblkhd;
    assert_true(after < before + 1024 * 1024);
    for (int i = 0; i < PEERS; i++)
        close(fds[i]);
    turn_until_finished(&world, PEERS);
    world_close(&world);
}

/* What a begun frame holds cannot be given back: it is asked for once, and not in every turn. */
static void begun_frame_lets_the_loop_sleep(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct world world;
    int fd;

    (void)state;
    options.idle_timeout_ms = options.frame_timeout_ms = LINTEL_NO_TIMEOUT;
    world_open(&world, echo, &options);
    fd = adopt_pair(&world);
    assert_int_equal(write(fd, "LT", 2), 2);
    pass(&world, 600);
    assert_int_equal(uv_backend_timeout(&world.loop), -1);
    close(fd);
    turn_until_finished(&world, 1);
    world_close(&world);
}

/* ---- handlers that take pieces --------------------------------------------------------------- */

struct parts {
    uint64_t bytes;
    int messages, requests;
    size_t most; /* bytes held at once */
    int wrong;
};
static struct parts parts;

static void on_piece(void *user, struct lintel_connection *connection,
                     const struct lintel_message_piece *piece, struct lintel_request *request)
{
    struct world *world = user;
    uint32_t length;

    (void)connection;
    parts.wrong += piece->position == 0 && parts.bytes != 0;
    parts.wrong += piece->position != parts.bytes;
    parts.wrong += (request != NULL) != piece->last;
    parts.bytes += piece->size;
    if (mallinfo2().uordblks > parts.most)
        parts.most = mallinfo2().uordblks;
    if (!piece->last)
        return;
    length = (uint32_t)parts.bytes;
    parts.messages++;
    parts.bytes = 0;
    world->frames++;
    lintel_request_reply(request, &length, sizeof length);
}

static void pieces_take_a_message_over_every_limit(void **state)
{
    enum { FRAGMENTS = 64 };
    static uint8_t payload[1024 * 1024];
    const struct lintel_handler handler = {.piece = on_piece};
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct world world;
    uint32_t length;
    size_t before;

    (void)state;
    memset(&parts, 0, sizeof parts);
    options.max_message = sizeof payload;
    options.max_memory = 1024 * 1024;
    world_open_with(&world, &handler, &options);
    stream = new_client(&world);
    before = mallinfo2().uordblks;
    for (int i = 0; i < FRAGMENTS; i++) {
        send_fragment(stream, 9, payload, sizeof payload);
        send_control(stream, LINTEL_PING, 1);
        while (lintel_stream_flush(stream, 0) == 0)
            turn(&world);
        expect_reply(&world, stream, 1, LINTEL_CONTROL, "");
    }
    client_send(stream, 9, "", 0);
    assert_int_equal(client_recv(&world, stream, &frame), 1);
    assert_int_equal(frame.length, sizeof length);
    memcpy(&length, frame.payload, sizeof length);
    assert_int_equal(length, FRAGMENTS * sizeof payload);
    assert_int_equal(parts.messages, 1);
    assert_int_equal(parts.wrong, 0);
    assert_true(parts.most < before + 4 * sizeof payload);
    client_send(stream, 10, "abc", 3);
    assert_int_equal(client_recv(&world, stream, &frame), 1);
    memcpy(&length, frame.payload, sizeof length);
    assert_int_equal(length, 3);
    lintel_stream_close(stream);
    world_close(&world);
}

static void pieces_refuse_what_is_no_message(void **state)
{
    const struct lintel_handler handler = {.piece = on_piece};
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    memset(&parts, 0, sizeof parts);
    world_open_with(&world, &handler, NULL);
    stream = new_client(&world);
    send_fragment(stream, 9, "abc", 3);
    client_send(stream, 10, "def", 3);
    expect_ended(&world, stream, LINTEL_BYE_MALFORMED, 0);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    expect_text(&world, LINTEL_E_MALFORMED, "between the fragments");
    assert_int_equal(parts.bytes, 3);
    assert_int_equal(parts.messages, 0);
    world_close(&world);
}

/* ---- descriptors served elsewhere ------------------------------------------------------------ */

static int take_every_second(void *user, int fd)
{
    struct world *other = user;

    if (other->result++ % 2 == 0)
        return 0;
    assert_int_equal(lintel_server_adopt(other->server, fd, fd, NULL), LINTEL_OK);
    return 1;
}

static void accepted_descriptors_may_be_served_elsewhere(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_stream *streams[4];
    struct world world, other;

    (void)state;
    world_open(&other, echo, NULL);
    options.accepted = take_every_second;
    options.accepted_user = &other;
    world_open(&world, echo, &options);
    listen_on(&world, "tcp://127.0.0.1:0", text);
    for (int i = 0; i < 4; i++) {
        streams[i] = client_open(text);
        client_send(streams[i], 1, "hello", 5);
    }
    while (world.frames < 2 || other.frames < 2) {
        turn(&world);
        turn(&other);
    }
    assert_int_equal(world.open, 2);
    assert_int_equal(other.open, 2);
    for (int i = 0; i < 4; i++)
        lintel_stream_close(streams[i]);
    world_close(&world);
    alarm(WATCHDOG_SECONDS);
    world_close(&other);
}

/* ---- the order of deadlines ------------------------------------------------------------------ */

/* Connections come and go in a random order; those that stay are all cut in the end. */
static void every_deadline_is_kept_among_many(void **state)
{
    enum { PEERS = 300 };
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *streams[PEERS];
    struct world world;
    unsigned seed = 1;
    int closed = 0;

    (void)state;
    options.idle_timeout_ms = 2 * SERVED_MS;
    world_open(&world, echo, &options);
    for (int i = 0; i < PEERS; i++) {
        streams[i] = new_client(&world);
        if (i % 16 == 0)
            turn(&world);
    }
    for (int i = 0; i < PEERS; i++) {
        seed = seed * 1103515245 + 12345;
        if ((seed >> 16) % 3 == 0) {
            lintel_stream_close(streams[i]);
            streams[i] = NULL;
            closed++;
        } else if ((seed >> 16) % 3 == 1) {
            struct lintel_header header = {.type = 7, .id = 1};
            (void)!lintel_stream_send(streams[i], &header, "x", 1, 0);
            (void)!lintel_stream_flush(streams[i], 0);
        }
        turn(&world);
    }
    assert_true(closed > PEERS / 5);
    for (int i = 0; i < PEERS; i++)
        if (streams[i] != NULL) {
            struct lintel_frame frame;
            while (client_recv(&world, streams[i], &frame) == 1)
                ;
            lintel_stream_close(streams[i]);
        }
    turn_until_finished(&world, PEERS);
    assert_int_equal(counts(&world).cut_idle, PEERS - closed);
    world_close(&world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(idle_connection_is_told),
        cmocka_unit_test(idle_is_not_put_off_by_control_frames),
        cmocka_unit_test(idle_is_put_off_by_an_open_request),
        cmocka_unit_test(idle_begins_when_the_reply_is_written),
        cmocka_unit_test(idle_timeout_can_be_none),
        cmocka_unit_test(begun_frame_has_a_deadline),
        cmocka_unit_test(begun_frame_has_time_for_its_length),
        cmocka_unit_test(begun_message_has_a_deadline),
        cmocka_unit_test(begun_frame_is_another_than_the_last),
        cmocka_unit_test(begun_frame_waits_while_we_do_not_read),
        cmocka_unit_test(unread_reply_has_a_deadline),
        cmocka_unit_test(unread_reply_is_told_behind_the_end_too),
        cmocka_unit_test(unread_reply_is_told_by_a_stop),
        cmocka_unit_test(slowly_read_reply_is_not_cut),
        cmocka_unit_test(surplus_connections_are_told),
        cmocka_unit_test(large_message_is_told),
        cmocka_unit_test(memory_is_bounded_over_all_connections),
        cmocka_unit_test(memory_of_a_queue_is_bounded_too),
        cmocka_unit_test(memory_of_kept_requests_counts),
        cmocka_unit_test(announced_lengths_cost_nothing),
        cmocka_unit_test(begun_frame_lets_the_loop_sleep),
        cmocka_unit_test(pieces_take_a_message_over_every_limit),
        cmocka_unit_test(pieces_refuse_what_is_no_message),
        cmocka_unit_test(accepted_descriptors_may_be_served_elsewhere),
        cmocka_unit_test(every_deadline_is_kept_among_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
