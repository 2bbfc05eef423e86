#include "seal/seal_state.h"
#include "core/internal.h"
#include "core/text.h"

#include <sodium.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

static void drop_handshake(struct lintel_seal *seal)
{
    if (seal->handshake == NULL)
        return;
    sodium_memzero(seal->handshake, sizeof *seal->handshake);
    (void)lintelp_resize(seal->allocator, seal->handshake, 0);
    seal->handshake = NULL;
}

/* The pattern of a responder is that of the message that comes. */
static void begin(struct lintel_seal *seal, int ik)
{
    const struct lintel_seal_keys *keys = seal->keys;

    seal->ik = ik != 0;
    seal->peer = ik ? &keys->peers[0] : &keys->psk[0];
    lintelp_handshake_initialize(
        seal->handshake, ik ? &lintelp_pattern_ik : &lintelp_pattern_nnpsk0,
        keys->role == LINTEL_SEAL_INITIATOR, ik ? &keys->ik : &keys->nnpsk0[0],
        ik ? &keys->own : NULL,
        ik && keys->role == LINTEL_SEAL_INITIATOR ? keys->peers[0].key : NULL);
}

int lintel_seal_new(struct lintel_seal **seal, const struct lintel_seal_keys *keys,
                    const struct lintel_allocator *allocator, struct lintel_error *error)
{
    struct lintel_seal *made;
    int rc;

    if (seal == NULL || keys == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: NULL");
    *seal = NULL;
    rc = lintelp_seal_start(error);
    if (rc < 0)
        return rc;
    made = lintelp_resize(allocator, NULL, sizeof *made);
    if (made == NULL)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "out of memory");
    memset(made, 0, sizeof *made);
    made->keys = keys;
    made->allocator = allocator;
    made->rekey_every = SEAL_REKEY_EVERY;
    made->handshake = lintelp_resize(allocator, NULL, sizeof *made->handshake);
    if (made->handshake == NULL) {
        (void)lintelp_resize(allocator, made, 0);
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "out of memory");
    }
    made->state = keys->role == LINTEL_SEAL_INITIATOR ? LINTEL_SEAL_I0 : LINTEL_SEAL_R0;
    made->due = made->state == LINTEL_SEAL_I0 ? LINTEL_SEAL_DUE_HELLO : LINTEL_SEAL_DUE_NOTHING;
    begin(made, keys->psk_count == 0);
    *seal = made;
    return LINTEL_OK;
}

void lintel_seal_free(struct lintel_seal *seal)
{
    const struct lintel_allocator *allocator;

    if (seal == NULL)
        return;
    allocator = seal->allocator;
    drop_handshake(seal);
    sodium_memzero(seal, sizeof *seal);
    (void)lintelp_resize(allocator, seal, 0);
}

/* ---- errors ---------------------------------------------------------------------------------- */

int lintelp_seal_latch(struct lintel_seal *seal, int status, const char *why)
{
    if (seal->status < 0)
        return seal->status;
    seal->status = (int16_t)status;
    seal->why = why;
    seal->due = LINTEL_SEAL_DUE_NOTHING;
    drop_handshake(seal);
    sodium_memzero(seal->in.k, NOISE_KEY);
    sodium_memzero(seal->out.k, NOISE_KEY);
    return status;
}

/* What the refused header was, where that tells people more. */
static void tell_refused(struct lintelp_text *text, const uint8_t *header)
{
    size_t printable = 0;

    while (printable < LINTEL_HEADER_SIZE && header[printable] >= 0x20 && header[printable] < 0x7F)
        printable++;
    if (printable >= 4) {
        lintelp_text_str(text, " (the bytes read ");
        lintelp_text_quote(text, header, printable);
        lintelp_text_char(text, ')');
    } else if (header[0] == 'L' && header[1] == 'T' && header[2] != 1) {
        lintelp_text_str(text, ": version ");
        lintelp_text_u64(text, header[2]);
        lintelp_text_str(text, ", this side speaks 1");
    } else {
        lintelp_text_str(text, ": ");
        lintelp_text_bytes(text, header, LINTEL_HEADER_SIZE);
    }
}

