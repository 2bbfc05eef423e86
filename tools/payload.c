#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "payload.h"

/* ---- one input ------------------------------------------------------------------------------- */

static uint64_t file_length(int fd)
{
    struct stat about;
    off_t at;
    if (fstat(fd, &about) != 0 || !S_ISREG(about.st_mode))
        return 0;
    at = lseek(fd, 0, SEEK_CUR);
    return at >= 0 && about.st_size > at ? (uint64_t)(about.st_size - at) : 0;
}

void payload_input_open(struct payload_input *input, int fd, const char *name, enum payload_cut cut)
{
    input->fd = fd;
    input->name = name;
    input->cut = cut;
    input->begun = 0;
    input->length = file_length(fd);
    input->at = input->size = 0;
    input->ended = 0;
    input->done = 0;
}

int payload_input_read(struct payload_input *input)
{
    long got = tool_read(input->fd, input->block, sizeof input->block);
    if (got < 0)
        return tool_fail("cannot read %s: %s", input->name, strerror(errno));
    input->at = 0;
    input->size = (size_t)got;
    input->ended = got == 0;
    return TOOL_OK;
}

/* Bytes of the block up to the end of the payload, and whether that is in it. */
static size_t find_end(const struct payload_input *input, int *found)
{
    const uint8_t *bytes = input->block + input->at;
    size_t left = input->size - input->at;
    *found = 0;
    if (input->cut == PAYLOAD_LINES) {
        const uint8_t *newline = memchr(bytes, '\n', left);
        *found = newline != NULL;
        return newline ? (size_t)(newline - bytes) : left;
    }
    if (input->cut == PAYLOAD_CHUNKS && left >= input->chunk - input->begun) {
        *found = 1;
        return (size_t)(input->chunk - input->begun);
    }
    return left;
}

static enum payload_event end_input(struct payload_input *input, struct message *message)
{
    /* Only the input as a whole is a payload even if it is empty. */
    if (input->done || (input->begun == 0 && input->cut != PAYLOAD_WHOLE))
        return PAYLOAD_END;
    input->done = 1;
    return message_end(message, "", 0) ? PAYLOAD_FAILED : PAYLOAD_SENT;
}

enum payload_event payload_input_next(struct payload_input *input, struct message *message)
{
    if (input->ended)
        return end_input(input, message);
    if (input->at == input->size)
        return PAYLOAD_READ;
    int found;
    const uint8_t *bytes = input->block + input->at;
    size_t size = find_end(input, &found);
    input->at += size + (found && input->cut == PAYLOAD_LINES);
    if (found) {
        input->begun = 0;
        return message_end(message, bytes, size) ? PAYLOAD_FAILED : PAYLOAD_SENT;
    }
    if (input->cut == PAYLOAD_WHOLE && input->begun == 0)
        message_expect(message, input->length);
    input->begun += size;
    return message_add(message, bytes, size) ? PAYLOAD_FAILED : PAYLOAD_READ;
}

/* ---- a command line -------------------------------------------------------------------------- */

static int check_item(struct payload_list *list, const char *item)
{
    if (item[0] == '@' && access(item + 1, R_OK) != 0)
        return tool_fail("cannot open %s: %s", item + 1, strerror(errno));
    if (strncmp(item, "hex:", 4) != 0)
        return TOOL_OK;
    list->bytes.used = 0;
    int read = tool_read_hex(&list->bytes, item + 4, strlen(item + 4));
    if (read < 0)
        return TOOL_FAILED;
    return read ? TOOL_OK : tool_misuse("\"%s\" is not hexadecimal digits in pairs", item);
}

int payload_list_open(struct payload_list *list, char **items, size_t count, int lines)
{
    list->items = items;
    list->count = count;
    list->next = 0;
    list->reading = lines;
    if (lines)
        payload_input_open(&list->input, STDIN_FILENO, "standard input", PAYLOAD_LINES);
    for (size_t i = 0; i < count; i++) {
        int status = check_item(list, items[i]);
        if (status != TOOL_OK)
            return status;
    }
    return TOOL_OK;
}

/* Bytes of one; 0 where that is not known, and known is then 0. */
static uint64_t item_size(const char *item, int *known)
{
    struct stat about;
    if (item[0] == '@' || strcmp(item, "-") == 0) {
        int is_file = item[0] == '@' ? stat(item + 1, &about) == 0 && S_ISREG(about.st_mode) : 0;
        uint64_t size = is_file          ? (uint64_t)about.st_size
                        : item[0] == '-' ? file_length(STDIN_FILENO)
                                         : 0;
        *known &= is_file || size > 0;
        return size;
    }
    size_t length = strlen(item);
    if (strncmp(item, "hex:", 4) == 0)
        return (length - 4) / 2;
    return strncmp(item, "text:", 5) == 0 ? length - 5 : length;
}

uint64_t payload_list_size(const struct payload_list *list)
{
    uint64_t size = 0;
    int known = !list->reading;
    for (size_t i = 0; i < list->count; i++)
        size += item_size(list->items[i], &known);
    return known ? size : 0;
}

static void close_input(struct payload_list *list)
{
    if (list->reading && list->input.fd != STDIN_FILENO)
        close(list->input.fd);
    list->reading = 0;
}

static enum payload_event send_text(struct message *message, const char *text)
{
    return message_end(message, text, strlen(text)) ? PAYLOAD_FAILED : PAYLOAD_SENT;
}

static enum payload_event send_hex(struct payload_list *list, struct message *message,
                                   const char *digits)
{
    list->bytes.used = 0;
    if (tool_read_hex(&list->bytes, digits, strlen(digits)) != 1)
        return PAYLOAD_FAILED;
    return message_end(message, list->bytes.bytes, list->bytes.used) ? PAYLOAD_FAILED
                                                                     : PAYLOAD_SENT;
}

static enum payload_event open_file(struct payload_list *list, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        tool_fail("cannot open %s: %s", path, strerror(errno));
        return PAYLOAD_FAILED;
    }
    payload_input_open(&list->input, fd, path, PAYLOAD_WHOLE);
    list->reading = 1;
    return PAYLOAD_READ;
}

enum payload_event payload_list_next(struct payload_list *list, struct message *message)
{
    if (list->reading) {
        enum payload_event event = payload_input_next(&list->input, message);
        if (event != PAYLOAD_END)
            return event;
        close_input(list);
    }
    if (list->next == list->count)
        return PAYLOAD_END;
    const char *item = list->items[list->next++];
    if (item[0] == '@')
        return open_file(list, item + 1);
    if (strcmp(item, "-") == 0) {
        payload_input_open(&list->input, STDIN_FILENO, "standard input", PAYLOAD_WHOLE);
        list->reading = 1;
        return PAYLOAD_READ;
    }
    if (strncmp(item, "hex:", 4) == 0)
        return send_hex(list, message, item + 4);
    return send_text(message, strncmp(item, "text:", 5) == 0 ? item + 5 : item);
}

void payload_list_close(struct payload_list *list)
{
    close_input(list);
    tool_buffer_free(&list->bytes);
}
