/* SPDX-License-Identifier: Apache-2.0 */
/* The main program: client, fake VMM, a real agent. The agent is the first argument. */
#include "fixture.h"

#include <endian.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/client.h"
#include "agent/watch.h"
#include "base/cleanup.h"
#include "base/clock.h"

static struct agent_exit start_with(struct fixture *fixture, const struct agent_exec *exec)
{
    struct agent_exit outcome;
    struct error err = {0};
    if (agent_program_start(fixture->vsock, TIMEOUT_MS, exec, &outcome, &err) < 0)
        fail_msg("%s", err.message);
    return outcome;
}

static struct agent_exit start_shell(struct fixture *fixture, const char *script)
{
    const char *const argv[] = {"sh", "-c", script, NULL};
    return start_with(fixture, &(struct agent_exec){.argv = argv, .cwd = fixture->directory});
}

/* Follows to the outcome or the end of the connection. */
static int follow(struct agent_watch *watch, struct agent_exit *outcome, struct error *err)
{
    int r;
    while ((r = agent_watch_take(watch, outcome, err)) == 0) {
        struct pollfd input = {.fd = watch->fd, .events = POLLIN};
        assert_int_equal(poll(&input, 1, TIMEOUT_MS), 1);
    }
    return r;
}

static struct agent_exit watch_end(struct fixture *fixture, struct agent_watch *watch)
{
    struct agent_exit outcome;
    struct error err = {0};
    int r = agent_watch_open(watch, fixture->vsock, &err);
    if (r == 0)
        r = follow(watch, &outcome, &err);
    if (r < 0)
        fail_msg("%s", err.message);
    return outcome;
}

static int watch_fails(struct fixture *fixture, struct error *err)
{
    struct agent_watch watch;
    struct agent_exit outcome;
    int r = agent_watch_open(&watch, fixture->vsock, err);
    if (r == 0)
        r = follow(&watch, &outcome, err);
    agent_watch_close(&watch);
    return r;
}

static void await_file(const struct fixture *fixture, const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
    while (access(path, F_OK) < 0)
        time_sleep_ms(5);
}

static void read_file(const struct fixture *fixture, const char *name, char *text, size_t size)
{
    char path[128];
    snprintf(path, sizeof(path), "%s/%s", fixture->directory, name);
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    assert_non_null(file);
    text[fread(text, 1, size - 1, file)] = '\0';
}

/* What it is given, and where its output goes: to the agent's own standard error. */
static void gets_what_was_asked_for(void **state)
{
    struct fixture *fixture = *state;
    const char *const argv[] = {"sh",
                                "-c",
                                "(pwd; echo $GREETING $1; readlink /proc/$$/fd/0; readlink "
                                "/proc/$$/fd/1; readlink /proc/$$/fd/2) > said.new; mv said.new "
                                "said; exit 3",
                                "sh",
                                "an argument",
                                NULL};
    const char *const env[] = {"GREETING=hello", NULL};
    const struct agent_exec exec = {.argv = argv, .env = env, .cwd = fixture->directory};
    assert_int_equal(start_with(fixture, &exec).code, -1);
    await_file(fixture, "said");
    char said[1024], wanted[1024], console[256] = "", path[64];
    snprintf(path, sizeof(path), "/proc/%d/fd/2", fixture->agent_pid);
    assert_true(readlink(path, console, sizeof(console) - 1) > 0);
    snprintf(wanted, sizeof(wanted), "%s\nhello an argument\n/dev/null\n%s\n%s\n",
             fixture->directory, console, console);
    read_file(fixture, "said", said, sizeof(said));
    assert_string_equal(said, wanted);
}

/* The status waits for whoever asks, and goes on waiting until one says that it is recorded: then
 * the guest powers off, which fixture_close() sees. */
static void status_is_kept_until_taken(void **state)
{
    struct fixture *fixture = *state;
    struct agent_watch watch;
    assert_int_equal(start_shell(fixture, "exit 3").code, -1);
    for (int i = 0; i < 2; i++) {
        struct agent_exit outcome = watch_end(fixture, &watch);
        assert_int_equal(outcome.code, 3);
        assert_int_equal(outcome.signal, 0);
        assert_string_equal(outcome.message, "");
        agent_watch_close(&watch);
    }
    struct agent_info info;
    assert_int_equal(agent_hello(fixture->vsock, TIMEOUT_MS, &info, NULL), 0);
    watch_end(fixture, &watch);
    assert_int_equal(agent_watch_taken(&watch, NULL), 0);
    agent_watch_close(&watch);
    while (agent_hello(fixture->vsock, 100, &info, NULL) == 0)
        time_sleep_ms(5);
}

static void a_signal_is_told(void **state)
{
    struct fixture *fixture = *state;
    struct agent_watch watch;
    start_shell(fixture, "kill -KILL $$");
    struct agent_exit outcome = watch_end(fixture, &watch);
    assert_int_equal(outcome.code, 128 + SIGKILL);
    assert_int_equal(outcome.signal, SIGKILL);
    agent_watch_close(&watch);
}

static void assert_not_started(const struct agent_exit *outcome, const char *words)
{
    assert_int_equal(outcome->code, 127);
    assert_non_null(strstr(outcome->message, words));
}

