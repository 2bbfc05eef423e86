/* Sending descriptors: an FDS and its frame begin a call of their own. */
#include "config.h"
#include "net/stream_fds.h"

#include "core/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

#define FDS_SIZE ((size_t)LINTEL_HEADER_SIZE + 4) /* bytes of an FDS; fixed by the protocol */

/* ---- writing --------------------------------------------------------------------------------- */

/* Leave the first `limit` bytes of some parts. Returns their number. */
static size_t cut(struct iovec *iov, size_t count, uint64_t limit)
{
    size_t used = 0;

    for (; used < count && limit > 0; used++) {
        if (iov[used].iov_len > limit)
            iov[used].iov_len = (size_t)limit;
        limit -= iov[used].iov_len;
    }
    return used;
}

static ssize_t write_with(const struct lintelp_end *end, struct iovec *iov, size_t count,
                          const struct lintelp_fds *set)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CMSG_SPACE(LINTEL_FDS_MAX * sizeof(int))];
    } control;
    struct msghdr message;
    struct cmsghdr *part;

    memset(&message, 0, sizeof message);
    memset(&control, 0, sizeof control);
    message.msg_iov = iov;
    message.msg_iovlen = count;
    message.msg_control = control.bytes;
    message.msg_controllen = CMSG_SPACE(set->count * sizeof(int));
    part = CMSG_FIRSTHDR(&message);
    part->cmsg_level = SOL_SOCKET;
    part->cmsg_type = SCM_RIGHTS;
    part->cmsg_len = CMSG_LEN(set->count * sizeof(int));
    memcpy(CMSG_DATA(part), set->fd, set->count * sizeof(int));
    return lintelp_send(end, &message);
}

static void pop(struct lintel_stream *s)
{
    struct lintelp_stream_fds *fds = s->work->fds;
    struct lintelp_fds *sent = fds->out;

    fds->out = sent->next;
    if (fds->out == NULL)
        fds->out_end = &fds->out;
    fds->out_count -= sent->count;
    sent->next = NULL;
    lintelp_fds_close(s, &sent);
}

ssize_t lintelp_fds_write(struct lintel_stream *s, struct iovec *iov, size_t count)
{
    const struct lintelp_fds *set = s->work->fds->out, *next = set;
    uint64_t at = s->counters.bytes_out;
    ssize_t put;

    if (set != NULL && set->begin == at)
        next = set->next;
    if (next != NULL)
        count = cut(iov, count, next->begin - at);
    if (next == set)
        return lintelp_write(&s->out, iov, count);
    put = write_with(&s->out, iov, count, set);
    if (put > 0)
        pop(s);
    return put;
}

void lintelp_fds_drop(struct lintel_stream *s)
{
    if (s->work->fds == NULL)
        return;
    lintelp_fds_close(s, &s->work->fds->out);
    s->work->fds->out_end = &s->work->fds->out;
    s->work->fds->out_count = 0;
}

/* ---- taking a frame -------------------------------------------------------------------------- */

/* Whether descriptors can go along with a frame of this stream, and so many. */
static int may_carry(struct lintel_stream *s, size_t count)
{
    struct lintel_error error;
    struct lintelp_text text;
    int is_unix = lintelp_fds_is_unix(&s->out);

    if (is_unix < 0) {
        (void)lintelp_fail_errno(&error, errno, "ask for a socket's address", "");
        return lintelp_stream_refuse(s, &error);
    }
    if (!lintel_layout_is_lintel(lintel_stream_layout(s)) || !is_unix || s->sealed != NULL) {
        (void)lintelp_fail(&error, LINTEL_E_UNSUPPORTED, 0,
                           "descriptors travel on UNIX sockets, under lintel's own layout, and not "
                           "with a sealed frame");
        return lintelp_stream_refuse(s, &error);
    }
    if (count > 0 && count <= LINTEL_FDS_MAX)
        return LINTEL_OK;
    text = lintelp_error(&error, LINTEL_E_COUNT, 0);
    lintelp_text_str(&text, "a frame carries 1 to ");
    lintelp_text_u64(&text, LINTEL_FDS_MAX);
    lintelp_text_str(&text, " descriptors, not ");
    lintelp_text_u64(&text, count);
    return lintelp_stream_refuse(s, &error);
}

/* Write until little enough is queued, of bytes and of descriptors. Under an event loop the queue
 * takes any frame. */
static int make_way(struct lintel_stream *s, size_t count, size_t size, int timeout_ms)
{
    size_t room = size < LINTEL_GATHER_SIZE - 1024 ? size + 1024 : LINTEL_GATHER_SIZE;
    int rc;

    if (s->work->fds->out_count + count > LINTEL_FDS_MAX &&
        (timeout_ms != 0 || !s->work->blocked)) {
        rc = lintel_stream_flush(s, timeout_ms);
        return rc < 0 ? rc : LINTEL_OK;
    }
    return lintelp_stream_make_way(s, room, timeout_ms);
}

