/* client: calls and their replies, deadlines, and what becomes of calls when a connection is lost.
 */
#include "config.h"
#include "lintel/client.h"
#include "lintel/lintel.h"

#include "wrap.h"

#include "util.h"

#include <errno.h>
#include <fcntl.h>
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

/* A client and the other end of its connection. */
static struct lintel_client *client_and_peer(int *peer, const struct lintel_stream_options *stream,
                                             const struct lintel_client_options *options)
{
    struct lintel_stream *s;
    struct lintel_client *client = NULL;
    struct lintel_error error;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    *peer = fds[1];
    if (lintel_stream_new(&s, fds[0], fds[0], stream, &error) != LINTEL_OK ||
        lintel_client_new(&client, s, options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return client;
}

static struct lintel_stream_options of_layout(const struct lintel_layout *layout)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;

    options.layout = layout;
    return options;
}

static struct lintel_call call_of(const char *payload, int deadline_ms)
{
    struct lintel_call call;

    memset(&call, 0, sizeof call);
    call.type = 7;
    call.payload = payload;
    call.size = strlen(payload);
    call.deadline_ms = deadline_ms;
    return call;
}

/* Start a call without waiting; its user pointer is its payload. */
static uint32_t start(struct lintel_client *client, const char *payload, int deadline_ms)
{
    const struct lintel_layout *layout = lintel_stream_layout(lintel_client_stream(client));
    struct lintel_call call = call_of(payload, deadline_ms);
    uint32_t id = 0;

    if (lintel_layout_find(layout, "type") < 0)
        call.type = 0;
    memcpy(&call.user, &payload, sizeof call.user);
    assert_int_equal(lintel_client_start(client, &id, &call, 0), LINTEL_OK);
    return id;
}

/* Write to the peer what is queued, taking nothing: nothing may be finished. */
static void flush(struct lintel_client *client)
{
    assert_int_equal(lintel_stream_flush(lintel_client_stream(client), 0), 1);
}

static void peer_writes(int fd, const void *bytes, size_t size)
{
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
}

static void peer_says(int fd, uint8_t flags, uint32_t type, uint32_t id, const char *text)
{
    uint8_t wire[4096];
    size_t size = strlen(text);

    assert_true(size < sizeof wire - LINTEL_HEADER_SIZE);
    lintel_header_put(wire, flags, type, id, (uint32_t)size);
    memcpy(wire + LINTEL_HEADER_SIZE, text, size);
    peer_writes(fd, wire, LINTEL_HEADER_SIZE + size);
}

static void peer_replies(int fd, uint32_t id, const char *text)
{
    peer_says(fd, LINTEL_REPLY, 7, id, text);
}

static void peer_says_bye(int fd, uint32_t reason, uint32_t last_id)
{
    uint8_t wire[LINTEL_HEADER_SIZE + 8];

    lintel_header_put(wire, LINTEL_CONTROL, LINTEL_BYE, 0, 8);
    lintel_put_u32be(wire + LINTEL_HEADER_SIZE, reason);
    lintel_put_u32be(wire + LINTEL_HEADER_SIZE + 4, last_id);
    peer_writes(fd, wire, sizeof wire);
}

/* What the peer reads, frame by frame: "FLAGS TYPE ID TEXT;". */
static void expect_peer_reads(int fd, const char *expected)
{
    struct lintel_stream *stream;
    struct lintel_header header;
    struct lintel_frame frame;
    struct text text = {0};
    int copy = dup(fd), rc;

    assert_int_equal(lintel_stream_new(&stream, copy, copy, NULL, NULL), LINTEL_OK);
    while ((rc = lintel_stream_recv(stream, &frame, 0)) == 1) {
        assert_int_equal(lintel_header_read(NULL, &header, &frame), LINTEL_OK);
        text_add(&text, "%02x %u %u ", header.flags, header.type, header.id);
        for (size_t i = 0; i < frame.length; i++)
            text_add(&text, frame.payload[i] < ' ' ? "%02x" : "%c", frame.payload[i]);
        text_add(&text, ";");
    }
    text_add(&text, rc == LINTEL_E_END ? "end" : "");
    assert_string_equal(text.data, expected);
    free(text.data);
    lintel_stream_close(stream);
}

static void expect_text(const struct lintel_client *client, int status, const char *expected)
{
    struct lintel_error error;

    lintel_client_error(client, &error);
    assert_int_equal(error.status, status);
    if (strstr(error.text, expected) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", expected, error.text);
}

/* The next finished call has this id and this reply. */
static void expect_reply(struct lintel_client *client, uint32_t id, const char *text)
{
    struct lintel_finished done;

    assert_int_equal(lintel_client_next(client, &done, 0), 1);
    assert_int_equal(done.id, id);
    assert_int_equal(done.status, LINTEL_OK);
    assert_int_equal(done.outcome, LINTEL_CALL_ANSWERED);
    assert_int_equal(done.message.frame.length, strlen(text));
    assert_memory_equal(done.message.frame.payload, text, strlen(text));
}

static void expect_failed(struct lintel_client *client, uint32_t id, int status,
                          enum lintel_outcome outcome)
{
    struct lintel_finished done;

    assert_int_equal(lintel_client_next(client, &done, 0), 1);
    assert_int_equal(done.id, id);
    assert_int_equal(done.status, status);
    assert_int_equal(done.outcome, outcome);
    assert_null(done.message.frame.payload);
}

static void expect_nothing(struct lintel_client *client, int status)
{
    struct lintel_finished done;

    assert_int_equal(lintel_client_next(client, &done, 0), status);
}

static void end(struct lintel_client *client, int peer)
{
    lintel_client_close(client);
    close(peer);
}

/* ---- calls and replies ----------------------------------------------------------------------- */

static void client_pairs_replies_in_any_order(void **state)
{
    static const char *const payloads[] = {"a", "b", "c"};
    struct lintel_finished done;
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, NULL, NULL);
    expect_nothing(client, 0);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(start(client, payloads[i], 0), i + 1);
    assert_int_equal(lintel_client_calls(client), 3);
    expect_nothing(client, 0);
    expect_peer_reads(peer, "00 7 1 a;00 7 2 b;00 7 3 c;");
    peer_replies(peer, 3, "C");
    peer_replies(peer, 1, "A");
    assert_int_equal(lintel_client_next(client, &done, -1), 1);
    assert_int_equal(done.id, 3);
    assert_string_equal(done.user, "c");
    assert_int_equal(done.message.header.type, 7);
    expect_reply(client, 1, "A");
    expect_nothing(client, 0);
    assert_int_equal(start(client, "", 0), 4);
    peer_replies(peer, 4, "");
    peer_replies(peer, 2, "B");
    expect_reply(client, 4, "");
    expect_reply(client, 2, "B");
    assert_int_equal(lintel_client_calls(client), 0);
    assert_int_equal(lintel_client_next(client, &done, -1), 0);
    end(client, peer);
}

static void client_gives_an_error_reply_as_an_error(void **state)
{
    struct lintel_client_counts counters;
    struct lintel_finished done;
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, NULL, NULL);
    start(client, "a", 0);
    peer_says(peer, LINTEL_REPLY | LINTEL_ERROR, 7, 1, "no\x1b \xff");
    assert_int_equal(lintel_client_next(client, &done, 0), 1);
    assert_int_equal(done.status, LINTEL_E_REFUSED);
    assert_int_equal(done.outcome, LINTEL_CALL_ANSWERED);
    assert_int_equal(done.message.frame.length, 5);
    assert_memory_equal(done.message.frame.payload, "no\x1b \xff", 5);
    expect_text(client, LINTEL_E_REFUSED,
                "call 1: the peer answered with an error: \"no\\x1b \\xff\"");
    start(client, "b", 0);
    peer_replies(peer, 2, "B");
    expect_reply(client, 2, "B");
    lintel_client_counters(client, &counters);
    assert_int_equal(counters.started, 2);
    assert_int_equal(counters.answered, 2);
    assert_int_equal(counters.refused, 1);
    end(client, peer);
}

