/*
 * Descriptors on a stream; proto/lintel.md, "FDS". A stream that takes some has this as long as it
 * has work, another one from its first lintel_stream_send_fds() on.
 *
 * The system hands descriptors over with a run of bytes, in which the first byte that they were
 * sent with lies somewhere: it joins to them what came before, and nothing of what came behind. So
 * they are kept with the place of that run, until a frame that begins in it says what they are.
 *
 *     ... frame | frame | FDS, 2 | frame with them ...
 *            ^ begin ............. end ^              of one run, and of the two in it
 */
#ifndef LINTELP_STREAM_FDS_H
#define LINTELP_STREAM_FDS_H

#include "net/stream_state.h"

/* Descriptors that came, or are to go, in one piece. */
struct lintelp_fds {
    struct lintelp_fds *next;
    /* Offsets in the stream. Received: of the run. Given out: begin is the frame's. To be sent:
     * begin is the FDS's. */
    uint64_t begin, end;
    uint32_t count;       /* of fd */
    uint32_t came;        /* received: as many, of which `count` are left open */
    unsigned cut : 1;     /* received: and more than that came */
    unsigned starved : 1; /* received: this process had no room for all that came */
    int fd[];
};

struct lintelp_stream_fds {
    struct lintelp_fds *in;        /* received, and no FDS has spoken of them; in order */
    struct lintelp_fds *announced; /* by an FDS, and its frame has not come */
    struct lintelp_fds *given;     /* with frames that were given out */
    struct lintelp_fds *spare;     /* for the next that come: there must be no failure then */
    struct lintelp_fds *out;       /* to be sent, in order */
    struct lintelp_fds **out_end;
    uint8_t announcing[4];      /* the payload of an FDS that comes in pieces */
    struct lintel_error *error; /* of receiving; NULL: none, or no memory for it */
    uint32_t out_count;         /* descriptors in `out` */
    uint16_t max_in;            /* descriptors that a frame may bring; 0: none are taken */
    unsigned awaited : 1;       /* an FDS was seen, and its frame was not */
};

/* ---- stream_fds.c: life ---------------------------------------------------------------------- */

/* Make the state of a stream, if there is none yet. Returns LINTEL_OK or LINTEL_E_NOMEM. */
int lintelp_fds_new(struct lintel_stream *stream);
/* Close and free all of it. */
void lintelp_fds_free(struct lintel_stream *stream);
/* Give back what is not needed, and what was given out. */
void lintelp_fds_trim(struct lintel_stream *stream);
/* Whether nothing is known or held that would be missed; NULL: so it is. */
int lintelp_fds_rest(const struct lintelp_stream_fds *fds);
/* Bytes of storage. */
size_t lintelp_fds_memory(const struct lintel_stream *stream);

/* Room for so many descriptors. Returns NULL when out of memory. */
struct lintelp_fds *lintelp_fds_alloc(const struct lintel_stream *stream, size_t count);
/* Close the descriptors of a whole list and free it. */
void lintelp_fds_close(const struct lintel_stream *stream, struct lintelp_fds **list);

/* Whether this is a UNIX socket. Returns 1, 0, or -1 with errno. */
int lintelp_fds_is_unix(const struct lintelp_end *end);

/* ---- stream_fds_recv.c ----------------------------------------------------------------------- */

/* Judge what the options say of descriptors, and see whether they can come in. Returns LINTEL_OK,
 * LINTEL_E_RANGE, LINTEL_E_UNSUPPORTED or LINTEL_E_SYSTEM. */
int lintelp_fds_prepare(struct lintel_stream *stream, struct lintel_error *error);
/* Make the state of a stream that takes some. Returns LINTEL_OK or LINTEL_E_NOMEM. */
int lintelp_fds_open(struct lintel_stream *stream);

/* Whether this stream takes descriptors; the calls below are for those that do. */
static inline int lintelp_fds_taken(const struct lintel_stream *stream)
{
    const struct lintelp_stream_fds *fds = stream->work->fds;

    return fds != NULL && fds->max_in > 0;
}

/* Receive as lintelp_read() does, with the descriptors that come. Returns as that; with ENOMEM
 * nothing was received, and it may be tried again. */
ssize_t lintelp_fds_read(struct lintel_stream *stream, void *out, size_t size, int wait);

/* Whether more may be received ahead of the decoder. */
int lintelp_fds_ahead(const struct lintel_stream *stream);

/* Bind descriptors to the frames that the decoder has given, and take the FDS out of them. Returns
 * how many frames are left, or the status where the first of them is refused; an error behind some
 * is for the next call. */
int lintelp_fds_match(struct lintel_stream *stream, struct lintel_frame *frames, int count);
/* The same for pieces of frames. */
int lintelp_fds_match_pieces(struct lintel_stream *stream, struct lintel_piece *pieces, int count);

/* What came with any frame since the last expiry belongs to the message of this offset. Returns 0
 * where that is more than a message may bring. */
int lintelp_fds_join(struct lintel_stream *stream, uint64_t offset);

/* The decoder, which has been fed so many bytes since the stream began, needs more: are there
 * descriptors that no FDS can speak of any more? Returns LINTEL_OK or the status. */
int lintelp_fds_check(struct lintel_stream *stream, uint64_t fed);

/* The end was met between frames. Returns LINTEL_E_END, or what it is behind an FDS. */
int lintelp_fds_end(struct lintel_stream *stream);

/* No more frames will be given out. */
void lintelp_fds_stop(struct lintel_stream *stream);

/* The views of the last call have ended, and with them the descriptors that nobody took. */
void lintelp_fds_expire(struct lintel_stream *stream);

/* ---- stream_fds_send.c ----------------------------------------------------------------------- */

/* Write as lintelp_write() does what is at the front of the queue, with the descriptors that go
 * with its first byte; ends before the next that have to begin a call of their own. */
ssize_t lintelp_fds_write(struct lintel_stream *stream, struct iovec *iov, size_t count);

/* Nothing will be written any more. */
void lintelp_fds_drop(struct lintel_stream *stream);

#endif
