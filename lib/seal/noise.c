#include "seal/noise.h"

#include <sodium.h>
#include <string.h>

/* Every Noise key is 32 bytes, and so is what libsodium wants of each function. */
_Static_assert(NOISE_KEY == crypto_aead_chacha20poly1305_ietf_KEYBYTES, "cipher");
_Static_assert(NOISE_TAG == crypto_aead_chacha20poly1305_ietf_ABYTES, "tag");
_Static_assert(NOISE_KEY == crypto_hash_sha256_BYTES, "hash");
_Static_assert(NOISE_KEY == crypto_auth_hmacsha256_BYTES, "hmac");
_Static_assert(NOISE_KEY == crypto_scalarmult_curve25519_BYTES, "point");
_Static_assert(NOISE_KEY == crypto_scalarmult_curve25519_SCALARBYTES, "scalar");

/* ---- 12 DH, cipher and hash functions -------------------------------------------------------- */

/* 12.1. libsodium answers other than 0 for an input of low order. */
static int dh(uint8_t out[NOISE_KEY], const uint8_t secret[NOISE_KEY],
              const uint8_t public[NOISE_KEY])
{
    return crypto_scalarmult_curve25519(out, secret, public) == 0 ? 0 : -1;
}

int lintelp_noise_public(struct lintelp_pair *pair)
{
    return crypto_scalarmult_curve25519_base(pair->public, pair->secret) == 0 ? 0 : -1;
}

/* 12.3: four zero bytes, then the counter, little-endian. */
static void put_nonce(uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES], uint64_t n)
{
    memset(nonce, 0, 4);
    for (unsigned i = 0; i < 8; i++)
        nonce[4 + i] = (uint8_t)(n >> 8 * i);
}

/* 4.3: out[0] is HMAC(temp, 0x01), out[i] is HMAC(temp, out[i-1] || i+1). */
static void hkdf(uint8_t out[][NOISE_KEY], unsigned outputs, const uint8_t ck[NOISE_KEY],
                 const uint8_t *ikm, size_t ikm_size)
{
    crypto_auth_hmacsha256_state keyed, state;
    uint8_t temp[NOISE_KEY];

    crypto_auth_hmacsha256_init(&state, ck, NOISE_KEY);
    crypto_auth_hmacsha256_update(&state, ikm, ikm_size);
    crypto_auth_hmacsha256_final(&state, temp);
    crypto_auth_hmacsha256_init(&keyed, temp, sizeof temp);
    for (unsigned i = 0; i < outputs; i++) {
        uint8_t number = (uint8_t)(i + 1);
        state = keyed;
        if (i > 0)
            crypto_auth_hmacsha256_update(&state, out[i - 1], NOISE_KEY);
        crypto_auth_hmacsha256_update(&state, &number, 1);
        crypto_auth_hmacsha256_final(&state, out[i]);
    }
    sodium_memzero(&keyed, sizeof keyed);
    sodium_memzero(&state, sizeof state);
    sodium_memzero(temp, sizeof temp);
}

/* ---- 5.1 The CipherState object -------------------------------------------------------------- */

void lintelp_cipher_initialize_key(struct lintelp_cipher *cipher, const uint8_t key[NOISE_KEY])
{
    memcpy(cipher->k, key, NOISE_KEY);
    cipher->n = 0;
}

int lintelp_cipher_encrypt(struct lintelp_cipher *cipher, uint8_t *out, const uint8_t *ad,
                           size_t ad_size, const uint8_t *plain, size_t size)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

    if (cipher->n == UINT64_MAX)
        return -1;
    put_nonce(nonce, cipher->n++);
    return crypto_aead_chacha20poly1305_ietf_encrypt(out, NULL, plain, size, ad, ad_size, NULL,
                                                     nonce, cipher->k);
}

int lintelp_cipher_decrypt(struct lintelp_cipher *cipher, uint8_t *out, const uint8_t *ad,
                           size_t ad_size, const uint8_t *sealed, size_t size)
{
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];

    if (cipher->n == UINT64_MAX || size < NOISE_TAG)
        return -1;
    put_nonce(nonce, cipher->n);
    if (crypto_aead_chacha20poly1305_ietf_decrypt(out, NULL, NULL, sealed, size, ad, ad_size, nonce,
                                                  cipher->k) != 0)
        return -1;
    cipher->n++;
    return 0;
}

/* 4.2, REKEY: the first 32 bytes of ENCRYPT(k, 2^64-1, nothing, 32 zero bytes). n goes on. */
void lintelp_cipher_rekey(struct lintelp_cipher *cipher)
{
    static const uint8_t zeros[NOISE_KEY];
    uint8_t nonce[crypto_aead_chacha20poly1305_ietf_NPUBBYTES];
    uint8_t sealed[NOISE_KEY + NOISE_TAG];

    put_nonce(nonce, UINT64_MAX);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(sealed, NULL, zeros, sizeof zeros, NULL, 0,
                                                    NULL, nonce, cipher->k);
    memcpy(cipher->k, sealed, NOISE_KEY);
    sodium_memzero(sealed, sizeof sealed);
}

