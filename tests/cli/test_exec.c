/* SPDX-License-Identifier: Apache-2.0 */
/* tine exec: streams, exit statuses, signals, and terminals. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
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

static void expect_exact(const struct daemon *daemon, const char *arguments, const char *input,
                         int status, const char *out, const char *err)
{
    struct outcome outcome = program_run(daemon, arguments, input);
    assert_int_equal(outcome.status, status);
    assert_string_equal(outcome.out, out);
    assert_string_equal(outcome.err, err);
    outcome_release(&outcome);
}

static void test_output(void **state)
{
    expect_exact(*state, "exec vm echo hello world", NULL, 0, "hello world\n", "");
    expect_exact(*state, "exec vm -- echo hello", NULL, 0, "hello\n", "");
    expect_exact(*state, "exec -- vm echo hello", NULL, 0, "hello\n", "");
    expect_exact(*state, "exec vm echo -i --json -x", NULL, 0, "-i --json -x\n", "");
    expect_exact(*state, "exec vm err oops", NULL, 0, "", "oops\n");
    expect_exact(*state, "exec -w /srv vm cwd", NULL, 0, "/srv", "");
    expect_exact(*state, "exec -e A=1 --env B=x=y -e NOT_SET_HERE vm env", NULL, 0, "A=1\nB=x=y\n",
                 "");
}

static void test_status(void **state)
{
    static const int codes[] = {0, 1, 2, 3, 42, 126, 127, 255};
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++) {
        char arguments[64];
        snprintf(arguments, sizeof(arguments), "exec vm exit %d", codes[i]);
        expect_exact(*state, arguments, NULL, codes[i], "", "");
    }
    expect_exact(*state, "exec vm missing", NULL, 127, "",
                 "Error: missing: No such file or directory\r\n");
    expect_exact(*state, "exec --timeout 1s vm timeout", NULL, 124, "", "");
    expect_exact(*state, "exec nope ls", NULL, 1, "", "tine: exec nope: no instance \"nope\"\n");
    json_decref(http_expect(*state, "POST", "/instances/vm/standby", NULL, 200));
    expect_exact(*state, "exec vm ls", NULL, 1, "",
                 "tine: exec vm: instance must be running (current state: Standby)\n");
}

static void test_stdin(void **state)
{
    expect_exact(*state, "exec -i vm cat", "typed\n", 0, "typed\n", "");
    /* Without -i the command has no input, and our own is not eaten. */
    expect_exact(*state, "exec vm cat", "typed\n", 0, "", "");
    expect_exact(*state, "exec -i vm", "to the shell", 0, "to the shell", "");
}

/* Megabytes both ways at once, through a command that hands everything back. */
static void test_much(void **state)
{
    expect_run(*state, "exec vm flood 4096", 0, "xxxx", NULL);
    char command[4096];
    const struct daemon *daemon = *state;
    snprintf(command, sizeof(command),
             "head -c 8000000 /dev/urandom >%s/in && TINE_SOCKET=%s %s exec -i vm cat <%s/in "
             ">%s/out && cmp %s/in %s/out",
             daemon->dir, daemon->socket, getenv("TINE"), daemon->dir, daemon->dir, daemon->dir,
             daemon->dir);
    assert_int_equal(system(command), 0);
}

static void test_json(void **state)
{
    struct outcome outcome = program_run(*state, "exec --json vm exit 9", NULL);
    assert_int_equal(outcome.status, 9);
    json_t *json = json_loads(outcome.out, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(json, "exit_code")), 9);
    json_decref(json);
    outcome_release(&outcome);
    outcome = program_run(*state, "--json exec vm err oops", NULL);
    json = json_loads(outcome.out, 0, NULL);
    assert_string_equal(text_of(json, "stderr"), "oops\n");
    assert_string_equal(text_of(json, "stdout"), "");
    assert_string_equal(outcome.err, "");
    json_decref(json);
    outcome_release(&outcome);
    outcome = program_run(*state, "exec -i --json vm cat", "\xff ok");
    json = json_loads(outcome.out, 0, NULL);
    assert_string_equal(text_of(json, "stdout"), "\xef\xbf\xbd ok");
    json_decref(json);
    outcome_release(&outcome);
}

static void test_signals(void **state)
{
    static const int numbers[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1};
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++) {
        struct program program;
        char text[256];
        program_start(&program, *state, "exec vm wait");
        await_output(program.out, "waiting\n", text, sizeof(text));
        kill(program.pid, numbers[i]);
        struct outcome outcome = program_finish(&program);
        char wanted[32];
        snprintf(wanted, sizeof(wanted), "signal %d\n", numbers[i]);
        assert_string_equal(outcome.out, wanted);
        assert_int_equal(outcome.status, 128 + numbers[i]);
        outcome_release(&outcome);
    }
}

