#include "config.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>

#include "proxy.h"

#define READ_SIZE   ((size_t)64 * 1024)
#define READS       4                   /* of one flow before the next one's turn */
#define WRITES      1024                /* the same */
#define QUEUE_MAX   ((size_t)1 << 20)   /* bytes that wait to be written stop reading */
#define DECODER_MAX ((size_t)64 * 1024) /* storage that an idle decoder keeps */
#define MODE_MAC    1                   /* of a sealed session; fixed by the protocol */

/* ---- saying ---------------------------------------------------------------------------------- */

static void say(const struct proxy_flow *flow, const char *text)
{
    (void)tool_fail("connection %llu %c %s", (unsigned long long)flow->pair->number,
                    flow->direction, text);
}

static void say_fault(const struct proxy_flow *flow, const struct lintel_frame *frame,
                      const char *what)
{
    char text[128];
    snprintf(text, sizeof text, "frame at byte %llu: %s", (unsigned long long)frame->offset, what);
    say(flow, text);
}

/* The decoder counts from its first byte, people from that of the stream. */
static void say_error(const struct proxy_flow *flow, const struct lintel_error *error,
                      const char *then)
{
    char text[LINTEL_TEXT_SIZE + 128];
    const char *rest = strchr(error->text, ':');
    if (flow->base > 0 && rest)
        snprintf(text, sizeof text, "frame at byte %llu%s; %s",
                 (unsigned long long)(flow->base + error->at), rest, then);
    else
        snprintf(text, sizeof text, "%s; %s", error->text, then);
    say(flow, text);
}

/* On standard output, between the frames; JSON is for frames alone. */
static void show_end(const struct proxy_flow *flow, const char *how)
{
    if (!flow->proxy->quiet && flow->proxy->form != SHOW_JSON)
        printf("%llu %c %s after %llu byte%s\n", (unsigned long long)flow->pair->number,
               flow->direction, how, (unsigned long long)flow->arrived,
               flow->arrived == 1 ? "" : "s");
}

/* What a sealed session shows of a frame: HELLOs and a BYE before the handshake is done are no
 * records. The third byte of the first HELLO's payload is the mode of both directions. */
static enum show_seal seal_of(struct proxy_flow *flow, const struct lintel_frame *frame)
{
    struct lintel_header header;
    if (!flow->sealed || lintel_header_read(NULL, &header, frame) != LINTEL_OK ||
        !(header.flags & LINTEL_CONTROL))
        return SHOW_PLAIN;
    if (flow->frames == 0 && flow->direction == '>' && frame->length > 3)
        flow->pair->seal_mode = frame->payload[2];
    if (header.type != LINTEL_SEALED)
        return SHOW_PLAIN;
    return flow->pair->seal_mode == MODE_MAC ? SHOW_UNVERIFIED : SHOW_SEALED;
}

static void show(struct proxy_flow *flow, const struct lintel_frame *frame)
{
    struct show_origin origin = {flow->pair->number, flow->direction, seal_of(flow, frame)};
    if (!flow->proxy->quiet)
        show_passing(stdout, flow->proxy->form, lintel_decoder_layout(flow->decoder), frame,
                     &origin);
}

/* ---- passing on ------------------------------------------------------------------------------ */

/* Without memory a connection cannot go on; the others can. */
static void check(struct proxy_flow *flow, int status)
{
    if (status != TOOL_OK)
        flow->pair->reset = 1;
}

static int64_t due(const struct proxy_flow *flow)
{
    return flow->proxy->delay_ms ? flow->proxy->now + (int64_t)flow->proxy->delay_ms : 0;
}

static void put(struct proxy_flow *flow, const uint8_t *bytes, size_t size)
{
    check(flow, proxy_queue_write(&flow->queue, bytes, size, due(flow)));
}

static void put_step(struct proxy_flow *flow, enum proxy_step step)
{
    check(flow, proxy_queue_step(&flow->queue, step, due(flow)));
}

/* Where in held the byte of that offset is. */
static size_t place(const struct proxy_flow *flow, uint64_t offset)
{
    return flow->held.used - (size_t)(flow->arrived - offset);
}

