#include "config.h"

#include <signal.h>
#include <string.h>

#include "interrupt.h"
#include "tool.h"

static volatile sig_atomic_t came;

static void remember(int number)
{
    (void)number;
    came = 1;
}

void interrupt_catch(void)
{
    struct sigaction action;
    sigset_t both;
    memset(&action, 0, sizeof action);
    action.sa_handler = remember;
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigemptyset(&both);
    sigaddset(&both, SIGINT);
    sigaddset(&both, SIGTERM);
    sigprocmask(SIG_BLOCK, &both, NULL);
}

/* ppoll() takes no signal while it always finds something ready. */
int interrupted(void)
{
    sigset_t pending;
    sigemptyset(&pending);
    (void)sigpending(&pending);
    return came || sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1;
}

int interrupt_wait(struct pollfd *fds, nfds_t count, int wait_ms, int64_t deadline)
{
    struct timespec time = {wait_ms / 1000, wait_ms % 1000 * 1000000L};
    int64_t left = deadline - tool_now_ms();
    sigset_t none;
    sigemptyset(&none);
    if (deadline >= 0 && (wait_ms < 0 || left < wait_ms)) {
        left = left < 0 ? 0 : left;
        time.tv_sec = (time_t)(left / 1000);
        time.tv_nsec = (long)(left % 1000) * 1000000L;
        wait_ms = 0;
    }
    return ppoll(fds, count, wait_ms < 0 ? NULL : &time, &none);
}
