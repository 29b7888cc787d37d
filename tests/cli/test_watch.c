/* SPDX-License-Identifier: Apache-2.0 */
/* What shows instances as they change: events, top, tree, wait. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon_fixture.h"
#include "http_client.h"
#include "program.h"

#define GIVEN_BACK "\033[?25h\033[?1049l"

static void test_events(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "events", 0, NULL, NULL);
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "standby web", 0, "", NULL);
    expect_run(daemon, "rm web", 0, "", NULL);
    struct outcome outcome = program_run(daemon, "events --since 10m", NULL);
    assert_int_equal(outcome.status, 0);
    assert_non_null(strstr(outcome.out, "Z  create       web               Running\n"));
    assert_non_null(strstr(outcome.out, "Z  standby      web               Standby\n"));
    assert_non_null(strstr(outcome.out, "Z  delete       web               gone\n"));
    outcome_release(&outcome);
    expect_run(daemon, "events --since 0s", 0, NULL, NULL);
    outcome = program_run(daemon, "events --json", NULL);
    json_t *event = json_loads(outcome.out, JSON_DISABLE_EOF_CHECK, NULL);
    assert_string_equal(text_of(event, "kind"), "create");
    assert_string_equal(text_of(event, "instance_name"), "web");
    assert_int_equal(strlen(text_of(event, "operation_id")), 16);
    json_decref(event);
    size_t lines = 0;
    for (const char *c = outcome.out; *c; c++)
        lines += *c == '\n';
    assert_int_equal(lines, 3);
    outcome_release(&outcome);
    expect_run(daemon, "events --since never", 2, NULL, "tine: events: --since: ");
    expect_run(daemon, "events --since -1m", 2, NULL, "tine: events: --since: \"-1m\" is negative");
    expect_run(daemon, "events web", 2, NULL, "tine: events: unexpected argument \"web\"");
    expect_run(daemon, "run --name fail-timeout", 1, NULL, "as told");
    expect_run(daemon, "events", 0,
               "create       fail-timeout      gone  failed (timeout): fail-timeout: as told\n",
               NULL);
    /* A message that would steer the terminal, and is no UTF-8 either. */
    expect_run(daemon, "run --name broken-1", 0, "", NULL);
    expect_run(daemon, "events", 0, "broken-1          Unknown  broken \xef\xbf\xbd here\n", NULL);
}

static void test_events_follow(void **state)
{
    struct daemon *daemon = *state;
    struct program program;
    char text[4096];
    expect_run(daemon, "run --name before", 0, "", NULL);
    program_start(&program, daemon, "events -f --since 1h");
    await_output(program.out, "create       before            Running\n", text, sizeof(text));
    expect_run(daemon, "run --name after", 0, "", NULL);
    await_output(program.out, "create       after             Running\n", text, sizeof(text));
    /* tined ends: so does the stream, and that is no failure. */
    daemon_terminate(daemon);
    struct outcome outcome = program_finish(&program);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.err, "");
    outcome_release(&outcome);
    daemon_spawn(daemon, daemon_program(), NULL);
}

/* More happens at once than tined holds. */
static void test_events_dropped(void **state)
{
    struct daemon *daemon = *state;
    struct program program;
    char text[4096];
    expect_run(daemon, "run --name first", 0, "", NULL);
    program_start(&program, daemon, "events -f --since 1h");
    await_output(program.out, "first", text, sizeof(text));
    expect_run(daemon, "run --name flood-1", 0, "", NULL);
    struct outcome outcome = program_finish(&program);
    assert_int_equal(outcome.status, 1);
    assert_non_null(strstr(outcome.out, "dropped"));
    assert_string_equal(outcome.err, "tine: events: events are lost: they were read too slowly\n");
    outcome_release(&outcome);
}

static void test_tree(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "tree", 0, "NAME  ID  STATE  AGE\n", NULL);
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "run --name alone", 0, "", NULL);
    expect_run(daemon, "standby web", 0, "", NULL);
    expect_run(daemon, "fork web --name web-1", 0, "", NULL);
    expect_run(daemon, "fork web --name web-2", 0, "", NULL);
    expect_run(daemon, "fork web-1 --name web-1-1", 0, "", NULL);
    struct outcome outcome = program_run(daemon, "tree", NULL);
    assert_non_null(strstr(outcome.out, "\nweb            k00001abcdef  Standby  "));
    assert_non_null(strstr(outcome.out, "\n|- web-1       k00003abcdef  Standby  "));
    assert_non_null(strstr(outcome.out, "\n|  `- web-1-1  k00005abcdef  Standby  "));
    assert_non_null(strstr(outcome.out, "\n`- web-2       k00004abcdef  Standby  "));
    assert_non_null(strstr(outcome.out, "\nalone          k00002abcdef  Running  "));
    outcome_release(&outcome);
    /* Both forks of the same deleted source stand below it. */
    expect_run(daemon, "rm web", 0, "", NULL);
    outcome = program_run(daemon, "tree", NULL);
    assert_non_null(strstr(outcome.out, "\n(deleted)      k00001abcdef "));
    assert_non_null(strstr(outcome.out, "\n|- web-1       k00003abcdef  Standby  "));
    assert_non_null(strstr(outcome.out, "\n|  `- web-1-1  "));
    assert_non_null(strstr(outcome.out, "\n`- web-2 "));
    outcome_release(&outcome);
    json_t *json = run_json(daemon, "tree --json", 0);
    assert_int_equal(json_array_size(json), 2);
    const json_t *gone = json_array_get(json, 1);
    assert_true(json_is_true(json_object_get(gone, "deleted")));
    assert_true(json_is_null(json_object_get(gone, "name")));
    const json_t *fork = json_array_get(json_object_get(gone, "forks"), 0);
    assert_string_equal(text_of(fork, "name"), "web-1");
    assert_int_equal(json_array_size(json_object_get(fork, "forks")), 1);
    json_decref(json);
}

