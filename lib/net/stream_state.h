/*
 * What the files of the stream share. stream_send.c writes, stream_recv.c reads, stream.c does the
 * rest. Outside of them the client looks at it, which is built on a stream, and changes nothing.
 */
#ifndef LINTELP_STREAM_STATE_H
#define LINTELP_STREAM_STATE_H

#include "lintel/stream.h"
#include "net/internal.h"
#include "net/stream_queue.h"

/* What the last error was about, for lintel_stream_error(). */
enum lintelp_about {
    ABOUT_NOTHING,
    ABOUT_DECODER,   /* the decoder says it */
    ABOUT_RECEIVE,   /* a system call that receives */
    ABOUT_SEND,      /* a system call that sends */
    ABOUT_SHUTDOWN,  /* a send behind lintel_stream_shutdown() */
    ABOUT_NO_FRAME,  /* no frame before the caller's deadline */
    ABOUT_NO_ROOM,   /* not written before the caller's deadline */
    ABOUT_BEGUN,     /* a begun frame was not whole in time */
    ABOUT_MESSAGE,   /* in the dialogue */
    ABOUT_FDS,       /* in `fds` */
    ABOUT_SEAL,      /* the seal says it */
    ABOUT_HANDSHAKE, /* not done before the caller's deadline */
    ABOUT_DETAIL     /* in `detail` */
};

/* What a stream of messages knows beside its frames; stream_message.c. */
struct lintelp_dialogue {
    struct lintel_assembler *assembler; /* NULL until a fragment comes */
    struct lintel_error error;          /* why no more messages come */
    uint64_t linger_until;              /* on the clock; 0: it does not linger */
    size_t discarded;                   /* bytes, while it lingers */
    size_t pongs;                       /* bytes put since the queue was empty */
    uint32_t last_id;                   /* of the last request that was given out */
    uint32_t bye_reason, bye_last_id;   /* what the peer said */
    uint8_t got_bye, said_bye;
};

/* Bytes that were received ahead of the decoder. Allocated in one piece; head <= tail <= capacity.
 */
struct lintelp_ahead {
    size_t head, tail, capacity;
    uint8_t bytes[];
};

/*
 * What a stream has besides itself while something goes on. An idle one has none:
 * lintel_stream_trim() gives it back, and the next call that needs it makes it anew.
 */
struct lintelp_work {
    struct lintel_decoder *decoder;
    struct lintelp_queue queue;
    struct lintelp_ahead *ahead;       /* NULL where there is nothing, or little, to hold */
    struct lintelp_stream_fds *fds;    /* NULL where no descriptors travel */
    struct lintelp_dialogue *dialogue; /* NULL until messages are asked for */
    struct lintel_error *detail;       /* of a refused header; NULL: none, or no memory for it */
    const struct lintel_layout *layout;
    uint64_t max_frame, max_message, max_memory; /* what the options amount to */
    size_t overhead;                             /* bytes of header and trailer, at most */
    size_t plain_below;     /* a payload of fewer bytes may go the plain way; 0: none */
    uint64_t waited;        /* ns that the begun frame was waited for, up to waiting_since */
    uint64_t waiting_since; /* on the clock; 0: it stands still */
    int in_errno, out_errno, last_errno;
    unsigned blocked : 1; /* the last write would have waited */
    unsigned fed : 1;     /* the decoder has unread bytes that lie in the shared buffer */
    unsigned stuck : 1;   /* no memory to receive ahead */
    unsigned pieces : 1;  /* the last call asked for pieces */
    unsigned dry : 1;     /* the system gave less than was asked for */
};

/* What thousands of idle connections have each: what stands here is paid for by all of them. */
struct lintel_stream {
    const struct lintel_stream_options *options; /* behind it, or shared with others */
    struct lintelp_work *work;                   /* NULL: idle */
    struct lintelp_sealed *sealed;               /* NULL: plain; stream_seal.h */
    struct lintel_counters counters;
    struct lintelp_end in, out;                /* out.fd is -1 once a pipe was shut down */
    int8_t in_status, out_status, last_status; /* in and out are sticky; 0 or below */
    uint8_t last_about;                        /* enum lintelp_about */
    uint8_t in_about;                          /* the same of in_status */
    unsigned closing : 1;                      /* lintel_stream_shutdown() was called */
    unsigned shut : 1;                         /* and it is done */
    unsigned ended : 1;                        /* the peer's end was read */
    unsigned is_unix : 1;                      /* descriptors come in here, if any are taken */
};

