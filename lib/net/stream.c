/* The stream: its life, its errors, and what can be asked of it. stream_send.c and stream_recv.c
 * have the loops. */
#include "config.h"
#include "net/stream_fds.h"
#include "net/stream_seal.h"

#include "core/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- life ------------------------------------------------------------------------------------ */

static void close_both(int in, int out)
{
    if (in >= 0)
        close(in);
    if (out >= 0 && out != in)
        close(out);
}

static struct lintel_decoder_options decoder_options(const struct lintel_stream_options *o)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;

    options.layout = o->layout;
    options.allocator = o->allocator;
    options.max_frame = o->max_frame;
    options.max_memory = o->max_memory;
    return options;
}

static void free_work(struct lintel_stream *s)
{
    const struct lintel_allocator *allocator = s->options->allocator;
    struct lintelp_work *w = s->work;

    lintelp_queue_drop(&w->queue);
    lintelp_dialogue_free(s);
    lintelp_fds_free(s);
    if (w->ahead != NULL)
        (void)lintelp_resize(allocator, w->ahead, 0);
    if (w->detail != NULL)
        (void)lintelp_resize(allocator, w->detail, 0);
    lintel_decoder_free(w->decoder);
    (void)lintelp_resize(allocator, w, 0);
    s->work = NULL;
}

uint64_t lintelp_stream_fed(const struct lintel_stream *s)
{
    return s->sealed != NULL ? lintelp_sealed_fed(s) : s->counters.bytes_in;
}

/* What was received so far was given out: there the decoder begins. Returns LINTEL_OK or not, and
 * the work may be made in part. */
static int fill_work(struct lintel_stream *s)
{
    const struct lintel_stream_options *o = s->options;
    struct lintel_decoder_options options = decoder_options(o);
    struct lintelp_work *w = s->work;
    uint64_t most;

    if (lintelp_fds_open(s) < 0 || lintel_decoder_new(&w->decoder, &options, NULL) < 0)
        return LINTEL_E_NOMEM;
    lintelp_decoder_begin_at(w->decoder, lintelp_stream_fed(s));
    w->layout = lintel_decoder_layout(w->decoder);
    most = lintel_layout_length_max(w->layout);
    w->max_frame = o->max_frame;
    if (w->max_frame == 0)
        w->max_frame = most < LINTEL_FRAME_LIMIT ? most : LINTEL_FRAME_LIMIT;
    w->max_message = o->max_message != 0 ? o->max_message : LINTEL_MESSAGE_LIMIT;
    if (w->max_message < w->max_frame && o->max_message == 0)
        w->max_message = w->max_frame;
    w->max_memory = o->max_memory != 0 ? o->max_memory : w->max_frame + ((uint64_t)1 << 20);
    w->overhead = lintel_layout_header_max(w->layout) + lintel_layout_trailer_max(w->layout);
    return LINTEL_OK;
}

int lintelp_stream_make_work(struct lintel_stream *s)
{
    s->work = lintelp_resize(s->options->allocator, NULL, sizeof *s->work);
    if (s->work != NULL) {
        memset(s->work, 0, sizeof *s->work);
        lintelp_queue_init(&s->work->queue, s->options->allocator);
        if (fill_work(s) == LINTEL_OK)
            return LINTEL_OK;
        free_work(s);
    }
    return lintelp_stream_note(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
}

/* A socket of datagrams or of packets has no bytes one behind the other. */
static int check_type(int fd, struct lintel_error *error)
{
    struct lintelp_text text;
    int type = 0;
    socklen_t size = sizeof type;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type == SOCK_STREAM)
        return LINTEL_OK;
    text = lintelp_error(error, LINTEL_E_UNSUPPORTED, 0);
    lintelp_text_str(&text, "descriptor ");
    lintelp_text_i64(&text, fd);
    lintelp_text_str(&text, " is a socket, but not of a stream");
    return LINTEL_E_UNSUPPORTED;
}

