/* The server, with a real loop and real sockets. */
#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include "world.h"

/* ---- endpoints ------------------------------------------------------------------------------- */

static void server_echoes_on_every_endpoint(void **state)
{
    static const char *const endpoints[] = {"tcp://127.0.0.1:0", "unix://@lintel-test-server-echo",
                                            "unix:///%s/socket"};
    char folder[] = "/tmp/lintel-server-XXXXXX", given[128], text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_stream *stream;
    struct world world;
    size_t i;

    (void)state;
    assert_non_null(mkdtemp(folder));
    for (i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        print_message("%s\n", endpoints[i]);
        snprintf(given, sizeof given, "%s", endpoints[i]);
        if (strchr(endpoints[i], '%') != NULL)
            snprintf(given, sizeof given, "unix://%s/socket", folder);
        world_open(&world, echo, NULL);
        listen_on(&world, given, text);
        assert_int_equal(lintel_server_endpoint(world.server, 1, text + 0, 0), 0);
        stream = client_open(text);
        client_send(stream, 1, "hello", 5);
        expect_reply(&world, stream, 1, LINTEL_REPLY, "hello");
        assert_int_equal(lintel_server_connections(world.server), 1);
        lintel_stream_close(stream);
        turn_until_finished(&world, 1);
        assert_int_equal(world.last.status, LINTEL_E_END);
        assert_int_equal(lintel_server_connections(world.server), 0);
        world_close(&world);
    }
    assert_int_equal(rmdir(folder), 0); /* the socket file is gone */
}

