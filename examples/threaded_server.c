/*
 * threaded_server: echoes, with a thread for each connection.
 *
 *     threaded_server tcp://127.0.0.1:4242
 *     threaded_server unix:///run/echo.sock
 *
 * Each thread has a stream of its own and just waits in it: the library keeps nothing that threads
 * share, so that there is nothing to lock but what the program itself counts.
 *
 * A second argument is the number of connections after which it ends, when the last of them has; a
 * server without one goes on.
 *
 * Build: cc threaded_server.c -pthread $(pkg-config --cflags --libs lintel)
 */
#include <lintel/lintel.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static unsigned running;      /* threads */
static unsigned long replies; /* of all of them */

static int complain(const struct lintel_error *error)
{
    fprintf(stderr, "threaded_server: %s\n", error->text);
    return 1;
}

static void count(int threads, unsigned long answered)
{
    pthread_mutex_lock(&lock);
    running += (unsigned)threads;
    replies += answered;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

/* Echo until the peer ends. Returns the number of replies. */
static unsigned long echo(struct lintel_stream *stream)
{
    struct lintel_message message;
    unsigned long answered = 0;

    while (lintel_stream_recv_message(stream, &message, -1) == 1) {
        struct lintel_header header = message.header;
        if ((header.flags & LINTEL_REPLY) != 0 || header.id == 0)
            continue;
        header.flags = LINTEL_REPLY;
        if (lintel_stream_send_message(stream, &header, message.frame.payload, message.frame.length,
                                       -1) != LINTEL_OK)
            break;
        answered++;
    }
    return answered;
}

static void *connection(void *user)
{
    struct lintel_stream *stream = user;
    struct lintel_error error;
    unsigned long answered = echo(stream);

    lintel_stream_error(stream, &error);
    if (error.status != LINTEL_E_END)
        (void)complain(&error);
    if (lintel_stream_shutdown(stream, -1) == 1)
        (void)!lintel_stream_linger(stream, -1);
    lintel_stream_close(stream);
    count(-1, answered);
    return NULL;
}

/* Take a connection and start its thread. Returns 0, or 1 when that fails. */
static int take(struct lintel_listener *listener)
{
    struct lintel_stream *stream;
    struct lintel_error error;
    pthread_t thread;
    int fd;

    if (lintel_listener_accept(listener, &fd, -1, &error) != 1 ||
        lintel_stream_new(&stream, fd, fd, NULL, &error) != LINTEL_OK)
        return complain(&error);
    count(1, 0);
    if (pthread_create(&thread, NULL, connection, stream) != 0) {
        lintel_stream_close(stream);
        count(-1, 0);
        return 1;
    }
    pthread_detach(thread);
    return 0;
}

int main(int argc, char **argv)
{
    long left = argc > 2 ? strtol(argv[2], NULL, 10) : -1;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_endpoint endpoint;
    struct lintel_listener *listener;
    struct lintel_error error;
    int failed = 0;
    size_t i;

    if (argc < 2) {
        fprintf(stderr, "usage: threaded_server ENDPOINT [CONNECTIONS]\n");
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
    for (; left != 0 && !failed; left -= left > 0)
        failed = take(listener);
    lintel_listener_close(listener);
    pthread_mutex_lock(&lock);
    while (running > 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    printf("%lu replies\n", replies);
    return failed;
}
