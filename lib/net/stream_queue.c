#include "net/stream_queue.h"

#include "core/internal.h"

#include <string.h>

#define FIRST_BYTES 512
#define FIRST_RUNS  8
#define FIRST_REFS  4

void lintelp_queue_init(struct lintelp_queue *queue, const struct lintel_allocator *allocator)
{
    memset(queue, 0, sizeof *queue);
    queue->allocator = allocator;
}

static void free_storage(struct lintelp_queue *queue)
{
    if (queue->bytes != NULL)
        (void)lintelp_resize(queue->allocator, queue->bytes, 0);
    if (queue->refs != NULL)
        (void)lintelp_resize(queue->allocator, queue->refs, 0);
    if (queue->runs != NULL)
        (void)lintelp_resize(queue->allocator, queue->runs, 0);
    queue->bytes = NULL;
    queue->refs = NULL;
    queue->runs = queue->last = NULL;
    queue->capacity = queue->ref_capacity = queue->run_capacity = queue->plain_end = 0;
}

/* ---- room ------------------------------------------------------------------------------------ */

/*
 * Make room for `more` items at the tail of an array: move what is live to the front where that is
 * less than half, else double. Both keep the work linear. Returns the array, or NULL.
 */
static void *make_room(const struct lintelp_queue *queue, void *array, size_t item, size_t *head,
                       size_t *tail, size_t *capacity, size_t more, size_t first)
{
    size_t live = *tail - *head, wanted = *capacity > 0 ? *capacity : first;
    uint8_t *from = array != NULL ? (uint8_t *)array + *head * item : NULL;
    void *to = array;

    if (*head < live || more > *capacity - live) {
        if (more > SIZE_MAX / 2 - live)
            return NULL;
        while (wanted < live + more || wanted == *capacity)
            wanted *= 2;
        if (wanted > SIZE_MAX / item)
            return NULL;
        to = lintelp_resize(queue->allocator, NULL, wanted * item);
        if (to == NULL)
            return NULL;
        *capacity = wanted;
    }
    if (live > 0)
        memmove(to, from, live * item);
    if (to != array && array != NULL)
        (void)lintelp_resize(queue->allocator, array, 0);
    *head = 0;
    *tail = live;
    return to;
}

/* As far as there is room, and not more than LINTEL_GATHER_SIZE are queued. */
static size_t plain_end(const struct lintelp_queue *queue)
{
    size_t size = lintelp_queue_size(queue);
    size_t room = size < LINTEL_GATHER_SIZE ? LINTEL_GATHER_SIZE - size : 0;

    if (room > queue->capacity - queue->tail)
        room = queue->capacity - queue->tail;
    return queue->tail + room;
}

int lintelp_queue_reserve(struct lintelp_queue *queue, size_t size, size_t refs)
{
    void *array;

    if (size > queue->capacity - queue->tail) {
        array = make_room(queue, queue->bytes, 1, &queue->head, &queue->tail, &queue->capacity,
                          size, FIRST_BYTES);
        if (array == NULL)
            return LINTEL_E_NOMEM;
        queue->bytes = array;
        queue->plain_end = plain_end(queue);
    }
    if (queue->run_tail == queue->run_capacity) {
        array = make_room(queue, queue->runs, sizeof *queue->runs, &queue->run_head,
                          &queue->run_tail, &queue->run_capacity, 1, FIRST_RUNS);
        if (array == NULL)
            return LINTEL_E_NOMEM;
        queue->runs = array;
        if (queue->run_head < queue->run_tail)
            queue->last = &queue->runs[queue->run_tail - 1];
    }
    if (refs > queue->ref_capacity - queue->ref_tail) {
        array = make_room(queue, queue->refs, sizeof *queue->refs, &queue->ref_head,
                          &queue->ref_tail, &queue->ref_capacity, refs, FIRST_REFS);
        if (array == NULL)
            return LINTEL_E_NOMEM;
        queue->refs = array;
    }
    queue->plain_end = plain_end(queue);
    return LINTEL_OK;
}

/* ---- in -------------------------------------------------------------------------------------- */

void lintelp_queue_put_ref(struct lintelp_queue *queue, const void *payload, size_t size,
                           lintel_release *release, void *user)
{
    struct lintelp_ref *ref = &queue->refs[queue->ref_tail++];

    ref->before = queue->tail - queue->head - queue->before;
    ref->payload = payload;
    ref->size = size;
    ref->done = 0;
    ref->release = release;
    ref->user = user;
    ref->owned = 0;
    queue->before += ref->before;
    queue->referred += size;
    queue->plain_end = queue->tail;
}

size_t lintelp_queue_own(struct lintelp_queue *queue, const void *payload, void *copy)
{
    struct lintelp_ref *ref = NULL;

    if (queue->ref_head < queue->ref_tail)
        ref = &queue->refs[queue->ref_tail - 1];
    if (ref == NULL || ref->payload != payload || ref->owned) {
        (void)lintelp_resize(queue->allocator, copy, 0);
        return 0;
    }
    ref->size -= ref->done;
    memcpy(copy, ref->payload + ref->done, ref->size);
    ref->done = 0;
    ref->payload = copy;
    ref->owned = 1;
    return ref->size;
}

