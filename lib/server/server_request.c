/*
 * Requests. In the frame callback one lives on the stack, and answering it there costs no memory of
 * its own. Kept, it is a copy on the heap, in the connection's list; posted, it waits in the
 * mailbox for the loop. In a layout without ids an answer that comes early is held until the
 * answers before it are sent.
 *
 *     OPEN --answer--> ENDED            (stack)
 *     OPEN --keep----> KEPT --post--> mailbox --\
 *                      KEPT --reply-------------->  answer(): sent, or HELD until its turn
 */
#include "config.h"
#include "server/internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the mailbox ----------------------------------------------------------------------------- */

int lintelp_mailbox_new(struct mailbox **out, const struct lintel_allocator *allocator)
{
    struct mailbox *mailbox = lintelp_server_resize(allocator, NULL, sizeof *mailbox);

    if (mailbox == NULL)
        return LINTEL_E_NOMEM;
    memset(mailbox, 0, sizeof *mailbox);
    if (uv_mutex_init(&mailbox->mutex) != 0) {
        lintelp_server_resize(allocator, mailbox, 0);
        return LINTEL_E_NOMEM;
    }
    if (allocator != NULL)
        mailbox->allocator = *allocator;
    mailbox->last = &mailbox->first;
    mailbox->references = 1;
    *out = mailbox;
    return LINTEL_OK;
}

static void mailbox_ref(struct mailbox *mailbox)
{
    uv_mutex_lock(&mailbox->mutex);
    mailbox->references++;
    uv_mutex_unlock(&mailbox->mutex);
}

void lintelp_mailbox_unref(struct mailbox *mailbox)
{
    struct lintel_allocator allocator;
    size_t left;

    uv_mutex_lock(&mailbox->mutex);
    left = --mailbox->references;
    uv_mutex_unlock(&mailbox->mutex);
    if (left > 0)
        return;
    uv_mutex_destroy(&mailbox->mutex);
    allocator = mailbox->allocator;
    lintelp_server_resize(&allocator, mailbox, 0);
}

void lintelp_mailbox_detach(struct mailbox *mailbox)
{
    uv_mutex_lock(&mailbox->mutex);
    mailbox->async = NULL;
    uv_mutex_unlock(&mailbox->mutex);
}

/* ---- on the heap ----------------------------------------------------------------------------- */

static int on_heap(const struct lintel_request *request)
{
    return request->state == REQUEST_KEPT || request->state == REQUEST_HELD;
}

static void heap_free(struct lintel_request *request)
{
    struct mailbox *mailbox = request->mailbox;

    if (request->payload != NULL)
        lintelp_server_resize(&mailbox->allocator, request->payload, 0);
    lintelp_server_resize(&mailbox->allocator, request, 0);
    lintelp_mailbox_unref(mailbox);
}

static const uint8_t *put(uint8_t **at, const uint8_t *bytes, size_t size)
{
    const uint8_t *begin = *at;

    if (size > 0)
        memcpy(*at, bytes, size);
    *at += size;
    return begin;
}

/* A copy of a request on the stack, with its frame's header and trailer, and its payload or not. It
 * counts as pending until it is retired. */
static struct lintel_request *heap_copy(const struct lintel_request *request, int with_payload)
{
    struct lintel_connection *connection = request->connection;
    struct mailbox *mailbox = connection->server->mailbox;
    const struct lintel_frame *frame = &request->frame;
    size_t length = with_payload ? frame->length : 0;
    size_t fixed = sizeof *request + frame->header_size + frame->trailer_size;
    struct lintel_request *copy;
    uint8_t *at;

