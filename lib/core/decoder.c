/*
 * The life and the storage of a decoder, and the bytes that go in.
 */
#include "core/decoder.h"
#include "core/explain.h"
#include "core/internal.h"
#include "core/text.h"

#include <string.h>

#define LEAST_CAPACITY ((size_t)256)        /* a block for tails; law 2 would allow 16 KiB */
#define LITTLE         ((size_t)4 * 1024)   /* so little is moved to the front for more room */
#define FIRST_CAPACITY ((size_t)16 * 1024)  /* law 2: growth by doubling begins here, at most */
#define BUSY_CAPACITY  ((size_t)256 * 1024) /* what a busy stream of small frames may earn */

/* The piece where there is none, so that it is never NULL. */
static const uint8_t nothing[1];

/* ---- life ------------------------------------------------------------------------------------ */

/* The words of the length that come to 0 to limit bytes, for the short way. */
static void plan_span(struct lintel_decoder *d)
{
    const struct lintelp_plan *plan = &d->layout->plan;
    const struct lintelp_view *view = &d->layout->views[d->layout->length];
    uint64_t low, high;

    if (!plan->usable || (plan->sum > 0 && (uint64_t)plan->sum > d->limit))
        return;
    low = view->low < 0 ? (0 - (uint64_t)view->low - 1) / plan->factor + 1 : 0;
    high = (d->limit - (uint64_t)plan->sum) / plan->factor;
    if (high > plan->raw_max)
        high = plan->raw_max;
    if (low > high)
        return;
    d->quick = d->layout->lintel ? QUICK_LINTEL : QUICK;
    d->raw_low = low;
    d->raw_span = high - low;
}

static int refuse_limit(struct lintel_error *error, uint64_t asked, uint64_t most)
{
    struct lintelp_text text = lintelp_error(error, LINTEL_E_RANGE, 0);
    lintelp_text_str(&text, "a frame limit of ");
    lintelp_text_u64(&text, asked);
    lintelp_text_str(&text, " is more than the layout's length can carry, ");
    lintelp_text_u64(&text, most);
    return LINTEL_E_RANGE;
}

int lintelp_decoder_check(const struct lintel_decoder_options *o, struct lintel_error *error)
{
    uint64_t most = lintelp_or_default(o->layout)->length_max;

    return o->max_frame > most ? refuse_limit(error, o->max_frame, most) : LINTEL_OK;
}

int lintel_decoder_new(struct lintel_decoder **out, const struct lintel_decoder_options *options,
                       struct lintel_error *error)
{
    static const struct lintel_decoder_options defaults = LINTEL_DECODER_OPTIONS_INIT;
    const struct lintel_decoder_options *o = options != NULL ? options : &defaults;
    struct lintel_decoder *d;
    const struct lintel_layout *layout;
    uint64_t most;
    int rc;

    if (out == NULL || o->size != sizeof *o)
        return lintelp_fail(error, LINTEL_E_USAGE, 0, "decoder: NULL, or options of another size");
    rc = lintelp_decoder_check(o, error);
    if (rc < 0)
        return rc;
    layout = lintelp_or_default(o->layout);
    most = layout->length_max;
    d = lintelp_resize(o->allocator, NULL, sizeof *d);
    if (d == NULL)
        return lintelp_fail(error, LINTEL_E_NOMEM, 0, "decoder: out of memory");
    memset(d, 0, sizeof *d);
    d->layout = layout;
    d->allocator = o->allocator;
    d->piece = d->base = nothing;
    d->edge = &d->at;
    d->limit = o->max_frame;
    if (d->limit == 0)
        d->limit = most < LINTEL_FRAME_LIMIT ? most : LINTEL_FRAME_LIMIT;
    d->max_memory = o->max_memory;
    if (d->max_memory == 0)
        d->max_memory = lintel_frame_size_max(layout, d->limit) + BUSY_CAPACITY;
    if (d->max_memory > PTRDIFF_MAX)
        d->max_memory = PTRDIFF_MAX; /* no block can be larger */
    d->over_limit = o->over_limit == LINTEL_OVER_LIMIT_SKIP;
    plan_span(d);
    *out = d;
    return LINTEL_OK;
}

/* The block whose bytes these are; NULL for NULL. */
static struct lintelp_block *block_of(uint8_t *bytes)
{
    return bytes != NULL ? (struct lintelp_block *)(void *)bytes - 1 : NULL;
}

