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

/* ---- every byte changed, every end cut off --------------------------------------------------- */

static const char two_frames[] = "4c540100 00000007 00000001 00000003 616263"
                                 "4c540101 00000007 00000001 00000000";

/* Frames or an error of the peer, and nothing else. */
static void check_ending(const char *name, const char *seen)
{
    static const char *const endings[] = {"LINTEL_E_TRUNCATED", "LINTEL_E_TOO_SMALL",
                                          "LINTEL_E_TOO_LARGE", "LINTEL_E_MISMATCH",
                                          "LINTEL_E_VERSION",   "LINTEL_E_MALFORMED"};
    const char *error = strstr(seen, "error ");

    if (error == NULL && strstr(seen, "end ") != NULL)
        return;
    for (size_t i = 0; error != NULL && i < COUNT(endings); i++)
        if (strncmp(error + 6, endings[i], strlen(endings[i])) == 0)
            return;
    fail_msg("%s: %s", name, seen);
}

static void decoder_ends_well_on_every_single_byte_change(void **state)
{
    struct bytes wire = from_hex(two_frames);
    struct way whole = {NULL, 0, 0, 0, 1};
    static const size_t one = 1;
    struct way bytewise = {&one, 1, 0, 0, 0};
    (void)state;

    for (size_t i = 0; i < wire.size; i++) {
        uint8_t was = wire.data[i];
        for (unsigned value = 0; value < 256; value++) {
            char *a, *b;
            wire.data[i] = (uint8_t)value;
            a = story(NULL, wire.data, wire.size, &whole);
            b = story(NULL, wire.data, wire.size, &bytewise);
            check_ending("changed", a);
            if (strcmp(a, b) != 0)
                fail_msg("byte %zu is %u:\n%s---\n%s", i, value, a, b);
            free(a);
            free(b);
        }
        wire.data[i] = was;
    }
    free(wire.data);
}

static void check_truncations(const struct vector *vector)
{
    struct lintel_layout *layout = make_layout(vector->layout);
    struct lintel_decoder_options options = options_of(layout, vector->max_frame);

    for (size_t size = 0; size < vector->wire.size && size < 64; size++) {
        struct way whole = {NULL, 0, 0, 0, 1};
        static const size_t three = 3;
        struct way threes = {&three, 1, 0, 2, 0};
        char *a = story(&options, vector->wire.data, size, &whole);
        char *b = story(&options, vector->wire.data, size, &threes);
        check_ending(vector->name, a);
        if (strcmp(a, b) != 0)
            fail_msg("%s, %zu bytes:\n%s---\n%s", vector->name, size, a, b);
        free(a);
        free(b);
    }
    lintel_layout_free(layout);
}

static void decoder_ends_well_on_every_truncation(void **state)
{
    (void)state;
    (void)each_vector("valid", check_truncations);
    (void)each_vector("invalid", check_truncations);
}

/* Every partition of a stream of two frames with payloads of 0 to 2 bytes, for a short layout. */
static void decoder_gives_the_same_for_every_partition(void **state)
{
    static const char *const streams[] = {"00 00",         "01aa 00", "00 01aa",    "02aabb 02ccdd",
                                          "01aa 03bbccdd", "05aabb",  "03aabbcc 04"};
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 4);
    const struct way whole = {NULL, 0, 0, 0, 0};
    (void)state;

    for (size_t i = 0; i < COUNT(streams); i++) {
        struct bytes wire = from_hex(streams[i]);
        char *expected = story(&options, wire.data, wire.size, &whole);
        for (unsigned cuts = 0; cuts < 1u << (wire.size - 1); cuts++) {
            size_t sizes[16];
            size_t count = 0;
            sizes[count] = 1;
            for (size_t at = 1; at < wire.size; at++) {
                if (cuts >> (at - 1) & 1)
                    sizes[++count] = 0;
                sizes[count]++;
            }
            for (int how = 0; how < 4; how++) {
                struct way way = {sizes, count + 1, how & 1, how & 2, 0};
                char *seen = story(&options, wire.data, wire.size, &way);
                if (strcmp(expected, seen) != 0)
                    fail_msg("%s cut by %x, way %d:\n%s---\n%s", streams[i], cuts, how, seen,
                             expected);
                free(seen);
            }
        }
        free(expected);
        free(wire.data);
    }
    lintel_layout_free(layout);
}

/* ---- the words of errors --------------------------------------------------------------------- */

static void expect_error(const char *text, const char *hex, uint64_t max_frame, int status,
                         uint64_t at, const char *says)
{
    struct lintel_layout *layout = make_layout(text);
    struct lintel_decoder_options options = options_of(layout, max_frame);
    struct bytes wire = from_hex(hex);
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    struct lintel_error error;
    int rc;

    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data, wire.size), LINTEL_OK);
    (void)lintel_decoder_end(decoder);
    while ((rc = lintel_decoder_next(decoder, &frame)) == 1)
        continue;
    lintel_decoder_error(decoder, &error);
    if (rc != status || error.status != status || error.at != at || strcmp(error.text, says) != 0)
        fail_msg("%s over %s: %d at %d: %s", text, hex, rc, (int)error.at, error.text);
    lintel_decoder_free(decoder);
    free(wire.data);
    lintel_layout_free(layout);
}

