#include "util.h"

#include "lintel/message.h"

#include <stdio.h>

/* ---- frames to work on ----------------------------------------------------------------------- */

static const struct lintel_header request = {0, 7, 5, NULL};

/* A stream of frames under lintel's layout. */
struct wire {
    uint8_t bytes[4096];
    size_t size;
};

static void wire_put(struct wire *wire, uint8_t flags, uint32_t type, uint32_t id,
                     const char *payload, size_t size)
{
    struct lintel_header header = {flags, type, id, NULL};
    size_t put;
    assert_int_equal(lintel_frame_encode(NULL, wire->bytes + wire->size,
                                         sizeof wire->bytes - wire->size, &put, &header, payload,
                                         size, NULL),
                     LINTEL_OK);
    wire->size += put;
}

static void wire_text(struct wire *wire, uint8_t flags, const char *payload)
{
    wire_put(wire, flags, request.type, request.id, payload, strlen(payload));
}

static struct lintel_assembler *make(const struct lintel_assembler_options *options)
{
    struct lintel_assembler *assembler;
    struct lintel_error error;
    if (lintel_assembler_new(&assembler, options, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    return assembler;
}

static struct lintel_decoder *decoder_over(const struct wire *wire)
{
    struct lintel_decoder *decoder;
    assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, wire->bytes, wire->size), LINTEL_OK);
    return decoder;
}

static void tell_bytes(struct text *text, const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        text_add(text, "%c", bytes[i]);
}

static void tell_error(struct text *text, const struct lintel_assembler *assembler, int rc)
{
    struct lintel_error error;
    lintel_assembler_error(assembler, &error);
    assert_int_equal(error.status, rc);
    text_add(text, "error %s %llu %s\n", lintel_status_name(rc), (unsigned long long)error.at,
             error.text);
}

/* What comes of a stream: a line a message, "OFFSET FLAGS TYPE ID FRAMES PAYLOAD", and the error.
 */
static char *messages_of(const struct wire *wire, const struct lintel_assembler_options *options)
{
    struct lintel_assembler *assembler = make(options);
    struct lintel_decoder *decoder = decoder_over(wire);
    struct lintel_message message;
    struct lintel_frame frame;
    struct text text = {0};
    int rc = 0;
    while (rc >= 0 && lintel_decoder_next(decoder, &frame) == 1) {
        rc = lintel_assembler_take(assembler, &message, &frame);
        if (rc != 1)
            continue;
        text_add(&text, "%llu %02x %u %u %u ", (unsigned long long)message.frame.offset,
                 message.header.flags, message.header.type, message.header.id, message.fragments);
        tell_bytes(&text, message.frame.payload, message.frame.length);
        text_add(&text, "\n");
    }
    if (rc >= 0)
        rc = lintel_assembler_end(assembler);
    if (rc < 0) {
        tell_error(&text, assembler, rc);
        assert_int_equal(lintel_assembler_take(assembler, &message, &frame), rc);
        assert_int_equal(lintel_assembler_end(assembler), rc);
    }
    lintel_decoder_free(decoder);
    lintel_assembler_free(assembler);
    return text.data;
}

static void expect_messages(const struct wire *wire, const char *expected)
{
    char *got = messages_of(wire, NULL);
    assert_string_equal(got, expected);
    free(got);
}

/* ---- putting together ------------------------------------------------------------------------ */

static void assembler_take_leaves_whole_frames_where_they_are(void **state)
{
    struct wire wire = {0};
    struct lintel_assembler *assembler = make(NULL);
    struct lintel_message message;
    struct lintel_frame frame;
    (void)state;

    wire_text(&wire, 0, "abc");
    struct lintel_decoder *decoder = decoder_over(&wire);
    size_t before = lintel_assembler_memory(assembler);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_int_equal(lintel_assembler_take(assembler, &message, &frame), 1);
    assert_ptr_equal(message.frame.payload, wire.bytes + LINTEL_HEADER_SIZE);
    assert_int_equal(message.fragments, 1);
    assert_int_equal(lintel_assembler_memory(assembler), before);
    lintel_decoder_free(decoder);
    lintel_assembler_free(assembler);
}

