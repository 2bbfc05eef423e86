/*
 * Sealing and opening records against libsodium's own call over the same bytes, and handshakes
 * against the bare curve operations that both sides need; small frames gathered into records over a
 * stream against the plain stream and libsodium's call. Sealing copies once, from where the piece
 * lies into the record; the floor does not.
 */
#include "config.h"

#include "bench.h"

#ifdef HAVE_SODIUM
#include <sodium.h>
#include <string.h>

#define PIECE_MAX ((size_t)LINTEL_SEAL_PIECE_MAX)
#define TOGETHER  ((size_t)1024 * 1024) /* bytes of records that are opened in one go */

static struct lintel_seal_keys *keys[2][2][3]; /* by side (responder, initiator), IK, mode */
static struct lintel_seal *sides[2][3];        /* by side and mode: a session that runs */
static uint8_t *piece, *wire;
static uint8_t key[32], nonce[12];

/* ---- sessions -------------------------------------------------------------------------------- */

static void make_keys(int ik, enum lintel_seal_mode mode)
{
    static char secret[2][LINTEL_SEAL_KEY_TEXT], public[2][LINTEL_SEAL_KEY_TEXT];

    for (int side = 0; side < 2 && secret[side][0] == '\0'; side++) {
        struct lintel_seal_text text = {secret[side], LINTEL_SEAL_KEY_TEXT - 1, NULL};
        if (lintel_seal_key_new(secret[side], NULL) < 0 ||
            lintel_seal_key_public(public[side], &text, NULL) < 0)
            bench_fail("seal: a key");
    }
    for (int side = 0; side < 2; side++) {
        struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
        struct lintel_seal_text own = {secret[ik ? side : 0], LINTEL_SEAL_KEY_TEXT - 1, NULL};
        options.role = side ? LINTEL_SEAL_INITIATOR : LINTEL_SEAL_RESPONDER;
        options.mode = mode;
        if (!ik)
            options.psk = own;
        else
            options.key = own;
        if (ik)
            options.peer = (struct lintel_seal_text){public[!side], LINTEL_SEAL_KEY_TEXT - 1, NULL};
        if (lintel_seal_keys_new(&keys[side][ik][mode], &options, NULL) < 0)
            bench_fail("seal: keys");
    }
}

static void say_hello(struct lintel_seal *from, struct lintel_seal *to)
{
    uint8_t bytes[LINTEL_SEAL_HELLO_MAX];
    struct lintel_seal_item item;
    size_t size;

    if (lintel_seal_put_hello(from, bytes, sizeof bytes, &size, NULL) < 0 ||
        lintel_seal_next(to, &item, bytes, size, NULL) != 1)
        bench_fail("seal: a handshake");
}

static void greet(struct lintel_seal *pair[2], int ik, enum lintel_seal_mode mode)
{
    for (int side = 0; side < 2; side++)
        if (lintel_seal_new(&pair[side], keys[side][ik][mode], NULL, NULL) < 0)
            bench_fail("seal: a session");
    say_hello(pair[1], pair[0]);
    say_hello(pair[0], pair[1]);
}

/* A session in this mode, in which records can go both ways. */
static void prepare(enum lintel_seal_mode mode)
{
    struct lintel_seal *pair[2];
    struct lintel_seal_item item;
    size_t size;

    if (sides[0][mode] != NULL)
        return;
    if (piece == NULL) {
        piece = calloc(1, PIECE_MAX);
        wire = calloc(1, TOGETHER + LINTEL_SEAL_RECORD_MAX);
    }
    make_keys(0, mode);
    make_keys(1, mode);
    greet(pair, 0, mode);
    if (piece == NULL || wire == NULL ||
        lintel_seal_put_record(pair[1], wire, TOGETHER, &size, NULL, 0, 0, NULL) < 0 ||
        lintel_seal_next(pair[0], &item, wire, size, NULL) != 1)
        bench_fail("seal: record 0");
    sides[0][mode] = pair[0];
    sides[1][mode] = pair[1];
}

/* ---- sealing --------------------------------------------------------------------------------- */

static size_t repeats(size_t size)
{
    return 1 + 16000000 / (size + 500);
}

static double floor_seal(size_t size, int mac)
{
    size_t times = repeats(size), plain = mac ? 0 : size, data = mac ? 16 + size : 16;
    double start;

    prepare(LINTEL_SEAL_MAC);
    start = bench_cpu_ns();
    for (size_t t = 0; t < times; t++) {
        nonce[4] = (uint8_t)t;
        (void)crypto_aead_chacha20poly1305_ietf_encrypt(wire + 16 + (mac ? size : 0), NULL, piece,
                                                        plain, wire, data, NULL, nonce, key);
        bench_sink += wire[16];
    }
    return (bench_cpu_ns() - start) / (double)times;
}