static void test_wait(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "run --name later-1", 0, "", NULL);
    expect_run(daemon, "run --name init-1", 0, "", NULL);
    expect_run(daemon, "wait web --state Running", 0, "Running\n", NULL);
    expect_run(daemon, "wait --state running --timeout 1h later-1", 0, "Running\n", NULL);
    expect_run(daemon, "wait init-1 -s Running -t 50ms", 1, NULL,
               "tine: wait init-1: the time is over and it is Initializing, not Running\n");
    expect_run(daemon, "standby web", 0, "", NULL);
    expect_run(daemon, "wait web --state Running", 1, NULL,
               "tine: wait web: it is Standby and does not become Running by itself\n");
    expect_run(daemon, "wait nope --state Running", 1, NULL,
               "tine: wait nope: no instance \"nope\"\n");
    expect_run(daemon, "wait web", 2, NULL, "tine: wait: --state is needed");
    expect_run(daemon, "wait web --state Unknown", 2, NULL, "\"Unknown\" is not Running, Standby");
    expect_run(daemon, "wait web --state Running --timeout x", 2, NULL, "tine: wait: --timeout: ");
    expect_run(daemon, "wait --state Running", 2, NULL, "tine: wait: usage: tine wait NAME");
    json_t *json = run_json(daemon, "wait --json init-1 --state Running --timeout 50ms", 1);
    assert_true(json_is_true(json_object_get(json, "timed_out")));
    json_decref(json);
    json = run_json(daemon, "wait --json web --state Standby", 0);
    assert_string_equal(text_of(json, "state"), "Standby");
    json_decref(json);
}

/* Order of the names in the first column. */
static void expect_order(const struct daemon *daemon, const char *arguments, const char *wanted)
{
    struct outcome outcome = program_run(daemon, arguments, NULL);
    char names[256] = "";
    assert_int_equal(outcome.status, 0);
    for (const char *line = strchr(outcome.out, '\n'); line && line[1]; line = strchr(line, '\n')) {
        line++;
        snprintf(names + strlen(names), sizeof(names) - strlen(names), "%.*s ",
                 (int)strcspn(line, " "), line);
    }
    assert_string_equal(names, wanted);
    outcome_release(&outcome);
}

static void test_top_once(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web --memory 256MB", 0, "", NULL);
    expect_run(daemon, "standby web", 0, "", NULL);
    expect_run(daemon, "fork web --name a-fork --target-state Running", 0, "", NULL);
    expect_run(daemon, "run --name busy-1 --memory 1GB", 0, "", NULL);
    struct outcome outcome = program_run(daemon, "top --once --all", NULL);
    assert_int_equal(outcome.status, 0);
    assert_non_null(
        strstr(outcome.out, "NAME    STATE    CPU %  PRIV MiB  SHARED MiB  OWNERS  PARENT  AGE"));
    assert_non_null(strstr(outcome.out, "\na-fork  Running    0.0       3.0        61.0      26"
                                        "  web     "));
    assert_non_null(strstr(outcome.out, "\nweb     Standby    0.0  "));
    outcome_release(&outcome);
    expect_order(daemon, "top", "busy-1 a-fork ");
    expect_order(daemon, "top -a", "busy-1 a-fork web ");
    expect_order(daemon, "top -a --sort name", "a-fork busy-1 web ");
    expect_order(daemon, "top -a --sort shared", "busy-1 a-fork web ");
    expect_order(daemon, "top -a --sort age", "busy-1 a-fork web ");
    expect_run(daemon, "top --sort size", 2, NULL, "tine: top: --sort: \"size\" is not cpu");
    expect_run(daemon, "top --interval 1ms", 2, NULL, "tine: top: --interval: must be 100ms");
    json_t *json = run_json(daemon, "top --json", 0);
    assert_int_equal(json_array_size(json), 2);
    const json_t *busy = json_array_get(json, 0);
    assert_string_equal(text_of(busy, "name"), "busy-1");
    assert_true(json_number_value(json_object_get(busy, "cpu_percent")) > 1);
    assert_true(json_is_null(json_object_get(busy, "parent")));
    assert_string_equal(text_of(json_array_get(json, 1), "parent"), "web");
    assert_int_equal(json_integer_value(json_object_get(busy, "memory_shared_bytes")),
                     (256 << 20) - (3 << 20));
    json_decref(json);
}

