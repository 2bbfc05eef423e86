/*
 * The outgoing queue of a stream: what was sent and is not written yet. No I/O here.
 *
 * Bytes of the wire, in order, are runs of `bytes` with payloads by reference in between:
 *
 *     | refs[0].before | refs[0].payload | refs[1].before | refs[1].payload | after |
 *     ^ bytes + head                                                 bytes + tail ^
 */
#ifndef LINTELP_STREAM_QUEUE_H
#define LINTELP_STREAM_QUEUE_H

#include "lintel/stream.h"

#include <sys/uio.h>

struct lintelp_ref {
    size_t before; /* bytes of the buffer that are written first */
    const uint8_t *payload;
    size_t size, done; /* done < size */
    lintel_release *release;
    void *user;
    int owned; /* the payload is memory of the allocator */
};

/* Frames in a row that are of one size on the wire. */
struct lintelp_run {
    size_t size, count;
};

struct lintelp_queue {
    const struct lintel_allocator *allocator;
    uint8_t *bytes;
    size_t head, tail, capacity; /* head <= tail <= capacity */
    size_t plain_end;            /* bytes put up to here need no further look; >= tail */
    size_t before;   /* sum over refs: bytes of the buffer that are not behind the last */
    size_t referred; /* sum over refs: bytes that are not written */
    struct lintelp_ref *refs;
    size_t ref_head, ref_tail, ref_capacity;
    struct lintelp_run *runs;
    struct lintelp_run *last; /* of the runs; NULL: there is none */
    size_t run_head, run_tail, run_capacity;
    uint64_t earlier;                 /* frames of the runs before the last */
    size_t begun;                     /* bytes of the first frame that are written */
    uint64_t lost_frames, lost_bytes; /* dropped unwritten, after a failure */
};

/* An empty one, without storage; lintelp_queue_drop() leaves it so, too. */
void lintelp_queue_init(struct lintelp_queue *queue, const struct lintel_allocator *allocator);

/* Make room for so many bytes at bytes + tail, and for one frame and so many references. Returns
 * LINTEL_OK, or LINTEL_E_NOMEM and nothing has changed. */
int lintelp_queue_reserve(struct lintelp_queue *queue, size_t size, size_t refs);

/* Bytes of the wire that are queued. */
static inline size_t lintelp_queue_size(const struct lintelp_queue *queue)
{
    return queue->tail - queue->head + queue->referred;
}

/* Append `size` bytes that were put at bytes + tail. */
static inline void lintelp_queue_put(struct lintelp_queue *queue, size_t size)
{
    queue->tail += size;
    if (queue->plain_end < queue->tail)
        queue->plain_end = queue->tail;
}

/* The end of a frame of that size. Returns 1, or 0 and nothing has changed: there is no room for
 * one more run, which lintelp_queue_reserve() makes. */
static inline int lintelp_queue_try_frame(struct lintelp_queue *queue, size_t size)
{
    struct lintelp_run *last = queue->last;

    if (last != NULL && last->size == size) {
        last->count++;
        return 1;
    }
    if (queue->run_tail == queue->run_capacity)
        return 0;
    queue->earlier += last != NULL ? last->count : 0;
    queue->last = &queue->runs[queue->run_tail++];
    *queue->last = (struct lintelp_run){size, 1};
    return 1;
}

/* The same where room was made for it. */
static inline void lintelp_queue_end_frame(struct lintelp_queue *queue, size_t size)
{
    (void)lintelp_queue_try_frame(queue, size);
}

/* Append a payload by reference. */
void lintelp_queue_put_ref(struct lintelp_queue *queue, const void *payload, size_t size,
                           lintel_release *release, void *user);

/* Have what is left of a payload that was put by reference last in a copy, which is taken. Returns
 * the bytes copied; 0: all of it was written, and the copy is freed. */
size_t lintelp_queue_own(struct lintelp_queue *queue, const void *payload, void *copy);

/* The first parts of what is to be written, at most `most`. Returns their number. */
size_t lintelp_queue_parts(const struct lintelp_queue *queue, struct iovec *out, size_t most);

/* Frames that are queued, the one that is begun to be written among them. */
static inline uint64_t lintelp_queue_frames(const struct lintelp_queue *queue)
{
    return queue->earlier + (queue->last != NULL ? queue->last->count : 0);
}

/* Bytes of the first frames, as far as they end within `most` bytes. */
size_t lintelp_queue_whole(const struct lintelp_queue *queue, size_t most);

/* The first `size` bytes were written. Returns the number of frames that are whole with them. */
uint64_t lintelp_queue_written(struct lintelp_queue *queue, size_t size);

/* Nothing will be written any more: count what is left as lost, release it, free the storage. */
void lintelp_queue_drop(struct lintelp_queue *queue);

/* Give back storage, if nothing is queued. */
void lintelp_queue_trim(struct lintelp_queue *queue);

/* Bytes of storage, payloads of others and itself apart. */
size_t lintelp_queue_memory(const struct lintelp_queue *queue);

#endif
