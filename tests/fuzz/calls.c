/*
 * The calls of a decoder in any order, with NULLs, with memory that fails: nothing crashes, errors
 * stay, views show what the stream has there until they die.
 *
 *     input:  a layout, the options, then calls: the low half of a byte says which, what it takes
 *             follows
 *
 * The model is the stream as the decoder took it: what was fed or filled, less what rest() gave
 * back. A piece that was fed is released as soon as the header of decoder.h allows it.
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

#define HELD_MAX    128
#define STREAM_MAX  ((size_t)64 * 1024)
#define BATCH_MAX   20
#define ERRORS_ONCE 3

enum call {
    FEED,
    SPACE,
    FILLED,
    NEXT,
    BATCH,
    PIECE,
    REST,
    TRIM,
    RESET,
    END,
    ASK,
    NULLS,
    RENEW,
    FAILING,
    FEED_LONG,
    PIECES
};

struct model {
    struct lintel_decoder_options options;
    struct lintel_decoder *decoder;
    struct memory memory;
    uint8_t *stream; /* STREAM_MAX */
    size_t size;
    uint8_t *piece; /* what was fed last */
    uint8_t *space;
    size_t lent;
    uint64_t inside;           /* position in a frame that is given in pieces; 0: in none */
    uint64_t front;            /* where the next frame begins, or later if some are passed over */
    size_t wanted;             /* less than so many unread bytes give nothing: known by asking */
    struct lintel_error error; /* the decoder stays in it, where status is not 0 */
    struct {
        const uint8_t *bytes;
        uint8_t *copy;
        size_t size;
    } held[HELD_MAX];
    size_t held_count;
};

/* ---- views ----------------------------------------------------------------------------------- */

static void hold(struct model *m, const uint8_t *bytes, uint64_t offset, size_t size)
{
    CHECK(offset <= m->size && size <= m->size - offset);
    CHECK(size == 0 || memcmp(bytes, m->stream + offset, size) == 0);
    if (m->held_count == HELD_MAX)
        return;
    m->held[m->held_count].bytes = bytes;
    m->held[m->held_count].copy = copy_of(bytes, size);
    m->held[m->held_count++].size = size;
}

static void look_again(const struct model *m)
{
    for (size_t i = 0; i < m->held_count; i++)
        CHECK(m->held[i].size == 0 ||
              memcmp(m->held[i].bytes, m->held[i].copy, m->held[i].size) == 0);
}

static void let_go(struct model *m)
{
    for (size_t i = 0; i < m->held_count; i++)
        free(m->held[i].copy);
    m->held_count = 0;
}

/* There was nothing to give. Of a frame it is known what is missing. */
static void found_nothing(struct model *m)
{
    size_t unread = lintel_decoder_unread(m->decoder);
    size_t missing = m->inside == 0 ? lintel_decoder_need(m->decoder) : 1;

    m->wanted = missing < SIZE_MAX - unread ? unread + missing : SIZE_MAX;
}

/* Each frame begins where the one before it ended, but for those that are passed over. */
static void expect_at(const struct model *m, uint64_t offset)
{
    CHECK(m->options.over_limit == LINTEL_OVER_LIMIT_SKIP ? offset >= m->front
                                                          : offset == m->front);
}

static void hold_frame(struct model *m, const struct lintel_frame *frame)
{
    uint64_t at = frame->offset;

    expect_at(m, at);
    m->front = at + frame->header_size + frame->length + frame->trailer_size;
    m->wanted = 0;
    hold(m, frame->header, at, frame->header_size);
    hold(m, frame->payload, at + frame->header_size, frame->length);
    hold(m, frame->trailer, at + frame->header_size + frame->length, frame->trailer_size);
}