/* ---- out ------------------------------------------------------------------------------------- */

size_t lintelp_queue_parts(const struct lintelp_queue *queue, struct iovec *out, size_t most)
{
    uint8_t *run = queue->bytes + queue->head;
    size_t after = queue->tail - queue->head - queue->before, count = 0;

    for (size_t i = queue->ref_head; i < queue->ref_tail && most - count >= 2; i++) {
        const struct lintelp_ref *ref = &queue->refs[i];
        union {
            const uint8_t *in;
            void *out;
        } payload = {ref->payload + ref->done};
        if (ref->before > 0)
            out[count++] = (struct iovec){run, ref->before};
        run += ref->before;
        out[count++] = (struct iovec){payload.out, ref->size - ref->done};
        if (i + 1 == queue->ref_tail && count < most && after > 0)
            out[count++] = (struct iovec){run, after};
    }
    if (queue->ref_head == queue->ref_tail && after > 0)
        out[count++] = (struct iovec){run, after};
    return count;
}

/* The first reference is done with; nothing of it is looked at after the callback. */
static void pop_ref(struct lintelp_queue *queue)
{
    struct lintelp_ref ref = queue->refs[queue->ref_head++];
    union {
        const uint8_t *in;
        void *out;
    } payload = {ref.payload};

    if (ref.owned)
        (void)lintelp_resize(queue->allocator, payload.out, 0);
    else if (ref.release != NULL)
        ref.release(ref.user, ref.payload, ref.size);
}

static void reset(struct lintelp_queue *queue)
{
    while (queue->ref_head < queue->ref_tail)
        pop_ref(queue);
    queue->head = queue->tail = queue->before = queue->referred = queue->begun = 0;
    queue->ref_head = queue->ref_tail = queue->run_head = queue->run_tail = 0;
    queue->last = NULL;
    queue->earlier = 0;
    queue->plain_end = plain_end(queue);
}

/* Take written bytes off the parts. */
static void advance(struct lintelp_queue *queue, size_t size)
{
    while (queue->ref_head < queue->ref_tail && size > 0) {
        struct lintelp_ref *ref = &queue->refs[queue->ref_head];
        size_t step = size < ref->before ? size : ref->before;
        ref->before -= step;
        queue->before -= step;
        queue->head += step;
        size -= step;
        step = size < ref->size - ref->done ? size : ref->size - ref->done;
        ref->done += step;
        queue->referred -= step;
        size -= step;
        if (ref->done == ref->size)
            pop_ref(queue);
    }
    queue->head += size;
}

/* So many frames of a run end within so many bytes from its begin on. Where sizes vary, most runs
 * are of one frame, which needs no division. */
static size_t fit(const struct lintelp_run *run, size_t size)
{
    size_t count;

    if (size < run->size)
        return 0;
    count = run->count > 1 ? size / run->size : 1;
    return count < run->count ? count : run->count;
}

size_t lintelp_queue_whole(const struct lintelp_queue *queue, size_t most)
{
    size_t end = 0, limit = queue->begun + most;

    for (size_t i = queue->run_head; i < queue->run_tail; i++) {
        size_t count = fit(&queue->runs[i], limit - end);
        end += count * queue->runs[i].size;
        if (count < queue->runs[i].count)
            break;
    }
    return end > queue->begun ? end - queue->begun : 0;
}

uint64_t lintelp_queue_written(struct lintelp_queue *queue, size_t size)
{
    uint64_t whole = 0;

    if (size == lintelp_queue_size(queue)) {
        whole = lintelp_queue_frames(queue);
        reset(queue);
        return whole;
    }
    advance(queue, size);
    queue->begun += size;
    for (;;) {
        struct lintelp_run *run = &queue->runs[queue->run_head];
        size_t count = fit(run, queue->begun);
        queue->begun -= count * run->size;
        run->count -= count;
        queue->earlier -= run != queue->last ? count : 0;
        whole += count;
        if (run->count > 0)
            return whole;
        queue->run_head++;
    }
}

void lintelp_queue_drop(struct lintelp_queue *queue)
{
    queue->lost_frames += lintelp_queue_frames(queue);
    queue->lost_bytes += lintelp_queue_size(queue);
    reset(queue);
    free_storage(queue);
}

void lintelp_queue_trim(struct lintelp_queue *queue)
{
    if (lintelp_queue_size(queue) == 0)
        free_storage(queue);
}

size_t lintelp_queue_memory(const struct lintelp_queue *queue)
{
    size_t owned = 0;

    for (size_t i = queue->ref_head; i < queue->ref_tail; i++)
        if (queue->refs[i].owned)
            owned += queue->refs[i].size;
    return owned + queue->capacity + queue->ref_capacity * sizeof *queue->refs +
           queue->run_capacity * sizeof *queue->runs;
}
