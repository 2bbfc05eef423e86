/*
 * pass_fd: hands open files to another process, which could not open them itself.
 *
 *     pass_fd serve unix:///run/sizes.sock       says how large the files of one client are
 *     pass_fd ask unix:///run/sizes.sock FILE... prints "SIZE FILE" for each
 *
 * A descriptor travels with a frame, by lintel_stream_send_fds() and lintel_stream_take_fds(), and
 * the receiver has an open file of its own then. A UNIX socket also tells who is at its other end.
 */
#include <lintel/lintel.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int complain(const char *text)
{
    fprintf(stderr, "pass_fd: %s\n", text);
    return 1;
}

static int complain_of(const struct lintel_stream *stream)
{
    struct lintel_error error;

    lintel_stream_error(stream, &error);
    return complain(error.text);
}

/* ---- the server ------------------------------------------------------------------------------ */

/* Answer a request with the size of the file that came with it, or with what is wrong. */
static int answer(struct lintel_stream *stream, const struct lintel_frame *frame)
{
    struct lintel_header header;
    struct stat status;
    char text[32] = "no file came along";
    int fd;

    if (lintel_header_read(NULL, &header, frame) != LINTEL_OK || (header.flags & LINTEL_CONTROL))
        return LINTEL_OK;
    header.flags = LINTEL_REPLY | LINTEL_ERROR;
    if (lintel_stream_take_fds(stream, frame->offset, &fd, 1) == 1) {
        if (fstat(fd, &status) == 0) {
            snprintf(text, sizeof text, "%" PRIdMAX, (intmax_t)status.st_size);
            header.flags = LINTEL_REPLY;
        }
        close(fd); /* it is ours: the client has its own */
    }
    return lintel_stream_send(stream, &header, text, strlen(text), -1);
}

static int talk(int fd)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_credentials peer;
    struct lintel_stream *stream;
    struct lintel_frame frame;
    struct lintel_error error;
    int rc;

    options.max_fds = 1;
    if (lintel_stream_new(&stream, fd, fd, &options, &error) != LINTEL_OK)
        return complain(error.text);
    if (lintel_stream_credentials(stream, &peer) == LINTEL_OK)
        printf("a client of user %u\n", (unsigned)peer.uid);
    while ((rc = lintel_stream_recv(stream, &frame, -1)) == 1)
        if ((rc = answer(stream, &frame)) < 0)
            break;
    rc = rc == LINTEL_E_END ? 0 : complain_of(stream);
    lintel_stream_close(stream);
    return rc;
}

static int serve(const char *text)
{
    char where[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_endpoint endpoint;
    struct lintel_listener *listener;
    struct lintel_error error;
    int fd, rc;

    if (lintel_endpoint_parse(&endpoint, text, &error) != LINTEL_OK ||
        lintel_listener_open(&listener, &endpoint, 0, &error) != LINTEL_OK)
        return complain(error.text);
    lintel_listener_text(listener, 0, where, sizeof where);
    printf("listening on %s\n", where);
    fflush(stdout);
    rc = lintel_listener_accept(listener, &fd, -1, &error) == 1 ? talk(fd) : complain(error.text);
    lintel_listener_close(listener);
    return rc;
}

/* ---- the client ------------------------------------------------------------------------------ */

/* Returns 0, or 1 when there is no answer. */
static int ask_one(struct lintel_stream *stream, const char *path, uint32_t id)
{
    struct lintel_header header = {.type = 1, .id = id};
    struct lintel_frame reply;
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc;

    if (fd < 0) {
        perror(path);
        return 1;
    }
    rc = lintel_stream_send_fds(stream, &header, NULL, 0, &fd, 1, -1);
    close(fd); /* what travels is a duplicate */
    if (rc < 0 || lintel_stream_recv(stream, &reply, -1) != 1)
        return complain_of(stream);
    printf("%.*s %s\n", (int)reply.length, (const char *)reply.payload, path);
    return 0;
}

int main(int argc, char **argv)
{
    struct lintel_stream *stream;
    struct lintel_error error;
    int failed = 0;

    if (argc == 3 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc < 4 || strcmp(argv[1], "ask") != 0)
        return complain("usage: pass_fd serve ENDPOINT, or pass_fd ask ENDPOINT FILE...");
    if (lintel_stream_open(&stream, argv[2], 5000, NULL, &error) != LINTEL_OK)
        return complain(error.text);
    for (int i = 3; i < argc && !failed; i++)
        failed = ask_one(stream, argv[i], (uint32_t)i);
    lintel_stream_close(stream);
    return failed;
}
