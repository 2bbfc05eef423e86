/*
 * upper_server: answers each request with its text in capitals, one connection after the other.
 *
 *     upper_server tcp://127.0.0.1:4242
 *     lintel call tcp://127.0.0.1:4242 hello
 *
 * The plainest server there is: accept, receive, send, and every call waits as long as it takes. A
 * message is there whole, however it was cut on the way; pings are answered, and a peer that sends
 * what is no message is told so, all inside of lintel_stream_recv_message().
 *
 * A second argument is the number of connections after which it ends; without one it goes on.
 *
 * Build: cc upper_server.c $(pkg-config --cflags --libs lintel)
 */
#include <lintel/lintel.h>

#include <stdio.h>
#include <stdlib.h>

static int complain(const struct lintel_error *error)
{
    fprintf(stderr, "upper_server: %s\n", error->text);
    return 1;
}

static int answer(struct lintel_stream *stream, const struct lintel_message *request)
{
    struct lintel_header header = {LINTEL_REPLY, request->header.type, request->header.id, NULL};
    size_t size = request->frame.length, i;
    char *text;
    int rc;

    if ((request->header.flags & LINTEL_REPLY) != 0 || request->header.id == 0)
        return LINTEL_OK; /* not a request, or one that wants no reply */
    text = malloc(size + 1);
    if (text == NULL)
        return LINTEL_E_NOMEM;
    /* What was received is lent, and not ours to change. */
    for (i = 0; i < size; i++) {
        char c = (char)request->frame.payload[i];
        text[i] = c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
    }
    rc = lintel_stream_send_message(stream, &header, text, size, -1);
    free(text);
    return rc;
}

static void serve(struct lintel_stream *stream)
{
    struct lintel_message request;
    struct lintel_error error;
    int rc;

    /* Replies are gathered, and written when there is nothing left to receive at once. */
    while ((rc = lintel_stream_recv_message(stream, &request, -1)) == 1)
        if ((rc = answer(stream, &request)) < 0)
            break;
    if (rc != LINTEL_E_END) {
        lintel_stream_error(stream, &error);
        (void)complain(&error);
    }
    /* The last replies go out; then wait for the peer to have read them. */
    if (lintel_stream_shutdown(stream, -1) == 1)
        (void)!lintel_stream_linger(stream, -1);
}

int main(int argc, char **argv)
{
    long left = argc > 2 ? strtol(argv[2], NULL, 10) : -1;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_endpoint endpoint;
    struct lintel_listener *listener;
    struct lintel_stream *stream;
    struct lintel_error error;
    size_t i;
    int fd;

    if (argc < 2) {
        fprintf(stderr, "usage: upper_server ENDPOINT [CONNECTIONS]\n");
        return 2;
    }
    if (lintel_endpoint_parse(&endpoint, argv[1], &error) != LINTEL_OK ||
        lintel_listener_open(&listener, &endpoint, 0, &error) != LINTEL_OK)
        return complain(&error);
    for (i = 0; i < lintel_listener_count(listener); i++) {
        lintel_listener_text(listener, i, text, sizeof text);
        printf("listening on %s\n", text);
    }
    fflush(stdout);
    for (; left != 0; left -= left > 0) {
        if (lintel_listener_accept(listener, &fd, -1, &error) != 1 ||
            lintel_stream_new(&stream, fd, fd, NULL, &error) != LINTEL_OK) {
            (void)complain(&error);
            break;
        }
        serve(stream);
        lintel_stream_close(stream);
    }
    lintel_listener_close(listener);
    return left != 0;
}
