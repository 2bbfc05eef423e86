/*
 * interactive_client: each line that is typed is a request, and its reply is printed. `lintel
 * connect` is this with all the rest.
 *
 *     interactive_client tcp://127.0.0.1:4242
 *
 * lintel_client_call() is one request and its reply. Whatever goes wrong is said, and as long as
 * the connection stands the next line is another try. "q", or the end of the input, ends it.
 *
 * Build: cc interactive_client.c $(pkg-config --cflags --libs lintel)
 */
#include <lintel/lintel.h>

#include <stdio.h>
#include <string.h>

#define TIMEOUT_MS 5000

/* Returns 0 while the session may go on, else 1. */
static int ask(struct lintel_client *client, const char *line, size_t size)
{
    struct lintel_finished done;
    struct lintel_error error;
    struct lintel_call call;
    int rc;

    memset(&call, 0, sizeof call);
    call.payload = line;
    call.size = size;
    rc = lintel_client_call(client, &done, &call, TIMEOUT_MS);
    if (rc == LINTEL_OK) {
        fwrite(done.message.frame.payload, 1, done.message.frame.length, stdout);
        printf("\n");
        return 0;
    }
    lintel_client_error(client, &error);
    printf("%s\n", error.text);
    /* The peer's own answer, or none in time: it is still there. */
    return done.outcome != LINTEL_CALL_ANSWERED && rc != LINTEL_E_TIMEOUT;
}

int main(int argc, char **argv)
{
    struct lintel_client *client;
    struct lintel_error error;
    char line[4096];
    int failed = 0;

    if (argc != 2) {
        fprintf(stderr, "usage: interactive_client ENDPOINT\n");
        return 2;
    }
    if (lintel_client_open(&client, argv[1], TIMEOUT_MS, NULL, NULL, &error) != LINTEL_OK) {
        fprintf(stderr, "interactive_client: %s\n", error.text);
        return 1;
    }
    while (!failed && fgets(line, sizeof line, stdin) != NULL) {
        size_t size = strcspn(line, "\n");
        if (size == 1 && line[0] == 'q')
            break;
        failed = ask(client, line, size);
        fflush(stdout);
    }
    lintel_client_close(client);
    return failed;
}
