/* Calls over a stream: what goes out, what comes back, and what becomes of the rest. */
#include "config.h"
#include "lintel/client.h"

#include "core/internal.h"
#include "net/client_calls.h"
#include "net/stream_state.h"

#include <limits.h>
#include <string.h>

#define QUEUE_LIMIT ((uint64_t)16 << 20) /* unwritten bytes, unless set */
#define PATIENCE    1024 /* replies that may go before a call whose time is up, if they are there */

struct lintel_client {
    struct lintel_stream *stream;
    const struct lintel_allocator *allocator;
    const struct lintel_layout *layout; /* the stream's */
    struct lintelp_calls calls;
    uint64_t number;      /* of the last call, counted without wrapping */
    uint64_t last_number; /* calls behind it were not handled, says a BYE; UINT64_MAX: none does */
    uint64_t max_frame;   /* the stream's: what is longer goes in fragments */
    uint64_t max_queue;
    uint32_t max_calls;
    uint32_t id_max;  /* ids count from 1 to this */
    int id_view;      /* of a foreign layout; -1 */
    int in_order;     /* replies carry no id */
    uint32_t kept;    /* calls that were given out and keep their place */
    uint32_t unsent;  /* sending failed: this call and those behind it are to be given out */
    uint32_t passing; /* replies given out since a call's time is up */
    int send_status, end_status; /* LINTEL_OK while frames may go out, while they may come */
    struct lintel_error lost;    /* why they may not */
    struct lintel_error error;   /* the last one */
    struct lintel_client_counts counters;
};

/* ---- life ------------------------------------------------------------------------------------ */

/* Header and trailer of a foreign layout, with an id of ours. */
struct likeness {
    struct lintel_frame frame;
    uint8_t header[LINTEL_HEADER_MAX], trailer[LINTEL_HEADER_MAX];
};

static int make_like(struct likeness *out, const struct lintel_layout *layout,
                     const struct lintel_value *values, size_t length, struct lintel_error *error)
{
    size_t count = lintel_layout_view_count(layout), size;
    int rc = lintel_layout_put_header(layout, out->header, sizeof out->header, &size, values, count,
                                      length, error);

    memset(&out->frame, 0, sizeof out->frame);
    if (rc < 0)
        return rc;
    out->frame.header = out->header;
    out->frame.header_size = (uint32_t)size;
    rc = lintel_layout_put_trailer(layout, out->trailer, sizeof out->trailer, &size, values, count,
                                   error);
    out->frame.trailer = out->trailer;
    out->frame.trailer_size = (uint32_t)size;
    return rc;
}

static void zero_values(const struct lintel_layout *layout, struct lintel_value *values)
{
    for (size_t i = 0; i < lintel_layout_view_count(layout); i++)
        values[i] = lintel_uint(0);
}

/* The greatest id of the form 2^n - 1 that the layout's id takes; 0 where it has none that counts.
 */
static uint32_t greatest_id(const struct lintel_layout *layout, int view)
{
    struct lintel_value values[LINTEL_VIEWS_MAX];
    const struct lintel_view *about;
    struct likeness like;
    uint32_t id = UINT32_MAX;

    if (lintel_layout_is_lintel(layout))
        return UINT32_MAX;
    about = view >= 0 ? lintel_layout_view(layout, (size_t)view) : NULL;
    if (about == NULL || about->constant || strchr("fdsc", about->code) != NULL)
        return 0;
    zero_values(layout, values);
    for (; id > 0; id >>= 1) {
        values[view] = lintel_uint(id);
        if (make_like(&like, layout, values, 0, NULL) != LINTEL_E_RANGE)
            break;
    }
    return id;
}

/* Payload bytes of a frame, as the stream bounds them. */
static uint64_t frame_limit(const struct lintel_stream *stream)
{
    uint64_t most = lintel_layout_length_max(lintel_stream_layout(stream));

    if (stream->options->max_frame != 0)
        return stream->options->max_frame;
    return most < LINTEL_FRAME_LIMIT ? most : LINTEL_FRAME_LIMIT;
}

