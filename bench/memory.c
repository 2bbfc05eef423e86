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
static const struct idle *measured(int sealed)
{
    static struct idle idle[2];
    static int done[2];
    int rc;

    if (done[sealed])
        return &idle[sealed];
    rc = idle_measure(CONNECTIONS, sealed, &idle[sealed]);
    if (rc < 0)
        bench_fail("a server with many connections");
    if (rc > 0)
        idle[sealed].fresh = idle[sealed].again = -1;
    done[sealed] = 1;
    return &idle[sealed];
}

static double fresh(size_t size)
{
    (void)size;
    return measured(0)->fresh;
}

static double again(size_t size)
{
    (void)size;
    return measured(0)->again;
}

/* What a seal adds. */
static double seal_adds(size_t size)
{
    (void)size;
    return measured(1)->again < 0 ? -1 : measured(1)->again - measured(0)->again;
}

#define NEEDS "libuv, glibc 2.33 and 1064 descriptors"

const struct bench_row bench_memory_rows[] = {
    {"memory: idle connection, new", 0, bare, fresh, 512, BENCH_BYTES, NEEDS},
    {"memory: the same after a burst", 0, bare, again, 512, BENCH_BYTES, NEEDS},
    {"memory: what a seal adds to it", 0, again, seal_adds, 512, BENCH_BYTES, "libsodium, " NEEDS},
    {NULL, 0, NULL, NULL, 0, 0, NULL},
};