static void assembler_take_joins_fragments(void **state)
{
    struct wire wire = {0};
    (void)state;
    wire_text(&wire, 0, "one");
    wire_text(&wire, LINTEL_MORE, "ab");
    wire_text(&wire, LINTEL_MORE, "");
    wire_put(&wire, LINTEL_CONTROL, LINTEL_PING, 9, "?", 1);
    wire_text(&wire, 0, "cde");
    wire_text(&wire, LINTEL_REPLY | LINTEL_ERROR | LINTEL_MORE, "no ");
    wire_text(&wire, LINTEL_REPLY | LINTEL_ERROR, "");
    wire_text(&wire, LINTEL_MORE, "");
    wire_text(&wire, 0, "");
    expect_messages(&wire, "0 00 7 5 1 one\n"
                           "53 08 2 9 1 ?\n"
                           "19 00 7 5 3 abcde\n"
                           "89 03 7 5 2 no \n"
                           "124 00 7 5 2 \n");
}

/* Every way to cut a short payload, an empty fragment before each, is the same message. */
static void assembler_take_does_not_mind_the_cuts(void **state)
{
    static const char payload[] = "abcdefgh";
    const size_t size = sizeof payload - 1;
    (void)state;
    for (unsigned cuts = 0; cuts < 1U << (size - 1); cuts++) {
        struct wire wire = {0};
        size_t from = 0;
        for (size_t to = 1; to <= size; to++) {
            if (to < size && !(cuts >> (to - 1) & 1))
                continue;
            wire_text(&wire, LINTEL_MORE, "");
            wire_put(&wire, to < size ? LINTEL_MORE : 0, 7, 5, payload + from, to - from);
            from = to;
        }
        char *got = messages_of(&wire, NULL);
        assert_non_null(strstr(got, " abcdefgh\n"));
        assert_ptr_equal(strchr(got, '\n') + 1, got + strlen(got));
        free(got);
    }
}

