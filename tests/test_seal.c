/* seal: the handshake, records, and everything that a hostile peer, or someone between, can do. */
#include "util.h"
#include "seal/seal_state.h"
#include "seal_hooks.h"

#include <sodium.h>
#include <stdio.h>

#define ROOM ((size_t)2 * LINTEL_SEAL_RECORD_MAX)

/* Hostile cases that were tried and refused. */
static unsigned long cases;

/* ---- keys ------------------------------------------------------------------------------------ */

/* Key number n of a kind, the same in every run. */
static void key_bytes(uint8_t key[32], const char *kind, unsigned n)
{
    char label[64];
    int size = snprintf(label, sizeof label, "lintel test %s %u", kind, n);
    crypto_hash_sha256(key, (const uint8_t *)label, (unsigned long long)size);
}

static void add_key(char *text, const uint8_t key[32], const char *name)
{
    size_t used = strlen(text);
    sodium_bin2base64(text + used, LINTEL_SEAL_KEY_TEXT, key, 32, sodium_base64_VARIANT_ORIGINAL);
    used += LINTEL_SEAL_KEY_TEXT - 1;
    (void)sprintf(text + used, " %s\n", name);
}

static void public_of(uint8_t public[32], const char *kind, unsigned n)
{
    uint8_t secret[32];
    key_bytes(secret, kind, n);
    assert_int_equal(crypto_scalarmult_curve25519_base(public, secret), 0);
}

/* A server's keys: shared ones 0 to shared-1, or none; secret "server" 0 with clients 0 to
 * clients-1, or none. */
