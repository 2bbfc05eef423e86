/*
 * rules: what lintel's own protocol asks of a header beyond what its layout can say.
 * proto/lintel.md has the sections on flags and control frames that this follows.
 */
#ifndef LINTELP_CORE_RULES_H
#define LINTELP_CORE_RULES_H

#include <stdint.h>

/* Flags that may stand together, control types, and lengths and ids of control frames. Returns
 * LINTEL_OK, or LINTEL_E_MALFORMED and, where why is not NULL, the sentence that says it. */
int lintelp_rules_check(unsigned flags, uint32_t type, uint32_t id, uint64_t length,
                        const char **why);

/* The same for the 16 bytes of a header. */
int lintelp_rules_judge(const uint8_t *header, const char **why);

#endif
