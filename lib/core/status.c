#include "lintel/status.h"

struct row {
    int status;
    const char *name;
    const char *sentence;
};

#define ROW(status, sentence)     \
    {                             \
        status, #status, sentence \
    }
static const struct row rows[] = {
    ROW(LINTEL_OK, "success"),
    ROW(LINTEL_E_USAGE, "misuse of the library"),
    ROW(LINTEL_E_UNSUPPORTED, "not in this build, or not possible here"),
    ROW(LINTEL_E_SYNTAX, "cannot be read"),
    ROW(LINTEL_E_RANGE, "a value does not fit"),
    ROW(LINTEL_E_COUNT, "too few or too many values"),
    ROW(LINTEL_E_SPACE, "the buffer is too small"),
    ROW(LINTEL_E_NOMEM, "out of memory"),
    ROW(LINTEL_E_SYSTEM, "a system call failed"),
    ROW(LINTEL_E_RESOLVE, "no address for this name"),
    ROW(LINTEL_E_TIMEOUT, "the deadline passed"),
    ROW(LINTEL_E_TRUNCATED, "the stream ended inside a frame"),
    ROW(LINTEL_E_TOO_SMALL, "a length is too small"),
    ROW(LINTEL_E_TOO_LARGE, "a length is too large"),
    ROW(LINTEL_E_MISMATCH, "a constant of the header does not match"),
    ROW(LINTEL_E_VERSION, "another version of the protocol"),
    ROW(LINTEL_E_MALFORMED, "the protocol forbids this frame"),
    ROW(LINTEL_E_SEAL, "the seal does not verify"),
    ROW(LINTEL_E_REFUSED, "the peer refused"),
    ROW(LINTEL_E_END, "the end of the stream"),
    ROW(LINTEL_E_CLOSED, "the connection is closed"),
    ROW(LINTEL_E_RESET, "the peer reset the connection"),
};
#undef ROW

static const struct row *find(int status)
{
    for (unsigned i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status)
            return &rows[i];
    return NULL;
}

const char *lintel_strerror(int status)
{
    const struct row *row = find(status);
    return row != NULL ? row->sentence : "unknown status";
}

const char *lintel_status_name(int status)
{
    const struct row *row = find(status);
    return row != NULL ? row->name : "LINTEL_E_?";
}