/* ---- 5.2 The SymmetricState object ----------------------------------------------------------- */

void lintelp_symmetric_initialize(struct lintelp_symmetric *symmetric, const char *name)
{
    size_t size = strlen(name);

    memset(symmetric, 0, sizeof *symmetric);
    if (size <= NOISE_KEY)
        memcpy(symmetric->h, name, size);
    else
        crypto_hash_sha256(symmetric->h, (const uint8_t *)name, size);
    memcpy(symmetric->ck, symmetric->h, NOISE_KEY);
}

void lintelp_symmetric_mix_key(struct lintelp_symmetric *symmetric, const uint8_t ikm[NOISE_KEY])
{
    uint8_t out[2][NOISE_KEY];

    hkdf(out, 2, symmetric->ck, ikm, NOISE_KEY);
    memcpy(symmetric->ck, out[0], NOISE_KEY);
    lintelp_cipher_initialize_key(&symmetric->cipher, out[1]);
    sodium_memzero(out, sizeof out);
}

void lintelp_symmetric_mix_hash(struct lintelp_symmetric *symmetric, const void *data, size_t size)
{
    crypto_hash_sha256_state state;

    crypto_hash_sha256_init(&state);
    crypto_hash_sha256_update(&state, symmetric->h, NOISE_KEY);
    if (size > 0)
        crypto_hash_sha256_update(&state, data, size);
    crypto_hash_sha256_final(&state, symmetric->h);
}

void lintelp_symmetric_mix_key_and_hash(struct lintelp_symmetric *symmetric,
                                        const uint8_t ikm[NOISE_KEY])
{
    uint8_t out[3][NOISE_KEY];

    hkdf(out, 3, symmetric->ck, ikm, NOISE_KEY);
    memcpy(symmetric->ck, out[0], NOISE_KEY);
    lintelp_symmetric_mix_hash(symmetric, out[1], NOISE_KEY);
    lintelp_cipher_initialize_key(&symmetric->cipher, out[2]);
    sodium_memzero(out, sizeof out);
}

int lintelp_symmetric_encrypt_and_hash(struct lintelp_symmetric *symmetric, uint8_t *out,
                                       const uint8_t *plain, size_t size)
{
    if (lintelp_cipher_encrypt(&symmetric->cipher, out, symmetric->h, NOISE_KEY, plain, size) < 0)
        return -1;
    lintelp_symmetric_mix_hash(symmetric, out, size + NOISE_TAG);
    return 0;
}

int lintelp_symmetric_decrypt_and_hash(struct lintelp_symmetric *symmetric, uint8_t *out,
                                       const uint8_t *sealed, size_t size)
{
    if (lintelp_cipher_decrypt(&symmetric->cipher, out, symmetric->h, NOISE_KEY, sealed, size) < 0)
        return -1;
    lintelp_symmetric_mix_hash(symmetric, sealed, size);
    return 0;
}

void lintelp_symmetric_split(const struct lintelp_symmetric *symmetric,
                             struct lintelp_cipher *first, struct lintelp_cipher *second)
{
    uint8_t out[2][NOISE_KEY];

    hkdf(out, 2, symmetric->ck, NULL, 0);
    lintelp_cipher_initialize_key(first, out[0]);
    lintelp_cipher_initialize_key(second, out[1]);
    sodium_memzero(out, sizeof out);
}

/* ---- 5.3 The HandshakeState object ----------------------------------------------------------- */

enum token { END, E, S, EE, ES, SE, SS };

/* 7.5 and 9.4: NNpsk0 is "psk, e" and "e, ee". Its psk stands in lintelp_noise_start_nnpsk0(). */
const struct lintelp_pattern lintelp_pattern_nnpsk0 = {
    "Noise_NNpsk0_25519_ChaChaPoly_SHA256",
    {{E}, {E, EE}},
};

/* 7.5: IK is "e, es, s, ss" and "e, ee, se". */
const struct lintelp_pattern lintelp_pattern_ik = {
    "Noise_IK_25519_ChaChaPoly_SHA256",
    {{E, ES, S, SS}, {E, EE, SE}},
};

void lintelp_noise_start_ik(struct lintelp_symmetric *symmetric, const void *prologue, size_t size,
                            const uint8_t responder[NOISE_KEY])
{
    lintelp_symmetric_initialize(symmetric, lintelp_pattern_ik.name);
    lintelp_symmetric_mix_hash(symmetric, prologue, size);
    lintelp_symmetric_mix_hash(symmetric, responder, NOISE_KEY);
}

