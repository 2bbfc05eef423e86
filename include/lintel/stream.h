/*
 * stream: one connection. A descriptor, a decoder, an outgoing queue.
 *
 * Three modes, by the timeout_ms of each call, as every socket has them:
 *     -1  wait for ever         plain calls on a blocking descriptor
 *     >0  wait until a deadline poll, and only after EAGAIN
 *      0  do not wait           for event loops; see "under an event loop" below
 *
 * Sending gathers. lintel_stream_send() puts small frames one behind the other into a buffer and
 * keeps large payloads by reference; one sendmsg writes them when the caller flushes, when 256 KiB
 * are gathered, or when the stream is about to wait for input. Nothing that send took is lost
 * silently: it is written, or lintel_stream_unsent() says how much was not.
 *
 * A call that waits to write also receives what comes meanwhile, within the memory budget, so that
 * two peers who both send do not lock each other; the frames come out of recv later.
 *
 * No SIGPIPE, no EINTR, no change of a descriptor's mode. One stream, one thread at a time.
 */
#ifndef LINTEL_STREAM_H
#define LINTEL_STREAM_H

#include "lintel/endpoint.h"
#include "lintel/message.h"
#include "lintel/seal.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LINTEL_GATHER_SIZE (256 * 1024) /* bytes gathered before a write; our choice */
#define LINTEL_FDS_MAX     253          /* descriptors with one frame; fixed by Linux */

struct lintel_stream;

/* Called exactly once for each payload that went by reference, on every path: when it was written,
 * when it could not be, when send failed, when the stream is closed. It may not call the stream. */
typedef void lintel_release(void *user, const void *payload, size_t size);

/* Called for each frame: direction '<' as recv gives it out, '>' as send takes it. */
typedef void lintel_trace(void *user, char direction, const struct lintel_frame *frame);

struct lintel_stream_options {
    size_t size;                              /* set by LINTEL_STREAM_OPTIONS_INIT */
    const struct lintel_layout *layout;       /* kept; NULL: lintel's own */
    const struct lintel_allocator *allocator; /* kept; NULL: malloc and free */
    uint64_t max_frame;   /* payload bytes, in and out; 0: as lintel_decoder_options */
    uint64_t max_message; /* bytes of a message that is put together; 0: LINTEL_MESSAGE_LIMIT, or
                             max_frame where that is more */
    uint64_t max_memory;  /* bytes held for input that was not taken; 0: max_frame and 1 MiB */
    int frame_timeout_ms; /* a begun frame must be whole when the stream has waited for it so long;
                             drips do not put it off, and it stands still while we do not read: only
                             time inside of recv counts, and, with timeout_ms 0, the time from a
                             recv that said 0 to the next one; 0: no limit */
    /* A buffer that several streams of one thread share, kept: what an idle stream then costs is
     * itself. Views in it live until the next recv on any of these streams; bytes behind the frames
     * that were given out are taken out of it. 16 KiB or more are of use. NULL: own ones. */
    void *receive_buffer;
    size_t receive_buffer_size;
    lintel_trace *trace; /* NULL: none */
    void *trace_user;
    /* Kept: the stream is sealed, and its role is that of the keys; proto/sealed.md. NULL: plain.
     */
    const struct lintel_seal_keys *seal_keys;
    uint32_t max_fds; /* descriptors that a frame, or a message, may bring; 0: none are taken */
    int shared; /* 1: these options themselves are kept until lintel_stream_close() of the last
                   stream that was made with them, and not changed: many streams have them once;
                   0: each stream copies them */
};
#define LINTEL_STREAM_OPTIONS_INIT                                                  \
    {                                                                               \
        sizeof(struct lintel_stream_options), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 \
    }

/* ---- life ------------------------------------------------------------------------------------ */

