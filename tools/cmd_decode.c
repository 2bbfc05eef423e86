#include "tool.h"

int cmd_decode(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return tool_fail("not in this build");
}