static struct lintel_seal_keys *server_keys(unsigned shared, unsigned clients,
                                            enum lintel_seal_mode mode)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;
    struct lintel_error error;
    char psk[2000] = "", key[100] = "", peer[4000] = "", name[32];
    uint8_t bytes[32];

    for (unsigned i = 0; i < shared; i++) {
        (void)snprintf(name, sizeof name, "shared-%u", i);
        key_bytes(bytes, "shared", i);
        add_key(psk, bytes, name);
    }
    key_bytes(bytes, "server", 0);
    add_key(key, bytes, "");
    for (unsigned i = 0; i < clients; i++) {
        (void)snprintf(name, sizeof name, "client-%u", i);
        public_of(bytes, "client", i);
        add_key(peer, bytes, name);
    }
    options.role = LINTEL_SEAL_RESPONDER;
    options.mode = mode;
    if (shared > 0)
        options.psk = (struct lintel_seal_text){psk, strlen(psk), "psk"};
    if (clients > 0) {
        options.key = (struct lintel_seal_text){key, strlen(key), "key"};
        options.peer = (struct lintel_seal_text){peer, strlen(peer), "peer"};
    }
    if (lintel_seal_keys_new(&keys, &options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return keys;
}

/* A client's: shared key n, or secret key "client" n for server number `server`. */
static struct lintel_seal_keys *client_keys(int ik, unsigned n, unsigned server,
                                            enum lintel_seal_mode mode)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;
    struct lintel_error error;
    char mine[100] = "", peer[100] = "";
    uint8_t bytes[32];

    key_bytes(bytes, ik ? "client" : "shared", n);
    add_key(mine, bytes, ik ? "" : "the-server");
    public_of(bytes, "server", server);
    add_key(peer, bytes, "the-server");
    options.mode = mode;
    if (ik) {
        options.key = (struct lintel_seal_text){mine, strlen(mine), "key"};
        options.peer = (struct lintel_seal_text){peer, strlen(peer), "peer"};
    } else {
        options.psk = (struct lintel_seal_text){mine, strlen(mine), "psk"};
    }
    if (lintel_seal_keys_new(&keys, &options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return keys;
}

/* ---- sessions -------------------------------------------------------------------------------- */

static struct lintel_seal *session(const struct lintel_seal_keys *keys)
{
    struct lintel_seal *seal;
    assert_int_equal(lintel_seal_new(&seal, keys, NULL, NULL), LINTEL_OK);
    return seal;
}

/* Bytes on their way. */
struct sent {
    uint8_t bytes[LINTEL_SEAL_RECORD_MAX];
    size_t size;
};

static struct sent *hello(struct lintel_seal *seal)
{
    struct sent *sent = calloc(1, sizeof *sent);
    struct lintel_error error;
    assert_int_equal(lintel_seal_due(seal), LINTEL_SEAL_DUE_HELLO);
    if (lintel_seal_put_hello(seal, sent->bytes, sizeof sent->bytes, &sent->size, &error) < 0)
        fail_msg("%s", error.text);
    return sent;
}

static struct sent *record(struct lintel_seal *seal, const void *piece, size_t size, int last)
{
    struct sent *sent = calloc(1, sizeof *sent);
    struct lintel_error error;
    if (lintel_seal_put_record(seal, sent->bytes, sizeof sent->bytes, &sent->size, piece, size,
                               last, &error) < 0)
        fail_msg("%s", error.text);
    assert_int_equal(sent->size, size + LINTEL_SEAL_OVERHEAD);
    return sent;
}

static int take(struct lintel_seal *seal, struct lintel_seal_item *item, void *bytes, size_t size)
{
    struct lintel_error error = {0};
    int rc = lintel_seal_next(seal, item, bytes, size, &error);
    if (rc < 0) {
        assert_int_equal(error.status, rc);
        assert_true(error.text[0] != '\0');
    }
    return rc;
}

static void take_hello(struct lintel_seal *seal, const struct sent *sent)
{
    struct lintel_seal_item item;
    struct sent copy = *sent;
    assert_int_equal(take(seal, &item, copy.bytes, copy.size), 1);
    assert_int_equal(item.kind, LINTEL_SEAL_HELLO);
    assert_int_equal(item.used, sent->size);
}

static void take_record(struct lintel_seal *seal, const struct sent *sent, const void *piece,
                        size_t size, int last)
{
    struct lintel_seal_item item;
    uint8_t *copy = guard_copy(sent->bytes, sent->size);
    assert_int_equal(take(seal, &item, copy, sent->size), 1);
    assert_int_equal(item.kind, last ? LINTEL_SEAL_LAST : LINTEL_SEAL_RECORD);
    assert_int_equal(item.used, sent->size);
    assert_int_equal(item.size, size);
    assert_ptr_equal(item.piece, copy + LINTEL_HEADER_SIZE);
    if (size > 0)
        assert_memory_equal(item.piece, piece, size);
    guard_free(copy, sent->size);
}

/* Everything that two sides say in a session, and the sides behind it. */
struct talk {
    struct lintel_seal_keys *client, *server;
    struct lintel_seal *i, *r;
    struct sent *first, *answer, *zero;
    int ik;
    enum lintel_seal_mode mode;
};

static struct talk begin(int ik, enum lintel_seal_mode mode)
{
    struct talk talk = {0};
    talk.ik = ik;
    talk.mode = mode;
    talk.client = client_keys(ik, 0, 0, mode);
    talk.server = server_keys(2, 2, mode);
    talk.i = session(talk.client);
    talk.r = session(talk.server);
    talk.first = hello(talk.i);
    return talk;
}

static struct talk greet(int ik, enum lintel_seal_mode mode)
{
    struct talk talk = begin(ik, mode);
    take_hello(talk.r, talk.first);
    talk.answer = hello(talk.r);
    return talk;
}

static struct talk run(int ik, enum lintel_seal_mode mode)
{
    struct talk talk = greet(ik, mode);
    take_hello(talk.i, talk.answer);
    talk.zero = record(talk.i, NULL, 0, 0);
    take_record(talk.r, talk.zero, NULL, 0, 0);
    return talk;
}

static void end(struct talk *talk)
{
    lintel_seal_free(talk->i);
    lintel_seal_free(talk->r);
    lintel_seal_keys_free(talk->client);
    lintel_seal_keys_free(talk->server);
    free(talk->first);
    free(talk->answer);
    free(talk->zero);
}

/* Runs a test in both patterns and both modes. */
static void each_way(void (*test)(int ik, enum lintel_seal_mode mode))
{
    for (int ik = 0; ik <= 1; ik++) {
        test(ik, LINTEL_SEAL_MAC);
        test(ik, LINTEL_SEAL_ENCRYPT);
    }
}

/* The session is over, for good, and in both directions. */
static void is_dead(struct lintel_seal *seal, int status)
{
    struct lintel_seal_item item = {0};
    struct lintel_error error;
    uint8_t out[LINTEL_SEAL_OVERHEAD + 1], some[64] = {0};
    size_t size;

    assert_int_equal(lintel_seal_error(seal, &error), status);
    assert_int_equal(take(seal, &item, some, sizeof some), status);
    assert_int_equal(take(seal, &item, some, 0), status);
    assert_int_equal(lintel_seal_end(seal, 0, NULL), status);
    assert_int_equal(lintel_seal_put_record(seal, out, sizeof out, &size, "x", 1, 0, NULL), status);
    assert_int_equal(lintel_seal_put_hello(seal, out, sizeof out, &size, NULL), status);
    assert_int_equal(lintel_seal_may_send(seal), 0);
    assert_int_equal(lintel_seal_due(seal), LINTEL_SEAL_DUE_NOTHING);
    assert_null(seal->handshake);
    assert_true(sodium_is_zero(seal->in.k, 32) && sodium_is_zero(seal->out.k, 32));
    assert_null(item.piece);
}

/* Nobody was named, nothing may go out but one plain BYE, the same for all reasons. */
static void is_refused_unnamed(struct lintel_seal *seal)
{
    static const uint8_t bye[] = {0x4C, 0x54, 1, 8, 0, 0, 0, 4, 0, 0, 0, 0,
                                  0,    0,    0, 8, 0, 0, 0, 6, 0, 0, 0, 0};
    uint8_t out[64];

    assert_null(lintel_seal_id(seal));
    assert_null(lintel_seal_peer_name(seal));
    assert_null(lintel_seal_peer_key(seal));
    assert_int_equal(lintel_seal_put_bye(seal, out, sizeof out, 6), 1);
    assert_memory_equal(out, bye, sizeof bye);
    assert_int_equal(lintel_seal_put_bye(seal, out, sizeof out, 6), 0);
    is_dead(seal, LINTEL_E_SEAL);
}

/* Hand bytes over that must not be taken, with as much behind them as any header can ask for. */
static void refuses(struct lintel_seal *seal, const void *bytes, size_t size)
{
    struct lintel_seal_item item = {0};
    uint8_t *copy = calloc(1, size + ROOM);
    int rc;

    memcpy(copy, bytes, size);
    rc = take(seal, &item, copy, size + ROOM);
    if (rc != LINTEL_E_SEAL)
        fail_msg("%d, not refused", rc);
    assert_null(item.piece);
    free(copy);
    cases++;
}

static void refuses_unnamed(struct lintel_seal *seal, const void *bytes, size_t size)
{
    refuses(seal, bytes, size);
    is_refused_unnamed(seal);
}

/* Refused when the handshake is done: nothing is said. */
static void refuses_silently(struct lintel_seal *seal, const void *bytes, size_t size)
{
    uint8_t out[64];
    refuses(seal, bytes, size);
    assert_int_equal(lintel_seal_put_bye(seal, out, sizeof out, 6), 0);
    is_dead(seal, LINTEL_E_SEAL);
}

/* ---- Noise ----------------------------------------------------------------------------------- */

/* The value of a name in a text of JSON without escapes, from `from` on; NULL: none before `to`. */
static char *json_text(const char *from, const char *to, const char *name)
{
    char wanted[64];
    const char *at;
    size_t size;
    char *out;

    (void)snprintf(wanted, sizeof wanted, "\"%s\"", name);
    at = strstr(from, wanted);
    if (at == NULL || (to != NULL && at > to))
        return NULL;
    at = strchr(at + strlen(wanted), '"');
    assert_non_null(at);
    size = strcspn(at + 1, "\"");
    out = malloc(size + 1);
    memcpy(out, at + 1, size);
    out[size] = '\0';
    return out;
}

static struct bytes json_hex(const char *from, const char *to, const char *name)
{
    char *text = json_text(from, to, name);
    struct bytes bytes = text != NULL ? from_hex(text) : (struct bytes){calloc(1, 64), 0};
    free(text);
    return bytes;
}

static void start_side(struct lintelp_handshake *side, struct lintelp_pair *s, int initiator,
                       const char *from, const char *to)
{
    const char *role = initiator ? "init" : "resp";
    char name[32];
    struct bytes prologue, static_key, ephemeral, psk = {NULL, 0}, remote;
    struct lintelp_symmetric start;

    (void)snprintf(name, sizeof name, "%s_prologue", role);
    prologue = json_hex(from, to, name);
    (void)snprintf(name, sizeof name, "%s_static", role);
    static_key = json_hex(from, to, name);
    (void)snprintf(name, sizeof name, "%s_ephemeral", role);
    ephemeral = json_hex(from, to, name);
    (void)snprintf(name, sizeof name, "%s_psks", role);
    psk = json_hex(from, to, name);
    remote = json_hex(from, to, "init_remote_static");
    if (psk.size > 0) {
        lintelp_noise_start_nnpsk0(&start, prologue.data, prologue.size, psk.data);
        lintelp_handshake_initialize(side, &lintelp_pattern_nnpsk0, initiator, &start, NULL, NULL);
    } else {
        memcpy(s->secret, static_key.data, 32);
        assert_int_equal(lintelp_noise_public(s), 0);
        lintelp_noise_start_ik(&start, prologue.data, prologue.size, remote.data);
        lintelp_handshake_initialize(side, &lintelp_pattern_ik, initiator, &start, s,
                                     initiator ? remote.data : NULL);
    }
    memcpy(side->e.secret, ephemeral.data, 32);
    side->has_e = 1;
    free(prologue.data);
    free(static_key.data);
    free(ephemeral.data);
    free(psk.data);
    free(remote.data);
}

static void one_message(struct lintelp_handshake sides[2], struct lintelp_cipher keys[2][2],
                        unsigned n, struct bytes payload, struct bytes wire)
{
    uint8_t out[512], back[512];
    struct lintelp_handshake *writer = &sides[n % 2], *reader = &sides[1 - n % 2];

    if (n < 2) {
        assert_int_equal(lintelp_handshake_size(writer, payload.size), wire.size);
        assert_int_equal(lintelp_handshake_write_message(writer, out, payload.data, payload.size),
                         0);
        assert_memory_equal(out, wire.data, wire.size);
        assert_int_equal(lintelp_handshake_read_message(reader, back, wire.data, wire.size), 0);
        assert_memory_equal(back, payload.data, payload.size);
        return;
    }
    assert_int_equal(
        lintelp_cipher_encrypt(&keys[n % 2][n % 2], out, NULL, 0, payload.data, payload.size), 0);
    assert_memory_equal(out, wire.data, wire.size);
    assert_int_equal(
        lintelp_cipher_decrypt(&keys[1 - n % 2][n % 2], back, NULL, 0, wire.data, wire.size), 0);
    assert_memory_equal(back, payload.data, payload.size);
}

/* A vector lies between two places of the file: keys, then messages, sides taking turns. */
static void one_noise_vector(const char *from, const char *to)
{
    struct lintelp_handshake sides[2];
    struct lintelp_pair pairs[2];
    struct lintelp_cipher keys[2][2]; /* of initiator and responder: there and back */
    struct bytes hash = json_hex(from, to, "handshake_hash");
    const char *at = strstr(from, "\"messages\"");

    start_side(&sides[0], &pairs[0], 1, from, to);
    start_side(&sides[1], &pairs[1], 0, from, to);
    for (unsigned n = 0; (at = strstr(at, "\"payload\"")) != NULL && (to == NULL || at < to);
         n++, at++) {
        struct bytes payload = json_hex(at, to, "payload"), wire = json_hex(at, to, "ciphertext");
        if (n == 2) {
            for (int i = 0; i < 2; i++) {
                assert_memory_equal(sides[i].symmetric.h, hash.data, 32);
                lintelp_symmetric_split(&sides[i].symmetric, &keys[i][0], &keys[i][1]);
            }
        }
        one_message(sides, keys, n, payload, wire);
        free(payload.data);
        free(wire.data);
    }
    free(hash.data);
}

/* The file's third part: a key, and the one that follows it. */
static void one_rekey_vector(const char *from)
{
    struct bytes key = json_hex(from, NULL, "k"), rekeyed = json_hex(from, NULL, "rekeyed");
    struct lintelp_cipher cipher;

    assert_int_equal(key.size, 32);
    assert_int_equal(rekeyed.size, 32);
    lintelp_cipher_initialize_key(&cipher, key.data);
    lintelp_cipher_rekey(&cipher);
    assert_memory_equal(cipher.k, rekeyed.data, 32);
    free(key.data);
    free(rekeyed.data);
}

static void noise_agrees_with_published_vectors(void **state)
{
    const char *srcdir = getenv("srcdir");
    char path[1024];
    struct bytes file;
    unsigned count = 0;

    (void)state;
    (void)snprintf(path, sizeof path, "%s/../shared/vectors/noise.json",
                   srcdir != NULL ? srcdir : "..");
    file = from_file(path);
    if (file.data == NULL) {
        print_message("%s is not here\n", path);
        skip();
    }
    for (const char *at = (char *)file.data; (at = strstr(at, "\"protocol_name\"")) != NULL;
         count++) {
        const char *next = strstr(at + 1, "\"protocol_name\"");
        one_noise_vector(at, next);
        at++;
    }
    assert_int_equal(count, 2);
    assert_non_null(strstr((char *)file.data, "\"rekey\""));
    one_rekey_vector(strstr((char *)file.data, "\"rekey\""));
    free(file.data);
}

/* ---- the handshake --------------------------------------------------------------------------- */

static void both_sides_agree(int ik, enum lintel_seal_mode mode)
{
    struct talk talk = begin(ik, mode);
    uint8_t out[64];
    size_t size;

    assert_int_equal(talk.first->size, 16 + (ik ? 99 : 51));
    assert_int_equal(lintel_seal_state(talk.i), LINTEL_SEAL_I0);
    assert_int_equal(lintel_seal_state(talk.r), LINTEL_SEAL_R0);
    take_hello(talk.r, talk.first);
    assert_int_equal(lintel_seal_state(talk.r), LINTEL_SEAL_R1);
    talk.answer = hello(talk.r);
    assert_int_equal(talk.answer->size, 64);
    assert_null(lintel_seal_id(talk.r));
    assert_null(lintel_seal_peer_name(talk.r));
    assert_int_equal(lintel_seal_may_send(talk.r), 0);
    assert_int_equal(lintel_seal_put_record(talk.r, out, sizeof out, &size, "x", 1, 0, NULL),
                     LINTEL_E_USAGE);
    take_hello(talk.i, talk.answer);
    assert_int_equal(lintel_seal_state(talk.i), LINTEL_SEAL_I1);
    assert_int_equal(lintel_seal_due(talk.i), LINTEL_SEAL_DUE_RECORD);
    assert_int_equal(lintel_seal_may_send(talk.i), 1);
    assert_string_equal(lintel_seal_peer_name(talk.i), "the-server");
    talk.zero = record(talk.i, NULL, 0, 0);
    assert_int_equal(lintel_seal_due(talk.i), LINTEL_SEAL_DUE_NOTHING);
    take_record(talk.r, talk.zero, NULL, 0, 0);
    assert_int_equal(lintel_seal_state(talk.r), LINTEL_SEAL_R2);
    assert_string_equal(lintel_seal_peer_name(talk.r), ik ? "client-0" : "shared-0");
    assert_memory_equal(lintel_seal_id(talk.i), lintel_seal_id(talk.r), 32);
    assert_int_equal(lintel_seal_peer_key(talk.r) != NULL, ik);
    assert_true(lintel_seal_memory(talk.i) <= 512 && lintel_seal_memory(talk.r) <= 512);
    end(&talk);
}

static void handshake_gives_both_sides_the_same_session(void **state)
{
    (void)state;
    each_way(both_sides_agree);
}

/* A header is judged when it is whole, and before a byte of its body. */
static void handshake_judges_a_header_at_once(void **state)
{
    struct talk talk = begin(0, LINTEL_SEAL_ENCRYPT);
    struct lintel_seal_item item;
    struct lintel_error error;
    uint8_t wrong[16];

    (void)state;
    memcpy(wrong, talk.first->bytes, 16);
    wrong[15] ^= 1;
    for (size_t size = 0; size < 16; size++) {
        assert_int_equal(lintel_seal_next(talk.r, &item, wrong, size, &error), 0);
        assert_int_equal(item.need, 16);
    }
    assert_int_equal(lintel_seal_next(talk.r, &item, wrong, 16, &error), LINTEL_E_SEAL);
    end(&talk);
    talk = begin(0, LINTEL_SEAL_ENCRYPT);
    memcpy(wrong, "GET / HTTP/1.1\r\n", 16);
    assert_int_equal(lintel_seal_next(talk.r, &item, wrong, 16, &error), LINTEL_E_SEAL);
    assert_non_null(strstr(error.text, "(the bytes read \"GET / HTTP/1.1\")"));
    end(&talk);
    talk = begin(0, LINTEL_SEAL_ENCRYPT);
    talk.first->bytes[2] = 2;
    assert_int_equal(lintel_seal_next(talk.r, &item, talk.first->bytes, 16, &error), LINTEL_E_SEAL);
    assert_non_null(strstr(error.text, "version 2, this side speaks 1"));
    end(&talk);
}

/* ---- a whole session on tape ----------------------------------------------------------------- */

enum { RESPONDER, INITIATOR, MESSAGES = 6 };

/* What each side is told, one after the other, and the side as it was before each: sessions that
 * were copied, which only a test may do. */
struct tape {
    struct talk talk;
    struct sent *said[2][MESSAGES];
    struct lintel_seal *at[2][MESSAGES + 1];
    int count[2];
};

static struct lintel_seal *copy_session(const struct lintel_seal *seal)
{
    struct lintel_seal *copy = malloc(sizeof *copy);
    *copy = *seal;
    if (seal->handshake != NULL) {
        copy->handshake = malloc(sizeof *copy->handshake);
        *copy->handshake = *seal->handshake;
    }
    return copy;
}

static void say(struct tape *tape, int to, struct sent *sent)
{
    struct lintel_seal *seal = to == RESPONDER ? tape->talk.r : tape->talk.i;
    struct lintel_seal_item item;
    struct sent copy = *sent;
    int n = tape->count[to]++;

    tape->said[to][n] = sent;
    tape->at[to][n] = copy_session(seal);
    assert_int_equal(take(seal, &item, copy.bytes, copy.size), 1);
}

static void say_piece(struct tape *tape, int to, const char *piece, int last)
{
    struct lintel_seal *seal = to == RESPONDER ? tape->talk.i : tape->talk.r;
    say(tape, to, record(seal, piece, strlen(piece), last));
}

static struct tape *make_tape(int ik, enum lintel_seal_mode mode)
{
    struct tape *tape = calloc(1, sizeof *tape);

    tape->talk = begin(ik, mode);
    say(tape, RESPONDER, tape->talk.first);
    say(tape, INITIATOR, hello(tape->talk.r));
    tape->at[RESPONDER][1] = NULL;
    say_piece(tape, RESPONDER, "", 0);
    say_piece(tape, RESPONDER, "one", 0);
    say_piece(tape, INITIATOR, "alpha", 0);
    say_piece(tape, RESPONDER, "one", 0);
    say_piece(tape, INITIATOR, "beta", 0);
    say_piece(tape, RESPONDER, "two", 0);
    say_piece(tape, RESPONDER, "the end", 1);
    say_piece(tape, INITIATOR, "", 1);
    tape->at[RESPONDER][tape->count[RESPONDER]] = copy_session(tape->talk.r);
    tape->at[INITIATOR][tape->count[INITIATOR]] = copy_session(tape->talk.i);
    tape->talk.first = NULL;
    return tape;
}

static void free_tape(struct tape *tape)
{
    for (int side = 0; side < 2; side++) {
        for (int n = 0; n < tape->count[side]; n++)
            free(tape->said[side][n]);
        for (int n = 0; n <= tape->count[side]; n++)
            lintel_seal_free(tape->at[side][n]);
    }
    end(&tape->talk);
    free(tape);
}

/* Is the handshake done for a side that was told n messages? */
static int is_done(int side, int n)
{
    return n > (side == RESPONDER ? 1 : 0);
}

/* A side that was told n messages must refuse these bytes, in the way of its state. */
static void refuses_at(const struct tape *tape, int side, int n, const void *bytes, size_t size)
{
    struct lintel_seal *seal = copy_session(tape->at[side][n]);

    if (is_done(side, n))
        refuses_silently(seal, bytes, size);
    else
        refuses_unnamed(seal, bytes, size);
    lintel_seal_free(seal);
}

static void each_tape(void (*test)(const struct tape *tape))
{
    for (int ik = 0; ik <= 1; ik++)
        for (int mode = LINTEL_SEAL_MAC; mode <= LINTEL_SEAL_ENCRYPT; mode++) {
            struct tape *tape = make_tape(ik, (enum lintel_seal_mode)mode);
            test(tape);
            free_tape(tape);
        }
}

static void flip_all(const struct tape *tape)
{
    for (int side = 0; side < 2; side++)
        for (int n = 0; n < tape->count[side]; n++)
            for (size_t bit = 0; bit < 8 * tape->said[side][n]->size; bit++) {
                struct sent copy = *tape->said[side][n];
                copy.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
                refuses_at(tape, side, n, copy.bytes, copy.size);
            }
}

static void session_refuses_every_bit_changed_in_every_message(void **state)
{
    (void)state;
    each_tape(flip_all);
}

static void truncate_at(const struct tape *tape, int side, int n, size_t cut)
{
    struct lintel_seal *seal = copy_session(tape->at[side][n]);
    uint8_t *copy = guard_copy(tape->said[side][n]->bytes, cut), bye[64];
    struct lintel_seal_item item;

    assert_int_equal(take(seal, &item, copy, cut), 0);
    assert_true(item.need > cut && item.need <= tape->said[side][n]->size);
    assert_int_equal(lintel_seal_end(seal, cut, NULL), LINTEL_E_TRUNCATED);
    assert_int_equal(lintel_seal_put_bye(seal, bye, sizeof bye, 6), 0);
    is_dead(seal, LINTEL_E_TRUNCATED);
    guard_free(copy, cut);
    lintel_seal_free(seal);
    cases++;
}

static void truncate_all(const struct tape *tape)
{
    for (int side = 0; side < 2; side++) {
        for (int n = 0; n < tape->count[side]; n++)
            for (size_t cut = 0; cut < tape->said[side][n]->size; cut++)
                truncate_at(tape, side, n, cut);
        assert_int_equal(lintel_seal_end(tape->at[side][tape->count[side]], 0, NULL), LINTEL_E_END);
    }
}

static void session_tells_a_truncation_at_every_byte(void **state)
{
    (void)state;
    each_tape(truncate_all);
}

/* Every message of both directions in every place where it does not belong: dropped ones, repeated
 * ones, swapped ones, reflected ones, and one direction spliced into the other. */
static void misplace_all(const struct tape *tape)
{
    for (int side = 0; side < 2; side++)
        for (int n = 0; n <= tape->count[side]; n++)
            for (int from = 0; from < 2; from++)
                for (int m = 0; m < tape->count[from]; m++)
                    if (from != side || m != n)
                        refuses_at(tape, side, n, tape->said[from][m]->bytes,
                                   tape->said[from][m]->size);
}

static void session_refuses_every_message_in_every_wrong_place(void **state)
{
    (void)state;
    each_tape(misplace_all);
}

/* A recorded session with the same keys, played to another one: its first message verifies, and
 * there it ends. */
static void splice_all(const struct tape *tape)
{
    struct tape *other = make_tape(tape->talk.ik, tape->talk.mode);

    for (int side = 0; side < 2; side++)
        for (int n = 0; n <= tape->count[side]; n++)
            for (int from = 0; from < 2; from++)
                for (int m = 0; m < other->count[from]; m++)
                    if (n > 0 || m > 0 || from != RESPONDER || side != RESPONDER)
                        refuses_at(tape, side, n, other->said[from][m]->bytes,
                                   other->said[from][m]->size);
    free_tape(other);
}

static void session_refuses_every_message_of_another_session(void **state)
{
    (void)state;
    each_tape(splice_all);
}

static void replay(const struct tape *tape)
{
    struct lintel_seal *seal = session(tape->talk.server);
    struct lintel_seal_item item;
    struct sent *answer, copy = *tape->said[RESPONDER][0];
    uint8_t out[64];
    size_t size;

    assert_int_equal(take(seal, &item, copy.bytes, copy.size), 1);
    assert_int_equal(item.kind, LINTEL_SEAL_HELLO);
    assert_null(lintel_seal_peer_name(seal));
    assert_int_equal(lintel_seal_put_record(seal, out, sizeof out, &size, "x", 1, 0, NULL),
                     LINTEL_E_USAGE);
    /* Nothing is read until the answer is written. */
    copy = *tape->said[RESPONDER][1];
    assert_int_equal(take(seal, &item, copy.bytes, copy.size), 1);
    assert_int_equal(item.kind, LINTEL_SEAL_HELLO);
    assert_int_equal(item.used, 0);
    answer = hello(seal);
    assert_memory_not_equal(answer->bytes, tape->said[INITIATOR][0]->bytes, answer->size);
    assert_int_equal(lintel_seal_due(seal), LINTEL_SEAL_DUE_NOTHING);
    assert_int_equal(lintel_seal_may_send(seal), 0);
    refuses_unnamed(seal, tape->said[RESPONDER][1]->bytes, tape->said[RESPONDER][1]->size);
    free(answer);
    lintel_seal_free(seal);
}

static void session_replayed_gets_an_answer_and_no_more(void **state)
{
    (void)state;
    each_tape(replay);
}

static size_t plain(uint8_t *out, uint8_t flags, uint32_t type, uint32_t id, uint32_t length)
{
    memset(out, 0, 16 + (size_t)length);
    lintel_header_put(out, flags, type, id, length);
    return 16 + length;
}

/* Frames that anybody can make. A plain BYE is another story. */
static void forge_all(const struct tape *tape)
{
    static const struct {
        uint8_t flags;
        uint32_t type, id, length;
    } frames[] = {
        {0, 0, 0, 0},     {0, 7, 1, 5},     {1, 7, 1, 5},     {4, 7, 1, 5},  {9, 1, 0, 51},
        {8, 0, 0, 0},     {8, 1, 0, 48},    {8, 1, 0, 51},    {8, 1, 0, 99}, {8, 1, 0, 50},
        {8, 1, 1, 51},    {8, 2, 0, 0},     {8, 2, 9, 125},   {8, 3, 9, 0},  {8, 4, 1, 8},
        {8, 4, 0, 7},     {8, 4, 0, 9},     {8, 5, 0, 16},    {8, 5, 0, 17}, {8, 5, 0, 15},
        {8, 5, 1, 16},    {8, 5, 2, 32},    {8, 5, 0, 0},     {8, 6, 0, 4},  {8, 7, 0, 0},
        {0x0C, 5, 0, 32}, {0x88, 5, 0, 32}, {8, 5, 0, 65535},
    };
    uint8_t *out = malloc(ROOM);

    for (int side = 0; side < 2; side++)
        for (int n = 0; n <= tape->count[side]; n++)
            for (size_t f = 0; f < COUNT(frames); f++)
                refuses_at(
                    tape, side, n, out,
                    plain(out, frames[f].flags, frames[f].type, frames[f].id, frames[f].length));
    free(out);
}

static void session_refuses_every_forged_frame_in_every_state(void **state)
{
    (void)state;
    each_tape(forge_all);
}

static void forge_byes(const struct tape *tape)
{
    static const uint32_t reasons[] = {0, 1, 6, 3, 7, 9, 10, UINT32_MAX};
    struct lintel_seal_item item;
    struct lintel_error error;
    uint8_t out[64];

    for (int side = 0; side < 2; side++)
        for (int n = 0; n <= tape->count[side]; n++)
            for (size_t r = 0; r < COUNT(reasons); r++) {
                struct lintel_seal *seal;
                size_t size = plain(out, 8, LINTEL_BYE, 0, 8);
                lintel_put_u32be(out + 16, reasons[r]);
                lintel_put_u32be(out + 20, 77);
                if (is_done(side, n)) {
                    refuses_at(tape, side, n, out, size);
                    continue;
                }
                seal = copy_session(tape->at[side][n]);
                assert_int_equal(lintel_seal_next(seal, &item, out, size - 1, &error), 0);
                assert_int_equal(lintel_seal_next(seal, &item, out, size, &error),
                                 LINTEL_E_REFUSED);
                assert_ptr_equal(strstr(error.text, "the peer said, unauthenticated: "),
                                 error.text);
                assert_int_equal(lintel_seal_put_bye(seal, out, sizeof out, 6), 0);
                is_dead(seal, LINTEL_E_REFUSED);
                assert_null(lintel_seal_peer_name(seal));
                lintel_seal_free(seal);
                cases++;
            }
}

static void session_shows_a_plain_bye_before_the_handshake_is_done_and_never_after(void **state)
{
    (void)state;
    each_tape(forge_byes);
}

/* ---- who talks to whom ----------------------------------------------------------------------- */

static void two_initiators(int ik, enum lintel_seal_mode mode)
{
    struct talk a = begin(ik, mode), b = begin(ik, mode);
    refuses_unnamed(a.i, b.first->bytes, b.first->size);
    refuses_unnamed(b.i, b.first->bytes, b.first->size); /* its own, reflected */
    end(&a);
    end(&b);
}

static void handshake_refuses_two_initiators_and_an_echo(void **state)
{
    (void)state;
    each_way(two_initiators);
}

static void refuse_first(struct lintel_seal_keys *server, int ik, unsigned client, unsigned peer,
                         enum lintel_seal_mode mode)
{
    struct lintel_seal_keys *keys = client_keys(ik, client, peer, mode);
    struct lintel_seal *i = session(keys), *r = session(server);
    struct sent *first = hello(i);

    refuses_unnamed(r, first->bytes, first->size);
    free(first);
    lintel_seal_free(i);
    lintel_seal_free(r);
    lintel_seal_keys_free(keys);
}

static void handshake_refuses_who_may_not_talk(void **state)
{
    struct lintel_seal_keys *both = server_keys(2, 2, LINTEL_SEAL_MAC);
    struct lintel_seal_keys *shared = server_keys(2, 0, LINTEL_SEAL_MAC);
    struct lintel_seal_keys *ik = server_keys(0, 2, LINTEL_SEAL_MAC);

    (void)state;
    refuse_first(both, 0, 2, 0, LINTEL_SEAL_MAC);     /* another shared key */
    refuse_first(both, 1, 2, 0, LINTEL_SEAL_MAC);     /* a key that is not on the list */
    refuse_first(both, 1, 0, 1, LINTEL_SEAL_MAC);     /* for another server */
    refuse_first(both, 0, 0, 0, LINTEL_SEAL_ENCRYPT); /* the other mode */
    refuse_first(both, 1, 0, 0, LINTEL_SEAL_ENCRYPT);
    refuse_first(shared, 1, 0, 0, LINTEL_SEAL_MAC); /* another pattern */
    refuse_first(ik, 0, 0, 0, LINTEL_SEAL_MAC);
    lintel_seal_keys_free(both);
    lintel_seal_keys_free(shared);
    lintel_seal_keys_free(ik);
}

static void handshake_finds_each_of_sixteen_shared_keys(void **state)
{
    struct lintel_seal_keys *server = server_keys(16, 0, LINTEL_SEAL_ENCRYPT);

    (void)state;
    for (unsigned n = 0; n < 16; n++) {
        struct lintel_seal_keys *keys = client_keys(0, n, 0, LINTEL_SEAL_ENCRYPT);
        struct talk talk = {keys, NULL, session(keys),      session(server), NULL, NULL,
                            NULL, 0,    LINTEL_SEAL_ENCRYPT};
        char name[32];
        talk.first = hello(talk.i);
        take_hello(talk.r, talk.first);
        talk.answer = hello(talk.r);
        take_hello(talk.i, talk.answer);
        talk.zero = record(talk.i, "at once", 7, 0);
        take_record(talk.r, talk.zero, "at once", 7, 0);
        (void)snprintf(name, sizeof name, "shared-%u", n);
        assert_string_equal(lintel_seal_peer_name(talk.r), name);
        end(&talk);
    }
    refuse_first(server, 0, 16, 0, LINTEL_SEAL_ENCRYPT);
    lintel_seal_keys_free(server);
}

/* The points of small order, and the same numbers written otherwise. */
static const char *const low_order[] = {
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
    "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
};

/* A first message with this ephemeral, by somebody who holds the shared key. */
static size_t forge_nnpsk0(uint8_t *out, struct lintelp_symmetric *symmetric,
                           const struct lintel_seal_keys *keys, const uint8_t point[32])
{
    size_t size = plain(out, 8, LINTEL_HELLO, 0, 51);

    out[16] = 1;
    out[17] = 1;
    out[18] = LINTEL_SEAL_ENCRYPT;
    memcpy(out + 19, point, 32);
    *symmetric = keys->nnpsk0[0];
    lintelp_symmetric_mix_hash(symmetric, point, 32);
    lintelp_symmetric_mix_key(symmetric, point);
    assert_int_equal(lintelp_symmetric_encrypt_and_hash(symmetric, out + 51, NULL, 0), 0);
    return size;
}

static void refuse_low_order_nnpsk0(const uint8_t point[32])
{
    static const uint8_t zeros[32];
    struct talk talk = begin(0, LINTEL_SEAL_ENCRYPT);
    struct lintelp_symmetric symmetric;
    struct lintel_seal_item item;
    uint8_t out[128];
    size_t size = forge_nnpsk0(out, &symmetric, talk.client, point);
    int rc = take(talk.r, &item, out, size);

    /* To the responder, which meets it when it answers. */
    if (rc == 1) {
        assert_int_equal(lintel_seal_put_hello(talk.r, out, sizeof out, &size, NULL),
                         LINTEL_E_SEAL);
        cases++;
    }
    is_refused_unnamed(talk.r);
    /* To the initiator, by somebody who knows that the DH gives zeros. */
    symmetric = talk.i->handshake->symmetric;
    size = plain(out, 8, LINTEL_HELLO, 0, 48);
    memcpy(out + 16, point, 32);
    lintelp_symmetric_mix_hash(&symmetric, point, 32);
    lintelp_symmetric_mix_key(&symmetric, point);
    lintelp_symmetric_mix_key(&symmetric, zeros);
    assert_int_equal(lintelp_symmetric_encrypt_and_hash(&symmetric, out + 48, NULL, 0), 0);
    refuses_unnamed(talk.i, out, size);
    end(&talk);
}

/* A first message of somebody who holds the key, in the clothes of an answer, to an initiator that
 * has said nothing yet. */
static void handshake_takes_no_first_message_for_an_answer(void **state)
{
    struct lintel_seal_keys *keys = client_keys(0, 0, 0, LINTEL_SEAL_ENCRYPT);
    struct lintel_seal *seal = session(keys);
    struct lintelp_symmetric symmetric;
    uint8_t out[128], point[32];

    (void)state;
    public_of(point, "somebody", 0);
    (void)forge_nnpsk0(out, &symmetric, keys, point);
    memmove(out + 16, out + 19, 48);
    lintel_header_put(out, LINTEL_CONTROL, LINTEL_HELLO, 0, 48);
    refuses(seal, out, 64);
    assert_int_equal(lintel_seal_put_bye(seal, out, sizeof out, 6), 0);
    is_dead(seal, LINTEL_E_SEAL);
    lintel_seal_free(seal);
    lintel_seal_keys_free(keys);
}

/* The same for IK: as ephemeral, and as static key, which comes encrypted. */
static void refuse_low_order_ik(const uint8_t point[32])
{
    struct talk talk = begin(1, LINTEL_SEAL_ENCRYPT);
    struct lintelp_pair pair;
    uint8_t out[128];
    struct lintel_seal *r = session(talk.server);
    struct lintelp_handshake forged;
    size_t size = plain(out, 8, LINTEL_HELLO, 0, 99);

    memcpy(out + 16, talk.first->bytes + 16, 99);
    memcpy(out + 19, point, 32);
    refuses_unnamed(r, out, size);
    lintel_seal_free(r);
    pair = talk.client->own;
    memcpy(pair.public, point, 32);
    lintelp_handshake_initialize(&forged, &lintelp_pattern_ik, 1, &talk.client->ik, &pair,
                                 talk.client->peers[0].key);
    assert_int_equal(lintelp_handshake_write_message(&forged, out + 19, NULL, 0), 0);
    refuses_unnamed(talk.r, out, size);
    end(&talk);
}

static void handshake_refuses_points_of_low_order(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(low_order); i++) {
        struct bytes point = from_hex(low_order[i]);
        refuse_low_order_nnpsk0(point.data);
        refuse_low_order_ik(point.data);
        point.data[31] |= 0x80;
        refuse_low_order_nnpsk0(point.data);
        refuse_low_order_ik(point.data);
        free(point.data);
    }
}

/* The same point as our own ephemeral, in an answer that is right in all else. */
static void handshake_refuses_its_own_ephemeral(void **state)
{
    struct talk talk = begin(0, LINTEL_SEAL_ENCRYPT);
    uint8_t secret[32], out[128];
    size_t size;

    (void)state;
    take_hello(talk.r, talk.first);
    memcpy(secret, talk.i->handshake->e.secret, 32);
    lintelp_seal_test_ephemeral(talk.r, secret);
    assert_int_equal(lintel_seal_put_hello(talk.r, out, sizeof out, &size, NULL), LINTEL_E_SEAL);
    is_refused_unnamed(talk.r);
    end(&talk);
    talk = begin(0, LINTEL_SEAL_ENCRYPT);
    take_hello(talk.r, talk.first);
    memcpy(talk.r->handshake->e.secret, talk.i->handshake->e.secret, 32);
    talk.r->handshake->has_e = 1;
    /* The responder's own check is put out of action. */
    memcpy(secret, talk.r->handshake->re, 32);
    {
        struct lintelp_symmetric *s = &talk.r->handshake->symmetric;
        uint8_t shared[32];
        size = plain(out, 8, LINTEL_HELLO, 0, 48);
        memcpy(out + 16, secret, 32);
        lintelp_symmetric_mix_hash(s, secret, 32);
        lintelp_symmetric_mix_key(s, secret);
        assert_int_equal(crypto_scalarmult_curve25519(shared, talk.r->handshake->e.secret, secret),
                         0);
        lintelp_symmetric_mix_key(s, shared);
        assert_int_equal(lintelp_symmetric_encrypt_and_hash(s, out + 48, NULL, 0), 0);
    }
    refuses_unnamed(talk.i, out, size);
    end(&talk);
}

static void flip_top_bit(int ik, enum lintel_seal_mode mode)
{
    struct tape *tape = make_tape(ik, mode);
    tape->said[RESPONDER][0]->bytes[19 + 31] ^= 0x80;
    refuses_at(tape, RESPONDER, 0, tape->said[RESPONDER][0]->bytes, tape->said[RESPONDER][0]->size);
    tape->said[INITIATOR][0]->bytes[16 + 31] ^= 0x80;
    refuses_at(tape, INITIATOR, 0, tape->said[INITIATOR][0]->bytes, tape->said[INITIATOR][0]->size);
    free_tape(tape);
}

static void handshake_binds_bit_255_of_an_ephemeral(void **state)
{
    (void)state;
    each_way(flip_top_bit);
}

/* ---- one plain BYE --------------------------------------------------------------------------- */

static void bye_is_said_once_for_four_reasons_before_the_handshake_is_done(void **state)
{
    uint8_t out[64];

    (void)state;
    for (int reason = -1; reason < 12; reason++) {
        struct talk talk = greet(0, LINTEL_SEAL_MAC);
        int may = reason == 1 || reason == 3 || reason == 6 || reason == 7;
        assert_int_equal(lintel_seal_put_bye(talk.r, out, sizeof out, reason),
                         may ? 1 : LINTEL_E_USAGE);
        if (may) {
            assert_int_equal(lintel_get_u32be(out + 16), reason);
            assert_int_equal(lintel_seal_put_bye(talk.r, out, sizeof out, reason), 0);
            is_dead(talk.r, LINTEL_E_CLOSED);
        }
        end(&talk);
    }
    {
        struct talk talk = run(1, LINTEL_SEAL_MAC);
        struct lintel_seal *early = session(talk.client);
        assert_int_equal(lintel_seal_put_bye(talk.i, out, sizeof out, 6), 0);
        assert_int_equal(lintel_seal_put_bye(talk.r, out, sizeof out, 6), 0);
        assert_int_equal(lintel_seal_put_bye(early, out, sizeof out, 6), 0);
        assert_int_equal(lintel_seal_error(early, NULL), LINTEL_OK);
        assert_int_equal(lintel_seal_put_bye(NULL, out, sizeof out, 6), LINTEL_E_USAGE);
        lintel_seal_free(early);
        early = session(talk.server);
        assert_int_equal(lintel_seal_put_bye(early, out, 23, 6), LINTEL_E_SPACE);
        assert_int_equal(lintel_seal_put_bye(early, out, 24, 6), 1);
        lintel_seal_free(early);
        end(&talk);
    }
}

/* ---- records --------------------------------------------------------------------------------- */

static const size_t sizes[] = {1,   2,   15,   16,   17,    63,    64,    65,
                               255, 256, 1000, 4096, 16384, 32768, 65518, LINTEL_SEAL_PIECE_MAX};

static void records_of_all_sizes(int ik, enum lintel_seal_mode mode)
{
    struct talk talk = run(ik, mode);
    uint8_t *piece = malloc(LINTEL_SEAL_PIECE_MAX + 1), *place = malloc(LINTEL_SEAL_RECORD_MAX);
    size_t size;

    for (size_t i = 0; i <= LINTEL_SEAL_PIECE_MAX; i++)
        piece[i] = (uint8_t)(i * 7 >> 3);
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct sent *up = record(talk.i, piece, sizes[i], 0),
                    *down = record(talk.r, piece, sizes[i], 0);
        if (mode == LINTEL_SEAL_MAC)
            assert_memory_equal(up->bytes + 16, piece, sizes[i]);
        else if (sizes[i] >= 15) /* one byte is itself again once in 256 times */
            assert_memory_not_equal(up->bytes + 16, piece, sizes[i]);
        take_record(talk.r, up, piece, sizes[i], 0);
        take_record(talk.i, down, piece, sizes[i], 0);
        free(up);
        free(down);
        /* In the place where it goes. */
        memcpy(place + 16, piece, sizes[i]);
        assert_int_equal(lintel_seal_put_record(talk.i, place, LINTEL_SEAL_OVERHEAD + sizes[i],
                                                &size, place + 16, sizes[i], 0, NULL),
                         LINTEL_OK);
        up = calloc(1, sizeof *up);
        memcpy(up->bytes, place, size);
        up->size = size;
        take_record(talk.r, up, piece, sizes[i], 0);
        free(up);
    }
    assert_int_equal(lintel_seal_put_record(talk.i, place, ROOM, &size, piece,
                                            LINTEL_SEAL_PIECE_MAX + 1, 0, NULL),
                     LINTEL_E_TOO_LARGE);
    assert_int_equal(lintel_seal_put_record(talk.i, place, 32 + 9, &size, piece, 10, 0, NULL),
                     LINTEL_E_SPACE);
    assert_int_equal(lintel_seal_put_record(talk.i, place, ROOM, &size, piece, 0, 0, NULL),
                     LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_error(talk.i, NULL), LINTEL_OK);
    free(piece);
    free(place);
    end(&talk);
}

