#include "core/explain.h"
#include "core/rules.h"
#include "core/text.h"

#include <string.h>

enum { SAMPLE = 16 }; /* bytes of a header that are shown, at most */

static struct lintelp_text begin(struct lintel_error *error, int status, uint64_t offset)
{
    struct lintelp_text text = lintelp_error(error, status, offset);
    lintelp_text_str(&text, "frame at byte ");
    lintelp_text_u64(&text, offset);
    lintelp_text_str(&text, ": ");
    return text;
}

static void tell_number(struct lintelp_text *text, const struct lintelp_view *view, uint64_t number)
{
    if (view->hex)
        lintelp_text_hex(text, number, 2 * view->seen.size);
    else
        lintelp_text_u64(text, number);
}

static void tell_value(struct lintelp_text *text, const struct lintelp_view *view,
                       const struct lintel_value *value)
{
    if (value->kind == LINTEL_BYTES)
        lintelp_text_quote(text, value->as.bytes, value->size < 20 ? value->size : 20);
    else if (value->kind == LINTEL_INT)
        lintelp_text_i64(text, value->as.i);
    else
        tell_number(text, view, value->as.u);
}

/* ---- hints ----------------------------------------------------------------------------------- */

static size_t printable(const uint8_t *bytes, size_t size)
{
    size_t n = 0;
    while (n < size && n < SAMPLE && bytes[n] >= 0x20 && bytes[n] < 0x7F)
        n++;
    return n;
}

static int looks_like_tls(const uint8_t *bytes, size_t size)
{
    return size >= 3 && bytes[0] >= 0x14 && bytes[0] <= 0x17 && bytes[1] == 3 && bytes[2] <= 4;
}

/* Text, TLS: what people send to the wrong port. */
static int hint_bytes(struct lintelp_text *text, const uint8_t *bytes, size_t size)
{
    if (looks_like_tls(bytes, size)) {
        lintelp_text_str(text, " (the bytes look like a TLS record)");
        return 1;
    }
    if (printable(bytes, size) < 4)
        return 0;
    lintelp_text_str(text, " (the bytes read ");
    lintelp_text_quote(text, bytes, printable(bytes, size));
    lintelp_text_char(text, ')');
    return 1;
}

/* The word of an integer with its bytes the other way round. Returns 0 where it is none of two. */
static int swapped_word(const struct lintel_layout *layout, int index, const uint8_t *bytes,
                        size_t have, uint64_t *word)
{
    const struct lintelp_view *view = &layout->views[index];
    const char code = view->seen.code;
    struct lintel_value value;
    uint8_t swapped[8];

    if (code == 'v' || code == 'f' || code == 'd' || view->bytes != NULL || view->seen.size < 2 ||
        !lintelp_layout_peek(layout, (size_t)index, bytes, have, &value, word))
        return 0;
    lintelp_store(swapped, view->seen.size, layout->little, *word);
    *word = lintelp_load(swapped, view->seen.size, !layout->little);
    return 1;
}

/* A length that would be from least to most if its bytes were the other way round. */
static void hint_length_order(struct lintelp_text *text, const struct lintel_layout *layout,
                              const uint8_t *bytes, size_t have, uint64_t least, uint64_t most)
{
    uint64_t word, length;

    if (!swapped_word(layout, layout->length, bytes, have, &word) ||
        lintelp_view_compute(&layout->views[layout->length], word, &length) < 0 || length < least ||
        length > most)
        return;
    lintelp_text_str(text, " (in the other byte order it would be ");
    lintelp_text_u64(text, length);
    lintelp_text_char(text, ')');
}

/* A number that would be the constant it should be. */
static void hint_constant_order(struct lintelp_text *text, const struct lintel_layout *layout,
                                int index, const uint8_t *bytes, size_t have)
{
    const struct lintelp_view *view = &layout->views[index];
    uint64_t word;

    if (swapped_word(layout, index, bytes, have, &word) && ((word ^ view->bits) & view->mask) == 0)
        lintelp_text_str(text, " (in the other byte order it would be right)");
}

/* ---- what is bad ----------------------------------------------------------------------------- */

static void tell_constant(struct lintelp_text *text, const struct lintel_layout *layout, int index,
                          int status, const uint8_t *run, size_t have)
{
    const struct lintelp_view *view = &layout->views[index];
    struct lintel_value found, wanted;
    uint64_t word;

    if (!lintelp_layout_peek(layout, (size_t)index, run, have, &found, &word) ||
        !lintel_layout_constant(layout, (size_t)index, &wanted))
        return;
    lintelp_text_str(text, view->seen.name);
    if (found.kind == LINTEL_FLOAT) {
        lintelp_text_str(text, " is not ");
        for (size_t i = 0; i < view->written_size; i++)
            lintelp_text_char(text, view->written[i]);
        return;
    }
    lintelp_text_str(text, status == LINTEL_E_VERSION ? " " : " is ");
    tell_value(text, view, &found);
    lintelp_text_str(text, status == LINTEL_E_VERSION ? ", this side speaks " : ", not ");
    tell_value(text, view, &wanted);
}

static void tell_small(struct lintelp_text *text, const struct lintelp_view *view, uint64_t word)
{
    uint64_t number = (word & view->mask) >> view->seen.shift;
    uint64_t least = 0 - (uint64_t)view->low;
    int negative = lintelp_view_is_signed(view) && number > view->mask >> 1;

    least = least / view->seen.factor + (least % view->seen.factor != 0);
    lintelp_text_str(text, view->seen.name);
    lintelp_text_str(text, negative ? " -" : " ");
    lintelp_text_u64(text, negative ? view->mask - number + 1 : number);
    lintelp_text_str(text, " is below the least it can be, ");
    lintelp_text_u64(text, least);
}

