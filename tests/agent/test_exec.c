/* SPDX-License-Identifier: Apache-2.0 */
/* The whole way: client, fake VMM, a real agent that runs real commands. The agent is the first
 * argument. */
#include "command.h"

#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/client.h"
#include "agent/stream.h"
#include "base/clock.h"
#include "base/unix_socket.h"

static void hello(void **state)
{
    struct fixture *fixture = *state;
    struct agent_info info;
    struct utsname names;
    assert_int_equal(uname(&names), 0);
    assert_int_equal(agent_hello(fixture->vsock, TIMEOUT_MS, &info, NULL), 0);
    assert_string_equal(info.version, TINE_VERSION);
    assert_string_equal(info.kernel, names.release);
    assert_string_equal(info.hostname, names.nodename);
    assert_int_equal(strlen(info.boot_id), 36);
    assert_true(info.uptime_ms > 0);
}

static void streams_and_status(void **state)
{
    struct agent_result result = shell_run(*state, "echo out; echo err >&2; exit 7");
    assert_string_equal(result.out, "out\n");
    assert_string_equal(result.err_out, "err\n");
    assert_int_equal(result.exit_code, 7);
    assert_false(result.timed_out);
    result_free(&result);
}

/* agent_exec_run() gives no input, and says so: cat ends. */
static void input_ends_at_once(void **state)
{
    struct agent_result result = shell_run(*state, "cat; echo done");
    assert_string_equal(result.out, "done\n");
    result_free(&result);
}

static void environment(void **state)
{
    const char *const argv[] = {"env", NULL};
    const char *const env[] = {"A=1", "HOME=/elsewhere", "A=2", NULL};
    struct agent_result result =
        command_run(*state, &(struct agent_exec){.argv = argv, .env = env});
    assert_string_equal(result.out,
                        "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n"
                        "HOME=/elsewhere\nLANG=C.UTF-8\nA=2\n");
    result_free(&result);
}

static void working_directory(void **state)
{
    const char *const argv[] = {"pwd", NULL};
    struct agent_result result = command_run(*state, &(struct agent_exec){.argv = argv});
    assert_string_equal(result.out, "/\n");
    result_free(&result);
    result = command_run(*state, &(struct agent_exec){.argv = argv, .cwd = "/proc"});
    assert_string_equal(result.out, "/proc\n");
    result_free(&result);
}

static void not_started(void **state)
{
    const char *const missing[] = {"no-such-command", NULL}, *const argv[] = {"pwd", NULL};
    const char *const directory[] = {"/proc", NULL};
    struct agent_result result = command_run(*state, &(struct agent_exec){.argv = missing});
    assert_int_equal(result.exit_code, 127);
    assert_non_null(strstr(result.err_out, "exec no-such-command"));
    assert_non_null(strstr(result.err_out, "ENOENT"));
    result_free(&result);
    result = command_run(*state, &(struct agent_exec){.argv = argv, .cwd = "/no/such/place"});
    assert_int_equal(result.exit_code, 127);
    assert_non_null(strstr(result.err_out, "/no/such/place"));
    result_free(&result);
    result = command_run(*state, &(struct agent_exec){.argv = directory});
    assert_int_equal(result.exit_code, 127);
    assert_non_null(strstr(result.err_out, "EACCES"));
    result_free(&result);
}

static void killed_by_a_signal(void **state)
{
    struct agent_result result = shell_run(*state, "kill -SEGV $$");
    assert_int_equal(result.exit_code, 128 + SIGSEGV);
    result_free(&result);
}

/* The command must not inherit what the agent blocks or ignores. */
static void signals_are_as_after_boot(void **state)
{
    const char *const argv[] = {"grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status", NULL};
    struct agent_result result = command_run(*state, &(struct agent_exec){.argv = argv});
    assert_string_equal(result.out, "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n");
    result_free(&result);
}

static void descriptors_do_not_leak(void **state)
{
    struct agent_result result = shell_run(*state, "ls /proc/self/fd | wc -l");
    assert_int_equal(atoi(result.out), 4); /* the three, and ls's own of the directory */
    result_free(&result);
}

static void stdin_until_eof(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    int fd = shell_start(fixture, "cat; echo end", false);
    send_frame(fd, AGENT_STDIN, "one ", 4);
    outcome_await(fd, &outcome, "one ");
    send_frame(fd, AGENT_STDIN, "two ", 4);
    send_frame(fd, AGENT_STDIN, "", 0);
    send_frame(fd, AGENT_STDIN_EOF, NULL, 0);
    outcome_finish(fd, &outcome);
    assert_string_equal(outcome.text, "one two end\n");
    assert_int_equal(outcome.code, 0);
}