static void fill_in(struct lintel_client *c, struct lintel_stream *stream,
                    const struct lintel_client_options *o)
{
    memset(c, 0, sizeof *c);
    c->stream = stream;
    c->allocator = o->allocator;
    c->layout = lintel_stream_layout(stream);
    c->max_frame = frame_limit(stream);
    lintelp_calls_init(&c->calls, o->allocator);
    c->last_number = UINT64_MAX;
    c->unsent = NO_CALL;
    c->max_queue = o->max_queue != 0 ? o->max_queue : QUEUE_LIMIT;
    c->id_view = lintel_layout_find(c->layout, "id");
    c->id_max = greatest_id(c->layout, c->id_view);
    c->in_order = c->id_max == 0;
    if (c->in_order)
        c->id_max = UINT32_MAX;
    c->max_calls = o->max_calls != 0 ? o->max_calls : LINTEL_CALLS_LIMIT;
    if (c->max_calls > c->id_max)
        c->max_calls = c->id_max;
}

int lintel_client_new(struct lintel_client **out, struct lintel_stream *stream,
                      const struct lintel_client_options *options, struct lintel_error *error)
{
    static const struct lintel_client_options defaults = LINTEL_CLIENT_OPTIONS_INIT;
    const struct lintel_client_options *o = options != NULL ? options : &defaults;
    struct lintel_client *c;
    int rc;

    if (out == NULL || stream == NULL || o->size != sizeof *o)
        rc = lintelp_fail(error, LINTEL_E_USAGE, 0, "client: NULL, or options of another size");
    else if (o->max_calls > LINTEL_CALLS_MAX)
        rc = lintelp_fail(error, LINTEL_E_RANGE, 0, "client: more calls than there can be");
    else if ((c = lintelp_resize(o->allocator, NULL, sizeof *c)) == NULL)
        rc = lintelp_fail(error, LINTEL_E_NOMEM, 0, "client: out of memory");
    else {
        fill_in(c, stream, o);
        *out = c;
        return LINTEL_OK;
    }
    lintel_stream_close(stream);
    return rc;
}

int lintel_client_open(struct lintel_client **out, const char *endpoint, int timeout_ms,
                       const struct lintel_stream_options *stream_options,
                       const struct lintel_client_options *options, struct lintel_error *error)
{
    struct lintel_stream *stream;
    int rc = lintel_stream_open(&stream, endpoint, timeout_ms, stream_options, error);

    return rc < 0 ? rc : lintel_client_new(out, stream, options, error);
}

void lintel_client_close(struct lintel_client *client)
{
    if (client == NULL)
        return;
    lintel_stream_close(client->stream);
    lintelp_calls_fini(&client->calls);
    (void)lintelp_resize(client->allocator, client, 0);
}

/* ---- errors ---------------------------------------------------------------------------------- */

static int fail(struct lintel_client *c, int status, const char *sentence)
{
    return lintelp_fail(&c->error, status, 0, sentence);
}

/* The stream has said no. */
static int stream_failed(struct lintel_client *c, int status)
{
    lintel_stream_error(c->stream, &c->error);
    return status;
}

/* "call 5 (sent, the peer may have handled it): " and what is behind it. */
static struct lintelp_text begin_text(struct lintel_client *c, const struct lintel_finished *call)
{
    static const char *const outcomes[] = {
        [LINTEL_CALL_ANSWERED] = ": ",
        [LINTEL_CALL_NOT_SENT] = " (not sent): ",
        [LINTEL_CALL_NOT_HANDLED] = " (sent, not handled): ",
        [LINTEL_CALL_UNKNOWN] = " (perhaps handled): ",
    };
    struct lintelp_text text = lintelp_error(&c->error, call->status, 0);

    lintelp_text_str(&text, "call ");
    lintelp_text_u64(&text, call->id);
    lintelp_text_str(&text, outcomes[call->outcome]);
    return text;
}

/* ---- the end of a call ----------------------------------------------------------------------- */

/* Take a call out of the open ones. */
static void forget(struct lintel_client *c, uint32_t slot)
{
    if (c->unsent == slot)
        c->unsent = c->calls.slots[slot].after;
    lintelp_calls_remove(&c->calls, slot);
}

/* The same without its reply: where replies come in order its place has to stay, until one comes or
 * take_lost() says that none will. */
static void forget_unanswered(struct lintel_client *c, uint32_t slot)
{
    if (!c->in_order) {
        forget(c, slot);
        return;
    }
    lintelp_calls_untime(&c->calls, slot);
    c->calls.slots[slot].over = 1;
    c->kept++;
}

static void finish(struct lintel_client *c, struct lintel_finished *out, uint32_t slot, int status,
                   enum lintel_outcome outcome)
{
    memset(out, 0, sizeof *out);
    out->id = c->calls.slots[slot].id;
    out->user = c->calls.slots[slot].user;
    out->status = status;
    out->outcome = outcome;
}

