/* SPDX-License-Identifier: Apache-2.0 */
/* How commands end that do not end by themselves, and what becomes of what they have started. The
 * agent is the first argument. */
#include "command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"

static void signal_to_the_group(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    uint32_t number = htole32(SIGINT);
    int fd = shell_start(
        fixture, "trap 'echo got it; kill $!; exit 9' INT; sleep 1000 & echo ready; wait", false);
    outcome_await(fd, &outcome, "ready");
    send_frame(fd, AGENT_SIGNAL, &number, sizeof(number));
    outcome_finish(fd, &outcome);
    assert_non_null(strstr(outcome.text, "got it"));
    assert_int_equal(outcome.code, 9);
}

static void signal_ends_it(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    uint32_t number = htole32(SIGTERM);
    int fd = shell_start(fixture, "echo ready; exec sleep 1000", false);
    outcome_await(fd, &outcome, "ready");
    send_frame(fd, AGENT_SIGNAL, &number, sizeof(number));
    outcome_finish(fd, &outcome);
    assert_int_equal(outcome.code, 128 + SIGTERM);
    assert_int_equal(outcome.signal, SIGTERM);
}

static void timeout_kills_the_group(void **state)
{
    struct fixture *fixture = *state;
    const char *const argv[] = {"sh", "-c", "sleep 1000 & echo $!; wait", NULL};
    struct agent_result result =
        command_run(fixture, &(struct agent_exec){.argv = argv, .timeout_ms = 300});
    assert_true(result.timed_out);
    assert_int_equal(result.exit_code, 128 + SIGKILL);
    assert_process_goes((pid_t)atoi(result.out));
    result_free(&result);
}

static void no_timeout_for_the_quick(void **state)
{
    const char *const argv[] = {"true", NULL};
    struct agent_result result =
        command_run(*state, &(struct agent_exec){.argv = argv, .timeout_ms = TIMEOUT_MS});
    assert_false(result.timed_out);
    assert_int_equal(result.exit_code, 0);
    result_free(&result);
}

/* The command's pid and that of a child of its group, which it prints. */
static void started_pids(int fd, pid_t pids[2])
{
    struct outcome outcome = {0};
    outcome_await(fd, &outcome, "\n");
    assert_int_equal(sscanf(outcome.text, "%d %d", &pids[0], &pids[1]), 2);
    assert_int_equal(kill(pids[0], 0), 0);
    assert_int_equal(kill(pids[1], 0), 0);
}

static void closing_kills_the_group(void **state)
{
    pid_t pids[2];
    int fd = shell_start(*state, "sleep 1000 & echo $$ $!; wait", false);
    started_pids(fd, pids);
    close(fd);
    assert_process_goes(pids[0]);
    assert_process_goes(pids[1]);
}

/* Also while its input is full and unread, and its output is stuck. The writer says who it is
 * before it writes anything else. */
static void closing_kills_a_stuck_group(void **state)
{
    static char payload[AGENT_FRAME_LIMIT];
    pid_t pids[2];
    int fd = shell_start(*state, "sh -c 'echo $PPID $$; exec yes' & wait", false);
    started_pids(fd, pids);
    struct error err = {0};
    for (int r = 0; r == 0;)
        r = agent_frame_write_until(fd, AGENT_STDIN, payload, sizeof(payload), time_after_ms(300),
                                    &err);
    assert_int_equal(err.errnum, ETIMEDOUT);
    close(fd);
    assert_process_goes(pids[0]);
    assert_process_goes(pids[1]);
}

static void breaking_the_protocol_kills_the_group(void **state)
{
    static const struct {
        uint8_t type;
        uint8_t payload[4];
        size_t length;
    } frames[] = {
        {AGENT_HELLO, {0}, 0},            /* no request within an exec */
        {AGENT_SIGNAL, {65, 0, 0, 0}, 4}, /* no signal */
        {AGENT_SIGNAL, {0, 0, 0, 0}, 4},
        {AGENT_SIGNAL, {9}, 1},
        {AGENT_RESIZE, {1, 2, 3}, 3},
        {200, {0}, 0},
    };
    for (size_t i = 0; i < sizeof(frames) / sizeof(frames[0]); i++) {
        pid_t pids[2];
        int fd = shell_start(*state, "sleep 1000 & echo $$ $!; wait", false);
        started_pids(fd, pids);
        send_frame(fd, frames[i].type, frames[i].payload, frames[i].length);
        assert_process_goes(pids[0]);
        assert_process_goes(pids[1]);
        close(fd);
    }
}

/* A command that ends by itself may leave somebody behind: no waiting for it, no killing it. */
static void background_process_is_left_alone(void **state)
{
    struct agent_result result =
        shell_run(*state, "(sleep 1000 >/dev/null 2>&1 & echo $!); sleep 1000 & echo $!");
    int pids[2];
    assert_int_equal(sscanf(result.out, "%d %d", &pids[0], &pids[1]), 2);
    assert_int_equal(result.exit_code, 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(kill(pids[i], 0), 0);
        kill(pids[i], SIGKILL);
    }
    result_free(&result);
}

/* ... even if it goes on writing into what it inherited. */
static void background_writer_is_not_waited_for(void **state)
{
    struct agent_result result = shell_run(*state, "yes & echo pid $! >&2; exit 4");
    int pid;
    assert_int_equal(sscanf(result.err_out, "pid %d", &pid), 1);
    assert_int_equal(result.exit_code, 4);
    result_free(&result);
    assert_process_goes(pid); /* by SIGPIPE, once the session is over */
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_agent(signal_to_the_group),
        with_agent(signal_ends_it),
        with_agent(timeout_kills_the_group),
        with_agent(no_timeout_for_the_quick),
        with_agent(closing_kills_the_group),
        with_agent(closing_kills_a_stuck_group),
        with_agent(breaking_the_protocol_kills_the_group),
        with_agent(background_process_is_left_alone),
        with_agent(background_writer_is_not_waited_for),
    };
    if (argc != 2)
        return 2;
    agent_program_set(argv[1]);
    return cmocka_run_group_tests_name("agent exec_end", tests, NULL, NULL);
}
