#include "core/rules.h"
#include "core/layout.h"

#include <stddef.h>

enum { REPLY = 1, ERROR = 2, CONTROL = 8 };

/* What a control frame of each type may be. */
static const struct control {
    const char *why;
    uint32_t least, most; /* payload bytes */
    uint32_t id_most;
} controls[] = {
    {"", 0, 0, 0},
    {"a HELLO has id 0 and 48, 51 or 99 bytes", 48, 99, 0},
    {"a PING has at most 125 bytes", 0, 125, UINT32_MAX},
    {"a PONG has at most 125 bytes", 0, 125, UINT32_MAX},
    {"a BYE has id 0 and 8 bytes", 8, 8, 0},
    {"a SEALED has id 0 or 1 and 16 to 65535 bytes", 16, 65535, 1},
    {"an FDS has id 0 and 4 bytes", 4, 4, 0},
};

static const char *control_rule(uint32_t type, uint32_t id, uint64_t length)
{
    const struct control *control;

    if (type == 0 || type >= sizeof controls / sizeof controls[0])
        return "there is no control frame of this type";
    control = &controls[type];
    if (length < control->least || length > control->most || id > control->id_most)
        return control->why;
    if (type == 1 && length != 48 && length != 51 && length != 99)
        return control->why;
    return NULL;
}

int lintelp_rules_check(unsigned flags, uint32_t type, uint32_t id, uint64_t length,
                        const char **why)
{
    const char *rule = NULL;

    if (flags > 0x0F)
        rule = "flags 0xF0 are reserved";
    else if ((flags & CONTROL) != 0 && flags != CONTROL)
        rule = "the flag CONTROL stands alone";
    else if ((flags & ERROR) != 0 && (flags & REPLY) == 0)
        rule = "the flag ERROR needs REPLY";
    else if (flags == CONTROL)
        rule = control_rule(type, id, length);
    if (rule != NULL && why != NULL)
        *why = rule;
    return rule != NULL ? LINTEL_E_MALFORMED : LINTEL_OK;
}

int lintelp_rules_judge(const uint8_t *header, const char **why)
{
    return lintelp_rules_check(header[3], (uint32_t)lintelp_load(header + 4, 4, 0),
                               (uint32_t)lintelp_load(header + 8, 4, 0),
                               lintelp_load(header + 12, 4, 0), why);
}
