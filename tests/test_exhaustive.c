/*
 * A small world, whole: every stream of up to two frames with payloads of 0 to 3 bytes, whole and
 * cut off at every byte; every partition of its bytes into pieces; fed and in place; frames one by
 * one, in batches, in pieces and in batches of pieces. Each run gives what the stream says. The
 * header of lintel's own layout is too long for that: one is cut in every way, and two frames at
 * every two places.
 */
#include "util.h"

#include <stdio.h>

#define PAYLOAD_MAX 3
#define STREAM_MAX  40

static unsigned long long runs;

enum taking { BY_FRAME, BY_BATCH, BY_PIECE, BY_PIECES, TAKINGS };

struct frames {
    uint8_t bytes[STREAM_MAX];
    size_t size;
    size_t begins[3]; /* offsets of the frames, and the end */
    size_t lengths[2];
    size_t count;
    size_t header, trailer;
};

/* How a run stands: bytes of payload that came of the frame that is next. */
struct run {
    const struct frames *frames;
    size_t next;
    size_t came;
};

static void must(int holds, const struct frames *frames, uint64_t cuts, const char *what)
{
    if (!holds)
        fail_msg("%s: %zu bytes, partition %#llx", what, frames->size, (unsigned long long)cuts);
}

static int take_frame(struct run *run, const struct lintel_frame *frame)
{
    const struct frames *f = run->frames;
    size_t at;

    if (run->next == f->count || run->came != 0)
        return 0;
    at = f->begins[run->next];
    if (frame->offset != at || frame->length != f->lengths[run->next] ||
        frame->header_size != f->header || frame->trailer_size != f->trailer ||
        memcmp(frame->header, f->bytes + at, f->header) != 0 ||
        memcmp(frame->payload, f->bytes + at + f->header, frame->length) != 0 ||
        memcmp(frame->trailer, f->bytes + at + f->header + frame->length, f->trailer) != 0)
        return 0;
    run->next++;
    return 1;
}

static int take_piece(struct run *run, const struct lintel_piece *piece)
{
    const struct frames *f = run->frames;
    size_t at;

    if (run->next > f->count || piece->position != run->came)
        return 0;
    at = f->begins[run->next];
    if (piece->offset != at || piece->header_size != f->header ||
        memcmp(piece->header, f->bytes + at, f->header) != 0 ||
        memcmp(piece->bytes, f->bytes + at + f->header + run->came, piece->size) != 0)
        return 0;
    run->came += piece->size;
    if (!piece->last)
        return piece->size > 0;
    if (run->next == f->count || run->came != piece->length ||
        piece->length != f->lengths[run->next] || piece->trailer_size != f->trailer ||
        memcmp(piece->trailer, f->bytes + at + f->header + run->came, f->trailer) != 0)
        return 0;
    run->came = 0;
    run->next++;
    return 1;
}

/* All that is there. The status, 0 where more is needed; 1 where something is wrong. */
static int take_all(struct lintel_decoder *decoder, struct run *run, enum taking how)
{
    for (;;) {
        struct lintel_frame frames[3];
        struct lintel_piece pieces[3];
        int rc = how == BY_FRAME   ? lintel_decoder_next(decoder, frames)
                 : how == BY_BATCH ? lintel_decoder_next_batch(decoder, frames, 3)
                 : how == BY_PIECE ? lintel_decoder_next_piece(decoder, pieces)
                                   : lintel_decoder_next_pieces(decoder, pieces, 3);
        if (rc <= 0)
            return rc;
        for (int i = 0; i < rc; i++)
            if (how >= BY_PIECE ? !take_piece(run, &pieces[i]) : !take_frame(run, &frames[i]))
                return 1;
    }
}

/* Bytes [at, at + size) of the stream; what does not fit the space in further ones. */
static int hand_over(struct lintel_decoder *decoder, struct run *run, size_t at, size_t size,
                     int in_place, enum taking how)
{
    const uint8_t *bytes = run->frames->bytes + at;

    if (!in_place)
        return lintel_decoder_feed(decoder, bytes, size) < 0 ? 1 : take_all(decoder, run, how);
    while (size > 0) {
        void *space;
        size_t room;
        int rc;
        if (lintel_decoder_space(decoder, &space, &room) < 0)
            return 1;
        if (room > size)
            room = size;
        memcpy(space, bytes, room);
        if (lintel_decoder_filled(decoder, room) < 0)
            return 1;
        rc = take_all(decoder, run, how);
        if (rc != 0)
            return rc;
        bytes += room;
        size -= room;
    }
    return 0;
}

/* One run; bit i of cuts: a piece ends behind byte i. */
static void run_one(struct lintel_decoder *decoder, const struct frames *frames, uint64_t cuts,
                    int in_place, enum taking how)
{
    struct run run = {frames, 0, 0};
    size_t begin = 0;
    int rc = 0;

    lintel_decoder_reset(decoder);
    for (size_t i = 0; i < frames->size && rc == 0; i++) {
        if (i + 1 < frames->size && (cuts >> i & 1) == 0)
            continue;
        rc = hand_over(decoder, &run, begin, i + 1 - begin, in_place, how);
        begin = i + 1;
    }
    must(rc == 0, frames, cuts, "a wrong frame or an error");
    must(lintel_decoder_end(decoder) == LINTEL_OK, frames, cuts, "end");
    rc = take_all(decoder, &run, how);
    must(run.next == frames->count, frames, cuts, "frames are missing");
    must(rc == (frames->size == frames->begins[frames->count] ? LINTEL_E_END : LINTEL_E_TRUNCATED),
         frames, cuts, "another end");
    must(lintel_decoder_offset(decoder) == frames->begins[frames->count], frames, cuts,
         "another offset");
    runs++;
}

