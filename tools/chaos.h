/*
 * chaos: which faults meet which frame. A draw depends on the seed, the connection, the direction,
 * the number of the frame in it and the kind of fault, and on nothing else: neither on time, nor on
 * how the bytes were cut, nor on which other faults are asked for.
 */
#ifndef LINTEL_CHAOS_H
#define LINTEL_CHAOS_H

#include "tool.h"

enum chaos_fault {
    CHAOS_CORRUPT,
    CHAOS_DROP,
    CHAOS_DUPLICATE,
    CHAOS_RESET,
    CHAOS_HALF_CLOSE,
    CHAOS_FAULTS /* how many there are */
};

struct chaos {
    uint64_t seed;
    uint64_t below[CHAOS_FAULTS]; /* of 2^53 draws of a fault so many are hits */
};

/* What happens to one frame. */
struct chaos_plan {
    int fault[CHAOS_FAULTS]; /* 1: it does; a reset goes before all others, a drop before corrupt
                                and duplicate */
    uint64_t byte;           /* of CHAOS_CORRUPT: its index in the frame, header and trailer too */
    uint8_t flip;            /* the bits of it that change, at least one */
};

/* A probability, 0 to 1, or in percent: "0.05", "5%". 1 if the text is one, else 0. */
int chaos_read(struct chaos *chaos, enum chaos_fault fault, const char *text);
/* Whether any fault can happen. */
int chaos_is_on(const struct chaos *chaos);
/* The plan for a frame of so many bytes, at least 1; number counts the frames of the direction. */
void chaos_decide(const struct chaos *chaos, struct chaos_plan *plan, uint64_t connection,
                  char direction, uint64_t number, uint64_t size);

#endif
