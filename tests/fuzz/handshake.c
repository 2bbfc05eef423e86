/*
 * Both sides of the handshake, and what comes after it, with somebody between.
 *
 *     input:  a byte: 1 IK, 2 the initiator hears, 4 `mac`, 128 the rest is what it hears; a byte
 * for how the bytes are cut (0: not at all); then what becomes of the words on their way, step by
 * step: change() in sealed.c
 */
#include "sealed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    uint8_t first = input_byte(&in);

    sealed_deliver(sealed_way(first), first & 0x80 ? SEALED_RAW : SEALED_CHANGED, &in);
    return 0;
}