static void client_drops_and_counts_what_it_did_not_ask_for(void **state)
{
    struct lintel_client_counts counters;
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, NULL, NULL);
    start(client, "a", 0);
    start(client, "b", 0);
    assert_int_equal(lintel_client_cancel(client, 2), LINTEL_OK);
    assert_int_equal(lintel_client_cancel(client, 2), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_cancel(client, 3), LINTEL_E_USAGE);
    peer_replies(peer, 0, "unknown");
    peer_replies(peer, 3, "unknown");
    peer_replies(peer, UINT32_MAX, "unknown");
    peer_says(peer, 0, 7, 1, "a request");
    peer_says(peer, 0, 7, 0, "another");
    peer_says(peer, LINTEL_CONTROL, LINTEL_PING, 9, "?");
    peer_replies(peer, 2, "late");
    peer_replies(peer, 1, "A");
    peer_replies(peer, 1, "twice");
    expect_reply(client, 1, "A");
    expect_nothing(client, 0);
    lintel_client_counters(client, &counters);
    assert_int_equal(counters.unknown, 3);
    assert_int_equal(counters.requests, 2);
    assert_int_equal(counters.late, 2);
    expect_peer_reads(peer, "00 7 1 a;00 7 2 b;08 3 9 ?;");
    end(client, peer);
}

static void client_sends_and_takes_fragments(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    int peer;

    (void)state;
    options.max_frame = 3;
    struct lintel_client *client = client_and_peer(&peer, &options, NULL);
    start(client, "abcdefgh", 0);
    start(client, "x", 0);
    expect_nothing(client, 0);
    expect_peer_reads(peer, "04 7 1 abc;04 7 1 def;00 7 1 gh;00 7 2 x;");
    peer_says(peer, LINTEL_REPLY | LINTEL_MORE, 7, 2, "XY");
    expect_nothing(client, 0);
    peer_says(peer, LINTEL_REPLY | LINTEL_MORE, 7, 2, "");
    peer_replies(peer, 2, "Z");
    peer_replies(peer, 1, "A");
    expect_reply(client, 2, "XYZ");
    expect_reply(client, 1, "A");
    end(client, peer);
}

static void client_is_the_same_for_every_cut(void **state)
{
    static const int shapes[] = {1, 2, 3, 5, 8, 13, 15, 16, 17, 18, 19, 33, 40};

    (void)state;
    for (size_t i = 0; i < COUNT(shapes); i++) {
        struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
        int peer;
        wrap_reset();
        options.max_frame = 8;
        struct lintel_client *client = client_and_peer(&peer, &options, NULL);
        wrap_script(WRAP_SENDMSG, NULL, 0, shapes[i]);
        wrap_script(WRAP_RECV, NULL, 0, shapes[COUNT(shapes) - 1 - i]);
        start(client, "abcdefghij", 0);
        start(client, "xyz", 0);
        expect_nothing(client, 0);
        peer_says(peer, LINTEL_REPLY | LINTEL_MORE, 7, 2, "XY");
        peer_says(peer, LINTEL_CONTROL, LINTEL_PING, 9, "?");
        peer_replies(peer, 2, "Z");
        peer_says(peer, LINTEL_REPLY | LINTEL_ERROR, 7, 1, "bad");
        peer_says_bye(peer, 0, 2);
        expect_reply(client, 2, "XYZ");
        struct lintel_finished done;
        assert_int_equal(lintel_client_next(client, &done, 0), 1);
        assert_int_equal(done.status, LINTEL_E_REFUSED);
        assert_memory_equal(done.message.frame.payload, "bad", 3);
        expect_nothing(client, LINTEL_E_END);
        wrap_reset();
        expect_peer_reads(peer, "04 7 1 abcdefgh;00 7 1 ij;00 7 2 xyz;08 3 9 ?;end");
        end(client, peer);
    }
}

/* ---- time ------------------------------------------------------------------------------------ */

static void client_ends_calls_whose_time_is_up(void **state)
{
    struct lintel_client_counts counters;
    struct lintel_finished done;
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, NULL, NULL);
    wrap_clock(1000);
    assert_int_equal(lintel_client_wait_ms(client), -1);
    start(client, "a", 300);
    start(client, "b", 0);
    start(client, "c", 100);
    start(client, "d", 200);
    assert_int_equal(lintel_client_wait_ms(client), 100);
    assert_int_equal(lintel_client_next(client, &done, 40), LINTEL_E_TIMEOUT);
    expect_text(client, LINTEL_E_TIMEOUT, "no call was finished in time");
    assert_int_equal(wrap_clock_now(), 1040);
    assert_int_equal(lintel_client_wait_ms(client), 60);
    assert_int_equal(lintel_client_next(client, &done, -1), 1);
    assert_int_equal(wrap_clock_now(), 1100);
    assert_int_equal(done.id, 3);
    assert_int_equal(done.status, LINTEL_E_TIMEOUT);
    assert_int_equal(done.outcome, LINTEL_CALL_UNKNOWN);
    expect_text(client, LINTEL_E_TIMEOUT, "call 3 (perhaps handled): no reply came in time");
    peer_replies(peer, 3, "late");
    expect_nothing(client, 0);
    assert_int_equal(lintel_client_next(client, &done, 1000), 1);
    assert_int_equal(done.id, 4);
    assert_int_equal(lintel_client_next(client, &done, 1000), 1);
    assert_int_equal(done.id, 1);
    assert_int_equal(wrap_clock_now(), 1300);
    assert_int_equal(lintel_client_next(client, &done, 1000), LINTEL_E_TIMEOUT);
    peer_replies(peer, 2, "B");
    expect_reply(client, 2, "B");
    lintel_client_counters(client, &counters);
    assert_int_equal(counters.timed_out, 3);
    assert_int_equal(counters.late, 1);
    end(client, peer);
}