/* A stream whose own options lie behind it. */
struct own {
    struct lintel_stream stream;
    struct lintel_stream_options options;
};

static struct lintel_stream *allocate(const struct lintel_stream_options *o)
{
    struct own *own =
        lintelp_resize(o->allocator, NULL, o->shared ? sizeof own->stream : sizeof *own);

    if (own == NULL)
        return NULL;
    memset(&own->stream, 0, sizeof own->stream);
    own->stream.options = o;
    if (!o->shared) {
        own->options = *o;
        own->stream.options = &own->options;
    }
    return &own->stream;
}

static int check(struct lintel_stream *s, int in, int out, struct lintel_error *error)
{
    struct lintel_decoder_options options = decoder_options(s->options);
    int rc;

    if (lintelp_end_init(&s->in, in) != 0 || lintelp_end_init(&s->out, out) != 0)
        return lintelp_fail_errno(error, errno, "a descriptor for a stream", "");
    rc = check_type(in, error);
    if (rc == LINTEL_OK && out != in)
        rc = check_type(out, error);
    if (rc == LINTEL_OK)
        rc = lintelp_fds_prepare(s, error);
    if (rc == LINTEL_OK)
        rc = lintelp_decoder_check(&options, error);
    if (rc == LINTEL_OK && s->options->seal_keys != NULL)
        rc = lintelp_sealed_open(s, s->options->seal_keys, error);
    return rc;
}

int lintel_stream_new(struct lintel_stream **stream, int in, int out,
                      const struct lintel_stream_options *options, struct lintel_error *error)
{
    static const struct lintel_stream_options defaults = LINTEL_STREAM_OPTIONS_INIT;
    const struct lintel_stream_options *o = options != NULL ? options : &defaults;
    struct lintel_stream *s = NULL;
    int rc;

    if (stream == NULL || in < 0 || out < 0 || o->size != sizeof *o)
        rc = lintelp_fail(error, LINTEL_E_USAGE, 0,
                          "stream: NULL, no descriptor, or options of another size");
    else if ((s = allocate(o)) == NULL)
        rc = lintelp_fail(error, LINTEL_E_NOMEM, 0, "stream: out of memory");
    else
        rc = check(s, in, out, error);
    if (rc == LINTEL_OK) {
        *stream = s;
        return rc;
    }
    if (s != NULL)
        (void)lintelp_resize(o->allocator, s, 0);
    close_both(in, out);
    return rc;
}

int lintel_stream_open(struct lintel_stream **stream, const char *endpoint, int timeout_ms,
                       const struct lintel_stream_options *options, struct lintel_error *error)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    struct lintel_endpoint parsed;
    int fds[2], rc;

    if (stream == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "stream: NULL");
    rc = lintel_endpoint_parse(&parsed, endpoint, error);
    (void)lintelp_deadline_left(&deadline);
    if (rc == LINTEL_OK)
        rc = lintel_endpoint_connect(&parsed, fds, timeout_ms, error);
    if (rc == LINTEL_OK)
        rc = lintel_stream_new(stream, fds[0], fds[1], options, error);
    if (rc != LINTEL_OK || (*stream)->sealed == NULL || timeout_ms == 0)
        return rc;
    rc = lintelp_sealed_handshake(*stream, &deadline);
    if (rc == 1)
        return LINTEL_OK;
    lintel_stream_error(*stream, error);
    lintel_stream_close(*stream);
    *stream = NULL;
    return rc;
}

int lintel_stream_handshake(struct lintel_stream *stream, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};

    if (stream == NULL)
        return LINTEL_E_USAGE;
    return stream->sealed != NULL ? lintelp_sealed_handshake(stream, &deadline) : 1;
}

const struct lintel_seal *lintel_stream_seal(const struct lintel_stream *stream)
{
    return stream != NULL && stream->sealed != NULL ? lintelp_sealed_session(stream) : NULL;
}

