/* Encoding into the caller's buffer, against a memcpy of the payload behind an inline header. */
#include "bench.h"

#include <string.h>

#define ROOM ((size_t)256 * 1024)

static uint8_t *buffer, *payload;

static size_t prepare(size_t size)
{
    if (buffer == NULL) {
        buffer = calloc(1, ROOM);
        payload = calloc(1, ROOM);
    }
    return ROOM / (size + 16);
}

static size_t repeats(size_t count)
{
    return 1 + 300000 / count;
}

static double floor_encode(size_t size)
{
    size_t count = prepare(size), times = repeats(count);
    double start = bench_cpu_ns();

    for (size_t t = 0; t < times; t++) {
        uint8_t *at = buffer;
        for (size_t i = 0; i < count; i++) {
            at[0] = 0x4C;
            at[1] = 0x54;
            at[2] = 1;
            at[3] = 0;
            lintel_put_u32be(at + 4, 7);
            lintel_put_u32be(at + 8, (uint32_t)i);
            lintel_put_u32be(at + 12, (uint32_t)size);
            memcpy(at + 16, payload, size);
            at += 16 + size;
        }
        bench_sink += buffer[t % ROOM];
    }
    return (bench_cpu_ns() - start) / (double)(times * count);
}

static double encode(size_t size)
{
    size_t count = prepare(size), times = repeats(count);
    double start = bench_cpu_ns();

    for (size_t t = 0; t < times; t++) {
        size_t used = 0, step;
        for (size_t i = 0; i < count; i++) {
            struct lintel_header header = {0, 7, (uint32_t)i, NULL};
            if (lintel_frame_encode(NULL, buffer + used, ROOM - used, &step, &header, payload, size,
                                    NULL) < 0)
                bench_fail("encode");
            used += step;
        }
        bench_sink += buffer[t % ROOM];
    }
    return (bench_cpu_ns() - start) / (double)(times * count);
}

static double encode_inline(size_t size)
{
    size_t count = prepare(size), times = repeats(count);
    double start = bench_cpu_ns();

    for (size_t t = 0; t < times; t++) {
        uint8_t *at = buffer;
        for (size_t i = 0; i < count; i++) {
            lintel_header_put(at, 0, 7, (uint32_t)i, (uint32_t)size);
            memcpy(at + LINTEL_HEADER_SIZE, payload, size);
            at += LINTEL_HEADER_SIZE + size;
        }
        bench_sink += buffer[t % ROOM];
    }
    return (bench_cpu_ns() - start) / (double)(times * count);
}

const struct bench_row bench_encode_rows[] = {
    {"encode, inline header", 16, floor_encode, encode_inline, 1.3, 0, ""},
    {"encode, inline header", 64, floor_encode, encode_inline, 1.3, 0, ""},
    {"encode, inline header", 1024, floor_encode, encode_inline, 1.3, 0, ""},
    {"encode, a checked call", 16, floor_encode, encode, 2.5, 0, ""},
    {"encode, a checked call", 64, floor_encode, encode, 2.5, 0, ""},
    {"encode, a checked call", 1024, floor_encode, encode, 2.5, 0, ""},
    {NULL, 0, NULL, NULL, 0, 0, NULL},
};
