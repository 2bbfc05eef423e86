/*
 * frame_json: the lines of `encode --json`. What show_frame() prints as JSON reads back to the same
 * frame; `offset` and both lengths are passed over.
 */
#ifndef LINTEL_FRAME_JSON_H
#define LINTEL_FRAME_JSON_H

#include "message.h"

/* All zero but framing is one that has read nothing. */
struct frame_json {
    const struct tool_framing *framing;
    uint64_t line;              /* how many were read */
    struct tool_buffer payload; /* of the last frame */
    struct lintel_value values[LINTEL_VIEWS_MAX];
    struct tool_buffer storage[LINTEL_VIEWS_MAX]; /* of byte strings in values */
    uint8_t seen[LINTEL_VIEWS_MAX];
};

/* Read one line, which is changed: 1 and *head, the payload in json->payload; 0 if it is blank;
 * -1 with the reason printed, naming the line. */
int frame_json_read(struct frame_json *json, struct message_head *head, char *line, size_t size);
void frame_json_free(struct frame_json *json);

#endif
