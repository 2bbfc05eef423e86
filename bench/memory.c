/* What is held where nothing goes on. */
#include "bench.h"
#include "idle.h"

#define CONNECTIONS 1000

static double bare(size_t size)
{
    (void)size;
    return idle_bare(CONNECTIONS);
}

/* Bytes do not vary as times do: they are measured once. */
static const struct idle *measured(void)
{
    static struct idle idle;
    static int done;
    int rc;

    if (done)
        return &idle;
    rc = idle_measure(CONNECTIONS, &idle);
    if (rc < 0)
        bench_fail("a server with many connections");
    if (rc > 0)
        idle.fresh = idle.again = -1;
    done = 1;
    return &idle;
}

static double fresh(size_t size)
{
    (void)size;
    return measured()->fresh;
}

static double again(size_t size)
{
    (void)size;
    return measured()->again;
}

#define NEEDS "libuv, glibc 2.33 and 1064 descriptors"

const struct bench_row bench_memory_rows[] = {
    {"memory: idle connection, new", 0, bare, fresh, 512, BENCH_BYTES, NEEDS},
    {"memory: the same after a burst", 0, bare, again, 512, BENCH_BYTES, NEEDS},
    {NULL, 0, NULL, NULL, 0, 0, NULL},
};
