/* The stream: its life, its errors, and what can be asked of it. stream_send.c and stream_recv.c
 * have the loops. */
#include "config.h"
#include "net/stream_fds.h"

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

static int new_decoder(struct lintel_stream *s, const struct lintel_stream_options *o,
                       struct lintel_error *error)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    uint64_t most;
    int rc;

    options.layout = o->layout;
    options.allocator = o->allocator;
    options.max_frame = o->max_frame;
    options.max_memory = o->max_memory;
    rc = lintel_decoder_new(&s->decoder, &options, error);
    if (rc < 0)
        return rc;
    s->layout = lintel_decoder_layout(s->decoder);
    most = lintel_layout_length_max(s->layout);
    s->max_frame = o->max_frame;
    if (s->max_frame == 0)
        s->max_frame = most < LINTEL_FRAME_LIMIT ? most : LINTEL_FRAME_LIMIT;
    s->max_message = o->max_message != 0 ? o->max_message : LINTEL_MESSAGE_LIMIT;
    if (s->max_message < s->max_frame && o->max_message == 0)
        s->max_message = s->max_frame;
    s->max_memory = o->max_memory != 0 ? o->max_memory : s->max_frame + ((uint64_t)1 << 20);
    s->overhead =
        (uint16_t)(lintel_layout_header_max(s->layout) + lintel_layout_trailer_max(s->layout));
    return LINTEL_OK;
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

static int fill_in(struct lintel_stream *s, int in, int out, const struct lintel_stream_options *o,
                   struct lintel_error *error)
{
    int rc;

    memset(s, 0, sizeof *s);
    s->allocator = o->allocator;
    s->receive_buffer = o->receive_buffer_size > 0 ? o->receive_buffer : NULL;
    s->receive_size = o->receive_buffer_size;
    s->trace = o->trace;
    s->trace_user = o->trace_user;
    s->frame_timeout_ms = o->frame_timeout_ms;
    if (lintelp_end_init(&s->in, in) != 0 || lintelp_end_init(&s->out, out) != 0)
        return lintelp_fail_errno(error, errno, "a descriptor for a stream", "");
    rc = check_type(in, error);
    if (rc == LINTEL_OK && out != in)
        rc = check_type(out, error);
    if (rc == LINTEL_OK)
        rc = lintelp_fds_open(s, o, error);
    return rc == LINTEL_OK ? new_decoder(s, o, error) : rc;
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
    else if ((s = lintelp_resize(o->allocator, NULL, sizeof *s)) == NULL)
        rc = lintelp_fail(error, LINTEL_E_NOMEM, 0, "stream: out of memory");
    else
        rc = fill_in(s, in, out, o, error);
    if (rc == LINTEL_OK) {
        *stream = s;
        return rc;
    }
    if (s != NULL) {
        lintelp_fds_free(s);
        (void)lintelp_resize(o->allocator, s, 0);
    }
    close_both(in, out);
    return rc;
}

int lintel_stream_open(struct lintel_stream **stream, const char *endpoint, int timeout_ms,
                       const struct lintel_stream_options *options, struct lintel_error *error)
{
    struct lintel_endpoint parsed;
    int fds[2], rc;

    if (stream == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "stream: NULL");
    rc = lintel_endpoint_parse(&parsed, endpoint, error);
    if (rc == LINTEL_OK)
        rc = lintel_endpoint_connect(&parsed, fds, timeout_ms, error);
    return rc < 0 ? rc : lintel_stream_new(stream, fds[0], fds[1], options, error);
}

void lintel_stream_close(struct lintel_stream *stream)
{
    if (stream == NULL)
        return;
    lintelp_queue_free(stream->queue);
    lintelp_dialogue_free(stream);
    lintelp_fds_free(stream);
    if (stream->ahead != NULL)
        (void)lintelp_resize(stream->allocator, stream->ahead, 0);
    if (stream->detail != NULL)
        (void)lintelp_resize(stream->allocator, stream->detail, 0);
    close_both(stream->in.fd, stream->out.fd);
    lintel_decoder_free(stream->decoder);
    (void)lintelp_resize(stream->allocator, stream, 0);
}

/* ---- errors ---------------------------------------------------------------------------------- */

int lintelp_stream_note(struct lintel_stream *stream, int status, int number,
                        enum lintelp_about about)
{
    stream->last_status = (int16_t)status;
    stream->last_errno = number;
    stream->last_about = (uint8_t)about;
    return status;
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
    lintelp_text_u64(text, lintel_decoder_offset(s->decoder));
    lintelp_text_str(text, ": not whole within ");
    lintelp_text_i64(text, s->frame_timeout_ms);
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
        lintelp_text_errno(text, s->last_errno);
        break;
    case ABOUT_SEND:
        lintelp_text_str(text, "send");
        lintelp_text_errno(text, s->last_errno);
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
    default:
        lintelp_text_str(text, lintel_strerror(s->last_status));
        break;
    }
}

void lintel_stream_error(const struct lintel_stream *stream, struct lintel_error *out)
{
    struct lintelp_text text;

    if (out == NULL)
        return;
    text = lintelp_error(out, stream != NULL ? stream->last_status : LINTEL_OK, 0);
    if (stream == NULL || stream->last_status == LINTEL_OK)
        return;
    if (stream->last_about == ABOUT_DECODER) {
        lintel_decoder_error(stream->decoder, out);
        if (out->status == stream->last_status)
            return;
        text = lintelp_error(out, stream->last_status, 0);
    }
    if (stream->last_about == ABOUT_FDS && stream->fds->error != NULL) {
        *out = *stream->fds->error;
        return;
    }
    if (stream->last_about == ABOUT_MESSAGE && stream->dialogue != NULL) {
        *out = stream->dialogue->error;
        return;
    }
    if (stream->last_about == ABOUT_DETAIL && stream->detail != NULL) {
        *out = *stream->detail;
        return;
    }
    say(stream, &text);
    out->system = stream->last_errno;
    if (stream->last_about == ABOUT_RECEIVE || stream->last_about == ABOUT_BEGUN)
        out->at = lintel_decoder_offset(stream->decoder);
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
    return stream != NULL ? stream->layout : NULL;
}

size_t lintel_stream_memory(const struct lintel_stream *stream)
{
    size_t held;

    if (stream == NULL)
        return 0;
    held = lintel_decoder_memory(stream->decoder);
    if (stream->queue != NULL)
        held += lintelp_queue_memory(stream->queue);
    if (stream->dialogue != NULL)
        held += sizeof *stream->dialogue + lintel_assembler_memory(stream->dialogue->assembler);
    if (stream->ahead != NULL)
        held += sizeof *stream->ahead + stream->ahead->capacity;
    return held + lintelp_fds_memory(stream);
}

void lintel_stream_trim(struct lintel_stream *stream)
{
    struct lintelp_ahead *ahead;

    if (stream == NULL)
        return;
    lintel_decoder_trim(stream->decoder);
    lintelp_fds_trim(stream);
    ahead = stream->ahead;
    if (ahead != NULL && ahead->head == ahead->tail) {
        (void)lintelp_resize(stream->allocator, ahead, 0);
        stream->ahead = NULL;
    }
    if (stream->queue == NULL || lintelp_queue_size(stream->queue) > 0)
        return;
    lintelp_queue_trim(stream->queue);
    if (stream->queue->lost_frames == 0 && stream->queue->lost_bytes == 0) {
        lintelp_queue_free(stream->queue);
        stream->queue = NULL;
        stream->plain_below = 0;
    }
}
