/* datagram: one frame, one datagram, over UDP and UNIX sockets. */
#include "config.h"
#include "util.h"
#include "wrap.h"

#include "lintel/lintel.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define WAIT_MS 60000

static int setup(void **state)
{
    (void)state;
    wrap_reset();
    return 0;
}

/* ---- a pair -----------------------------------------------------------------------------------*/

struct pair {
    char folder[64];
    char path[96];
    char endpoint[LINTEL_ENDPOINT_TEXT_SIZE]; /* of the bound one */
    struct lintel_datagram *bound, *client;
};

static const char *const kinds[] = {"udp4", "udp6", "unixgram"};

static int bind_kind(struct pair *pair, const char *kind,
                     const struct lintel_datagram_options *options)
{
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_error error;
    int rc;

    snprintf(pair->folder, sizeof pair->folder, "/tmp/lintel-datagram-XXXXXX");
    assert_non_null(mkdtemp(pair->folder));
    snprintf(pair->path, sizeof pair->path, "%s/socket", pair->folder);
    if (strcmp(kind, "unixgram") == 0)
        snprintf(text, sizeof text, "unixgram://%s", pair->path);
    else
        snprintf(text, sizeof text, "udp://%s:0",
                 strcmp(kind, "udp6") == 0 ? "[::1]" : "127.0.0.1");
    rc = lintel_datagram_bind(&pair->bound, text, options, &error);
    if (rc != LINTEL_OK && strcmp(kind, "udp6") == 0) {
        rmdir(pair->folder);
        return 0;
    }
    if (rc != LINTEL_OK)
        fail_msg("%s: %s", text, error.text);
    assert_true(lintel_datagram_text(pair->bound, 0, pair->endpoint, sizeof pair->endpoint) > 0);
    return 1;
}

static int open_pair(struct pair *pair, const char *kind,
                     const struct lintel_datagram_options *options)
{
    struct lintel_error error;

    if (!bind_kind(pair, kind, options))
        return 0;
    if (lintel_datagram_open(&pair->client, pair->endpoint, options, &error) != LINTEL_OK)
        fail_msg("%s: %s", pair->endpoint, error.text);
    return 1;
}

static void close_pair(struct pair *pair)
{
    lintel_datagram_close(pair->client);
    lintel_datagram_close(pair->bound);
    /* Nothing may be left in it. */
    assert_int_equal(rmdir(pair->folder), 0);
}

static void expect_frame(struct lintel_datagram *d, struct lintel_datagram_peer *peer, uint32_t id,
                         const char *payload)
{
    struct lintel_header header;
    struct lintel_frame frame;

    assert_int_equal(lintel_datagram_recv(d, &frame, peer, WAIT_MS), 1);
    assert_int_equal(lintel_header_read(lintel_datagram_layout(d), &header, &frame), LINTEL_OK);
    assert_int_equal(header.id, id);
    assert_int_equal(frame.length, strlen(payload));
    assert_memory_equal(frame.payload, payload, frame.length);
    assert_int_equal(frame.offset, 0);
}

static void expect_nothing(struct lintel_datagram *d)
{
    struct lintel_frame frame;

    assert_int_equal(lintel_datagram_recv(d, &frame, NULL, 0), 0);
}

/* Bytes that no lintel_datagram_send() would send. */
static void send_raw(struct pair *pair, const void *bytes, size_t size)
{
    assert_int_equal(send(lintel_datagram_fd(pair->client, 0), bytes, size, 0), (int)size);
}

/* ---- there and back -------------------------------------------------------------------------- */

static void datagram_frames_go_there_and_back(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        const struct lintel_header request = {.type = 7, .id = 9};
        const struct lintel_header reply = {.flags = LINTEL_REPLY, .type = 7, .id = 9};
        struct lintel_datagram_counts counters;
        char client[LINTEL_ENDPOINT_TEXT_SIZE], peer_text[LINTEL_ENDPOINT_TEXT_SIZE];
        struct lintel_datagram_peer peer;
        struct pair pair;
        if (!open_pair(&pair, kinds[i], NULL))
            continue;
        expect_nothing(pair.bound);
        assert_int_equal(lintel_datagram_send(pair.client, NULL, &request, "hello", 5, -1), 0);
        expect_frame(pair.bound, &peer, 9, "hello");
        lintel_datagram_text(pair.client, 0, client, sizeof client);
        assert_true(lintel_datagram_peer_text(&peer, peer_text, sizeof peer_text) > 0);
        assert_string_equal(peer_text, client);
        assert_int_equal(lintel_datagram_send(pair.bound, &peer, &reply, "", 0, 0), 0);
        assert_int_equal(lintel_datagram_send(pair.bound, &peer, &reply, "HELLO", 5, WAIT_MS), 0);
        expect_frame(pair.client, NULL, 9, "");
        expect_frame(pair.client, &peer, 9, "HELLO");
        lintel_datagram_peer_text(&peer, peer_text, sizeof peer_text);
        assert_string_equal(peer_text, pair.endpoint);
        expect_nothing(pair.client);
        lintel_datagram_counters(pair.bound, &counters);
        assert_int_equal(counters.frames_in, 1);
        assert_int_equal(counters.bytes_in, 21);
        assert_int_equal(counters.frames_out, 2);
        assert_int_equal(counters.bytes_out, 37);
        close_pair(&pair);
    }
}

