/* A sealed stream: records out of the queue, records into the decoder, and the handshake. */
#include "config.h"
#include "net/stream_seal.h"

#include "core/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_FIRST ((size_t)4 * 1024)   /* law 2: growth by doubling begins here, at most */
#define IN_BUSY  ((size_t)256 * 1024) /* it grows up to this while reads fill it */
#define RECORDS  4                    /* sealed before one write */
#define PARTS    64                   /* of the queue, that are copied at once */

/* A record that is not written whole: its bytes on the wire, and the frames that end in it. */
struct record {
    uint32_t wire;
    uint32_t frames;
};

/* Records on their way out. Allocated in one piece; head <= tail <= capacity. */
struct outgoing {
    struct record records[RECORDS + 2]; /* a handshake message and a BYE count as records */
    uint32_t first, count;              /* of those that are not written whole */
    size_t written;                     /* bytes of the first that are */
    size_t head, tail, capacity;
    uint8_t bytes[];
};

struct lintelp_sealed {
    struct lintel_seal *seal;
    struct outgoing *out;                 /* NULL where nothing is to be written */
    uint8_t *in;                          /* what was received; NULL where there is nothing */
    size_t in_head, in_tail, in_capacity; /* in_head: opened up to here; in order of size */
    uint8_t *retired;      /* an `in` that views may point into, until the next recv */
    uint64_t fed;          /* bytes of the inner stream */
    uint64_t lost;         /* bytes of records that will not be written */
    pid_t process;         /* a child has no session */
    unsigned live : 1;     /* the decoder, or its views, may point into `in` */
    unsigned full : 1;     /* the last read filled all of it */
    unsigned eof : 1;      /* the end was met while sending */
    unsigned starved : 1;  /* what is in `in` is not enough */
    unsigned last_in : 1;  /* the peer's last record was opened */
    unsigned last_out : 1; /* our last record was sealed */
    unsigned refused : 1;  /* the plain BYE was put, and nothing follows */
};

/* ---- life ------------------------------------------------------------------------------------ */

int lintelp_sealed_open(struct lintel_stream *s, const struct lintel_seal_keys *keys,
                        struct lintel_error *error)
{
    const struct lintel_allocator *allocator = s->options->allocator;
    struct lintelp_sealed *sealed = lintelp_resize(allocator, NULL, sizeof *sealed);
    int rc;

    if (sealed == NULL)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "stream: out of memory");
    memset(sealed, 0, sizeof *sealed);
    rc = lintel_seal_new(&sealed->seal, keys, allocator, error);
    if (rc < 0) {
        (void)lintelp_resize(allocator, sealed, 0);
        return rc;
    }
    sealed->process = getpid();
    s->sealed = sealed;
    return LINTEL_OK;
}

static void free_part(const struct lintel_stream *s, void *part)
{
    if (part != NULL)
        (void)lintelp_resize(s->options->allocator, part, 0);
}

void lintelp_sealed_free(struct lintel_stream *s)
{
    if (s->sealed == NULL)
        return;
    lintel_seal_free(s->sealed->seal);
    free_part(s, s->sealed->out);
    free_part(s, s->sealed->in);
    free_part(s, s->sealed->retired);
    free_part(s, s->sealed);
    s->sealed = NULL;
}

static void free_in(struct lintel_stream *s)
{
    free_part(s, s->sealed->in);
    s->sealed->in = NULL;
    s->sealed->in_head = s->sealed->in_tail = s->sealed->in_capacity = 0;
}

static void end_views(struct lintel_stream *s)
{
    free_part(s, s->sealed->retired);
    s->sealed->retired = NULL;
    s->sealed->live = 0;
}

void lintelp_sealed_trim(struct lintel_stream *s)
{
    struct lintelp_sealed *sealed = s->sealed;

    if (sealed == NULL || (s->work != NULL && lintel_decoder_unread(s->work->decoder) > 0))
        return;
    end_views(s);
    if (sealed->in_head == sealed->in_tail)
        free_in(s);
    if (lintelp_sealed_queued(s) == 0) {
        free_part(s, sealed->out);
        sealed->out = NULL;
    }
}

