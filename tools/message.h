/*
 * message: pieces of a payload in, frames out. A payload within the frame limit is one frame; a
 * longer one is fragments of 256 KiB or the frame limit, whichever is smaller, in lintel's own
 * layout, and refused in any other. What is held is never more than the frame limit and a piece.
 */
#ifndef LINTEL_TOOL_MESSAGE_H
#define LINTEL_TOOL_MESSAGE_H

#include "tool.h"

/* What a frame is to say: made by message_head(), for lintel_frame_... and lintel_stream_send(). */
struct message_head {
    struct lintel_header header;
    struct lintel_frame like; /* header.like points here in a foreign layout */
    uint8_t header_bytes[LINTEL_HEADER_MAX];
    uint8_t trailer_bytes[LINTEL_HEADER_MAX];
};

struct message {
    const struct tool_framing *framing;
    uint64_t id; /* of the message that is being put together */
    /* Takes each frame: TOOL_OK, or TOOL_FAILED with the reason printed. Borrows the payload. */
    int (*frame)(void *user, const struct message_head *head, const void *payload, size_t size);
    void *user;

    struct message_head head;
    struct tool_buffer held; /* what came and is not in a frame yet */
    int fragments;           /* 1: more than the frame limit came */
};

/* Fill in a head for a frame of this length. flags: LINTEL_MORE or 0. LINTEL_OK, or the error. */
int message_head(struct message_head *head, const struct tool_framing *framing, uint64_t id,
                 uint8_t flags, size_t length, struct lintel_error *error);
/* The same of all values, one per view; in lintel's own layout they are judged, too. */
int message_head_of(struct message_head *head, const struct lintel_layout *layout,
                    const struct lintel_value *values, size_t length, struct lintel_error *error);
/* Say how long the payload will be, as far as is known, so that less of it is held. */
void message_expect(struct message *message, uint64_t size);
/* More of the payload: TOOL_OK, or TOOL_FAILED with the reason printed. */
int message_add(struct message *message, const void *bytes, size_t size);
/* The last of the payload, the same; then the next message begins. */
int message_end(struct message *message, const void *bytes, size_t size);
void message_free(struct message *message);

#endif