void lintel_stream_close(struct lintel_stream *stream)
{
    if (stream == NULL)
        return;
    if (stream->work != NULL)
        free_work(stream);
    lintelp_sealed_free(stream);
    close_both(stream->in.fd, stream->out.fd);
    (void)lintelp_resize(stream->options->allocator, stream, 0);
}

/* ---- errors ---------------------------------------------------------------------------------- */

int lintelp_stream_note(struct lintel_stream *stream, int status, int number,
                        enum lintelp_about about)
{
    stream->last_status = (int8_t)status;
    stream->last_about = (uint8_t)about;
    if (stream->work != NULL)
        stream->work->last_errno = number;
    return status;
}

int lintelp_stream_note_in(struct lintel_stream *stream)
{
    return lintelp_stream_note(stream, stream->in_status,
                               stream->work != NULL ? stream->work->in_errno : 0, stream->in_about);
}

int lintelp_stream_note_out(struct lintel_stream *stream)
{
    return lintelp_stream_note(
        stream, stream->out_status, stream->work != NULL ? stream->work->out_errno : 0,
        stream->sealed != NULL && lintelp_sealed_has_failed(stream) ? ABOUT_SEAL : ABOUT_SEND);
}

static int last_errno(const struct lintel_stream *s)
{
    return s->work != NULL ? s->work->last_errno : 0;
}

static void say_unsent(const struct lintel_stream *s, struct lintelp_text *text)
{
    uint64_t frames, bytes;

    lintel_stream_unsent(s, &frames, &bytes);
    lintelp_text_u64(text, frames);
    lintelp_text_str(text, frames == 1 ? " frame (" : " frames (");
    lintelp_text_u64(text, bytes);
    lintelp_text_str(text, bytes == 1 ? " byte) not sent" : " bytes) not sent");
}

static void say_begun(const struct lintel_stream *s, struct lintelp_text *text)
{
    lintelp_text_str(text, "frame at byte ");
    lintelp_text_u64(text, lintel_stream_offset(s));
    lintelp_text_str(text, ": not whole within ");
    lintelp_text_i64(text, s->options->frame_timeout_ms);
    lintelp_text_str(text, " ms of its first byte");
}

static void say_shutdown(const struct lintel_stream *s, struct lintelp_text *text)
{
    lintelp_text_str(text, s->last_status == LINTEL_E_UNSUPPORTED
                               ? "this descriptor cannot be shut down for writing alone"
                               : "this side was shut down for sending");
}

static void say(const struct lintel_stream *s, struct lintelp_text *text)
{
    switch ((enum lintelp_about)s->last_about) {
    case ABOUT_RECEIVE:
        lintelp_text_str(text, "receive");
        lintelp_text_errno(text, last_errno(s));
        break;
    case ABOUT_SEND:
        lintelp_text_str(text, "send");
        lintelp_text_errno(text, last_errno(s));
        lintelp_text_str(text, "; ");
        say_unsent(s, text);
        break;
    case ABOUT_SHUTDOWN:
        say_shutdown(s, text);
        break;
    case ABOUT_NO_FRAME:
        lintelp_text_str(text, "no whole frame came in time");
        break;
    case ABOUT_NO_ROOM:
        lintelp_text_str(text, "the peer did not take it in time; ");
        say_unsent(s, text);
        break;
    case ABOUT_BEGUN:
        say_begun(s, text);
        break;
    case ABOUT_HANDSHAKE:
        lintelp_text_str(text, "the handshake of the sealed session was not done in time");
        break;
    default:
        lintelp_text_str(text, lintel_strerror(s->last_status));
        break;
    }
}