size_t lintelp_sealed_memory(const struct lintel_stream *s)
{
    const struct lintelp_sealed *sealed = s->sealed;

    if (sealed == NULL)
        return 0;
    return sealed->in_capacity +
           (sealed->out != NULL ? sizeof *sealed->out + sealed->out->capacity : 0);
}

/* ---- states ---------------------------------------------------------------------------------- */

int lintelp_sealed_is_done(const struct lintel_stream *s)
{
    enum lintel_seal_state state = lintel_seal_state(s->sealed->seal);

    return state == LINTEL_SEAL_I1 || state == LINTEL_SEAL_R2;
}

size_t lintelp_sealed_queued(const struct lintel_stream *s)
{
    const struct outgoing *out = s->sealed->out;

    return out != NULL ? out->tail - out->head : 0;
}

size_t lintelp_sealed_ahead(const struct lintel_stream *s)
{
    return s->sealed->in_tail - s->sealed->in_head;
}

/* Whether a last record is still to be sealed. */
static int wants_last(const struct lintel_stream *s)
{
    return s->closing && !s->sealed->last_out && lintel_seal_may_send(s->sealed->seal);
}

int lintelp_sealed_can_write(const struct lintel_stream *s)
{
    const struct lintelp_sealed *sealed = s->sealed;

    if (lintelp_sealed_queued(s) > 0 || lintel_seal_due(sealed->seal) != LINTEL_SEAL_DUE_NOTHING)
        return 1;
    return wants_last(s) || (lintel_seal_may_send(sealed->seal) && s->work != NULL &&
                             lintelp_queue_size(&s->work->queue) > 0);
}

uint64_t lintelp_sealed_begun(const struct lintel_stream *s)
{
    return s->sealed->last_in ? 0 : lintelp_sealed_ahead(s);
}

int lintelp_sealed_may_open(const struct lintel_stream *s)
{
    const struct lintelp_sealed *sealed = s->sealed;

    return sealed->eof || sealed->last_in || (lintelp_sealed_ahead(s) > 0 && !sealed->starved);
}

uint64_t lintelp_sealed_fed(const struct lintel_stream *s)
{
    return s->sealed->fed;
}

const struct lintel_seal *lintelp_sealed_session(const struct lintel_stream *s)
{
    return s->sealed->seal;
}

int lintelp_sealed_has_failed(const struct lintel_stream *s)
{
    return lintel_seal_error(s->sealed->seal, NULL) < 0;
}

int lintelp_sealed_is_refused(const struct lintel_stream *s)
{
    return s->sealed->refused;
}

void lintelp_sealed_error(const struct lintel_stream *s, struct lintel_error *out)
{
    (void)lintel_seal_error(s->sealed->seal, out);
}

/* ---- failing --------------------------------------------------------------------------------- */

/* Nothing goes out any more: what is queued and not written is lost. */
static void drop_out(struct lintel_stream *s, int status)
{
    struct outgoing *out = s->sealed->out;

    if (s->work != NULL)
        lintelp_queue_drop(&s->work->queue);
    if (out != NULL && !s->sealed->refused) {
        s->sealed->lost += out->tail - out->head;
        out->tail = out->head;
    }
    if (s->out_status == LINTEL_OK)
        s->out_status = (int8_t)status;
}

/* The session is over, in both directions. */
static int failed(struct lintel_stream *s, int status)
{
    drop_out(s, status);
    return lintelp_stream_in_failed(s, status, 0, ABOUT_SEAL);
}

void lintelp_sealed_cut_short(struct lintel_stream *s)
{
    if (s->sealed == NULL || s->shut)
        return;
    lintel_seal_fail(s->sealed->seal, LINTEL_E_TRUNCATED,
                     "the peer's last record left a frame or a message unfinished");
    drop_out(s, LINTEL_E_TRUNCATED);
}

/* In a child of the process that has the session nothing works. */
static int check_process(struct lintel_stream *s)
{
    if (s->sealed->process == getpid())
        return LINTEL_OK;
    lintel_seal_fail(s->sealed->seal, LINTEL_E_USAGE,
                     "this process is not the one that the sealed session belongs to");
    return failed(s, LINTEL_E_USAGE);
}

/* ---- out ------------------------------------------------------------------------------------- */

