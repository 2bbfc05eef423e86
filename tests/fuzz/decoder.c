/*
 * The decoder against the step: any layout, limit, budget and failing memory, any way to cut the
 * stream, fed or in place, frames one by one, in batches, in pieces and in batches of them, mixed.
 *
 *     input:  a layout, the options, the number of script bytes, the script, the stream
 *
 * What must come out is told by lintelp_layout_judge() in a loop over the whole stream, and the
 * text of an error by a decoder that is fed the whole stream at once. Each byte of the script is
 * one turn: how much comes, how, and how it is taken out.
 */
#include "fuzz.h"

#include "core/layout.h"

#include <stdlib.h>
#include <string.h>

#define HELD_MAX   256 /* views that are looked at again before they die */
#define BATCH_MAX  40
#define TRIES_MAX  10000
#define LEAST_ROOM ((size_t)256 * 1024)

/* ---- what must come out ---------------------------------------------------------------------- */

struct story {
    const struct lintel_layout *layout;
    const uint8_t *wire;
    size_t size;
    struct lintelp_judgement *frames; /* need is the offset */
    size_t count;
    uint64_t skipped;
    int status;
    struct lintel_error error; /* of the decoder that is fed at once; else all zero */
};

/* One frame or the end at *at; 1 while it goes on. */
static int foresee_one(struct story *story, uint64_t limit, int skipping, uint64_t *at)
{
    struct lintelp_judgement *j = &story->frames[story->count];
    size_t have = story->size - (size_t)*at;
    uint64_t size;

    story->status = LINTEL_E_END;
    if (have == 0)
        return 0;
    switch (lintelp_layout_judge(story->layout, j, story->wire + *at, have, limit)) {
    case LINTELP_FRAME:
        j->need = *at;
        *at += j->header_size + j->length + j->trailer_size;
        story->count++;
        return 1;
    case LINTELP_MORE:
        story->status = LINTEL_E_TRUNCATED;
        return 0;
    case LINTELP_BAD:
        break;
    }
    story->status = j->status;
    if (!skipping || !j->limited)
        return 0;
    story->status = LINTEL_E_TRUNCATED;
    size = j->header_size + j->length + j->trailer_size;
    if (size > have)
        return 0;
    story->skipped++;
    *at += size;
    return 1;
}

static void foresee(struct story *story, uint64_t limit, int skipping)
{
    uint64_t at = 0;

    story->frames = calloc(story->size + 1, sizeof *story->frames);
    CHECK(story->frames != NULL);
    while (foresee_one(story, limit, skipping, &at))
        continue;
}

/* ---- a run ----------------------------------------------------------------------------------- */

enum taking { BY_FRAME, BY_BATCH, BY_PIECE, BY_TURNS };

struct run {
    const struct story *story;
    uint64_t budget; /* 0: none */
    struct lintel_decoder *decoder;
    struct memory *memory;
    int exact; /* memory neither fails nor is bounded: the end must be the same, too */
    size_t fed;
    size_t next; /* frames that are complete */
    int inside;  /* between the pieces of one */
    uint64_t position;
    size_t owed; /* bytes without which nothing can come */
    unsigned rests;
    struct {
        const uint8_t *bytes;
        uint64_t offset;
        size_t size;
    } held[HELD_MAX];
    size_t held_count;
    uint8_t *piece;
    struct lintel_error error;
};

/* A view must show what the stream has there, now and until it dies. */
static void hold(struct run *run, const uint8_t *bytes, uint64_t offset, size_t size)
{
    CHECK(offset <= run->story->size && size <= run->story->size - offset);
    CHECK(size == 0 || memcmp(bytes, run->story->wire + offset, size) == 0);
    if (run->held_count == HELD_MAX)
        return;
    run->held[run->held_count].bytes = bytes;
    run->held[run->held_count].offset = offset;
    run->held[run->held_count++].size = size;
}

static void let_go(struct run *run)
{
    for (size_t i = 0; i < run->held_count; i++)
        CHECK(run->held[i].size == 0 ||
              memcmp(run->held[i].bytes, run->story->wire + run->held[i].offset,
                     run->held[i].size) == 0);
    run->held_count = 0;
}

static const struct lintelp_judgement *expected(struct run *run)
{
    CHECK(run->next < run->story->count);
    return &run->story->frames[run->next];
}

