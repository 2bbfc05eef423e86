/*
 * pack_vector: the plan for vector instructions (SSSE3): formats of 8 to 16 bytes that are nothing
 * but integers are packed as one vector of 16 bytes, two values at a time. Elsewhere there are no
 * pairs (pack.h), and pack_plan.c does the work.
 *
 * The vector's low 8 bytes are the first 8 of the wire, its high 8 bytes the last 8; below 16 bytes
 * some are in both.
 */
#include "core/pack.h"

#if LINTELP_VECTOR
#include <cpuid.h>
#include <tmmintrin.h>

#define SSSE3        __attribute__((target("ssse3")))
#define SSSE3_INLINE inline __attribute__((always_inline, target("ssse3")))
#define LIKELY(x)    __builtin_expect(!!(x), 1)
#define NOTHING      0x80 /* in a shuffle: a zero */

/* Unpacking writes values as words. */
_Static_assert(sizeof(struct lintel_value) == 3 * sizeof(uint64_t) &&
                   offsetof(struct lintel_value, size) == sizeof(uint64_t) &&
                   offsetof(struct lintel_value, as) == 2 * sizeof(uint64_t) && LINTEL_UINT == 0,
               "struct lintel_value is not {kind, size, u}");

/* ---- making pairs ---------------------------------------------------------------------------- */

static int has_ssse3(void)
{
#if defined(__SSSE3__)
    return 1;
#else
    unsigned a, b, c, d;
    __cpuid(1, a, b, c, d);
    return (c & bit_SSSE3) != 0;
#endif
}

/* Make a value that begins at offset the pair's first or second (which is 0 or 1). */
static void set_value(const struct lintel_format *format, struct lintelp_pair *pair, size_t which,
                      const struct lintelp_item *item, size_t offset)
{
    unsigned width = (unsigned)item->size * 8;
    int is_signed = item->form == LINTELP_SIGNED;

    pair->outside[which] = width < 64 ? ~(uint64_t)0 << width : 0;
    pair->bias[which] = is_signed ? (uint64_t)1 << (width - 1) : 0;
    pair->kinds[which] = is_signed ? LINTEL_INT : LINTEL_UINT;
    for (size_t i = 0; i < item->size; i++) {
        size_t byte = offset + (item->little ? i : item->size - 1 - i);
        size_t from_end = byte + 16 - format->size; /* as in the vector's high half */
        if (byte < 8)
            pair->put[byte] = (uint8_t)(8 * which + i);
        if (from_end >= 8)
            pair->put[from_end] = (uint8_t)(8 * which + i);
        pair->get[which][8 * which + i] = (uint8_t)(byte < 8 ? byte : from_end);
    }
}

static void make_pairs(struct lintel_format *format)
{
    size_t left = format->count; /* values, this one too */

    for (size_t i = 0; i < format->items_count; i++) {
        const struct lintelp_item *item = &format->items[i];
        for (size_t j = 0; j < item->repeat; j++, left--) {
            size_t offset = item->offset + j * item->size;
            size_t pair = (left + 1) / 2;
            if (format->count - left < 2)
                set_value(format, &format->pairs[0], format->count - left, item, offset);
            if (pair < format->pairs_count)
                set_value(format, &format->pairs[pair], left % 2, item, offset);
        }
    }
}

void lintelp_vector_make(struct lintel_format *format)
{
    size_t count = lintelp_vector_pairs(format->size, format->count);

    if (count == 0 || !has_ssse3())
        return;
    for (size_t i = 0; i < count; i++) {
        struct lintelp_pair *pair = &format->pairs[i];
        memset(pair, 0, sizeof *pair);
        memset(pair->put, NOTHING, sizeof pair->put);
        memset(pair->get, NOTHING, sizeof pair->get);
    }
    format->pairs_count = count;
    make_pairs(format);
}

/* ---- following them -------------------------------------------------------------------------- */

static SSSE3_INLINE __m128i load(const void *aligned)
{
    return _mm_load_si128(aligned);
}

/* Two words, each loaded for itself: the way they were stored, most likely a moment ago. */
static SSSE3_INLINE __m128i load_two(const void *low, const void *high)
{
    return _mm_castpd_si128(_mm_loadh_pd(_mm_castsi128_pd(_mm_loadl_epi64(low)), high));
}

static SSSE3_INLINE __m128i words(uint64_t low, uint64_t high)
{
    return _mm_set_epi64x((long long)high, (long long)low);
}

/* What becomes of values on their way out. */
struct sums {
    __m128i wire;
    __m128i outside; /* not 0: a value does not fit */
    uint32_t kinds;  /* not 0: a value is not of its field's kind */
};

static SSSE3_INLINE void put_pair(struct sums *sums, const struct lintelp_pair *pair,
                                  const struct lintel_value *value, int has_signed)
{
    __m128i u = load_two(&value[0].as.u, &value[1].as.u);

    sums->wire = _mm_or_si128(sums->wire, _mm_shuffle_epi8(u, load(pair->put)));
    if (has_signed) {
        u = _mm_add_epi64(u, load(pair->bias));
        sums->kinds |= (uint32_t)value[0].kind ^ pair->kinds[0];
        sums->kinds |= (uint32_t)value[1].kind ^ pair->kinds[1];
    } else {
        sums->kinds |= (uint32_t)value[0].kind;
        sums->kinds |= (uint32_t)value[1].kind;
    }
    sums->outside = _mm_or_si128(sums->outside, _mm_and_si128(u, load(pair->outside)));
}

