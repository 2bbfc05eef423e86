/*
 * wrap_uv: wrap.h for what libuv calls. A program that has wrap_uv.c, and is linked with
 * $(wrap_uv_ld_flags), has the calls named WRAP_UV_... counted and failed as all others, and its
 * loops on the clock of wrap.h.
 */
#ifndef LINTEL_TESTS_WRAP_UV_H
#define LINTEL_TESTS_WRAP_UV_H

#include <uv.h>

/* To be called before anything else of libuv. Returns 0, or an error of libuv. */
int wrap_uv_memory(void);

#endif
