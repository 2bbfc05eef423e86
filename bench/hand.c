#include "hand.h"
#include "bench.h"

#include <string.h>

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

void hand_feed(struct hand *h, const uint8_t *bytes, size_t size)
{
    size_t at = 0;

    while (size > h->capacity - h->have)
        if ((h->buffer = realloc(h->buffer, h->capacity *= 2)) == NULL)
            bench_fail("realloc");
    memcpy(h->buffer + h->have, bytes, size);
    h->have += size;
    while (h->have - at >= 16) {
        const uint8_t *p = h->buffer + at;
        uint32_t length = be32(p + 12);
        if (p[0] != 0x4C || p[1] != 0x54 || p[2] != 1 || length > 16777216)
            bench_fail("not a frame");
        if (h->have - at - 16 < length)
            break;
        h->sum += be32(p + 4) + be32(p + 8) + length;
        h->frames++;
        at += 16 + length;
    }
    if (at > 0)
        memmove(h->buffer, h->buffer + at, h->have - at);
    h->have -= at;
}
