/* common: what main.c says to common.c. */
#ifndef LINTEL_COMMON_H
#define LINTEL_COMMON_H

/* The subcommand that runs, for the lines on standard error. Keeps name. */
void tool_set_name(const char *name);
/* Its name; "" before there is one. */
const char *tool_name(void);

#endif
