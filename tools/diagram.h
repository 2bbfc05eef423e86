/*
 * diagram: a layout as the specifications of protocols draw it, 32 bits a row.
 */
#ifndef LINTEL_DIAGRAM_H
#define LINTEL_DIAGRAM_H

#include "tool.h"

/* Print the diagram of a frame of this layout. */
void diagram_print(FILE *out, const struct lintel_layout *layout);

/* The bits of its field that a view is made of. */
uint64_t diagram_view_bits(const struct lintel_view *view);

#endif