static void client_gives_a_reply_that_is_there_after_its_time(void **state)
{
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, NULL, NULL);
    wrap_clock(1000);
    start(client, "a", 100);
    start(client, "b", 100);
    wrap_clock_advance(500);
    assert_int_equal(lintel_client_wait_ms(client), 0);
    peer_replies(peer, 2, "B");
    expect_reply(client, 2, "B");
    expect_failed(client, 1, LINTEL_E_TIMEOUT, LINTEL_CALL_UNKNOWN);
    expect_nothing(client, 0);
    end(client, peer);
}

/* However many replies come for others, and however much that nobody asked for. */
static void client_does_not_put_off_the_end_of_a_calls_time(void **state)
{
    struct lintel_client_counts before, after;
    struct lintel_finished done;
    char wire[100];
    int peer, given = 0;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, NULL, NULL);
    wrap_clock(1000);
    start(client, "a", 100);
    flush(client);
    wrap_clock_advance(500);
    do {
        assert_true(++given < 5000);
        peer_replies(peer, start(client, "", 0), "");
        flush(client);
        assert_int_equal(lintel_client_next(client, &done, 0), 1);
        assert_true(recv(peer, wire, sizeof wire, MSG_DONTWAIT) > 0);
    } while (done.id != 1);
    assert_int_equal(done.status, LINTEL_E_TIMEOUT);
    while (lintel_client_next(client, &done, 0) == 1)
        continue;
    start(client, "b", 100);
    wrap_clock_advance(500);
    for (int i = 0; i < 100; i++)
        peer_replies(peer, 1, "");
    lintel_client_counters(client, &before);
    assert_int_equal(lintel_client_next(client, &done, 0), 1);
    assert_int_equal(done.status, LINTEL_E_TIMEOUT);
    lintel_client_counters(client, &after);
    assert_int_equal(after.late - before.late, 1);
    end(client, peer);
}

/* ---- ids ------------------------------------------------------------------------------------- */

static void client_ids_begin_again_and_pass_over_open_ones(void **state)
{
    struct lintel_layout *layout = make_layout("B:id B:length *");
    struct lintel_stream_options options = of_layout(layout);
    uint8_t wire[2] = {0, 0};
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, &options, NULL);
    start(client, "", 0);
    for (unsigned n = 0; n < 600; n++) {
        wire[0] = (uint8_t)(n % 254 + 2);
        assert_int_equal(start(client, "", 0), wire[0]);
        peer_writes(peer, wire, 2);
        expect_reply(client, wire[0], "");
    }
    assert_int_equal(lintel_client_calls(client), 1);
    wire[0] = 1;
    peer_writes(peer, wire, 2);
    expect_reply(client, 1, "");
    end(client, peer);
    lintel_layout_free(layout);
}

static void client_takes_as_many_calls_as_ids(void **state)
{
    struct lintel_layout *layout = make_layout("B:id B:length *");
    struct lintel_stream_options options = of_layout(layout);
    struct lintel_call call = call_of("", 0);
    uint8_t wire[2] = {100, 0};
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, &options, NULL);
    for (unsigned i = 1; i <= 255; i++)
        assert_int_equal(start(client, "", 0), i);
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_E_COUNT);
    expect_text(client, LINTEL_E_COUNT, "as many calls are open as there may be");
    peer_writes(peer, wire, 2);
    expect_reply(client, 100, "");
    assert_int_equal(start(client, "", 0), 100);
    end(client, peer);
    lintel_layout_free(layout);
}

/* ---- limits, references ---------------------------------------------------------------------- */

static void client_limits_bound_calls_and_queue(void **state)
{
    struct lintel_client_options options = LINTEL_CLIENT_OPTIONS_INIT;
    struct lintel_call call = call_of("0123456789", 0);
    struct lintel_stream *stream;
    int peer;

    (void)state;
    options.max_calls = 3;
    options.max_queue = 40;
    struct lintel_client *client = client_and_peer(&peer, NULL, &options);
    wrap_script(WRAP_SENDMSG, NULL, 0, -EAGAIN);
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_OK);
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_OK);
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_E_TIMEOUT);
    expect_text(client, LINTEL_E_TIMEOUT, "as many bytes are queued");
    assert_true(lintel_client_wants(client) & LINTEL_WANT_WRITE);
    wrap_reset();
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_OK);
    assert_int_equal(lintel_client_start(client, NULL, &call, -1), LINTEL_E_COUNT);
    peer_replies(peer, 2, "");
    expect_reply(client, 2, "");
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_OK);
    end(client, peer);
    options.max_calls = LINTEL_CALLS_MAX + 1;
    peer = open("/dev/null", O_RDWR | O_CLOEXEC);
    assert_int_equal(lintel_stream_new(&stream, peer, peer, NULL, NULL), LINTEL_OK);
    assert_int_equal(lintel_client_new(&client, stream, &options, NULL), LINTEL_E_RANGE);
    assert_int_equal(fcntl(peer, F_GETFD), -1);
}

struct released {
    int times;
    const void *payload;
    size_t size;
};

static void count_release(void *user, const void *payload, size_t size)
{
    struct released *released = user;

    released->times++;
    released->payload = payload;
    released->size = size;
}

static void client_releases_a_payload_exactly_once(void **state)
{
    static uint8_t payload[20000];
    struct lintel_client_options options = LINTEL_CLIENT_OPTIONS_INIT;
    struct lintel_stream_options stream = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_finished done;
    struct lintel_call call;

    (void)state;
    options.max_calls = 1;
    memset(&call, 0, sizeof call);
    call.payload = payload;
    call.by_reference = 1;
    call.release = count_release;
    for (int fragments = 0; fragments < 2; fragments++) {
        struct released released = {0};
        int peer;
        stream.max_frame = fragments ? 5000 : 0;
        struct lintel_client *client = client_and_peer(&peer, &stream, &options);
        call.release_user = &released;
        call.size = sizeof payload;
        assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_OK);
        assert_int_equal(released.times, fragments);
        expect_nothing(client, 0);
        assert_int_equal(released.times, 1);
        assert_ptr_equal(released.payload, payload);
        assert_int_equal(released.size, sizeof payload);
        assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_E_COUNT);
        assert_int_equal(released.times, 2);
        assert_int_equal(lintel_client_start(NULL, NULL, &call, 0), LINTEL_E_USAGE);
        assert_int_equal(released.times, 3);
        assert_int_equal(lintel_client_call(client, &done, &call, 100), LINTEL_E_USAGE);
        assert_int_equal(released.times, 4);
        lintel_client_close(client);
        assert_int_equal(released.times, 4);
        close(peer);
    }
}

