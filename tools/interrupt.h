/*
 * interrupt: SIGINT and SIGTERM as something to ask for, for loops that wait here and nowhere else.
 */
#ifndef LINTEL_INTERRUPT_H
#define LINTEL_INTERRUPT_H

#include <poll.h>
#include <stdint.h>

/* From now on they come inside of interrupt_wait() alone, so that none is missed. */
void interrupt_catch(void);
/* Whether one came. */
int interrupted(void);
/* poll(2): at most wait_ms, below 0 without end, and not past the deadline of tool_now_ms(), below
 * 0 none. Returns as poll; -1 also when a signal came. */
int interrupt_wait(struct pollfd *fds, nfds_t count, int wait_ms, int64_t deadline);

#endif