static void record_carries_pieces_of_every_size(void **state)
{
    (void)state;
    each_way(records_of_all_sizes);
}

static void last_records(int ik, enum lintel_seal_mode mode)
{
    struct talk talk = greet(ik, mode);
    struct lintel_seal_item item;
    struct sent *last;
    uint8_t out[64];
    size_t size;

    /* Record 0 may be the last. */
    take_hello(talk.i, talk.answer);
    talk.zero = record(talk.i, "all", 3, 1);
    assert_int_equal(lintel_seal_may_send(talk.i), 0);
    assert_int_equal(lintel_seal_put_record(talk.i, out, sizeof out, &size, "x", 1, 0, NULL),
                     LINTEL_E_CLOSED);
    take_record(talk.r, talk.zero, "all", 3, 1);
    assert_int_equal(take(talk.r, &item, NULL, 0), 0);
    assert_int_equal(lintel_seal_end(talk.r, 0, NULL), LINTEL_E_END);
    assert_int_equal(lintel_seal_may_send(talk.r), 1);
    /* The other direction goes on. */
    last = record(talk.r, "still", 5, 0);
    take_record(talk.i, last, "still", 5, 0);
    free(last);
    assert_int_equal(lintel_seal_end(talk.i, 0, NULL), LINTEL_E_TRUNCATED);
    /* One byte behind the last record is too much. */
    assert_int_equal(take(talk.r, &item, out, 1), LINTEL_E_SEAL);
    is_dead(talk.r, LINTEL_E_SEAL);
    end(&talk);
}

