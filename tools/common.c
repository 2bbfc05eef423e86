#include "config.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common.h"
#include "tool.h"

#define LINE_SIZE 6144 /* of a line on standard error; a longer one is cut */

static const char *running = "";
static int output_failed;

void tool_set_name(const char *name)
{
    running = name;
}

const char *tool_name(void)
{
    return running;
}

/* ---- showing text ---------------------------------------------------------------------------- */

/* Bytes of the UTF-8 sequence at the front, which is not overlong, a surrogate or beyond the last
 * plane; 0 if it is none. */
static size_t utf8_length(const uint8_t *s, size_t size, uint32_t *point)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t length = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (length == 0 || length > size || s[0] > 0xf4)
        return 0;
    *point = length == 1 ? s[0] : s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        *point = *point << 6 | (s[i] & 0x3fu);
    }
    if (*point < least[length] || *point > 0x10ffff || (*point >= 0xd800 && *point < 0xe000))
        return 0;
    return length;
}

/* Controls, line separators and marks that turn the direction of what is shown after them. */
static int is_unsafe(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) || point == 0xad || point == 0x61c ||
           (point >= 0x200b && point <= 0x200f) || (point >= 0x2028 && point <= 0x202e) ||
           (point >= 0x2060 && point <= 0x206f) || point == 0xfeff;
}

size_t tool_escape_next(char *out, size_t *used, const uint8_t *bytes, size_t size, int quoting)
{
    static const char digits[] = "0123456789abcdef";
    uint32_t point = 0;
    size_t length = utf8_length(bytes, size, &point);
    if (length > 0 && !is_unsafe(point) && !(quoting && (point == '"' || point == '\\'))) {
        memcpy(out, bytes, length);
        *used = length;
        return length;
    }
    const char *from = "\n\r\t\"\\", *to = "nrt\"\\";
    const char *found = length == 1 && point ? strchr(from, (int)point) : NULL;
    if (found) {
        out[0] = '\\';
        out[1] = to[found - from];
        *used = 2;
        return 1;
    }
    if (length == 0)
        length = 1;
    for (size_t i = 0; i < length; i++) {
        out[4 * i] = '\\';
        out[4 * i + 1] = 'x';
        out[4 * i + 2] = digits[bytes[i] >> 4];
        out[4 * i + 3] = digits[bytes[i] & 15];
    }
    *used = 4 * length;
    return length;
}

void tool_escape(char *out, size_t capacity, const void *bytes, size_t size, int quoting)
{
    const uint8_t *from = bytes;
    size_t filled = 0;
    if (capacity < 4)
        return;
    while (size > 0) {
        char piece[16];
        size_t used;
        size_t taken = tool_escape_next(piece, &used, from, size, quoting);
        /* Behind this piece there is to be room for what follows, or for the dots. */
        if (used > capacity - filled - 1 || (size > taken && used + 3 > capacity - filled - 1)) {
            memcpy(out + filled, "...", 3);
            filled += 3;
            break;
        }
        memcpy(out + filled, piece, used);
        filled += used;
        from += taken;
        size -= taken;
    }
    out[filled] = 0;
}

static int is_plain(uint8_t byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
}

void tool_print_quoted(FILE *out, const void *bytes, size_t size)
{
    const uint8_t *from = bytes;
    putc('"', out);
    while (size > 0) {
        size_t run = 0;
        while (run < size && is_plain(from[run]))
            run++;
        fwrite(from, 1, run, out);
        from += run;
        size -= run;
        if (size == 0)
            break;
        char piece[16];
        size_t used;
        size_t taken = tool_escape_next(piece, &used, from, size, 1);
        fwrite(piece, 1, used, out);
        from += taken;
        size -= taken;
    }
    putc('"', out);
}

void tool_print_hex(FILE *out, const void *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    const uint8_t *from = bytes;
    char piece[1024];
    while (size > 0) {
        size_t run = size < sizeof piece / 2 ? size : sizeof piece / 2;
        for (size_t i = 0; i < run; i++) {
            piece[2 * i] = digits[from[i] >> 4];
            piece[2 * i + 1] = digits[from[i] & 15];
        }
        fwrite(piece, 1, 2 * run, out);
        from += run;
        size -= run;
    }
}

