/* SPDX-License-Identifier: Apache-2.0 */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#define WORDS_MAX  48
#define TIMEOUT_MS 60000

static const char *program_path;

void program_path_set(const char *path)
{
    program_path = path;
    /* What the tester's own environment says must not matter. */
    unsetenv("TINE_HOST");
    unsetenv("TINE_TOKEN");
}

static void child_run(const struct daemon *daemon, const char *arguments)
{
    char *argv[WORDS_MAX + 1] = {(char *)program_path}, *rest = strdup(arguments);
    size_t count = 1;
    for (char *word; (word = strsep(&rest, " ")) && count < WORDS_MAX;) {
        if (*word)
            argv[count++] = word;
    }
    setenv("TINE_SOCKET", daemon->socket, 1);
    unsetenv("TINE_VMM");
    unsetenv("TINE_KIT");
    unsetenv("TINE_CACHE");
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    execv(program_path, argv);
    _exit(99);
}

void program_start(struct program *program, const struct daemon *daemon, const char *arguments)
{
    int in[2], out[2], err[2];
    assert_int_equal(pipe2(in, O_CLOEXEC) | pipe2(out, O_CLOEXEC) | pipe2(err, O_CLOEXEC), 0);
    *program = (struct program){.in = in[1], .out = out[0], .err = err[0], .terminal = -1};
    program->pid = fork();
    assert_true(program->pid >= 0);
    if (program->pid == 0) {
        dup2(in[0], STDIN_FILENO);
        dup2(out[1], STDOUT_FILENO);
        dup2(err[1], STDERR_FILENO);
        child_run(daemon, arguments);
    }
    close(in[0]);
    close(out[1]);
    close(err[1]);
}

void program_start_terminal(struct program *program, const struct daemon *daemon,
                            const char *arguments, unsigned short rows, unsigned short cols)
{
    struct winsize size = {.ws_row = rows, .ws_col = cols};
    *program = (struct program){.in = -1, .out = -1, .err = -1};
    program->pid = forkpty(&program->terminal, NULL, NULL, &size);
    assert_true(program->pid >= 0);
    if (program->pid == 0)
        child_run(daemon, arguments);
}

/* Appends what is there; false at the end of the stream. */
static bool take(int fd, char **text, size_t *length)
{
    *text = realloc(*text, *length + 65537);
    ssize_t n = read(fd, *text + *length, 65536);
    if (n > 0)
        *length += (size_t)n;
    (*text)[*length] = '\0';
    return n > 0;
}

struct outcome program_finish(struct program *program)
{
    struct outcome outcome = {.out = calloc(1, 1), .err = calloc(1, 1)};
    size_t out_length = 0, err_length = 0;
    struct pollfd fds[] = {
        {.fd = program->terminal >= 0 ? program->terminal : program->out, .events = POLLIN},
        {.fd = program->err, .events = POLLIN},
    };
    if (program->in >= 0)
        close(program->in);
    while (fds[0].fd >= 0 || fds[1].fd >= 0) {
        assert_true(poll(fds, 2, TIMEOUT_MS) > 0);
        if (fds[0].revents && !take(fds[0].fd, &outcome.out, &out_length))
            fds[0].fd = -1;
        if (fds[1].revents && !take(fds[1].fd, &outcome.err, &err_length))
            fds[1].fd = -1;
    }
    int status;
    while (waitpid(program->pid, &status, 0) < 0)
        assert_int_equal(errno, EINTR);
    outcome.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    int rest[] = {program->out, program->err, program->terminal};
    for (size_t i = 0; i < 3; i++) {
        if (rest[i] >= 0)
            close(rest[i]);
    }
    return outcome;
}

void outcome_release(struct outcome *outcome)
{
    free(outcome->out);
    free(outcome->err);
}

struct outcome program_run(const struct daemon *daemon, const char *arguments, const char *input)
{
    struct program program;
    program_start(&program, daemon, arguments);
    if (input)
        assert_int_equal(write(program.in, input, strlen(input)), (ssize_t)strlen(input));
    return program_finish(&program);
}

static void check_text(const char *arguments, const char *what, const char *text,
                       const char *wanted)
{
    if (!wanted && *text)
        fail_msg("tine %s: %s should be empty: \"%s\"", arguments, what, text);
    if (wanted && !strstr(text, wanted))
        fail_msg("tine %s: \"%s\" is not in %s: \"%s\"", arguments, wanted, what, text);
}

void expect_run(const struct daemon *daemon, const char *arguments, int status, const char *out,
                const char *err)
{
    struct outcome outcome = program_run(daemon, arguments, NULL);
    if (outcome.status != status)
        fprintf(stderr, "tine %s: %d\n%s%s", arguments, outcome.status, outcome.out, outcome.err);
    assert_int_equal(outcome.status, status);
    check_text(arguments, "standard output", outcome.out, out);
    check_text(arguments, "standard error", outcome.err, err);
    outcome_release(&outcome);
}

void await_output(int fd, const char *wanted, char *text, size_t size)
{
    size_t length = 0;
    text[0] = '\0';
    while (!strstr(text, wanted)) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        assert_true(length + 1 < size);
        if (poll(&poll_fd, 1, TIMEOUT_MS) <= 0)
            fail_msg("\"%s\" did not come, only \"%s\"", wanted, text);
        ssize_t n = read(fd, text + length, size - 1 - length);
        if (n <= 0)
            fail_msg("\"%s\" did not come, only \"%s\"", wanted, text);
        length += (size_t)n;
        text[length] = '\0';
    }
}

json_t *run_json(const struct daemon *daemon, const char *arguments, int status)
{
    struct outcome outcome = program_run(daemon, arguments, NULL);
    if (outcome.status != status)
        fprintf(stderr, "tine %s: %s%s\n", arguments, outcome.out, outcome.err);
    assert_int_equal(outcome.status, status);
    json_t *json = json_loads(outcome.out, 0, NULL);
    assert_non_null(json);
    outcome_release(&outcome);
    return json;
}