/* ---- over a sealed stream -------------------------------------------------------------------- */

/* A client and a peer with a stream, who have shaken hands. Returns 0 where there are no seals. */
struct sealed {
    struct lintel_seal_keys *keys[2]; /* initiator, responder */
    struct lintel_client *client;
    struct lintel_stream *peer;
};

static int open_sealed(struct sealed *sealed)
{
    static const char text[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= pair\n";
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_seal_keys_options with = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    int fd, a = 0, b = 0;

    if (!lintel_has("sodium"))
        return 0;
    for (int side = 0; side < 2; side++) {
        with.role = side == 0 ? LINTEL_SEAL_INITIATOR : LINTEL_SEAL_RESPONDER;
        with.psk = (struct lintel_seal_text){text, strlen(text), "psk"};
        assert_int_equal(lintel_seal_keys_new(&sealed->keys[side], &with, NULL), LINTEL_OK);
    }
    options.seal_keys = sealed->keys[0];
    sealed->client = client_and_peer(&fd, &options, NULL);
    options.seal_keys = sealed->keys[1];
    assert_int_equal(lintel_stream_new(&sealed->peer, fd, fd, &options, NULL), LINTEL_OK);
    for (int i = 0; i < 10 && (a != 1 || b != 1); i++) {
        a = lintel_stream_handshake(lintel_client_stream(sealed->client), 0);
        b = lintel_stream_handshake(sealed->peer, 0);
    }
    assert_int_equal(a, 1);
    assert_int_equal(b, 1);
    return 1;
}

static void close_sealed(struct sealed *sealed)
{
    lintel_client_close(sealed->client);
    lintel_stream_close(sealed->peer);
    lintel_seal_keys_free(sealed->keys[0]);
    lintel_seal_keys_free(sealed->keys[1]);
}

/* The peer answers every request that has come, the last one first. */
static void sealed_peer_replies(struct sealed *sealed, int count)
{
    struct lintel_message message;
    uint32_t ids[8];

    for (int i = 0; i < count; i++) {
        assert_int_equal(lintel_stream_recv_message(sealed->peer, &message, 0), 1);
        ids[i] = message.header.id;
    }
    while (count-- > 0) {
        struct lintel_header header = {LINTEL_REPLY, 7, ids[count], NULL};
        assert_int_equal(lintel_stream_send(sealed->peer, &header, "R", 1, 0), LINTEL_OK);
    }
    assert_int_equal(lintel_stream_flush(sealed->peer, 0), 1);
}

static void client_calls_over_a_sealed_stream(void **state)
{
    struct sealed sealed;

    (void)state;
    if (!open_sealed(&sealed))
        skip();
    for (uint32_t round = 0; round < 2; round++) {
        for (int i = 0; i < 3; i++)
            start(sealed.client, "a", 0);
        flush(sealed.client);
        sealed_peer_replies(&sealed, 3);
        for (uint32_t i = 3; i > 0; i--)
            expect_reply(sealed.client, 3 * round + i, "R");
    }
    expect_nothing(sealed.client, 0);
    assert_int_equal(lintel_client_calls(sealed.client), 0);
    close_sealed(&sealed);
}

/* Whatever ends the session without a word, calls that went out have an unknown outcome. */
static void client_ends_calls_with_a_broken_seal(void **state)
{
    enum { CUT, CUT_BYE, LAST, PLAIN, CASES };
    static const struct {
        int status;
        const char *text;
    } expected[CASES] = {
        [CUT] = {LINTEL_E_TRUNCATED, "without a last record"},
        [CUT_BYE] = {LINTEL_E_SEAL, "a plain frame in a sealed session"},
        [LAST] = {LINTEL_E_END, "call 1 (perhaps handled): "},
        [PLAIN] = {LINTEL_E_SEAL, "not a record"},
    };
    struct lintel_call call = call_of("late", 0);
    struct sealed sealed;

    (void)state;
    for (int i = 0; i < CASES; i++) {
        if (!open_sealed(&sealed))
            skip();
        start(sealed.client, "a", 0);
        start(sealed.client, "b", 0);
        flush(sealed.client);
        start(sealed.client, "c", 0);
        int fd = lintel_stream_out_fd(sealed.peer);
        if (i == CUT_BYE)
            peer_says_bye(fd, 0, 0);
        if (i == PLAIN)
            peer_replies(fd, 1, "forged");
        if (i == LAST)
            assert_int_equal(lintel_stream_shutdown(sealed.peer, 0), 1);
        else
            assert_int_equal(shutdown(fd, SHUT_WR), 0);
        expect_failed(sealed.client, 1, expected[i].status, LINTEL_CALL_UNKNOWN);
        expect_text(sealed.client, expected[i].status, expected[i].text);
        expect_failed(sealed.client, 2, expected[i].status, LINTEL_CALL_UNKNOWN);
        expect_failed(sealed.client, 3, expected[i].status, LINTEL_CALL_NOT_SENT);
        expect_nothing(sealed.client, expected[i].status);
        assert_true(lintel_client_start(sealed.client, NULL, &call, 0) < 0);
        close_sealed(&sealed);
    }
}

/* An inner BYE says what was taken, and is believed. */
static void client_believes_a_bye_inside_of_a_seal(void **state)
{
    struct lintel_message message;
    struct sealed sealed;

    (void)state;
    if (!open_sealed(&sealed))
        skip();
    start(sealed.client, "a", 0);
    flush(sealed.client);
    assert_int_equal(lintel_stream_recv_message(sealed.peer, &message, 0), 1);
    start(sealed.client, "b", 0);
    flush(sealed.client);
    assert_int_equal(lintel_stream_bye(sealed.peer, LINTEL_BYE_DRAINING, 0), 1);
    expect_failed(sealed.client, 1, LINTEL_E_REFUSED, LINTEL_CALL_UNKNOWN);
    expect_text(sealed.client, LINTEL_E_REFUSED, "the peer said BYE 1");
    expect_failed(sealed.client, 2, LINTEL_E_REFUSED, LINTEL_CALL_NOT_HANDLED);
    expect_nothing(sealed.client, LINTEL_E_REFUSED);
    close_sealed(&sealed);
}

/* ---- a lost connection ----------------------------------------------------------------------- */

/* Three calls of which two are written. */
static struct lintel_client *with_three_calls(int *peer)
{
    struct lintel_client *client = client_and_peer(peer, NULL, NULL);

    start(client, "a", 0);
    start(client, "b", 0);
    flush(client);
    start(client, "c", 0);
    return client;
}

static void client_ends_calls_with_the_connection(void **state)
{
    struct lintel_client_counts counters;
    struct lintel_call call = call_of("d", 0);
    int peer;

    (void)state;
    struct lintel_client *client = with_three_calls(&peer);
    peer_replies(peer, 2, "B");
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    expect_reply(client, 2, "B");
    expect_failed(client, 1, LINTEL_E_END, LINTEL_CALL_UNKNOWN);
    expect_text(client, LINTEL_E_END, "call 1 (perhaps handled): ");
    assert_int_equal(lintel_client_wait_ms(client), 0);
    assert_int_equal(lintel_client_wants(client), 0);
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_E_CLOSED);
    expect_failed(client, 3, LINTEL_E_END, LINTEL_CALL_NOT_SENT);
    expect_text(client, LINTEL_E_END, "call 3 (not sent): ");
    expect_nothing(client, LINTEL_E_END);
    expect_nothing(client, LINTEL_E_END);
    assert_int_equal(lintel_client_wait_ms(client), -1);
    lintel_client_counters(client, &counters);
    assert_int_equal(counters.lost, 2);
    expect_peer_reads(peer, "00 7 1 a;00 7 2 b;");
    end(client, peer);
}

