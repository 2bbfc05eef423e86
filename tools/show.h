/*
 * show: a frame in one of four forms, for people (text, hex), programs (JSON), and as it is (raw).
 */
#ifndef LINTEL_SHOW_H
#define LINTEL_SHOW_H

#include "tool.h"

enum show_form {
    SHOW_TEXT, /* a line: offset, fields, length, the payload in quotes */
    SHOW_JSON, /* a line: one object, which `encode --json` reads */
    SHOW_HEX,  /* that line without the payload, then all bytes of the frame, 16 a line */
    SHOW_RAW   /* the payload, nothing else */
};

/* Print a frame that was read under this layout. What could not be written shows in ferror(). */
void show_frame(FILE *out, enum show_form form, const struct lintel_layout *layout,
                const struct lintel_frame *frame);

enum show_seal {
    SHOW_PLAIN,      /* no record of a sealed session */
    SHOW_UNVERIFIED, /* a record whose piece can be read: shown without its tag, and marked */
    SHOW_SEALED      /* a record that cannot: its size */
};

/* Where a frame passed, for who shows many streams. */
struct show_origin {
    uint64_t connection;
    char direction;
    enum show_seal seal;
};

/* The same with connection and direction in front: "3 > #0 ...", or as members of the object. In
 * JSON and hexadecimal a record is shown whole, as it is. Not for SHOW_RAW. */
void show_passing(FILE *out, enum show_form form, const struct lintel_layout *layout,
                  const struct lintel_frame *frame, const struct show_origin *origin);

#endif
