/*
 * decoder: the streaming reassembler. Bytes in, frame views out; no I/O, no clock.
 *
 *     lintel_decoder_feed(decoder, bytes, size);
 *     while ((rc = lintel_decoder_next(decoder, &frame)) == 1)
 *         use(&frame);
 *     // 0: feed more.  LINTEL_E_...: the stream is out of step, and stays so.
 *
 * For every byte sequence and every way to cut it the frames are the same, and so are the error,
 * its text and its offset (that of the frame's first byte). A frame that lies whole in what was fed
 * is not copied; only an unfinished tail is, when 0 is returned, into storage that no live view
 * uses. Storage grows by doubling as bytes arrive, never to what a length promises.
 *
 * All views of one feed live until the next feed, space, reset or free.
 */
#ifndef LINTEL_DECODER_H
#define LINTEL_DECODER_H

#include "lintel/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lintel_decoder;

enum lintel_over_limit {
    LINTEL_OVER_LIMIT_FAIL, /* LINTEL_E_TOO_LARGE, and the decoder stays there */
    LINTEL_OVER_LIMIT_SKIP  /* the frame is passed over whole, and counted */
};

struct lintel_decoder_options {
    size_t size;                              /* set by LINTEL_DECODER_OPTIONS_INIT */
    const struct lintel_layout *layout;       /* kept; NULL: lintel's own */
    const struct lintel_allocator *allocator; /* kept; NULL: malloc and free */
    uint64_t max_frame;  /* payload bytes; 0: LINTEL_FRAME_LIMIT, or what the length can carry */
    uint64_t max_memory; /* bytes of storage for what is unfinished, our own; 0: what one frame of
                            max_frame needs, and 256 KiB. While views live, as much again may hold
                            those of frames, and twice as much those of pieces. */
    enum lintel_over_limit over_limit;
};
#define LINTEL_DECODER_OPTIONS_INIT                                               \
    {                                                                             \
        sizeof(struct lintel_decoder_options), 0, 0, 0, 0, LINTEL_OVER_LIMIT_FAIL \
    }

/* ---- life ------------------------------------------------------------------------------------ */

/*
 * Make a decoder.
 *
 * Gives    *out, to be released with lintel_decoder_free()
 * Returns  LINTEL_OK
 *          LINTEL_E_RANGE  max_frame is more than the layout's length can carry
 *          LINTEL_E_NOMEM
 *          LINTEL_E_USAGE  out is NULL, or options->size is not one this library knows
 * Keeps    the layout and the allocator until lintel_decoder_free(); options may be NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_decoder_new(struct lintel_decoder **out,
                                                  const struct lintel_decoder_options *options,
                                                  struct lintel_error *error);

/* Release a decoder and its storage. NULL is left alone. */
LINTEL_API
void lintel_decoder_free(struct lintel_decoder *decoder);

/* Forget everything: bytes, error, end, offset, counts. Storage is kept for the next stream. */
LINTEL_API
void lintel_decoder_reset(struct lintel_decoder *decoder);

/* ---- bytes in -------------------------------------------------------------------------------- */

/*
 * Hand in the next bytes of the stream. Ends the life of all earlier views.
 *
 * Returns  LINTEL_OK
 *          LINTEL_E_USAGE  bytes that came before are still unread (next has not said 0 since),
 *                          or the end was announced; nothing is changed
 *          LINTEL_E_...    the error that the decoder is in
 * Keeps    bytes until lintel_decoder_next() returns 0 or an error, and for as long as views of
 *          this feed are used
 */
LINTEL_API LINTEL_MUST_USE int lintel_decoder_feed(struct lintel_decoder *decoder,
                                                   const void *bytes, size_t size);

/*
 * Ask for room to receive into, in place of lintel_decoder_feed(): the bytes are then where the
 * frame is put together, and are not copied again. Ends the life of all earlier views.
 *
 * Lends    *space, *size bytes, until the next feed, space, filled, end, trim, reset or free
 * Returns  LINTEL_OK, *size is at least 1; of a large frame it is no more than what is missing
 *          LINTEL_E_NOMEM  out of memory, and the decoder is as it was; or over max_memory, and it
 *                          stays there
 *          LINTEL_E_USAGE  bytes of an earlier feed are still unread, or the end was announced
 *          LINTEL_E_...    the error that the decoder is in
 */
LINTEL_API LINTEL_MUST_USE int lintel_decoder_space(struct lintel_decoder *decoder, void **space,
                                                    size_t *size);

/*
 * Say that the first size bytes of the space were filled. 0 is fine.
 *
 * Returns  LINTEL_OK
 *          LINTEL_E_USAGE  more than was lent
 *          LINTEL_E_...    the error that the decoder is in
 */
LINTEL_API LINTEL_MUST_USE int lintel_decoder_filled(struct lintel_decoder *decoder, size_t size);

/*
 * Say that the stream has ended. Frames that were fed still come out; then next says
 * LINTEL_E_END at a frame boundary, LINTEL_E_TRUNCATED inside a frame.
 *
 * Returns  LINTEL_OK
 *          LINTEL_E_USAGE  decoder is NULL
 *          LINTEL_E_...    the error that the decoder is in
 */
LINTEL_API
int lintel_decoder_end(struct lintel_decoder *decoder);

/* ---- frames out ------------------------------------------------------------------------------ */