/* A command that ignores signals does not hold the user: the third one ends tine. */
static void test_third_signal(void **state)
{
    struct program program;
    char text[256];
    program_start(&program, *state, "exec -i vm cat");
    assert_int_equal(write(program.in, "x\n", 2), 2);
    await_output(program.out, "x\n", text, sizeof(text));
    for (int i = 0; i < 3; i++) {
        kill(program.pid, SIGINT);
        /* Equal signals merge while they wait: give each its turn, seen by an answer. */
        if (i < 2) {
            assert_int_equal(write(program.in, "y\n", 2), 2);
            await_output(program.out, "y\n", text, sizeof(text));
        }
    }
    struct outcome outcome = program_finish(&program);
    assert_int_equal(outcome.status, 128 + SIGINT);
    outcome_release(&outcome);
}

static void test_terminal(void **state)
{
    struct program program;
    struct termios before, during, after;
    char text[1024];
    program_start_terminal(&program, *state, "exec vm tty", 40, 120);
    tcgetattr(program.terminal, &before);
    await_output(program.terminal, "tty 40x120\r\n", text, sizeof(text));
    tcgetattr(program.terminal, &during);
    assert_int_equal(during.c_lflag & (ICANON | ECHO | ISIG), 0);
    struct winsize size = {.ws_row = 50, .ws_col = 132};
    assert_int_equal(ioctl(program.terminal, TIOCSWINSZ, &size), 0);
    await_output(program.terminal, "resize 50x132\r\n", text, sizeof(text));
    struct outcome outcome = program_finish(&program);
    assert_int_equal(outcome.status, 0);
    outcome_release(&outcome);
    /* The master may be asked no more; a second terminal shows the restoring. */
    program_start_terminal(&program, *state, "exec vm cat", 24, 80);
    int slave = -1;
    char name[64];
    assert_int_equal(ptsname_r(program.terminal, name, sizeof(name)), 0);
    assert_true((slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC)) >= 0);
    do
        tcgetattr(slave, &during);
    while ((during.c_lflag & ICANON) != 0);
    assert_int_equal(write(program.terminal, "\x03", 1), 1);
    await_output(program.terminal, "\x03", text, sizeof(text)); /* Ctrl-C came as a byte */
    daemon_terminate(*state);                                   /* ends the session */
    await_output(program.terminal, "tined is stopping", text, sizeof(text));
    int status;
    assert_int_equal(waitpid(program.pid, &status, 0), program.pid);
    assert_int_equal(WEXITSTATUS(status), 127);
    assert_int_equal(tcgetattr(slave, &after), 0);
    assert_true((after.c_lflag & (ICANON | ECHO | ISIG)) == (ICANON | ECHO | ISIG));
    close(slave);
    close(program.terminal);
    daemon_spawn(*state, daemon_program(), NULL);
}

static void test_terminal_choice(void **state)
{
    struct program program;
    char text[1024];
    /* -T: none although we have one; -t: one although we have none. */
    program_start_terminal(&program, *state, "exec -T vm tty", 40, 120);
    await_output(program.terminal, "no tty", text, sizeof(text));
    kill(program.pid, SIGKILL);
    struct outcome outcome = program_finish(&program);
    outcome_release(&outcome);
    program_start(&program, *state, "exec -t vm tty");
    await_output(program.out, "tty 0x0", text, sizeof(text));
    kill(program.pid, SIGKILL);
    outcome = program_finish(&program);
    outcome_release(&outcome);
}

/* The reader of our output goes: we and the command end, quietly. */
static void test_broken_pipe(void **state)
{
    struct program program;
    program_start(&program, *state, "exec vm flood 100000");
    char text[2];
    assert_int_equal(read(program.out, text, 1), 1);
    close(program.out);
    program.out = -1;
    struct outcome outcome = program_finish(&program);
    assert_int_equal(outcome.status, 128 + SIGPIPE);
    assert_string_equal(outcome.err, "");
    outcome_release(&outcome);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup_vm, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_output),       TEST(test_status),   TEST(test_stdin),
        TEST(test_much),         TEST(test_json),     TEST(test_signals),
        TEST(test_third_signal), TEST(test_terminal), TEST(test_terminal_choice),
        TEST(test_broken_pipe),
    };
    if (argc != 3)
        return 2;
    program_path_set(argv[1]);
    setenv("TINE", argv[1], 1);
    daemon_program_set(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