    if (length > SIZE_MAX - fixed)
        return NULL;
    copy = lintelp_server_resize(&mailbox->allocator, NULL, fixed + length);
    if (copy == NULL)
        return NULL;
    *copy = *request;
    at = (uint8_t *)(copy + 1);
    copy->frame.header = put(&at, frame->header, frame->header_size);
    copy->frame.payload = put(&at, frame->payload, length);
    copy->frame.trailer = put(&at, frame->trailer, frame->trailer_size);
    copy->frame.length = length;
    copy->state = REQUEST_KEPT;
    copy->mailbox = mailbox;
    copy->next_answer = NULL;
    copy->payload = NULL;
    copy->size = 0;
    mailbox_ref(mailbox);
    lintelp_node_append(&connection->kept, &copy->node);
    connection->pending++;
    connection->kept_bytes += copy->held = fixed + length;
    return copy;
}

/* It is over with this request. */
static void retire(struct lintel_request *request)
{
    struct lintel_connection *connection = request->connection;

    if (!on_heap(request)) {
        request->state = REQUEST_ENDED;
        return;
    }
    if (connection != NULL) {
        lintelp_node_remove(&request->node);
        connection->pending--;
        connection->kept_bytes -= request->held;
        lintelp_touch(connection);
    }
    heap_free(request);
}

void lintelp_request_orphan_all(struct lintel_connection *connection)
{
    struct mailbox *mailbox = connection->server->mailbox;
    struct lintel_request *request;
    struct node *node;

    uv_mutex_lock(&mailbox->mutex);
    while (!lintelp_node_empty(&connection->kept)) {
        node = connection->kept.next;
        request =
            (struct lintel_request *)(void *)((char *)node - offsetof(struct lintel_request, node));
        lintelp_node_remove(node);
        request->connection = NULL;
    }
    uv_mutex_unlock(&mailbox->mutex);
    while ((request = connection->held) != NULL) {
        connection->held = request->next_answer;
        heap_free(request);
    }
    connection->pending = 0;
    connection->kept_bytes = 0;
}

/* ---- answering ------------------------------------------------------------------------------- */

static int send_reply(const struct lintel_request *request, uint8_t flags, const void *payload,
                      size_t size)
{
    struct lintel_connection *connection = request->connection;
    struct lintel_header header = {0};

    if (connection->server->is_lintel) {
        header.flags = flags;
        header.type = request->type;
        header.id = request->id;
    } else {
        header.like = &request->frame;
    }
    return lintel_stream_send_message(connection->stream, &header, payload, size, 0);
}

/* The bytes of a text that fit, not cutting a UTF-8 sequence. */
static size_t text_size(const char *text, size_t size, uint64_t limit)
{
    if (size <= limit)
        return size;
    size = (size_t)limit;
    while (size > 0 && ((unsigned char)text[size] & 0xC0) == 0x80)
        size--;
    return size;
}

static int send_failure(const struct lintel_request *request, const char *text, size_t size)
{
    struct lintel_connection *connection = request->connection;
    struct lintel_error error;

    if (connection->server->is_lintel)
        return send_reply(request, LINTEL_REPLY | LINTEL_ERROR, text,
                          text_size(text, size, connection->server->max_frame));
    lintelp_server_error(&error, LINTEL_E_CLOSED, 0, "a request failed: %.*s",
                         (int)text_size(text, size, LINTEL_TEXT_SIZE), text);
    lintelp_connection_spoil(connection, LINTEL_E_CLOSED, &error);
    connection->muted = connection->server->ordered != 0;
    return LINTEL_OK;
}

/* Send an answer whose turn it is. */
static int transmit(const struct lintel_request *request, enum answer how, const void *payload,
                    size_t size)
{
    struct lintel_connection *connection = request->connection;
    const struct lintel_server *server = connection->server;
    uint64_t most = server->is_lintel ? server->max_message : server->max_frame;
    char text[96];
    int rc, sent;

    if (how == ANSWER_DROP || !request->wants_reply)
        return LINTEL_OK;
    if (connection->broken || connection->muted)
        return LINTEL_E_CLOSED;
    lintelp_touch(connection);
    if (how == ANSWER_FAIL)
        rc = send_failure(request, payload, size);
    else if (size > most)
        rc = LINTEL_E_TOO_LARGE;
    else
        rc = send_reply(request, LINTEL_REPLY, payload, size);
    sent = rc;
    if (rc == LINTEL_E_TOO_LARGE && how == ANSWER_REPLY) {
        snprintf(text, sizeof text, "the reply of %zu bytes exceeds the limit of %llu", size,
                 (unsigned long long)most);
        sent = send_failure(request, text, strlen(text));
    }
    if (sent < 0)
        lintelp_connection_break(connection, sent);
    return rc;
}