/*
 * Take the next whole frame.
 *
 * Returns  1   *out describes it
 *          0   more bytes are needed, at least lintel_decoder_need(); *out is untouched
 *          <0  LINTEL_E_MISMATCH   a constant is not what the layout says
 *              LINTEL_E_VERSION    the view named `version` is not what the layout says
 *              LINTEL_E_MALFORMED  flags, control frame or varint that the protocol forbids
 *              LINTEL_E_TOO_SMALL  the length is below the least it can be
 *              LINTEL_E_TOO_LARGE  the length is over the limit, or over 64 bits
 *              LINTEL_E_TRUNCATED  the end was announced inside a frame
 *              LINTEL_E_END        the end was announced, and this is it
 *              LINTEL_E_NOMEM      out of memory, or over max_memory
 *              LINTEL_E_USAGE      a NULL (not sticky)
 *          The decoder stays in an error until lintel_decoder_reset(); LINTEL_E_NOMEM from the
 *          allocator is the exception: the next call tries again.
 * Lends    what *out points to until the next feed, space, reset or free
 */
LINTEL_API LINTEL_MUST_USE int lintel_decoder_next(struct lintel_decoder *decoder,
                                                   struct lintel_frame *out);

/*
 * Take up to capacity whole frames at once. A batch that meets an error gives the frames before it;
 * the error comes with the next call.
 *
 * Returns  the number of frames, 1 to capacity; else as lintel_decoder_next()
 */
LINTEL_API LINTEL_MUST_USE int lintel_decoder_next_batch(struct lintel_decoder *decoder,
                                                         struct lintel_frame *out, int capacity);

/* A piece of a frame: some of its payload, as it arrived. The pieces of a frame join to its
 * payload. */
struct lintel_piece {
    const uint8_t *header;
    const uint8_t *bytes; /* the piece */
    const uint8_t *trailer;
    size_t size;           /* bytes of the piece; 0 only in a last one */
    uint32_t header_size;  /* bytes */
    uint32_t trailer_size; /* bytes; 0 unless last */
    uint64_t position;     /* of the piece in the payload */
    uint64_t length;       /* of the payload whole */
    uint64_t offset;       /* of the header's first byte in the stream */
    int last;              /* 1: the frame is complete with this piece */
};

/*
 * Take the next piece of a frame, for payloads too large to hold: only the header is stored.
 * Between the first and the last piece of a frame lintel_decoder_next() is LINTEL_E_USAGE; at a
 * frame boundary either may be called. The limit max_frame holds here, too.
 *
 * Returns  1   *out describes it
 *          0   more bytes are needed
 *          <0  as lintel_decoder_next()
 * Lends    what *out points to until the next feed, space, reset or free
 */
LINTEL_API LINTEL_MUST_USE int lintel_decoder_next_piece(struct lintel_decoder *decoder,
                                                         struct lintel_piece *out);

/*
 * Take up to capacity pieces at once. Fewer than capacity means that more bytes are needed, or that
 * the next call says an error: after these the next feed may come at once.
 *
 * Returns  the number of pieces, 1 to capacity; else as lintel_decoder_next_piece()
 */
LINTEL_API LINTEL_MUST_USE int lintel_decoder_next_pieces(struct lintel_decoder *decoder,
                                                          struct lintel_piece *out, int capacity);

/* ---- asking ---------------------------------------------------------------------------------- */

/* After 0: how many more bytes are needed at least before a frame or an error can come; never 0. */
LINTEL_API
size_t lintel_decoder_need(const struct lintel_decoder *decoder);

/*
 * Whether a frame has begun: bytes of it are unread, or pieces of it were given and it goes on.
 * After 0 of next, *size is how many bytes it has at least, all in, as far as what came of its
 * header says. size may be NULL.
 *
 * Returns  1, or 0 and *size is 0
 */
LINTEL_API
int lintel_decoder_begun(const struct lintel_decoder *decoder, uint64_t *size);

/* Offset in the stream of the first byte that was not yet part of a frame given out. */
LINTEL_API
uint64_t lintel_decoder_offset(const struct lintel_decoder *decoder);

/* Bytes that were fed and are not yet part of a frame given out. */
LINTEL_API
size_t lintel_decoder_unread(const struct lintel_decoder *decoder);

/* A run of bytes that somebody else owns. */
struct lintel_part {
    const uint8_t *bytes;
    size_t size;
};

/*
 * Take those bytes back, to hand the stream on to something else: up to two parts, in order. The
 * decoder is left at its offset with nothing unread. In an error it gives them too, and the error
 * stays: what is not of this protocol may be of another.
 *
 * Lends    parts[0] and parts[1] as frame views are lent; a part may have size 0
 * Returns  LINTEL_OK; LINTEL_E_USAGE on a NULL, or between the pieces of a frame
 */
LINTEL_API
int lintel_decoder_rest(struct lintel_decoder *decoder, struct lintel_part parts[2]);

/* The error that the decoder is in: status, offset of the frame's first byte, text. LINTEL_OK and
 * an empty text where there is none. */
LINTEL_API
void lintel_decoder_error(const struct lintel_decoder *decoder, struct lintel_error *out);

/* Frames passed over because of LINTEL_OVER_LIMIT_SKIP. */
LINTEL_API
uint64_t lintel_decoder_skipped(const struct lintel_decoder *decoder);

/* Bytes of storage that the decoder holds now, itself apart. */
LINTEL_API
size_t lintel_decoder_memory(const struct lintel_decoder *decoder);

/* Give back the storage that is not needed for what is unread; for streams that fall idle. Ends the
 * life of all earlier views. */
LINTEL_API
void lintel_decoder_trim(struct lintel_decoder *decoder);

/* The layout of this decoder; never NULL for a decoder. */
LINTEL_API
const struct lintel_layout *lintel_decoder_layout(const struct lintel_decoder *decoder);

#ifdef __cplusplus
}
#endif
#endif
