/*
 * world: a server on a real loop, and its clients, which are streams of the same process: while one
 * waits, the loop turns. Nothing sleeps; a test that hangs is killed by its alarm.
 */
#ifndef LINTEL_TEST_WORLD_H
#define LINTEL_TEST_WORLD_H

#include "lintel/server.h"

#include <uv.h>

enum { WATCHDOG_SECONDS = 120, KEPT_MAX = 512 };

struct world {
    uv_loop_t loop;
    struct lintel_server *server;
    int stopped, clean; /* times stopped was called; what it said */
    int open, finished; /* times setup and finish were called */
    struct lintel_error last;
    struct lintel_request *kept[KEPT_MAX];
    size_t kept_count;
    struct lintel_connection *connection; /* the last one that setup saw */
    int frames;
    int result; /* of the last call under test in a callback */
};

typedef void frame_callback(void *user, struct lintel_connection *connection,
                            const struct lintel_frame *frame, struct lintel_request *request);

/* Handlers: reply with the payload, keep every request, do nothing. */
frame_callback echo, keep, ignore;

/* The other callbacks. */
void on_finish(void *user, struct lintel_connection *connection, const struct lintel_error *error);
void on_stopped(void *user, int clean);

/* A server with that frame callback; what options say of stopped is overwritten. */
void world_open(struct world *world, frame_callback *frame,
                const struct lintel_server_options *options);
/* The same with a handler of one's own; its setup, finish and user are overwritten. */
void world_open_with(struct world *world, const struct lintel_handler *handler,
                     const struct lintel_server_options *options);
void turn(struct world *world);
/* Free what there is, as a program would, and look for what was left behind. */
void world_close(struct world *world);
/* text, which may be NULL, gets the first endpoint, with its port. */
void listen_on(struct world *world, const char *endpoint, char *text);

struct lintel_stream *client_of(int fd, const struct lintel_layout *layout);
struct lintel_stream *client_open(const char *endpoint);
/* One end is the server's, the other is returned. */
int adopt_pair(struct world *world);
void client_send(struct lintel_stream *stream, uint32_t id, const void *payload, size_t size);
/* The next frame, or the end, while the loop turns. Returns as lintel_stream_recv. */
int client_recv(struct world *world, struct lintel_stream *stream, struct lintel_frame *frame);
void expect_reply(struct world *world, struct lintel_stream *stream, uint32_t id, uint8_t flags,
                  const char *payload);
void expect_bye(struct world *world, struct lintel_stream *stream, unsigned reason,
                uint32_t last_id);
void expect_end(struct world *world, struct lintel_stream *stream);
void turn_until_finished(struct world *world, int count);

#endif
