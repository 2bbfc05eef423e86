#include "config.h"

#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* pack, unpack and calcsize: one FORMAT each, everything behind it is a value. */

static int open_format(struct lintel_format **format, const char *text)
{
    struct lintel_error error;
    int status = lintel_format_new(format, text, NULL, &error);
    if (status == LINTEL_OK)
        return TOOL_OK;
    if (status != LINTEL_E_SYNTAX)
        return tool_fail_error(NULL, &error);
    return tool_misuse("format \"%s\", %s", text, error.text);
}

/* ---- pack ------------------------------------------------------------------------------------ */

/* What stands behind FORMAT on the command line, as values. */
struct values {
    struct lintel_value *values;
    struct tool_buffer *storage; /* of the bytes of each */
    size_t count;
};

static int values_open(struct values *values, size_t count)
{
    values->count = count;
    values->values = calloc(count + 1, sizeof *values->values);
    values->storage = calloc(count + 1, sizeof *values->storage);
    return values->values && values->storage ? TOOL_OK : tool_fail("out of memory");
}

static void values_close(struct values *values)
{
    for (size_t i = 0; values->storage && i < values->count; i++)
        tool_buffer_free(&values->storage[i]);
    free(values->storage);
    free(values->values);
}

static int read_value(struct lintel_value *value, struct tool_buffer *storage, char code,
                      const char *text, size_t number)
{
    if (code == '?' && strcmp(text, "0") != 0 && strcmp(text, "1") != 0)
        return tool_fail("value %zu, for '?': \"%s\" is neither 0 nor 1", number, text);
    int read = tool_read_value(value, storage, code, text);
    if (read < 0)
        return TOOL_FAILED;
    if (read > 0)
        return TOOL_OK;
    return tool_fail("value %zu, for '%c': \"%s\" is not %s", number, code, text,
                     strchr("efd", code)   ? "a number that a double can hold"
                     : strchr("spc", code) ? "hex: and pairs of hexadecimal digits"
                                           : "an integer of 64 bits");
}

static int pack(const struct lintel_format *format, struct values *values, char **texts)
{
    if (values->count != lintel_format_count(format))
        return tool_fail("the number of values is %zu, not %zu", lintel_format_count(format),
                         values->count);
    for (size_t i = 0; i < values->count; i++)
        if (read_value(&values->values[i], &values->storage[i], lintel_format_code(format, i),
                       texts[i], i + 1))
            return TOOL_FAILED;

    struct tool_buffer out = {0};
    struct lintel_error error;
    int status = tool_buffer_reserve(&out, lintel_format_size(format));
    if (status == TOOL_OK && lintel_format_pack(format, out.bytes, lintel_format_size(format),
                                                values->values, values->count, &error) < 0)
        status = tool_fail_error(NULL, &error);
    if (status == TOOL_OK) {
        tool_print_hex(stdout, out.bytes, lintel_format_size(format));
        putchar('\n');
    }
    tool_buffer_free(&out);
    return status;
}

int cmd_pack(int argc, char **argv)
{
    const struct tool_usage usage = {
        .synopsis = "FORMAT VALUE...",
        .text =
            "Pack values as Python's struct does and print the bytes in hex. FORMAT is that of\n"
            "struct, and T and t for 24 bits. A value for s, p and c is its text, or hex: and\n"
            "digits; for ? it is 0 or 1. Integers are decimal, or hexadecimal after 0x.\n"
            "Everything behind FORMAT is a value.\n",
        .operands_end_options = 1,
    };
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    if (argc < 1)
        return tool_misuse("there is no FORMAT");

    struct lintel_format *format;
    struct values values = {0};
    status = open_format(&format, argv[0]);
    if (status != TOOL_OK)
        return status;
    status = values_open(&values, (size_t)argc - 1);
    if (status == TOOL_OK)
        status = pack(format, &values, argv + 1);
    values_close(&values);
    lintel_format_free(format);
    return status;
}

/* ---- unpack ---------------------------------------------------------------------------------- */