static void server_listens_on_every_address_of_a_name(void **state)
{
    char text[LINTEL_ENDPOINT_TEXT_SIZE], first[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_stream *stream;
    struct world world;
    size_t i;

    (void)state;
    world_open(&world, echo, NULL);
    listen_on(&world, "tcp://localhost:0", first);
    for (i = 0; lintel_server_endpoint(world.server, i, text, sizeof text) > 0; i++) {
        assert_string_equal(strrchr(text, ':'), strrchr(first, ':'));
        stream = client_open(text);
        client_send(stream, 1, text, strlen(text));
        expect_reply(&world, stream, 1, LINTEL_REPLY, text);
        lintel_stream_close(stream);
    }
    listen_on(&world, "unix://@lintel-test-server-second", NULL);
    assert_true(lintel_server_endpoint(world.server, i, text, sizeof text) > 0);
    assert_string_equal(text, "unix://@lintel-test-server-second");
    world_close(&world);
}

static void server_serves_given_descriptors(void **state)
{
    struct lintel_stream *stream;
    char text[64];
    struct world world;
    int fds[2];

    (void)state;
    world_open(&world, echo, NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    snprintf(text, sizeof text, "fd://%d", fds[0]);
    listen_on(&world, text, NULL);
    assert_int_equal(fcntl(fds[0], F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(lintel_server_endpoint(world.server, 0, text, sizeof text), 0);
    stream = client_of(fds[1], NULL);
    client_send(stream, 9, "given", 5);
    expect_reply(&world, stream, 9, LINTEL_REPLY, "given");
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    expect_end(&world, stream);
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_serves_a_given_listener(void **state)
{
    struct lintel_endpoint endpoint;
    struct lintel_listener *listener;
    char text[LINTEL_ENDPOINT_TEXT_SIZE], given[64];
    struct lintel_stream *stream;
    struct world world;
    int fd;

    (void)state;
    world_open(&world, echo, NULL);
    assert_int_equal(lintel_endpoint_parse(&endpoint, "tcp://127.0.0.1:0", NULL), LINTEL_OK);
    assert_int_equal(lintel_listener_open(&listener, &endpoint, 0, NULL), LINTEL_OK);
    lintel_listener_text(listener, 0, text, sizeof text);
    fd = dup(lintel_listener_fd(listener, 0));
    lintel_listener_close(listener);
    (void)fcntl(fd, F_SETFL, 0);
    snprintf(given, sizeof given, "fd://%d", fd);
    listen_on(&world, given, NULL);
    assert_int_equal(fcntl(fd, F_GETFL) & O_NONBLOCK, 0);
    stream = client_open(text);
    client_send(stream, 1, "x", 1);
    expect_reply(&world, stream, 1, LINTEL_REPLY, "x");
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_serves_a_pair_of_pipes(void **state)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;
    char text[64];
    int in[2], out[2], i;

    (void)state;
    world_open(&world, echo, NULL);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    snprintf(text, sizeof text, "fd://%d,%d", in[0], out[1]);
    listen_on(&world, text, NULL);
    assert_int_equal(fcntl(out[1], F_GETFL) & O_NONBLOCK, 0);
    assert_int_equal(lintel_stream_new(&stream, out[0], in[1], &options, NULL), LINTEL_OK);
    for (i = 1; i <= 3; i++) {
        client_send(stream, (uint32_t)i, "through pipes", 13);
        expect_reply(&world, stream, (uint32_t)i, LINTEL_REPLY, "through pipes");
    }
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    expect_end(&world, stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_END);
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_ends_pipes_whose_reader_is_gone(void **state)
{
    struct world world;
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;
    int in[2], out[2], sink;

    (void)state;
    world_open(&world, echo, NULL);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(lintel_server_adopt(world.server, in[0], out[1], NULL), LINTEL_OK);
    sink = open("/dev/null", O_RDONLY | O_CLOEXEC);
    assert_int_equal(lintel_stream_new(&stream, sink, in[1], &options, NULL), LINTEL_OK);
    close(out[0]);
    client_send(stream, 1, "lost", 4);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_CLOSED);
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_refuses_descriptors_it_cannot_wait_for(void **state)
{
    struct lintel_error error;
    struct world world;
    char text[64];
    FILE *file = tmpfile();
    int fd;

    (void)state;
    assert_non_null(file);
    world_open(&world, echo, NULL);
    fd = dup(fileno(file));
    snprintf(text, sizeof text, "fd://%d", fd);
    assert_int_equal(lintel_server_listen(world.server, text, &error), LINTEL_E_UNSUPPORTED);
    assert_non_null(strstr(error.text, "cannot be waited for"));
    assert_int_equal(fcntl(fd, F_GETFD), -1); /* taken on failure, too */
    assert_int_equal(lintel_server_listen(world.server, text, &error), LINTEL_E_SYSTEM);
    assert_int_equal(error.system, EBADF);
    fclose(file);
    world_close(&world);
}

static void server_new_refuses_misuse(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_handler handler = {.frame = echo}, empty = {0};
    struct lintel_layout *layout;
    struct lintel_server *server = NULL;
    struct lintel_error error;
    uv_loop_t loop;

    (void)state;
    assert_int_equal(uv_loop_init(&loop), 0);
    assert_int_equal(lintel_server_new(NULL, &loop, &handler, NULL, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_server_new(&server, NULL, &handler, NULL, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_server_new(&server, &loop, &empty, NULL, &error), LINTEL_E_USAGE);
    options.size = 1;
    assert_int_equal(lintel_server_new(&server, &loop, &handler, &options, NULL), LINTEL_E_USAGE);
    options.size = sizeof options;
    assert_int_equal(lintel_layout_new(&layout, "u16", NULL, NULL), LINTEL_OK);
    options.layout = layout;
    options.max_frame = 65536;
    assert_int_equal(lintel_server_new(&server, &loop, &handler, &options, &error), LINTEL_E_RANGE);
    assert_null(server);
    options.max_frame = 65535;
    assert_int_equal(lintel_server_new(&server, &loop, &handler, &options, &error), LINTEL_OK);
    assert_int_equal(lintel_server_listen(server, "nonsense", &error), LINTEL_E_SYNTAX);
    assert_int_equal(lintel_server_listen(server, NULL, NULL), LINTEL_E_USAGE);
    lintel_server_free(server);
    lintel_server_free(NULL);
    lintel_server_drain(NULL);
    lintel_server_stop(NULL);
    lintel_connection_close(NULL);
    lintel_request_drop(NULL);
    assert_int_equal(lintel_request_reply(NULL, NULL, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_request_post(NULL, 0, NULL, 0), LINTEL_E_USAGE);
    lintel_layout_free(layout);
    assert_int_equal(uv_loop_close(&loop), 0);
}

/* ---- answering ------------------------------------------------------------------------------- */

static struct lintel_layout *layout_of(const char *text)
{
    struct lintel_layout *layout;

    assert_int_equal(lintel_layout_new(&layout, text, NULL, NULL), LINTEL_OK);
    return layout;
}

static void number(char text[16], size_t n)
{
    snprintf(text, 16, "%zu", n);
}

/* Requests are kept, or answered at once where the payload says so. */
static void keep_some(void *user, struct lintel_connection *connection,
                      const struct lintel_frame *frame, struct lintel_request *request)
{
    if (frame->length > 0 && frame->payload[0] == 'n')
        echo(user, connection, frame, request);
    else if (frame->length > 0 && frame->payload[0] == 'd')
        lintel_request_drop(request);
    else
        keep(user, connection, frame, request);
}

static void server_puts_replies_in_order_where_there_is_no_id(void **state)
{
    static const char *const payloads[] = {"k0", "now1", "k2", "drop", "k4", "now5"};
    static const char *const replies[] = {"k0", "now1", "k2", "k4", "now5"};
    static const int order[] = {2, 0, 1};
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_layout *layout = layout_of("u32");
    const struct lintel_frame *frame;
    struct lintel_stream *stream;
    struct world world;
    size_t i;

    (void)state;
    options.layout = layout;
    world_open(&world, keep_some, &options);
    stream = client_of(adopt_pair(&world), layout);
    for (i = 0; i < 6; i++)
        client_send(stream, 0, payloads[i], strlen(payloads[i]));
    while (world.frames < 5)
        turn(&world);
    for (i = 0; i < 3; i++) {
        frame = lintel_request_frame(world.kept[order[i]]);
        assert_int_equal(lintel_request_reply(world.kept[order[i]], frame->payload, frame->length),
                         LINTEL_OK);
        turn(&world);
    }
    for (i = 0; i < 5; i++)
        expect_reply(&world, stream, 0, 0, replies[i]);
    lintel_stream_close(stream);
    world_close(&world);
    lintel_layout_free(layout);
}

static void server_sends_replies_as_they_come_where_there_is_an_id(void **state)
{
    static const char *const layouts[] = {"lintel", "!H:id H:length *"};
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_layout *layout;
    struct lintel_stream *stream;
    struct lintel_header header = {0};
    struct world world;
    char text[16];
    size_t i, l;

    (void)state;
    for (l = 0; l < 2; l++) {
        print_message("%s\n", layouts[l]);
        layout = layout_of(layouts[l]);
        options.layout = layout;
        world_open(&world, keep, &options);
        stream = client_of(adopt_pair(&world), layout);
        for (i = 1; i <= 3; i++) {
            header.id = (uint32_t)i;
            assert_int_equal(lintel_stream_send(stream, &header, NULL, 0, 0), LINTEL_OK);
        }
        assert_int_equal(lintel_stream_flush(stream, 0), 1);
        while (world.frames < 3)
            turn(&world);
        for (i = 3; i >= 1; i--) {
            struct lintel_header got;
            struct lintel_frame frame;

            number(text, i);
            assert_int_equal(lintel_request_reply(world.kept[i - 1], text, 1), LINTEL_OK);
            assert_int_equal(client_recv(&world, stream, &frame), 1);
            assert_int_equal(lintel_header_read(layout, &got, &frame), LINTEL_OK);
            assert_int_equal(got.id, i);
            assert_int_equal(frame.payload[0], text[0]);
        }
        lintel_stream_close(stream);
        world_close(&world);
        lintel_layout_free(layout);
    }
}

static void server_answers_what_the_handler_left(void **state)
{
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    world_open(&world, ignore, NULL);
    stream = client_of(adopt_pair(&world), NULL);
    client_send(stream, 0, "no reply wanted", 15);
    client_send(stream, 5, "x", 1);
    expect_reply(&world, stream, 5, LINTEL_REPLY | LINTEL_ERROR, "not handled");
    assert_int_equal(world.frames, 2);
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_closes_on_failure_where_there_is_no_error_reply(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_layout *layout = layout_of("u32");
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.layout = layout;
    world_open(&world, keep, &options);
    stream = client_of(adopt_pair(&world), layout);
    client_send(stream, 0, "a", 1);
    client_send(stream, 0, "b", 1);
    client_send(stream, 0, "c", 1);
    while (world.frames < 3)
        turn(&world);
    assert_int_equal(lintel_request_fail(world.kept[1], "no\nway"), LINTEL_OK);
    assert_int_equal(lintel_request_reply(world.kept[0], "A", 1), LINTEL_OK);
    expect_reply(&world, stream, 0, 0, "A");
    expect_end(&world, stream);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_CLOSED);
    assert_string_equal(world.last.text, "a request failed: no?way");
    assert_int_equal(lintel_request_reply(world.kept[2], "C", 1), LINTEL_E_CLOSED);
    world_close(&world);
    lintel_layout_free(layout);
}

/* The peer has ended, and in an orderly way; but it will not have its reply. */
static void server_tells_a_failure_behind_the_end(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_layout *layout = layout_of("u32");
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.layout = layout;
    world_open(&world, keep, &options);
    stream = client_of(adopt_pair(&world), layout);
    client_send(stream, 0, "a", 1);
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    while (world.frames < 1)
        turn(&world);
    turn(&world);
    assert_int_equal(lintel_request_fail(world.kept[0], "no"), LINTEL_OK);
    expect_end(&world, stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_CLOSED);
    assert_string_equal(world.last.text, "a request failed: no");
    lintel_stream_close(stream);
    world_close(&world);
    lintel_layout_free(layout);
}

static void reply_too_much(void *user, struct lintel_connection *connection,
                           const struct lintel_frame *frame, struct lintel_request *request)
{
    struct world *world = user;
    static const char much[101];

    (void)connection;
    world->frames++;
    world->result = frame->length > 0 ? lintel_request_fail(request, (const char *)frame->payload)
                                      : lintel_request_reply(request, much, sizeof much);
}

static void server_fails_a_request_whose_reply_is_over_the_limit(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.max_frame = 50;
    options.max_message = 100;
    world_open(&world, reply_too_much, &options);
    stream = client_of(adopt_pair(&world), NULL);
    client_send(stream, 2, "", 0);
    expect_reply(&world, stream, 2, LINTEL_REPLY | LINTEL_ERROR,
                 "the reply of 101 bytes exceeds the limit of 100");
    assert_int_equal(world.result, LINTEL_E_TOO_LARGE);
    client_send(stream, 3, "still there", 12);
    expect_reply(&world, stream, 3, LINTEL_REPLY | LINTEL_ERROR, "still there");
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_cuts_a_failure_text_at_the_limit(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.max_frame = 12;
    world_open(&world, keep, &options);
    stream = client_of(adopt_pair(&world), NULL);
    client_send(stream, 2, "", 0);
    while (world.frames < 1)
        turn(&world);
    assert_int_equal(lintel_request_fail(world.kept[0], "0123456789a\xc3\xa4"), LINTEL_OK);
    expect_reply(&world, stream, 2, LINTEL_REPLY | LINTEL_ERROR, "0123456789a");
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_sends_frames_of_its_own(void **state)
{
    struct lintel_header header = {.type = 7};
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    world_open(&world, echo, NULL);
    stream = client_of(adopt_pair(&world), NULL);
    assert_non_null(world.connection);
    assert_int_equal(lintel_connection_send(world.connection, &header, "welcome", 7), LINTEL_OK);
    expect_reply(&world, stream, 0, 0, "welcome");
    lintel_connection_close(world.connection);
    expect_bye(&world, stream, 0, 0);
    expect_end(&world, stream);
    assert_int_equal(lintel_connection_send(world.connection, &header, "late", 4), LINTEL_E_CLOSED);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_CLOSED);
    world_close(&world);
}

static int refuse_setup(void *user, struct lintel_connection *connection)
{
    (void)user;
    (void)connection;
    return 1;
}

static void server_setup_may_refuse(void **state)
{
    struct lintel_handler handler = {.setup = refuse_setup, .frame = echo, .finish = on_finish};
    struct lintel_stream *stream;
    struct world world;
    int fds[2];

    (void)state;
    world_open(&world, echo, NULL);
    lintel_server_free(world.server);
    handler.user = &world;
    assert_int_equal(lintel_server_new(&world.server, &world.loop, &handler, NULL, NULL),
                     LINTEL_OK);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(lintel_server_adopt(world.server, fds[0], fds[0], NULL), LINTEL_E_REFUSED);
    stream = client_of(fds[1], NULL);
    expect_end(&world, stream);
    lintel_stream_close(stream);
    world_close(&world);
    assert_int_equal(world.finished, 0);
}

/* ---- keeping and posting --------------------------------------------------------------------- */

static void request_keep_outlives_connection_and_server(void **state)
{
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    world_open(&world, keep, NULL);
    stream = client_of(adopt_pair(&world), NULL);
    client_send(stream, 1, "a", 1);
    client_send(stream, 2, "b", 1);
    client_send(stream, 3, "c", 1);
    client_send(stream, 4, "d", 1);
    while (world.frames < 4)
        turn(&world);
    assert_int_equal(lintel_request_post(world.kept[3], 0, "D", 1), LINTEL_OK);
    lintel_stream_close(stream);
    lintel_server_stop(world.server);
    while (!world.stopped)
        turn(&world);
    assert_int_equal(world.clean, 0);
    assert_int_equal(lintel_request_post(world.kept[0], 0, "A", 1), LINTEL_E_CLOSED);
    lintel_server_free(world.server);
    world.server = NULL;
    assert_int_equal(lintel_request_frame(world.kept[1])->payload[0], 'b');
    assert_int_equal(lintel_request_reply(world.kept[1], "B", 1), LINTEL_E_CLOSED);
    lintel_request_drop(world.kept[2]);
    world_close(&world);
}

static void server_with_a_posted_reply_may_be_freed(void **state)
{
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    world_open(&world, keep, NULL);
    stream = client_of(adopt_pair(&world), NULL);
    client_send(stream, 1, "a", 1);
    while (world.frames < 1)
        turn(&world);
    assert_int_equal(lintel_request_post(world.kept[0], 0, "A", 1), LINTEL_OK);
    world_close(&world);
    lintel_stream_close(stream);
}

struct poster {
    pthread_t thread;
    struct lintel_request *requests[KEPT_MAX];
    size_t count;
    int closed;
};

static void *post_all(void *argument)
{
    struct poster *poster = argument;
    const struct lintel_frame *frame;
    uint8_t byte;
    size_t i;
    int rc;

    for (i = 0; i < poster->count; i++) {
        frame = lintel_request_frame(poster->requests[i]);
        byte = frame->payload[0];
        rc = lintel_request_post(poster->requests[i], byte & 1, &byte, 1);
        if (rc == LINTEL_E_CLOSED)
            poster->closed++;
    }
    return NULL;
}

enum { POSTERS = 4, POSTS = 200 };

static void request_post_replies_from_threads(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    static struct poster posters[POSTERS];
    uint8_t seen[POSTS + 1] = {0}, byte;
    struct lintel_stream *stream;
    struct lintel_header header;
    struct lintel_frame frame;
    struct world world;
    size_t i;

    (void)state;
    memset(posters, 0, sizeof posters);
    options.max_pending = POSTS;
    world_open(&world, keep, &options);
    stream = client_of(adopt_pair(&world), NULL);
    for (i = 1; i <= POSTS; i++) {
        byte = (uint8_t)i;
        client_send(stream, (uint32_t)i, &byte, 1);
    }
    while (world.frames < POSTS)
        turn(&world);
    for (i = 0; i < POSTS; i++)
        posters[i % POSTERS].requests[posters[i % POSTERS].count++] = world.kept[i];
    for (i = 0; i < POSTERS; i++)
        assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
    for (i = 0; i < POSTS; i++) {
        assert_int_equal(client_recv(&world, stream, &frame), 1);
        assert_int_equal(lintel_header_read(NULL, &header, &frame), LINTEL_OK);
        assert_in_range(header.id, 1, POSTS);
        assert_int_equal(frame.payload[0], (uint8_t)header.id);
        assert_int_equal(header.flags, LINTEL_REPLY | ((header.id & 1) ? LINTEL_ERROR : 0));
        assert_int_equal(seen[header.id]++, 0);
    }
    for (i = 0; i < POSTERS; i++)
        pthread_join(posters[i].thread, NULL);
    lintel_stream_close(stream);
    world_close(&world);
}

static void request_post_races_with_the_end(void **state)
{
    static struct poster posters[POSTERS];
    struct lintel_stream *stream;
    struct world world;
    size_t i, round;

    (void)state;
    for (round = 0; round < 20; round++) {
        memset(posters, 0, sizeof posters);
        world_open(&world, keep, NULL);
        stream = client_of(adopt_pair(&world), NULL);
        for (i = 1; i <= 60; i++)
            client_send(stream, (uint32_t)i, "x", 1);
        while (world.frames < 60)
            turn(&world);
        for (i = 0; i < 60; i++)
            posters[i % POSTERS].requests[posters[i % POSTERS].count++] = world.kept[i];
        for (i = 0; i < POSTERS; i++)
            assert_int_equal(pthread_create(&posters[i].thread, NULL, post_all, &posters[i]), 0);
        if (round & 1)
            lintel_stream_close(stream);
        else
            lintel_server_stop(world.server);
        for (i = 0; i < 3; i++)
            turn(&world);
        if (!(round & 1))
            lintel_stream_close(stream);
        world_close(&world);
        for (i = 0; i < POSTERS; i++)
            pthread_join(posters[i].thread, NULL);
    }
}

/* ---- control frames -------------------------------------------------------------------------- */

static void send_control(struct lintel_stream *stream, uint32_t type, uint32_t id,
                         const void *payload, size_t size)
{
    struct lintel_header header = {.flags = LINTEL_CONTROL, .type = type, .id = id};

    assert_int_equal(lintel_stream_send(stream, &header, payload, size, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_flush(stream, 0), 1);
}

static void server_answers_ping_with_pong(void **state)
{
    struct lintel_stream *stream;
    struct lintel_header header;
    struct lintel_frame frame;
    struct world world;

    (void)state;
    world_open(&world, echo, NULL);
    stream = client_of(adopt_pair(&world), NULL);
    send_control(stream, LINTEL_PONG, 8, "unasked", 7);
    send_control(stream, LINTEL_PING, 99, "are you there", 13);
    assert_int_equal(client_recv(&world, stream, &frame), 1);
    assert_int_equal(lintel_header_read(NULL, &header, &frame), LINTEL_OK);
    assert_int_equal(header.flags, LINTEL_CONTROL);
    assert_int_equal(header.type, LINTEL_PONG);
    assert_int_equal(header.id, 99);
    assert_int_equal(frame.length, 13);
    assert_memory_equal(frame.payload, "are you there", 13);
    assert_int_equal(world.frames, 0);
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_answers_open_requests_after_bye(void **state)
{
    static const uint8_t done[8] = {0}, draining[8] = {0, 0, 0, 1};
    const uint8_t *byes[2] = {done, draining};
    const int statuses[2] = {LINTEL_E_END, LINTEL_E_REFUSED};
    struct lintel_stream *stream;
    struct world world;
    int i;

    (void)state;
    for (i = 0; i < 2; i++) {
        world_open(&world, keep, NULL);
        stream = client_of(adopt_pair(&world), NULL);
        client_send(stream, 1, "open", 4);
        send_control(stream, LINTEL_BYE, 0, byes[i], 8);
        client_send(stream, 2, "after", 5);
        while (world.frames < 1)
            turn(&world);
        assert_int_equal(lintel_request_reply(world.kept[0], "yes", 3), LINTEL_OK);
        expect_reply(&world, stream, 1, LINTEL_REPLY, "yes");
        expect_end(&world, stream); /* no BYE of its own */
        assert_int_equal(world.frames, 1);
        lintel_stream_close(stream);
        turn_until_finished(&world, 1);
        assert_int_equal(world.last.status, statuses[i]);
        world_close(&world);
    }
}

static void server_says_bye_to_what_it_does_not_take(void **state)
{
    static const struct {
        const char *name;
        uint32_t type, size, reason;
    } cases[] = {{"HELLO", LINTEL_HELLO, 48, 6},
                 {"SEALED", LINTEL_SEALED, 64, 6},
                 {"FDS", LINTEL_FDS, 4, 4}};
    struct lintel_stream *stream;
    struct world world;
    uint8_t payload[64] = {0, 0, 0, 1};
    size_t i;

    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("%s\n", cases[i].name);
        world_open(&world, echo, NULL);
        stream = client_of(adopt_pair(&world), NULL);
        client_send(stream, 3, "before", 6);
        send_control(stream, cases[i].type, 0, payload, cases[i].size);
        expect_reply(&world, stream, 3, LINTEL_REPLY, "before");
        expect_bye(&world, stream, cases[i].reason, 3);
        expect_end(&world, stream);
        lintel_stream_close(stream);
        turn_until_finished(&world, 1);
        assert_true(world.last.status < 0);
        world_close(&world);
    }
}

static void server_drops_and_counts_replies(void **state)
{
    struct lintel_header header = {.flags = LINTEL_REPLY, .type = 7, .id = 4};
    struct lintel_server_counts counters;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    world_open(&world, echo, NULL);
    stream = client_of(adopt_pair(&world), NULL);
    assert_int_equal(lintel_stream_send(stream, &header, "unasked", 7, 0), LINTEL_OK);
    client_send(stream, 5, "asked", 5);
    expect_reply(&world, stream, 5, LINTEL_REPLY, "asked");
    lintel_server_counters(world.server, &counters);
    assert_int_equal(counters.replies_dropped, 1);
    assert_int_equal(counters.requests, 1);
    assert_int_equal(counters.accepted, 1);
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_puts_messages_together(void **state)
{
    struct lintel_header header = {.flags = LINTEL_MORE, .type = 7, .id = 4};
    struct lintel_header ping = {.flags = LINTEL_CONTROL, .type = LINTEL_PING, .id = 9};
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    world_open(&world, echo, NULL);
    stream = client_of(adopt_pair(&world), NULL);
    assert_int_equal(lintel_stream_send(stream, &header, "one ", 4, 0), LINTEL_OK);
    assert_int_equal(lintel_stream_send(stream, &ping, "?", 1, 0), LINTEL_OK);
    client_send(stream, 4, "message", 7);
    expect_reply(&world, stream, 9, LINTEL_CONTROL, "?");
    expect_reply(&world, stream, 4, LINTEL_REPLY, "one message");
    assert_int_equal(world.frames, 1);
    lintel_stream_close(stream);
    world_close(&world);
}

/* What the fragments of one message may not be, and a truncation; nothing of them is delivered. */
static void server_refuses_what_is_no_message(void **state)
{
    static const struct {
        uint32_t id;
        int ends;
    } cases[] = {{5, 0}, {4, 1}};
    struct lintel_stream *stream;
    struct world world;
    size_t i;

    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lintel_header header = {.flags = LINTEL_MORE, .type = 7, .id = 4};
        world_open(&world, echo, NULL);
        stream = client_of(adopt_pair(&world), NULL);
        client_send(stream, 3, "before", 6);
        assert_int_equal(lintel_stream_send(stream, &header, "one ", 4, 0), LINTEL_OK);
        header.id = cases[i].id;
        if (cases[i].ends)
            assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
        else
            assert_int_equal(lintel_stream_send(stream, &header, "two", 3, 0), LINTEL_OK);
        expect_reply(&world, stream, 3, LINTEL_REPLY, "before");
        expect_bye(&world, stream, LINTEL_BYE_MALFORMED, 3);
        expect_end(&world, stream);
        lintel_stream_close(stream);
        turn_until_finished(&world, 1);
        assert_int_equal(world.last.status,
                         cases[i].ends ? LINTEL_E_TRUNCATED : LINTEL_E_MALFORMED);
        assert_int_equal(world.frames, 1);
        world_close(&world);
    }
}

/* ---- descriptors and credentials ------------------------------------------------------------- */

static void size_of_file(void *user, struct lintel_connection *connection,
                         const struct lintel_frame *frame, struct lintel_request *request)
{
    struct world *world = user;
    struct lintel_credentials peer;
    char byte = 0;
    int fds[2];

    world->frames++;
    world->result = lintel_connection_take_fds(connection, frame, fds, 2);
    assert_int_equal(lintel_connection_take_fds(connection, NULL, fds, 2), LINTEL_E_USAGE);
    assert_int_equal(lintel_connection_credentials(connection, &peer), LINTEL_OK);
    assert_int_equal(peer.uid, getuid());
    if (world->result == 1) {
        assert_int_equal(read(fds[0], &byte, 1), 1);
        close(fds[0]);
    }
    lintel_request_reply(request, &byte, 1);
}

static void server_takes_descriptors(void **state)
{
    struct lintel_header header = {.type = 7, .id = 4};
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;
    int ends[2];

    (void)state;
    options.max_fds = 2;
    world_open(&world, size_of_file, &options);
    stream = client_of(adopt_pair(&world), NULL);
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], "ab", 2), 2);
    assert_int_equal(lintel_stream_send_fds(stream, &header, "", 0, ends, 1, 0), LINTEL_OK);
    expect_reply(&world, stream, 4, LINTEL_REPLY, "a");
    assert_int_equal(world.result, 1);
    assert_int_equal(lintel_stream_send_fds(stream, &header, "", 0, ends, 1, 0), LINTEL_OK);
    expect_reply(&world, stream, 4, LINTEL_REPLY, "b");
    close(ends[0]);
    close(ends[1]);
    lintel_stream_close(stream);
    world_close(&world);
}

/* ---- ending ---------------------------------------------------------------------------------- */

static void server_answers_everything_after_half_close(void **state)
{
    struct lintel_stream *stream;
    char text[LINTEL_ENDPOINT_TEXT_SIZE], payload[16];
    struct world world;
    size_t i;

    (void)state;
    world_open(&world, echo, NULL);
    listen_on(&world, "tcp://127.0.0.1:0", text);
    stream = client_open(text);
    for (i = 1; i <= 5000; i++) {
        number(payload, i);
        client_send(stream, (uint32_t)i, payload, strlen(payload));
    }
    while (lintel_stream_shutdown(stream, 0) == 0)
        turn(&world);
    for (i = 1; i <= 5000; i++) {
        number(payload, i);
        expect_reply(&world, stream, (uint32_t)i, LINTEL_REPLY, payload);
    }
    expect_end(&world, stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_END);
    lintel_stream_close(stream);
    world_close(&world);
}

/* On pipes nothing is waited for meanwhile, not even a hangup; the loop must go on all the same. */
static void server_waits_for_kept_requests_after_half_close(void **state)
{
    struct lintel_stream *stream;
    struct world world;
    uint64_t began;
    int in[2], out[2];

    (void)state;
    world_open(&world, keep, NULL);
    assert_int_equal(pipe(in), 0);
    assert_int_equal(pipe(out), 0);
    assert_int_equal(lintel_server_adopt(world.server, in[0], out[1], NULL), LINTEL_OK);
    assert_int_equal(lintel_stream_new(&stream, out[0], in[1], NULL, NULL), LINTEL_OK);
    client_send(stream, 1, "slow", 4);
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    while (world.frames < 1)
        turn(&world);
    for (began = uv_hrtime(); uv_hrtime() - began < 500000000;) /* until no timer runs */
        turn(&world);
    assert_int_equal(uv_loop_alive(&world.loop), 1);
    assert_int_equal(lintel_request_reply(world.kept[0], "done", 4), LINTEL_OK);
    expect_reply(&world, stream, 1, LINTEL_REPLY, "done");
    expect_end(&world, stream);
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_delivers_what_came_before_garbage(void **state)
{
    static const char garbage[] = "GET / HTTP/1.1\r\nHost: example\r\n\r\n";
    struct lintel_stream *bad, *good;
    struct world world;
    int fd;

    (void)state;
    world_open(&world, echo, NULL);
    good = client_of(adopt_pair(&world), NULL);
    fd = adopt_pair(&world);
    bad = client_of(fd, NULL);
    client_send(bad, 11, "before", 6);
    assert_int_equal(send(fd, garbage, sizeof garbage - 1, MSG_NOSIGNAL), sizeof garbage - 1);
    expect_reply(&world, bad, 11, LINTEL_REPLY, "before");
    expect_bye(&world, bad, 4, 11);
    expect_end(&world, bad);
    lintel_stream_close(bad);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_MISMATCH);
    assert_int_equal(world.last.at, 22);
    assert_non_null(strstr(world.last.text, "byte 22"));
    client_send(good, 1, "still served", 12);
    expect_reply(&world, good, 1, LINTEL_REPLY, "still served");
    lintel_stream_close(good);
    world_close(&world);
}

static void server_names_the_reason_of_a_limit(void **state)
{
    static const uint8_t large[16] = {'L', 'T', 1, 0, 0,    0,    0,    0,
                                      0,   0,   0, 1, 0xff, 0xff, 0xff, 0xff};
    static const uint8_t version[16] = {'L', 'T', 2};
    static const uint8_t truncated[20] = {'L', 'T', 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 9};
    static const struct {
        const char *name;
        const uint8_t *bytes;
        size_t size;
        unsigned reason;
        int status;
    } cases[] = {{"too large", large, 16, 5, LINTEL_E_TOO_LARGE},
                 {"version", version, 16, 9, LINTEL_E_VERSION},
                 {"truncated", truncated, 20, 4, LINTEL_E_TRUNCATED}};
    struct lintel_stream *stream;
    struct world world;
    size_t i;
    int fd;

    (void)state;
    for (i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        print_message("%s\n", cases[i].name);
        world_open(&world, echo, NULL);
        fd = adopt_pair(&world);
        stream = client_of(fd, NULL);
        assert_int_equal(send(fd, cases[i].bytes, cases[i].size, 0), cases[i].size);
        assert_int_equal(shutdown(fd, SHUT_WR), 0);
        expect_bye(&world, stream, cases[i].reason, 0);
        expect_end(&world, stream);
        lintel_stream_close(stream);
        turn_until_finished(&world, 1);
        assert_int_equal(world.last.status, cases[i].status);
        world_close(&world);
    }
}

static void server_close_takes_nothing_back(void **state)
{
    struct lintel_stream *stream;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct world world;
    size_t i;

    (void)state;
    world_open(&world, echo, NULL);
    listen_on(&world, "tcp://127.0.0.1:0", text);
    stream = client_open(text);
    client_send(stream, 1, "first", 5);
    while (world.frames < 1)
        turn(&world);
    lintel_connection_close(world.connection);
    turn(&world);
    /* What comes now is discarded, but must not reset what was sent before. */
    for (i = 2; i < 50; i++)
        client_send(stream, (uint32_t)i, "too late", 8);
    turn(&world);
    expect_reply(&world, stream, 1, LINTEL_REPLY, "first");
    expect_bye(&world, stream, 0, 1);
    expect_end(&world, stream);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.frames, 1);
    world_close(&world);
}

static void server_lingers_for_a_bounded_time_and_amount(void **state)
{
    static uint8_t bytes[64 * 1024];
    struct lintel_stream *stream;
    struct world world;
    size_t sent = 0;
    ssize_t n;
    int fd, flood;

    (void)state;
    for (flood = 0; flood < 2; flood++) {
        sent = 0;
        world_open(&world, echo, NULL);
        fd = adopt_pair(&world);
        stream = client_of(fd, NULL);
        lintel_connection_close(world.connection);
        while (world.finished == 0) { /* without flood: one second */
            turn(&world);
            n = flood ? send(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
            sent += n > 0 ? (size_t)n : 0;
            assert_true(sent < 4 * 1024 * 1024);
        }
        assert_int_equal(world.last.status, LINTEL_E_CLOSED);
        lintel_stream_close(stream);
        world_close(&world);
    }
}

static void server_reports_a_reset(void **state)
{
    struct linger hard = {1, 0};
    struct lintel_stream *stream;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct world world;

    (void)state;
    world_open(&world, keep, NULL);
    listen_on(&world, "tcp://127.0.0.1:0", text);
    stream = client_open(text);
    client_send(stream, 1, "x", 1);
    while (world.frames < 1)
        turn(&world);
    assert_int_equal(
        setsockopt(lintel_stream_in_fd(stream), SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_RESET);
    assert_int_equal(lintel_request_reply(world.kept[0], "y", 1), LINTEL_E_CLOSED);
    world_close(&world);
}

/* On a UNIX socket the kernel tells a half-close from a close. */
static void server_sees_that_a_peer_is_gone_while_a_request_is_kept(void **state)
{
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    world_open(&world, keep, NULL);
    stream = client_of(adopt_pair(&world), NULL);
    client_send(stream, 1, "x", 1);
    assert_int_equal(lintel_stream_shutdown(stream, 0), 1);
    while (world.frames < 1)
        turn(&world);
    turn(&world);
    turn(&world);
    assert_int_equal(world.finished, 0);
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    assert_int_equal(world.last.status, LINTEL_E_RESET);
    lintel_request_drop(world.kept[0]);
    world_close(&world);
}

/* ---- drain and stop -------------------------------------------------------------------------- */

static void server_drain_answers_open_requests(void **state)
{
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_stream *busy, *idle, *late = NULL;
    struct world world;

    (void)state;
    world_open(&world, keep, NULL);
    listen_on(&world, "tcp://127.0.0.1:0", text);
    busy = client_open(text);
    idle = client_open(text);
    client_send(busy, 21, "slow", 4);
    while (world.frames < 1 || world.open < 2)
        turn(&world);
    lintel_server_drain(world.server);
    lintel_server_drain(world.server);
    assert_int_equal(lintel_stream_open(&late, text, -1, NULL, NULL), LINTEL_E_SYSTEM);
    assert_int_equal(lintel_server_listen(world.server, "tcp://127.0.0.1:0", NULL), LINTEL_E_USAGE);
    expect_bye(&world, idle, 1, 0);
    expect_end(&world, idle);
    client_send(busy, 22, "not read any more", 17);
    assert_int_equal(lintel_request_reply(world.kept[0], "answered", 8), LINTEL_OK);
    expect_reply(&world, busy, 21, LINTEL_REPLY, "answered");
    expect_bye(&world, busy, 1, 21);
    expect_end(&world, busy);
    lintel_stream_close(busy);
    lintel_stream_close(idle);
    while (!world.stopped)
        turn(&world);
    assert_int_equal(world.clean, 1);
    assert_int_equal(world.stopped, 1);
    assert_int_equal(world.frames, 1);
    world_close(&world);
}

static void server_drain_gives_up_at_its_deadline(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;

    (void)state;
    options.drain_timeout_ms = 20;
    world_open(&world, keep, &options);
    stream = client_of(adopt_pair(&world), NULL);
    client_send(stream, 1, "never", 5);
    while (world.frames < 1)
        turn(&world);
    lintel_server_drain(world.server);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.stopped, 1);
    assert_int_equal(world.clean, 0);
    assert_int_equal(lintel_request_reply(world.kept[0], "late", 4), LINTEL_E_CLOSED);
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_stop_is_clean_where_nothing_is_open(void **state)
{
    struct lintel_stream *stream;
    struct world world;
    int open;

    (void)state;
    for (open = 0; open < 2; open++) {
        world_open(&world, keep, NULL);
        stream = client_of(adopt_pair(&world), NULL);
        if (open) {
            client_send(stream, 1, "open", 4);
            while (world.frames < 1)
                turn(&world);
        }
        lintel_server_stop(world.server);
        assert_int_equal(world.stopped, 0); /* never from inside the call */
        uv_run(&world.loop, UV_RUN_DEFAULT);
        assert_int_equal(world.stopped, 1);
        assert_int_equal(world.clean, !open);
        assert_int_equal(world.finished, 1);
        assert_int_equal(world.last.status, LINTEL_E_CLOSED);
        if (open)
            lintel_request_drop(world.kept[0]);
        lintel_stream_close(stream);
        world_close(&world);
    }
}

static void server_stop_without_a_beginning(void **state)
{
    struct world world;

    (void)state;
    world_open(&world, echo, NULL);
    lintel_server_stop(world.server);
    uv_run(&world.loop, UV_RUN_DEFAULT);
    assert_int_equal(world.stopped, 1);
    assert_int_equal(world.clean, 1);
    world_close(&world);
}

static void stop_inside(void *user, struct lintel_connection *connection,
                        const struct lintel_frame *frame, struct lintel_request *request)
{
    struct world *world = user;

    world->frames++;
    switch (frame->length > 0 ? frame->payload[0] : 0) {
    case 's':
        lintel_server_stop(world->server);
        break;
    case 'f':
        lintel_server_free(world->server);
        world->server = NULL;
        break;
    case 'c':
        lintel_connection_close(connection);
        break;
    default:
        lintel_server_drain(world->server);
        break;
    }
    lintel_request_reply(request, frame->payload, frame->length);
}

static void server_may_be_ended_inside_a_callback(void **state)
{
    static const char *const payloads[] = {"stop", "free", "close", "drain"};
    struct lintel_stream *stream;
    struct world world;
    size_t i;

    (void)state;
    for (i = 0; i < 4; i++) {
        print_message("%s\n", payloads[i]);
        world_open(&world, stop_inside, NULL);
        stream = client_of(adopt_pair(&world), NULL);
        client_send(stream, 1, payloads[i], strlen(payloads[i]));
        client_send(stream, 2, "more", 4);
        turn_until_finished(&world, payloads[i][0] == 's' || payloads[i][0] == 'f');
        if (payloads[i][0] == 'c' || payloads[i][0] == 'd')
            expect_reply(&world, stream, 1, LINTEL_REPLY, payloads[i]);
        lintel_stream_close(stream);
        turn_until_finished(&world, 1);
        assert_int_equal(world.frames, 1);
        world_close(&world);
    }
}

/* ---- many, limits ---------------------------------------------------------------------------- */

static void server_serves_200_connections_at_once(void **state)
{
    enum { COUNT = 200 };
    static struct lintel_stream *streams[COUNT];
    char text[LINTEL_ENDPOINT_TEXT_SIZE], payload[16];
    struct world world;
    uint32_t round;
    size_t i;

    (void)state;
    world_open(&world, echo, NULL);
    listen_on(&world, "tcp://127.0.0.1:0", text);
    for (i = 0; i < COUNT; i++)
        streams[i] = client_open(text);
    for (round = 1; round <= 3; round++) {
        for (i = 0; i < COUNT; i++) {
            number(payload, i * round);
            client_send(streams[i], round, payload, strlen(payload));
        }
        for (i = COUNT; i-- > 0;) {
            number(payload, i * round);
            expect_reply(&world, streams[i], round, LINTEL_REPLY, payload);
        }
    }
    assert_int_equal(lintel_server_connections(world.server), COUNT);
    for (i = 0; i < COUNT; i++)
        lintel_stream_close(streams[i]);
    turn_until_finished(&world, COUNT);
    world_close(&world);
}

/* Bursts that are longer than a turn's share, with payloads of all sizes, on connections that share
 * the receive buffer: what one has left unread must not be what another receives. */
static void server_keeps_bursts_of_connections_apart(void **state)
{
    enum { COUNT = 3, FRAMES = 400 };
    static uint8_t payload[9000];
    struct lintel_stream *streams[COUNT];
    struct lintel_header header;
    struct lintel_frame frame;
    struct world world;
    uint32_t id;
    size_t i, k;

    (void)state;
    world_open(&world, echo, NULL);
    for (i = 0; i < COUNT; i++)
        streams[i] = client_of(adopt_pair(&world), NULL);
    for (id = 1; id <= FRAMES; id++) {
        for (i = 0; i < COUNT; i++) {
            memset(payload, (int)(id * 7 + i * 50), sizeof payload);
            client_send(streams[i], id, payload, id * 37 % sizeof payload);
        }
    }
    for (id = 1; id <= FRAMES; id++) {
        for (i = 0; i < COUNT; i++) {
            assert_int_equal(client_recv(&world, streams[i], &frame), 1);
            assert_int_equal(lintel_header_read(NULL, &header, &frame), LINTEL_OK);
            assert_int_equal(header.id, id);
            assert_int_equal(frame.length, id * 37 % sizeof payload);
            for (k = 0; k < frame.length; k++)
                assert_int_equal(frame.payload[k], (uint8_t)(id * 7 + i * 50));
        }
        for (i = 0; i < COUNT; i++)
            (void)!lintel_stream_flush(streams[i], 0);
    }
    for (i = 0; i < COUNT; i++)
        lintel_stream_close(streams[i]);
    world_close(&world);
}

static void server_stops_reading_while_replies_are_unsent(void **state)
{
    enum { FRAMES = 2000, SIZE = 4096, QUEUE = 64 * 1024 };
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    static uint8_t payload[SIZE];
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct world world;
    int i, before, turns;

    (void)state;
    options.max_queue = QUEUE;
    world_open(&world, echo, &options);
    stream = client_of(adopt_pair(&world), NULL);
    for (i = 1; i <= FRAMES; i++)
        client_send(stream, (uint32_t)i, payload, sizeof payload);
    do { /* the client writes all it can, and reads nothing */
        before = world.frames;
        for (turns = 0; turns < 20; turns++) {
            (void)!lintel_stream_flush(stream, 0);
            turn(&world);
        }
    } while (world.frames > before);
    assert_true(world.frames < FRAMES);
    for (i = 1; i <= FRAMES; i++)
        assert_int_equal(client_recv(&world, stream, &frame), 1);
    assert_int_equal(world.frames, FRAMES);
    lintel_stream_close(stream);
    world_close(&world);
}

static void server_stops_reading_while_requests_are_kept(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_stream *stream;
    struct world world;
    uint32_t i;

    (void)state;
    options.max_pending = 5;
    world_open(&world, keep, &options);
    stream = client_of(adopt_pair(&world), NULL);
    for (i = 1; i <= 20; i++)
        client_send(stream, i, "x", 1);
    for (i = 0; i < 50; i++)
        turn(&world);
    assert_int_equal(world.frames, 5);
    for (i = 0; i < 20; i++) {
        while (world.kept_count <= i)
            turn(&world);
        assert_int_equal(lintel_request_reply(world.kept[i], NULL, 0), LINTEL_OK);
        expect_reply(&world, stream, i + 1, LINTEL_REPLY, "");
    }
    lintel_stream_close(stream);
    world_close(&world);
}

/* Valgrind keeps the limit of descriptors itself: it closes a connection that accept has given. */
static void skip_under_valgrind(void)
{
    const char *preload = getenv("LD_PRELOAD");

    if (preload != NULL && strstr(preload, "vgpreload") != NULL)
        skip();
}

static int highest_descriptor(void)
{
    int fd = dup(0);

    close(fd);
    return fd;
}

static void server_out_of_descriptors_neither_spins_nor_dies(void **state)
{
    enum { COUNT = 8, SPARE = 4 };
    struct lintel_server_counts counters;
    struct lintel_stream *streams[COUNT];
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct rlimit limit, low;
    struct world world;
    int i;

    (void)state;
    skip_under_valgrind();
    world_open(&world, echo, NULL);
    listen_on(&world, "tcp://127.0.0.1:0", text);
    turn(&world);
    for (i = 0; i < COUNT; i++)
        streams[i] = client_open(text);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t)(highest_descriptor() + SPARE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (i = 0; i < 200; i++)
        turn(&world);
    assert_int_equal(lintel_server_connections(world.server), SPARE);
    lintel_server_counters(world.server, &counters);
    assert_in_range(counters.accept_failures, 1, 3); /* of 200 turns: only the timer tries again */
    client_send(streams[0], 1, "served", 6);
    expect_reply(&world, streams[0], 1, LINTEL_REPLY, "served");
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    lintel_stream_close(streams[0]); /* frees descriptors: at once accepted again */
    for (i = 1; i < COUNT; i++) {
        client_send(streams[i], 1, "served", 6);
        expect_reply(&world, streams[i], 1, LINTEL_REPLY, "served");
        lintel_stream_close(streams[i]);
    }
    turn_until_finished(&world, COUNT);
    world_close(&world);
}

static void server_out_of_descriptors_tries_again_by_itself(void **state)
{
    struct lintel_stream *stream;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct rlimit limit, low;
    struct world world;
    int i;

    (void)state;
    skip_under_valgrind();
    world_open(&world, echo, NULL);
    listen_on(&world, "tcp://127.0.0.1:0", text);
    turn(&world);
    stream = client_open(text);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    low = limit;
    low.rlim_cur = (rlim_t)highest_descriptor();
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    for (i = 0; i < 20; i++)
        turn(&world);
    assert_int_equal(world.open, 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    client_send(stream, 1, "at last", 7);
    expect_reply(&world, stream, 1, LINTEL_REPLY, "at last");
    lintel_stream_close(stream);
    turn_until_finished(&world, 1);
    world_close(&world);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Counts bytes; fails the nth allocation where fail_at is n. Each block has its size before it. */
struct meter {
    size_t bytes, blocks, calls, fail_at;
    int for_ever; /* 1: fail_at and all that follow */
};

static void *meter_resize(void *user, void *ptr, size_t size)
{
    struct meter *meter = user;
    size_t *block = ptr == NULL ? NULL : (size_t *)ptr - 2, old = block == NULL ? 0 : block[0];

    if (size == 0) {
        meter->bytes -= old;
        meter->blocks -= block != NULL;
        free(block);
        return NULL;
    }
    meter->calls++;
    if (meter->calls == meter->fail_at ||
        (meter->for_ever && meter->fail_at > 0 && meter->calls > meter->fail_at))
        return NULL;
    meter->blocks += block == NULL;
    block = realloc(block, size + 2 * sizeof *block);
    assert_non_null(block);
    block[0] = size;
    meter->bytes += size - old;
    return block + 2;
}

/* 'k' is kept, 'e' ends what is kept, from behind and in every way, anything else is echoed. */
static void keep_or_end(void *user, struct lintel_connection *connection,
                        const struct lintel_frame *frame, struct lintel_request *request)
{
    struct world *world = user;
    struct lintel_request *kept;
    size_t i;

    if (frame->payload[0] != 'k') {
        echo(user, connection, frame, request);
    } else {
        world->frames++;
        if (lintel_request_keep(request, &kept) == LINTEL_OK)
            world->kept[world->kept_count++] = kept;
        else
            lintel_request_fail(request, "no memory");
    }
    if (frame->payload[0] != 'e')
        return;
    for (i = world->kept_count; i-- > 0;) {
        if (i % 3 == 0)
            lintel_request_post(world->kept[i], 0, "posted", 6);
        else if (i % 3 == 1)
            lintel_request_reply(world->kept[i], "replied", 7);
        else
            lintel_request_drop(world->kept[i]);
    }
    world->kept_count = 0;
}

/* A server's whole life: listening, one connection with requests of all kinds, draining. */
static void live(struct world *world, const struct lintel_layout *layout)
{
    static const char *const payloads[] = {"k", "k", "k", "k", NULL, "end"};
    static uint8_t large[100000];
    struct lintel_header header = {0};
    struct lintel_stream *stream;
    struct lintel_frame frame;
    int fds[2], rc, dry;
    size_t i;

    (void)!lintel_server_listen(world->server, "tcp://127.0.0.1:0", NULL);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    rc = lintel_server_adopt(world->server, fds[0], fds[0], NULL);
    assert_true(rc == LINTEL_OK || rc == LINTEL_E_NOMEM);
    stream = client_of(fds[1], layout);
    for (i = 0; i < sizeof payloads / sizeof payloads[0]; i++) { /* it may be gone already */
        header.id = layout == NULL ? (uint32_t)i + 1 : 0;
        (void)!lintel_stream_send(stream, &header,
                                  payloads[i] != NULL ? payloads[i] : (char *)large,
                                  payloads[i] != NULL ? strlen(payloads[i]) : sizeof large, 0);
    }
    (void)!lintel_stream_shutdown(stream, 0);
    /* If the last request was lost, so is the end of those that are kept: the server waits for it.
     */
    for (dry = 0; dry < 1000; dry++) {
        (void)!lintel_stream_flush(stream, 0);
        rc = lintel_stream_recv(stream, &frame, 0);
        if (rc < 0)
            break;
        dry = rc == 1 ? 0 : dry;
        turn(world);
    }
    assert_true(rc < 0 || world->kept_count > 0);
    for (i = 0; i < world->kept_count; i++)
        lintel_request_drop(world->kept[i]);
    lintel_server_drain(world->server);
    while (!world->stopped) {
        (void)!lintel_stream_flush(stream, 0);
        (void)!lintel_stream_recv(stream, &frame, 0);
        turn(world);
    }
    lintel_stream_close(stream);
    lintel_server_free(world->server);
}

/* One life in which the nth allocation fails, or all from the nth on. Returns 1 if none did. */
static int live_with_failure(const struct lintel_layout *layout, size_t n, int for_ever)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_handler handler = {.frame = keep_or_end};
    struct meter meter = {.fail_at = n, .for_ever = for_ever};
    struct lintel_allocator allocator = {meter_resize, &meter};
    struct world world;
    int rc;

    memset(&world, 0, sizeof world);
    options.allocator = &allocator;
    options.layout = layout;
    options.stopped = on_stopped;
    options.stopped_user = &world;
    handler.user = &world;
    assert_int_equal(uv_loop_init(&world.loop), 0);
    rc = lintel_server_new(&world.server, &world.loop, &handler, &options, NULL);
    if (rc == LINTEL_OK)
        live(&world, layout);
    else
        assert_int_equal(rc, LINTEL_E_NOMEM);
    assert_int_equal(uv_loop_close(&world.loop), 0);
    assert_int_equal(meter.blocks, 0);
    assert_int_equal(meter.bytes, 0);
    if (meter.calls >= n)
        return 0;
    assert_int_equal(world.frames, 6);
    return 1;
}

static void server_survives_every_failing_allocation(void **state)
{
    struct lintel_layout *layouts[2] = {NULL, layout_of("u32")};
    size_t n, l;
    int for_ever;

    (void)state;
    alarm(WATCHDOG_SECONDS);
    for (l = 0; l < 2; l++) {
        for (for_ever = 0; for_ever < 2; for_ever++) {
            for (n = 1; !live_with_failure(layouts[l], n, for_ever); n++)
                ;
            print_message("%s: %zu allocations\n", l == 0 ? "lintel" : "u32", n - 1);
            assert_true(n > 20);
        }
    }
    lintel_layout_free(layouts[1]);
    alarm(0);
}

static void server_gives_up_pipes_without_memory(void **state)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct meter meter = {0};
    struct lintel_allocator allocator = {meter_resize, &meter};
    int in[2], out[2], refused = 0, rc;
    struct world world;
    size_t n;

    (void)state;
    options.allocator = &allocator;
    for (n = 1; refused >= (int)n - 1; n++) {
        world_open(&world, echo, &options);
        assert_int_equal(pipe(in), 0);
        assert_int_equal(pipe(out), 0);
        meter.fail_at = meter.calls + n;
        rc = lintel_server_adopt(world.server, in[0], out[1], NULL);
        refused += rc == LINTEL_E_NOMEM;
        meter.fail_at = 0;
        close(in[1]);
        close(out[0]);
        world_close(&world);
        assert_int_equal(meter.blocks, 0);
    }
    assert_true(refused > 2);
}

/* The idle connections' share: all that goes through the allocator, which is all but libuv's own
 * table, one pointer a descriptor. */
static void server_idle_connections_are_cheap(void **state)
{
    enum { COUNT = 100, LIMIT = 448 };
    static uint8_t payload[20000];
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct meter meter = {0};
    struct lintel_allocator allocator = {meter_resize, &meter};
    struct lintel_stream *streams[COUNT];
    struct lintel_frame frame;
    const uint64_t giga = 1000000000;
    struct world world;
    size_t before, i;
    uint64_t began;

    (void)state;
    options.allocator = &allocator;
    world_open(&world, echo, &options);
    before = meter.bytes;
    for (i = 0; i < COUNT; i++)
        streams[i] = client_of(adopt_pair(&world), NULL);
    for (i = 0; i < COUNT; i++) {
        client_send(streams[i], 1, payload, sizeof payload);
        assert_int_equal(client_recv(&world, streams[i], &frame), 1);
    }
    /* It comes back by itself a moment after the burst. */
    began = uv_hrtime();
    while (meter.bytes - before > COUNT * LIMIT && uv_hrtime() - began < 10 * giga)
        turn(&world);
    print_message("%zu bytes a connection\n", (meter.bytes - before) / COUNT);
    assert_true(meter.bytes - before <= COUNT * LIMIT);
    for (i = 0; i < COUNT; i++)
        lintel_stream_close(streams[i]);
    world_close(&world);
    assert_int_equal(meter.blocks, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_echoes_on_every_endpoint),
        cmocka_unit_test(server_listens_on_every_address_of_a_name),
        cmocka_unit_test(server_serves_given_descriptors),
        cmocka_unit_test(server_serves_a_given_listener),
        cmocka_unit_test(server_serves_a_pair_of_pipes),
        cmocka_unit_test(server_ends_pipes_whose_reader_is_gone),
        cmocka_unit_test(server_refuses_descriptors_it_cannot_wait_for),
        cmocka_unit_test(server_new_refuses_misuse),
        cmocka_unit_test(server_puts_replies_in_order_where_there_is_no_id),
        cmocka_unit_test(server_sends_replies_as_they_come_where_there_is_an_id),
        cmocka_unit_test(server_answers_what_the_handler_left),
        cmocka_unit_test(server_closes_on_failure_where_there_is_no_error_reply),
        cmocka_unit_test(server_tells_a_failure_behind_the_end),
        cmocka_unit_test(server_fails_a_request_whose_reply_is_over_the_limit),
        cmocka_unit_test(server_cuts_a_failure_text_at_the_limit),
        cmocka_unit_test(server_sends_frames_of_its_own),
        cmocka_unit_test(server_setup_may_refuse),
        cmocka_unit_test(request_keep_outlives_connection_and_server),
        cmocka_unit_test(server_with_a_posted_reply_may_be_freed),
        cmocka_unit_test(request_post_replies_from_threads),
        cmocka_unit_test(request_post_races_with_the_end),
        cmocka_unit_test(server_answers_ping_with_pong),
        cmocka_unit_test(server_answers_open_requests_after_bye),
        cmocka_unit_test(server_says_bye_to_what_it_does_not_take),
        cmocka_unit_test(server_drops_and_counts_replies),
        cmocka_unit_test(server_puts_messages_together),
        cmocka_unit_test(server_refuses_what_is_no_message),
        cmocka_unit_test(server_takes_descriptors),
        cmocka_unit_test(server_answers_everything_after_half_close),
        cmocka_unit_test(server_waits_for_kept_requests_after_half_close),
        cmocka_unit_test(server_delivers_what_came_before_garbage),
        cmocka_unit_test(server_names_the_reason_of_a_limit),
        cmocka_unit_test(server_close_takes_nothing_back),
        cmocka_unit_test(server_lingers_for_a_bounded_time_and_amount),
        cmocka_unit_test(server_reports_a_reset),
        cmocka_unit_test(server_sees_that_a_peer_is_gone_while_a_request_is_kept),
        cmocka_unit_test(server_drain_answers_open_requests),
        cmocka_unit_test(server_drain_gives_up_at_its_deadline),
        cmocka_unit_test(server_stop_is_clean_where_nothing_is_open),
        cmocka_unit_test(server_stop_without_a_beginning),
        cmocka_unit_test(server_may_be_ended_inside_a_callback),
        cmocka_unit_test(server_serves_200_connections_at_once),
        cmocka_unit_test(server_keeps_bursts_of_connections_apart),
        cmocka_unit_test(server_stops_reading_while_replies_are_unsent),
        cmocka_unit_test(server_stops_reading_while_requests_are_kept),
        cmocka_unit_test(server_out_of_descriptors_neither_spins_nor_dies),
        cmocka_unit_test(server_out_of_descriptors_tries_again_by_itself),
        cmocka_unit_test(server_survives_every_failing_allocation),
        cmocka_unit_test(server_gives_up_pipes_without_memory),
        cmocka_unit_test(server_idle_connections_are_cheap),
    };

    cmocka_set_test_filter(getenv("CMOCKA_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