void lintel_stream_error(const struct lintel_stream *stream, struct lintel_error *out)
{
    const struct lintelp_work *w = stream != NULL ? stream->work : NULL;
    struct lintelp_text text;

    if (out == NULL)
        return;
    text = lintelp_error(out, stream != NULL ? stream->last_status : LINTEL_OK, 0);
    if (stream == NULL || stream->last_status == LINTEL_OK)
        return;
    if (stream->last_about == ABOUT_DECODER && w != NULL) {
        lintel_decoder_error(w->decoder, out);
        if (out->status == stream->last_status)
            return;
        text = lintelp_error(out, stream->last_status, 0);
    }
    if (stream->last_about == ABOUT_SEAL && stream->sealed != NULL) {
        lintelp_sealed_error(stream, out);
        return;
    }
    if (stream->last_about == ABOUT_FDS && w != NULL && w->fds != NULL && w->fds->error != NULL) {
        *out = *w->fds->error;
        return;
    }
    if (stream->last_about == ABOUT_MESSAGE && w != NULL && w->dialogue != NULL) {
        *out = w->dialogue->error;
        return;
    }
    if (stream->last_about == ABOUT_DETAIL && w != NULL && w->detail != NULL) {
        *out = *w->detail;
        return;
    }
    say(stream, &text);
    out->system = last_errno(stream);
    if (stream->last_about == ABOUT_RECEIVE || stream->last_about == ABOUT_BEGUN)
        out->at = lintel_stream_offset(stream);
}

/* ---- asking ---------------------------------------------------------------------------------- */

int lintel_stream_in_fd(const struct lintel_stream *stream)
{
    return stream != NULL ? stream->in.fd : -1;
}

int lintel_stream_out_fd(const struct lintel_stream *stream)
{
    return stream != NULL ? stream->out.fd : -1;
}

void lintel_stream_counters(const struct lintel_stream *stream, struct lintel_counters *out)
{
    if (out == NULL)
        return;
    if (stream != NULL)
        *out = stream->counters;
    else
        memset(out, 0, sizeof *out);
}

const struct lintel_layout *lintel_stream_layout(const struct lintel_stream *stream)
{
    if (stream == NULL)
        return NULL;
    return stream->options->layout != NULL ? stream->options->layout : lintel_layout_default();
}

size_t lintel_stream_memory(const struct lintel_stream *stream)
{
    const struct lintelp_work *w = stream != NULL ? stream->work : NULL;
    size_t held = stream != NULL ? lintelp_sealed_memory(stream) : 0;

    if (w == NULL)
        return held;
    held += lintel_decoder_memory(w->decoder) + lintelp_queue_memory(&w->queue);
    if (w->dialogue != NULL)
        held += sizeof *w->dialogue + lintel_assembler_memory(w->dialogue->assembler);
    if (w->ahead != NULL)
        held += sizeof *w->ahead + w->ahead->capacity;
    return held + lintelp_fds_memory(stream);
}

/* Nothing is under way, and there is no error of which more is to be said than its status. */
static int is_idle(const struct lintel_stream *s)
{
    const struct lintelp_work *w = s->work;

    return s->in_status == LINTEL_OK && s->out_status == LINTEL_OK && w->in_errno == 0 &&
           w->last_errno == 0 && w->detail == NULL && w->dialogue == NULL && w->ahead == NULL &&
           lintelp_queue_size(&w->queue) == 0 && lintelp_decoder_rests(w->decoder) &&
           lintelp_fds_rest(w->fds);
}

void lintel_stream_trim(struct lintel_stream *stream)
{
    struct lintelp_work *w = stream != NULL ? stream->work : NULL;

    if (stream != NULL)
        lintelp_sealed_trim(stream);
    if (w == NULL)
        return;
    lintel_decoder_trim(w->decoder);
    lintelp_fds_trim(stream);
    if (w->ahead != NULL && w->ahead->head == w->ahead->tail) {
        (void)lintelp_resize(stream->options->allocator, w->ahead, 0);
        w->ahead = NULL;
    }
    lintelp_queue_trim(&w->queue);
    if (lintelp_queue_size(&w->queue) == 0)
        w->plain_below = 0;
    if (is_idle(stream))
        free_work(stream);
}
