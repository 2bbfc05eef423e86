#include "util.h"

#include "core/layout.h"

#include <stdio.h>

/* ---- making ---------------------------------------------------------------------------------- */

static const struct refused {
    const char *text;
    unsigned column;
    const char *says;
} refused[] = {
    {"", 1, "no layout is named"},
    {"nosuch", 1, "no layout is named \"nosuch\""},
    {"U32", 1, "no layout is named"},
    {"!", 2, "there is no '*'"},
    {"!*", 2, "no view before '*' is named length"},
    {"* I:length", 5, "must stand before '*'"},
    {"* I:x", 1, "no view before '*' is named length"},
    {"I:length", 9, "there is no '*'"},
    {"I:length *x", 11, "a blank is expected"},
    {"I:length * *", 12, "a second '*'"},
    {"I:size *", 8, "no view before '*' is named length"},
    {"I:length I:length *", 12, "\"length\" is there already"},
    {"B:a,a I:length *", 5, "\"a\" is there already"},
    {"I:length * B:length", 14, "is there already"},
    {"@I:length *", 1, "not a code: \"@\""},
    {"!n:length *", 2, "not a code: \"n\""},
    {"!I *", 3, "':' and a name are expected"},
    {"!x I *", 5, "':' and a name are expected"},
    {"!I:length: *", 10, "a blank is expected"},
    {"!4I:length *", 2, "only s, x and v take a count"},
    {"!0s:name I:length *", 2, "a count must be 1 to 1024"},
    {"!1025s:name I:length *", 2, "a count must be 1 to 1024"},
    {"!99999999999999999999s:name I:length *", 2, "over 64 bits"},
    {"!11v:length *", 2, "a varint has at most 10 bytes"},
    {"!I:2nd I:length *", 4, "a name is expected"},
    {"!I: I:length *", 4, "a name is expected"},
    {"!I:a, I:length *", 6, "a name is expected"},
    {"!I:aaaaaaaaaabbbbbbbbbbccccccccccdd I:length *", 4, "longer than 31"},
    {"!I:length&0 *", 10, "the mask is 0"},
    {"!H:length&0x10000 *", 10, "wider than its field"},
    {"!4v:length&0x10000000 *", 11, "wider than its field"},
    {"!H:length&1&2 *", 12, "a second mask"},
    {"!H:length>>1>>2 *", 13, "a second shift"},
    {"!H:length>>16 *", 10, "leaves nothing"},
    {"!H:length>>99 *", 10, "leaves nothing"},
    {"!H:length>>0 *", 10, "the shift is 0"},
    {"!H:length&7>>3 *", 12, "leaves nothing"},
    {"!H:length>1 *", 10, "a right shift is '>>'"},
    {"!H:length*0 *", 10, "at least 2"},
    {"!H:length*2*3 *", 12, "a second factor"},
    {"!H:length-1*3 *", 12, "a factor must come before sums"},
    {"!H:length*2&3 *", 12, "a mask must come before"},
    {"!H:length-1>>3 *", 12, "a shift must come before"},
    {"!Q:v-0&0x3f B:length *", 7, "a mask must come before"},
    {"!Q:v+0>>3 B:length *", 7, "a shift must come before"},
    {"!Q:v+0*3 B:length *", 7, "a factor must come before"},
    {"!H:length- *", 11, "a number is expected"},
    {"!H:length-0x *", 11, "a number is expected"},
    {"!H:length+9223372036854775808 *", 10, "over 63 bits"},
    {"!H:length+9223372036854775807+1 *", 30, "over 63 bits"},
    {"!B:length-256 *", 4, "always be below zero"},
    {"!b:length-128 *", 4, "always be below zero"},
    {"!I:length=5 *", 4, "cannot be a constant"},
    {"!4s:length *", 5, "must be an integer"},
    {"!f:length *", 4, "must be an integer"},
    {"!?:length *", 4, "must be an integer"},
    {"!s:a&1 I:length *", 5, "ops need an integer"},
    {"!f:a*2 I:length *", 5, "ops need an integer"},
    {"!?:a&1 I:length *", 5, "ops need an integer"},
    {"!2s:a,b I:length *", 7, "only integers are shared"},
    {"!B:a= I:length *", 6, "a number is expected"},
    {"!B:a=256 I:length *", 6, "does not fit"},
    {"!b:a=128 I:length *", 6, "does not fit"},
    {"!b:a=-129 I:length *", 6, "does not fit"},
    {"!B:a=-1 I:length *", 6, "a number is expected"},
    {"!B:a&0xf0=1 I:length *", 11, "does not fit"},
    {"!B:a*3=4 I:length *", 8, "does not fit"},
    {"!B:a-4=252 I:length *", 8, "does not fit"},
    {"!?:a=2 I:length *", 6, "does not fit"},
    {"!B:a&3=1,b&2=2 I:length *", 10, "clash"},
    {"!I:a='ABCD' I:length *", 6, "an integer's constant is a number"},
    {"!4s:a=5 I:length *", 7, "is a 'text' or hex:digits"},
    {"!4s:a='ABC' I:length *", 7, "has 3 bytes, its field 4"},
    {"!4s:a='ABCDE' I:length *", 7, "has 5 bytes, its field 4"},
    {"!4s:a='ABC I:length *", 22, "no closing quote"},
    {"!2s:a=hex:abc I:length *", 7, "odd number"},
    {"!2s:a=hex:ab I:length *", 7, "has 1 bytes, its field 2"},
    {"!2s:a=hex: I:length *", 7, "has 0 bytes, its field 2"},
    {"!1000s:a 25s:b I:length *", 10, "over 1024 bytes"},
    {"!I:length  * 1000s:a 25s:b", 22, "over 1024 bytes"},
};

