/*
 * sealed: what the targets of sealed sessions share. A genuine session is made once for each
 * pattern, mode and side, with fixed ephemeral keys, so that a fresh session of one side is in step
 * with the recorded words of the other. The input says how these words are changed on their way.
 *
 * What holds: a side takes a message only where all bytes up to its end are the genuine ones, gives
 * out the genuine pieces, and names nobody before the handshake is done.
 */
#ifndef LINTEL_FUZZ_SEALED_H
#define LINTEL_FUZZ_SEALED_H

#include "fuzz.h"
#include "lintel/seal.h"

/* Which session, and which side of it is told what the input makes of it. */
struct sealed_way {
    int ik;
    int initiator;
    enum lintel_seal_mode mode;
};

/* From the first byte of an input. */
struct sealed_way sealed_way(uint8_t byte);

enum sealed_how {
    SEALED_CHANGED, /* the input says how the words are changed, from the first one on */
    SEALED_RECORDS, /* the same, after a handshake that nobody changes */
    SEALED_RAW      /* the input is what the side hears */
};

/* Deliver the input's version of the words to a fresh side. */
void sealed_deliver(struct sealed_way way, enum sealed_how how, struct input *in);

#endif