static int answer(struct lintel_client *c, struct lintel_finished *out, uint32_t slot,
                  const struct lintel_message *message)
{
    int refused = lintel_layout_is_lintel(c->layout) && (message->header.flags & LINTEL_ERROR) != 0;
    struct lintelp_text text;

    finish(c, out, slot, refused ? LINTEL_E_REFUSED : LINTEL_OK, LINTEL_CALL_ANSWERED);
    out->message = *message;
    c->counters.answered++;
    if (refused) {
        c->counters.refused++;
        text = begin_text(c, out);
        lintelp_text_str(&text, "the peer answered with an error: ");
        lintelp_text_quote(&text, message->frame.payload, message->frame.length);
    }
    forget(c, slot);
    return 1;
}

/* Whether it went out whole, and what a BYE says of it. */
static enum lintel_outcome outcome_of(const struct lintel_client *c,
                                      const struct lintelp_call *call)
{
    if (c->stream->counters.frames_out < call->frame)
        return LINTEL_CALL_NOT_SENT;
    return call->number > c->last_number ? LINTEL_CALL_NOT_HANDLED : LINTEL_CALL_UNKNOWN;
}

/* The next call that ends with the connection. Returns 1, or 0. */
static int take_lost(struct lintel_client *c, struct lintel_finished *out)
{
    struct lintelp_text text;
    uint32_t slot;

    for (;;) {
        slot = c->unsent == NO_CALL && c->end_status < 0 ? c->calls.first : c->unsent;
        if (slot == NO_CALL)
            return 0;
        if (!c->calls.slots[slot].over)
            break;
        c->kept--;
        forget(c, slot);
    }
    finish(c, out, slot, c->lost.status, outcome_of(c, &c->calls.slots[slot]));
    text = begin_text(c, out);
    lintelp_text_str(&text, c->lost.text);
    c->error.system = c->lost.system;
    c->counters.lost++;
    forget(c, slot);
    return 1;
}

/* The next call whose time is up. Returns 1, or 0. */
static int take_expired(struct lintel_client *c, struct lintel_finished *out)
{
    uint32_t slot = lintelp_calls_soonest(&c->calls);
    struct lintelp_text text;

    if (slot == NO_CALL || c->calls.slots[slot].deadline > lintelp_now()) {
        c->passing = 0;
        return 0;
    }
    finish(c, out, slot, LINTEL_E_TIMEOUT, LINTEL_CALL_UNKNOWN);
    text = begin_text(c, out);
    lintelp_text_str(&text, "no reply came in time");
    c->counters.timed_out++;
    forget_unanswered(c, slot);
    return 1;
}

/* ---- the end of the connection --------------------------------------------------------------- */

/* The number of the request that a BYE names as the last one taken; UINT64_MAX for an id that was
 * never sent. */
static uint64_t number_of(const struct lintel_client *c, uint32_t id)
{
    uint32_t slot = lintelp_calls_find(&c->calls, id);
    uint64_t back;

    if (id == 0)
        return 0;
    if (slot != NO_CALL)
        return c->calls.slots[slot].number;
    if (id > c->id_max)
        return UINT64_MAX;
    back = (c->number % c->id_max + c->id_max - id % c->id_max) % c->id_max;
    return back < c->number ? c->number - back : UINT64_MAX;
}

/* Nothing more comes in. */
static void end_receiving(struct lintel_client *c, int status)
{
    uint32_t last_id;

    c->end_status = status;
    lintel_stream_error(c->stream, &c->lost);
    c->lost.status = status;
    if (!lintel_stream_peer_bye(c->stream, NULL, &last_id))
        return;
    c->last_number = number_of(c, last_id);
    (void)!lintel_stream_shutdown(c->stream, 0);
}

/*
 * Nothing more goes out: what was not written never will be, and those calls are over. Those that
 * went out may still be answered. A message that memory failed in its middle keeps the stream from
 * going on at all.
 */
static void end_sending(struct lintel_client *c, int status)
{
    uint64_t written = c->stream->counters.frames_out;
    uint32_t slot = c->calls.last;

    c->send_status = status;
    lintel_stream_error(c->stream, &c->lost);
    c->lost.status = status;
    if (lintel_stream_queued(c->stream) > 0) {
        c->end_status = lintelp_fail(&c->lost, status, 0, "out of memory inside a message");
        return;
    }
    while (slot != NO_CALL && c->calls.slots[slot].frame > written) {
        c->unsent = slot;
        slot = c->calls.slots[slot].before;
    }
}