static uint8_t *bytes_of(struct lintelp_block *block)
{
    return block != NULL ? (uint8_t *)(block + 1) : NULL;
}

/* A block of that size, or the one that was given, resized; NULL when out of memory. */
static struct lintelp_block *resize_block(struct lintel_decoder *d, struct lintelp_block *block,
                                          size_t size)
{
    if (size > SIZE_MAX - sizeof *block)
        return NULL;
    block = lintelp_resize(d->allocator, block, sizeof *block + size);
    if (block != NULL)
        block->size = size;
    return block;
}

static void free_block(struct lintel_decoder *d, struct lintelp_block *block)
{
    if (block != NULL)
        (void)lintelp_resize(d->allocator, block, 0);
}

/* The spare block goes where it and own storage of that capacity would be over the budget. */
static void fit_spare(struct lintel_decoder *d, size_t capacity)
{
    if (d->spare == NULL ||
        (capacity <= d->max_memory && d->spare->size <= d->max_memory - capacity))
        return;
    free_block(d, d->spare);
    d->spare = NULL;
}

/* A block that is free now: the larger of it and the spare one is kept, within the budget. */
static void spare_block(struct lintel_decoder *d, struct lintelp_block *block)
{
    if (d->spare != NULL && d->spare->size >= block->size) {
        free_block(d, block);
        return;
    }
    free_block(d, d->spare);
    d->spare = block;
    fit_spare(d, d->capacity);
}

/* No view points into the retired blocks any more. */
static LINTELP_APART void reclaim(struct lintel_decoder *d)
{
    while (d->retired != NULL) {
        struct lintelp_block *block = d->retired;
        d->retired = block->next;
        spare_block(d, block);
    }
}

static void free_spare(struct lintel_decoder *d)
{
    reclaim(d);
    free_block(d, d->spare);
    d->spare = NULL;
}

static void free_error(struct lintel_decoder *d)
{
    if (d->error != NULL)
        (void)lintelp_resize(d->allocator, d->error, 0);
    d->error = NULL;
}

static void free_own(struct lintel_decoder *d)
{
    free_block(d, block_of(d->own));
    d->own = NULL;
    d->begin = d->end = d->capacity = 0;
}

void lintel_decoder_free(struct lintel_decoder *decoder)
{
    if (decoder == NULL)
        return;
    free_spare(decoder);
    free_own(decoder);
    free_error(decoder);
    (void)lintelp_resize(decoder->allocator, decoder, 0);
}

void lintel_decoder_reset(struct lintel_decoder *d)
{
    if (d == NULL)
        return;
    free_error(d);
    reclaim(d);
    d->ended = d->live = d->full = 0;
    d->drip = 0;
    d->status = LINTEL_OK;
    d->begin = d->end = d->lent = 0;
    d->piece = nothing;
    d->at = d->size = d->given = 0;
    d->window = 0;
    d->given_header = 0;
    d->given_left = 0;
    d->offset = d->need = d->skip = d->skip_left = d->skipped = 0;
}

int lintelp_decoder_rests(const struct lintel_decoder *d)
{
    return d->status == LINTEL_OK && !d->ended && d->begin == d->end && d->at == d->size &&
           d->need == 0 && d->given_header == 0 && d->skip == 0 && d->skipped == 0 && d->lent == 0;
}

void lintelp_decoder_begin_at(struct lintel_decoder *d, uint64_t offset)
{
    d->offset = offset;
}

/* ---- storage --------------------------------------------------------------------------------- */

/* Payload that was given in pieces goes; the header in front of it stays. */
static LINTELP_APART void drop_given(struct lintel_decoder *d)
{
    uint8_t *payload = d->own + d->begin + d->given_header;
    size_t rest = d->end - d->begin - d->given_header - d->given;

    if (rest > 0)
        memmove(payload, payload + d->given, rest);
    d->end -= d->given;
    d->given = 0;
}

/* Ends the life of all views. */
static inline void begin_feed(struct lintel_decoder *d)
{
    if (d->retired != NULL)
        reclaim(d);
    d->live = 0;
    d->window = 0;
    if (d->given > 0)
        drop_given(d);
    if (d->begin == d->end)
        d->begin = d->end = 0;
}

struct lintel_error *lintelp_decoder_fail(struct lintel_decoder *d, int status)
{
    d->status = status;
    free_error(d);
    d->error = lintelp_resize(d->allocator, NULL, sizeof *d->error);
    return d->error;
}

