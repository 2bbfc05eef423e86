/*
 * poll_relay: passes frames both ways between two endpoints, under a plain poll(2) loop.
 *
 *     poll_relay tcp://127.0.0.1:4000 unix:///run/other.sock
 *
 * A stream fits under any event loop: lintel_stream_wants() says what to wait for,
 * lintel_stream_wait_ms() for how long at most. Whatever became ready, the loop then takes all
 * frames that are there and flushes, never waiting inside of the library.
 */
#include <lintel/lintel.h>

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#define HIGH_WATER ((size_t)1 << 20) /* so much queued on one side stops reading on the other */

struct side {
    struct lintel_stream *stream;
    int ended; /* its peer has ended, and the other side was told */
    int held;  /* frames may be left: the other side's queue is too long */
};

static int complain(const struct lintel_stream *stream)
{
    struct lintel_error error;

    lintel_stream_error(stream, &error);
    fprintf(stderr, "poll_relay: %s\n", error.text);
    return -1;
}

/* Pass on all frames that are there. Returns 0, or -1 when the connection is lost. */
static int pass(struct side *from, struct side *to)
{
    from->held = 0;
    while (!from->ended) {
        struct lintel_header header;
        struct lintel_frame frame;
        int rc;

        if (lintel_stream_queued(to->stream) >= HIGH_WATER) {
            from->held = 1;
            return 0;
        }
        rc = lintel_stream_recv(from->stream, &frame, 0);
        if (rc == 0)
            return 0;
        if (rc == LINTEL_E_END) {
            from->ended = 1;
            return lintel_stream_shutdown(to->stream, 0) < 0 ? complain(to->stream) : 0;
        }
        if (rc < 0)
            return complain(from->stream);
        memset(&header, 0, sizeof header);
        header.like = &frame;
        rc = lintel_stream_send(to->stream, &header, frame.payload, frame.length, 0);
        if (rc < 0)
            return complain(to->stream);
    }
    return 0;
}

/* What to wait for on one side: up to two entries. */
static nfds_t watch(struct pollfd *fds, const struct side *side)
{
    int wants = lintel_stream_wants(side->stream);
    nfds_t count = 0;

    if (side->held)
        lintel_stream_pause(side->stream);
    else if (wants & LINTEL_WANT_READ)
        fds[count++] = (struct pollfd){lintel_stream_in_fd(side->stream), POLLIN, 0};
    if (wants & LINTEL_WANT_WRITE)
        fds[count++] = (struct pollfd){lintel_stream_out_fd(side->stream), POLLOUT, 0};
    return count;
}

static int shorter(int a, int b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* How long to wait at most: not at all, if what held a side back is gone. */
static int how_long(const struct side *side, const struct side *other)
{
    if (!side->held)
        return lintel_stream_wait_ms(side->stream);
    return lintel_stream_queued(other->stream) < HIGH_WATER ? 0 : -1;
}

static int relay(struct side *a, struct side *b)
{
    for (;;) {
        struct pollfd fds[4];
        nfds_t count;

        if (pass(a, b) < 0 || pass(b, a) < 0)
            return 1;
        if (lintel_stream_flush(a->stream, 0) < 0)
            return complain(a->stream) != 0;
        if (lintel_stream_flush(b->stream, 0) < 0)
            return complain(b->stream) != 0;
        if (a->ended && b->ended && lintel_stream_queued(a->stream) == 0 &&
            lintel_stream_queued(b->stream) == 0)
            return 0;
        count = watch(fds, a);
        count += watch(fds + count, b);
        if (poll(fds, count, shorter(how_long(a, b), how_long(b, a))) < 0 && errno != EINTR) {
            perror("poll_relay: poll");
            return 1;
        }
    }
}

int main(int argc, char **argv)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct side sides[2];
    int status;

    if (argc != 3) {
        fputs("usage: poll_relay ENDPOINT ENDPOINT\n", stderr);
        return 2;
    }
    memset(sides, 0, sizeof sides);
    options.frame_timeout_ms = 10000;
    for (int i = 0; i < 2; i++) {
        struct lintel_error error;
        if (lintel_stream_open(&sides[i].stream, argv[i + 1], 5000, &options, &error) < 0) {
            fprintf(stderr, "poll_relay: %s: %s\n", argv[i + 1], error.text);
            lintel_stream_close(sides[0].stream);
            return 1;
        }
    }
    status = relay(&sides[0], &sides[1]);
    lintel_stream_close(sides[0].stream);
    lintel_stream_close(sides[1].stream);
    return status;
}
