/*
 * A layout as a fuzzing dictionary, name="bytes" a line, as libFuzzer and AFL read it: constants,
 * lengths at which something changes, varints that are none, the shortest frame.
 */
#include "config.h"

#include <string.h>

#include "generate.h"

#define ENTRY_MAX 128 /* bytes; AFL takes no more */

struct dictionary {
    const struct generate_job *job;
    struct tool_buffer seen; /* entries that were printed, each its size and its bytes */
};

static int is_seen(const struct dictionary *d, const uint8_t *bytes, size_t size)
{
    for (size_t at = 0; at < d->seen.used; at += 1u + d->seen.bytes[at])
        if (d->seen.bytes[at] == size && memcmp(d->seen.bytes + at + 1, bytes, size) == 0)
            return 1;
    return 0;
}

static int add(struct dictionary *d, const char *name, const char *more, const uint8_t *bytes,
               size_t size)
{
    uint8_t prefix = (uint8_t)size;
    int whole = strcmp(name, "frame") == 0; /* each layout has one, though others look like it */
    if (size == 0 || size > ENTRY_MAX || (is_seen(d, bytes, size) && !whole))
        return TOOL_OK;
    printf("%s_%s%s=\"", d->job->prefix, name, more);
    for (size_t i = 0; i < size; i++)
        if ((bytes[i] >= 'a' && bytes[i] <= 'z') || (bytes[i] >= 'A' && bytes[i] <= 'Z'))
            putchar(bytes[i]);
        else
            printf("\\x%02x", bytes[i]);
    printf("\"\n");
    if (tool_buffer_add(&d->seen, &prefix, 1) != TOOL_OK)
        return TOOL_FAILED;
    return tool_buffer_add(&d->seen, bytes, size);
}

static int add_word(struct dictionary *d, const struct generate_view *view, const char *more,
                    uint64_t word)
{
    uint8_t bytes[10];
    size_t size = generate_store(bytes, d->job->layout, view->field, word);
    return add(d, view->view->name, more, bytes, size);
}

static int add_constant(struct dictionary *d, const struct generate_view *view)
{
    if (view->constant.kind == LINTEL_BYTES)
        return add(d, view->view->name, "", view->constant.as.bytes, view->constant.size);
    return add_word(d, view, "", view->bits);
}

/* A number of the length's own bits, with the constants of its word. */
static int add_number(struct dictionary *d, const struct generate_view *view, const char *more,
                      uint64_t number)
{
    uint64_t mask, bits;
    generate_fixed(view, d->job->layout, &mask, &bits);
    if (number > view->full || (number & ~view->full))
        return TOOL_OK;
    return add_word(d, view, more, (number << view->view->shift & ~mask) | bits);
}

static int add_length(struct dictionary *d, const struct generate_view *view, const char *more,
                      uint64_t length)
{
    if (length < view->value_min || length > view->value_max ||
        (length - (uint64_t)view->view->sum) % view->view->factor != 0)
        return TOOL_OK;
    return add_number(d, view, more, generate_bits(view, length) >> view->view->shift);
}

static int add_lengths(struct dictionary *d, const struct generate_view *view)
{
    uint64_t most = lintel_layout_length_max(d->job->layout);
    uint64_t limit = most < LINTEL_FRAME_LIMIT ? most : LINTEL_FRAME_LIMIT;
    int rc = add_length(d, view, "_0", 0);
    rc |= add_length(d, view, "_1", 1);
    rc |= add_length(d, view, "_least", view->value_min);
    rc |= add_length(d, view, "_limit", limit);
    rc |= add_length(d, view, "_over_limit", limit + 1);
    rc |= add_length(d, view, "_most", most);
    rc |= add_length(d, view, "_over_most", most + 1);
    rc |= add_number(d, view, "_word_0", 0);
    rc |= add_number(d, view, "_word_1", 1);
    if (view->number_min > 0)
        rc |= add_number(d, view, "_too_small", view->number_min - 1);
    if (view->number_max < view->full)
        rc |= add_number(d, view, "_too_large", view->number_max + 1);
    rc |= add_number(d, view, "_word_full", view->full);
    return rc ? TOOL_FAILED : TOOL_OK;
}

