#include "seal/seal_state.h"
#include "core/text.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define BASE64_SIZE    44 /* characters of a key */
#define FILE_NAME_SEEN 100

/* A text that is read line by line. */
struct reader {
    const char *at, *end; /* what is left */
    const struct lintel_seal_text *text;
    uint32_t line; /* the last one read, from 1 */
    struct lintel_error *error;
};

int lintelp_seal_start(struct lintel_error *error)
{
    if (sodium_init() < 0)
        return lintelp_fail(error, LINTEL_E_SYSTEM, 0, "libsodium does not start");
    return LINTEL_OK;
}

void lintelp_seal_prologue(uint8_t out[SEAL_PROLOGUE_SIZE], int pattern, int mode)
{
    memcpy(out, "lintel/1", 8);
    out[8] = (uint8_t)pattern;
    out[9] = SEAL_CIPHER;
    out[10] = (uint8_t)mode;
}

/* ---- errors ---------------------------------------------------------------------------------- */

/* "line 3 of "FILE": SENTENCE"; of a long path the end is what tells files apart. */
static int refuse(const struct reader *reader, int status, uint32_t line, const char *sentence)
{
    struct lintelp_text text = lintelp_error(reader->error, status, 0);
    const char *name = reader->text->name;
    size_t size = name != NULL ? strlen(name) : 0;

    if (line > 0) {
        lintelp_text_str(&text, "line ");
        lintelp_text_u64(&text, line);
    }
    if (size > 0) {
        size_t skipped = size > FILE_NAME_SEEN ? size - FILE_NAME_SEEN : 0;
        lintelp_text_str(&text, line > 0 ? " of " : "");
        lintelp_text_str(&text, skipped > 0 ? "..." : "");
        lintelp_text_quote(&text, name + skipped, size - skipped);
    }
    lintelp_text_str(&text, line > 0 || size > 0 ? ": " : "");
    lintelp_text_str(&text, sentence);
    return status;
}

/* ---- lines ----------------------------------------------------------------------------------- */

static int is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct reader read_text(const struct lintel_seal_text *text, struct lintel_error *error)
{
    struct reader reader = {text->bytes, text->bytes, text, 0, error};
    if (text->size > 0)
        reader.end += text->size;
    return reader;
}

/* The next line without its end, comment and blanks behind it; 0: there is none. */
static int next_line(struct reader *reader, const char **line, size_t *size)
{
    const char *newline;
    size_t n = 0, whole;

    if (reader->at == reader->end)
        return 0;
    whole = (size_t)(reader->end - reader->at);
    newline = memchr(reader->at, '\n', whole);
    if (newline != NULL)
        whole = (size_t)(newline - reader->at);
    *line = reader->at;
    reader->at += whole + (newline != NULL);
    reader->line++;
    if (whole > 0 && (*line)[whole - 1] == '\r')
        whole--;
    while (n < whole && ((*line)[n] != '#' || (n > 0 && !is_blank((*line)[n - 1]))))
        n++;
    while (n > 0 && is_blank((*line)[n - 1]))
        n--;
    *size = n;
    return 1;
}

static int read_name(const struct reader *reader, struct lintelp_seal_entry *entry,
                     const char *name, size_t size)
{
    if (size > LINTEL_SEAL_NAME_MAX)
        return refuse(reader, LINTEL_E_SYNTAX, reader->line, "a name over 64 characters");
    for (size_t i = 0; i < size; i++) {
        if (is_blank(name[i]))
            return refuse(reader, LINTEL_E_SYNTAX, reader->line,
                          "more than a key and a name, which has no blanks");
        if (name[i] < '!' || name[i] > '~')
            return refuse(reader, LINTEL_E_SYNTAX, reader->line,
                          "a name that is not printable ASCII");
        entry->name[i] = name[i];
    }
    entry->name[size] = '\0';
    return 1;
}

/* 1: *entry is the next key; 0: there is none. */
static int next_entry(struct reader *reader, struct lintelp_seal_entry *entry)
{
    const char *line, *end;
    size_t size = 0, got, skip = BASE64_SIZE;

    while (size == 0)
        if (!next_line(reader, &line, &size))
            return 0;
    entry->line = reader->line;
    if (size < BASE64_SIZE || (size > BASE64_SIZE && !is_blank(line[BASE64_SIZE])) ||
        sodium_base642bin(entry->key, NOISE_KEY, line, BASE64_SIZE, NULL, &got, &end,
                          sodium_base64_VARIANT_ORIGINAL) != 0 ||
        got != NOISE_KEY || end != line + BASE64_SIZE)
        return refuse(reader, LINTEL_E_SYNTAX, reader->line,
                      "does not begin with a key, 44 characters of base64");
    while (skip < size && is_blank(line[skip]))
        skip++;
    return read_name(reader, entry, line + skip, size - skip);
}