/* 0: a value is not of its field's kind, or does not fit. */
static SSSE3_INLINE int pairs_pack(const struct lintel_format *format, uint8_t *out,
                                   const struct lintel_value *values, size_t count, int has_signed)
{
    const struct lintelp_pair *pairs = format->pairs;
    const size_t pairs_count = format->pairs_count;
    const struct lintel_value *end = values + count;
    const __m128i zero = _mm_setzero_si128();
    struct sums sums = {zero, zero, 0};
    int fit;

    put_pair(&sums, &pairs[0], values, has_signed);
    if (pairs_count > 1)
        put_pair(&sums, &pairs[1], end - 2, has_signed);
    if (pairs_count > 2)
        put_pair(&sums, &pairs[2], end - 4, has_signed);
    if (pairs_count > 3)
        put_pair(&sums, &pairs[3], end - 6, has_signed);
    if (pairs_count > 4)
        put_pair(&sums, &pairs[4], end - 8, has_signed);
    if (pairs_count > 5)
        put_pair(&sums, &pairs[5], end - 10, has_signed);
    if (pairs_count > 6)
        put_pair(&sums, &pairs[6], end - 12, has_signed);
    if (pairs_count > 7)
        put_pair(&sums, &pairs[7], end - 14, has_signed);
    fit = _mm_movemask_epi8(_mm_cmpeq_epi8(sums.outside, zero)) == 0xFFFF;
    if (!LIKELY(sums.kinds == 0 && fit))
        return 0;
    if (LIKELY(format->size == 16)) {
        _mm_storeu_si128((void *)out, sums.wire);
    } else {
        _mm_storel_epi64((void *)out, sums.wire);
        _mm_storel_epi64((void *)(out + format->size - 8),
                         _mm_unpackhi_epi64(sums.wire, sums.wire));
    }
    return 1;
}

static SSSE3_INLINE void get_pair(struct lintel_value *value, const struct lintelp_pair *pair,
                                  __m128i wire, int has_signed)
{
    /* Two values are six words: kind, size; u, kind; size, u. */
    __m128i *to = (void *)value;
    __m128i head = _mm_setzero_si128();
    __m128i middle = _mm_shuffle_epi8(wire, load(pair->get[0]));
    __m128i tail = _mm_shuffle_epi8(wire, load(pair->get[1]));

    if (has_signed) {
        __m128i low = words(pair->bias[0], 0);
        __m128i high = words(0, pair->bias[1]);
        head = words(pair->kinds[0], 0);
        middle = _mm_sub_epi64(_mm_xor_si128(middle, low), low);
        middle = _mm_or_si128(middle, words(0, pair->kinds[1]));
        tail = _mm_sub_epi64(_mm_xor_si128(tail, high), high);
    }
    _mm_storeu_si128(to, head);
    _mm_storeu_si128(to + 1, middle);
    _mm_storeu_si128(to + 2, tail);
}

static SSSE3_INLINE void pairs_unpack(const struct lintel_format *format,
                                      struct lintel_value *values, size_t count,
                                      const uint8_t *bytes, size_t size, int has_signed)
{
    const struct lintelp_pair *pairs = format->pairs;
    const size_t pairs_count = format->pairs_count;
    struct lintel_value *end = values + count;
    __m128i wire;

    if (LIKELY(size == 16))
        wire = _mm_loadu_si128((const void *)bytes);
    else
        wire = load_two(bytes, bytes + size - 8);
    get_pair(values, &pairs[0], wire, has_signed);
    if (pairs_count > 1)
        get_pair(end - 2, &pairs[1], wire, has_signed);
    if (pairs_count > 2)
        get_pair(end - 4, &pairs[2], wire, has_signed);
    if (pairs_count > 3)
        get_pair(end - 6, &pairs[3], wire, has_signed);
    if (pairs_count > 4)
        get_pair(end - 8, &pairs[4], wire, has_signed);
    if (pairs_count > 5)
        get_pair(end - 10, &pairs[5], wire, has_signed);
    if (pairs_count > 6)
        get_pair(end - 12, &pairs[6], wire, has_signed);
    if (pairs_count > 7)
        get_pair(end - 14, &pairs[7], wire, has_signed);
}

SSSE3 int lintelp_vector_pack(const struct lintel_format *format, void *out, size_t capacity,
                              const struct lintel_value *values, size_t count,
                              struct lintel_error *error)
{
    int done = 0;

    if (LIKELY(out != NULL && values != NULL && count == format->count && capacity >= format->size))
        done = LIKELY(!format->has_signed) ? pairs_pack(format, out, values, count, 0)
                                           : pairs_pack(format, out, values, count, 1);
    return LIKELY(done) ? LINTEL_OK
                        : lintelp_pack_plain(format, out, capacity, values, count, error);
}

SSSE3 int lintelp_vector_unpack(const struct lintel_format *format, struct lintel_value *values,
                                size_t count, const void *bytes, size_t size,
                                struct lintel_error *error)
{
    if (!LIKELY(bytes != NULL && values != NULL && count == format->count && size == format->size))
        return lintelp_unpack_plain(format, values, count, bytes, size, error);
    if (LIKELY(!format->has_signed))
        pairs_unpack(format, values, count, bytes, size, 0);
    else
        pairs_unpack(format, values, count, bytes, size, 1);
    return LINTEL_OK;
}
#endif
