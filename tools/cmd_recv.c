#include "config.h"

#include "interrupt.h"
#include "keys.h"
#include "receive.h"
#include "show.h"

struct recv {
    struct keys_options keys_options;
    struct lintel_seal_keys *keys; /* NULL: plain */
    struct tool_framing framing;
    int text, json, hex, raw;
    uint64_t count; /* frames to take; 0: no end */
    int timeout_ms; /* below 0: none */

    enum show_form form;
    uint64_t taken;
    int64_t deadline; /* of tool_now_ms(), for the next frame; -1: none */
    struct receive connections;
    struct lintel_datagram *datagram; /* NULL: connections */
};

/* ---- frames ---------------------------------------------------------------------------------- */

static int take_frame(void *user, const struct lintel_frame *frame)
{
    struct recv *recv = user;
    show_frame(stdout, recv->form, recv->framing.layout, frame);
    recv->taken++;
    if (recv->timeout_ms >= 0)
        recv->deadline = tool_now_ms() + recv->timeout_ms;
    return ferror(stdout) || recv->taken == recv->count ? TOOL_FAILED : TOOL_OK;
}

static int is_late(const struct recv *recv)
{
    return recv->deadline >= 0 && tool_now_ms() >= recv->deadline;
}

static int fail_late(const struct recv *recv)
{
    return tool_fail("nothing came for %g s, %llu frame%s before", recv->timeout_ms / 1000.0,
                     (unsigned long long)recv->taken, recv->taken == 1 ? "" : "s");
}

/* ---- connections ----------------------------------------------------------------------------- */

static int is_over(const struct recv *recv)
{
    const struct receive *connections = &recv->connections;
    return connections->stopped || interrupted() ||
           (!connections->listener && connections->count == 0);
}

static int take_connections(struct recv *recv)
{
    struct receive *connections = &recv->connections;
    int late = 0, wait_ms;
    for (;;) {
        receive_work(connections);
        if (tool_flush())
            return TOOL_FAILED;
        if (is_over(recv) || (late = is_late(recv)))
            break;
        nfds_t count = receive_wants(connections, &wait_ms);
        (void)!interrupt_wait(connections->fds, count, wait_ms, recv->deadline);
    }
    int done = connections->stopped;
    receive_end(connections, late            ? LINTEL_BYE_IDLE
                             : interrupted() ? LINTEL_BYE_DRAINING
                                             : LINTEL_BYE_DONE);
    while (connections->count > 0) {
        nfds_t count = receive_wants(connections, &wait_ms);
        (void)!poll(connections->fds, count, wait_ms);
        receive_work(connections);
    }
    if (late)
        return fail_late(recv);
    if (recv->count > 0 && !done)
        return tool_fail("%llu frames came, not %llu", (unsigned long long)recv->taken,
                         (unsigned long long)recv->count);
    return connections->broken ? TOOL_FAILED : TOOL_OK;
}

static int open_connections(struct recv *recv, const struct lintel_endpoint *endpoint)
{
    struct receive *connections = &recv->connections;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    connections->framing = &recv->framing;
    connections->frame = take_frame;
    connections->user = recv;
    int status = receive_open(connections, endpoint);
    for (size_t i = 0; status == TOOL_OK && i < lintel_listener_count(connections->listener); i++) {
        lintel_listener_text(connections->listener, i, text, sizeof text);
        fprintf(stderr, "listening on %s\n", text);
    }
    return status;
}

/* ---- datagrams ------------------------------------------------------------------------------- */

static void tell_dropped(const struct recv *recv)
{
    struct lintel_datagram_counts counters;
    lintel_datagram_counters(recv->datagram, &counters);
    const struct {
        const char *name;
        uint64_t count;
    } reasons[] = {{"truncated", counters.truncated}, {"with bytes behind", counters.surplus},
                   {"too large", counters.too_large}, {"malformed", counters.malformed},
                   {"fragments", counters.more},      {"control frames", counters.control}};
    const char *before = "lintel recv: datagrams dropped: ";
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        if (reasons[i].count == 0)
            continue;
        fprintf(stderr, "%s%llu %s", before, (unsigned long long)reasons[i].count, reasons[i].name);
        before = ", ";
    }
    if (before[0] == ',')
        fputc('\n', stderr);
}

/* All that are there: -1, more may come; else an exit status. */
static int take_datagrams(struct recv *recv)
{
    struct lintel_error error;
    struct lintel_frame frame;
    int rc;
    while ((rc = lintel_datagram_recv(recv->datagram, &frame, NULL, 0)) == 1)
        if (take_frame(recv, &frame) != TOOL_OK)
            return tool_flush();
    if (tool_flush())
        return TOOL_FAILED;
    if (rc == 0)
        return -1;
    lintel_datagram_error(recv->datagram, &error);
    return tool_fail_error(NULL, &error);
}

#define SOCKETS_MAX 64 /* the library binds no more for one name */

