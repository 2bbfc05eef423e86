#include "config.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

#include "session.h"

#define QUEUE_MAX  ((size_t)1 << 20) /* bytes that wait to be written before we take no more */
#define TURN_TAKES 4096              /* payloads put out before we look for input */

/* ---- sending --------------------------------------------------------------------------------- */

static void last_error(const struct session *session, struct lintel_error *error)
{
    if (session->datagram)
        lintel_datagram_error(session->datagram, error);
    else
        lintel_stream_error(session->stream, error);
}

static void stop_sending(struct session *session, int status)
{
    struct lintel_error error;
    last_error(session, &error);
    snprintf(session->send_text, sizeof session->send_text, "%s",
             error.text[0] ? error.text : lintel_strerror(status));
    session->send_status = status;
    session->is_closed = 1;
}

static void take_messages(struct session *session);

/* What comes while a datagram has no room is taken, so that two who both send do not wait for each
 * other. */
static int send_datagram(struct session *session, const struct lintel_header *header,
                         const void *payload, size_t size)
{
    int64_t deadline = session->timeout_ms < 0 ? -1 : tool_now_ms() + session->timeout_ms;
    struct pollfd one = {lintel_datagram_fd(session->datagram, 0), POLLIN | POLLOUT, 0};
    for (;;) {
        int rc = lintel_datagram_send(session->datagram, NULL, header, payload, size, 0);
        if (rc != LINTEL_E_TIMEOUT || (deadline >= 0 && tool_now_ms() >= deadline))
            return rc;
        take_messages(session);
        (void)!poll(&one, 1, deadline < 0 ? -1 : (int)(deadline - tool_now_ms()));
    }
}

static void end_input(struct session *session, int status, const char *text);

static int fail_send(struct session *session)
{
    struct lintel_error error;
    last_error(session, &error);
    return tool_fail_error(NULL, &error);
}

static int is_refused(int rc)
{
    return rc == LINTEL_E_TOO_LARGE || rc == LINTEL_E_RANGE || rc == LINTEL_E_MALFORMED ||
           rc == LINTEL_E_NOMEM || rc == LINTEL_E_UNSUPPORTED;
}

/* A request is under way once the system has it. Nobody ends a session of datagrams for us. */
static int put_datagram(struct session *session, const struct message_head *head,
                        const void *payload, size_t size)
{
    int rc = send_datagram(session, &head->header, payload, size);
    if (is_refused(rc))
        return fail_send(session);
    if (rc != LINTEL_OK) {
        stop_sending(session, rc);
        end_input(session, rc, session->send_text);
        return TOOL_OK;
    }
    return session->sending ? session->sending(session->user, 1, size) : TOOL_OK;
}

static int put_frame(void *user, const struct message_head *head, const void *payload, size_t size)
{
    struct session *session = user;
    int last = !(head->header.flags & LINTEL_MORE);
    if (session->datagram)
        return put_datagram(session, head, payload, size);
    if (session->sending && session->sending(session->user, last, size))
        return TOOL_FAILED;
    int rc = lintel_stream_send(session->stream, &head->header, payload, size, 0);
    if (is_refused(rc))
        return fail_send(session);
    /* What failed is the connection: what the peer still has to say comes first. */
    if (rc != LINTEL_OK)
        stop_sending(session, rc);
    return TOOL_OK;
}

static int is_readable(int fd)
{
    struct pollfd one = {.fd = fd, .events = POLLIN};
    return poll(&one, 1, 0) > 0;
}

static void read_input(struct session *session)
{
    struct payload_input *input = &session->payloads.input;
    session->wants_input = !is_readable(input->fd);
    if (!session->wants_input && payload_input_read(input))
        session->failed = session->is_closed = 1;
}

/* Whether another payload, or more of one, may be taken. */
static int may_take(const struct session *session)
{
    return !session->all_taken && !session->is_closed && !session->wants_input &&
           lintel_stream_queued(session->stream) < QUEUE_MAX &&
           (!session->may_send || session->may_send(session->user));
}

