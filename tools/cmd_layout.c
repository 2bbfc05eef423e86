#include "tool.h"

int cmd_layout(int argc, char **argv)
{
    (void)argc;
    (void)argv;
    return tool_fail("not in this build");
}