/* ---- failing --------------------------------------------------------------------------------- */

/* One line, in one write, so that the lines of several programs do not mix. */
static void print_line(const char *format, va_list arguments, const char *tail)
{
    char text[LINE_SIZE], escaped[LINE_SIZE], line[LINE_SIZE + 64];
    int size = vsnprintf(text, sizeof text, format, arguments);
    if (size < 0)
        text[0] = 0;
    tool_escape(escaped, sizeof escaped - 64, text, strlen(text), 0);
    int used = snprintf(line, sizeof line, "lintel%s%s: %s%s\n", *running ? " " : "", running,
                        escaped, tail);
    if (used > 0)
        (void)!write(STDERR_FILENO, line, (size_t)used);
}

int tool_fail(const char *format, ...)
{
    va_list arguments;
    if (!output_failed && fflush(stdout) != 0)
        output_failed = 1;
    va_start(arguments, format);
    print_line(format, arguments, "");
    va_end(arguments);
    return TOOL_FAILED;
}

int tool_misuse(const char *format, ...)
{
    char tail[64];
    va_list arguments;
    snprintf(tail, sizeof tail, " (try lintel%s%s --help)", *running ? " " : "", running);
    va_start(arguments, format);
    print_line(format, arguments, tail);
    va_end(arguments);
    return TOOL_USAGE;
}

int tool_fail_error(const char *what, const struct lintel_error *error)
{
    const char *text = error->text[0] ? error->text : lintel_strerror(error->status);
    if (!what)
        return tool_fail("%s", text);
    return tool_fail("%s: %s", what, text);
}

/* ---- output ---------------------------------------------------------------------------------- */

static int fail_output(void)
{
    if (output_failed)
        return TOOL_FAILED;
    output_failed = 1;
    return tool_fail("cannot write to standard output: %s", strerror(errno));
}

int tool_output_failed(void)
{
    return output_failed;
}

int tool_write(const void *bytes, size_t size)
{
    if (size > 0 && fwrite(bytes, 1, size, stdout) != size)
        return fail_output();
    return ferror(stdout) ? fail_output() : TOOL_OK;
}

int tool_flush(void)
{
    if (output_failed || fflush(stdout) != 0 || ferror(stdout))
        return fail_output();
    return TOOL_OK;
}

/* ---- memory, reading, time ------------------------------------------------------------------- */

int tool_buffer_reserve(struct tool_buffer *buffer, size_t size)
{
    if (size <= buffer->capacity - buffer->used)
        return TOOL_OK;
    if (size > SIZE_MAX / 4 - buffer->used)
        return tool_fail("out of memory");
    size_t capacity = buffer->capacity ? buffer->capacity : 4096;
    while (capacity - buffer->used < size)
        capacity *= 2;
    uint8_t *bytes = realloc(buffer->bytes, capacity);
    if (!bytes)
        return tool_fail("out of memory");
    buffer->bytes = bytes;
    buffer->capacity = capacity;
    return TOOL_OK;
}

int tool_buffer_add(struct tool_buffer *buffer, const void *bytes, size_t size)
{
    if (size == 0)
        return TOOL_OK;
    if (tool_buffer_reserve(buffer, size))
        return TOOL_FAILED;
    memcpy(buffer->bytes + buffer->used, bytes, size);
    buffer->used += size;
    return TOOL_OK;
}

void tool_buffer_free(struct tool_buffer *buffer)
{
    free(buffer->bytes);
    *buffer = (struct tool_buffer){NULL, 0, 0};
}

long tool_read(int fd, void *bytes, size_t size)
{
    for (;;) {
        ssize_t got = read(fd, bytes, size);
        if (got >= 0 || (errno != EINTR && errno != EAGAIN))
            return (long)got;
        if (errno == EAGAIN)
            (void)!poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, -1);
    }
}

int64_t tool_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
