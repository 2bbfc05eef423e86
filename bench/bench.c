/*
 * What lintel costs, as ratios to a floor that is measured in the same run: the loop a good
 * engineer would write by hand, or the bare system calls. Floor and lintel take turns; a row is the
 * median of the ratios of its rounds. `make bench` prints the table, `bench/bench --json` one
 * object a line.
 *
 * In memory: thread CPU time of this process. Over sockets both ends are on one processor, so that
 * nothing waits for another one to wake up: wall time for a round trip, processor time of both ends
 * for one way. Memory is bytes by the allocator's count.
 */
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

uint64_t bench_sink;

double bench_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

double bench_wall_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

void bench_fail(const char *what)
{
    (void)fprintf(stderr, "bench: %s\n", what);
    exit(1);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

/* How the table and the objects call a score, and what stands behind it. */
static const struct {
    const char *unit, *name, *mark;
} scores_of[] = {
    [BENCH_RATIO] = {"ns", "ratio", "x "},
    [BENCH_MORE] = {"ns", "more_ns", "ns"},
    [BENCH_BYTES] = {"bytes", "bytes", "B "},
};

static double score_of(const struct bench_row *row, double floor, double ours)
{
    if (row->score == BENCH_BYTES)
        return ours;
    return row->score == BENCH_MORE ? ours - floor : ours / floor;
}

/* One row: floor, lintel, floor, lintel, ...; the limit is one of the median of their scores. */
static int run(const struct bench_row *row, int rounds, int json)
{
    double floors[64], ours[64], scores[64];
    const char *unit = scores_of[row->score].unit;
    double floor_ns, our_ns, score;
    int ok;

    for (int i = -1; i < rounds; i++) {
        double f = row->floor(row->size);
        double o = row->ours(row->size);
        if (i < 0)
            continue; /* warm-up */
        if (f < 0 || o < 0) {
            if (!json)
                printf("%-34s %8zu  not here: %s\n", row->what, row->size, row->needs);
            return 1;
        }
        floors[i] = f;
        ours[i] = o;
        scores[i] = score_of(row, f, o);
    }
    floor_ns = median(floors, rounds);
    our_ns = median(ours, rounds);
    score = median(scores, rounds);
    ok = score <= row->must;
    if (json)
        printf("{\"what\":\"%s\",\"size\":%zu,\"floor_%s\":%.3f,\"ours_%s\":%.3f,\"%s\":%.3f,"
               "\"must\":%.2f,\"ok\":%s}\n",
               row->what, row->size, unit, floor_ns, unit, our_ns, scores_of[row->score].name,
               score, row->must, ok ? "true" : "false");
    else
        printf("%-34s %8zu %12.2f %12.2f %9.2f%s %9.2f  %s\n", row->what, row->size, floor_ns,
               our_ns, score, scores_of[row->score].mark, row->must, ok ? "" : "over");
    (void)fflush(stdout);
    return ok;
}

int main(int argc, char **argv)
{
    const struct bench_row *groups[] = {bench_decode_rows, bench_encode_rows, bench_pack_rows,
                                        bench_stream_rows, bench_seal_rows,   bench_server_rows,
                                        bench_memory_rows};
    const char *only = NULL;
    int json = 0, rounds = 7, ok = 1;
    cpu_set_t one;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--json") == 0)
            json = 1;
        else if (strcmp(argv[i], "--help") == 0 || argv[i][0] == '-')
            return printf("usage: bench [--json] [ONLY ROWS THAT BEGIN SO]\n") < 0;
        else
            only = argv[i];
    }
    CPU_ZERO(&one);
    CPU_SET((size_t)sched_getcpu(), &one);
    (void)sched_setaffinity(0, sizeof one, &one);
    if (!json)
        printf("%-34s %8s %12s %12s %11s %9s\n", "median of 7 rounds", "bytes", "floor ns",
               "lintel ns", "ratio", "at most");
    for (size_t g = 0; g < sizeof groups / sizeof groups[0]; g++)
        for (const struct bench_row *row = groups[g]; row->what != NULL; row++)
            if (only == NULL || strncmp(row->what, only, strlen(only)) == 0)
                ok &= run(row, rounds, json);
    return ok && bench_sink != 1 ? 0 : 1;
}