static void datagram_replies_go_to_each_sender(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct lintel_datagram *other;
        struct lintel_datagram_peer first, second;
        struct lintel_header header = {.id = 1};
        struct pair pair;
        if (!open_pair(&pair, kinds[i], NULL))
            continue;
        assert_int_equal(lintel_datagram_open(&other, pair.endpoint, NULL, NULL), LINTEL_OK);
        assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "a", 1, -1), 0);
        expect_frame(pair.bound, &first, 1, "a");
        header.id = 2;
        assert_int_equal(lintel_datagram_send(other, NULL, &header, "b", 1, -1), 0);
        expect_frame(pair.bound, &second, 2, "b");
        assert_int_equal(lintel_datagram_send(pair.bound, &second, &header, "to b", 4, -1), 0);
        header.id = 1;
        assert_int_equal(lintel_datagram_send(pair.bound, &first, &header, "to a", 4, -1), 0);
        expect_frame(pair.client, NULL, 1, "to a");
        expect_frame(other, NULL, 2, "to b");
        expect_nothing(pair.client);
        expect_nothing(other);
        lintel_datagram_close(other);
        close_pair(&pair);
    }
}

static void datagram_carries_any_layout(void **state)
{
    static const char *const layouts[] = {"amqp", "!I:length *", "mqtt", "postgres", "v:length *"};

    (void)state;
    for (size_t i = 0; i < COUNT(layouts); i++) {
        struct lintel_datagram_options options = LINTEL_DATAGRAM_OPTIONS_INIT;
        struct lintel_layout *layout = make_layout(layouts[i]);
        struct lintel_header header = {0, 0, 0, NULL};
        struct lintel_frame frame;
        struct pair pair;
        options.layout = layout;
        assert_true(open_pair(&pair, "unixgram", &options));
        assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "one", 3, -1), 0);
        assert_int_equal(lintel_datagram_recv(pair.bound, &frame, NULL, WAIT_MS), 1);
        assert_int_equal(frame.length, 3);
        assert_memory_equal(frame.payload, "one", 3);
        close_pair(&pair);
        lintel_layout_free(layout);
    }
}

/* ---- what is dropped ------------------------------------------------------------------------- */

static void datagram_recv_drops_and_counts(void **state)
{
    static const struct {
        const char *name, *hex;
        size_t counter; /* its place in struct lintel_datagram_counts */
    } cases[] = {
#define AT(field) offsetof(struct lintel_datagram_counts, field)
        {"nothing at all", "", AT(truncated)},
        {"a byte", "4c", AT(truncated)},
        {"a header without its end", "4c540100 00000000 00000001 000000", AT(truncated)},
        {"a payload without its end", "4c540100 00000000 00000001 00000002 41", AT(truncated)},
        {"a byte behind", "4c540100 00000000 00000001 00000001 4142", AT(surplus)},
        {"two frames", "4c540100 00000000 00000001 00000000 4c540100 00000000 00000001 00000000",
         AT(surplus)},
        {"over the limit", "4c540100 00000000 00000001 00000065", AT(too_large)},
        {"another magic", "4d540100 00000000 00000001 00000000", AT(malformed)},
        {"another version", "4c540200 00000000 00000001 00000000", AT(malformed)},
        {"a reserved flag", "4c540110 00000000 00000001 00000000", AT(malformed)},
        {"an unknown control type", "4c540108 00000007 00000000 00000000", AT(malformed)},
        {"a fragment", "4c540104 00000000 00000001 00000000", AT(more)},
        {"a PING", "4c540108 00000002 00000000 00000000", AT(control)},
        {"a BYE", "4c540108 00000004 00000000 00000008 00000000 00000000", AT(control)},
    };

    (void)state;
    for (size_t k = 0; k < COUNT(kinds); k++) {
        struct lintel_datagram_options options = LINTEL_DATAGRAM_OPTIONS_INIT;
        struct lintel_header header = {.id = 1};
        struct pair pair;
        options.max_frame = 100;
        if (!open_pair(&pair, kinds[k], &options))
            continue;
        for (size_t i = 0; i < COUNT(cases); i++) {
            struct lintel_datagram_counts before, after;
            struct bytes bytes = from_hex(cases[i].hex);
            uint64_t was, is, total = 0;
            print_message("%s: %s\n", kinds[k], cases[i].name);
            lintel_datagram_counters(pair.bound, &before);
            send_raw(&pair, bytes.data, bytes.size);
            free(bytes.data);
            /* What follows it comes, so it has been looked at. */
            assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "x", 1, -1), 0);
            expect_frame(pair.bound, NULL, 1, "x");
            lintel_datagram_counters(pair.bound, &after);
            memcpy(&was, (const char *)&before + cases[i].counter, sizeof was);
            memcpy(&is, (const char *)&after + cases[i].counter, sizeof is);
            assert_int_equal(is, was + 1);
            total = after.truncated + after.surplus + after.too_large + after.malformed +
                    after.more + after.control;
            assert_int_equal(total, i + 1);
        }
        /* None of them was answered. */
        expect_nothing(pair.client);
        close_pair(&pair);
    }
}