int lintelp_decoder_over_budget(struct lintel_decoder *d, uint64_t wanted)
{
    lintelp_explain_budget(lintelp_decoder_fail(d, LINTEL_E_NOMEM), d->offset, wanted,
                           d->max_memory);
    return LINTEL_E_NOMEM;
}

/* A block of at least that size to move to: the spare one where it is large enough. */
static struct lintelp_block *take_block(struct lintel_decoder *d, size_t size)
{
    struct lintelp_block *block = d->spare;

    if (block == NULL || block->size < size)
        return resize_block(d, NULL, size);
    d->spare = NULL;
    return block;
}

/* Own storage was moved out of this block; views may live in it. */
static void put_aside(struct lintel_decoder *d, struct lintelp_block *block)
{
    if (block == NULL)
        return;
    if (!d->live) {
        spare_block(d, block);
        return;
    }
    block->next = d->retired;
    d->retired = block;
    d->live = 0;
}

/* Move what is unfinished into storage of that capacity, at its front. */
static int move_to(struct lintel_decoder *d, size_t capacity)
{
    size_t used = d->end - d->begin;
    int resized = d->begin == 0 && !d->live && (d->spare == NULL || d->spare->size < capacity);
    struct lintelp_block *own = block_of(d->own);
    struct lintelp_block *block =
        resized ? resize_block(d, own, capacity) : take_block(d, capacity);

    if (block == NULL)
        return LINTEL_E_NOMEM;
    if (!resized && used > 0)
        memcpy(bytes_of(block), d->own + d->begin, used);
    d->own = bytes_of(block);
    d->capacity = block->size;
    d->begin = 0;
    d->end = used;
    if (!resized)
        put_aside(d, own);
    fit_spare(d, d->capacity);
    return LINTEL_OK;
}

/* Make room for so many bytes that have arrived. Doubling, or a move to the front where half is
 * free there, keeps the work linear. */
int lintelp_decoder_make_room(struct lintel_decoder *d, size_t size)
{
    size_t used = d->end - d->begin;
    size_t capacity = d->capacity;

    if (size <= d->capacity - d->end)
        return LINTEL_OK;
    if (!d->live && size <= d->capacity - used && d->begin >= used) {
        memmove(d->own, d->own + d->begin, used);
        d->begin = 0;
        d->end = used;
        return LINTEL_OK;
    }
    if (size > d->max_memory || used > d->max_memory - size)
        return lintelp_decoder_over_budget(d, (uint64_t)used + size);
    if (capacity == 0)
        capacity = LEAST_CAPACITY < d->max_memory ? LEAST_CAPACITY : (size_t)d->max_memory;
    while (capacity - used < size || capacity < used)
        capacity = capacity <= d->max_memory / 2 ? 2 * capacity : (size_t)d->max_memory;
    return move_to(d, capacity);
}

/* ---- bytes in -------------------------------------------------------------------------------- */

static int may_space(const struct lintel_decoder *d)
{
    if (d->status < 0)
        return d->status;
    return d->at < d->size || d->ended ? LINTEL_E_USAGE : LINTEL_OK;
}

/* Of a frame that is given in pieces: whether own storage has more to give. */
static int has_piece(const struct lintel_decoder *d)
{
    struct lintelp_judgement j = {.header_size = d->given_header, .length = d->given_length};
    size_t before = d->begin + d->given_header + d->given;

    return d->end > before &&
           (d->given_left > 0 || lintelp_layout_judge_trailer(d->layout, &j, d->own + before,
                                                              d->end - before) != LINTELP_MORE);
}

/* With bytes in own storage that were not asked for, both it and a piece would have to be kept. */
static int may_feed(const struct lintel_decoder *d)
{
    size_t have = d->end - d->begin;

    if (d->status == LINTEL_OK &&
        (d->given_header > 0 ? has_piece(d) : have > 0 && d->need <= have))
        return LINTEL_E_USAGE;
    return may_space(d);
}

static inline void feed_piece(struct lintel_decoder *d, const uint8_t *bytes, size_t size)
{
    d->drip = 0;
    d->lent = 0;
    d->piece = bytes != NULL ? bytes : nothing;
    d->at = 0;
    d->size = size;
    lintelp_decoder_open(d);
}