static bool is_canonical(int terminal)
{
    struct termios modes;
    assert_int_equal(tcgetattr(terminal, &modes), 0);
    return (modes.c_lflag & ICANON) && (modes.c_lflag & ECHO);
}

static void top_start(struct program *program, const struct daemon *daemon)
{
    char text[8192];
    program_start_terminal(program, daemon, "top --interval 100ms", 24, 80);
    await_output(program->terminal, "q quits", text, sizeof(text));
    await_output(program->terminal, "web ", text, sizeof(text));
    assert_false(is_canonical(program->terminal));
}

/* Reads to the end, and looks at what the terminal was left like. */
static struct outcome top_finish(struct program *program, int status)
{
    int terminal = dup(program->terminal);
    struct outcome outcome = program_finish(program);
    assert_int_equal(outcome.status, status);
    assert_true(is_canonical(terminal));
    assert_non_null(strstr(outcome.out, GIVEN_BACK));
    close(terminal);
    return outcome;
}

static void test_top_live(void **state)
{
    struct daemon *daemon = *state;
    struct program program;
    char text[8192];
    expect_run(daemon, "run --name web", 0, "", NULL);
    top_start(&program, daemon);
    /* What happens is seen by itself; other keys do nothing. */
    assert_int_equal(write(program.terminal, "x", 1), 1);
    expect_run(daemon, "run --name newcomer", 0, "", NULL);
    await_output(program.terminal, "newcomer", text, sizeof(text));
    assert_int_equal(write(program.terminal, "q", 1), 1);
    struct outcome outcome = top_finish(&program, 0);
    outcome_release(&outcome);
}

/* No line is wider than the window, and no more of them than fit. */
static void test_top_window(void **state)
{
    struct daemon *daemon = *state;
    struct program program;
    char text[8192];
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "run --name a-very-long-name-that-needs-a-lot-of-room-on-the-screen", 0, "",
               NULL);
    expect_run(daemon, "fork web --from-running --count 8", 0, "", "8 of 8");
    program_start_terminal(&program, daemon, "top --interval 1h", 8, 80);
    await_output(program.terminal, "6 more", text, sizeof(text));
    const struct winsize larger = {.ws_row = 10, .ws_col = 80};
    assert_int_equal(ioctl(program.terminal, TIOCSWINSZ, &larger), 0);
    await_output(program.terminal, "4 more", text, sizeof(text));
    assert_int_equal(write(program.terminal, "q", 1), 1);
    struct outcome outcome = top_finish(&program, 0);
    outcome_release(&outcome);
    char *picture = strstr(text, "\033[H\033[J");
    assert_non_null(picture);
    for (char *line = strtok(picture + 6, "\r\n"); line; line = strtok(NULL, "\r\n"))
        assert_true(strlen(line) <= 80);
}

static void test_top_signals(void **state)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGSEGV};
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web", 0, "", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(signals); i++) {
        struct program program;
        top_start(&program, daemon);
        assert_int_equal(kill(program.pid, signals[i]), 0);
        struct outcome outcome = top_finish(&program, 128 + signals[i]);
        outcome_release(&outcome);
    }
}

/* Stopped and continued, as by Ctrl-Z and fg. */
static void test_top_stopped(void **state)
{
    struct daemon *daemon = *state;
    struct program program;
    char text[8192];
    int status;
    expect_run(daemon, "run --name web", 0, "", NULL);
    top_start(&program, daemon);
    assert_int_equal(kill(program.pid, SIGTSTP), 0);
    assert_int_equal(waitpid(program.pid, &status, WUNTRACED), program.pid);
    assert_true(WIFSTOPPED(status));
    assert_true(is_canonical(program.terminal));
    await_output(program.terminal, GIVEN_BACK, text, sizeof(text));
    assert_int_equal(kill(program.pid, SIGCONT), 0);
    await_output(program.terminal, "q quits", text, sizeof(text));
    assert_false(is_canonical(program.terminal));
    assert_int_equal(write(program.terminal, "q", 1), 1);
    struct outcome outcome = top_finish(&program, 0);
    outcome_release(&outcome);
}

static void test_top_tined_gone(void **state)
{
    struct daemon *daemon = *state;
    struct program program;
    expect_run(daemon, "run --name web", 0, "", NULL);
    top_start(&program, daemon);
    daemon_terminate(daemon);
    struct outcome outcome = top_finish(&program, 3);
    const char *back = strstr(outcome.out, GIVEN_BACK);
    assert_non_null(strstr(back, "tine: top: tined does not answer on "));
    outcome_release(&outcome);
    daemon_spawn(daemon, daemon_program(), NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_events),      TEST(test_events_follow),  TEST(test_events_dropped),
        TEST(test_tree),        TEST(test_wait),           TEST(test_top_once),
        TEST(test_top_live),    TEST(test_top_window),     TEST(test_top_signals),
        TEST(test_top_stopped), TEST(test_top_tined_gone),
    };
    if (argc != 3)
        return 2;
    program_path_set(argv[1]);
    daemon_program_set(argv[2]);
    setenv("TERM", "xterm", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
