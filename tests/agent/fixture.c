/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/stream.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"

#define OK_LINE "OK 1073741824\n"

void fixture_open(struct fixture *fixture)
{
    memset(fixture, 0, sizeof(*fixture));
    snprintf(fixture->directory, sizeof(fixture->directory), "/tmp/tine-test-agent-XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    snprintf(fixture->vsock, sizeof(fixture->vsock), "%s/vsock", fixture->directory);
    snprintf(fixture->agent, sizeof(fixture->agent), "%s/agent", fixture->directory);
    snprintf(fixture->oracle, sizeof(fixture->oracle), "%s/oracle", fixture->directory);
}

void fixture_close(struct fixture *fixture)
{
    int status = 0;
    if (fixture->agent_pid > 0) {
        kill(fixture->agent_pid, SIGTERM);
        assert_int_equal(waitpid(fixture->agent_pid, &status, 0), fixture->agent_pid);
        assert_true(WIFEXITED(status));
        assert_int_equal(WEXITSTATUS(status), 0);
    }
    if (fixture->vmm_pid > 0) {
        kill(-fixture->vmm_pid, SIGKILL);
        assert_int_equal(waitpid(fixture->vmm_pid, &status, 0), fixture->vmm_pid);
    }
    assert_int_equal(tree_remove(AT_FDCWD, fixture->directory, NULL), 0);
}

size_t frame_build(uint8_t *out, uint8_t type, const void *payload, size_t length)
{
    agent_header_encode(out, type, (uint32_t)length);
    if (length > 0)
        memcpy(out + AGENT_FRAME_HEADER, payload, length);
    return AGENT_FRAME_HEADER + length;
}

/* --- the fake VMM: runs in processes of its own, where an assertion would be of no use ----------
 */

static void say(int fd, const void *data, size_t length)
{
    struct iovec parts[2] = {{.iov_base = (void *)(uintptr_t)data, .iov_len = length}};
    if (stream_write(fd, parts, 0) < 0)
        _exit(0);
}

/* Moves what is there; false at the end of either stream. */
static int move(int from, int to)
{
    static char buffer[65536];
    ssize_t n = read(from, buffer, sizeof(buffer));
    struct iovec parts[2] = {{.iov_base = buffer, .iov_len = n > 0 ? (size_t)n : 0}};
    return n > 0 && stream_write(to, parts, 0) == 0;
}

/* Two processes, one per direction: a peer that does not read holds up only its own. */
static void relay(const struct fixture *fixture, int fd)
{
    int agent = unix_connect(fixture->agent, 0, NULL);
    if (agent < 0)
        return; /* nobody listens in the guest: refused */
    say(fd, OK_LINE, strlen(OK_LINE));
    pid_t pid = fork();
    int from = pid == 0 ? agent : fd, to = pid == 0 ? fd : agent;
    while (move(from, to)) {
    }
    shutdown(fd, SHUT_RDWR);
    shutdown(agent, SHUT_RDWR);
}

static void script(const struct behaviour *behaviour, int fd, bool lose)
{
    uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    const char *line = behaviour->line ? behaviour->line : OK_LINE;
    say(fd, line, strlen(line));
    if (behaviour->line || agent_frame_read(fd, buffer, &frame, NULL) <= 0)
        return;
    say(fd, behaviour->bytes, lose ? behaviour->last_words : behaviour->length);
    if (!lose && behaviour->treatment == CUT_OFF)
        pause();
}

static void treat(const struct fixture *fixture, const struct behaviour *behaviour, int fd,
                  unsigned number)
{
    /* As the real parser: the line in one piece. */
    static const char wanted[] = "CONNECT 1024\n";
    char line[64];
    ssize_t n = read(fd, line, sizeof(line));
    if (n != (ssize_t)strlen(wanted) || memcmp(line, wanted, (size_t)n) != 0)
        return;
    if (number < behaviour->refusals || behaviour->treatment == REFUSE)
        return;
    if (behaviour->treatment == SILENT)
        pause();
    else if (number < behaviour->refusals + behaviour->losses)
        script(behaviour, fd, true);
    else if (behaviour->treatment == RELAY)
        relay(fixture, fd);
    else
        script(behaviour, fd, false);
}

static _Noreturn void vmm_run(const struct fixture *fixture, const struct behaviour *behaviour)
{
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGCHLD, SIG_IGN);
    time_sleep_ms(behaviour->delay_ms);
    int listener = unix_listen(fixture->vsock, 0, NULL);
    if (listener < 0)
        _exit(1);
    for (unsigned number = 0;; number++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
            _exit(1);
        if (fork() == 0) {
            treat(fixture, behaviour, fd, number);
            _exit(0);
        }
        close(fd);
    }
}

void vmm_start(struct fixture *fixture, const struct behaviour *behaviour)
{
    fflush(NULL);
    fixture->vmm_pid = fork();
    assert_true(fixture->vmm_pid >= 0);
    if (fixture->vmm_pid == 0)
        vmm_run(fixture, behaviour);
    setpgid(fixture->vmm_pid, fixture->vmm_pid); /* whoever comes first: both do it */
}

void agent_start(struct fixture *fixture, const char *program)
{
    vmm_start(fixture, &(struct behaviour){.treatment = RELAY});
    fixture->agent_pid = fork();
    assert_true(fixture->agent_pid >= 0);
    if (fixture->agent_pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGTERM);
        execl(program, program, "--serve-unix", fixture->agent, "--oracle-socket", fixture->oracle,
              (char *)NULL);
        _exit(1);
    }
}

static char program_path[PATH_MAX];

void agent_program_set(const char *path)
{
    assert_non_null(realpath(path, program_path));
}

const char *agent_program(void)
{
    return program_path;
}

int agent_setup(void **state)
{
    static struct fixture fixture;
    fixture_open(&fixture);
    agent_start(&fixture, program_path);
    *state = &fixture;
    return 0;
}

int agent_teardown(void **state)
{
    fixture_close(*state);
    return 0;
}