static void take_payloads(struct session *session)
{
    for (int i = 0; i < TURN_TAKES && may_take(session); i++) {
        switch (payload_list_next(&session->payloads, &session->message)) {
        case PAYLOAD_SENT:
            break;
        case PAYLOAD_READ:
            read_input(session);
            break;
        case PAYLOAD_END:
            session->all_taken = 1;
            break;
        case PAYLOAD_FAILED:
            session->failed = session->is_closed = 1;
            break;
        }
    }
}

static void write_out(struct session *session)
{
    if (session->send_status != LINTEL_OK || session->is_shut)
        return;
    int shut = session->half_close && (session->all_taken || session->is_closed);
    if (session->datagram) {
        session->is_shut = shut;
        return;
    }
    int rc =
        shut ? lintel_stream_shutdown(session->stream, 0) : lintel_stream_flush(session->stream, 0);
    session->is_shut = shut && rc == 1;
    if (rc < 0)
        stop_sending(session, rc);
}

/* ---- receiving ------------------------------------------------------------------------------- */

static void end_input(struct session *session, int status, const char *text)
{
    if (session->end_status != LINTEL_OK)
        return;
    session->end_status = status;
    snprintf(session->end_text, sizeof session->end_text, "%s", text);
}

static int receive_datagram(struct session *session, struct lintel_message *message)
{
    int rc = lintel_datagram_recv(session->datagram, &message->frame, NULL, 0);
    if (rc == 0 && session->is_shut)
        return LINTEL_E_END;
    return rc == 1 && lintel_header_read(session->framing.layout, &message->header,
                                         &message->frame) < 0
               ? 0
               : rc;
}

static int receive(struct session *session, struct lintel_message *message)
{
    struct lintel_message_piece piece;
    if (session->datagram)
        return receive_datagram(session, message);
    return session->received ? lintel_stream_recv_message(session->stream, message, 0)
                             : lintel_stream_recv_piece(session->stream, &piece, 0);
}

const char *session_end_text(int status, int got_bye, const struct lintel_error *error)
{
    if (status == LINTEL_E_END && !got_bye)
        return "the peer ended the connection";
    if (status == LINTEL_E_SEAL && strstr(error->text, "no seal is configured"))
        return "the peer wants a sealed session, and no key was given";
    return error->text[0] ? error->text : lintel_strerror(status);
}

static void stop_receiving(struct session *session, int status)
{
    struct lintel_error error;
    last_error(session, &error);
    session->got_bye = lintel_stream_peer_bye(session->stream, NULL, NULL);
    /* Nobody takes requests any more; whose end is a clean one may still read. */
    session->is_closed |= status != LINTEL_E_END || session->got_bye;
    end_input(session, status, session_end_text(status, session->got_bye, &error));
}

