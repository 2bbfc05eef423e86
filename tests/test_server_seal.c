/* The server with sealed connections: who is let in, and what those cost who are not. */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "world.h"

static const char shared_text[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= carol\n";
static const char other_text[] = "/wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= other\n";

static struct lintel_seal_keys *initiator, *responder, *stranger;
static int refused; /* times that `refused` was called, and with what */
static struct lintel_error refusal;

/* ---- helpers --------------------------------------------------------------------------------- */

static struct lintel_seal_keys *psk(enum lintel_seal_role role, const char *text)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;

    options.role = role;
    options.psk = (struct lintel_seal_text){text, strlen(text), "psk"};
    assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_OK);
    return keys;
}

static void on_refused(void *user, int fd, const struct lintel_error *error)
{
    (void)user;
    assert_true(fd >= 0);
    refused++;
    refusal = *error;
}

static struct lintel_server_options sealed_options(void)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;

    options.seal_keys = responder;
    options.refused = on_refused;
    refused = 0;
    return options;
}

static struct lintel_stream *sealed_client(int fd, const struct lintel_seal_keys *keys)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;

    options.seal_keys = keys;
    assert_int_equal(lintel_stream_new(&stream, fd, fd, &options, NULL), LINTEL_OK);
    return stream;
}

static int shake(struct world *world, struct lintel_stream *stream)
{
    int rc;

    while ((rc = lintel_stream_handshake(stream, 0)) == 0)
        turn(world);
    return rc;
}

static struct lintel_server_counts counts(const struct world *world)
{
    struct lintel_server_counts counts;

    lintel_server_counters(world->server, &counts);
    return counts;
}

static void say_name(void *user, struct lintel_connection *connection,
                     const struct lintel_frame *frame, struct lintel_request *request)
{
    struct world *world = user;
    const char *name = lintel_seal_peer_name(lintel_connection_seal(connection));

    (void)frame;
    world->frames++;
    lintel_request_reply(request, name, strlen(name));
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void sealed_server_serves_and_knows_its_peers(void **state)
{
    struct lintel_server_options options = sealed_options();
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    world_open(&world, say_name, &options);
    stream = sealed_client(adopt_pair(&world), initiator);
    assert_int_equal(world.open, 0);
    assert_int_equal(counts(&world).half_open, 1);
    assert_int_equal(shake(&world, stream), 1);
    while (world.open == 0)
        turn(&world);
    assert_int_equal(counts(&world).half_open, 0);
    client_send(stream, 1, "who am I", 8);
    expect_reply(&world, stream, 1, LINTEL_REPLY, "carol");
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    expect_end(&world, stream);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_END);
    assert_int_equal(refused, 0);
    world_close(&world);
}

/* No handler hears of them: no setup, no name; the peer is told, and the program. */
static void sealed_server_refuses_strangers(void **state)
{
    struct lintel_server_options options = sealed_options();
    struct lintel_stream *stream;
    struct lintel_error error;
    struct world world;

    (void)state;
    world_open(&world, echo, &options);
    stream = sealed_client(adopt_pair(&world), stranger);
    assert_int_equal(shake(&world, stream), LINTEL_E_REFUSED);
    lintel_stream_error(stream, &error);
    assert_non_null(strstr(error.text, "unauthenticated: not authenticated"));
    lintel_stream_close(stream);
    while (lintel_server_connections(world.server) > 0)
        turn(&world);
    assert_int_equal(refused, 1);
    assert_int_equal(refusal.status, LINTEL_E_SEAL);
    assert_non_null(strstr(refusal.text, "fits no shared key"));
    /* A plain peer. */
    stream = client_of(adopt_pair(&world), NULL);
    client_send(stream, 1, "plain", 5);
    expect_bye(&world, stream, LINTEL_BYE_NOT_AUTHENTICATED, 0);
    expect_end(&world, stream);
    lintel_stream_close(stream);
    while (lintel_server_connections(world.server) > 0)
        turn(&world);
    assert_int_equal(refused, 2);
    assert_int_equal(world.open, 0);
    assert_int_equal(world.frames, 0);
    assert_int_equal(counts(&world).not_sealed, 2);
    world_close(&world);
}

/* A recorded session, played again byte for byte: the first message verifies, and nothing comes of
 * it: no handler, no name, no byte of the server's but its answer. */
