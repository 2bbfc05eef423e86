/*
 * pack: the format language of lintel/pack.h, read item by item, and the compiled form.
 *
 * An item is one code with its count. The scan gives each item that has values, with its place
 * among the bytes and among the values; padding is what lies between them. Everything that packs or
 * unpacks goes through items, but for the plan: formats that are a few plain integers are compiled
 * to 8-byte windows, too, which need no decisions at run time.
 */
#ifndef LINTELP_CORE_PACK_H
#define LINTELP_CORE_PACK_H

#include "core/text.h"
#include "lintel/pack.h"

/* What a code stands for. */
enum lintelp_form {
    LINTELP_NONE, /* not a code */
    LINTELP_PAD,
    LINTELP_UNSIGNED,
    LINTELP_SIGNED,
    LINTELP_BOOL,
    LINTELP_POINTER,
    LINTELP_FLOATING,
    LINTELP_CHAR,
    LINTELP_STRING,
    LINTELP_PASCAL
};

struct lintelp_item {
    size_t offset; /* of its first byte */
    size_t first;  /* index of its first value */
    size_t repeat; /* how many values, never 0; 1 for s and p */
    size_t size;   /* bytes of one value */
    size_t column; /* of the code, from 1 */
    char code;
    uint8_t form;   /* enum lintelp_form */
    uint8_t little; /* little-endian on the wire */
    uint8_t native; /* under @ */
};

/* Where a reading of a format stands. size and count are those of all items read. */
struct lintelp_scan {
    const char *text;
    size_t at;
    size_t size;
    size_t count;
    uint8_t little;
    uint8_t native;
};

void lintelp_scan_begin(struct lintelp_scan *scan, const char *text);
/* 1: *item is the next one that has values; 0: the end; LINTEL_E_SYNTAX. */
int lintelp_scan_next(struct lintelp_scan *scan, struct lintelp_item *item,
                      struct lintel_error *error);
/* Read a format to its end; *items is how many items have values. LINTEL_OK or LINTEL_E_SYNTAX. */
int lintelp_scan_all(struct lintelp_scan *scan, size_t *items, const char *text,
                     struct lintel_error *error);

/* ---- values and refusals --------------------------------------------------------------------- */

/* One value of an item out of its bytes. */
struct lintel_value lintelp_get_value(const struct lintelp_item *item, const uint8_t *bytes);

/* Start the text of LINTEL_E_RANGE: "value 3, for 'H' at column 5: ". */
struct lintelp_text lintelp_complain(struct lintel_error *error, const struct lintelp_item *item,
                                     size_t index);
/* Each fills in the error record and returns its status. */
int lintelp_refuse_usage(struct lintel_error *error);
int lintelp_refuse_count(struct lintel_error *error, size_t takes, size_t given);
int lintelp_refuse_capacity(struct lintel_error *error, size_t takes, size_t given);
int lintelp_refuse_size(struct lintel_error *error, size_t takes, size_t given);
int lintelp_refuse_value(struct lintel_error *error, const struct lintelp_item *item, size_t index,
                         const char *sentence);

/* ---- the plan -------------------------------------------------------------------------------- */

#define LINTELP_PLAN_VALUES 64
#define LINTELP_PLAN_BYTES  256

/*
 * One integer of a plan. Fields are gathered into windows of 8 bytes, each stored at once: value *
 * factor is added to the window. All windows but the last are stored as 8 bytes, of which the next
 * one overwrites what is its own; the last one as what is left of the size. No bit of value + bias
 * is in outside unless the value does not fit.
 *
 * On the way in, the 8 bytes at `at` are shifted left, then right; ^ bias, then - bias make the
 * sign.
 */
struct lintelp_field {
    uint64_t bias; /* of signed numbers the sign bit, else 0 */
    uint64_t outside;
    uint64_t factor;
    uint16_t at;
    uint8_t fields; /* of the first field of a window: how many it has */
    uint8_t bytes;  /* of the first field of a window: the next window begins that far on */
    uint8_t kind;   /* LINTEL_UINT or LINTEL_INT */
    uint8_t left;
    uint8_t right;
};

