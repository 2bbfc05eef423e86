#include "sealed.h"
#include "seal_hooks.h"

#include <stdlib.h>
#include <string.h>

#define WIRE_MAX  ((size_t)16 * 1024)
#define REKEY     3 /* records under one key */
#define ITEMS_MAX 16

/* A genuine session, as one side hears it, and what the other hears, for splicing. */
struct genuine {
    int made;
    struct lintel_seal_keys *keys[2]; /* responder, initiator */
    uint8_t wire[2][WIRE_MAX];        /* to the responder, to the initiator */
    size_t size[2];
    size_t ends[2][ITEMS_MAX]; /* of each message */
    size_t pieces[2][ITEMS_MAX];
    int count[2];
};
static struct genuine sessions[2][3];

/* ---- keys ------------------------------------------------------------------------------------ */

/* Secret keys of 32 times one byte, and the public keys of two of them. */
static const char shared[] = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= a\n"
                             "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI= b\n";
static const char client_key[] = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=\n";
static const char server_key[] = "BAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ=\n";

static struct lintel_seal_text text_of(const char *text)
{
    return (struct lintel_seal_text){text, strlen(text), "keys"};
}

static struct lintel_seal_keys *make_keys(int initiator, int ik, enum lintel_seal_mode mode)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_text peer_secret = text_of(initiator ? server_key : client_key);
    struct lintel_seal_keys *keys;
    char peer[LINTEL_SEAL_KEY_TEXT];

    CHECK(lintel_seal_key_public(peer, &peer_secret, NULL) == LINTEL_OK);
    options.role = initiator ? LINTEL_SEAL_INITIATOR : LINTEL_SEAL_RESPONDER;
    options.mode = mode;
    if (!initiator || !ik)
        options.psk = text_of(shared);
    if (!initiator || ik) {
        options.key = text_of(initiator ? client_key : server_key);
        options.peer = text_of(peer);
    }
    CHECK(lintel_seal_keys_new(&keys, &options, NULL) == LINTEL_OK);
    return keys;
}

/* ---- the genuine session --------------------------------------------------------------------- */

static struct lintel_seal *fresh(const struct genuine *genuine, int initiator,
                                 const struct lintel_allocator *allocator)
{
    struct lintel_seal *seal;

    CHECK(lintel_seal_new(&seal, genuine->keys[initiator], allocator, NULL) == LINTEL_OK);
    lintelp_seal_test_rekey(seal, REKEY);
    return seal;
}

static size_t put_hello(struct lintel_seal *seal, int initiator, uint8_t *out)
{
    uint8_t ephemeral[32];
    size_t size;

    memset(ephemeral, initiator ? 0x55 : 0x66, sizeof ephemeral);
    lintelp_seal_test_ephemeral(seal, ephemeral);
    CHECK(lintel_seal_put_hello(seal, out, LINTEL_SEAL_HELLO_MAX, &size, NULL) == LINTEL_OK);
    return size;
}

/* Another message that the side `to` hears; the other side takes note. */
static void add(struct genuine *genuine, struct lintel_seal *seal, int to, size_t size,
                size_t piece)
{
    struct lintel_seal_item item;
    uint8_t *copy = copy_of(genuine->wire[to] + genuine->size[to], size);

    CHECK(lintel_seal_next(seal, &item, copy, size, NULL) == 1 && item.used == size);
    free(copy);
    genuine->size[to] += size;
    genuine->pieces[to][genuine->count[to]] = piece;
    genuine->ends[to][genuine->count[to]++] = genuine->size[to];
}

static void add_record(struct genuine *genuine, struct lintel_seal **sides, int to, size_t piece,
                       int last)
{
    uint8_t bytes[2048];
    size_t size;

    memset(bytes, (int)piece, sizeof bytes);
    CHECK(lintel_seal_put_record(sides[!to], genuine->wire[to] + genuine->size[to],
                                 WIRE_MAX - genuine->size[to], &size, bytes, piece, last,
                                 NULL) == LINTEL_OK);
    add(genuine, sides[to], to, size, piece);
}