static void record_that_is_the_last_ends_its_direction_alone(void **state)
{
    (void)state;
    each_way(last_records);
}

/* A record made by somebody who has the key, and does not keep the rules. */
static size_t forge_record(uint8_t *out, struct lintel_seal *from, uint32_t id, const void *piece,
                           size_t size)
{
    size_t whole = plain(out, 8, LINTEL_SEALED, id, (uint32_t)size + 16);

    if (size > 0)
        memcpy(out + 16, piece, size);
    if (from->keys->mode == LINTEL_SEAL_ENCRYPT)
        (void)lintelp_cipher_encrypt(&from->out, out + 16, out, 16, out + 16, size);
    else
        (void)lintelp_cipher_encrypt(&from->out, out + 16 + size, out, 16 + size, NULL, 0);
    return whole;
}

static void empty_records(int ik, enum lintel_seal_mode mode)
{
    struct talk talk = run(ik, mode);
    struct lintel_seal_item item;
    uint8_t out[64];
    size_t size = forge_record(out, talk.i, 0, NULL, 0);

    /* Refused by its header. */
    assert_int_equal(take(talk.r, &item, out, 16), LINTEL_E_SEAL);
    is_dead(talk.r, LINTEL_E_SEAL);
    size = forge_record(out, talk.r, 0, NULL, 0);
    refuses_silently(talk.i, out, size);
    end(&talk);
}