/* Write what goes without waiting. Returns 1 if that has ended calls, else 0. */
static int flush(struct lintel_client *c)
{
    int rc = c->send_status == LINTEL_OK ? lintel_stream_flush(c->stream, 0) : 0;

    if (rc < 0)
        end_sending(c, rc);
    return rc < 0;
}

/* recv said no. Returns 0 look again, or the status for the caller. */
static int receive_failed(struct lintel_client *c, int status)
{
    if (c->stream->in_status < 0) {
        end_receiving(c, status);
        return 0;
    }
    if (status == LINTEL_E_CLOSED || status == LINTEL_E_RESET || status == LINTEL_E_SYSTEM) {
        (void)flush(c);
        return 0;
    }
    return stream_failed(c, status);
}

/* ---- starting -------------------------------------------------------------------------------- */

/* What a foreign header is to say. */
static int read_values(struct lintel_client *c, struct lintel_value *values, uint32_t id,
                       const struct lintel_call *call)
{
    const struct lintel_layout *layout = c->layout;
    int type = lintel_layout_find(layout, "type");

    zero_values(layout, values);
    if (call->like != NULL &&
        lintel_layout_read(layout, values, lintel_layout_view_count(layout), call->like) < 0)
        return fail(c, LINTEL_E_MALFORMED, "client: the frame to be like is not of this layout");
    if (call->like == NULL && type < 0 && call->type != 0)
        return fail(c, LINTEL_E_RANGE, "the layout has no view named type");
    if (call->like == NULL && type >= 0)
        values[type] = lintel_uint(call->type);
    if (!c->in_order)
        values[c->id_view] = lintel_uint(id);
    return LINTEL_OK;
}

static int put(struct lintel_client *c, const struct lintel_header *header,
               const struct lintel_call *call, int *released, int timeout_ms)
{
    int rc;

    *released = call->by_reference && call->size <= c->max_frame;
    rc = *released
             ? lintel_stream_send_ref(c->stream, header, call->payload, call->size, call->release,
                                      call->release_user, timeout_ms)
             : lintel_stream_send_message(c->stream, header, call->payload, call->size, timeout_ms);
    return rc < 0 ? stream_failed(c, rc) : rc;
}

/* Send the request. Where *released is 0 its payload is still to be released. */
static int send_request(struct lintel_client *c, uint32_t id, const struct lintel_call *call,
                        int *released, int timeout_ms)
{
    struct lintel_header header = {0, call->type, id, NULL};
    const struct lintel_layout *layout = c->layout;
    struct lintel_value values[LINTEL_VIEWS_MAX];
    struct likeness like;
    int rc;

    if (lintel_layout_is_lintel(layout))
        return put(c, &header, call, released, timeout_ms);
    rc = read_values(c, values, id, call);
    if (rc == LINTEL_OK)
        rc = make_like(&like, layout, values, call->size, &c->error);
    header.like = &like.frame;
    return rc < 0 ? rc : put(c, &header, call, released, timeout_ms);
}

/* Whether a call may be started now. */
static int may_start(struct lintel_client *c, int timeout_ms)
{
    if (c->end_status < 0 || c->send_status < 0) {
        c->error = c->lost;
        return c->error.status = LINTEL_E_CLOSED;
    }
    if (c->calls.count >= c->max_calls)
        return fail(c, LINTEL_E_COUNT, "client: as many calls are open as there may be");
    if (timeout_ms == 0 && lintel_stream_queued(c->stream) >= c->max_queue) {
        if (flush(c))
            return fail(c, LINTEL_E_CLOSED, c->lost.text);
        if (lintel_stream_queued(c->stream) >= c->max_queue)
            return fail(c, LINTEL_E_TIMEOUT, "client: as many bytes are queued as there may be");
    }
    return LINTEL_OK;
}

/* The next id, and the number of its call. */
static uint32_t next_id(struct lintel_client *c)
{
    uint32_t id;

    do
        id = (uint32_t)(c->number++ % c->id_max) + 1;
    while (lintelp_calls_find(&c->calls, id) != NO_CALL);
    return id;
}

static uint64_t deadline_of(const struct lintel_call *call)
{
    return call->deadline_ms > 0 ? lintelp_now() + (uint64_t)call->deadline_ms * 1000000 : 0;
}