static void decoder_says_what_where_and_against_which_limit(void **state)
{
    struct text thousand = {NULL, 0};
    (void)state;

    text_add(&thousand, "000003fc");
    for (int i = 0; i < 1020; i++)
        text_add(&thousand, "00");
    text_add(&thousand, "48545450");
    expect_error("u32", thousand.data, 0, LINTEL_E_TOO_LARGE, 1024,
                 "frame at byte 1024: length 1213486160 exceeds the limit of 16777216 (the bytes "
                 "read \"HTTP\")");
    free(thousand.data);
    expect_error("lintel", "485454502f312e3120323030204f4b0d0a", 0, LINTEL_E_MISMATCH, 0,
                 "frame at byte 0: magic is 0x4854, not 0x4C54 (the bytes read \"HTTP/1.1 200 "
                 "OK\")");
    expect_error("lintel", "5353482d322e302d4f70656e5353485f", 0, LINTEL_E_MISMATCH, 0,
                 "frame at byte 0: magic is 0x5353, not 0x4C54 (the bytes read "
                 "\"SSH-2.0-OpenSSH_\")");
    expect_error("lintel", "16030100c8010000c403030000000000", 0, LINTEL_E_MISMATCH, 0,
                 "frame at byte 0: magic is 0x1603, not 0x4C54 (the bytes look like a TLS record)");
    expect_error("lintel", "4c540200000000000000000000000000", 0, LINTEL_E_VERSION, 0,
                 "frame at byte 0: version 2, this side speaks 1");
    expect_error("lintel", "4c540110000000000000000000000000", 0, LINTEL_E_MISMATCH, 0,
                 "frame at byte 0: reserved is 16, not 0");
    expect_error("lintel", "4c540102000000000000000000000000", 0, LINTEL_E_MALFORMED, 0,
                 "frame at byte 0: the flag ERROR needs REPLY");
    expect_error("lintel", "4c540108000000070000000000000000", 0, LINTEL_E_MALFORMED, 0,
                 "frame at byte 0: there is no control frame of this type");
    expect_error("u32", "05000000", 0, LINTEL_E_TOO_LARGE, 0,
                 "frame at byte 0: length 83886080 exceeds the limit of 16777216 (in the other "
                 "byte order it would be 5)");
    expect_error("u32", "00000000 0000", 0, LINTEL_E_TRUNCATED, 4,
                 "frame at byte 4: the stream ended after 2 of at least 4 bytes");
    expect_error("u32", "00000002 aa", 0, LINTEL_E_TRUNCATED, 0,
                 "frame at byte 0: the stream ended after 5 of 6 bytes");
    expect_error("postgres", "51 00000003", 0, LINTEL_E_TOO_SMALL, 0,
                 "frame at byte 0: length 3 is below the least it can be, 4");
    expect_error("kafka", "ffffffff", 0, LINTEL_E_TOO_SMALL, 0,
                 "frame at byte 0: length -1 is below the least it can be, 0");
    expect_error("kafka", "80000000", 0, LINTEL_E_TOO_SMALL, 0,
                 "frame at byte 0: length -2147483648 is below the least it can be, 0 (in the "
                 "other byte order it would be 128)");
    expect_error("lintel", "544c0100000000000000000000000000", 0, LINTEL_E_MISMATCH, 0,
                 "frame at byte 0: magic is 0x544C, not 0x4C54 (in the other byte order it would "
                 "be right)");
    expect_error("!d:real=-3 B:length *", "0000000000000000 00", 0, LINTEL_E_MISMATCH, 0,
                 "frame at byte 0: real is not -3");
    expect_error("!4s:mark='ab01' B:length *", "31306261 00", 0, LINTEL_E_MISMATCH, 0,
                 "frame at byte 0: mark is \"10ba\", not \"ab01\" (the bytes read \"10ba\")");
    expect_error("u16", "0500 6869206969", 0, LINTEL_E_TRUNCATED, 0,
                 "frame at byte 0: the stream ended after 7 of 1282 bytes (in the other byte order "
                 "it would be 5)");
    expect_error("u16", "0300 68692069", 0, LINTEL_E_TRUNCATED, 0,
                 "frame at byte 0: the stream ended after 6 of 770 bytes");
    expect_error("http2", "474554202f20485454502f312e310d0a", 0, LINTEL_E_TRUNCATED, 0,
                 "frame at byte 0: the stream ended after 16 of 4670813 bytes (the bytes read "
                 "\"GET / HTT\")");
    expect_error("mysql", "1603010020616263", 0, LINTEL_E_TRUNCATED, 0,
                 "frame at byte 0: the stream ended after 8 of 66330 bytes (the bytes look like a "
                 "TLS record)");
    expect_error("tls", "1603010020616263", 0, LINTEL_E_TRUNCATED, 0,
                 "frame at byte 0: the stream ended after 8 of 37 bytes");
    expect_error("amqp", "01 0000 00000001 aa cd", 0, LINTEL_E_MISMATCH, 0,
                 "frame at byte 0: end is 0xCD, not 0xCE");
    expect_error("mqtt", "30 8000", 0, LINTEL_E_MALFORMED, 0,
                 "frame at byte 0: length is a varint longer than it needs to be");
    expect_error("mqtt", "30 ffffffff", 0, LINTEL_E_TOO_LARGE, 0,
                 "frame at byte 0: length is a varint over 4 bytes");
    expect_error("protobuf", "ffffffffffffffffff02", 0, LINTEL_E_TOO_LARGE, 0,
                 "frame at byte 0: length is a varint over 10 bytes or 64 bits");
    expect_error("!4s:mark='ABCD' B:length *", "4142434500", 0, LINTEL_E_MISMATCH, 0,
                 "frame at byte 0: mark is \"ABCE\", not \"ABCD\" (the bytes read \"ABCE\")");
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void decoder_holds_the_limit_to_the_byte(void **state)
{
    (void)state;
    for (uint64_t limit = 4; limit <= 6; limit++) {
        struct lintel_decoder_options options = options_of(NULL, limit);
        struct bytes wire = from_hex("4c540100 00000000 00000000 00000005 6162636465");
        char *seen = same_story_every_way("limit", &options, wire.data, wire.size);
        assert_int_equal(strncmp(seen, limit < 5 ? "error LINTEL_E_TOO_LARGE 0" : "0 5 ", 4), 0);
        free(seen);
        free(wire.data);
    }
}

static void decoder_new_refuses_a_limit_that_cannot_be(void **state)
{
    struct lintel_layout *layout = make_layout("u16");
    struct lintel_decoder_options options = options_of(layout, 65536);
    struct lintel_decoder *decoder = NULL;
    struct lintel_error error;
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, &options, &error), LINTEL_E_RANGE);
    assert_string_equal(error.text, "a frame limit of 65536 is more than the layout's length can "
                                    "carry, 65535");
    options.max_frame = 65535;
    assert_int_equal(lintel_decoder_new(&decoder, &options, &error), LINTEL_OK);
    lintel_decoder_free(decoder);
    options.size++;
    assert_int_equal(lintel_decoder_new(&decoder, &options, &error), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_new(NULL, NULL, NULL), LINTEL_E_USAGE);
    lintel_layout_free(layout);
}

static void decoder_skips_what_is_over_the_limit(void **state)
{
    static const char hex[] = "01aa 05bbbbbbbbbb 02cccc 03dddddd 01ee";
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 2);
    struct bytes wire = from_hex(hex);
    char *seen;
    (void)state;

    options.over_limit = LINTEL_OVER_LIMIT_SKIP;
    seen = same_story_every_way("skip", &options, wire.data, wire.size);
    assert_string_equal(seen, "0 1 aa length=1\n8 2 cccc length=2\n15 1 ee length=1\nend 17\n");
    free(seen);
    wire.size = 5;
    seen = same_story_every_way("skip, truncated", &options, wire.data, wire.size);
    assert_string_equal(seen, "0 1 aa length=1\nerror LINTEL_E_TRUNCATED 2\nframe at byte 2: the "
                              "stream ended after 3 of 6 bytes\n");
    free(seen);
    free(wire.data);
    lintel_layout_free(layout);
}

static void decoder_skips_nothing_that_has_no_end(void **state)
{
    struct lintel_layout *layout = make_layout("u64");
    struct lintel_decoder_options options = options_of(layout, 2);
    struct bytes wire = from_hex("4000000000000001 aaaa");
    char *seen;
    (void)state;

    options.over_limit = LINTEL_OVER_LIMIT_SKIP;
    seen = same_story_every_way("skip", &options, wire.data, wire.size);
    assert_int_equal(strncmp(seen, "error LINTEL_E_TOO_LARGE 0", 26), 0);
    free(seen);
    free(wire.data);
    lintel_layout_free(layout);
}

static void decoder_reads_trailers_that_fix_nothing(void **state)
{
    struct lintel_layout *layout = make_layout("!H:length * H:sum B:end");
    struct lintel_decoder_options options = options_of(layout, 0);
    struct bytes wire = from_hex("0001 aa 010203 0000 040506 0002 bbcc 070809");
    char *seen;
    (void)state;

    seen = same_story_every_way("trailer", &options, wire.data, wire.size);
    assert_string_equal(seen, "0 1 aa length=1 sum=258 end=3\n6 0 - length=0 sum=1029 end=6\n"
                              "11 2 bbcc length=2 sum=1800 end=9\nend 18\n");
    free(seen);
    free(wire.data);
    lintel_layout_free(layout);
}

