/*
 * connector: connecting that holds nobody up. Names are looked up and connections made in threads,
 * one for each that is under way; the results are taken in the loop that waits for connector->fd.
 */
#ifndef LINTEL_CONNECTOR_H
#define LINTEL_CONNECTOR_H

#include "tool.h"

#define CONNECTOR_MAX 64 /* under way at once */

/* A connection, or why there is none. */
struct connector_result {
    void *user; /* as it was given */
    int status; /* of lintel_endpoint_connect() */
    int fds[2]; /* where the status is LINTEL_OK */
    struct lintel_error error;
};

struct connector {
    struct lintel_endpoint endpoint;
    int timeout_ms;
    int fd, done; /* to read from, and what the threads write to */
    size_t running;
    struct connecting *first; /* those that run, and those whose result was not taken */
};

/* TOOL_OK, or TOOL_FAILED with the reason printed. */
int connector_open(struct connector *connector, const struct lintel_endpoint *endpoint,
                   int timeout_ms);
/* Begin to connect; at most CONNECTOR_MAX may run. 0 if a thread cannot be had, else 1. Takes
 * spare, a descriptor that makes room for that of the connection, or -1. */
int connector_start(struct connector *connector, void *user, int spare);
/* 1 and *out, which is then the caller's, if one has ended; else 0. Never waits. */
int connector_take(struct connector *connector, struct connector_result *out);
/* Close what was not taken. Those that still run end with the process: do it last. */
void connector_close(struct connector *connector);

#endif
