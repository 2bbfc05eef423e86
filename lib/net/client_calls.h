/*
 * The open calls of a client: found by id, in the order in which they were started, and the one
 * whose time is up first. No I/O, no clock.
 *
 * Calls stand in slots, which do not move while they are open. All in one block: slots, then a heap
 * of slots by deadline, then a table of slots by id, open addressing, at most half full.
 */
#ifndef LINTELP_CLIENT_CALLS_H
#define LINTELP_CLIENT_CALLS_H

#include "lintel/status.h"

#define NO_CALL UINT32_MAX

struct lintelp_call {
    void *user;
    uint64_t number;        /* its id, if ids did not begin again at 1 */
    uint64_t frame;         /* it is written when so many frames of the stream are */
    uint64_t deadline;      /* on the clock; 0: none */
    uint32_t before, after; /* slots in the order of start; NO_CALL at the ends */
    uint32_t place;         /* in the heap; NO_CALL: it is not there */
    uint32_t id;
    int over; /* 1: it was given out, and keeps its place for a reply to come */
};

struct lintelp_calls {
    const struct lintel_allocator *allocator;
    struct lintelp_call *slots;
    uint32_t *heap;           /* timed slots, the soonest first */
    uint32_t *table;          /* 2 * capacity entries */
    uint32_t capacity, count; /* slots there are, a power of two or 0; that are taken */
    uint32_t fresh;           /* slots from here on were never taken */
    uint32_t free;            /* the first of the others that are free, by `after` */
    uint32_t first, last;     /* in the order of start */
    uint32_t timed;           /* entries of the heap */
};

void lintelp_calls_init(struct lintelp_calls *calls, const struct lintel_allocator *allocator);
void lintelp_calls_fini(struct lintelp_calls *calls);

/* Add a call behind all others; no other has its id. Returns LINTEL_OK and its slot in *slot, or
 * LINTEL_E_NOMEM and nothing has changed. */
int lintelp_calls_add(struct lintelp_calls *calls, uint32_t *slot, uint32_t id, uint64_t number,
                      uint64_t deadline);

/* The slot of the call with this id; NO_CALL. */
uint32_t lintelp_calls_find(const struct lintelp_calls *calls, uint32_t id);

/* Forget its deadline. */
void lintelp_calls_untime(struct lintelp_calls *calls, uint32_t slot);

void lintelp_calls_remove(struct lintelp_calls *calls, uint32_t slot);

/* The slot of the call whose time is up first; NO_CALL. */
static inline uint32_t lintelp_calls_soonest(const struct lintelp_calls *calls)
{
    return calls->timed > 0 ? calls->heap[0] : NO_CALL;
}

/* Bytes of storage. */
size_t lintelp_calls_memory(const struct lintelp_calls *calls);

#endif