static int start(struct lintel_client *c, uint32_t *id, const struct lintel_call *call,
                 int *released, int timeout_ms)
{
    uint64_t queued;
    uint32_t slot;
    int rc = may_start(c, timeout_ms);

    if (rc < 0)
        return rc;
    *id = next_id(c);
    if (lintelp_calls_add(&c->calls, &slot, *id, c->number, deadline_of(call)) < 0)
        return fail(c, LINTEL_E_NOMEM, "client: out of memory");
    rc = send_request(c, *id, call, released, timeout_ms);
    if (rc < 0) {
        lintelp_calls_remove(&c->calls, slot);
        return rc;
    }
    lintel_stream_unsent(c->stream, &queued, NULL);
    c->calls.slots[slot].user = call->user;
    c->calls.slots[slot].frame = c->stream->counters.frames_out + queued;
    c->counters.started++;
    return LINTEL_OK;
}

int lintel_client_start(struct lintel_client *client, uint32_t *id, const struct lintel_call *call,
                        int timeout_ms)
{
    int rc = LINTEL_E_USAGE, released = 0;
    uint32_t given = 0;

    if (call == NULL)
        return LINTEL_E_USAGE;
    if (client != NULL && (call->payload != NULL || call->size == 0))
        rc = start(client, &given, call, &released, timeout_ms);
    if (call->by_reference && !released && call->release != NULL)
        call->release(call->release_user, call->payload, call->size);
    if (rc == LINTEL_OK && id != NULL)
        *id = given;
    return rc;
}

/* ---- replies --------------------------------------------------------------------------------- */

static int drop(struct lintel_client *c, uint64_t id)
{
    if (id != 0 && id <= c->id_max && id <= c->number)
        c->counters.late++;
    else
        c->counters.unknown++;
    return 0;
}

/* The id of a reply; 0 where it is none of ours. */
static uint64_t read_id(const struct lintel_client *c, const struct lintel_message *message)
{
    struct lintel_value value;

    if (lintel_layout_is_lintel(c->layout))
        return message->header.id;
    if (lintel_layout_read_one(c->layout, &value, (size_t)c->id_view, &message->frame) < 0)
        return 0;
    if (value.kind == LINTEL_INT)
        return value.as.i > 0 ? (uint64_t)value.as.i : 0;
    return value.kind == LINTEL_UINT ? value.as.u : 0;
}

/* Replies that come in order belong to the oldest call, even if that was given out. */
static int take_in_order(struct lintel_client *c, struct lintel_finished *out,
                         const struct lintel_message *message)
{
    uint32_t slot = c->calls.first;

    if (slot == NO_CALL)
        return drop(c, 0);
    if (!c->calls.slots[slot].over)
        return answer(c, out, slot, message);
    c->kept--;
    forget(c, slot);
    c->counters.late++;
    return 0;
}

/* A message is there. Returns 1 *out is the call that it answers, or 0 it was dropped. */
static int take_message(struct lintel_client *c, struct lintel_finished *out,
                        const struct lintel_message *message)
{
    uint64_t id;
    uint32_t slot;

    if (lintel_layout_is_lintel(c->layout) && (message->header.flags & LINTEL_REPLY) == 0) {
        c->counters.requests++;
        return 0;
    }
    if (c->in_order)
        return take_in_order(c, out, message);
    id = read_id(c, message);
    slot = id <= UINT32_MAX ? lintelp_calls_find(&c->calls, (uint32_t)id) : NO_CALL;
    return slot != NO_CALL ? answer(c, out, slot, message) : drop(c, id);
}

/* ---- taking ---------------------------------------------------------------------------------- */

static int left_of(uint64_t deadline)
{
    uint64_t now = lintelp_now(), ms;

    if (now >= deadline)
        return 0;
    ms = (deadline - now + 999999) / 1000000;
    return ms < INT_MAX ? (int)ms : INT_MAX;
}