/* Put an answer aside until those before it are sent. */
static int hold(struct lintel_request *request, enum answer how, const void *payload, size_t size)
{
    struct lintel_connection *connection = request->connection;
    struct lintel_request *held = request, **at = &connection->held;

    if (!on_heap(request)) {
        held = heap_copy(request, 0);
        request->state = REQUEST_ENDED;
    }
    if (held == NULL)
        goto fail;
    if (how != ANSWER_DROP && size > 0 && payload != held->payload) {
        held->payload = lintelp_server_resize(&held->mailbox->allocator, NULL, size);
        if (held->payload == NULL) {
            retire(held);
            goto fail;
        }
        memcpy(held->payload, payload, size);
        held->held += size;
        connection->kept_bytes += size;
    }
    held->size = size;
    held->answer = (uint8_t)how;
    held->state = REQUEST_HELD;
    lintelp_node_remove(&held->node);
    while (*at != NULL && (int32_t)((*at)->sequence - held->sequence) < 0)
        at = &(*at)->next_answer;
    held->next_answer = *at;
    *at = held;
    return LINTEL_OK;
fail:
    lintelp_connection_break(connection, LINTEL_E_NOMEM);
    return LINTEL_E_NOMEM;
}

/* The answers behind the one just sent, as far as they are there. */
static void release_held(struct lintel_connection *connection)
{
    struct lintel_request *request;

    while ((request = connection->held) != NULL && request->sequence == connection->sequence_out) {
        connection->held = request->next_answer;
        (void)transmit(request, request->answer, request->payload, request->size);
        retire(request);
        connection->sequence_out++;
    }
}

/* Answer a request that is on the stack, kept, or posted, in its turn. */
static int answer(struct lintel_request *request, enum answer how, const void *payload, size_t size)
{
    struct lintel_connection *connection = request->connection;
    int ordered = connection->server->ordered, rc;

    if (ordered && request->sequence != connection->sequence_out)
        return hold(request, how, payload, size);
    rc = transmit(request, how, payload, size);
    retire(request);
    if (ordered) {
        connection->sequence_out++;
        release_held(connection);
    }
    return rc;
}

/* What the application may call on its thread: reply, fail, drop. */
static int end(struct lintel_request *request, enum answer how, const void *payload, size_t size)
{
    if (request == NULL || (request->state != REQUEST_OPEN && request->state != REQUEST_KEPT))
        return LINTEL_E_USAGE;
    if (request->connection == NULL) {
        retire(request);
        return LINTEL_E_CLOSED;
    }
    if (payload == NULL && size > 0) {
        (void)answer(request, ANSWER_DROP, NULL, 0);
        return LINTEL_E_USAGE;
    }
    return answer(request, how, payload, size);
}

/* ---- delivering ------------------------------------------------------------------------------ */

void lintelp_request_deliver(struct lintel_connection *connection,
                             const struct lintel_header *header, const struct lintel_frame *frame,
                             const struct lintel_message_piece *piece)
{
    static const char not_handled[] = "not handled";
    struct lintel_server *server = connection->server;
    struct lintel_request request;

    request.connection = connection;
    request.frame = *frame;
    request.type = header->type;
    request.id = header->id;
    request.wants_reply = !server->is_lintel || header->id != 0;
    request.state = REQUEST_OPEN;
    request.sequence = server->ordered ? connection->sequence_in++ : 0;
    server->counters.requests++;
    if (piece != NULL)
        server->handler.piece(server->handler.user, connection, piece, &request);
    else
        server->handler.frame(server->handler.user, connection, frame, &request);
    if (request.state != REQUEST_OPEN)
        return;
    if (request.wants_reply)
        (void)answer(&request, ANSWER_FAIL, not_handled, strlen(not_handled));
}