static void client_tells_what_a_bye_leaves_unhandled(void **state)
{
    static const struct {
        uint32_t reason, last_id;
        int status;
        enum lintel_outcome first, second;
    } cases[] = {
        {0, 0, LINTEL_E_END, LINTEL_CALL_NOT_HANDLED, LINTEL_CALL_NOT_HANDLED},
        {1, 1, LINTEL_E_REFUSED, LINTEL_CALL_UNKNOWN, LINTEL_CALL_NOT_HANDLED},
        {2, 2, LINTEL_E_REFUSED, LINTEL_CALL_UNKNOWN, LINTEL_CALL_UNKNOWN},
        {1, 4, LINTEL_E_REFUSED, LINTEL_CALL_UNKNOWN, LINTEL_CALL_UNKNOWN},
        {1, UINT32_MAX, LINTEL_E_REFUSED, LINTEL_CALL_UNKNOWN, LINTEL_CALL_UNKNOWN},
    };
    int peer;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_client *client = with_three_calls(&peer);
        peer_says_bye(peer, cases[i].reason, cases[i].last_id);
        peer_replies(peer, 1, "behind it");
        expect_failed(client, 1, cases[i].status, cases[i].first);
        expect_failed(client, 2, cases[i].status, cases[i].second);
        struct lintel_finished done;
        assert_int_equal(lintel_client_next(client, &done, 0), 1);
        assert_int_equal(done.id, 3);
        expect_text(client, cases[i].status, "the peer said BYE");
        expect_nothing(client, cases[i].status);
        end(client, peer);
    }
    /* The last id is that of a call which was answered. */
    struct lintel_client *client = with_three_calls(&peer);
    peer_replies(peer, 2, "B");
    peer_says_bye(peer, 1, 2);
    expect_reply(client, 2, "B");
    expect_failed(client, 1, LINTEL_E_REFUSED, LINTEL_CALL_UNKNOWN);
    expect_failed(client, 3, LINTEL_E_REFUSED, LINTEL_CALL_NOT_HANDLED);
    end(client, peer);
}

static void client_tells_the_peer_what_was_ill_formed(void **state)
{
    int peer;

    (void)state;
    struct lintel_client *client = with_three_calls(&peer);
    flush(client);
    peer_writes(peer, "GET / HTTP/1.1\r\n", 16);
    for (uint32_t id = 1; id <= 3; id++)
        expect_failed(client, id, LINTEL_E_MISMATCH, LINTEL_CALL_UNKNOWN);
    expect_text(client, LINTEL_E_MISMATCH, "magic");
    expect_nothing(client, LINTEL_E_MISMATCH);
    expect_peer_reads(peer, "00 7 1 a;00 7 2 b;00 7 3 c;08 4 0 0000000400000000;end");
    end(client, peer);
}

/* What cannot be sent any more is over; what went out may still be answered. */
static void client_ends_unsent_calls_when_sending_fails(void **state)
{
    struct lintel_call call = call_of("e", 0);
    int peer;

    (void)state;
    struct lintel_client *client = with_three_calls(&peer);
    start(client, "d", 0);
    wrap_fail(WRAP_SENDMSG, 0, 1, EPIPE);
    peer_replies(peer, 1, "A");
    expect_reply(client, 1, "A");
    expect_failed(client, 3, LINTEL_E_CLOSED, LINTEL_CALL_NOT_SENT);
    expect_text(client, LINTEL_E_CLOSED, "call 3 (not sent): send: ");
    assert_int_equal(lintel_client_wait_ms(client), 0);
    expect_failed(client, 4, LINTEL_E_CLOSED, LINTEL_CALL_NOT_SENT);
    expect_nothing(client, 0);
    assert_int_equal(lintel_client_calls(client), 1);
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_E_CLOSED);
    peer_replies(peer, 2, "B");
    expect_reply(client, 2, "B");
    end(client, peer);
}

static void client_ends_unsent_calls_in_a_wait(void **state)
{
    struct lintel_finished done;
    int peer;

    (void)state;
    struct lintel_client *client = with_three_calls(&peer);
    wrap_fail(WRAP_SENDMSG, 0, 1, ECONNRESET);
    assert_int_equal(lintel_client_next(client, &done, -1), 1);
    assert_int_equal(done.id, 3);
    assert_int_equal(done.status, LINTEL_E_RESET);
    assert_int_equal(done.outcome, LINTEL_CALL_NOT_SENT);
    close(peer);
    assert_int_equal(lintel_client_next(client, &done, -1), 1);
    assert_int_equal(done.id, 1);
    assert_int_equal(done.outcome, LINTEL_CALL_UNKNOWN);
    assert_int_equal(lintel_client_next(client, &done, -1), 1);
    assert_int_equal(done.id, 2);
    assert_true(lintel_client_next(client, &done, -1) < 0);
    lintel_client_close(client);
}

/* Memory fails inside of a message that has begun to go out: nothing can follow it. */
static void client_ends_when_memory_fails_inside_a_message(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    static uint8_t payload[400000];
    struct lintel_call call;
    unsigned seen = 0;
    int peer;

    (void)state;
    memset(&call, 0, sizeof call);
    call.payload = payload;
    call.size = sizeof payload;
    options.max_frame = 100000;
    for (unsigned skip = 0; skip < 12; skip++) {
        wrap_reset();
        struct lintel_client *client = client_and_peer(&peer, &options, NULL);
        wrap_script(WRAP_SENDMSG, NULL, 0, -EAGAIN);
        start(client, "a", 0);
        wrap_fail(WRAP_RESIZE, skip, 1, ENOMEM);
        int rc = lintel_client_start(client, NULL, &call, 0);
        if (rc == LINTEL_E_NOMEM && lintel_stream_flush(lintel_client_stream(client), 0) < 0) {
            expect_failed(client, 1, LINTEL_E_NOMEM, LINTEL_CALL_NOT_SENT);
            expect_text(client, LINTEL_E_NOMEM,
                        "call 1 (not sent): out of memory inside a message");
            expect_nothing(client, LINTEL_E_NOMEM);
            assert_int_equal(lintel_client_wants(client), 0);
            assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_E_CLOSED);
            seen++;
        }
        end(client, peer);
    }
    assert_true(seen > 0);
}