static const char *const reasons[] = {
    "done",      "it is being stopped", "idle for too long",    "too slow",       "ill-formed",
    "too large", "not authenticated",   "too many connections", "internal error", "another version",
};

static void tell_reason(struct lintelp_text *text, uint32_t reason)
{
    lintelp_text_str(text, "the peer said, unauthenticated: ");
    if (reason < sizeof reasons / sizeof reasons[0])
        lintelp_text_str(text, reasons[reason]);
    else
        lintelp_text_str(text, "a reason that is not known here");
    lintelp_text_str(text, " (BYE ");
    lintelp_text_u64(text, reason);
    lintelp_text_char(text, ')');
}

int lintelp_seal_explain(const struct lintel_seal *seal, struct lintel_error *error)
{
    struct lintelp_text text = lintelp_error(error, seal->status, seal->at);

    if (seal->status == LINTEL_E_REFUSED) {
        tell_reason(&text, seal->said);
        return seal->status;
    }
    lintelp_text_str(&text, "sealed stream, byte ");
    lintelp_text_u64(&text, seal->at);
    lintelp_text_str(&text, ": ");
    lintelp_text_str(&text, seal->why);
    if (seal->has_refused)
        tell_refused(&text, seal->refused);
    return seal->status;
}

static int fail(struct lintel_seal *seal, int status, const char *why, struct lintel_error *error)
{
    (void)lintelp_seal_latch(seal, status, why);
    return lintelp_seal_explain(seal, error);
}

void lintel_seal_fail(struct lintel_seal *seal, int status, const char *sentence)
{
    if (seal != NULL && status < 0)
        (void)lintelp_seal_latch(seal, status,
                                 sentence != NULL ? sentence : lintel_strerror(status));
}

/* ---- judging a header ------------------------------------------------------------------------ */

/* A header taken apart; nothing of it is believed before judge() says so. */
struct head {
    uint32_t type, id, length;
};

static const char *judge_record(const struct lintel_seal *seal, const struct head *head)
{
    if (head->type != LINTEL_SEALED || head->id > 1)
        return "a plain frame in a sealed session";
    if (head->length < LINTEL_SEAL_TAG_SIZE || head->length > UINT16_MAX)
        return "a record of a length that none has";
    if (head->length == LINTEL_SEAL_TAG_SIZE && head->id == 0 &&
        (seal->state == LINTEL_SEAL_I1 || seal->in.n != 0))
        return "an empty record where none may be";
    return NULL;
}

static const char *judge_hello(const struct lintel_seal *seal, const struct head *head)
{
    if (head->type != LINTEL_HELLO || head->id != 0)
        return "a plain frame where a sealed session is to begin";
    if (seal->state == LINTEL_SEAL_I0)
        return head->length == SEAL_HELLO_ANSWER && seal->greeted ? NULL
                                                                  : "a HELLO that is no answer";
    if ((head->length == SEAL_HELLO_NNPSK0 && seal->keys->psk_count > 0) ||
        (head->length == SEAL_HELLO_IK && seal->keys->has_own))
        return NULL;
    return "a HELLO of a pattern for which there are no keys";
}

/* NULL, or why a header may not stand here. A frame of ours is one that we would write the same. */
static const char *judge(const struct lintel_seal *seal, struct head *head, const uint8_t *header)
{
    uint8_t exact[LINTEL_HEADER_SIZE];
    int waits = seal->state == LINTEL_SEAL_I0 || seal->state == LINTEL_SEAL_R0;

    head->type = lintel_get_u32be(header + 4);
    head->id = lintel_get_u32be(header + 8);
    head->length = lintel_get_u32be(header + 12);
    lintel_header_put(exact, LINTEL_CONTROL, head->type, head->id, head->length);
    if (memcmp(exact, header, sizeof exact) != 0)
        return waits ? "not the beginning of a sealed session" : "not a record";
    if (head->type == LINTEL_BYE && head->id == 0 && head->length == 8 && !seal->done)
        return NULL;
    return waits ? judge_hello(seal, head) : judge_record(seal, head);
}

/* ---- a plain BYE ----------------------------------------------------------------------------- */

/* A side that waits for its peer's first message may say so, and so may one that has just met it.
 */