void lintelp_noise_start_nnpsk0(struct lintelp_symmetric *symmetric, const void *prologue,
                                size_t size, const uint8_t psk[NOISE_KEY])
{
    lintelp_symmetric_initialize(symmetric, lintelp_pattern_nnpsk0.name);
    lintelp_symmetric_mix_hash(symmetric, prologue, size);
    lintelp_symmetric_mix_key_and_hash(symmetric, psk);
}

void lintelp_handshake_initialize(struct lintelp_handshake *handshake,
                                  const struct lintelp_pattern *pattern, int initiator,
                                  const struct lintelp_symmetric *start,
                                  const struct lintelp_pair *s, const uint8_t *rs)
{
    memset(handshake, 0, sizeof *handshake);
    handshake->symmetric = *start;
    handshake->pattern = pattern;
    handshake->initiator = initiator != 0;
    handshake->s = s;
    if (rs != NULL)
        memcpy(handshake->rs, rs, NOISE_KEY);
}

/* Bytes of a token on the wire. s comes encrypted: there is a key by then. */
static size_t token_size(uint8_t token)
{
    return token == E ? NOISE_KEY : token == S ? NOISE_KEY + NOISE_TAG : 0;
}

size_t lintelp_handshake_size(const struct lintelp_handshake *handshake, size_t payload)
{
    size_t size = payload + NOISE_TAG;

    for (const uint8_t *t = handshake->pattern->messages[handshake->message]; *t != END; t++)
        size += token_size(*t);
    return size;
}

/* Section 9.2: in a handshake with a psk, e is mixed into the key, too. And our own rule: what is
 * reflected is refused. */
static int mix_e(struct lintelp_handshake *handshake, const uint8_t e[NOISE_KEY])
{
    lintelp_symmetric_mix_hash(&handshake->symmetric, e, NOISE_KEY);
    if (handshake->pattern == &lintelp_pattern_nnpsk0)
        lintelp_symmetric_mix_key(&handshake->symmetric, e);
    return memcmp(handshake->e.public, handshake->re, NOISE_KEY) != 0 ? 0 : -1;
}

/* The tokens of two letters: which of our keys meets which of theirs. */
static int mix_dh(struct lintelp_handshake *handshake, uint8_t token)
{
    int own_s = token == SS || token == (handshake->initiator ? SE : ES);
    int their_s = token == SS || token == (handshake->initiator ? ES : SE);
    const struct lintelp_pair *own = own_s ? handshake->s : &handshake->e;
    uint8_t shared[NOISE_KEY];
    int rc = dh(shared, own->secret, their_s ? handshake->rs : handshake->re);

    if (rc == 0)
        lintelp_symmetric_mix_key(&handshake->symmetric, shared);
    sodium_memzero(shared, sizeof shared);
    return rc;
}

static int write_e(struct lintelp_handshake *handshake, uint8_t *out)
{
    if (!handshake->has_e)
        randombytes_buf(handshake->e.secret, NOISE_KEY);
    handshake->has_e = 1;
    if (lintelp_noise_public(&handshake->e) < 0)
        return -1;
    memcpy(out, handshake->e.public, NOISE_KEY);
    return mix_e(handshake, out);
}

static int write_token(struct lintelp_handshake *handshake, uint8_t token, uint8_t *out)
{
    if (token == E)
        return write_e(handshake, out);
    if (token == S)
        return lintelp_symmetric_encrypt_and_hash(&handshake->symmetric, out, handshake->s->public,
                                                  NOISE_KEY);
    return mix_dh(handshake, token);
}

int lintelp_handshake_write_message(struct lintelp_handshake *handshake, uint8_t *out,
                                    const uint8_t *payload, size_t size)
{
    for (const uint8_t *t = handshake->pattern->messages[handshake->message]; *t != END; t++) {
        if (write_token(handshake, *t, out) < 0)
            return -1;
        out += token_size(*t);
    }
    handshake->message++;
    return lintelp_symmetric_encrypt_and_hash(&handshake->symmetric, out, payload, size);
}

static int read_token(struct lintelp_handshake *handshake, uint8_t token, const uint8_t *in)
{
    if (token == E) {
        memcpy(handshake->re, in, NOISE_KEY);
        return mix_e(handshake, in);
    }
    if (token == S)
        return lintelp_symmetric_decrypt_and_hash(&handshake->symmetric, handshake->rs, in,
                                                  NOISE_KEY + NOISE_TAG);
    return mix_dh(handshake, token);
}

int lintelp_handshake_read_message(struct lintelp_handshake *handshake, uint8_t *payload,
                                   const uint8_t *message, size_t size)
{
    if (size < lintelp_handshake_size(handshake, 0))
        return -1;
    for (const uint8_t *t = handshake->pattern->messages[handshake->message]; *t != END; t++) {
        if (read_token(handshake, *t, message) < 0)
            return -1;
        message += token_size(*t);
        size -= token_size(*t);
    }
    handshake->message++;
    return lintelp_symmetric_decrypt_and_hash(&handshake->symmetric, payload, message, size);
}
