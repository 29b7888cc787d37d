/* SPDX-License-Identifier: Apache-2.0 */
#include "process.h"

#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/unix_socket.h"

void process_begin(struct process *process, const char *directory)
{
    const char *program = getenv("TINE_VMM");
    struct error err = {0};
    assert_non_null(program);
    *process = (struct process){.request = -1};
    snprintf(process->api.control, sizeof(process->api.control), "%s/api", directory);
    unlink(process->api.control); /* of one that was killed */
    snprintf(process->log, sizeof(process->log), "%s/log", directory);
    process->pid = fork();
    assert_true(process->pid >= 0);
    if (process->pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        execl(program, program, "--api-sock", process->api.control, "--id", "test", "--level",
              "Warning", "--log-path", process->log, NULL);
        _exit(127);
    }
    for (unsigned i = 0;; i++) {
        _cleanup_(close) int fd = unix_connect(process->api.control, 0, &err);
        if (fd >= 0)
            return;
        assert_true(i < PATIENCE_MS && waitpid(process->pid, NULL, WNOHANG) == 0);
        time_sleep_ms(1);
    }
}

int process_wait(struct process *process)
{
    int status = 0;
    assert_int_equal(waitpid(process->pid, &status, 0), process->pid);
    process->pid = 0;
    cleanup_close(&process->request);
    return status;
}

void process_kill(struct process *process)
{
    if (process->pid == 0)
        return;
    assert_int_equal(kill(process->pid, SIGKILL), 0);
    process_wait(process);
}

bool process_answered(const struct process *process, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = process->request, .events = POLLIN};
    return poll(&poll_fd, 1, timeout_ms) > 0;
}
