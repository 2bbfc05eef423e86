#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "keys.h"

#define SECRET_SIZE ((size_t)64 * 1024)        /* of a file with secret keys, at most */
#define PUBLIC_SIZE ((size_t)16 * 1024 * 1024) /* of a list of public ones */

/* ---- files ----------------------------------------------------------------------------------- */

static int judge(int fd, const char *path, enum keys_guard guard)
{
    struct stat about;
    if (guard == KEYS_ANY)
        return TOOL_OK;
    if (fstat(fd, &about) != 0)
        return tool_fail("cannot look at %s: %s", path, strerror(errno));
    if (guard == KEYS_PUBLIC) {
        if (about.st_mode & (S_IWGRP | S_IWOTH))
            return tool_fail("%s: group or others may write it", path);
        return TOOL_OK;
    }
    if (!S_ISREG(about.st_mode) && !S_ISFIFO(about.st_mode))
        return tool_fail("%s: neither a file nor a pipe", path);
    if (about.st_uid != geteuid() && about.st_uid != 0)
        return tool_fail("%s: it belongs to somebody else", path);
    if (about.st_mode & (S_IRWXG | S_IRWXO))
        return tool_fail("%s: it is open to group or others (try chmod 600)", path);
    return TOOL_OK;
}

/* All memory is there before the first byte of a secret, so that no copy of it is left behind. */
static int read_whole(struct tool_buffer *text, int fd, const char *path, size_t most, size_t step)
{
    for (;;) {
        if (tool_buffer_reserve(text, step) != TOOL_OK)
            return TOOL_FAILED;
        long got = tool_read(fd, text->bytes + text->used, text->capacity - text->used);
        if (got < 0)
            return tool_fail("cannot read %s: %s", path, strerror(errno));
        if (got == 0)
            return TOOL_OK;
        text->used += (size_t)got;
        if (text->used > most)
            return tool_fail("%s: too large for a key file", path);
        step = 1;
    }
}

int keys_read(struct tool_buffer *text, const char *path, enum keys_guard guard)
{
    int standard = guard == KEYS_ANY && strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    *text = (struct tool_buffer){NULL, 0, 0};
    if (fd < 0)
        return tool_fail("cannot open %s: %s", path, strerror(errno));
    int status = judge(fd, path, guard);
    if (status == TOOL_OK)
        status = guard == KEYS_PUBLIC ? read_whole(text, fd, path, PUBLIC_SIZE, 4096)
                                      : read_whole(text, fd, path, SECRET_SIZE, SECRET_SIZE + 2);
    if (!standard)
        close(fd);
    return status;
}

void keys_wipe(struct tool_buffer *text)
{
    if (text->bytes)
        explicit_bzero(text->bytes, text->capacity);
    tool_buffer_free(text);
}

/* ---- options --------------------------------------------------------------------------------- */

static const char *given(const struct keys_options *options)
{
    return options->psk    ? "psk"
           : options->key  ? "key"
           : options->peer ? "peer"
           : options->seal ? "seal"
                           : NULL;
}

static int check(const struct keys_options *options, enum lintel_seal_role role)
{
    if (!lintel_has("sodium"))
        return tool_fail("--%s: sealed sessions are not in this build", given(options));
    if (options->seal && strcmp(options->seal, "mac") != 0 && strcmp(options->seal, "encrypt") != 0)
        return tool_misuse("--seal: \"%s\" is neither mac nor encrypt", options->seal);
    if (options->key && !options->peer)
        return tool_misuse("--key without --peer");
    if (options->peer && !options->key)
        return tool_misuse("--peer without --key");
    if (options->seal && !options->psk && !options->key)
        return tool_misuse("--seal without a key: --psk, or --key and --peer");
    if (options->psk && options->key && role == LINTEL_SEAL_INITIATOR)
        return tool_misuse("--psk and --key do not go together here");
    return TOOL_OK;
}

int keys_check_endpoint(const struct keys_options *options, const struct lintel_endpoint *endpoint)
{
    if (!given(options) || (endpoint->scheme != LINTEL_UDP && endpoint->scheme != LINTEL_UNIXGRAM))
        return TOOL_OK;
    return tool_misuse("--%s: a seal needs a stream, not datagrams", given(options));
}

static int read_file(struct tool_buffer *text, struct lintel_seal_text *out, const char *path,
                     enum keys_guard guard)
{
    if (!path)
        return TOOL_OK;
    int status = keys_read(text, path, guard);
    *out = (struct lintel_seal_text){text->bytes, text->used, path};
    return status;
}

int keys_open(struct lintel_seal_keys **keys, const struct keys_options *options,
              enum lintel_seal_role role)
{
    struct lintel_seal_keys_options made = LINTEL_SEAL_KEYS_OPTIONS_INIT;
    struct tool_buffer texts[3] = {{NULL, 0, 0}, {NULL, 0, 0}, {NULL, 0, 0}};
    struct lintel_error error;
    *keys = NULL;
    if (!given(options))
        return TOOL_OK;
    int status = check(options, role);
    made.role = role;
    if (options->seal && strcmp(options->seal, "mac") == 0)
        made.mode = LINTEL_SEAL_MAC;
    if (status == TOOL_OK)
        status = read_file(&texts[0], &made.psk, options->psk, KEYS_SECRET);
    if (status == TOOL_OK)
        status = read_file(&texts[1], &made.key, options->key, KEYS_SECRET);
    if (status == TOOL_OK)
        status = read_file(&texts[2], &made.peer, options->peer, KEYS_PUBLIC);
    if (status == TOOL_OK && lintel_seal_keys_new(keys, &made, &error) != LINTEL_OK)
        status = error.status == LINTEL_E_USAGE ? tool_misuse("%s", error.text)
                                                : tool_fail_error(NULL, &error);
    for (size_t i = 0; i < 3; i++)
        keys_wipe(&texts[i]);
    return status;
}
