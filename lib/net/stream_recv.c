/* The recv loop of a stream. */
#include "config.h"
#include "net/stream_fds.h"
#include "net/stream_seal.h"

#include "core/internal.h"

#include <errno.h>
#include <string.h>

#define AHEAD_FIRST ((size_t)16 * 1024) /* law 2: growth by doubling begins here, at most */
#define AHEAD_KEPT                                                                            \
    ((size_t)64 * 1024)             /* what an empty one may keep until the stream is trimmed \
                                     */
#define IN_PLACE ((size_t)4 * 1024) /* so much missing of a frame is received where it belongs */

int lintelp_stream_in_failed(struct lintel_stream *s, int status, int number,
                             enum lintelp_about about)
{
    s->in_status = (int8_t)status;
    s->in_about = (uint8_t)about;
    if (s->work != NULL) {
        s->work->in_errno = number;
        lintelp_fds_stop(s);
    }
    return lintelp_stream_note(s, status, number, about);
}

int lintelp_stream_receive_failed(struct lintel_stream *s, int number)
{
    return lintelp_stream_in_failed(s, number == ECONNRESET ? LINTEL_E_RESET : LINTEL_E_SYSTEM,
                                    number, ABOUT_RECEIVE);
}

/* As lintelp_read(). */
static ssize_t read_some(struct lintel_stream *s, void *out, size_t size, int wait)
{
    return lintelp_fds_taken(s) ? lintelp_fds_read(s, out, size, wait)
                                : lintelp_read(&s->in, out, size, wait);
}

/* ---- ahead of the decoder -------------------------------------------------------------------- */

static size_t ahead_size(const struct lintel_stream *s)
{
    const struct lintelp_ahead *ahead = s->work->ahead;

    return ahead != NULL ? ahead->tail - ahead->head : 0;
}

static void free_ahead(struct lintel_stream *s)
{
    struct lintelp_work *w = s->work;

    if (w->ahead != NULL)
        (void)lintelp_resize(s->options->allocator, w->ahead, 0);
    w->ahead = NULL;
}

/* Room for so many more bytes at the tail. */
static int reserve_ahead(struct lintel_stream *s, size_t size)
{
    struct lintelp_ahead *ahead = s->work->ahead;
    size_t live = ahead_size(s);
    size_t capacity = ahead != NULL ? ahead->capacity : 0;

    if (ahead != NULL && size <= capacity - ahead->tail)
        return LINTEL_OK;
    if (ahead != NULL && ahead->head >= live && size <= capacity - live) {
        memmove(ahead->bytes, ahead->bytes + ahead->head, live);
    } else {
        if (size > SIZE_MAX / 4 - live)
            return LINTEL_E_NOMEM;
        capacity = capacity > 0 ? 2 * capacity : 256;
        while (capacity < live + size)
            capacity *= 2;
        ahead = lintelp_resize(s->options->allocator, NULL, sizeof *ahead + capacity);
        if (ahead == NULL)
            return LINTEL_E_NOMEM;
        if (live > 0)
            memcpy(ahead->bytes, s->work->ahead->bytes + s->work->ahead->head, live);
        free_ahead(s);
        s->work->ahead = ahead;
        ahead->capacity = capacity;
    }
    ahead->head = 0;
    ahead->tail = live;
    return LINTEL_OK;
}

static void append_ahead(struct lintel_stream *s, const struct lintel_part *part)
{
    struct lintelp_ahead *ahead = s->work->ahead;

    if (part->size > 0)
        memcpy(ahead->bytes + ahead->tail, part->bytes, part->size);
    ahead->tail += part->size;
}

size_t lintelp_stream_ahead_room(const struct lintel_stream *s)
{
    const struct lintelp_work *w = s->work;
    uint64_t held = (uint64_t)ahead_size(s) + lintel_decoder_memory(w->decoder) +
                    (s->sealed != NULL ? lintelp_sealed_ahead(s) : 0);

    if (s->in_status < 0 || w->in_errno != 0 || s->ended || w->stuck || held >= w->max_memory ||
        (lintelp_fds_taken(s) && !lintelp_fds_ahead(s)))
        return 0;
    return w->max_memory - held < SIZE_MAX ? (size_t)(w->max_memory - held) : SIZE_MAX;
}

