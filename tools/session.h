/*
 * session: one connection on which payloads go out and messages come in, neither waiting for the
 * other. `call` and `send` are this with different ideas of when it is over; what the protocol asks
 * of a receiver the library does. Over udp:// and unixgram:// each message is a datagram, and the
 * session ends itself when half_close says that nothing is waited for.
 */
#ifndef LINTEL_SESSION_H
#define LINTEL_SESSION_H

#include "keys.h"
#include "payload.h"

struct session {
    struct tool_framing framing;
    struct keys_options keys_options;
    struct lintel_seal_keys *keys; /* of these; NULL: plain */
    struct payload_list payloads;
    struct message message;
    struct lintel_stream *stream;     /* NULL over datagrams */
    struct lintel_datagram *datagram; /* NULL over a connection */
    uint64_t max_message;             /* bytes of a message that is put together; 0: 64 MiB */
    int timeout_ms;                   /* for a datagram to have room; below 0: no limit */
    int half_close;                   /* 1: shut down writing behind the last payload */

    /* Whether a payload may go out now. NULL: always. */
    int (*may_send)(void *user);
    /* A frame is about to go out; last: it ends its message. */
    int (*sending)(void *user, int last, size_t size);
    /* A message is there. TOOL_OK, or TOOL_FAILED with the reason printed. NULL: what comes is not
     * wanted, and passed over in pieces. */
    int (*received)(void *user, const struct lintel_message *message);
    lintel_trace *trace; /* sees each frame of a connection; NULL */
    void *user;

    int wants_input; /* the payloads wait for their descriptor */
    int all_taken;   /* the stream took every payload */
    int is_closed;   /* no more payloads are to be taken */
    int is_shut;     /* writing is shut down, all is written */
    int failed;      /* a payload could not be had or sent; the reason is printed */
    int stopped;     /* received() failed: nothing more is to be done */
    int send_status; /* LINTEL_OK, or why nothing more can be sent */
    int end_status;  /* LINTEL_OK while messages may come; else as recv says */
    int got_bye;     /* the peer said BYE */
    char end_text[LINTEL_TEXT_SIZE + 64]; /* that in words */
    char send_text[LINTEL_TEXT_SIZE + 64];
};

/* Connect. TOOL_OK, or an exit status with the reason printed. To be ended with session_close(). */
int session_open(struct session *session, const char *endpoint, int timeout_ms);
/* Send, write and receive what can be without waiting. */
void session_work(struct session *session);
/* Wait until more can be done: 1; 0 if the deadline (of tool_now_ms(); -1 for none) passed. */
int session_wait(struct session *session, int64_t deadline);
/* A sealed session ends with the peer's last record: send our own, and wait for it, so many
 * milliseconds at most; below 0 without a limit. TOOL_OK, or TOOL_FAILED with the reason printed.
 * Of a plain session nothing is to be done. */
int session_end(struct session *session, int timeout_ms);
void session_close(struct session *session);
/* In words why nothing more comes, by the status that recv returned. */
const char *session_end_text(int status, int got_bye, const struct lintel_error *error);

#endif