static void assembler_take_refuses_another_message_in_between(void **state)
{
    static const struct {
        uint8_t flags;
        uint32_t type, id;
        const char *said;
    } cases[] = {
        {0, 8, 5, "type 8 id 5 flags 0x00"},
        {0, 7, 6, "type 7 id 6 flags 0x00"},
        {LINTEL_MORE, 7, 4, "type 7 id 4 flags 0x00"},
        {LINTEL_REPLY, 7, 5, "type 7 id 5 flags 0x01"},
        {LINTEL_REPLY | LINTEL_ERROR, 7, 5, "type 7 id 5 flags 0x03"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct wire wire = {0};
        char expected[200];
        wire_text(&wire, 0, "a");
        wire_text(&wire, LINTEL_MORE, "b");
        wire_put(&wire, cases[i].flags, cases[i].type, cases[i].id, "c", 1);
        snprintf(expected, sizeof expected,
                 "0 00 7 5 1 a\nerror LINTEL_E_MALFORMED 34 frame at byte 34: %s between the "
                 "fragments of the message at byte 17, type 7 id 5 flags 0x00\n",
                 cases[i].said);
        expect_messages(&wire, expected);
    }
}

static void assembler_end_between_fragments_is_a_truncation(void **state)
{
    struct wire wire = {0};
    (void)state;
    wire_text(&wire, 0, "a");
    wire_text(&wire, LINTEL_MORE, "b");
    wire_put(&wire, LINTEL_CONTROL, LINTEL_PING, 0, "", 0);
    expect_messages(&wire,
                    "0 00 7 5 1 a\n34 08 2 0 1 \n"
                    "error LINTEL_E_TRUNCATED 17 frame at byte 17: the stream ended between the "
                    "fragments of its message\n");
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void assembler_take_bounds_the_sum(void **state)
{
    (void)state;
    for (size_t size = 9; size <= 11; size++) {
        struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;
        struct wire wire = {0};
        options.max_message = 10;
        wire_put(&wire, LINTEL_MORE, 7, 5, "01234567", 8);
        wire_put(&wire, 0, 7, 5, "89abc", size - 8);
        char *got = messages_of(&wire, &options);
        assert_string_equal(got, size == 9 ? "0 00 7 5 2 012345678\n"
                                 : size == 10
                                     ? "0 00 7 5 2 0123456789\n"
                                     : "error LINTEL_E_TOO_LARGE 24 frame at byte 24: the "
                                       "message at byte 0 exceeds the limit of 10 bytes\n");
        free(got);
    }
}

static void assembler_take_bounds_the_number(void **state)
{
    (void)state;
    for (unsigned count = 2; count <= 4; count++) {
        struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;
        struct wire wire = {0};
        options.max_fragments = 3;
        for (unsigned i = 1; i < count; i++)
            wire_text(&wire, LINTEL_MORE, "");
        wire_text(&wire, 0, "x");
        char *got = messages_of(&wire, &options);
        if (count <= 3)
            assert_non_null(strstr(got, " x\n"));
        else
            assert_string_equal(got, "error LINTEL_E_TOO_LARGE 48 frame at byte 48: the message at "
                                     "byte 0 exceeds the limit of 3 fragments\n");
        free(got);
    }
}

/* A whole frame is no affair of these limits: its own has been judged. */
static void assembler_take_bounds_only_what_it_puts_together(void **state)
{
    struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;
    struct wire wire = {0};
    (void)state;
    options.max_message = 1;
    wire_text(&wire, 0, "whole");
    char *got = messages_of(&wire, &options);
    assert_string_equal(got, "0 00 7 5 1 whole\n");
    free(got);
}

/* Law 2: what is held is at most twice what came, from 16 KiB on. */
static void assembler_take_grows_with_what_arrives(void **state)
{
    static uint8_t payload[1024];
    struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;
    struct failing memory;
    struct lintel_message message;
    struct lintel_frame frame = {0};
    uint8_t header[LINTEL_HEADER_SIZE];
    (void)state;
    failing_init(&memory);
    options.allocator = &memory.allocator;
    struct lintel_assembler *assembler = make(&options);
    lintel_header_put(header, LINTEL_MORE, 1, 1, sizeof payload);
    frame.header = header;
    frame.header_size = sizeof header;
    frame.payload = payload;
    frame.length = sizeof payload;
    for (size_t arrived = sizeof payload; arrived <= 1024 * 1024; arrived += sizeof payload) {
        assert_int_equal(lintel_assembler_take(assembler, &message, &frame), 0);
        size_t held = lintel_assembler_memory(assembler);
        assert_true(held < 2 * arrived + 17 * 1024);
        assert_int_equal(held, memory.live);
    }
    lintel_assembler_free(assembler);
    assert_int_equal(memory.blocks, 0);
}

static void assembler_take_can_go_on_when_memory_is_back(void **state)
{
    struct wire wire = {0};
    (void)state;
    wire_text(&wire, LINTEL_MORE, "ab");
    wire_text(&wire, 0, "c");
    for (long fail_at = 1; fail_at <= 3; fail_at++) {
        struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;
        struct lintel_assembler *assembler = NULL;
        struct lintel_message message;
        struct lintel_frame frame;
        struct failing memory;
        int refused = 0, rc;
        failing_init(&memory);
        memory.fail_at = fail_at;
        options.allocator = &memory.allocator;
        rc = lintel_assembler_new(&assembler, &options, NULL);
        if (rc < 0) {
            assert_int_equal(rc, LINTEL_E_NOMEM);
            rc = lintel_assembler_new(&assembler, &options, NULL);
        }
        assert_int_equal(rc, LINTEL_OK);
        struct lintel_decoder *decoder = decoder_over(&wire);
        while (lintel_decoder_next(decoder, &frame) == 1) {
            while ((rc = lintel_assembler_take(assembler, &message, &frame)) == LINTEL_E_NOMEM)
                refused++;
        }
        assert_int_equal(rc, 1);
        assert_int_equal(message.frame.length, 3);
        assert_memory_equal(message.frame.payload, "abc", 3);
        assert_int_equal(refused, fail_at == 2);
        lintel_decoder_free(decoder);
        lintel_assembler_free(assembler);
        assert_int_equal(memory.blocks, 0);
    }
}

/* No memory for the text: the code has to do. */
static void assembler_error_without_memory_has_the_code(void **state)
{
    struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;
    struct lintel_message message;
    struct lintel_frame frame;
    struct lintel_error error;
    struct failing memory;
    struct wire wire = {0};
    (void)state;
    failing_init(&memory);
    memory.fail_at = 2;
    options.allocator = &memory.allocator;
    options.max_message = 1;
    wire_text(&wire, LINTEL_MORE, "ab");
    struct lintel_assembler *assembler = make(&options);
    struct lintel_decoder *decoder = decoder_over(&wire);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_int_equal(lintel_assembler_take(assembler, &message, &frame), LINTEL_E_TOO_LARGE);
    lintel_assembler_error(assembler, &error);
    assert_int_equal(error.status, LINTEL_E_TOO_LARGE);
    assert_string_equal(error.text, lintel_strerror(LINTEL_E_TOO_LARGE));
    lintel_decoder_free(decoder);
    lintel_assembler_free(assembler);
}

/* ---- in pieces ------------------------------------------------------------------------------- */

static void feed_next(struct lintel_decoder *decoder, const struct wire *wire, size_t from,
                      size_t to)
{
    if (from < to)
        assert_int_equal(lintel_decoder_feed(decoder, wire->bytes + from, to - from), LINTEL_OK);
}

/* The pieces of a stream that is cut in two, joined message by message. */
static char *pieces_of(const struct wire *wire, size_t cut)
{
    struct lintel_assembler *assembler = make(NULL);
    struct lintel_message_piece out;
    struct lintel_decoder *decoder;
    struct lintel_piece piece;
    struct text text = {0};
    uint64_t position = 0;
    int rc = 0;
    assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
    for (int part = 0; part < 2 && rc >= 0; part++) {
        feed_next(decoder, wire, part ? cut : 0, part ? wire->size : cut);
        while (rc >= 0 && lintel_decoder_next_piece(decoder, &piece) == 1) {
            rc = lintel_assembler_take_piece(assembler, &out, &piece);
            if (rc != 1)
                continue;
            if (out.header.flags == LINTEL_CONTROL) {
                text_add(&text, "(");
                tell_bytes(&text, out.bytes, out.size);
                text_add(&text, ")");
                continue;
            }
            assert_int_equal(out.position, position);
            tell_bytes(&text, out.bytes, out.size);
            position = out.last ? 0 : position + out.size;
            if (out.last)
                text_add(&text, " %llu %u|", (unsigned long long)out.offset, out.header.flags);
        }
    }
    if (rc < 0)
        tell_error(&text, assembler, rc);
    lintel_decoder_free(decoder);
    lintel_assembler_free(assembler);
    return text.data;
}

/* Payloads join the same for every cut; a control frame may come between two pieces' frames. */
static void assembler_take_piece_joins_to_the_same_at_every_cut(void **state)
{
    struct wire wire = {0};
    (void)state;
    wire_text(&wire, 0, "one");
    wire_text(&wire, LINTEL_MORE, "ab");
    wire_put(&wire, LINTEL_CONTROL, LINTEL_PING, 9, "ping", 4);
    wire_text(&wire, LINTEL_MORE, "");
    wire_text(&wire, 0, "cde");
    wire_text(&wire, 0, "");
    for (size_t cut = 0; cut <= wire.size; cut++) {
        char *got = pieces_of(&wire, cut);
        assert_string_equal(got, "one 0 0|ab(ping)cde 19 0| 92 0|");
        free(got);
    }
}

static void assembler_take_piece_refuses_another_message_in_between(void **state)
{
    struct wire wire = {0};
    (void)state;
    wire_text(&wire, LINTEL_MORE, "ab");
    wire_put(&wire, 0, 7, 6, "c", 1);
    for (size_t cut = 0; cut <= wire.size; cut++) {
        char *got = pieces_of(&wire, cut);
        assert_string_equal(got,
                            "aberror LINTEL_E_MALFORMED 18 frame at byte 18: type 7 id 6 flags "
                            "0x00 between the fragments of the message at byte 0, type 7 id 5 "
                            "flags 0x00\n");
        free(got);
    }
}

static void assembler_does_not_mix_pieces_and_frames(void **state)
{
    struct wire wire = {0};
    struct lintel_assembler *assembler = make(NULL);
    struct lintel_message_piece out;
    struct lintel_message message;
    struct lintel_piece piece;
    struct lintel_frame frame;
    (void)state;
    wire_text(&wire, LINTEL_MORE, "ab");
    wire_text(&wire, 0, "c");
    wire_text(&wire, LINTEL_MORE, "d");
    struct lintel_decoder *decoder = decoder_over(&wire);
    assert_int_equal(lintel_decoder_next_piece(decoder, &piece), 1);
    assert_int_equal(lintel_assembler_take_piece(assembler, &out, &piece), 1);
    assert_int_equal(lintel_assembler_is_open(assembler), 1);
    assert_int_equal(lintel_assembler_size(assembler), 2);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_int_equal(lintel_assembler_take(assembler, &message, &frame), LINTEL_E_USAGE);
    piece = (struct lintel_piece){
        frame.header, frame.payload, NULL, 1, frame.header_size, 0, 0, 1, frame.offset, 1};
    assert_int_equal(lintel_assembler_take_piece(assembler, &out, &piece), 1);
    assert_int_equal(out.last, 1);
    assert_int_equal(lintel_assembler_is_open(assembler), 0);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    assert_int_equal(lintel_assembler_size(assembler), 0);
    assert_int_equal(lintel_assembler_take(assembler, &message, &frame), 0);
    assert_int_equal(lintel_assembler_size(assembler), 1);
    assert_int_equal(lintel_assembler_take_piece(assembler, &out, &piece), LINTEL_E_USAGE);
    lintel_decoder_free(decoder);
    lintel_assembler_free(assembler);
}

/* An error stays, also where the call would be misuse without one. */
static void assembler_says_its_error_first(void **state)
{
    struct wire wire = {0};
    struct lintel_assembler *assembler = make(NULL);
    struct lintel_message_piece out;
    struct lintel_message message;
    struct lintel_piece piece;
    struct lintel_frame frame;
    (void)state;

    wire_text(&wire, LINTEL_MORE, "ab");
    struct lintel_decoder *decoder = decoder_over(&wire);
    assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
    piece = (struct lintel_piece){
        frame.header, frame.payload, NULL, 1, frame.header_size, 0, 0, 2, frame.offset, 0};
    assert_int_equal(lintel_assembler_take_piece(assembler, &out, &piece), 1);
    assert_int_equal(lintel_assembler_take(assembler, &message, &frame), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_end(assembler), LINTEL_E_TRUNCATED);
    assert_int_equal(lintel_assembler_take(assembler, &message, &frame), LINTEL_E_TRUNCATED);
    assert_int_equal(lintel_assembler_take_piece(assembler, &out, &piece), LINTEL_E_TRUNCATED);
    assert_int_equal(lintel_assembler_end(assembler), LINTEL_E_TRUNCATED);
    lintel_decoder_free(decoder);
    lintel_assembler_free(assembler);
}

/* ---- other layouts, misuse ------------------------------------------------------------------- */

static void assembler_take_of_another_layout_gives_each_frame(void **state)
{
    static const uint8_t bytes[] = {4, 1, 'a', 8, 1, 'b'};
    struct lintel_layout *layout = make_layout("B:flags B:length *");
    struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;
    struct lintel_decoder_options plain = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_decoder *decoder;
    struct lintel_message message;
    struct lintel_frame frame;
    (void)state;
    options.layout = plain.layout = layout;
    struct lintel_assembler *assembler = make(&options);
    assert_int_equal(lintel_decoder_new(&decoder, &plain, NULL), LINTEL_OK);
    assert_int_equal(lintel_decoder_feed(decoder, bytes, sizeof bytes), LINTEL_OK);
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(lintel_decoder_next(decoder, &frame), 1);
        assert_int_equal(lintel_assembler_take(assembler, &message, &frame), 1);
        assert_int_equal(message.header.flags, bytes[3 * i]);
        assert_ptr_equal(message.frame.payload, bytes + 3 * i + 2);
    }
    lintel_decoder_free(decoder);
    lintel_assembler_free(assembler);
    lintel_layout_free(layout);
}

static void assembler_takes_no_null(void **state)
{
    struct lintel_assembler_options options = LINTEL_ASSEMBLER_OPTIONS_INIT;
    struct lintel_assembler *assembler = make(NULL);
    struct lintel_message message;
    struct lintel_message_piece out;
    struct lintel_frame frame = {0};
    struct lintel_piece piece = {0};
    struct lintel_error error;
    (void)state;
    options.size = 1;
    assert_int_equal(lintel_assembler_new(&assembler, &options, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_new(NULL, NULL, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_take(NULL, &message, &frame), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_take(assembler, NULL, &frame), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_take(assembler, &message, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_take_piece(NULL, &out, &piece), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_take_piece(assembler, NULL, &piece), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_take_piece(assembler, &out, NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_end(NULL), LINTEL_E_USAGE);
    assert_int_equal(lintel_assembler_is_open(NULL), 0);
    assert_int_equal(lintel_assembler_memory(NULL), 0);
    lintel_assembler_error(NULL, &error);
    assert_int_equal(error.status, LINTEL_OK);
    lintel_assembler_error(assembler, NULL);
    lintel_assembler_free(NULL);
    lintel_assembler_free(assembler);
}

/* ---- messages to fragments ------------------------------------------------------------------- */

static void fragments_are_cut_at_the_limit(void **state)
{
    static const struct {
        size_t size;
        uint64_t max_frame;
        size_t count, first, last;
    } cases[] = {
        {0, 0, 1, 0, 0},
        {5, 0, 1, 5, 5},
        {9, 10, 1, 9, 9},
        {10, 10, 1, 10, 10},
        {11, 10, 2, 10, 1},
        {20, 10, 2, 10, 10},
        {21, 10, 3, 10, 1},
        {3, 1, 3, 1, 1},
        {1 << 20, 1 << 20, 1, 1 << 20, 1 << 20},
        {(1 << 20) + 1, 1 << 20, 5, 256 * 1024, 1},
        {16 << 20, 0, 1, 16 << 20, 16 << 20},
        {(16 << 20) + 1, 0, 65, 256 * 1024, 1},
    };
    uint8_t *payload = malloc((16 << 20) + 1);
    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_fragments cursor;
        struct lintel_fragment out;
        size_t count = 0, at = 0;
        lintel_fragments_init(&cursor, &request, payload, cases[i].size, cases[i].max_frame);
        while (lintel_fragments_next(&cursor, &out)) {
            if (count++ == 0)
                assert_int_equal(out.size, cases[i].first);
            assert_ptr_equal(out.payload, payload + at);
            at += out.size;
            assert_int_equal(out.header.type, request.type);
            assert_int_equal(out.header.id, request.id);
            assert_int_equal(out.header.flags, at < cases[i].size ? LINTEL_MORE : 0);
        }
        assert_int_equal(at, cases[i].size);
        assert_int_equal(count, cases[i].count);
        assert_int_equal(out.size, cases[i].last);
    }
    free(payload);
}

static void fragments_keep_the_flags(void **state)
{
    struct lintel_header header = {LINTEL_REPLY | LINTEL_ERROR, 1, 2, NULL};
    struct lintel_fragments cursor;
    struct lintel_fragment out;
    (void)state;
    lintel_fragments_init(NULL, &header, "abc", 3, 2);
    lintel_fragments_init(&cursor, &header, "abc", 3, 2);
    assert_int_equal(lintel_fragments_next(&cursor, &out), 1);
    assert_int_equal(out.header.flags, LINTEL_REPLY | LINTEL_ERROR | LINTEL_MORE);
    assert_int_equal(lintel_fragments_next(&cursor, &out), 1);
    assert_int_equal(out.header.flags, LINTEL_REPLY | LINTEL_ERROR);
    assert_int_equal(lintel_fragments_next(&cursor, &out), 0);
    assert_int_equal(lintel_fragments_next(NULL, &out), 0);
    assert_int_equal(lintel_fragments_next(&cursor, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(assembler_take_leaves_whole_frames_where_they_are),
        cmocka_unit_test(assembler_take_joins_fragments),
        cmocka_unit_test(assembler_take_does_not_mind_the_cuts),
        cmocka_unit_test(assembler_take_refuses_another_message_in_between),
        cmocka_unit_test(assembler_end_between_fragments_is_a_truncation),
        cmocka_unit_test(assembler_take_bounds_the_sum),
        cmocka_unit_test(assembler_take_bounds_the_number),
        cmocka_unit_test(assembler_take_bounds_only_what_it_puts_together),
        cmocka_unit_test(assembler_take_grows_with_what_arrives),
        cmocka_unit_test(assembler_take_can_go_on_when_memory_is_back),
        cmocka_unit_test(assembler_error_without_memory_has_the_code),
        cmocka_unit_test(assembler_take_piece_joins_to_the_same_at_every_cut),
        cmocka_unit_test(assembler_take_piece_refuses_another_message_in_between),
        cmocka_unit_test(assembler_does_not_mix_pieces_and_frames),
        cmocka_unit_test(assembler_says_its_error_first),
        cmocka_unit_test(assembler_take_of_another_layout_gives_each_frame),
        cmocka_unit_test(assembler_takes_no_null),
        cmocka_unit_test(fragments_are_cut_at_the_limit),
        cmocka_unit_test(fragments_keep_the_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
