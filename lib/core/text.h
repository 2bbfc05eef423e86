/*
 * text: error sentences without stdio. A bounded builder over the caller's buffer; what does not
 * fit is cut, the NUL is always there.
 */
#ifndef LINTELP_TEXT_H
#define LINTELP_TEXT_H

#include "lintel/status.h"

struct lintelp_text {
    char *out;
    size_t size; /* of out with its NUL; 0: nothing is written */
    size_t used; /* characters written; used < size, or both 0 */
};

/* Start a text in a buffer. */
struct lintelp_text lintelp_text(char *out, size_t size);
/* Start the text of an error record and set its other fields; error may be NULL. */
struct lintelp_text lintelp_error(struct lintel_error *error, int status, uint64_t at);
/* A whole error record of one sentence; returns status, so that `return lintelp_fail(...)` reads.
 */
int lintelp_fail(struct lintel_error *error, int status, uint64_t at, const char *sentence);

void lintelp_text_char(struct lintelp_text *text, char c);
void lintelp_text_str(struct lintelp_text *text, const char *s);
void lintelp_text_strn(struct lintelp_text *text, const char *s, size_t size);
void lintelp_text_u64(struct lintelp_text *text, uint64_t u);
void lintelp_text_i64(struct lintelp_text *text, int64_t i);
/* "0x" and at least so many digits, in capitals. */
void lintelp_text_hex(struct lintelp_text *text, uint64_t u, unsigned digits);
/* Two digits a byte, in small letters. */
void lintelp_text_bytes(struct lintelp_text *text, const uint8_t *bytes, size_t size);
/* In double quotes, with everything that is not printable ASCII, and quotes, escaped. */
void lintelp_text_quote(struct lintelp_text *text, const void *bytes, size_t size);

#endif
