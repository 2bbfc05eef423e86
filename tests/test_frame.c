#include "util.h"

/* ---- the rules of flags and control frames --------------------------------------------------- */

static void header_check_knows_every_combination_of_flags(void **state)
{
    (void)state;
    for (unsigned flags = 0; flags < 256; flags++) {
        struct lintel_header header = {(uint8_t)flags, LINTEL_PING, 0, NULL};
        int allowed =
            flags == 0 || flags == LINTEL_REPLY || flags == LINTEL_MORE ||
            flags == (LINTEL_REPLY | LINTEL_MORE) || flags == (LINTEL_REPLY | LINTEL_ERROR) ||
            flags == (LINTEL_REPLY | LINTEL_ERROR | LINTEL_MORE) || flags == LINTEL_CONTROL;
        struct lintel_error error = {0};
        if ((lintel_header_check(&header, 0, &error) == LINTEL_OK) != allowed)
            fail_msg("flags %u: %s", flags, error.text);
        assert_int_equal(allowed, error.text[0] == '\0');
    }
    assert_int_equal(lintel_header_check(NULL, 0, NULL), LINTEL_E_USAGE);
}

static void header_check_knows_every_control_frame(void **state)
{
    static const struct {
        uint32_t type, id;
        uint64_t length;
        int allowed;
    } cases[] = {
        {0, 0, 0, 0},
        {LINTEL_HELLO, 0, 47, 0},
        {LINTEL_HELLO, 0, 48, 1},
        {LINTEL_HELLO, 0, 49, 0},
        {LINTEL_HELLO, 0, 51, 1},
        {LINTEL_HELLO, 0, 99, 1},
        {LINTEL_HELLO, 0, 100, 0},
        {LINTEL_HELLO, 1, 48, 0},
        {LINTEL_PING, UINT32_MAX, 125, 1},
        {LINTEL_PING, 0, 0, 1},
        {LINTEL_PING, 0, 126, 0},
        {LINTEL_PONG, 7, 125, 1},
        {LINTEL_PONG, 7, 126, 0},
        {LINTEL_BYE, 0, 7, 0},
        {LINTEL_BYE, 0, 8, 1},
        {LINTEL_BYE, 0, 9, 0},
        {LINTEL_BYE, 1, 8, 0},
        {LINTEL_SEALED, 0, 15, 0},
        {LINTEL_SEALED, 0, 16, 1},
        {LINTEL_SEALED, 1, 65535, 1},
        {LINTEL_SEALED, 1, 65536, 0},
        {LINTEL_SEALED, 2, 16, 0},
        {LINTEL_FDS, 0, 3, 0},
        {LINTEL_FDS, 0, 4, 1},
        {LINTEL_FDS, 0, 5, 0},
        {LINTEL_FDS, 1, 4, 0},
        {7, 0, 0, 0},
        {UINT32_MAX, 0, 0, 0},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_header header = {LINTEL_CONTROL, cases[i].type, cases[i].id, NULL};
        if ((lintel_header_check(&header, cases[i].length, NULL) == LINTEL_OK) != cases[i].allowed)
            fail_msg("control type %u id %u, %llu bytes", cases[i].type, cases[i].id,
                     (unsigned long long)cases[i].length);
        /* The same numbers in a frame that is not a control frame are nobody's business. */
        header.flags = 0;
        assert_int_equal(lintel_header_check(&header, cases[i].length, NULL), LINTEL_OK);
    }
}

/* ---- writing and reading back ---------------------------------------------------------------- */

static int decode_one(const struct lintel_layout *layout, struct lintel_decoder **decoder,
                      struct lintel_frame *frame, const uint8_t *bytes, size_t size)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    options.layout = layout;
    assert_int_equal(lintel_decoder_new(decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(*decoder, bytes, size), LINTEL_OK);
    return lintel_decoder_next(*decoder, frame);
}

