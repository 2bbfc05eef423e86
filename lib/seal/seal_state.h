/*
 * What the files of the seal share: keys and a session from the inside. seal_keys.c reads key
 * files, seal.c has a session's life and its handshake, seal_record.c its records. Nothing of it is
 * seen outside of them; the tests reach in to set what nobody else can.
 */
#ifndef LINTELP_SEAL_STATE_H
#define LINTELP_SEAL_STATE_H

#include "lintel/seal.h"
#include "seal/noise.h"

/* What a HELLO says in front of the Noise message, and with it the prologue. */
enum {
    SEAL_PATTERN_NNPSK0 = 1,
    SEAL_PATTERN_IK = 2,
    SEAL_CIPHER = 1, /* ChaChaPoly, the only one */
    SEAL_CHOICE_SIZE = 3
};
/* Bytes of a HELLO's payload. */
enum { SEAL_HELLO_NNPSK0 = 51, SEAL_HELLO_IK = 99, SEAL_HELLO_ANSWER = 48 };

/* A direction has a new key behind each so many records. */
#define SEAL_REKEY_EVERY ((uint64_t)1 << 20)

/* A line of a key file. */
struct lintelp_seal_entry {
    uint8_t key[NOISE_KEY];
    uint32_t line;
    char name[LINTEL_SEAL_NAME_MAX + 1]; /* "": none */
};

/* In one block of guarded, locked memory, read-only once it is made. */
struct lintel_seal_keys {
    enum lintel_seal_role role;
    enum lintel_seal_mode mode;
    uint8_t has_own;     /* IK: own and peers are there */
    uint32_t psk_count;  /* NNpsk0: 0 is none */
    uint32_t peer_count; /* sorted by key */
    struct lintelp_pair own;
    struct lintelp_symmetric ik; /* of an IK handshake, before its first message */
    struct lintelp_symmetric nnpsk0[LINTEL_SEAL_SHARED_MAX]; /* the same for each shared key */
    struct lintelp_seal_entry psk[LINTEL_SEAL_SHARED_MAX];   /* names; the keys are wiped */
    struct lintelp_seal_entry peers[];
};

struct lintel_seal {
    const struct lintel_seal_keys *keys;
    const struct lintel_allocator *allocator;
    struct lintelp_handshake *handshake; /* NULL after Split() or an error */
    const struct lintelp_seal_entry
        *peer; /* who it claims to be; true when the handshake is done */
    struct lintelp_cipher in, out;
    uint64_t rekey_every;
    uint64_t at;     /* bytes taken off the stream */
    const char *why; /* the first error's sentence */
    uint8_t id[LINTEL_SEAL_ID_SIZE];
    uint8_t refused[LINTEL_HEADER_SIZE]; /* the header that the error is about, if one is */
    uint32_t said;                       /* the reason of a plain BYE */
    int16_t status;                      /* 0, or the first error; sticky */
    uint8_t state;                       /* enum lintel_seal_state */
    uint8_t due;                         /* enum lintel_seal_due */
    unsigned done : 1;                   /* the handshake is, for this side */
    unsigned greeted : 1;                /* an initiator's first message was written */
    unsigned ik : 1;                     /* the pattern of this session */
    unsigned in_last : 1;                /* the peer's last record was opened */
    unsigned out_last : 1;               /* our last record was sealed */
    unsigned said_bye : 1;
    unsigned has_refused : 1;
};

/* The first error: latches both directions, wipes what is secret. Returns the status. */
int lintelp_seal_latch(struct lintel_seal *seal, int status, const char *why);
/* The latched error as a record; returns its status. */
int lintelp_seal_explain(const struct lintel_seal *seal, struct lintel_error *error);

/* Open the record at bytes, whose header was judged and whose body is there. 1, or as latched. */
int lintelp_seal_open(struct lintel_seal *seal, struct lintel_seal_item *item, uint8_t *bytes,
                      uint32_t id, size_t length, struct lintel_error *error);

/* 0 where libsodium runs, which every way in asks for; else an error. */
int lintelp_seal_start(struct lintel_error *error);

/* What both sides know before the first message: 8 bytes of name, and the three of the HELLO. */
#define SEAL_PROLOGUE_SIZE 11
void lintelp_seal_prologue(uint8_t out[SEAL_PROLOGUE_SIZE], int pattern, int mode);

#endif