static void hold_piece(struct model *m, const struct lintel_piece *piece)
{
    uint64_t at = piece->offset;

    expect_at(m, at);
    m->front = at;
    if (piece->last)
        m->front += piece->header_size + piece->length + piece->trailer_size;
    /* How much of a trailer is there, and whether that is enough, is not known from outside. */
    m->wanted = !piece->last && piece->position + piece->size == piece->length ? SIZE_MAX : 0;
    CHECK(piece->size <= piece->length - piece->position);
    CHECK(piece->last == (piece->trailer_size > 0 ||
                          (piece->last && piece->position + piece->size == piece->length)));
    hold(m, piece->header, at, piece->header_size);
    at += piece->header_size + piece->position;
    hold(m, piece->bytes, at, piece->size);
    hold(m, piece->trailer, at + piece->size, piece->trailer_size);
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* A call came back with that. Where the decoder is in an error, it is that one, and stays so. */
static void came_back(struct model *m, int rc)
{
    struct lintel_error now;

    lintel_decoder_error(m->decoder, &now);
    if (m->error.status != LINTEL_OK) {
        CHECK(rc == m->error.status);
        CHECK(same_error(&now, &m->error));
        return;
    }
    if (now.status == LINTEL_OK) {
        CHECK(rc >= 0 || rc == LINTEL_E_USAGE || (rc == LINTEL_E_NOMEM && m->memory.failures > 0));
        return;
    }
    check_error(&now, rc);
    CHECK(rc != LINTEL_E_USAGE && now.at == lintel_decoder_offset(m->decoder));
    m->error = now;
}

static void nothing_held(struct model *m)
{
    let_go(m);
    free(m->piece);
    m->piece = NULL;
    m->space = NULL;
    m->lent = 0;
}

/* ---- the calls ------------------------------------------------------------------------------- */

static void append(struct model *m, const uint8_t *bytes, size_t size)
{
    if (size > 0)
        memcpy(m->stream + m->size, bytes, size);
    m->size += size;
}

static void call_feed(struct model *m, const uint8_t *bytes, size_t size)
{
    size_t unread = lintel_decoder_unread(m->decoder);
    uint8_t *piece;
    int rc;

    if (size > STREAM_MAX - m->size)
        size = 0;
    piece = copy_of(bytes, size);
    rc = lintel_decoder_feed(m->decoder, piece, size);
    came_back(m, rc);
    if (rc < 0) {
        CHECK(lintel_decoder_unread(m->decoder) == unread);
        free(piece);
        return;
    }
    CHECK(unread < m->wanted || unread == 0);
    nothing_held(m);
    m->piece = piece;
    append(m, piece, size);
}

static void call_space(struct model *m)
{
    void *space = NULL;
    size_t size = 0;
    int rc = lintel_decoder_space(m->decoder, &space, &size);

    came_back(m, rc);
    if (rc == LINTEL_E_USAGE)
        return;
    if (rc < 0) {
        let_go(m);
        return;
    }
    CHECK(space != NULL && size > 0);
    nothing_held(m);
    m->space = space;
    m->lent = size;
}

static void call_filled(struct model *m, const uint8_t *bytes, size_t size)
{
    if (size > STREAM_MAX - m->size)
        size = 0;
    if (m->error.status != LINTEL_OK) {
        came_back(m, lintel_decoder_filled(m->decoder, size));
        return;
    }
    if (size <= m->lent && size > 0)
        memcpy(m->space, bytes, size);
    if (size > m->lent) {
        CHECK(lintel_decoder_filled(m->decoder, size) == LINTEL_E_USAGE);
        return;
    }
    CHECK(lintel_decoder_filled(m->decoder, size) == LINTEL_OK);
    append(m, bytes, size);
    m->lent = 0;
    CHECK(lintel_decoder_filled(m->decoder, 1) == LINTEL_E_USAGE);
}

static void call_next(struct model *m)
{
    struct lintel_frame frame;
    int rc = lintel_decoder_next(m->decoder, &frame);

    CHECK(rc <= 1 && (m->inside == 0 || rc < 0));
    came_back(m, rc);
    if (rc == 0)
        found_nothing(m);
    if (rc == 1)
        hold_frame(m, &frame);
}

static void call_batch(struct model *m, int capacity)
{
    struct lintel_frame frames[BATCH_MAX];
    int rc = lintel_decoder_next_batch(m->decoder, frames, capacity);

    CHECK(rc <= 0 || rc <= capacity);
    if (capacity < 1) {
        CHECK(rc == LINTEL_E_USAGE);
        return;
    }
    CHECK(m->inside == 0 || rc < 0);
    came_back(m, rc);
    if (rc == 0)
        found_nothing(m);
    for (int i = 0; i < rc; i++)
        hold_frame(m, &frames[i]);
}

static void call_piece(struct model *m)
{
    struct lintel_piece piece;
    int rc = lintel_decoder_next_piece(m->decoder, &piece);

    CHECK(rc <= 1);
    came_back(m, rc);
    if (rc == 0)
        found_nothing(m);
    if (rc != 1)
        return;
    CHECK(piece.position == m->inside);
    hold_piece(m, &piece);
    m->inside = piece.last ? 0 : piece.position + piece.size;
    CHECK(piece.last || m->inside > 0);
}

static void call_pieces(struct model *m, int capacity)
{
    struct lintel_piece pieces[BATCH_MAX];
    int rc = lintel_decoder_next_pieces(m->decoder, pieces, capacity);

    CHECK(rc <= 0 || rc <= capacity);
    if (capacity < 1) {
        CHECK(rc == LINTEL_E_USAGE);
        return;
    }
    /* Behind the pieces may stand an error, which the next call says. */
    if (rc > 0)
        lintel_decoder_error(m->decoder, &m->error);
    else
        came_back(m, rc);
    for (int i = 0; i < rc; i++) {
        CHECK(pieces[i].position == m->inside);
        hold_piece(m, &pieces[i]);
        m->inside = pieces[i].last ? 0 : pieces[i].position + pieces[i].size;
    }
    if (rc >= 0 && rc < capacity)
        found_nothing(m);
}

static void call_end(struct model *m)
{
    int rc = lintel_decoder_end(m->decoder);

    CHECK(rc == m->error.status);
    if (rc == LINTEL_OK)
        m->lent = 0;
}

static void call_rest(struct model *m)
{
    struct lintel_part parts[2];
    size_t size = lintel_decoder_unread(m->decoder);
    int rc = lintel_decoder_rest(m->decoder, parts);

    CHECK(rc == LINTEL_OK || (rc == LINTEL_E_USAGE && m->inside > 0));
    if (rc < 0)
        return;
    CHECK(parts[0].size <= size && size - parts[0].size == parts[1].size && size <= m->size);
    m->size -= size;
    /* Held against the stream as it was. */
    m->size += size;
    hold(m, parts[0].bytes, m->size - size, parts[0].size);
    hold(m, parts[1].bytes, m->size - parts[1].size, parts[1].size);
    m->size -= size;
    CHECK(lintel_decoder_unread(m->decoder) == 0);
}

static void call_reset(struct model *m)
{
    lintel_decoder_reset(m->decoder);
    nothing_held(m);
    m->size = 0;
    m->inside = 0;
    m->front = 0;
    m->wanted = 0;
    memset(&m->error, 0, sizeof m->error);
    CHECK(lintel_decoder_offset(m->decoder) == 0 && lintel_decoder_unread(m->decoder) == 0 &&
          lintel_decoder_skipped(m->decoder) == 0);
}

static void call_trim(struct model *m)
{
    lintel_decoder_trim(m->decoder);
    let_go(m);
    m->space = NULL;
    m->lent = 0;
}

static void call_ask(const struct model *m)
{
    struct lintel_error error;
    uint64_t begun;

    CHECK(lintel_decoder_begun(m->decoder, &begun) == (begun > 0));
    CHECK(lintel_decoder_memory(m->decoder) / 3 <= m->options.max_memory ||
          m->options.max_memory == 0);
    CHECK(lintel_decoder_need(m->decoder) > 0);
    CHECK(lintel_decoder_unread(m->decoder) <= m->size);
    CHECK(lintel_decoder_layout(m->decoder) == m->options.layout);
    CHECK(lintel_decoder_memory(m->decoder) == 0 || m->memory.blocks > 1);
    lintel_decoder_error(m->decoder, &error);
    CHECK(same_error(&error, &m->error));
}

static void call_with_nulls(struct model *m)
{
    struct lintel_frame frame;
    struct lintel_piece piece;
    struct lintel_part parts[2];
    struct lintel_error error;
    void *space;
    size_t size;

    CHECK(lintel_decoder_feed(NULL, "", 0) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_feed(m->decoder, NULL, 1) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_space(NULL, &space, &size) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_space(m->decoder, NULL, &size) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_space(m->decoder, &space, NULL) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_filled(NULL, 0) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_filled(m->decoder, SIZE_MAX) ==
          (m->error.status != LINTEL_OK ? m->error.status : LINTEL_E_USAGE));
    CHECK(lintel_decoder_end(NULL) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_next(NULL, &frame) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_next(m->decoder, NULL) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_next_batch(NULL, &frame, 1) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_next_batch(m->decoder, NULL, 1) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_next_batch(m->decoder, &frame, -1) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_next_piece(NULL, &piece) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_next_piece(m->decoder, NULL) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_next_pieces(NULL, &piece, 1) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_next_pieces(m->decoder, NULL, 1) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_begun(NULL, NULL) == 0);
    CHECK(lintel_decoder_rest(NULL, parts) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_rest(m->decoder, NULL) == LINTEL_E_USAGE);
    CHECK(lintel_decoder_need(NULL) > 0 && lintel_decoder_offset(NULL) == 0);
    CHECK(lintel_decoder_unread(NULL) == 0 && lintel_decoder_skipped(NULL) == 0);
    CHECK(lintel_decoder_memory(NULL) == 0 && lintel_decoder_layout(NULL) == NULL);
    CHECK(lintel_decoder_new(NULL, &m->options, &error) == LINTEL_E_USAGE);
    lintel_decoder_error(NULL, &error);
    CHECK(error.status == LINTEL_OK && error.text[0] == '\0');
    lintel_decoder_error(m->decoder, NULL);
    lintel_decoder_reset(NULL);
    lintel_decoder_trim(NULL);
    lintel_decoder_free(NULL);
}

static void renew(struct model *m)
{
    int rc;

    lintel_decoder_free(m->decoder);
    m->decoder = NULL;
    nothing_held(m);
    CHECK(m->memory.blocks == 0);
    do
        rc = lintel_decoder_new(&m->decoder, &m->options, NULL);
    while (rc == LINTEL_E_NOMEM);
    CHECK(rc == LINTEL_OK);
    call_reset(m);
}

static void call(struct model *m, struct input *in, uint8_t byte)
{
    size_t size;
    const uint8_t *bytes;

    switch ((enum call)(byte & 15)) {
    case FEED:
        bytes = input_take(in, input_byte(in), &size);
        call_feed(m, bytes, size);
        break;
    case FEED_LONG:
        bytes = input_take(in, (size_t)16 * input_byte(in), &size);
        call_feed(m, bytes, size);
        break;
    case SPACE:
        call_space(m);
        break;
    case FILLED:
        bytes = input_take(in, input_byte(in), &size);
        call_filled(m, bytes, size);
        break;
    case NEXT:
        call_next(m);
        break;
    case PIECES:
        call_pieces(m, byte >> 4);
        break;
    case BATCH:
        call_batch(m, byte >> 4);
        break;
    case PIECE:
        call_piece(m);
        break;
    case REST:
        call_rest(m);
        break;
    case TRIM:
        call_trim(m);
        break;
    case RESET:
        call_reset(m);
        break;
    case END:
        call_end(m);
        break;
    case ASK:
        call_ask(m);
        break;
    case NULLS:
        call_with_nulls(m);
        break;
    case RENEW:
        renew(m);
        break;
    case FAILING:
        m->memory.fail_every = byte >> 4 == 1 ? 0 : byte >> 4;
        break;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct lintel_layout *layout = input_layout(&in);
    struct model m = {.options = LINTEL_DECODER_OPTIONS_INIT, .size = 0};
    uint8_t flags;

    if (layout == NULL)
        return 0;
    memory_init(&m.memory);
    m.stream = malloc(STREAM_MAX);
    CHECK(m.stream != NULL);
    m.options.layout = layout;
    m.options.allocator = &m.memory.allocator;
    flags = input_byte(&in);
    m.options.over_limit = flags & 1 ? LINTEL_OVER_LIMIT_SKIP : LINTEL_OVER_LIMIT_FAIL;
    if (flags & 2)
        m.options.max_frame = input_number(&in);
    if (m.options.max_frame > lintel_layout_length_max(layout))
        m.options.max_frame = lintel_layout_length_max(layout);
    if (flags & 4)
        m.options.max_memory = input_number(&in);
    renew(&m);
    while (in.size > 0) {
        look_again(&m);
        call(&m, &in, input_byte(&in));
    }
    look_again(&m);
    lintel_decoder_free(m.decoder);
    nothing_held(&m);
    CHECK(m.memory.blocks == 0);
    free(m.stream);
    lintel_layout_free(layout);
    return 0;
}
