#include "config.h"

#include "progress.h"
#include "session.h"
#include "tool.h"

#define LARGE ((uint64_t)1 << 20) /* bytes from which on there is something to look at */

struct send {
    struct session session;
    int lines, timeout_ms;
    struct progress progress;
    uint64_t taken; /* bytes of payload that the stream took */
};

/* ---- the bar --------------------------------------------------------------------------------- */

static int count_bytes(void *user, int last, size_t size)
{
    struct send *send = user;
    (void)last;
    send->taken += size;
    return TOOL_OK;
}

static uint64_t bytes_done(const struct send *send)
{
    uint64_t queued = lintel_stream_queued(send->session.stream);
    return send->taken > queued ? send->taken - queued : 0;
}

static void show_progress(struct send *send)
{
    if (send->taken >= LARGE || send->progress.total >= LARGE)
        progress_show(&send->progress, bytes_done(send));
}

/* Wait for more to do, or until the bar is to be drawn. Returns 0 if the deadline passed. */
static int wait_and_show(struct send *send, int64_t deadline)
{
    int wait_ms = send->session.is_shut ? -1 : progress_wait_ms(&send->progress);
    int64_t wake = wait_ms < 0 ? -1 : tool_now_ms() + wait_ms;
    if (wake < 0 || (deadline >= 0 && deadline <= wake))
        return session_wait(&send->session, deadline);
    (void)session_wait(&send->session, wake);
    return deadline < 0 || tool_now_ms() < deadline;
}

/* ---- the course of it ------------------------------------------------------------------------ */

/* It is over when the peer has ended and has everything, or can have no more. */
static int is_over(const struct session *session)
{
    if (session->stopped || session->got_bye)
        return 1;
    if (session->end_status == LINTEL_OK)
        return 0;
    return session->is_shut || session->send_status != LINTEL_OK ||
           session->end_status != LINTEL_E_END;
}

static int judge(const struct session *session, int timed_out, int timeout_ms)
{
    uint64_t unsent = 0;
    lintel_stream_unsent(session->stream, &unsent, NULL);
    if (session->failed || session->stopped)
        return TOOL_FAILED;
    if (timed_out)
        return tool_fail("the peer did not %s within %g s", session->is_shut ? "end" : "read",
                         timeout_ms / 1000.0);
    int is_sent = session->send_status == LINTEL_OK && unsent == 0 && session->all_taken;
    if (session->end_status != LINTEL_E_END || (session->got_bye && !is_sent))
        return tool_fail("%s", session->end_text);
    if (!is_sent)
        return tool_fail("%s", session->send_text);
    return TOOL_OK;
}

static int end(struct send *send, int timed_out)
{
    progress_close(&send->progress, bytes_done(send));
    return judge(&send->session, timed_out, send->timeout_ms);
}

static int run(struct send *send)
{
    struct session *session = &send->session;
    int64_t deadline = -1;
    size_t before = 0;
    for (;;) {
        session_work(session);
        show_progress(send);
        if (is_over(session))
            return end(send, 0);
        size_t queued = lintel_stream_queued(session->stream);
        int waits = session->is_shut || queued > 0;
        if (!waits || send->timeout_ms < 0)
            deadline = -1;
        else if (deadline < 0 || queued != before)
            deadline = tool_now_ms() + send->timeout_ms;
        before = queued;
        if (!wait_and_show(send, deadline))
            return end(send, 1);
    }
}

static int open_send(struct send *send, int argc, char **argv)
{
    struct session *session = &send->session;
    int status = tool_framing_open(&session->framing);
    if (status != TOOL_OK)
        return status;
    if (argc == 0)
        return tool_misuse("an ENDPOINT is missing");
    if ((argc == 1) != (send->lines != 0))
        return tool_misuse(argc == 1 ? "a PAYLOAD or --lines is missing"
                                     : "either PAYLOADs or --lines");
    status = payload_list_open(&session->payloads, argv + 1, (size_t)argc - 1, send->lines);
    if (status != TOOL_OK)
        return status;
    session->half_close = 1;
    session->sending = count_bytes;
    session->user = send;
    progress_open(&send->progress, payload_list_size(&session->payloads));
    return session_open(session, argv[0], send->timeout_ms);
}

int cmd_send(int argc, char **argv)
{
    static struct send send = {.timeout_ms = -1};
    const struct tool_option options[] = {
        {"lines", 0, TOOL_FLAG, NULL, "a frame per line of standard input", &send.lines, 0, 0},
        {"timeout", 0, TOOL_TIME, "S",
         "seconds to connect in, for the peer to read on in, and to\nend in when all is sent "
         "(no limit)",
         &send.timeout_ms, 0, 0},
        TOOL_HEADER_OPTIONS(&send.session.framing),
        TOOL_LAYOUT_OPTIONS(&send.session.framing),
        KEYS_OPTIONS(&send.session.keys_options),
        TOOL_OPTIONS_END,
    };
    const struct tool_usage usage = {
        "ENDPOINT [PAYLOAD...]",
        "Sends a message per PAYLOAD with id 0, which asks for no reply; shuts down writing, and\n"
        "waits for the peer to end. A PAYLOAD is TEXT, text:TEXT, hex:DIGITS, @FILE, or - for all\n"
        "of standard input. ENDPOINT is tcp://HOST:PORT, unix:///PATH, unix://@NAME, fd://N,\n"
        "fd://IN,OUT, udp://HOST:PORT or unixgram:///PATH; datagrams are sent, and that is all.\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    status = open_send(&send, argc, argv);
    if (status == TOOL_OK)
        status = run(&send);
    session_close(&send.session);
    return status;
}