static int run_datagrams(struct recv *recv)
{
    struct pollfd fds[SOCKETS_MAX];
    nfds_t count = (nfds_t)lintel_datagram_count(recv->datagram);
    if (count > SOCKETS_MAX)
        count = SOCKETS_MAX;
    for (nfds_t i = 0; i < count; i++)
        fds[i] = (struct pollfd){lintel_datagram_fd(recv->datagram, i), POLLIN, 0};
    for (;;) {
        int status = take_datagrams(recv);
        if (status >= 0)
            return status;
        if (is_late(recv))
            return fail_late(recv);
        if (interrupted())
            return recv->count == 0
                       ? TOOL_OK
                       : tool_fail("%llu frames came, not %llu", (unsigned long long)recv->taken,
                                   (unsigned long long)recv->count);
        (void)!interrupt_wait(fds, count, -1, recv->deadline);
    }
}

static int open_datagrams(struct recv *recv, const char *endpoint)
{
    struct lintel_datagram_options options = LINTEL_DATAGRAM_OPTIONS_INIT;
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_error error;
    options.layout = recv->framing.layout;
    options.max_frame = recv->framing.max_frame;
    int rc = lintel_datagram_bind(&recv->datagram, endpoint, &options, &error);
    if (rc != LINTEL_OK)
        return tool_fail_error(NULL, &error);
    for (size_t i = 0; i < lintel_datagram_count(recv->datagram); i++) {
        lintel_datagram_text(recv->datagram, i, text, sizeof text);
        fprintf(stderr, "listening on %s\n", text);
    }
    return TOOL_OK;
}

/* ---- the command line ------------------------------------------------------------------------ */

static int run(struct recv *recv, const char *text, const struct lintel_endpoint *endpoint)
{
    int datagrams = endpoint->scheme == LINTEL_UDP || endpoint->scheme == LINTEL_UNIXGRAM;
    interrupt_catch();
    int status = datagrams ? open_datagrams(recv, text) : open_connections(recv, endpoint);
    if (status != TOOL_OK)
        return status;
    if (recv->timeout_ms >= 0)
        recv->deadline = tool_now_ms() + recv->timeout_ms;
    status = datagrams ? run_datagrams(recv) : take_connections(recv);
    if (datagrams)
        tell_dropped(recv);
    return status;
}

static int open_recv(struct recv *recv, int argc, char **argv)
{
    struct lintel_endpoint endpoint;
    struct lintel_error error;
    if (argc != 1)
        return argc == 0 ? tool_misuse("an ENDPOINT is missing")
                         : tool_misuse("one ENDPOINT, not %d", argc);
    if (recv->text + recv->json + recv->hex + recv->raw > 1)
        return tool_misuse("one of --text, --json, --hex and --raw");
    recv->form = recv->json ? SHOW_JSON : recv->hex ? SHOW_HEX : recv->raw ? SHOW_RAW : SHOW_TEXT;
    if (lintel_endpoint_parse(&endpoint, argv[0], &error) != LINTEL_OK)
        return tool_misuse("%s: %s", argv[0], error.text);
    int status = keys_check_endpoint(&recv->keys_options, &endpoint);
    if (status == TOOL_OK)
        status = tool_framing_open(&recv->framing);
    if (status == TOOL_OK)
        status = keys_open(&recv->keys, &recv->keys_options, LINTEL_SEAL_RESPONDER);
    recv->connections.keys = recv->keys;
    return status == TOOL_OK ? run(recv, argv[0], &endpoint) : status;
}

int cmd_recv(int argc, char **argv)
{
    static struct recv recv = {.timeout_ms = -1, .deadline = -1};
    const struct tool_option options[] = {
        {"text", 0, TOOL_FLAG, NULL, "a line for people (this is the default)", &recv.text, 0, 0},
        {"json", 0, TOOL_FLAG, NULL, "a JSON object a line, as encode --json reads it", &recv.json,
         0, 0},
        {"hex", 0, TOOL_FLAG, NULL, "all bytes of each frame, in hexadecimal", &recv.hex, 0, 0},
        {"raw", 0, TOOL_FLAG, NULL, "the payloads as they are, nothing between them", &recv.raw, 0,
         0},
        {"count", 0, TOOL_NUMBER, "N", "end after so many frames (no end)", &recv.count, 1, 0},
        {"timeout", 0, TOOL_TIME, "S", "fail when no frame came for so many seconds (no limit)",
         &recv.timeout_ms, 0, 0},
        TOOL_LAYOUT_OPTIONS(&recv.framing),
        KEYS_OPTIONS(&recv.keys_options),
        TOOL_OPTIONS_END,
    };
    const struct tool_usage usage = {
        "ENDPOINT",
        "Binds, takes connections, several at once, or datagrams, and shows the frames that come.\n"
        "\"listening on ENDPOINT\" is printed on standard error, with the real port. Control "
        "frames\n"
        "are answered, not shown. A peer that sends something else is told so and closed, and the\n"
        "exit status at the end is 1; of datagrams, that is dropped and counted.\n",
        options, 0};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    status = open_recv(&recv, argc, argv);
    if (recv.connections.framing)
        receive_close(&recv.connections);
    lintel_seal_keys_free(recv.keys);
    lintel_datagram_close(recv.datagram);
    tool_framing_close(&recv.framing);
    return status;
}