/* All before that offset, as it came. */
static void pass(struct proxy_flow *flow, uint64_t offset)
{
    size_t until = place(flow, offset);
    if (until <= flow->passed)
        return;
    put(flow, flow->held.bytes + flow->passed, until - flow->passed);
    flow->passed = until;
}

static void corrupt(struct proxy_flow *flow, const struct lintel_frame *frame,
                    const struct chaos_plan *plan)
{
    char what[64];
    uint8_t *byte = flow->held.bytes + place(flow, frame->offset + plan->byte);
    snprintf(what, sizeof what, "corrupted byte %llu, 0x%02x to 0x%02x",
             (unsigned long long)plan->byte, *byte, *byte ^ plan->flip);
    *byte ^= plan->flip;
    say_fault(flow, frame, what);
}

/* A frame that is whole in held meets its faults. */
static void put_frame(struct proxy_flow *flow, const struct lintel_frame *frame)
{
    struct chaos_plan plan;
    size_t size = frame->header_size + frame->length + frame->trailer_size;
    chaos_decide(&flow->proxy->chaos, &plan, flow->pair->number, flow->direction, flow->frames,
                 size);
    flow->discards = plan.fault[CHAOS_RESET] || plan.fault[CHAOS_HALF_CLOSE];
    if (plan.fault[CHAOS_RESET]) {
        say_fault(flow, frame, "reset");
        put_step(flow, PROXY_RESET);
        return;
    }
    if (plan.fault[CHAOS_DROP]) {
        say_fault(flow, frame, "dropped");
        flow->passed += size;
    } else {
        const uint8_t *bytes = flow->held.bytes + flow->passed;
        if (plan.fault[CHAOS_CORRUPT])
            corrupt(flow, frame, &plan);
        put(flow, bytes, size);
        flow->passed += size;
        if (plan.fault[CHAOS_DUPLICATE]) {
            say_fault(flow, frame, "duplicated");
            put(flow, bytes, size);
        }
    }
    if (plan.fault[CHAOS_HALF_CLOSE]) {
        say_fault(flow, frame, "half-closed after it");
        put_step(flow, PROXY_SHUT);
    }
}

/* ---- finding frames -------------------------------------------------------------------------- */

static int open_decoder(struct proxy_flow *flow)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    /* Records and handshakes have a limit of their own, below that of any frame. */
    if (!flow->sealed) {
        options.layout = flow->proxy->framing.layout;
        options.max_frame = flow->proxy->framing.max_frame;
    }
    options.over_limit = flow->skipping ? LINTEL_OVER_LIMIT_SKIP : LINTEL_OVER_LIMIT_FAIL;
    int rc = lintel_decoder_new(&flow->decoder, &options, NULL);
    if (rc == LINTEL_OK)
        return TOOL_OK;
    return tool_fail("%s", lintel_strerror(rc));
}

static void feed(struct proxy_flow *flow, const uint8_t *bytes, size_t size);

static void close_decoder(struct proxy_flow *flow)
{
    lintel_decoder_free(flow->decoder);
    flow->decoder = NULL;
    flow->reading = PROXY_BYTES;
}

/* A frame over the limit passes as it is; what follows it is read again. */
static void skip_frame(struct proxy_flow *flow)
{
    struct lintel_decoder *stopped = flow->decoder;
    struct lintel_part parts[2];
    struct tool_buffer rest = {NULL, 0, 0};
    flow->base += lintel_decoder_offset(stopped);
    flow->skipping = 1;
    (void)lintel_decoder_rest(stopped, parts);
    if (open_decoder(flow) || tool_buffer_add(&rest, parts[0].bytes, parts[0].size) ||
        tool_buffer_add(&rest, parts[1].bytes, parts[1].size))
        flow->pair->reset = 1;
    else
        feed(flow, rest.bytes, rest.used);
    lintel_decoder_free(stopped);
    tool_buffer_free(&rest);
}

