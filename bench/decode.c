/* Decoding in memory, against loops written by hand over the same bytes. */
#include "bench.h"
#include "hand.h"

#include <string.h>

#define SET \
    ((size_t)512 * 1024) /* bytes of frames: as much as a cache holds, as if just received */

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* ---- bytes to decode ------------------------------------------------------------------------- */

struct set {
    uint8_t *bytes;
    size_t size, frames, of; /* of: the payload's size; 0 for random ones */
};

/* Frames of one size, or, where random is 1, of 1 to twice that size. */
static const struct set *frames_of(size_t payload, int random)
{
    static struct set set;
    static int set_random = -1;
    size_t room = SET > 16 * (payload + 16) ? SET : 16 * (payload + 16);
    uint64_t seed = 1;

    if (set.bytes != NULL && set.of == payload && set_random == random)
        return &set;
    free(set.bytes);
    set = (struct set){calloc(1, room), 0, 0, payload};
    set_random = random;
    for (;;) {
        struct lintel_header header = {0, 7, (uint32_t)set.frames, NULL};
        size_t length = payload, size;
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        if (random)
            length = 1 + (size_t)(seed >> 33) % (2 * payload - 1);
        if (length + 16 > room - set.size)
            return &set;
        if (lintel_frame_put_header(NULL, set.bytes + set.size, 16, &size, &header, length, NULL) <
            0)
            bench_fail("a frame could not be written");
        set.size += size + length;
        set.frames++;
    }
}

static size_t repeats(const struct set *set)
{
    return 1 + 400000 / set->frames;
}

/* ---- the floor: an inline loop over a contiguous buffer ----------------------------------------
 */

static double inline_loop(const struct set *set)
{
    size_t times = repeats(set), frames = 0;
    uint64_t sum = 0;
    double start = bench_cpu_ns();

    for (size_t t = 0; t < times; t++) {
        const uint8_t *bytes = set->bytes;
        size_t left = set->size;
        while (left >= 16) {
            uint32_t length = be32(bytes + 12);
            if (bytes[0] != 0x4C || bytes[1] != 0x54 || bytes[2] != 1 || length > 16777216 ||
                length > left - 16)
                break;
            sum += be32(bytes + 4) + be32(bytes + 8) + length;
            frames++;
            bytes += 16 + length;
            left -= 16 + length;
        }
    }
    bench_sink += sum;
    return (bench_cpu_ns() - start) / (double)frames;
}

static double floor_equal(size_t size)
{
    return inline_loop(frames_of(size, 0));
}

static double floor_random(size_t size)
{
    return inline_loop(frames_of(size, 1));
}

/* ---- lintel ---------------------------------------------------------------------------------- */

static uint64_t use(const struct lintel_frame *frame)
{
    return be32(frame->header + 4) + be32(frame->header + 8) + frame->length;
}

static size_t decode_once(struct lintel_decoder *decoder, const struct set *set, size_t piece,
                          int batch)
{
    struct lintel_frame frames[64];
    uint64_t sum = 0;
    size_t count = 0;
    int rc = 0;

    for (size_t at = 0; at < set->size && rc == 0; at += piece) {
        size_t size = set->size - at < piece ? set->size - at : piece;
        if (lintel_decoder_feed(decoder, set->bytes + at, size) < 0)
            bench_fail("feed");
        if (batch)
            while ((rc = lintel_decoder_next_batch(decoder, frames, 64)) > 0)
                for (count += (size_t)rc; rc > 0; rc--)
                    sum += use(&frames[rc - 1]);
        else
            while ((rc = lintel_decoder_next(decoder, frames)) == 1) {
                sum += use(frames);
                count++;
            }
    }
    bench_sink += sum;
    return count;
}

static double decode(const struct set *set, size_t piece, int batch)
{
    struct lintel_decoder *decoder;
    size_t times = repeats(set), count = 0;
    double start;

    if (lintel_decoder_new(&decoder, NULL, NULL) < 0)
        bench_fail("decoder");
    start = bench_cpu_ns();
    for (size_t t = 0; t < times; t++)
        count += decode_once(decoder, set, piece, batch);
    start = bench_cpu_ns() - start;
    if (count != times * set->frames)
        bench_fail("frames are missing");
    lintel_decoder_free(decoder);
    return start / (double)count;
}