static void decoder_counts_what_it_skips(void **state)
{
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 1);
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    static const uint8_t wire[] = {200, 1, 2, 3};
    static const uint8_t rest[197 + 2] = {[197] = 1, [198] = 7};
    (void)state;

    options.over_limit = LINTEL_OVER_LIMIT_SKIP;
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire, sizeof wire), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    assert_int_equal(lintel_decoder_need(decoder), 197);
    assert_int_equal(lintel_decoder_memory(decoder), 0);
    assert_int_equal(lintel_decoder_skipped(decoder), 0);
    assert_int_equal(lintel_decoder_feed(decoder, rest, sizeof rest), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_int_equal(lintel_decoder_skipped(decoder), 1);
    assert_int_equal(frame.offset, 201);
    lintel_decoder_free(decoder);
    lintel_layout_free(layout);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* Law 2: storage follows the bytes that came, not the length that was claimed. */
static void decoder_grows_as_bytes_arrive(void **state)
{
    struct lintel_decoder_options options = options_of(NULL, 16 << 20);
    struct bytes header = from_hex("4c540100 00000000 00000000 00ffffff");
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    struct failing failing;
    static uint8_t piece[1000];
    size_t arrived = 16;
    (void)state;

    for (int in_place = 0; in_place < 2; in_place++) {
        failing_init(&failing);
        options.allocator = &failing.allocator;
        assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
        arrived = 0;
        for (int i = 0; i < 300; i++) {
            const uint8_t *bytes = i == 0 ? header.data : piece;
            size_t left = i == 0 ? header.size : sizeof piece;
            while (left > 0) {
                void *space;
                size_t room = left;
                if (in_place) {
                    assert_int_equal(lintel_decoder_space(decoder, &space, &room), LINTEL_OK);
                    room = room < left ? room : left;
                    memcpy(space, bytes, room);
                    assert_int_equal(lintel_decoder_filled(decoder, room), LINTEL_OK);
                } else {
                    assert_int_equal(lintel_decoder_feed(decoder, bytes, room), LINTEL_OK);
                }
                assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
                bytes += room;
                left -= room;
                arrived += room;
                assert_true(lintel_decoder_memory(decoder) <=
                            (2 * arrived > 16384 ? 2 * arrived : 16384));
            }
        }
        assert_int_equal(lintel_decoder_need(decoder), 16 + 0xffffff - arrived);
        lintel_decoder_free(decoder);
        assert_int_equal(failing.blocks, 0);
    }
    free(header.data);
}

static uint8_t header_byte(size_t length, size_t at)
{
    uint8_t header[LINTEL_HEADER_SIZE];

    lintel_header_put(header, 0, 0, 0, (uint32_t)length);
    return header[at];
}

/* Receive from a stream of equal frames, as much as is lent each time. */
static void decoder_lends_space_for_a_large_frame_to_its_end(void **state)
{
    const size_t sizes[] = {1000, 256 * 1024 - 16, 256 * 1024 - 15, 256 * 1024, 1000 * 1000};
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    (void)state;

    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        const size_t wire = 16 + sizes[i];
        size_t arrived = 0, frames = 0;
        assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
        while (frames < 8) {
            void *space;
            size_t size;
            int rc;
            assert_int_equal(lintel_decoder_space(decoder, &space, &size), LINTEL_OK);
            assert_true(size > 0 && size <= (wire > 256 * 1024 ? wire : 256 * 1024));
            if (wire > 256 * 1024 && arrived % wire >= 16)
                assert_true(size <= wire - arrived % wire);
            memset(space, 0, size);
            for (size_t at = 0; at < size; at++, arrived++)
                if (arrived % wire < 16)
                    ((uint8_t *)space)[at] = header_byte(sizes[i], arrived % wire);
            assert_int_equal(lintel_decoder_filled(decoder, size), LINTEL_OK);
            while ((rc = lintel_decoder_next(decoder, &frame)) == 1) {
                assert_int_equal(frame.length, sizes[i]);
                assert_int_equal(frame.offset, frames++ * wire);
            }
            assert_int_equal(rc, 0);
            assert_true(lintel_decoder_memory(decoder) <= 4 * wire + 512 * 1024);
        }
        lintel_decoder_free(decoder);
    }
}

enum { RUN = 40, RUN_WIRE = 16 + 8 };

/* Frames of 8 bytes in a row, but for one, with those flags and that length; its size on the wire.
 */
static size_t put_run(uint8_t *wire, int odd, uint8_t flags, uint32_t length)
{
    size_t used = 0;

    memset(wire, 0xAB, RUN * RUN_WIRE + 1);
    for (int i = 0; i < RUN; i++) {
        uint32_t size = i == odd ? length : 8;
        lintel_header_put(wire + used, i == odd ? flags : 0, 7, (uint32_t)i, size);
        used += 16 + size;
    }
    return used;
}

/* The frames that come out in batches of any size, and what is said behind them. */
static int read_run(struct lintel_decoder *decoder, const uint8_t *wire, size_t size, int batch,
                    struct lintel_frame *frames, int *count)
{
    int got;

    lintel_decoder_reset(decoder);
    assert_int_equal(lintel_decoder_feed(decoder, wire, size), LINTEL_OK);
    for (*count = 0; (got = lintel_decoder_next_batch(decoder, frames + *count, batch)) > 0;)
        *count += got;
    return got;
}

/* A batch takes frames that are like the one before them in one go: whichever is not, it is given
 * as it is, or refused. */
static void decoder_batch_looks_at_every_frame_of_a_run(void **state)
{
    static const uint8_t flags[] = {0, LINTEL_REPLY, LINTEL_MORE, LINTEL_REPLY | LINTEL_ERROR};
    static const int batches[] = {0 /* one more than odd */, 1, 3, RUN};
    static uint8_t wire[RUN * RUN_WIRE + 1];
    struct lintel_frame frames[2 * RUN];
    struct lintel_decoder *decoder;
    int n;
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
    for (int odd = 0; odd < RUN; odd++) {
        for (uint32_t kind = 0; kind < 4 * 3 * COUNT(batches); kind++) {
            const uint32_t length = 7 + kind % 3;
            size_t size = put_run(wire, odd, flags[kind / 3 % 4], length), at = 0;
            int batch = batches[kind / 12] > 0 ? batches[kind / 12] : 1 + odd;
            assert_int_equal(read_run(decoder, wire, size, batch, frames, &n), 0);
            assert_int_equal(n, RUN);
            for (int i = 0; i < RUN; i++) {
                assert_ptr_equal(frames[i].header, wire + at);
                assert_ptr_equal(frames[i].payload, wire + at + 16);
                assert_int_equal(frames[i].length, i == odd ? length : 8);
                assert_ptr_equal(frames[i].trailer, frames[i].payload + frames[i].length);
                assert_int_equal(frames[i].offset, at);
                at += 16 + frames[i].length;
            }
        }
        for (size_t byte = 0; byte < 4; byte++) {
            size_t size = put_run(wire, odd, 0, 8), at = (size_t)odd * RUN_WIRE;
            wire[at + byte] ^= byte == 3 ? LINTEL_ERROR : 0x40;
            assert_true(read_run(decoder, wire, size, RUN, frames, &n) < 0);
            assert_int_equal(n, odd);
            assert_int_equal(lintel_decoder_offset(decoder), at);
        }
    }
    lintel_decoder_free(decoder);
}