static double seal(size_t size, enum lintel_seal_mode mode)
{
    size_t times = repeats(size), used;
    double start;

    prepare(mode); /* what the responder seals is never opened: the other direction is the one for
                      that */
    start = bench_cpu_ns();
    for (size_t t = 0; t < times; t++) {
        if (lintel_seal_put_record(sides[0][mode], wire, TOGETHER, &used, piece, size, 0, NULL) < 0)
            bench_fail("seal: a record");
        bench_sink += wire[16];
    }
    return (bench_cpu_ns() - start) / (double)times;
}

static double floor_seal_encrypt(size_t size)
{
    return floor_seal(size, 0);
}

static double floor_seal_mac(size_t size)
{
    return floor_seal(size, 1);
}

static double seal_encrypt(size_t size)
{
    return seal(size, LINTEL_SEAL_ENCRYPT);
}

static double seal_mac(size_t size)
{
    return seal(size, LINTEL_SEAL_MAC);
}

/* ---- opening --------------------------------------------------------------------------------- */

/* Records are sealed a batch at a time, outside of the clock; both open in place. */
static double floor_open(size_t size, int mac)
{
    size_t whole = 32 + size, count = TOGETHER / whole, plain = mac ? 0 : size;
    size_t data = mac ? 16 + size : 16, rounds = 1 + repeats(size) / count;
    double spent = 0, start;

    prepare(LINTEL_SEAL_MAC);
    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < count; i++) {
            uint8_t *at = wire + i * whole, *body = at + 16 + (mac ? size : 0);
            nonce[4] = (uint8_t)i;
            (void)crypto_aead_chacha20poly1305_ietf_encrypt(body, NULL, body, plain, at, data, NULL,
                                                            nonce, key);
        }
        start = bench_cpu_ns();
        for (size_t i = 0; i < count; i++) {
            uint8_t *at = wire + i * whole, *body = at + 16 + (mac ? size : 0);
            nonce[4] = (uint8_t)i;
            if (crypto_aead_chacha20poly1305_ietf_decrypt(body, NULL, NULL, body, plain + 16, at,
                                                          data, nonce, key) != 0)
                bench_fail("seal: the floor does not open");
        }
        spent += bench_cpu_ns() - start;
    }
    return spent / (double)(rounds * count);
}

static double open_records(size_t size, enum lintel_seal_mode mode)
{
    size_t whole = 32 + size, count = TOGETHER / whole, rounds = 1 + repeats(size) / count, used;
    struct lintel_seal_item item;
    double spent = 0, start;

    prepare(mode);
    for (size_t r = 0; r < rounds; r++) {
        for (size_t i = 0; i < count; i++)
            if (lintel_seal_put_record(sides[1][mode], wire + i * whole, whole, &used, piece, size,
                                       0, NULL) < 0)
                bench_fail("seal: a record");
        start = bench_cpu_ns();
        for (size_t i = 0; i < count; i++)
            if (lintel_seal_next(sides[0][mode], &item, wire + i * whole, whole, NULL) != 1)
                bench_fail("seal: a record does not open");
        spent += bench_cpu_ns() - start;
    }
    return spent / (double)(rounds * count);
}

static double floor_open_encrypt(size_t size)
{
    return floor_open(size, 0);
}

static double floor_open_mac(size_t size)
{
    return floor_open(size, 1);
}

static double open_encrypt(size_t size)
{
    return open_records(size, LINTEL_SEAL_ENCRYPT);
}

static double open_mac(size_t size)
{
    return open_records(size, LINTEL_SEAL_MAC);
}

/* ---- gathered into records ------------------------------------------------------------------- */

/* The plain stream, and the bare AEAD on both sides over the bytes that it gathers. */
static double floor_gathered(size_t size, enum lintel_seal_mode mode)
{
    int mac = mode == LINTEL_SEAL_MAC;
    double aead = floor_seal(PIECE_MAX, mac) + floor_open(PIECE_MAX, mac);

    return bench_oneway(NULL, size) +
           aead * (double)(LINTEL_HEADER_SIZE + size) / (double)PIECE_MAX;
}

static double gathered(size_t size, enum lintel_seal_mode mode)
{
    prepare(mode);
    return bench_oneway((const struct lintel_seal_keys *[]){keys[0][0][mode], keys[1][0][mode]},
                        size);
}

static double floor_gathered_encrypt(size_t size)
{
    return floor_gathered(size, LINTEL_SEAL_ENCRYPT);
}

