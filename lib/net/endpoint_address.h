/* What the endpoint's files and datagram.c share: resolved addresses, their text, bound sockets. */
#ifndef LINTELP_ENDPOINT_ADDRESS_H
#define LINTELP_ENDPOINT_ADDRESS_H

#include "lintel/endpoint.h"
#include "net/internal.h"

#include <netdb.h>
#include <stddef.h>
#include <sys/socket.h>

struct lintelp_address {
    struct sockaddr_storage any;
    socklen_t size;
};

/* The addresses of a host and service, for freeaddrinfo(). Returns LINTEL_OK, LINTEL_E_RESOLVE,
 * LINTEL_E_SYSTEM or LINTEL_E_NOMEM. */
int lintelp_resolve(struct addrinfo **out, const struct lintel_endpoint *endpoint, int flags,
                    struct lintel_error *error);

/* The address of a path or an '@' name, which has been checked to fit. */
void lintelp_unix_address(struct lintelp_address *out, const char *path);

/* "127.0.0.1:80", "[::1]:80", "/path", "@name". Returns the characters, 0 where it has no text. */
size_t lintelp_address_text(const struct lintelp_address *address, char *out, size_t size);

/* "WHAT ADDRESS: sentence of the errno". Returns LINTEL_E_SYSTEM. */
int lintelp_fail_address(struct lintel_error *error, int number, const char *what,
                         const struct lintelp_address *address);

/* The sockets of a datagram endpoint, bound as lintel_listener_open() binds those that listen, and
 * blocking. Text, descriptors and closing are those of a listener; accepting is not. */
int lintelp_listener_bind(struct lintel_listener **out, const struct lintel_endpoint *endpoint,
                          struct lintel_error *error);

/* TCP_NODELAY, where the family has it. */
void lintelp_no_delay(int fd, int family);

#endif
