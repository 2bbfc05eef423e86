/* seal: the texts of key files, what is refused of them, and where. */
#include "util.h"
#include "lintel/seal.h"
#include "seal/seal_state.h"

#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>

/* Keys in base64: 32 bytes of 0x01, 0x02, 0x03; the public halves of the first two. */
#define ONE   "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
#define TWO   "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI="
#define THREE "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM="
#define ZERO  "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="

static char public_one[LINTEL_SEAL_KEY_TEXT], public_two[LINTEL_SEAL_KEY_TEXT];
static char public_three[LINTEL_SEAL_KEY_TEXT];

static int fail_malloc;
void *__wrap_sodium_malloc(size_t size);
void *__real_sodium_malloc(size_t size);
void *__wrap_sodium_malloc(size_t size)
{
    return fail_malloc ? NULL : __real_sodium_malloc(size);
}

static struct lintel_seal_text file(const char *name, const char *text)
{
    return (struct lintel_seal_text){text, text != NULL ? strlen(text) : 0, name};
}

static int open_keys(enum lintel_seal_role role, const char *psk, const char *key, const char *peer,
                     struct lintel_seal_keys **keys, struct lintel_error *error)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    options.role = role;
    options.psk = file("shared.psk", psk);
    options.key = file("own.key", key);
    options.peer = file("peers", peer);
    memset(error, 0, sizeof *error);
    return lintel_seal_keys_new(keys, &options, error);
}

static void wants(int status, const char *words, enum lintel_seal_role role, const char *psk,
                  const char *key, const char *peer)
{
    struct lintel_seal_keys *keys;
    struct lintel_error error;
    int rc = open_keys(role, psk, key, peer, &keys, &error);

    if (rc != status || (words != NULL && strstr(error.text, words) == NULL))
        fail_msg("%s, \"%s\"; wanted %s, \"%s\"", lintel_status_name(rc), error.text,
                 lintel_status_name(status), words != NULL ? words : "");
    assert_int_equal(keys != NULL, rc == LINTEL_OK);
    lintel_seal_keys_free(keys);
}

static void psk_is(int status, const char *words, const char *text)
{
    wants(status, words, LINTEL_SEAL_RESPONDER, text, NULL, NULL);
}

static void peers_are(int status, const char *words, const char *text)
{
    wants(status, words, LINTEL_SEAL_RESPONDER, NULL, ONE, text);
}

/* ---- what is taken --------------------------------------------------------------------------- */

static void keys_new_takes_lines_as_they_come(void **state)
{
    static const char *const texts[] = {
        ONE,
        ONE "\n",
        ONE "\r\n",
        ONE "\r",
        ONE " name",
        ONE "\tname\r\n",
        ONE " \t name \t \n",
        ONE " name # comment\n",
        ONE " name\t# comment",
        ONE " # comment\n",
        ONE " na#me\n",
        "\n\r\n \t\n" ONE "\n\n",
        "#\n# a comment, \xC3\xA4 too\n  # one\n" ONE "\n#",
        ONE " a\n" TWO " b\n" THREE,
        ONE " !\"#$%&'()*+,-./0123456789:;<=>?@[\\]^_`{|}~\n",
        ONE " 0123456789012345678901234567890123456789012345678901234567890123\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        psk_is(LINTEL_OK, NULL, texts[i]);
        /* Nothing behind the text is looked at. */
        struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
        struct lintel_seal_keys *keys;
        size_t size = strlen(texts[i]);
        uint8_t *copy = guard_copy(texts[i], size);
        options.psk = (struct lintel_seal_text){copy, size, NULL};
        assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_OK);
        lintel_seal_keys_free(keys);
        guard_free(copy, size);
    }
}

static void keys_new_keeps_names(void **state)
{
    struct lintel_seal_keys *keys;
    struct lintel_error error;

    (void)state;
    assert_int_equal(open_keys(LINTEL_SEAL_RESPONDER,
                               "# c\n" ONE " \t first # one\n\n" TWO "\r\n" THREE "  na#me", NULL,
                               NULL, &keys, &error),
                     LINTEL_OK);
    assert_int_equal(keys->psk_count, 3);
    assert_string_equal(keys->psk[0].name, "first");
    assert_string_equal(keys->psk[1].name, "");
    assert_string_equal(keys->psk[2].name, "na#me");
    for (int i = 0; i < 3; i++)
        assert_true(sodium_is_zero(keys->psk[i].key, 32));
    lintel_seal_keys_free(keys);
}

