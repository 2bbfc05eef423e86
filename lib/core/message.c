/* Fragments to messages and back. */
#include "lintel/message.h"

#include "core/internal.h"
#include "core/text.h"

#include <string.h>

#define FIRST_CAPACITY ((size_t)16 * 1024) /* law 2: growth by doubling begins here, at most */

struct lintel_assembler {
    const struct lintel_layout *layout;
    const struct lintel_allocator *allocator;
    uint64_t max_message;
    uint32_t max_fragments;
    uint32_t fragments; /* of the open message, so far */
    struct lintel_error *error;
    int status;                  /* sticky */
    uint8_t open;                /* a message has begun and goes on */
    uint8_t in_pieces;           /* its frames came in pieces: nothing of it is held */
    uint8_t inside;              /* between two pieces of one frame */
    struct lintel_header header; /* of the open message, without MORE */
    uint64_t offset;             /* of its first frame */
    uint64_t position;           /* bytes of the frames of it that are over; in pieces only */
    uint8_t *bytes;              /* payloads, joined; a control frame that comes in pieces */
    size_t size, capacity;       /* size <= capacity */
};

/* ---- life ------------------------------------------------------------------------------------ */

int lintel_assembler_new(struct lintel_assembler **out,
                         const struct lintel_assembler_options *options, struct lintel_error *error)
{
    static const struct lintel_assembler_options defaults = LINTEL_ASSEMBLER_OPTIONS_INIT;
    const struct lintel_assembler_options *o = options != NULL ? options : &defaults;
    struct lintel_assembler *a;

    if (out == NULL || o->size != sizeof *o)
        return lintelp_fail(error, LINTEL_E_USAGE, 0,
                            "assembler: NULL, or options of another size");
    a = lintelp_resize(o->allocator, NULL, sizeof *a);
    if (a == NULL)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "assembler: out of memory");
    memset(a, 0, sizeof *a);
    a->layout = o->layout != NULL ? o->layout : lintel_layout_default();
    a->allocator = o->allocator;
    a->max_message = o->max_message != 0 ? o->max_message : LINTEL_MESSAGE_LIMIT;
    a->max_fragments = o->max_fragments != 0 ? o->max_fragments : LINTEL_FRAGMENTS_LIMIT;
    *out = a;
    return LINTEL_OK;
}