static void datagram_recv_drops_what_the_system_cuts(void **state)
{
    struct lintel_datagram_options options = LINTEL_DATAGRAM_OPTIONS_INIT;
    struct lintel_datagram_counts counters;
    uint8_t *bytes = calloc(1, 70000);
    struct pair pair;

    (void)state;
    options.max_frame = 100;
    assert_non_null(bytes);
    assert_true(open_pair(&pair, "unixgram", &options));
    send_raw(&pair, bytes, 70000);
    expect_nothing(pair.bound);
    lintel_datagram_counters(pair.bound, &counters);
    assert_int_equal(counters.truncated, 1);
    free(bytes);
    close_pair(&pair);
}

/* A flood of what is dropped does not keep a caller who does not want to wait. */
static void datagram_recv_ends_under_a_flood(void **state)
{
    struct lintel_datagram_counts counters;
    struct lintel_frame frame;
    struct pair pair;

    (void)state;
    assert_true(open_pair(&pair, "udp4", NULL));
    for (int i = 0; i < 100; i++)
        send_raw(&pair, "?", 1);
    assert_int_equal(lintel_datagram_recv(pair.bound, &frame, NULL, 0), 0);
    lintel_datagram_counters(pair.bound, &counters);
    assert_true(counters.truncated > 0 && counters.truncated < 100);
    assert_int_equal(lintel_datagram_recv(pair.bound, &frame, NULL, 20), LINTEL_E_TIMEOUT);
    lintel_datagram_counters(pair.bound, &counters);
    assert_int_equal(counters.truncated, 100);
    close_pair(&pair);
}

/* ---- limits ---------------------------------------------------------------------------------- */

static void expect_error(const struct lintel_datagram *d, int status, const char *words)
{
    struct lintel_error error;

    lintel_datagram_error(d, &error);
    assert_int_equal(error.status, status);
    if (strstr(error.text, words) == NULL)
        fail_msg("\"%s\" has no \"%s\"", error.text, words);
}

static void datagram_send_refuses_what_does_not_fit(void **state)
{
    static const struct {
        const char *kind;
        size_t most;
        const char *words;
    } cases[] = {
        {"udp4", 65507 - 16, "a datagram of 65508 bytes exceeds the limit of 65507"},
        {"udp6", 65527 - 16, "a datagram of 65528 bytes exceeds the limit of 65527"},
        {"unixgram", 0, "exceeds the limit of"},
    };
    static uint8_t payload[8 << 20];

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_header header = {.id = 1};
        struct lintel_frame frame;
        size_t most = cases[i].most;
        struct pair pair;
        if (!open_pair(&pair, cases[i].kind, NULL))
            continue;
        if (most == 0) {
            int buffer = 0;
            socklen_t size = sizeof buffer;
            assert_int_equal(getsockopt(lintel_datagram_fd(pair.client, 0), SOL_SOCKET, SO_SNDBUF,
                                        &buffer, &size),
                             0);
            most = (size_t)buffer - 32 - 16;
        }
        print_message("%s: %zu\n", cases[i].kind, most);
        assert_true(most < sizeof payload);
        assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, payload, most + 1, -1),
                         LINTEL_E_TOO_LARGE);
        expect_error(pair.client, LINTEL_E_TOO_LARGE, cases[i].words);
        assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, payload, most, -1), 0);
        assert_int_equal(lintel_datagram_recv(pair.bound, &frame, NULL, WAIT_MS), 1);
        assert_int_equal(frame.length, most);
        close_pair(&pair);
    }
}

static void datagram_send_refuses_what_is_over_max_frame(void **state)
{
    struct lintel_datagram_options options = LINTEL_DATAGRAM_OPTIONS_INIT;
    struct lintel_header header = {.id = 1};
    struct pair pair;

    (void)state;
    options.max_frame = 4;
    assert_true(open_pair(&pair, "udp4", &options));
    assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "12345", 5, -1),
                     LINTEL_E_TOO_LARGE);
    expect_error(pair.client, LINTEL_E_TOO_LARGE, "a payload of 5 bytes exceeds the limit of 4");
    assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "1234", 4, -1), 0);
    expect_frame(pair.bound, NULL, 1, "1234");
    close_pair(&pair);
}

static void datagram_send_refuses_what_is_not_whole(void **state)
{
    static const struct lintel_header headers[] = {
        {LINTEL_MORE, 0, 1, NULL},
        {LINTEL_CONTROL, LINTEL_PING, 0, NULL},
    };
    struct lintel_datagram_peer nobody = {0, 0, {0}};
    struct lintel_header header = {.id = 1};
    struct pair pair;

    (void)state;
    assert_true(open_pair(&pair, "unixgram", NULL));
    for (size_t i = 0; i < COUNT(headers); i++)
        assert_int_equal(lintel_datagram_send(pair.client, NULL, &headers[i], "", 0, -1),
                         LINTEL_E_UNSUPPORTED);
    assert_int_equal(lintel_datagram_send(pair.bound, NULL, &header, "", 0, -1), LINTEL_E_USAGE);
    assert_int_equal(lintel_datagram_send(pair.bound, &nobody, &header, "", 0, -1),
                     LINTEL_E_UNSUPPORTED);
    nobody.size = 1000;
    assert_int_equal(lintel_datagram_send(pair.bound, &nobody, &header, "", 0, -1), LINTEL_E_USAGE);
    expect_nothing(pair.bound);
    close_pair(&pair);
}

