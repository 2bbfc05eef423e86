/* The decoder that people write by hand: append, parse, memmove. In a file of its own, so that the
 * compiler knows as little of its caller as of a library's. */
#ifndef LINTEL_BENCH_HAND_H
#define LINTEL_BENCH_HAND_H

#include <stddef.h>
#include <stdint.h>

struct hand {
    uint8_t *buffer;
    size_t have, capacity;
    uint64_t sum;
    size_t frames;
};

void hand_feed(struct hand *hand, const uint8_t *bytes, size_t size);

#endif
