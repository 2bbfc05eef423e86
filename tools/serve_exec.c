#include "config.h"

#ifdef HAVE_UV

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "serve_exec.h"
#include "tool.h"

/* One request. It waits in the queue, then runs; it is freed when its handles are closed. */
struct job {
    struct exec *exec;
    struct lintel_request *request; /* NULL once it is ended */
    struct job **jobs;              /* of the connection; NULL once it is not in that list */
    struct job *next, *previous;    /* in it */
    struct job *next_queued;
    uv_process_t process;
    uv_pipe_t in, out; /* our ends: its standard input, its standard output */
    uv_write_t write;
    struct tool_buffer reply;
    int handles;  /* not yet closed */
    int started;  /* there is, or was, a process */
    int running;  /* it counts as a child */
    int exited;   /* and was reaped */
    int ended;    /* its standard output has */
    int64_t code; /* exit status */
    int signal;   /* that killed it, or 0 */
};

struct exec {
    uv_loop_t *loop;
    const char *command;
    struct exec_limits limits;
    uint64_t children;
    uint64_t held; /* bytes of replies */
    struct job *queue, **last;
    char buffer[65536]; /* that all read into */
};

/* ---- life of a job --------------------------------------------------------------------------- */

static void job_free(struct job *job)
{
    job->exec->held -= job->reply.used;
    tool_buffer_free(&job->reply);
    free(job);
}

static void on_closed(uv_handle_t *handle)
{
    struct job *job = handle->data;
    if (--job->handles == 0)
        job_free(job);
}

static void close_handle(void *handle)
{
    if (!uv_is_closing(handle))
        uv_close(handle, on_closed);
}

static void link_job(struct job *job)
{
    job->next = *job->jobs;
    if (job->next)
        job->next->previous = job;
    *job->jobs = job;
}

static void unlink_job(struct job *job)
{
    if (!job->jobs)
        return;
    if (job->next)
        job->next->previous = job->previous;
    if (job->previous)
        job->previous->next = job->next;
    else
        *job->jobs = job->next;
    job->jobs = NULL;
}

/* Nothing more is written to it or read from it. The payload is the request's, so that writing it
 * ends before the request does. */
static void close_pipes(struct job *job)
{
    close_handle(&job->in);
    close_handle(&job->out);
}

/* ---- answering ------------------------------------------------------------------------------- */

static void fail_job(struct job *job, const char *text)
{
    struct lintel_request *request = job->request;
    job->request = NULL;
    if (request)
        (void)lintel_request_fail(request, text);
}

static void answer_job(struct job *job)
{
    char text[64];
    if (job->signal) {
        snprintf(text, sizeof text, "killed by signal %d", job->signal);
        fail_job(job, text);
    } else if (job->code != 0) {
        snprintf(text, sizeof text, "exit status %lld", (long long)job->code);
        fail_job(job, text);
    } else if (job->request) {
        struct lintel_request *request = job->request;
        job->request = NULL;
        (void)lintel_request_reply(request, job->reply.bytes, job->reply.used);
    }
}

/* The group lives on when the shell has exited and something it began holds the output open. */
static void kill_job(struct job *job)
{
    if (job->started && !(job->exited && job->ended))
        (void)kill(-job->process.pid, SIGKILL);
}

/* The answer is known before the command has ended. */
static void abandon_job(struct job *job, const char *text)
{
    kill_job(job);
    close_pipes(job);
    fail_job(job, text);
    unlink_job(job);
}

static void start_waiting(struct exec *exec);

/* It is over when it has exited and its output has ended: something it left behind may still
 * write. */
static void check_job(struct job *job)
{
    struct exec *exec = job->exec;
    if (job->exited && job->running) {
        job->running = 0;
        exec->children--;
    }
    if (job->exited && job->ended) {
        close_pipes(job);
        answer_job(job);
        unlink_job(job);
    }
    start_waiting(exec);
}

/* ---- what happens to it ---------------------------------------------------------------------- */

static void on_exit_status(uv_process_t *process, int64_t code, int signal_number)
{
    struct job *job = process->data;
    job->exited = 1;
    job->code = code;
    job->signal = signal_number;
    close_handle(process);
    check_job(job);
}

/* A command that does not read its input is fine. */
static void on_written(uv_write_t *write_request, int status)
{
    struct job *job = write_request->data;
    (void)status;
    close_handle(&job->in);
}

static void on_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    struct job *job = handle->data;
    (void)suggested;
    *buffer = uv_buf_init(job->exec->buffer, sizeof job->exec->buffer);
}

static void on_read(uv_stream_t *stream, ssize_t size, const uv_buf_t *buffer)
{
    struct job *job = stream->data;
    struct exec *exec = job->exec;
    char text[80];
    if (size == 0)
        return;
    if (size < 0) {
        job->ended = 1;
        close_handle(stream);
        check_job(job);
        return;
    }
    if ((uint64_t)size > exec->limits.reply - job->reply.used) {
        snprintf(text, sizeof text, "the reply exceeds the limit of %llu bytes",
                 (unsigned long long)exec->limits.reply);
        abandon_job(job, text);
    } else if ((uint64_t)size > exec->limits.memory - exec->held) {
        snprintf(text, sizeof text, "all replies exceed the limit of %llu bytes",
                 (unsigned long long)exec->limits.memory);
        abandon_job(job, text);
    } else if (tool_buffer_add(&job->reply, buffer->base, (size_t)size)) {
        abandon_job(job, "out of memory");
    } else {
        exec->held += (uint64_t)size;
    }
}