static const struct genuine *genuine_session(struct sealed_way way)
{
    static const size_t pieces[] = {5, 100, 1, 2000, 64, 17, 300};
    struct genuine *genuine = &sessions[way.ik][way.mode];
    struct lintel_seal *sides[2];

    if (genuine->made)
        return genuine;
    genuine->made = 1;
    for (int i = 0; i < 2; i++) {
        genuine->keys[i] = make_keys(i, way.ik, way.mode);
        sides[i] = fresh(genuine, i, NULL);
    }
    add(genuine, sides[0], 0, put_hello(sides[1], 1, genuine->wire[0]), 0);
    add(genuine, sides[1], 1, put_hello(sides[0], 0, genuine->wire[1]), 0);
    add_record(genuine, sides, 0, 0, 0);
    for (size_t i = 0; i < COUNT(pieces); i++) {
        add_record(genuine, sides, 0, pieces[i], 0);
        add_record(genuine, sides, 1, pieces[i] + 1, 0);
    }
    add_record(genuine, sides, 0, 9, 1);
    add_record(genuine, sides, 1, 0, 1);
    lintel_seal_free(sides[0]);
    lintel_seal_free(sides[1]);
    return genuine;
}

struct sealed_way sealed_way(uint8_t byte)
{
    return (struct sealed_way){byte & 1, byte >> 1 & 1,
                               byte & 4 ? LINTEL_SEAL_MAC : LINTEL_SEAL_ENCRYPT};
}

/* ---- what becomes of it on its way ----------------------------------------------------------- */

struct wire {
    uint8_t *bytes; /* WIRE_MAX */
    size_t size;
};

static void append(struct wire *wire, const uint8_t *bytes, size_t size)
{
    size = size < WIRE_MAX - wire->size ? size : WIRE_MAX - wire->size;
    if (size > 0)
        memcpy(wire->bytes + wire->size, bytes, size);
    wire->size += size;
}

static size_t least(uint64_t a, size_t b)
{
    return a < b ? (size_t)a : b;
}

/* A step of the input: words go through, are changed, left out, told again, or come from elsewhere.
 */
static void change(const struct genuine *genuine, int to, struct wire *wire, size_t *at,
                   struct input *in)
{
    size_t left = genuine->size[to] - *at, size;
    uint8_t op = input_byte(in);
    uint64_t number = input_number(in);
    const uint8_t *raw;

    switch (op & 7) {
    case 0: /* through, up to the end of a message */
        size = genuine->ends[to][(size_t)number % (size_t)genuine->count[to]];
        if (size > *at) {
            append(wire, genuine->wire[to] + *at, size - *at);
            *at = size;
        }
        break;
    case 1: /* through, so many bytes, the last one changed */
        size = least(number, left);
        append(wire, genuine->wire[to] + *at, size);
        if (size > 0 && wire->size > 0)
            wire->bytes[wire->size - 1] ^= op >> 3;
        *at += size;
        break;
    case 2: /* what nobody said */
        raw = input_take(in, least(number, 300), &size);
        append(wire, raw, size);
        break;
    case 3: /* left out */
        *at += least(number, left);
        break;
    case 4: /* told again */
        *at -= least(number, *at);
        break;
    case 5: /* to the place of a message */
        *at = genuine->ends[to][(size_t)number % (size_t)genuine->count[to]];
        break;
    case 6: /* a message of the other direction */
        size = (size_t)number % (size_t)genuine->count[!to];
        append(wire, genuine->wire[!to] + (size > 0 ? genuine->ends[!to][size - 1] : 0),
               genuine->ends[!to][size] - (size > 0 ? genuine->ends[!to][size - 1] : 0));
        break;
    default: /* through, so many bytes */
        size = least(number, left);
        append(wire, genuine->wire[to] + *at, size);
        *at += size;
        break;
    }
}

/* ---- the side that hears it ------------------------------------------------------------------ */

struct hearing {
    const struct genuine *genuine;
    struct lintel_seal *seal;
    const struct wire *wire;
    size_t at; /* bytes taken */
    int to;    /* 1: the initiator hears it */
    int count; /* messages taken */
};

static void check_named(const struct hearing *hearing)
{
    int done = hearing->count > (hearing->to ? 0 : 1);

    CHECK((lintel_seal_id(hearing->seal) != NULL) == done);
    CHECK((lintel_seal_peer_name(hearing->seal) != NULL) == done);
    CHECK(lintel_seal_memory(hearing->seal) <= 512 || !done);
}

