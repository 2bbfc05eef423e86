/* The send loop of a stream. */
#include "config.h"
#include "net/stream_fds.h"
#include "net/stream_seal.h"

#include "core/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PARTS      64                  /* of one sendmsg, below any IOV_MAX */
#define REF_MIN    ((size_t)4 * 1024)  /* a smaller payload is copied sooner than referred to */
#define DIRECT_MIN ((size_t)32 * 1024) /* a larger one is written from the caller's memory */
#define AHEAD      256                 /* so far behind a small frame is prefetched */

/* ---- writing --------------------------------------------------------------------------------- */

int lintelp_stream_send_failed(struct lintel_stream *s, int number)
{
    s->out_status = LINTEL_E_SYSTEM;
    if (number == EPIPE || number == ENOTCONN)
        s->out_status = LINTEL_E_CLOSED;
    if (number == ECONNRESET)
        s->out_status = LINTEL_E_RESET;
    if (lintelp_stream_begin(s) == LINTEL_OK) {
        s->work->plain_below = 0;
        s->work->out_errno = number;
        lintelp_queue_drop(&s->work->queue);
        lintelp_fds_drop(s);
    }
    return lintelp_stream_note(s, s->out_status, number, ABOUT_SEND);
}

/* Everything is written and nothing more will come. */
static int shut_writing(struct lintel_stream *s)
{
    if (s->out.is_socket) {
        if (shutdown(s->out.fd, SHUT_WR) != 0)
            return lintelp_stream_send_failed(s, errno);
    } else if (s->out.fd != s->in.fd) {
        close(s->out.fd);
        s->out.fd = -1;
    }
    s->shut = 1;
    return 1;
}

/* One write of what is queued. Returns 1 something was written, 0 it would wait, or the status of
 * the failure. */
static int write_once(struct lintel_stream *s)
{
    struct iovec parts[PARTS];
    struct lintelp_work *w = s->work;
    size_t count;
    ssize_t put;

    if (s->sealed != NULL)
        return lintelp_sealed_write(s);
    count = lintelp_queue_parts(&w->queue, parts, PARTS);
    put =
        w->fds != NULL ? lintelp_fds_write(s, parts, count) : lintelp_write(&s->out, parts, count);
    if (put < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        return lintelp_stream_send_failed(s, errno);
    w->blocked = put <= 0;
    if (put <= 0)
        return 0;
    s->counters.bytes_out += (uint64_t)put;
    s->counters.frames_out += lintelp_queue_written(&w->queue, (size_t)put);
    return 1;
}

int lintelp_stream_can_write(const struct lintel_stream *s)
{
    return s->sealed != NULL ? lintelp_sealed_can_write(s) : lintelp_stream_queued(s) > 0;
}

int lintelp_stream_write(struct lintel_stream *s)
{
    int rc;

    if (s->sealed != NULL && (rc = lintelp_sealed_write(s)) <= 0)
        return rc;
    while (lintelp_stream_queued(s) > 0)
        if ((rc = write_once(s)) <= 0)
            return rc;
    if (s->work != NULL)
        s->work->blocked = 0;
    return s->closing && !s->shut ? shut_writing(s) : 1;
}

/*
 * Wait until more can be written. What comes in meanwhile is received ahead: a peer that does the
 * same as we do now would else wait for us as we wait for it.
 */
static int wait_to_write(struct lintel_stream *s, struct lintelp_deadline *deadline)
{
    struct pollfd fds[2] = {{s->out.fd, POLLOUT, 0}, {s->in.fd, POLLIN, 0}};
    int ahead, same = s->in.fd == s->out.fd;
    int rc;

    if (s->sealed != NULL && !lintelp_sealed_is_done(s))
        return lintelp_sealed_handshake(s, deadline);
    ahead = s->work != NULL && lintelp_stream_ahead_room(s) > 0;
    if (ahead && same)
        fds[0].events |= POLLIN;
    rc = lintelp_poll(fds, ahead && !same ? 2 : 1, deadline);
    if (rc < 0)
        return lintelp_stream_send_failed(s, errno);
    if (rc == 0)
        return lintelp_stream_note(s, LINTEL_E_TIMEOUT, 0, ABOUT_NO_ROOM);
    if (ahead && (fds[same ? 0 : 1].revents & ~POLLOUT) != 0)
        lintelp_stream_receive_ahead(s);
    return 1;
}

int lintelp_stream_flush(struct lintel_stream *s, struct lintelp_deadline *deadline)
{
    int rc;

    if (s->work != NULL)
        s->work->stuck = 0;
    while ((rc = lintelp_stream_write(s)) == 0 && deadline->timeout_ms != 0)
        if ((rc = wait_to_write(s, deadline)) < 0)
            return rc;
    return rc;
}

static int flush(struct lintel_stream *s, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};

    return lintelp_stream_flush(s, &deadline);
}