/*
 * Two integers of a vector plan: the first pair is the first two values, pair i after it is the two
 * that begin 2 * i before the end (of an odd number the second value is in two pairs). put is the
 * shuffle of both as words of 8 bytes to their places in the vector of the wire, get[0] that of the
 * wire to the first value's word and a zero, get[1] that to a zero and the second one's.
 */
struct lintelp_pair {
    _Alignas(16) uint8_t put[16];
    uint8_t get[2][16];
    uint64_t outside[2]; /* as in struct lintelp_field */
    uint64_t bias[2];
    uint32_t kinds[2];
};

/*
 * Once it is made, and nothing changes it then: the sizes of the items, with their padding, come to
 * size, and their values to count; a plan covers the same bytes, in windows that end within size.
 */
struct lintel_format {
    _Alignas(uint64_t) const struct lintel_allocator *allocator; /* fields follow the struct */
    size_t size;
    size_t count;
    size_t items_count;
    size_t last_bytes;  /* of the plan's last window; 0: there is no plan */
    size_t pairs_count; /* 0: there is no vector plan */
    int little;
    int has_signed; /* a field of the plans is signed */
    /* All in the one block of memory that begins with this struct. */
    struct lintelp_item *items;
    struct lintelp_field *fields; /* count of them */
    struct lintelp_pair *pairs;
};

/* Pack and unpack without the plan. */
int lintelp_pack_items(const struct lintel_format *format, uint8_t *out,
                       const struct lintel_value *values, struct lintel_error *error);
void lintelp_unpack_items(const struct lintel_format *format, struct lintel_value *values,
                          const uint8_t *bytes);

/* As the public functions, without vectors. */
int lintelp_pack_plain(const struct lintel_format *format, void *out, size_t capacity,
                       const struct lintel_value *values, size_t count, struct lintel_error *error);
int lintelp_unpack_plain(const struct lintel_format *format, struct lintel_value *values,
                         size_t count, const void *bytes, size_t size, struct lintel_error *error);

/* Fill in the plans of a format whose items are integers; windows are not where padding leaves one
 * empty. */
void lintelp_plan_make(struct lintel_format *format);

/* ---- the plan for vector instructions -------------------------------------------------------- */

#if defined(__x86_64__) && defined(__LP64__) && defined(__GNUC__)
#define LINTELP_VECTOR 1
#else
#define LINTELP_VECTOR 0
#endif

/* The pairs that a format of integers needs; 0 where it is too short or too long for them. */
static inline size_t lintelp_vector_pairs(size_t size, size_t count)
{
    return LINTELP_VECTOR && size >= 8 && size <= 16 && count >= 2 ? (count + 1) / 2 : 0;
}

#if LINTELP_VECTOR
/* Fill in the pairs of a format whose items are integers; there are none where it is too short or
 * too long, or the processor cannot. */
void lintelp_vector_make(struct lintel_format *format);
/* As the public functions, for a format with pairs. What is not as planned, NULLs and wrong sizes
 * too, they leave to the plain ones. */
int lintelp_vector_pack(const struct lintel_format *format, void *out, size_t capacity,
                        const struct lintel_value *values, size_t count,
                        struct lintel_error *error);
int lintelp_vector_unpack(const struct lintel_format *format, struct lintel_value *values,
                          size_t count, const void *bytes, size_t size, struct lintel_error *error);
#endif

/* ---- IEEE 754 in integers -------------------------------------------------------------------- */

/* A binary format smaller than a double. */
struct lintelp_binary {
    unsigned exponent; /* bits */
    unsigned fraction; /* bits */
};
extern const struct lintelp_binary lintelp_half;
extern const struct lintelp_binary lintelp_single;

/* The bits of any number as a double. A NaN stays as it is: a double that is loaded and stored may
 * come back quiet. */
uint64_t lintelp_double_bits(const struct lintel_value *value);
/* A double's bits, rounded to nearest, ties to even. *overflow is set where a finite number becomes
 * an infinity, and left alone otherwise. A NaN keeps its sign and the upper bits of its fraction,
 * the first of which says whether it is quiet. */
uint64_t lintelp_narrow(const struct lintelp_binary *binary, uint64_t bits, int *overflow);
/* The bits of the same number as a double, of which lintelp_narrow() makes the same bits again. */
uint64_t lintelp_widen(const struct lintelp_binary *binary, uint64_t bits);

#endif