/*
 * Make a stream of descriptors that are open already: one socket twice, or a pair of pipes.
 *
 * Takes    in and out: closed by lintel_stream_close(), and here on failure
 * Gives    *stream, to be closed with lintel_stream_close()
 * Returns  LINTEL_OK
 *          LINTEL_E_SYSTEM       one of them is no descriptor, or cannot be asked what it is
 *          LINTEL_E_UNSUPPORTED  one of them is a socket of datagrams or packets, or max_fds is set
 *                                and the layout is not lintel's own
 *          LINTEL_E_RANGE        max_fds is over LINTEL_FDS_MAX
 *          LINTEL_E_RANGE, LINTEL_E_NOMEM, LINTEL_E_USAGE as lintel_decoder_new()
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_new(struct lintel_stream **stream, int in, int out,
                                                 const struct lintel_stream_options *options,
                                                 struct lintel_error *error);

/*
 * Connect to an endpoint's text and make a stream of it; the deadline is that of a sealed one's
 * handshake, too, which is done then.
 *
 * Returns  as lintel_endpoint_parse(), lintel_endpoint_connect(), lintel_stream_new() and
 *          lintel_stream_handshake()
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_open(struct lintel_stream **stream,
                                                  const char *endpoint, int timeout_ms,
                                                  const struct lintel_stream_options *options,
                                                  struct lintel_error *error);

/* Close the descriptors and free everything. What was not flushed is not sent: flush, or ask
 * lintel_stream_unsent(), first. NULL is left alone. */
LINTEL_API
void lintel_stream_close(struct lintel_stream *stream);

/* ---- a sealed one ---------------------------------------------------------------------------- */

/*
 * With the option seal_keys everything goes over the wire in authenticated records, after a
 * handshake; otherwise such a stream is used as any other. The handshake goes on inside of the
 * other calls; this one waits for it alone, to know the peer before anything is sent. A side that
 * refuses says so by itself.
 *
 * Returns  1  it is done; a plain stream is done from the beginning
 *          0  not yet (timeout_ms 0 only)
 *          LINTEL_E_TIMEOUT
 *          LINTEL_E_SEAL       it does not verify, or the peer wants none; sticky, here and in all
 *                              other calls, later too: a record that does not verify
 *          LINTEL_E_REFUSED    the peer said, unauthenticated, why it refuses
 *          LINTEL_E_TRUNCATED  the stream ended before the peer's last record
 *          LINTEL_E_USAGE      this is a child of the process that made the stream
 *          else as lintel_stream_recv()
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_handshake(struct lintel_stream *stream,
                                                       int timeout_ms);

/* The session, to ask for the peer's name and the session's id; NULL for a plain stream. Lends,
 * until the stream is closed. */
LINTEL_API
const struct lintel_seal *lintel_stream_seal(const struct lintel_stream *stream);

/* ---- sending --------------------------------------------------------------------------------- */

/*
 * Send a frame: gathered, and written when 256 KiB are. A payload of 32 KiB or more is written at
 * once from the caller's memory, with what is gathered before it, and only what could not be
 * written is copied: nothing, where timeout_ms is -1.
 *
 * Returns  LINTEL_OK, the frame was taken
 *          LINTEL_E_TIMEOUT    the frame was not taken: the queue is full and could not be written
 *                              in time; with timeout_ms 0 the queue takes any frame instead, and
 *                              lintel_stream_queued() says how long it is
 *          LINTEL_E_TOO_LARGE  more than max_frame, which does not bound lintel's control frames,
 *                              or than the layout can carry; not taken
 *          LINTEL_E_RANGE, LINTEL_E_MALFORMED  as lintel_frame_put_header(); not taken
 *          LINTEL_E_CLOSED     lintel_stream_shutdown() was called, or the peer is gone
 *          LINTEL_E_RESET, LINTEL_E_SYSTEM     the connection failed; sticky for sending
 *          LINTEL_E_NOMEM, LINTEL_E_USAGE      not taken
 * Copies   payload
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_send(struct lintel_stream *stream,
                                                  const struct lintel_header *header,
                                                  const void *payload, size_t size, int timeout_ms);

/*
 * The same without a copy, for large payloads; those below 4 KiB are copied and released at once.
 *
 * Keeps    payload until release is called, which happens exactly once, whatever this returns;
 *          release may be NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_send_ref(struct lintel_stream *stream,
                                                      const struct lintel_header *header,
                                                      const void *payload, size_t size,
                                                      lintel_release *release, void *user,
                                                      int timeout_ms);

/*
 * Write what is gathered.
 *
 * Returns  1  everything is written
 *          0  not everything yet (timeout_ms 0 only)
 *          LINTEL_E_TIMEOUT  the rest stays queued
 *          LINTEL_E_CLOSED (EPIPE), LINTEL_E_RESET, LINTEL_E_SYSTEM  sticky for sending
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_flush(struct lintel_stream *stream, int timeout_ms);

/*
 * Flush, then shut down writing: the peer reads to the end, and this side may go on receiving.
 * Nothing can be sent from now on, whatever this returns; where something is left to be written,
 * the flush that writes the last of it also shuts down.
 *
 * Returns  as lintel_stream_flush(); 1 also when it was shut down before
 *          LINTEL_E_UNSUPPORTED  one descriptor for both directions that is no socket
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_shutdown(struct lintel_stream *stream, int timeout_ms);

/* Bytes queued and not yet written. */
LINTEL_API
size_t lintel_stream_queued(const struct lintel_stream *stream);