/* ---- other layouts --------------------------------------------------------------------------- */

static void client_takes_replies_in_order_where_there_is_no_id(void **state)
{
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_stream_options options = of_layout(layout);
    struct lintel_client_counts counters;
    char got[16];
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, &options, NULL);
    wrap_clock(1000);
    for (int i = 0; i < 5; i++)
        start(client, "x", i == 1 ? 50 : 0);
    flush(client);
    assert_int_equal(read(peer, got, sizeof got), 10);
    wrap_clock_advance(100);
    expect_failed(client, 2, LINTEL_E_TIMEOUT, LINTEL_CALL_UNKNOWN);
    expect_nothing(client, 0);
    assert_int_equal(lintel_client_cancel(client, 4), LINTEL_OK);
    assert_int_equal(lintel_client_cancel(client, 4), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_calls(client), 3);
    peer_writes(peer, "\1A\1B\1C\1D\1E\1F", 12);
    expect_reply(client, 1, "A");
    expect_reply(client, 3, "C");
    expect_reply(client, 5, "E");
    expect_nothing(client, 0);
    lintel_client_counters(client, &counters);
    assert_int_equal(counters.late, 2);
    assert_int_equal(counters.unknown, 1);
    /* Places that are kept end with the connection. */
    start(client, "x", 50);
    start(client, "y", 0);
    wrap_clock_advance(100);
    expect_failed(client, 6, LINTEL_E_TIMEOUT, LINTEL_CALL_UNKNOWN);
    flush(client);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    expect_failed(client, 7, LINTEL_E_END, LINTEL_CALL_UNKNOWN);
    expect_nothing(client, LINTEL_E_END);
    assert_int_equal(lintel_client_calls(client), 0);
    end(client, peer);
    lintel_layout_free(layout);
}

/* A call that was given out before it was sent, and never will be, keeps no place. */
static void client_in_order_keeps_no_place_for_what_was_not_sent(void **state)
{
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_stream_options options = of_layout(layout);
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, &options, NULL);
    wrap_clock(1000);
    start(client, "a", 0);
    flush(client);
    start(client, "b", 50);
    start(client, "c", 0);
    start(client, "d", 0);
    wrap_script(WRAP_SENDMSG, NULL, 0, -EAGAIN);
    wrap_clock_advance(100);
    expect_failed(client, 2, LINTEL_E_TIMEOUT, LINTEL_CALL_UNKNOWN);
    wrap_script(WRAP_SENDMSG, NULL, 0, -EPIPE);
    expect_failed(client, 3, LINTEL_E_CLOSED, LINTEL_CALL_NOT_SENT);
    assert_int_equal(lintel_client_cancel(client, 4), LINTEL_OK);
    peer_writes(peer, "\1A\1B", 4);
    expect_reply(client, 1, "A");
    expect_nothing(client, 0);
    assert_int_equal(lintel_client_calls(client), 0);
    end(client, peer);
    lintel_layout_free(layout);
}

static void client_finds_the_id_of_another_layout(void **state)
{
    static const struct {
        const char *layout, *sent, *reply;
    } cases[] = {
        {"B:type H:id B:length *", "07 0001 01 61", "07 0001 01 41"},
        {"<B:length * H:id", "01 61 0100", "01 41 0100"},
        {"H:id>>4,type&0xf B:length *", "0017 01 61", "0010 01 41"},
        {"q:id B:length *", "0000000000000001 01 61", "0000000000000001 01 41"},
        {"v:id B:length *", "01 01 61", "01 01 41"},
    };
    int peer;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_layout *layout = make_layout(cases[i].layout);
        struct lintel_stream_options options = of_layout(layout);
        struct bytes sent = from_hex(cases[i].sent), reply = from_hex(cases[i].reply);
        uint8_t got[64];
        struct lintel_client *client = client_and_peer(&peer, &options, NULL);
        assert_int_equal(start(client, "a", 0), 1);
        flush(client);
        assert_int_equal(read(peer, got, sizeof got), sent.size);
        assert_memory_equal(got, sent.data, sent.size);
        peer_writes(peer, reply.data, reply.size);
        expect_reply(client, 1, "A");
        end(client, peer);
        free(sent.data);
        free(reply.data);
        lintel_layout_free(layout);
    }
}

/* An id of more bits than ours is not taken for one of ours, nor is one below zero. */
static void client_does_not_mistake_a_longer_id(void **state)
{
    static const uint8_t wire[] = {0,   0,   0,   1,   0,   0,   0,   1,   0,
                                   255, 255, 255, 255, 255, 255, 255, 255, 0};
    struct lintel_layout *layout = make_layout("q:id B:length *");
    struct lintel_stream_options options = of_layout(layout);
    struct lintel_client_counts counters;
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, &options, NULL);
    start(client, "a", 0);
    peer_writes(peer, wire, sizeof wire);
    expect_nothing(client, 0);
    lintel_client_counters(client, &counters);
    assert_int_equal(counters.unknown, 2);
    end(client, peer);
    lintel_layout_free(layout);
}

static void client_makes_a_request_like_a_frame(void **state)
{
    static const uint8_t header[] = {'Q', 9, 9, 0x12, 0x34, 77}, trailer[] = {7};
    struct lintel_layout *layout = make_layout("c:type H:id H:more B:length * B:end=7");
    struct lintel_stream_options options = of_layout(layout);
    struct lintel_frame like = {header, header, trailer, 77, 6, 1, 0};
    struct lintel_call call = call_of("ab", 0);
    uint8_t got[64];
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, &options, NULL);
    call.like = &like;
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_OK);
    flush(client);
    assert_int_equal(read(peer, got, sizeof got), 9);
    assert_memory_equal(got, "Q\0\1\x12\x34\2ab\7", 9);
    like.header_size = 5;
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_E_MALFORMED);
    assert_int_equal(lintel_client_calls(client), 1);
    end(client, peer);
    lintel_layout_free(layout);
}

/* ---- call and wait --------------------------------------------------------------------------- */

