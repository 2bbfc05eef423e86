/*
 * The text of a layout: it is refused with a column that is in it, or it compiles, and then all
 * that can be asked of it holds together, and a header of it can be written and read back.
 *
 *     input:  the text, up to a NUL or a newline; then values
 */
#include "fuzz.h"

#include <stdlib.h>
#include <string.h>

static void check_views(const struct lintel_layout *layout)
{
    size_t count = lintel_layout_view_count(layout);
    int lengths = 0;

    CHECK(count >= 1 && count <= LINTEL_VIEWS_MAX && lintel_layout_view(layout, count) == NULL);
    for (size_t i = 0; i < count; i++) {
        const struct lintel_view *view = lintel_layout_view(layout, i);
        const struct lintel_field *field = lintel_layout_field(layout, view->field);
        struct lintel_value value;
        size_t written = 0;
        const char *text = lintel_layout_constant_text(layout, i, &written);
        CHECK(strlen(view->name) > 0 && strlen(view->name) <= LINTEL_NAME_MAX);
        CHECK(lintel_layout_find(layout, view->name) == (int)i);
        CHECK(view->column > 0 && view->column <= strlen(lintel_layout_text(layout)));
        CHECK(memcmp(lintel_layout_text(layout) + view->column - 1, view->name,
                     strlen(view->name)) == 0);
        CHECK(field != NULL && field->code == view->code && field->size == view->size &&
              field->in_trailer == view->in_trailer && i - field->first_view < field->views);
        CHECK(view->factor > 0 && view->shift < 64);
        CHECK(lintel_layout_constant(layout, i, &value) == view->constant);
        CHECK((text != NULL) == view->constant && (text == NULL || written > 0));
        lengths += strcmp(view->name, "length") == 0 && !view->in_trailer;
    }
    CHECK(lengths == 1);
    CHECK(lintel_layout_find(layout, "no such view") == -1);
}

static void check_fields(const struct lintel_layout *layout)
{
    size_t count = lintel_layout_field_count(layout);
    size_t sizes[2] = {0, 0}, views = 0;

    CHECK(count >= 1 && count <= LINTEL_FIELDS_MAX && lintel_layout_field(layout, count) == NULL);
    for (size_t i = 0; i < count; i++) {
        const struct lintel_field *field = lintel_layout_field(layout, i);
        sizes[field->in_trailer] += field->size;
        CHECK(field->views == 0 || field->first_view == views);
        views += field->views;
    }
    CHECK(views == lintel_layout_view_count(layout));
    CHECK(sizes[0] == lintel_layout_header_max(layout) && sizes[0] <= LINTEL_HEADER_MAX);
    CHECK(sizes[1] == lintel_layout_trailer_max(layout) && sizes[1] <= LINTEL_HEADER_MAX);
    CHECK(lintel_layout_header_min(layout) > 0 && lintel_layout_header_min(layout) <= sizes[0]);
    CHECK(lintel_layout_length_max(layout) <= LINTEL_LENGTH_MAX);
}

/* Its text makes the same again. */
static void check_again(const struct lintel_layout *layout)
{
    struct lintel_layout *again;

    CHECK(lintel_layout_new(&again, lintel_layout_text(layout), NULL, NULL) == LINTEL_OK);
    CHECK(strcmp(lintel_layout_text(again), lintel_layout_text(layout)) == 0);
    CHECK(lintel_layout_view_count(again) == lintel_layout_view_count(layout));
    CHECK(lintel_layout_length_max(again) == lintel_layout_length_max(layout));
    CHECK(lintel_layout_is_lintel(again) == lintel_layout_is_lintel(layout));
    lintel_layout_free(again);
}

/* A header and a trailer out of values: refused, or read back as they were given. */
static void check_header(const struct lintel_layout *layout, const struct lintel_value *values,
                         uint64_t length)
{
    struct lintel_value back[LINTEL_VIEWS_MAX];
    uint8_t header[LINTEL_HEADER_MAX], trailer[LINTEL_HEADER_MAX];
    size_t count = lintel_layout_view_count(layout), size = 0, after = 0;
    struct lintel_frame frame = {0};
    struct lintel_error error;
    int rc = lintel_layout_put_header(layout, header, sizeof header, &size, values, count, length,
                                      &error);

    if (rc == LINTEL_OK)
        rc = lintel_layout_put_trailer(layout, trailer, sizeof trailer, &after, values, count,
                                       &error);
    if (rc < 0) {
        check_error(&error, rc);
        CHECK(rc == LINTEL_E_RANGE || rc == LINTEL_E_TOO_LARGE);
        return;
    }
    CHECK(size >= lintel_layout_header_min(layout) && size <= lintel_layout_header_max(layout) &&
          after <= lintel_layout_trailer_max(layout));
    frame.header = copy_of(header, size);
    frame.header_size = (uint32_t)size;
    frame.trailer = copy_of(trailer, after);
    frame.trailer_size = (uint32_t)after;
    CHECK(lintel_layout_read(layout, back, count, &frame) == LINTEL_OK);
    for (size_t i = 0; i < count; i++) {
        struct lintel_value constant, one;
        CHECK(lintel_layout_read_one(layout, &one, i, &frame) == LINTEL_OK);
        CHECK(same_value(&one, &back[i]));
        if (lintel_layout_constant(layout, i, &constant))
            CHECK(same_value(&constant, &back[i]));
    }
    CHECK(back[lintel_layout_find(layout, "length")].as.u == length);
    /* One byte less is refused, and nothing is written behind it. */
    free((void *)(uintptr_t)frame.header);
    frame.header = copy_of(header, size - 1);
    CHECK(lintel_layout_put_header(layout, (void *)(uintptr_t)frame.header, size - 1, &size, values,
                                   count, length, NULL) == LINTEL_E_SPACE);
    free((void *)(uintptr_t)frame.header);
    free((void *)(uintptr_t)frame.trailer);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct input in = {data, size};
    struct lintel_value values[LINTEL_VIEWS_MAX];
    struct lintel_layout *layout = NULL;
    struct lintel_error error;
    struct memory memory;
    char text[4096];
    int rc;

    memory_init(&memory);
    memory.greatest = 256 * 1024;
    input_line(&in, text, sizeof text);
    rc = lintel_layout_new(&layout, text, &memory.allocator, &error);
    if (rc < 0) {
        check_error(&error, rc);
        CHECK(rc == LINTEL_E_SYNTAX && error.at >= 1 && error.at <= strlen(text) + 1);
        CHECK(memory.blocks == 0);
        return 0;
    }
    check_views(layout);
    check_fields(layout);
    check_again(layout);
    check_header(layout, NULL, input_number(&in));
    do {
        input_values(&in, layout, values);
        check_header(layout, values, input_number(&in));
    } while (in.size > 0);
    lintel_layout_free(layout);
    CHECK(memory.blocks == 0);
    memory.fail_every = 1;
    CHECK(lintel_layout_new(&layout, text, &memory.allocator, &error) == LINTEL_E_NOMEM ||
          memory.failures == 0);
    return 0;
}
