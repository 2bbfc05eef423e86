/* seal: what its functions answer where libsodium is not in the build. */
#include "util.h"
#include "lintel/lintel.h"

static void seal_answers_that_it_is_not_in_this_build(void **state)
{
    struct lintel_seal_keys_options options = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct lintel_seal_keys *keys;
    struct lintel_seal *seal;
    struct lintel_error error = {0};
    char key[LINTEL_SEAL_KEY_TEXT];

    (void)state;
    assert_int_equal(lintel_has("sodium"), 0);
    assert_int_equal(lintel_seal_keys_new(&keys, &options, &error), LINTEL_E_UNSUPPORTED);
    assert_string_equal(error.text, "sealed sessions are not in this build");
    assert_null(keys);
    assert_int_equal(lintel_seal_new(&seal, keys, NULL, NULL), LINTEL_E_UNSUPPORTED);
    assert_null(seal);
    assert_int_equal(lintel_seal_key_new(key, NULL), LINTEL_E_UNSUPPORTED);
    assert_int_equal(lintel_seal_key_public(key, &options.key, NULL), LINTEL_E_UNSUPPORTED);
    lintel_seal_free(seal);
    lintel_seal_keys_free(keys);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(seal_answers_that_it_is_not_in_this_build),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
