#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "session.h"
#include "show.h"
#include "window.h"

#define OPEN_MAX  ((uint64_t)16 << 20)  /* bytes of requests under way; fixed by the program page */
#define LOSS_MAX  ((uint64_t)64 << 10)  /* the same of datagrams: what most buffers hold */
#define REPLY_MAX ((uint64_t)64 << 20)  /* bytes of a reply that is put together */
#define HELD_MAX  ((uint64_t)256 << 20) /* bytes of replies that wait for earlier ones */

struct call {
    struct session session;
    int lines, raw, json, half_close, timeout_ms;
    uint64_t window_size;

    struct window window;
    struct request *sending;  /* the request that is going out, if not all of it has; else NULL */
    struct lintel_header run; /* of the fragments that came, the last without MORE yet */
    int in_run;

    uint64_t errors;       /* replies that are errors, or too long to print */
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

static int add_json(const struct call *call, struct tool_buffer *output,
                    const struct lintel_frame *frame)
{
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        return tool_fail("out of memory");
    show_frame(memory, SHOW_JSON, call->session.framing.layout, frame);
    int bad = fclose(memory) != 0;
    int status = bad ? tool_fail("out of memory") : tool_buffer_add(output, text, size);
    free(text);
    return status;
}

/* A reply whose turn it is goes out at once, without being held. */
static int print_reply(const struct call *call, const struct lintel_frame *frame, int is_error)
{
    if (call->json)
        show_frame(stdout, SHOW_JSON, call->session.framing.layout, frame);
    else if (!is_error)
        return tool_write(frame->payload, frame->length) || (!call->raw && tool_write("\n", 1));
    return tool_write("", 0);
}

static void note_error(struct call *call, const struct request *request, const char *text)
{
    if (call->errors++ == 0)
        snprintf(call->error_text, sizeof call->error_text, "request %llu: %s",
                 (unsigned long long)request->number, text);
}

static void note_refusal(struct call *call, const struct request *request, const void *text,
                         size_t size)
{
    char shown[4096], line[4200];
    tool_escape(shown, sizeof shown, text, size, 1);
    snprintf(line, sizeof line, "the peer answered with an error: \"%s\"", shown);
    note_error(call, request, line);
}

static int hold(struct call *call, struct request *request, const struct lintel_frame *frame)
{
    struct tool_buffer *output = &request->output;
    size_t before = output->used;
    if (frame->length > REPLY_MAX - (before < REPLY_MAX ? before : REPLY_MAX))
        request->refused = 1;
    if (request->refused)
        return TOOL_OK;
    int status = call->json ? add_json(call, output, frame)
                            : tool_buffer_add(output, frame->payload, frame->length);
    call->window.held += output->used - before;
    if (status == TOOL_OK && call->window.held > HELD_MAX)
        return tool_fail("more than %llu bytes of replies wait for the reply to request %llu",
                         (unsigned long long)HELD_MAX,
                         (unsigned long long)window_at(&call->window, 0)->number);
    return status;
}

/* What is held of a reply that has become whole is made what is printed of it. */
static int end_reply(struct call *call, struct request *request, int is_error)
{
    struct tool_buffer *output = &request->output;
    size_t before = output->used;
    if (request->refused) {
        note_error(call, request, "the reply is longer than 64M");
        output->used = 0;
    } else if (is_error) {
        note_refusal(call, request, output->bytes, output->used);
        if (!call->json)
            output->used = 0;
    } else if (!call->json && !call->raw && tool_buffer_add(output, "\n", 1)) {
        return TOOL_FAILED;
    }
    call->window.held = call->window.held - before + output->used;
    return TOOL_OK;
}

static int take_reply(struct call *call, struct request *request, const struct lintel_frame *frame,
                      const struct lintel_header *header)
{
    int is_error = (header->flags & LINTEL_ERROR) != 0, status;
    if (header->flags & LINTEL_MORE)
        return hold(call, request, frame);
    if (request == window_at(&call->window, 0) && request->output.used == 0 && !request->refused) {
        if (is_error)
            note_refusal(call, request, frame->payload, frame->length);
        status = print_reply(call, frame, is_error);
    } else {
        status = hold(call, request, frame);
        if (status == TOOL_OK)
            status = end_reply(call, request, is_error);
    }
    request->state = REQUEST_ANSWERED;
    call->window.open_bytes -= request->size;
    return status ? status : window_print(&call->window, 0);
}

/* Fragments of one message stand together; only control frames come between them. */
static int check_run(struct call *call, const struct lintel_header *header,
                     const struct lintel_frame *frame)
{
    const struct lintel_header *run = &call->run;
    uint8_t flags = header->flags & (uint8_t)~LINTEL_MORE;
    if (call->in_run && (run->id != header->id || run->type != header->type || run->flags != flags))
        return tool_fail("frame at byte %llu: it stands between the fragments of another message",
                         (unsigned long long)frame->offset);
    call->in_run = (header->flags & LINTEL_MORE) != 0;
    call->run = *header;
    call->run.flags = flags;
    return TOOL_OK;
}

static int take_frame(void *user, const struct lintel_frame *frame)
{
    struct call *call = user;
    const struct tool_framing *framing = &call->session.framing;
    struct lintel_header header = {0, 0, 0, NULL};
    struct lintel_value id = lintel_uint(0);
    if (lintel_layout_is_lintel(framing->layout)) {
        if (lintel_header_read(framing->layout, &header, frame) < 0 ||
            check_run(call, &header, frame))
            return TOOL_FAILED;
        if (!(header.flags & LINTEL_REPLY))
            return TOOL_OK;
    }
    if (framing->id_view >= 0 &&
        lintel_layout_read_one(framing->layout, &id, (size_t)framing->id_view, frame) < 0)
        return TOOL_FAILED;
    struct request *request = window_find(&call->window, id.as.u);
    return request ? take_reply(call, request, frame, &header) : TOOL_OK;
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
    if (session->end_status != LINTEL_E_END)
        return fail_lost(call, session->end_text);
    if (session->send_status != LINTEL_OK)
        return fail_lost(call, session->send_text);
    return fail_lost(call, call->in_run ? "the peer ended inside a message" : session->end_text);
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
    session->received = take_frame;
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
        TOOL_SEAL_OPTIONS,
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
    window_free(&call.window);
    session_close(&call.session);
    return status;
}
