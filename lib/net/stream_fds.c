/* Descriptors on a stream: storage, and what can be asked. stream_fds_recv.c takes them in,
 * stream_fds_send.c sends them. */
#include "config.h"
#include "net/stream_fds.h"

#include "core/internal.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- storage --------------------------------------------------------------------------------- */

struct lintelp_fds *lintelp_fds_alloc(const struct lintel_stream *s, size_t count)
{
    size_t size = sizeof(struct lintelp_fds) + count * sizeof(int);
    struct lintelp_fds *set = lintelp_resize(s->options->allocator, NULL, size);

    if (set != NULL)
        memset(set, 0, size);
    return set;
}

void lintelp_fds_close(const struct lintel_stream *s, struct lintelp_fds **list)
{
    while (*list != NULL) {
        struct lintelp_fds *set = *list;
        for (uint32_t i = 0; i < set->count; i++)
            close(set->fd[i]);
        *list = set->next;
        (void)lintelp_resize(s->options->allocator, set, 0);
    }
}

int lintelp_fds_new(struct lintel_stream *s)
{
    if (s->work->fds != NULL)
        return LINTEL_OK;
    s->work->fds = lintelp_resize(s->options->allocator, NULL, sizeof *s->work->fds);
    if (s->work->fds == NULL)
        return LINTEL_E_NOMEM;
    memset(s->work->fds, 0, sizeof *s->work->fds);
    s->work->fds->out_end = &s->work->fds->out;
    return LINTEL_OK;
}

void lintelp_fds_free(struct lintel_stream *s)
{
    if (s->work->fds == NULL)
        return;
    lintelp_fds_stop(s);
    lintelp_fds_expire(s);
    lintelp_fds_drop(s);
    lintelp_fds_close(s, &s->work->fds->spare);
    if (s->work->fds->error != NULL)
        (void)lintelp_resize(s->options->allocator, s->work->fds->error, 0);
    (void)lintelp_resize(s->options->allocator, s->work->fds, 0);
    s->work->fds = NULL;
}

void lintelp_fds_trim(struct lintel_stream *s)
{
    if (s->work->fds == NULL)
        return;
    lintelp_fds_expire(s);
    lintelp_fds_close(s, &s->work->fds->spare);
    if (s->work->fds->max_in == 0 && s->work->fds->out == NULL)
        lintelp_fds_free(s);
}

int lintelp_fds_rest(const struct lintelp_stream_fds *fds)
{
    return fds == NULL || (fds->in == NULL && fds->announced == NULL && fds->given == NULL &&
                           fds->out == NULL && fds->error == NULL && !fds->awaited);
}

/* Received ones have room for all that a frame may bring. */
static size_t memory_of(const struct lintelp_fds *list, size_t room)
{
    size_t size = 0;

    for (; list != NULL; list = list->next)
        size += sizeof *list + (room > 0 ? room : list->count) * sizeof(int);
    return size;
}

size_t lintelp_fds_memory(const struct lintel_stream *s)
{
    const struct lintelp_stream_fds *fds = s->work->fds;
    size_t size;

    if (fds == NULL)
        return 0;
    size = sizeof *fds + memory_of(fds->in, fds->max_in) + memory_of(fds->spare, fds->max_in);
    size += memory_of(fds->announced, fds->max_in) + memory_of(fds->given, fds->max_in);
    size += memory_of(fds->out, 0);
    return size + (fds->error != NULL ? sizeof *fds->error : 0);
}

/* ---- the peer -------------------------------------------------------------------------------- */

int lintelp_fds_is_unix(const struct lintelp_end *end)
{
    struct sockaddr_storage own;
    socklen_t size = sizeof own;

    if (!end->is_socket)
        return 0;
    if (getsockname(end->fd, (struct sockaddr *)&own, &size) != 0)
        return -1;
    return own.ss_family == AF_UNIX;
}

int lintel_stream_credentials(struct lintel_stream *stream, struct lintel_credentials *out)
{
    struct lintel_error error;
    struct ucred peer;
    socklen_t size = sizeof peer;
    int rc, is_unix;

    if (stream == NULL || out == NULL)
        return LINTEL_E_USAGE;
    is_unix = lintelp_fds_is_unix(&stream->in);
    if (is_unix == 0) {
        rc = lintelp_fail(&error, LINTEL_E_UNSUPPORTED, 0,
                          "only a UNIX socket tells who its peer is");
    } else if (is_unix < 0 ||
               getsockopt(stream->in.fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        rc = lintelp_fail_errno(&error, errno, "ask for the peer's credentials", "");
    } else {
        out->pid = (int32_t)peer.pid;
        out->uid = (uint32_t)peer.uid;
        out->gid = (uint32_t)peer.gid;
        return LINTEL_OK;
    }
    (void)lintelp_stream_refuse(stream, &error);
    return rc;
}
