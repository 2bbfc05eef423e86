/*
 * progress: a bar on standard error for what takes its time, drawn over and over on one line. Only
 * where that is a terminal, and at most ten times a second.
 *
 *      42% [========>           ] 1.7 GiB of 4.0 GiB, 512 MiB/s, 5 s left
 */
#ifndef LINTEL_PROGRESS_H
#define LINTEL_PROGRESS_H

#include "tool.h"

#define PROGRESS_STEP_MS 100 /* at least, from one drawing to the next */

/* All zero is a bar that is never drawn. */
struct progress {
    int wanted;          /* standard error is a terminal */
    int drawn;           /* something stands on the line */
    uint64_t total;      /* bytes; 0: not known */
    int64_t begun, last; /* tool_now_ms() at the start, and when it was drawn last */
};

void progress_open(struct progress *progress, uint64_t total);
/* Draw it, if it is time. */
void progress_show(struct progress *progress, uint64_t done);
/* Milliseconds until it is to be drawn again; -1: never. */
int progress_wait_ms(const struct progress *progress);
/* Draw it a last time and end the line. */
void progress_close(struct progress *progress, uint64_t done);

/* The line, without a newline, for a terminal of so many columns; what is done after so many
 * milliseconds. */
void progress_line(char *out, size_t size, unsigned columns, uint64_t done, uint64_t total,
                   int64_t ms);

#endif
