#include "tool.h"

int cmd_send(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return tool_fail("not in this build");
}
