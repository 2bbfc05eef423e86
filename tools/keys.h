/*
 * keys: key files as --psk, --key, --peer and --seal name them, opened and judged, and the keys
 * that the library makes of them. A file that is refused is exit 1 and named, with its line where
 * one is to blame; options that do not go together are exit 2.
 */
#ifndef LINTEL_KEYS_H
#define LINTEL_KEYS_H

#include "tool.h"

#define KEYS_HANDSHAKE_MS 5000 /* to connect and shake hands in, where no time is given */

/* The values of the options; NULL where one was not given. */
struct keys_options {
    const char *psk, *key, *peer; /* files */
    const char *seal;             /* "mac", "encrypt" */
};

/* The rows of an option table, everywhere that connects or listens. */
#define KEYS_OPTIONS(target)                                                                      \
    {                                                                                             \
        "psk",                                                                                    \
        0,                                                                                        \
        TOOL_TEXT,                                                                                \
        "FILE",                                                                                   \
        "seal the session with a shared key; all peers with one",                                 \
        &(target)->psk,                                                                           \
        0,                                                                                        \
        0},                                                                                       \
        {"key", 0, TOOL_TEXT, "FILE", "seal it with this secret key, and", &(target)->key, 0, 0}, \
        {"peer",          0, TOOL_TEXT, "FILE", "with the public keys of whom to talk to",        \
         &(target)->peer, 0, 0},                                                                  \
    {                                                                                             \
        "seal", 0, TOOL_TEXT, "mac|encrypt", "readable or not (encrypt)", &(target)->seal, 0, 0   \
    }

/* A seal needs a stream: TOOL_OK, or exit status 2 with the reason printed where there are options
 * for one and this endpoint has datagrams. */
int keys_check_endpoint(const struct keys_options *options, const struct lintel_endpoint *endpoint);

/* Make keys of the options: TOOL_OK and *keys, which is NULL where there are none of them, or an
 * exit status with the reason printed. To be released with lintel_seal_keys_free(). */
int keys_open(struct lintel_seal_keys **keys, const struct keys_options *options,
              enum lintel_seal_role role);

/* Whom a file must be closed to. */
enum keys_guard {
    KEYS_SECRET, /* a file or a pipe of one's own or root's, without any bit for group or others */
    KEYS_PUBLIC, /* group and others may not write */
    KEYS_ANY     /* nobody is asked; "-" is standard input */
};

/* A key file whole, judged by the descriptor that it is read from: TOOL_OK, or TOOL_FAILED with the
 * reason printed. To be ended with keys_wipe() in either case. */
int keys_read(struct tool_buffer *text, const char *path, enum keys_guard guard);
/* Wipe and free what was read. */
void keys_wipe(struct tool_buffer *text);

#endif