/*
 * What send took and was not written whole: frames, and bytes of the wire. After a failure these
 * are lost. A frame whose own send returned an error was not taken and is not among them, even if
 * some of its bytes went out. Either may be NULL.
 */
LINTEL_API
void lintel_stream_unsent(const struct lintel_stream *stream, uint64_t *frames, uint64_t *bytes);

/* ---- receiving ------------------------------------------------------------------------------- */

/*
 * Take the next frame. Flushes before it waits.
 *
 * Returns  1  *frame is one
 *          0  none yet (timeout_ms 0 only)
 *          LINTEL_E_TIMEOUT    none in time; or a begun frame was not whole in frame_timeout_ms,
 *                              which is sticky (lintel_stream_error() tells them apart)
 *          LINTEL_E_END        the peer has ended cleanly; this side may still send
 *          LINTEL_E_TRUNCATED  it ended inside a frame
 *          LINTEL_E_RESET      it reset the connection
 *          LINTEL_E_SYSTEM     another failure; the errno is in lintel_stream_error()
 *          LINTEL_E_...        what lintel_decoder_next() says
 *          All but TIMEOUT, and NOMEM of the allocator, are sticky. Where the flush fails, its
 *          status is returned once, in place of waiting, when all that had come is given out.
 * Lends    what *frame points to until the next recv on this stream
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_recv(struct lintel_stream *stream,
                                                  struct lintel_frame *frame, int timeout_ms);

/* Take up to capacity frames that are there at once. Returns their number, or as above. */
LINTEL_API LINTEL_MUST_USE int lintel_stream_recv_batch(struct lintel_stream *stream,
                                                        struct lintel_frame *frames, int capacity,
                                                        int timeout_ms);

/*
 * Take up to capacity pieces of frames, as lintel_decoder_next_pieces(), for payloads too large to
 * hold. Returns their number, or as above.
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_recv_pieces(struct lintel_stream *stream,
                                                         struct lintel_piece *pieces, int capacity,
                                                         int timeout_ms);

/* Receive no more: forget what came and was not given out, and give its storage back. recv is
 * LINTEL_E_CLOSED from now on, unless it has failed before. Ends the life of views. */
LINTEL_API
void lintel_stream_end_input(struct lintel_stream *stream);

/* ---- messages -------------------------------------------------------------------------------- */

