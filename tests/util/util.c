#define _GNU_SOURCE
#include "util.h"

#include <dirent.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

/* ---- bytes ----------------------------------------------------------------------------------- */

static int digit(char c)
{
    const char *digits = "0123456789abcdef";
    const char *at = c != '\0' ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
    return at != NULL ? (int)(at - digits) : -1;
}

struct bytes from_hex(const char *hex)
{
    struct bytes bytes = {malloc(strlen(hex) / 2 + 1), 0};
    int high = -1;

    for (; *hex != '\0'; hex++) {
        if (*hex == '#')
            hex += strcspn(hex, "\n");
        if (*hex == '\0')
            break;
        if (strchr(" \t\r\n", *hex) != NULL)
            continue;
        if (digit(*hex) < 0)
            fail_msg("not hex: %s", hex);
        if (high < 0) {
            high = digit(*hex);
            continue;
        }
        bytes.data[bytes.size++] = (uint8_t)(high << 4 | digit(*hex));
        high = -1;
    }
    assert_int_equal(high, -1);
    return bytes;
}

struct bytes from_file(const char *path)
{
    struct bytes bytes = {NULL, 0};
    FILE *file = fopen(path, "rb");
    long size;

    if (file == NULL)
        return bytes;
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    size = ftell(file);
    assert_true(size >= 0);
    rewind(file);
    bytes.data = malloc((size_t)size + 1);
    bytes.size = fread(bytes.data, 1, (size_t)size, file);
    bytes.data[bytes.size] = '\0';
    (void)fclose(file);
    return bytes;
}

static size_t pages_of(size_t size, size_t page)
{
    return (size + page - 1) / page * page + (size == 0 ? page : 0);
}

