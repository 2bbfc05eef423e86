/*
 * What the rooms of the core share and nobody else sees. Cross-file names begin with lintelp_.
 */
#ifndef LINTELP_CORE_INTERNAL_H
#define LINTELP_CORE_INTERNAL_H

#include "lintel/status.h"

/* Keeps a slow way out of the quick one that calls it, so that the quick one saves no registers. */
#if defined(__GNUC__)
#define LINTELP_APART __attribute__((noinline))
#else
#define LINTELP_APART
#endif

/* The allocator, or malloc and free where it is NULL. size 0 frees. */
void *lintelp_resize(const struct lintel_allocator *allocator, void *ptr, size_t size);

/* ---- decoder.c, for who gives a decoder back while nothing comes, and makes it anew ------------
 */

struct lintel_decoder;
struct lintel_decoder_options;

/* As lintel_decoder_new(), but makes nothing. */
int lintelp_decoder_check(const struct lintel_decoder_options *options, struct lintel_error *error);
/* Whether it is at a frame's beginning, with nothing unread and no error: a new one, told where it
 * begins, then does the same from here on. */
int lintelp_decoder_rests(const struct lintel_decoder *decoder);
/* Tell a new decoder that its first byte is not that of the stream. */
void lintelp_decoder_begin_at(struct lintel_decoder *decoder, uint64_t offset);

#endif
