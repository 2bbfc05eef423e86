#include "config.h"
#include "exchange.h"

#include "lintel/server.h"
#include "util.h"
#include "wrap.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

enum {
    SMALL = 40,      /* bytes of a payload */
    LARGE = 90000,   /* the same, of several frames */
    LARGEST = 30000, /* the same, of one, where there are no fragments */
    FRAME = 36000,   /* max_frame, over what is written from the caller's memory */
    REQUESTS = 10,   /* of one client */
    LATER = 16,      /* kept requests */
    STEP_MS = 50,    /* the clock goes on so far when nothing else happens */
    WAIT_MS = 3000,  /* deadline of a patient client's calls */
    GIVE_UP_MS = 8000,
    NOMEM_MAX = 4 /* times that a client calls again */
};

enum role {
    ROLE_HALF, /* sends, shuts down writing, and reads to the end */
    ROLE_BYE,  /* has its replies, says BYE, and lingers */
    ROLE_STAY, /* has its reply, and stays until the server drains */
    ROLE_SAY,  /* wants no reply, and says BYE at once */
    ROLES
};
static const char *const role_names[ROLES] = {"half", "bye", "stay", "say"};

/* What the handler does with it: echo, keep, post, fail, nothing, take descriptors; P is a PING. */
static const char *const verbs[2][ROLES] = {
    {"eeenEPkpfe", "eEk", "e", "nn"}, /* lintel's own layout */
    {"eeeEkpe", "eEk", "e", "e"}      /* others */
};

enum fate {
    UNSENT,
    REFUSED, /* send did not take it */
    TAKEN,
    ANSWERED
};

struct request {
    char verb;
    size_t size;
    enum fate fate;
    int seen; /* times that the handler saw it */
};

struct client {
    struct exchange *x;
    enum role role;
    struct lintel_stream *stream; /* NULL: not yet, or over */
    struct request requests[REQUESTS];
    size_t count, open; /* open: taken, and wait for an answer */
    int connected, sent, ended, lingers, over;
    int status;      /* the error that ended it */
    int send_status; /* the error that ended its sending */
    int nomem;
    uint64_t unsent;
    uint32_t bye; /* the peer's reason */
};

/* The server's side of a connection. */
struct peer {
    int role; /* -1: nothing was heard of it */
    int is_over, status;
    size_t size; /* of what has come of a message in pieces */
    int last;    /* index of the last request */
};

/* A request that is answered later. */
struct later {
    struct lintel_request *request;
    int turns, post;
    uint8_t bytes[SMALL];
    size_t size;
};

struct exchange {
    const struct exchange_way *way;
    const struct exchange_terms *terms;
    char wrong[256];
    struct lintel_allocator allocator;
    long blocks; /* of the allocator, out */
    struct lintel_layout *layout;
    uv_loop_t loop;
    struct lintel_server *server;
    int is_lintel, listens, stopped, clean;
    struct client clients[ROLES];
    struct peer peers[ROLES];
    int peer_count;
    struct later later[LATER];
    uint64_t events; /* what the server's side saw */
    int dry;         /* turns without progress, while a call waits, */
    int waited_ms;   /* and how far the clock went on for it */
};

static uint8_t pattern[LARGE], scratch[LARGE], pieces[ROLES][LARGE];

