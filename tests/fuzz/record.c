/*
 * Records after a handshake, with somebody between, in both directions, both modes, with a new key
 * behind each third record.
 *
 *     input:  as of handshake.c, from the first record on
 */
#include "sealed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct sealed_way way = sealed_way(input_byte(&in));

    sealed_deliver(way, SEALED_RECORDS, &in);
    return 0;
}