int lintel_stream_flush(struct lintel_stream *stream, int timeout_ms)
{
    if (stream == NULL)
        return LINTEL_E_USAGE;
    if (stream->out_status < 0)
        return lintelp_stream_note_out(stream);
    return flush(stream, timeout_ms);
}

int lintel_stream_shutdown(struct lintel_stream *stream, int timeout_ms)
{
    if (stream == NULL)
        return LINTEL_E_USAGE;
    if (stream->sealed != NULL && lintelp_sealed_is_refused(stream)) {
        stream->closing = stream->shut = 1;
        return 1;
    }
    if (stream->out_status == LINTEL_OK && !stream->out.is_socket &&
        stream->out.fd == stream->in.fd)
        return lintelp_stream_note(stream, LINTEL_E_UNSUPPORTED, 0, ABOUT_SHUTDOWN);
    stream->closing = 1;
    if (stream->work != NULL)
        stream->work->plain_below = 0;
    return lintel_stream_flush(stream, timeout_ms);
}

/* ---- taking a frame -------------------------------------------------------------------------- */

int lintelp_stream_refuse(struct lintel_stream *s, const struct lintel_error *error)
{
    struct lintelp_work *w;

    if (lintelp_stream_begin(s) < 0)
        return lintelp_stream_note(s, error->status, 0, ABOUT_NOTHING);
    w = s->work;
    if (w->detail == NULL)
        w->detail = lintelp_resize(s->options->allocator, NULL, sizeof *w->detail);
    if (w->detail != NULL)
        *w->detail = *error;
    return lintelp_stream_note(s, error->status, 0, ABOUT_DETAIL);
}

int lintelp_stream_refuse_size(struct lintel_stream *s, size_t size)
{
    struct lintel_error error;
    struct lintelp_text text = lintelp_error(&error, LINTEL_E_TOO_LARGE, 0);

    lintelp_text_str(&text, "a payload of ");
    lintelp_text_u64(&text, size);
    lintelp_text_str(&text, " bytes exceeds the limit of ");
    lintelp_text_u64(&text, s->work->max_frame);
    return lintelp_stream_refuse(s, &error);
}

/* The plain way begins with the next frame: lintel's own layout, and no hook. */
static void open_plain_way(struct lintel_stream *s)
{
    struct lintelp_work *w = s->work;

    if (s->options->trace == NULL && lintel_layout_is_lintel(w->layout))
        w->plain_below = w->max_frame < DIRECT_MIN ? (size_t)w->max_frame + 1 : DIRECT_MIN;
}

/* Control frames are bounded by their kind: a small limit must not keep a BYE from saying that it
 * was exceeded. */
int lintelp_stream_may_send(struct lintel_stream *s, const struct lintel_header *header,
                            size_t size)
{
    int bounded, rc;

    if (s->out_status < 0)
        return lintelp_stream_note_out(s);
    if (s->closing)
        return lintelp_stream_note(s, LINTEL_E_CLOSED, 0, ABOUT_SHUTDOWN);
    rc = lintelp_stream_begin(s);
    if (rc < 0)
        return rc;
    bounded = (header->flags & LINTEL_CONTROL) == 0 || !lintel_layout_is_lintel(s->work->layout);
    if (bounded && size > s->work->max_frame)
        return lintelp_stream_refuse_size(s, size);
    open_plain_way(s);
    return LINTEL_OK;
}

