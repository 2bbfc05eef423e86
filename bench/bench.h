/* What the groups of rows share. bench.c is the program. */
#ifndef LINTEL_BENCH_H
#define LINTEL_BENCH_H

#include "lintel/lintel.h"

#include <stdlib.h>

/* What a row is judged by. */
enum bench_score {
    BENCH_RATIO, /* ours to the floor */
    BENCH_MORE,  /* ns, ours minus the floor */
    BENCH_BYTES  /* ours; both are bytes, not ns */
};

/* A row of the table. Both functions return nanoseconds per unit of work, or bytes, below 0 where
 * they cannot run here. */
struct bench_row {
    const char *what;
    size_t size; /* handed to both */
    double (*floor)(size_t size);
    double (*ours)(size_t size);
    double must;       /* the score is at most this */
    int score;         /* enum bench_score */
    const char *needs; /* what is missing where it cannot run */
};

/* Groups, each ended by a row without what. */
extern const struct bench_row bench_decode_rows[], bench_encode_rows[], bench_pack_rows[],
    bench_seal_rows[], bench_stream_rows[], bench_server_rows[], bench_memory_rows[];

extern uint64_t bench_sink; /* what is computed goes here, so that it is computed */
double bench_cpu_ns(void);  /* of this thread */
double bench_wall_ns(void);
void bench_fail(const char *what);
/* Runs it in a process of its own; below 0 where processes cannot be traced. */
double bench_calls(double (*work)(size_t size), size_t size);
/* A frame of this size over a UNIX socket, both ends; keys: responder, initiator; NULL: plain. */
double bench_oneway(const struct lintel_seal_keys *const keys[2], size_t size);

#endif
