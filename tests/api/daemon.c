/* SPDX-License-Identifier: Apache-2.0 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"

#define ARGUMENTS_MAX 16
#define START_TRIES   3000
#define STEP_MS       10

static void child_run(const struct daemon *daemon, const char *program,
                      const char *const *arguments)
{
    char *argv[ARGUMENTS_MAX + 10] = {
        (char *)program,    (char *)"--data-dir",   (char *)daemon->data,
        (char *)"--socket", (char *)daemon->socket, (char *)"--log-level",
        (char *)"debug",    (char *)"--config",     (char *)daemon->config};
    for (size_t n = 0; arguments && arguments[n] && n < ARGUMENTS_MAX; n++)
        argv[9 + n] = (char *)arguments[n];
    char log[256];
    snprintf(log, sizeof(log), "%s/log", daemon->dir);
    int fd = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    dup2(fd, STDERR_FILENO);
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(program, argv);
    _exit(99);
}

void daemon_spawn(struct daemon *daemon, const char *program, const char *const *arguments)
{
    daemon->pid = fork();
    assert_true(daemon->pid >= 0);
    if (daemon->pid == 0)
        child_run(daemon, program, arguments);
    for (int i = 0; i < START_TRIES; i++) {
        int fd = unix_connect(daemon->socket, 0, NULL);
        if (fd >= 0) {
            close(fd);
            return;
        }
        assert_int_equal(waitpid(daemon->pid, NULL, WNOHANG), 0);
        time_sleep_ms(STEP_MS);
    }
    fail_msg("tined does not answer");
}

void daemon_start(struct daemon *daemon, const char *program, const char *const *arguments)
{
    snprintf(daemon->dir, sizeof(daemon->dir), "/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(daemon->dir));
    snprintf(daemon->socket, sizeof(daemon->socket), "%s/run/tined.sock", daemon->dir);
    snprintf(daemon->data, sizeof(daemon->data), "%s/data", daemon->dir);
    /* Not the one of this machine. */
    snprintf(daemon->config, sizeof(daemon->config), "%s/tined.conf", daemon->dir);
    assert_int_equal(file_publish(AT_FDCWD, daemon->config, "", 0, 0600, NULL), 0);
    daemon_spawn(daemon, program, arguments);
}

int daemon_reap(struct daemon *daemon)
{
    int status;
    while (waitpid(daemon->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static char *log_read(const struct daemon *daemon)
{
    char path[256], *text = NULL;
    size_t length;
    snprintf(path, sizeof(path), "%s/log", daemon->dir);
    return file_read_all(AT_FDCWD, path, 16 << 20, &text, &length, NULL) == 0 ? text : NULL;
}

char *daemon_await_log(const struct daemon *daemon, const char *text)
{
    for (int i = 0; i < START_TRIES; i++) {
        _cleanup_(free) char *log = log_read(daemon);
        const char *at = log ? strstr(log, text) : NULL;
        if (at && strchr(at, '\n')) {
            at += strlen(text);
            return strndup(at, strcspn(at, "\n"));
        }
        time_sleep_ms(STEP_MS);
    }
    fail_msg("tined did not log \"%s\"", text);
    return NULL;
}

unsigned daemon_port(const struct daemon *daemon)
{
    _cleanup_(free) char *port = daemon_await_log(daemon, "serves http://127.0.0.1:");
    return (unsigned)strtoul(port, NULL, 10);
}

static void print_log(const struct daemon *daemon)
{
    _cleanup_(free) char *text = log_read(daemon);
    if (text)
        fprintf(stderr, "%s", text);
}

void daemon_terminate(struct daemon *daemon)
{
    kill(daemon->pid, SIGTERM);
    int status = daemon_reap(daemon);
    if (status != 0)
        print_log(daemon);
    assert_int_equal(status, 0);
}

void daemon_stop(struct daemon *daemon)
{
    daemon_terminate(daemon);
    assert_int_equal(tree_remove(AT_FDCWD, daemon->dir, NULL), 0);
}

int program_output(const char *program, const char *const *arguments, char *output, size_t size)
{
    int ends[2];
    char *argv[16] = {(char *)program};
    for (size_t i = 0; arguments[i]; i++)
        argv[i + 1] = (char *)arguments[i];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        execv(program, argv);
        _exit(99);
    }
    close(ends[1]);
    size_t length = 0;
    for (ssize_t n; length + 1 < size; length += (size_t)n) {
        n = read(ends[0], output + length, size - 1 - length);
        if (n <= 0)
            break;
    }
    output[length] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