static void layout_new_refuses_with_the_column(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++) {
        struct lintel_layout *layout = NULL;
        struct lintel_error error;
        int rc = lintel_layout_new(&layout, refused[i].text, NULL, &error);
        if (rc != LINTEL_E_SYNTAX || error.at != refused[i].column ||
            strstr(error.text, refused[i].says) == NULL || error.status != rc)
            fail_msg("%s: %d at %d: %s", refused[i].text, rc, (int)error.at,
                     rc < 0 ? error.text : "taken");
        assert_null(layout);
    }
}

static void layout_new_takes_the_fullest(void **state)
{
    static const char *const taken[] = {
        "  !H:length  *  ",
        "!\tH:length\t*",
        "H:length *",
        "!x 3x B:length *",
        "!H:length&0x3fff>>2*4-4+2 *",
        "!H:length>>2&0xff *",
        "!b:a=-128 b:b=127 B:length *",
        "!f:a=-3 d:b=0x10 B:length *",
        "!?:a=1 c:b='*' 4s:c='a b*' 2x:d=hex:00FF B:length * 3s:e=':,=' v:f",
        "!I:aaaaaaaaaabbbbbbbbbbccccccccccd I:length *",
        "!1000s:a 20s:b I:length *",
        "!Q:length&0xffffffffffffffff *",
        "!B:version=1,version2&1 t:a T:b i:c l:d L:e q:f Q:g h:h H:i 2v:j v:length *",
        "!H:length+4611686018427387904 *",
        "!B:length-6,a=6 *",
        "!Q:length,a&0xb000000000000000=0 *",
        "!h:a-5,b=5 B:length *",
        "!B:a-5,b=4 b:c,d=-1 B:length *",
        "!I:length B:a+9223372036854775807 *",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(taken); i++)
        lintel_layout_free(make_layout(taken[i]));
}

static void layout_new_limits_views_and_fields(void **state)
{
    struct lintel_layout *layout = NULL;
    struct lintel_error error;
    (void)state;

    for (int count = 63; count <= 64; count++) {
        struct text fields = {NULL, 0}, views = {NULL, 0};
        text_add(&views, "Q:a0");
        for (int i = 0; i < count; i++)
            text_add(&fields, "B:a%d ", i);
        for (int i = 1; i < count; i++)
            text_add(&views, ",a%d", i);
        text_add(&fields, "B:length *");
        text_add(&views, " B:length *");
        for (int shared = 0; shared < 2; shared++) {
            int rc = lintel_layout_new(&layout, shared ? views.data : fields.data, NULL, &error);
            assert_int_equal(rc, count == 63 ? LINTEL_OK : LINTEL_E_SYNTAX);
            if (rc < 0)
                assert_non_null(strstr(error.text, "more than 64"));
            else
                lintel_layout_free(layout);
        }
        free(fields.data);
        free(views.data);
    }
}