void lintel_assembler_free(struct lintel_assembler *assembler)
{
    if (assembler == NULL)
        return;
    if (assembler->bytes != NULL)
        (void)lintelp_resize(assembler->allocator, assembler->bytes, 0);
    if (assembler->error != NULL)
        (void)lintelp_resize(assembler->allocator, assembler->error, 0);
    (void)lintelp_resize(assembler->allocator, assembler, 0);
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* The assembler is in this error now; the text follows, where there is memory for it. */
static struct lintelp_text fail(struct lintel_assembler *a, int status, uint64_t at)
{
    struct lintelp_text text;

    a->status = status;
    a->open = 0;
    a->error = lintelp_resize(a->allocator, NULL, sizeof *a->error);
    text = lintelp_error(a->error, status, at);
    lintelp_text_str(&text, "frame at byte ");
    lintelp_text_u64(&text, at);
    lintelp_text_str(&text, ": ");
    return text;
}

static void say_header(struct lintelp_text *text, const struct lintel_header *header)
{
    lintelp_text_str(text, "type ");
    lintelp_text_u64(text, header->type);
    lintelp_text_str(text, " id ");
    lintelp_text_u64(text, header->id);
    lintelp_text_str(text, " flags ");
    lintelp_text_hex(text, header->flags, 2);
}

static int fail_mixed(struct lintel_assembler *a, const struct lintel_header *header, uint64_t at)
{
    struct lintel_header open = a->header;
    uint64_t begun = a->offset;
    struct lintelp_text text = fail(a, LINTEL_E_MALFORMED, at);

    say_header(&text, header);
    lintelp_text_str(&text, " between the fragments of the message at byte ");
    lintelp_text_u64(&text, begun);
    lintelp_text_str(&text, ", ");
    say_header(&text, &open);
    return a->status;
}

static int fail_limit(struct lintel_assembler *a, const char *what, uint64_t limit, uint64_t at)
{
    uint64_t begun = a->offset;
    struct lintelp_text text = fail(a, LINTEL_E_TOO_LARGE, at);

    lintelp_text_str(&text, "the message at byte ");
    lintelp_text_u64(&text, begun);
    lintelp_text_str(&text, " exceeds the limit of ");
    lintelp_text_u64(&text, limit);
    lintelp_text_str(&text, what);
    return a->status;
}

void lintel_assembler_error(const struct lintel_assembler *assembler, struct lintel_error *out)
{
    int status = assembler != NULL ? assembler->status : LINTEL_OK;

    if (out == NULL)
        return;
    if (assembler != NULL && assembler->error != NULL)
        *out = *assembler->error;
    else
        (void)lintelp_fail(out, status, 0, status != LINTEL_OK ? lintel_strerror(status) : "");
}

/* ---- the order of frames --------------------------------------------------------------------- */

/* Read the header of a frame. Returns 1 it is a part of a message, 0 it stands alone; or the error.
 * MORE is left in *more and not in the header. */
static int read_header(const struct lintel_assembler *a, struct lintel_header *header, int *more,
                       const struct lintel_frame *frame)
{
    int rc;

    if ((rc = lintel_header_read(a->layout, header, frame)) < 0)
        return rc;
    *more = 0;
    if (!lintel_layout_is_lintel(a->layout) || (header->flags & LINTEL_CONTROL) != 0)
        return 0;
    *more = (header->flags & LINTEL_MORE) != 0;
    header->flags &= (uint8_t)~LINTEL_MORE;
    return a->open || *more;
}

/* The frame begins a message, or goes on with the one that is open. */
static int join(struct lintel_assembler *a, const struct lintel_header *header, uint64_t offset)
{
    if (a->open)
        return header->type == a->header.type && header->id == a->header.id &&
                       header->flags == a->header.flags
                   ? LINTEL_OK
                   : fail_mixed(a, header, offset);
    a->header = *header;
    a->offset = offset;
    a->position = 0;
    a->fragments = 0;
    a->size = 0;
    return LINTEL_OK;
}

/* ---- putting together ------------------------------------------------------------------------ */

/* Room for so many more bytes, by doubling. */
static int reserve(struct lintel_assembler *a, size_t size)
{
    size_t capacity = a->capacity > 0 ? a->capacity : FIRST_CAPACITY;
    uint8_t *bytes;

    if (size <= a->capacity - a->size)
        return LINTEL_OK;
    if (size > SIZE_MAX / 2 - a->size)
        return LINTEL_E_NOMEM;
    while (capacity - a->size < size)
        capacity *= 2;
    bytes = lintelp_resize(a->allocator, a->bytes, capacity);
    if (bytes == NULL)
        return LINTEL_E_NOMEM;
    a->bytes = bytes;
    a->capacity = capacity;
    return LINTEL_OK;
}

static int append(struct lintel_assembler *a, const uint8_t *bytes, size_t size)
{
    int rc = reserve(a, size);

    if (rc < 0 || size == 0)
        return rc;
    memcpy(a->bytes + a->size, bytes, size);
    a->size += size;
    return LINTEL_OK;
}

static int give_whole(struct lintel_message *out, const struct lintel_header *header,
                      const struct lintel_frame *frame)
{
    out->header = *header;
    out->frame = *frame;
    out->fragments = 1;
    return 1;
}

static int give_joined(const struct lintel_assembler *a, struct lintel_message *out,
                       const struct lintel_frame *frame)
{
    out->header = a->header;
    out->frame = *frame;
    if (a->size > 0)
        out->frame.payload = a->bytes;
    out->frame.length = a->size;
    out->frame.offset = a->offset;
    out->fragments = a->fragments;
    return 1;
}

int lintel_assembler_take(struct lintel_assembler *assembler, struct lintel_message *out,
                          const struct lintel_frame *frame)
{
    struct lintel_assembler *a = assembler;
    struct lintel_header header;
    int rc, more;

    if (a == NULL || out == NULL || frame == NULL)
        return LINTEL_E_USAGE;
    if (a->status < 0)
        return a->status;
    if (a->inside || (a->open && a->in_pieces))
        return LINTEL_E_USAGE;
    if ((rc = read_header(a, &header, &more, frame)) < 0)
        return rc;
    if (rc == 0)
        return give_whole(out, &header, frame);
    if ((rc = join(a, &header, frame->offset)) < 0)
        return rc;
    if (frame->length > a->max_message || a->size > a->max_message - frame->length)
        return fail_limit(a, " bytes", a->max_message, frame->offset);
    if (a->fragments == a->max_fragments)
        return fail_limit(a, " fragments", a->max_fragments, frame->offset);
    if ((rc = append(a, frame->payload, frame->length)) < 0)
        return rc;
    a->fragments++;
    a->in_pieces = 0;
    a->open = (uint8_t)more;
    return more ? 0 : give_joined(a, out, frame);
}

/* ---- in pieces ------------------------------------------------------------------------------- */

/* A control frame is short, and is put together. */
static int take_control(struct lintel_assembler *a, struct lintel_message_piece *out,
                        const struct lintel_header *header, const struct lintel_piece *piece)
{
    int rc;

    if (piece->position == 0)
        a->size = 0;
    if ((rc = append(a, piece->bytes, piece->size)) < 0)
        return rc;
    a->inside = !piece->last;
    if (!piece->last)
        return 0;
    out->header = *header;
    out->bytes = a->size > 0 ? a->bytes : piece->bytes;
    out->size = a->size;
    out->position = 0;
    out->offset = piece->offset;
    out->last = 1;
    return 1;
}

/* A piece of a frame that is a message, or of a fragment. */
static int take_piece(struct lintel_assembler *a, struct lintel_message_piece *out,
                      const struct lintel_header *header, int more,
                      const struct lintel_piece *piece)
{
    int rc;

    if (piece->position == 0 && (rc = join(a, header, piece->offset)) < 0)
        return rc;
    out->header = *header;
    out->bytes = piece->bytes;
    out->size = piece->size;
    out->position = a->position + piece->position;
    out->offset = a->offset;
    out->last = piece->last && !more;
    a->in_pieces = 1;
    a->inside = !piece->last;
    a->open = !out->last;
    if (piece->last)
        a->position += piece->length;
    return 1;
}

int lintel_assembler_take_piece(struct lintel_assembler *assembler,
                                struct lintel_message_piece *out, const struct lintel_piece *piece)
{
    struct lintel_assembler *a = assembler;
    struct lintel_frame frame;
    struct lintel_header header;
    int rc, more;

    if (a == NULL || out == NULL || piece == NULL)
        return LINTEL_E_USAGE;
    if (a->status < 0)
        return a->status;
    if (a->open && !a->in_pieces)
        return LINTEL_E_USAGE;
    memset(&frame, 0, sizeof frame);
    frame.header = piece->header;
    frame.header_size = piece->header_size;
    frame.trailer = piece->trailer;
    frame.trailer_size = piece->trailer_size;
    frame.offset = piece->offset;
    if ((rc = read_header(a, &header, &more, &frame)) < 0)
        return rc;
    if ((header.flags & LINTEL_CONTROL) != 0 && lintel_layout_is_lintel(a->layout))
        return take_control(a, out, &header, piece);
    return take_piece(a, out, &header, more, piece);
}

/* ---- the end, and asking --------------------------------------------------------------------- */

int lintel_assembler_end(struct lintel_assembler *assembler)
{
    struct lintelp_text text;
    uint64_t begun;

    if (assembler == NULL)
        return LINTEL_E_USAGE;
    if (assembler->status < 0 || !assembler->open)
        return assembler->status;
    begun = assembler->offset;
    text = fail(assembler, LINTEL_E_TRUNCATED, begun);
    lintelp_text_str(&text, "the stream ended between the fragments of its message");
    return assembler->status;
}

int lintel_assembler_is_open(const struct lintel_assembler *assembler)
{
    return assembler != NULL && assembler->open;
}

uint64_t lintel_assembler_size(const struct lintel_assembler *assembler)
{
    if (!lintel_assembler_is_open(assembler))
        return 0;
    return assembler->in_pieces ? assembler->position : assembler->size;
}

size_t lintel_assembler_memory(const struct lintel_assembler *assembler)
{
    if (assembler == NULL)
        return 0;
    return sizeof *assembler + assembler->capacity +
           (assembler->error != NULL ? sizeof *assembler->error : 0);
}

/* ---- messages to fragments ------------------------------------------------------------------- */

void lintel_fragments_init(struct lintel_fragments *fragments, const struct lintel_header *header,
                           const void *payload, size_t size, uint64_t max_frame)
{
    struct lintel_fragments *f = fragments;

    if (f == NULL)
        return;
    memset(f, 0, sizeof *f);
    if (header != NULL)
        f->header = *header;
    f->payload = payload;
    f->size = size;
    f->step = size;
    if (max_frame == 0)
        max_frame = LINTEL_FRAME_LIMIT;
    if (size > max_frame)
        f->step = max_frame < LINTEL_FRAGMENT_SIZE ? (size_t)max_frame : LINTEL_FRAGMENT_SIZE;
}

int lintel_fragments_next(struct lintel_fragments *fragments, struct lintel_fragment *out)
{
    size_t left;

    if (fragments == NULL || out == NULL || fragments->done)
        return 0;
    left = fragments->size - fragments->at;
    out->header = fragments->header;
    out->payload = fragments->payload != NULL ? fragments->payload + fragments->at : NULL;
    out->size = left < fragments->step ? left : fragments->step;
    fragments->at += out->size;
    fragments->done = fragments->at == fragments->size;
    if (!fragments->done)
        out->header.flags |= LINTEL_MORE;
    return 1;
}
