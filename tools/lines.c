#include "config.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#ifdef HAVE_LIBEDIT
#include <histedit.h>
#include <locale.h>
#include <stdlib.h>
#include <wchar.h>
#endif

#include "lines.h"

#define PROMPT "> "

/* ---- a line as it comes ---------------------------------------------------------------------- */

static void show_prompt(const struct lines *lines)
{
    if (!lines->is_terminal)
        return;
    (void)tool_flush();
    fputs(PROMPT, stderr);
    fflush(stderr);
}

static void read_more(struct lines *lines)
{
    if (!lines->wait(lines->user)) {
        lines->given_up = 1;
        return;
    }
    if (tool_buffer_reserve(&lines->held, 4096)) {
        lines->failed = 1;
        return;
    }
    long got = tool_read(STDIN_FILENO, lines->held.bytes + lines->held.used,
                         lines->held.capacity - lines->held.used);
    lines->ended = got == 0;
    lines->failed = got < 0;
    if (got < 0)
        tool_fail("cannot read standard input: %s", strerror(errno));
    lines->held.used += got > 0 ? (size_t)got : 0;
}

/* A last line without a newline is a line. */
static enum lines_event next_plain(struct lines *lines, const char **line, size_t *size)
{
    struct tool_buffer *held = &lines->held;
    held->used -= lines->taken;
    if (lines->taken > 0)
        memmove(held->bytes, held->bytes + lines->taken, held->used);
    lines->taken = 0;
    show_prompt(lines);
    for (size_t from = 0;;) {
        const uint8_t *end =
            held->used > from ? memchr(held->bytes + from, '\n', held->used - from) : NULL;
        *line = (const char *)held->bytes;
        if (end || (lines->ended && held->used > 0)) {
            *size = end ? (size_t)(end - held->bytes) : held->used;
            lines->taken = *size + (end != NULL);
            return LINES_LINE;
        }
        from = held->used;
        if (lines->ended)
            return LINES_END;
        read_more(lines);
        if (lines->given_up || lines->failed)
            return lines->failed ? LINES_FAILED : LINES_GIVEN;
    }
}

/* ---- a line that is edited ------------------------------------------------------------------- */

#ifdef HAVE_LIBEDIT

#define HISTORY_SIZE 1000 /* lines that are remembered */

struct line_editor {
    EditLine *edit;
    History *history;
    mbstate_t state;
};

static char *prompt(EditLine *edit)
{
    static char text[] = PROMPT;
    (void)edit;
    return text;
}

/* A character, of as many bytes as it has here; bytes that are none are passed over. */
static int read_character(EditLine *edit, wchar_t *out)
{
    struct lines *lines = NULL;
    (void)el_get(edit, EL_CLIENTDATA, &lines);
    for (;;) {
        char byte;
        lines->given_up = !lines->wait(lines->user);
        if (lines->given_up)
            return 0;
        ssize_t got = read(STDIN_FILENO, &byte, 1);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return (int)got;
        size_t length = mbrtowc(out, &byte, 1, &lines->editor->state);
        if (length == (size_t)-1)
            lines->editor->state = (mbstate_t){0};
        else if (length != (size_t)-2)
            return 1;
    }
}

static int open_editor(struct lines *lines)
{
    HistEvent event;
    struct line_editor *editor = calloc(1, sizeof *editor);
    if (!editor)
        return tool_fail("out of memory");
    lines->editor = editor;
    setlocale(LC_CTYPE, "");
    editor->edit = el_init("lintel", stdin, stderr, stderr);
    editor->history = history_init();
    if (!editor->edit || !editor->history)
        return tool_fail("out of memory");
    (void)history(editor->history, &event, H_SETSIZE, HISTORY_SIZE);
    (void)el_set(editor->edit, EL_CLIENTDATA, lines);
    (void)el_set(editor->edit, EL_PROMPT, prompt);
    (void)el_set(editor->edit, EL_EDITOR, "emacs");
    (void)el_set(editor->edit, EL_SIGNAL, 1);
    (void)el_set(editor->edit, EL_HIST, history, editor->history);
    (void)el_set(editor->edit, EL_GETCFN, read_character);
    return TOOL_OK;
}

static void close_editor(struct lines *lines)
{
    if (!lines->editor)
        return;
    if (lines->editor->edit)
        el_end(lines->editor->edit);
    if (lines->editor->history)
        history_end(lines->editor->history);
    free(lines->editor);
    lines->editor = NULL;
}

static enum lines_event next_edited(struct lines *lines, const char **line, size_t *size)
{
    HistEvent event;
    int count = 0;
    (void)tool_flush();
    *line = el_gets(lines->editor->edit, &count);
    if (!*line)
        return lines->given_up ? LINES_GIVEN : LINES_END;
    *size = strcspn(*line, "\n");
    if (*size > 0)
        (void)history(lines->editor->history, &event, H_ENTER, *line);
    return LINES_LINE;
}

#else

static int open_editor(struct lines *lines)
{
    (void)lines;
    return TOOL_OK;
}

static void close_editor(struct lines *lines)
{
    (void)lines;
}

static enum lines_event next_edited(struct lines *lines, const char **line, size_t *size)
{
    return next_plain(lines, line, size);
}

#endif

/* ---- all of it ------------------------------------------------------------------------------- */

int lines_open(struct lines *lines)
{
    lines->is_terminal = isatty(STDIN_FILENO);
    return lines->is_terminal ? open_editor(lines) : TOOL_OK;
}

enum lines_event lines_next(struct lines *lines, const char **line, size_t *size)
{
    enum lines_event event =
        lines->editor ? next_edited(lines, line, size) : next_plain(lines, line, size);
    /* What is printed next is not to stand behind the prompt. */
    if (lines->is_terminal && event != LINES_LINE)
        fputs("\n", stderr);
    return event;
}

void lines_close(struct lines *lines)
{
    close_editor(lines);
    tool_buffer_free(&lines->held);
}
