/*
 * datagram_echo: answers each datagram with its payload, to where it came from.
 *
 *     datagram_echo udp://127.0.0.1:0
 *     datagram_echo unixgram:///run/echo.sock
 *
 * One socket hears from everybody: lintel_datagram_recv() says who sent a frame, and the reply goes
 * there. What is no frame was dropped and counted before it came here. It ends after the frame
 * whose payload is "end", so that a socket file is removed.
 */
#include <lintel/lintel.h>

#include <stdio.h>
#include <string.h>

static int complain(const char *text)
{
    fprintf(stderr, "datagram_echo: %s\n", text);
    return 1;
}

/* Answer until the end is asked for. Returns 0, or 1 when the socket fails. */
static int answer(struct lintel_datagram *datagram)
{
    struct lintel_datagram_peer peer;
    struct lintel_header header;
    struct lintel_frame frame;
    struct lintel_error error;

    while (lintel_datagram_recv(datagram, &frame, &peer, -1) == 1) {
        if (lintel_header_read(lintel_datagram_layout(datagram), &header, &frame) != LINTEL_OK)
            continue;
        if (frame.length == 3 && memcmp(frame.payload, "end", 3) == 0)
            return 0;
        header.flags = LINTEL_REPLY;
        /* Whoever does not take the answer does not keep the others waiting for more than this. */
        if (header.id != 0 && lintel_datagram_send(datagram, &peer, &header, frame.payload,
                                                   frame.length, 100) != LINTEL_OK) {
            lintel_datagram_error(datagram, &error);
            (void)complain(error.text);
        }
    }
    lintel_datagram_error(datagram, &error);
    return complain(error.text);
}

int main(int argc, char **argv)
{
    char text[LINTEL_ENDPOINT_TEXT_SIZE];
    struct lintel_datagram *datagram;
    struct lintel_error error;
    int status;

    if (argc != 2)
        return complain("usage: datagram_echo ENDPOINT");
    if (lintel_datagram_bind(&datagram, argv[1], NULL, &error) != LINTEL_OK)
        return complain(error.text);
    for (size_t i = 0; i < lintel_datagram_count(datagram); i++) {
        lintel_datagram_text(datagram, i, text, sizeof text);
        printf("listening on %s\n", text);
    }
    fflush(stdout);
    status = answer(datagram);
    lintel_datagram_close(datagram);
    return status;
}
