/*
 * lintel: length-prefixed binary messages over byte streams. This header includes all of liblintel;
 * the server, which needs libuv, is apart in lintel/server.h.
 *
 * Read status.h first: result codes, the order of arguments, the words for ownership.
 */
#ifndef LINTEL_H
#define LINTEL_H

#include "lintel/status.h"
#include "lintel/pack.h"
#include "lintel/layout.h"
#include "lintel/frame.h"
#include "lintel/decoder.h"
#include "lintel/message.h"
#include "lintel/seal.h"
#include "lintel/endpoint.h"
#include "lintel/datagram.h"
#include "lintel/stream.h"
#include "lintel/client.h"

#ifdef __cplusplus
extern "C" {
#endif

#define LINTEL_VERSION_MAJOR 0
#define LINTEL_VERSION_MINOR 1
#define LINTEL_VERSION_PATCH 0
#define LINTEL_VERSION       "0.1.0"

/* The version of the library that runs, "0.1.0"; compare with LINTEL_VERSION, that of the header.
 */
LINTEL_API
const char *lintel_version(void);

/* 1 if this build has the feature: "sodium". 0 for what it has not, and for unknown names. */
LINTEL_API
int lintel_has(const char *feature);

#ifdef __cplusplus
}
#endif
#endif