static void layout_new_survives_failing_memory(void **state)
{
    struct lintel_layout *layout = NULL;
    struct lintel_error error;
    struct failing failing;
    (void)state;

    failing_init(&failing);
    failing.fail_at = 1;
    assert_int_equal(lintel_layout_new(&layout, "amqp", &failing.allocator, &error),
                     LINTEL_E_NOMEM);
    assert_int_equal(lintel_layout_new(&layout, "amqp", &failing.allocator, NULL), LINTEL_OK);
    lintel_layout_free(layout);
    assert_int_equal(failing.blocks, 0);
    assert_int_equal(lintel_layout_new(NULL, "u8", NULL, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_layout_new(&layout, NULL, NULL, NULL), LINTEL_E_USAGE);
    lintel_layout_free(NULL);
}

static void layout_new_makes_every_known_one(void **state)
{
    (void)state;
    assert_true(lintel_layout_known_count() >= 17);
    assert_null(lintel_layout_known(lintel_layout_known_count()));
    for (size_t i = 0; i < lintel_layout_known_count(); i++) {
        const struct lintel_known_layout *known = lintel_layout_known(i);
        struct lintel_layout *layout = make_layout(known->name);
        assert_string_equal(lintel_layout_text(layout), known->text);
        assert_true(strlen(known->reference) > 5);
        lintel_layout_free(layout);
    }
}

/* ---- the ready-made one ---------------------------------------------------------------------- */

static int same_slot(struct lintelp_slot a, struct lintelp_slot b)
{
    return a.offset == b.offset && a.size == b.size;
}

static void layout_default_is_what_the_text_makes(void **state)
{
    const struct lintel_layout *fixed = lintel_layout_default();
    struct lintel_layout *made = make_layout("lintel");
    (void)state;

    assert_string_equal(made->text, fixed->text);
    assert_int_equal(made->field_count, fixed->field_count);
    assert_int_equal(made->view_count, fixed->view_count);
    for (size_t i = 0; i < made->field_count; i++)
        assert_memory_equal(&made->fields[i], &fixed->fields[i], sizeof made->fields[i]);
    for (size_t i = 0; i < made->view_count; i++) {
        const struct lintelp_view *a = &made->views[i], *b = &fixed->views[i];
        assert_string_equal(a->seen.name, b->seen.name);
        assert_int_equal(a->seen.code, b->seen.code);
        assert_int_equal(a->seen.size, b->seen.size);
        assert_true(a->seen.mask == b->seen.mask && a->mask == b->mask && a->bits == b->bits);
        assert_int_equal(a->seen.column, b->seen.column);
        assert_int_equal(a->seen.field, b->seen.field);
        assert_int_equal(a->seen.constant, b->seen.constant);
        assert_true(a->ops == b->ops && a->fallible == b->fallible && a->hex == b->hex);
        assert_int_equal(a->written_size, b->written_size);
        assert_memory_equal(a->written_size > 0 ? a->written : "",
                            b->written_size > 0 ? b->written : "", a->written_size);
    }
    assert_int_equal(made->header_fields, fixed->header_fields);
    assert_true(made->length == fixed->length && made->id == fixed->id &&
                made->type == fixed->type && made->flags == fixed->flags &&
                made->version == fixed->version);
    assert_true(made->lintel && fixed->lintel && fixed->fixed && !made->fixed);
    assert_true(made->header_min == fixed->header_min && made->header_max == fixed->header_max);
    assert_true(made->length_max == fixed->length_max);
    assert_true(same_slot(made->id_slot, fixed->id_slot));
    assert_true(same_slot(made->type_slot, fixed->type_slot));
    assert_true(same_slot(made->flags_slot, fixed->flags_slot));
    assert_true(same_slot(made->length_slot, fixed->length_slot));
    assert_true(made->plan.usable && fixed->plan.usable);
    assert_int_equal(made->plan.checks, fixed->plan.checks);
    assert_int_equal(made->plan.swap, fixed->plan.swap);
    assert_int_equal(made->plan.shift, fixed->plan.shift);
    assert_int_equal(made->plan.length_at, fixed->plan.length_at);
    assert_int_equal(made->plan.span, fixed->plan.span);
    assert_true(made->plan.mask == fixed->plan.mask && made->plan.raw_max == fixed->plan.raw_max);
    assert_true(made->plan.factor == 1 && made->plan.sum == 0);
    assert_int_equal(made->plan.check[0].offset, fixed->plan.check[0].offset);
    assert_true(made->plan.check[0].mask == fixed->plan.check[0].mask);
    assert_true(made->plan.check[0].bits == fixed->plan.check[0].bits);
    lintel_layout_free(made);
}

static void layout_null_is_the_default(void **state)
{
    (void)state;
    assert_int_equal(lintel_layout_view_count(NULL), 7);
    assert_int_equal(lintel_layout_field_count(NULL), 6);
    assert_int_equal(lintel_layout_find(NULL, "id"), 5);
    assert_int_equal(lintel_layout_header_max(NULL), 16);
    assert_true(lintel_layout_is_lintel(NULL));
    lintel_layout_free(NULL);
}

/* ---- asking ---------------------------------------------------------------------------------- */

static void layout_describes_itself(void **state)
{
    struct lintel_layout *layout = make_layout("<B:a&0xf0>>4,b&15=3 2x H:length*4-4 * 2s:end='ab'");
    const struct lintel_view *view;
    struct lintel_value value;
    size_t size;
    (void)state;

    assert_int_equal(lintel_layout_header_min(layout), 5);
    assert_int_equal(lintel_layout_trailer_max(layout), 2);
    assert_true(lintel_layout_length_max(layout) == 65535 * 4 - 4);
    assert_true(lintel_layout_little_endian(layout));
    assert_int_equal(lintel_layout_field_count(layout), 4);
    assert_int_equal(lintel_layout_field(layout, 1)->views, 0);
    assert_int_equal(lintel_layout_field(layout, 3)->in_trailer, 1);
    assert_null(lintel_layout_field(layout, 4));
    view = lintel_layout_view(layout, 0);
    assert_string_equal(view->name, "a");
    assert_true(view->mask == 0xf0 && view->shift == 4 && view->code == 'B' && view->column == 4);
    view = lintel_layout_view(layout, 2);
    assert_true(view->factor == 4 && view->sum == -4 && view->field == 2);
    assert_null(lintel_layout_view(layout, 4));
    assert_int_equal(lintel_layout_find(layout, "end"), 3);
    assert_int_equal(lintel_layout_find(layout, "en"), -1);
    assert_int_equal(lintel_layout_find(layout, NULL), -1);
    assert_int_equal(lintel_layout_constant(layout, 1, &value), 1);
    assert_true(value.kind == LINTEL_UINT && value.as.u == 3);
    assert_int_equal(lintel_layout_constant(layout, 3, &value), 1);
    assert_memory_equal(value.as.bytes, "ab", 2);
    assert_int_equal(lintel_layout_constant(layout, 0, &value), 0);
    assert_int_equal(lintel_layout_constant(layout, 9, &value), 0);
    assert_memory_equal(lintel_layout_constant_text(layout, 3, &size), "'ab'", 4);
    assert_int_equal(size, 4);
    assert_null(lintel_layout_constant_text(layout, 0, &size));
    lintel_layout_free(layout);
}

static void layout_tells_how_sums_run(void **state)
{
    struct lintel_layout *layout =
        make_layout("!H:length-2+5-4 b:plain b:zero+0 B:up+9,masked&3 *");
    int64_t least;
    uint64_t greatest;
    (void)state;

    assert_int_equal(lintel_layout_sums(layout, 0, &least, &greatest), 1);
    assert_true(least == -2 && greatest == 3);
    assert_int_equal(lintel_layout_sums(layout, 1, &least, &greatest), 0);
    assert_true(least == 0 && greatest == 0);
    assert_int_equal(lintel_layout_sums(layout, 2, &least, &greatest), 1);
    assert_int_equal(lintel_layout_sums(layout, 3, &least, &greatest), 1);
    assert_true(least == 0 && greatest == 9);
    assert_int_equal(lintel_layout_sums(layout, 4, &least, &greatest), 1);
    assert_int_equal(lintel_layout_sums(layout, 5, &least, &greatest), LINTEL_E_USAGE);
    assert_int_equal(lintel_layout_sums(layout, 0, NULL, &greatest), LINTEL_E_USAGE);
    assert_int_equal(lintel_layout_sums(layout, 0, &least, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_layout_sums(NULL, 6, &least, &greatest), 0);
    lintel_layout_free(layout);
}

/* ---- numbers --------------------------------------------------------------------------------- */

/* Every word of 8 and 16 bits through every op: what goes in comes out, what cannot is refused. */
static void view_inverts_what_it_computes(void **state)
{
    static const char *const texts[] = {
        "!B:length *",          "!B:length-4 *",
        "!B:length*4-4 *",      "!B:length&0x7e>>1*3+7-2 *",
        "!b:length+5 *",        "!b:length*2+200 *",
        "!b:length *",          "!H:length>>4-8 *",
        "!h:length*2-100 *",    "!B:length&0x55 *",
        "!H:length&0x0ff0 *",   "!h:length&0x80ff *",
        "!B:length>>3&0x3*4 *",
    };
    (void)state;
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct lintel_layout *layout = make_layout(texts[i]);
        const struct lintelp_view *view = &layout->views[0];
        uint64_t words = (uint64_t)1 << 8 * view->seen.size;
        uint8_t *seen = calloc(1, 1 << 20);
        uint64_t value, bits, back;
        for (uint64_t word = 0; word < words; word++) {
            if (lintelp_view_compute(view, word, &value) < 0)
                continue;
            assert_true(value < 1 << 20);
            seen[value] = 1;
            assert_int_equal(lintelp_view_invert(view, value, &bits), LINTEL_OK);
            assert_int_equal(lintelp_view_compute(view, bits, &back), LINTEL_OK);
            assert_true(back == value && bits < words && (bits & ~view->mask) == 0);
        }
        for (value = 0; value < 1 << 20; value++)
            if (!seen[value] && lintelp_view_invert(view, value, &bits) == LINTEL_OK)
                fail_msg("%s: %llu is not one that can be read", texts[i],
                         (unsigned long long)value);
        free(seen);
        lintel_layout_free(layout);
    }
}

static void view_arithmetic_is_64_bits_wide(void **state)
{
    static const struct {
        const char *text;
        uint64_t word;
        int status;
        uint64_t value;
    } cases[] = {
        {"!Q:length *", UINT64_MAX, 0, UINT64_MAX},
        {"!Q:length+1 *", UINT64_MAX, LINTEL_E_TOO_LARGE, 0},
        {"!Q:length+1 *", UINT64_MAX - 1, 0, UINT64_MAX},
        {"!Q:length*2 *", (uint64_t)1 << 63, LINTEL_E_TOO_LARGE, 0},
        {"!Q:length*2+1 *", UINT64_MAX >> 1, 0, UINT64_MAX},
        {"!Q:length-1 *", 0, LINTEL_E_TOO_SMALL, 0},
        {"!Q:length-1 *", 1, 0, 0},
        {"!q:length *", (uint64_t)1 << 63, LINTEL_E_TOO_SMALL, 0},
        {"!q:length+4611686018427387904 *", (uint64_t)1 << 63, LINTEL_E_TOO_SMALL, 0},
        {"!Q:length-2+2 *", 1, LINTEL_E_TOO_SMALL, 0},
        {"!Q:length+2-2 *", UINT64_MAX - 1, LINTEL_E_TOO_LARGE, 0},
        {"!Q:length+2-2 *", UINT64_MAX - 2, 0, UINT64_MAX - 2},
        {"!q:length*9 *", UINT64_MAX, LINTEL_E_TOO_SMALL, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_layout *layout = make_layout(cases[i].text);
        uint64_t value = 0, bits;
        int rc = lintelp_view_compute(&layout->views[0], cases[i].word, &value);
        if (rc != cases[i].status || value != cases[i].value)
            fail_msg("%s: %d, %llu", cases[i].text, rc, (unsigned long long)value);
        if (rc == LINTEL_OK) {
            assert_int_equal(lintelp_view_invert(&layout->views[0], value, &bits), LINTEL_OK);
            assert_true(bits == cases[i].word);
        }
        lintel_layout_free(layout);
    }
}

static void varint_is_exact(void **state)
{
    static const struct {
        const char *hex;
        unsigned max;
        int size;
        uint64_t value;
    } cases[] = {
        {"", 10, 0, 0},
        {"00", 10, 1, 0},
        {"7f", 10, 1, 127},
        {"80", 10, 0, 0},
        {"8001", 10, 2, 128},
        {"8000", 10, LINTEL_E_MALFORMED, 0},
        {"ffffff7f", 4, 4, 268435455},
        {"ffffff80", 4, LINTEL_E_TOO_LARGE, 0},
        {"ffffff", 4, 0, 0},
        {"80808000", 4, LINTEL_E_MALFORMED, 0},
        {"80", 1, LINTEL_E_TOO_LARGE, 0},
        {"ffffffffffffffffff01", 10, 10, UINT64_MAX},
        {"ffffffffffffffffff02", 10, LINTEL_E_TOO_LARGE, 0},
        {"ffffffffffffffffff81", 10, LINTEL_E_TOO_LARGE, 0},
        {"ffffffffffffffffff00", 10, LINTEL_E_MALFORMED, 0},
        {"ffffffffffffffffff", 10, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct bytes in = from_hex(cases[i].hex);
        uint8_t *copy = guard_copy(in.data, in.size);
        uint64_t value = 0;
        uint8_t out[10];
        int size = lintelp_varint_get(&value, copy, in.size, cases[i].max);
        if (size != cases[i].size || value != cases[i].value)
            fail_msg("%s: %d, %llu", cases[i].hex, size, (unsigned long long)value);
        if (size > 0) {
            assert_int_equal(lintelp_varint_put(out, value), size);
            assert_memory_equal(out, in.data, (size_t)size);
        }
        guard_free(copy, in.size);
        free(in.data);
    }
}

/* ---- writing --------------------------------------------------------------------------------- */

static int has_nameless(const struct lintel_layout *layout)
{
    for (size_t i = 0; i < layout->field_count; i++)
        if (layout->fields[i].views == 0)
            return 1;
    return 0;
}

/* What was read can be written, byte for byte: header, trailer, and with another length. */
static void check_round_trip(const struct vector *vector)
{
    struct lintel_layout *layout = make_layout(vector->layout);
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_value values[LINTEL_VIEWS_MAX];
    size_t count = lintel_layout_view_count(layout);
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    struct lintel_error error;
    uint8_t out[LINTEL_HEADER_MAX];
    size_t size;

    options.layout = layout;
    options.max_frame = vector->max_frame;
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, vector->wire.data, vector->wire.size), LINTEL_OK);
    while (lintel_decoder_next(decoder, &frame) == 1) {
        assert_int_equal(lintel_layout_read(layout, values, count, &frame), LINTEL_OK);
        if (lintel_layout_put_header(layout, out, sizeof out, &size, values, count, frame.length,
                                     &error) < 0)
            fail_msg("%s: %s", vector->name, error.text);
        assert_int_equal(size, frame.header_size);
        /* Bits that no view names may be anything, and are written as zeros. */
        if (!has_nameless(layout) && strcmp(vector->name, "ops-mask-and-lost-bits") != 0)
            assert_memory_equal(out, frame.header, size);
        assert_int_equal(
            lintel_layout_put_trailer(layout, out, sizeof out, &size, values, count, &error),
            LINTEL_OK);
        assert_int_equal(size, frame.trailer_size);
        assert_memory_equal(out, frame.trailer, size);
        assert_int_equal(
            lintel_layout_put_like(layout, out, sizeof out, &size, &frame, frame.length, &error),
            LINTEL_OK);
        assert_int_equal(size, frame.header_size);
        assert_memory_equal(out, frame.header, size);
        for (size_t i = 0; i < size; i++) {
            size_t none;
            assert_int_equal(
                lintel_layout_put_header(layout, out, i, &none, values, count, frame.length, NULL),
                LINTEL_E_SPACE);
            assert_int_equal(
                lintel_layout_put_like(layout, out, i, &none, &frame, frame.length, NULL),
                LINTEL_E_SPACE);
        }
    }
    lintel_decoder_free(decoder);
    lintel_layout_free(layout);
}

static void layout_writes_what_it_reads(void **state)
{
    (void)state;
    assert_true(each_vector("valid", check_round_trip) >= 40);
}

static void expect_header(const char *text, const struct lintel_value *values, size_t count,
                          uint64_t length, int status, const char *expected)
{
    struct lintel_layout *layout = make_layout(text);
    struct lintel_error error = {0};
    struct bytes wire = from_hex(status == LINTEL_OK ? expected : "");
    uint8_t out[LINTEL_HEADER_MAX];
    size_t size = 0;
    int rc =
        lintel_layout_put_header(layout, out, sizeof out, &size, values, count, length, &error);

    if (rc != status || (rc < 0 && strstr(error.text, expected) == NULL))
        fail_msg("%s: %d %s", text, rc, error.text);
    assert_int_equal(size, wire.size);
    assert_memory_equal(out, wire.data, size);
    free(wire.data);
    lintel_layout_free(layout);
}

static void layout_put_refuses_what_does_not_fit(void **state)
{
    struct lintel_value two[2] = {lintel_uint(0), lintel_uint(0)};
    (void)state;

    expect_header("!B:length *", NULL, 0, 255, LINTEL_OK, "ff");
    expect_header("!B:length *", NULL, 0, 256, LINTEL_E_TOO_LARGE, "length 256");
    expect_header("!H:length *", NULL, 0, 65535, LINTEL_OK, "ffff");
    expect_header("!H:length *", NULL, 0, 65536, LINTEL_E_TOO_LARGE, "length 65536");
    expect_header("!T:length *", NULL, 0, (1 << 24) - 1, LINTEL_OK, "ffffff");
    expect_header("!T:length *", NULL, 0, 1 << 24, LINTEL_E_TOO_LARGE, "length 16777216");
    expect_header("!I:length *", NULL, 0, UINT32_MAX, LINTEL_OK, "ffffffff");
    expect_header("!I:length *", NULL, 0, (uint64_t)UINT32_MAX + 1, LINTEL_E_TOO_LARGE, "length");
    expect_header("!i:length *", NULL, 0, INT32_MAX, LINTEL_OK, "7fffffff");
    expect_header("!i:length *", NULL, 0, (uint64_t)INT32_MAX + 1, LINTEL_E_TOO_LARGE, "length");
    expect_header("!I:length-4 *", NULL, 0, UINT32_MAX - 4, LINTEL_OK, "ffffffff");
    expect_header("!I:length-4 *", NULL, 0, UINT32_MAX - 3, LINTEL_E_TOO_LARGE, "length");
    expect_header("!H:length*4-4 *", NULL, 0, 6, LINTEL_E_TOO_LARGE, "length 6");
    expect_header("!H:length*4-4 *", NULL, 0, 8, LINTEL_OK, "0003");
    expect_header("!4v:length *", NULL, 0, 268435455, LINTEL_OK, "ffffff7f");
    expect_header("!4v:length *", NULL, 0, 268435456, LINTEL_E_TOO_LARGE, "length");
    expect_header("!Q:length *", NULL, 0, LINTEL_LENGTH_MAX, LINTEL_OK, "4000000000000000");
    expect_header("!Q:length *", NULL, 0, LINTEL_LENGTH_MAX + 1, LINTEL_E_TOO_LARGE, "length");

    two[0] = lintel_uint(256);
    expect_header("!B:a B:length *", two, 2, 0, LINTEL_E_RANGE, "a 256 does not fit");
    two[0] = lintel_int(-1);
    expect_header("!B:a B:length *", two, 2, 0, LINTEL_E_RANGE, "a -1 does not fit");
    expect_header("!b:a B:length *", two, 2, 0, LINTEL_OK, "ff00");
    expect_header("!q:a B:length *", two, 2, 0, LINTEL_OK, "ffffffffffffffff00");
    two[0] = lintel_int(-129);
    expect_header("!b:a B:length *", two, 2, 0, LINTEL_E_RANGE, "a -129 does not fit");
    two[0] = lintel_uint(128);
    expect_header("!b:a B:length *", two, 2, 0, LINTEL_E_RANGE, "a 128 does not fit");
    two[0] = lintel_uint(UINT64_MAX);
    expect_header("!q:a B:length *", two, 2, 0, LINTEL_E_RANGE, "does not fit");
    expect_header("!Q:a B:length *", two, 2, 0, LINTEL_OK, "ffffffffffffffff00");
    two[0] = lintel_uint(2);
    expect_header("!?:a B:length *", two, 2, 0, LINTEL_E_RANGE, "a 2 does not fit");
    expect_header("!B:a&1 B:length *", two, 2, 0, LINTEL_E_RANGE, "a 2 does not fit");
    expect_header("!2s:a B:length *", two, 2, 0, LINTEL_E_RANGE, "must be a byte string");
    expect_header("!f:a B:length *", two, 2, 0, LINTEL_OK, "4000000000");
    two[0] = lintel_float(1e300);
    expect_header("!f:a B:length *", two, 2, 0, LINTEL_E_RANGE, "over the range");
    expect_header("!B:a B:length *", two, 2, 0, LINTEL_E_RANGE, "must be an integer");
    two[0] = lintel_bytes("abc", 3);
    expect_header("!2s:a B:length *", two, 2, 0, LINTEL_E_RANGE, "more or fewer bytes");
    expect_header("!4s:a B:length *", two, 2, 0, LINTEL_OK, "6162630000");
    expect_header("!f:a B:length *", two, 2, 0, LINTEL_E_RANGE, "must be a number");
    expect_header("!c:a B:length *", two, 2, 0, LINTEL_E_RANGE, "more or fewer bytes");
    expect_header("!B:a B:length *", two, 1, 0, LINTEL_E_COUNT, "one value for each view");

    /* Views that share a word are or-ed, and may not change a constant or the length. */
    two[0] = lintel_uint(0xF1);
    two[1] = lintel_uint(0);
    expect_header("!H:length,flags>>12 *", two, 2, 5, LINTEL_OK, "0005");
    two[1] = lintel_uint(1);
    expect_header("!H:length,flags>>12 *", two, 2, 5, LINTEL_E_RANGE, "length is changed");
    expect_header("!H:length&0xfff,flags>>12 *", two, 2, 5, LINTEL_OK, "1005");
    {
        struct lintel_value three[3] = {lintel_uint(0xF1), lintel_uint(0), lintel_uint(0)};
        expect_header("!B:flags,reserved&0xf0=0 B:length *", three, 3, 0, LINTEL_E_RANGE,
                      "reserved is constant");
    }

    /* Nor bring another out of the range in which it is read: what is written can be read. */
    {
        struct lintel_value three[3] = {lintel_uint(6), lintel_uint(0), lintel_uint(0)};
        expect_header("!B:a,b-8 B:length *", three, 3, 0, LINTEL_OK, "0e00");
        three[0] = lintel_uint(UINT64_MAX);
        three[1] = lintel_uint(5);
        expect_header("!Q:a,b+5 B:length *", three, 3, 0, LINTEL_E_RANGE,
                      "b would be out of range when read");
        three[0] = lintel_uint(UINT64_MAX - 5);
        expect_header("!Q:a,b+5 B:length *", three, 3, 0, LINTEL_OK, "fffffffffffffffa00");
    }
}

/* Put the header HEX again, read under TEXT, with another length. */
static void expect_like(const char *text, const char *hex, uint64_t length, int status,
                        const char *want)
{
    struct lintel_layout *layout = make_layout(text);
    struct bytes header = from_hex(hex), wire = from_hex(status == LINTEL_OK ? want : "");
    struct lintel_frame frame = {.header = header.data, .header_size = (uint32_t)header.size};
    uint8_t out[LINTEL_HEADER_MAX];
    struct lintel_error error;
    size_t size;

    assert_int_equal(lintel_layout_put_like(layout, out, sizeof out, &size, &frame, length, &error),
                     status);
    if (status == LINTEL_OK) {
        assert_int_equal(size, wire.size);
        assert_memory_equal(out, wire.data, size);
    } else
        assert_non_null(strstr(error.text, want));
    free(header.data);
    free(wire.data);
    lintel_layout_free(layout);
}

static void layout_puts_another_length_only_where_it_can_be_read(void **state)
{
    (void)state;
    expect_like("!H:length&0xfff,flags>>12 *", "1005", 7, LINTEL_OK, "1007");
    expect_like("!B:length,kind&0xf0=0x20 *", "21", 0x2F, LINTEL_OK, "2f");
    expect_like("!B:length,kind&0xf0=0x20 *", "21", 0x30, LINTEL_E_RANGE, "kind is constant");
    expect_like("!B:length,rest-8 *", "09", 8, LINTEL_OK, "08");
    expect_like("!B:length,rest-8 *", "09", 7, LINTEL_E_RANGE, "rest would be out of range");
    expect_like("!B:length,all *", "09", 256, LINTEL_E_TOO_LARGE, "length 256");
    expect_like("!H:length *", "09", 9, LINTEL_E_MALFORMED, "not this layout's");
}

static void layout_refuses_bytes_at_null(void **state)
{
    static const char *const texts[] = {"!4s:a B:length *", "!c:a B:length *"};
    (void)state;

    for (size_t i = 0; i < COUNT(texts); i++) {
        struct lintel_layout *layout = make_layout(texts[i]);
        struct lintel_value values[2] = {lintel_text(NULL), lintel_uint(0)};
        struct lintel_error error;
        uint8_t out[5];
        size_t size;
        assert_int_equal(
            lintel_layout_put_header(layout, out, sizeof out, &size, values, 2, 0, &error),
            LINTEL_E_RANGE);
        assert_non_null(strstr(error.text, "NULL"));
        lintel_layout_free(layout);
    }
}

/* To the last bit, which a processor that loads them as numbers would not keep. */
static void layout_reads_and_writes_any_nan(void **state)
{
    static const uint8_t header[] = {0xFF, 0x80, 0, 1, 0x7F, 0xC0, 0, 2, 0x7F,
                                     0xF0, 0,    0, 0, 0,    0,    1, 0};
    struct lintel_frame frame = {header, header, header, 0, 17, 0, 0};
    struct lintel_layout *layout;
    struct lintel_value values[4];
    uint8_t out[17];
    size_t size;
    (void)state;

    assert_int_equal(
        lintel_layout_new(&layout, "!f:signals f:quiet d:long_one B:length *", NULL, NULL),
        LINTEL_OK);
    assert_int_equal(lintel_layout_read(layout, values, 4, &frame), LINTEL_OK);
    assert_true(values[0].as.u == 0xFFF0000020000000);
    assert_true(values[1].as.u == 0x7FF8000040000000);
    assert_true(values[2].as.u == 0x7FF0000000000001);
    assert_int_equal(lintel_layout_put_header(layout, out, sizeof out, &size, values, 4, 0, NULL),
                     LINTEL_OK);
    assert_memory_equal(out, header, sizeof header);
    lintel_layout_free(layout);
}

static void layout_reads_only_its_own_frames(void **state)
{
    static const uint8_t header[16] = {0x4C, 0x54, 1};
    struct lintel_frame frame = {header, header, header, 0, 15, 0, 0};
    struct lintel_value values[7];
    (void)state;

    assert_int_equal(lintel_layout_read(NULL, values, 7, &frame), LINTEL_E_MALFORMED);
    frame.header_size = 16;
    assert_int_equal(lintel_layout_read(NULL, values, 7, &frame), LINTEL_OK);
    assert_int_equal(lintel_layout_read(NULL, values, 6, &frame), LINTEL_E_COUNT);
    assert_int_equal(lintel_layout_read(NULL, NULL, 7, &frame), LINTEL_E_USAGE);
    assert_int_equal(lintel_layout_read_one(NULL, values, 7, &frame), LINTEL_E_USAGE);
    assert_int_equal(lintel_layout_read_one(NULL, values, 0, &frame), LINTEL_OK);
    assert_true(values[0].as.u == 0x4C54);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(layout_new_refuses_with_the_column),
        cmocka_unit_test(layout_new_takes_the_fullest),
        cmocka_unit_test(layout_new_limits_views_and_fields),
        cmocka_unit_test(layout_new_survives_failing_memory),
        cmocka_unit_test(layout_new_makes_every_known_one),
        cmocka_unit_test(layout_default_is_what_the_text_makes),
        cmocka_unit_test(layout_null_is_the_default),
        cmocka_unit_test(layout_describes_itself),
        cmocka_unit_test(layout_tells_how_sums_run),
        cmocka_unit_test(view_inverts_what_it_computes),
        cmocka_unit_test(view_arithmetic_is_64_bits_wide),
        cmocka_unit_test(varint_is_exact),
        cmocka_unit_test(layout_writes_what_it_reads),
        cmocka_unit_test(layout_put_refuses_what_does_not_fit),
        cmocka_unit_test(layout_puts_another_length_only_where_it_can_be_read),
        cmocka_unit_test(layout_refuses_bytes_at_null),
        cmocka_unit_test(layout_reads_and_writes_any_nan),
        cmocka_unit_test(layout_reads_only_its_own_frames),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
