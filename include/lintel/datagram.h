/*
 * datagram: one frame, one datagram.
 *
 *     udp://HOST:PORT      unixgram:///PATH
 *
 * A socket is either opened to one peer, or bound, and then hears from anybody: each frame comes
 * with the address that it came from, for the reply. A datagram holds exactly one whole frame and
 * nothing behind it. What does not, and what stands for more than itself in lintel's own layout
 * (MORE, CONTROL), is dropped and counted, and never answered.
 *
 * Nothing is promised about arrival: a datagram may be lost, come twice, or come late.
 *
 * The three modes are those of stream.h, by timeout_ms: -1 waits for ever, above 0 until a
 * deadline, 0 not at all. Descriptors are close-on-exec and blocking. No SIGPIPE, no EINTR. One
 * object, one thread at a time.
 */
#ifndef LINTEL_DATAGRAM_H
#define LINTEL_DATAGRAM_H

#include "lintel/decoder.h"
#include "lintel/endpoint.h"

#ifdef __cplusplus
extern "C" {
#endif

struct lintel_datagram;

struct lintel_datagram_options {
    size_t size;                              /* set by LINTEL_DATAGRAM_OPTIONS_INIT */
    const struct lintel_layout *layout;       /* kept; NULL: lintel's own */
    const struct lintel_allocator *allocator; /* kept; NULL: malloc and free */
    uint64_t max_frame; /* payload bytes, in and out; 0: as lintel_decoder_options */
};
#define LINTEL_DATAGRAM_OPTIONS_INIT                    \
    {                                                   \
        sizeof(struct lintel_datagram_options), 0, 0, 0 \
    }

/* Where a datagram came from. Plain data: copy it freely, keep it for as long as its socket. */
struct lintel_datagram_peer {
    uint32_t socket;      /* index of the socket it came on */
    uint32_t size;        /* bytes of address; 0: a sender without one, who cannot be answered */
    uint64_t address[16]; /* as the system has it */
};

/* ---- life ------------------------------------------------------------------------------------ */

/*
 * Open a socket to one peer: only its datagrams are heard. Of a name with several addresses the
 * first is taken to which the system has a way; whether anybody is there does not show.
 *
 * A UNIX socket is bound to an abstract name of its own, which the system chooses and which is gone
 * with the socket, so that replies find it.
 *
 * Gives    *out, to be closed with lintel_datagram_close()
 * Returns  LINTEL_OK
 *          LINTEL_E_SYNTAX   as lintel_endpoint_parse()
 *          LINTEL_E_RESOLVE  no address, or the host is empty
 *          LINTEL_E_SYSTEM   which call, which address, and the errno are in the text
 *          LINTEL_E_UNSUPPORTED  no datagram scheme
 *          LINTEL_E_RANGE, LINTEL_E_NOMEM, LINTEL_E_USAGE as lintel_decoder_new()
 */
LINTEL_API LINTEL_MUST_USE int lintel_datagram_open(struct lintel_datagram **out,
                                                    const char *endpoint,
                                                    const struct lintel_datagram_options *options,
                                                    struct lintel_error *error);

/*
 * Bind to an endpoint: a socket for each address of a name, all with the same port. A stale UNIX
 * socket file is replaced, but only if no socket has it; any other file never.
 *
 * Gives, Returns  as lintel_datagram_open()
 */
LINTEL_API LINTEL_MUST_USE int lintel_datagram_bind(struct lintel_datagram **out,
                                                    const char *endpoint,
                                                    const struct lintel_datagram_options *options,
                                                    struct lintel_error *error);

/* Close the sockets, remove the socket file that was made, if it is still that one, and free
 * everything. NULL is left alone. */
LINTEL_API
void lintel_datagram_close(struct lintel_datagram *datagram);

/* ---- sending and receiving ------------------------------------------------------------------- */

/*
 * Send a frame as one datagram.
 *
 * Returns  LINTEL_OK, the system has it
 *          LINTEL_E_TIMEOUT      no room in time, with timeout_ms 0 at once
 *          LINTEL_E_TOO_LARGE    more than max_frame, than the layout can carry, or than a datagram
 *                                of this socket; the text names the limit
 *          LINTEL_E_UNSUPPORTED  MORE or CONTROL, or a peer without an address
 *          LINTEL_E_RANGE, LINTEL_E_MALFORMED  as lintel_frame_put_header()
 *          LINTEL_E_SYSTEM       ECONNREFUSED: nobody was there for an earlier one, or for this one
 *          LINTEL_E_USAGE        a NULL, no peer on a bound socket
 *          In every case but the first it was not sent, and the socket may be used on.
 * Borrows  payload and peer; on a socket that was opened peer is not looked at
 */
LINTEL_API LINTEL_MUST_USE int lintel_datagram_send(struct lintel_datagram *datagram,
                                                    const struct lintel_datagram_peer *peer,
                                                    const struct lintel_header *header,
                                                    const void *payload, size_t size,
                                                    int timeout_ms);

/*
 * Take the next frame. Its offset is 0.
 *
 * Returns  1  *frame is a frame, *peer where it came from
 *          0  none is there (timeout_ms 0 only); after a run of dropped datagrams more may wait
 *          LINTEL_E_TIMEOUT
 *          LINTEL_E_SYSTEM  ECONNREFUSED: nobody was there for what was sent
 *          LINTEL_E_NOMEM   out of memory; a datagram may be lost
 *          LINTEL_E_USAGE   a NULL
 *          None is sticky.
 * Lends    what *frame points to until the next recv
 * peer     may be NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_datagram_recv(struct lintel_datagram *datagram,
                                                    struct lintel_frame *frame,
                                                    struct lintel_datagram_peer *peer,
                                                    int timeout_ms);

/* ---- asking ---------------------------------------------------------------------------------- */

struct lintel_datagram_counts {
    uint64_t frames_in, bytes_in;   /* frames given out, and their bytes */
    uint64_t frames_out, bytes_out; /* frames sent, and their bytes */
    /* Datagrams that were dropped, by reason. */
    uint64_t truncated; /* less than a frame, or more than the buffer for one takes */
    uint64_t surplus;   /* bytes behind the frame */
    uint64_t too_large; /* a length over the limit */
    uint64_t malformed; /* any other header that the layout or the protocol forbids */
    uint64_t more;      /* a fragment */
    uint64_t control;   /* a control frame */
};

/* Counts since it was opened. */
LINTEL_API
void lintel_datagram_counters(const struct lintel_datagram *datagram,
                              struct lintel_datagram_counts *out);

/* How many sockets it has, at least 1; to wait for input on each, for output where it was opened.
 */
LINTEL_API
size_t lintel_datagram_count(const struct lintel_datagram *datagram);

/* The descriptor of that index; -1 past the last. Lends. */
LINTEL_API
int lintel_datagram_fd(const struct lintel_datagram *datagram, size_t index);

/* What it is bound to, with the real port: "udp://127.0.0.1:40123". Returns the characters, without
 * the NUL; LINTEL_ENDPOINT_TEXT_SIZE is always enough. */
LINTEL_API
size_t lintel_datagram_text(const struct lintel_datagram *datagram, size_t index, char *out,
                            size_t size);

/* A peer's address in the same form; 0 where it has none. */
LINTEL_API
size_t lintel_datagram_peer_text(const struct lintel_datagram_peer *peer, char *out, size_t size);

/* The last error of send and recv. */
LINTEL_API
void lintel_datagram_error(const struct lintel_datagram *datagram, struct lintel_error *out);

/* The layout of this socket; never NULL for one. */
LINTEL_API
const struct lintel_layout *lintel_datagram_layout(const struct lintel_datagram *datagram);

#ifdef __cplusplus
}
#endif
#endif
