/*
 * seal: sealed sessions. Authenticated records between the byte stream and the frames, after a
 * handshake of the Noise Protocol Framework; proto/sealed.md. Bytes in, bytes out: no I/O, no
 * clock.
 *
 *     lintel_seal_keys_new(&keys, &options, &error);     once, from the texts of key files
 *     lintel_seal_new(&seal, keys, NULL, &error);        once a connection
 *
 *     in:   while ((rc = lintel_seal_next(seal, &item, bytes, size, &error)) == 1)
 *               use item.piece; go on behind item.used     0: more bytes.  <0: it is over
 *           lintel_seal_end() when the stream has ended
 *     out:  lintel_seal_due() says when a handshake message, or record 0, is to go out;
 *           lintel_seal_put_hello(), lintel_seal_put_record(), lintel_seal_put_bye() write them
 *
 * What put_hello and put_record wrote is sealed once: it goes out byte for byte, or the session is
 * over. The first error in either direction is the end of both. A session's state must not be
 * copied, by fork() neither: who can be forked notes its process when the handshake begins,
 * compares before each use, and in a child calls nothing but lintel_seal_free(), which only wipes.
 *
 * Without libsodium in the build all functions answer LINTEL_E_UNSUPPORTED.
 */
#ifndef LINTEL_SEAL_H
#define LINTEL_SEAL_H

#include "lintel/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Fixed by the protocol. */
#define LINTEL_SEAL_TAG_SIZE   16
#define LINTEL_SEAL_PIECE_MAX  65519 /* bytes of the inner stream in a record */
#define LINTEL_SEAL_OVERHEAD   (LINTEL_HEADER_SIZE + LINTEL_SEAL_TAG_SIZE)
#define LINTEL_SEAL_RECORD_MAX (LINTEL_SEAL_OVERHEAD + LINTEL_SEAL_PIECE_MAX)
#define LINTEL_SEAL_HELLO_MAX  (LINTEL_HEADER_SIZE + 99)
#define LINTEL_SEAL_BYE_SIZE   (LINTEL_HEADER_SIZE + 8)
#define LINTEL_SEAL_KEY_SIZE   32
#define LINTEL_SEAL_ID_SIZE    32
#define LINTEL_SEAL_SHARED_MAX 16 /* shared keys in a file */
#define LINTEL_SEAL_NAME_MAX   64 /* characters of a name */
#define LINTEL_SEAL_KEY_TEXT   45 /* a key as text, with its NUL */

/* Who connects, or was told to speak first, is the initiator; who accepts is the responder. */
enum lintel_seal_role { LINTEL_SEAL_INITIATOR = 1, LINTEL_SEAL_RESPONDER = 2 };

/* What a record hides. Both authenticate; the numbers are those on the wire. */
enum lintel_seal_mode { LINTEL_SEAL_MAC = 1, LINTEL_SEAL_ENCRYPT = 2 };

/* ---- keys ------------------------------------------------------------------------------------ */

struct lintel_seal_keys;

/*
 * The text of a key file: lines of a key (44 characters of base64) and, after blanks, a name of up
 * to 64 printable characters that is optional; blank lines, and comments after '#'.
 */
struct lintel_seal_text {
    const void *bytes; /* NULL: there is no such file */
    size_t size;
    const char *name; /* of the file, for error texts; NULL: none */
};

struct lintel_seal_keys_options {
    size_t size; /* set by LINTEL_SEAL_KEYS_OPTIONS_INIT */
    enum lintel_seal_role role;
    enum lintel_seal_mode mode;   /* LINTEL_SEAL_ENCRYPT unless set */
    struct lintel_seal_text psk;  /* 1 to 16 shared keys; an initiator uses the first */
    struct lintel_seal_text key;  /* this side's secret key, exactly one */
    struct lintel_seal_text peer; /* public keys: an initiator's one peer; a responder's list */
};
#define LINTEL_SEAL_KEYS_OPTIONS_INIT                                                        \
    {                                                                                        \
        sizeof(struct lintel_seal_keys_options), LINTEL_SEAL_INITIATOR, LINTEL_SEAL_ENCRYPT, \
            {0, 0, 0}, {0, 0, 0},                                                            \
        {                                                                                    \
            0, 0, 0                                                                          \
        }                                                                                    \
    }

/*
 * Read keys, and prepare what does not change from session to session. Secrets live in guarded,
 * locked memory that is read-only from then on; any number of sessions and threads may share it.
 *
 * Gives    *keys, to be released with lintel_seal_keys_free()
 * Borrows  the options and their texts; wipe those of secret keys afterwards
 * Returns  LINTEL_OK
 *          LINTEL_E_SYNTAX  a line that cannot be read; the text names file and line, here and
 * below LINTEL_E_RANGE   a key of zeros, of low order, with bit 255 set, or one's own; a key or a
 * name that comes twice LINTEL_E_COUNT   no key in a file, or too many LINTEL_E_USAGE   no keys at
 * all; key without peer or the other way round; an initiator with both a psk and a key, or with
 * more or fewer peers than one LINTEL_E_NOMEM LINTEL_E_SYSTEM  libsodium does not start
 *          LINTEL_E_UNSUPPORTED  not in this build
 */
