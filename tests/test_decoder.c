#include "util.h"

#include <stdio.h>

/* ---- vectors --------------------------------------------------------------------------------- */

static struct lintel_decoder_options options_of(struct lintel_layout *layout, uint64_t max_frame)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    options.layout = layout;
    options.max_frame = max_frame;
    return options;
}

static void check_valid(const struct vector *vector)
{
    struct lintel_layout *layout = make_layout(vector->layout);
    struct lintel_decoder_options options = options_of(layout, vector->max_frame);
    char *seen = same_story_every_way(vector->name, &options, vector->wire.data, vector->wire.size);
    struct text expected = {NULL, 0};

    text_add(&expected, "%send %zu\n", vector->expected, vector->wire.size);
    if (strcmp(expected.data, seen) != 0)
        fail_msg("%s:\n%s--- expected:\n%s", vector->name, seen, expected.data);
    free(expected.data);
    free(seen);
    lintel_layout_free(layout);
}

static void decoder_reads_the_valid_vectors(void **state)
{
    (void)state;
    assert_true(each_vector("valid", check_valid) >= 40);
}

/* error.txt: "frame ..." lines, "error CODE OFFSET", then a line for people. */
static void check_invalid(const struct vector *vector)
{
    struct lintel_layout *layout = make_layout(vector->layout);
    struct lintel_decoder_options options = options_of(layout, vector->max_frame);
    char *seen = same_story_every_way(vector->name, &options, vector->wire.data, vector->wire.size);
    struct text expected = {NULL, 0};
    const char *line = vector->expected;

    for (; strncmp(line, "frame ", 6) == 0; line += strcspn(line, "\n") + 1)
        text_add(&expected, "%.*s\n", (int)strcspn(line + 6, "\n"), line + 6);
    text_add(&expected, "%.*s\n", (int)strcspn(line, "\n"), line);
    if (strncmp(seen, expected.data, expected.size) != 0)
        fail_msg("%s:\n%s--- expected:\n%s", vector->name, seen, expected.data);
    free(expected.data);
    free(seen);
    lintel_layout_free(layout);
}

static void decoder_refuses_the_invalid_vectors(void **state)
{
    (void)state;
    assert_true(each_vector("invalid", check_invalid) >= 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoder_reads_the_valid_vectors),
        cmocka_unit_test(decoder_refuses_the_invalid_vectors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
