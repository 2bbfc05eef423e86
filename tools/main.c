#include "config.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "common.h"
#include "tool.h"

struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
};

static const struct command commands[] = {
    {"serve", cmd_serve, "answer many connections: echo, upper, discard, exec"},
    {"call", cmd_call, "send requests, print the replies"},
    {"connect", cmd_connect, "a request per line, its reply: interactive"},
    {"send", cmd_send, "send frames that want no reply"},
    {"recv", cmd_recv, "take connections or datagrams, show what arrives"},
    {"proxy", cmd_proxy, "pass connections on, show the frames, make faults"},
    {"encode", cmd_encode, "standard input to frames on standard output"},
    {"decode", cmd_decode, "frames to something to look at"},
    {"pack", cmd_pack, "values to bytes, struct-style"},
    {"unpack", cmd_unpack, "bytes to values, struct-style"},
    {"calcsize", cmd_calcsize, "how many bytes a format takes"},
    {"layout", cmd_layout, "the known layouts; one drawn as a bit diagram"},
    {"keygen", cmd_keygen, "keys for sealed sessions"},
    {"resolve", cmd_resolve, "addresses of a host, the port of a service"},
    {"version", cmd_version, "what is in this build"},
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void print_usage(FILE *out)
{
    fputs("usage: lintel SUBCOMMAND [OPTION...] [ARGUMENT...]\n"
          "       lintel help SUBCOMMAND\n"
          "\n"
          "Length-prefixed binary messages over byte streams.\n"
          "\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-9s %s\n", commands[i].name, commands[i].summary);
    fputs(
        "\n"
        "Every subcommand has --help. Exit status: 0 success, 1 it failed, 2 the command line is\n"
        "wrong.\n",
        out);
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < COMMANDS; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* A socket must not become standard output because that was closed. What was closed stays
 * unusable: input is opened for writing, output for reading, so that using it fails. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
}

static int run(const char *name, int argc, char **argv)
{
    const struct command *command = find_command(name);
    if (!command)
        return tool_misuse("there is no subcommand \"%s\"", name);
    tool_set_name(command->name);
    return command->run(argc, argv);
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        print_usage(stderr);
        return TOOL_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 ||
        (strcmp(argv[1], "help") == 0 && argc == 2)) {
        print_usage(stdout);
        return TOOL_OK;
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("lintel %s\n", lintel_version());
        return TOOL_OK;
    }
    if (strcmp(argv[1], "help") == 0) {
        static char help[] = "--help";
        char *help_argv[] = {argv[2], help, NULL};
        return run(argv[2], 2, help_argv);
    }
    return run(argv[1], argc - 1, argv + 1);
}

int main(int argc, char **argv)
{
    /* A reader that went away is a failure like any other: exit 1 and a line that says so. */
    signal(SIGPIPE, SIG_IGN);
    fill_standard_descriptors();
    setvbuf(stdout, NULL, _IOFBF, 65536);
    int status = dispatch(argc, argv);
    if (status != TOOL_OK)
        return status;
    return tool_flush();
}