/* ---- time ------------------------------------------------------------------------------------ */

static void datagram_recv_waits_until_the_deadline(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct lintel_header header = {.id = 1};
        struct lintel_frame frame;
        struct pair pair;
        if (!open_pair(&pair, kinds[i], NULL))
            continue;
        assert_int_equal(lintel_datagram_recv(pair.bound, &frame, NULL, 1), LINTEL_E_TIMEOUT);
        assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "later", 5, -1), 0);
        assert_int_equal(lintel_datagram_recv(pair.bound, &frame, NULL, -1), 1);
        close_pair(&pair);
    }
}

/* A UNIX socket that nobody reads is full after some datagrams. */
static void datagram_send_has_a_deadline(void **state)
{
    struct lintel_header header = {.id = 1};
    struct lintel_datagram_peer peer;
    struct pair pair;
    int rc;

    (void)state;
    assert_true(open_pair(&pair, "unixgram", NULL));
    assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "", 0, -1), 0);
    expect_frame(pair.bound, &peer, 1, "");
    while ((rc = lintel_datagram_send(pair.client, NULL, &header, "", 0, 0)) == LINTEL_OK)
        continue;
    assert_int_equal(rc, LINTEL_E_TIMEOUT);
    assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "", 0, 5), LINTEL_E_TIMEOUT);
    expect_frame(pair.bound, NULL, 1, "");
    assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "", 0, 5), LINTEL_OK);
    while ((rc = lintel_datagram_send(pair.bound, &peer, &header, "", 0, 0)) == LINTEL_OK)
        continue;
    assert_int_equal(rc, LINTEL_E_TIMEOUT);
    assert_int_equal(lintel_datagram_send(pair.bound, &peer, &header, "", 0, 5), LINTEL_E_TIMEOUT);
    expect_frame(pair.client, NULL, 1, "");
    assert_int_equal(lintel_datagram_send(pair.bound, &peer, &header, "", 0, 5), LINTEL_OK);
    close_pair(&pair);
}

/* ---- opening --------------------------------------------------------------------------------- */

static void datagram_open_refuses_other_endpoints(void **state)
{
    static const struct {
        const char *endpoint;
        int opened, bound;
    } cases[] = {
        {"tcp://127.0.0.1:0", LINTEL_E_UNSUPPORTED, LINTEL_E_UNSUPPORTED},
        {"unix:///nosuch/socket", LINTEL_E_UNSUPPORTED, LINTEL_E_UNSUPPORTED},
        {"fd://0", LINTEL_E_UNSUPPORTED, LINTEL_E_UNSUPPORTED},
        {"udp://", LINTEL_E_SYNTAX, LINTEL_E_SYNTAX},
        {"unixgram:///nosuch/socket", LINTEL_E_SYSTEM, LINTEL_E_SYSTEM},
        {"udp://127.0.0.1:nosuch-service", LINTEL_E_RESOLVE, LINTEL_E_RESOLVE},
        {NULL, LINTEL_E_USAGE, LINTEL_E_USAGE},
    };
    struct lintel_datagram_options options = LINTEL_DATAGRAM_OPTIONS_INIT;
    struct lintel_datagram *d;

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        print_message("%s\n", cases[i].endpoint != NULL ? cases[i].endpoint : "NULL");
        assert_int_equal(lintel_datagram_open(&d, cases[i].endpoint, NULL, NULL), cases[i].opened);
        assert_int_equal(lintel_datagram_bind(&d, cases[i].endpoint, NULL, NULL), cases[i].bound);
    }
    assert_int_equal(lintel_datagram_open(&d, "udp://:1", NULL, NULL), LINTEL_E_RESOLVE);
    assert_int_equal(lintel_datagram_open(NULL, "udp://127.0.0.1:1", NULL, NULL), LINTEL_E_USAGE);
    options.size--;
    assert_int_equal(lintel_datagram_bind(&d, "udp://127.0.0.1:0", &options, NULL), LINTEL_E_USAGE);
    options = (struct lintel_datagram_options)LINTEL_DATAGRAM_OPTIONS_INIT;
    options.max_frame = UINT64_MAX;
    assert_int_equal(lintel_datagram_bind(&d, "udp://127.0.0.1:0", &options, NULL), LINTEL_E_RANGE);
}

static void datagram_sockets_close_on_exec_and_block(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        struct pair pair;
        if (!open_pair(&pair, kinds[i], NULL))
            continue;
        struct lintel_datagram *both[2] = {pair.bound, pair.client};
        for (size_t j = 0; j < 2; j++) {
            int fd = lintel_datagram_fd(both[j], 0);
            assert_int_equal(lintel_datagram_count(both[j]), 1);
            assert_int_equal(lintel_datagram_fd(both[j], 1), -1);
            assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
            assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
        }
        close_pair(&pair);
    }
}

