/* The example under a foreign loop: frames go through it both ways, at once, to the end. */
#include "config.h"
#include "lintel/lintel.h"

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t start_relay(int a, int b)
{
    const char *folder = getenv("builddir");
    char path[512], from[32], to[32];
    pid_t pid = fork();

    if (pid != 0)
        return pid;
    snprintf(path, sizeof path, "%s/examples/poll_relay", folder != NULL ? folder : ".");
    snprintf(from, sizeof from, "fd://%d", a);
    snprintf(to, sizeof to, "fd://%d", b);
    execl(path, path, from, to, (char *)NULL);
    _exit(127);
}

/* A relay with a stream on each side of it. */
static pid_t relayed(struct lintel_stream *streams[2])
{
    int pairs[2][2];
    pid_t pid;

    for (int i = 0; i < 2; i++) {
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs[i]), 0);
        assert_int_equal(fcntl(pairs[i][1], F_SETFD, 0), 0);
    }
    for (int i = 0; i < 2; i++)
        assert_int_equal(lintel_stream_new(&streams[i], pairs[i][0], pairs[i][0], NULL, NULL),
                         LINTEL_OK);
    pid = start_relay(pairs[0][1], pairs[1][1]);
    close(pairs[0][1]);
    close(pairs[1][1]);
    return pid;
}

static int exit_status(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void poll_relay_passes_frames_both_ways(void **state)
{
    enum { FRAMES = 3000 };
    static uint8_t payload[70000];
    struct lintel_stream *streams[2];
    uint32_t received[2] = {0, 0}, sent[2] = {0, 0};
    pid_t pid;

    (void)state;
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 13 + i / 250);
    pid = relayed(streams);
    while (received[0] < FRAMES || received[1] < FRAMES)
        for (int i = 0; i < 2; i++) {
            struct lintel_header header;
            struct lintel_frame frame;
            memset(&header, 0, sizeof header);
            header.id = sent[i] + 1;
            if (sent[i] < FRAMES && lintel_stream_queued(streams[i]) < 500000) {
                size_t size = sent[i] % 100 == 99 ? sizeof payload : sent[i] % 500;
                assert_int_equal(lintel_stream_send(streams[i], &header, payload, size, 0),
                                 LINTEL_OK);
                sent[i]++;
            }
            assert_true(lintel_stream_flush(streams[i], 0) >= 0);
            while (lintel_stream_recv(streams[i], &frame, 0) == 1) {
                size_t size = received[i] % 100 == 99 ? sizeof payload : received[i] % 500;
                assert_int_equal(lintel_header_read(lintel_layout_default(), &header, &frame),
                                 LINTEL_OK);
                assert_int_equal(header.id, ++received[i]);
                assert_int_equal(frame.length, size);
                assert_memory_equal(frame.payload, payload, size);
            }
        }
    for (int i = 0; i < 2; i++) {
        struct lintel_frame frame;
        assert_int_equal(lintel_stream_shutdown(streams[i], -1), 1);
        assert_int_equal(lintel_stream_recv(streams[1 - i], &frame, -1), LINTEL_E_END);
    }
    assert_int_equal(exit_status(pid), 0);
    lintel_stream_close(streams[0]);
    lintel_stream_close(streams[1]);
}

static void poll_relay_reports_a_peer_out_of_step(void **state)
{
    struct lintel_stream *streams[2];
    struct lintel_frame frame;
    pid_t pid = relayed(streams);

    (void)state;
    assert_int_equal(write(lintel_stream_out_fd(streams[0]), "GET / HTTP/1.1\r\n", 16), 16);
    assert_true(lintel_stream_recv(streams[1], &frame, -1) < 0);
    assert_int_equal(exit_status(pid), 1);
    lintel_stream_close(streams[0]);
    lintel_stream_close(streams[1]);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(poll_relay_passes_frames_both_ways),
        cmocka_unit_test(poll_relay_reports_a_peer_out_of_step),
    };

    alarm(300); /* a watchdog: a deadlock ends the test */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