/* Frames with so many bytes each, the one in the middle with more, and where its header is. Returns
 * 0 where a length cannot be, as in units of eight bytes. */
static int put_frames(const struct lintel_layout *layout, struct bytes *wire, size_t length,
                      size_t more, size_t *middle)
{
    const struct lintel_header header = {0, 0, 0, NULL};

    wire->size = 0;
    for (int i = 0; i < 9; i++) {
        size_t size, payload = length + (i == 4 ? more : 0);
        if (i == 4)
            *middle = wire->size;
        if (lintel_frame_put_header(layout, wire->data + wire->size, 256, &size, &header, payload,
                                    NULL) < 0)
            return 0;
        wire->size += size;
        memset(wire->data + wire->size, 'a' + i, payload);
        wire->size += payload;
        assert_int_equal(
            lintel_frame_put_trailer(layout, wire->data + wire->size, 256, &size, &header, NULL),
            LINTEL_OK);
        wire->size += size;
    }
    return 1;
}

static void compare_runs(const char *name, struct lintel_layout *layout, const struct bytes *wire)
{
    static const size_t one = 1;
    static const struct way bytewise = {&one, 1, 0, 0, 0},
                            ways[] = {{NULL, 0, 0, 0, 1}, {NULL, 0, 0, 3, 1}, {NULL, 0, 0, 8, 1}};
    struct lintel_decoder_options options = options_of(layout, 0);
    char *expected = story(&options, wire->data, wire->size, &bytewise);

    for (size_t i = 0; i < COUNT(ways); i++) {
        char *seen = story(&options, wire->data, wire->size, &ways[i]);
        if (strcmp(expected, seen) != 0)
            fail_msg("%s, way %zu:\n%s---\n%s", name, i, seen, expected);
        free(seen);
    }
    free(expected);
}

/* Frames of one length in a row, whatever their layout, come out as they do byte by byte: also when
 * one of them is longer, and when any bit of its header is turned. */
static void decoder_takes_runs_of_every_layout(void **state)
{
    static const size_t lengths[] = {0, 1, 8, 127, 128, 200}, mores[] = {0, 1, 8};
    static uint8_t room[9 * 1024];
    struct bytes wire = {room, 0};
    (void)state;

    for (size_t i = 0; i < lintel_layout_known_count(); i++) {
        const char *name = lintel_layout_known(i)->name;
        struct lintel_layout *layout = make_layout(name);
        size_t middle, header = lintel_layout_header_max(layout), runs = 0;
        for (size_t j = 0; j < COUNT(lengths) * COUNT(mores); j++)
            if (put_frames(layout, &wire, lengths[j / 3], mores[j % 3], &middle)) {
                /* Cut anywhere, where looking at whole words might go over the end. */
                size_t cuts = lengths[j / 3] == 8 ? 20 : 2;
                for (size_t cut = 0; cut < cuts && cut < wire.size; cut++)
                    compare_runs(name, layout, &(struct bytes){wire.data, wire.size - cut});
                runs++;
            }
        assert_true(runs >= COUNT(lengths));
        assert_true(put_frames(layout, &wire, 8, 0, &middle));
        for (size_t bit = 0; bit < 8 * (header < 64 ? header : 64); bit++) {
            wire.data[middle + bit / 8] ^= (uint8_t)(1 << bit % 8);
            compare_runs(name, layout, &wire);
            wire.data[middle + bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        lintel_layout_free(layout);
    }
}

static void decoder_keeps_the_budget(void **state)
{
    struct lintel_decoder_options options = options_of(NULL, 1000);
    struct bytes wire = from_hex("4c540100 00000000 00000000 000003e8 aabbcc");
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    struct lintel_error error;
    void *space;
    size_t size;
    (void)state;

    options.max_memory = 1015;
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data, wire.size), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), LINTEL_E_NOMEM);
    assert_int_equal(lintel_decoder_next(decoder, &frame), LINTEL_E_NOMEM);
    lintel_decoder_error(decoder, &error);
    assert_string_equal(error.text,
                        "frame at byte 0: storage for 1016 bytes exceeds the budget of 1015");
    lintel_decoder_reset(decoder);
    assert_int_equal(lintel_decoder_space(decoder, &space, &size), LINTEL_OK);
    assert_int_equal(size, 1015);
    lintel_decoder_free(decoder);
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data, 3), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data + 3, wire.size - 3), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), LINTEL_E_NOMEM);
    lintel_decoder_free(decoder);
    options.max_memory = 1016;
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data, wire.size), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    lintel_decoder_free(decoder);
    free(wire.data);
}

/* What is held is within the budget, and within twice of it while views live; and a frame that fits
 * comes out, however the stream is cut and handed in. */
static void decoder_holds_no_more_than_the_budget(void **state)
{
    static const size_t sizes[] = {20000, 5000, 20000, 30, 19000, 12000, 20000};
    static const size_t cuts[] = {1, 100, 1000, 4096, 7000, 20000, SIZE_MAX};
    static const size_t budgets[] = {20000, 20001, 30000, 40000, 100000};
    static uint8_t wire[120000];
    struct lintel_layout *layout = make_layout("u32");
    size_t used = 0;
    (void)state;

    for (size_t i = 0; i < COUNT(sizes); used += sizes[i++])
        lintel_put_u32be(wire + used, (uint32_t)sizes[i] - 4);
    for (size_t i = 0; i < 2 * COUNT(cuts) * COUNT(budgets); i++) {
        const size_t cut = cuts[i / 2 % COUNT(cuts)], budget = budgets[i / 2 / COUNT(cuts)];
        struct lintel_decoder_options options = options_of(layout, 20000 - 4);
        struct lintel_decoder *decoder;
        struct lintel_frame frame;
        size_t frames = 0;
        int rc = 0;
        options.max_memory = budget;
        assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
        for (size_t at = 0; at < used && rc == 0;) {
            size_t step = cut < used - at ? cut : used - at;
            at += hand_in(decoder, wire + at, step, i % 2);
            assert_true(lintel_decoder_memory(decoder) <= budget);
            while ((rc = lintel_decoder_next(decoder, &frame)) == 1) {
                assert_int_equal(frame.length, sizes[frames++] - 4);
                assert_true(lintel_decoder_memory(decoder) <= 2 * budget);
            }
        }
        assert_int_equal(rc, 0);
        assert_int_equal(frames, COUNT(sizes));
        lintel_decoder_free(decoder);
    }
    lintel_layout_free(layout);
}

static void decoder_holds_a_budget_below_its_least_block(void **state)
{
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 0);
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    (void)state;

    options.max_memory = 10;
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    for (int i = 0; i < 20; i++)
        for (int at = 0; at < 10; at++) {
            assert_int_equal(lintel_decoder_feed(decoder, at == 0 ? "\x09" : "a", 1), LINTEL_OK);
            assert_int_equal(lintel_decoder_next(decoder, &frame), at == 9);
            if (at == 9)
                assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
            assert_true(lintel_decoder_memory(decoder) <= 10);
        }
    lintel_decoder_free(decoder);
    lintel_layout_free(layout);
}