static void client_call_is_one_request_and_its_reply(void **state)
{
    struct lintel_call call = call_of("a", 0);
    struct lintel_finished done;
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, NULL, NULL);
    wrap_clock(1000);
    call.user = &peer;
    peer_replies(peer, 9, "unknown");
    peer_replies(peer, 1, "A");
    assert_int_equal(lintel_client_call(client, &done, &call, -1), LINTEL_OK);
    assert_ptr_equal(done.user, &peer);
    assert_int_equal(done.message.frame.length, 1);
    peer_says(peer, LINTEL_REPLY | LINTEL_ERROR, 7, 2, "no");
    assert_int_equal(lintel_client_call(client, &done, &call, 100), LINTEL_E_REFUSED);
    assert_int_equal(done.outcome, LINTEL_CALL_ANSWERED);
    assert_int_equal(lintel_client_call(client, &done, &call, 100), LINTEL_E_TIMEOUT);
    assert_int_equal(done.outcome, LINTEL_CALL_UNKNOWN);
    assert_int_equal(wrap_clock_now(), 1100);
    assert_int_equal(lintel_client_call(client, &done, &call, 0), LINTEL_E_USAGE);
    call.type = 0;
    start(client, "b", 0);
    assert_int_equal(lintel_client_call(client, &done, &call, 100), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_cancel(client, 4), LINTEL_OK);
    assert_int_equal(shutdown(peer, SHUT_WR), 0);
    assert_int_equal(lintel_client_call(client, &done, &call, 100), LINTEL_E_END);
    assert_int_equal(done.outcome, LINTEL_CALL_NOT_SENT);
    assert_int_equal(lintel_client_call(client, &done, &call, 100), LINTEL_E_CLOSED);
    assert_int_equal(done.outcome, LINTEL_CALL_NOT_SENT);
    end(client, peer);
}

/* ---- many ------------------------------------------------------------------------------------ */

/* What a call of the test is. */
struct model {
    uint64_t deadline; /* 0: none */
    int open;
};

enum { CALLS = 20000, MOST = 3000 };

static unsigned draw(unsigned *seed, unsigned below)
{
    *seed = *seed * 1103515245 + 12345;
    return (*seed >> 8) % below;
}

/* Whatever became finished is what the model says. Returns the number. */
static unsigned take_all(struct lintel_client *client, struct model *model, unsigned *order)
{
    struct lintel_finished done;
    uint64_t before = 0;
    unsigned taken = 0;
    int rc;

    while ((rc = lintel_client_next(client, &done, 0)) == 1) {
        assert_true(done.id <= CALLS && model[done.id].open);
        model[done.id].open = 0;
        taken++;
        if (done.status == LINTEL_OK)
            continue;
        assert_int_equal(done.status, LINTEL_E_TIMEOUT);
        assert_true(model[done.id].deadline <= wrap_clock_now());
        assert_true(model[done.id].deadline >= before);
        before = model[done.id].deadline;
        (*order)++;
    }
    assert_int_equal(rc, 0);
    return taken;
}

static void client_keeps_thousands_under_way(void **state)
{
    static struct model model[CALLS + 1];
    struct lintel_stream *server;
    unsigned seed = 7, open = 0, expired = 0, cancelled = 0;
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, NULL, NULL);
    assert_int_equal(lintel_stream_new(&server, peer, peer, NULL, NULL), LINTEL_OK);
    wrap_clock(1000);
    memset(model, 0, sizeof model);
    for (uint32_t last = 0; last < CALLS || open > 0;) {
        struct lintel_frame frame;
        for (unsigned n = draw(&seed, 200); n > 0 && last < CALLS && open < MOST; n--, open++) {
            int ms = draw(&seed, 3) ? (int)draw(&seed, 100000) + 1 : 0;
            assert_int_equal(start(client, "x", ms), ++last);
            model[last].open = 1;
            model[last].deadline = ms ? wrap_clock_now() + (uint64_t)ms : 0;
        }
        if (draw(&seed, 3) == 0) {
            uint32_t id = draw(&seed, last) + 1;
            int rc = lintel_client_cancel(client, id);
            assert_int_equal(rc, model[id].open ? LINTEL_OK : LINTEL_E_USAGE);
            open -= (unsigned)model[id].open;
            cancelled += (unsigned)model[id].open;
            model[id].open = 0;
        }
        wrap_clock_advance(draw(&seed, 500));
        open -= take_all(client, model, &expired);
        while (lintel_stream_recv(server, &frame, 0) == 1)
            continue;
        for (unsigned n = draw(&seed, 300); n > 0 && last > 0; n--) {
            struct lintel_header reply = {LINTEL_REPLY, 7, 0, NULL};
            reply.id = last < CALLS || draw(&seed, 2)
                           ? (last > 2 * MOST ? last - 2 * MOST : 0) + draw(&seed, 2 * MOST)
                           : draw(&seed, CALLS + 1);
            if (reply.id <= last)
                assert_int_equal(lintel_stream_send(server, &reply, "y", 1, 0), LINTEL_OK);
        }
        assert_true(lintel_stream_flush(server, 0) >= 0);
        open -= take_all(client, model, &expired);
        assert_int_equal(lintel_client_calls(client), open);
    }
    assert_true(expired > 100 && cancelled > 10);
    assert_true(lintel_client_memory(client) <= 4096 * 80);
    lintel_client_close(client);
    lintel_stream_close(server);
}

/* ---- failing memory, failing calls, misuse --------------------------------------------------- */

/* A whole conversation, to its end however that comes. Each call that was started is given out
 * once. Returns the last status. */
static int converse(struct lintel_client *client, int peer)
{
    static const char large[] = "0123456789abcdefghij";
    struct lintel_finished done;
    uint32_t started = 0, finished = 0;
    int rc = LINTEL_OK, tries = 0;

    for (int i = 0; i < 20; i++) {
        struct lintel_call call = call_of(i % 5 == 4 ? large : "x", i % 2 ? 1000 : 0);
        call.by_reference = i % 3 == 0;
        rc = lintel_client_start(client, NULL, &call, 0);
        if (rc == LINTEL_OK)
            started++;
    }
    peer_replies(peer, 2, "B");
    peer_says(peer, LINTEL_REPLY | LINTEL_MORE, 7, 1, "a");
    peer_replies(peer, 1, "A");
    peer_says(peer, LINTEL_REPLY | LINTEL_ERROR, 7, 4, "bad");
    peer_says_bye(peer, 1, 5);
    do {
        rc = lintel_client_next(client, &done, 0);
        if (rc == 1)
            finished++;
    } while (rc == 1 || (rc == LINTEL_E_NOMEM && lintel_client_calls(client) > 0 && tries++ < 3) ||
             (rc == 0 && tries++ < 3));
    if (rc < 0 && rc != LINTEL_E_NOMEM)
        assert_int_equal(started, finished);
    return rc;
}

