#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "show.h"
#include "window.h"

#define OPEN_MAX ((uint64_t)16 << 20)  /* bytes of requests under way; fixed by the program page */
#define LOSS_MAX ((uint64_t)64 << 10)  /* the same of datagrams: what most buffers hold */
#define HELD_MAX ((uint64_t)256 << 20) /* bytes of replies that wait for earlier ones */

struct call {
    struct session session;
    int lines, raw, json, half_close, timeout_ms;
    uint64_t window_size;

    struct window window;
    struct request *sending;  /* the request that is going out, if not all of it has; else NULL */
    struct tool_buffer shown; /* with --json: the frames of the message that comes, in JSON */
    int not_shown;            /* there was no memory for one */

    uint64_t errors;       /* replies that are errors */
    char error_text[5000]; /* the first of them: which request, and why */
};

/* ---- requests -------------------------------------------------------------------------------- */

static int has_room(void *user)
{
    struct call *call = user;
    const struct window *window = &call->window;
    if (call->sending)
        return 1;
    uint64_t most = call->session.datagram ? LOSS_MAX : OPEN_MAX;
    if (window->count == window->capacity || (window->count > 0 && window->open_bytes >= most))
        return 0;
    /* After a turn past the largest id, an old request may still have the next one. */
    return window->in_order || window->numbered < call->session.framing.id_max ||
           !window_find(&call->window, call->session.message.id);
}

static int take_request(void *user, int last, size_t size)
{
    struct call *call = user;
    struct message *message = &call->session.message;
    if (!call->sending)
        call->sending = window_push(&call->window, message->id);
    call->sending->size += size;
    call->window.open_bytes += size;
    if (call->timeout_ms >= 0)
        call->sending->deadline = tool_now_ms() + call->timeout_ms;
    if (!last)
        return TOOL_OK;
    call->sending = NULL;
    message->id = tool_next_id(message->framing, message->id);
    return TOOL_OK;
}

/* ---- replies --------------------------------------------------------------------------------- */

static int show(struct call *call, const struct lintel_frame *frame)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        return tool_fail("out of memory");
    show_frame(memory, SHOW_JSON, call->session.framing.layout, frame);
    int bad = fclose(memory) != 0;
    int status = bad ? tool_fail("out of memory") : tool_buffer_add(&call->shown, text, size);
    free(text);
    return status;
}

/* The frames of a reply are shown as they came; put together they are one message. */
static void trace(void *user, char direction, const struct lintel_frame *frame)
{
    struct call *call = user;
    const struct lintel_layout *layout = call->session.framing.layout;
    struct lintel_header header;
    if (direction != '<' || call->not_shown || lintel_header_read(layout, &header, frame) < 0 ||
        (lintel_layout_is_lintel(layout) && (header.flags & LINTEL_CONTROL)))
        return;
    call->not_shown = show(call, frame) != TOOL_OK;
}

static void note_error(struct call *call, const struct request *request, const void *text,
                       size_t size)
{
    char shown[4096];
    if (call->errors++ > 0)
        return;
    tool_escape(shown, sizeof shown, text, size, 1);
    snprintf(call->error_text, sizeof call->error_text,
             "request %llu: the peer answered with an error: \"%s\"",
             (unsigned long long)request->number, shown);
}

/* A reply whose turn it is goes out at once, without being held. */
static int print_reply(const void *bytes, size_t size, int end_line)
{
    return tool_write(bytes, size) || (end_line && tool_write("\n", 1)) ? TOOL_FAILED : TOOL_OK;
}

static int hold(struct call *call, struct request *request, const void *bytes, size_t size,
                int end_line)
{
    struct tool_buffer *output = &request->output;
    if (tool_buffer_add(output, bytes, size) || (end_line && tool_buffer_add(output, "\n", 1)))
        return TOOL_FAILED;
    call->window.held += output->used;
    if (call->window.held > HELD_MAX)
        return tool_fail("more than %llu bytes of replies wait for the reply to request %llu",
                         (unsigned long long)HELD_MAX,
                         (unsigned long long)window_at(&call->window, 0)->number);
    return TOOL_OK;
}