static void tell_limit(struct lintelp_text *text, uint64_t length, uint64_t limit)
{
    lintelp_text_str(text, "length ");
    lintelp_text_u64(text, length);
    lintelp_text_str(text, " exceeds the limit of ");
    lintelp_text_u64(text, limit);
}

static void tell_varint(struct lintelp_text *text, const struct lintelp_view *view, int status)
{
    lintelp_text_str(text, view->seen.name);
    if (status == LINTEL_E_MALFORMED) {
        lintelp_text_str(text, " is a varint longer than it needs to be");
        return;
    }
    lintelp_text_str(text, " is a varint over ");
    lintelp_text_u64(text, view->seen.size);
    lintelp_text_str(text, view->seen.size == 10 ? " bytes or 64 bits" : " bytes");
}

static void tell_bad(struct lintelp_text *text, const struct lintel_layout *layout,
                     const struct lintelp_judgement *j, const uint8_t *run, size_t have,
                     uint64_t limit)
{
    const struct lintelp_view *view = j->view >= 0 ? &layout->views[j->view] : NULL;
    struct lintel_value value;
    const char *why = "";
    uint64_t word;

    if (j->status == LINTEL_E_MISMATCH || j->status == LINTEL_E_VERSION) {
        tell_constant(text, layout, j->view, j->status, run, have);
    } else if (view == NULL) {
        (void)lintelp_rules_judge(run, &why);
        lintelp_text_str(text, why);
    } else if (j->status == LINTEL_E_TOO_LARGE && j->header_size > 0 && j->view == layout->length) {
        tell_limit(text, j->value, limit);
    } else if (!lintelp_layout_peek(layout, (size_t)j->view, run, have, &value, &word)) {
        tell_varint(text, view, j->status);
    } else if (j->status == LINTEL_E_TOO_SMALL) {
        tell_small(text, view, word);
    } else {
        lintelp_text_str(text, view->seen.name);
        lintelp_text_str(text, " is over 64 bits");
    }
}

void lintelp_explain_bad(struct lintel_error *error, const struct lintel_layout *layout,
                         uint64_t offset, const struct lintelp_judgement *judged,
                         const uint8_t *bytes, size_t have, uint64_t limit)
{
    struct lintelp_text text;
    size_t at;

    if (judged->view >= 0 && layout->views[judged->view].seen.in_trailer) {
        at = (size_t)(judged->header_size + judged->length);
        lintelp_explain_trailer(error, layout, offset, judged, bytes + at, have - at);
        return;
    }
    text = begin(error, judged->status, offset);
    if (error == NULL)
        return;
    tell_bad(&text, layout, judged, bytes, have, limit);
    if (hint_bytes(&text, bytes, have < layout->header_min ? have : layout->header_min))
        return;
    if (judged->view == layout->length &&
        (judged->status == LINTEL_E_TOO_SMALL || judged->header_size > 0))
        hint_length_order(&text, layout, bytes, have, 1, limit);
    else if (judged->status == LINTEL_E_MISMATCH)
        hint_constant_order(&text, layout, judged->view, bytes, have);
}

void lintelp_explain_trailer(struct lintel_error *error, const struct lintel_layout *layout,
                             uint64_t offset, const struct lintelp_judgement *judged,
                             const uint8_t *trailer, size_t have)
{
    struct lintelp_text text = begin(error, judged->status, offset);

    if (error != NULL)
        tell_bad(&text, layout, judged, trailer, have, 0);
}

/* Bytes of a TLS record that is as long as the frame: then the layout is that of TLS. */
static int is_tls_frame(const uint8_t *bytes, size_t size, uint64_t need)
{
    return size >= 5 && need == UINT64_C(5) + bytes[3] * 256u + bytes[4];
}

/* Only the header is looked at, whatever came behind it, so that the words do not depend on how. A
 * header that is whole may be binary and begin with letters: all of it is to be text. */
static void hint_truncated(struct lintelp_text *text, const struct lintel_layout *layout,
                           const uint8_t *bytes, uint64_t have, uint64_t need)
{
    size_t header = layout->header_min;
    size_t size = have < header ? (size_t)have : header;

    if (have < header || printable(bytes, size) == (size < SAMPLE ? size : SAMPLE) ||
        (looks_like_tls(bytes, size) && !is_tls_frame(bytes, size, need)))
        (void)hint_bytes(text, bytes, size);
    else if (!layout->varints && have > header)
        hint_length_order(text, layout, bytes, size, have - header, have - header);
}

void lintelp_explain_truncated(struct lintel_error *error, const struct lintel_layout *layout,
                               uint64_t offset, const uint8_t *bytes, uint64_t have, uint64_t need)
{
    struct lintelp_text text = begin(error, LINTEL_E_TRUNCATED, offset);
    int in_header = layout->varints || need <= layout->header_min;

    lintelp_text_str(&text, "the stream ended after ");
    lintelp_text_u64(&text, have);
    lintelp_text_str(&text, in_header ? " of at least " : " of ");
    lintelp_text_u64(&text, need);
    lintelp_text_str(&text, " bytes");
    if (error != NULL && bytes != NULL)
        hint_truncated(&text, layout, bytes, have, need);
}

void lintelp_explain_budget(struct lintel_error *error, uint64_t offset, uint64_t wanted,
                            uint64_t budget)
{
    struct lintelp_text text = begin(error, LINTEL_E_NOMEM, offset);

    lintelp_text_str(&text, "storage for ");
    lintelp_text_u64(&text, wanted);
    lintelp_text_str(&text, " bytes exceeds the budget of ");
    lintelp_text_u64(&text, budget);
}
