/* Messages over a stream: fragments both ways, control frames, and the way a session ends. */
#include "config.h"
#include "net/stream_fds.h"
#include "net/stream_seal.h"

#include "core/internal.h"

#include <errno.h>
#include <string.h>

#define PONGS_MAX    ((size_t)1 << 20) /* bytes that wait for a peer which does not read them */
#define LINGER_NS    1000000000        /* proto/lintel.md, "Ending" */
#define LINGER_BYTES ((size_t)1 << 20) /* the same */

/* ---- the dialogue ---------------------------------------------------------------------------- */

static struct lintelp_dialogue *dialogue(struct lintel_stream *s)
{
    struct lintelp_dialogue *d;

    if (lintelp_stream_begin(s) < 0)
        return NULL;
    if (s->work->dialogue != NULL)
        return s->work->dialogue;
    d = lintelp_resize(s->options->allocator, NULL, sizeof *d);
    if (d != NULL)
        memset(d, 0, sizeof *d);
    s->work->dialogue = d;
    return d;
}

void lintelp_dialogue_free(struct lintel_stream *stream)
{
    if (stream->work->dialogue == NULL)
        return;
    lintel_assembler_free(stream->work->dialogue->assembler);
    (void)lintelp_resize(stream->options->allocator, stream->work->dialogue, 0);
    stream->work->dialogue = NULL;
}

