/* Taking descriptors in: which came with which bytes, and which frame they belong to. */
#include "config.h"
#include "net/stream_fds.h"

#include "core/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* Octets of control data for so many descriptors. Where a message is aligned to 8 an odd number
 * leaves room for one more; it is kept free everywhere, so that all machines count alike. */
#define CONTROL_ROOM(count) CMSG_SPACE(((size_t)(count) + 1) / 2 * 2 * sizeof(int))

/* ---- life ------------------------------------------------------------------------------------ */

int lintelp_fds_prepare(struct lintel_stream *s, struct lintel_error *error)
{
    const struct lintel_stream_options *o = s->options;
    int is_unix;

    if (o->max_fds == 0)
        return LINTEL_OK;
    if (o->max_fds > LINTEL_FDS_MAX)
        return lintelp_fail(error, LINTEL_E_RANGE, 0,
                            "max_fds is over 253, more than a frame can bring");
    if (o->seal_keys != NULL)
        return lintelp_fail(error, LINTEL_E_UNSUPPORTED, 0,
                            "descriptors cannot be bound to a sealed frame");
    if (o->layout != NULL && !lintel_layout_is_lintel(o->layout))
        return lintelp_fail(error, LINTEL_E_UNSUPPORTED, 0,
                            "descriptors travel under lintel's own layout");
    is_unix = lintelp_fds_is_unix(&s->in);
    if (is_unix < 0)
        return lintelp_fail_errno(error, errno, "ask for a socket's address", "");
    s->is_unix = (unsigned)is_unix & 1;
    return LINTEL_OK;
}

int lintelp_fds_open(struct lintel_stream *s)
{
    uint32_t most = s->options->max_fds;

    if (most == 0)
        return LINTEL_OK;
    if (lintelp_fds_new(s) < 0)
        return LINTEL_E_NOMEM;
    s->work->fds->max_in = (uint16_t)most;
    return LINTEL_OK;
}

void lintelp_fds_stop(struct lintel_stream *s)
{
    if (s->work->fds == NULL)
        return;
    lintelp_fds_close(s, &s->work->fds->in);
    lintelp_fds_close(s, &s->work->fds->announced);
}

void lintelp_fds_expire(struct lintel_stream *s)
{
    if (s->work != NULL && s->work->fds != NULL)
        lintelp_fds_close(s, &s->work->fds->given);
}

/* ---- receiving ------------------------------------------------------------------------------- */

/* One control message: its descriptors are kept as far as there is room, and closed beyond. */
static void take_rights(struct lintelp_fds *set, uint32_t room, struct cmsghdr *part)
{
    const uint8_t *data = CMSG_DATA(part);
    size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);

    for (size_t i = 0; i < count; i++) {
        int fd;
        memcpy(&fd, data + i * sizeof fd, sizeof fd);
        set->came++;
        if (set->count < room)
            set->fd[set->count++] = fd;
        else
            close(fd);
    }
}

/* What is cut off belongs to what is left: all of it is closed, and the numbers stay. */
static void close_cut(struct lintelp_fds *set)
{
    for (uint32_t i = 0; i < set->count; i++)
        close(set->fd[i]);
    set->count = 0;
}

/* Descriptors came with the next `size` bytes of the stream. */
static void keep(struct lintel_stream *s, struct msghdr *message, size_t size)
{
    struct lintelp_stream_fds *fds = s->work->fds;
    struct lintelp_fds *set = fds->spare, **end = &fds->in;

    set->came = 0;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL;
         part = CMSG_NXTHDR(message, part))
        if (part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS)
            take_rights(set, fds->max_in, part);
    if (set->came == 0 && (message->msg_flags & MSG_CTRUNC) == 0)
        return;
    set->starved = (message->msg_flags & MSG_CTRUNC) != 0 && set->came < fds->max_in;
    set->cut = (message->msg_flags & MSG_CTRUNC) != 0 && !set->starved;
    if (set->starved || set->cut || set->came > set->count)
        close_cut(set);
    set->begin = s->counters.bytes_in;
    set->end = set->begin + size;
    while (*end != NULL)
        end = &(*end)->next;
    *end = set;
    fds->spare = NULL;
}

ssize_t lintelp_fds_read(struct lintel_stream *s, void *out, size_t size, int wait)
{
    union {
        struct cmsghdr align;
        uint8_t bytes[CONTROL_ROOM(LINTEL_FDS_MAX)];
    } control;
    struct iovec part = {out, size};
    struct msghdr message;
    ssize_t got;

    if (!s->is_unix)
        return lintelp_read(&s->in, out, size, wait);
    if (s->work->fds->spare == NULL &&
        (s->work->fds->spare = lintelp_fds_alloc(s, s->work->fds->max_in)) == NULL) {
        errno = ENOMEM;
        return -1;
    }
    memset(&message, 0, sizeof message);
    message.msg_iov = &part;
    message.msg_iovlen = 1;
    message.msg_control = control.bytes;
    message.msg_controllen = CONTROL_ROOM(s->work->fds->max_in);
    got = lintelp_receive(&s->in, &message, wait);
    if (got > 0)
        keep(s, &message, (size_t)got);
    return got;
}

