/* The open calls of a client. */
#include "config.h"
#include "net/client_calls.h"

#include "core/internal.h"

#include <string.h>

#define FIRST 16 /* slots that are allocated at first */

/* ---- by deadline ----------------------------------------------------------------------------- */

static uint64_t deadline_at(const struct lintelp_calls *calls, uint32_t place)
{
    return calls->slots[calls->heap[place]].deadline;
}

static void put_at(struct lintelp_calls *calls, uint32_t place, uint32_t slot)
{
    calls->heap[place] = slot;
    calls->slots[slot].place = place;
}

static void swap(struct lintelp_calls *calls, uint32_t a, uint32_t b)
{
    uint32_t slot = calls->heap[a];

    put_at(calls, a, calls->heap[b]);
    put_at(calls, b, slot);
}

static void rise(struct lintelp_calls *calls, uint32_t place)
{
    while (place > 0 && deadline_at(calls, place) < deadline_at(calls, (place - 1) / 2)) {
        swap(calls, place, (place - 1) / 2);
        place = (place - 1) / 2;
    }
}

static void sink(struct lintelp_calls *calls, uint32_t place)
{
    for (;;) {
        uint32_t child = 2 * place + 1;
        if (child >= calls->timed)
            return;
        if (child + 1 < calls->timed && deadline_at(calls, child + 1) < deadline_at(calls, child))
            child++;
        if (deadline_at(calls, place) <= deadline_at(calls, child))
            return;
        swap(calls, place, child);
        place = child;
    }
}

void lintelp_calls_untime(struct lintelp_calls *calls, uint32_t slot)
{
    uint32_t place = calls->slots[slot].place;

    if (place == NO_CALL)
        return;
    calls->slots[slot].place = NO_CALL;
    calls->timed--;
    if (place == calls->timed)
        return;
    put_at(calls, place, calls->heap[calls->timed]);
    rise(calls, place);
    sink(calls, place);
}

/* ---- by id ----------------------------------------------------------------------------------- */

/* Where the search for an id begins. Ids that follow each other are spread evenly. */
static uint32_t home(const struct lintelp_calls *calls, uint32_t id)
{
    return (uint32_t)(((uint64_t)(id * UINT32_C(2654435769)) * (2 * calls->capacity)) >> 32);
}

static uint32_t next_entry(const struct lintelp_calls *calls, uint32_t entry)
{
    return (entry + 1) & (2 * calls->capacity - 1);
}

/* The entry of an id, or the empty one where it belongs. */
static uint32_t entry_of(const struct lintelp_calls *calls, uint32_t id)
{
    uint32_t entry = home(calls, id);

    while (calls->table[entry] != NO_CALL && calls->slots[calls->table[entry]].id != id)
        entry = next_entry(calls, entry);
    return entry;
}

/* Empty an entry; those behind it that it kept from their place move up. */
static void empty(struct lintelp_calls *calls, uint32_t hole)
{
    uint32_t mask = 2 * calls->capacity - 1;
    uint32_t entry = hole;

    for (;;) {
        uint32_t from;
        calls->table[hole] = NO_CALL;
        do {
            entry = next_entry(calls, entry);
            if (calls->table[entry] == NO_CALL)
                return;
            from = home(calls, calls->slots[calls->table[entry]].id);
        } while (((entry - from) & mask) < ((entry - hole) & mask));
        calls->table[hole] = calls->table[entry];
        hole = entry;
    }
}

uint32_t lintelp_calls_find(const struct lintelp_calls *calls, uint32_t id)
{
    return calls->count > 0 ? calls->table[entry_of(calls, id)] : NO_CALL;
}

/* ---- all of it ------------------------------------------------------------------------------- */

void lintelp_calls_init(struct lintelp_calls *calls, const struct lintel_allocator *allocator)
{
    memset(calls, 0, sizeof *calls);
    calls->allocator = allocator;
    calls->free = calls->first = calls->last = NO_CALL;
}

void lintelp_calls_fini(struct lintelp_calls *calls)
{
    if (calls->slots != NULL)
        (void)lintelp_resize(calls->allocator, calls->slots, 0);
    lintelp_calls_init(calls, calls->allocator);
}

static size_t block_size(uint32_t capacity)
{
    return (sizeof(struct lintelp_call) + 3 * sizeof(uint32_t)) * (size_t)capacity;
}

size_t lintelp_calls_memory(const struct lintelp_calls *calls)
{
    return block_size(calls->capacity);
}

/* Twice the room. */
static int grow(struct lintelp_calls *calls)
{
    struct lintelp_call *old = calls->slots;
    uint32_t *heap = calls->heap;
    uint32_t capacity = calls->capacity > 0 ? 2 * calls->capacity : FIRST;
    struct lintelp_call *slots = lintelp_resize(calls->allocator, NULL, block_size(capacity));

    if (slots == NULL)
        return LINTEL_E_NOMEM;
    calls->slots = slots;
    calls->heap = (uint32_t *)(slots + capacity);
    calls->table = calls->heap + capacity;
    calls->capacity = capacity;
    memset(calls->table, 0xFF, 2 * capacity * sizeof *calls->table);
    if (old == NULL)
        return LINTEL_OK;
    memcpy(slots, old, calls->fresh * sizeof *slots);
    memcpy(calls->heap, heap, calls->timed * sizeof *heap);
    for (uint32_t slot = calls->first; slot != NO_CALL; slot = slots[slot].after)
        calls->table[entry_of(calls, slots[slot].id)] = slot;
    (void)lintelp_resize(calls->allocator, old, 0);
    return LINTEL_OK;
}

static uint32_t take_slot(struct lintelp_calls *calls)
{
    uint32_t slot = calls->free;

    if (slot == NO_CALL)
        return calls->fresh++;
    calls->free = calls->slots[slot].after;
    return slot;
}

int lintelp_calls_add(struct lintelp_calls *calls, uint32_t *slot, uint32_t id, uint64_t number,
                      uint64_t deadline)
{
    struct lintelp_call *call;

    if (calls->count == calls->capacity && grow(calls) < 0)
        return LINTEL_E_NOMEM;
    *slot = take_slot(calls);
    call = &calls->slots[*slot];
    memset(call, 0, sizeof *call);
    call->id = id;
    call->number = number;
    call->deadline = deadline;
    call->place = call->after = NO_CALL;
    call->before = calls->last;
    if (calls->last != NO_CALL)
        calls->slots[calls->last].after = *slot;
    else
        calls->first = *slot;
    calls->last = *slot;
    calls->count++;
    calls->table[entry_of(calls, id)] = *slot;
    if (deadline != 0) {
        put_at(calls, calls->timed++, *slot);
        rise(calls, call->place);
    }
    return LINTEL_OK;
}

void lintelp_calls_remove(struct lintelp_calls *calls, uint32_t slot)
{
    struct lintelp_call *call = &calls->slots[slot];

    lintelp_calls_untime(calls, slot);
    empty(calls, entry_of(calls, call->id));
    if (call->before != NO_CALL)
        calls->slots[call->before].after = call->after;
    else
        calls->first = call->after;
    if (call->after != NO_CALL)
        calls->slots[call->after].before = call->before;
    else
        calls->last = call->before;
    call->after = calls->free;
    calls->free = slot;
    calls->count--;
}