static void record_may_not_be_empty_in_the_middle(void **state)
{
    (void)state;
    each_way(empty_records);
}

/* A last record inside of a frame: the stream above says so, and then both directions are over. */
static void record_that_is_the_last_inside_a_frame_is_a_truncation(void **state)
{
    struct talk talk = run(0, LINTEL_SEAL_ENCRYPT);
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    struct lintel_seal_item item;
    struct sent *last;
    uint8_t inner[24];
    size_t size = plain(inner, 0, 7, 1, 8);

    (void)state;
    last = record(talk.i, inner, size - 1, 1);
    assert_int_equal(take(talk.r, &item, last->bytes, last->size), 1);
    assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, item.piece, item.size), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    assert_int_equal(lintel_decoder_end(decoder), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), LINTEL_E_TRUNCATED);
    lintel_seal_fail(talk.r, LINTEL_E_TRUNCATED, "the last record ends inside of a frame");
    is_dead(talk.r, LINTEL_E_TRUNCATED);
    lintel_decoder_free(decoder);
    free(last);
    end(&talk);
}

/* ---- rekey ----------------------------------------------------------------------------------- */

/* Around the boundary in one direction, with the other one ended or going on. */
static void rekey_around(int ik, enum lintel_seal_mode mode)
{
    for (int up = 0; up <= 1; up++) {
        struct talk talk = run(ik, mode);
        struct lintel_seal *from = up ? talk.i : talk.r, *to = up ? talk.r : talk.i;
        uint8_t before[32], other[32];
        struct sent *sent = record(to, "", 0, 1);

        take_record(from, sent, "", 0, 1);
        free(sent);
        lintelp_seal_test_numbers(from, from->in.n, SEAL_REKEY_EVERY - 2);
        lintelp_seal_test_numbers(to, SEAL_REKEY_EVERY - 2, to->out.n);
        memcpy(before, from->out.k, 32);
        memcpy(other, from->in.k, 32);
        for (unsigned n = 0; n < 5; n++) {
            int changed;
            sent = record(from, "piece", 5, n == 4);
            take_record(to, sent, "piece", 5, n == 4);
            free(sent);
            changed = memcmp(before, from->out.k, 32) != 0;
            assert_int_equal(changed, n >= 1);
            assert_memory_equal(from->out.k, to->in.k, 32);
            assert_int_equal(from->out.n, SEAL_REKEY_EVERY - 1 + n);
        }
        assert_memory_equal(other, from->in.k, 32);
        end(&talk);
    }
}

