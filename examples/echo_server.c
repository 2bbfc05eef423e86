/*
 * An echo server: the smallest whole program on lintel/server.h.
 *
 *     echo_server tcp://127.0.0.1:4242
 *     lintel call tcp://127.0.0.1:4242 hello
 *
 * A handler is three callbacks. They run on the loop's thread: setup when a connection is there,
 * frame for each frame, finish when it is over. SIGTERM and SIGINT drain: what was read is
 * answered.
 *
 * Build: cc echo_server.c $(pkg-config --cflags --libs lintel-server libuv)
 */
#include <lintel/server.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <uv.h>

struct program {
    struct lintel_server *server;
    uv_signal_t terminate, interrupt;
    int clean;
};

/* What this program remembers of a connection. */
struct session {
    unsigned requests;
};

static int setup(void *user, struct lintel_connection *connection)
{
    struct session *session = calloc(1, sizeof *session);

    (void)user;
    if (session == NULL)
        return -1; /* not taken */
    lintel_connection_set_user(connection, session);
    return 0;
}

static void frame(void *user, struct lintel_connection *connection,
                  const struct lintel_frame *request_frame, struct lintel_request *request)
{
    struct session *session = lintel_connection_user(connection);

    (void)user;
    session->requests++;
    /* If this fails the connection is about to end, and finish will say why. */
    (void)lintel_request_reply(request, request_frame->payload, request_frame->length);
}

static void finish(void *user, struct lintel_connection *connection,
                   const struct lintel_error *error)
{
    struct session *session = lintel_connection_user(connection);

    (void)user;
    printf("%u requests, then: %s\n", session->requests, error->text);
    free(session);
}

static void on_signal(uv_signal_t *handle, int number)
{
    struct program *program = handle->data;

    (void)number;
    lintel_server_drain(program->server);
}

static void on_stopped(void *user, int clean)
{
    struct program *program = user;

    program->clean = clean;
    uv_close((uv_handle_t *)&program->terminate, NULL);
    uv_close((uv_handle_t *)&program->interrupt, NULL);
}

static void watch(uv_loop_t *loop, uv_signal_t *handle, int number, struct program *program)
{
    handle->data = program;
    if (uv_signal_init(loop, handle) != 0 || uv_signal_start(handle, on_signal, number) != 0) {
        fprintf(stderr, "echo_server: no signals\n");
        exit(1);
    }
}

int main(int argc, char **argv)
{
    struct program program = {0};
    struct lintel_handler handler = {
        .setup = setup, .frame = frame, .finish = finish, .user = &program};
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_error error;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    uv_loop_t *loop = uv_default_loop();
    size_t i;

    if (argc != 2) {
        fprintf(stderr, "usage: echo_server ENDPOINT\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    options.stopped = on_stopped;
    options.stopped_user = &program;
    if (lintel_server_new(&program.server, loop, &handler, &options, &error) != LINTEL_OK ||
        lintel_server_listen(program.server, argv[1], &error) != LINTEL_OK) {
        fprintf(stderr, "echo_server: %s\n", error.text);
        return 1;
    }
    watch(loop, &program.terminate, SIGTERM, &program);
    watch(loop, &program.interrupt, SIGINT, &program);
    for (i = 0; lintel_server_endpoint(program.server, i, text, sizeof text) > 0; i++)
        printf("listening on %s\n", text);

    uv_run(loop, UV_RUN_DEFAULT);
    lintel_server_free(program.server);
    uv_loop_close(loop);
    return program.clean ? 0 : 1;
}
