/*
 * The calls of an assembler in any order, over frames and pieces of any kind, with memory that
 * fails, against a model of a few lines.
 *
 *     input:  two limits, then calls: a byte says which, what it takes follows
 */
#include "fuzz.h"

#include "lintel/message.h"

#include <stdlib.h>
#include <string.h>

#define WIRE_MAX    (LINTEL_HEADER_SIZE + 255)
#define MESSAGE_MAX ((size_t)1 << 20) /* of bytes that one input can bring */

struct model {
    struct lintel_assembler *assembler;
    struct memory memory;
    uint64_t max_message;
    uint32_t max_fragments;
    int status; /* sticky */
    int open, in_pieces;
    struct lintel_header header; /* of the open message */
    uint8_t *joined;             /* MESSAGE_MAX: what is open, in frames or in pieces */
    size_t size;
    uint32_t fragments;
    uint8_t wire[WIRE_MAX]; /* the frame that came last */
    struct lintel_frame frame;
    struct lintel_header read; /* of it */
    size_t given;              /* in pieces: of its payload */
    int inside;                /* and it goes on */
    uint64_t offset, first;    /* of the frame, and of the open message */
};

static int is_control(const struct model *m)
{
    return (m->read.flags & LINTEL_CONTROL) != 0;
}

static int is_more(const struct model *m)
{
    return !is_control(m) && (m->read.flags & LINTEL_MORE) != 0;
}

/* The next frame of the stream: one of a few headers, and a payload that tells bytes apart. */
static void make_frame(struct model *m, struct input *in)
{
    static const uint8_t kinds[] = {0,
                                    LINTEL_MORE,
                                    LINTEL_REPLY,
                                    LINTEL_REPLY | LINTEL_MORE,
                                    LINTEL_MORE,
                                    LINTEL_MORE,
                                    LINTEL_REPLY | LINTEL_ERROR,
                                    LINTEL_CONTROL};
    uint8_t kind = input_byte(in), size = input_byte(in);

    m->offset += m->frame.header_size + m->frame.length;
    m->read = (struct lintel_header){kinds[kind & 7], kind >> 4 & 1, kind >> 5 & 1, NULL};
    if (is_control(m))
        m->read = (struct lintel_header){LINTEL_CONTROL, LINTEL_PING, 0, NULL};
    lintel_header_put(m->wire, m->read.flags, m->read.type, m->read.id, size);
    for (unsigned i = 0; i < size; i++)
        m->wire[LINTEL_HEADER_SIZE + i] = (uint8_t)(m->offset + i * 7);
    m->frame = (struct lintel_frame){
        m->wire,  m->wire + LINTEL_HEADER_SIZE, m->wire + LINTEL_HEADER_SIZE + size,
        size,     LINTEL_HEADER_SIZE,           0,
        m->offset};
    m->given = 0;
}

static int goes_on(const struct model *m)
{
    return m->header.type == m->read.type && m->header.id == m->read.id &&
           m->header.flags == (m->read.flags & ~LINTEL_MORE);
}

static void begin(struct model *m)
{
    m->header = m->read;
    m->header.flags &= (uint8_t)~LINTEL_MORE;
    m->first = m->offset;
    m->size = m->fragments = 0;
}

static void join(struct model *m, const uint8_t *bytes, size_t size)
{
    CHECK(size <= MESSAGE_MAX - m->size);
    if (size > 0)
        memcpy(m->joined + m->size, bytes, size);
    m->size += size;
}

/* The call failed for good, with that status and no other. */
static void failed(struct model *m, int rc, int status)
{
    struct lintel_error error;

    CHECK(rc == status);
    m->status = status;
    lintel_assembler_error(m->assembler, &error);
    check_error(&error, status);
    if (m->memory.failures == 0)
        CHECK(error.at == (status == LINTEL_E_TRUNCATED ? m->first : m->offset));
}

/* ---- the calls ------------------------------------------------------------------------------- */

static void expect_message(const struct model *m, const struct lintel_message *message,
                           const uint8_t *bytes, size_t size, uint64_t offset, uint32_t fragments)
{
    CHECK(message->header.type == m->read.type && message->header.id == m->read.id);
    CHECK(message->header.flags ==
          (is_control(m) ? m->read.flags : (m->read.flags & ~LINTEL_MORE)));
    CHECK(message->frame.length == size && message->frame.offset == offset);
    CHECK(size == 0 || memcmp(message->frame.payload, bytes, size) == 0);
    CHECK(message->fragments == fragments);
}

static void call_take(struct model *m, struct input *in)
{
    struct lintel_message message;
    int rc;

    if (!m->inside)
        make_frame(m, in);
    rc = lintel_assembler_take(m->assembler, &message, &m->frame);
    if (m->status != LINTEL_OK) {
        CHECK(rc == m->status);
    } else if (m->inside || (m->open && m->in_pieces)) {
        CHECK(rc == LINTEL_E_USAGE);
    } else if (is_control(m) || (!m->open && !is_more(m))) {
        CHECK(rc == 1);
        expect_message(m, &message, m->frame.payload, m->frame.length, m->offset, 1);
    } else if (m->open && !goes_on(m)) {
        failed(m, rc, LINTEL_E_MALFORMED);
    } else if ((m->open ? m->size : 0) + m->frame.length > m->max_message ||
               (m->open ? m->fragments : 0) == m->max_fragments) {
        failed(m, rc, LINTEL_E_TOO_LARGE);
    } else if (rc == LINTEL_E_NOMEM) {
        CHECK(m->memory.failures > 0);
    } else {
        if (!m->open)
            begin(m);
        join(m, m->frame.payload, m->frame.length);
        m->fragments++;
        m->in_pieces = 0;
        m->open = is_more(m);
        CHECK(rc == !m->open);
        if (rc == 1)
            expect_message(m, &message, m->joined, m->size, m->first, m->fragments);
    }
}

