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

#endif
