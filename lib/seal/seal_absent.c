/* In place of the seal where libsodium is not in the build: no keys, and so no sessions. */
#include "lintel/seal.h"
#include "core/text.h"

static int absent(struct lintel_error *error)
{
    return lintelp_fail(error, LINTEL_E_UNSUPPORTED, 0, "sealed sessions are not in this build");
}

int lintel_seal_keys_new(struct lintel_seal_keys **keys,
                         const struct lintel_seal_keys_options *options, struct lintel_error *error)
{
    (void)options;
    if (keys != NULL)
        *keys = NULL;
    return absent(error);
}

void lintel_seal_keys_free(struct lintel_seal_keys *keys)
{
    (void)keys;
}

enum lintel_seal_role lintel_seal_keys_role(const struct lintel_seal_keys *keys)
{
    (void)keys;
    return LINTEL_SEAL_INITIATOR;
}

int lintel_seal_key_new(char out[LINTEL_SEAL_KEY_TEXT], struct lintel_error *error)
{
    (void)out;
    return absent(error);
}

int lintel_seal_key_public(char out[LINTEL_SEAL_KEY_TEXT], const struct lintel_seal_text *key,
                           struct lintel_error *error)
{
    (void)out;
    (void)key;
    return absent(error);
}

int lintel_seal_new(struct lintel_seal **seal, const struct lintel_seal_keys *keys,
                    const struct lintel_allocator *allocator, struct lintel_error *error)
{
    (void)keys;
    (void)allocator;
    if (seal != NULL)
        *seal = NULL;
    return absent(error);
}

void lintel_seal_free(struct lintel_seal *seal)
{
    (void)seal;
}

int lintel_seal_next(struct lintel_seal *seal, struct lintel_seal_item *item, void *bytes,
                     size_t size, struct lintel_error *error)
{
    (void)seal;
    (void)item;
    (void)bytes;
    (void)size;
    return absent(error);
}

int lintel_seal_end(struct lintel_seal *seal, size_t left, struct lintel_error *error)
{
    (void)seal;
    (void)left;
    return absent(error);
}

enum lintel_seal_due lintel_seal_due(const struct lintel_seal *seal)
{
    (void)seal;
    return LINTEL_SEAL_DUE_NOTHING;
}

int lintel_seal_put_hello(struct lintel_seal *seal, void *out, size_t capacity, size_t *size,
                          struct lintel_error *error)
{
    (void)seal;
    (void)out;
    (void)capacity;
    (void)size;
    return absent(error);
}

int lintel_seal_put_record(struct lintel_seal *seal, void *out, size_t capacity, size_t *size,
                           const void *piece, size_t length, int last, struct lintel_error *error)
{
    (void)seal;
    (void)out;
    (void)capacity;
    (void)size;
    (void)piece;
    (void)length;
    (void)last;
    return absent(error);
}

int lintel_seal_put_bye(struct lintel_seal *seal, void *out, size_t capacity, int reason)
{
    (void)seal;
    (void)out;
    (void)capacity;
    (void)reason;
    return LINTEL_E_UNSUPPORTED;
}

void lintel_seal_fail(struct lintel_seal *seal, int status, const char *sentence)
{
    (void)seal;
    (void)status;
    (void)sentence;
}

enum lintel_seal_state lintel_seal_state(const struct lintel_seal *seal)
{
    (void)seal;
    return LINTEL_SEAL_I0;
}

int lintel_seal_may_send(const struct lintel_seal *seal)
{
    (void)seal;
    return 0;
}

int lintel_seal_error(const struct lintel_seal *seal, struct lintel_error *error)
{
    (void)seal;
    return absent(error);
}

enum lintel_seal_mode lintel_seal_mode(const struct lintel_seal *seal)
{
    (void)seal;
    return LINTEL_SEAL_ENCRYPT;
}

const uint8_t *lintel_seal_id(const struct lintel_seal *seal)
{
    (void)seal;
    return NULL;
}

const char *lintel_seal_peer_name(const struct lintel_seal *seal)
{
    (void)seal;
    return NULL;
}

const uint8_t *lintel_seal_peer_key(const struct lintel_seal *seal)
{
    (void)seal;
    return NULL;
}

size_t lintel_seal_memory(const struct lintel_seal *seal)
{
    (void)seal;
    return 0;
}