static int add_varints(struct dictionary *d, const struct generate_view *view)
{
    uint8_t bytes[10];
    size_t size = view->view->size;
    memset(bytes, 0x80, sizeof bytes);
    bytes[1] = 0;
    int rc = size > 1 ? add(d, view->view->name, "_overlong", bytes, 2) : TOOL_OK;
    bytes[1] = 0x80;
    bytes[size - 1] = 0;
    rc |= size > 1 ? add(d, view->view->name, "_overlong_whole", bytes, size) : TOOL_OK;
    memset(bytes, 0xff, sizeof bytes);
    rc |= add(d, view->view->name, "_endless", bytes, size);
    bytes[9] = 2;
    rc |= size == 10 ? add(d, view->view->name, "_over_64_bits", bytes, size) : TOOL_OK;
    return rc ? TOOL_FAILED : TOOL_OK;
}

/* Views of one word can contradict each other, so that no frame is right. */
static int is_frame(const struct lintel_layout *layout, const uint8_t *bytes, size_t size)
{
    struct lintel_decoder_options options = LINTEL_DECODER_OPTIONS_INIT;
    struct lintel_decoder *decoder;
    struct lintel_frame frame;
    options.layout = layout;
    if (lintel_decoder_new(&decoder, &options, NULL) != LINTEL_OK)
        return 0;
    int is = lintel_decoder_feed(decoder, bytes, size) == LINTEL_OK &&
             lintel_decoder_next(decoder, &frame) == 1;
    lintel_decoder_free(decoder);
    return is;
}

static int add_frame(struct dictionary *d)
{
    struct generate_frame frame;
    uint8_t bytes[ENTRY_MAX] = {0};
    if (!generate_frame(&frame, d->job->layout))
        return TOOL_OK;
    if (frame.header_size > sizeof bytes || frame.length > sizeof bytes - frame.header_size ||
        frame.trailer_size > sizeof bytes - frame.header_size - frame.length) {
        printf("# its shortest frame is over %d bytes\n", ENTRY_MAX);
        return TOOL_OK;
    }
    size_t size = frame.header_size + (size_t)frame.length;
    memcpy(bytes, frame.header, frame.header_size);
    memcpy(bytes + size, frame.trailer, frame.trailer_size);
    size += frame.trailer_size;
    return is_frame(d->job->layout, bytes, size) ? add(d, "frame", "", bytes, size) : TOOL_OK;
}

static int add_layout(struct dictionary *d, const struct generate_job *job)
{
    d->job = job;
    printf("# %s%s%s\n", job->known ? job->known->name : "", job->known ? ": " : "",
           lintel_layout_text(job->layout));
    int rc = add_frame(d);
    for (size_t i = 0; i < lintel_layout_view_count(job->layout); i++) {
        struct generate_view view;
        generate_look(&view, job->layout, i);
        if (view.view->constant)
            rc |= add_constant(d, &view);
        if (view.is_length)
            rc |= add_lengths(d, &view);
        if (view.view->code == 'v')
            rc |= add_varints(d, &view);
    }
    return rc ? TOOL_FAILED : TOOL_OK;
}

static int add_known(struct dictionary *d)
{
    int rc = TOOL_OK;
    for (size_t i = 0; rc == TOOL_OK && i < lintel_layout_known_count(); i++) {
        const char *name = lintel_layout_known(i)->name;
        struct generate_job job = {0};
        struct lintel_layout *layout;
        struct lintel_error error;
        if (lintel_layout_new(&layout, name, NULL, &error) != LINTEL_OK)
            return tool_fail_error(name, &error);
        rc = generate_open(&job, layout, name, NULL);
        if (rc == TOOL_OK)
            rc = add_layout(d, &job);
        lintel_layout_free(layout);
    }
    return rc;
}

int generate_dictionary(const struct generate_job *job)
{
    struct dictionary d = {0};
    int rc = job ? add_layout(&d, job) : add_known(&d);
    tool_buffer_free(&d.seen);
    return rc == TOOL_OK ? tool_flush() : rc;
}