static void wrong(struct exchange *x, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* The first complaint stays. */
static void wrong(struct exchange *x, const char *format, ...)
{
    va_list args;

    if (x->wrong[0] != '\0')
        return;
    va_start(args, format);
    (void)vsnprintf(x->wrong, sizeof x->wrong, format, args);
    va_end(args);
}

/* ---- what calls may return ------------------------------------------------------------------- */

enum { LAST = 1000 };

#define LOST LINTEL_E_CLOSED, LINTEL_E_RESET, LINTEL_E_SYSTEM

static const int of_new[] = {LINTEL_OK, LINTEL_E_NOMEM, LAST};
static const int of_listen[] = {LINTEL_OK, LINTEL_E_RESOLVE, LINTEL_E_SYSTEM, LINTEL_E_NOMEM, LAST};
static const int of_adopt[] = {LINTEL_OK, LINTEL_E_SYSTEM, LINTEL_E_NOMEM, LAST};
static const int of_open[] = {LINTEL_OK,        LINTEL_E_RESOLVE, LINTEL_E_SYSTEM,
                              LINTEL_E_TIMEOUT, LINTEL_E_NOMEM,   LAST};
/* With the handshake. */
static const int of_open_sealed[] = {
    LINTEL_OK,    LINTEL_E_RESOLVE,   LINTEL_E_TIMEOUT, LOST, LINTEL_E_NOMEM,
    LINTEL_E_END, LINTEL_E_TRUNCATED, LINTEL_E_REFUSED, LAST};
static const int of_send[] = {LINTEL_OK, LINTEL_E_TIMEOUT, LOST, LINTEL_E_NOMEM, LAST};
static const int of_send_fds[] = {LINTEL_OK,      LINTEL_E_TIMEOUT,     LOST,
                                  LINTEL_E_NOMEM, LINTEL_E_UNSUPPORTED, LAST};
/* NOMEM: the status of a message that was not sent whole stays. */
static const int of_flush[] = {1, 0, LINTEL_E_TIMEOUT, LOST, LINTEL_E_NOMEM, LAST};
static const int of_recv[] = {1,
                              0,
                              LINTEL_E_TIMEOUT,
                              LINTEL_E_END,
                              LINTEL_E_TRUNCATED,
                              LOST,
                              LINTEL_E_NOMEM,
                              LINTEL_E_REFUSED,
                              LAST};
static const int of_linger[] = {1, 0, LINTEL_E_TIMEOUT, LINTEL_E_NOMEM, LAST};
static const int of_own_frame[] = {LINTEL_OK, LOST, LINTEL_E_NOMEM, LAST};
static const int of_answer[] = {LINTEL_OK, LOST, LINTEL_E_NOMEM, LAST};
static const int of_post[] = {LINTEL_OK, LINTEL_E_CLOSED, LINTEL_E_NOMEM, LAST};
static const int of_finish[] = {LINTEL_E_END,   LINTEL_E_TRUNCATED, LOST, LINTEL_E_REFUSED,
                                LINTEL_E_NOMEM, LINTEL_E_TIMEOUT,   LAST};

/* The status that a call returned must be one that its header promises. Returns it. */
static int one_of(struct exchange *x, const char *call, int status, const int *allowed)
{
    while (*allowed != LAST)
        if (*allowed++ == status)
            return status;
    /* A session that ended without its last record says so in every call. */
    if (status == LINTEL_E_TRUNCATED && x->way->client_keys != NULL)
        return status;
    wrong(x, "%s returned %d %s", call, status, lintel_status_name(status));
    return status;
}

/* ---- memory ---------------------------------------------------------------------------------- */

static void *resize(void *user, void *ptr, size_t size)
{
    struct exchange *x = user;
    void *block;

    if (size == 0) {
        x->blocks -= ptr != NULL;
        free(ptr);
        return NULL;
    }
    if (!wrap_is_resizing() && wrap_outcome(WRAP_ALLOCATOR) < 0)
        return NULL;
    block = realloc(ptr, size);
    x->blocks += ptr == NULL && block != NULL;
    return block;
}

/* ---- the server's side ----------------------------------------------------------------------- */

static const struct lintel_header ping = {.flags = LINTEL_CONTROL, .type = LINTEL_PING, .id = 5};

static int on_setup(void *user, struct lintel_connection *connection)
{
    struct exchange *x = user;
    struct peer *peer = &x->peers[x->peer_count];

    x->events++;
    if (x->peer_count == ROLES) {
        wrong(x, "more connections than clients");
        return 1;
    }
    x->peer_count++;
    peer->role = -1;
    peer->last = -1;
    lintel_connection_set_user(connection, peer);
    if (x->is_lintel)
        one_of(x, "lintel_connection_send", lintel_connection_send(connection, &ping, "alive", 5),
               of_own_frame);
    return 0;
}

static void on_finish(void *user, struct lintel_connection *connection,
                      const struct lintel_error *error)
{
    struct exchange *x = user;
    struct peer *peer = lintel_connection_user(connection);

    x->events++;
    peer->is_over++;
    peer->status = one_of(x, "finish", error->status, of_finish);
}

static void on_stopped(void *user, int clean)
{
    struct exchange *x = user;

    x->events++;
    x->stopped++;
    x->clean = clean;
}

static void keep(struct exchange *x, const uint8_t *payload, size_t size,
                 struct lintel_request *request, int post)
{
    struct later *later = x->later;
    int rc;

    while (later < x->later + LATER && later->request != NULL)
        later++;
    if (later == x->later + LATER || size > SMALL) {
        wrong(x, "too much is kept");
        return;
    }
    rc = one_of(x, "lintel_request_keep", lintel_request_keep(request, &later->request), of_new);
    if (rc != LINTEL_OK) {
        one_of(x, "lintel_request_fail", lintel_request_fail(request, "no memory"), of_answer);
        return;
    }
    memcpy(later->bytes, payload, size);
    later->size = size;
    later->turns = post ? 3 : 2;
    later->post = post;
}

static void take_descriptor(struct exchange *x, struct lintel_connection *connection,
                            const struct lintel_frame *frame)
{
    int fds[2], count = lintel_connection_take_fds(connection, frame, fds, 2);

    if (count != 1)
        wrong(x, "%d descriptors came", count);
    while (count > 0)
        close(fds[--count]);
}

/* The request that a payload is, if it is one of ours as it was sent. */
static struct request *recognise(struct exchange *x, struct peer *peer, const uint8_t *payload,
                                 size_t size)
{
    struct client *client;
    size_t index;

    if (size < 3 || payload[0] >= ROLES || payload[2] >= x->clients[payload[0]].count)
        return NULL;
    client = &x->clients[payload[0]];
    index = payload[2];
    if (client->requests[index].size != size || client->requests[index].verb != payload[1] ||
        memcmp(payload + 3, pattern + 3, size - 3) != 0)
        return NULL;
    if (peer->role >= 0 && peer->role != payload[0])
        return NULL;
    peer->role = payload[0];
    if ((int)index <= peer->last)
        wrong(x, "request %zu came behind %d", index, peer->last);
    peer->last = (int)index;
    return &client->requests[index];
}

static void handle(struct exchange *x, struct lintel_connection *connection, const uint8_t *payload,
                   size_t size, const struct lintel_frame *frame, struct lintel_request *request)
{
    struct request *known = recognise(x, lintel_connection_user(connection), payload, size);
    int rc = LINTEL_OK;

    x->events++;
    if (known == NULL || ++known->seen > 1 || known->fate == UNSENT) {
        wrong(x, "a request came that was not sent, was changed, or came before");
        return;
    }
    switch (known->verb) {
    case 'k':
    case 'p':
        keep(x, payload, size, request, known->verb == 'p');
        break;
    case 'f':
        rc = lintel_request_fail(request, "no");
        break;
    case 'n':
        break;
    case 'd':
        take_descriptor(x, connection, frame);
        /* fall through */
    default:
        rc = lintel_request_reply(request, payload, size);
    }
    one_of(x, "an answer", rc, of_answer);
}

static void on_frame(void *user, struct lintel_connection *connection,
                     const struct lintel_frame *frame, struct lintel_request *request)
{
    handle(user, connection, frame->payload, frame->length, frame, request);
}

static void on_piece(void *user, struct lintel_connection *connection,
                     const struct lintel_message_piece *piece, struct lintel_request *request)
{
    struct exchange *x = user;
    struct peer *peer = lintel_connection_user(connection);
    uint8_t *bytes = pieces[peer - x->peers];

    if (piece->position == 0)
        peer->size = 0;
    if (piece->position != peer->size || piece->size > LARGE - peer->size) {
        wrong(x, "a piece at %llu comes behind %zu bytes", (unsigned long long)piece->position,
              peer->size);
        return;
    }
    if (piece->size > 0)
        memcpy(bytes + peer->size, piece->bytes, piece->size);
    peer->size += piece->size;
    x->events++;
    if (piece->last)
        handle(x, connection, bytes, peer->size, NULL, request);
}

static void answer(struct exchange *x, struct later *later)
{
    struct lintel_request *request = later->request;

    later->request = NULL;
    x->events++;
    if (later->post)
        one_of(x, "lintel_request_post", lintel_request_post(request, 0, later->bytes, later->size),
               of_post);
    else
        one_of(x, "lintel_request_reply", lintel_request_reply(request, later->bytes, later->size),
               of_answer);
}

/* One turn of the server's side. Posts come from outside of the loop. */
static void turn(struct exchange *x)
{
    for (size_t i = 0; i < LATER; i++)
        if (x->later[i].request != NULL && --x->later[i].turns <= 0)
            answer(x, &x->later[i]);
    uv_run(&x->loop, UV_RUN_NOWAIT);
}

/* ---- clients --------------------------------------------------------------------------------- */

static int timeout_of(const struct client *c)
{
    return c->x->way->patient ? WAIT_MS : 0;
}

static void close_client(struct client *c, int status)
{
    c->over = 1;
    c->status = status;
    if (c->stream == NULL)
        return;
    lintel_stream_unsent(c->stream, &c->unsent, NULL);
    (void)lintel_stream_peer_bye(c->stream, &c->bye, NULL);
    lintel_stream_close(c->stream);
    c->stream = NULL;
}

/* The payload of a request, until the next one is asked for. */
static const uint8_t *payload_of(const struct client *c, size_t index)
{
    scratch[0] = (uint8_t)c->role;
    scratch[1] = (uint8_t)c->requests[index].verb;
    scratch[2] = (uint8_t)index;
    return scratch;
}

static void take_answer(struct client *c, size_t index)
{
    struct request *request = &c->requests[index];

    if (request->fate != TAKEN) {
        wrong(c->x, "client %s: an answer to request %zu, which is %d", role_names[c->role], index,
              request->fate);
        return;
    }
    request->fate = ANSWERED;
    c->open--;
}

static int is_text(const struct lintel_frame *frame, const char *text)
{
    return frame->length == strlen(text) && memcmp(frame->payload, text, frame->length) == 0;
}

static void take_reply(struct client *c, const struct lintel_message *message)
{
    struct exchange *x = c->x;
    const struct lintel_frame *frame = &message->frame;
    size_t index = message->header.id - 1;

    if (!x->is_lintel)
        for (index = 0; index < c->count && c->requests[index].fate != TAKEN;)
            index++;
    if (index >= c->count) {
        wrong(x, "client %s: a reply to nothing", role_names[c->role]);
        return;
    }
    take_answer(c, index);
    if ((message->header.flags & LINTEL_ERROR) != 0) {
        if (!is_text(frame, "no") &&
            !(x->terms->memory && (is_text(frame, "no memory") || is_text(frame, "out of memory"))))
            wrong(x, "client %s: an error as the reply to %zu", role_names[c->role], index);
    } else if (frame->length != c->requests[index].size ||
               memcmp(frame->payload, payload_of(c, index), frame->length) != 0) {
        wrong(x, "client %s: the reply to %zu is wrong", role_names[c->role], index);
    }
}

/* PONGs are not given out, but can be seen. */
static void on_trace(void *user, char direction, const struct lintel_frame *frame)
{
    struct client *c = user;
    struct lintel_header header;

    if (direction != '<' || !c->x->is_lintel ||
        lintel_header_read(lintel_layout_default(), &header, frame) != LINTEL_OK ||
        header.flags != LINTEL_CONTROL || header.type != LINTEL_PONG)
        return;
    if (header.id - 1 >= c->count || frame->length != SMALL)
        wrong(c->x, "a PONG to nothing");
    else
        take_answer(c, header.id - 1);
}

static int send_descriptor(struct client *c, const struct lintel_header *header, size_t index)
{
    const uint8_t *payload = payload_of(c, index);
    int fds[2], rc;

    if (pipe(fds) != 0)
        return LINTEL_E_SYSTEM;
    rc = lintel_stream_send_fds(c->stream, header, payload, c->requests[index].size, fds, 1,
                                timeout_of(c));
    close(fds[0]);
    close(fds[1]);
    return one_of(c->x, "lintel_stream_send_fds", rc, of_send_fds);
}

static int send_request(struct client *c, size_t index)
{
    struct request *request = &c->requests[index];
    struct lintel_header header = {.type = 7, .id = (uint32_t)index + 1};

    if (request->verb == 'n')
        header.id = 0;
    if (request->verb == 'P') {
        header.flags = LINTEL_CONTROL;
        header.type = LINTEL_PING;
    }
    if (!c->x->is_lintel)
        memset(&header, 0, sizeof header);
    if (request->verb == 'd')
        return send_descriptor(c, &header, index);
    return one_of(c->x, "lintel_stream_send_message",
                  lintel_stream_send_message(c->stream, &header, payload_of(c, index),
                                             request->size, timeout_of(c)),
                  of_send);
}

static int is_lost(int status)
{
    return status == LINTEL_E_CLOSED || status == LINTEL_E_RESET || status == LINTEL_E_SYSTEM;
}

static void send_all(struct client *c)
{
    c->sent = 1;
    for (size_t i = 0; i < c->count && c->send_status == LINTEL_OK; i++) {
        struct request *request = &c->requests[i];
        int rc;
        request->fate = TAKEN; /* it may arrive while it is sent */
        c->open += request->verb != 'n';
        rc = send_request(c, i);
        if (rc == LINTEL_OK)
            continue;
        c->open -= request->verb != 'n' && request->fate == TAKEN;
        request->fate = REFUSED;
        if (is_lost(rc) && request->verb != 'd')
            c->send_status = rc;
    }
}

/* Note what flush, shutdown or BYE came to. */
static void note_sending(struct client *c, const char *call, int rc)
{
    one_of(c->x, call, rc, of_flush);
    if (rc < 0 && c->send_status == LINTEL_OK)
        c->send_status = rc;
}

static void shut_down(struct client *c)
{
    c->ended = 1;
    note_sending(c, "lintel_stream_shutdown", lintel_stream_shutdown(c->stream, timeout_of(c)));
}

static void say_bye(struct client *c)
{
    int rc = lintel_stream_bye(c->stream, LINTEL_BYE_DONE, timeout_of(c));

    c->ended = c->lingers = 1;
    note_sending(c, "lintel_stream_bye", rc);
}

/* Who is told that the peer goes shuts down writing. */
static void end_client(struct client *c, int status)
{
    if (!c->ended && (status == LINTEL_E_REFUSED || status == LINTEL_E_END))
        shut_down(c);
    close_client(c, status);
}

static void receive(struct client *c)
{
    int rc = 1, timeout_ms;
    struct lintel_message message;

    while (rc == 1) {
        timeout_ms = c->open > 0 || c->ended ? timeout_of(c) : 0;
        rc = one_of(c->x, "lintel_stream_recv_message",
                    lintel_stream_recv_message(c->stream, &message, timeout_ms), of_recv);
        if (rc == 1)
            take_reply(c, &message);
        if (c->role == ROLE_BYE && c->open == 0)
            return;
    }
    if (rc == 0 || (rc == LINTEL_E_NOMEM && ++c->nomem < NOMEM_MAX))
        return;
    end_client(c, rc);
}

static void connect_client(struct client *c)
{
    struct exchange *x = c->x;
    struct lintel_stream_options options = LINTEL_STREAM_OPTIONS_INIT;
    char text[LINTEL_ENDPOINT_TEXT_SIZE] = "";
    int in[2], out[2], rc = LINTEL_E_SYSTEM;

    c->connected = 1;
    options.layout = x->layout;
    options.allocator = &x->allocator;
    options.max_frame = FRAME;
    options.max_fds = x->way->fds;
    options.seal_keys = x->way->client_keys;
    options.trace = c->role == ROLE_HALF ? on_trace : NULL;
    options.trace_user = c;
    if (x->way->endpoint != NULL) {
        lintel_server_endpoint(x->server, 0, text, sizeof text);
        if (strncmp(text, "fd:", 3) != 0) /* its address could not be asked for */
            rc = lintel_stream_open(&c->stream, text, WAIT_MS, &options, NULL);
        one_of(x, "lintel_stream_open", rc, x->way->client_keys != NULL ? of_open_sealed : of_open);
    } else if (pipe(in) == 0) {
        if (pipe(out) == 0) {
            one_of(x, "lintel_server_adopt", lintel_server_adopt(x->server, in[0], out[1], NULL),
                   of_adopt);
            rc = one_of(x, "lintel_stream_new",
                        lintel_stream_new(&c->stream, out[0], in[1], &options, NULL), of_adopt);
        } else {
            close(in[0]);
            close(in[1]);
        }
    }
    if (rc != LINTEL_OK)
        close_client(c, rc);
}

static void linger(struct client *c)
{
    int rc = one_of(c->x, "lintel_stream_linger", lintel_stream_linger(c->stream, timeout_of(c)),
                    of_linger);

    if (rc != 0)
        close_client(c, rc == 1 ? LINTEL_OK : rc);
}

/* A client's turn. */
static void step(struct client *c)
{
    if (c->over)
        return;
    if (!c->connected) {
        connect_client(c);
        return;
    }
    if (!c->sent) {
        send_all(c);
        if (c->role == ROLE_HALF)
            shut_down(c);
        if (c->role == ROLE_SAY && c->x->is_lintel)
            say_bye(c);
    }
    if (c->send_status == LINTEL_OK)
        note_sending(c, "lintel_stream_flush", lintel_stream_flush(c->stream, timeout_of(c)));
    if (c->lingers)
        linger(c);
    else
        receive(c);
    if (c->over)
        return;
    if (c->send_status != LINTEL_OK)
        close_client(c, c->send_status);
    else if (c->open == 0 && !c->ended && c->role != ROLE_STAY)
        say_bye(c);
}

/* ---- driving it ------------------------------------------------------------------------------ */

/* A number that changes with whatever happens. */
static uint64_t progress(const struct exchange *x)
{
    struct lintel_counters counts;
    uint64_t sum = x->events;

    for (int i = 0; i < ROLES; i++) {
        const struct client *c = &x->clients[i];
        lintel_stream_counters(c->stream, &counts);
        sum += counts.bytes_in + counts.bytes_out + (uint64_t)(c->over + c->connected + c->sent) +
               (uint64_t)(c->ended + c->nomem);
        sum += c->over ? 1000000 : 0;
    }
    return sum;
}

/* What goes through TCP may be handed on by another thread of the kernel. */
static void settle(struct exchange *x)
{
    const struct timespec wait = {0, 3000000};
    struct pollfd fds[ROLES + 1] = {{uv_backend_fd(&x->loop), POLLIN, 0}};
    nfds_t count = 1;

    if (!x->way->in_flight)
        return;
    for (int i = 0; i < ROLES; i++)
        if (x->clients[i].stream != NULL)
            fds[count++] = (struct pollfd){lintel_stream_in_fd(x->clients[i].stream), POLLIN, 0};
    (void)!ppoll(fds, count, &wait, NULL);
}

/* A call of a client waits: the server has a turn. Returns 0 when its time is over. */
static int on_wait(void *user, int timeout_ms)
{
    struct exchange *x = user;
    uint64_t before = progress(x);

    turn(x);
    if (progress(x) != before) {
        x->dry = x->waited_ms = 0;
        return 1;
    }
    if (++x->dry == 3)
        settle(x);
    if (x->dry <= 3)
        return 1;
    wrap_clock_advance(STEP_MS);
    x->waited_ms += STEP_MS;
    if (timeout_ms < 0 || x->waited_ms < timeout_ms)
        return 1;
    x->dry = x->waited_ms = 0;
    return 0;
}

/* Everybody has a turn until done says so, or nothing happens any more. Returns 1, or 0. */
static int drive(struct exchange *x, int (*done)(const struct exchange *x), int limit_ms)
{
    int idle = 0, idle_ms = 0;

    while (!done(x)) {
        uint64_t before = progress(x);
        for (int i = 0; i < ROLES; i++)
            step(&x->clients[i]);
        turn(x);
        if (progress(x) != before) {
            idle = idle_ms = 0;
            continue;
        }
        if (++idle == 3)
            settle(x);
        if (idle <= 3)
            continue;
        wrap_clock_advance(STEP_MS);
        idle_ms += STEP_MS;
        if (idle_ms > limit_ms)
            return 0;
    }
    return 1;
}

/* Only who stays until the server drains is still there. */
static int is_quiet(const struct exchange *x)
{
    for (int i = 0; i < ROLES; i++) {
        const struct client *c = &x->clients[i];
        if (!c->over && !(c->role == ROLE_STAY && c->sent && c->open == 0 && c->send_status == 0 &&
                          lintel_stream_queued(c->stream) == 0))
            return 0;
    }
    return 1;
}

static int is_finished(const struct exchange *x)
{
    for (int i = 0; i < ROLES; i++)
        if (!x->clients[i].over)
            return 0;
    return x->stopped;
}

/* Those who wait in vain give up: somebody has to be to blame for it. */
static void give_up(struct exchange *x)
{
    for (int i = 0; i < ROLES; i++) {
        struct client *c = &x->clients[i];
        if (c->over)
            continue;
        if (!x->terms->starved)
            wrong(x, "client %s waits in vain, with %zu requests open", role_names[i], c->open);
        close_client(c, LINTEL_E_TIMEOUT);
    }
}

static void talk(struct exchange *x)
{
    for (int i = 0; i < ROLES; i++)
        x->clients[i].over = !x->listens;
    if (!drive(x, is_quiet, GIVE_UP_MS))
        give_up(x);
    lintel_server_drain(x->server);
    if (drive(x, is_finished, GIVE_UP_MS))
        return;
    give_up(x);
    if (!x->stopped && !drive(x, is_finished, GIVE_UP_MS))
        wrong(x, "the drain does not end");
}

/* ---- what must hold -------------------------------------------------------------------------- */

static const struct peer *peer_of(const struct exchange *x, const struct client *c)
{
    for (int i = 0; i < x->peer_count; i++)
        if (x->peers[i].role == (int)c->role)
            return &x->peers[i];
    return NULL;
}

/* Whether a client, or the server about it, has said that something went wrong. */
static int is_reported(const struct exchange *x, const struct client *c)
{
    const struct peer *peer = peer_of(x, c);

    if ((c->status != LINTEL_OK && c->status != LINTEL_E_END) || c->send_status != LINTEL_OK ||
        c->unsent > 0)
        return 1;
    return peer == NULL || peer->status != LINTEL_E_END;
}

/* Law 6: what was taken was answered, or handled where no answer is wanted, or is reported. */
static void check_client(struct exchange *x, const struct client *c)
{
    for (size_t i = 0; i < c->count; i++) {
        const struct request *r = &c->requests[i];
        int is_done = r->verb == 'n' ? r->seen == 1 : r->fate == ANSWERED;
        if (r->fate == TAKEN && !is_done && !is_reported(x, c))
            wrong(x, "client %s: request %zu (%c) is lost", role_names[c->role], i, r->verb);
        if (x->terms->whole && !(r->fate >= TAKEN && is_done))
            wrong(x, "client %s: request %zu (%c) is not done: client %s, server %s",
                  role_names[c->role], i, r->verb, lintel_status_name(c->status),
                  peer_of(x, c) != NULL ? lintel_status_name(peer_of(x, c)->status) : "unknown");
    }
}

static void check_whole(struct exchange *x)
{
    const int ends[ROLES] = {LINTEL_E_END, LINTEL_OK,
                             x->is_lintel ? LINTEL_E_REFUSED : LINTEL_E_END, LINTEL_OK};

    if (!x->clean)
        wrong(x, "the server says that it was not clean");
    for (int i = 0; i < ROLES; i++) {
        const struct client *c = &x->clients[i];
        const struct peer *peer = peer_of(x, c);
        if (c->status != ends[i] || (x->is_lintel && i == ROLE_STAY && c->bye != 1))
            wrong(x, "client %s ended with %s", role_names[i], lintel_status_name(c->status));
        if (peer == NULL)
            wrong(x, "client %s was not heard of", role_names[i]);
        else if (peer->status != (i == ROLE_STAY ? LINTEL_E_CLOSED : LINTEL_E_END))
            wrong(x, "the server ended %s with %s", role_names[i],
                  lintel_status_name(peer->status));
    }
}

static void check(struct exchange *x)
{
    if (x->stopped != 1)
        wrong(x, "stopped was called %d times", x->stopped);
    for (int i = 0; i < x->peer_count; i++)
        if (x->peers[i].is_over != 1)
            wrong(x, "finish was called %d times", x->peers[i].is_over);
    for (int i = 0; i < ROLES; i++)
        check_client(x, &x->clients[i]);
    if (x->terms->whole)
        check_whole(x);
}

/* ---- from the beginning to the end ----------------------------------------------------------- */

static void prepare_client(struct exchange *x, enum role role)
{
    struct client *c = &x->clients[role];
    const char *list = verbs[!x->is_lintel][role];

    c->x = x;
    c->role = role;
    c->count = strlen(list);
    for (size_t i = 0; i < c->count; i++) {
        struct request *request = &c->requests[i];
        request->verb = list[i] == 'E' ? 'e' : list[i];
        request->size = list[i] != 'E' ? SMALL : x->is_lintel ? LARGE : LARGEST;
    }
    if (role == ROLE_HALF && x->way->fds)
        c->requests[c->count - 1].verb = 'd';
}

static void prepare(struct exchange *x, const struct exchange_way *way,
                    const struct exchange_terms *terms)
{
    memset(x, 0, sizeof *x);
    x->way = way;
    x->terms = terms;
    x->allocator.resize = resize;
    x->allocator.user = x;
    x->is_lintel = way->layout == NULL;
    for (size_t i = 0; i < LARGE; i++)
        pattern[i] = scratch[i] = (uint8_t)(i * 31 + i / 251);
    for (int i = 0; i < ROLES; i++)
        prepare_client(x, (enum role)i);
    wrap_clock(1000000);
    wrap_on_wait(on_wait, x);
}

static int make_server(struct exchange *x)
{
    struct lintel_server_options options = LINTEL_SERVER_OPTIONS_INIT;
    struct lintel_handler handler = {.setup = on_setup, .finish = on_finish, .user = x};

    handler.frame = x->way->pieces ? NULL : on_frame;
    handler.piece = x->way->pieces ? on_piece : NULL;
    options.layout = x->layout;
    options.allocator = &x->allocator;
    options.stopped = on_stopped;
    options.stopped_user = x;
    options.max_frame = FRAME;
    options.max_fds = x->way->fds;
    options.seal_keys = x->way->server_keys;
    options.frame_timeout_ms = 1000;
    options.write_timeout_ms = 2000;
    options.idle_timeout_ms = 4000;
    options.drain_timeout_ms = 1500;
    return one_of(x, "lintel_server_new",
                  lintel_server_new(&x->server, &x->loop, &handler, &options, NULL), of_new);
}

static void serve(struct exchange *x)
{
    int rc = LINTEL_OK;

    if (make_server(x) != LINTEL_OK)
        return;
    if (x->way->endpoint != NULL)
        rc = one_of(x, "lintel_server_listen",
                    lintel_server_listen(x->server, x->way->endpoint, NULL), of_listen);
    x->listens = rc == LINTEL_OK;
    talk(x);
    lintel_server_free(x->server);
    for (size_t i = 0; i < LATER; i++)
        if (x->later[i].request != NULL)
            answer(x, &x->later[i]);
    check(x);
}

/* libuv 1.44 forgets the epoll set of a loop that it could not make. */
static void forget_loop(struct exchange *x)
{
    int fd = uv_backend_fd(&x->loop);

    wrap_on_call(NULL, NULL);
    if (fd > STDERR_FILENO && fcntl(fd, F_GETFD) >= 0)
        close(fd);
}

static void run_loop(struct exchange *x)
{
    int rc;

    rc = uv_loop_init(&x->loop);
    if (rc < 0) {
        forget_loop(x);
        return;
    }
    serve(x);
    for (int i = 0; i < 100; i++)
        uv_run(&x->loop, UV_RUN_NOWAIT);
    rc = uv_loop_close(&x->loop);
    if (rc != 0)
        wrong(x, "the loop does not close: %s", uv_strerror(rc));
}

const char *exchange_run(const struct exchange_way *way, const struct exchange_terms *terms)
{
    static struct exchange x;
    int rc = LINTEL_OK;

    prepare(&x, way, terms);
    if (way->layout != NULL)
        rc = lintel_layout_new(&x.layout, way->layout, &x.allocator, NULL);
    if (one_of(&x, "lintel_layout_new", rc, of_new) == LINTEL_OK)
        run_loop(&x);
    lintel_layout_free(x.layout);
    if (x.blocks != 0)
        wrong(&x, "%ld blocks of memory are left", x.blocks);
    if (terms->whole && !x.listens)
        wrong(&x, "nothing was done");
    return x.wrong[0] != '\0' ? x.wrong : NULL;
}
