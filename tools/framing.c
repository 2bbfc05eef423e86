#include "config.h"

#include <string.h>

#include "tool.h"

/* ---- --layout, --max-frame ------------------------------------------------------------------- */

static int open_layout(struct tool_framing *framing)
{
    struct lintel_error error;
    const char *text = framing->layout_text ? framing->layout_text : "lintel";
    int rc = lintel_layout_new(&framing->layout, text, NULL, &error);
    if (rc == LINTEL_E_SYNTAX)
        return tool_misuse("--layout: %s", error.text);
    if (rc != LINTEL_OK)
        return tool_fail("--layout: %s", lintel_strerror(rc));

    uint64_t most = lintel_layout_length_max(framing->layout);
    if (framing->max_frame == UINT64_MAX)
        framing->max_frame = most;
    if (framing->max_frame > most)
        return tool_misuse("--max-frame: %llu is more than the %llu bytes that the length of this "
                           "layout can carry",
                           (unsigned long long)framing->max_frame, (unsigned long long)most);
    framing->limit = most < LINTEL_FRAME_LIMIT ? most : LINTEL_FRAME_LIMIT;
    if (framing->max_frame)
        framing->limit = framing->max_frame;
    return TOOL_OK;
}

/* Whether the library takes the values as they are, whatever the length. */
static int check_values(const struct tool_framing *framing, struct lintel_error *error)
{
    uint8_t bytes[LINTEL_HEADER_MAX];
    size_t size;
    int rc = lintel_layout_put_header(framing->layout, bytes, sizeof bytes, &size, framing->values,
                                      framing->count, 0, error);
    if (rc == LINTEL_OK)
        rc = lintel_layout_put_trailer(framing->layout, bytes, sizeof bytes, &size, framing->values,
                                       framing->count, error);
    return rc == LINTEL_E_RANGE ? rc : LINTEL_OK;
}

/* The largest id of the form 2^n - 1 that the view takes; a view that takes none is no id. */
static void find_id_max(struct tool_framing *framing)
{
    framing->id_view = lintel_layout_find(framing->layout, "id");
    framing->id_max = 0;
    if (framing->id_view < 0)
        return;
    const struct lintel_view *view = lintel_layout_view(framing->layout, (size_t)framing->id_view);
    if (!view->constant && view->code != 'f' && view->code != 'd') {
        struct lintel_value *value = &framing->values[framing->id_view];
        framing->id_max = UINT64_MAX;
        for (; framing->id_max > 0; framing->id_max >>= 1) {
            *value = lintel_uint(framing->id_max);
            if (check_values(framing, NULL) == LINTEL_OK)
                break;
        }
        *value = lintel_uint(0);
    }
    if (framing->id_max == 0)
        framing->id_view = -1;
}

static void prepare_values(struct tool_framing *framing)
{
    framing->count = lintel_layout_view_count(framing->layout);
    for (size_t i = 0; i < framing->count; i++)
        framing->values[i] = lintel_uint(0);
    framing->type_view = lintel_layout_find(framing->layout, "type");
    find_id_max(framing);
}

/* ---- --set, --type --------------------------------------------------------------------------- */

static int set_one(struct tool_framing *framing, const char *item)
{
    char name[LINTEL_NAME_MAX + 1];
    const char *equals = strchr(item, '=');
    size_t size = equals ? (size_t)(equals - item) : 0;
    if (size == 0)
        return tool_misuse("--set: \"%s\" is not NAME=VALUE", item);
    if (size >= sizeof name)
        return tool_misuse("--set: the layout has no view \"%.*s...\"", LINTEL_NAME_MAX, item);
    memcpy(name, item, size);
    name[size] = 0;
    int view = lintel_layout_find(framing->layout, name);
    if (view < 0)
        return tool_misuse("--set: the layout has no view \"%s\"", name);
    if (strcmp(name, "length") == 0)
        return tool_misuse("--set: the length cannot be set");
    const struct lintel_view *about = lintel_layout_view(framing->layout, (size_t)view);
    if (about->constant)
        return tool_misuse("--set: \"%s\" is a constant of the layout", name);
    int read =
        tool_read_value(&framing->values[view], &framing->storage[view], about->code, equals + 1);
    if (read < 0)
        return TOOL_FAILED;
    if (read == 0)
        return tool_fail("--set: \"%s\" is not a value for %s", equals + 1, name);
    framing->id_set |= view == framing->id_view;
    return TOOL_OK;
}

static int set_type(struct tool_framing *framing)
{
    int view = framing->type_view;
    if (view < 0)
        return tool_misuse("--type: the layout has no view \"type\"");
    const struct lintel_view *about = lintel_layout_view(framing->layout, (size_t)view);
    if (about->constant)
        return tool_misuse("--type: \"type\" is a constant of the layout");
    char hex[16];
    const char *text = framing->type_text;
    struct lintel_value number;
    /* A character is given as itself, or by its number: Q, 81, 0x51. */
    if (about->code == 'c' && strlen(text) > 1 &&
        tool_read_value(&number, &framing->storage[view], 'B', text) == 1 &&
        number.kind == LINTEL_UINT && number.as.u <= 255) {
        (void)snprintf(hex, sizeof hex, "hex:%02x", (unsigned)number.as.u);
        text = hex;
    }
    int read = tool_read_value(&framing->values[view], &framing->storage[view], about->code, text);
    if (read < 0)
        return TOOL_FAILED;
    if (read == 0)
        return tool_misuse("--type: \"%s\" is not a number", framing->type_text);
    return TOOL_OK;
}

/* Whether they fit, seen together with an id that does. */
static int check_set(struct tool_framing *framing)
{
    struct lintel_error error;
    struct lintel_value *id =
        framing->id_view < 0 || framing->id_set ? NULL : &framing->values[framing->id_view];
    if (id)
        *id = lintel_uint(framing->id_max);
    int rc = check_values(framing, &error);
    if (id)
        *id = lintel_uint(0);
    if (rc == LINTEL_OK)
        return TOOL_OK;
    if (lintel_layout_is_lintel(framing->layout))
        return tool_misuse("--type: %s", error.text);
    return tool_fail_error(NULL, &error);
}

int tool_framing_open(struct tool_framing *framing)
{
    int status = open_layout(framing);
    if (status != TOOL_OK)
        return status;
    prepare_values(framing);
    if (framing->sets.count > 0 && lintel_layout_is_lintel(framing->layout))
        return tool_misuse("--set is for foreign layouts, not for lintel's own");
    if (framing->type_text && (status = set_type(framing)) != TOOL_OK)
        return status;
    for (size_t i = 0; i < framing->sets.count; i++)
        if ((status = set_one(framing, framing->sets.items[i])) != TOOL_OK)
            return status;
    return framing->type_text || framing->sets.count > 0 ? check_set(framing) : TOOL_OK;
}

void tool_framing_close(struct tool_framing *framing)
{
    for (size_t i = 0; i < LINTEL_VIEWS_MAX; i++)
        tool_buffer_free(&framing->storage[i]);
    lintel_layout_free(framing->layout);
    framing->layout = NULL;
}

uint64_t tool_next_id(const struct tool_framing *framing, uint64_t id)
{
    if (id == 0)
        return 0;
    return id >= framing->id_max ? 1 : id + 1;
}