static void datagram_bind_replaces_a_stale_file_only(void **state)
{
    struct lintel_datagram *again;
    struct sockaddr_un un;
    struct pair pair;
    struct stat file;
    int fd;

    (void)state;
    assert_true(bind_kind(&pair, "unixgram", NULL));
    /* Somebody has it. */
    assert_int_equal(lintel_datagram_bind(&again, pair.endpoint, NULL, NULL), LINTEL_E_SYSTEM);
    lintel_datagram_close(pair.bound);
    assert_int_equal(stat(pair.path, &file), -1);

    /* Nobody has it any more. */
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    memset(&un, 0, sizeof un);
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, pair.path, strlen(pair.path));
    assert_int_equal(bind(fd, (const struct sockaddr *)&un, sizeof un), 0);
    close(fd);
    assert_int_equal(lintel_datagram_bind(&again, pair.endpoint, NULL, NULL), LINTEL_OK);
    lintel_datagram_close(again);

    /* It is no socket. */
    fd = open(pair.path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(lintel_datagram_bind(&again, pair.endpoint, NULL, NULL), LINTEL_E_SYSTEM);
    assert_int_equal(unlink(pair.path), 0);
    assert_int_equal(rmdir(pair.folder), 0);
}

static void datagram_reports_that_nobody_is_there(void **state)
{
    struct lintel_header header = {.id = 1};
    struct lintel_frame frame;
    struct lintel_error error;
    struct pair pair;

    (void)state;
    for (size_t i = 0; i < COUNT(kinds); i++) {
        if (!open_pair(&pair, kinds[i], NULL))
            continue;
        lintel_datagram_close(pair.bound);
        pair.bound = NULL;
        if (strcmp(kinds[i], "unixgram") == 0) {
            assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "", 0, 0),
                             LINTEL_E_SYSTEM);
        } else {
            assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, "", 0, 0), LINTEL_OK);
            assert_int_equal(lintel_datagram_recv(pair.client, &frame, NULL, WAIT_MS),
                             LINTEL_E_SYSTEM);
        }
        lintel_datagram_error(pair.client, &error);
        assert_int_equal(error.system, ECONNREFUSED);
        close_pair(&pair);
    }
}

/* A sender without a name of its own is heard, and cannot be answered. */
static void datagram_hears_a_sender_without_a_name(void **state)
{
    struct lintel_header header = {.id = 1};
    struct lintel_datagram_peer peer;
    struct sockaddr_un un;
    uint8_t bytes[16];
    struct pair pair;
    int fd;

    (void)state;
    assert_true(open_pair(&pair, "unixgram", NULL));
    fd = socket(AF_UNIX, SOCK_DGRAM, 0);
    memset(&un, 0, sizeof un);
    un.sun_family = AF_UNIX;
    memcpy(un.sun_path, pair.path, strlen(pair.path));
    lintel_header_put(bytes, 0, 0, 1, 0);
    assert_int_equal(sendto(fd, bytes, 16, 0, (const struct sockaddr *)&un, sizeof un), 16);
    expect_frame(pair.bound, &peer, 1, "");
    assert_int_equal(peer.size, 0);
    assert_int_equal(lintel_datagram_peer_text(&peer, NULL, 0), 0);
    assert_int_equal(lintel_datagram_send(pair.bound, &peer, &header, "", 0, -1),
                     LINTEL_E_UNSUPPORTED);
    close(fd);
    close_pair(&pair);
}

static void datagram_survives_failing_allocations(void **state)
{
    (void)state;
    for (long n = 1;; n++) {
        struct lintel_datagram_options options = LINTEL_DATAGRAM_OPTIONS_INIT;
        struct lintel_header header = {.id = 1};
        struct lintel_datagram *d = NULL;
        struct lintel_frame frame;
        struct failing failing;
        struct pair pair;
        int rc;
        failing_init(&failing);
        failing.fail_at = n;
        options.allocator = &failing.allocator;
        assert_true(open_pair(&pair, "unixgram", NULL));
        lintel_datagram_close(pair.bound);
        pair.bound = NULL;
        rc = lintel_datagram_bind(&d, pair.endpoint, &options, NULL);
        lintel_datagram_close(pair.client);
        assert_int_equal(lintel_datagram_open(&pair.client, pair.endpoint, NULL, NULL),
                         rc == LINTEL_OK ? LINTEL_OK : LINTEL_E_SYSTEM);
        if (rc == LINTEL_OK) {
            static const uint8_t large[100000];
            pair.bound = d;
            send_raw(&pair, "LT", 2);
            rc = lintel_datagram_recv(d, &frame, NULL, 0);
            assert_true(rc == 0 || rc == LINTEL_E_NOMEM);
            assert_int_equal(
                lintel_datagram_send(pair.client, NULL, &header, large, sizeof large, -1), 0);
            rc = lintel_datagram_recv(d, &frame, NULL, 0);
            if (rc == LINTEL_E_NOMEM)
                rc = lintel_datagram_recv(d, &frame, NULL, 0);
            assert_int_equal(rc, 1);
            assert_int_equal(frame.length, sizeof large);
        } else {
            assert_int_equal(rc, LINTEL_E_NOMEM);
            pair.client = NULL;
        }
        close_pair(&pair);
        assert_int_equal(failing.live, 0);
        if (failing.calls < n)
            return;
    }
}