static int may_say_bye(const struct lintel_seal *seal)
{
    return !seal->done && !seal->said_bye && seal->status != LINTEL_E_REFUSED &&
           seal->status != LINTEL_E_TRUNCATED && (seal->state != LINTEL_SEAL_I0 || seal->greeted);
}

int lintel_seal_put_bye(struct lintel_seal *seal, void *out, size_t capacity, int reason)
{
    uint8_t *bytes = out;

    if (seal == NULL || out == NULL ||
        (reason != LINTEL_BYE_NOT_AUTHENTICATED && reason != LINTEL_BYE_TOO_SLOW &&
         reason != LINTEL_BYE_TOO_MANY && reason != LINTEL_BYE_DRAINING))
        return LINTEL_E_USAGE;
    if (!may_say_bye(seal))
        return 0;
    if (capacity < LINTEL_SEAL_BYE_SIZE)
        return LINTEL_E_SPACE;
    lintel_header_put(bytes, LINTEL_CONTROL, LINTEL_BYE, 0, 8);
    lintel_put_u32be(bytes + LINTEL_HEADER_SIZE, (uint32_t)reason);
    lintel_put_u32be(bytes + LINTEL_HEADER_SIZE + 4, 0);
    seal->said_bye = 1;
    (void)lintelp_seal_latch(seal, LINTEL_E_CLOSED, "this side has refused");
    return 1;
}

/* ---- the handshake --------------------------------------------------------------------------- */

/* Section 5.3, end: two keys, the first from initiator to responder, and the handshake's hash. */
static void split(struct lintel_seal *seal)
{
    int initiator = seal->keys->role == LINTEL_SEAL_INITIATOR;

    lintelp_symmetric_split(&seal->handshake->symmetric, initiator ? &seal->out : &seal->in,
                            initiator ? &seal->in : &seal->out);
    memcpy(seal->id, seal->handshake->symmetric.h, sizeof seal->id);
    drop_handshake(seal);
}

static int read_answer(struct lintel_seal *seal, const uint8_t *message, struct lintel_error *error)
{
    uint8_t nothing[1];

    if (lintelp_handshake_read_message(seal->handshake, nothing, message, SEAL_HELLO_ANSWER) < 0)
        return fail(seal, LINTEL_E_SEAL, "the peer's answer does not verify", error);
    split(seal);
    seal->state = LINTEL_SEAL_I1;
    seal->done = 1;
    seal->due = LINTEL_SEAL_DUE_RECORD;
    return 1;
}

/* out becomes in where mask is 0xFF, and stays where it is 0, in the same time. */
static void choose(void *out, const void *in, size_t size, uint8_t mask)
{
    uint8_t *o = out;
    const uint8_t *i = in;

    for (size_t n = 0; n < size; n++)
        o[n] = (uint8_t)((o[n] & ~mask) | (i[n] & mask));
}

/* All shared keys are tried on the message, whichever it fits. */
static const char *try_shared(struct lintel_seal *seal, const uint8_t *message)
{
    struct lintelp_handshake *found = seal->handshake, attempt;
    uint8_t index = 0, any = 0, nothing[1];

    begin(seal, 0);
    for (uint32_t i = 0; i < seal->keys->psk_count; i++) {
        uint8_t number = (uint8_t)i, mask;
        lintelp_handshake_initialize(&attempt, &lintelp_pattern_nnpsk0, 0, &seal->keys->nnpsk0[i],
                                     NULL, NULL);
        mask = (uint8_t)~lintelp_handshake_read_message(&attempt, nothing, message, 48);
        choose(found, &attempt, sizeof attempt, mask);
        choose(&index, &number, 1, mask);
        any |= mask;
    }
    sodium_memzero(&attempt, sizeof attempt);
    seal->peer = &seal->keys->psk[index];
    return any != 0 ? NULL : "the peer's message fits no shared key";
}

static const struct lintelp_seal_entry *find_peer(const struct lintel_seal_keys *keys,
                                                  const uint8_t key[NOISE_KEY])
{
    uint32_t low = 0, high = keys->peer_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = memcmp(key, keys->peers[middle].key, NOISE_KEY);
        if (order == 0)
            return &keys->peers[middle];
        if (order < 0)
            high = middle;
        else
            low = middle + 1;
    }
    return NULL;
}