/* Feed, with every allocation failing in turn; after each failure the decoder goes on. */
static void decoder_survives_failing_memory(void **state)
{
    struct bytes wire = from_hex(two_frames);
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct failing failing;
    long at;
    (void)state;

    for (at = 1; at < 100; at++) {
        struct lintel_decoder *decoder = NULL;
        struct lintel_frame frame;
        int frames = 0;
        int rc;
        failing_init(&failing);
        failing.fail_at = at;
        options.allocator = &failing.allocator;
        rc = lintel_decoder_new(&decoder, &options, NULL);
        assert_int_equal(rc, at == 1 ? LINTEL_E_NOMEM : LINTEL_OK);
        for (size_t i = 0; rc == LINTEL_OK && i < wire.size; i++) {
            assert_int_equal(lintel_decoder_feed(decoder, wire.data + i, 1), LINTEL_OK);
            while ((rc = lintel_decoder_next(decoder, &frame)) != 0) {
                assert_true(rc == 1 || rc == LINTEL_E_NOMEM);
                frames += rc == 1;
            }
        }
        if (at > 1)
            assert_int_equal(frames, 2);
        lintel_decoder_free(decoder);
        assert_int_equal(failing.blocks, 0);
        if (failing.calls < at)
            break;
    }
    assert_true(at > 2 && at < 100);
    free(wire.data);
}

static void decoder_error_does_without_memory(void **state)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    struct lintel_error error;
    struct failing failing;
    (void)state;

    failing_init(&failing);
    failing.fail_at = 2;
    options.allocator = &failing.allocator;
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, "GET / HTTP/1.1\r\n", 16), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), LINTEL_E_MISMATCH);
    lintel_decoder_error(decoder, &error);
    assert_int_equal(error.status, LINTEL_E_MISMATCH);
    assert_string_equal(error.text, lintel_strerror(LINTEL_E_MISMATCH));
    lintel_decoder_free(decoder);
    assert_int_equal(failing.blocks, 0);
}

static void decoder_trim_gives_storage_back(void **state)
{
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    static uint8_t wire[16 + 60000] = "LT\1";
    (void)state;

    wire[14] = 60000 >> 8;
    wire[15] = 60000 & 255;
    assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
    for (size_t i = 0; i < sizeof wire; i += 16) {
        assert_int_equal(lintel_decoder_feed(decoder, wire + i, 16), LINTEL_OK);
        assert_int_equal(lintel_decoder_next(decoder, &frame), i + 16 == sizeof wire);
    }
    assert_true(lintel_decoder_memory(decoder) >= 60000);
    lintel_decoder_trim(decoder);
    assert_int_equal(lintel_decoder_memory(decoder), 0);
    assert_int_equal(lintel_decoder_feed(decoder, wire, 100), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    lintel_decoder_trim(decoder);
    assert_true(lintel_decoder_memory(decoder) <= 200);
    assert_int_equal(lintel_decoder_feed(decoder, wire + 100, sizeof wire - 100), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_memory_equal(frame.payload, wire + 16, 60000);
    lintel_decoder_free(decoder);
}

/* ---- views, stopping, going on --------------------------------------------------------------- */

static void decoder_gives_views_of_what_was_fed(void **state)
{
    struct bytes wire = from_hex("4c540100 00000007 00000001 00000003 616263 4c5401");
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data, wire.size), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_ptr_equal(frame.header, wire.data);
    assert_ptr_equal(frame.payload, wire.data + 16);
    assert_int_equal(lintel_decoder_memory(decoder), 0); /* the tail is not copied before 0 */
    assert_int_equal(lintel_decoder_unread(decoder), 3);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    assert_true(lintel_decoder_memory(decoder) > 0);
    assert_ptr_equal(frame.header, wire.data); /* untouched by 0 */
    lintel_decoder_free(decoder);
    free(wire.data);
}

/* The frame that was put together and those behind it live until the next feed, the tail's copy
 * notwithstanding. */
static void decoder_views_live_until_the_next_feed(void **state)
{
    struct bytes wire = from_hex("03616263 03646566 03676869 036a6b");
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 0);
    struct failing failing;
    (void)state;

    failing_init(&failing);
    options.allocator = &failing.allocator;
    for (size_t cut = 1; cut < 4; cut++) {
        struct lintel_decoder *decoder;
        struct lintel_frame frames[4];
        int count = 0;
        assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
        assert_int_equal(lintel_decoder_feed(decoder, wire.data, cut), LINTEL_OK);
        assert_int_equal(lintel_decoder_next(decoder, &frames[0]), 0);
        assert_int_equal(lintel_decoder_feed(decoder, wire.data + cut, wire.size - cut), LINTEL_OK);
        while (lintel_decoder_next(decoder, &frames[count]) == 1)
            count++;
        assert_int_equal(count, 3);
        assert_memory_equal(frames[0].payload, "abc", 3);
        assert_memory_equal(frames[1].payload, "def", 3);
        assert_memory_equal(frames[2].payload, "ghi", 3);
        lintel_decoder_free(decoder);
        assert_int_equal(failing.blocks, 0);
    }
    free(wire.data);
    lintel_layout_free(layout);
}

/* The same with frames so large that the storage has to change while they are looked at. */
static void decoder_views_live_while_storage_changes(void **state)
{
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 0);
    struct lintel_decoder *decoder;
    struct failing failing;
    uint8_t wire[20 * 201];
    (void)state;

    for (size_t i = 0; i < sizeof wire; i++)
        wire[i] = (uint8_t)(i % 201 == 0 ? 200 : i / 201);
    failing_init(&failing);
    options.allocator = &failing.allocator;
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    for (int in_place = 0; in_place < 2; in_place++) {
        lintel_decoder_reset(decoder);
        for (size_t at = 0, seen = 0; at < sizeof wire;) {
            size_t step = sizeof wire - at < 350 ? sizeof wire - at : 350;
            struct lintel_frame frames[4];
            int count = 0;
            at += hand_in(decoder, wire + at, step, in_place);
            while (lintel_decoder_next(decoder, &frames[count]) == 1)
                count++;
            for (int i = 0; i < count; i++, seen++)
                for (size_t j = 0; j < 200; j++)
                    assert_int_equal(frames[i].payload[j], seen);
        }
        assert_int_equal(lintel_decoder_unread(decoder), 0);
        assert_int_equal(lintel_decoder_offset(decoder), sizeof wire);
    }
    lintel_decoder_free(decoder);
    assert_int_equal(failing.blocks, 0);
    lintel_layout_free(layout);
}

static void decoder_batch_gives_the_frames_before_an_error(void **state)
{
    struct bytes wire = from_hex("01aa 01bb ff");
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 200);
    struct lintel_decoder *decoder;
    struct lintel_frame frames[8];
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data, wire.size), LINTEL_OK);
    for (int count = 2; count > 0;) {
        int rc = lintel_decoder_next_batch(decoder, frames, 8);
        assert_true(rc > 0);
        count -= rc;
        assert_true(count >= 0);
    }
    assert_int_equal(lintel_decoder_next_batch(decoder, frames, 8), LINTEL_E_TOO_LARGE);
    assert_int_equal(lintel_decoder_next_batch(decoder, frames, 8), LINTEL_E_TOO_LARGE);
    assert_int_equal(lintel_decoder_next_batch(decoder, frames, 0), LINTEL_E_USAGE);
    lintel_decoder_free(decoder);
    free(wire.data);
    lintel_layout_free(layout);
}