/* Duplicates of the descriptors, which no other program inherits. */
static int duplicate(struct lintel_stream *s, struct lintelp_fds **out, const int *fds,
                     size_t count)
{
    struct lintelp_fds *set = lintelp_fds_alloc(s, count);
    struct lintel_error error;

    if (set == NULL)
        return lintelp_stream_note(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
    for (; set->count < count; set->count++) {
        int fd = fcntl(fds[set->count], F_DUPFD_CLOEXEC, 0);
        if (fd < 0) {
            (void)lintelp_fail_errno(&error, errno, "duplicate a descriptor", "");
            lintelp_fds_close(s, &set);
            return lintelp_stream_refuse(s, &error);
        }
        set->fd[set->count] = fd;
    }
    *out = set;
    return LINTEL_OK;
}

/* An encoded header must not be that of a control frame: these are the stream's own affair. */
static int check_flags(const struct lintel_stream *s, const uint8_t *bytes, size_t size,
                       struct lintel_error *error)
{
    struct lintel_frame frame = {.header = bytes, .header_size = (uint32_t)size};
    struct lintel_header header;

    if (lintel_header_read(s->work->layout, &header, &frame) == LINTEL_OK &&
        (header.flags & LINTEL_CONTROL) == 0)
        return LINTEL_OK;
    return lintelp_fail(error, LINTEL_E_MALFORMED, 0, "no descriptors go with a control frame");
}

static void trace_out(struct lintel_stream *s, const uint8_t *bytes, size_t header_size,
                      size_t length, uint64_t offset)
{
    struct lintel_frame frame;

    memset(&frame, 0, sizeof frame);
    frame.header = bytes;
    frame.payload = frame.trailer = bytes + header_size;
    frame.trailer += length;
    frame.length = length;
    frame.header_size = (uint32_t)header_size;
    frame.offset = offset;
    s->options->trace(s->options->trace_user, '>', &frame);
}

/* Queue the FDS and its frame as one, which is whole or not there at all. On failure nothing has
 * changed. */
static int put(struct lintel_stream *s, const struct lintel_header *header, const void *payload,
               size_t size, struct lintelp_fds *set)
{
    size_t room = s->work->overhead, header_size;
    struct lintel_error error;
    uint8_t *at;
    int rc;

    if (size > SIZE_MAX / 2 ||
        lintelp_queue_reserve(&s->work->queue, FDS_SIZE + room + size, 0) < 0)
        return lintelp_stream_note(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
    at = s->work->queue.bytes + s->work->queue.tail;
    lintel_header_put(at, LINTEL_CONTROL, LINTEL_FDS, 0, 4);
    lintel_put_u32be(at + LINTEL_HEADER_SIZE, set->count);
    rc = lintel_frame_put_header(s->work->layout, at + FDS_SIZE, room, &header_size, header, size,
                                 &error);
    if (rc == LINTEL_OK)
        rc = check_flags(s, at + FDS_SIZE, header_size, &error);
    if (rc < 0)
        return lintelp_stream_refuse(s, &error);
    if (size > 0)
        memcpy(at + FDS_SIZE + header_size, payload, size);
    set->begin = s->counters.bytes_out + lintelp_queue_size(&s->work->queue);
    if (s->options->trace != NULL) {
        trace_out(s, at, LINTEL_HEADER_SIZE, 4, set->begin);
        trace_out(s, at + FDS_SIZE, header_size, size, set->begin + FDS_SIZE);
    }
    lintelp_queue_put(&s->work->queue, FDS_SIZE + header_size + size);
    lintelp_queue_end_frame(&s->work->queue, FDS_SIZE + header_size + size);
    s->counters.payloads_copied += size;
    return LINTEL_OK;
}

static void append(struct lintelp_stream_fds *fds, struct lintelp_fds *set)
{
    *fds->out_end = set;
    fds->out_end = &set->next;
    fds->out_count += set->count;
}

int lintel_stream_send_fds(struct lintel_stream *stream, const struct lintel_header *header,
                           const void *payload, size_t size, const int *fds, size_t count,
                           int timeout_ms)
{
    struct lintelp_fds *set = NULL;
    int rc;

    if (stream == NULL || header == NULL || (payload == NULL && size > 0) ||
        (fds == NULL && count > 0))
        return LINTEL_E_USAGE;
    rc = may_carry(stream, count);
    if (rc == LINTEL_OK)
        rc = lintelp_stream_may_send(stream, header, size);
    if (rc == LINTEL_OK && (rc = lintelp_fds_new(stream)) < 0)
        (void)lintelp_stream_note(stream, rc, 0, ABOUT_NOTHING);
    if (rc == LINTEL_OK)
        rc = make_way(stream, count, size, timeout_ms);
    if (rc == LINTEL_OK)
        rc = duplicate(stream, &set, fds, count);
    if (rc == LINTEL_OK && (rc = put(stream, header, payload, size, set)) < 0)
        lintelp_fds_close(stream, &set);
    if (rc == LINTEL_OK)
        append(stream->work->fds, set);
    return rc;
}
