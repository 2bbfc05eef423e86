/*
 * handler_server: a handler with set-up, handle and finish. It keeps a sum for each connection.
 *
 *     handler_server unix:///run/sums.sock
 *     lintel call --type 1 unix:///run/sums.sock 20 22       # 20, 42
 *     lintel call --type 3 unix:///run/sums.sock ''          # the server ends
 *
 * What a connection is to remember is made in set_up, used in handle and released in finish, which
 * comes exactly once for each, however the connection ends. All of them run on the loop's thread,
 * for many connections at once, so that there is nothing to lock, and none of them may wait.
 *
 * Build: cc handler_server.c $(pkg-config --cflags --libs lintel-server libuv)
 */
#include <lintel/server.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

enum type { ADD = 1, TOTAL = 2, STOP = 3 };

struct program {
    struct lintel_server *server;
    long total; /* of all connections that are over */
    int clean;
};

struct session {
    long sum;
};

/* A connection is there. */
static int set_up(void *user, struct lintel_connection *connection)
{
    struct session *session = calloc(1, sizeof *session);

    (void)user;
    lintel_connection_set_user(connection, session);
    return session != NULL ? 0 : -1; /* -1: it is not taken */
}

static void reply_number(struct lintel_request *request, long number)
{
    char text[32];
    int size = snprintf(text, sizeof text, "%ld", number);

    (void)lintel_request_reply(request, text, (size_t)size);
}

/* A payload is not a string: it has a length, and no end. */
static int read_number(long *out, const struct lintel_frame *frame)
{
    char text[20], *end;

    if (frame->length == 0 || frame->length >= sizeof text)
        return -1;
    memcpy(text, frame->payload, frame->length);
    text[frame->length] = '\0';
    *out = strtol(text, &end, 10);
    return *end == '\0' ? 0 : -1;
}

/* A request is there, whole. */
static void handle(void *user, struct lintel_connection *connection,
                   const struct lintel_frame *frame, struct lintel_request *request)
{
    struct program *program = user;
    struct session *session = lintel_connection_user(connection);
    struct lintel_header header;
    long number;

    if (lintel_header_read(lintel_connection_layout(connection), &header, frame) != LINTEL_OK)
        return; /* a request that is left alone is answered with an error */
    switch (header.type) {
    case ADD:
        if (read_number(&number, frame) < 0) {
            (void)lintel_request_fail(request, "not a number");
            return;
        }
        session->sum += number;
        reply_number(request, session->sum);
        return;
    case TOTAL:
        reply_number(request, program->total);
        return;
    case STOP:
        reply_number(request, program->total);
        lintel_server_drain(program->server);
        return;
    default:
        (void)lintel_request_fail(request, "there is no such type of request");
    }
}

/* The connection is over, and error says why. */
static void finish(void *user, struct lintel_connection *connection,
                   const struct lintel_error *error)
{
    struct program *program = user;
    struct session *session = lintel_connection_user(connection);

    program->total += session->sum;
    printf("a sum of %ld, then: %s\n", session->sum, error->text);
    free(session);
}

static void on_stopped(void *user, int clean)
{
    struct program *program = user;

    program->clean = clean;
}

int main(int argc, char **argv)
{
    struct program program = {NULL, 0, 0};
    struct lintel_handler handler = {
        .setup = set_up, .frame = handle, .finish = finish, .user = &program};
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    uv_loop_t *loop = uv_default_loop();
    struct lintel_error error;
    size_t i;

    if (argc != 2) {
        fprintf(stderr, "usage: handler_server ENDPOINT\n");
        return 2;
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    options.stopped = on_stopped;
    options.stopped_user = &program;
    if (lintel_server_new(&program.server, loop, &handler, &options, &error) != LINTEL_OK ||
        lintel_server_listen(program.server, argv[1], &error) != LINTEL_OK) {
        fprintf(stderr, "handler_server: %s\n", error.text);
        return 1;
    }
    for (i = 0; lintel_server_endpoint(program.server, i, text, sizeof text) > 0; i++)
        printf("listening on %s\n", text);
    uv_run(loop, UV_RUN_DEFAULT);
    lintel_server_free(program.server);
    uv_loop_close(loop);
    return program.clean ? 0 : 1;
}
