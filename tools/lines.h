/*
 * lines: standard input, line by line, while something else may happen: before each wait for more
 * of it the caller is asked. On a terminal there is a prompt, on standard error, and where libedit
 * is in this build a line can be edited, and earlier ones be had again; they are in memory only.
 */
#ifndef LINTEL_LINES_H
#define LINTEL_LINES_H

#include "tool.h"

enum lines_event {
    LINES_LINE,  /* a line, without its newline */
    LINES_END,   /* the input has ended */
    LINES_GIVEN, /* wait() has given it up */
    LINES_FAILED /* the reason is printed */
};

struct lines {
    /* Wait until standard input can be read: 1; or 0 to give it up. */
    int (*wait)(void *user);
    void *user;

    int is_terminal;
    int given_up, ended, failed;
    size_t taken;               /* bytes of held that the last line took */
    struct tool_buffer held;    /* what was read and is not given out, no terminal */
    struct line_editor *editor; /* NULL: none */
};

/* wait and user are set. TOOL_OK, or TOOL_FAILED with the reason printed. To be ended with
 * lines_close(). */
int lines_open(struct lines *lines);
/* The next line, lent until the next call. */
enum lines_event lines_next(struct lines *lines, const char **line, size_t *size);
void lines_close(struct lines *lines);

#endif