/* Every way to take out what comes in these pieces. */
static void run_ways(struct lintel_decoder *decoder, const struct frames *frames, uint64_t cuts)
{
    for (int in_place = 0; in_place < 2; in_place++)
        for (int how = 0; how < TAKINGS; how++)
            run_one(decoder, frames, cuts, in_place, (enum taking)how);
}

/* Every partition; of a stream over 16 bytes all in up to three pieces. */
static void run_all(struct lintel_decoder *decoder, const struct frames *frames)
{
    uint64_t places = frames->size < 2 ? 0 : frames->size - 1;

    if (frames->size <= 16)
        for (uint64_t cuts = 0; cuts < UINT64_C(1) << places; cuts++)
            run_ways(decoder, frames, cuts);
    else
        for (uint64_t one = 0; one < places; one++)
            for (uint64_t two = one; two < places; two++)
                run_ways(decoder, frames, UINT64_C(1) << one | UINT64_C(1) << two);
}

static void add_frame(struct frames *frames, const struct lintel_layout *layout, size_t length)
{
    static const uint8_t payload[PAYLOAD_MAX] = {0xCE, 0x01, 0xA7};
    struct lintel_header header = {0};
    size_t size;

    assert_int_equal(lintel_frame_encode(layout, frames->bytes + frames->size,
                                         STREAM_MAX - frames->size, &size, &header, payload, length,
                                         NULL),
                     LINTEL_OK);
    frames->lengths[frames->count++] = length;
    frames->size += size;
    frames->begins[frames->count] = frames->size;
}

/* The stream as it is, and cut off inside its last frame at every byte. */
static void run_stream(struct lintel_decoder *decoder, struct frames frames)
{
    size_t last = frames.count == 0 ? 0 : frames.begins[frames.count - 1];

    run_all(decoder, &frames);
    if (frames.count > 0)
        frames.count--;
    while (frames.size > last + 1) {
        frames.size--;
        run_all(decoder, &frames);
    }
}

static void run_layout(const char *text, size_t header, size_t trailer)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_layout *layout = make_layout(text);
    struct lintel_decoder *decoder;

    options.layout = layout;
    assert_int_equal(lintel_decoder_new(&decoder, &options, NULL), LINTEL_OK);
    for (size_t one = 0; one <= PAYLOAD_MAX + 1; one++)
        for (size_t two = 0; two <= (one <= PAYLOAD_MAX ? PAYLOAD_MAX + 1 : 0); two++) {
            struct frames frames = {.header = header, .trailer = trailer};
            if (one <= PAYLOAD_MAX)
                add_frame(&frames, layout, one);
            if (one <= PAYLOAD_MAX && two <= PAYLOAD_MAX)
                add_frame(&frames, layout, two);
            run_stream(decoder, frames);
        }
    lintel_decoder_free(decoder);
    lintel_layout_free(layout);
    print_message("%s: %llu runs so far\n", text, runs);
}

static void decoder_gives_the_same_for_every_partition_of_bare_lengths(void **state)
{
    (void)state;
    run_layout("u8", 1, 0);
}

static void decoder_gives_the_same_for_every_partition_with_trailers(void **state)
{
    (void)state;
    run_layout("B:kind B:length * H:end=0xCEA7", 2, 2);
}

static void decoder_gives_the_same_for_every_partition_with_varint_trailers(void **state)
{
    (void)state;
    run_layout("v:length * B:mark=0xCE v:tail", 1, 2);
}

static void decoder_gives_the_same_for_every_partition_of_its_own_layout(void **state)
{
    struct lintel_decoder *decoder;
    (void)state;

    assert_int_equal(lintel_decoder_new(&decoder, NULL, NULL), LINTEL_OK);
    for (size_t one = 0; one <= PAYLOAD_MAX; one++)
        for (size_t two = 0; two <= PAYLOAD_MAX + 1; two++) {
            struct frames frames = {.header = LINTEL_HEADER_SIZE};
            add_frame(&frames, NULL, one);
            if (two <= PAYLOAD_MAX)
                add_frame(&frames, NULL, two);
            run_stream(decoder, frames);
        }
    lintel_decoder_free(decoder);
    print_message("lintel: %llu runs so far\n", runs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(decoder_gives_the_same_for_every_partition_of_bare_lengths),
        cmocka_unit_test(decoder_gives_the_same_for_every_partition_with_trailers),
        cmocka_unit_test(decoder_gives_the_same_for_every_partition_with_varint_trailers),
        cmocka_unit_test(decoder_gives_the_same_for_every_partition_of_its_own_layout),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