/* ---- names with several addresses ------------------------------------------------------------ */

static const char *const two_families[] = {"127.0.0.1", "::1"};
static const char *const two_of_a_family[] = {"127.0.0.1", "127.0.0.2", "127.0.0.1"};

/* "udp://ADDRESS:PORT" of each socket; returns the port, which is that of all. */
static unsigned port_of_all(const struct lintel_datagram *d)
{
    unsigned port = 0;

    for (size_t i = 0; i < lintel_datagram_count(d); i++) {
        char text[LINTEL_ENDPOINT_TEXT_SIZE];
        unsigned one;
        assert_true(lintel_datagram_text(d, i, text, sizeof text) > 0);
        assert_int_equal(sscanf(strrchr(text, ':'), ":%u", &one), 1);
        assert_true(one > 0 && (i == 0 || one == port));
        port = one;
    }
    return port;
}

/* A client of each address says its number, and hears the reply from where it went. */
static void talk_to_each(struct lintel_datagram *bound)
{
    size_t count = lintel_datagram_count(bound);
    struct lintel_datagram *clients[8];

    assert_true(count <= COUNT(clients));
    for (size_t i = 0; i < count; i++) {
        const struct lintel_header header = {.id = (uint32_t)i + 1};
        char text[LINTEL_ENDPOINT_TEXT_SIZE];
        lintel_datagram_text(bound, i, text, sizeof text);
        assert_int_equal(lintel_datagram_open(&clients[i], text, NULL, NULL), LINTEL_OK);
        assert_int_equal(lintel_datagram_send(clients[i], NULL, &header, "hello", 5, -1), 0);
    }
    for (size_t i = 0; i < count; i++) {
        struct lintel_datagram_peer peer;
        struct lintel_header header;
        struct lintel_frame frame;
        assert_int_equal(lintel_datagram_recv(bound, &frame, &peer, WAIT_MS), 1);
        assert_int_equal(lintel_header_read(NULL, &header, &frame), LINTEL_OK);
        assert_int_equal(header.id, peer.socket + 1);
        assert_int_equal(lintel_datagram_send(bound, &peer, &header, "there", 5, -1), 0);
        expect_frame(clients[peer.socket], NULL, header.id, "there");
    }
    expect_nothing(bound);
    for (size_t i = 0; i < count; i++)
        lintel_datagram_close(clients[i]);
}

static struct lintel_datagram *bind_name(const char *const *addresses, size_t count)
{
    struct lintel_datagram *bound;
    struct lintel_error error;

    wrap_addresses(addresses, count);
    if (lintel_datagram_bind(&bound, "udp://several.example:0", NULL, &error) != LINTEL_OK)
        fail_msg("%s", error.text);
    wrap_addresses(NULL, 0);
    return bound;
}

static void datagram_bind_has_a_socket_for_each_address(void **state)
{
    int before = open_descriptors();
    struct lintel_datagram *bound;

    (void)state;
    bound = bind_name(two_of_a_family, COUNT(two_of_a_family));
    assert_int_equal(lintel_datagram_count(bound), 2);
    port_of_all(bound);
    talk_to_each(bound);
    lintel_datagram_close(bound);

    /* ::1 is passed over where this machine has none. */
    bound = bind_name(two_families, COUNT(two_families));
    assert_in_range(lintel_datagram_count(bound), 1, 2);
    port_of_all(bound);
    talk_to_each(bound);
    lintel_datagram_close(bound);

    /* Whatever it has here. */
    assert_int_equal(lintel_datagram_bind(&bound, "udp://localhost:0", NULL, NULL), LINTEL_OK);
    port_of_all(bound);
    talk_to_each(bound);
    lintel_datagram_close(bound);
    assert_int_equal(open_descriptors(), before);
}

static void datagram_bind_passes_over_absent_addresses_only(void **state)
{
    static const struct {
        unsigned skip, times;
        int number;
        size_t count; /* 0: bind fails */
    } cases[] = {
        {0, 1, EADDRNOTAVAIL, 1}, {1, 1, EADDRNOTAVAIL, 1}, {0, 2, EADDRNOTAVAIL, 0},
        {0, 1, EACCES, 0},        {1, 1, EACCES, 0},        {1, 1, ENOBUFS, 0},
        {1, 1, EADDRINUSE, 2}, /* on the port that was chosen: another is tried */
        {1, 1000, EADDRINUSE, 0},
    };
    int before = open_descriptors();

    (void)state;
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct lintel_datagram *bound;
        struct lintel_error error;
        int rc;
        wrap_reset();
        wrap_addresses(two_of_a_family, COUNT(two_of_a_family));
        wrap_fail(WRAP_BIND, cases[i].skip, cases[i].times, cases[i].number);
        rc = lintel_datagram_bind(&bound, "udp://several.example:0", NULL, &error);
        wrap_reset();
        if (cases[i].count == 0) {
            assert_int_equal(rc, LINTEL_E_SYSTEM);
            assert_int_equal(error.system, cases[i].number);
            assert_non_null(strstr(error.text, "bind to 127.0.0."));
        } else {
            assert_int_equal(rc, LINTEL_OK);
            assert_int_equal(lintel_datagram_count(bound), cases[i].count);
            talk_to_each(bound);
            lintel_datagram_close(bound);
        }
        assert_int_equal(open_descriptors(), before);
    }
}