static void took(struct hearing *hearing, const struct lintel_seal_item *item)
{
    const struct genuine *genuine = hearing->genuine;
    uint8_t out[LINTEL_SEAL_HELLO_MAX];

    if (item->used > 0) {
        hearing->at += item->used;
        CHECK(hearing->count < genuine->count[hearing->to]);
        CHECK(hearing->at == genuine->ends[hearing->to][hearing->count]);
        CHECK(memcmp(hearing->wire->bytes, genuine->wire[hearing->to], hearing->at) == 0);
        CHECK(item->size == genuine->pieces[hearing->to][hearing->count]);
        for (size_t i = 0; i < item->size; i++)
            CHECK(item->piece[i] == (uint8_t)item->size);
        hearing->count++;
        CHECK((item->kind == LINTEL_SEAL_LAST) == (hearing->count == genuine->count[hearing->to]));
    }
    if (lintel_seal_due(hearing->seal) == LINTEL_SEAL_DUE_HELLO)
        (void)put_hello(hearing->seal, hearing->to, out);
    check_named(hearing);
}

static void failed(struct hearing *hearing, int status, const struct lintel_error *error)
{
    int done = hearing->count > (hearing->to ? 0 : 1), said;
    struct lintel_error again;
    uint8_t out[64];
    size_t size;

    check_error(error, status);
    CHECK(status == LINTEL_E_SEAL || status == LINTEL_E_REFUSED || status == LINTEL_E_TRUNCATED);
    CHECK(status != LINTEL_E_REFUSED || !done);
    check_named(hearing);
    said = lintel_seal_put_bye(hearing->seal, out, sizeof out, LINTEL_BYE_NOT_AUTHENTICATED);
    CHECK(said == (!done && status == LINTEL_E_SEAL));
    CHECK(lintel_seal_end(hearing->seal, 0, &again) == status && same_error(error, &again));
    CHECK(lintel_seal_put_record(hearing->seal, out, sizeof out, &size, "x", 1, 0, NULL) == status);
}

/* Everything up to `have`; 0 while it goes on. Blocks are of exactly the size that is there. */
static int hear(struct hearing *hearing, size_t have)
{
    for (;;) {
        size_t size = have - hearing->at;
        uint8_t *block = copy_of(hearing->wire->bytes + hearing->at, size);
        struct lintel_seal_item item;
        struct lintel_error error;
        int rc = lintel_seal_next(hearing->seal, &item, block, size, &error);

        if (rc == 1)
            took(hearing, &item);
        free(block);
        if (rc == 0)
            CHECK(item.need > size && item.need <= LINTEL_SEAL_RECORD_MAX);
        if (rc < 0)
            failed(hearing, rc, &error);
        if (rc != 1)
            return rc;
    }
}

static void hear_all(struct hearing *hearing, size_t cut)
{
    struct lintel_error error;
    size_t have = 0;
    int rc = 0;

    while (rc == 0 && have < hearing->wire->size) {
        size_t left = hearing->wire->size - have;
        have += cut > 0 && cut < left ? cut : left;
        rc = hear(hearing, have);
    }
    if (rc < 0)
        return;
    rc = lintel_seal_end(hearing->seal, hearing->wire->size - hearing->at, &error);
    if (hearing->count == hearing->genuine->count[hearing->to])
        CHECK(rc == LINTEL_E_END);
    else
        failed(hearing, rc, &error);
}

void sealed_deliver(struct sealed_way way, enum sealed_how how, struct input *in)
{
    const struct genuine *genuine = genuine_session(way);
    struct wire wire = {malloc(WIRE_MAX), 0};
    struct memory memory;
    struct hearing hearing = {genuine, NULL, &wire, 0, way.initiator, 0};
    size_t cut = input_byte(in), at = 0;
    uint8_t out[LINTEL_SEAL_HELLO_MAX];

    CHECK(wire.bytes != NULL);
    memory_init(&memory);
    if (how == SEALED_RAW)
        append(&wire, in->bytes, in->size);
    if (how == SEALED_RECORDS) {
        at = genuine->ends[way.initiator][way.initiator ? 0 : 1];
        append(&wire, genuine->wire[way.initiator], at);
    }
    while (how != SEALED_RAW && in->size > 0)
        change(genuine, way.initiator, &wire, &at, in);
    hearing.seal = fresh(genuine, way.initiator, &memory.allocator);
    if (way.initiator)
        (void)put_hello(hearing.seal, 1, out);
    hear_all(&hearing, cut);
    lintel_seal_free(hearing.seal);
    CHECK(memory.blocks == 0);
    free(wire.bytes);
}
