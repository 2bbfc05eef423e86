/* Packing and unpacking a 16-byte header, against swaps written by hand and CPython's struct. */
#define _GNU_SOURCE
#include "bench.h"

#include <stdio.h>
#include <string.h>

#define TIMES 400000

struct record {
    uint16_t magic;
    uint8_t version, flags;
    uint32_t type, id, length;
};

static void by_hand_put(uint8_t *out, const struct record *r)
{
    uint16_t magic = __builtin_bswap16(r->magic);
    uint32_t type = __builtin_bswap32(r->type), id = __builtin_bswap32(r->id);
    uint32_t length = __builtin_bswap32(r->length);

    memcpy(out, &magic, 2);
    out[2] = r->version;
    out[3] = r->flags;
    memcpy(out + 4, &type, 4);
    memcpy(out + 8, &id, 4);
    memcpy(out + 12, &length, 4);
}

static void by_hand_get(struct record *r, const uint8_t *in)
{
    memcpy(&r->magic, in, 2);
    memcpy(&r->type, in + 4, 4);
    memcpy(&r->id, in + 8, 4);
    memcpy(&r->length, in + 12, 4);
    r->magic = __builtin_bswap16(r->magic);
    r->version = in[2];
    r->flags = in[3];
    r->type = __builtin_bswap32(r->type);
    r->id = __builtin_bswap32(r->id);
    r->length = __builtin_bswap32(r->length);
}

/* Keeps the compiler from seeing through memory. */
static void opaque(void *p)
{
    __asm__ volatile("" : : "r"(p) : "memory");
}

/* Nanoseconds for one pack and one unpack. */
static double by_hand(size_t size)
{
    struct record r = {0x4C54, 1, 0, 7, 1, 64};
    uint8_t wire[16];
    double start = bench_cpu_ns();

    (void)size;
    for (uint32_t i = 0; i < TIMES; i++) {
        r.id = i;
        opaque(&r);
        by_hand_put(wire, &r);
        opaque(wire);
        by_hand_get(&r, wire);
        opaque(&r);
    }
    bench_sink += r.id;
    return (bench_cpu_ns() - start) / TIMES;
}

static double by_accessors(size_t size)
{
    struct record r = {0x4C54, 1, 0, 7, 1, 64};
    uint8_t wire[16];
    double start = bench_cpu_ns();

    (void)size;
    for (uint32_t i = 0; i < TIMES; i++) {
        r.id = i;
        opaque(&r);
        lintel_put_u16be(wire, r.magic);
        lintel_put_u8(wire + 2, r.version);
        lintel_put_u8(wire + 3, r.flags);
        lintel_put_u32be(wire + 4, r.type);
        lintel_put_u32be(wire + 8, r.id);
        lintel_put_u32be(wire + 12, r.length);
        opaque(wire);
        r.magic = lintel_get_u16be(wire);
        r.version = lintel_get_u8(wire + 2);
        r.flags = lintel_get_u8(wire + 3);
        r.type = lintel_get_u32be(wire + 4);
        r.id = lintel_get_u32be(wire + 8);
        r.length = lintel_get_u32be(wire + 12);
        opaque(&r);
    }
    bench_sink += r.id;
    return (bench_cpu_ns() - start) / TIMES;
}

static double by_format(size_t size)
{
    struct lintel_value values[6] = {lintel_uint(0x4C54), lintel_uint(1), lintel_uint(0),
                                     lintel_uint(7),      lintel_uint(1), lintel_uint(64)};
    struct lintel_format *format;
    uint8_t wire[16];
    double start;

    (void)size;
    if (lintel_format_new(&format, "!HBBIII", NULL, NULL) < 0)
        bench_fail("format");
    start = bench_cpu_ns();
    for (uint32_t i = 0; i < TIMES; i++) {
        values[4].as.u = i;
        if (lintel_format_pack(format, wire, 16, values, 6, NULL) < 0 ||
            lintel_format_unpack(format, values, 6, wire, 16, NULL) < 0)
            bench_fail("pack");
    }
    start = (bench_cpu_ns() - start) / TIMES;
    bench_sink += values[4].as.u;
    lintel_format_free(format);
    return start;
}

static double by_cpython(size_t size)
{
    static const char *const command =
        "python3 -c '"
        "import struct, time\n"
        "s = struct.Struct(\"!HBBIII\")\n"
        "pack, unpack = s.pack, s.unpack\n"
        "w = pack(0x4c54, 1, 0, 7, 1, 64)\n"
        "n = 100000\n"
        "t = time.process_time_ns()\n"
        "for i in range(n):\n"
        "    pack(0x4c54, 1, 0, 7, i, 64)\n"
        "    unpack(w)\n"
        "u = time.process_time_ns()\n"
        "for i in range(n):\n"
        "    pass\n"
        "print((u - t - (time.process_time_ns() - u)) / n)' 2>/dev/null";
    FILE *python = popen(command, "r");
    double ns = -1;

    (void)size;
    if (python == NULL || fscanf(python, "%lf", &ns) != 1)
        ns = -1;
    if (python != NULL)
        (void)pclose(python);
    return ns;
}

const struct bench_row bench_pack_rows[] = {
    {"pack and unpack, compiled format", 16, by_hand, by_format, 3.0, 0, ""},
    {"pack and unpack, accessors", 16, by_hand, by_accessors, 1.1, 0, ""},
    {"pack and unpack, CPython's struct", 16, by_cpython, by_format, 0.05, 0, "python3"},
    {NULL, 0, NULL, NULL, 0, 0, NULL},
};
