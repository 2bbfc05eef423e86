#include "seal/seal_state.h"
#include "core/text.h"

#include <string.h>

/* proto/sealed.md, "Records": in `encrypt` the AEAD goes over the piece, with the header as
 * associated data; in `mac` over nothing, with header and piece as associated data. */

/* Both sides count alike, so both change the key behind the same record. */
static void count(const struct lintel_seal *seal, struct lintelp_cipher *cipher)
{
    if (cipher->n % seal->rekey_every == 0)
        lintelp_cipher_rekey(cipher);
}

/* ---- in -------------------------------------------------------------------------------------- */

static int verify(struct lintel_seal *seal, uint8_t *bytes, size_t size)
{
    uint8_t *piece = bytes + LINTEL_HEADER_SIZE;

    if (seal->keys->mode == LINTEL_SEAL_ENCRYPT)
        return lintelp_cipher_decrypt(&seal->in, piece, bytes, LINTEL_HEADER_SIZE, piece,
                                      size + LINTEL_SEAL_TAG_SIZE);
    return lintelp_cipher_decrypt(&seal->in, piece + size, bytes, LINTEL_HEADER_SIZE + size,
                                  piece + size, LINTEL_SEAL_TAG_SIZE);
}

int lintelp_seal_open(struct lintel_seal *seal, struct lintel_seal_item *item, uint8_t *bytes,
                      uint32_t id, size_t length, struct lintel_error *error)
{
    size_t size = length - LINTEL_SEAL_TAG_SIZE;

    if (verify(seal, bytes, size) < 0) {
        (void)lintelp_seal_latch(seal, LINTEL_E_SEAL, "a record does not verify");
        return lintelp_seal_explain(seal, error);
    }
    count(seal, &seal->in);
    if (seal->state == LINTEL_SEAL_R1)
        seal->state = LINTEL_SEAL_R2;
    seal->done = 1;
    seal->in_last = id != 0;
    item->kind = id != 0 ? LINTEL_SEAL_LAST : LINTEL_SEAL_RECORD;
    item->used = LINTEL_HEADER_SIZE + length;
    item->piece = bytes + LINTEL_HEADER_SIZE;
    item->size = size;
    seal->at += item->used;
    return 1;
}

/* ---- out ------------------------------------------------------------------------------------- */

static int check(const struct lintel_seal *seal, size_t capacity, size_t length, int last,
                 struct lintel_error *error)
{
    if (!seal->done)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: the handshake is not done");
    if (seal->out_last)
        return lintelp_fail(error, LINTEL_E_CLOSED, 0, "seal: the last record was sealed");
    if (length == 0 && !last && seal->due != LINTEL_SEAL_DUE_RECORD)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: an empty record");
    if (length > LINTEL_SEAL_PIECE_MAX)
        return lintelp_fail(error, LINTEL_E_TOO_LARGE, 0, "seal: a piece over 65519 bytes");
    if (capacity < LINTEL_SEAL_OVERHEAD || length > capacity - LINTEL_SEAL_OVERHEAD)
        return lintelp_fail(error, LINTEL_E_SPACE, 0, "seal: no room for a record");
    return LINTEL_OK;
}

static int seal_piece(struct lintel_seal *seal, uint8_t *bytes, const uint8_t *piece, size_t size)
{
    uint8_t *body = bytes + LINTEL_HEADER_SIZE;

    if (seal->keys->mode == LINTEL_SEAL_ENCRYPT)
        return lintelp_cipher_encrypt(&seal->out, body, bytes, LINTEL_HEADER_SIZE, piece, size);
    if (size > 0 && piece != body)
        memcpy(body, piece, size);
    return lintelp_cipher_encrypt(&seal->out, body + size, bytes, LINTEL_HEADER_SIZE + size, NULL,
                                  0);
}

int lintel_seal_put_record(struct lintel_seal *seal, void *out, size_t capacity, size_t *size,
                           const void *piece, size_t length, int last, struct lintel_error *error)
{
    uint8_t *bytes = out;
    int rc;

    if (seal == NULL || out == NULL || size == NULL || (piece == NULL && length > 0))
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: NULL");
    if (seal->status < 0)
        return lintelp_seal_explain(seal, error);
    rc = check(seal, capacity, length, last, error);
    if (rc < 0)
        return rc;
    lintel_header_put(bytes, LINTEL_CONTROL, LINTEL_SEALED, last != 0,
                      (uint32_t)(length + LINTEL_SEAL_TAG_SIZE));
    if (seal_piece(seal, bytes, piece, length) < 0) {
        (void)lintelp_seal_latch(seal, LINTEL_E_SEAL, "the numbers of records are used up");
        return lintelp_seal_explain(seal, error);
    }
    count(seal, &seal->out);
    seal->due = LINTEL_SEAL_DUE_NOTHING;
    seal->out_last = last != 0;
    *size = LINTEL_SEAL_OVERHEAD + length;
    return LINTEL_OK;
}