/* The list is looked into only when the message has verified. One's own key is never on it. */
static const char *try_ik(struct lintel_seal *seal, const uint8_t *message)
{
    uint8_t nothing[1];

    begin(seal, 1);
    if (lintelp_handshake_read_message(seal->handshake, nothing, message, 96) < 0)
        return "the peer's message does not verify";
    seal->peer = find_peer(seal->keys, seal->handshake->rs);
    return seal->peer != NULL ? NULL : "the peer's key is not on the list";
}

/* The length says the pattern; the three bytes in front must be this side's own. */
static int read_first(struct lintel_seal *seal, const uint8_t *payload, size_t length,
                      struct lintel_error *error)
{
    int ik = length == SEAL_HELLO_IK;
    const uint8_t *message = payload + SEAL_CHOICE_SIZE;
    const char *why = NULL;

    if (payload[0] != (ik ? SEAL_PATTERN_IK : SEAL_PATTERN_NNPSK0))
        why = "the peer's pattern is not that of its message";
    else if (payload[1] != SEAL_CIPHER)
        why = "the peer wants another cipher";
    else if (payload[2] != seal->keys->mode)
        why = "the peer wants the other mode, mac or encrypt";
    else
        why = ik ? try_ik(seal, message) : try_shared(seal, message);
    if (why != NULL)
        return fail(seal, LINTEL_E_SEAL, why, error);
    seal->state = LINTEL_SEAL_R1;
    seal->due = LINTEL_SEAL_DUE_HELLO;
    return 1;
}

static void put_choice(const struct lintel_seal *seal, uint8_t *out)
{
    uint8_t prologue[SEAL_PROLOGUE_SIZE];

    lintelp_seal_prologue(prologue, seal->ik ? SEAL_PATTERN_IK : SEAL_PATTERN_NNPSK0,
                          (int)seal->keys->mode);
    memcpy(out, prologue + SEAL_PROLOGUE_SIZE - SEAL_CHOICE_SIZE, SEAL_CHOICE_SIZE);
}

int lintel_seal_put_hello(struct lintel_seal *seal, void *out, size_t capacity, size_t *size,
                          struct lintel_error *error)
{
    uint8_t *bytes = out;
    size_t length, choice;