/* A piece of the frame that is begun, or of the next one. */
static void call_take_piece(struct model *m, struct input *in)
{
    struct lintel_message_piece out;
    struct lintel_piece piece;
    size_t size, position = m->size;
    int rc;

    if (!m->inside)
        make_frame(m, in);
    size = input_byte(in);
    if (size > m->frame.length - m->given)
        size = m->frame.length - m->given;
    piece = (struct lintel_piece){m->frame.header,    m->frame.payload + m->given,
                                  m->frame.trailer,   size,
                                  LINTEL_HEADER_SIZE, 0,
                                  m->given,           m->frame.length,
                                  m->offset,          m->given + size == m->frame.length};
    if (size == 0 && !piece.last)
        return;
    rc = lintel_assembler_take_piece(m->assembler, &out, &piece);
    if (m->status != LINTEL_OK) {
        CHECK(rc == m->status);
        return;
    }
    if (m->open && !m->in_pieces) {
        CHECK(rc == LINTEL_E_USAGE);
        return;
    }
    if (!is_control(m) && m->open && m->given == 0 && !goes_on(m)) {
        failed(m, rc, LINTEL_E_MALFORMED);
        return;
    }
    if (rc == LINTEL_E_NOMEM) {
        CHECK(m->memory.failures > 0 && is_control(m));
        return;
    }
    m->given += size;
    m->inside = !piece.last;
    if (is_control(m)) {
        CHECK(rc == piece.last);
        if (rc == 1)
            CHECK(out.last && out.size == m->frame.length && out.position == 0 &&
                  (out.size == 0 || memcmp(out.bytes, m->frame.payload, out.size) == 0));
        return;
    }
    if (!m->open) {
        begin(m);
        position = 0;
    }
    join(m, piece.bytes, size);
    m->in_pieces = 1;
    m->open = !piece.last || is_more(m);
    CHECK(rc == 1 && out.last == !m->open && out.size == size && out.position == position);
    CHECK(out.offset == m->first && (size == 0 || memcmp(out.bytes, piece.bytes, size) == 0));
}

static void call_end(struct model *m)
{
    int rc = lintel_assembler_end(m->assembler);

    if (m->status != LINTEL_OK || !m->open)
        CHECK(rc == m->status);
    else
        failed(m, rc, LINTEL_E_TRUNCATED);
}

static void call_ask(struct model *m)
{
    struct lintel_error error;
    struct lintel_message message;

    lintel_assembler_error(m->assembler, &error);
    CHECK(error.status == m->status);
    CHECK(lintel_assembler_is_open(NULL) == 0 && lintel_assembler_size(NULL) == 0);
    CHECK(lintel_assembler_take(NULL, &message, &m->frame) == LINTEL_E_USAGE);
    CHECK(lintel_assembler_take(m->assembler, NULL, &m->frame) == LINTEL_E_USAGE);
    if (m->status == LINTEL_OK)
        CHECK(lintel_assembler_is_open(m->assembler) == m->open);
    if (m->status == LINTEL_OK && m->open && !m->in_pieces)
        CHECK(lintel_assembler_size(m->assembler) == m->size);
}

static void renew(struct model *m)
{
    struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;
    int rc;

    lintel_assembler_free(m->assembler);
    CHECK(m->memory.blocks == 0);
    options.allocator = &m->memory.allocator;
    options.max_message = m->max_message;
    options.max_fragments = m->max_fragments;
    do
        rc = lintel_assembler_new(&m->assembler, &options, NULL);
    while (rc == LINTEL_E_NOMEM);
    CHECK(rc == LINTEL_OK);
    m->status = LINTEL_OK;
    m->open = m->in_pieces = m->inside = 0;
    m->size = 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size < MESSAGE_MAX / 256 ? size : MESSAGE_MAX / 256};
    struct model m = {.joined = malloc(MESSAGE_MAX)};

    CHECK(m.joined != NULL);
    memory_init(&m.memory);
    m.max_message = 1 + input_byte(&in) * UINT64_C(16);
    m.max_fragments = 1 + input_byte(&in) % 16u;
    renew(&m);
    while (in.size > 0) {
        uint8_t call = input_byte(&in);
        switch (call & 7) {
        case 0:
        case 1:
        case 2:
            call_take(&m, &in);
            break;
        case 3:
        case 4:
            call_take_piece(&m, &in);
            break;
        case 5:
            call_ask(&m);
            break;
        case 6:
            m.memory.fail_every = call >> 4 == 1 ? 0 : call >> 4;
            break;
        default:
            if (call & 8)
                renew(&m);
            else
                call_end(&m);
        }
    }
    lintel_assembler_free(m.assembler);
    CHECK(m.memory.blocks == 0);
    free(m.joined);
    return 0;
}