void lintelp_stream_receive_ahead(struct lintel_stream *s)
{
    size_t room = lintelp_stream_ahead_room(s);
    size_t wanted = room < AHEAD_FIRST ? room : AHEAD_FIRST;
    struct lintelp_ahead *ahead = s->work->ahead;
    ssize_t got;

    if (s->sealed != NULL) {
        lintelp_sealed_receive_ahead(s, room);
        return;
    }
    if (ahead == NULL || ahead->tail == ahead->capacity) {
        if (reserve_ahead(s, wanted) < 0) {
            s->work->stuck = 1;
            return;
        }
        ahead = s->work->ahead;
    }
    if (room > ahead->capacity - ahead->tail)
        room = ahead->capacity - ahead->tail;
    got = read_some(s, ahead->bytes + ahead->tail, room, 0);
    if (got > 0) {
        ahead->tail += (size_t)got;
        s->counters.bytes_in += (uint64_t)got;
    }
    if (got == 0)
        s->ended = 1;
    if (got < 0 && errno == ENOMEM && lintelp_fds_taken(s))
        s->work->stuck = 1;
    else if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        s->work->in_errno = errno;
}

/* Give the decoder what was received ahead of it. */
static int feed_ahead(struct lintel_stream *s)
{
    struct lintelp_ahead *ahead = s->work->ahead;
    size_t size = ahead_size(s), room;
    void *space;
    int rc = lintel_decoder_space(s->work->decoder, &space, &room);

    if (rc < 0)
        return lintelp_stream_note(s, rc, 0, ABOUT_DECODER);
    if (size > room)
        size = room;
    memcpy(space, ahead->bytes + ahead->head, size);
    ahead->head += size;
    if (ahead->head == ahead->tail)
        ahead->head = ahead->tail = 0;
    if (ahead->tail == 0 && ahead->capacity > AHEAD_KEPT)
        free_ahead(s);
    rc = lintel_decoder_filled(s->work->decoder, size);
    return rc < 0 ? lintelp_stream_note(s, rc, 0, ABOUT_DECODER) : 1;
}

/*
 * Frames are given out, and what follows them lies in the shared buffer, where another stream will
 * receive next: take it out.
 */