static void one_that_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    const char *const argv[] = {"no-such-program", NULL};
    struct agent_watch watch;
    struct agent_exit outcome = start_with(fixture, &(struct agent_exec){.argv = argv});
    assert_not_started(&outcome, "no-such-program: No such file or directory (ENOENT)");
    outcome = watch_end(fixture, &watch);
    assert_not_started(&outcome, "no-such-program: No such file or directory (ENOENT)");
    agent_watch_close(&watch);
}

static void one_without_its_directory(void **state)
{
    const char *const argv[] = {"true", NULL};
    struct agent_exit outcome =
        start_with(*state, &(struct agent_exec){.argv = argv, .cwd = "/no/such/directory"});
    assert_not_started(&outcome, "/no/such/directory");
}

/* Only the first request of a boot starts something; later ones ask about that. */
static void there_is_one_program(void **state)
{
    struct fixture *fixture = *state;
    struct agent_watch watch;
    assert_int_equal(start_shell(fixture, "while [ ! -e go ]; do sleep 0.01; done; exit 5").code,
                     -1);
    assert_int_equal(start_shell(fixture, "touch second").code, -1);
    char path[128];
    snprintf(path, sizeof(path), "%s/go", fixture->directory);
    fclose(fopen(path, "we"));
    watch_end(fixture, &watch);
    agent_watch_close(&watch);
    assert_int_equal(start_shell(fixture, "touch second").code, 5);
    snprintf(path, sizeof(path), "%s/second", fixture->directory);
    assert_int_equal(access(path, F_OK), -1);
}

static void without_a_program(void **state)
{
    struct fixture *fixture = *state;
    struct agent_info info;
    struct error err = {0};
    assert_int_equal(agent_hello(fixture->vsock, TIMEOUT_MS, &info, NULL), 0);
    assert_int_equal(watch_fails(fixture, &err), -ENOENT);
    assert_non_null(strstr(err.message, "no program was started"));
}

static void nonsense_starts_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct agent_exit outcome;
    const char *const none[] = {NULL}, *const empty[] = {"", NULL};
    assert_int_equal(agent_program_start(fixture->vsock, TIMEOUT_MS,
                                         &(struct agent_exec){.argv = none}, &outcome, &err),
                     -EINVAL);
    assert_int_equal(agent_program_start(fixture->vsock, TIMEOUT_MS,
                                         &(struct agent_exec){.argv = empty}, &outcome, &err),
                     -EINVAL);
    assert_non_null(strstr(err.message, "no command given"));
    assert_int_equal(start_shell(fixture, "exit 0").code, -1);
}

/* --- a hostile guest ------------------------------------------------------------------------- */

static int watch_script(const struct behaviour *behaviour, struct error *err)
{
    struct fixture fixture;
    fixture_open(&fixture);
    vmm_start(&fixture, behaviour);
    int r;
    while ((r = watch_fails(&fixture, err)) == -ENOENT || r == -ECONNREFUSED)
        time_sleep_ms(5); /* the fake VMM does not listen yet */
    fixture_close(&fixture);
    return r;
}

static void a_guest_that_lies(void **state)
{
    uint8_t frames[4][AGENT_FRAME_HEADER + 64], data[64];
    struct agent_fields none = {.data = data, .capacity = sizeof(data)};
    agent_field_put_u32(&none, AGENT_TAG_EXIT_CODE, 256);
    size_t large = frame_build(frames[0], AGENT_EXIT, data, none.length);
    size_t bare = frame_build(frames[1], AGENT_EXIT, NULL, 0);
    size_t other = frame_build(frames[2], AGENT_STDOUT, "x", 1);
    agent_header_encode(frames[3], AGENT_EXIT, AGENT_WATCH_LIMIT + 1);
    const struct {
        const void *bytes;
        size_t length;
        const char *line;
        int wanted;
    } lies[] = {
        {frames[0], large, NULL, -EPROTO},
        {frames[1], bare, NULL, -EPROTO},
        {frames[2], other, NULL, -EPROTO},
        {frames[3], AGENT_FRAME_HEADER, NULL, -EPROTO},
        {"\xff\xff\xff\xff\xff\xff\xff\xff", 8, NULL, -EPROTO},
        {frames[0], 5, NULL, -ECONNRESET},
        {"", 0, NULL, -ECONNRESET},
        {"", 0, "OK\n", -EPROTO},
        {"", 0, "OK 1111111111111111111111111111111111111111", -EPROTO},
    };
    for (size_t i = 0; i < sizeof(lies) / sizeof(lies[0]); i++) {
        struct error err = {0};
        const struct behaviour behaviour = {.treatment = SCRIPT,
                                            .bytes = lies[i].bytes,
                                            .length = lies[i].length,
                                            .line = lies[i].line};
        assert_int_equal(watch_script(&behaviour, &err), lies[i].wanted);
        assert_int_equal(strncmp(err.message, "watch the program", 17), 0);
    }
}

int main(int argc, char **argv)
{
    static const struct CMUnitTest tests[] = {
        with_agent(gets_what_was_asked_for),   with_agent(status_is_kept_until_taken),
        with_agent(a_signal_is_told),          with_agent(one_that_is_not_there),
        with_agent(one_without_its_directory), with_agent(there_is_one_program),
        with_agent(without_a_program),         with_agent(nonsense_starts_nothing),
        cmocka_unit_test(a_guest_that_lies),
    };
    if (argc < 2)
        return 2;
    agent_program_set(argv[1]);
    return cmocka_run_group_tests_name("agent program", tests, NULL, NULL);
}
