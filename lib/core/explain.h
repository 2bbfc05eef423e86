/*
 * explain: the sentences of the decoder's errors: what, where, against which limit, and what other
 * protocol the header's bytes look like. The record may be NULL; then nothing is said.
 */
#ifndef LINTELP_CORE_EXPLAIN_H
#define LINTELP_CORE_EXPLAIN_H

#include "core/layout.h"

/* What the step found bad in the frame at that offset, whose bytes are there. */
void lintelp_explain_bad(struct lintel_error *error, const struct lintel_layout *layout,
                         uint64_t offset, const struct lintelp_judgement *judged,
                         const uint8_t *bytes, size_t have, uint64_t limit);

/* The same of a trailer, whose bytes are there without the rest of the frame. */
void lintelp_explain_trailer(struct lintel_error *error, const struct lintel_layout *layout,
                             uint64_t offset, const struct lintelp_judgement *judged,
                             const uint8_t *trailer, size_t have);

/* The stream ended after have bytes of a frame that has at least need. Of its header at least those
 * bytes are there that came; bytes may be NULL. */
void lintelp_explain_truncated(struct lintel_error *error, const struct lintel_layout *layout,
                               uint64_t offset, const uint8_t *bytes, uint64_t have, uint64_t need);

/* A frame wants more storage than the budget has. */
void lintelp_explain_budget(struct lintel_error *error, uint64_t offset, uint64_t wanted,
                            uint64_t budget);

#endif