    if (seal == NULL || out == NULL || size == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: NULL");
    if (seal->status < 0)
        return lintelp_seal_explain(seal, error);
    if (seal->due != LINTEL_SEAL_DUE_HELLO)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: no handshake message is due");
    choice = seal->state == LINTEL_SEAL_I0 ? SEAL_CHOICE_SIZE : 0;
    length = choice + lintelp_handshake_size(seal->handshake, 0);
    if (capacity < LINTEL_HEADER_SIZE + length)
        return lintelp_fail(error, LINTEL_E_SPACE, 0, "seal: no room for a handshake message");
    lintel_header_put(bytes, LINTEL_CONTROL, LINTEL_HELLO, 0, (uint32_t)length);
    if (choice > 0)
        put_choice(seal, bytes + LINTEL_HEADER_SIZE);
    if (lintelp_handshake_write_message(seal->handshake, bytes + LINTEL_HEADER_SIZE + choice, NULL,
                                        0) < 0)
        return fail(seal, LINTEL_E_SEAL, "the peer's key is none to compute with", error);
    seal->due = LINTEL_SEAL_DUE_NOTHING;
    if (choice > 0)
        seal->greeted = 1;
    else
        split(seal);
    *size = LINTEL_HEADER_SIZE + length;
    return LINTEL_OK;
}

/* ---- in -------------------------------------------------------------------------------------- */

static int refuse_header(struct lintel_seal *seal, const uint8_t *header, const char *why,
                         struct lintel_error *error)
{
    memcpy(seal->refused, header, sizeof seal->refused);
    seal->has_refused = 1;
    return fail(seal, LINTEL_E_SEAL, why, error);
}

static int take_hello(struct lintel_seal *seal, struct lintel_seal_item *item, const uint8_t *bytes,
                      const struct head *head, struct lintel_error *error)
{
    const uint8_t *payload = bytes + LINTEL_HEADER_SIZE;
    int rc = seal->state == LINTEL_SEAL_I0 ? read_answer(seal, payload, error)
                                           : read_first(seal, payload, head->length, error);

    if (rc < 0)
        return rc;
    item->kind = LINTEL_SEAL_HELLO;
    item->used = LINTEL_HEADER_SIZE + head->length;
    item->piece = NULL;
    item->size = 0;
    seal->at += item->used;
    return 1;
}

static int more(struct lintel_seal_item *item, size_t need)
{
    item->need = need;
    return 0;
}

int lintel_seal_next(struct lintel_seal *seal, struct lintel_seal_item *item, void *bytes,
                     size_t size, struct lintel_error *error)
{
    uint8_t *at = bytes;
    struct head head;
    const char *why;

    if (seal == NULL || item == NULL || (bytes == NULL && size > 0))
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: NULL");
    if (seal->status < 0)
        return lintelp_seal_explain(seal, error);
    if (seal->state == LINTEL_SEAL_R1 && seal->due == LINTEL_SEAL_DUE_HELLO) {
        *item = (struct lintel_seal_item){LINTEL_SEAL_HELLO, 0, 0, NULL, 0};
        return 1;
    }
    if (seal->in_last && size > 0)
        return fail(seal, LINTEL_E_SEAL, "bytes behind the last record", error);
    if (size < LINTEL_HEADER_SIZE)
        return more(item, LINTEL_HEADER_SIZE);
    why = judge(seal, &head, at);
    if (why != NULL)
        return refuse_header(seal, at, why, error);
    if (head.length > size - LINTEL_HEADER_SIZE)
        return more(item, LINTEL_HEADER_SIZE + head.length);
    if (head.type == LINTEL_BYE) {
        seal->said = lintel_get_u32be(at + LINTEL_HEADER_SIZE);
        return fail(seal, LINTEL_E_REFUSED, "", error);
    }
    if (head.type == LINTEL_HELLO)
        return take_hello(seal, item, at, &head, error);
    return lintelp_seal_open(seal, item, at, head.id, head.length, error);
}

int lintel_seal_end(struct lintel_seal *seal, size_t left, struct lintel_error *error)
{
    if (seal == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: NULL");
    if (seal->status < 0)
        return lintelp_seal_explain(seal, error);
    if (seal->in_last && left > 0)
        return fail(seal, LINTEL_E_SEAL, "bytes behind the last record", error);
    if (seal->in_last)
        return lintelp_fail(error, LINTEL_E_END, seal->at, "the end of the sealed stream");
    return fail(seal, LINTEL_E_TRUNCATED,
                !seal->done ? "the stream ended inside the handshake"
                : left > 0  ? "the stream ended inside a record"
                            : "the stream ended without a last record",
                error);
}

/* ---- asking ---------------------------------------------------------------------------------- */

enum lintel_seal_due lintel_seal_due(const struct lintel_seal *seal)
{
    return (enum lintel_seal_due)seal->due;
}

enum lintel_seal_state lintel_seal_state(const struct lintel_seal *seal)
{
    return (enum lintel_seal_state)seal->state;
}

int lintel_seal_may_send(const struct lintel_seal *seal)
{
    return seal->done && seal->status == LINTEL_OK && !seal->out_last;
}

int lintel_seal_error(const struct lintel_seal *seal, struct lintel_error *error)
{
    return seal->status < 0 ? lintelp_seal_explain(seal, error) : LINTEL_OK;
}

enum lintel_seal_mode lintel_seal_mode(const struct lintel_seal *seal)
{
    return seal->keys->mode;
}

const uint8_t *lintel_seal_id(const struct lintel_seal *seal)
{
    return seal->done ? seal->id : NULL;
}

const char *lintel_seal_peer_name(const struct lintel_seal *seal)
{
    return seal->done ? seal->peer->name : NULL;
}

const uint8_t *lintel_seal_peer_key(const struct lintel_seal *seal)
{
    return seal->done && seal->ik ? seal->peer->key : NULL;
}

size_t lintel_seal_memory(const struct lintel_seal *seal)
{
    return sizeof *seal + (seal->handshake != NULL ? sizeof *seal->handshake : 0);
}