/* ---- what is refused of keys that can be read ------------------------------------------------ */

static int check_secret(const struct reader *reader, const struct lintelp_seal_entry *entry)
{
    if (sodium_is_zero(entry->key, NOISE_KEY))
        return refuse(reader, LINTEL_E_RANGE, entry->line, "a key of zeros");
    return LINTEL_OK;
}

static int check_public(const struct reader *reader, const struct lintelp_pair *own,
                        const struct lintelp_seal_entry *entry)
{
    uint8_t shared[NOISE_KEY];
    int rc;

    if ((entry->key[NOISE_KEY - 1] & 0x80) != 0)
        return refuse(reader, LINTEL_E_RANGE, entry->line, "a public key with bit 255 set");
    if (memcmp(entry->key, own->public, NOISE_KEY) == 0)
        return refuse(reader, LINTEL_E_RANGE, entry->line, "this side's own public key");
    rc = crypto_scalarmult_curve25519(shared, own->secret, entry->key);
    sodium_memzero(shared, sizeof shared);
    if (rc != 0)
        return refuse(reader, LINTEL_E_RANGE, entry->line, "a public key of low order");
    return LINTEL_OK;
}

static int refuse_twice(const struct reader *reader, const struct lintelp_seal_entry *a,
                        const struct lintelp_seal_entry *b, const char *sentence)
{
    return refuse(reader, LINTEL_E_RANGE, a->line > b->line ? a->line : b->line, sentence);
}

static int by_key(const void *a, const void *b)
{
    return memcmp(((const struct lintelp_seal_entry *)a)->key,
                  ((const struct lintelp_seal_entry *)b)->key, NOISE_KEY);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct lintelp_seal_entry *)a)->name,
                  ((const struct lintelp_seal_entry *)b)->name);
}

/* Sorts public keys, and finds what comes twice. */
static int sort_peers(const struct reader *reader, struct lintelp_seal_entry *peers, uint32_t count)
{
    qsort(peers, count, sizeof *peers, by_name);
    for (uint32_t i = 1; i < count; i++)
        if (peers[i].name[0] != '\0' && by_name(&peers[i - 1], &peers[i]) == 0)
            return refuse_twice(reader, &peers[i - 1], &peers[i], "a name that was there before");
    qsort(peers, count, sizeof *peers, by_key);
    for (uint32_t i = 1; i < count; i++)
        if (by_key(&peers[i - 1], &peers[i]) == 0)
            return refuse_twice(reader, &peers[i - 1], &peers[i], "a key that was there before");
    return LINTEL_OK;
}

/* ---- files ----------------------------------------------------------------------------------- */

/* How many keys there are, and whether all lines can be read. */
static int count_entries(const struct lintel_seal_text *text, uint32_t *count,
                         struct lintel_error *error)
{
    struct reader reader = read_text(text, error);
    struct lintelp_seal_entry entry;
    int rc;

    *count = 0;
    while ((rc = next_entry(&reader, &entry)) == 1)
        ++*count;
    sodium_memzero(&entry, sizeof entry);
    if (rc == 0 && *count == 0)
        rc = refuse(&reader, LINTEL_E_COUNT, 0, "there is no key in it");
    return rc;
}

/* Exactly one secret key, with its public half. */
static int read_own(struct lintelp_pair *own, const struct lintel_seal_text *text,
                    struct lintel_error *error)
{
    struct reader reader = read_text(text, error);
    struct lintelp_seal_entry entry;
    int rc = next_entry(&reader, &entry);

    if (rc == 0)
        rc = refuse(&reader, LINTEL_E_COUNT, 0, "there is no key in it");
    else if (rc == 1)
        rc = check_secret(&reader, &entry);
    if (rc == LINTEL_OK) {
        memcpy(own->secret, entry.key, NOISE_KEY);
        rc = next_entry(&reader, &entry);
        if (rc == 1)
            rc = refuse(&reader, LINTEL_E_COUNT, entry.line, "a second key; one is wanted");
    }
    sodium_memzero(&entry, sizeof entry);
    if (rc == LINTEL_OK && lintelp_noise_public(own) < 0)
        rc = refuse(&reader, LINTEL_E_RANGE, 0, "the key has no public half");
    return rc;
}

