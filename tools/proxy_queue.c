#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "proxy.h"

#define KEPT_MAX ((size_t)64 * 1024) /* bytes of storage that an empty queue keeps */

/* ---- room ------------------------------------------------------------------------------------ */

/* What is done goes when it is half of the storage or more, so that moving the rest pays. */
static void compact(struct proxy_queue *queue)
{
    if (queue->written > 0 && queue->written >= queue->bytes.used / 2) {
        memmove(queue->bytes.bytes, queue->bytes.bytes + queue->written,
                queue->bytes.used - queue->written);
        queue->bytes.used -= queue->written;
        queue->written = 0;
    }
    if (queue->first > 0 && queue->first >= queue->used / 2) {
        memmove(queue->items, queue->items + queue->first,
                (queue->used - queue->first) * sizeof *queue->items);
        queue->used -= queue->first;
        queue->first = 0;
    }
}

static void clear(struct proxy_queue *queue)
{
    queue->first = queue->used = queue->written = queue->bytes.used = 0;
    if (queue->bytes.capacity > KEPT_MAX)
        tool_buffer_free(&queue->bytes);
    if (queue->capacity > KEPT_MAX / sizeof *queue->items) {
        free(queue->items);
        queue->items = NULL;
        queue->capacity = 0;
    }
}

static int add_item(struct proxy_queue *queue, enum proxy_step step, size_t size, int64_t due)
{
    if (queue->used == queue->capacity) {
        size_t capacity = queue->capacity ? queue->capacity * 2 : 16;
        struct proxy_item *items = realloc(queue->items, capacity * sizeof *items);
        if (!items)
            return tool_fail("out of memory");
        queue->items = items;
        queue->capacity = capacity;
    }
    queue->items[queue->used++] = (struct proxy_item){step, size, due};
    return TOOL_OK;
}

/* ---- in and out ------------------------------------------------------------------------------ */

int proxy_queue_write(struct proxy_queue *queue, const void *bytes, size_t size, int64_t due)
{
    if (size == 0)
        return TOOL_OK;
    compact(queue);
    if (tool_buffer_add(&queue->bytes, bytes, size))
        return TOOL_FAILED;
    struct proxy_item *last = queue->used > queue->first ? &queue->items[queue->used - 1] : NULL;
    if (!last || last->step != PROXY_WRITE || last->due != due)
        return add_item(queue, PROXY_WRITE, size, due);
    last->size += size;
    return TOOL_OK;
}

int proxy_queue_step(struct proxy_queue *queue, enum proxy_step step, int64_t due)
{
    return add_item(queue, step, 0, due);
}

const struct proxy_item *proxy_queue_first(const struct proxy_queue *queue)
{
    return queue->first < queue->used ? &queue->items[queue->first] : NULL;
}

const uint8_t *proxy_queue_bytes(const struct proxy_queue *queue)
{
    return queue->bytes.bytes + queue->written;
}

void proxy_queue_done(struct proxy_queue *queue, size_t size)
{
    struct proxy_item *first = &queue->items[queue->first];
    queue->written += size;
    first->size -= size;
    if (first->size == 0)
        queue->first++;
    if (queue->first == queue->used)
        clear(queue);
}

size_t proxy_queue_size(const struct proxy_queue *queue)
{
    return queue->bytes.used - queue->written + (queue->used - queue->first) * sizeof *queue->items;
}

void proxy_queue_free(struct proxy_queue *queue)
{
    tool_buffer_free(&queue->bytes);
    free(queue->items);
    *queue = (struct proxy_queue){.items = NULL};
}