LINTEL_API LINTEL_MUST_USE int lintel_seal_keys_new(struct lintel_seal_keys **keys,
                                                    const struct lintel_seal_keys_options *options,
                                                    struct lintel_error *error);

/* Wipe and release keys that no session uses any more. NULL is left alone. */
LINTEL_API
void lintel_seal_keys_free(struct lintel_seal_keys *keys);

/* Whose keys these are. */
LINTEL_API
enum lintel_seal_role lintel_seal_keys_role(const struct lintel_seal_keys *keys);

/*
 * A new random key as text: a secret one and a shared one look alike. Wipe it after use.
 *
 * Returns  LINTEL_OK; LINTEL_E_SYSTEM, LINTEL_E_UNSUPPORTED, LINTEL_E_USAGE as above
 */
LINTEL_API LINTEL_MUST_USE int lintel_seal_key_new(char out[LINTEL_SEAL_KEY_TEXT],
                                                   struct lintel_error *error);

/*
 * The public key of a file with one secret key, as text.
 *
 * Returns  as lintel_seal_keys_new()
 */
LINTEL_API LINTEL_MUST_USE int lintel_seal_key_public(char out[LINTEL_SEAL_KEY_TEXT],
                                                      const struct lintel_seal_text *key,
                                                      struct lintel_error *error);

/* ---- a session ------------------------------------------------------------------------------- */

struct lintel_seal;

/* States, as proto/sealed.md has them. A session that has failed stays in the state it was in. */
enum lintel_seal_state {
    LINTEL_SEAL_I0 = 1, /* initiator: its first message is due or sent */
    LINTEL_SEAL_I1,     /* the answer was read: the peer holds the key; the session runs */
    LINTEL_SEAL_R0,     /* responder: waits for a first message */
    LINTEL_SEAL_R1,     /* read one that verifies; its answer is due or sent; still half-open */
    LINTEL_SEAL_R2      /* record 0 has verified; the session runs */
};

/*
 * Make a session.
 *
 * Gives    *seal, to be released with lintel_seal_free()
 * Keeps    keys and allocator (NULL: malloc and free) until then
 * Returns  LINTEL_OK; LINTEL_E_NOMEM, LINTEL_E_SYSTEM, LINTEL_E_UNSUPPORTED, LINTEL_E_USAGE
 */
LINTEL_API LINTEL_MUST_USE int lintel_seal_new(struct lintel_seal **seal,
                                               const struct lintel_seal_keys *keys,
                                               const struct lintel_allocator *allocator,
                                               struct lintel_error *error);

/* Wipe and release a session; nothing is written. NULL is left alone. */
LINTEL_API
void lintel_seal_free(struct lintel_seal *seal);

/* ---- in -------------------------------------------------------------------------------------- */

enum lintel_seal_kind {
    LINTEL_SEAL_HELLO,  /* a handshake message was taken, or waits for its answer to be written
                           first; ask lintel_seal_due() */
    LINTEL_SEAL_RECORD, /* a record was opened: piece and size are the next bytes of the stream */
    LINTEL_SEAL_LAST    /* the same, and nothing may follow */
};

struct lintel_seal_item {
    enum lintel_seal_kind kind;
    size_t used;    /* bytes to pass over; 0 where the answer is to be written first */
    size_t need;    /* after 0: bytes wanted from the same place on, in all, at least */
    uint8_t *piece; /* inside of the bytes handed in, opened in place */
    size_t size;    /* 0: an empty record */
};

/*
 * Take the next handshake message or record off the bytes that have come, which begin at the first
 * byte not yet taken. A header is judged when its 16 bytes are there, before any of its body.
 * Nothing that has not verified is given out. What was opened must not be handed in again.
 *
 * Returns  1  *item is one
 *          0  more bytes are needed: item->need
 *          LINTEL_E_SEAL     a header that may not stand here, or what does not verify
 *          LINTEL_E_REFUSED  a plain BYE before the handshake was done; the text says "the peer
 *                            said, unauthenticated: ..."
 *          Both are sticky; *item is untouched.
 *          LINTEL_E_...      the first error again
 * Changes  bytes: encrypted pieces become plain ones. Lends item->piece in them.
 */
LINTEL_API LINTEL_MUST_USE int lintel_seal_next(struct lintel_seal *seal,
                                                struct lintel_seal_item *item, void *bytes,
                                                size_t size, struct lintel_error *error);

/*
 * Say that the stream has ended, with so many bytes left that were not taken.
 *
 * Returns  LINTEL_E_END        after the last record
 *          LINTEL_E_TRUNCATED  before it, in the handshake too; sticky
 *          LINTEL_E_...        the first error again; LINTEL_E_SEAL for bytes behind a last record
 */
LINTEL_API LINTEL_MUST_USE int lintel_seal_end(struct lintel_seal *seal, size_t left,
                                               struct lintel_error *error);