/* Room for records of so many bytes, behind what is there. */
static int reserve_out(struct lintel_stream *s, size_t size)
{
    struct outgoing *out = s->sealed->out;
    size_t used = lintelp_sealed_queued(s), capacity = used + size;

    if (out != NULL && out->head == out->tail)
        out->head = out->tail = 0;
    if (out != NULL && size <= out->capacity - out->tail)
        return LINTEL_OK;
    if (out != NULL && out->capacity >= capacity) {
        memmove(out->bytes, out->bytes + out->head, used);
    } else {
        out = lintelp_resize(s->options->allocator, NULL, sizeof *out + capacity);
        if (out == NULL)
            return lintelp_stream_note(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
        memset(out, 0, sizeof *out);
        if (s->sealed->out != NULL) {
            memcpy(out, s->sealed->out, sizeof *out);
            memcpy(out->bytes, s->sealed->out->bytes + s->sealed->out->head, used);
            free_part(s, s->sealed->out);
        }
        s->sealed->out = out;
        out->capacity = capacity;
    }
    out->head = 0;
    out->tail = used;
    return LINTEL_OK;
}

/* `size` bytes were put at the tail, and so many frames end in them. */
static void put(struct outgoing *out, size_t size, uint64_t frames)
{
    struct record *record = &out->records[(out->first + out->count++) % (RECORDS + 2)];

    record->wire = (uint32_t)size;
    record->frames = (uint32_t)frames;
    out->tail += size;
}

static int put_hello(struct lintel_stream *s)
{
    struct outgoing *out;
    size_t size;
    int rc = reserve_out(s, LINTEL_SEAL_HELLO_MAX);

    if (rc < 0)
        return rc;
    out = s->sealed->out;
    rc = lintel_seal_put_hello(s->sealed->seal, out->bytes + out->tail, LINTEL_SEAL_HELLO_MAX,
                               &size, NULL);
    if (rc < 0)
        return failed(s, rc);
    put(out, size, 0);
    return 1;
}

/*
 * How much of the queue the next record takes: as few records as the whole needs, each cut at the
 * end of a frame where that costs no record more.
 */
static size_t next_piece(const struct lintelp_queue *q)
{
    size_t total = lintelp_queue_size(q), spare, cut;

    if (total <= LINTEL_SEAL_PIECE_MAX)
        return total;
    spare =
        (total + LINTEL_SEAL_PIECE_MAX - 1) / LINTEL_SEAL_PIECE_MAX * LINTEL_SEAL_PIECE_MAX - total;
    cut = lintelp_queue_whole(q, LINTEL_SEAL_PIECE_MAX);
    return cut > 0 && LINTEL_SEAL_PIECE_MAX - cut <= spare ? cut : LINTEL_SEAL_PIECE_MAX;
}

/* Copy the first `size` bytes of the queue. */
static void copy_queued(const struct lintelp_queue *q, uint8_t *to, size_t size)
{
    struct iovec parts[PARTS];
    size_t count = lintelp_queue_parts(q, parts, PARTS), i, n;

    for (i = 0; i < count && size > 0; i++) {
        n = parts[i].iov_len < size ? parts[i].iov_len : size;
        memcpy(to, parts[i].iov_base, n);
        to += n;
        size -= n;
    }
}

/* Bytes of the queue that lie in its first parts. */
static size_t bytes_in_parts(const struct lintelp_queue *q)
{
    struct iovec parts[PARTS];
    size_t count = lintelp_queue_parts(q, parts, PARTS), bytes = 0, i;

    for (i = 0; i < count; i++)
        bytes += parts[i].iov_len;
    return bytes;
}

/* Seal a piece of the queue, which may be empty. Returns 1, or the status. */
static int put_record(struct lintel_stream *s)
{
    struct lintelp_queue *q = s->work != NULL ? &s->work->queue : NULL;
    size_t piece = q != NULL ? next_piece(q) : 0, size, most;
    struct outgoing *out;
    uint64_t frames;
    int rc, last;

    if (piece > 0 && piece > (most = bytes_in_parts(q)))
        piece = most;
    rc = reserve_out(s, piece + LINTEL_SEAL_OVERHEAD);
    if (rc < 0)
        return rc;
    out = s->sealed->out;
    if (piece > 0)
        copy_queued(q, out->bytes + out->tail + LINTEL_HEADER_SIZE, piece);
    last = s->closing && (q == NULL || piece == lintelp_queue_size(q));
    rc = lintel_seal_put_record(s->sealed->seal, out->bytes + out->tail,
                                piece + LINTEL_SEAL_OVERHEAD, &size,
                                out->bytes + out->tail + LINTEL_HEADER_SIZE, piece, last, NULL);
    if (rc < 0)
        return failed(s, rc);
    frames = piece > 0 ? lintelp_queue_written(q, piece) : 0;
    put(out, size, frames);
    s->sealed->last_out |= (unsigned)last & 1;
    return 1;
}

/* What is due goes out with what is queued. Returns 1 something was put, 0 nothing, or the status.
 */
static int fill_out(struct lintel_stream *s)
{
    enum lintel_seal_due due = lintel_seal_due(s->sealed->seal);
    int rc, n;

    if (due == LINTEL_SEAL_DUE_HELLO)
        return put_hello(s);
    for (n = 0; n < RECORDS; n++) {
        due = lintel_seal_due(s->sealed->seal);
        if (due != LINTEL_SEAL_DUE_RECORD && !wants_last(s) &&
            !(lintel_seal_may_send(s->sealed->seal) && s->work != NULL &&
              lintelp_queue_size(&s->work->queue) > 0))
            break;
        if ((rc = put_record(s)) < 0)
            return rc;
    }
    return n > 0;
}

/* So many bytes went out. */
static void note_written(struct lintel_stream *s, size_t size)
{
    struct outgoing *out = s->sealed->out;

    s->counters.bytes_out += size;
    out->head += size;
    out->written += size;
    while (out->count > 0 && out->written >= out->records[out->first].wire) {
        out->written -= out->records[out->first].wire;
        s->counters.frames_out += out->records[out->first].frames;
        out->first = (out->first + 1) % (RECORDS + 2);
        out->count--;
    }
}

/* Returns 1 all that was put is written, 0 it would wait, or the status. */
static int write_out(struct lintel_stream *s)
{
    struct outgoing *out = s->sealed->out;
    struct iovec part;
    ssize_t got;

    while (lintelp_sealed_queued(s) > 0) {
        part.iov_base = out->bytes + out->head;
        part.iov_len = out->tail - out->head;
        got = lintelp_write(&s->out, &part, 1);
        if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
            return lintelp_stream_send_failed(s, errno);
        if (got <= 0)
            return 0;
        note_written(s, (size_t)got);
    }
    return 1;
}

int lintelp_sealed_write(struct lintel_stream *s)
{
    int rc = check_process(s);

    if (rc < 0)
        return rc;
    do {
        rc = write_out(s);
        if (s->work != NULL)
            s->work->blocked = rc == 0;
        if (rc <= 0)
            return rc;
        if ((rc = fill_out(s)) < 0)
            return rc;
    } while (rc > 0);
    if (s->work != NULL && lintelp_queue_size(&s->work->queue) > 0)
        return 0;
    return s->closing && !s->sealed->last_out ? 0 : 1;
}

void lintelp_sealed_unsent(const struct lintel_stream *s, uint64_t *frames, uint64_t *bytes)
{
    const struct outgoing *out = s->sealed->out;
    uint32_t i;

    *frames = *bytes = 0;
    for (i = 0; out != NULL && i < out->count; i++)
        *frames += out->records[(out->first + i) % (RECORDS + 2)].frames;
    *bytes = s->sealed->lost + lintelp_sealed_queued(s);
}

/* ---- in -------------------------------------------------------------------------------------- */

/* Room for at least so many bytes at the tail. What views point into stays where it is. */
static int reserve_in(struct lintel_stream *s, size_t size)
{
    struct lintelp_sealed *sealed = s->sealed;
    size_t left = lintelp_sealed_ahead(s), capacity = sealed->in_capacity;
    uint8_t *bytes;

    if (size <= capacity - sealed->in_tail && !(sealed->full && capacity < IN_BUSY))
        return LINTEL_OK;
    if (!sealed->live && sealed->in_head > 0 && size <= capacity - left &&
        (!sealed->full || capacity >= IN_BUSY)) {
        memmove(sealed->in, sealed->in + sealed->in_head, left);
    } else {
        if (size > SIZE_MAX / 4 - left)
            return LINTEL_E_NOMEM;
        capacity = capacity < IN_FIRST / 2 ? IN_FIRST
                   : capacity >= IN_BUSY   ? capacity
                                           : 2 * capacity;
        while (capacity < left + size)
            capacity *= 2;
        bytes = lintelp_resize(s->options->allocator, NULL, capacity);
        if (bytes == NULL)
            return sealed->in_tail < sealed->in_capacity ? LINTEL_OK : LINTEL_E_NOMEM;
        if (left > 0)
            memcpy(bytes, sealed->in + sealed->in_head, left);
        if (sealed->live && sealed->retired == NULL)
            sealed->retired = sealed->in;
        else
            free_part(s, sealed->in);
        sealed->in = bytes;
        sealed->in_capacity = capacity;
    }
    sealed->in_head = 0;
    sealed->in_tail = left;
    return LINTEL_OK;
}

/* One read into `in`. Returns as lintelp_read(). */
static ssize_t read_in(struct lintel_stream *s, size_t most, int wait)
{
    struct lintelp_sealed *sealed = s->sealed;
    size_t room = sealed->in_capacity - sealed->in_tail;
    ssize_t got =
        lintelp_read(&s->in, sealed->in + sealed->in_tail, most < room ? most : room, wait);

    if (got <= 0)
        return got;
    sealed->full = (size_t)got == room;
    sealed->starved = 0;
    sealed->in_tail += (size_t)got;
    s->counters.bytes_in += (uint64_t)got;
    return got;
}

void lintelp_sealed_receive_ahead(struct lintel_stream *s, size_t room)
{
    ssize_t got;

    if (s->sealed->eof)
        return;
    if (reserve_in(s, 1) < 0) {
        s->work->stuck = 1;
        return;
    }
    got = read_in(s, room, 0);
    if (got == 0)
        s->sealed->eof = 1;
    if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK)
        s->work->in_errno = errno;
}