static int shorter(int a, int b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* Milliseconds until the first call's time is up; -1 for never. */
static int timed_ms(const struct lintel_client *c)
{
    uint32_t slot = lintelp_calls_soonest(&c->calls);

    return slot != NO_CALL ? left_of(c->calls.slots[slot].deadline) : -1;
}

/*
 * Receive a message, for as long as nothing else is due. Returns 1 *out is finished, 0 nothing
 * came, 2 look again, or a status for the caller.
 */
static int receive(struct lintel_client *c, struct lintel_finished *out, int wait_ms)
{
    struct lintel_message message;
    int rc = lintel_stream_recv_message(c->stream, &message, wait_ms);

    if (rc == 1) {
        if (!take_message(c, out, &message))
            return take_expired(c, out) ? 1 : 2;
        c->passing++;
        return 1;
    }
    if (rc < 0 && (rc != LINTEL_E_TIMEOUT || c->stream->in_status < 0))
        return (rc = receive_failed(c, rc)) < 0 ? rc : 2;
    return 0;
}

int lintel_client_next(struct lintel_client *client, struct lintel_finished *out, int timeout_ms)
{
    struct lintelp_deadline deadline = {timeout_ms, 0};
    struct lintel_client *c = client;
    int rc, left;

    if (c == NULL || out == NULL)
        return LINTEL_E_USAGE;
    for (;;) {
        if (take_lost(c, out) || (c->passing >= PATIENCE && take_expired(c, out)))
            return 1;
        if (c->end_status < 0) {
            c->error = c->lost;
            return c->end_status;
        }
        left = lintel_client_calls(c) > 0 ? lintelp_deadline_left(&deadline) : 0;
        rc = receive(c, out, shorter(left, timed_ms(c)));
        if (rc == 2)
            continue;
        if (rc != 0)
            return rc;
        if (take_expired(c, out))
            return 1;
        if (flush(c))
            continue;
        if (timeout_ms == 0 || lintel_client_calls(c) == 0)
            return 0;
        if (left >= 0 && lintelp_deadline_left(&deadline) == 0)
            return fail(c, LINTEL_E_TIMEOUT, "client: no call was finished in time");
    }
}

int lintel_client_cancel(struct lintel_client *client, uint32_t id)
{
    uint32_t slot = client != NULL ? lintelp_calls_find(&client->calls, id) : NO_CALL;

    if (slot == NO_CALL || client->calls.slots[slot].over)
        return LINTEL_E_USAGE;
    forget_unanswered(client, slot);
    return LINTEL_OK;
}

/* ---- call and wait --------------------------------------------------------------------------- */

/* There is no reply, and will be none for anybody. */
static int give_up(struct lintel_client *c, struct lintel_finished *out, uint32_t id, int status)
{
    out->id = id;
    out->status = status;
    out->outcome = id != 0 ? LINTEL_CALL_UNKNOWN : LINTEL_CALL_NOT_SENT;
    if (id != 0)
        (void)lintel_client_cancel(c, id);
    return status;
}

int lintel_client_call(struct lintel_client *client, struct lintel_finished *out,
                       const struct lintel_call *call, int timeout_ms)
{
    struct lintel_call timed;
    uint32_t id;
    int rc;

    if (client == NULL || out == NULL || call == NULL || timeout_ms == 0 ||
        lintel_client_calls(client) > 0) {
        if (call != NULL && call->by_reference && call->release != NULL)
            call->release(call->release_user, call->payload, call->size);
        return LINTEL_E_USAGE;
    }
    timed = *call;
    timed.deadline_ms = timeout_ms;
    memset(out, 0, sizeof *out);
    out->user = call->user;
    rc = lintel_client_start(client, &id, &timed, timeout_ms);
    if (rc < 0)
        return give_up(client, out, 0, rc);
    rc = lintel_client_next(client, out, -1);
    return rc == 1 ? out->status : give_up(client, out, id, rc);
}

/* ---- under an event loop, and asking --------------------------------------------------------- */

int lintel_client_wants(const struct lintel_client *client)
{
    return client != NULL && client->end_status == LINTEL_OK ? lintel_stream_wants(client->stream)
                                                             : 0;
}

int lintel_client_wait_ms(const struct lintel_client *client)
{
    if (client == NULL)
        return -1;
    if (client->unsent != NO_CALL || (client->end_status < 0 && lintel_client_calls(client) > 0))
        return 0;
    if (client->end_status < 0)
        return -1;
    return shorter(lintel_stream_wait_ms(client->stream), timed_ms(client));
}

size_t lintel_client_calls(const struct lintel_client *client)
{
    return client != NULL ? client->calls.count - client->kept : 0;
}

void lintel_client_counters(const struct lintel_client *client, struct lintel_client_counts *out)
{
    if (out == NULL)
        return;
    if (client != NULL)
        *out = client->counters;
    else
        memset(out, 0, sizeof *out);
}

void lintel_client_error(const struct lintel_client *client, struct lintel_error *out)
{
    if (out == NULL)
        return;
    if (client != NULL)
        *out = client->error;
    else
        memset(out, 0, sizeof *out);
}

struct lintel_stream *lintel_client_stream(const struct lintel_client *client)
{
    return client != NULL ? client->stream : NULL;
}

size_t lintel_client_memory(const struct lintel_client *client)
{
    return client != NULL ? lintelp_calls_memory(&client->calls) : 0;
}
