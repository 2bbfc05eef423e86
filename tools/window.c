#include "config.h"

#include <stdlib.h>

#include "window.h"

int window_open(struct window *window, size_t capacity, int in_order)
{
    *window = (struct window){.capacity = capacity, .in_order = in_order};
    window->ring = calloc(capacity, sizeof *window->ring);
    return window->ring ? TOOL_OK : tool_fail("out of memory");
}

void window_free(struct window *window)
{
    for (size_t i = 0; window->ring && i < window->capacity; i++)
        tool_buffer_free(&window->ring[i].output);
    free(window->ring);
    window->ring = NULL;
}

struct request *window_at(struct window *window, size_t place)
{
    size_t index = window->first + place;
    return &window->ring[index < window->capacity ? index : index - window->capacity];
}

struct request *window_push(struct window *window, uint64_t id)
{
    struct request *request = window_at(window, window->count++);
    struct tool_buffer output = request->output;
    output.used = 0;
    *request =
        (struct request){.id = id, .number = ++window->numbered, .deadline = -1, .output = output};
    return request;
}

void window_pop_last(struct window *window)
{
    window->open_bytes -= window_at(window, window->count - 1)->size;
    window->count--;
}

struct request *window_find(struct window *window, uint64_t id)
{
    if (window->count == 0)
        return NULL;
    if (window->in_order) {
        for (size_t i = 0; i < window->count; i++)
            if (window_at(window, i)->state == REQUEST_OPEN)
                return window_at(window, i);
        return NULL;
    }
    /* Ids count on, so the place can be told, but for a turn past the largest id. */
    uint64_t guess = id - window_at(window, 0)->id;
    if (guess < window->count && window_at(window, (size_t)guess)->id == id &&
        window_at(window, (size_t)guess)->state == REQUEST_OPEN)
        return window_at(window, (size_t)guess);
    for (size_t i = 0; i < window->count; i++)
        if (window_at(window, i)->id == id && window_at(window, i)->state == REQUEST_OPEN)
            return window_at(window, i);
    return NULL;
}

static int print_one(struct window *window, struct request *request)
{
    int status = tool_write(request->output.bytes, request->output.used);
    window->held -= request->output.used;
    request->output.used = 0;
    /* A large reply is not to stay in memory for as long as its slot. */
    if (request->output.capacity > 65536)
        tool_buffer_free(&request->output);
    return status;
}

int window_print(struct window *window, int all)
{
    while (window->count > 0 && (all || window_at(window, 0)->state == REQUEST_ANSWERED)) {
        struct request *request = window_at(window, 0);
        if (request->state == REQUEST_ANSWERED && print_one(window, request))
            return TOOL_FAILED;
        window->first = window->first + 1 == window->capacity ? 0 : window->first + 1;
        window->count--;
    }
    return TOOL_OK;
}