static void take_frame(struct run *run, const struct lintel_frame *frame)
{
    const struct lintelp_judgement *j = expected(run);

    CHECK(!run->inside);
    CHECK(frame->offset == j->need && frame->header_size == j->header_size &&
          frame->length == j->length && frame->trailer_size == j->trailer_size);
    hold(run, frame->header, j->need, frame->header_size);
    hold(run, frame->payload, j->need + j->header_size, frame->length);
    hold(run, frame->trailer, j->need + j->header_size + j->length, frame->trailer_size);
    run->next++;
}

static void take_piece(struct run *run, const struct lintel_piece *piece)
{
    CHECK(piece->position == (run->inside ? run->position : 0));
    CHECK(piece->size > 0 || piece->last);
    CHECK(piece->size <= piece->length - piece->position);
    hold(run, piece->header, piece->offset, piece->header_size);
    hold(run, piece->bytes, piece->offset + piece->header_size + piece->position, piece->size);
    run->position = piece->position + piece->size;
    run->inside = !piece->last;
    if (!piece->last) {
        CHECK(piece->trailer_size == 0);
        return;
    }
    CHECK(expected(run)->need == piece->offset && expected(run)->length == piece->length &&
          expected(run)->header_size == piece->header_size &&
          expected(run)->trailer_size == piece->trailer_size && run->position == piece->length);
    hold(run, piece->trailer, piece->offset + piece->header_size + piece->length,
         piece->trailer_size);
    run->next++;
}

/* One call; the frames or the piece that came are looked at. */
static int take(struct run *run, enum taking how)
{
    struct lintel_frame frames[BATCH_MAX];
    struct lintel_piece pieces[3];
    int capacity = how == BY_FRAME ? 1 : 3 + (int)(run->next % (BATCH_MAX - 2));
    int rc;

    if (run->inside) {
        struct lintel_error error;
        /* Pieces that came together may stand before an error, which the decoder is in then. */
        lintel_decoder_error(run->decoder, &error);
        CHECK(lintel_decoder_next(run->decoder, frames) ==
              (error.status != LINTEL_OK ? error.status : LINTEL_E_USAGE));
        CHECK(lintel_decoder_rest(run->decoder, (struct lintel_part[2]){{0}}) == LINTEL_E_USAGE);
    }
    if (run->inside || how == BY_PIECE || (how == BY_TURNS && run->next % 2 == 1)) {
        capacity = 1 + (int)(run->fed % 3);
        rc = run->fed % 4 == 3 ? lintel_decoder_next_piece(run->decoder, pieces)
                               : lintel_decoder_next_pieces(run->decoder, pieces, capacity);
        CHECK(rc <= capacity);
        for (int i = 0; i < rc; i++)
            take_piece(run, &pieces[i]);
        return rc;
    }
    rc = how == BY_FRAME ? lintel_decoder_next(run->decoder, frames)
                         : lintel_decoder_next_batch(run->decoder, frames, capacity);
    CHECK(rc <= capacity);
    CHECK(rc == 0 || rc == LINTEL_E_NOMEM || run->owed == 0);
    for (int i = 0; i < rc; i++)
        take_frame(run, &frames[i]);
    return rc;
}

/* Take the unused bytes back: they are handed in again. */
static void take_back(struct run *run)
{
    struct lintel_part parts[2];
    size_t size;

    CHECK(lintel_decoder_rest(run->decoder, parts) == LINTEL_OK);
    size = parts[0].size + parts[1].size;
    CHECK(size <= run->fed && lintel_decoder_unread(run->decoder) == 0);
    run->fed -= size;
    hold(run, parts[0].bytes, run->fed, parts[0].size);
    hold(run, parts[1].bytes, run->fed + parts[0].size, parts[1].size);
}