/* The session has failed, or will not begin. Before it has, the peer is told. */
static int seal_failed(struct lintel_stream *s, int status)
{
    if (status != LINTEL_E_REFUSED)
        (void)lintelp_sealed_refuse(s, lintel_bye_reason(status));
    return failed(s, status);
}

/* What to do with a record that was opened. Returns 1 the decoder has more, 2 go on. */
static int take_piece(struct lintel_stream *s, const struct lintel_seal_item *item)
{
    struct lintelp_sealed *sealed = s->sealed;
    int rc;

    sealed->last_in = item->kind == LINTEL_SEAL_LAST;
    if (item->size == 0)
        return 2;
    if ((rc = lintelp_stream_begin(s)) < 0)
        return rc;
    rc = lintel_decoder_feed(s->work->decoder, item->piece, item->size);
    sealed->fed += item->size;
    sealed->live = 1;
    return rc < 0 ? lintelp_stream_note(s, rc, 0, ABOUT_DECODER) : 1;
}

/* Open what has come. Returns 1 the decoder has more, 0 more bytes are needed, 2 look again; or the
 * status. */
static int open_next(struct lintel_stream *s)
{
    struct lintelp_sealed *sealed = s->sealed;
    struct lintel_seal_item item;
    int rc;

    if (lintel_seal_due(sealed->seal) == LINTEL_SEAL_DUE_HELLO) {
        rc = lintelp_sealed_write(s);
        if (rc < 0 || lintel_seal_due(sealed->seal) == LINTEL_SEAL_DUE_HELLO)
            return rc < 0 ? rc : 0;
    }
    rc = lintel_seal_next(sealed->seal, &item,
                          sealed->in != NULL ? sealed->in + sealed->in_head : NULL,
                          lintelp_sealed_ahead(s), NULL);
    if (rc < 0)
        return seal_failed(s, rc);
    if (rc == 0) {
        sealed->starved = 1;
        return 0;
    }
    sealed->in_head += item.used;
    if (item.kind != LINTEL_SEAL_HELLO)
        return take_piece(s, &item);
    rc = lintelp_sealed_write(s);
    return rc < 0 ? rc : 2;
}