static void keys_new_takes_up_to_sixteen_shared_keys(void **state)
{
    char text[2000] = "", base64[LINTEL_SEAL_KEY_TEXT];

    (void)state;
    for (int n = 1; n <= 17; n++) {
        uint8_t key[32] = {(uint8_t)n};
        sodium_bin2base64(base64, sizeof base64, key, 32, sodium_base64_VARIANT_ORIGINAL);
        (void)strcat(text, base64);
        (void)strcat(text, "\n");
        psk_is(n <= 16 ? LINTEL_OK : LINTEL_E_COUNT,
               n <= 16 ? NULL : "line 17 of \"shared.psk\": more than 16", text);
    }
}

static void keys_new_takes_long_lists(void **state)
{
    enum { PEERS = 3000 };
    char *text = calloc(PEERS, 64), *at = text;
    struct lintel_seal_keys *keys;
    struct lintel_error error;

    (void)state;
    for (unsigned n = 0; n < PEERS; n++) {
        uint8_t key[32] = {9, 9, (uint8_t)(n * 7), (uint8_t)(n >> 8), (uint8_t)n};
        sodium_bin2base64(at, LINTEL_SEAL_KEY_TEXT, key, 32, sodium_base64_VARIANT_ORIGINAL);
        at += strlen(at);
        at += sprintf(at, " peer-%u\n", n);
    }
    assert_int_equal(open_keys(LINTEL_SEAL_RESPONDER, NULL, ONE, text, &keys, &error), LINTEL_OK);
    assert_int_equal(keys->peer_count, PEERS);
    for (unsigned n = 1; n < PEERS; n++)
        assert_true(memcmp(keys->peers[n - 1].key, keys->peers[n].key, 32) < 0);
    lintel_seal_keys_free(keys);
    free(text);
}

/* ---- what is refused ------------------------------------------------------------------------- */

static void keys_new_refuses_what_it_cannot_read(void **state)
{
    static const char *const texts[] = {
        "x",
        " " ONE,
        "\t" ONE,
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",  /* no padding */
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=", /* bits that mean nothing */
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB", /* 33 bytes */
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ==", /* 31 bytes */
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBA===", /* none */
        "AQEBAQEBAQEBAQEB QEBAQEBAQEBAQEBAQEBAQEBAQE=", /* a blank inside */
        "_-EBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=", /* the other alphabet */
        "010101010101010101010101010101010101010101010101010101010101010101",
        ONE "=",
        ONE "name",
        ONE "#",
        ONE " two words",
        ONE " \x01",
        ONE " caf\xC3\xA9",
        ONE " del\x7F",
        ONE " 01234567890123456789012345678901234567890123456789012345678901234",
        ONE "\r\r\n",
        "\r\r\n",
    };

    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        char text[300];
        psk_is(LINTEL_E_SYNTAX, "line 1 of \"shared.psk\": ", texts[i]);
        (void)snprintf(text, sizeof text, "\n# comment\r\n%s\n", texts[i]);
        psk_is(LINTEL_E_SYNTAX, "line 3 of \"shared.psk\": ", text);
        wants(LINTEL_E_SYNTAX, "line 1 of \"own.key\": ", LINTEL_SEAL_RESPONDER, NULL, texts[i],
              public_two);
        peers_are(LINTEL_E_SYNTAX, "line 1 of \"peers\": ", texts[i]);
    }
}

static void keys_new_refuses_a_nul_inside(void **state)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;
    static const char inside[] = ONE " a\0b\n", behind[] = ONE "\0";

    (void)state;
    options.psk = (struct lintel_seal_text){inside, sizeof inside - 1, "f"};
    assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_E_SYNTAX);
    options.psk = (struct lintel_seal_text){behind, sizeof behind - 1, "f"};
    assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_E_SYNTAX);
}

static void keys_new_refuses_what_comes_twice(void **state)
{
    char text[300];

    (void)state;
    psk_is(LINTEL_E_RANGE, "line 3 of \"shared.psk\": a key that was there before",
           ONE " a\n" TWO " b\n" ONE " c\n");
    psk_is(LINTEL_E_RANGE, "line 2 of \"shared.psk\": a name that was there before",
           ONE " a\n" TWO " a\n");
    (void)snprintf(text, sizeof text, "%s a\n%s b\n\n%s c\n", public_two, public_three, public_two);
    peers_are(LINTEL_E_RANGE, "line 4 of \"peers\": a key that was there before", text);
    (void)snprintf(text, sizeof text, "%s a\n%s a\n", public_two, public_three);
    peers_are(LINTEL_E_RANGE, "line 2 of \"peers\": a name that was there before", text);
    (void)snprintf(text, sizeof text, "%s\n%s\n", public_two, public_three);
    peers_are(LINTEL_OK, NULL, text);
}

