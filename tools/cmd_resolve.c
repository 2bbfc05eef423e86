#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tool.h"

#define NAME_SIZE 1025 /* bytes of the longest host name with its NUL */

/* "HOST", "HOST:SERVICE", "[IPV6]:SERVICE", "IPV6". */
struct target {
    char host[NAME_SIZE];
    const char *service; /* NULL: none */
};

static int read_target(struct target *target, const char *text)
{
    const char *host = text, *end = strchr(text, ':');
    struct in6_addr address;
    if (*text == '[') {
        host++;
        end = strchr(host, ']');
        if (!end || (end[1] != '\0' && end[1] != ':'))
            return tool_misuse("\"%s\": a '[' without its ']'", text);
        target->service = end[1] == ':' ? end + 2 : NULL;
    } else if (end && inet_pton(AF_INET6, text, &address) == 1) {
        end = NULL;
    } else if (end && strchr(end + 1, ':')) {
        return tool_misuse("\"%s\": more than one ':'; an IPv6 address stands in brackets", text);
    } else if (end) {
        target->service = end + 1;
    }
    size_t size = end ? (size_t)(end - host) : strlen(host);
    if (size == 0 || size >= sizeof target->host)
        return tool_misuse("\"%s\": the host is empty, or too long", text);
    if (target->service && target->service[0] == '\0')
        return tool_misuse("\"%s\": no service behind the ':'", text);
    memcpy(target->host, host, size);
    target->host[size] = '\0';
    return TOOL_OK;
}

static unsigned port_of(const struct addrinfo *at)
{
    if (at->ai_family == AF_INET6) {
        struct sockaddr_in6 in6;
        memcpy(&in6, at->ai_addr, sizeof in6);
        return ntohs(in6.sin6_port);
    }
    struct sockaddr_in in;
    memcpy(&in, at->ai_addr, sizeof in);
    return ntohs(in.sin_port);
}

/* An address, and a port, comes once for each kind of socket. */
static void print_addresses(const struct addrinfo *list)
{
    char text[NI_MAXHOST], last[NI_MAXHOST] = "";
    for (const struct addrinfo *at = list; at; at = at->ai_next) {
        if (getnameinfo(at->ai_addr, at->ai_addrlen, text, sizeof text, NULL, 0, NI_NUMERICHOST))
            continue;
        if (strcmp(text, last) != 0)
            printf("address %s\n", text);
        memcpy(last, text, sizeof last);
    }
}

static void print_ports(const struct addrinfo *list)
{
    for (const struct addrinfo *at = list; at; at = at->ai_next) {
        const struct addrinfo *seen = list;
        while (seen != at && port_of(seen) != port_of(at))
            seen = seen->ai_next;
        if (seen == at)
            printf("port %u\n", port_of(at));
    }
}

/* The system takes a number that is no port modulo 65536. */
static int is_over_ports(const char *service)
{
    size_t digits = strspn(service, "0123456789");
    return service[0] != '\0' && service[digits] == '\0' && strtoull(service, NULL, 10) > 65535;
}

static void print_name(const char *what, const char *name)
{
    char shown[4 * NAME_SIZE];
    tool_escape(shown, sizeof shown, name, strlen(name), 0);
    printf("%s %s\n", what, shown);
}

static int print_facts(const struct target *target)
{
    struct addrinfo hints, *list;
    char own[NAME_SIZE] = "";
    memset(&hints, 0, sizeof hints);
    hints.ai_flags = AI_CANONNAME;
    int rc = EAI_SERVICE;
    if (!target->service || !is_over_ports(target->service))
        rc = getaddrinfo(target->host, target->service, &hints, &list);
    if (rc == EAI_SYSTEM)
        return tool_fail("host \"%s\": %s", target->host, strerror(errno));
    if (rc == EAI_SERVICE)
        return tool_fail("service \"%s\": no port is known for it", target->service);
    if (rc != 0)
        return tool_fail("host \"%s\": %s", target->host, gai_strerror(rc));
    print_addresses(list);
    print_name("canonical", list->ai_canonname ? list->ai_canonname : target->host);
    if (target->service)
        print_ports(list);
    freeaddrinfo(list);
    if (gethostname(own, sizeof own - 1) != 0)
        return tool_fail("this host has no name: %s", strerror(errno));
    print_name("hostname", own);
    return TOOL_OK;
}

int cmd_resolve(int argc, char **argv)
{
    const struct tool_option options[] = {TOOL_OPTIONS_END};
    const struct tool_usage usage = {
        "HOST[:SERVICE]",
        "Prints what the system knows of a host and a service, a fact a line: \"address\" for "
        "each\n"
        "of its addresses, \"canonical\" and its canonical name, \"port\" and the number behind "
        "the\n"
        "service, \"hostname\" and the name of this host. An IPv6 address with a SERVICE stands "
        "in\n"
        "brackets.\n",
        options, 0};
    struct target target = {"", NULL};
    int status = tool_options(&argc, argv, &usage);
    if (status >= 0)
        return status;
    if (argc != 1)
        return tool_misuse(argc == 0 ? "a HOST is missing" : "one HOST, not %d", argc);
    status = read_target(&target, argv[0]);
    return status == TOOL_OK ? print_facts(&target) : status;
}