/* The error stays, and every call says it. */
static void check_sticky(struct run *run, int status)
{
    struct lintel_frame frame;
    struct lintel_piece piece;
    struct lintel_error again;
    void *space;
    size_t size;

    lintel_decoder_error(run->decoder, &run->error);
    check_error(&run->error, status);
    CHECK(lintel_decoder_next(run->decoder, &frame) == status);
    CHECK(lintel_decoder_next_batch(run->decoder, &frame, 1) == status);
    CHECK(lintel_decoder_next_piece(run->decoder, &piece) == status);
    CHECK(lintel_decoder_next_pieces(run->decoder, &piece, 1) == status);
    CHECK(lintel_decoder_filled(run->decoder, 0) == status);
    CHECK(lintel_decoder_end(run->decoder) == status);
    CHECK(lintel_decoder_feed(run->decoder, "", 0) == status);
    CHECK(lintel_decoder_space(run->decoder, &space, &size) == status);
    lintel_decoder_error(run->decoder, &again);
    CHECK(same_error(&again, &run->error));
    CHECK(again.at == lintel_decoder_offset(run->decoder));
}

/* Out of memory, and it is worth another try. */
static int may_try_again(struct run *run, int rc)
{
    struct lintel_error error;

    if (rc != LINTEL_E_NOMEM)
        return 0;
    lintel_decoder_error(run->decoder, &error);
    CHECK(error.status == LINTEL_OK || error.status == LINTEL_E_NOMEM);
    CHECK(error.status != LINTEL_OK || run->memory->failures > 0);
    return error.status == LINTEL_OK;
}

/* The frame at the front needs more than the budget, unless it is one to be skipped or to be cut.
 */
static void check_over_budget(const struct run *run)
{
    const struct lintelp_judgement *j = &run->story->frames[run->next];

    CHECK(run->budget > 0);
    if (run->next < run->story->count && j->need == lintel_decoder_offset(run->decoder))
        CHECK(j->header_size + j->length + j->trailer_size > run->budget);
}

/* Law 2: within the budget, as often as blocks may hold views. */
static void check_memory(const struct run *run, unsigned times)
{
    CHECK(run->budget == 0 || lintel_decoder_memory(run->decoder) / times <= run->budget);
}

static void check_boundary(struct run *run)
{
    uint64_t begun;

    CHECK(lintel_decoder_need(run->decoder) > 0);
    CHECK(lintel_decoder_begun(run->decoder, &begun) == (begun > 0));
    CHECK(run->inside || begun >= lintel_decoder_unread(run->decoder));
    if (!run->inside && lintel_decoder_skipped(run->decoder) == run->story->skipped)
        CHECK(lintel_decoder_offset(run->decoder) + lintel_decoder_unread(run->decoder) <=
              run->fed);
}

/* Take out what there is. 1: more is needed; 0: bytes were taken back; else the error. */
static int drain(struct run *run, enum taking how, int taking_back)
{
    for (;;) {
        int rc = take(run, how);
        if (rc > 0 && taking_back && !run->inside && run->rests < 16) {
            run->rests++;
            take_back(run);
            return 0;
        }
        if (rc == 0)
            return 1;
        if (rc < 0 && !may_try_again(run, rc))
            return rc;
    }
}

static int hand_in(struct run *run, const uint8_t *bytes, size_t *size, int in_place)
{
    void *space;
    size_t room;
    int rc;

    for (int tries = 0; in_place; tries++) {
        CHECK(tries < TRIES_MAX);
        rc = lintel_decoder_space(run->decoder, &space, &room);
        if (may_try_again(run, rc))
            continue;
        if (rc < 0)
            return rc;
        CHECK(room > 0);
        *size = *size < room ? *size : room;
        if (*size > 0)
            memcpy(space, bytes, *size);
        CHECK(lintel_decoder_filled(run->decoder, room + 1) == LINTEL_E_USAGE);
        return lintel_decoder_filled(run->decoder, *size);
    }
    free(run->piece);
    run->piece = copy_of(bytes, *size);
    return lintel_decoder_feed(run->decoder, run->piece, *size);
}

/* ---- the script ------------------------------------------------------------------------------ */

struct script {
    const uint8_t *turns;
    size_t count, at;
};

static uint8_t next_turn(struct script *script)
{
    return script->count == 0 ? 0x0F : script->turns[script->at++ % script->count];
}

static size_t turn_size(uint8_t turn, size_t left)
{
    static const size_t sizes[] = {1, 1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 64, 255, 1448, SIZE_MAX};
    size_t size = sizes[turn & 15];
    return size < left ? size : left;
}