static void rekey_comes_right_behind_the_boundary_in_each_direction(void **state)
{
    (void)state;
    each_way(rekey_around);
}

static void rekey_is_that_of_noise(void **state)
{
    struct talk talk = run(0, LINTEL_SEAL_ENCRYPT);
    static const uint8_t zeros[32];
    uint8_t nonce[12] = {0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255};
    uint8_t expected[48];
    struct sent *sent;

    (void)state;
    /* Also where the record was the last. */
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(expected, NULL, zeros, 32, NULL, 0, NULL, nonce,
                                                    talk.i->out.k);
    lintelp_seal_test_rekey(talk.i, 2);
    lintelp_seal_test_rekey(talk.r, 2);
    sent = record(talk.i, "last", 4, 1);
    take_record(talk.r, sent, "last", 4, 1);
    assert_memory_equal(talk.i->out.k, expected, 32);
    assert_memory_equal(talk.r->in.k, expected, 32);
    free(sent);
    end(&talk);
}

/* A record over the boundary under the old key, and one before it under the new one. */
static void rekey_early_or_late_is_refused(void **state)
{
    (void)state;
    for (int late = 0; late <= 1; late++) {
        struct talk talk = run(0, LINTEL_SEAL_ENCRYPT);
        struct sent *sent;
        lintelp_seal_test_rekey(talk.i, late ? 1000 : 2);
        lintelp_seal_test_rekey(talk.r, late ? 2 : 1000);
        sent = record(talk.i, "same", 4, 0);
        take_record(talk.r, sent, "same", 4, 0);
        free(sent);
        sent = record(talk.i, "other", 5, 0);
        refuses_silently(talk.r, sent->bytes, sent->size);
        free(sent);
        end(&talk);
    }
}

