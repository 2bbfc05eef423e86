/*
 * json: a reader for one object of scalars and objects of scalars, strict, in place. Strings are
 * unescaped where they stand, so the text is changed.
 *
 *     json_begin(&json);
 *     while (json_key(&json, &key) == 1)
 *         json_scalar(&json, &value);
 */
#ifndef LINTEL_JSON_H
#define LINTEL_JSON_H

#include <stddef.h>

struct json {
    char *at, *end;      /* what is still to be read */
    const char *problem; /* NULL, or why it went wrong; then nothing more is read */
    int first;           /* 1: no key of this object was read */
};

struct json_text {
    char *text; /* not NUL-terminated */
    size_t size;
    int quoted; /* 1: a string; 0: a number */
};

/* Start reading a text. */
void json_open(struct json *json, char *text, size_t size);
/* Take the brace that begins an object: 1, or 0 and problem. */
int json_begin(struct json *json);
/* The next key: 1; 0 at the brace that ends the object, or problem. */
int json_key(struct json *json, struct json_text *key);
/* The value of that key, a string or a number: 1, or 0 and problem. */
int json_scalar(struct json *json, struct json_text *value);
/* Nothing but white space is left: 1, or 0 and problem. */
int json_done(struct json *json);
/* Whether a text reads so. */
int json_is(const struct json_text *text, const char *word);

#endif