/* Some of it may go behind what is there. */
static LINTELP_APART int feed_behind(struct lintel_decoder *d, const uint8_t *bytes, size_t size)
{
    if (d->drip == 0) {
        int rc = may_feed(d);
        if (rc < 0)
            return rc;
        d->lent = 0;
        begin_feed(d);
        d->drip = lintelp_decoder_drip_of(d);
    }
    if (size > 0 && size < d->drip) {
        memcpy(d->own + d->end, bytes, size);
        d->end += size;
        d->drip -= size;
        return LINTEL_OK;
    }
    feed_piece(d, bytes, size);
    return LINTEL_OK;
}

static LINTELP_APART int feed_some(struct lintel_decoder *d, const uint8_t *bytes, size_t size)
{
    if (d->need != 0 || d->given != 0 || d->at != d->size || d->status != LINTEL_OK || d->ended ||
        d->end - d->begin != d->given_header)
        return feed_behind(d, bytes, size);
    begin_feed(d);
    feed_piece(d, bytes, size);
    return LINTEL_OK;
}

/* Byte by byte is the worst there is, so a single one for a frame that needs more has a way of its
 * own. */
int lintel_decoder_feed(struct lintel_decoder *decoder, const void *bytes, size_t size)
{
    struct lintel_decoder *d = decoder;

    if (d == NULL || (bytes == NULL && size > 0))
        return LINTEL_E_USAGE;
    if (size != 1 || d->drip < 2)
        return feed_some(d, bytes, size);
    d->own[d->end++] = *(const uint8_t *)bytes;
    d->drip--;
    return LINTEL_OK;
}

/* More storage for bytes to be received: twice as much, in the budget. */
static int grow_space(struct lintel_decoder *d)
{
    size_t capacity = d->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : 2 * d->capacity;

    if (capacity > d->max_memory)
        capacity = (size_t)d->max_memory;
    if (capacity <= d->capacity)
        return lintelp_decoder_over_budget(d, d->need > d->capacity ? d->need
                                                                    : (uint64_t)d->capacity + 1);
    return move_to(d, capacity);
}

/* Whether what is unfinished goes to the front of own storage before more is received: where that
 * is little; or where more is needed than fits behind it, and it is less than what is free in
 * front, or there is no more storage to be had. The last is once for a frame, which is larger than
 * what is moved. */
static int is_to_move(const struct lintel_decoder *d, size_t used, size_t wanted)
{
    if (d->begin == 0)
        return 0;
    return used <= LITTLE ||
           (d->capacity - d->end < wanted && (d->begin >= used || d->capacity >= d->max_memory));
}

/* A frame too large for the storage of a busy stream is received to its end and no further, so that
 * the next one begins at the front again and is not moved there; of all others at most as much
 * comes as that storage holds. */
static size_t to_lend(const struct lintel_decoder *d)
{
    size_t used = d->end - d->begin, room = d->capacity - d->end;
    uint64_t most = BUSY_CAPACITY;

    if (d->need > BUSY_CAPACITY && d->need > used)
        most = d->need - used;
    return room < most ? room : (size_t)most;
}

int lintel_decoder_space(struct lintel_decoder *decoder, void **space, size_t *size)
{
    struct lintel_decoder *d = decoder;
    size_t used, wanted;
    int rc;

    if (d == NULL || space == NULL || size == NULL)
        return LINTEL_E_USAGE;
    rc = may_space(d);
    if (rc < 0)
        return rc;
    d->drip = 0;
    begin_feed(d);
    used = d->end - d->begin;
    wanted = d->need > used && d->need - used < SIZE_MAX ? (size_t)(d->need - used) : 1;
    if (is_to_move(d, used, wanted)) {
        memmove(d->own, d->own + d->begin, used);
        d->begin = 0;
        d->end = used;
    }
    if (d->capacity == d->end ||
        (d->full && d->capacity < BUSY_CAPACITY && d->capacity < d->max_memory))
        rc = grow_space(d);
    d->full = 0;
    if (rc < 0 && (d->capacity == d->end || d->status < 0))
        return rc;
    *space = d->own + d->end;
    *size = d->lent = to_lend(d);
    return LINTEL_OK;
}

int lintel_decoder_filled(struct lintel_decoder *decoder, size_t size)
{
    if (decoder == NULL)
        return LINTEL_E_USAGE;
    if (decoder->status < 0)
        return decoder->status;
    if (size > decoder->lent)
        return LINTEL_E_USAGE;
    decoder->full = size > 0 && size == decoder->lent;
    decoder->lent = 0;
    decoder->end += size;
    return LINTEL_OK;
}