/* The stream's end. Returns 1, the decoder is to be told; or the status. */
static int end_of_stream(struct lintel_stream *s)
{
    int rc = lintel_seal_end(s->sealed->seal, lintelp_sealed_ahead(s), NULL);

    if (rc != LINTEL_E_END)
        return failed(s, rc);
    s->ended = 1;
    return 1;
}

/* The last record has been opened and given: what is behind it is no more than the end. */
static int after_last(struct lintel_stream *s)
{
    if (lintelp_sealed_ahead(s) == 0 && !s->sealed->eof && reserve_in(s, 1) == LINTEL_OK)
        (void)read_in(s, 1, 0);
    return end_of_stream(s);
}

/* One read, into room that grows with what has come, not with what a header says. */
static int read_more(struct lintel_stream *s, int wait)
{
    ssize_t got;

    if (s->sealed->eof)
        return end_of_stream(s);
    if (s->work != NULL && s->work->in_errno != 0)
        return lintelp_stream_receive_failed(s, s->work->in_errno);
    if (reserve_in(s, 1) < 0)
        return lintelp_stream_note(s, LINTEL_E_NOMEM, 0, ABOUT_NOTHING);
    got = read_in(s, SIZE_MAX, wait);
    if (got == 0)
        return end_of_stream(s);
    if (got > 0)
        return 2;
    return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : lintelp_stream_receive_failed(s, errno);
}

