#include "tool.h"

int cmd_pack(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return tool_fail("not in this build");
}

int cmd_unpack(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return tool_fail("not in this build");
}

int cmd_calcsize(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return tool_fail("not in this build");
}
