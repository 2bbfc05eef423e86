/*
 * The seal of a stream; proto/sealed.md. It lies between the descriptors and the rest of the
 * stream: frames are queued as ever, and written as records; records are received and opened in
 * place, and the decoder is fed what was in them.
 *
 *     queue  | frame | frame | frame |              in   | opened | record | half a rec | free |
 *               \       \   /                            0    in_head          in_tail in_capacity
 *     out    | record | record |                     the decoder's piece lies in what was opened
 */
#ifndef LINTELP_STREAM_SEAL_H
#define LINTELP_STREAM_SEAL_H

#include "net/stream_state.h"

#include "lintel/seal.h"

struct lintelp_sealed;

/* What the options say of a seal. Returns LINTEL_OK, LINTEL_E_UNSUPPORTED, LINTEL_E_NOMEM... */
int lintelp_sealed_open(struct lintel_stream *stream, const struct lintel_seal_keys *keys,
                        struct lintel_error *error);
/* Wipe and free it; nothing is written. */
void lintelp_sealed_free(struct lintel_stream *stream);
/* Give back what is not needed. */
void lintelp_sealed_trim(struct lintel_stream *stream);
/* Bytes of storage, the session's own apart. */
size_t lintelp_sealed_memory(const struct lintel_stream *stream);

/* 1 when the handshake is done for this side: frames may go out. */
int lintelp_sealed_is_done(const struct lintel_stream *stream);
/* Bytes of records that are not written. */
size_t lintelp_sealed_queued(const struct lintel_stream *stream);
/* 1 if there is something that could be written now. */
int lintelp_sealed_can_write(const struct lintel_stream *stream);
/* Bytes of a record, or of a handshake message, that has begun to come and is not whole. */
uint64_t lintelp_sealed_begun(const struct lintel_stream *stream);
/* 1 if something has come that was not looked at. */
int lintelp_sealed_may_open(const struct lintel_stream *stream);
/* Bytes of the inner stream that the decoder was fed. */
uint64_t lintelp_sealed_fed(const struct lintel_stream *stream);
/* The session. */
const struct lintel_seal *lintelp_sealed_session(const struct lintel_stream *stream);
/* 1 if it has failed; if it did with a plain BYE of ours. */
int lintelp_sealed_has_failed(const struct lintel_stream *stream);
int lintelp_sealed_is_refused(const struct lintel_stream *stream);

/* As lintelp_stream_write(); 0 also while the handshake has to go on first. */
int lintelp_sealed_write(struct lintel_stream *stream);
/* What is lost with the records: frames, and bytes of the wire. */
void lintelp_sealed_unsent(const struct lintel_stream *stream, uint64_t *frames, uint64_t *bytes);

/* The decoder needs more: the next piece. As the receive of a plain stream: 1 it has more, or knows
 * that this was the end; 0 nothing is there; else the status. */
int lintelp_sealed_receive(struct lintel_stream *stream, int wait);
/* Receive without waiting and without opening anything, at most `room` bytes. */
void lintelp_sealed_receive_ahead(struct lintel_stream *stream, size_t room);
/* Bytes received and not opened. */
size_t lintelp_sealed_ahead(const struct lintel_stream *stream);

/* Go on with the handshake until it is done. Returns 1, 0 (timeout_ms 0 only), or the status. */
int lintelp_sealed_handshake(struct lintel_stream *stream, struct lintelp_deadline *deadline);
/* Before it is done: say the plain BYE and nothing more. Returns 1 if it was said. */
int lintelp_sealed_refuse(struct lintel_stream *stream, int reason);

/* The peer ended inside a frame or a message. Under a seal nothing is said to that, a plain stream
 * is left alone. */
void lintelp_sealed_cut_short(struct lintel_stream *stream);

/* What the seal has failed with. */
void lintelp_sealed_error(const struct lintel_stream *stream, struct lintel_error *out);

#endif
