#include "config.h"

#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "progress.h"

#define BAR_MIN   10 /* columns; where there are fewer there is no bar */
#define BAR_MAX   40
#define LINE_SIZE 256

/* ---- the line -------------------------------------------------------------------------------- */

/* "512 MiB", "1.7 GiB": three digits at most. */
static void say_size(char *out, size_t size, double bytes)
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    size_t unit = 0;
    for (; bytes >= 999.5 && unit + 1 < sizeof units / sizeof units[0]; unit++)
        bytes /= 1024;
    snprintf(out, size, bytes < 9.95 && unit > 0 ? "%.1f %s" : "%.0f %s", bytes, units[unit]);
}

/* "5 s", "4 min 10 s", "3 h 20 min". */
static void say_time(char *out, size_t size, double seconds)
{
    unsigned long s = seconds < 1e8 ? (unsigned long)(seconds + 0.999) : 100000000;
    if (s < 60)
        snprintf(out, size, "%lu s", s);
    else if (s < 3600)
        snprintf(out, size, "%lu min %lu s", s / 60, s % 60);
    else
        snprintf(out, size, "%lu h %lu min", s / 3600, s % 3600 / 60);
}

static void add_bar(char *out, size_t size, unsigned width, double part)
{
    size_t filled = (size_t)((double)(width - 2) * part), at = strlen(out);
    if (size - at < (size_t)width + 2)
        return;
    out[at++] = '[';
    memset(out + at, '=', filled);
    memset(out + at + filled, ' ', width - 2 - filled);
    if (filled < width - 2)
        out[at + filled] = '>';
    memcpy(out + at + width - 2, "] ", 3);
}

/* "1.7 GiB of 4.0 GiB, 512 MiB/s, 5 s left" */
static void say_figures(char *out, size_t size, uint64_t done, uint64_t total, int64_t ms)
{
    char is[16], all[16], rate[16], left[32];
    double speed = ms > 0 ? (double)done * 1000 / (double)ms : 0;
    say_size(is, sizeof is, (double)done);
    say_size(all, sizeof all, (double)total);
    say_size(rate, sizeof rate, speed);
    say_time(left, sizeof left, speed > 0 && total > done ? (double)(total - done) / speed : 0);
    if (total == 0)
        snprintf(out, size, "%s, %s/s", is, rate);
    else if (done >= total || speed <= 0)
        snprintf(out, size, "%s of %s, %s/s", is, all, rate);
    else
        snprintf(out, size, "%s of %s, %s/s, %s left", is, all, rate, left);
}

void progress_line(char *out, size_t size, unsigned columns, uint64_t done, uint64_t total,
                   int64_t ms)
{
    char figures[LINE_SIZE];
    say_figures(figures, sizeof figures, done, total, ms);
    unsigned used = (unsigned)strlen(figures) + 7;
    double part = total == 0 ? 0 : done < total ? (double)done / (double)total : 1;
    out[0] = 0;
    if (total > 0)
        snprintf(out, size, "%3d%% ", (int)(part * 100));
    if (total > 0 && columns >= used + BAR_MIN)
        add_bar(out, size, columns - used < BAR_MAX ? columns - used : BAR_MAX, part);
    size_t at = strlen(out);
    snprintf(out + at, size - at, "%s", figures);
    /* A line that wraps could not be drawn over. */
    if (columns > 0 && columns <= strlen(out) && columns <= size)
        out[columns - 1] = 0;
}

/* ---- drawing --------------------------------------------------------------------------------- */

void progress_open(struct progress *progress, uint64_t total)
{
    *progress = (struct progress){.total = total, .begun = tool_now_ms()};
    progress->wanted = isatty(STDERR_FILENO);
}

static void draw(struct progress *progress, uint64_t done)
{
    struct winsize window = {0};
    char line[LINE_SIZE];
    unsigned columns = 80;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &window) == 0 && window.ws_col > 0)
        columns = window.ws_col;
    progress->last = tool_now_ms();
    progress_line(line, sizeof line, columns, done, progress->total,
                  progress->last - progress->begun);
    fprintf(stderr, "\r%s\033[K", line);
    fflush(stderr);
    progress->drawn = 1;
}

int progress_wait_ms(const struct progress *progress)
{
    if (!progress->wanted)
        return -1;
    int64_t since = progress->drawn ? tool_now_ms() - progress->last : PROGRESS_STEP_MS;
    return since < PROGRESS_STEP_MS ? (int)(PROGRESS_STEP_MS - since) : 0;
}

void progress_show(struct progress *progress, uint64_t done)
{
    if (progress->wanted && progress_wait_ms(progress) == 0)
        draw(progress, done);
}

void progress_close(struct progress *progress, uint64_t done)
{
    if (!progress->drawn)
        return;
    draw(progress, done);
    fputs("\n", stderr);
    progress->drawn = progress->wanted = 0;
}
