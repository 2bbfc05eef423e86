/* What this library is, and what is in it. */
#include "config.h"
#include "lintel/lintel.h"

#include <string.h>

const char *lintel_version(void)
{
    return LINTEL_VERSION;
}

int lintel_has(const char *feature)
{
    static const char *const features[] = {
#ifdef HAVE_SODIUM
        "sodium",
#endif
        NULL};

    for (const char *const *at = features; feature != NULL && *at != NULL; at++)
        if (strcmp(*at, feature) == 0)
            return 1;
    return 0;
}
