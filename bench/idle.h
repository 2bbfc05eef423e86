/* What a connection of `lintel serve` that has nothing to say costs in memory. */
#ifndef LINTEL_BENCH_IDLE_H
#define LINTEL_BENCH_IDLE_H

struct idle {
    double
        fresh; /* bytes a connection: none has sent a byte yet, but a sealed one has shaken hands */
    double again; /* each has sent a small and a large request and read the replies */
};

/*
 * Run the server in a process of its own and connect to it over TCP so many times. Its allocator is
 * asked: everything counts that the process has, libuv's and the allocator's own share, too.
 * Sealed: with a shared key on both sides, which is made before the count begins.
 *
 * Returns  0
 *          1   that cannot be measured here: another allocator, too few descriptors
 *          -1  the server or a peer has failed
 */
int idle_measure(int connections, int sealed, struct idle *out);

/* Bytes of a bare uv_poll_t that waits on a descriptor, measured in the same way; below 0 where
 * that cannot be. */
double idle_bare(int descriptors);

#endif