static void frame_encode_is_what_the_decoder_reads(void **state)
{
    static const struct {
        const char *layout;
        struct lintel_header header;
    } cases[] = {
        {"lintel", {0, 0, 0, NULL}},
        {"lintel", {LINTEL_REPLY | LINTEL_ERROR, UINT32_MAX, 0x01020304, NULL}},
        {"u8", {0, 0, 0, NULL}},
        {"u32le", {0, 0, 0, NULL}},
        {"postgres", {0, 0, 0, NULL}},
        {"http2", {5, 1, 0, NULL}},
        {"amqp", {0, 3, 0, NULL}},
        {"mqtt", {0, 0x30, 0, NULL}},
        {"bgp", {0, 4, 0, NULL}},
        {"tpkt", {0, 0, 0, NULL}},
        {"!I:id 2v:length H:type * 3v:end B:last", {0, 500, 70000, NULL}},
    };
    static uint8_t payload[300];
    uint8_t out[LINTEL_HEADER_MAX];
    (void)state;

    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7);
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_layout *layout = make_layout(cases[i].layout);
        const struct lintel_header *header = &cases[i].header;
        for (size_t length = 0; length < 300; length += length < 8 ? 1 : 97) {
            struct lintel_header back, reply = {0, 0, 0, NULL};
            struct lintel_decoder *decoder;
            struct lintel_frame frame;
            struct lintel_error error;
            uint8_t again[LINTEL_HEADER_MAX];
            size_t size = 0, size_again;
            int rc = lintel_frame_encode(layout, out, sizeof out, &size, header, payload, length,
                                         &error);
            if (length > lintel_layout_length_max(layout)) {
                assert_int_equal(rc, LINTEL_E_TOO_LARGE);
                continue;
            }
            if (rc < 0 && strcmp(cases[i].layout, "postgres") != 0)
                fail_msg("%s: %s", cases[i].layout, error.text);
            if (rc < 0)
                continue;
            assert_true(size <= lintel_frame_size_max(layout, length));
            assert_int_equal(decode_one(layout, &decoder, &frame, out, size), 1);
            assert_int_equal(frame.length, length);
            assert_memory_equal(frame.payload, payload, length);
            assert_int_equal(frame.header_size + length + frame.trailer_size, size);
            assert_int_equal(lintel_header_read(layout, &back, &frame), LINTEL_OK);
            assert_int_equal(back.flags, header->flags);
            assert_int_equal(back.type, header->type);
            assert_int_equal(back.id, header->id);
            reply.like = &frame;
            assert_int_equal(lintel_frame_encode(layout, again, sizeof again, &size_again, &reply,
                                                 payload, length, NULL),
                             LINTEL_OK);
            assert_int_equal(size_again, size);
            assert_memory_equal(again, out, size);
            for (size_t room = 0; room < size; room++)
                assert_int_equal(lintel_frame_encode(layout, again, room, &size_again, header,
                                                     payload, length, NULL),
                                 LINTEL_E_SPACE);
            lintel_decoder_free(decoder);
        }
        lintel_layout_free(layout);
    }
}

/* Both ways of writing lintel's header, the quick one and the layout's, agree on every bit. */
static void frame_put_header_agrees_with_the_layout(void **state)
{
    struct lintel_value values[7];
    uint8_t quick[16], plain[16];
    size_t size;
    (void)state;

    for (unsigned bit = 0; bit < 96; bit++) {
        struct lintel_header header = {0, 0, 0, NULL};
        uint64_t length = 0;
        header.type = bit < 32 ? (uint32_t)1 << bit : 0xA5A5A5A5;
        header.id = bit >= 32 && bit < 64 ? (uint32_t)1 << (bit - 32) : 0x12345678;
        length = bit >= 64 ? (uint64_t)1 << (bit - 64) : 5;
        header.flags = bit % 2 ? LINTEL_REPLY : 0;
        for (size_t i = 0; i < COUNT(values); i++)
            values[i] = lintel_uint(0);
        values[lintel_layout_find(NULL, "flags")] = lintel_uint(header.flags);
        values[lintel_layout_find(NULL, "type")] = lintel_uint(header.type);
        values[lintel_layout_find(NULL, "id")] = lintel_uint(header.id);
        assert_int_equal(lintel_frame_put_header(NULL, quick, 16, &size, &header, length, NULL),
                         LINTEL_OK);
        assert_int_equal(size, 16);
        assert_int_equal(lintel_layout_put_header(NULL, plain, 16, &size, values, 7, length, NULL),
                         LINTEL_OK);
        assert_memory_equal(quick, plain, 16);
    }
}

