/* stream: a seal between the frames and the bytes. */
#include "config.h"
#include "lintel/stream.h"

#include "wrap.h"

#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* Ends a child: by another program, which is not looked at for what this one leaves. */
static void end_child(int ok)
{
    (void)execl("/bin/sh", "sh", "-c", ok ? "exit 0" : "exit 1", (char *)NULL);
    _exit(2);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static const char shared_text[] = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= pair\n";
static const char other_text[] = "/wECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8= other\n";
static const struct lintel_header request = {0, 7, 5, NULL};

static struct lintel_seal_keys *psk(enum lintel_seal_role role, enum lintel_seal_mode mode,
                                    const char *text)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;
    struct lintel_error error;

    options.role = role;
    options.mode = mode;
    options.psk = (struct lintel_seal_text){text, strlen(text), "psk"};
    if (lintel_seal_keys_new(&keys, &options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return keys;
}

static struct lintel_seal_keys *ik(enum lintel_seal_role role, const char *key, const char *peer)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;
    struct lintel_error error;

    options.role = role;
    options.key = (struct lintel_seal_text){key, strlen(key), "key"};
    options.peer = (struct lintel_seal_text){peer, strlen(peer), "peer"};
    if (lintel_seal_keys_new(&keys, &options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return keys;
}

/* ---- two ends -------------------------------------------------------------------------------- */

struct world {
    struct lintel_seal_keys *a_keys, *b_keys; /* initiator, responder */
    struct lintel_stream *a, *b;
    struct failing memory;
};

static struct lintel_stream *stream_of(int fd, const struct lintel_seal_keys *keys,
                                       struct failing *memory, const struct lintel_layout *layout)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream = NULL;
    struct lintel_error error;

    options.seal_keys = keys;
    options.layout = layout;
    options.allocator = memory != NULL ? &memory->allocator : NULL;
    if (lintel_stream_new(&stream, fd, fd, &options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return stream;
}

static void make_pair(int fds[2])
{
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
}

static void open_world(struct world *world, enum lintel_seal_mode mode)
{
    int fds[2];

    make_pair(fds);
    failing_init(&world->memory);
    world->a_keys = psk(LINTEL_SEAL_INITIATOR, mode, shared_text);
    world->b_keys = psk(LINTEL_SEAL_RESPONDER, mode, shared_text);
    world->a = stream_of(fds[0], world->a_keys, &world->memory, NULL);
    world->b = stream_of(fds[1], world->b_keys, &world->memory, NULL);
}

static void close_world(struct world *world)
{
    lintel_stream_close(world->a);
    lintel_stream_close(world->b);
    lintel_seal_keys_free(world->a_keys);
    lintel_seal_keys_free(world->b_keys);
    assert_int_equal(world->memory.blocks, 0);
}

/* Both go on, without waiting, until both are done. */
static void shake_hands(struct world *world)
{
    int a = 0, b = 0;

    for (int i = 0; i < 100 && (a != 1 || b != 1); i++) {
        a = lintel_stream_handshake(world->a, 0);
        b = lintel_stream_handshake(world->b, 0);
    }
    assert_int_equal(a, 1);
    assert_int_equal(b, 1);
}

/* The next message, while both ends do what they can. */
static int carry(struct lintel_stream *from, struct lintel_stream *to,
                 struct lintel_message *message)
{
    int rc = 0, i;

    for (i = 0; i < 100000 && rc == 0; i++) {
        (void)!lintel_stream_flush(from, 0);
        rc = lintel_stream_recv_message(to, message, 0);
    }
    return rc;
}

static void expect_message(struct lintel_stream *from, struct lintel_stream *to,
                           const void *payload, size_t size)
{
    struct lintel_message message;

    assert_int_equal(carry(from, to, &message), 1);
    assert_int_equal(message.frame.length, size);
    assert_memory_equal(message.frame.payload, payload, size);
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

static int setup(void **state)
{
    (void)state;
    wrap_reset();
    return 0;
}

/* ---- used like one without ------------------------------------------------------------------- */

static void sealed_stream_carries_messages_of_every_size(void **state)
{
    static const size_t sizes[] = {0,     1,     100,   4096,   32768,  65503,   65504,
                                   65519, 65520, 70000, 262144, 300000, 20000000};
    uint8_t *payload = pattern(20000000);

    (void)state;
    for (int mode = LINTEL_SEAL_MAC; mode <= LINTEL_SEAL_ENCRYPT; mode++) {
        struct world world;
        open_world(&world, (enum lintel_seal_mode)mode);
        for (size_t i = 0; i < COUNT(sizes); i++) {
            assert_int_equal(lintel_stream_send_message(world.a, &request, payload, sizes[i], 0),
                             LINTEL_OK);
            if (i == 0)
                shake_hands(&world);
            expect_message(world.a, world.b, payload, sizes[i]);
            assert_int_equal(lintel_stream_send_message(world.b, &request, payload, sizes[i], 0),
                             LINTEL_OK);
            expect_message(world.b, world.a, payload, sizes[i]);
        }
        close_world(&world);
    }
    free(payload);
}

static void sealed_stream_knows_the_peer(void **state)
{
    char server_key[LINTEL_SEAL_KEY_TEXT + 1], client_key[LINTEL_SEAL_KEY_TEXT + 1];
    char server_public[LINTEL_SEAL_KEY_TEXT + 8], client_public[LINTEL_SEAL_KEY_TEXT + 8];
    struct world world;
    int fds[2];

    (void)state;
    assert_int_equal(lintel_seal_key_new(server_key, NULL), LINTEL_OK);
    assert_int_equal(lintel_seal_key_new(client_key, NULL), LINTEL_OK);
    struct lintel_seal_text text = {server_key, strlen(server_key), NULL};
    assert_int_equal(lintel_seal_key_public(server_public, &text, NULL), LINTEL_OK);
    text = (struct lintel_seal_text){client_key, strlen(client_key), NULL};
    assert_int_equal(lintel_seal_key_public(client_public, &text, NULL), LINTEL_OK);
    strcat(client_public, " carol");
    make_pair(fds);
    failing_init(&world.memory);
    world.a_keys = ik(LINTEL_SEAL_INITIATOR, client_key, server_public);
    world.b_keys = ik(LINTEL_SEAL_RESPONDER, server_key, client_public);
    world.a = stream_of(fds[0], world.a_keys, &world.memory, NULL);
    world.b = stream_of(fds[1], world.b_keys, &world.memory, NULL);
    assert_null(lintel_seal_id(lintel_stream_seal(world.b)));
    shake_hands(&world);
    assert_string_equal(lintel_seal_peer_name(lintel_stream_seal(world.b)), "carol");
    assert_memory_equal(lintel_seal_id(lintel_stream_seal(world.a)),
                        lintel_seal_id(lintel_stream_seal(world.b)), LINTEL_SEAL_ID_SIZE);
    assert_null(lintel_stream_seal(NULL));
    close_world(&world);
}

static void sealed_stream_serves_a_foreign_layout(void **state)
{
    struct lintel_layout *layout = make_layout("postgres");
    struct lintel_header header = {0};
    struct lintel_frame frame;
    struct world world;
    int fds[2], rc = 0;

    (void)state;
    make_pair(fds);
    failing_init(&world.memory);
    world.a_keys = psk(LINTEL_SEAL_INITIATOR, LINTEL_SEAL_ENCRYPT, shared_text);
    world.b_keys = psk(LINTEL_SEAL_RESPONDER, LINTEL_SEAL_ENCRYPT, shared_text);
    world.a = stream_of(fds[0], world.a_keys, &world.memory, layout);
    world.b = stream_of(fds[1], world.b_keys, &world.memory, layout);
    header.like = &(struct lintel_frame){.header = (const uint8_t *)"Q\0\0\0\4", .header_size = 5};
    assert_int_equal(lintel_stream_send(world.a, &header, "select 1;", 10, 0), LINTEL_OK);
    shake_hands(&world);
    assert_int_equal(lintel_stream_shutdown(world.a, 0), 1);
    while (rc == 0)
        rc = lintel_stream_recv(world.b, &frame, 0);
    assert_int_equal(rc, 1);
    assert_int_equal(frame.length, 10);
    assert_int_equal(lintel_stream_recv(world.b, &frame, 0), LINTEL_E_END);
    assert_int_equal(lintel_stream_bye(world.b, LINTEL_BYE_DONE, 0), 1);
    assert_int_equal(lintel_stream_recv(world.a, &frame, 0), LINTEL_E_END);
    close_world(&world);
    lintel_layout_free(layout);
}

/* Views of one recv live until the next, although a send that waits receives ahead meanwhile. */
static void sealed_views_outlive_a_send_that_receives(void **state)
{
    static uint8_t much[100000];
    struct lintel_frame frame;
    struct world world;
    int rc;

    (void)state;
    open_world(&world, LINTEL_SEAL_ENCRYPT);
    shake_hands(&world);
    assert_int_equal(lintel_stream_send(world.b, &request, "a view", 6, 0), LINTEL_OK);
    for (int i = 0; i < 20; i++)
        assert_int_equal(lintel_stream_send(world.b, &request, much, 3000, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(world.b, 0), 1);
    while ((rc = lintel_stream_recv(world.a, &frame, 0)) == 0)
        ;
    assert_int_equal(rc, 1);
    /* a blocks in a send while b sends more: a receives ahead, and the view stays. */
    wrap_clock(1000);
    for (int i = 0; i < 10; i++) {
        (void)!lintel_stream_send(world.b, &request, much, sizeof much, 0);
        (void)!lintel_stream_flush(world.b, 0);
        rc = lintel_stream_send_message(world.a, &request, much, sizeof much, 20);
        assert_true(rc == LINTEL_OK || rc == LINTEL_E_TIMEOUT);
        assert_memory_equal(frame.payload, "a view", 6);
    }
    close_world(&world);
}

/* ---- cuts ------------------------------------------------------------------------------------ */

/* Every size of a write, with EAGAIN in between, and of a read: the bytes are the same. */
static void sealed_stream_goes_on_from_every_cut(void **state)
{
    uint8_t *payload = pattern(700);

    (void)state;
    for (int most = 1; most <= 130; most++) {
        struct world world;
        int script[400];
        for (size_t i = 0; i < COUNT(script); i++)
            script[i] = i % 3 == 1 ? -EAGAIN : most;
        wrap_reset();
        open_world(&world, most % 2 ? LINTEL_SEAL_ENCRYPT : LINTEL_SEAL_MAC);
        wrap_script(WRAP_SENDMSG, script, COUNT(script), most);
        wrap_script(WRAP_RECV, NULL, 0, most % 61 + 1);
        assert_int_equal(lintel_stream_send(world.a, &request, payload, 700, 0), LINTEL_OK);
        for (int i = 0; i < 2000; i++) {
            (void)!lintel_stream_handshake(world.a, 0);
            (void)!lintel_stream_handshake(world.b, 0);
        }
        expect_message(world.a, world.b, payload, 700);
        assert_int_equal(lintel_stream_send(world.b, &request, payload, 700, 0), LINTEL_OK);
        expect_message(world.b, world.a, payload, 700);
        close_world(&world);
    }
    free(payload);
}

/* Blocking calls on both sides, in two processes: each waits for what it needs. */
static void sealed_stream_works_with_blocking_calls(void **state)
{
    (void)state;
    for (int first = 0; first < 2; first++) {
        int fds[2], status;
        make_pair(fds);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct lintel_seal_keys *keys =
                psk(LINTEL_SEAL_RESPONDER, LINTEL_SEAL_ENCRYPT, shared_text);
            struct lintel_message message;
            close(fds[0]);
            struct lintel_stream *stream = stream_of(fds[1], keys, NULL, NULL);
            int ok = 1;
            /* A server that speaks first waits for the handshake. */
            if (first)
                ok = lintel_stream_send(stream, &request, "hello", 5, -1) == LINTEL_OK &&
                     lintel_stream_flush(stream, -1) == 1;
            while (ok && lintel_stream_recv_message(stream, &message, -1) == 1)
                ok = lintel_stream_send_message(stream, &message.header, message.frame.payload,
                                                message.frame.length, -1) == LINTEL_OK;
            ok = ok && lintel_stream_shutdown(stream, -1) == 1;
            end_child(ok);
        }
        struct lintel_seal_keys *keys =
            psk(LINTEL_SEAL_INITIATOR, LINTEL_SEAL_ENCRYPT, shared_text);
        struct lintel_message message;
        close(fds[1]);
        struct lintel_stream *stream = stream_of(fds[0], keys, NULL, NULL);
        if (first) {
            assert_int_equal(lintel_stream_recv_message(stream, &message, -1), 1);
            assert_memory_equal(message.frame.payload, "hello", 5);
        }
        uint8_t *payload = pattern(3000000);
        assert_int_equal(lintel_stream_send_message(stream, &request, payload, 3000000, -1),
                         LINTEL_OK);
        assert_int_equal(lintel_stream_recv_message(stream, &message, -1), 1);
        assert_int_equal(message.frame.length, 3000000);
        assert_memory_equal(message.frame.payload, payload, 3000000);
        assert_int_equal(lintel_stream_shutdown(stream, -1), 1);
        assert_int_equal(lintel_stream_recv_message(stream, &message, -1), LINTEL_E_END);
        lintel_stream_close(stream);
        lintel_seal_keys_free(keys);
        free(payload);
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
}

/* ---- what goes over the wire ----------------------------------------------------------------- */

/* A responder without a stream: its session over a descriptor, and the lengths of the records. */
struct raw {
    struct lintel_seal *seal;
    int fd;
    uint8_t in[1 << 20];
    size_t head, tail;
    size_t lengths[64], count;
    int lasts;
};

static void raw_write(struct raw *raw, const void *bytes, size_t size)
{
    assert_int_equal(write(raw->fd, bytes, size), (ssize_t)size);
}

static void raw_record(struct raw *raw, const void *piece, size_t size, int last)
{
    uint8_t out[LINTEL_SEAL_RECORD_MAX];
    size_t length;

    assert_int_equal(
        lintel_seal_put_record(raw->seal, out, sizeof out, &length, piece, size, last, NULL),
        LINTEL_OK);
    raw_write(raw, out, length);
}

/* Take what has come: answer a HELLO, note records. */
static void raw_take(struct raw *raw)
{
    struct lintel_seal_item item;
    uint8_t out[LINTEL_SEAL_HELLO_MAX];
    size_t size;
    ssize_t got;
    int rc;

    while ((got = recv(raw->fd, raw->in + raw->tail, sizeof raw->in - raw->tail, MSG_DONTWAIT)) > 0)
        raw->tail += (size_t)got;
    while ((rc = lintel_seal_next(raw->seal, &item, raw->in + raw->head, raw->tail - raw->head,
                                  NULL)) == 1) {
        raw->head += item.used;
        if (item.kind == LINTEL_SEAL_HELLO && lintel_seal_due(raw->seal) == LINTEL_SEAL_DUE_HELLO) {
            assert_int_equal(lintel_seal_put_hello(raw->seal, out, sizeof out, &size, NULL),
                             LINTEL_OK);
            raw_write(raw, out, size);
        }
        if (item.kind == LINTEL_SEAL_HELLO)
            continue;
        raw->lasts += item.kind == LINTEL_SEAL_LAST;
        raw->lengths[raw->count++] = item.size;
    }
    assert_int_equal(rc, 0);
}

static struct lintel_stream *open_raw(struct raw *raw, struct lintel_seal_keys *keys[2],
                                      struct failing *memory)
{
    struct lintel_stream *stream;
    int fds[2], one = 1 << 20;

    make_pair(fds);
    (void)setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &one, sizeof one);
    memset(raw, 0, sizeof *raw);
    keys[0] = psk(LINTEL_SEAL_INITIATOR, LINTEL_SEAL_ENCRYPT, shared_text);
    keys[1] = psk(LINTEL_SEAL_RESPONDER, LINTEL_SEAL_ENCRYPT, shared_text);
    raw->fd = fds[1];
    assert_int_equal(lintel_seal_new(&raw->seal, keys[1], NULL, NULL), LINTEL_OK);
    failing_init(memory);
    stream = stream_of(fds[0], keys[0], memory, NULL);
    for (int i = 0; i < 10 && lintel_stream_handshake(stream, 0) != 1; i++)
        raw_take(raw);
    raw_take(raw);
    return stream;
}

static void close_raw(struct raw *raw, struct lintel_stream *stream,
                      struct lintel_seal_keys *keys[2], struct failing *memory)
{
    lintel_stream_close(stream);
    lintel_seal_free(raw->seal);
    close(raw->fd);
    lintel_seal_keys_free(keys[0]);
    lintel_seal_keys_free(keys[1]);
    assert_int_equal(memory->blocks, 0);
}

static void sealed_stream_sends_record_0_at_once(void **state)
{
    static struct raw raw;
    struct lintel_seal_keys *keys[2];
    struct failing memory;

    (void)state;
    struct lintel_stream *stream = open_raw(&raw, keys, &memory);
    assert_int_equal(raw.count, 1);
    assert_int_equal(raw.lengths[0], 0);
    assert_int_equal(lintel_seal_state(raw.seal), LINTEL_SEAL_R2);
    close_raw(&raw, stream, keys, &memory);
}

/* As few records as it takes, cut where frames end where that costs none more. */
static void sealed_stream_cuts_records_at_frames(void **state)
{
    static const struct {
        size_t frames[8], records[8];
    } cases[] = {
        {{10, 20, 30}, {10 + 20 + 30 + 48}},
        {{40000, 40000}, {40016, 40016}},
        {{40000, 40000, 40000}, {65519, 54529}},
        {{65503}, {65519}},
        {{65504}, {65519, 1}},
        {{60000, 60000, 60000}, {60016, 60016, 60016}},
        {{100000, 10}, {65519, 34523}},
        {{30000, 30000, 30000, 30000}, {60032, 60032}},
        {{70000, 50000, 50000}, {65519, 54513, 50016}},
    };
    static struct raw raw;
    static uint8_t payload[100000];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_seal_keys *keys[2];
        struct failing memory;
        size_t records = 0;
        struct lintel_stream *stream = open_raw(&raw, keys, &memory);
        raw.count = 0;
        for (size_t f = 0; f < 8 && cases[i].frames[f] > 0; f++) {
            /* Behind a write that would wait frames are gathered, whatever their size. */
            wrap_fail(WRAP_SENDMSG, 0, 1, EAGAIN);
            assert_int_equal(lintel_stream_send_ref(stream, &request, payload, cases[i].frames[f],
                                                    NULL, NULL, 0),
                             LINTEL_OK);
        }
        wrap_reset();
        for (int n = 0; n < 100 && lintel_stream_flush(stream, 0) == 0; n++)
            raw_take(&raw);
        raw_take(&raw);
        while (records < 8 && cases[i].records[records] > 0)
            records++;
        assert_int_equal(raw.count, records);
        for (size_t r = 0; r < records; r++)
            assert_int_equal(raw.lengths[r], cases[i].records[r]);
        close_raw(&raw, stream, keys, &memory);
    }
}

static void sealed_stream_ends_with_a_last_record(void **state)
{
    static struct raw raw;
    struct lintel_seal_keys *keys[2];
    struct lintel_frame frame;
    struct failing memory;

    (void)state;
    /* The last record has what was queued, or is empty. */
    for (int with = 0; with < 2; with++) {
        struct lintel_stream *stream = open_raw(&raw, keys, &memory);
        raw.count = 0;
        if (with)
            assert_int_equal(lintel_stream_send(stream, &request, "x", 1, 0), LINTEL_OK);
        assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
        raw_take(&raw);
        assert_int_equal(raw.count, 1);
        assert_int_equal(raw.lengths[0], with ? 17 : 0);
        assert_int_equal(raw.lasts, 1);
        assert_int_equal(lintel_stream_recv(stream, &frame, 0), 0);
        raw_record(&raw, "", 0, 1);
        assert_int_equal(lintel_stream_recv(stream, &frame, 0), LINTEL_E_END);
        close_raw(&raw, stream, keys, &memory);
    }
}

static void sealed_stream_tells_the_ways_to_end(void **state)
{
    static const uint8_t half[] = {'L', 'T', 1, 0, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0, 9, 'x'};
    static const struct {
        size_t piece; /* bytes of half an inner frame; 0: none */
        int last;     /* in a last record */
        int tail;     /* bytes behind it */
        int status;
    } cases[] = {
        {0, 0, 0, LINTEL_E_TRUNCATED}, {sizeof half, 0, 0, LINTEL_E_TRUNCATED},
        {0, 1, 0, LINTEL_E_END},       {sizeof half, 1, 0, LINTEL_E_TRUNCATED},
        {0, 1, 1, LINTEL_E_SEAL},      {sizeof half, 1, 40, LINTEL_E_SEAL},
    };
    static struct raw raw;
    struct lintel_seal_keys *keys[2];
    struct lintel_frame frame;
    struct failing memory;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_stream *stream = open_raw(&raw, keys, &memory);
        int rc = 0;
        if (cases[i].piece > 0 || cases[i].last)
            raw_record(&raw, half, cases[i].piece, cases[i].last);
        if (cases[i].tail > 0)
            raw_write(&raw, raw.in, (size_t)cases[i].tail);
        assert_int_equal(shutdown(raw.fd, SHUT_WR), 0);
        for (int n = 0; n < 10 && rc == 0; n++)
            rc = lintel_stream_recv(stream, &frame, 0);
        assert_int_equal(rc, cases[i].status);
        assert_int_equal(lintel_stream_recv(stream, &frame, 0), cases[i].status);
        /* A truncation is not answered, nor is a failure. */
        raw.count = 0;
        if (cases[i].status != LINTEL_E_END)
            assert_int_equal(lintel_stream_bye(stream, LINTEL_BYE_MALFORMED, 0), cases[i].status);
        while (cases[i].tail == 0 && recv(raw.fd, raw.in, sizeof raw.in, MSG_DONTWAIT) > 0)
            fail_msg("case %zu is answered", i);
        close_raw(&raw, stream, keys, &memory);
    }
}

/* A last record that leaves a frame or a message unfinished is answered by no record, and what
 * waits to be written is lost. */
static void sealed_stream_says_nothing_to_what_is_unfinished(void **state)
{
    static const uint8_t half[] = {'L', 'T', 1, 0, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0, 9, 'x'};
    static const uint8_t more[] = {'L', 'T', 1, 4, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0, 1, 'x'};
    static const uint8_t *const pieces[] = {half, more};
    static struct raw raw;
    struct lintel_counters before, after;
    struct lintel_seal_keys *keys[2];
    struct lintel_message message;
    struct failing memory;
    uint64_t frames;

    (void)state;
    for (size_t i = 0; i < COUNT(pieces); i++) {
        struct lintel_stream *stream = open_raw(&raw, keys, &memory);
        int rc = 0;
        raw_record(&raw, pieces[i], sizeof half, 1);
        lintel_stream_counters(stream, &before);
        assert_int_equal(lintel_stream_send(stream, &request, "reply", 5, 0), LINTEL_OK);
        for (int n = 0; n < 10 && rc == 0; n++)
            rc = lintel_stream_recv_message(stream, &message, 0);
        assert_int_equal(rc, LINTEL_E_TRUNCATED);
        assert_int_equal(lintel_stream_flush(stream, 0), LINTEL_E_TRUNCATED);
        assert_int_equal(lintel_stream_shutdown(stream, 0), LINTEL_E_TRUNCATED);
        lintel_stream_counters(stream, &after);
        assert_int_equal(after.bytes_out, before.bytes_out);
        lintel_stream_unsent(stream, &frames, NULL);
        assert_int_equal(frames, 1);
        assert_int_equal(lintel_stream_recv_message(stream, &message, 0), LINTEL_E_TRUNCATED);
        close_raw(&raw, stream, keys, &memory);
    }
}

/* What verified before is given out; then the error, in both directions, and nothing goes out. */
static void sealed_stream_ends_at_what_does_not_verify(void **state)
{
    static const uint8_t frame_bytes[] = {'L', 'T', 1, 0, 0, 0, 0, 7, 0, 0, 0, 5, 0, 0, 0, 1, 'x'};
    static struct raw raw;
    struct lintel_seal_keys *keys[2];
    struct lintel_frame frame;
    struct failing memory;
    uint64_t frames;

    (void)state;
    for (size_t bit = 0; bit < 8 * (sizeof frame_bytes + LINTEL_SEAL_OVERHEAD); bit++) {
        struct lintel_stream *stream = open_raw(&raw, keys, &memory);
        uint8_t out[200];
        size_t size;
        int rc = 0;
        raw_record(&raw, frame_bytes, sizeof frame_bytes, 0);
        assert_int_equal(lintel_seal_put_record(raw.seal, out, sizeof out, &size, frame_bytes,
                                                sizeof frame_bytes, 0, NULL),
                         LINTEL_OK);
        out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        raw_write(&raw, out, size);
        assert_int_equal(shutdown(raw.fd, SHUT_WR), 0);
        assert_int_equal(lintel_stream_send(stream, &request, "unsent", 6, 0), LINTEL_OK);
        for (int n = 0; n < 10 && rc == 0; n++)
            rc = lintel_stream_recv(stream, &frame, 0);
        assert_int_equal(rc, 1);
        rc = lintel_stream_recv(stream, &frame, 0);
        assert_true(rc == LINTEL_E_SEAL || rc == LINTEL_E_TRUNCATED);
        assert_int_equal(lintel_stream_flush(stream, 0), rc);
        assert_int_equal(lintel_stream_send(stream, &request, "x", 1, 0), rc);
        lintel_stream_unsent(stream, &frames, NULL);
        assert_int_equal(frames, 1);
        raw_take(&raw);
        assert_int_equal(raw.count, 1);
        close_raw(&raw, stream, keys, &memory);
    }
}

/* ---- handshakes that fail -------------------------------------------------------------------- */

static void sealed_stream_refuses_another_key(void **state)
{
    struct lintel_frame frame;
    struct world world;
    int a = 0, b = 0, fds[2];

    (void)state;
    make_pair(fds);
    failing_init(&world.memory);
    world.a_keys = psk(LINTEL_SEAL_INITIATOR, LINTEL_SEAL_ENCRYPT, other_text);
    world.b_keys = psk(LINTEL_SEAL_RESPONDER, LINTEL_SEAL_ENCRYPT, shared_text);
    world.a = stream_of(fds[0], world.a_keys, &world.memory, NULL);
    world.b = stream_of(fds[1], world.b_keys, &world.memory, NULL);
    for (int i = 0; i < 10 && (a == 0 || b == 0); i++) {
        a = a == 0 ? lintel_stream_handshake(world.a, 0) : a;
        b = b == 0 ? lintel_stream_handshake(world.b, 0) : b;
    }
    assert_int_equal(b, LINTEL_E_SEAL);
    expect_text(world.b, LINTEL_E_SEAL, "fits no shared key");
    assert_int_equal(a, LINTEL_E_REFUSED);
    expect_text(world.a, LINTEL_E_REFUSED, "the peer said, unauthenticated: not authenticated");
    assert_int_equal(lintel_stream_recv(world.a, &frame, 0), LINTEL_E_REFUSED);
    assert_int_equal(lintel_stream_send(world.a, &request, "x", 1, 0), LINTEL_E_REFUSED);
    close_world(&world);
}

static void sealed_stream_refuses_plain_peers(void **state)
{
    struct lintel_message message;
    struct lintel_stream *plain;
    struct world world;
    uint32_t reason;
    int fds[2], rc = 0;

    (void)state;
    make_pair(fds);
    failing_init(&world.memory);
    struct lintel_seal_keys *keys = psk(LINTEL_SEAL_RESPONDER, LINTEL_SEAL_ENCRYPT, shared_text);
    struct lintel_stream *sealed = stream_of(fds[0], keys, &world.memory, NULL);
    plain = stream_of(fds[1], NULL, &world.memory, NULL);
    assert_int_equal(lintel_stream_send(plain, &request, "plain", 5, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(plain, 0), 1);
    rc = lintel_stream_recv_message(sealed, &message, 0);
    assert_int_equal(rc, LINTEL_E_SEAL);
    rc = lintel_stream_recv_message(plain, &message, 0);
    assert_int_equal(rc, LINTEL_E_REFUSED);
    assert_int_equal(lintel_stream_peer_bye(plain, &reason, NULL), 1);
    assert_int_equal(reason, LINTEL_BYE_NOT_AUTHENTICATED);
    lintel_stream_close(sealed);
    lintel_stream_close(plain);
    lintel_seal_keys_free(keys);
    assert_int_equal(world.memory.blocks, 0);
}

static void sealed_client_never_falls_back(void **state)
{
    struct lintel_message message;
    struct world world;
    int fds[2], rc = 0;

    (void)state;
    make_pair(fds);
    failing_init(&world.memory);
    struct lintel_seal_keys *keys = psk(LINTEL_SEAL_INITIATOR, LINTEL_SEAL_ENCRYPT, shared_text);
    struct lintel_stream *sealed = stream_of(fds[0], keys, &world.memory, NULL);
    struct lintel_stream *plain = stream_of(fds[1], NULL, &world.memory, NULL);
    assert_int_equal(lintel_stream_send(sealed, &request, "secret", 6, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(sealed, 0), 0);
    rc = lintel_stream_recv_message(plain, &message, 0);
    assert_int_equal(rc, LINTEL_E_SEAL);
    for (rc = 0; rc == 0;)
        rc = lintel_stream_recv_message(sealed, &message, 0);
    assert_int_equal(rc, LINTEL_E_REFUSED);
    expect_text(sealed, LINTEL_E_REFUSED, "unauthenticated");
    lintel_stream_close(sealed);
    lintel_stream_close(plain);
    lintel_seal_keys_free(keys);
}

static void sealed_handshake_has_a_deadline(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, LINTEL_SEAL_ENCRYPT);
    wrap_clock(1000);
    assert_int_equal(lintel_stream_handshake(world.a, 50), LINTEL_E_TIMEOUT);
    expect_text(world.a, LINTEL_E_TIMEOUT, "handshake");
    assert_int_equal(wrap_clock_now(), 1050);
    assert_int_equal(lintel_stream_send(world.a, &request, "x", 1, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(world.a, 50), LINTEL_E_TIMEOUT);
    shake_hands(&world);
    expect_message(world.a, world.b, "x", 1);
    close_world(&world);
}

/* A loop is told to wait for input while frames wait for the handshake, not for room. */
static void sealed_stream_does_not_spin_in_the_handshake(void **state)
{
    struct world world;

    (void)state;
    open_world(&world, LINTEL_SEAL_ENCRYPT);
    assert_int_equal(lintel_stream_send(world.a, &request, "x", 1, 0), LINTEL_OK);
    assert_true(lintel_stream_wants(world.a) & LINTEL_WANT_WRITE);
    assert_int_equal(lintel_stream_flush(world.a, 0), 0);
    assert_int_equal(lintel_stream_wants(world.a), LINTEL_WANT_READ);
    assert_int_equal(lintel_stream_send(world.b, &request, "y", 1, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_wants(world.b), LINTEL_WANT_READ);
    shake_hands(&world);
    close_world(&world);
}

/* ---- with other options ---------------------------------------------------------------------- */

/* The same options on both sides but for the keys. */
static void open_with(struct world *world, struct lintel_stream_options options)
{
    struct lintel_error error;
    int fds[2];

    make_pair(fds);
    failing_init(&world->memory);
    options.allocator = &world->memory.allocator;
    world->a_keys = psk(LINTEL_SEAL_INITIATOR, LINTEL_SEAL_ENCRYPT, shared_text);
    world->b_keys = psk(LINTEL_SEAL_RESPONDER, LINTEL_SEAL_ENCRYPT, shared_text);
    options.seal_keys = world->a_keys;
    if (lintel_stream_new(&world->a, fds[0], fds[0], &options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    options.seal_keys = world->b_keys;
    if (lintel_stream_new(&world->b, fds[1], fds[1], &options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    shake_hands(world);
}

/* Pieces of frames with a trailer, which records cut anywhere. */
static void sealed_stream_gives_pieces_of_a_foreign_layout(void **state)
{
    static const size_t sizes[] = {0, 1, 65511, 65512, 65519, 300000};
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_layout *layout = make_layout("amqp");
    const struct lintel_frame like = {.header = (const uint8_t *)"\3\0\7\0\0\0",
                                      .header_size = 7,
                                      .trailer = (const uint8_t *)"\xce",
                                      .trailer_size = 1};
    const struct lintel_header header = {.like = &like};
    uint8_t *payload = pattern(300000), *got = malloc(300000);
    struct lintel_piece pieces[4];
    struct world world;

    (void)state;
    options.layout = layout;
    open_with(&world, options);
    assert_non_null(got);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        size_t size = 0;
        int last = 0, rc;
        assert_int_equal(lintel_stream_send(world.a, &header, payload, sizes[i], 0), LINTEL_OK);
        for (int turns = 0; !last && turns < 100000; turns++) {
            (void)!lintel_stream_flush(world.a, 0);
            rc = lintel_stream_recv_pieces(world.b, pieces, COUNT(pieces), 0);
            assert_true(rc >= 0);
            for (int p = 0; p < rc; p++) {
                assert_int_equal(pieces[p].position, size);
                memcpy(got + size, pieces[p].bytes, pieces[p].size);
                size += pieces[p].size;
                last = pieces[p].last;
                if (last)
                    assert_int_equal(pieces[p].trailer[0], 0xce);
            }
        }
        assert_true(last);
        assert_int_equal(size, sizes[i]);
        assert_memory_equal(got, payload, size);
    }
    close_world(&world);
    lintel_layout_free(layout);
    free(payload);
    free(got);
}

static void note_trace(void *user, char direction, const struct lintel_frame *frame)
{
    char *text = user;
    size_t used = strlen(text);

    snprintf(text + used, 200 - used, "%c%zu ", direction, frame->length);
}

/* The hook sees the frames, not the records. */
static void sealed_stream_shows_inner_frames_to_the_hook(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    char text[200] = "";
    struct world world;

    (void)state;
    options.trace = note_trace;
    options.trace_user = text;
    open_with(&world, options);
    assert_string_equal(text, "");
    assert_int_equal(lintel_stream_send(world.a, &request, "four", 4, 0), LINTEL_OK);
    expect_message(world.a, world.b, "four", 4);
    assert_int_equal(lintel_stream_shutdown(world.a, 0), 1);
    assert_string_equal(text, ">4 <4 ");
    close_world(&world);
}

/* A record that comes in drips has the time of a frame, from its first byte. */
static void sealed_record_that_drips_is_cut(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_frame frame;
    struct world world;
    int rc = 0;

    (void)state;
    wrap_clock(1000);
    options.frame_timeout_ms = 1000;
    open_with(&world, options);
    assert_int_equal(lintel_stream_recv(world.b, &frame, 0), 0);
    assert_int_equal(lintel_stream_send(world.a, &request, "drip", 4, 0), LINTEL_OK);
    for (int i = 0; i < 30 && rc == 0; i++) {
        int drips[] = {1, -EAGAIN};
        wrap_script(WRAP_SENDMSG, drips, COUNT(drips), -EAGAIN);
        (void)!lintel_stream_flush(world.a, 0);
        rc = lintel_stream_recv(world.b, &frame, 0);
        assert_true(i < 11 || rc != 0);
        wrap_clock_advance(100);
    }
    assert_int_equal(rc, LINTEL_E_TIMEOUT);
    close_world(&world);
}

/* What is over a limit inside is that, whatever carries it; the peer is told inside. */
static void sealed_stream_keeps_the_limits_of_messages(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    static const struct lintel_header more = {LINTEL_MORE, 7, 5, NULL};
    struct lintel_message message;
    static uint8_t payload[3000];
    struct world world;
    uint32_t reason;

    (void)state;
    options.max_message = 5000;
    options.max_frame = 4000;
    open_with(&world, options);
    assert_int_equal(lintel_stream_send(world.a, &more, payload, 3000, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_send(world.a, &request, payload, 3000, 0), LINTEL_OK);
    assert_int_equal(carry(world.a, world.b, &message), LINTEL_E_TOO_LARGE);
    assert_int_equal(carry(world.b, world.a, &message), LINTEL_E_REFUSED);
    assert_int_equal(lintel_stream_peer_bye(world.a, &reason, NULL), 1);
    assert_int_equal(reason, LINTEL_BYE_TOO_LARGE);
    close_world(&world);
}

/* A send that waits receives ahead no more than the budget. */
static void sealed_stream_receives_ahead_within_its_budget(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    static uint8_t payload[200000];
    struct world world;
    int rc;

    (void)state;
    options.max_memory = 300000;
    options.max_frame = sizeof payload;
    open_with(&world, options);
    wrap_clock(1000);
    for (int i = 0; i < 20; i++) {
        (void)!lintel_stream_send(world.b, &request, payload, sizeof payload, 0);
        (void)!lintel_stream_flush(world.b, 0);
        rc = lintel_stream_send(world.a, &request, payload, sizeof payload, 20);
        assert_true(rc == LINTEL_OK || rc == LINTEL_E_TIMEOUT);
        (void)!lintel_stream_flush(world.a, 20);
    }
    /* Of 4 MB that are sent to it: the budget, doubled to a capacity, and what it sends itself. */
    assert_true(lintel_stream_memory(world.a) < 1500000);
    close_world(&world);
}

/* Two pipes in the place of a socket. */
static void sealed_stream_works_over_pipes(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_frame frame;
    struct world world;
    int there[2], back[2], rc = 0;

    (void)state;
    assert_int_equal(pipe(there), 0);
    assert_int_equal(pipe(back), 0);
    failing_init(&world.memory);
    options.allocator = &world.memory.allocator;
    world.a_keys = psk(LINTEL_SEAL_INITIATOR, LINTEL_SEAL_MAC, shared_text);
    world.b_keys = psk(LINTEL_SEAL_RESPONDER, LINTEL_SEAL_MAC, shared_text);
    options.seal_keys = world.a_keys;
    for (int i = 0; i < 2; i++) {
        assert_int_equal(fcntl(there[i], F_SETFL, O_NONBLOCK), 0);
        assert_int_equal(fcntl(back[i], F_SETFL, O_NONBLOCK), 0);
    }
    assert_int_equal(lintel_stream_new(&world.a, back[0], there[1], &options, NULL), LINTEL_OK);
    options.seal_keys = world.b_keys;
    assert_int_equal(lintel_stream_new(&world.b, there[0], back[1], &options, NULL), LINTEL_OK);
    shake_hands(&world);
    uint8_t *payload = pattern(500000);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(lintel_stream_send_message(world.a, &request, payload, 500000, 0),
                         LINTEL_OK);
        expect_message(world.a, world.b, payload, 500000);
        assert_int_equal(lintel_stream_send_message(world.b, &request, payload, 500000, 0),
                         LINTEL_OK);
        expect_message(world.b, world.a, payload, 500000);
    }
    assert_int_equal(lintel_stream_shutdown(world.a, 0), 1);
    while (rc == 0)
        rc = lintel_stream_recv(world.b, &frame, 0);
    assert_int_equal(rc, LINTEL_E_END);
    assert_int_equal(lintel_stream_shutdown(world.b, 0), 1);
    assert_int_equal(lintel_stream_recv(world.a, &frame, 0), LINTEL_E_END);
    close_world(&world);
    free(payload);
}

/* ---- processes ------------------------------------------------------------------------------- */

static void sealed_stream_is_of_one_process(void **state)
{
    struct lintel_frame frame;
    struct world world;
    int status;

    (void)state;
    open_world(&world, LINTEL_SEAL_ENCRYPT);
    shake_hands(&world);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* Every call but close answers an error, and close writes nothing. */
        int ok = lintel_stream_recv(world.a, &frame, 0) == LINTEL_E_USAGE;
        ok = ok && lintel_stream_flush(world.a, 0) < 0;
        ok = ok && lintel_stream_send(world.a, &request, "x", 1, 0) < 0;
        lintel_stream_close(world.a);
        end_child(ok);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_int_equal(lintel_stream_recv(world.b, &frame, 0), 0);
    assert_int_equal(lintel_stream_send(world.a, &request, "still", 5, 0), LINTEL_OK);
    expect_message(world.a, world.b, "still", 5);
    close_world(&world);
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void sealed_stream_is_cheap_when_idle(void **state)
{
    struct world world;
    uint8_t *payload = pattern(500000);

    (void)state;
    open_world(&world, LINTEL_SEAL_ENCRYPT);
    shake_hands(&world);
    assert_int_equal(lintel_stream_send_message(world.a, &request, payload, 500000, 0), LINTEL_OK);
    expect_message(world.a, world.b, payload, 500000);
    struct lintel_frame frame;
    assert_int_equal(lintel_stream_recv(world.a, &frame, 0), 0);
    lintel_stream_trim(world.a);
    assert_int_equal(lintel_stream_memory(world.a), 0);
    /* The stream, its seal and what belongs to it; the keys are shared. */
    size_t live = world.memory.live;
    lintel_stream_close(world.a);
    world.a = NULL;
    print_message("%zu bytes\n", live - world.memory.live);
    assert_true(live - world.memory.live <= 512 + 330);
    close_world(&world);
    free(payload);
}

/* Law 2: what is held of records is what has come, from 4 KiB on. */
static void sealed_stream_grows_with_what_arrives(void **state)
{
    static const int few[] = {100, 100, 100};
    static uint8_t payload[65000];
    struct lintel_frame frame;
    struct world world;

    (void)state;
    open_world(&world, LINTEL_SEAL_ENCRYPT);
    shake_hands(&world);
    lintel_stream_trim(world.b);
    wrap_fail(WRAP_SENDMSG, 0, 1, EAGAIN);
    assert_int_equal(lintel_stream_send(world.a, &request, payload, sizeof payload, 0), LINTEL_OK);
    wrap_reset();
    wrap_script(WRAP_SENDMSG, few, COUNT(few), -EAGAIN);
    (void)!lintel_stream_flush(world.a, 0);
    wrap_reset();
    assert_int_equal(lintel_stream_recv(world.b, &frame, 0), 0);
    assert_true(lintel_stream_memory(world.b) < 20 * 1024);
    expect_message(world.a, world.b, payload, sizeof payload);
    close_world(&world);
}

static int whole_session(struct failing *memory, const struct lintel_seal_keys *a_keys,
                         const struct lintel_seal_keys *b_keys)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *streams[2] = {NULL, NULL};
    struct lintel_message message;
    int fds[2], rc, got = 0, done = 0;

    make_pair(fds);
    options.allocator = &memory->allocator;
    for (int i = 0; i < 2; i++) {
        options.seal_keys = i == 0 ? a_keys : b_keys;
        rc = lintel_stream_new(&streams[i], fds[i], fds[i], &options, NULL);
        if (rc != LINTEL_OK) {
            lintel_stream_close(streams[0]);
            if (i == 0)
                close(fds[1]);
            return rc;
        }
    }
    rc = lintel_stream_send(streams[0], &request, "hello", 5, 0);
    for (int i = 0; i < 60 && !done; i++) {
        (void)!lintel_stream_flush(streams[0], 0);
        got = lintel_stream_recv_message(streams[1], &message, 0);
        if (got == 1)
            done = lintel_stream_send(streams[1], &message.header, "hello", 5, 0) == LINTEL_OK;
        (void)!lintel_stream_recv_message(streams[0], &message, 0);
    }
    if (rc == LINTEL_OK && done)
        rc = lintel_stream_flush(streams[1], 0);
    else if (rc == LINTEL_OK)
        rc = got < 0 ? got : LINTEL_E_NOMEM;
    lintel_stream_close(streams[0]);
    lintel_stream_close(streams[1]);
    return rc;
}

static void sealed_stream_survives_every_failing_allocation(void **state)
{
    struct lintel_seal_keys *a = psk(LINTEL_SEAL_INITIATOR, LINTEL_SEAL_ENCRYPT, shared_text);
    struct lintel_seal_keys *b = psk(LINTEL_SEAL_RESPONDER, LINTEL_SEAL_ENCRYPT, shared_text);

    (void)state;
    for (int for_good = 0; for_good < 2; for_good++) {
        long calls = 1;
        for (long n = 0; n <= calls; n++) {
            struct failing memory;
            int rc;
            failing_init(&memory);
            memory.fail_at = n;
            memory.for_good = for_good;
            rc = whole_session(&memory, a, b);
            if (n == 0)
                assert_int_equal(rc, 1);
            else if (rc != 1 && rc != LINTEL_E_NOMEM)
                fail_msg("allocation %ld: %s", n, lintel_status_name(rc));
            assert_int_equal(memory.blocks, 0);
            if (n == 0)
                calls = memory.calls;
        }
        assert_true(calls > 8);
    }
    lintel_seal_keys_free(a);
    lintel_seal_keys_free(b);
}

/* The caller's memory is his again when send returns, whatever failed in it: a frame that was not
 * taken does not go out, and one that was goes out as it was. */
static void sealed_send_without_memory_keeps_no_payload(void **state)
{
    enum { SIZE = 40000 };
    uint8_t *payload = pattern(SIZE), *copy = malloc(SIZE);
    int taken = 0, refused = 0;

    (void)state;
    for (long n = 1; n < 8; n++) {
        struct lintel_message message;
        struct world world;
        int rc;
        open_world(&world, LINTEL_SEAL_ENCRYPT);
        shake_hands(&world);
        memcpy(copy, payload, SIZE);
        world.memory.fail_at = world.memory.calls + n;
        rc = lintel_stream_send(world.a, &request, copy, SIZE, 0);
        world.memory.fail_at = 0;
        memset(copy, 0, SIZE);
        taken += rc == LINTEL_OK;
        refused += rc == LINTEL_E_NOMEM;
        if (rc == LINTEL_OK)
            expect_message(world.a, world.b, payload, SIZE);
        else
            assert_int_equal(lintel_stream_queued(world.a), 0);
        assert_int_equal(lintel_stream_bye(world.a, LINTEL_BYE_DONE, 0), 1);
        assert_int_equal(carry(world.a, world.b, &message), LINTEL_E_END);
        close_world(&world);
    }
    assert_true(taken > 0 && refused > 0);
    free(payload);
    free(copy);
}

static void sealed_stream_takes_no_descriptors(void **state)
{
    struct lintel_seal_keys *keys = psk(LINTEL_SEAL_INITIATOR, LINTEL_SEAL_ENCRYPT, shared_text);
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    int fds[2];

    (void)state;
    make_pair(fds);
    options.seal_keys = keys;
    options.max_fds = 1;
    assert_int_equal(lintel_stream_new(&stream, fds[0], fds[0], &options, NULL),
                     LINTEL_E_UNSUPPORTED);
    close(fds[1]);
    make_pair(fds);
    options.max_fds = 0;
    assert_int_equal(lintel_stream_new(&stream, fds[0], fds[0], &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_stream_send_fds(stream, &request, "", 0, &fds[1], 1, 0),
                     LINTEL_E_UNSUPPORTED);
    lintel_stream_close(stream);
    close(fds[1]);
    lintel_seal_keys_free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(sealed_stream_carries_messages_of_every_size, setup),
        cmocka_unit_test_setup(sealed_stream_knows_the_peer, setup),
        cmocka_unit_test_setup(sealed_stream_serves_a_foreign_layout, setup),
        cmocka_unit_test_setup(sealed_views_outlive_a_send_that_receives, setup),
        cmocka_unit_test_setup(sealed_stream_goes_on_from_every_cut, setup),
        cmocka_unit_test_setup(sealed_stream_works_with_blocking_calls, setup),
        cmocka_unit_test_setup(sealed_stream_sends_record_0_at_once, setup),
        cmocka_unit_test_setup(sealed_stream_cuts_records_at_frames, setup),
        cmocka_unit_test_setup(sealed_stream_ends_with_a_last_record, setup),
        cmocka_unit_test_setup(sealed_stream_tells_the_ways_to_end, setup),
        cmocka_unit_test_setup(sealed_stream_says_nothing_to_what_is_unfinished, setup),
        cmocka_unit_test_setup(sealed_stream_ends_at_what_does_not_verify, setup),
        cmocka_unit_test_setup(sealed_stream_refuses_another_key, setup),
        cmocka_unit_test_setup(sealed_stream_refuses_plain_peers, setup),
        cmocka_unit_test_setup(sealed_client_never_falls_back, setup),
        cmocka_unit_test_setup(sealed_handshake_has_a_deadline, setup),
        cmocka_unit_test_setup(sealed_stream_does_not_spin_in_the_handshake, setup),
        cmocka_unit_test_setup(sealed_stream_gives_pieces_of_a_foreign_layout, setup),
        cmocka_unit_test_setup(sealed_stream_shows_inner_frames_to_the_hook, setup),
        cmocka_unit_test_setup(sealed_record_that_drips_is_cut, setup),
        cmocka_unit_test_setup(sealed_stream_keeps_the_limits_of_messages, setup),
        cmocka_unit_test_setup(sealed_stream_receives_ahead_within_its_budget, setup),
        cmocka_unit_test_setup(sealed_stream_works_over_pipes, setup),
        cmocka_unit_test_setup(sealed_stream_is_of_one_process, setup),
        cmocka_unit_test_setup(sealed_stream_is_cheap_when_idle, setup),
        cmocka_unit_test_setup(sealed_stream_grows_with_what_arrives, setup),
        cmocka_unit_test_setup(sealed_stream_survives_every_failing_allocation, setup),
        cmocka_unit_test_setup(sealed_send_without_memory_keeps_no_payload, setup),
        cmocka_unit_test_setup(sealed_stream_takes_no_descriptors, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
