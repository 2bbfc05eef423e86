#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "interrupt.h"
#include "proxy.h"

#define ACCEPTS        64    /* connections taken in one turn */
#define CONNECT_MS     30000 /* for upstream to answer in */
#define FULL_MS        1000  /* until it is tried again, when out of descriptors */
#define FINISH_MS      1000  /* at the end, for connections that are ending */
#define FDS_A_PAIR     4
#define FIRST_LISTENER 1 /* in proxy->fds: behind the connector */

/* ---- pairs ----------------------------------------------------------------------------------- */

static void begin_flow(struct proxy *proxy, struct proxy_pair *pair, char direction)
{
    int forth = direction == '>';
    struct proxy_flow *flow = forth ? &pair->forth : &pair->back;
    flow->proxy = proxy;
    flow->pair = pair;
    flow->direction = direction;
    flow->from = forth ? &pair->client : &pair->upstream;
    flow->to = forth ? &pair->upstream : &pair->client;
    flow->poll_in = flow->poll_out = -1;
}

static void close_pair(struct proxy *proxy, struct proxy_pair *pair, int reset)
{
    proxy_flow_close(&pair->forth);
    proxy_flow_close(&pair->back);
    proxy_end_close(&pair->client, reset);
    if (pair->connected)
        proxy_end_close(&pair->upstream, reset);
    free(pair);
    proxy->full_until = 0;
}

static void show_begin(const struct proxy *proxy, const struct proxy_pair *pair)
{
    char peer[LINTEL_ENDPOINT_TEXT_SIZE];
    if (proxy->quiet || proxy->form == SHOW_JSON)
        return;
    proxy_end_peer(&pair->client, peer, sizeof peer);
    printf("%llu begin%s%s\n", (unsigned long long)pair->number, *peer ? " from " : "", peer);
}

/* A connection that came: it waits until the one to upstream is there, for which spare is given. */
static int add_pair(struct proxy *proxy, const int fds[2], int spare)
{
    struct proxy_pair *pair = calloc(1, sizeof *pair);
    struct proxy_end end;
    proxy_end_open(&end, fds);
    proxy->accepted++;
    if (!pair || !connector_start(&proxy->connector, pair, spare)) {
        if (!pair && spare >= 0)
            close(spare);
        free(pair);
        proxy_end_close(&end, 1);
        return tool_fail("connection %llu: out of memory or threads",
                         (unsigned long long)proxy->accepted);
    }
    pair->number = proxy->accepted;
    pair->client = end;
    begin_flow(proxy, pair, '>');
    begin_flow(proxy, pair, '<');
    pair->next = proxy->pairs;
    proxy->pairs = pair;
    show_begin(proxy, pair);
    return TOOL_OK;
}

/* Over when both directions have ended; or when one could not be written and there is nothing left
 * to go the other way, so that its source has to learn of it. */
static int is_over(const struct proxy_pair *pair)
{
    const struct proxy_flow *forth = &pair->forth, *back = &pair->back;
    if (pair->reset)
        return 1;
    int forth_over = forth->ended && forth->shut, back_over = back->ended && back->shut;
    return (forth_over && back_over) || (forth->broken && back_over) ||
           (back->broken && forth_over);
}

static void close_over(struct proxy *proxy)
{
    struct proxy_pair **link = &proxy->pairs;
    while (*link) {
        struct proxy_pair *pair = *link;
        if (!is_over(pair)) {
            link = &pair->next;
            continue;
        }
        *link = pair->next;
        close_pair(proxy, pair, pair->reset || pair->forth.broken || pair->back.broken);
    }
}

/* ---- new ones -------------------------------------------------------------------------------- */

/* Out of descriptors: those that wait are taken when a connection has ended, or after a while. */
static void be_full(struct proxy *proxy, const char *why)
{
    if (proxy->full_said == 0 || proxy->now - proxy->full_said >= FULL_MS)
        (void)tool_fail("cannot take a connection: %s", why);
    proxy->full_said = proxy->now;
    proxy->full_until = proxy->now + FULL_MS;
}

/* Another thread may have taken the one that was to be for it. */
static int lacks_descriptors(const struct connector_result *result)
{
    return result->status == LINTEL_E_SYSTEM &&
           (result->error.system == EMFILE || result->error.system == ENFILE);
}