/* ---- out ------------------------------------------------------------------------------------- */

enum lintel_seal_due {
    LINTEL_SEAL_DUE_NOTHING,
    LINTEL_SEAL_DUE_HELLO, /* lintel_seal_put_hello() */
    LINTEL_SEAL_DUE_RECORD /* an initiator's record 0, empty if nothing is waiting */
};

/* What is to be written at once. */
LINTEL_API
enum lintel_seal_due lintel_seal_due(const struct lintel_seal *seal);

/*
 * Write the handshake message that is due, with its header: at most LINTEL_SEAL_HELLO_MAX bytes.
 *
 * Returns  LINTEL_OK, *size is the bytes written
 *          LINTEL_E_SPACE  capacity is too small; nothing happened
 *          LINTEL_E_SEAL   the peer's key is none to compute with; sticky
 *          LINTEL_E_USAGE  none is due, or a NULL
 *          LINTEL_E_...    the first error again
 */
LINTEL_API LINTEL_MUST_USE int lintel_seal_put_hello(struct lintel_seal *seal, void *out,
                                                     size_t capacity, size_t *size,
                                                     struct lintel_error *error);

/*
 * Seal a piece of the inner stream: header, piece and tag, LINTEL_SEAL_OVERHEAD more than length.
 * An empty piece may only be an initiator's record 0 or the last record.
 *
 * Returns  LINTEL_OK, *size is the bytes written
 *          LINTEL_E_SPACE      capacity is too small; nothing happened
 *          LINTEL_E_TOO_LARGE  a piece of more than LINTEL_SEAL_PIECE_MAX bytes; nothing happened
 *          LINTEL_E_CLOSED     behind a last record
 *          LINTEL_E_USAGE      not while lintel_seal_may_send() is 0; an empty piece; a NULL
 *          LINTEL_E_SEAL       the numbers of records are used up; sticky
 *          LINTEL_E_...        the first error again
 * Borrows  piece, which lies apart from out, or exactly LINTEL_HEADER_SIZE bytes behind its start
 */
LINTEL_API LINTEL_MUST_USE int lintel_seal_put_record(struct lintel_seal *seal, void *out,
                                                      size_t capacity, size_t *size,
                                                      const void *piece, size_t length, int last,
                                                      struct lintel_error *error);

/*
 * Write the one plain BYE of a side that refuses, LINTEL_SEAL_BYE_SIZE bytes: before the handshake
 * is done, never in answer to a BYE or to the stream's end. The session is over then. Reasons are
 * LINTEL_BYE_NOT_AUTHENTICATED, _TOO_SLOW, _TOO_MANY and _DRAINING.
 *
 * Returns  1  written
 *          0  nothing may be said
 *          LINTEL_E_SPACE, LINTEL_E_USAGE  another reason, a NULL; nothing happened
 */
LINTEL_API LINTEL_MUST_USE int lintel_seal_put_bye(struct lintel_seal *seal, void *out,
                                                   size_t capacity, int reason);

/*
 * End a session for a reason that lies outside: a sealed record that could not be written, a
 * deadline, a last record inside of an inner frame, another process. Does nothing after an error.
 *
 * Keeps  sentence, a constant text; NULL: that of the status
 */
LINTEL_API
void lintel_seal_fail(struct lintel_seal *seal, int status, const char *sentence);

/* ---- asking ---------------------------------------------------------------------------------- */

/* The state; LINTEL_SEAL_I0 and R0 until there is a valid message of the peer's. */
LINTEL_API
enum lintel_seal_state lintel_seal_state(const struct lintel_seal *seal);

/* 1 while records may be sealed: the handshake is done for this side, no error, no last record. */
LINTEL_API
int lintel_seal_may_send(const struct lintel_seal *seal);

/* 0, or the first error, which all calls repeat; its text. */
LINTEL_API
int lintel_seal_error(const struct lintel_seal *seal, struct lintel_error *error);

/* The mode of this session. */
LINTEL_API
enum lintel_seal_mode lintel_seal_mode(const struct lintel_seal *seal);

/*
 * The session's id, LINTEL_SEAL_ID_SIZE bytes, the same on both sides and not secret; NULL before
 * the handshake is done for this side. Lends, until lintel_seal_free(), as do the next two.
 */
LINTEL_API
const uint8_t *lintel_seal_id(const struct lintel_seal *seal);

/* The peer's name in the key file, "" where it has none; NULL as above. */
LINTEL_API
const char *lintel_seal_peer_name(const struct lintel_seal *seal);

/* The peer's public key, LINTEL_SEAL_KEY_SIZE bytes; NULL as above, and with shared keys. */
LINTEL_API
const uint8_t *lintel_seal_peer_key(const struct lintel_seal *seal);

/* Bytes of memory that the session holds now; at most 512 when the handshake is done. */
LINTEL_API
size_t lintel_seal_memory(const struct lintel_seal *seal);

#ifdef __cplusplus
}
#endif
#endif
