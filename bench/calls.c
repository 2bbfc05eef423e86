/* The system calls of a process and of those that it starts, counted by following them. */
#define _GNU_SOURCE
#include "bench.h"

#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_CALL (SIGTRAP | 0x80) /* where a call begins, and where it ends */

static int follow(pid_t child)
{
    const int options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                        PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL;
    int status;

    return waitpid(child, &status, 0) == child && WIFSTOPPED(status) &&
           ptrace(PTRACE_SETOPTIONS, child, NULL, options) == 0 &&
           ptrace(PTRACE_SYSCALL, child, NULL, NULL) == 0;
}

/* The signal to go on with: stops of the tracing itself are none. */
static int signal_of(int status)
{
    int number = WSTOPSIG(status);
    return number == AT_CALL || number == SIGTRAP || number == SIGSTOP ? 0 : number;
}

double bench_calls(double (*work)(size_t size), size_t size)
{
    pid_t child = fork(), stopped;
    unsigned long halves = 0;
    int status, ok = 1;

    if (child < 0)
        bench_fail("fork");
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0 && raise(SIGSTOP) == 0)
            _exit(work(size) < 0);
        _exit(1);
    }
    if (!follow(child)) {
        (void)kill(child, SIGKILL);
        (void)waitpid(child, &status, 0);
        return -1;
    }
    while ((stopped = waitpid(-1, &status, __WALL)) > 0) {
        if (!WIFSTOPPED(status)) {
            ok &= status == 0;
            continue;
        }
        halves += WSTOPSIG(status) == AT_CALL;
        (void)ptrace(PTRACE_SYSCALL, stopped, NULL, signal_of(status));
    }
    return ok ? (double)(halves / 2) : -1;
}
