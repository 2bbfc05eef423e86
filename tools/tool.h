/*
 * tool: what the subcommands of lintel share. One file per subcommand (cmd_NAME.c), each with one
 * function `int cmd_NAME(int argc, char **argv)`, argv[0] being NAME; main.c has the table.
 *
 * Results go to standard output, everything else to standard error: one line for a failure, which
 * begins "lintel NAME: ". Text from a peer is escaped there. What a subcommand returns is the exit
 * status of the program; main() flushes standard output and reports what could not be written.
 */
#ifndef LINTEL_TOOL_H
#define LINTEL_TOOL_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "lintel/lintel.h"

/* ---- exit status, failing -------------------------------------------------------------------- */

enum tool_exit {
    TOOL_OK = 0,
    TOOL_FAILED = 1, /* it failed; the reason is on standard error */
    TOOL_USAGE = 2   /* the command line is wrong */
};

/* Flush standard output, print "lintel NAME: " and the text as one escaped line on standard error;
 * TOOL_FAILED, so that `return tool_fail(...)` reads. Once per run, but for a session that goes on.
 */
int tool_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for a wrong command line, with a pointer to --help behind it; TOOL_USAGE. */
int tool_misuse(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same for an error record of the library: TOOL_FAILED. what, if not NULL, goes before it. */
int tool_fail_error(const char *what, const struct lintel_error *error);

/* ---- output ---------------------------------------------------------------------------------- */

/* Write to standard output: TOOL_OK, or TOOL_FAILED with the reason printed. */
int tool_write(const void *bytes, size_t size);
/* Flush standard output, the same. */
int tool_flush(void);
/* Whether writing to standard output failed before; the reason was printed then. */
int tool_output_failed(void);

/*
 * The next piece of hostile text in a form that is safe to show: valid UTF-8 stands as it is,
 * control characters, direction marks and bytes that are not UTF-8 become \n, \t, \r or \xNN; with
 * quoting also the double quote and the backslash. Writes *used characters (at most 16) to out, no
 * NUL, and returns the bytes that it took, at least 1 of size.
 */
size_t tool_escape_next(char *out, size_t *used, const uint8_t *bytes, size_t size, int quoting);
/* A whole text escaped into a buffer with its NUL; what does not fit ends in "...". */
void tool_escape(char *out, size_t capacity, const void *bytes, size_t size, int quoting);
/* The same, whole and in double quotes. */
void tool_print_quoted(FILE *out, const void *bytes, size_t size);
/* Two digits a byte, in small letters. */
void tool_print_hex(FILE *out, const void *bytes, size_t size);

/* ---- memory ---------------------------------------------------------------------------------- */

/* Bytes that grow by doubling. All zero is an empty one; used <= capacity. */
struct tool_buffer {
    uint8_t *bytes;
    size_t used;
    size_t capacity;
};
/* Make room for size more bytes behind used: TOOL_OK, or TOOL_FAILED with the reason printed. */
int tool_buffer_reserve(struct tool_buffer *buffer, size_t size);
/* Append bytes, the same. */
int tool_buffer_add(struct tool_buffer *buffer, const void *bytes, size_t size);
/* Free them; the buffer is empty and may be used again. */
void tool_buffer_free(struct tool_buffer *buffer);

/* read(2) without EINTR, and waiting even where the descriptor does not; -1 and errno on failure.
 */
long tool_read(int fd, void *bytes, size_t size);
/* Milliseconds of a clock that only goes forward. */
int64_t tool_now_ms(void);

/* ---- reading numbers and values -------------------------------------------------------------- */

/* A whole decimal number, or hexadecimal after 0x; 1 if the text is one and fits, else 0. */
int tool_read_number(uint64_t *out, const char *text);
/* The same with K, M, G behind it: 2^10, 2^20, 2^30. */
int tool_read_size(uint64_t *out, const char *text);
/* Seconds, fractions too, as milliseconds, rounded up. */
int tool_read_time(int *out_ms, const char *text);
/* Digits in pairs, either case; appends the bytes. 1 if they are, 0 if not; -1 after tool_fail. */
int tool_read_hex(struct tool_buffer *out, const char *digits, size_t size);

/*
 * A VALUE of the command line for a field of this code: an integer, a floating-point number, or for
 * s, p, c text or hex: and digits, whose bytes then belong to *storage. 1 if it is one, 0 if it
 * cannot be read; -1 after tool_fail. Whether it fits the field is for the library to say.
 */
int tool_read_value(struct lintel_value *out, struct tool_buffer *storage, char code,
                    const char *text);
/* The shortest text that reads back to the same number of a field of this code, f or d. */
#define TOOL_FLOAT_SIZE 40
void tool_float_text(char out[TOOL_FLOAT_SIZE], char code, const struct lintel_value *value);

/* ---- options --------------------------------------------------------------------------------- */

enum tool_kind {
    TOOL_FLAG,   /* int: becomes 1 */
    TOOL_TEXT,   /* const char * */
    TOOL_NUMBER, /* uint64_t */
    TOOL_SIZE,   /* uint64_t: bytes, with K, M, G */
    TOOL_TIME,   /* int: milliseconds, from seconds */
    /* The three that also take "unlimited": UINT64_MAX, and -1 for a time. A time of 0 is 1 ms. */
    TOOL_NUMBER_LIMIT,
    TOOL_SIZE_LIMIT,
    TOOL_TIME_LIMIT,
    TOOL_LIST /* struct tool_list: may be given more than once */
};

struct tool_option {
    const char *name; /* without the dashes; NULL ends the table */
    char letter;      /* of the short form; 0: none */
    enum tool_kind kind;
    const char *argument; /* how --help names its argument; NULL where it has none */
    const char *help;     /* what it does, its unit, its default; NULL: not shown */
    void *target;
    uint64_t least, most; /* of numbers and sizes; most 0: no upper bound */
};
#define TOOL_OPTIONS_END                           \
    {                                              \
        NULL, 0, TOOL_FLAG, NULL, NULL, NULL, 0, 0 \
    }

#define TOOL_LIST_MAX 64 /* as many as a layout has views */
struct tool_list {
    const char *items[TOOL_LIST_MAX];
    size_t count;
};

struct tool_usage {
    const char *synopsis; /* "ENDPOINT [PAYLOAD...]" */
    const char *text;     /* what it does: whole lines, each with its newline */
    const struct tool_option *options;
    int operands_end_options; /* 1: what follows the first operand is never an option */
};

/*
 * Read the options of a subcommand: --name VALUE, --name=VALUE, -n VALUE, -nVALUE; `--` ends them,
 * `-` alone is an operand. --help and -h are there by themselves.
 *
 * Returns  -1, go on: argv[0] to argv[*argc - 1] are then the operands
 *          an exit status: --help was printed, or what is wrong was
 */
int tool_options(int *argc, char **argv, const struct tool_usage *usage);

/* ---- framing: --layout, --max-frame, --set, --type ------------------------------------------- */

struct tool_framing {
    const char *layout_text;
    const char *type_text;
    struct tool_list sets;
    uint64_t max_frame; /* as given; 0: not given, which is what the library's options take too */

    /* What tool_framing_open() makes of them. */
    struct lintel_layout *layout;
    uint64_t limit; /* payload bytes of a frame: max_frame, or 16 MiB, or what the layout carries */
    size_t count;   /* of values: the layout's views */
    struct lintel_value values[LINTEL_VIEWS_MAX]; /* what the options set; else 0 */
    uint64_t id_max;                              /* ids count from 1 to this */
    int id_view;   /* the view of that name, if ids can be counted in it; else -1 */
    int type_view; /* the view of that name; -1 */
    int id_set;    /* 1: by --set */
    struct tool_buffer storage[LINTEL_VIEWS_MAX];
};

#define TOOL_LAYOUT_OPTIONS(framing)                                                  \
    {"layout",                                                                        \
     0,                                                                               \
     TOOL_TEXT,                                                                       \
     "NAME|SPEC",                                                                     \
     "the header of the frames (lintel)",                                             \
     &(framing)->layout_text,                                                         \
     0,                                                                               \
     0},                                                                              \
    {                                                                                 \
        "max-frame", 0, TOOL_SIZE_LIMIT, "BYTES",                                     \
            "largest payload of a frame, K M G (16M, or what the\nlayout can carry)", \
            &(framing)->max_frame, 1, 0                                               \
    }
#define TOOL_HEADER_OPTIONS(framing)                                                          \
    {"type", 0, TOOL_TEXT, "N", "the type of what is sent (0)", &(framing)->type_text, 0, 0}, \
    {                                                                                         \
        "set", 0, TOOL_LIST, "NAME=VALUE",                                                    \
            "a header field of a foreign layout, VALUE as in pack;\n"                         \
            "may be given for several fields (0, or empty)",                                  \
            &(framing)->sets, 0, 0                                                            \
    }
/* Make the layout, check the limit, read the values: TOOL_OK, or an exit status with the reason
 * printed. To be ended with tool_framing_close() in either case. */
int tool_framing_open(struct tool_framing *framing);
void tool_framing_close(struct tool_framing *framing);
/* The id after this one: counts past the largest to 1; 0 stays 0. */
uint64_t tool_next_id(const struct tool_framing *framing, uint64_t id);

/* ---- the subcommands ------------------------------------------------------------------------- */

int cmd_calcsize(int argc, char **argv);
int cmd_call(int argc, char **argv);
int cmd_connect(int argc, char **argv);
int cmd_decode(int argc, char **argv);
int cmd_encode(int argc, char **argv);
int cmd_keygen(int argc, char **argv);
int cmd_layout(int argc, char **argv);
int cmd_pack(int argc, char **argv);
int cmd_proxy(int argc, char **argv);
int cmd_recv(int argc, char **argv);
int cmd_resolve(int argc, char **argv);
int cmd_send(int argc, char **argv);
int cmd_serve(int argc, char **argv);
int cmd_unpack(int argc, char **argv);
int cmd_version(int argc, char **argv);

#endif