/* More input than pipe, queue and sockets hold, to a command that first sleeps on it. */
static void large_input(void **state)
{
    enum { FRAMES = 64 };
    static char payload[AGENT_FRAME_LIMIT];
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    int fd = shell_start(fixture, "sleep 0.2; wc -c", false);
    for (int i = 0; i < FRAMES; i++)
        send_frame(fd, AGENT_STDIN, payload, sizeof(payload));
    send_frame(fd, AGENT_STDIN_EOF, NULL, 0);
    outcome_finish(fd, &outcome);
    assert_int_equal(atol(outcome.text), (long)FRAMES * AGENT_FRAME_LIMIT);
}

/* A command that ends, or closes its input, without reading: what is sent on is dropped. */
static void input_nobody_reads(void **state)
{
    static char payload[AGENT_FRAME_LIMIT];
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    int fd = shell_start(fixture, "exec 0<&-; echo closed; sleep 0.3; echo alive; exit 3", false);
    outcome_await(fd, &outcome, "closed");
    for (int i = 0; i < 16; i++)
        send_frame(fd, AGENT_STDIN, payload, sizeof(payload));
    outcome_finish(fd, &outcome);
    assert_non_null(strstr(outcome.text, "alive"));
    assert_int_equal(outcome.code, 3);
}

static void large_output(void **state)
{
    struct agent_result result =
        shell_run(*state, "head -c 10485760 /dev/zero | tr '\\0' x; head -c 100000 /dev/zero >&2");
    assert_int_equal(result.out_length, 10485760);
    assert_int_equal(result.err_length, 100000);
    assert_int_equal(strspn(result.out, "x"), 10485760);
    assert_int_equal(result.exit_code, 0);
    result_free(&result);
}

static void output_over_the_limit(void **state)
{
    struct fixture *fixture = *state;
    struct agent_result result;
    const char *const argv[] = {"sh", "-c", "head -c 300000 /dev/zero | tr '\\0' x", NULL};
    const struct agent_exec exec = {.argv = argv};
    assert_int_equal(agent_exec_run(fixture->vsock, TIMEOUT_MS, &exec, 10, &result, NULL), 0);
    assert_string_equal(result.out, "xxxxxxxxxx");
    assert_int_equal(result.out_length, 10);
    result_free(&result);
}

/* A host that does not read holds up its own command, and nobody else. */
static void slow_reader(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    int fd = shell_start(fixture, "head -c 4000000 /dev/zero; exit 5", false);
    struct agent_result other = shell_run(fixture, "echo meanwhile");
    assert_string_equal(other.out, "meanwhile\n");
    result_free(&other);
    time_sleep_ms(100);
    outcome_finish(fd, &outcome);
    assert_int_equal(outcome.total, 4000000);
    assert_int_equal(outcome.code, 5);
}

static void terminal(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    const char *const argv[] = {"sh", "-c", "tty; stty size; echo $TERM", NULL};
    const struct agent_exec exec = {.argv = argv, .tty = true, .rows = 50, .cols = 132};
    int fd = agent_exec_start(fixture->vsock, TIMEOUT_MS, &exec, NULL);
    assert_true(fd >= 0);
    outcome_finish(fd, &outcome);
    assert_int_equal(strncmp(outcome.text, "/dev/pts/", 9), 0);
    assert_non_null(strstr(outcome.text, "\r\n50 132\r\n"));
    assert_non_null(strstr(outcome.text, "xterm\r\n"));
    assert_int_equal(outcome.code, 0);
}

static void terminal_input_and_resize(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    int fd = shell_start(fixture,
                         "stty -echo; stty size; read a; echo a=$a; stty size; cat; exit 6", true);
    outcome_await(fd, &outcome, "24 80");
    uint16_t size[2] = {htole16(30), htole16(99)};
    send_frame(fd, AGENT_RESIZE, size, sizeof(size));
    send_frame(fd, AGENT_STDIN, "typed\n", 6);
    outcome_await(fd, &outcome, "a=typed\r\n30 99\r\n");
    send_frame(fd, AGENT_STDIN, "more\n", 5);
    outcome_await(fd, &outcome, "more");
    send_frame(fd, AGENT_STDIN_EOF, NULL, 0); /* ends cat, as Ctrl-D would */
    outcome_finish(fd, &outcome);
    assert_int_equal(outcome.code, 6);
}

static void terminal_interrupt(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    int fd = shell_start(fixture, "echo ready; exec sleep 1000", true);
    outcome_await(fd, &outcome, "ready");
    send_frame(fd, AGENT_STDIN, "\x03", 1);
    outcome_finish(fd, &outcome);
    assert_int_equal(outcome.signal, SIGINT);
}

/* The last words of a command on a terminal arrive, however quickly it ends. */
static void terminal_output_is_whole(void **state)
{
    struct fixture *fixture = *state;
    struct outcome outcome = {0};
    int fd = shell_start(fixture, "head -c 200000 /dev/zero | tr '\\0' x; echo end", true);
    outcome_finish(fd, &outcome);
    assert_int_equal(outcome.total, 200000 + strlen("end\r\n"));
}

