#include "config.h"

#include <string.h>

#include "message.h"

/* ---- the head of a frame --------------------------------------------------------------------- */

int message_head_of(struct message_head *head, const struct lintel_layout *layout,
                    const struct lintel_value *values, size_t length, struct lintel_error *error)
{
    size_t count = lintel_layout_view_count(layout), header_size, trailer_size;
    int rc = lintel_layout_put_header(layout, head->header_bytes, sizeof head->header_bytes,
                                      &header_size, values, count, length, error);
    if (rc < 0)
        return rc;
    rc = lintel_layout_put_trailer(layout, head->trailer_bytes, sizeof head->trailer_bytes,
                                   &trailer_size, values, count, error);
    if (rc < 0)
        return rc;
    head->like = (struct lintel_frame){.header = head->header_bytes,
                                       .header_size = (uint32_t)header_size,
                                       .trailer = head->trailer_bytes,
                                       .trailer_size = (uint32_t)trailer_size,
                                       .length = length};
    if (!lintel_layout_is_lintel(layout)) {
        head->header = (struct lintel_header){.like = &head->like};
        return LINTEL_OK;
    }
    rc = lintel_header_read(layout, &head->header, &head->like);
    return rc < 0 ? rc : lintel_header_check(&head->header, length, error);
}

int message_head(struct message_head *head, const struct tool_framing *framing, uint64_t id,
                 uint8_t flags, size_t length, struct lintel_error *error)
{
    if (lintel_layout_is_lintel(framing->layout)) {
        uint64_t type = framing->values[framing->type_view].as.u;
        head->header =
            (struct lintel_header){.flags = flags, .type = (uint32_t)type, .id = (uint32_t)id};
        return LINTEL_OK;
    }
    struct lintel_value values[LINTEL_VIEWS_MAX];
    memcpy(values, framing->values, framing->count * sizeof values[0]);
    if (framing->id_view >= 0 && !framing->id_set)
        values[framing->id_view] = lintel_uint(id);
    return message_head_of(head, framing->layout, values, length, error);
}

/* ---- frames ---------------------------------------------------------------------------------- */

static int put_frame(struct message *message, uint8_t flags, const void *payload, size_t size)
{
    struct lintel_error error;
    if (message_head(&message->head, message->framing, message->id, flags, size, &error) < 0)
        return tool_fail_error(NULL, &error);
    return message->frame(message->user, &message->head, payload, size);
}

static size_t fragment_size(const struct message *message)
{
    uint64_t limit = message->framing->limit;
    return limit < LINTEL_FRAGMENT_SIZE ? (size_t)limit : LINTEL_FRAGMENT_SIZE;
}

/* Whether so many more bytes make it more than a frame can have. */
static int is_over(const struct message *message, size_t size)
{
    uint64_t limit = message->framing->limit;
    return message->fragments || message->held.used > limit || size > limit - message->held.used;
}

static int fail_limit(const struct message *message)
{
    return tool_fail("a payload is longer than the limit of %llu bytes",
                     (unsigned long long)message->framing->limit);
}

/* Fragments of what is held, so long as something stays for the last one. */
static int put_fragments(struct message *message)
{
    size_t step = fragment_size(message), at = 0;
    if (!lintel_layout_is_lintel(message->framing->layout))
        return fail_limit(message);
    message->fragments = 1;
    for (; message->held.used - at > step; at += step)
        if (put_frame(message, LINTEL_MORE, message->held.bytes + at, step))
            return TOOL_FAILED;
    message->held.used -= at;
    memmove(message->held.bytes, message->held.bytes + at, message->held.used);
    return TOOL_OK;
}

void message_expect(struct message *message, uint64_t size)
{
    if (lintel_layout_is_lintel(message->framing->layout) && size > message->framing->limit)
        message->fragments = 1;
}

int message_add(struct message *message, const void *bytes, size_t size)
{
    int over = is_over(message, size);
    if (tool_buffer_add(&message->held, bytes, size))
        return TOOL_FAILED;
    return over ? put_fragments(message) : TOOL_OK;
}

int message_end(struct message *message, const void *bytes, size_t size)
{
    /* A payload that came in one piece is not copied. */
    int whole = message->held.used == 0 && !is_over(message, size);
    if (!whole && message_add(message, bytes, size))
        return TOOL_FAILED;
    int status = whole ? put_frame(message, 0, bytes, size)
                       : put_frame(message, 0, message->held.bytes, message->held.used);
    message->held.used = 0;
    message->fragments = 0;
    return status;
}

void message_free(struct message *message)
{
    tool_buffer_free(&message->held);
}
