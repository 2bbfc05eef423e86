#include "seal_hooks.h"
#include "seal/seal_state.h"

#include <string.h>

void lintelp_seal_test_ephemeral(struct lintel_seal *seal, const uint8_t secret[32])
{
    memcpy(seal->handshake->e.secret, secret, 32);
    seal->handshake->has_e = 1;
}

void lintelp_seal_test_numbers(struct lintel_seal *seal, uint64_t in, uint64_t out)
{
    seal->in.n = in;
    seal->out.n = out;
}

void lintelp_seal_test_rekey(struct lintel_seal *seal, uint64_t every)
{
    seal->rekey_every = every;
}