static inline int is_full(const struct lintel_stream *s, size_t size)
{
    return lintelp_queue_size(&s->work->queue) > LINTEL_GATHER_SIZE - size;
}

int lintelp_stream_make_way(struct lintel_stream *s, size_t size, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    int rc;

    if (timeout_ms == 0 && s->work->blocked)
        return LINTEL_OK;
    s->work->stuck = 0;
    while (is_full(s, size)) {
        rc = write_once(s);
        if (rc == 0 && timeout_ms == 0)
            break;
        if (rc == 0)
            rc = wait_to_write(s, &deadline);
        if (rc < 0)
            return rc;
    }
    return LINTEL_OK;
}

/* Where the header and the trailer of a frame stand, at the end of the queue. */
struct ends {
    uint8_t *header, *trailer;
    size_t header_size, trailer_size;
};

/* Encode a frame around `between` bytes, which the caller fills in. Nothing is queued yet. */
static int put_ends(struct lintel_stream *s, const struct lintel_header *header, size_t size,
                    size_t between, size_t refs, struct ends *out)
{
    struct lintelp_work *w = s->work;
    struct lintelp_queue *q = &w->queue;
    size_t room = w->overhead + between;
    struct lintel_error error;
    int rc;

    if (lintelp_queue_reserve(q, room, refs) < 0)
        return lintelp_stream_note(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
    out->header = q->bytes + q->tail;
    rc = lintel_frame_put_header(w->layout, out->header, room, &out->header_size, header, size,
                                 &error);
    if (rc < 0)
        return lintelp_stream_refuse(s, &error);
    out->trailer = out->header + out->header_size + between;
    rc = lintel_frame_put_trailer(w->layout, out->trailer, room - out->header_size - between,
                                  &out->trailer_size, header, &error);
    return rc < 0 ? lintelp_stream_refuse(s, &error) : LINTEL_OK;
}

static void trace_out(struct lintel_stream *s, struct ends ends, const void *payload, size_t size)
{
    struct lintel_frame frame;

    frame.header = ends.header;
    frame.payload = payload;
    frame.trailer = ends.trailer;
    frame.length = size;
    frame.header_size = (uint32_t)ends.header_size;
    frame.trailer_size = (uint32_t)ends.trailer_size;
    frame.offset = s->counters.bytes_out + lintelp_queue_size(&s->work->queue);
    s->options->trace(s->options->trace_user, '>', &frame);
}

/* Queue a frame with a copy of its payload. On failure nothing has changed. */
static int put_copied(struct lintel_stream *s, const struct lintel_header *header,
                      const void *payload, size_t size)
{
    struct lintelp_queue *q = &s->work->queue;
    struct ends ends;
    size_t wire;
    int rc = put_ends(s, header, size, size, 0, &ends);

    if (rc < 0)
        return rc;
    if (size > 0)
        memcpy(ends.header + ends.header_size, payload, size);
    if (s->options->trace != NULL)
        trace_out(s, ends, payload, size);
    wire = ends.header_size + size + ends.trailer_size;
    lintelp_queue_put(q, wire);
    lintelp_queue_end_frame(q, wire);
    s->counters.payloads_copied += size;
    return LINTEL_OK;
}

/* Queue a frame with its payload by reference, and leave its size on the wire in *wire. On failure
 * nothing has changed. */
static int put_referred(struct lintel_stream *s, const struct lintel_header *header,
                        const void *payload, size_t size, lintel_release *release, void *user,
                        size_t *wire)
{
    struct lintelp_queue *q = &s->work->queue;
    struct ends ends;
    int rc = put_ends(s, header, size, 0, 1, &ends);

    if (rc < 0)
        return rc;
    if (s->options->trace != NULL)
        trace_out(s, ends, payload, size);
    *wire = ends.header_size + size + ends.trailer_size;
    lintelp_queue_put(q, ends.header_size);
    lintelp_queue_put_ref(q, payload, size, release, user);
    lintelp_queue_put(q, ends.trailer_size);
    lintelp_queue_end_frame(q, *wire);
    return LINTEL_OK;
}

static int send_copied(struct lintel_stream *s, const struct lintel_header *header,
                       const void *payload, size_t size, int timeout_ms)
{
    size_t room = s->work->overhead + size;
    int rc;

    if (is_full(s, room) && (rc = lintelp_stream_make_way(s, room, timeout_ms)) < 0)
        return rc;
    return put_copied(s, header, payload, size);
}

/* Sending failed with the frame that was queued last: its own call reports it, so that it is not
 * among the frames that were taken and lost. */
static int not_taken(struct lintel_stream *s, size_t wire, int status)
{
    struct lintelp_queue *q = &s->work->queue;

    q->lost_frames--;
    q->lost_bytes -= q->lost_bytes < wire ? q->lost_bytes : wire;
    return status;
}

/* Queue a payload by reference, and write if that is due. */
static int send_by_reference(struct lintel_stream *s, const struct lintel_header *header,
                             const void *payload, size_t size, lintel_release *release, void *user,
                             size_t write_from, int timeout_ms)
{
    size_t wire = 0;
    int rc = is_full(s, 1) ? lintelp_stream_make_way(s, 1, timeout_ms) : LINTEL_OK;

    if (rc == LINTEL_OK)
        rc = put_referred(s, header, payload, size, release, user, &wire);
    if (rc < 0) {
        if (release != NULL)
            release(user, payload, size);
        return rc;
    }
    if (lintelp_queue_size(&s->work->queue) < write_from || (timeout_ms == 0 && s->work->blocked))
        return LINTEL_OK;
    /* A failure that does not stay, of memory to seal with, leaves it queued. */
    rc = flush(s, timeout_ms);
    return rc < 0 && s->out_status < 0 ? not_taken(s, wire, rc) : LINTEL_OK;
}

/*
 * Write a large payload from the caller's memory, and copy what could not be written. Memory for
 * the copy is set aside first: a frame that has begun cannot be given up. A call that waits for
 * ever leaves nothing to copy.
 */
static int send_direct(struct lintel_stream *s, const struct lintel_header *header,
                       const void *payload, size_t size, int timeout_ms)
{
    void *copy = NULL;
    int rc;

    if (timeout_ms >= 0 && (copy = lintelp_resize(s->options->allocator, NULL, size)) == NULL)
        return lintelp_stream_note(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
    rc = send_by_reference(s, header, payload, size, NULL, NULL, 0, timeout_ms);
    if (copy != NULL && rc == LINTEL_OK)
        s->counters.payloads_copied += lintelp_queue_own(&s->work->queue, payload, copy);
    else if (copy != NULL)
        (void)lintelp_resize(s->options->allocator, copy, 0);
    return rc;
}

/* Whether a header of lintel's own layout breaks no rule, whatever its numbers are. */
static inline int is_plain(const struct lintel_header *header)
{
    return header->like == NULL && (header->flags & ~(LINTEL_REPLY | LINTEL_MORE)) == 0;
}

/* The queue is larger than the nearest cache: what is written next is on its way there meanwhile.
 * No matter if it lies behind the end. */
static inline void prefetch_to_write(const uint8_t *at)
{
#if defined(__GNUC__)
    __builtin_prefetch((const void *)((uintptr_t)at + AHEAD), 1);
#else
    (void)at;
#endif
}

/* memcpy(), but that for most small payloads the call would cost more than the copy: both ends of
 * one are copied, and they overlap where they must. */
static inline void copy_payload(uint8_t *to, const uint8_t *from, size_t size)
{
    if (size < 16 || size > 64) {
        if (size > 0)
            memcpy(to, from, size);
        return;
    }
    memcpy(to, from, 16);
    memcpy(to + size - 16, from + size - 16, 16);
    if (size > 32) {
        memcpy(to + 16, from + 16, 16);
        memcpy(to + size - 32, from + size - 32, 16);
    }
}

/*
 * The plain way of most frames, without a step that is not needed. Returns 1, or 0 and nothing has
 * changed: the frame needs a further look. The copy comes last, so that nothing has to be kept over
 * the call of it.
 */
static inline int send_plainly(struct lintel_stream *s, const struct lintel_header *header,
                               const void *payload, size_t size)
{
    struct lintelp_queue *q = &s->work->queue;
    size_t wire = LINTEL_HEADER_SIZE + size;
    uint8_t *at;

    if (wire > q->plain_end - q->tail || !is_plain(header) || !lintelp_queue_try_frame(q, wire))
        return 0;
    at = q->bytes + q->tail;
    q->tail += wire;
    s->counters.payloads_copied += size;
    prefetch_to_write(at);
    lintel_header_put(at, header->flags, header->type, header->id, (uint32_t)size);
    copy_payload(at + LINTEL_HEADER_SIZE, payload, size);
    return 1;
}

static LINTELP_APART int send_with_care(struct lintel_stream *s, const struct lintel_header *header,
                                        const void *payload, size_t size, int timeout_ms)
{
    int rc = lintelp_stream_may_send(s, header, size);

    if (rc < 0)
        return rc;
    if (size < DIRECT_MIN)
        return send_copied(s, header, payload, size, timeout_ms);
    return send_direct(s, header, payload, size, timeout_ms);
}

int lintel_stream_send(struct lintel_stream *stream, const struct lintel_header *header,
                       const void *payload, size_t size, int timeout_ms)
{
    if (stream == NULL || header == NULL || (payload == NULL && size > 0))
        return LINTEL_E_USAGE;
    if (stream->work != NULL && size < stream->work->plain_below &&
        send_plainly(stream, header, payload, size))
        return LINTEL_OK;
    return send_with_care(stream, header, payload, size, timeout_ms);
}

int lintel_stream_send_ref(struct lintel_stream *stream, const struct lintel_header *header,
                           const void *payload, size_t size, lintel_release *release, void *user,
                           int timeout_ms)
{
    int rc = LINTEL_E_USAGE;

    if (stream != NULL && header != NULL && (payload != NULL || size == 0))
        rc = lintelp_stream_may_send(stream, header, size);
    if (rc == LINTEL_OK && size >= REF_MIN)
        return send_by_reference(stream, header, payload, size, release, user, LINTEL_GATHER_SIZE,
                                 timeout_ms);
    if (rc == LINTEL_OK)
        rc = send_copied(stream, header, payload, size, timeout_ms);
    if (release != NULL)
        release(user, payload, size);
    return rc;
}

/* ---- asking ---------------------------------------------------------------------------------- */

size_t lintel_stream_queued(const struct lintel_stream *stream)
{
    if (stream == NULL)
        return 0;
    return lintelp_stream_queued(stream) +
           (stream->sealed != NULL ? lintelp_sealed_queued(stream) : 0);
}

void lintel_stream_unsent(const struct lintel_stream *stream, uint64_t *frames, uint64_t *bytes)
{
    const struct lintelp_work *w = stream != NULL ? stream->work : NULL;
    const struct lintelp_queue *q = w != NULL ? &w->queue : NULL;
    uint64_t sealed_frames = 0, sealed_bytes = 0;

    if (stream != NULL && stream->sealed != NULL)
        lintelp_sealed_unsent(stream, &sealed_frames, &sealed_bytes);
    if (frames != NULL)
        *frames = sealed_frames + (q != NULL ? q->lost_frames + lintelp_queue_frames(q) : 0);
    if (bytes != NULL)
        *bytes = sealed_bytes + (q != NULL ? q->lost_bytes + lintelp_queue_size(q) : 0);
}
