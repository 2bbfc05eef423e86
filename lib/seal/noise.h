/*
 * noise: the Noise Protocol Framework, revision 34, as far as lintel goes: the objects of its
 * section 5, two patterns, 25519, ChaChaPoly, SHA256. The names are those of the specification, so
 * that the two can be read side by side. A failing function has wiped nothing: its caller wipes the
 * whole state.
 *
 * Left out, as neither pattern needs it: a CipherState without a key, for in both the key is there
 * before anything is encrypted.
 */
#ifndef LINTELP_SEAL_NOISE_H
#define LINTELP_SEAL_NOISE_H

#include <stddef.h>
#include <stdint.h>

enum {
    NOISE_KEY = 32, /* DHLEN, HASHLEN and the length of a cipher's key */
    NOISE_TAG = 16
};

/* ---- 5.1 The CipherState object -------------------------------------------------------------- */

struct lintelp_cipher {
    uint8_t k[NOISE_KEY];
    uint64_t n;
};

void lintelp_cipher_initialize_key(struct lintelp_cipher *cipher, const uint8_t key[NOISE_KEY]);
/* size + NOISE_TAG bytes to out, which may be plain. 0; -1: the nonces are used up. */
int lintelp_cipher_encrypt(struct lintelp_cipher *cipher, uint8_t *out, const uint8_t *ad,
                           size_t ad_size, const uint8_t *plain, size_t size);
/* size - NOISE_TAG bytes to out, which may be sealed. 0; -1: it does not verify, n stays. */
int lintelp_cipher_decrypt(struct lintelp_cipher *cipher, uint8_t *out, const uint8_t *ad,
                           size_t ad_size, const uint8_t *sealed, size_t size);
void lintelp_cipher_rekey(struct lintelp_cipher *cipher);

/* ---- 5.2 The SymmetricState object ----------------------------------------------------------- */

struct lintelp_symmetric {
    struct lintelp_cipher cipher;
    uint8_t ck[NOISE_KEY];
    uint8_t h[NOISE_KEY];
};

void lintelp_symmetric_initialize(struct lintelp_symmetric *symmetric, const char *name);
void lintelp_symmetric_mix_key(struct lintelp_symmetric *symmetric, const uint8_t ikm[NOISE_KEY]);
void lintelp_symmetric_mix_hash(struct lintelp_symmetric *symmetric, const void *data, size_t size);
void lintelp_symmetric_mix_key_and_hash(struct lintelp_symmetric *symmetric,
                                        const uint8_t ikm[NOISE_KEY]);
int lintelp_symmetric_encrypt_and_hash(struct lintelp_symmetric *symmetric, uint8_t *out,
                                       const uint8_t *plain, size_t size);
int lintelp_symmetric_decrypt_and_hash(struct lintelp_symmetric *symmetric, uint8_t *out,
                                       const uint8_t *sealed, size_t size);
void lintelp_symmetric_split(const struct lintelp_symmetric *symmetric,
                             struct lintelp_cipher *first, struct lintelp_cipher *second);

/* ---- 5.3 The HandshakeState object ----------------------------------------------------------- */

/* A pattern of section 7, with its name of section 8 and the tokens of its two messages. */
struct lintelp_pattern {
    const char *name;
    uint8_t messages[2][5];
};
extern const struct lintelp_pattern lintelp_pattern_nnpsk0, lintelp_pattern_ik;

struct lintelp_pair {
    uint8_t secret[NOISE_KEY];
    uint8_t public[NOISE_KEY];
};

struct lintelp_handshake {
    struct lintelp_symmetric symmetric;
    const struct lintelp_pattern *pattern;
    const struct lintelp_pair *s; /* kept; NULL where the pattern has none */
    struct lintelp_pair e;
    uint8_t rs[NOISE_KEY];
    uint8_t re[NOISE_KEY];
    uint8_t initiator;
    uint8_t message; /* that is next: 0 or 1 */
    uint8_t has_e;   /* e is made; tests alone make it before its token */
};

/* Section 5.3, Initialize(), up to and with the pre-message, which here is the responder's s. */
void lintelp_noise_start_ik(struct lintelp_symmetric *symmetric, const void *prologue, size_t size,
                            const uint8_t responder[NOISE_KEY]);
/* The same, with the token psk: it is the first of the first message, and depends on nothing. */
void lintelp_noise_start_nnpsk0(struct lintelp_symmetric *symmetric, const void *prologue,
                                size_t size, const uint8_t psk[NOISE_KEY]);
/* The rest of Initialize(), from a symmetric state made by one of these. rs may be NULL. */
void lintelp_handshake_initialize(struct lintelp_handshake *handshake,
                                  const struct lintelp_pattern *pattern, int initiator,
                                  const struct lintelp_symmetric *start,
                                  const struct lintelp_pair *s, const uint8_t *rs);
/* Bytes of the message that is next, with a payload of so many bytes. */
size_t lintelp_handshake_size(const struct lintelp_handshake *handshake, size_t payload);
/* lintelp_handshake_size() bytes to out. 0; -1: a DH that fails, or re is our own e. */
int lintelp_handshake_write_message(struct lintelp_handshake *handshake, uint8_t *out,
                                    const uint8_t *payload, size_t size);
/* The rest behind the message's keys is the payload. 0; -1: too short, does not verify, a DH that
 * fails, re is our own e. */
int lintelp_handshake_read_message(struct lintelp_handshake *handshake, uint8_t *payload,
                                   const uint8_t *message, size_t size);

/* A pair's public half. 0; -1: it cannot be computed. */
int lintelp_noise_public(struct lintelp_pair *pair);

#endif
