#include "config.h"

#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "keys.h"
#include "lines.h"
#include "message.h"
#include "session.h"

struct connect {
    struct keys_options keys_options;
    struct lintel_seal_keys *keys; /* NULL: plain */
    struct tool_framing framing;
    struct lines lines;
    struct lintel_client *client;
    uint64_t max_message;
    int timeout_ms;
    int status;                    /* why the connection is lost; LINTEL_OK while it is not */
    char reason[LINTEL_TEXT_SIZE]; /* that in words */
};

/* ---- the connection -------------------------------------------------------------------------- */

/* Note that the connection is lost, and why. */
static void note_lost(struct connect *connect, int status)
{
    struct lintel_error error;
    int got_bye = lintel_stream_peer_bye(lintel_client_stream(connect->client), NULL, NULL);
    lintel_client_error(connect->client, &error);
    connect->status = status;
    snprintf(connect->reason, sizeof connect->reason, "%s",
             session_end_text(status, got_bye, &error));
}

/* Answer what the peer asks, and see whether it is still there. */
static int is_lost(struct connect *connect)
{
    struct lintel_finished done;
    int rc;
    do
        rc = lintel_client_next(connect->client, &done, 0);
    while (rc == 1);
    if (rc < 0 && rc != LINTEL_E_NOMEM)
        note_lost(connect, rc);
    return connect->status != LINTEL_OK;
}

/* Wait for standard input; 0 when the connection is lost before. */
static int wait_for_input(void *user)
{
    struct connect *connect = user;
    const struct lintel_stream *stream = lintel_client_stream(connect->client);
    for (;;) {
        int wants = lintel_client_wants(connect->client);
        struct pollfd fds[3] = {{STDIN_FILENO, POLLIN, 0}};
        nfds_t count = 1;
        if (wants & LINTEL_WANT_READ)
            fds[count++] = (struct pollfd){lintel_stream_in_fd(stream), POLLIN, 0};
        if (wants & LINTEL_WANT_WRITE)
            fds[count++] = (struct pollfd){lintel_stream_out_fd(stream), POLLOUT, 0};
        int ready = poll(fds, count, lintel_client_wait_ms(connect->client));
        if (ready > 0 && fds[0].revents)
            return 1;
        if (is_lost(connect))
            return 0;
    }
}

/* ---- a request ------------------------------------------------------------------------------- */

static int print_reply(const struct lintel_finished *done)
{
    return tool_write(done->message.frame.payload, done->message.frame.length) ||
                   tool_write("\n", 1) || tool_flush()
               ? TOOL_FAILED
               : TOOL_OK;
}

static void show_error(const struct lintel_finished *done)
{
    char shown[4096];
    tool_escape(shown, sizeof shown, done->message.frame.payload, done->message.frame.length, 1);
    (void)tool_fail("the peer answered with an error: \"%s\"", shown);
}

/* There is no reply. Where the connection stands the session goes on. */
static int take_failure(struct connect *connect, const struct lintel_finished *done)
{
    static const char *const outcomes[] = {
        [LINTEL_CALL_ANSWERED] = "answered",
        [LINTEL_CALL_NOT_SENT] = "not sent",
        [LINTEL_CALL_NOT_HANDLED] = "not handled",
        [LINTEL_CALL_UNKNOWN] = "perhaps handled",
    };
    struct lintel_error error;
    lintel_client_error(connect->client, &error);
    if (!is_lost(connect) && (done->status == LINTEL_E_CLOSED || done->status == LINTEL_E_RESET ||
                              done->status == LINTEL_E_SYSTEM))
        note_lost(connect, done->status);
    if (connect->status != LINTEL_OK)
        return tool_fail("%s; the request was %s", connect->reason, outcomes[done->outcome]);
    if (done->status == LINTEL_E_TIMEOUT)
        (void)tool_fail("no reply within %g s", connect->timeout_ms / 1000.0);
    else
        (void)tool_fail_error(NULL, &error);
    return TOOL_OK;
}

static int request(struct connect *connect, const char *line, size_t size)
{
    struct lintel_call call = {.payload = line, .size = size};
    struct lintel_finished done;
    struct lintel_error error;
    struct message_head head;
    if (message_head(&head, &connect->framing, 1, 0, size, &error) < 0) {
        (void)tool_fail_error(NULL, &error);
        return TOOL_OK;
    }
    call.type = head.header.type;
    call.like = head.header.like;
    if (lintel_client_call(connect->client, &done, &call, connect->timeout_ms) == LINTEL_OK)
        return print_reply(&done);
    if (done.outcome != LINTEL_CALL_ANSWERED)
        return take_failure(connect, &done);
    show_error(&done);
    return TOOL_OK;
}

