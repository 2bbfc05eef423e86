/*
 * exchange: everything that a server and its clients do with each other, in one process and in a
 * fixed order, driven by turns and not by time: requests one behind the other, messages in
 * fragments both ways, PING and PONG, requests that are answered later and from outside of the
 * loop, half-close, BYE, descriptors, drain. What went wrong is noted, and everything is undone.
 */
#ifndef LINTEL_TESTS_EXCHANGE_H
#define LINTEL_TESTS_EXCHANGE_H

struct lintel_seal_keys;

/* A way to have it. */
struct exchange_way {
    const char *name;
    const char *endpoint; /* NULL: over pairs of pipes */
    const char *layout;   /* NULL: lintel's own */
    /* Of a sealed one, else NULL. */
    const struct lintel_seal_keys *client_keys, *server_keys;
    unsigned pieces : 1;    /* the handler takes pieces, not frames */
    unsigned fds : 1;       /* a descriptor travels along */
    unsigned patient : 1;   /* the clients wait until a deadline; else they never wait */
    unsigned in_flight : 1; /* what was sent may arrive later: it goes through TCP */
};

/* What is expected of it. */
struct exchange_terms {
    unsigned whole : 1;   /* nothing may be missing or fail */
    unsigned starved : 1; /* one side may hear nothing of the other, and give up */
    unsigned memory : 1;  /* memory fails */
};

/* Run it once. Returns NULL, or what was wrong, which lives until the next run. */
const char *exchange_run(const struct exchange_way *way, const struct exchange_terms *terms);

#endif