static int check_shared(const struct reader *reader, const struct lintel_seal_keys *keys,
                        const struct lintelp_seal_entry *entry)
{
    for (uint32_t i = 0; i < keys->psk_count; i++) {
        if (sodium_memcmp(keys->psk[i].key, entry->key, NOISE_KEY) == 0)
            return refuse(reader, LINTEL_E_RANGE, entry->line, "a key that was there before");
        if (entry->name[0] != '\0' && strcmp(keys->psk[i].name, entry->name) == 0)
            return refuse(reader, LINTEL_E_RANGE, entry->line, "a name that was there before");
    }
    return check_secret(reader, entry);
}

static int read_shared(struct lintel_seal_keys *keys, const struct lintel_seal_text *text,
                       struct lintel_error *error)
{
    struct reader reader = read_text(text, error);
    struct lintelp_seal_entry entry;
    int rc;

    while ((rc = next_entry(&reader, &entry)) == 1) {
        if (keys->psk_count == LINTEL_SEAL_SHARED_MAX)
            rc = refuse(&reader, LINTEL_E_COUNT, entry.line, "more than 16 shared keys");
        else
            rc = check_shared(&reader, keys, &entry);
        if (rc < 0)
            break;
        keys->psk[keys->psk_count++] = entry;
    }
    sodium_memzero(&entry, sizeof entry);
    if (rc == 0 && keys->psk_count == 0)
        rc = refuse(&reader, LINTEL_E_COUNT, 0, "there is no key in it");
    return rc;
}

static int read_peers(struct lintel_seal_keys *keys, const struct lintel_seal_text *text,
                      struct lintel_error *error)
{
    struct reader reader = read_text(text, error);
    int rc;

    while ((rc = next_entry(&reader, &keys->peers[keys->peer_count])) == 1) {
        rc = check_public(&reader, &keys->own, &keys->peers[keys->peer_count++]);
        if (rc < 0)
            return rc;
    }
    return rc < 0 ? rc : sort_peers(&reader, keys->peers, keys->peer_count);
}

/* ---- keys ------------------------------------------------------------------------------------ */

static int check_use(const struct lintel_seal_keys_options *options, struct lintel_error *error)
{
    int psk = options->psk.bytes != NULL, key = options->key.bytes != NULL;
    int peer = options->peer.bytes != NULL;

    if ((options->role != LINTEL_SEAL_INITIATOR && options->role != LINTEL_SEAL_RESPONDER) ||
        (options->mode != LINTEL_SEAL_MAC && options->mode != LINTEL_SEAL_ENCRYPT))
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: there is no such role or mode");
    if (!psk && !key && !peer)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: a key is missing");
    if (key != peer)
        return lintelp_fail(error, LINTEL_E_USAGE, 0,
                            key ? "seal: a secret key without a peer's public key"
                                : "seal: a peer's public key without a secret key");
    if (psk && key && options->role == LINTEL_SEAL_INITIATOR)
        return lintelp_fail(error, LINTEL_E_USAGE, 0,
                            "seal: a client has a shared key or a secret one, not both");
    return LINTEL_OK;
}

/* Peers are counted first, as all that there is lies in one block. */
static int count_peers(const struct lintel_seal_keys_options *options, uint32_t *count,
                       struct lintel_error *error)
{
    int rc = LINTEL_OK;

    *count = 0;
    if (options->peer.bytes == NULL)
        return LINTEL_OK;
    rc = count_entries(&options->peer, count, error);
    if (options->role == LINTEL_SEAL_INITIATOR &&
        (rc == LINTEL_E_COUNT || (rc == LINTEL_OK && *count != 1))) {
        struct reader reader = read_text(&options->peer, error);
        return refuse(&reader, LINTEL_E_USAGE, 0, "a client has exactly one peer");
    }
    return rc;
}