static void sealed_server_takes_no_replay(void **state)
{
    struct lintel_server_options options = sealed_options();
    uint8_t recorded[1000], answer[200];
    size_t used = 0;
    struct world world;
    ssize_t got;
    int fds[2], server_side[2], fd;

    (void)state;
    /* A session through a hand that writes down what the initiator says. */
    world_open(&world, echo, &options);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, server_side), 0);
    assert_int_equal(lintel_server_adopt(world.server, server_side[0], server_side[0], NULL),
                     LINTEL_OK);
    struct lintel_stream *stream = sealed_client(fds[0], initiator);
    client_send(stream, 1, "hello", 5);
    while (world.frames == 0) {
        (void)!lintel_stream_handshake(stream, 0);
        (void)!lintel_stream_flush(stream, 0);
        got = recv(fds[1], recorded + used, sizeof recorded - used, MSG_DONTWAIT);
        if (got > 0) {
            assert_int_equal(write(server_side[1], recorded + used, (size_t)got), got);
            used += (size_t)got;
        }
        turn(&world);
        got = recv(server_side[1], answer, sizeof answer, MSG_DONTWAIT);
        if (got > 0)
            assert_int_equal(write(fds[1], answer, (size_t)got), got);
    }
    lintel_stream_close(stream);
    close(fds[1]);
    close(server_side[1]);
    turn_until_finished(&world, 1);
    assert_int_equal(world.open, 1);
    /* Again. */
    fd = adopt_pair(&world);
    assert_int_equal(write(fd, recorded, used), (ssize_t)used);
    while (lintel_server_connections(world.server) > 0)
        turn(&world);
    used = 0;
    while ((got = recv(fd, answer + used, sizeof answer - used, MSG_DONTWAIT)) > 0)
        used += (size_t)got;
    /* The HELLO, and a BYE 6: a bad record 0 counts as before. */
    assert_int_equal(used, LINTEL_HEADER_SIZE + 48 + LINTEL_SEAL_BYE_SIZE);
    assert_int_equal(world.open, 1);
    assert_int_equal(world.frames, 1);
    assert_int_equal(refused, 1);
    close(fd);
    world_close(&world);
}

static void sealed_handshake_has_a_deadline(void **state)
{
    struct lintel_server_options options = sealed_options();
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct world world;

    (void)state;
    options.handshake_timeout_ms = 20;
    world_open(&world, echo, &options);
    stream = client_of(adopt_pair(&world), NULL);
    expect_bye(&world, stream, LINTEL_BYE_TOO_SLOW, 0);
    assert_int_equal(client_recv(&world, stream, &frame), LINTEL_E_END);
    lintel_stream_close(stream);
    while (refused == 0)
        turn(&world);
    assert_non_null(strstr(refusal.text, "the handshake was not done within 20 ms"));
    world_close(&world);
}

/* Half-open ones are bounded: the newcomer is taken, the oldest without a message goes. */
static void sealed_server_bounds_half_open_connections(void **state)
{
    enum { BOUND = 256, MORE = 20 };
    struct lintel_server_options options = sealed_options();
    static int fds[BOUND + MORE];
    struct lintel_stream *greeted, *late;
    uint8_t byte;
    struct world world;

    (void)state;
    options.max_connections = 10 * BOUND;
    world_open(&world, say_name, &options);
    greeted = sealed_client(adopt_pair(&world), initiator);
    (void)!lintel_stream_handshake(greeted, 0);
    for (int i = 0; i < 10; i++)
        turn(&world);
    for (int i = 0; i < BOUND + MORE; i++) {
        fds[i] = adopt_pair(&world);
        if (i % 16 == 0)
            turn(&world);
    }
    for (int i = 0; i < 10; i++)
        turn(&world);
    assert_int_equal(counts(&world).half_open, BOUND);
    assert_int_equal(refused, MORE + 1);
    for (int i = 0; i < BOUND + MORE; i++) {
        ssize_t got = recv(fds[i], &byte, 1, MSG_DONTWAIT);
        assert_true(i <= MORE ? got == 1 : got == -1);
    }
    /* One that has sent its message is not the first to go, and a newcomer is served. */
    assert_int_equal(shake(&world, greeted), 1);
    late = sealed_client(adopt_pair(&world), initiator);
    assert_int_equal(shake(&world, late), 1);
    client_send(late, 1, "", 0);
    expect_reply(&world, late, 1, LINTEL_REPLY, "carol");
    lintel_stream_close(greeted);
    lintel_stream_close(late);
    for (int i = 0; i < BOUND + MORE; i++)
        close(fds[i]);
    world_close(&world);
}

