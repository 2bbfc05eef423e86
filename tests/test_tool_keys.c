/* tools/keys: which key files are opened, and what the options of sealed sessions make of them. */
#include "config.h"

#include "util.h"
#include "common.h"
#include "keys.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define ONE    "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"
#define PUBLIC "hSDwCYkwp1R0i33ctD73Wg2/Og0mOBr066SpjqqbTmo=\n"
#define OTHER  "3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08=\n"

static char folder[] = "/tmp/test_tool_keys.XXXXXX";
static int real_stderr;

static void write_file(const char *name, const char *text, mode_t mode)
{
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
}

/* What was said on standard error goes into a file, and is to have these words. */
static void wants(int status, const char *words, enum lintel_seal_role role,
                  struct keys_options options)
{
    struct lintel_seal_keys *keys;
    int fd = open("said", O_WRONLY | O_CREAT | O_TRUNC, 0600), got;
    struct bytes said;

    assert_true(fd >= 0 && dup2(fd, STDERR_FILENO) >= 0);
    got = keys_open(&keys, &options, role);
    assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
    close(fd);
    said = from_file("said");
    if (got != status || (words == NULL ? said.size > 0 : strstr((char *)said.data, words) == NULL))
        fail_msg("exit %d, \"%s\"; wanted %d, \"%s\"", got, (char *)said.data, status,
                 words != NULL ? words : "");
    assert_int_equal(keys != NULL, status == TOOL_OK && (options.psk || options.key));
    lintel_seal_keys_free(keys);
    free(said.data);
}

#define CLIENT LINTEL_SEAL_INITIATOR
#define SERVER LINTEL_SEAL_RESPONDER

static void options_that_go_together_make_keys(void **state)
{
    (void)state;
    write_file("psk", ONE, 0600);
    write_file("key", ONE, 0400);
    write_file("peer", PUBLIC, 0644);
    wants(0, NULL, CLIENT, (struct keys_options){0});
    wants(0, NULL, CLIENT, (struct keys_options){.psk = "psk"});
    wants(0, NULL, CLIENT, (struct keys_options){.psk = "psk", .seal = "mac"});
    wants(0, NULL, SERVER, (struct keys_options){.key = "key", .peer = "peer", .seal = "encrypt"});
    wants(0, NULL, SERVER, (struct keys_options){.psk = "psk", .key = "key", .peer = "peer"});
    wants(2, "--psk and --key", CLIENT,
          (struct keys_options){.psk = "psk", .key = "key", .peer = "peer"});
    wants(2, "--key without --peer", SERVER, (struct keys_options){.key = "key"});
    wants(2, "--peer without --key", SERVER, (struct keys_options){.psk = "psk", .peer = "peer"});
    wants(2, "--seal without a key", SERVER, (struct keys_options){.seal = "mac"});
    wants(2, "neither mac nor encrypt", SERVER, (struct keys_options){.psk = "psk", .seal = "Mac"});
}

static void a_client_has_exactly_one_peer(void **state)
{
    (void)state;
    write_file("key", ONE, 0600);
    write_file("two", PUBLIC OTHER, 0644);
    write_file("none", "# nobody\n", 0644);
    wants(0, NULL, SERVER, (struct keys_options){.key = "key", .peer = "two"});
    wants(2, "exactly one peer", CLIENT, (struct keys_options){.key = "key", .peer = "two"});
    wants(2, "exactly one peer", CLIENT, (struct keys_options){.key = "key", .peer = "none"});
    wants(1, "\"none\": there is no key in it", SERVER,
          (struct keys_options){.key = "key", .peer = "none"});
}

static void secret_files_are_closed_to_others(void **state)
{
    (void)state;
    write_file("peer", PUBLIC, 0644);
    write_file("key", ONE, 0600);
    for (mode_t bit = 1; bit < 0100; bit <<= 1) {
        write_file("open", ONE, 0600 | bit);
        wants(1, "open: it is open to group or others", SERVER,
              (struct keys_options){.psk = "open"});
        wants(1, "open: it is open to group or others", CLIENT,
              (struct keys_options){.key = "open", .peer = "peer"});
        write_file("open", PUBLIC, 0600 | bit);
        if (bit == S_IWGRP || bit == S_IWOTH)
            wants(1, "open: group or others may write it", SERVER,
                  (struct keys_options){.key = "key", .peer = "open"});
        else
            wants(0, NULL, SERVER, (struct keys_options){.key = "key", .peer = "open"});
    }
    assert_int_equal(symlink("key", "link"), 0);
    wants(0, NULL, SERVER, (struct keys_options){.psk = "link"});
    wants(1, "neither a file nor a pipe", SERVER, (struct keys_options){.psk = "."});
    wants(1, "neither a file nor a pipe", SERVER, (struct keys_options){.psk = "/dev/null"});
    wants(1, "cannot open nothing: ", SERVER, (struct keys_options){.psk = "nothing"});
    if (geteuid() == 0) {
        assert_int_equal(chown("key", 1, 1), 0);
        wants(1, "key: it belongs to somebody else", SERVER, (struct keys_options){.psk = "key"});
    }
}

static void a_pipe_is_as_good_as_a_file(void **state)
{
    char path[64];
    int ends[2];

    (void)state;
    assert_int_equal(pipe(ends), 0);
    assert_int_equal(write(ends[1], ONE, 45), 45);
    close(ends[1]);
    (void)snprintf(path, sizeof path, "/dev/fd/%d", ends[0]);
    wants(0, NULL, SERVER, (struct keys_options){.psk = path});
    close(ends[0]);
}

static void a_file_that_is_refused_is_named_with_its_line(void **state)
{
    char *large = calloc(1, 70000);

    (void)state;
    write_file("bad", ONE "\n" ONE, 0600);
    wants(1, "line 3 of \"bad\": a key that was there before", SERVER,
          (struct keys_options){.psk = "bad"});
    memset(large, '\n', 69999);
    write_file("large", large, 0600);
    wants(1, "large: too large for a key file", SERVER, (struct keys_options){.psk = "large"});
    free(large);
}

static int enter(void **state)
{
    (void)state;
    real_stderr = dup(STDERR_FILENO);
    tool_set_name("test");
    return mkdtemp(folder) != NULL ? chdir(folder) : -1;
}

static int leave(void **state)
{
    static const char *const names[] = {"psk", "key",  "peer",  "two",  "none",
                                        "bad", "open", "large", "link", "said"};
    (void)state;
    for (size_t i = 0; i < COUNT(names); i++)
        (void)unlink(names[i]);
    return chdir("/") | rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(options_that_go_together_make_keys),
        cmocka_unit_test(a_client_has_exactly_one_peer),
        cmocka_unit_test(secret_files_are_closed_to_others),
        cmocka_unit_test(a_pipe_is_as_good_as_a_file),
        cmocka_unit_test(a_file_that_is_refused_is_named_with_its_line),
    };
    return cmocka_run_group_tests(tests, enter, leave);
}