int lintelp_sealed_receive(struct lintel_stream *s, int wait)
{
    int rc = check_process(s);

    if (rc < 0)
        return rc;
    end_views(s);
    for (;;) {
        if (s->sealed->last_in)
            return after_last(s);
        rc = open_next(s);
        if (rc == 0)
            rc = read_more(s, wait);
        if (rc != 2)
            return rc;
    }
}

/* ---- the handshake --------------------------------------------------------------------------- */

int lintelp_sealed_refuse(struct lintel_stream *s, int reason)
{
    struct outgoing *out;
    int rc;

    if (reason != LINTEL_BYE_TOO_SLOW && reason != LINTEL_BYE_TOO_MANY &&
        reason != LINTEL_BYE_DRAINING)
        reason = LINTEL_BYE_NOT_AUTHENTICATED;
    if (s->sealed->refused || s->out_status < 0 || s->shut ||
        reserve_out(s, LINTEL_SEAL_BYE_SIZE) < 0)
        return 0;
    out = s->sealed->out;
    rc = lintel_seal_put_bye(s->sealed->seal, out->bytes + out->tail, LINTEL_SEAL_BYE_SIZE, reason);
    if (rc != 1)
        return 0;
    put(out, LINTEL_SEAL_BYE_SIZE, 0);
    s->sealed->refused = 1;
    (void)write_out(s);
    if (s->out.is_socket)
        (void)!shutdown(s->out.fd, SHUT_WR);
    return 1;
}

int lintelp_sealed_handshake(struct lintel_stream *s, struct lintelp_deadline *deadline)
{
    struct pollfd fds[2] = {{s->in.fd, POLLIN, 0}, {s->out.fd, POLLOUT, 0}};
    int rc;

    while (!lintelp_sealed_is_done(s)) {
        if (s->in_status < 0)
            return lintelp_stream_note_in(s);
        if ((rc = lintelp_sealed_write(s)) < 0)
            return rc;
        rc = lintelp_sealed_receive(s, 0);
        if (rc < 0)
            return rc;
        if (rc > 0 || lintelp_sealed_is_done(s))
            continue;
        if (deadline->timeout_ms == 0)
            return 0;
        rc = lintelp_poll(fds, lintelp_sealed_queued(s) > 0 ? 2 : 1, deadline);
        if (rc < 0)
            return lintelp_stream_receive_failed(s, errno);
        if (rc == 0)
            return lintelp_stream_note(s, LINTEL_E_TIMEOUT, 0, ABOUT_HANDSHAKE);
    }
    rc = lintelp_sealed_write(s);
    return rc < 0 ? rc : 1;
}
