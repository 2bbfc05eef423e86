/*
 * header_string: a header in network order with a string whose length travels in it, put together
 * and taken apart in memory.
 *
 *     header_string NAME...
 *
 *     0      2    3        4              8                 10
 *     | "HS" | 1  | kind   | sequence     | bytes of name   | name ...
 *
 * The fixed part is one format, "!HBBIH": '!' is network order, without padding on any machine. The
 * length that a header announces is a claim: it is held against what has come before it is used.
 */
#include <lintel/lintel.h>

#include <stdio.h>
#include <string.h>

#define FIXED "!HBBIH"
#define MAGIC 0x4853

struct greeting {
    uint8_t kind;
    uint32_t sequence;
    const char *name; /* `size` bytes, without a NUL */
    size_t size;
};

/* Returns the bytes written, or 0 with the reason in *error: a name of 65536 bytes is out of range
 * for 'H', and is not cut. */
static size_t put(uint8_t *out, size_t capacity, const struct greeting *greeting,
                  struct lintel_error *error)
{
    size_t fixed;

    if (lintel_calcsize(&fixed, FIXED, error) != LINTEL_OK ||
        lintel_pack(out, capacity, error, FIXED, MAGIC, 1, greeting->kind, greeting->sequence,
                    greeting->size) != LINTEL_OK)
        return 0;
    if (greeting->size > capacity - fixed) {
        snprintf(error->text, sizeof error->text, "the name does not fit");
        return 0;
    }
    memcpy(out + fixed, greeting->name, greeting->size);
    return fixed + greeting->size;
}

/* Returns the bytes that it takes up, 0 if more have to come, or -1 where it is none. The name is
 * lent: it lies where the bytes do. */
static int take(struct greeting *greeting, const uint8_t *bytes, size_t size)
{
    uint8_t version;
    uint16_t magic;
    size_t fixed;

    if (lintel_calcsize(&fixed, FIXED, NULL) != LINTEL_OK)
        return -1;
    if (size < fixed)
        return 0;
    if (lintel_unpack(bytes, fixed, NULL, FIXED, &magic, &version, &greeting->kind,
                      &greeting->sequence, &greeting->size) != LINTEL_OK)
        return -1;
    if (magic != MAGIC || version != 1)
        return -1;
    if (greeting->size > size - fixed)
        return 0;
    greeting->name = (const char *)bytes + fixed;
    return (int)(fixed + greeting->size);
}

static void show(const uint8_t *bytes, size_t size)
{
    for (size_t i = 0; i < size; i++)
        printf("%02x", bytes[i]);
    printf("\n");
}

int main(int argc, char **argv)
{
    uint8_t wire[4096];
    size_t used = 0, at = 0;
    struct greeting greeting;
    int step;

    for (int i = 1; i < argc; i++) {
        struct lintel_error error;
        size_t size;
        greeting = (struct greeting){7, (uint32_t)i, argv[i], strlen(argv[i])};
        size = put(wire + used, sizeof wire - used, &greeting, &error);
        if (size == 0) {
            fprintf(stderr, "header_string: %s\n", error.text);
            return 1;
        }
        show(wire + used, size);
        used += size;
    }
    /* One byte more at a time, as a socket might bring them. */
    for (size_t came = 0; came <= used; came++)
        while ((step = take(&greeting, wire + at, came - at)) > 0) {
            printf("kind %u, sequence %u, \"%.*s\"\n", (unsigned)greeting.kind,
                   (unsigned)greeting.sequence, (int)greeting.size, greeting.name);
            at += (size_t)step;
        }
    return at == used ? 0 : 1;
}