/*
 * Send a message: a frame, or with lintel's own layout fragments where it is over max_frame. With
 * a deadline it counts for the first fragment; once that is taken the message is, and what could
 * not be written in time is copied and queued. Nothing but control frames may be sent between
 * fragments: a message is not to be begun while a caller sends fragments of another by hand.
 *
 * Returns  as lintel_stream_send(); LINTEL_E_NOMEM between fragments is sticky for sending
 * Copies   payload; nothing of it, where timeout_ms is -1 and it is large
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_send_message(struct lintel_stream *stream,
                                                          const struct lintel_header *header,
                                                          const void *payload, size_t size,
                                                          int timeout_ms);

/*
 * Take the next message, and do what the protocol asks of a receiver (proto/lintel.md, "What a
 * receiver does"): a PING is answered, a PONG passed over, and bytes that may not be are answered
 * with a BYE, after which writing is shut down. With a foreign layout a frame is a message.
 *
 * Returns  as lintel_stream_recv(), and
 *          LINTEL_E_END       the peer has ended cleanly, or said BYE with reason 0
 *          LINTEL_E_REFUSED   it said BYE with another reason: lintel_stream_peer_bye(). Who
 *                             receives a BYE answers what is open, then shuts down writing
 *          LINTEL_E_TRUNCATED it ended, or said BYE, between fragments
 *          LINTEL_E_TOO_LARGE, LINTEL_E_MALFORMED  as lintel_assembler_take(); and more than 1 MiB
 *                             of PONGs that the peer does not read; more than max_fds descriptors
 *                             with one message, and an FDS where max_fds is 0
 *          LINTEL_E_SEAL      a HELLO or SEALED came and no seal is configured
 * Lends    what *message points to until the next recv on this stream
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_recv_message(struct lintel_stream *stream,
                                                          struct lintel_message *message,
                                                          int timeout_ms);

/*
 * The same for messages too large to hold: the next piece of one, as it arrives. No limit but
 * max_frame applies. Between two pieces of a message the other forms of recv are LINTEL_E_USAGE.
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_recv_piece(struct lintel_stream *stream,
                                                        struct lintel_message_piece *piece,
                                                        int timeout_ms);

/*
 * End the session from this side: say BYE, behind all that is queued, with this reason and the id
 * of the last request that recv_message gave out; then shut down writing. With a foreign layout, or
 * where a BYE was said or writing shut down before, only the latter.
 *
 * Returns  as lintel_stream_shutdown()
 *          LINTEL_E_NOMEM  the BYE could not be said; writing is shut down all the same
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_bye(struct lintel_stream *stream,
                                                 enum lintel_bye_reason reason, int timeout_ms);

/* The BYE that recv_message met. Returns 1, *reason and *last_id are its; or 0. Either may be NULL.
 */
LINTEL_API
int lintel_stream_peer_bye(const struct lintel_stream *stream, uint32_t *reason, uint32_t *last_id);

/*
 * After lintel_stream_bye() or lintel_stream_shutdown(): read and discard what still comes, until
 * the peer's end, but for at most 1 s and 1 MiB: a close with unread input would take back bytes
 * that were sent. What is still queued is written meanwhile, behind the peer's end, too. Then
 * close. Ends receiving: recv is LINTEL_E_CLOSED from now on.
 *
 * Returns  1  the end came, or there is no more to wait for
 *          0  not yet (timeout_ms 0 only; lintel_stream_wants() and _wait_ms() tell when to call)
 *          LINTEL_E_TIMEOUT  not yet
 *          LINTEL_E_NOMEM    nothing was done
 *          LINTEL_E_USAGE    neither was called
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_linger(struct lintel_stream *stream, int timeout_ms);

/* ---- descriptors and credentials, on UNIX sockets -------------------------------------------- */

/*
 * Send a frame with descriptors, gathered as lintel_stream_send() does; where more than
 * LINTEL_FDS_MAX would be held for it, what is queued is written first. An FDS goes in front of the
 * frame, and counts as a part of it. The peer has the descriptors with the frame's first bytes.
 *
 * Returns  as lintel_stream_send(); in every case but LINTEL_OK it was not taken, and
 *          LINTEL_E_UNSUPPORTED  no UNIX socket, or another layout than lintel's own
 *          LINTEL_E_COUNT        count is 0, or over LINTEL_FDS_MAX
 *          LINTEL_E_MALFORMED    a control frame
 *          LINTEL_E_SYSTEM       one of fds is no descriptor, or no more can be opened; not sticky
 * Copies   payload; and fds, as duplicates that are closed on exec and when they are sent, or
 *          cannot be: the caller may close its own at once
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_send_fds(struct lintel_stream *stream,
                                                      const struct lintel_header *header,
                                                      const void *payload, size_t size,
                                                      const int *fds, size_t count, int timeout_ms);

/*
 * Take the descriptors that came with what the last recv gave: a frame, a message or a piece of
 * one, named by its offset. They are closed on exec. The next recv closes those that were not
 * taken, but not between the pieces of a message.
 *
 * A stream whose option max_fds is set judges each FDS itself and does not give it out. Descriptors
 * that are missing, more than announced or not announced are LINTEL_E_MALFORMED of recv, more than
 * max_fds LINTEL_E_TOO_LARGE, an end between an FDS and its frame is LINTEL_E_TRUNCATED, and where
 * this process cannot open so many it is LINTEL_E_SYSTEM with EMFILE. All of these are sticky, and
 * whatever came is closed. Without max_fds the system closes what a peer sends, and an FDS is given
 * out as any other control frame.
 *
 * Returns  their number; 0 if none came with it, or they were taken before. Of a message in
 *          fragments, each of which may bring some, it is called until then
 *          LINTEL_E_SPACE  there are more than capacity, which stay where they are
 *          LINTEL_E_USAGE  a NULL
 * Gives    fds, to be closed with close()
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_take_fds(struct lintel_stream *stream, uint64_t offset,
                                                      int *fds, size_t capacity);

/* Who is at the other end: who connected, or, for the side that did, who listened. */
struct lintel_credentials {
    int32_t pid; /* 0: it cannot be seen from here */
    uint32_t uid, gid;
};