/* ---- the session ----------------------------------------------------------------------------- */

static int is_word(const char *line, size_t size, const char *word)
{
    return size == strlen(word) && memcmp(line, word, size) == 0;
}

static int run(struct connect *connect)
{
    for (;;) {
        const char *line;
        size_t size;
        enum lines_event event = lines_next(&connect->lines, &line, &size);
        if (event == LINES_GIVEN)
            return tool_fail("%s", connect->reason);
        if (event == LINES_FAILED)
            return TOOL_FAILED;
        if (event == LINES_END || is_word(line, size, "q") || is_word(line, size, "quit") ||
            is_word(line, size, "exit"))
            return TOOL_OK;
        if (request(connect, line, size))
            return TOOL_FAILED;
    }
}

static int open_connect(struct connect *connect, int argc, char **argv)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    struct lintel_endpoint parsed;
    struct lintel_error error;
    int status = tool_framing_open(&connect->framing);
    if (status != TOOL_OK)
        return status;
    if (argc != 1)
        return tool_misuse(argc == 0 ? "an ENDPOINT is missing" : "one ENDPOINT is enough");
    if (connect->framing.id_set)
        return tool_misuse("--set: the ids of requests cannot be set");
    if (lintel_endpoint_parse(&parsed, argv[0], &error) != LINTEL_OK)
        return tool_misuse("%s: %s", argv[0], error.text);
    options.layout = connect->framing.layout;
    options.max_frame = connect->framing.max_frame;
    options.max_message = connect->max_message;
    status = keys_check_endpoint(&connect->keys_options, &parsed);
    if (status == TOOL_OK)
        status = keys_open(&connect->keys, &connect->keys_options, LINTEL_SEAL_INITIATOR);
    if (status != TOOL_OK)
        return status;
    options.seal_keys = connect->keys;
    int timeout_ms =
        connect->timeout_ms < 0 && connect->keys ? KEYS_HANDSHAKE_MS : connect->timeout_ms;
    if (lintel_client_open(&connect->client, argv[0], timeout_ms, &options, NULL, &error) !=
        LINTEL_OK)
        return tool_fail_error(NULL, &error);
    connect->lines.wait = wait_for_input;
    connect->lines.user = connect;
    return lines_open(&connect->lines);
}

/* Whom the library told what was wrong is given the time to read it. */
static void end(struct connect *connect)
{
    struct lintel_stream *stream = lintel_client_stream(connect->client);
    if (stream && connect->status == LINTEL_OK)
        (void)!lintel_stream_shutdown(stream, 0);
    else if (stream && lintel_bye_reason(connect->status) >= 0)
        (void)!lintel_stream_linger(stream, -1);
    lintel_client_close(connect->client);
    lintel_seal_keys_free(connect->keys);
}

int cmd_connect(int argc, char **argv)
{
    static struct connect connect = {.timeout_ms = -1};
    const struct tool_option options[] = {
        {"timeout", 0, TOOL_TIME, "S", "seconds to connect in, and for each reply (no limit)",
         &connect.timeout_ms, 0, 0},
        TOOL_HEADER_OPTIONS(&connect.framing),
        TOOL_LAYOUT_OPTIONS(&connect.framing),
        {"max-message", 0, TOOL_SIZE, "BYTES",
         "largest reply that is put together of fragments (64M, or\nthe largest frame)",
         &connect.max_message, 1, 0},
        KEYS_OPTIONS(&connect.keys_options),
        TOOL_OPTIONS_END,
    };
    const struct tool_usage usage = {
        "ENDPOINT",
        "Sends each line of standard input as a request, and prints its reply and a newline. A\n"
        "line that is q, quit or exit, and the end of the input, end it. ENDPOINT is\n"
        "tcp://HOST:PORT, unix:///PATH, unix://@NAME, fd://N or fd://IN,OUT.\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    status = open_connect(&connect, argc, argv);
    if (status == TOOL_OK)
        status = run(&connect);
    lines_close(&connect.lines);
    end(&connect);
    tool_framing_close(&connect.framing);
    return status;
}