/* What is the same in all sessions: the state before the first message. */
static void prepare(struct lintel_seal_keys *keys)
{
    uint8_t prologue[SEAL_PROLOGUE_SIZE];

    lintelp_seal_prologue(prologue, SEAL_PATTERN_NNPSK0, (int)keys->mode);
    for (uint32_t i = 0; i < keys->psk_count; i++) {
        lintelp_noise_start_nnpsk0(&keys->nnpsk0[i], prologue, sizeof prologue, keys->psk[i].key);
        sodium_memzero(keys->psk[i].key, NOISE_KEY);
    }
    lintelp_seal_prologue(prologue, SEAL_PATTERN_IK, (int)keys->mode);
    if (keys->has_own)
        lintelp_noise_start_ik(&keys->ik, prologue, sizeof prologue,
                               keys->role == LINTEL_SEAL_RESPONDER ? keys->own.public
                                                                   : keys->peers[0].key);
}

static int read_all(struct lintel_seal_keys *keys, const struct lintel_seal_keys_options *options,
                    struct lintel_error *error)
{
    int rc = LINTEL_OK;

    if (options->psk.bytes != NULL)
        rc = read_shared(keys, &options->psk, error);
    if (rc == LINTEL_OK && options->key.bytes != NULL) {
        rc = read_own(&keys->own, &options->key, error);
        if (rc == LINTEL_OK)
            rc = read_peers(keys, &options->peer, error);
        keys->has_own = 1;
    }
    return rc;
}

/* The reader looks for one more peer than there are; the block ends at a guarded page, and so its
 * size is a multiple of what its members are aligned to. */
static struct lintel_seal_keys *allocate(const struct lintel_seal_keys_options *options,
                                         uint32_t peers)
{
    struct lintel_seal_keys *keys;
    size_t size = sizeof *keys + ((size_t)peers + 1) * sizeof keys->peers[0];

    size = (size + 15) / 16 * 16;
    keys = sodium_malloc(size);
    if (keys != NULL) {
        memset(keys, 0, size);
        keys->role = options->role;
        keys->mode = options->mode;
    }
    return keys;
}

int lintel_seal_keys_new(struct lintel_seal_keys **keys,
                         const struct lintel_seal_keys_options *options, struct lintel_error *error)
{
    struct lintel_seal_keys *made;
    uint32_t peers = 0;
    int rc;

    if (keys == NULL || options == NULL || options->size != sizeof *options)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: NULL, or options of another version");
    *keys = NULL;
    rc = lintelp_seal_start(error);
    if (rc == LINTEL_OK)
        rc = check_use(options, error);
    if (rc == LINTEL_OK)
        rc = count_peers(options, &peers, error);
    if (rc < 0)
        return rc;
    made = allocate(options, peers);
    if (made == NULL)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "out of memory for keys");
    rc = read_all(made, options, error);
    if (rc < 0) {
        sodium_free(made);
        return rc;
    }
    prepare(made);
    (void)sodium_mprotect_readonly(made);
    *keys = made;
    return LINTEL_OK;
}

void lintel_seal_keys_free(struct lintel_seal_keys *keys)
{
    if (keys != NULL)
        sodium_free(keys); /* which wipes */
}

enum lintel_seal_role lintel_seal_keys_role(const struct lintel_seal_keys *keys)
{
    return keys->role;
}

/* ---- making keys ----------------------------------------------------------------------------- */

static void put_text(char out[LINTEL_SEAL_KEY_TEXT], const uint8_t key[NOISE_KEY])
{
    (void)sodium_bin2base64(out, LINTEL_SEAL_KEY_TEXT, key, NOISE_KEY,
                            sodium_base64_VARIANT_ORIGINAL);
}

int lintel_seal_key_new(char out[LINTEL_SEAL_KEY_TEXT], struct lintel_error *error)
{
    uint8_t key[NOISE_KEY];
    int rc;

    if (out == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: NULL");
    rc = lintelp_seal_start(error);
    if (rc < 0)
        return rc;
    randombytes_buf(key, sizeof key);
    put_text(out, key);
    sodium_memzero(key, sizeof key);
    return LINTEL_OK;
}

int lintel_seal_key_public(char out[LINTEL_SEAL_KEY_TEXT], const struct lintel_seal_text *key,
                           struct lintel_error *error)
{
    struct lintelp_pair own;
    int rc;

    if (out == NULL || key == NULL || key->bytes == NULL)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "seal: NULL");
    rc = lintelp_seal_start(error);
    if (rc == LINTEL_OK)
        rc = read_own(&own, key, error);
    if (rc == LINTEL_OK)
        put_text(out, own.public);
    sodium_memzero(&own, sizeof own);
    return rc;
}