static void print_bytes(const void *bytes, size_t size)
{
    const uint8_t *b = bytes;
    int is_text = size < 4 || memcmp(bytes, "hex:", 4) != 0;
    for (size_t i = 0; i < size; i++)
        is_text &= b[i] >= 0x20 && b[i] < 0x7f;
    if (is_text) {
        printf("%.*s", (int)size, (const char *)bytes);
    } else {
        printf("hex:");
        tool_print_hex(stdout, bytes, size);
    }
    putchar('\n');
}

static void print_value(const struct lintel_value *value, char code)
{
    char number[TOOL_FLOAT_SIZE];
    switch (value->kind) {
    case LINTEL_UINT:
        printf("%llu\n", (unsigned long long)value->as.u);
        break;
    case LINTEL_INT:
        printf("%lld\n", (long long)value->as.i);
        break;
    case LINTEL_FLOAT:
        tool_float_text(number, code, value);
        printf("%s\n", number);
        break;
    case LINTEL_BYTES:
        print_bytes(value->as.bytes, value->size);
        break;
    }
}

static int unpack(const struct lintel_format *format, const struct tool_buffer *bytes)
{
    size_t count = lintel_format_count(format);
    if (bytes->used != lintel_format_size(format))
        return tool_fail("the format unpacks %zu bytes, not %zu", lintel_format_size(format),
                         bytes->used);
    struct lintel_value *values = calloc(count + 1, sizeof *values);
    struct lintel_error error;
    if (!values)
        return tool_fail("out of memory");
    int status = TOOL_OK;
    if (lintel_format_unpack(format, values, count, bytes->bytes, bytes->used, &error) < 0)
        status = tool_fail_error(NULL, &error);
    for (size_t i = 0; status == TOOL_OK && i < count && !ferror(stdout); i++)
        print_value(&values[i], lintel_format_code(format, i));
    free(values);
    return status;
}

/* HEX: digits in pairs, blanks between them. */
static int read_hex(struct tool_buffer *bytes, const char *hex)
{
    static const char blanks[] = " \t\r\n";
    for (hex += strspn(hex, blanks); *hex; hex += strspn(hex, blanks)) {
        size_t size = strcspn(hex, blanks);
        int read = tool_read_hex(bytes, hex, size);
        if (read < 0)
            return TOOL_FAILED;
        if (read == 0)
            return tool_fail("HEX is not pairs of hexadecimal digits");
        hex += size;
    }
    return TOOL_OK;
}

int cmd_unpack(int argc, char **argv)
{
    const struct tool_usage usage = {
        .synopsis = "FORMAT HEX",
        .text =
            "Unpack bytes, given in hex, as Python's struct does and print one value a line, in\n"
            "the form that pack takes. HEX may be empty and may have blanks between bytes.\n",
        .operands_end_options = 1,
    };
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    if (argc != 2)
        return tool_misuse(argc < 2 ? "FORMAT and HEX are needed" : "there is more than one HEX");

    struct lintel_format *format;
    struct tool_buffer bytes = {0};
    status = open_format(&format, argv[0]);
    if (status != TOOL_OK)
        return status;
    status = read_hex(&bytes, argv[1]);
    if (status == TOOL_OK)
        status = unpack(format, &bytes);
    tool_buffer_free(&bytes);
    lintel_format_free(format);
    return status;
}

/* ---- calcsize -------------------------------------------------------------------------------- */

int cmd_calcsize(int argc, char **argv)
{
    const struct tool_usage usage = {
        .synopsis = "FORMAT",
        .text = "Print how many bytes a format packs to.\n",
        .operands_end_options = 1,
    };
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    if (argc != 1)
        return tool_misuse(argc < 1 ? "there is no FORMAT" : "there is more than one FORMAT");

    struct lintel_format *format;
    status = open_format(&format, argv[0]);
    if (status != TOOL_OK)
        return status;
    printf("%zu\n", lintel_format_size(format));
    lintel_format_free(format);
    return TOOL_OK;
}
