/*
 * Sessions in C, told line by line what a vector of proto/vectors/sealed says: the C side of
 * test-sealed and check-sealed. proto/vectors/README.md has the lines.
 *
 *     seal_driver            reads lines; answers each step with the line as it comes out here
 *     seal_driver FILE...    runs vectors; says where one does not come out as it is written
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lintel/seal.h"
#include "seal_hooks.h"

enum { LINE_BYTES = 300000, WORDS = 6, TEXT_BYTES = 4096 };

static char line[LINE_BYTES], copy[LINE_BYTES], answer[LINE_BYTES];
static uint8_t in[LINE_BYTES / 2], out[LINTEL_SEAL_RECORD_MAX];

/* What a vector's first lines say, and the sessions that come of it. */
struct side {
    char psk[TEXT_BYTES], key[TEXT_BYTES], peer[TEXT_BYTES];
    struct lintel_seal_keys *keys;
    struct lintel_seal *seal;
};
static struct side sides[2]; /* initiator, responder */
static enum lintel_seal_mode mode;
static uint64_t rekey;

/* ---- words ----------------------------------------------------------------------------------- */

static void give_up(const char *why)
{
    (void)fprintf(stderr, "seal_driver: %s\n", why);
    exit(2);
}

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

static size_t read_hex(uint8_t *bytes, const char *hex)
{
    size_t size = 0;

    if (strcmp(hex, "-") == 0)
        return 0;
    for (; hex[0] != '\0' && hex[1] != '\0'; hex += 2)
        bytes[size++] = (uint8_t)(digit(hex[0]) << 4 | digit(hex[1]));
    return size;
}

static void say(const char *text)
{
    (void)strcat(answer, " ");
    (void)strcat(answer, text);
}

static void say_hex(const uint8_t *bytes, size_t size)
{
    char *at = answer + strlen(answer);

    *at++ = ' ';
    if (size == 0)
        *at++ = '-';
    for (size_t i = 0; i < size; i++, at += 2)
        (void)snprintf(at, 3, "%02x", bytes[i]);
    *at = '\0';
}

static void say_status(int status)
{
    say(lintel_status_name(status));
}

/* A key of a vector as a line of a key file. */
static void add_key(char *text, const char *hex, const char *name)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    uint8_t key[36] = {0};
    char *at = text + strlen(text);

    if (read_hex(key, hex) != 32 || at - text > TEXT_BYTES - 128)
        give_up("no key");
    for (size_t i = 0; i < 33; i += 3) {
        uint32_t bits = (uint32_t)key[i] << 16 | (uint32_t)key[i + 1] << 8 | key[i + 2];
        for (int n = 18; n >= 0; n -= 6)
            *at++ = digits[bits >> n & 63];
    }
    at[-1] = '=';
    (void)snprintf(at, 80, " %s\n", name);
}

/* ---- sessions -------------------------------------------------------------------------------- */

static void forget(void)
{
    for (int i = 0; i < 2; i++) {
        lintel_seal_free(sides[i].seal);
        lintel_seal_keys_free(sides[i].keys);
        memset(&sides[i], 0, sizeof sides[i]);
    }
    mode = LINTEL_SEAL_ENCRYPT;
    rekey = 0;
}

static struct lintel_seal *session(struct side *side)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_error error = {0};

    if (side->seal != NULL)
        return side->seal;
    options.role = side == &sides[0] ? LINTEL_SEAL_INITIATOR : LINTEL_SEAL_RESPONDER;
    options.mode = mode;
    if (side->psk[0] != '\0')
        options.psk = (struct lintel_seal_text){side->psk, strlen(side->psk), "psk"};
    if (side->key[0] != '\0') {
        options.key = (struct lintel_seal_text){side->key, strlen(side->key), "key"};
        options.peer = (struct lintel_seal_text){side->peer, strlen(side->peer), "peer"};
    }
    if (lintel_seal_keys_new(&side->keys, &options, &error) < 0 ||
        lintel_seal_new(&side->seal, side->keys, NULL, &error) < 0)
        give_up(error.text);
    if (rekey > 0)
        lintelp_seal_test_rekey(side->seal, rekey);
    return side->seal;
}

static void step_writes(struct lintel_seal *seal, char **words, int count)
{
    size_t size;
    int rc;

    say(words[2]);
    say(words[3]);
    if (strcmp(words[2], "hello") == 0) {
        if (count < 4 || read_hex(in, words[3]) != 32 || lintel_seal_due(seal) != 1)
            give_up("no handshake message is due");
        lintelp_seal_test_ephemeral(seal, in);
        rc = lintel_seal_put_hello(seal, out, sizeof out, &size, NULL);
    } else {
        rc = lintel_seal_put_record(seal, out, sizeof out, &size, in, read_hex(in, words[3]),
                                    strcmp(words[2], "last") == 0, NULL);
    }
    if (rc < 0) {
        say("error");
        say_status(rc);
        return;
    }
    say_hex(out, size);
}

