#include "config.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "world.h"

/* ---- the world ------------------------------------------------------------------------------- */

static int on_setup(void *user, struct lintel_connection *connection)
{
    struct world *world = user;

    world->open++;
    world->connection = connection;
    return 0;
}

void on_finish(void *user, struct lintel_connection *connection, const struct lintel_error *error)
{
    struct world *world = user;

    if (world->connection == connection)
        world->connection = NULL;
    world->finished++;
    world->last = *error;
}

void on_stopped(void *user, int clean)
{
    struct world *world = user;

    world->stopped++;
    world->clean = clean;
}

void echo(void *user, struct lintel_connection *connection, const struct lintel_frame *frame,
          struct lintel_request *request)
{
    struct world *world = user;

    (void)connection;
    world->frames++;
    lintel_request_reply(request, frame->payload, frame->length);
}

void keep(void *user, struct lintel_connection *connection, const struct lintel_frame *frame,
          struct lintel_request *request)
{
    struct world *world = user;

    (void)connection;
    (void)frame;
    world->frames++;
    assert_true(world->kept_count < KEPT_MAX);
    assert_int_equal(lintel_request_keep(request, &world->kept[world->kept_count++]), LINTEL_OK);
    assert_int_equal(lintel_request_reply(request, NULL, 0), LINTEL_E_USAGE);
}

void ignore(void *user, struct lintel_connection *connection, const struct lintel_frame *frame,
            struct lintel_request *request)
{
    struct world *world = user;

    (void)connection;
    (void)frame;
    (void)request;
    world->frames++;
}

static struct lintel_server_options options_of(struct world *world)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;

    options.stopped = on_stopped;
    options.stopped_user = world;
    return options;
}

void world_open(struct world *world, frame_callback *frame,
                const struct lintel_server_options *options)
{
    struct lintel_handler handler = {.frame = frame};

    world_open_with(world, &handler, options);
}

void world_open_with(struct world *world, const struct lintel_handler *handler,
                     const struct lintel_server_options *options)
{
    struct lintel_handler own = *handler;
    struct lintel_server_options plain = options_of(world);
    struct lintel_server_options given = options != NULL ? *options : plain;

    own.setup = on_setup;
    own.finish = on_finish;
    own.user = world;
    given.stopped = on_stopped;
    given.stopped_user = world;
    memset(world, 0, sizeof *world);
    alarm(WATCHDOG_SECONDS);
    assert_int_equal(uv_loop_init(&world->loop), 0);
    assert_int_equal(lintel_server_new(&world->server, &world->loop, &own, &given, NULL),
                     LINTEL_OK);
}

void turn(struct world *world)
{
    uv_run(&world->loop, UV_RUN_NOWAIT);
}

/* Free what there is, as a program would, and look for what was left behind. */
void world_close(struct world *world)
{
    lintel_server_free(world->server);
    uv_run(&world->loop, UV_RUN_DEFAULT);
    assert_int_equal(uv_loop_close(&world->loop), 0);
    assert_int_equal(world->open, world->finished);
    alarm(0);
}

void listen_on(struct world *world, const char *endpoint, char *text)
{
    struct lintel_error error = {0};
    int rc = lintel_server_listen(world->server, endpoint, &error);

    if (rc != LINTEL_OK)
        fail_msg("%s: %s", endpoint, error.text);
    if (text != NULL)
        assert_true(lintel_server_endpoint(world->server, 0, text, LINTEL_ENDPOINT_TEXT_SIZE) > 0);
}

/* ---- clients --------------------------------------------------------------------------------- */

struct lintel_stream *client_of(int fd, const struct lintel_layout *layout)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_stream *stream;

    options.layout = layout;
    assert_int_equal(lintel_stream_new(&stream, fd, fd, &options, NULL), LINTEL_OK);
    return stream;
}

struct lintel_stream *client_open(const char *endpoint)
{
    struct lintel_error error = {0};
    struct lintel_stream *stream = NULL;

    if (lintel_stream_open(&stream, endpoint, -1, NULL, &error) != LINTEL_OK)
        fail_msg("%s: %s", endpoint, error.text);
    return stream;
}

/* One end is the server's, the other is returned. */
int adopt_pair(struct world *world)
{
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(lintel_server_adopt(world->server, fds[0], fds[0], NULL), LINTEL_OK);
    return fds[1];
}

void client_send(struct lintel_stream *stream, uint32_t id, const void *payload, size_t size)
{
    struct lintel_header header = {.type = 7, .id = id};

    if (!lintel_layout_is_lintel(lintel_stream_layout(stream)))
        header.type = header.id = 0;
    assert_int_equal(lintel_stream_send(stream, &header, payload, size, 0), LINTEL_OK);
    assert_true(lintel_stream_flush(stream, 0) >= 0);
}

/* The next frame, or the end, while the loop turns. Returns as lintel_stream_recv. */
int client_recv(struct world *world, struct lintel_stream *stream, struct lintel_frame *frame)
{
    int rc;

    for (;;) {
        (void)!lintel_stream_flush(stream, 0);
        rc = lintel_stream_recv(stream, frame, 0);
        if (rc != 0)
            return rc;
        turn(world);
    }
}

void expect_reply(struct world *world, struct lintel_stream *stream, uint32_t id, uint8_t flags,
                  const char *payload)
{
    struct lintel_header header;
    struct lintel_frame frame;

    assert_int_equal(client_recv(world, stream, &frame), 1);
    assert_int_equal(frame.length, strlen(payload));
    assert_memory_equal(frame.payload, payload, frame.length);
    if (!lintel_layout_is_lintel(lintel_stream_layout(stream)))
        return;
    assert_int_equal(lintel_header_read(lintel_stream_layout(stream), &header, &frame), LINTEL_OK);
    assert_int_equal(header.flags, flags);
    assert_int_equal(header.id, id);
    if (!(flags & LINTEL_CONTROL))
        assert_int_equal(header.type, 7);
}

static uint32_t u32_at(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

void expect_bye(struct world *world, struct lintel_stream *stream, unsigned reason,
                uint32_t last_id)
{
    struct lintel_header header;
    struct lintel_frame frame;

    assert_int_equal(client_recv(world, stream, &frame), 1);
    assert_int_equal(lintel_header_read(lintel_stream_layout(stream), &header, &frame), LINTEL_OK);
    assert_int_equal(header.flags, LINTEL_CONTROL);
    assert_int_equal(header.type, LINTEL_BYE);
    assert_int_equal(frame.length, 8);
    assert_int_equal(u32_at(frame.payload), reason);
    assert_int_equal(u32_at(frame.payload + 4), last_id);
}

void expect_end(struct world *world, struct lintel_stream *stream)
{
    struct lintel_frame frame;

    assert_int_equal(client_recv(world, stream, &frame), LINTEL_E_END);
}

void turn_until_finished(struct world *world, int count)
{
    while (world->finished < count)
        turn(world);
}