uint8_t *guard_copy(const void *bytes, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = pages_of(size, page);
    uint8_t *map =
        mmap(NULL, room + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    assert_true(map != MAP_FAILED);
    assert_int_equal(mprotect(map + room, page, PROT_NONE), 0);
    if (size > 0)
        memcpy(map + room - size, bytes, size);
    return map + room - size;
}

void guard_free(uint8_t *copy, size_t size)
{
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t room = pages_of(size, page);
    (void)munmap(copy + size - room, room + page);
}

/* ---- memory ---------------------------------------------------------------------------------- */

/* The size stands in front of each block. */
static void *failing_resize(void *user, void *ptr, size_t size)
{
    struct failing *f = user;
    size_t *block = ptr != NULL ? (size_t *)ptr - 2 : NULL;
    size_t old = block != NULL ? block[0] : 0;

    if (size == 0) {
        f->live -= old;
        f->blocks -= block != NULL;
        free(block);
        return NULL;
    }
    f->calls++;
    if (size > f->greatest)
        f->greatest = size;
    if (f->fail_at > 0 && (f->calls == f->fail_at || (f->for_good && f->calls > f->fail_at)))
        return NULL;
    /* Always a new block, so that a stale pointer into the old one is seen by the sanitizers. */
    size_t *fresh = malloc(size + 2 * sizeof *fresh);
    if (fresh == NULL)
        return NULL;
    fresh[0] = size;
    if (block != NULL)
        memcpy(fresh + 2, block + 2, old < size ? old : size);
    free(block);
    f->blocks += block == NULL;
    f->live += size - old;
    if (f->live > f->peak)
        f->peak = f->live;
    return fresh + 2;
}

void failing_init(struct failing *failing)
{
    memset(failing, 0, sizeof *failing);
    failing->allocator.resize = failing_resize;
    failing->allocator.user = failing;
}

/* ---- vectors --------------------------------------------------------------------------------- */

static char *vector_file(const char *kind, const char *name, const char *file)
{
    const char *srcdir = getenv("srcdir");
    char path[1024];

    (void)snprintf(path, sizeof path, "%s/proto/vectors/%s/%s/%s", srcdir != NULL ? srcdir : "..",
                   kind, name, file);
    return (char *)from_file(path).data;
}

static void one_vector(const char *kind, const char *name, void (*use)(const struct vector *vector))
{
    char *layout = vector_file(kind, name, "layout");
    char *wire = vector_file(kind, name, "wire.hex");
    char *limit = vector_file(kind, name, "max_frame");
    char *expected =
        vector_file(kind, name, strcmp(kind, "valid") == 0 ? "frames.txt" : "error.txt");
    struct vector vector = {name, "lintel", {NULL, 0}, expected, 0};

    if (wire == NULL || expected == NULL)
        fail_msg("%s/%s: wire.hex or what is expected of it is missing", kind, name);
    if (layout != NULL) {
        layout[strcspn(layout, "\n")] = '\0';
        vector.layout = layout;
    }
    if (limit != NULL)
        vector.max_frame = strtoull(limit, NULL, 10);
    vector.wire = from_hex(wire);
    use(&vector);
    free(vector.wire.data);
    free(expected);
    free(limit);
    free(wire);
    free(layout);
}

int each_vector(const char *kind, void (*use)(const struct vector *vector))
{
    const char *srcdir = getenv("srcdir");
    struct dirent **entries;
    char path[1024];
    int count = 0;
    int n;

    (void)snprintf(path, sizeof path, "%s/proto/vectors/%s", srcdir != NULL ? srcdir : "..", kind);
    n = scandir(path, &entries, NULL, alphasort);
    assert_true(n >= 0);
    for (int i = 0; i < n; i++) {
        if (entries[i]->d_name[0] != '.') {
            one_vector(kind, entries[i]->d_name, use);
            count++;
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

/* ---- a decoder's story ----------------------------------------------------------------------- */

void text_add(struct text *text, const char *format, ...)
{
    va_list args;
    char *piece;
    int size;

    va_start(args, format);
    size = vasprintf(&piece, format, args);
    va_end(args);
    assert_true(size >= 0);
    text->data = realloc(text->data, text->size + (size_t)size + 1);
    memcpy(text->data + text->size, piece, (size_t)size + 1);
    text->size += (size_t)size;
    free(piece);
}

/* By hand: the stories are most of what the tests of the decoder print, and printf most of that. */
static void text_add_hex(struct text *text, const uint8_t *bytes, size_t size)
{
    static const char digits[] = "0123456789abcdef";
    char *out;

    text->data = realloc(text->data, text->size + 2 * size + 1);
    out = text->data + text->size;
    for (size_t i = 0; i < size; i++) {
        *out++ = digits[bytes[i] >> 4];
        *out++ = digits[bytes[i] & 15];
    }
    *out = '\0';
    text->size += 2 * size;
}

void tell_frame(struct text *text, const struct lintel_layout *layout,
                const struct lintel_frame *frame)
{
    struct lintel_value values[LINTEL_VIEWS_MAX];
    size_t count = lintel_layout_view_count(layout);

    text_add(text, "%llu %zu ", (unsigned long long)frame->offset, frame->length);
    text_add_hex(text, frame->payload, frame->length);
    text_add(text, frame->length == 0 ? "-" : "");
    assert_int_equal(lintel_layout_read(layout, values, count, frame), LINTEL_OK);
    for (size_t i = 0; i < count; i++) {
        text_add(text, " %s=", lintel_layout_view(layout, i)->name);
        if (values[i].kind == LINTEL_UINT)
            text_add(text, "%llu", (unsigned long long)values[i].as.u);
        else if (values[i].kind == LINTEL_INT)
            text_add(text, "%lld", (long long)values[i].as.i);
        else if (values[i].kind == LINTEL_FLOAT)
            text_add(text, "%.17g", values[i].as.f);
        else
            text_add(text, "hex:");
        if (values[i].kind == LINTEL_BYTES)
            text_add_hex(text, values[i].as.bytes, values[i].size);
    }
    text_add(text, "\n");
}

/* Take out what is there, and check that it is still there when all is taken. */
static int take_all(struct text *text, struct lintel_decoder *decoder, const struct way *way)
{
    struct lintel_frame *frames = malloc(256 * sizeof *frames);
    size_t count = 0, from = 0;
    int rc = 1;

    while (rc > 0) {
        if (count + 8 > 256) {
            for (; from < count; from++)
                tell_frame(text, lintel_decoder_layout(decoder), &frames[from]);
            count = from = 0;
        }
        if (way->batch > 0)
            rc = lintel_decoder_next_batch(decoder, frames + count, way->batch);
        else
            rc = lintel_decoder_next(decoder, frames + count);
        count += rc > 0 ? (size_t)rc : 0;
    }
    for (; from < count; from++)
        tell_frame(text, lintel_decoder_layout(decoder), &frames[from]);
    free(frames);
    return rc;
}

size_t hand_in(struct lintel_decoder *decoder, const uint8_t *bytes, size_t size, int in_place)
{
    void *space;
    size_t room;

    if (!in_place) {
        assert_int_equal(lintel_decoder_feed(decoder, bytes, size), LINTEL_OK);
        return size;
    }
    assert_int_equal(lintel_decoder_space(decoder, &space, &room), LINTEL_OK);
    if (room < size)
        size = room;
    memcpy(space, bytes, size);
    assert_int_equal(lintel_decoder_filled(decoder, size), LINTEL_OK);
    return size;
}

char *story(const struct lintel_decoder_options *options, const uint8_t *bytes, size_t size,
            const struct way *way)
{
    struct lintel_decoder *decoder;
    struct lintel_error error;
    struct text text = {NULL, 0};
    size_t at = 0;
    int rc = 0;

    text_add(&text, "%s", "");
    assert_int_equal(lintel_decoder_new(&decoder, options, NULL), LINTEL_OK);
    for (size_t i = 0; at < size && rc == 0; i++) {
        size_t cut = way->cuts == NULL ? size : way->cuts[i < way->count ? i : way->count - 1];
        size_t step = cut < size - at ? cut : size - at;
        uint8_t *piece = way->guarded ? guard_copy(bytes + at, step) : NULL;
        size_t taken = hand_in(decoder, piece != NULL ? piece : bytes + at, step, way->in_place);
        rc = take_all(&text, decoder, way);
        if (rc == 0)
            assert_true(lintel_decoder_need(decoder) > 0);
        if (piece != NULL)
            guard_free(piece, step);
        at += taken;
    }
    if (rc == 0) {
        assert_int_equal(lintel_decoder_end(decoder), LINTEL_OK);
        rc = take_all(&text, decoder, way);
    }
    lintel_decoder_error(decoder, &error);
    assert_int_equal(error.status, rc);
    if (rc == LINTEL_E_END)
        text_add(&text, "end %llu\n", (unsigned long long)lintel_decoder_offset(decoder));
    else
        text_add(&text, "error %s %llu\n%s\n", lintel_status_name(rc), (unsigned long long)error.at,
                 error.text);
    /* Sticky: every call says the same. */
    assert_int_equal(take_all(&text, decoder, way), rc);
    assert_int_equal(lintel_decoder_feed(decoder, bytes, size), rc);
    lintel_decoder_free(decoder);
    return text.data;
}

static void compare(const char *name, const char *how, size_t cut, char *expected, char *seen)
{
    if (strcmp(expected, seen) != 0)
        fail_msg("%s, %s %zu:\n%s--- but whole:\n%s", name, how, cut, seen, expected);
    free(seen);
}

char *same_story_every_way(const char *name, const struct lintel_decoder_options *options,
                           const uint8_t *bytes, size_t size)
{
    static const size_t one = 1;
    static const struct {
        const char *how;
        struct way way;
    } ways[] = {
        {"in place", {NULL, 0, 1, 0, 0}},
        {"batches of 3", {NULL, 0, 0, 3, 0}},
        {"guarded", {NULL, 0, 0, 8, 1}},
        {"in place, batches of 8", {NULL, 0, 1, 8, 0}},
        {"byte by byte", {&one, 1, 0, 0, 1}},
        {"byte by byte, batches", {&one, 1, 0, 2, 0}},
        {"byte by byte, in place", {&one, 1, 1, 0, 0}},
    };
    const struct way whole = {NULL, 0, 0, 0, 0};
    char *expected = story(options, bytes, size, &whole);

    for (size_t i = 0; i < COUNT(ways); i++)
        compare(name, ways[i].how, 0, expected, story(options, bytes, size, &ways[i].way));
    for (size_t cut = 1; cut < size; cut++) {
        size_t cuts[2] = {cut, size};
        struct way two = {cuts, 2, cut & 1, cut & 2 ? 4 : 0, 0};
        compare(name, "cut at", cut, expected, story(options, bytes, size, &two));
        two.in_place = !two.in_place;
        compare(name, "cut the other way at", cut, expected, story(options, bytes, size, &two));
    }
    return expected;
}

struct lintel_layout *make_layout(const char *text)
{
    struct lintel_layout *layout = NULL;
    struct lintel_error error;

    if (lintel_layout_new(&layout, text, NULL, &error) < 0)
        fail_msg("%s: %s", text, error.text);
    return layout;
}