/* ---- starting -------------------------------------------------------------------------------- */

static void close_fd(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* Pipes, not libuv's socket pairs: a command may want to open /dev/stdin. */
static int make_pipes(struct job *job, int child[2])
{
    uv_file in[2] = {-1, -1}, out[2] = {-1, -1};
    int rc = uv_pipe(in, 0, UV_NONBLOCK_PIPE);
    if (rc == 0)
        rc = uv_pipe(out, UV_NONBLOCK_PIPE, 0);
    if (rc == 0)
        rc = uv_pipe_open(&job->in, in[1]);
    if (rc == 0) {
        in[1] = -1;
        rc = uv_pipe_open(&job->out, out[0]);
    }
    if (rc == 0) {
        child[0] = in[0];
        child[1] = out[1];
        return 0;
    }
    close_fd(in[0]);
    close_fd(in[1]);
    close_fd(out[0]);
    close_fd(out[1]);
    return rc;
}

static int spawn(struct job *job, const int child[2])
{
    static char shell[] = "sh", flag[] = "-c";
    char *arguments[] = {shell, flag, NULL, NULL};
    char *command = strdup(job->exec->command);
    uv_stdio_container_t stdio[3] = {0};
    uv_process_options_t options = {0};
    int rc;

    if (!command)
        return UV_ENOMEM;
    arguments[2] = command;
    for (int i = 0; i < 3; i++) {
        stdio[i].flags = UV_INHERIT_FD;
        stdio[i].data.fd = i < 2 ? child[i] : STDERR_FILENO;
    }
    options.file = "/bin/sh";
    options.args = arguments;
    options.flags = UV_PROCESS_DETACHED;
    options.stdio = stdio;
    options.stdio_count = 3;
    options.exit_cb = on_exit_status;
    rc = uv_spawn(job->exec->loop, &job->process, &options);
    free(command);
    return rc;
}

static int feed(struct job *job)
{
    const struct lintel_frame *frame = lintel_request_frame(job->request);
    uv_buf_t buffer;
    int rc = uv_read_start((uv_stream_t *)&job->out, on_room, on_read);
    if (rc != 0)
        return rc;
    if (frame->length == 0) {
        close_handle(&job->in);
        return 0;
    }
    /* libuv only reads from it; a payload is at most what a frame may be. */
    buffer.base = (char *)(uintptr_t)frame->payload;
    buffer.len = frame->length;
    return uv_write(&job->write, (uv_stream_t *)&job->in, &buffer, 1, on_written);
}

static void start_job(struct job *job)
{
    struct exec *exec = job->exec;
    int child[2] = {-1, -1};
    char text[128];

    (void)uv_pipe_init(exec->loop, &job->in, 0);
    (void)uv_pipe_init(exec->loop, &job->out, 0);
    job->in.data = job->out.data = job->process.data = job->write.data = job;
    job->handles = 2;
    int rc = make_pipes(job, child);
    if (rc == 0) {
        job->handles++;
        rc = spawn(job, child);
        if (rc == 0) {
            job->started = job->running = 1;
            exec->children++;
            rc = feed(job);
        } else {
            close_handle(&job->process);
        }
    }
    close_fd(child[0]);
    close_fd(child[1]);
    if (rc != 0) {
        snprintf(text, sizeof text, "cannot start the command: %s", uv_strerror(rc));
        abandon_job(job, text);
    }
}

static void start_waiting(struct exec *exec)
{
    while (exec->queue && exec->children < exec->limits.children) {
        struct job *job = exec->queue;
        exec->queue = job->next_queued;
        if (!exec->queue)
            exec->last = &exec->queue;
        start_job(job);
    }
}

static void unqueue(struct exec *exec, struct job *job)
{
    struct job **at = &exec->queue;
    while (*at != job)
        at = &(*at)->next_queued;
    *at = job->next_queued;
    if (exec->last == &job->next_queued)
        exec->last = at;
}

/* ---- from outside ---------------------------------------------------------------------------- */

struct exec *exec_new(struct uv_loop_s *loop, const char *command, const struct exec_limits *limits)
{
    struct exec *exec = calloc(1, sizeof *exec);
    if (!exec)
        return NULL;
    exec->loop = loop;
    exec->command = command;
    exec->limits = *limits;
    exec->last = &exec->queue;
    return exec;
}

void exec_free(struct exec *exec)
{
    free(exec);
}

void exec_request(struct exec *exec, struct job **jobs, struct lintel_request *request)
{
    struct job *job = calloc(1, sizeof *job);
    if (!job || lintel_request_keep(request, &job->request) != LINTEL_OK) {
        free(job);
        (void)lintel_request_fail(request, "out of memory");
        return;
    }
    job->exec = exec;
    job->jobs = jobs;
    link_job(job);
    *exec->last = job;
    exec->last = &job->next_queued;
    start_waiting(exec);
}

void exec_finish(struct exec *exec, struct job **jobs)
{
    struct job *job;
    while ((job = *jobs) != NULL) {
        if (job->handles > 0) {
            abandon_job(job, "");
            continue;
        }
        unqueue(exec, job);
        unlink_job(job);
        lintel_request_drop(job->request);
        job_free(job);
    }
}

#endif