/* At any frame boundary: stop, take the rest back, and let another decoder go on with it. */
static void decoder_stops_at_any_boundary_and_gives_the_rest(void **state)
{
    struct bytes wire = from_hex("01aa 02bbbb 00 03cccccc 02dd");
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 0);
    (void)state;

    for (size_t cut = 0; cut <= wire.size; cut++)
        for (int stop = 0; stop <= 4; stop++) {
            struct lintel_decoder *decoder;
            struct lintel_frame frame;
            struct lintel_part parts[2];
            uint64_t offset;
            int taken = 0;
            assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
            assert_int_equal(lintel_decoder_feed(decoder, wire.data, cut), LINTEL_OK);
            while (taken < stop && lintel_decoder_next(decoder, &frame) == 1)
                taken++;
            if (taken < stop) {
                assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
                assert_int_equal(lintel_decoder_feed(decoder, wire.data + cut, wire.size - cut),
                                 LINTEL_OK);
                while (taken < stop && lintel_decoder_next(decoder, &frame) == 1)
                    taken++;
                assert_int_equal(taken, stop);
            }
            offset = lintel_decoder_offset(decoder);
            assert_int_equal(lintel_decoder_rest(decoder, parts), LINTEL_OK);
            assert_memory_equal(parts[0].size > 0 ? (const void *)parts[0].bytes : "",
                                parts[0].size > 0 ? (const void *)(wire.data + offset) : "",
                                parts[0].size);
            assert_memory_equal(
                parts[1].size > 0 ? (const void *)parts[1].bytes : "",
                parts[1].size > 0 ? (const void *)(wire.data + offset + parts[0].size) : "",
                parts[1].size);
            assert_int_equal(lintel_decoder_unread(decoder), 0);
            assert_int_equal(lintel_decoder_offset(decoder), offset);
            assert_int_equal(lintel_decoder_feed(decoder, "\0", 1), LINTEL_OK);
            assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
            assert_int_equal(frame.offset, offset);
            lintel_decoder_free(decoder);
        }
    free(wire.data);
    lintel_layout_free(layout);
}

static void decoder_gives_the_rest_in_two_parts(void **state)
{
    struct lintel_decoder *decoder;
    struct lintel_part parts[2];
    struct lintel_frame frame;
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, "LT\1", 3), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    assert_int_equal(lintel_decoder_feed(decoder, "abcdefghijklmnop", 16), LINTEL_OK);
    assert_int_equal(lintel_decoder_unread(decoder), 19);
    assert_int_equal(lintel_decoder_rest(decoder, parts), LINTEL_OK);
    assert_int_equal(parts[0].size, 3);
    assert_memory_equal(parts[0].bytes, "LT\1", 3);
    assert_int_equal(parts[1].size, 16);
    assert_memory_equal(parts[1].bytes, "abcdefghijklmnop", 16);
    assert_int_equal(lintel_decoder_unread(decoder), 0);
    assert_int_equal(lintel_decoder_need(decoder), 16);
    lintel_decoder_free(decoder);
}

static void decoder_goes_on_without_new_input(void **state)
{
    struct bytes wire = from_hex("01aa 01bb 01cc");
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 0);
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data, wire.size), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data, wire.size), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_memory_equal(frame.payload, "\xbb", 1);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    assert_int_equal(lintel_decoder_need(decoder), 1);
    lintel_decoder_free(decoder);
    free(wire.data);
    lintel_layout_free(layout);
}

/* ---- pieces ---------------------------------------------------------------------------------- */

/* Take out pieces, and tell each frame when its pieces are joined. */
static int take_pieces(struct text *text, struct text *joined, struct lintel_decoder *decoder)
{
    struct lintel_piece piece;
    int rc;

    while ((rc = lintel_decoder_next_piece(decoder, &piece)) == 1) {
        struct lintel_frame frame = {
            piece.header,       NULL,        piece.trailer, 0, piece.header_size,
            piece.trailer_size, piece.offset};
        assert_int_equal(piece.position, joined->size);
        assert_true(piece.size > 0 || piece.last);
        joined->data = realloc(joined->data, joined->size + piece.size + 1);
        if (piece.size > 0)
            memcpy(joined->data + joined->size, piece.bytes, piece.size);
        joined->size += piece.size;
        if (!piece.last) {
            assert_int_equal(lintel_decoder_next(decoder, &frame), LINTEL_E_USAGE);
            continue;
        }
        assert_int_equal(piece.length, joined->size);
        frame.payload = (const uint8_t *)joined->data;
        frame.length = joined->size;
        tell_frame(text, lintel_decoder_layout(decoder), &frame);
        joined->size = 0;
    }
    return rc;
}

static char *story_in_pieces(const struct lintel_decoder_options *options, const struct bytes *wire,
                             size_t step, int in_place)
{
    struct text text = {NULL, 0}, joined = {NULL, 0};
    struct lintel_decoder *decoder;
    struct lintel_error error;
    int rc = 0;

    text_add(&text, "%s", "");
    assert_int_equal(lintel_decoder_new(&decoder, options, NULL), LINTEL_OK);
    for (size_t at = 0; rc == 0 && at < wire->size;) {
        size_t size = wire->size - at < step ? wire->size - at : step;
        at += hand_in(decoder, wire->data + at, size, in_place);
        rc = take_pieces(&text, &joined, decoder);
    }
    (void)lintel_decoder_end(decoder);
    if (rc == 0)
        rc = take_pieces(&text, &joined, decoder);
    lintel_decoder_error(decoder, &error);
    if (rc == LINTEL_E_END)
        text_add(&text, "end %zu\n", (size_t)lintel_decoder_offset(decoder));
    else
        text_add(&text, "error %s %zu\n%s\n", lintel_status_name(rc), (size_t)error.at, error.text);
    assert_int_equal(lintel_decoder_next_piece(decoder, &(struct lintel_piece){0}), rc);
    lintel_decoder_free(decoder);
    free(joined.data);
    return text.data;
}

static void check_pieces(const struct vector *vector)
{
    struct lintel_layout *layout = make_layout(vector->layout);
    struct lintel_decoder_options options = options_of(layout, vector->max_frame);
    const struct way whole = {NULL, 0, 0, 0, 0};

    for (int truncated = 0; truncated < 2; truncated++) {
        struct bytes wire = vector->wire;
        char *expected;
        wire.size -= truncated && wire.size > 0;
        expected = story(&options, wire.data, wire.size, &whole);
        for (size_t step = 1; step < 40; step++)
            for (int in_place = 0; in_place < 2; in_place++) {
                char *seen = story_in_pieces(&options, &wire, step, in_place);
                if (strcmp(expected, seen) != 0)
                    fail_msg("%s in pieces of %zu:\n%s--- but whole:\n%s", vector->name, step, seen,
                             expected);
                free(seen);
            }
        free(expected);
    }
    lintel_layout_free(layout);
}

static void decoder_pieces_join_to_the_same_frames(void **state)
{
    (void)state;
    (void)each_vector("valid", check_pieces);
    (void)each_vector("invalid", check_pieces);
}