static int take_reply(struct call *call, struct request *request,
                      const struct lintel_message *message)
{
    const struct lintel_frame *frame = &message->frame;
    int is_error = lintel_layout_is_lintel(call->session.framing.layout) &&
                   (message->header.flags & LINTEL_ERROR) != 0;
    const void *bytes = call->json ? call->shown.bytes : frame->payload;
    size_t size = call->json ? call->shown.used : is_error ? 0 : frame->length;
    int end_line = !call->json && !call->raw && !is_error;
    if (is_error)
        note_error(call, request, frame->payload, frame->length);
    request->state = REQUEST_ANSWERED;
    call->window.open_bytes -= request->size;
    if (request != window_at(&call->window, 0))
        return hold(call, request, bytes, size, end_line);
    return print_reply(bytes, size, end_line) ? TOOL_FAILED : window_print(&call->window, 0);
}

/* The request that a message answers; NULL. */
static struct request *find_request(struct call *call, const struct lintel_message *message)
{
    const struct tool_framing *framing = &call->session.framing;
    struct lintel_value id = lintel_uint(0);
    if (lintel_layout_is_lintel(framing->layout) && !(message->header.flags & LINTEL_REPLY))
        return NULL;
    if (framing->id_view >= 0 &&
        lintel_layout_read_one(framing->layout, &id, (size_t)framing->id_view, &message->frame) < 0)
        return NULL;
    return window_find(&call->window, id.as.u);
}

static int take_message(void *user, const struct lintel_message *message)
{
    struct call *call = user;
    struct request *request = find_request(call, message);
    if (call->not_shown || (call->json && call->session.datagram && show(call, &message->frame)))
        return TOOL_FAILED;
    int status = request ? take_reply(call, request, message) : TOOL_OK;
    call->shown.used = 0;
    return status;
}

/* ---- the course of it ------------------------------------------------------------------------ */

static int fail_lost(struct call *call, const char *reason)
{
    size_t lost = 0;
    for (size_t i = 0; i < call->window.count; i++)
        lost += window_at(&call->window, i)->state == REQUEST_OPEN;
    if (window_print(&call->window, 1))
        return TOOL_FAILED;
    return tool_fail("%s; %zu request%s without a reply%s%s%s", reason, lost, lost == 1 ? "" : "s",
                     call->session.all_taken ? "" : ", others were not sent",
                     call->errors ? "; " : "", call->error_text);
}

/* Replies are missing, and will not come any more. */
static int judge_lost(struct call *call, int timed_out)
{
    const struct session *session = &call->session;
    char text[128];
    if (timed_out) {
        snprintf(text, sizeof text, "request %llu: no reply within %g s",
                 (unsigned long long)window_at(&call->window, 0)->number,
                 call->timeout_ms / 1000.0);
        return fail_lost(call, text);
    }
    int by_sending = session->end_status == LINTEL_E_END && !session->got_bye &&
                     session->send_status != LINTEL_OK;
    return fail_lost(call, by_sending ? session->send_text : session->end_text);
}

/* Every reply came. */
static int judge_done(const struct call *call)
{
    if (call->errors > 1)
        return tool_fail("%s (and %llu more)", call->error_text,
                         (unsigned long long)call->errors - 1);
    return call->errors > 0 ? tool_fail("%s", call->error_text) : TOOL_OK;
}

/* -1: go on; else the exit status. */
static int is_over(struct call *call)
{
    const struct session *session = &call->session;
    int written = lintel_stream_queued(session->stream) == 0 || session->send_status != LINTEL_OK;
    int answered = call->window.count == 0 && written;
    if (session->failed) {
        if (!answered && session->end_status == LINTEL_OK)
            return -1;
        window_print(&call->window, 1);
        return TOOL_FAILED;
    }
    if (answered && session->all_taken)
        return judge_done(call);
    return session->end_status == LINTEL_OK || (session->all_taken && call->window.count == 0)
               ? -1
               : judge_lost(call, 0);
}

/* A payload that failed in its middle leaves a request that will not be answered. */
static void drop_unsent(struct call *call)
{
    if (call->session.failed && call->sending) {
        window_pop_last(&call->window);
        call->sending = NULL;
    }
}

/* Of the earliest request. One that is going out has a time for each of its fragments, which stands
 * still while we wait for our own input. */
static int64_t next_deadline(struct call *call)
{
    const struct request *first = call->window.count ? window_at(&call->window, 0) : NULL;
    if (!first || (first == call->sending && call->session.wants_input))
        return -1;
    return first->deadline;
}

static int run(struct call *call)
{
    struct session *session = &call->session;
    for (;;) {
        session_work(session);
        drop_unsent(call);
        if (session->stopped)
            return TOOL_FAILED;
        int status = is_over(call);
        if (status >= 0)
            return status;
        if (!session_wait(session, next_deadline(call)))
            return session->failed ? TOOL_FAILED : judge_lost(call, 1);
    }
}