/* Whoever came is told nothing but a reset when upstream is not there: it is not ours to speak. */
static void take_connected(struct proxy *proxy)
{
    struct connector_result result;
    while (connector_take(&proxy->connector, &result)) {
        struct proxy_pair *pair = result.user;
        if (result.status == LINTEL_OK) {
            proxy_end_open(&pair->upstream, result.fds);
            pair->connected = 1;
        } else if (lacks_descriptors(&result)) {
            be_full(proxy, result.error.text);
            pair->waits = 1;
            proxy->waiting++;
        } else {
            (void)tool_fail("connection %llu: %s", (unsigned long long)pair->number,
                            result.error.text);
            pair->reset = 1;
            proxy->failed |= proxy->given;
        }
    }
}

/* Those for which there was no descriptor go before new ones. */
static void connect_again(struct proxy *proxy)
{
    if (proxy->waiting == 0 || proxy->now < proxy->full_until)
        return;
    for (struct proxy_pair *pair = proxy->pairs; pair; pair = pair->next) {
        if (!pair->waits || proxy->connector.running == CONNECTOR_MAX)
            continue;
        pair->waits = 0;
        proxy->waiting--;
        pair->reset = !connector_start(&proxy->connector, pair, -1);
    }
}

static void stop_listening(struct proxy *proxy)
{
    lintel_listener_close(proxy->listener);
    proxy->listener = NULL;
}

static int may_accept(const struct proxy *proxy)
{
    return proxy->listener && proxy->now >= proxy->full_until && proxy->waiting == 0 &&
           proxy->connector.running < CONNECTOR_MAX;
}

/* One is taken when there is a descriptor for the connection to upstream, too. */
static int accept_one(struct proxy *proxy)
{
    struct lintel_error error;
    int fds[2];
    int spare = fcntl(proxy->connector.fd, F_DUPFD_CLOEXEC, 0);
    if (spare < 0) {
        be_full(proxy, strerror(errno));
        return 0;
    }
    int rc = lintel_listener_accept(proxy->listener, &fds[0], 0, &error);
    if (rc < 0)
        be_full(proxy, error.text);
    if (rc != 1) {
        close(spare);
        return 0;
    }
    fds[1] = fds[0];
    if (add_pair(proxy, fds, spare) == TOOL_OK && proxy->single)
        stop_listening(proxy);
    return 1;
}

