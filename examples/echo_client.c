/*
 * echo_client: sends words to an echo server and looks at what comes back.
 *
 *     echo_client tcp://127.0.0.1:4242 hello again
 *     echo_client unix:///run/echo.sock hello
 *
 * All requests are started before the first reply is waited for. Replies may come in any order: the
 * client pairs them by id, and hands back the pointer that was given with the request.
 *
 * Build: cc echo_client.c $(pkg-config --cflags --libs lintel)
 */
#include <lintel/lintel.h>

#include <stdio.h>
#include <string.h>

static int complain(const char *text)
{
    fprintf(stderr, "echo_client: %s\n", text);
    return 1;
}

static int start(struct lintel_client *client, char *word)
{
    struct lintel_call call;

    memset(&call, 0, sizeof call);
    call.payload = word;
    call.size = strlen(word);
    call.deadline_ms = 5000;
    call.user = word;
    return lintel_client_start(client, NULL, &call, -1);
}

/* Returns 0 if the reply is what was sent, else 1. */
static int look_at(const struct lintel_client *client, const struct lintel_finished *call)
{
    const struct lintel_frame *reply = &call->message.frame;
    const char *word = call->user;
    struct lintel_error error;

    if (call->status != LINTEL_OK) {
        lintel_client_error(client, &error); /* why, and whether it was sent */
        return complain(error.text);
    }
    if (reply->length != strlen(word) || memcmp(reply->payload, word, reply->length) != 0)
        return complain("this is no echo");
    printf("%s\n", word);
    return 0;
}

int main(int argc, char **argv)
{
    struct lintel_client *client;
    struct lintel_finished call;
    struct lintel_error error;
    int failed = 0, i;

    if (argc < 2) {
        fprintf(stderr, "usage: echo_client ENDPOINT WORD...\n");
        return 2;
    }
    if (lintel_client_open(&client, argv[1], 5000, NULL, NULL, &error) != LINTEL_OK)
        return complain(error.text);
    for (i = 2; i < argc; i++)
        if (start(client, argv[i]) != LINTEL_OK) {
            lintel_client_error(client, &error);
            failed = complain(error.text);
        }
    /* 1 for each call that was started, whatever became of it; 0 when there is none left. */
    while (lintel_client_next(client, &call, -1) == 1)
        failed |= look_at(client, &call);
    lintel_client_close(client);
    return failed;
}