/* Fewer than asked for means that all was given, and a batch gives what comes before an error. */
static void decoder_pieces_come_in_batches(void **state)
{
    struct lintel_layout *layout = make_layout("u8");
    struct lintel_decoder_options options = options_of(layout, 9);
    struct bytes wire = from_hex("02aabb 00 03cc");
    struct bytes rest = from_hex("ddee 01ff 0a");
    struct lintel_decoder *decoder;
    struct lintel_piece pieces[4];
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire.data, wire.size), LINTEL_OK);
    assert_int_equal(lintel_decoder_next_pieces(decoder, pieces, 2), 2);
    assert_true(pieces[0].last && pieces[1].last && pieces[1].size == 0);
    assert_int_equal(lintel_decoder_next_pieces(decoder, pieces, 4), 1);
    assert_true(!pieces[0].last && pieces[0].size == 1 && pieces[0].length == 3);
    assert_int_equal(lintel_decoder_feed(decoder, rest.data, rest.size), LINTEL_OK);
    assert_int_equal(lintel_decoder_next_pieces(decoder, pieces, 4), 2);
    assert_true(pieces[0].last && pieces[0].position == 1 && pieces[0].size == 2);
    assert_memory_equal(pieces[0].bytes, "\xdd\xee", 2);
    assert_memory_equal(pieces[1].bytes, "\xff", 1);
    assert_int_equal(lintel_decoder_next_pieces(decoder, pieces, 4), LINTEL_E_TOO_LARGE);
    assert_int_equal(lintel_decoder_next_pieces(decoder, pieces, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_next_pieces(NULL, pieces, 4), LINTEL_E_USAGE);
    lintel_decoder_free(decoder);
    free(rest.data);
    free(wire.data);
    lintel_layout_free(layout);
}

/* As if HEX was received into the decoder's own storage. */
static void receive(struct lintel_decoder *decoder, const char *hex)
{
    struct bytes bytes = from_hex(hex);

    assert_int_equal(hand_in(decoder, bytes.data, bytes.size, 1), bytes.size);
    free(bytes.data);
}

/* A feed waits until what own storage can give was asked for, in the middle of a frame, too. */
static void decoder_pieces_in_own_storage_come_before_a_feed(void **state)
{
    struct lintel_layout *layout = make_layout("B:length * 2v:end");
    struct lintel_decoder_options options = options_of(layout, 0);
    struct lintel_decoder *decoder;
    struct lintel_frame frames[2];
    struct lintel_piece piece;
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    receive(decoder, "03aa");
    assert_int_equal(lintel_decoder_feed(decoder, "\xbb", 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 1);
    receive(decoder, "bb");
    assert_int_equal(lintel_decoder_feed(decoder, "\xcc", 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_unread(decoder), 1);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 1);
    assert_memory_equal(piece.bytes, "\xbb", 1);
    receive(decoder, "cc80");
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 1);
    assert_true(!piece.last && piece.position == 2);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 0);
    receive(decoder, "01 01dd00 02");
    assert_int_equal(lintel_decoder_feed(decoder, "\xee", 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 1);
    assert_true(piece.last && piece.trailer_size == 2);
    assert_int_equal(lintel_decoder_feed(decoder, "\xee", 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_next_batch(decoder, frames, 2), 1);
    assert_memory_equal(frames[0].payload, "\xdd", 1);
    assert_int_equal(lintel_decoder_next_batch(decoder, frames, 2), 0);
    assert_int_equal(lintel_decoder_feed(decoder, "\xee\xff\x80", 3), LINTEL_OK);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 1);
    assert_int_equal(piece.size, 2);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 0);
    assert_int_equal(lintel_decoder_feed(decoder, "\x01", 1), LINTEL_OK);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 1);
    assert_true(piece.last && piece.trailer_size == 2);
    assert_int_equal(lintel_decoder_offset(decoder), 14);
    lintel_decoder_free(decoder);
    lintel_layout_free(layout);
}

/* A payload of many times the budget goes through, and next to nothing is stored. */
static void decoder_pieces_need_no_memory(void **state)
{
    static const uint8_t header[16] = {0x4C, 0x54, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0};
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    static uint8_t chunk[65536];
    struct lintel_decoder *decoder;
    struct lintel_piece piece;
    struct failing failing;
    (void)state;

    failing_init(&failing);
    options.allocator = &failing.allocator;
    options.max_memory = 1024;
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, header, 16), LINTEL_OK);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 0);
    for (size_t i = 0; i < 128; i++) {
        assert_int_equal(lintel_decoder_feed(decoder, chunk, sizeof chunk), LINTEL_OK);
        assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 1);
        assert_ptr_equal(piece.bytes, chunk);
        assert_int_equal(piece.size, sizeof chunk);
        assert_int_equal(piece.position, i * sizeof chunk);
        assert_int_equal(piece.last, i == 127);
        assert_memory_equal(piece.header, header, 16);
        assert_true(lintel_decoder_memory(decoder) <= 256);
    }
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 0);
    lintel_decoder_free(decoder);
    assert_int_equal(failing.blocks, 0);
}

/* ---- misuse ---------------------------------------------------------------------------------- */

static void decoder_says_how_much_has_begun(void **state)
{
    struct lintel_layout *layout = make_layout("B:kind H:length * H:end=0xCEA7");
    struct lintel_decoder_options options = options_of(layout, 0);
    const uint8_t wire[] = {7, 0, 5, 'a', 'b', 'c', 'd', 'e', 0xCE};
    const uint64_t begun[] = {3, 3, 10, 10, 10, 10, 10, 10, 10};
    (void)state;

    for (int pieces = 0; pieces < 2; pieces++) {
        struct lintel_decoder *decoder;
        struct lintel_piece piece;
        struct lintel_frame frame;
        uint64_t size = 1;
        assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
        assert_int_equal(lintel_decoder_begun(decoder, &size), 0);
        assert_int_equal(size, 0);
        for (size_t i = 0; i < sizeof wire; i++) {
            assert_int_equal(lintel_decoder_feed(decoder, wire + i, 1), LINTEL_OK);
            if (pieces)
                while (lintel_decoder_next_piece(decoder, &piece) == 1)
                    continue;
            else
                assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
            assert_int_equal(lintel_decoder_begun(decoder, &size), 1);
            assert_int_equal(size, begun[i]);
            assert_int_equal(lintel_decoder_begun(decoder, NULL), 1);
        }
        lintel_decoder_free(decoder);
    }
    assert_int_equal(lintel_decoder_begun(NULL, NULL), 0);
    lintel_layout_free(layout);
}

