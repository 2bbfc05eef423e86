#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "chaos.h"

#define DRAWS_A_FRAME 8                            /* CHAOS_FAULTS and the two of a corruption */
#define UNITS         ((uint64_t)1 << 53)          /* what a double counts exactly */
#define STEP          UINT64_C(0x9e3779b97f4a7c15) /* odd, and near 2^64 over the golden ratio */

/* ---- options --------------------------------------------------------------------------------- */

int chaos_read(struct chaos *chaos, enum chaos_fault fault, const char *text)
{
    char *end;
    if (!((text[0] >= '0' && text[0] <= '9') || text[0] == '.') || strpbrk(text, "xXpP"))
        return 0;
    double number = strtod(text, &end);
    if (*end == '%') {
        number /= 100;
        end++;
    }
    if (*end || !(number >= 0 && number <= 1))
        return 0;
    chaos->below[fault] = (uint64_t)(number * (double)UNITS);
    return 1;
}

int chaos_is_on(const struct chaos *chaos)
{
    for (int i = 0; i < CHAOS_FAULTS; i++)
        if (chaos->below[i] > 0)
            return 1;
    return 0;
}

/* ---- draws ----------------------------------------------------------------------------------- */

/* The finalizer of splitmix64: every bit of the input moves half of the bits of the output. */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

/* Each direction of each connection has a sequence of its own. */
static uint64_t key_of(uint64_t seed, uint64_t connection, char direction)
{
    uint64_t key = mix(seed + STEP);
    key = mix(key + connection * STEP);
    return mix(key + (direction == '>' ? 1 : 2) * STEP);
}

static uint64_t draw(uint64_t key, uint64_t number, unsigned which)
{
    return mix(key + (number * DRAWS_A_FRAME + which) * STEP);
}

void chaos_decide(const struct chaos *chaos, struct chaos_plan *plan, uint64_t connection,
                  char direction, uint64_t number, uint64_t size)
{
    uint64_t key = key_of(chaos->seed, connection, direction);
    for (unsigned i = 0; i < CHAOS_FAULTS; i++)
        plan->fault[i] = draw(key, number, i) % UNITS < chaos->below[i];
    plan->byte = draw(key, number, CHAOS_FAULTS) % size;
    plan->flip = (uint8_t)(draw(key, number, CHAOS_FAULTS + 1) % 255 + 1);
}