static void answer_posted(struct lintel_request *request)
{
    const char *text;

    if (request->connection == NULL) {
        heap_free(request);
    } else if (request->answer == ANSWER_NO_MEMORY) {
        text = lintel_strerror(LINTEL_E_NOMEM);
        (void)answer(request, ANSWER_FAIL, text, strlen(text));
    } else {
        (void)answer(request, request->answer, request->payload, request->size);
    }
}

void lintelp_mailbox_empty(struct mailbox *mailbox)
{
    struct lintel_request *request, *next;

    uv_mutex_lock(&mailbox->mutex);
    request = mailbox->first;
    mailbox->first = NULL;
    mailbox->last = &mailbox->first;
    uv_mutex_unlock(&mailbox->mutex);
    for (; request != NULL; request = next) {
        next = request->next_answer;
        request->next_answer = NULL;
        answer_posted(request);
    }
}

/* ---- public ---------------------------------------------------------------------------------- */

int lintel_request_wants_reply(const struct lintel_request *request)
{
    return request != NULL && request->wants_reply;
}

int lintel_request_reply(struct lintel_request *request, const void *payload, size_t size)
{
    return end(request, ANSWER_REPLY, payload, size);
}

int lintel_request_fail(struct lintel_request *request, const char *text)
{
    return end(request, ANSWER_FAIL, text == NULL ? "" : text, text == NULL ? 0 : strlen(text));
}

void lintel_request_drop(struct lintel_request *request)
{
    (void)end(request, ANSWER_DROP, NULL, 0);
}

int lintel_request_keep(struct lintel_request *request, struct lintel_request **kept)
{
    struct lintel_request *copy;

    if (request == NULL || kept == NULL || request->state != REQUEST_OPEN)
        return LINTEL_E_USAGE;
    copy = heap_copy(request, 1);
    if (copy == NULL)
        return LINTEL_E_NOMEM;
    request->state = REQUEST_ENDED;
    *kept = copy;
    return LINTEL_OK;
}

const struct lintel_frame *lintel_request_frame(const struct lintel_request *request)
{
    return request == NULL ? NULL : &request->frame;
}

int lintel_request_post(struct lintel_request *kept, int failed, const void *payload, size_t size)
{
    struct mailbox *mailbox;
    int rc = LINTEL_OK;

    if (kept == NULL || kept->state != REQUEST_KEPT)
        return LINTEL_E_USAGE;
    mailbox = kept->mailbox;
    kept->answer = failed ? ANSWER_FAIL : ANSWER_REPLY;
    kept->size = size;
    if (payload == NULL && size > 0) {
        kept->answer = ANSWER_DROP;
        kept->size = 0;
        rc = LINTEL_E_USAGE;
    } else if (size > 0) {
        kept->payload = lintelp_server_resize(&mailbox->allocator, NULL, size);
        if (kept->payload != NULL) {
            memcpy(kept->payload, payload, size);
        } else {
            kept->answer = ANSWER_NO_MEMORY;
            rc = LINTEL_E_NOMEM;
        }
    }
    uv_mutex_lock(&mailbox->mutex);
    if (kept->connection == NULL) {
        uv_mutex_unlock(&mailbox->mutex);
        heap_free(kept);
        return LINTEL_E_CLOSED;
    }
    kept->state = REQUEST_HELD;
    *mailbox->last = kept;
    mailbox->last = &kept->next_answer;
    uv_async_send(mailbox->async);
    uv_mutex_unlock(&mailbox->mutex);
    return rc;
}