static void frame_put_header_refuses(void **state)
{
    struct lintel_layout *u32 = make_layout("u32");
    struct lintel_header header = {0, 5, 0, NULL};
    struct lintel_error error;
    uint8_t out[16];
    size_t size;
    (void)state;

    assert_int_equal(lintel_frame_put_header(u32, out, 16, &size, &header, 0, &error),
                     LINTEL_E_RANGE);
    assert_string_equal(error.text, "the layout has no view named type");
    header.type = 0;
    header.id = 5;
    assert_int_equal(lintel_frame_put_header(u32, out, 16, &size, &header, 0, &error),
                     LINTEL_E_RANGE);
    header.id = 0;
    header.flags = LINTEL_MORE;
    assert_int_equal(lintel_frame_put_header(u32, out, 16, &size, &header, 0, &error),
                     LINTEL_E_RANGE);
    header.flags = 0;
    assert_int_equal(
        lintel_frame_put_header(u32, out, 16, &size, &header, (uint64_t)1 << 32, &error),
        LINTEL_E_TOO_LARGE);
    assert_int_equal(
        lintel_frame_put_header(NULL, out, 16, &size, &header, (uint64_t)1 << 32, &error),
        LINTEL_E_TOO_LARGE);
    header.flags = LINTEL_ERROR;
    assert_int_equal(lintel_frame_put_header(NULL, out, 16, &size, &header, 0, &error),
                     LINTEL_E_MALFORMED);
    header.flags = 0x10;
    assert_int_equal(lintel_frame_put_header(NULL, out, 16, &size, &header, 0, &error),
                     LINTEL_E_MALFORMED);
    assert_int_equal(lintel_frame_put_header(NULL, NULL, 16, &size, &header, 0, &error),
                     LINTEL_E_USAGE);
    assert_int_equal(lintel_frame_encode(NULL, out, 16, &size, &header, NULL, 1, &error),
                     LINTEL_E_USAGE);
    lintel_layout_free(u32);
}

/* ---- showing --------------------------------------------------------------------------------- */

static void expect_dump(const char *text, const char *hex, const char *expected)
{
    struct lintel_layout *layout = make_layout(text);
    struct bytes wire = from_hex(hex);
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    char line[128];

    assert_int_equal(decode_one(layout, &decoder, &frame, wire.data, wire.size), 1);
    assert_int_equal(lintel_frame_dump(layout, line, sizeof line, &frame), strlen(expected));
    assert_string_equal(line, expected);
    for (size_t size = 1; size < strlen(expected); size++) {
        assert_int_equal(lintel_frame_dump(layout, line, size, &frame), size - 1);
        assert_int_equal(strncmp(line, expected, size - 1), 0);
    }
    assert_int_equal(lintel_frame_dump(layout, NULL, 0, &frame), 0);
    lintel_decoder_free(decoder);
    free(wire.data);
    lintel_layout_free(layout);
}

static void frame_dump_is_one_line(void **state)
{
    (void)state;
    expect_dump("lintel", "4c540103 00000007 00000001 00000001 61",
                "#0 type 7 id 1 REPLY ERROR 1 byte");
    expect_dump("lintel", "4c540108 00000004 00000000 00000008 0000000000000000",
                "#0 BYE id 0 8 bytes");
    expect_dump("postgres", "51 00000006 6162", "#0 type \"Q\" 2 bytes");
    expect_dump("http2", "000000 04 01 00000000", "#0 type 4 flags 1 stream 0 0 bytes");
}

/* A frame made by hand may lack what the decoder always finds: half a trailer is not sent. */
static void frame_put_trailer_refuses_half_a_trailer(void **state)
{
    struct lintel_layout *layout = make_layout("amqp");
    static const uint8_t bytes[] = {1, 0, 3, 0, 0, 0, 0, 0xCE}, wrong[] = {0xCF};
    struct lintel_frame like = {.header = bytes, .header_size = 7};
    struct lintel_header header = {.like = &like};
    uint8_t out[16];
    size_t size;
    (void)state;
    assert_int_equal(lintel_frame_encode(layout, out, sizeof out, &size, &header, "", 0, NULL),
                     LINTEL_E_MALFORMED);
    like.trailer = bytes + 7;
    assert_int_equal(lintel_frame_encode(layout, out, sizeof out, &size, &header, "", 0, NULL),
                     LINTEL_E_MALFORMED);
    like.trailer_size = 1;
    assert_int_equal(lintel_frame_encode(layout, out, sizeof out, &size, &header, "", 0, NULL),
                     LINTEL_OK);
    assert_int_equal(size, sizeof bytes);
    assert_memory_equal(out, bytes, sizeof bytes);
    like.trailer = wrong;
    assert_int_equal(lintel_frame_encode(layout, out, sizeof out, &size, &header, "", 0, NULL),
                     LINTEL_E_MALFORMED);
    lintel_layout_free(layout);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_check_knows_every_combination_of_flags),
        cmocka_unit_test(header_check_knows_every_control_frame),
        cmocka_unit_test(frame_encode_is_what_the_decoder_reads),
        cmocka_unit_test(frame_put_header_agrees_with_the_layout),
        cmocka_unit_test(frame_put_header_refuses),
        cmocka_unit_test(frame_dump_is_one_line),
        cmocka_unit_test(frame_put_trailer_refuses_half_a_trailer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