static void keys_new_refuses_keys_that_are_none(void **state)
{
    static const char *const low_order[] = {
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    };
    char text[300], base64[LINTEL_SEAL_KEY_TEXT];

    (void)state;
    psk_is(LINTEL_E_RANGE, "line 2 of \"shared.psk\": a key of zeros", ONE "\n" ZERO "\n");
    wants(LINTEL_E_RANGE, "line 1 of \"own.key\": a key of zeros", LINTEL_SEAL_RESPONDER, NULL,
          ZERO, public_two);
    for (size_t i = 0; i < COUNT(low_order); i++) {
        struct bytes point = from_hex(low_order[i]);
        sodium_bin2base64(base64, sizeof base64, point.data, 32, sodium_base64_VARIANT_ORIGINAL);
        (void)snprintf(text, sizeof text, "%s\n%s bad\n", public_two, base64);
        peers_are(LINTEL_E_RANGE, "line 2 of \"peers\": a public key of low order", text);
        point.data[31] |= 0x80;
        sodium_bin2base64(base64, sizeof base64, point.data, 32, sodium_base64_VARIANT_ORIGINAL);
        peers_are(LINTEL_E_RANGE, "line 1 of \"peers\": a public key with bit 255 set", base64);
        free(point.data);
    }
    peers_are(LINTEL_E_RANGE, "line 1 of \"peers\": this side's own public key", public_one);
    wants(LINTEL_E_RANGE, "this side's own public key", LINTEL_SEAL_INITIATOR, NULL, ONE,
          public_one);
}

static void keys_new_refuses_files_without_a_key_and_with_too_many(void **state)
{
    (void)state;
    psk_is(LINTEL_E_COUNT, "\"shared.psk\": there is no key in it", "# nothing\n\n");
    psk_is(LINTEL_E_COUNT, "there is no key in it", "");
    peers_are(LINTEL_E_COUNT, "\"peers\": there is no key in it", "#\n");
    wants(LINTEL_E_COUNT, "\"own.key\": there is no key in it", LINTEL_SEAL_RESPONDER, NULL, "",
          public_two);
    wants(LINTEL_E_COUNT, "line 3 of \"own.key\": a second key", LINTEL_SEAL_RESPONDER, NULL,
          ONE "\n\n" TWO, public_two);
}

static void keys_new_refuses_what_does_not_go_together(void **state)
{
    char two[200];

    (void)state;
    (void)snprintf(two, sizeof two, "%s\n%s\n", public_two, public_three);
    for (int i = 0; i < 2; i++) {
        enum lintel_seal_role role = i == 0 ? LINTEL_SEAL_INITIATOR : LINTEL_SEAL_RESPONDER;
        wants(LINTEL_E_USAGE, "a key is missing", role, NULL, NULL, NULL);
        wants(LINTEL_E_USAGE, "without a peer's public key", role, NULL, ONE, NULL);
        wants(LINTEL_E_USAGE, "without a secret key", role, NULL, NULL, public_two);
        wants(LINTEL_E_USAGE, "without a peer's public key", role, ONE, ONE, NULL);
        wants(LINTEL_OK, NULL, role, NULL, ONE, public_two);
        wants(LINTEL_OK, NULL, role, ONE, NULL, NULL);
    }
    wants(LINTEL_OK, NULL, LINTEL_SEAL_RESPONDER, ONE, ONE, two);
    wants(LINTEL_E_USAGE, "not both", LINTEL_SEAL_INITIATOR, ONE, ONE, public_two);
    wants(LINTEL_E_USAGE, "exactly one peer", LINTEL_SEAL_INITIATOR, NULL, ONE, two);
    wants(LINTEL_E_USAGE, "exactly one peer", LINTEL_SEAL_INITIATOR, NULL, ONE, "# none\n");
    wants(LINTEL_OK, NULL, LINTEL_SEAL_RESPONDER, NULL, ONE, two);
}