int lintelp_fds_ahead(const struct lintel_stream *s)
{
    uint64_t held = 0;

    for (const struct lintelp_fds *set = s->work->fds->in; set != NULL; set = set->next)
        held += set->came > 0 ? set->came : 1;
    return held < LINTEL_FDS_MAX;
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* Begin the sentence of an error that is sticky for receiving, in *error. */
static struct lintelp_text begin(struct lintel_error *error, int status, uint64_t offset)
{
    struct lintelp_text text = lintelp_error(error, status, offset);

    lintelp_text_str(&text, "frame at byte ");
    lintelp_text_u64(&text, offset);
    lintelp_text_str(&text, ": ");
    return text;
}

static void say_count(struct lintelp_text *text, uint64_t count)
{
    lintelp_text_u64(text, count);
    lintelp_text_str(text, count == 1 ? " descriptor" : " descriptors");
}

/* Nothing more is given out, and what came is closed; the next call says why, or this one does with
 * report(). Returns the status. */
static int fail(struct lintel_stream *s, const struct lintel_error *error)
{
    struct lintelp_stream_fds *fds = s->work->fds;

    if (fds->error == NULL)
        fds->error = lintelp_resize(s->options->allocator, NULL, sizeof *error);
    if (fds->error != NULL)
        *fds->error = *error;
    s->in_status = (int8_t)error->status;
    s->work->in_errno = error->system;
    s->in_about = ABOUT_FDS;
    lintelp_fds_stop(s);
    return error->status;
}

static int report(struct lintel_stream *s)
{
    return lintelp_stream_note_in(s);
}

static int fail_plainly(struct lintel_stream *s, int status, uint64_t offset, const char *sentence)
{
    struct lintel_error error;
    struct lintelp_text text = begin(&error, status, offset);

    lintelp_text_str(&text, sentence);
    return fail(s, &error);
}

static int fail_undeclared(struct lintel_stream *s, uint64_t offset)
{
    return fail_plainly(s, LINTEL_E_MALFORMED, offset, "descriptors came that no FDS announces");
}

static int fail_limit(struct lintel_stream *s, uint64_t offset, uint32_t announced)
{
    struct lintel_error error;
    struct lintelp_text text = begin(&error, LINTEL_E_TOO_LARGE, offset);

    lintelp_text_str(&text, "FDS announces ");
    say_count(&text, announced);
    lintelp_text_str(&text, ", over the limit of ");
    lintelp_text_u64(&text, s->work->fds->max_in);
    return fail(s, &error);
}

/* Other descriptors came than an FDS announces; set is NULL for none. */
static int fail_count(struct lintel_stream *s, uint64_t offset, uint32_t announced,
                      const struct lintelp_fds *set)
{
    struct lintel_error error;
    struct lintelp_text text;

    if (set != NULL && set->starved) {
        text = begin(&error, LINTEL_E_SYSTEM, offset);
        lintelp_text_str(&text, "receive descriptors");
        lintelp_text_errno(&text, EMFILE);
        error.system = EMFILE;
        return fail(s, &error);
    }
    text = begin(&error, LINTEL_E_MALFORMED, offset);
    lintelp_text_str(&text, "FDS announces ");
    say_count(&text, announced);
    lintelp_text_str(&text, ", ");
    lintelp_text_u64(&text, set != NULL ? set->came : 0);
    lintelp_text_str(&text, set != NULL && set->cut ? " and more came" : " came");
    return fail(s, &error);
}

/* ---- frames and descriptors ------------------------------------------------------------------ */

static struct lintelp_fds *pop(struct lintelp_fds **list)
{
    struct lintelp_fds *set = *list;

    *list = set->next;
    set->next = NULL;
    return set;
}

/* An FDS: the descriptors that came with its first byte are those that it announces. */
static int announce(struct lintel_stream *s, const struct lintel_frame *frame)
{
    struct lintelp_stream_fds *fds = s->work->fds;
    struct lintelp_fds *set = fds->in;
    uint32_t announced = lintel_get_u32be(frame->payload);

    if (!s->is_unix)
        return fail_plainly(s, LINTEL_E_MALFORMED, frame->offset,
                            "FDS on a stream that is no UNIX socket");
    if (announced > fds->max_in)
        return fail_limit(s, frame->offset, announced);
    if (set != NULL && set->begin > frame->offset)
        set = NULL;
    if ((set != NULL ? set->came : 0) != announced || (set != NULL && (set->cut || set->starved)))
        return fail_count(s, frame->offset, announced, set);
    fds->awaited = 1;
    if (set != NULL)
        fds->announced = pop(&fds->in);
    return LINTEL_OK;
}

/* The frame that was announced, or any other. */
static void bind_to(struct lintelp_stream_fds *fds, const struct lintel_frame *frame)
{
    struct lintelp_fds **end = &fds->given;

    fds->awaited = 0;
    if (fds->announced == NULL)
        return;
    while (*end != NULL)
        end = &(*end)->next;
    *end = pop(&fds->announced);
    (*end)->begin = frame->offset;
}

/* A frame, of which the first bytes may do; last is 0 while more of it will come. Returns 1 for a
 * frame, 0 for an FDS, or the status. */
static int match_one(struct lintel_stream *s, const struct lintel_frame *frame, int last)
{
    uint64_t end = frame->offset + frame->header_size + frame->length + frame->trailer_size;
    struct lintelp_stream_fds *fds = s->work->fds;
    struct lintel_header header;
    int is_control, is_fds, rc = LINTEL_OK;

    if (lintel_header_read(s->work->layout, &header, frame) != LINTEL_OK)
        return 1;
    is_control = (header.flags & LINTEL_CONTROL) != 0;
    is_fds = is_control && header.type == LINTEL_FDS;
    if (is_control && fds->awaited)
        rc = fail_plainly(s, LINTEL_E_MALFORMED, frame->offset,
                          "a control frame right behind an FDS");
    if (rc == LINTEL_OK && is_fds && !last)
        return 0;
    if (rc == LINTEL_OK && is_fds)
        rc = announce(s, frame);
    if (rc == LINTEL_OK && fds->in != NULL && fds->in->end <= end)
        rc = fail_undeclared(s, frame->offset);
    if (rc == LINTEL_OK && !is_fds)
        bind_to(fds, frame);
    return rc < 0 ? rc : !is_fds;
}

int lintelp_fds_match(struct lintel_stream *s, struct lintel_frame *frames, int count)
{
    int kept = 0;

    for (int i = 0; i < count; i++) {
        int rc = match_one(s, &frames[i], 1);
        if (rc < 0)
            return kept > 0 ? kept : report(s);
        if (rc > 0)
            frames[kept++] = frames[i];
    }
    return kept;
}

/* A piece of an FDS adds to what it announces. */
static int match_piece(struct lintel_stream *s, const struct lintel_piece *piece)
{
    uint8_t *announcing = s->work->fds->announcing;
    struct lintel_frame frame;

    memset(&frame, 0, sizeof frame);
    frame.header = piece->header;
    frame.header_size = piece->header_size;
    frame.payload = announcing;
    frame.length = (size_t)piece->length;
    frame.offset = piece->offset;
    if (piece->length == sizeof s->work->fds->announcing && piece->size > 0)
        memcpy(announcing + piece->position, piece->bytes, piece->size);
    return match_one(s, &frame, piece->last);
}

int lintelp_fds_match_pieces(struct lintel_stream *s, struct lintel_piece *pieces, int count)
{
    int kept = 0;

    for (int i = 0; i < count; i++) {
        int rc = match_piece(s, &pieces[i]);
        if (rc < 0)
            return kept > 0 ? kept : report(s);
        if (rc > 0)
            pieces[kept++] = pieces[i];
    }
    return kept;
}

int lintelp_fds_join(struct lintel_stream *s, uint64_t offset)
{
    struct lintelp_fds *set = s->work->fds != NULL ? s->work->fds->given : NULL;
    size_t count = 0;

    for (; set != NULL; set = set->next) {
        set->begin = offset;
        count += set->count;
    }
    return s->work->fds == NULL || count <= s->work->fds->max_in;
}

int lintelp_fds_check(struct lintel_stream *s, uint64_t fed)
{
    uint64_t begun = lintel_decoder_offset(s->work->decoder);

    for (const struct lintelp_fds *set = s->work->fds->in; set != NULL && set->end <= fed;
         set = set->next)
        if (set->begin > begun) {
            (void)fail_undeclared(s, begun);
            return report(s);
        }
    return LINTEL_OK;
}

int lintelp_fds_end(struct lintel_stream *s)
{
    if (!s->work->fds->awaited)
        return LINTEL_E_END;
    (void)fail_plainly(s, LINTEL_E_TRUNCATED, lintel_decoder_offset(s->work->decoder),
                       "the stream ended between an FDS and its frame");
    return report(s);
}

/* ---- taking ---------------------------------------------------------------------------------- */

int lintel_stream_take_fds(struct lintel_stream *stream, uint64_t offset, int *fds, size_t capacity)
{
    struct lintelp_fds **at, *set;
    int count;

    if (stream == NULL || (fds == NULL && capacity > 0))
        return LINTEL_E_USAGE;
    if (stream->work == NULL || stream->work->fds == NULL)
        return 0;
    at = &stream->work->fds->given;
    while (*at != NULL && (*at)->begin != offset)
        at = &(*at)->next;
    if (*at == NULL)
        return 0;
    if ((*at)->count > capacity)
        return lintelp_stream_note(stream, LINTEL_E_SPACE, 0, ABOUT_NOTHING);
    set = pop(at);
    count = (int)set->count;
    memcpy(fds, set->fd, set->count * sizeof *fds);
    set->count = 0;
    lintelp_fds_close(stream, &set);
    return count;
}