/* They stay in their order, whatever storage a begun message holds meanwhile, and for how long. */
static void sealed_server_remembers_slow_half_open_connections(void **state)
{
    enum { BOUND = 256, A_WHILE_MS = 600 };
    struct lintel_server_options options = sealed_options();
    static int fds[BOUND + 1];
    struct world world;
    uint64_t until;
    uint8_t byte;

    (void)state;
    options.max_connections = 10 * BOUND;
    options.handshake_timeout_ms = LINTEL_NO_TIMEOUT;
    world_open(&world, echo, &options);
    for (int i = 0; i < BOUND; i++) {
        fds[i] = adopt_pair(&world);
        assert_int_equal(write(fds[i], "L", 1), 1);
    }
    uv_update_time(&world.loop);
    until = uv_now(&world.loop) + A_WHILE_MS;
    while (uv_now(&world.loop) < until)
        turn(&world);
    fds[BOUND] = adopt_pair(&world);
    while (refused == 0)
        turn(&world);
    assert_int_equal(counts(&world).half_open, BOUND);
    assert_int_equal(recv(fds[0], &byte, 1, MSG_DONTWAIT), 1);
    assert_int_equal(recv(fds[1], &byte, 1, MSG_DONTWAIT), -1);
    for (int i = 0; i <= BOUND; i++)
        close(fds[i]);
    world_close(&world);
}

static void sealed_server_drains(void **state)
{
    struct lintel_server_options options = sealed_options();
    struct lintel_stream *stream, *half;
    struct world world;

    (void)state;
    world_open(&world, keep, &options);
    stream = sealed_client(adopt_pair(&world), initiator);
    assert_int_equal(shake(&world, stream), 1);
    half = client_of(adopt_pair(&world), NULL);
    client_send(stream, 9, "", 0);
    while (world.frames == 0)
        turn(&world);
    lintel_server_drain(world.server);
    turn(&world);
    assert_int_equal(lintel_request_reply(world.kept[0], "kept", 4), LINTEL_OK);
    expect_reply(&world, stream, 9, LINTEL_REPLY, "kept");
    expect_bye(&world, stream, LINTEL_BYE_DRAINING, 9); /* in the last record */
    expect_end(&world, stream);
    expect_bye(&world, half, LINTEL_BYE_DRAINING, 0); /* plain */
    expect_end(&world, half);
    lintel_stream_close(stream);
    lintel_stream_close(half);
    while (world.stopped == 0)
        turn(&world);
    assert_int_equal(world.clean, 1);
    world_close(&world);
}

/* Ill-formed inside ends with an inner BYE; what does not verify is answered by nothing. */
static void sealed_server_tells_only_whom_it_knows(void **state)
{
    struct lintel_header wrong = {.flags = LINTEL_CONTROL, .type = LINTEL_SEALED};
    struct lintel_server_options options = sealed_options();
    struct lintel_stream *stream;
    struct world world;
    uint8_t plain[LINTEL_HEADER_SIZE + 8], zeros[16] = {0};
    struct lintel_frame frame;
    int fd;

    (void)state;
    world_open(&world, echo, &options);
    stream = sealed_client(adopt_pair(&world), initiator);
    assert_int_equal(shake(&world, stream), 1);
    client_send(stream, 1, "x", 1);
    expect_reply(&world, stream, 1, LINTEL_REPLY, "x");
    assert_int_equal(lintel_stream_send(stream, &wrong, zeros, sizeof zeros, 0), LINTEL_OK);
    expect_bye(&world, stream, LINTEL_BYE_MALFORMED, 1);
    expect_end(&world, stream);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_MALFORMED);
    /* A plain BYE in a sealed session is not the peer's word. */
    fd = adopt_pair(&world);
    stream = sealed_client(dup(fd), initiator);
    assert_int_equal(shake(&world, stream), 1);
    while (world.open < 2)
        turn(&world);
    lintel_header_put(plain, LINTEL_CONTROL, LINTEL_BYE, 0, 8);
    memset(plain + LINTEL_HEADER_SIZE, 0, 8);
    assert_int_equal(write(fd, plain, sizeof plain), (ssize_t)sizeof plain);
    turn_until_finished(&world, 2);
    assert_int_equal(world.last.status, LINTEL_E_SEAL);
    assert_true(client_recv(&world, stream, &frame) < 0);
    assert_int_equal(recv(fd, plain, sizeof plain, MSG_DONTWAIT), 0);
    close(fd);
    lintel_stream_close(stream);
    world_close(&world);
}