/* The bytes lie in a block of their own size, so that one too many is seen. */
static void step_takes(struct lintel_seal *seal, char **words)
{
    size_t size = read_hex(in, words[2]);
    uint8_t *bytes = malloc(size + 1);
    struct lintel_seal_item item;
    int rc;

    if (bytes == NULL)
        give_up("no memory");
    memcpy(bytes, in, size);
    rc = lintel_seal_next(seal, &item, bytes, size, NULL);
    say(words[2]);
    if (rc < 0) {
        say("error");
        say_status(rc);
    } else if (rc == 0) {
        say("more");
    } else if (item.used != size && item.used != 0) {
        say("used-less");
    } else {
        static const char *const kinds[] = {"hello", "record", "last"};
        say(kinds[item.kind]);
        if (item.kind != LINTEL_SEAL_HELLO)
            say_hex(item.piece, item.size);
    }
    free(bytes);
}

static void step(struct lintel_seal *seal, char **words, int count)
{
    const char *verb = words[1], *name = lintel_seal_peer_name(seal);

    if (strcmp(verb, "writes") == 0 && count >= 4) {
        step_writes(seal, words, count);
    } else if (strcmp(verb, "takes") == 0 && count >= 3) {
        step_takes(seal, words);
    } else if (strcmp(verb, "ends") == 0 && count >= 3) {
        say(words[2]);
        say_status(lintel_seal_end(seal, (size_t)strtoul(words[2], NULL, 10), NULL));
    } else if (strcmp(verb, "says") == 0 && count >= 3) {
        int rc = lintel_seal_put_bye(seal, out, sizeof out, (int)strtol(words[2], NULL, 10));
        say(words[2]);
        say_hex(out, rc == 1 ? LINTEL_SEAL_BYE_SIZE : 0);
    } else if (strcmp(verb, "id") == 0) {
        say_hex(lintel_seal_id(seal), lintel_seal_id(seal) != NULL ? LINTEL_SEAL_ID_SIZE : 0);
    } else if (strcmp(verb, "named") == 0) {
        say(name != NULL && name[0] != '\0' ? name : "-");
    } else {
        give_up("no such step");
    }
}

/* 1: the line was a step, whose outcome is in `answer`. */
static int run_line(char *text)
{
    char *words[WORDS];
    int count = 0;
    struct side *side;

    text[strcspn(text, "#\n")] = '\0';
    for (char *at = strtok(text, " "); at != NULL && count < WORDS; at = strtok(NULL, " "))
        words[count++] = at;
    if (count == 0)
        return 0;
    if (count < 2)
        give_up("a line of one word");
    if (strcmp(words[0], "mode") == 0) {
        mode = strcmp(words[1], "mac") == 0 ? LINTEL_SEAL_MAC : LINTEL_SEAL_ENCRYPT;
        return 0;
    }
    if (strcmp(words[0], "rekey") == 0) {
        rekey = strtoull(words[1], NULL, 10);
        return 0;
    }
    side = &sides[strcmp(words[0], "responder") == 0];
    if (count >= 3 && (strcmp(words[1], "psk") == 0 || strcmp(words[1], "key") == 0 ||
                       strcmp(words[1], "peer") == 0)) {
        add_key(words[1][0] == 'k'   ? side->key
                : words[1][1] == 's' ? side->psk
                                     : side->peer,
                words[2], count > 3 ? words[3] : "");
        return 0;
    }
    answer[0] = '\0';
    (void)strcat(answer, words[0]);
    say(words[1]);
    step(session(side), words, count);
    return 1;
}

/* ---- vectors --------------------------------------------------------------------------------- */

static int run_file(const char *path)
{
    FILE *file = fopen(path, "r");
    int number = 0, bad = 0;

    if (file == NULL)
        give_up(path);
    forget();
    while (!bad && fgets(line, sizeof line, file) != NULL) {
        number++;
        line[strcspn(line, "\n")] = '\0';
        (void)strcpy(copy, line);
        if (run_line(copy) && strcmp(answer, line) != 0) {
            printf("FAIL %s:%d: %s\n", path, number, answer);
            bad = 1;
        }
    }
    (void)fclose(file);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;

    for (int i = 1; i < argc; i++)
        bad |= run_file(argv[i]);
    if (argc == 1)
        for (forget(); fgets(line, sizeof line, stdin) != NULL;)
            if (run_line(line)) {
                puts(answer);
                (void)fflush(stdout);
            }
    forget();
    if (argc > 1)
        printf("%d sealed vectors in C\n", argc - 1);
    return bad;
}