/* One turn. 1: go on; else the error. */
static int do_turn(struct run *run, struct script *script)
{
    uint8_t turn = next_turn(script);
    enum taking how = (enum taking)(turn >> 5 & 3);
    size_t size = turn_size(turn, run->story->size - run->fed);
    size_t owed = run->owed;
    int rc;

    let_go(run);
    if (turn >= 0x80 && turn & 1)
        lintel_decoder_trim(run->decoder);
    rc = hand_in(run, run->story->wire + run->fed, &size, turn >> 4 & 1);
    if (rc < 0)
        return rc;
    run->fed += size;
    run->owed = size < owed ? owed - size : 0;
    check_memory(run, 1);
    rc = drain(run, how, turn >= 0x80);
    check_memory(run, 3);
    if (rc < 0)
        return rc;
    check_boundary(run);
    run->owed = rc == 1 && !run->inside ? lintel_decoder_need(run->decoder) : 0;
    return 1;
}

static int do_all(struct run *run, struct script *script)
{
    int rc = 1;

    while (run->fed < run->story->size && rc > 0)
        rc = do_turn(run, script);
    if (rc < 0)
        return rc;
    CHECK(lintel_decoder_end(run->decoder) == LINTEL_OK);
    run->owed = 0;
    rc = drain(run, (enum taking)(next_turn(script) >> 5 & 3), 0);
    CHECK(rc < 0);
    return rc;
}

static struct lintel_error play(const struct story *story, struct lintel_decoder_options *options,
                                struct memory *memory, struct script *script)
{
    struct run run = {.story = story, .memory = memory, .budget = options->max_memory};
    int rc;

    options->allocator = &memory->allocator;
    do
        rc = lintel_decoder_new(&run.decoder, options, NULL);
    while (rc == LINTEL_E_NOMEM && memory->failures < TRIES_MAX);
    CHECK(rc == LINTEL_OK);
    rc = do_all(&run, script);
    let_go(&run);
    check_sticky(&run, rc);
    if (rc != LINTEL_E_NOMEM) {
        CHECK(rc == story->status && run.next == story->count);
        CHECK(lintel_decoder_skipped(run.decoder) == story->skipped);
    } else {
        check_over_budget(&run);
    }
    if (story->error.status != LINTEL_OK && memory->failures == 0 && rc != LINTEL_E_NOMEM)
        CHECK(same_error(&run.error, &story->error));
    lintel_decoder_free(run.decoder);
    free(run.piece);
    CHECK(memory->blocks == 0);
    return run.error;
}

/* ---- the target ------------------------------------------------------------------------------ */

static void set_options(struct input *in, struct lintel_decoder_options *options,
                        struct memory *memory)
{
    uint8_t flags = input_byte(in);
    uint64_t most = lintel_layout_length_max(options->layout);

    options->over_limit = flags & 1 ? LINTEL_OVER_LIMIT_SKIP : LINTEL_OVER_LIMIT_FAIL;
    if (flags & 2)
        options->max_frame = input_number(in);
    if (options->max_frame > most)
        options->max_frame = most;
    if (flags & 4)
        options->max_memory = input_number(in);
    if (flags & 8)
        memory->fail_every = 2 + input_byte(in) % 16u;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_layout *layout = input_layout(&in);
    struct story story = {.layout = layout};
    struct script script = {0}, whole = {0};
    struct memory plain, memory;
    struct lintel_decoder_options unbounded;

    if (layout == NULL)
        return 0;
    memory_init(&plain);
    memory_init(&memory);
    options.layout = layout;
    set_options(&in, &options, &memory);
    script.turns = input_take(&in, input_byte(&in), &script.count);
    story.wire = in.bytes;
    story.size = in.size;
    /* Law 2: memory follows what arrived, not what was promised. */
    memory.greatest = LEAST_ROOM + 2 * in.size;

    foresee(&story,
            options.max_frame != 0 ? options.max_frame
            : lintel_layout_length_max(layout) < LINTEL_FRAME_LIMIT
                ? lintel_layout_length_max(layout)
                : LINTEL_FRAME_LIMIT,
            options.over_limit == LINTEL_OVER_LIMIT_SKIP);
    unbounded = options;
    unbounded.max_memory = 0;
    story.error = play(&story, &unbounded, &plain, &whole);
    (void)play(&story, &options, &memory, &script);
    free(story.frames);
    lintel_layout_free(layout);
    return 0;
}