static void take_messages(struct session *session)
{
    struct lintel_message message;
    while (session->end_status == LINTEL_OK && !session->stopped) {
        int rc = receive(session, &message);
        if (rc == 0)
            return;
        if (rc < 0)
            stop_receiving(session, rc);
        else if (session->received && session->received(session->user, &message))
            session->stopped = session->is_closed = 1;
    }
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int open_stream(struct session *session, const char *endpoint, int timeout_ms,
                       struct lintel_error *error)
{
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    options.layout = session->framing.layout;
    options.max_frame = session->framing.max_frame;
    options.max_message = session->max_message;
    options.trace = session->trace;
    options.trace_user = session->user;
    options.seal_keys = session->keys;
    if (session->keys && timeout_ms < 0)
        timeout_ms = KEYS_HANDSHAKE_MS;
    return lintel_stream_open(&session->stream, endpoint, timeout_ms, &options, error);
}

static int open_datagram(struct session *session, const char *endpoint, int timeout_ms,
                         struct lintel_error *error)
{
    struct lintel_datagram_options options = LINTEL_DATAGRAM_OPTIONS_INIT;
    options.layout = session->framing.layout;
    options.max_frame = session->framing.max_frame;
    session->timeout_ms = timeout_ms;
    return lintel_datagram_open(&session->datagram, endpoint, &options, error);
}

int session_open(struct session *session, const char *endpoint, int timeout_ms)
{
    struct lintel_endpoint parsed;
    struct lintel_error error;
    if (lintel_endpoint_parse(&parsed, endpoint, &error) != LINTEL_OK)
        return tool_misuse("%s: %s", endpoint, error.text);
    int status = keys_check_endpoint(&session->keys_options, &parsed);
    if (status == TOOL_OK)
        status = keys_open(&session->keys, &session->keys_options, LINTEL_SEAL_INITIATOR);
    if (status != TOOL_OK)
        return status;
    int rc = parsed.scheme == LINTEL_UDP || parsed.scheme == LINTEL_UNIXGRAM
                 ? open_datagram(session, endpoint, timeout_ms, &error)
                 : open_stream(session, endpoint, timeout_ms, &error);
    if (rc != LINTEL_OK)
        return tool_fail_error(NULL, &error);
    session->message.framing = &session->framing;
    session->message.frame = put_frame;
    session->message.user = session;
    return TOOL_OK;
}

void session_work(struct session *session)
{
    take_payloads(session);
    write_out(session);
    take_messages(session);
}

static int wait_time(const struct session *session, int64_t deadline)
{
    int wait = session->datagram ? -1 : lintel_stream_wait_ms(session->stream);
    if (deadline < 0)
        return wait;
    int64_t left = deadline - tool_now_ms();
    left = left < 0 ? 0 : left > INT_MAX ? INT_MAX : left;
    return wait < 0 || left < wait ? (int)left : wait;
}

static int input_fd(const struct session *session)
{
    return session->datagram ? lintel_datagram_fd(session->datagram, 0)
                             : lintel_stream_in_fd(session->stream);
}

int session_wait(struct session *session, int64_t deadline)
{
    struct pollfd fds[3];
    nfds_t count = 0;
    int wants = session->datagram ? LINTEL_WANT_READ : lintel_stream_wants(session->stream);
    if (may_take(session))
        return 1;
    if (tool_flush()) {
        session->stopped = 1;
        return 1;
    }
    if (session->end_status == LINTEL_OK && (wants & LINTEL_WANT_READ))
        fds[count++] = (struct pollfd){input_fd(session), POLLIN, 0};
    if (session->send_status == LINTEL_OK && (wants & LINTEL_WANT_WRITE))
        fds[count++] = (struct pollfd){lintel_stream_out_fd(session->stream), POLLOUT, 0};
    if (session->wants_input && !session->is_closed &&
        (!session->may_send || session->may_send(session->user)))
        fds[count++] = (struct pollfd){session->payloads.input.fd, POLLIN, 0};
    int ready = poll(fds, count, wait_time(session, deadline));
    session->wants_input = 0;
    return ready != 0 || deadline < 0 || tool_now_ms() < deadline;
}

/* Whom the library told what was wrong is given the time to read it. */
static void linger(struct session *session)
{
    if (session->stream && !session->got_bye && lintel_bye_reason(session->end_status) >= 0)
        (void)!lintel_stream_linger(session->stream, -1);
}

static int left_until(int64_t deadline)
{
    int64_t left = deadline - tool_now_ms();
    return deadline < 0 ? -1 : left > 0 ? (int)left : 0;
}

int session_end(struct session *session, int timeout_ms)
{
    struct lintel_message message;
    struct lintel_error error;
    if (!session->keys || !session->stream)
        return TOOL_OK;
    int64_t deadline = timeout_ms < 0 ? -1 : tool_now_ms() + timeout_ms;
    int rc = session->end_status;
    if (rc == LINTEL_OK && (rc = lintel_stream_shutdown(session->stream, timeout_ms)) >= 0)
        do
            rc = lintel_stream_recv_message(session->stream, &message, left_until(deadline));
        while (rc == 1);
    if (rc == LINTEL_E_END)
        return TOOL_OK;
    if (rc == 0 || rc == LINTEL_E_TIMEOUT)
        return tool_fail("the peer's last record did not come within %g s", timeout_ms / 1000.0);
    lintel_stream_error(session->stream, &error);
    return tool_fail("the peer's last record did not come: %s",
                     session->end_status != LINTEL_OK ? session->end_text : error.text);
}

void session_close(struct session *session)
{
    linger(session);
    lintel_stream_close(session->stream);
    lintel_seal_keys_free(session->keys);
    lintel_datagram_close(session->datagram);
    message_free(&session->message);
    payload_list_close(&session->payloads);
    tool_framing_close(&session->framing);
}
