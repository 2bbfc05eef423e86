#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "connector.h"

struct connecting {
    struct connecting *next;
    struct lintel_endpoint endpoint;
    int timeout_ms;
    int spare; /* to be closed before; -1: none */
    int done;  /* where to say so */
    struct connector_result result;
};

int connector_open(struct connector *connector, const struct lintel_endpoint *endpoint,
                   int timeout_ms)
{
    int ends[2];
    *connector = (struct connector){*endpoint, timeout_ms, -1, -1, 0, NULL};
    if (pipe(ends) != 0)
        return tool_fail("cannot make a pipe: %s", strerror(errno));
    for (int i = 0; i < 2; i++)
        (void)fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    connector->fd = ends[0];
    connector->done = ends[1];
    return TOOL_OK;
}

/* What one thread does. That it has ended goes through the pipe as a pointer, in one piece; with
 * at most CONNECTOR_MAX of them there is always room. */
static void *connect_one(void *user)
{
    struct connecting *one = user;
    if (one->spare >= 0)
        close(one->spare);
    one->result.status = lintel_endpoint_connect(&one->endpoint, one->result.fds, one->timeout_ms,
                                                 &one->result.error);
    while (write(one->done, &one, sizeof one) < 0 && errno == EINTR)
        continue;
    return NULL;
}

/* In a thread that nobody waits for: 1, or 0 where there is none. */
static int start(struct connecting *one)
{
    pthread_attr_t detached;
    pthread_t thread;
    if (pthread_attr_init(&detached) != 0)
        return 0;
    (void)pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
    int started = pthread_create(&thread, &detached, connect_one, one) == 0;
    (void)pthread_attr_destroy(&detached);
    return started;
}

int connector_start(struct connector *connector, void *user, int spare)
{
    struct connecting *one = calloc(1, sizeof *one);
    if (one) {
        one->endpoint = connector->endpoint;
        one->timeout_ms = connector->timeout_ms;
        one->done = connector->done;
        one->spare = spare;
        one->result.user = user;
    }
    if (!one || !start(one)) {
        if (spare >= 0)
            close(spare);
        free(one);
        return 0;
    }
    one->next = connector->first;
    connector->first = one;
    connector->running++;
    return 1;
}

int connector_take(struct connector *connector, struct connector_result *out)
{
    struct pollfd ended = {connector->fd, POLLIN, 0};
    struct connecting *one;
    if (connector->running == 0 || poll(&ended, 1, 0) <= 0 ||
        tool_read(connector->fd, &one, sizeof one) != (long)sizeof one)
        return 0;
    struct connecting **link = &connector->first;
    while (*link != one)
        link = &(*link)->next;
    *link = one->next;
    connector->running--;
    *out = one->result;
    free(one);
    return 1;
}

void connector_close(struct connector *connector)
{
    struct connector_result result;
    while (connector_take(connector, &result))
        if (result.status == LINTEL_OK)
            close(result.fds[0]);
    if (connector->running > 0 || connector->fd < 0)
        return;
    close(connector->fd);
    close(connector->done);
}