/*
 * Ask the system for the peer's credentials; they are those of when the connection was made.
 *
 * Returns  LINTEL_OK
 *          LINTEL_E_UNSUPPORTED  no UNIX socket
 *          LINTEL_E_SYSTEM
 *          LINTEL_E_USAGE        a NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_stream_credentials(struct lintel_stream *stream,
                                                         struct lintel_credentials *out);

/* ---- under an event loop --------------------------------------------------------------------- */

enum lintel_wants { LINTEL_WANT_READ = 1, LINTEL_WANT_WRITE = 2 };

/* What to wait for: LINTEL_WANT_READ until the input has ended or failed, and while it lingers;
 * LINTEL_WANT_WRITE while something is queued. Then call recv until 0 or an error, and flush, or
 * lintel_stream_linger(), with timeout_ms 0. */
LINTEL_API
int lintel_stream_wants(const struct lintel_stream *stream);

/* 1 if recv has given out all that it received, and that was less than it had asked for: a loop
 * that is told as long as there is something to read may wait without another recv that says 0.
 * 0 where that is not known. */
LINTEL_API
int lintel_stream_is_dry(const struct lintel_stream *stream);

/* Milliseconds until recv, or linger, is to be called even if nothing became ready; -1 for never.
 */
LINTEL_API
int lintel_stream_wait_ms(const struct lintel_stream *stream);

/* Offset of the first byte that was not yet part of a frame given out. */
LINTEL_API
uint64_t lintel_stream_offset(const struct lintel_stream *stream);

/*
 * Whether a frame has begun to come and is not whole. *size is what it has at least, header and
 * trailer included; NULL if that is of no interest.
 *
 * Returns  1, or 0 and *size is 0; 2 where a record of a seal has begun
 */
LINTEL_API
int lintel_stream_begun(const struct lintel_stream *stream, uint64_t *size);

/*
 * Say that this side does not read for a while: the clock of a begun frame stands still until the
 * next recv. Only a loop that stops waiting for input although recv said 0 needs it.
 */
LINTEL_API
void lintel_stream_pause(struct lintel_stream *stream);

/* The descriptor to read from, and the one to write to. Lends. */
LINTEL_API
int lintel_stream_in_fd(const struct lintel_stream *stream);
/* See above. */
LINTEL_API
int lintel_stream_out_fd(const struct lintel_stream *stream);

/* ---- asking ---------------------------------------------------------------------------------- */

struct lintel_counters {
    uint64_t frames_in, bytes_in;   /* frames given out; bytes received */
    uint64_t frames_out, bytes_out; /* frames written whole; bytes written */
    uint64_t payloads_copied;       /* bytes of payload that send copied */
};

/* Counts since the stream was made. */
LINTEL_API
void lintel_stream_counters(const struct lintel_stream *stream, struct lintel_counters *out);

/* The last error: status, errno, offset, text. Receiving and sending fail apart; this is the one
 * that the last failing call returned. */
LINTEL_API
void lintel_stream_error(const struct lintel_stream *stream, struct lintel_error *out);

/* The layout of this stream; never NULL for a stream. */
LINTEL_API
const struct lintel_layout *lintel_stream_layout(const struct lintel_stream *stream);

/* Bytes of storage that the stream holds for input and output, itself apart. */
LINTEL_API
size_t lintel_stream_memory(const struct lintel_stream *stream);

/* Give back storage that is not needed now; for streams that fall idle. One between two frames,
 * with nothing queued and no error, then has none. Ends the life of views. */
LINTEL_API
void lintel_stream_trim(struct lintel_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