static void record_numbers_end_before_the_last_one(void **state)
{
    static const uint8_t last_nonce[12] = {0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255};
    struct talk talk = run(0, LINTEL_SEAL_ENCRYPT);
    struct sent *sent;
    uint8_t out[64];
    size_t size;

    (void)state;
    lintelp_seal_test_numbers(talk.i, talk.i->in.n, UINT64_MAX - 1);
    lintelp_seal_test_numbers(talk.r, UINT64_MAX - 1, talk.r->out.n);
    sent = record(talk.i, "x", 1, 0);
    take_record(talk.r, sent, "x", 1, 0);
    assert_int_equal(lintel_seal_put_record(talk.i, out, sizeof out, &size, "x", 1, 0, NULL),
                     LINTEL_E_SEAL);
    is_dead(talk.i, LINTEL_E_SEAL);
    /* Nor is one that somebody who has the key made under the number that is left. */
    assert_int_equal(talk.r->in.n, UINT64_MAX);
    (void)plain(out, 8, LINTEL_SEALED, 0, 17);
    (void)crypto_aead_chacha20poly1305_ietf_encrypt(out + 16, NULL, (const uint8_t *)"x", 1, out,
                                                    16, NULL, last_nonce, talk.r->in.k);
    refuses_silently(talk.r, out, 33);
    free(sent);
    end(&talk);
}

