/*
 * seal_hooks: sets what a session otherwise makes or counts by itself. Linked into test programs
 * alone; tests/check-symbols looks for these names in the libraries.
 */
#ifndef LINTEL_TESTS_SEAL_HOOKS_H
#define LINTEL_TESTS_SEAL_HOOKS_H

#include "lintel/seal.h"

/* The ephemeral secret of a handshake message that is due, or of an initiator's first one. */
void lintelp_seal_test_ephemeral(struct lintel_seal *seal, const uint8_t secret[32]);
/* The numbers of the next records. */
void lintelp_seal_test_numbers(struct lintel_seal *seal, uint64_t in, uint64_t out);
/* A new key behind each so many records. */
void lintelp_seal_test_rekey(struct lintel_seal *seal, uint64_t every);

#endif
