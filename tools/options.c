#include "config.h"

#include <string.h>

#include "common.h"
#include "tool.h"

/* ---- --help ---------------------------------------------------------------------------------- */

#define HELP_COLUMN 26

/* Later lines of a help text stand under its first. */
static void print_help_text(const char *text)
{
    for (; *text; text++) {
        putchar(*text);
        if (*text == '\n')
            printf("%*s", HELP_COLUMN, "");
    }
    putchar('\n');
}

static void print_option(const struct tool_option *option)
{
    int used = option->letter ? printf("  -%c, --%s", option->letter, option->name)
                              : printf("  --%s", option->name);
    if (option->argument)
        used += printf(" %s", option->argument);
    if (used >= HELP_COLUMN - 1) {
        putchar('\n');
        used = 0;
    }
    printf("%*s", HELP_COLUMN - used, "");
    print_help_text(option->help);
}

static void print_help(const struct tool_usage *usage)
{
    printf("usage: lintel %s", tool_name());
    if (usage->options && usage->options[0].name)
        printf(" [OPTION...]");
    if (*usage->synopsis)
        printf(" %s", usage->synopsis);
    printf("\n\n%s\n", usage->text);
    for (const struct tool_option *o = usage->options; o && o->name; o++)
        if (o->help)
            print_option(o);
    printf("  %-*s%s\n", HELP_COLUMN - 2, "-h, --help", "this text");
}

/* ---- reading --------------------------------------------------------------------------------- */

static int take_count(const struct tool_option *option, const char *text)
{
    int is_size = option->kind == TOOL_SIZE || option->kind == TOOL_SIZE_LIMIT;
    uint64_t number;
    int ok = is_size ? tool_read_size(&number, text) : tool_read_number(&number, text);
    if (!ok)
        return tool_misuse("--%s: \"%s\" is not a %s", option->name, text,
                           is_size ? "size" : "number");
    if (number < option->least)
        return tool_misuse("--%s: %s is less than %llu", option->name, text,
                           (unsigned long long)option->least);
    if (option->most && number > option->most)
        return tool_misuse("--%s: %s is more than %llu", option->name, text,
                           (unsigned long long)option->most);
    *(uint64_t *)option->target = number;
    return TOOL_OK;
}

static int take_time(const struct tool_option *option, const char *text)
{
    if (!tool_read_time(option->target, text))
        return tool_misuse("--%s: \"%s\" is not a time in seconds", option->name, text);
    return TOOL_OK;
}

/* A limit that is none, or a number, size or time like others. */
static int take_limit(const struct tool_option *option, const char *text)
{
    int is_time = option->kind == TOOL_TIME_LIMIT, status;
    if (strcmp(text, "unlimited") == 0) {
        if (is_time)
            *(int *)option->target = -1;
        else
            *(uint64_t *)option->target = UINT64_MAX;
        return TOOL_OK;
    }
    if (!is_time)
        return take_count(option, text);
    status = take_time(option, text);
    if (status == TOOL_OK && *(int *)option->target == 0)
        *(int *)option->target = 1;
    return status;
}

static int take_item(const struct tool_option *option, const char *text)
{
    struct tool_list *list = option->target;
    if (list->count == TOOL_LIST_MAX)
        return tool_misuse("--%s is given more than %d times", option->name, TOOL_LIST_MAX);
    list->items[list->count++] = text;
    return TOOL_OK;
}

static int take(const struct tool_option *option, const char *text)
{
    switch (option->kind) {
    case TOOL_FLAG:
        *(int *)option->target = 1;
        return TOOL_OK;
    case TOOL_TEXT:
        *(const char **)option->target = text;
        return TOOL_OK;
    case TOOL_NUMBER:
    case TOOL_SIZE:
        return take_count(option, text);
    case TOOL_TIME:
        return take_time(option, text);
    case TOOL_NUMBER_LIMIT:
    case TOOL_SIZE_LIMIT:
    case TOOL_TIME_LIMIT:
        return take_limit(option, text);
    case TOOL_LIST:
        return take_item(option, text);
    }
    return TOOL_USAGE;
}

static const struct tool_option *find_name(const struct tool_usage *usage, const char *name,
                                           size_t size)
{
    for (const struct tool_option *o = usage->options; o && o->name; o++)
        if (strlen(o->name) == size && memcmp(o->name, name, size) == 0)
            return o;
    return NULL;
}

static const struct tool_option *find_letter(const struct tool_usage *usage, char letter)
{
    for (const struct tool_option *o = usage->options; o && o->name; o++)
        if (o->letter && o->letter == letter)
            return o;
    return NULL;
}

/* argv[*at] is --something; on the way out *at is the last argument that was used. */
static int take_long(int *at, int argc, char **argv, const struct tool_usage *usage)
{
    const char *name = argv[*at] + 2;
    const char *equals = strchr(name, '=');
    size_t size = equals ? (size_t)(equals - name) : strlen(name);
    const struct tool_option *option = find_name(usage, name, size);
    if (!option)
        return tool_misuse("there is no option --%.*s", (int)(size < 100 ? size : 100), name);
    if (!option->argument)
        return equals ? tool_misuse("--%s takes no value", option->name) : take(option, "");
    if (equals)
        return take(option, equals + 1);
    if (*at + 1 >= argc)
        return tool_misuse("--%s wants %s", option->name, option->argument);
    return take(option, argv[++*at]);
}

/* argv[*at] is -something: flags, then at most one option with a value. */
static int take_short(int *at, int argc, char **argv, const struct tool_usage *usage)
{
    for (const char *letter = argv[*at] + 1; *letter; letter++) {
        const struct tool_option *option = find_letter(usage, *letter);
        if (!option)
            return tool_misuse("there is no option -%s", letter);
        if (option->argument) {
            if (!letter[1] && *at + 1 >= argc)
                return tool_misuse("-%c wants %s", *letter, option->argument);
            return take(option, letter[1] ? letter + 1 : argv[++*at]);
        }
        int status = take(option, "");
        if (status != TOOL_OK)
            return status;
    }
    return TOOL_OK;
}

int tool_options(int *argc, char **argv, const struct tool_usage *usage)
{
    int operands = 0, ended = 0;
    for (int i = 1; i < *argc; i++) {
        char *text = argv[i];
        if (ended || text[0] != '-' || !text[1]) {
            argv[operands++] = text;
            ended |= usage->operands_end_options;
            continue;
        }
        if (strcmp(text, "--") == 0) {
            ended = 1;
            continue;
        }
        if (strcmp(text, "--help") == 0 || strcmp(text, "-h") == 0) {
            print_help(usage);
            return TOOL_OK;
        }
        int status =
            text[1] == '-' ? take_long(&i, *argc, argv, usage) : take_short(&i, *argc, argv, usage);
        if (status != TOOL_OK)
            return status;
    }
    *argc = operands;
    return -1;
}