/* ---- memory and misuse ----------------------------------------------------------------------- */

/* Every block must be zeros when it is given back. */
struct clean {
    struct lintel_allocator allocator;
    size_t size[8];
    void *block[8];
    int freed;
};

static void *clean_resize(void *user, void *ptr, size_t size)
{
    struct clean *clean = user;

    for (size_t i = 0; i < COUNT(clean->block); i++)
        if (clean->block[i] == ptr) {
            if (size == 0) {
                assert_true(sodium_is_zero(ptr, clean->size[i]));
                clean->block[i] = NULL;
                clean->freed++;
                free(ptr);
                return NULL;
            }
            clean->size[i] = size;
            return clean->block[i] = malloc(size);
        }
    fail();
    return NULL;
}

static void session_leaves_nothing_secret_behind(void **state)
{
    (void)state;
    for (int fails = 0; fails <= 1; fails++) {
        struct clean clean = {.allocator = {clean_resize, &clean}};
        struct talk talk = begin(1, LINTEL_SEAL_ENCRYPT);
        lintel_seal_free(talk.r);
        assert_int_equal(lintel_seal_new(&talk.r, talk.server, &clean.allocator, NULL), LINTEL_OK);
        talk.first->bytes[114] ^= (uint8_t)fails;
        if (fails) {
            refuses_unnamed(talk.r, talk.first->bytes, talk.first->size);
        } else {
            take_hello(talk.r, talk.first);
            talk.answer = hello(talk.r);
        }
        assert_int_equal(clean.freed, 1);
        lintel_seal_free(talk.r);
        assert_int_equal(clean.freed, 2);
        talk.r = NULL;
        end(&talk);
    }
}

static void session_new_survives_every_failing_allocation(void **state)
{
    struct lintel_seal_keys *keys = server_keys(1, 1, LINTEL_SEAL_MAC);
    struct failing failing;
    struct lintel_seal *seal;
    long n;

    (void)state;
    for (n = 1;; n++) {
        failing_init(&failing);
        failing.fail_at = n;
        if (lintel_seal_new(&seal, keys, &failing.allocator, NULL) == LINTEL_OK)
            break;
        assert_null(seal);
        assert_int_equal(failing.blocks, 0);
        assert_true(n < 10);
    }
    assert_int_equal(n, 3);
    /* Nothing else allocates. */
    failing.fail_at = 1;
    failing.for_good = 1;
    {
        struct talk talk = {client_keys(1, 0, 0, LINTEL_SEAL_MAC),
                            keys,
                            NULL,
                            seal,
                            NULL,
                            NULL,
                            NULL,
                            1,
                            LINTEL_SEAL_MAC};
        talk.i = session(talk.client);
        talk.first = hello(talk.i);
        take_hello(seal, talk.first);
        talk.answer = hello(seal);
        take_hello(talk.i, talk.answer);
        talk.zero = record(talk.i, NULL, 0, 0);
        take_record(seal, talk.zero, NULL, 0, 0);
        assert_true(failing.live <= 512);
        end(&talk);
    }
    assert_int_equal(failing.blocks, 0);
}

static void session_answers_misuse(void **state)
{
    struct talk talk = greet(0, LINTEL_SEAL_MAC);
    struct lintel_seal_item item;
    struct lintel_seal *seal;
    uint8_t out[128];
    size_t size;

    (void)state;
    assert_int_equal(lintel_seal_new(NULL, talk.client, NULL, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_new(&seal, NULL, NULL, NULL), LINTEL_E_USAGE);
    lintel_seal_free(NULL);
    lintel_seal_keys_free(NULL);
    lintel_seal_fail(NULL, LINTEL_E_SEAL, NULL);
    assert_int_equal(lintel_seal_next(NULL, &item, out, 1, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_next(talk.i, NULL, out, 1, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_next(talk.i, &item, NULL, 1, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_end(NULL, 0, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_put_hello(NULL, out, 128, &size, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_put_hello(talk.i, out, 128, &size, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_put_record(NULL, out, 128, &size, "", 0, 0, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_put_record(talk.i, out, 128, &size, "x", 1, 0, NULL),
                     LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_error(talk.i, NULL), LINTEL_OK);
    assert_int_equal(lintel_seal_keys_role(talk.client), LINTEL_SEAL_INITIATOR);
    assert_int_equal(lintel_seal_mode(talk.i), LINTEL_SEAL_MAC);
    seal = session(talk.client);
    assert_int_equal(lintel_seal_put_hello(seal, out, 66, &size, NULL), LINTEL_E_SPACE);
    assert_int_equal(lintel_seal_put_hello(seal, out, 67, &size, NULL), LINTEL_OK);
    lintel_seal_fail(seal, LINTEL_E_TIMEOUT, NULL);
    is_dead(seal, LINTEL_E_TIMEOUT);
    /* An answer before the question. */
    lintel_seal_free(seal);
    seal = session(talk.client);
    refuses(seal, talk.answer->bytes, talk.answer->size);
    lintel_seal_free(seal);
    end(&talk);
}

static void hostile_cases_were_many(void **state)
{
    (void)state;
    print_message("%lu hostile cases, all refused\n", cases);
    assert_true(cases >= 2000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(noise_agrees_with_published_vectors),
        cmocka_unit_test(handshake_gives_both_sides_the_same_session),
        cmocka_unit_test(handshake_judges_a_header_at_once),
        cmocka_unit_test(session_refuses_every_bit_changed_in_every_message),
        cmocka_unit_test(session_tells_a_truncation_at_every_byte),
        cmocka_unit_test(session_refuses_every_message_in_every_wrong_place),
        cmocka_unit_test(session_refuses_every_message_of_another_session),
        cmocka_unit_test(session_replayed_gets_an_answer_and_no_more),
        cmocka_unit_test(session_refuses_every_forged_frame_in_every_state),
        cmocka_unit_test(session_shows_a_plain_bye_before_the_handshake_is_done_and_never_after),
        cmocka_unit_test(handshake_refuses_two_initiators_and_an_echo),
        cmocka_unit_test(handshake_refuses_who_may_not_talk),
        cmocka_unit_test(handshake_finds_each_of_sixteen_shared_keys),
        cmocka_unit_test(handshake_refuses_points_of_low_order),
        cmocka_unit_test(handshake_takes_no_first_message_for_an_answer),
        cmocka_unit_test(handshake_refuses_its_own_ephemeral),
        cmocka_unit_test(handshake_binds_bit_255_of_an_ephemeral),
        cmocka_unit_test(bye_is_said_once_for_four_reasons_before_the_handshake_is_done),
        cmocka_unit_test(record_carries_pieces_of_every_size),
        cmocka_unit_test(record_that_is_the_last_ends_its_direction_alone),
        cmocka_unit_test(record_may_not_be_empty_in_the_middle),
        cmocka_unit_test(record_that_is_the_last_inside_a_frame_is_a_truncation),
        cmocka_unit_test(rekey_comes_right_behind_the_boundary_in_each_direction),
        cmocka_unit_test(rekey_is_that_of_noise),
        cmocka_unit_test(rekey_early_or_late_is_refused),
        cmocka_unit_test(record_numbers_end_before_the_last_one),
        cmocka_unit_test(session_leaves_nothing_secret_behind),
        cmocka_unit_test(session_new_survives_every_failing_allocation),
        cmocka_unit_test(session_answers_misuse),
        cmocka_unit_test(hostile_cases_were_many),
    };
    if (sodium_init() < 0)
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