/* Make what an idle stream has not. Returns LINTEL_OK, or LINTEL_E_NOMEM, which is noted. */
int lintelp_stream_make_work(struct lintel_stream *stream);

static inline int lintelp_stream_begin(struct lintel_stream *stream)
{
    return stream->work != NULL ? LINTEL_OK : lintelp_stream_make_work(stream);
}

/* Bytes that the decoder was fed, or will have been when what came is: of the inner stream. */
uint64_t lintelp_stream_fed(const struct lintel_stream *stream);

/* Note an error for lintel_stream_error(). Returns status. */
int lintelp_stream_note(struct lintel_stream *stream, int status, int number,
                        enum lintelp_about about);
/* Note the sticky one of either direction again. Returns it. */
int lintelp_stream_note_in(struct lintel_stream *stream);
int lintelp_stream_note_out(struct lintel_stream *stream);

/* ---- stream_send.c --------------------------------------------------------------------------- */

/* Bytes of the inner stream that are queued. */
static inline size_t lintelp_stream_queued(const struct lintel_stream *stream)
{
    return stream->work != NULL ? lintelp_queue_size(&stream->work->queue) : 0;
}

/* Whether there is something that can be written as soon as there is room; of a sealed stream also
 * what goes out by itself, but not frames that have to wait for the handshake. */
int lintelp_stream_can_write(const struct lintel_stream *stream);

/* A system call that sends has failed. Returns the status. */
int lintelp_stream_send_failed(struct lintel_stream *stream, int number);

/* Write what goes without waiting. Returns 1 everything is written, 0 it would wait, or the status
 * that sending failed with. */
int lintelp_stream_write(struct lintel_stream *stream);

/* Write until everything is written or would wait; then wait, if timeout_ms is not 0. As
 * lintel_stream_flush(). */
int lintelp_stream_flush(struct lintel_stream *stream, struct lintelp_deadline *deadline);

/* Refuse a payload that is over the limit of a frame. */
int lintelp_stream_refuse_size(struct lintel_stream *stream, size_t size);
/* What has to hold before any frame is taken. Returns LINTEL_OK or the status of the refusal. */
int lintelp_stream_may_send(struct lintel_stream *stream, const struct lintel_header *header,
                            size_t size);

/* Write until at most LINTEL_GATHER_SIZE are queued with `size` bytes more, which are no more than
 * that. Under an event loop the queue takes any frame, and a write that would wait is not tried
 * again before the next flush. */
int lintelp_stream_make_way(struct lintel_stream *stream, size_t size, int timeout_ms);

/* A call is refused, and the text says more than the status. Returns the status. */
int lintelp_stream_refuse(struct lintel_stream *stream, const struct lintel_error *error);

/* ---- stream_recv.c --------------------------------------------------------------------------- */

/* No more comes in, for this reason. Returns status. */
int lintelp_stream_in_failed(struct lintel_stream *stream, int status, int number,
                             enum lintelp_about about);

/* A system call that receives has failed. Returns the status. */
int lintelp_stream_receive_failed(struct lintel_stream *stream, int number);

/* The next frames, or pieces of frames, at least 1 and at most capacity; as lintel_stream_recv().
 */
int lintelp_stream_recv(struct lintel_stream *stream, struct lintel_frame *frames, int capacity,
                        struct lintelp_deadline *deadline);
int lintelp_stream_recv_pieces(struct lintel_stream *stream, struct lintel_piece *pieces,
                               int capacity, struct lintelp_deadline *deadline);

/* Bytes that may be received ahead now; for a stream that has work, as the next. */
size_t lintelp_stream_ahead_room(const struct lintel_stream *stream);

/* Receive ahead of the decoder what is there, without waiting. */
void lintelp_stream_receive_ahead(struct lintel_stream *stream);

/* ---- stream_message.c ------------------------------------------------------------------------ */

/* Free the dialogue, if there is one. */
void lintelp_dialogue_free(struct lintel_stream *stream);

#endif