static void decoder_answers_misuse_with_usage(void **state)
{
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    struct lintel_error error;
    struct lintel_part parts[2];
    struct lintel_piece piece;
    void *space;
    size_t size;
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(NULL, &frame), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_next(decoder, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_feed(NULL, "", 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_feed(decoder, NULL, 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_feed(decoder, NULL, 0), LINTEL_OK);
    assert_int_equal(lintel_decoder_space(decoder, NULL, &size), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_filled(decoder, 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_space(decoder, &space, &size), LINTEL_OK);
    assert_int_equal(lintel_decoder_filled(decoder, size + 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_filled(decoder, 0), LINTEL_OK);
    assert_int_equal(lintel_decoder_filled(decoder, 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_end(NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_rest(NULL, parts), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    lintel_decoder_error(decoder, &error);
    assert_int_equal(error.status, LINTEL_OK);
    assert_string_equal(error.text, "");
    lintel_decoder_error(NULL, &error);
    lintel_decoder_error(decoder, NULL);
    assert_int_equal(lintel_decoder_space(decoder, &space, &size), LINTEL_OK);
    assert_int_equal(lintel_decoder_end(decoder), LINTEL_OK);
    assert_int_equal(lintel_decoder_filled(decoder, 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_feed(decoder, "", 1), LINTEL_E_USAGE);
    assert_int_equal(lintel_decoder_next(decoder, &frame), LINTEL_E_END);
    /* An error stays: every call says it, but for rest, which gives back what is left. */
    assert_int_equal(lintel_decoder_next(decoder, &frame), LINTEL_E_END);
    assert_int_equal(lintel_decoder_next_batch(decoder, &frame, 1), LINTEL_E_END);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), LINTEL_E_END);
    assert_int_equal(lintel_decoder_next_pieces(decoder, &piece, 1), LINTEL_E_END);
    assert_int_equal(lintel_decoder_feed(decoder, "", 1), LINTEL_E_END);
    assert_int_equal(lintel_decoder_space(decoder, &space, &size), LINTEL_E_END);
    assert_int_equal(lintel_decoder_filled(decoder, 0), LINTEL_E_END);
    assert_int_equal(lintel_decoder_filled(decoder, 1), LINTEL_E_END);
    assert_int_equal(lintel_decoder_end(decoder), LINTEL_E_END);
    assert_int_equal(lintel_decoder_rest(decoder, parts), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), LINTEL_E_END);
    lintel_decoder_reset(decoder);
    assert_int_equal(lintel_decoder_feed(decoder, "LT", 2), LINTEL_OK);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 0);
    assert_ptr_equal(lintel_decoder_layout(decoder), lintel_layout_default());
    lintel_decoder_free(decoder);
    lintel_decoder_free(NULL);
    lintel_decoder_reset(NULL);
    lintel_decoder_trim(NULL);
}

/* As many frames as fit, all sizes up to 600, and behind them one that is over the limit. */
static size_t many_frames(uint8_t *out, size_t room)
{
    static const uint8_t payload[600] = {1, 2, 3};
    size_t used = 0, step;

    for (uint32_t i = 0; used + 2 * 616 < room; i++) {
        struct lintel_header header = {LINTEL_REPLY, i, ~i, NULL};
        assert_int_equal(lintel_frame_encode(NULL, out + used, room - used, &step, &header, payload,
                                             i * 7 % 601, NULL),
                         LINTEL_OK);
        used += step;
    }
    lintel_header_put(out + used, 0, 7, 1, 601);
    return used + LINTEL_HEADER_SIZE + 601;
}

static void expect_same_piece(const struct lintel_piece *a, const struct lintel_piece *b)
{
    assert_int_equal(a->header_size, b->header_size);
    assert_memory_equal(a->header, b->header, a->header_size);
    assert_int_equal(a->size, b->size);
    assert_memory_equal(a->bytes, b->bytes, a->size);
    assert_ptr_equal(b->trailer, b->bytes + b->size);
    assert_int_equal(a->trailer_size, b->trailer_size);
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->length, b->length);
    assert_int_equal(a->offset, b->offset);
    assert_int_equal(a->last, b->last);
}

static void decoder_batches_of_pieces_are_single_pieces(void **state)
{
    static uint8_t wire[64 * 1024];
    const size_t size = many_frames(wire, sizeof wire);
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_piece pieces[4], one;

    (void)state;
    options.max_frame = 600;
    for (size_t step = 1; step < 700; step++) {
        struct lintel_decoder *single, *batch;
        int n = 0;
        assert_int_equal(lintel_decoder_new(&single, &options, NULL), LINTEL_OK);
        assert_int_equal(lintel_decoder_new(&batch, &options, NULL), LINTEL_OK);
        for (size_t at = 0; at < size && n == 0; at += step) {
            size_t now = size - at < step ? size - at : step;
            assert_int_equal(lintel_decoder_feed(single, wire + at, now), LINTEL_OK);
            assert_int_equal(lintel_decoder_feed(batch, wire + at, now), LINTEL_OK);
            while ((n = lintel_decoder_next_pieces(batch, pieces, 1 + (int)(step % 4))) > 0)
                for (int i = 0; i < n; i++) {
                    assert_int_equal(lintel_decoder_next_piece(single, &one), 1);
                    expect_same_piece(&one, &pieces[i]);
                }
            assert_int_equal(lintel_decoder_next_piece(single, &one), n);
        }
        assert_int_equal(n, LINTEL_E_TOO_LARGE);
        assert_int_equal(lintel_decoder_offset(batch), size - LINTEL_HEADER_SIZE - 601);
        lintel_decoder_free(single);
        lintel_decoder_free(batch);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoder_reads_the_valid_vectors),
        cmocka_unit_test(decoder_refuses_the_invalid_vectors),
        cmocka_unit_test(decoder_ends_well_on_every_single_byte_change),
        cmocka_unit_test(decoder_ends_well_on_every_truncation),
        cmocka_unit_test(decoder_gives_the_same_for_every_partition),
        cmocka_unit_test(decoder_says_what_where_and_against_which_limit),
        cmocka_unit_test(decoder_holds_the_limit_to_the_byte),
        cmocka_unit_test(decoder_new_refuses_a_limit_that_cannot_be),
        cmocka_unit_test(decoder_skips_what_is_over_the_limit),
        cmocka_unit_test(decoder_skips_nothing_that_has_no_end),
        cmocka_unit_test(decoder_reads_trailers_that_fix_nothing),
        cmocka_unit_test(decoder_counts_what_it_skips),
        cmocka_unit_test(decoder_grows_as_bytes_arrive),
        cmocka_unit_test(decoder_lends_space_for_a_large_frame_to_its_end),
        cmocka_unit_test(decoder_batch_looks_at_every_frame_of_a_run),
        cmocka_unit_test(decoder_takes_runs_of_every_layout),
        cmocka_unit_test(decoder_keeps_the_budget),
        cmocka_unit_test(decoder_holds_no_more_than_the_budget),
        cmocka_unit_test(decoder_holds_a_budget_below_its_least_block),
        cmocka_unit_test(decoder_survives_failing_memory),
        cmocka_unit_test(decoder_error_does_without_memory),
        cmocka_unit_test(decoder_trim_gives_storage_back),
        cmocka_unit_test(decoder_gives_views_of_what_was_fed),
        cmocka_unit_test(decoder_views_live_until_the_next_feed),
        cmocka_unit_test(decoder_views_live_while_storage_changes),
        cmocka_unit_test(decoder_batch_gives_the_frames_before_an_error),
        cmocka_unit_test(decoder_stops_at_any_boundary_and_gives_the_rest),
        cmocka_unit_test(decoder_gives_the_rest_in_two_parts),
        cmocka_unit_test(decoder_goes_on_without_new_input),
        cmocka_unit_test(decoder_pieces_join_to_the_same_frames),
        cmocka_unit_test(decoder_pieces_come_in_batches),
        cmocka_unit_test(decoder_batches_of_pieces_are_single_pieces),
        cmocka_unit_test(decoder_pieces_in_own_storage_come_before_a_feed),
        cmocka_unit_test(decoder_pieces_need_no_memory),
        cmocka_unit_test(decoder_says_how_much_has_begun),
        cmocka_unit_test(decoder_answers_misuse_with_usage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