static void client_survives_every_failing_allocation(void **state)
{
    (void)state;
    for (int for_good = 0; for_good < 2; for_good++) {
        long calls = 1;
        for (long n = 0; n <= calls; n++) {
            struct lintel_stream_options stream_options = LINTEL_STREAM_OPTIONS_INIT;
            struct lintel_client_options options = LINTEL_CLIENT_OPTIONS_INIT;
            struct lintel_stream *stream;
            struct lintel_client *client;
            struct failing memory;
            int fds[2], rc;
            failing_init(&memory);
            memory.fail_at = n;
            memory.for_good = for_good;
            stream_options.max_frame = 10;
            stream_options.allocator = &memory.allocator;
            options.allocator = &memory.allocator;
            assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
            rc = lintel_stream_new(&stream, fds[0], fds[0], &stream_options, NULL);
            if (rc == LINTEL_OK)
                rc = lintel_client_new(&client, stream, &options, NULL);
            if (rc == LINTEL_OK) {
                rc = converse(client, fds[1]);
                lintel_client_close(client);
            }
            close(fds[1]);
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

static void client_survives_every_failing_system_call(void **state)
{
    static const struct {
        enum wrap_call call;
        int number;
    } kinds[] = {
        {WRAP_SENDMSG, EPIPE},     {WRAP_SENDMSG, ECONNRESET}, {WRAP_SENDMSG, EAGAIN},
        {WRAP_SENDMSG, EINTR},     {WRAP_SENDMSG, EIO},        {WRAP_RECV, ECONNRESET},
        {WRAP_RECV, EAGAIN},       {WRAP_RECV, EINTR},         {WRAP_RECV, EIO},
        {WRAP_SHUTDOWN, ENOTCONN},
    };

    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        unsigned calls = 1;
        for (unsigned n = 0; n < calls; n++) {
            for (unsigned times = 1; times <= 1000; times *= 1000) {
                struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
                int peer, rc;
                wrap_reset();
                options.max_frame = 10;
                struct lintel_client *client = client_and_peer(&peer, &options, NULL);
                wrap_script(WRAP_SENDMSG, NULL, 0, 100);
                wrap_script(WRAP_RECV, NULL, 0, 20);
                if (kinds[i].number != EINTR || times == 1)
                    wrap_fail(kinds[i].call, n, times, kinds[i].number);
                rc = converse(client, peer);
                assert_true(rc <= 0);
                calls = wrap_count(kinds[i].call) > calls ? wrap_count(kinds[i].call) : calls;
                end(client, peer);
                if (calls > 60)
                    calls = 60;
            }
        }
    }
    wrap_reset();
}

static void client_calls_refuse_null(void **state)
{
    struct lintel_client_options options = LINTEL_CLIENT_OPTIONS_INIT;
    struct lintel_call call = call_of("", 0);
    struct lintel_client_counts counters;
    struct lintel_finished done;
    struct lintel_error error;
    int peer;

    (void)state;
    struct lintel_client *client = client_and_peer(&peer, NULL, NULL);
    assert_int_equal(lintel_client_new(&client, NULL, NULL, &error), LINTEL_E_USAGE);
    options.size++;
    assert_int_equal(lintel_client_new(&client, NULL, &options, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_open(NULL, "bad", 0, NULL, NULL, NULL), LINTEL_E_SYNTAX);
    assert_int_equal(lintel_client_start(NULL, NULL, &call, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_start(client, NULL, NULL, 0), LINTEL_E_USAGE);
    call.payload = NULL;
    call.size = 1;
    assert_int_equal(lintel_client_start(client, NULL, &call, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_next(NULL, &done, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_next(client, NULL, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_call(NULL, &done, &call, 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_call(client, NULL, &call, 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_call(client, &done, NULL, 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_cancel(NULL, 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_cancel(client, 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_client_wants(NULL), 0);
    assert_int_equal(lintel_client_wait_ms(NULL), -1);
    assert_int_equal(lintel_client_calls(NULL), 0);
    assert_int_equal(lintel_client_memory(NULL), 0);
    assert_null(lintel_client_stream(NULL));
    lintel_client_counters(NULL, &counters);
    assert_int_equal(counters.started, 0);
    lintel_client_counters(client, NULL);
    lintel_client_error(NULL, &error);
    assert_int_equal(error.status, LINTEL_OK);
    lintel_client_error(client, NULL);
    lintel_client_close(NULL);
    end(client, peer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(client_pairs_replies_in_any_order, setup),
        cmocka_unit_test_setup(client_gives_an_error_reply_as_an_error, setup),
        cmocka_unit_test_setup(client_drops_and_counts_what_it_did_not_ask_for, setup),
        cmocka_unit_test_setup(client_sends_and_takes_fragments, setup),
        cmocka_unit_test_setup(client_is_the_same_for_every_cut, setup),
        cmocka_unit_test_setup(client_ends_calls_whose_time_is_up, setup),
        cmocka_unit_test_setup(client_gives_a_reply_that_is_there_after_its_time, setup),
        cmocka_unit_test_setup(client_does_not_put_off_the_end_of_a_calls_time, setup),
        cmocka_unit_test_setup(client_ids_begin_again_and_pass_over_open_ones, setup),
        cmocka_unit_test_setup(client_takes_as_many_calls_as_ids, setup),
        cmocka_unit_test_setup(client_limits_bound_calls_and_queue, setup),
        cmocka_unit_test_setup(client_releases_a_payload_exactly_once, setup),
        cmocka_unit_test_setup(client_ends_calls_with_the_connection, setup),
        cmocka_unit_test_setup(client_tells_what_a_bye_leaves_unhandled, setup),
        cmocka_unit_test_setup(client_tells_the_peer_what_was_ill_formed, setup),
        cmocka_unit_test_setup(client_ends_unsent_calls_when_sending_fails, setup),
        cmocka_unit_test_setup(client_ends_unsent_calls_in_a_wait, setup),
        cmocka_unit_test_setup(client_ends_when_memory_fails_inside_a_message, setup),
        cmocka_unit_test_setup(client_takes_replies_in_order_where_there_is_no_id, setup),
        cmocka_unit_test_setup(client_in_order_keeps_no_place_for_what_was_not_sent, setup),
        cmocka_unit_test_setup(client_finds_the_id_of_another_layout, setup),
        cmocka_unit_test_setup(client_does_not_mistake_a_longer_id, setup),
        cmocka_unit_test_setup(client_makes_a_request_like_a_frame, setup),
        cmocka_unit_test_setup(client_call_is_one_request_and_its_reply, setup),
        cmocka_unit_test_setup(client_keeps_thousands_under_way, setup),
        cmocka_unit_test_setup(client_survives_every_failing_allocation, setup),
        cmocka_unit_test_setup(client_survives_every_failing_system_call, setup),
        cmocka_unit_test_setup(client_calls_refuse_null, setup),
        cmocka_unit_test_setup(client_calls_over_a_sealed_stream, setup),
        cmocka_unit_test_setup(client_ends_calls_with_a_broken_seal, setup),
        cmocka_unit_test_setup(client_believes_a_bye_inside_of_a_seal, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