static void stop_frames(struct proxy_flow *flow, int status)
{
    struct lintel_error error;
    if (status == LINTEL_E_END)
        return;
    lintel_decoder_error(flow->decoder, &error);
    if (status == LINTEL_E_TOO_LARGE && !flow->skipping) {
        say_error(flow, &error, "it is passed as it is");
        skip_frame(flow);
        return;
    }
    say_error(flow, &error,
              status == LINTEL_E_TRUNCATED ? "it is passed as it is"
                                           : "from there on bytes are passed as they are");
    close_decoder(flow);
}

static void take_frames(struct proxy_flow *flow)
{
    struct lintel_frame frame;
    int rc = 0;
    while (!flow->discards && (rc = lintel_decoder_next(flow->decoder, &frame)) == 1) {
        frame.offset += flow->base;
        show(flow, &frame);
        if (flow->proxy->holds) {
            pass(flow, frame.offset);
            put_frame(flow, &frame);
        }
        flow->frames++;
    }
    if (rc < 0)
        stop_frames(flow, rc);
}

static void feed(struct proxy_flow *flow, const uint8_t *bytes, size_t size)
{
    if (size > 0 && lintel_decoder_feed(flow->decoder, bytes, size) != LINTEL_OK)
        close_decoder(flow);
    else
        take_frames(flow);
}

/* Whether these are the first bytes of a HELLO, that is of its header: 1, 0, or -1 for too few. */
static int is_hello(const uint8_t *bytes, size_t size)
{
    static const uint64_t lengths[] = {48, 51, 99}; /* fixed by the protocol */
    const struct lintel_header hello = {.flags = LINTEL_CONTROL, .type = LINTEL_HELLO};
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        uint8_t wanted[LINTEL_HEADER_SIZE];
        size_t whole;
        if (lintel_frame_put_header(NULL, wanted, sizeof wanted, &whole, &hello, lengths[i],
                                    NULL) == LINTEL_OK &&
            (size == 0 || memcmp(wanted, bytes, size < whole ? size : whole) == 0))
            return size >= whole ? 1 : -1;
    }
    return 0;
}

static void begin(struct proxy_flow *flow, int sealed)
{
    flow->sealed = sealed;
    flow->reading = PROXY_FRAMES;
    check(flow, open_decoder(flow));
    if (flow->decoder)
        feed(flow, flow->held.bytes, flow->held.used);
}

/* Pass on what nothing can happen to any more, and forget what was passed. */
static void settle(struct proxy_flow *flow)
{
    uint64_t whole = flow->arrived;
    if (flow->proxy->holds && flow->reading == PROXY_BEGINS)
        whole -= flow->held.used;
    if (flow->proxy->holds && flow->reading == PROXY_FRAMES && flow->decoder)
        whole -= lintel_decoder_unread(flow->decoder);
    if (flow->discards)
        flow->passed = flow->held.used;
    else
        pass(flow, whole);
    if (flow->reading == PROXY_BEGINS && !flow->discards)
        return;
    flow->held.used -= flow->passed;
    if (flow->held.used == 0)
        tool_buffer_free(&flow->held);
    else if (flow->passed > 0)
        memmove(flow->held.bytes, flow->held.bytes + flow->passed, flow->held.used);
    flow->passed = 0;
    if (flow->decoder && lintel_decoder_memory(flow->decoder) > DECODER_MAX &&
        lintel_decoder_unread(flow->decoder) == 0)
        lintel_decoder_trim(flow->decoder);
}

/* The last size bytes of held are new. */
static void take_bytes(struct proxy_flow *flow, size_t size)
{
    int hello = flow->reading == PROXY_BEGINS ? is_hello(flow->held.bytes, flow->held.used) : -1;
    if (flow->reading == PROXY_FRAMES)
        feed(flow, flow->held.bytes + flow->held.used - size, size);
    else if (hello >= 0)
        begin(flow, hello);
    settle(flow);
}

/* ---- reading --------------------------------------------------------------------------------- */

static void take_end(struct proxy_flow *flow)
{
    flow->ended = 1;
    show_end(flow, "end");
    if (flow->discards)
        return;
    if (flow->reading == PROXY_BEGINS)
        begin(flow, 0);
    if (flow->decoder) {
        (void)lintel_decoder_end(flow->decoder);
        take_frames(flow);
    }
    close_decoder(flow);
    settle(flow);
    put_step(flow, PROXY_SHUT);
}