static double one_a_call(size_t size)
{
    return decode(frames_of(size, 0), 65536, 0);
}

static double batches(size_t size)
{
    return decode(frames_of(size, 0), 65536, 1);
}

static double batches_random(size_t size)
{
    return decode(frames_of(size, 1), 65536, 1);
}

static double batches_1448(size_t size)
{
    return decode(frames_of(size, 0), 1448, 1);
}

/* ---- byte by byte ---------------------------------------------------------------------------- */

static double hand_bytewise(size_t size)
{
    const struct set *set = frames_of(size, 0);
    struct hand h = {malloc(65536), 0, 65536, 0, 0};
    double start = bench_cpu_ns();

    for (size_t i = 0; i < set->size; i++)
        hand_feed(&h, set->bytes + i, 1);
    start = bench_cpu_ns() - start;
    bench_sink += h.sum;
    free(h.buffer);
    return start / (double)h.frames;
}

static double bytewise(size_t size)
{
    const struct set *set = frames_of(size, 0);
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    size_t count = 0;
    uint64_t sum = 0;
    double start;

    if (lintel_decoder_new(&decoder, NULL, NULL) < 0)
        bench_fail("decoder");
    start = bench_cpu_ns();
    for (size_t i = 0; i < set->size; i++) {
        if (lintel_decoder_feed(decoder, set->bytes + i, 1) < 0)
            bench_fail("feed");
        while (lintel_decoder_next(decoder, &frame) == 1) {
            sum += use(&frame);
            count++;
        }
    }
    start = bench_cpu_ns() - start;
    bench_sink += sum;
    if (count != set->frames)
        bench_fail("frames are missing");
    lintel_decoder_free(decoder);
    return start / (double)count;
}

/* ---- payloads in pieces ---------------------------------------------------------------------- */

static double pieces(size_t size)
{
    const struct set *set = frames_of(size, 0);
    struct lintel_decoder *decoder;
    struct lintel_piece piece[8];
    size_t times = repeats(set), count = 0;
    int n;
    double start;

    if (lintel_decoder_new(&decoder, NULL, NULL) < 0)
        bench_fail("decoder");
    start = bench_cpu_ns();
    for (size_t t = 0; t < times; t++)
        for (size_t at = 0; at < set->size; at += 65536) {
            size_t step = set->size - at < 65536 ? set->size - at : 65536;
            if (lintel_decoder_feed(decoder, set->bytes + at, step) < 0)
                bench_fail("feed");
            do {
                n = lintel_decoder_next_pieces(decoder, piece, 8);
                for (int i = 0; i < n; i++) {
                    bench_sink += piece[i].size;
                    count += (size_t)piece[i].last;
                }
            } while (n == 8);
        }
    start = bench_cpu_ns() - start;
    if (count != times * set->frames)
        bench_fail("frames are missing");
    lintel_decoder_free(decoder);
    return start / (double)count;
}

const struct bench_row bench_decode_rows[] = {
    {"decode, one a call", 16, floor_equal, one_a_call, 1.75, 0, ""},
    {"decode, one a call", 64, floor_equal, one_a_call, 1.75, 0, ""},
    {"decode, one a call", 1024, floor_equal, one_a_call, 1.75, 0, ""},
    {"decode, a batch a call", 16, floor_equal, batches, 1.0, 0, ""},
    {"decode, a batch a call", 64, floor_equal, batches, 1.0, 0, ""},
    {"decode, a batch a call", 1024, floor_equal, batches, 1.0, 0, ""},
    {"decode, batches, random lengths", 64, floor_random, batches_random, 1.3, 0, ""},
    {"decode, batches, random lengths", 1024, floor_random, batches_random, 1.3, 0, ""},
    {"decode, batches of 1448 bytes", 64, floor_equal, batches_1448, 1.5, 0, ""},
    {"decode, byte by byte", 64, hand_bytewise, bytewise, 0.75, 0, ""},
    {"decode in pieces of 64 KiB", 65536, floor_equal, pieces, 12, 1, ""},
    {NULL, 0, NULL, NULL, 0, 0, NULL},
};