static void keys_new_answers_misuse_and_missing_memory(void **state)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;

    (void)state;
    options.psk = file("f", ONE);
    assert_int_equal(lintel_seal_keys_new(NULL, &options, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_keys_new(&keys, NULL, NULL), LINTEL_E_USAGE);
    options.size--;
    assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_E_USAGE);
    options.size++;
    options.mode = (enum lintel_seal_mode)3;
    assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_E_USAGE);
    options.mode = LINTEL_SEAL_MAC;
    options.role = (enum lintel_seal_role)0;
    assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_E_USAGE);
    options.role = LINTEL_SEAL_RESPONDER;
    fail_malloc = 1;
    assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_E_NOMEM);
    assert_null(keys);
    fail_malloc = 0;
    assert_int_equal(lintel_seal_keys_new(&keys, &options, NULL), LINTEL_OK);
    lintel_seal_keys_free(keys);
}

static void keys_new_names_the_end_of_a_long_path(void **state)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;
    struct lintel_error error;
    char name[600];

    (void)state;
    memset(name, 'd', sizeof name);
    memcpy(name + sizeof name - 10, "/\nkey.psk", 10);
    options.psk = file(name, "bad");
    assert_int_equal(lintel_seal_keys_new(&keys, &options, &error), LINTEL_E_SYNTAX);
    assert_non_null(strstr(error.text, "/\\nkey.psk\": does not begin with a key"));
    assert_ptr_equal(strstr(error.text, "line 1 of ...\"ddd"), error.text);
}

/* ---- making keys ----------------------------------------------------------------------------- */

static void key_new_gives_another_key_each_time(void **state)
{
    char a[LINTEL_SEAL_KEY_TEXT], b[LINTEL_SEAL_KEY_TEXT], public[LINTEL_SEAL_KEY_TEXT];
    struct lintel_seal_text text = {a, 44, "a"};

    (void)state;
    assert_int_equal(lintel_seal_key_new(a, NULL), LINTEL_OK);
    assert_int_equal(lintel_seal_key_new(b, NULL), LINTEL_OK);
    assert_int_equal(strlen(a), 44);
    assert_string_not_equal(a, b);
    psk_is(LINTEL_OK, NULL, a);
    assert_int_equal(lintel_seal_key_public(public, &text, NULL), LINTEL_OK);
    peers_are(LINTEL_OK, NULL, public);
    assert_int_equal(lintel_seal_key_new(NULL, NULL), LINTEL_E_USAGE);
}

/* RFC 7748, section 6.1. */
static void key_public_is_that_of_the_curve(void **state)
{
    char public[LINTEL_SEAL_KEY_TEXT];
    struct lintel_seal_text text =
        file("alice", "# RFC 7748\ndwdtCnMYpX08FsFyUbJmRd9ML4frwJkqsXf7pR25LCo= alice\n");

    (void)state;
    assert_int_equal(lintel_seal_key_public(public, &text, NULL), LINTEL_OK);
    assert_string_equal(public, "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=");
    text = file("alice", ZERO);
    assert_int_equal(lintel_seal_key_public(public, &text, NULL), LINTEL_E_RANGE);
    assert_int_equal(lintel_seal_key_public(public, NULL, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_seal_key_public(NULL, &text, NULL), LINTEL_E_USAGE);
}

static int make_publics(void **state)
{
    struct lintel_seal_text one = file("", ONE), two = file("", TWO), three = file("", THREE);
    (void)state;
    return lintel_seal_key_public(public_one, &one, NULL) |
           lintel_seal_key_public(public_two, &two, NULL) |
           lintel_seal_key_public(public_three, &three, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_new_takes_lines_as_they_come),
        cmocka_unit_test(keys_new_keeps_names),
        cmocka_unit_test(keys_new_takes_up_to_sixteen_shared_keys),
        cmocka_unit_test(keys_new_takes_long_lists),
        cmocka_unit_test(keys_new_refuses_what_it_cannot_read),
        cmocka_unit_test(keys_new_refuses_a_nul_inside),
        cmocka_unit_test(keys_new_refuses_what_comes_twice),
        cmocka_unit_test(keys_new_refuses_keys_that_are_none),
        cmocka_unit_test(keys_new_refuses_files_without_a_key_and_with_too_many),
        cmocka_unit_test(keys_new_refuses_what_does_not_go_together),
        cmocka_unit_test(keys_new_answers_misuse_and_missing_memory),
        cmocka_unit_test(keys_new_names_the_end_of_a_long_path),
        cmocka_unit_test(key_new_gives_another_key_each_time),
        cmocka_unit_test(key_public_is_that_of_the_curve),
    };
    return cmocka_run_group_tests(tests, make_publics, NULL);
}