static void accept_some(struct proxy *proxy)
{
    int one = 0;
    for (size_t i = 0; i < proxy->listening; i++)
        one |= proxy->fds[FIRST_LISTENER + i].revents != 0;
    for (int i = 0; i < ACCEPTS && one && may_accept(proxy); i++)
        one = accept_one(proxy);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static int add_fd(struct proxy *proxy, int fd, short events)
{
    proxy->fds[proxy->fds_count] = (struct pollfd){fd, events, 0};
    return (int)proxy->fds_count++;
}

static void add_flow(struct proxy *proxy, struct proxy_flow *flow)
{
    flow->poll_in = flow->poll_out = -1;
    if (proxy_flow_wants_in(flow))
        flow->poll_in = add_fd(proxy, flow->from->in, POLLIN);
    if (proxy_flow_wants_out(flow))
        flow->poll_out = add_fd(proxy, flow->to->out, POLLOUT);
}

static int reserve_fds(struct proxy *proxy)
{
    size_t wanted = FIRST_LISTENER + lintel_listener_count(proxy->listener);
    for (const struct proxy_pair *pair = proxy->pairs; pair; pair = pair->next)
        wanted += FDS_A_PAIR;
    if (wanted <= proxy->fds_capacity)
        return TOOL_OK;
    struct pollfd *fds = realloc(proxy->fds, wanted * 2 * sizeof *fds);
    if (!fds)
        return tool_fail("out of memory");
    proxy->fds = fds;
    proxy->fds_capacity = wanted * 2;
    return TOOL_OK;
}

static int wait_for_any(struct proxy *proxy)
{
    if (reserve_fds(proxy))
        return TOOL_FAILED;
    proxy->fds_count = 0;
    (void)add_fd(proxy, proxy->connector.fd, POLLIN);
    proxy->listening = may_accept(proxy) ? lintel_listener_count(proxy->listener) : 0;
    for (size_t i = 0; i < proxy->listening; i++)
        (void)add_fd(proxy, lintel_listener_fd(proxy->listener, i), POLLIN);
    for (struct proxy_pair *pair = proxy->pairs; pair; pair = pair->next) {
        if (!pair->connected)
            continue;
        add_flow(proxy, &pair->forth);
        add_flow(proxy, &pair->back);
    }
    int64_t until = proxy->until;
    if (until < 0 || (proxy->wakes >= 0 && proxy->wakes < until))
        until = proxy->wakes;
    (void)interrupt_wait(proxy->fds, (nfds_t)proxy->fds_count,
                         proxy->busy         ? 0
                         : proxy->full_until ? FULL_MS
                                             : -1,
                         until);
    return TOOL_OK;
}

static int is_ready(const struct proxy *proxy, int index)
{
    return index >= 0 && proxy->fds[index].revents != 0;
}

static void work_flow(struct proxy *proxy, struct proxy_flow *flow)
{
    proxy_flow_work(flow, is_ready(proxy, flow->poll_in), is_ready(proxy, flow->poll_out));
}

static void work(struct proxy *proxy)
{
    proxy->busy = 0;
    proxy->wakes = -1;
    proxy->now = tool_now_ms();
    if (proxy->now >= proxy->full_until)
        proxy->full_until = 0;
    for (struct proxy_pair *pair = proxy->pairs; pair; pair = pair->next) {
        if (!pair->connected)
            continue;
        work_flow(proxy, &pair->forth);
        work_flow(proxy, &pair->back);
    }
    take_connected(proxy);
    close_over(proxy);
    connect_again(proxy);
    accept_some(proxy);
}

/* ---- all of it ------------------------------------------------------------------------------- */

static int turn(struct proxy *proxy)
{
    if (wait_for_any(proxy))
        return TOOL_FAILED;
    work(proxy);
    return tool_flush();
}

static int any_connected(const struct proxy *proxy)
{
    const struct proxy_pair *pair = proxy->pairs;
    while (pair && !pair->connected)
        pair = pair->next;
    return pair != NULL;
}

/* Connections of which one side has ended may end; what is left then is reset. */
static int finish(struct proxy *proxy)
{
    stop_listening(proxy);
    proxy->busy = 1;
    int status = turn(proxy);
    for (struct proxy_pair *pair = proxy->pairs; pair; pair = pair->next)
        pair->reset |= pair->connected && !pair->forth.ended && !pair->back.ended;
    close_over(proxy);
    proxy->until = proxy->now + FINISH_MS;
    while (status == TOOL_OK && any_connected(proxy) && proxy->now < proxy->until)
        status = turn(proxy);
    return status;
}

static int run(struct proxy *proxy)
{
    int status = TOOL_OK;
    while (status == TOOL_OK && !interrupted() && (proxy->listener || proxy->pairs))
        status = turn(proxy);
    if (status == TOOL_OK && proxy->pairs)
        status = finish(proxy);
    return status == TOOL_OK && proxy->failed ? TOOL_FAILED : status;
}

/* One that is cut off is reset, so that neither peer takes it for an end of the other's. */
static void close_all(struct proxy *proxy)
{
    stop_listening(proxy);
    while (proxy->pairs) {
        struct proxy_pair *pair = proxy->pairs;
        proxy->pairs = pair->next;
        close_pair(proxy, pair, 1);
    }
    connector_close(&proxy->connector);
    free(proxy->fds);
}

/* Each connection takes two. */
static void raise_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return;
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
}

static int listen_on(struct proxy *proxy, const struct lintel_endpoint *from)
{
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_error error;
    int fds[2];
    int rc = lintel_listener_open(&proxy->listener, from, 0, &error);
    if (rc == LINTEL_E_UNSUPPORTED && from->scheme == LINTEL_FD) {
        rc = lintel_endpoint_connect(from, fds, -1, &error);
        proxy->given = rc == LINTEL_OK;
        if (proxy->given)
            return add_pair(proxy, fds, -1);
    }
    if (rc != LINTEL_OK)
        return tool_fail_error(NULL, &error);
    for (size_t i = 0; !proxy->silent && i < lintel_listener_count(proxy->listener); i++) {
        lintel_listener_text(proxy->listener, i, text, sizeof text);
        printf("listening on %s\n", text);
    }
    return tool_flush();
}

/* Standard output that is a connection carries its bytes and nothing else. */
static int is_output(const struct lintel_endpoint *endpoint)
{
    return endpoint->scheme == LINTEL_FD &&
           (endpoint->fds[0] == STDOUT_FILENO || endpoint->fds[1] == STDOUT_FILENO);
}

int proxy_run(struct proxy *proxy, const struct lintel_endpoint *from,
              const struct lintel_endpoint *to)
{
    proxy->wakes = proxy->until = -1;
    proxy->silent = is_output(from) || is_output(to);
    proxy->quiet |= proxy->silent;
    proxy->single = to->scheme == LINTEL_FD;
    proxy->holds = proxy->delay_ms > 0 || chaos_is_on(&proxy->chaos);
    raise_limit();
    interrupt_catch();
    int status = connector_open(&proxy->connector, to, CONNECT_MS);
    if (status == TOOL_OK)
        status = listen_on(proxy, from);
    if (status == TOOL_OK)
        status = run(proxy);
    close_all(proxy);
    return status;
}
