/*
 * modes: the three ways in which a call can wait, as every socket has them.
 *
 *     modes tcp://127.0.0.1:4242
 *
 * The mode is the timeout_ms of each call, and no state of the socket: -1 waits for ever, a number
 * above 0 until a deadline, 0 not at all. One stream takes all three, one after the other. What was
 * not there in time is still to come: a deadline that has passed ends a call, not the connection.
 */
#include <lintel/lintel.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

static int complain(const struct lintel_stream *stream)
{
    struct lintel_error error;

    lintel_stream_error(stream, &error);
    fprintf(stderr, "modes: %s\n", error.text);
    return 1;
}

static void show(const char *mode, const struct lintel_frame *reply)
{
    printf("%s: %.*s\n", mode, (int)reply->length, (const char *)reply->payload);
}

static int request(struct lintel_stream *stream, uint32_t id, const char *text, int timeout_ms)
{
    const struct lintel_header header = {.type = 1, .id = id};

    return lintel_stream_send(stream, &header, text, strlen(text), timeout_ms);
}

/* Wait for ever, in send and in recv: the least to write, where a peer is trusted to answer. */
static int blocking(struct lintel_stream *stream)
{
    struct lintel_frame reply;

    if (request(stream, 1, "take your time", -1) < 0 || lintel_stream_recv(stream, &reply, -1) != 1)
        return complain(stream);
    show("blocking", &reply);
    return 0;
}

/* Nothing was asked for, so that nothing comes, and the call ends; then something is. */
static int timed(struct lintel_stream *stream)
{
    struct lintel_frame reply;
    int rc = lintel_stream_recv(stream, &reply, 20);

    if (rc != LINTEL_E_TIMEOUT)
        return complain(stream);
    printf("timed: %s\n", lintel_strerror(rc));
    if (request(stream, 2, "within a minute", 60000) < 0 ||
        lintel_stream_recv(stream, &reply, 60000) != 1)
        return complain(stream);
    show("timed", &reply);
    return 0;
}

/* Ask without waiting; whoever has a loop of his own waits for this descriptor in it. */
static int non_blocking(struct lintel_stream *stream)
{
    struct lintel_frame reply;
    int rc = lintel_stream_recv(stream, &reply, 0);

    if (rc != 0)
        return complain(stream);
    printf("non-blocking: nothing yet\n");
    if (request(stream, 3, "when it is there", 0) < 0)
        return complain(stream);
    for (;;) {
        int wants;
        struct pollfd socket = {lintel_stream_in_fd(stream), 0, 0};
        if (lintel_stream_flush(stream, 0) < 0)
            return complain(stream);
        rc = lintel_stream_recv(stream, &reply, 0);
        if (rc != 0)
            break;
        wants = lintel_stream_wants(stream);
        socket.events = (short)((wants & LINTEL_WANT_READ ? POLLIN : 0) |
                                (wants & LINTEL_WANT_WRITE ? POLLOUT : 0));
        /* Here the program does other things until the socket is ready. */
        if (poll(&socket, 1, lintel_stream_wait_ms(stream)) < 0 && errno != EINTR) {
            perror("modes: poll");
            return 1;
        }
    }
    if (rc < 0)
        return complain(stream);
    show("non-blocking", &reply);
    return 0;
}

int main(int argc, char **argv)
{
    struct lintel_stream *stream;
    struct lintel_error error;
    int failed;

    if (argc != 2) {
        fputs("usage: modes ENDPOINT\n", stderr);
        return 2;
    }
    if (lintel_stream_open(&stream, argv[1], 5000, NULL, &error) != LINTEL_OK) {
        fprintf(stderr, "modes: %s\n", error.text);
        return 1;
    }
    failed = blocking(stream) || timed(stream) || non_blocking(stream);
    lintel_stream_close(stream);
    return failed;
}
