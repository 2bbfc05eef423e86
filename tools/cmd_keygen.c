#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"

static int write_whole(int fd, const char *bytes, size_t size)
{
    while (size > 0) {
        ssize_t wrote = write(fd, bytes, size);
        if (wrote < 0 && errno != EINTR)
            return -1;
        if (wrote > 0) {
            bytes += wrote;
            size -= (size_t)wrote;
        }
    }
    return 0;
}

/* A file that was not there before, for nobody else: O_EXCL refuses a link, too. */
static int write_new(const char *path, const char *line, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return tool_fail("cannot make %s: %s", path, strerror(errno));
    int failed = write_whole(fd, line, size) != 0 ? errno : 0;
    if (close(fd) != 0 && !failed)
        failed = errno;
    if (!failed)
        return TOOL_OK;
    unlink(path);
    return tool_fail("cannot write %s: %s", path, strerror(failed));
}

static int put_key(char key[LINTEL_SEAL_KEY_TEXT], const char *path)
{
    char line[LINTEL_SEAL_KEY_TEXT];
    memcpy(line, key, LINTEL_SEAL_KEY_TEXT - 1);
    line[LINTEL_SEAL_KEY_TEXT - 1] = '\n';
    int status = path ? write_new(path, line, sizeof line) : tool_write(line, sizeof line);
    if (status == TOOL_OK)
        status = tool_flush();
    explicit_bzero(line, sizeof line);
    return status;
}

static int make_public(char key[LINTEL_SEAL_KEY_TEXT], const char *path)
{
    struct tool_buffer text;
    struct lintel_error error;
    int status = keys_read(&text, path, KEYS_ANY);
    if (status == TOOL_OK) {
        struct lintel_seal_text secret = {text.bytes, text.used, path};
        if (lintel_seal_key_public(key, &secret, &error) != LINTEL_OK)
            status = tool_fail_error(NULL, &error);
    }
    keys_wipe(&text);
    return status;
}

static int make_key(char key[LINTEL_SEAL_KEY_TEXT])
{
    struct lintel_error error;
    return lintel_seal_key_new(key, &error) == LINTEL_OK ? TOOL_OK : tool_fail_error(NULL, &error);
}

int cmd_keygen(int argc, char **argv)
{
    int shared = 0;
    const char *secret = NULL;
    const struct tool_option options[] = {
        {"psk", 0, TOOL_FLAG, NULL, "a shared key, for --psk on both sides", &shared, 0, 0},
        {"public", 0, TOOL_TEXT, "SECRET",
         "the public key of the secret one in this file (-: standard\ninput), for --peer of others",
         &secret, 0, 0},
        TOOL_OPTIONS_END};
    const struct tool_usage usage = {
        "[FILE]",
        "Makes a random secret key for --key, and writes it to FILE, which must not be there yet\n"
        "and which nobody else may read, or to standard output.\n",
        options, 0};
    char key[LINTEL_SEAL_KEY_TEXT];
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    if (argc > 1)
        return tool_misuse("one FILE, not %d", argc);
    if (shared && secret)
        return tool_misuse("--psk and --public do not go together: a shared key has no public one");
    status = secret ? make_public(key, secret) : make_key(key);
    if (status == TOOL_OK)
        status = put_key(key, argc == 1 ? argv[0] : NULL);
    explicit_bzero(key, sizeof key);
    return status;
}