static double floor_gathered_mac(size_t size)
{
    return floor_gathered(size, LINTEL_SEAL_MAC);
}

static double gathered_encrypt(size_t size)
{
    return gathered(size, LINTEL_SEAL_ENCRYPT);
}

static double gathered_mac(size_t size)
{
    return gathered(size, LINTEL_SEAL_MAC);
}

/* ---- handshakes ------------------------------------------------------------------------------ */

#define HANDSHAKES 100

/* Both sides make an ephemeral key; NNpsk0 is one DH a side, IK four. */
static double floor_handshake(size_t dh)
{
    uint8_t secret[32], public[32], shared[32];
    double start;

    randombytes_buf(secret, sizeof secret);
    start = bench_cpu_ns();
    for (int n = 0; n < HANDSHAKES; n++) {
        for (int side = 0; side < 2; side++) {
            if (crypto_scalarmult_curve25519_base(public, secret) != 0)
                bench_fail("seal: the floor");
            for (size_t i = 0; i < dh; i++)
                if (crypto_scalarmult_curve25519(shared, secret, public) != 0)
                    bench_fail("seal: the floor");
            bench_sink += shared[0];
        }
    }
    return (bench_cpu_ns() - start) / HANDSHAKES;
}

static double handshake(size_t dh)
{
    struct lintel_seal *pair[2];
    double start;

    prepare(LINTEL_SEAL_ENCRYPT);
    start = bench_cpu_ns();
    for (int n = 0; n < HANDSHAKES; n++) {
        greet(pair, dh == 4, LINTEL_SEAL_ENCRYPT);
        lintel_seal_free(pair[0]);
        lintel_seal_free(pair[1]);
    }
    return (bench_cpu_ns() - start) / HANDSHAKES;
}
#else
static double missing(size_t size)
{
    (void)size;
    return -1;
}
#define floor_seal_encrypt     missing
#define floor_seal_mac         missing
#define floor_open_encrypt     missing
#define floor_open_mac         missing
#define floor_gathered_encrypt missing
#define floor_gathered_mac     missing
#define gathered_encrypt       missing
#define gathered_mac           missing
#define floor_handshake        missing
#define seal_encrypt           missing
#define seal_mac               missing
#define open_encrypt           missing
#define open_mac               missing
#define handshake              missing
#endif

/* At most 1/0.9 of libsodium's time in `encrypt`, 1/0.85 in `mac`, 1/0.7 for a handshake; over a
 * stream at most 1.15 of what it costs plain and libsodium takes. */
const struct bench_row bench_seal_rows[] = {
    {"seal, encrypt", 1024, floor_seal_encrypt, seal_encrypt, 1.11, 0, "libsodium"},
    {"seal, encrypt", 16384, floor_seal_encrypt, seal_encrypt, 1.11, 0, "libsodium"},
    {"seal, encrypt", LINTEL_SEAL_PIECE_MAX, floor_seal_encrypt, seal_encrypt, 1.11, 0,
     "libsodium"},
    {"seal, mac", 1024, floor_seal_mac, seal_mac, 1.18, 0, "libsodium"},
    {"seal, mac", 16384, floor_seal_mac, seal_mac, 1.18, 0, "libsodium"},
    {"seal, mac", LINTEL_SEAL_PIECE_MAX, floor_seal_mac, seal_mac, 1.18, 0, "libsodium"},
    {"open, encrypt", 1024, floor_open_encrypt, open_encrypt, 1.11, 0, "libsodium"},
    {"open, encrypt", 16384, floor_open_encrypt, open_encrypt, 1.11, 0, "libsodium"},
    {"open, encrypt", LINTEL_SEAL_PIECE_MAX, floor_open_encrypt, open_encrypt, 1.11, 0,
     "libsodium"},
    {"open, mac", 1024, floor_open_mac, open_mac, 1.18, 0, "libsodium"},
    {"open, mac", 16384, floor_open_mac, open_mac, 1.18, 0, "libsodium"},
    {"open, mac", LINTEL_SEAL_PIECE_MAX, floor_open_mac, open_mac, 1.18, 0, "libsodium"},
    {"sealed one way, UNIX, encrypt", 64, floor_gathered_encrypt, gathered_encrypt, 1.15, 0,
     "libsodium"},
    {"sealed one way, UNIX, mac", 64, floor_gathered_mac, gathered_mac, 1.15, 0, "libsodium"},
    {"handshake, NNpsk0, both sides", 1, floor_handshake, handshake, 1.43, 0, "libsodium"},
    {"handshake, IK, both sides", 4, floor_handshake, handshake, 1.43, 0, "libsodium"},
    {NULL, 0, NULL, NULL, 0, 0, NULL},
};