int lintel_decoder_end(struct lintel_decoder *decoder)
{
    if (decoder == NULL)
        return LINTEL_E_USAGE;
    if (decoder->status < 0)
        return decoder->status;
    decoder->ended = 1;
    decoder->drip = 0;
    decoder->lent = 0;
    return LINTEL_OK;
}

/* ---- asking ---------------------------------------------------------------------------------- */

size_t lintel_decoder_unread(const struct lintel_decoder *decoder)
{
    size_t own;

    if (decoder == NULL)
        return 0;
    own = decoder->end - decoder->begin - decoder->given_header - decoder->given;
    return own + (decoder->size - decoder->at);
}

size_t lintel_decoder_need(const struct lintel_decoder *decoder)
{
    uint64_t have, need;

    if (decoder == NULL)
        return 1;
    if (decoder->given_header > 0)
        return 1;
    if (decoder->skip > 0)
        return decoder->skip_left < SIZE_MAX ? (size_t)decoder->skip_left : SIZE_MAX;
    have = lintel_decoder_unread(decoder);
    need = decoder->need;
    if (need == 0)
        need = decoder->layout->varints ? 1 : decoder->layout->header_min;
    if (need <= have)
        return 1;
    return need - have < SIZE_MAX ? (size_t)(need - have) : SIZE_MAX;
}

int lintel_decoder_begun(const struct lintel_decoder *decoder, uint64_t *size)
{
    uint64_t whole = lintel_decoder_unread(decoder);

    if (whole > 0 && decoder->need > whole)
        whole = decoder->need;
    if (decoder != NULL && decoder->skip > 0)
        whole = decoder->skip;
    if (decoder != NULL && decoder->given_header > 0)
        whole =
            decoder->given_header + decoder->given_length + lintelp_trailer_least(decoder->layout);
    if (size != NULL)
        *size = whole;
    return whole > 0;
}

uint64_t lintel_decoder_offset(const struct lintel_decoder *decoder)
{
    return decoder == NULL ? 0 : decoder->offset;
}

int lintel_decoder_rest(struct lintel_decoder *decoder, struct lintel_part parts[2])
{
    if (decoder == NULL || parts == NULL || decoder->given_header > 0)
        return LINTEL_E_USAGE;
    parts[0].bytes = decoder->own != NULL ? decoder->own + decoder->begin : NULL;
    parts[0].size = decoder->end - decoder->begin;
    parts[1].bytes = decoder->piece != NULL ? decoder->piece + decoder->at : NULL;
    parts[1].size = decoder->size - decoder->at;
    decoder->drip = 0;
    decoder->live = 1;
    decoder->begin = decoder->end;
    decoder->at = decoder->size;
    decoder->need = 0;
    return LINTEL_OK;
}

uint64_t lintel_decoder_skipped(const struct lintel_decoder *decoder)
{
    return decoder == NULL ? 0 : decoder->skipped;
}

size_t lintel_decoder_memory(const struct lintel_decoder *decoder)
{
    size_t held;

    if (decoder == NULL)
        return 0;
    held = decoder->capacity + (decoder->spare != NULL ? decoder->spare->size : 0);
    for (const struct lintelp_block *block = decoder->retired; block != NULL; block = block->next)
        held += block->size;
    return held;
}

void lintel_decoder_trim(struct lintel_decoder *decoder)
{
    size_t used;

    if (decoder == NULL)
        return;
    decoder->drip = 0;
    begin_feed(decoder);
    free_spare(decoder);
    decoder->lent = 0;
    decoder->full = 0;
    used = decoder->end - decoder->begin;
    if (used == 0)
        free_own(decoder);
    else if (used <= decoder->capacity / 2)
        (void)move_to(decoder, used);
}

const struct lintel_layout *lintel_decoder_layout(const struct lintel_decoder *decoder)
{
    return decoder == NULL ? NULL : decoder->layout;
}

void lintel_decoder_error(const struct lintel_decoder *decoder, struct lintel_error *out)
{
    if (out == NULL)
        return;
    if (decoder != NULL && decoder->error != NULL) {
        *out = *decoder->error;
        return;
    }
    memset(out, 0, sizeof *out);
    if (decoder == NULL || decoder->status == LINTEL_OK)
        return;
    (void)lintelp_fail(out, decoder->status, decoder->offset, lintel_strerror(decoder->status));
}