static void many_at_once(void **state)
{
    enum { COUNT = 24 };
    struct fixture *fixture = *state;
    int fds[COUNT];
    for (int i = 0; i < COUNT; i++)
        fds[i] = shell_start(fixture, "read n; echo $n; exit $n", false);
    for (int i = COUNT - 1; i >= 0; i--) {
        struct outcome outcome = {0};
        char line[16];
        int length = snprintf(line, sizeof(line), "%d\n", i);
        send_frame(fds[i], AGENT_STDIN, line, (size_t)length);
        outcome_finish(fds[i], &outcome);
        assert_string_equal(outcome.text, line);
        assert_int_equal(outcome.code, i);
    }
}

/* In a guest it would set the clock: here it is checked, and answered. */
static void restored(void **state)
{
    struct fixture *fixture = *state;
    struct utsname before, after;
    struct error err = {0};
    uint8_t entropy[64] = {1, 2, 3};
    uname(&before);
    assert_int_equal(
        agent_restored(fixture->vsock, TIMEOUT_MS, "renamed", entropy, sizeof(entropy), NULL), 0);
    assert_int_equal(agent_restored(fixture->vsock, TIMEOUT_MS, NULL, NULL, 0, NULL), 0);
    assert_int_equal(agent_restored(fixture->vsock, TIMEOUT_MS, "no good", NULL, 0, &err), -EINVAL);
    assert_int_equal(agent_restored(fixture->vsock, TIMEOUT_MS, "", NULL, 0, NULL), -EINVAL);
    uname(&after);
    assert_string_equal(before.nodename, after.nodename);
    assert_int_equal(agent_sync(fixture->vsock, TIMEOUT_MS, NULL), 0);
}

static void poweroff(void **state)
{
    struct fixture *fixture = *state;
    int status = 0;
    assert_int_equal(agent_poweroff(fixture->vsock, TIMEOUT_MS, NULL), 0);
    assert_int_equal(waitpid(fixture->agent_pid, &status, 0), fixture->agent_pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fixture->agent_pid = 0;
}

/* Sends raw bytes as a host that knows no better, and reads the answer's type; 0: none. */
static int answer_to(struct fixture *fixture, const void *bytes, size_t length)
{
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    int fd = agent_connect(fixture->vsock, TIMEOUT_MS, NULL);
    assert_true(fd >= 0);
    struct iovec parts[2] = {{.iov_base = (void *)(uintptr_t)bytes, .iov_len = length}};
    assert_int_equal(stream_write(fd, parts, 0), 0);
    if (length < AGENT_FRAME_HEADER)
        shutdown(fd, SHUT_WR);
    int r = agent_frame_read_until(fd, buffer, &frame, time_after_ms(TIMEOUT_MS), NULL);
    close(fd);
    return r == 1 ? frame.type : 0;
}

static void malformed_requests(void **state)
{
    struct fixture *fixture = *state;
    assert_int_equal(answer_to(fixture, "\0\0\0\0\x63\0\0\0", 8), AGENT_FAILED); /* unknown */
    assert_int_equal(answer_to(fixture, "\xff\xff\xff\xff\1\0\0\0", 8), AGENT_FAILED);
    assert_int_equal(answer_to(fixture, "GET / HTTP/1.1\r\n", 16), AGENT_FAILED);
    assert_int_equal(answer_to(fixture, "\1\0\0\0\2\0\0\0x", 9), AGENT_EXIT); /* no fields */
    assert_int_equal(answer_to(fixture, "\0\0\0\0\2\0\0\0", 8), AGENT_EXIT);  /* no command */
    assert_int_equal(answer_to(fixture, "\1\0\0\0\3\0\0\0x", 9), AGENT_FAILED);
    assert_int_equal(answer_to(fixture, "\1\0", 2), 0); /* cut off */
    struct agent_result result = shell_run(fixture, "echo still here");
    assert_string_equal(result.out, "still here\n");
    result_free(&result);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        with_agent(hello),
        with_agent(streams_and_status),
        with_agent(input_ends_at_once),
        with_agent(environment),
        with_agent(working_directory),
        with_agent(not_started),
        with_agent(killed_by_a_signal),
        with_agent(signals_are_as_after_boot),
        with_agent(descriptors_do_not_leak),
        with_agent(stdin_until_eof),
        with_agent(large_input),
        with_agent(input_nobody_reads),
        with_agent(large_output),
        with_agent(output_over_the_limit),
        with_agent(slow_reader),
        with_agent(terminal),
        with_agent(terminal_input_and_resize),
        with_agent(terminal_interrupt),
        with_agent(terminal_output_is_whole),
        with_agent(many_at_once),
        with_agent(restored),
        with_agent(poweroff),
        with_agent(malformed_requests),
    };
    if (argc != 2)
        return 2;
    agent_program_set(argv[1]);
    return cmocka_run_group_tests_name("agent exec", tests, NULL, NULL);
}