/* A last record behind which a message is unfinished is answered by no record. */
static void sealed_server_says_nothing_to_what_is_unfinished(void **state)
{
    struct lintel_header first = {.flags = LINTEL_MORE, .type = 7, .id = 2};
    struct lintel_server_options options = sealed_options();
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct world world;

    (void)state;
    world_open(&world, keep, &options);
    stream = sealed_client(adopt_pair(&world), initiator);
    assert_int_equal(shake(&world, stream), 1);
    client_send(stream, 1, "x", 1);
    while (world.kept_count < 1)
        turn(&world);
    assert_int_equal(lintel_stream_send(stream, &first, "y", 1, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    assert_int_equal(client_recv(&world, stream, &frame), LINTEL_E_TRUNCATED);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_TRUNCATED);
    assert_non_null(strstr(world.last.text, "between the fragments"));
    assert_int_equal(lintel_request_reply(world.kept[0], "z", 1), LINTEL_E_CLOSED);
    lintel_stream_close(stream);
    world_close(&world);
}

/* The last record, which is made when all else is written, has the deadline of every write. */
static void sealed_last_record_has_a_deadline(void **state)
{
    struct lintel_server_options options = sealed_options();
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.write_timeout_ms = 20;
    world_open(&world, echo, &options);
    stream = sealed_client(adopt_pair(&world), initiator);
    assert_int_equal(shake(&world, stream), 1);
    client_send(stream, 1, "", 0);
    expect_reply(&world, stream, 1, LINTEL_REPLY, "");
    while (send(lintel_connection_fd(world.connection), "x", 1, MSG_DONTWAIT) == 1)
        ;
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    turn_until_finished(&world, 1);
    assert_int_equal(counts(&world).cut_unread, 1);
    lintel_stream_close(stream);
    world_close(&world);
}

/* At most so many handshake messages a turn: sessions that run go on. */
static void sealed_server_bounds_handshakes_of_a_turn(void **state)
{
    enum { MANY = 100 };
    struct lintel_server_options options = sealed_options();
    struct lintel_stream *streams[MANY];
    struct world world;
    uint64_t before;
    int done = 0;

    (void)state;
    world_open(&world, echo, &options);
    for (int i = 0; i < MANY; i++) {
        streams[i] = sealed_client(adopt_pair(&world), initiator);
        (void)!lintel_stream_handshake(streams[i], 0);
    }
    while (done < MANY) {
        before = counts(&world).half_open;
        turn(&world);
        assert_true(before - counts(&world).half_open <= 8);
        done = 0;
        for (int i = 0; i < MANY; i++)
            done += lintel_stream_handshake(streams[i], 0) == 1;
    }
    for (int i = 0; i < MANY; i++)
        lintel_stream_close(streams[i]);
    world_close(&world);
}

static int open_keys(void **state)
{
    (void)state;
    initiator = psk(LINTEL_SEAL_INITIATOR, shared_text);
    responder = psk(LINTEL_SEAL_RESPONDER, shared_text);
    stranger = psk(LINTEL_SEAL_INITIATOR, other_text);
    return 0;
}

static int close_keys(void **state)
{
    (void)state;
    lintel_seal_keys_free(initiator);
    lintel_seal_keys_free(responder);
    lintel_seal_keys_free(stranger);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sealed_server_serves_and_knows_its_peers),
        cmocka_unit_test(sealed_server_refuses_strangers),
        cmocka_unit_test(sealed_server_takes_no_replay),
        cmocka_unit_test(sealed_handshake_has_a_deadline),
        cmocka_unit_test(sealed_server_bounds_half_open_connections),
        cmocka_unit_test(sealed_server_remembers_slow_half_open_connections),
        cmocka_unit_test(sealed_server_drains),
        cmocka_unit_test(sealed_server_tells_only_whom_it_knows),
        cmocka_unit_test(sealed_server_says_nothing_to_what_is_unfinished),
        cmocka_unit_test(sealed_last_record_has_a_deadline),
        cmocka_unit_test(sealed_server_bounds_handshakes_of_a_turn),
    };
    return cmocka_run_group_tests(tests, open_keys, close_keys);
}
