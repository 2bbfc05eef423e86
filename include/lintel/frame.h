/*
 * frame: the lintel header, and whole frames into and out of memory. proto/lintel.md, "The frame".
 *
 *      0      2       3      4      8      12       16
 *      | "LT" | 1 | flags | type |  id  | length | payload ...
 *
 * Everything here goes through the layout machinery of layout.h; read that first. No I/O.
 */
#ifndef LINTEL_FRAME_H
#define LINTEL_FRAME_H

#include "lintel/layout.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LINTEL_HEADER_SIZE 16 /* bytes of lintel's own header; fixed by the protocol */

/* Flags of the lintel header; fixed by the protocol. */
enum lintel_flags {
    LINTEL_REPLY = 0x01,
    LINTEL_ERROR = 0x02,  /* only with REPLY: the payload is UTF-8 text */
    LINTEL_MORE = 0x04,   /* a fragment; another follows */
    LINTEL_CONTROL = 0x08 /* stands alone; the type is one of enum lintel_control */
};

/* Types of control frames; fixed by the protocol. */
enum lintel_control {
    LINTEL_HELLO = 1,
    LINTEL_PING = 2,
    LINTEL_PONG = 3,
    LINTEL_BYE = 4,
    LINTEL_SEALED = 5,
    LINTEL_FDS = 6
};

/* Reasons of a BYE; fixed by the protocol. */
enum lintel_bye_reason {
    LINTEL_BYE_DONE = 0,
    LINTEL_BYE_DRAINING = 1,
    LINTEL_BYE_IDLE = 2,
    LINTEL_BYE_TOO_SLOW = 3,
    LINTEL_BYE_MALFORMED = 4,
    LINTEL_BYE_TOO_LARGE = 5,
    LINTEL_BYE_NOT_AUTHENTICATED = 6,
    LINTEL_BYE_TOO_MANY = 7,
    LINTEL_BYE_INTERNAL = 8,
    LINTEL_BYE_VERSION = 9
};

/* A reason in words, as in proto/lintel.md: "too large"; "reason unknown" for any other number. A
 * constant string, never NULL. */
LINTEL_API
const char *lintel_bye_text(uint32_t reason);

/* The reason that a BYE gives for a status which ends a session; -1 where there is nothing to say:
 * LINTEL_OK, LINTEL_E_END, and failures of the connection itself. */
LINTEL_API
int lintel_bye_reason(int status);

/*
 * What a caller says of a frame that it sends. All zero is a frame of type 0 that wants no reply.
 * In a foreign layout flags, type and id go to the views of these names.
 */
struct lintel_header {
    uint8_t flags;
    uint32_t type;
    uint32_t id;
    /* Not NULL: header and trailer are those of this frame with another length, and flags, type and
     * id above are ignored. A reply in a foreign layout names its request here. Borrowed. */
    const struct lintel_frame *like;
};

/*
 * Read flags, type and id of a frame; a view that the layout does not have reads as 0, a value over
 * the field's width as its low bits. like is NULL.
 *
 * Returns  LINTEL_OK
 *          LINTEL_E_MALFORMED  the frame was not made under this layout
 *          LINTEL_E_USAGE      a NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_header_read(const struct lintel_layout *layout,
                                                  struct lintel_header *out,
                                                  const struct lintel_frame *frame);

/*
 * Judge flags, type, id and length against the protocol: flags in an allowed combination, a known
 * control type, a control frame of the right length. The decoder does this for every frame of
 * lintel's own layout.
 *
 * Returns  LINTEL_OK
 *          LINTEL_E_MALFORMED  with the reason in error->text
 */
LINTEL_API LINTEL_MUST_USE int lintel_header_check(const struct lintel_header *header,
                                                   uint64_t length, struct lintel_error *error);

/*
 * The header of lintel's own layout in two stores, for loops where a call is too much: out has
 * LINTEL_HEADER_SIZE bytes, and nothing is checked. lintel_frame_put_header() writes the same.
 */
static inline void lintel_header_put(void *out, uint8_t flags, uint32_t type, uint32_t id,
                                     uint32_t length)
{
    uint8_t *bytes = (uint8_t *)out;
    lintel_put_u64be(bytes, (uint64_t)(UINT32_C(0x4C540100) | flags) << 32 | type);
    lintel_put_u64be(bytes + 8, (uint64_t)id << 32 | length);
}

/*
 * Bytes that a frame with this payload takes on the wire, at most: header, payload and trailer.
 */
LINTEL_API
uint64_t lintel_frame_size_max(const struct lintel_layout *layout, uint64_t length);

/*
 * Write a frame's header. With the trailer (lintel_frame_put_trailer) and the payload in between it
 * is a whole frame; this is the form for payloads that go by reference.
 *
 * Returns  LINTEL_OK, *size is the bytes written
 *          LINTEL_E_RANGE      a number does not fit its view, or the layout has no such view
 *          LINTEL_E_TOO_LARGE  the length is more than this layout can carry
 *          LINTEL_E_MALFORMED  lintel's own layout: lintel_header_check() says no
 *          LINTEL_E_SPACE      capacity is too small
 *          LINTEL_E_USAGE      a NULL
 */
LINTEL_API LINTEL_MUST_USE int lintel_frame_put_header(const struct lintel_layout *layout,
                                                       void *out, size_t capacity, size_t *size,
                                                       const struct lintel_header *header,
                                                       uint64_t length, struct lintel_error *error);

/* The same for the trailer; *size is 0 in layouts without one. LINTEL_E_MALFORMED also where
 * header->like has no whole trailer. */
LINTEL_API LINTEL_MUST_USE int lintel_frame_put_trailer(const struct lintel_layout *layout,
                                                        void *out, size_t capacity, size_t *size,
                                                        const struct lintel_header *header,
                                                        struct lintel_error *error);

/*
 * Write a whole frame: header, payload, trailer.
 *
 * Returns  as lintel_frame_put_header(); capacity counts the whole frame
 * Borrows  payload, which may not overlap out
 */
LINTEL_API LINTEL_MUST_USE int lintel_frame_encode(const struct lintel_layout *layout, void *out,
                                                   size_t capacity, size_t *size,
                                                   const struct lintel_header *header,
                                                   const void *payload, size_t length,
                                                   struct lintel_error *error);

/*
 * One line about a frame, for people and traces: "#0 type 7 id 1 REPLY 5 bytes".
 *
 * Returns  the characters written, without the NUL; a longer line is cut at size - 1
 */
LINTEL_API
size_t lintel_frame_dump(const struct lintel_layout *layout, char *out, size_t size,
                         const struct lintel_frame *frame);

#ifdef __cplusplus
}
#endif
#endif