static void leave_shared_buffer(struct lintel_stream *s)
{
    size_t size = lintel_decoder_unread(s->work->decoder);
    struct lintel_part parts[2];

    s->work->fed = 0;
    if (size == 0)
        return;
    if (reserve_ahead(s, size) < 0) {
        lintelp_stream_in_failed(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
        return;
    }
    (void)lintel_decoder_rest(s->work->decoder, parts);
    append_ahead(s, &parts[0]);
    append_ahead(s, &parts[1]);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* One system call. Returns 1 the decoder has more, or knows that this was the end; 0 nothing is
 * there; else the status. */
static int receive(struct lintel_stream *s, int wait)
{
    struct lintelp_work *w = s->work;
    void *space = s->options->receive_buffer;
    size_t size = s->options->receive_buffer_size;
    /* What is behind a batch of pieces must come out of the shared buffer, and between a payload
     * and its trailer it could not. */
    int shared = space != NULL && size > 0 && lintel_decoder_need(w->decoder) < IN_PLACE &&
                 !(w->pieces && lintel_layout_trailer_max(w->layout) > 0);
    ssize_t got;
    int rc;

    if (s->sealed != NULL)
        return lintelp_sealed_receive(s, wait);
    if (!shared && (rc = lintel_decoder_space(w->decoder, &space, &size)) < 0)
        return lintelp_stream_note(s, rc, 0, ABOUT_DECODER);
    got = read_some(s, space, size, wait);
    /* With descriptors a receive may stop short of what is there. */
    w->dry = got > 0 && (size_t)got < size && !lintelp_fds_taken(s);
    if (got < 0 && errno == ENOMEM && lintelp_fds_taken(s))
        return lintelp_stream_note(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
    if (got < 0)
        return errno == EAGAIN || errno == EWOULDBLOCK ? 0
                                                       : lintelp_stream_receive_failed(s, errno);
    if (got == 0) {
        s->ended = 1;
        return 1;
    }
    s->counters.bytes_in += (uint64_t)got;
    w->fed = (unsigned)shared & 1;
    rc = shared ? lintel_decoder_feed(w->decoder, space, (size_t)got)
                : lintel_decoder_filled(w->decoder, (size_t)got);
    return rc < 0 ? lintelp_stream_note(s, rc, 0, ABOUT_DECODER) : 1;
}

/* The input has ended; after a reset that sending has met, that is no orderly end. */
static int finish(struct lintel_stream *s)
{
    if (s->out_status == LINTEL_E_RESET && s->in.fd == s->out.fd)
        return lintelp_stream_receive_failed(s, ECONNRESET);
    (void)lintel_decoder_end(s->work->decoder);
    return 1;
}

/* Whether a frame is begun, if only by its FDS, and has a deadline. */
static int is_timed(const struct lintel_stream *s)
{
    const struct lintelp_work *w = s->work;

    return s->options->frame_timeout_ms > 0 &&
           ((s->sealed != NULL && lintelp_sealed_begun(s) > 0) ||
            lintel_decoder_begun(w->decoder, NULL) || (w->fds != NULL && w->fds->awaited));
}

/* ns that the begun frame still has, when its clock is moved to now. */
static uint64_t frame_left(const struct lintel_stream *s, uint64_t now)
{
    uint64_t limit = (uint64_t)s->options->frame_timeout_ms * 1000000;
    uint64_t waited = s->work->waited;

    if (s->work->waiting_since != 0)
        waited += now - s->work->waiting_since;
    return waited < limit ? limit - waited : 0;
}

static int to_ms(uint64_t ns)
{
    return (int)((ns + 999999) / 1000000);
}

/* Nothing is there: the clock of a begun frame runs. Leaves in *left_ms what it still has, -1
 * without one. */
static int run_frame_clock(struct lintel_stream *s, int *left_ms)
{
    uint64_t now, left;

    *left_ms = -1;
    if (!is_timed(s))
        return LINTEL_OK;
    now = lintelp_now();
    left = frame_left(s, now);
    if (left == 0)
        return lintelp_stream_in_failed(s, LINTEL_E_TIMEOUT, 0, ABOUT_BEGUN);
    s->work->waited = (uint64_t)s->options->frame_timeout_ms * 1000000 - left;
    s->work->waiting_since = now;
    *left_ms = to_ms(left);
    return LINTEL_OK;
}

/* Wait until there may be something to read, or more can be written. */
static int wait_to_read(struct lintel_stream *s, struct lintelp_deadline *deadline, int frame_ms)
{
    struct pollfd fds[2] = {{s->in.fd, POLLIN, 0}, {s->out.fd, POLLOUT, 0}};
    int writing = lintelp_stream_can_write(s);
    int same = s->in.fd == s->out.fd;
    int left = lintelp_deadline_left(deadline);

    if (left == 0)
        return lintelp_stream_note(s, LINTEL_E_TIMEOUT, 0, ABOUT_NO_FRAME);
    if (frame_ms >= 0 && (left < 0 || frame_ms < left))
        left = frame_ms;
    if (writing && same)
        fds[0].events |= POLLOUT;
    if (lintelp_poll_once(fds, writing && !same ? 2 : 1, left) < 0)
        return lintelp_stream_receive_failed(s, errno);
    return 1;
}

/*
 * The decoder needs more. Returns 1 it has more, 0 nothing is there and the caller does not wait,
 * or a status.
 *
 * What is queued is written before this waits for an answer to it. If that fails, what the peer had
 * sent before is received first; waiting for more would be in vain, so that the failure is returned
 * in place of it.
 */
static int fill(struct lintel_stream *s, struct lintelp_deadline *deadline)
{
    int for_ever = deadline->timeout_ms < 0;
    int rc, frame_ms, failed = 0;

    s->work->fed = 0;
    if (ahead_size(s) > 0)
        return feed_ahead(s);
    if (s->work->in_errno != 0 && s->sealed == NULL)
        return lintelp_stream_receive_failed(s, s->work->in_errno);
    for (;;) {
        if (s->ended)
            return finish(s);
        if (for_ever && lintelp_stream_can_write(s))
            failed = lintelp_stream_write(s) < 0;
        rc = receive(s, for_ever && !failed && !lintelp_stream_can_write(s) && !is_timed(s));
        if (rc < 0 || (rc > 0 && !s->ended))
            return rc;
        if (s->ended)
            continue;
        if (failed)
            return lintelp_stream_note_out(s);
        if ((rc = run_frame_clock(s, &frame_ms)) < 0 || deadline->timeout_ms == 0)
            return rc;
        if (lintelp_stream_can_write(s))
            failed = lintelp_stream_write(s) < 0;
        if (!failed && (rc = wait_to_read(s, deadline, frame_ms)) < 0)
            return rc;
    }
}

/* ---- frames ---------------------------------------------------------------------------------- */

/* The decoder has said no, for good unless it was memory. */
static int decoder_failed(struct lintel_stream *s, int status)
{
    if (status == LINTEL_E_END && lintelp_fds_taken(s) && lintelp_fds_end(s) != LINTEL_E_END)
        return s->in_status;
    if (status == LINTEL_E_NOMEM) {
        if (s->work->fed)
            leave_shared_buffer(s);
        return lintelp_stream_note(s, status, 0, ABOUT_DECODER);
    }
    if (status == LINTEL_E_TRUNCATED)
        lintelp_sealed_cut_short(s);
    return lintelp_stream_in_failed(s, status, 0, ABOUT_DECODER);
}

/* Returns the number of frames to give out, 0 where there was nothing but an FDS, or the status of
 * descriptors that are refused. */
static int give(struct lintel_stream *s, struct lintel_frame *frames, int count)
{
    const struct lintel_stream_options *o = s->options;

    for (int i = 0; i < count && o->trace != NULL; i++)
        o->trace(o->trace_user, '<', &frames[i]);
    if (lintelp_fds_taken(s))
        count = lintelp_fds_match(s, frames, count);
    if (count <= 0)
        return count;
    if (s->work->fed)
        leave_shared_buffer(s);
    s->counters.frames_in += (uint64_t)count;
    s->work->waited = 0;
    s->work->waiting_since = 0;
    return count;
}

/* The same for pieces. Frames of which the last piece is there count; the trace is for whole
 * frames.
 */
static int give_pieces(struct lintel_stream *s, struct lintel_piece *pieces, int count)
{
    int over = 0;

    if (lintelp_fds_taken(s))
        count = lintelp_fds_match_pieces(s, pieces, count);
    if (count <= 0)
        return count;
    for (int i = 0; i < count; i++)
        over += pieces[i].last;
    s->counters.frames_in += (uint64_t)over;
    if (over > 0) {
        s->work->waited = 0;
        s->work->waiting_since = 0;
    }
    if (s->work->fed)
        leave_shared_buffer(s);
    return count;
}

/* As much as is needed for what next says 0 to. Returns 1 look again, else as recv. */
static int refill(struct lintel_stream *s, struct lintelp_deadline *deadline)
{
    int rc = LINTEL_OK;

    if (lintelp_fds_taken(s))
        rc = lintelp_fds_check(s, s->counters.bytes_in - ahead_size(s));
    if (rc == LINTEL_OK)
        rc = fill(s, deadline);
    if (rc < 0)
        s->work->waiting_since = 0;
    return rc;
}

int lintelp_stream_recv(struct lintel_stream *s, struct lintel_frame *frames, int capacity,
                        struct lintelp_deadline *deadline)
{
    int rc;

    if (s->in_status < 0)
        return lintelp_stream_note_in(s);
    rc = lintelp_stream_begin(s);
    if (rc < 0)
        return rc;
    s->work->pieces = 0;
    for (;;) {
        int got = lintel_decoder_next_batch(s->work->decoder, frames, capacity);
        if (got < 0)
            return decoder_failed(s, got);
        rc = got > 0 ? give(s, frames, got) : refill(s, deadline);
        if (got > 0 ? rc != 0 : rc <= 0)
            return rc;
    }
}

int lintelp_stream_recv_pieces(struct lintel_stream *s, struct lintel_piece *pieces, int capacity,
                               struct lintelp_deadline *deadline)
{
    int rc;

    if (s->in_status < 0)
        return lintelp_stream_note_in(s);
    rc = lintelp_stream_begin(s);
    if (rc < 0)
        return rc;
    s->work->pieces = 1;
    for (;;) {
        int got = lintel_decoder_next_pieces(s->work->decoder, pieces, capacity);
        if (got < 0)
            return decoder_failed(s, got);
        rc = got > 0 ? give_pieces(s, pieces, got) : refill(s, deadline);
        if (got > 0 ? rc != 0 : rc <= 0)
            return rc;
    }
}

int lintel_stream_recv_batch(struct lintel_stream *stream, struct lintel_frame *frames,
                             int capacity, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};

    if (stream == NULL || frames == NULL || capacity < 1)
        return LINTEL_E_USAGE;
    lintelp_fds_expire(stream);
    return lintelp_stream_recv(stream, frames, capacity, &deadline);
}

int lintel_stream_recv(struct lintel_stream *stream, struct lintel_frame *frame, int timeout_ms)
{
    return lintel_stream_recv_batch(stream, frame, 1, timeout_ms);
}

int lintel_stream_recv_pieces(struct lintel_stream *stream, struct lintel_piece *pieces,
                              int capacity, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};

    if (stream == NULL || pieces == NULL || capacity < 1)
        return LINTEL_E_USAGE;
    return lintelp_stream_recv_pieces(stream, pieces, capacity, &deadline);
}

void lintel_stream_end_input(struct lintel_stream *stream)
{
    struct lintel_part parts[2];

    if (stream == NULL)
        return;
    if (stream->in_status == LINTEL_OK)
        (void)lintelp_stream_in_failed(stream, LINTEL_E_CLOSED, 0, ABOUT_SHUTDOWN);
    if (stream->work == NULL)
        return;
    free_ahead(stream);
    (void)lintel_decoder_rest(stream->work->decoder, parts);
    lintel_decoder_trim(stream->work->decoder);
    lintelp_sealed_trim(stream);
}

/* ---- under an event loop --------------------------------------------------------------------- */

static int is_lingering(const struct lintel_stream *s)
{
    const struct lintelp_dialogue *d = s->work != NULL ? s->work->dialogue : NULL;

    return d != NULL && d->linger_until != 0;
}

int lintel_stream_wants(const struct lintel_stream *stream)
{
    int wants = 0;

    if (stream == NULL)
        return 0;
    if ((stream->in_status == LINTEL_OK || is_lingering(stream)) && !stream->ended &&
        (stream->work == NULL || stream->work->in_errno == 0))
        wants |= LINTEL_WANT_READ;
    if (stream->out_status == LINTEL_OK && lintelp_stream_can_write(stream))
        wants |= LINTEL_WANT_WRITE;
    return wants;
}

int lintel_stream_is_dry(const struct lintel_stream *stream)
{
    const struct lintelp_work *w = stream != NULL ? stream->work : NULL;

    return w != NULL && w->dry && ahead_size(stream) == 0 && lintel_decoder_unread(w->decoder) == 0;
}

static int left_until(uint64_t end)
{
    uint64_t now = lintelp_now();

    return now < end ? to_ms(end - now) : 0;
}

int lintel_stream_wait_ms(const struct lintel_stream *stream)
{
    if (stream != NULL && is_lingering(stream))
        return left_until(stream->work->dialogue->linger_until);
    if (stream == NULL || stream->in_status < 0)
        return -1;
    if (stream->ended)
        return 0;
    if (stream->sealed != NULL && lintelp_sealed_may_open(stream))
        return 0;
    if (stream->work == NULL)
        return -1;
    if (ahead_size(stream) > 0 || stream->work->in_errno != 0)
        return 0;
    if (stream->work->waiting_since == 0 || !is_timed(stream))
        return -1;
    return to_ms(frame_left(stream, lintelp_now()));
}

uint64_t lintel_stream_offset(const struct lintel_stream *stream)
{
    if (stream == NULL)
        return 0;
    return stream->work != NULL ? lintel_decoder_offset(stream->work->decoder)
                                : lintelp_stream_fed(stream);
}

int lintel_stream_begun(const struct lintel_stream *stream, uint64_t *size)
{
    const struct lintelp_work *w = stream != NULL ? stream->work : NULL;
    uint64_t frame, record = 0;
    int begun = lintel_decoder_begun(w != NULL ? w->decoder : NULL, &frame);

    if (stream != NULL && stream->sealed != NULL)
        record = lintelp_sealed_begun(stream);
    if (size != NULL)
        *size = frame + record;
    return record > 0 ? 2 : begun;
}

void lintel_stream_pause(struct lintel_stream *stream)
{
    struct lintelp_work *w = stream != NULL ? stream->work : NULL;
    uint64_t now, left;

    if (w == NULL || w->waiting_since == 0)
        return;
    now = lintelp_now();
    left = frame_left(stream, now);
    w->waited = (uint64_t)stream->options->frame_timeout_ms * 1000000 - left;
    w->waiting_since = 0;
}