static int out_of_memory(struct lintel_stream *s)
{
    return lintelp_stream_note(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
}

/* Whether frames may still go out. */
static int may_say(const struct lintel_stream *s)
{
    return s->out_status == LINTEL_OK && !s->closing && lintel_layout_is_lintel(s->work->layout);
}

static int say(struct lintel_stream *s, uint32_t type, uint32_t id, const void *payload,
               size_t size)
{
    struct lintel_header header = {LINTEL_CONTROL, type, id, NULL};

    return lintel_stream_send(s, &header, payload, size, 0);
}

/* Say BYE, once, and nothing behind it. Where the connection is gone there is nobody to hear it.
 * Returns LINTEL_OK, or LINTEL_E_NOMEM. */
static int say_bye(struct lintel_stream *s, uint32_t reason)
{
    uint8_t payload[8];
    int rc;

    if (!may_say(s) || s->work->dialogue->said_bye)
        return LINTEL_OK;
    lintel_put_u32be(payload, reason);
    lintel_put_u32be(payload + 4, s->work->dialogue->last_id);
    rc = say(s, LINTEL_BYE, 0, payload, sizeof payload);
    s->work->dialogue->said_bye = rc == LINTEL_OK;
    return rc == LINTEL_E_NOMEM ? rc : LINTEL_OK;
}

/* No more messages come, and error says why. What the peer did wrong it is told. */
static int end_messages(struct lintel_stream *s, const struct lintel_error *error, int reason)
{
    s->work->dialogue->error = *error;
    if (error->status == LINTEL_E_TRUNCATED)
        lintelp_sealed_cut_short(s);
    if (reason >= 0) {
        (void)say_bye(s, (uint32_t)reason);
        (void)!lintel_stream_shutdown(s, 0);
    }
    return lintelp_stream_in_failed(s, error->status, 0, ABOUT_MESSAGE);
}

static int end_with(struct lintel_stream *s, int status, const struct lintel_frame *frame,
                    const char *what)
{
    struct lintel_error error;
    struct lintelp_text text = lintelp_error(&error, status, frame->offset);

    lintelp_text_str(&text, "frame at byte ");
    lintelp_text_u64(&text, frame->offset);
    lintelp_text_str(&text, ": ");
    lintelp_text_str(&text, what);
    return end_messages(s, &error, lintel_bye_reason(status));
}

/* recv says that no more frames come, or not now. */
static int recv_failed(struct lintel_stream *s, int status)
{
    struct lintelp_dialogue *d = s->work->dialogue;
    struct lintel_error error;

    if (s->in_status == LINTEL_OK)
        return status;
    if (status == LINTEL_E_END && lintel_assembler_end(d->assembler) == LINTEL_E_TRUNCATED) {
        lintel_assembler_error(d->assembler, &error);
        return end_messages(s, &error, LINTEL_BYE_MALFORMED);
    }
    if (status == LINTEL_E_END || lintel_bye_reason(status) < 0)
        return status;
    lintel_stream_error(s, &error);
    return end_messages(s, &error, lintel_bye_reason(status));
}

/* ---- control frames -------------------------------------------------------------------------- */

static int take_ping(struct lintel_stream *s, uint32_t id, const struct lintel_frame *frame)
{
    struct lintelp_dialogue *d = s->work->dialogue;
    int rc;

    if (!may_say(s))
        return 0;
    if (lintelp_stream_queued(s) == 0)
        d->pongs = 0;
    if (d->pongs > PONGS_MAX)
        return end_with(s, LINTEL_E_TOO_LARGE, frame,
                        "a PING of a peer that does not read its PONGs");
    rc = say(s, LINTEL_PONG, id, frame->payload, frame->length);
    d->pongs += LINTEL_HEADER_SIZE + frame->length;
    return rc == LINTEL_E_NOMEM ? end_with(s, LINTEL_E_NOMEM, frame, "out of memory for the PONG")
                                : 0;
}

static int take_bye(struct lintel_stream *s, const struct lintel_frame *frame)
{
    struct lintelp_dialogue *d = s->work->dialogue;
    struct lintel_error error;
    struct lintelp_text text;

    d->got_bye = 1;
    d->bye_reason = lintel_get_u32be(frame->payload);
    d->bye_last_id = lintel_get_u32be(frame->payload + 4);
    if (lintel_assembler_end(d->assembler) == LINTEL_E_TRUNCATED) {
        lintel_assembler_error(d->assembler, &error);
        return end_messages(s, &error, -1);
    }
    text = lintelp_error(&error, d->bye_reason == LINTEL_BYE_DONE ? LINTEL_E_END : LINTEL_E_REFUSED,
                         frame->offset);
    lintelp_text_str(&text, "the peer said BYE ");
    lintelp_text_u64(&text, d->bye_reason);
    lintelp_text_str(&text, " (");
    lintelp_text_str(&text, lintel_bye_text(d->bye_reason));
    lintelp_text_str(&text, "), the last request it took has id ");
    lintelp_text_u64(&text, d->bye_last_id);
    return end_messages(s, &error, -1);
}

/* Its form was judged by the decoder. Returns 0, or why no more comes. */
static int take_control(struct lintel_stream *s, const struct lintel_header *header,
                        const struct lintel_frame *frame)
{
    switch (header->type) {
    case LINTEL_PING:
        return take_ping(s, header->id, frame);
    case LINTEL_PONG:
        return 0;
    case LINTEL_BYE:
        return take_bye(s, frame);
    case LINTEL_HELLO:
    case LINTEL_SEALED:
        if (s->sealed != NULL)
            return end_with(s, LINTEL_E_MALFORMED, frame, "HELLO or SEALED inside of a seal");
        return end_with(s, LINTEL_E_SEAL, frame, "HELLO or SEALED, but no seal is configured");
    default:
        return end_with(s, LINTEL_E_MALFORMED, frame, "FDS, but descriptors are not taken here");
    }
}

/* ---- receiving ------------------------------------------------------------------------------- */

static const char too_many_fds[] = "more descriptors than a message may bring";

/* A call for the next message, unless one has begun, ends the life of what came with the last. */
static void begin_message(struct lintel_stream *s)
{
    if (!lintel_assembler_is_open(s->work->dialogue->assembler))
        lintelp_fds_expire(s);
}

static int is_control(const struct lintel_stream *s, const struct lintel_header *header)
{
    return (header->flags & LINTEL_CONTROL) != 0 && lintel_layout_is_lintel(s->work->layout);
}

static void note_request(struct lintel_stream *s, const struct lintel_header *header)
{
    if ((header->flags & LINTEL_REPLY) == 0 && header->id != 0)
        s->work->dialogue->last_id = header->id;
}

/* The assembler, which is made when it is needed. */
static struct lintel_assembler *assembler(struct lintel_stream *s)
{
    struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;

    options.layout = s->work->layout;
    options.allocator = s->options->allocator;
    options.max_message = s->work->max_message;
    if (s->work->dialogue->assembler == NULL &&
        lintel_assembler_new(&s->work->dialogue->assembler, &options, NULL) < 0)
        return NULL;
    return s->work->dialogue->assembler;
}

static int assembler_failed(struct lintel_stream *s, int status, uint64_t offset)
{
    struct lintel_error error;

    lintel_assembler_error(s->work->dialogue->assembler, &error);
    if (error.status != status) {
        (void)lintelp_fail(&error, status, offset, lintel_strerror(status));
    }
    return end_messages(s, &error, lintel_bye_reason(status));
}

/* Returns 1 *message is one, 0 go on, or why no more comes. */
static int take_frame(struct lintel_stream *s, struct lintel_message *message,
                      const struct lintel_frame *frame)
{
    struct lintel_header header;
    int rc = lintel_header_read(s->work->layout, &header, frame);

    if (rc < 0)
        return lintelp_stream_note(s, rc, 0, ABOUT_NOTHING);
    if (is_control(s, &header))
        return take_control(s, &header, frame);
    if (s->work->dialogue->assembler == NULL &&
        !(lintel_layout_is_lintel(s->work->layout) && (header.flags & LINTEL_MORE) != 0)) {
        message->header = header;
        message->frame = *frame;
        message->fragments = 1;
        note_request(s, &header);
        return 1;
    }
    rc = assembler(s) != NULL ? lintel_assembler_take(s->work->dialogue->assembler, message, frame)
                              : LINTEL_E_NOMEM;
    if (rc < 0)
        return assembler_failed(s, rc, frame->offset);
    if (rc == 1)
        note_request(s, &message->header);
    return rc;
}

int lintel_stream_recv_message(struct lintel_stream *stream, struct lintel_message *message,
                               int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    struct lintel_stream *s = stream;
    struct lintel_frame frame;
    int rc;

    if (s == NULL || message == NULL)
        return LINTEL_E_USAGE;
    if (dialogue(s) == NULL)
        return out_of_memory(s);
    begin_message(s);
    do {
        rc = lintelp_stream_recv(s, &frame, 1, &deadline);
        if (rc < 0)
            return recv_failed(s, rc);
        if (rc == 0)
            return 0;
        rc = take_frame(s, message, &frame);
        if (rc >= 0 && !lintelp_fds_join(s, rc == 1 ? message->frame.offset : frame.offset))
            return end_with(s, LINTEL_E_TOO_LARGE, &frame, too_many_fds);
    } while (rc == 0);
    return rc;
}

/* ---- in pieces ------------------------------------------------------------------------------- */

/* As take_frame(). */
static int take_piece(struct lintel_stream *s, struct lintel_message_piece *out,
                      const struct lintel_piece *piece)
{
    struct lintel_frame control;
    int rc;

    rc = assembler(s) != NULL
             ? lintel_assembler_take_piece(s->work->dialogue->assembler, out, piece)
             : LINTEL_E_NOMEM;
    if (rc < 0)
        return assembler_failed(s, rc, piece->offset);
    if (rc == 0 || !is_control(s, &out->header)) {
        if (rc == 1 && out->last)
            note_request(s, &out->header);
        return rc;
    }
    memset(&control, 0, sizeof control);
    control.payload = out->bytes;
    control.length = out->size;
    control.offset = out->offset;
    return take_control(s, &out->header, &control);
}

int lintel_stream_recv_piece(struct lintel_stream *stream, struct lintel_message_piece *piece,
                             int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    struct lintel_stream *s = stream;
    struct lintel_frame frame;
    struct lintel_piece got;
    int rc;

    if (s == NULL || piece == NULL)
        return LINTEL_E_USAGE;
    if (dialogue(s) == NULL)
        return out_of_memory(s);
    begin_message(s);
    do {
        rc = lintelp_stream_recv_pieces(s, &got, 1, &deadline);
        if (rc < 0)
            return recv_failed(s, rc);
        if (rc == 0)
            return 0;
        rc = take_piece(s, piece, &got);
        frame.offset = got.offset;
        if (rc >= 0 && !lintelp_fds_join(s, rc == 1 ? piece->offset : got.offset))
            return end_with(s, LINTEL_E_TOO_LARGE, &frame, too_many_fds);
    } while (rc == 0);
    return rc;
}

/* ---- sending --------------------------------------------------------------------------------- */

/* A message that has begun cannot be given up: from here on the queue takes what is left. */
static int send_rest(struct lintel_stream *s, struct lintel_fragments *fragments,
                     struct lintelp_deadline *deadline)
{
    struct lintel_fragment fragment;
    int rc = LINTEL_OK;

    while (rc == LINTEL_OK && lintel_fragments_next(fragments, &fragment)) {
        rc = LINTEL_E_TIMEOUT;
        if (lintelp_deadline_left(deadline) != 0)
            rc = lintel_stream_send(s, &fragment.header, fragment.payload, fragment.size,
                                    lintelp_deadline_left(deadline));
        if (rc == LINTEL_E_TIMEOUT)
            rc = lintel_stream_send(s, &fragment.header, fragment.payload, fragment.size, 0);
    }
    if (rc == LINTEL_E_NOMEM) {
        s->out_status = LINTEL_E_NOMEM;
        s->work->plain_below = 0;
    }
    return rc;
}

int lintel_stream_send_message(struct lintel_stream *stream, const struct lintel_header *header,
                               const void *payload, size_t size, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    struct lintel_stream *s = stream;
    struct lintel_fragments fragments;
    struct lintel_fragment first;
    int rc;

    if (s == NULL || header == NULL || (payload == NULL && size > 0))
        return LINTEL_E_USAGE;
    rc = lintelp_stream_begin(s);
    if (rc < 0)
        return rc;
    if (size <= s->work->max_frame || !lintel_layout_is_lintel(s->work->layout))
        return lintel_stream_send(s, header, payload, size, timeout_ms);
    lintel_fragments_init(&fragments, header, payload, size, s->work->max_frame);
    (void)lintelp_deadline_left(&deadline);
    (void)lintel_fragments_next(&fragments, &first);
    rc = lintel_stream_send(s, &first.header, first.payload, first.size, timeout_ms);
    return rc == LINTEL_OK ? send_rest(s, &fragments, &deadline) : rc;
}

/* ---- the end --------------------------------------------------------------------------------- */

int lintel_stream_bye(struct lintel_stream *stream, enum lintel_bye_reason reason, int timeout_ms)
{
    int said = LINTEL_E_NOMEM, rc;

    if (stream == NULL)
        return LINTEL_E_USAGE;
    if (dialogue(stream) != NULL) {
        if (stream->sealed != NULL && !lintelp_sealed_is_done(stream))
            return lintelp_sealed_refuse(stream, (int)reason);
        said = say_bye(stream, reason);
    }
    rc = lintel_stream_shutdown(stream, timeout_ms);
    return said < 0 && rc >= 0 ? out_of_memory(stream) : rc;
}

int lintel_stream_peer_bye(const struct lintel_stream *stream, uint32_t *reason, uint32_t *last_id)
{
    const struct lintelp_work *w = stream != NULL ? stream->work : NULL;
    const struct lintelp_dialogue *d = w != NULL ? w->dialogue : NULL;

    if (d == NULL || !d->got_bye)
        return 0;
    if (reason != NULL)
        *reason = d->bye_reason;
    if (last_id != NULL)
        *last_id = d->bye_last_id;
    return 1;
}

/* Read what is there. Returns 1 the end, or enough of it; 0 it would wait. */
static int discard(struct lintel_stream *s)
{
    uint8_t bytes[4096];
    ssize_t got;

    if (s->ended || s->work->in_errno != 0)
        return 1;
    while (s->work->dialogue->discarded <= LINGER_BYTES) {
        got = lintelp_read(&s->in, bytes, sizeof bytes, 0);
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            return 0;
        if (got <= 0) {
            s->ended = 1;
            return 1;
        }
        s->work->dialogue->discarded += (size_t)got;
    }
    return 1;
}

/* Wait for more to discard, or to write. Returns 1 look again, 0 the linger is over, or a status.
 */
static int wait_lingering(struct lintel_stream *s, int ended, struct lintelp_deadline *deadline)
{
    struct pollfd fds[2] = {{ended ? -1 : s->in.fd, POLLIN, 0}, {s->out.fd, POLLOUT, 0}};
    uint64_t now = lintelp_now();
    int left = lintelp_deadline_left(deadline);
    int linger_ms;

    if (now >= s->work->dialogue->linger_until)
        return 0;
    if (left == 0)
        return lintelp_stream_note(s, LINTEL_E_TIMEOUT, 0, ABOUT_NO_FRAME);
    linger_ms = (int)((s->work->dialogue->linger_until - now + 999999) / 1000000);
    if (left < 0 || linger_ms < left)
        left = linger_ms;
    return lintelp_poll_once(fds, lintelp_stream_can_write(s) ? 2 : 1, left) >= 0;
}

int lintel_stream_linger(struct lintel_stream *stream, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    struct lintel_stream *s = stream;
    int rc, ended;

    if (s == NULL || !s->closing)
        return LINTEL_E_USAGE;
    if (dialogue(s) == NULL)
        return out_of_memory(s);
    if (s->in_status == LINTEL_OK)
        (void)lintelp_stream_in_failed(s, LINTEL_E_CLOSED, 0, ABOUT_SHUTDOWN);
    if (s->work->dialogue->linger_until == 0)
        s->work->dialogue->linger_until = lintelp_now() + LINGER_NS;
    for (;;) {
        rc = s->out_status < 0 ? s->out_status : lintelp_stream_write(s);
        ended = rc < 0 || discard(s);
        if (ended && (rc < 0 || !lintelp_stream_can_write(s)))
            return 1;
        if (timeout_ms == 0)
            return lintelp_now() >= s->work->dialogue->linger_until;
        if ((rc = wait_lingering(s, ended, &deadline)) <= 0)
            return rc == 0 ? 1 : rc;
    }
}