/* What came before a reset goes before it. */
static void take_failure(struct proxy_flow *flow, int number)
{
    flow->ended = 1;
    show_end(flow, "reset");
    if (number != ECONNRESET && number != EPIPE)
        say(flow, strerror(number));
    if (!flow->shut && !flow->discards)
        put_step(flow, PROXY_RESET);
    else
        flow->pair->reset = 1;
    flow->discards = 1;
}

static void read_in(struct proxy_flow *flow)
{
    for (int i = 0; i < READS && proxy_flow_wants_in(flow); i++) {
        if (tool_buffer_reserve(&flow->held, READ_SIZE)) {
            flow->pair->reset = 1;
            return;
        }
        ssize_t got = proxy_end_read(flow->from, flow->held.bytes + flow->held.used, READ_SIZE);
        if (got < 0 && errno == EAGAIN)
            break;
        if (got < 0) {
            take_failure(flow, errno);
        } else if (got == 0) {
            take_end(flow);
        } else {
            flow->held.used += (size_t)got;
            flow->arrived += (uint64_t)got;
            take_bytes(flow, (size_t)got);
        }
    }
    if (flow->held.used == 0)
        tool_buffer_free(&flow->held);
}

/* ---- writing --------------------------------------------------------------------------------- */

/* The peer is gone: what it sent before it went still goes back, and then the other side learns
 * that not all was taken. */
static void break_off(struct proxy_flow *flow)
{
    flow->broken = flow->shut = flow->discards = 1;
    proxy_queue_free(&flow->queue);
}

static void take_step(struct proxy_flow *flow, enum proxy_step step)
{
    proxy_queue_done(&flow->queue, 0);
    if (step == PROXY_RESET) {
        flow->pair->reset = 1;
        return;
    }
    flow->shut = 1;
    proxy_end_shut(flow->to);
}

/* The first item, if its time has come. */
static const struct proxy_item *next_item(const struct proxy_flow *flow)
{
    const struct proxy_item *item = proxy_queue_first(&flow->queue);
    return item && item->due <= flow->proxy->now ? item : NULL;
}

static void write_out(struct proxy_flow *flow)
{
    const struct proxy_item *item = NULL;
    for (int i = 0; i < WRITES && !flow->pair->reset && (item = next_item(flow)); i++) {
        if (item->step != PROXY_WRITE) {
            take_step(flow, item->step);
            continue;
        }
        size_t size = item->size;
        if (flow->proxy->split && size > flow->proxy->split)
            size = (size_t)flow->proxy->split;
        ssize_t put = proxy_end_write(flow->to, proxy_queue_bytes(&flow->queue), size);
        if (put >= 0) {
            proxy_queue_done(&flow->queue, (size_t)put);
            continue;
        }
        flow->blocked = errno == EAGAIN;
        if (!flow->blocked)
            break_off(flow);
        return;
    }
}

/* ---- the loop -------------------------------------------------------------------------------- */

int proxy_flow_wants_in(const struct proxy_flow *flow)
{
    return !flow->ended && !flow->pair->reset &&
           (flow->discards || proxy_queue_size(&flow->queue) < QUEUE_MAX);
}

int proxy_flow_wants_out(const struct proxy_flow *flow)
{
    return flow->blocked && next_item(flow) != NULL;
}

void proxy_flow_work(struct proxy_flow *flow, int readable, int writable)
{
    struct proxy *proxy = flow->proxy;
    if (readable)
        read_in(flow);
    if (writable)
        flow->blocked = 0;
    if (!flow->blocked)
        write_out(flow);
    const struct proxy_item *item = proxy_queue_first(&flow->queue);
    if (!item || flow->blocked)
        return;
    if (item->due <= proxy->now)
        proxy->busy = 1;
    else if (proxy->wakes < 0 || item->due < proxy->wakes)
        proxy->wakes = item->due;
}

void proxy_flow_close(struct proxy_flow *flow)
{
    lintel_decoder_free(flow->decoder);
    tool_buffer_free(&flow->held);
    proxy_queue_free(&flow->queue);
}
