#include "config.h"

#include "tool.h"

#ifdef HAVE_UV
#define UV_TEXT "yes (serve)"
#else
#define UV_TEXT "no (serve is not in this build)"
#endif

#ifdef HAVE_LIBEDIT
#define LIBEDIT_TEXT "yes (connect)"
#else
#define LIBEDIT_TEXT "no (connect edits no lines)"
#endif

int cmd_version(int argc, char **argv)
{
    const struct tool_usage usage = {"", "What is in this build.\n", NULL, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    if (argc > 0)
        return tool_misuse("takes no argument, not \"%s\"", argv[0]);
    printf("lintel %s\n", lintel_version());
    printf("sodium  %s\n", lintel_has("sodium") ? "yes (sealed sessions)"
                                                : "no (sealed sessions are not in this build)");
    printf("uv      %s\n", UV_TEXT);
    printf("libedit %s\n", LIBEDIT_TEXT);
    printf("layouts %zu known\n", lintel_layout_known_count());
    return TOOL_OK;
}
