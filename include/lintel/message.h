/*
 * message: fragments to messages, and messages to fragments. proto/lintel.md, "Messages and
 * fragments". No I/O, no clock.
 *
 *     frames       | ab MORE | PING | c MORE | de |  | f |
 *     messages               | PING |        | abcde |  | f |
 *
 * Only lintel's own layout has fragments; in any other a frame is a message. An assembler is needed
 * only where a frame with MORE comes: a frame without it, outside of a run, is a message as it is.
 * Read decoder.h first.
 */
#ifndef LINTEL_MESSAGE_H
#define LINTEL_MESSAGE_H

#include "lintel/decoder.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LINTEL_MESSAGE_LIMIT   ((uint64_t)64 << 20) /* bytes of a message unless set; our choice */
#define LINTEL_FRAGMENTS_LIMIT ((uint32_t)1 << 16)  /* fragments of one, the same */
#define LINTEL_FRAGMENT_SIZE   ((size_t)256 * 1024) /* bytes of one that we send; our choice */

/* ---- fragments to messages ------------------------------------------------------------------- */

struct lintel_assembler;

struct lintel_assembler_options {
    size_t size;                              /* set by LINTEL_ASSEMBLER_OPTIONS_INIT */
    const struct lintel_layout *layout;       /* kept; NULL: lintel's own */
    const struct lintel_allocator *allocator; /* kept; NULL: malloc and free */
    uint64_t max_message;   /* bytes of a message of several frames; 0: LINTEL_MESSAGE_LIMIT */
    uint32_t max_fragments; /* of a message that is put together; 0: LINTEL_FRAGMENTS_LIMIT */
};
#define LINTEL_ASSEMBLER_OPTIONS_INIT                       \
    {                                                       \
        sizeof(struct lintel_assembler_options), 0, 0, 0, 0 \
    }

/* A message, or a control frame. */
struct lintel_message {
    struct lintel_header header; /* flags without MORE, type, id; as lintel_header_read() */
    /* One whole frame as it came; of several the last, with the payloads of all, joined, in payload
     * and length, and the offset of the first. */
    struct lintel_frame frame;
    uint32_t fragments; /* frames that it came in */
};

/*
 * Make an assembler.
 *
 * Gives    *out, to be released with lintel_assembler_free()
 * Returns  LINTEL_OK; LINTEL_E_NOMEM
 *          LINTEL_E_USAGE  out is NULL, or options->size is not one this library knows
 * Keeps    the layout and the allocator until lintel_assembler_free(); options may be NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_assembler_new(struct lintel_assembler **out,
                                                    const struct lintel_assembler_options *options,
                                                    struct lintel_error *error);

/* Release an assembler and its storage. NULL is left alone. */
LINTEL_API
void lintel_assembler_free(struct lintel_assembler *assembler);

/*
 * Take the next frame of a stream. Control frames come out at once, between fragments too.
 *
 * Returns  1   *out is a message, or a control frame
 *          0   the frame was a fragment and its message goes on; *out is untouched
 *          <0  LINTEL_E_MALFORMED  another message's frame between fragments
 *              LINTEL_E_TOO_LARGE  the sum of the fragments, or their number, is over its limit
 *              LINTEL_E_NOMEM      nothing has changed; the same frame may be taken again
 *              LINTEL_E_USAGE      a NULL, or inside of a message that came in pieces
 *              The first two are sticky, and belong to this frame: error.at is its offset.
 * Borrows  the frame's payload, which is copied if it is a fragment
 * Lends    out->frame: a frame that is a message is lent as the decoder lends it, a message of
 *          fragments until the next call on this assembler, and its header and trailer as the last
 *          frame's
 */
LINTEL_API LINTEL_MUST_USE int lintel_assembler_take(struct lintel_assembler *assembler,
                                                     struct lintel_message *out,
                                                     const struct lintel_frame *frame);

/* A piece of a message: the pieces of a message join to its payload. */
struct lintel_message_piece {
    struct lintel_header header; /* as in struct lintel_message */
    const uint8_t *bytes;
    size_t size;
    uint64_t position; /* of the piece in the message */
    uint64_t offset;   /* of the message's first frame in the stream */
    int last;          /* 1: the message is complete with this piece */
};

/*
 * The same for frames in pieces, as lintel_decoder_next_pieces() gives them: only the order of
 * fragments is judged, nothing is held, and no limit applies but that of a frame. A control frame
 * comes out whole, as one piece.
 *
 * Returns  1   *out is a piece
 *          0   nothing came out: a control frame that is not whole yet
 *          <0  as lintel_assembler_take()
 * Lends    out->bytes as the piece is lent, those of a control frame until the next call
 */
LINTEL_API LINTEL_MUST_USE int lintel_assembler_take_piece(struct lintel_assembler *assembler,
                                                           struct lintel_message_piece *out,
                                                           const struct lintel_piece *piece);

/*
 * The stream has ended, or a BYE has come.
 *
 * Returns  LINTEL_OK           at the boundary of a message
 *          LINTEL_E_TRUNCATED  between fragments; sticky
 *          LINTEL_E_USAGE      assembler is NULL
 *          LINTEL_E_...        the error that it is in
 */
LINTEL_API
int lintel_assembler_end(struct lintel_assembler *assembler);

/* 1 while a message has begun and is not complete, else 0. */
LINTEL_API
int lintel_assembler_is_open(const struct lintel_assembler *assembler);

/* Payload bytes of the frames of it that have come whole; 0 where none is open. */
LINTEL_API
uint64_t lintel_assembler_size(const struct lintel_assembler *assembler);

/* The error that it is in: status, offset of the frame, text. LINTEL_OK and an empty text where
 * there is none. */
LINTEL_API
void lintel_assembler_error(const struct lintel_assembler *assembler, struct lintel_error *out);

/* Bytes that it holds, all in. */
LINTEL_API
size_t lintel_assembler_memory(const struct lintel_assembler *assembler);

/* ---- messages to fragments ------------------------------------------------------------------- */

/* A message on its way out. Begin with lintel_fragments_init(). */
struct lintel_fragments {
    struct lintel_header header; /* flags without MORE */
    const uint8_t *payload;
    size_t size, at; /* at <= size */
    size_t step;     /* payload bytes of a fragment */
    int done;
};

/*
 * Cut a message into frames: one, where the payload is within max_frame; else fragments of
 * LINTEL_FRAGMENT_SIZE or max_frame, whichever is smaller. max_frame 0: LINTEL_FRAME_LIMIT. Only
 * lintel's own layout has fragments: in another the caller has to refuse what is over the limit.
 * Keeps payload as long as the caller goes on.
 */
LINTEL_API
void lintel_fragments_init(struct lintel_fragments *fragments, const struct lintel_header *header,
                           const void *payload, size_t size, uint64_t max_frame);

/* One frame of a message. */
struct lintel_fragment {
    struct lintel_header header; /* with MORE, unless it is the last */
    const uint8_t *payload;
    size_t size;
};

/* The next frame of the message. Returns 1, or 0 when all were given. Lends what *out points to as
 * the payload is kept. */
LINTEL_API
int lintel_fragments_next(struct lintel_fragments *fragments, struct lintel_fragment *out);

#ifdef __cplusplus
}
#endif
#endif