/* ---- the command line ------------------------------------------------------------------------ */

static int check_options(const struct call *call, int argc)
{
    if (argc == 0)
        return tool_misuse("an ENDPOINT is missing");
    if ((argc == 1) != (call->lines != 0))
        return tool_misuse(argc == 1 ? "a PAYLOAD or --lines is missing"
                                     : "either PAYLOADs or --lines");
    if (call->raw && call->json)
        return tool_misuse("one of --raw and --json");
    if (call->session.framing.id_set)
        return tool_misuse("--set: the ids of requests cannot be set");
    return TOOL_OK;
}

/* Datagrams are lost where buffers overflow, and a lost one does not come later. */
static void default_to(struct call *call, const char *endpoint)
{
    struct lintel_endpoint parsed;
    int datagrams = lintel_endpoint_parse(&parsed, endpoint, NULL) == LINTEL_OK &&
                    (parsed.scheme == LINTEL_UDP || parsed.scheme == LINTEL_UNIXGRAM);
    if (call->window_size == 0)
        call->window_size = datagrams ? 32 : 1000;
    if (call->timeout_ms < 0 && datagrams)
        call->timeout_ms = 5000;
    if (datagrams)
        call->half_close = 0;
}

static int open_call(struct call *call, int argc, char **argv)
{
    struct session *session = &call->session;
    int status = tool_framing_open(&session->framing);
    if (status == TOOL_OK)
        status = check_options(call, argc);
    if (status == TOOL_OK)
        status = payload_list_open(&session->payloads, argv + 1, (size_t)argc - 1, call->lines);
    if (status == TOOL_OK)
        default_to(call, argv[0]);
    if (status == TOOL_OK)
        status =
            window_open(&call->window, (size_t)call->window_size, session->framing.id_view < 0);
    if (status != TOOL_OK)
        return status;
    session->half_close = call->half_close;
    session->may_send = has_room;
    session->sending = take_request;
    session->received = take_message;
    session->trace = call->json ? trace : NULL;
    session->user = call;
    session->message.id = session->framing.id_view < 0 ? 0 : 1;
    return session_open(session, argv[0], call->timeout_ms);
}

int cmd_call(int argc, char **argv)
{
    static struct call call = {.timeout_ms = -1};
    const struct tool_option options[] = {
        {"lines", 0, TOOL_FLAG, NULL, "a request per line of standard input", &call.lines, 0, 0},
        {"window", 0, TOOL_NUMBER, "N",
         "requests under way at once (1000, of datagrams 32), of 16M\nbytes or one, of datagrams "
         "64K",
         &call.window_size, 1, 1 << 20},
        {"timeout", 0, TOOL_TIME, "S",
         "seconds to connect in, and for each reply (no limit,\nof datagrams 5)", &call.timeout_ms,
         0, 0},
        {"half-close", 0, TOOL_FLAG, NULL, "shut down writing after the last request",
         &call.half_close, 0, 0},
        {"raw", 0, TOOL_FLAG, NULL, "the replies as they are, without a newline after each",
         &call.raw, 0, 0},
        {"json", 0, TOOL_FLAG, NULL, "the frames of the replies as decode --json prints them",
         &call.json, 0, 0},
        TOOL_HEADER_OPTIONS(&call.session.framing),
        TOOL_LAYOUT_OPTIONS(&call.session.framing),
        {"max-message", 0, TOOL_SIZE, "BYTES",
         "largest reply that is put together of fragments (64M, or\nthe largest frame)",
         &call.session.max_message, 1, 0},
        KEYS_OPTIONS(&call.session.keys_options),
        TOOL_OPTIONS_END,
    };
    const struct tool_usage usage = {
        "ENDPOINT [PAYLOAD...]",
        "Sends a request per PAYLOAD and prints the replies in the order of the requests, each\n"
        "followed by a newline. A PAYLOAD is TEXT, text:TEXT, hex:DIGITS, @FILE, or - for all of\n"
        "standard input. ENDPOINT is tcp://HOST:PORT, unix:///PATH, unix://@NAME, fd://N,\n"
        "fd://IN,OUT, udp://HOST:PORT or unixgram:///PATH.\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    status = open_call(&call, argc, argv);
    if (status == TOOL_OK)
        status = run(&call);
    if (status == TOOL_OK)
        status = session_end(&call.session, call.timeout_ms);
    window_free(&call.window);
    tool_buffer_free(&call.shown);
    session_close(&call.session);
    return status;
}
