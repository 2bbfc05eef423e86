/* The two echo servers that are compared. Each serves a listening socket for ever. */
#ifndef LINTEL_BENCH_ECHO_H
#define LINTEL_BENCH_ECHO_H

/* A loop over epoll, by hand. */
void raw_echo_serve(int listener);

/* liblintel-server; NULL where it is not in this build. */
extern void (*const lintel_echo_serve)(int listener);

#endif