static void datagram_open_takes_the_first_address_with_a_way(void **state)
{
    int before = open_descriptors();
    struct lintel_datagram *client, *bound;
    char endpoint[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_error error;
    unsigned port;

    (void)state;
    bound = bind_name(two_of_a_family, COUNT(two_of_a_family));
    port = port_of_all(bound);
    snprintf(endpoint, sizeof endpoint, "udp://several.example:%u", port);
    for (unsigned failures = 0; failures <= COUNT(two_of_a_family); failures++) {
        const struct lintel_header header = {.id = 1};
        struct lintel_datagram_peer peer;
        int rc;
        wrap_reset();
        wrap_addresses(two_of_a_family, COUNT(two_of_a_family));
        wrap_fail(WRAP_CONNECT, 0, failures, ENETUNREACH);
        rc = lintel_datagram_open(&client, endpoint, NULL, &error);
        if (failures == COUNT(two_of_a_family)) {
            assert_int_equal(rc, LINTEL_E_SYSTEM);
            assert_int_equal(error.system, ENETUNREACH);
            break;
        }
        assert_int_equal(rc, LINTEL_OK);
        assert_int_equal(lintel_datagram_send(client, NULL, &header, "", 0, -1), LINTEL_OK);
        expect_frame(bound, &peer, 1, "");
        assert_int_equal(peer.socket, failures % 2);
        lintel_datagram_close(client);
    }
    lintel_datagram_close(bound);
    assert_int_equal(open_descriptors(), before);
}

/* ---- every system call fails ----------------------------------------------------------------- */

/* A failure must be one of those that the header names, and its text says what it is. */
static int allowed(int rc, const struct lintel_error *error, const int *statuses, size_t count)
{
    if (rc >= 0)
        return 1;
    for (size_t i = 0; i < count; i++)
        if (rc == statuses[i]) {
            assert_int_equal(error->status, rc);
            assert_true(error->text[0] != '\0');
            assert_int_equal(error->system != 0, rc == LINTEL_E_SYSTEM);
            return 0;
        }
    fail_msg("%s: %s", lintel_status_name(rc), error->text);
    return 0;
}

static int may_open(int rc, const struct lintel_error *error)
{
    static const int statuses[] = {LINTEL_E_SYSTEM, LINTEL_E_RESOLVE, LINTEL_E_NOMEM};

    return allowed(rc, error, statuses, COUNT(statuses));
}

static int may_send(struct lintel_datagram *d, int rc)
{
    static const int statuses[] = {LINTEL_E_SYSTEM, LINTEL_E_TIMEOUT, LINTEL_E_TOO_LARGE};
    struct lintel_error error;

    lintel_datagram_error(d, &error);
    return allowed(rc, &error, statuses, COUNT(statuses));
}

static int may_recv(struct lintel_datagram *d, int rc)
{
    static const int statuses[] = {LINTEL_E_SYSTEM, LINTEL_E_TIMEOUT, LINTEL_E_NOMEM};
    struct lintel_error error;

    lintel_datagram_error(d, &error);
    return allowed(rc, &error, statuses, COUNT(statuses));
}

/* A request and its reply, as far as they come; what is lost is not waited for in real time. */
static int exchange(struct lintel_datagram *bound, struct lintel_datagram *client, size_t size)
{
    static const uint8_t bytes[300000];
    const struct lintel_header header = {.id = 1};
    struct lintel_datagram_peer peer;
    struct lintel_frame frame;
    int ok, rc;

    ok = may_send(client, lintel_datagram_send(client, NULL, &header, bytes, size, -1));
    rc = lintel_datagram_recv(bound, &frame, &peer, 1000);
    ok &= may_recv(bound, rc);
    if (rc != 1)
        return 0;
    assert_true(frame.length == size || frame.length == 5); /* one that was left before */
    ok &= may_send(bound, lintel_datagram_send(bound, &peer, &header, bytes, size, -1));
    rc = lintel_datagram_recv(client, &frame, NULL, 1000);
    return may_recv(client, rc) && ok && rc == 1;
}

/* Fill a UNIX socket until there is no room, also not within a deadline. */
static int fill(struct lintel_datagram *client)
{
    const struct lintel_header header = {.id = 1};
    int rc = LINTEL_OK, ok = 1;

    for (int i = 0; i < 1000 && rc == LINTEL_OK; i++)
        rc = lintel_datagram_send(client, NULL, &header, "", 0, 0);
    ok &= may_send(client, rc) || rc == LINTEL_E_TIMEOUT;
    rc = lintel_datagram_send(client, NULL, &header, "", 0, 1);
    return ok & (may_send(client, rc) || rc == LINTEL_E_TIMEOUT);
}

/* Everything that this room does, once. Returns 1 if nothing failed. */
static int whole_life(int is_unix, const char *path)
{
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_datagram *bound = NULL, *client = NULL;
    struct lintel_error error;
    int ok = 1;

    snprintf(text, sizeof text, is_unix ? "unixgram://%s" : "udp://several.example:0", path);
    ok &= may_open(lintel_datagram_bind(&bound, text, NULL, &error), &error);
    if (ok) {
        ok &= lintel_datagram_text(bound, 0, text, sizeof text) > 0;
        ok = ok && may_open(lintel_datagram_open(&client, text, NULL, &error), &error);
    }
    if (ok) {
        ok &= exchange(bound, client, 5);
        ok &= exchange(bound, client, is_unix ? 100000 : 60000);
        ok &= !is_unix || fill(client);
    }
    lintel_datagram_close(client);
    lintel_datagram_close(bound);
    return ok;
}

static void datagram_survives_every_failing_call(void **state)
{
    static const enum wrap_call calls[] = {WRAP_SENDMSG,     WRAP_RECV,        WRAP_RECVMSG,
                                           WRAP_POLL,        WRAP_SOCKET,      WRAP_CONNECT,
                                           WRAP_BIND,        WRAP_GETSOCKNAME, WRAP_SETSOCKOPT,
                                           WRAP_GETADDRINFO, WRAP_RESIZE};
    static const int numbers[] = {EIO, ENOMEM, ECONNREFUSED, EADDRINUSE, EMFILE};
    int before = open_descriptors();
    char folder[] = "/tmp/lintel-datagram-XXXXXX", path[64];
    unsigned failures = 0;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/socket", folder);
    for (size_t i = 0; i < COUNT(calls) * COUNT(numbers) * 4; i++) {
        enum wrap_call call = calls[i / 4 / COUNT(numbers)];
        int number = numbers[i / 4 % COUNT(numbers)], is_unix = i & 1;
        unsigned times = i & 2 ? 100000 : 1;
        for (unsigned skip = 0; skip < 20; skip++) {
            wrap_reset();
            wrap_clock(1000);
            wrap_addresses(two_of_a_family, COUNT(two_of_a_family));
            wrap_fail(call, skip, times, number);
            failures += !whole_life(is_unix, path);
            if (wrap_count(call) <= skip)
                break;
        }
        wrap_reset();
        assert_int_equal(open_descriptors(), before);
        assert_int_equal(access(path, F_OK), -1);
    }
    assert_true(failures > 500);
    assert_int_equal(rmdir(folder), 0);
}

static void datagram_misuse_is_an_error(void **state)
{
    struct lintel_header header = {.id = 1};
    struct lintel_error error;
    struct lintel_frame frame;
    struct pair pair;

    (void)state;
    lintel_datagram_close(NULL);
    assert_int_equal(lintel_datagram_send(NULL, NULL, &header, "", 0, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_datagram_recv(NULL, &frame, NULL, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_datagram_count(NULL), 0);
    assert_int_equal(lintel_datagram_fd(NULL, 0), -1);
    assert_null(lintel_datagram_layout(NULL));
    lintel_datagram_error(NULL, &error);
    assert_int_equal(error.status, LINTEL_OK);
    assert_true(open_pair(&pair, "udp4", NULL));
    assert_int_equal(lintel_datagram_send(pair.client, NULL, NULL, "", 0, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_datagram_send(pair.client, NULL, &header, NULL, 1, 0), LINTEL_E_USAGE);
    assert_int_equal(lintel_datagram_recv(pair.client, NULL, NULL, 0), LINTEL_E_USAGE);
    close_pair(&pair);
}

#define TEST(name) cmocka_unit_test_setup(name, setup)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(datagram_frames_go_there_and_back),
        TEST(datagram_replies_go_to_each_sender),
        TEST(datagram_carries_any_layout),
        TEST(datagram_recv_drops_and_counts),
        TEST(datagram_recv_drops_what_the_system_cuts),
        TEST(datagram_recv_ends_under_a_flood),
        TEST(datagram_send_refuses_what_does_not_fit),
        TEST(datagram_send_refuses_what_is_over_max_frame),
        TEST(datagram_send_refuses_what_is_not_whole),
        TEST(datagram_recv_waits_until_the_deadline),
        TEST(datagram_send_has_a_deadline),
        TEST(datagram_open_refuses_other_endpoints),
        TEST(datagram_sockets_close_on_exec_and_block),
        TEST(datagram_bind_replaces_a_stale_file_only),
        TEST(datagram_reports_that_nobody_is_there),
        TEST(datagram_hears_a_sender_without_a_name),
        TEST(datagram_survives_failing_allocations),
        TEST(datagram_bind_has_a_socket_for_each_address),
        TEST(datagram_bind_passes_over_absent_addresses_only),
        TEST(datagram_open_takes_the_first_address_with_a_way),
        TEST(datagram_survives_every_failing_call),
        TEST(datagram_misuse_is_an_error),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
