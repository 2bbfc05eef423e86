/*
 * payload: where payloads come from: the arguments of a command line, files, the lines of standard
 * input. They go into a message piece by piece, so that neither their size nor a slow input
 * matters.
 */
#ifndef LINTEL_PAYLOAD_H
#define LINTEL_PAYLOAD_H

#include "message.h"

enum payload_event {
    PAYLOAD_FAILED, /* the reason is printed */
    PAYLOAD_SENT,   /* a message was ended: the next one is another's */
    PAYLOAD_READ,   /* nothing to go on with: call payload_read(), which may wait for fd */
    PAYLOAD_END     /* there are no more */
};

enum payload_cut { PAYLOAD_WHOLE, PAYLOAD_LINES, PAYLOAD_CHUNKS };

/* One input, cut into payloads. */
struct payload_input {
    int fd;
    const char *name;
    enum payload_cut cut;
    uint64_t chunk;  /* bytes, of PAYLOAD_CHUNKS */
    uint64_t begun;  /* bytes that the message has so far */
    uint64_t length; /* bytes that a file has from here on; 0: not known */
    size_t at, size; /* of block: at <= size */
    int ended;       /* the end of the input was read */
    int done;        /* and the last message was ended */
    uint8_t block[65536];
};

void payload_input_open(struct payload_input *input, int fd, const char *name,
                        enum payload_cut cut);
/* Go on until a message has ended, or nothing is left to read. */
enum payload_event payload_input_next(struct payload_input *input, struct message *message);
/* Read a block, wait for it if need be: TOOL_OK, or TOOL_FAILED with the reason printed. */
int payload_input_read(struct payload_input *input);

/* The payloads of a command line: text, text:TEXT, hex:DIGITS, @FILE, - ; or all lines of standard
 * input. */
struct payload_list {
    char **items;
    size_t count, next;
    int reading; /* 1: input is open, and is what payload_read() reads */
    struct payload_input input;
    struct tool_buffer bytes; /* of hex: */
};

/* Look at the arguments without using them: TOOL_OK, or an exit status with the reason printed. */
int payload_list_open(struct payload_list *list, char **items, size_t count, int lines);
/* Bytes of all of them together; 0 where that is not known. */
uint64_t payload_list_size(const struct payload_list *list);
enum payload_event payload_list_next(struct payload_list *list, struct message *message);
void payload_list_close(struct payload_list *list);

#endif
