/* SPDX-License-Identifier: Apache-2.0 */
/* The main program of an instance, from the request to its end, with a guest that does as it is
 * told (tests/hypervisor/fake_agent.c). */
#include "fixture.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "image/program.h"

#define ENV "{\"GREETING\":\"hello\",\"EMPTY\":\"\"}"

static int create(struct fixture *fixture, const char *name, const struct program_request *program,
                  struct instance_record *record, struct error *err)
{
    struct instance_create_request request = fixture_request(fixture, name);
    request.program = *program;
    return instance_create(fixture->host, &request, record, err);
}

/* One that runs until it is told to end. */
static struct instance_record create_server(struct fixture *fixture, const char *name)
{
    const struct program_request program = {.entrypoint = "[\"serve\"]",
                                            .cmd = "[\"--port\",\"80\"]",
                                            .env = ENV,
                                            .working_dir = "/srv"};
    struct instance_record record;
    struct error err = {0};
    assert_ok(create(fixture, name, &program, &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_RUNNING);
    return record;
}

static void assert_said(struct fixture *fixture, const char *name, const char *command,
                        const char *wanted)
{
    _cleanup_(free) char *said = guest_run(fixture, name, command, NULL);
    assert_string_equal(said, wanted);
}

/* The guest may have ended before it has told that the command did. */
static void end_program(struct fixture *fixture, const char *name, const char *code)
{
    const char *const argv[] = {"end-program", code, NULL};
    struct error err = {0};
    _cleanup_(close) int fd =
        instance_exec(fixture->host, name, &(struct agent_exec){.argv = argv}, &err);
    assert_ok(fd < 0 ? fd : 0, &err);
}

static void assert_ended(struct fixture *fixture, const char *name, unsigned code,
                         const char *message)
{
    fixture_await(fixture, name, INSTANCE_STOPPED);
    struct instance_record record = fixture_get(fixture, name);
    assert_true(record.has_exit_code);
    assert_int_equal(record.exit_code, code);
    assert_string_equal(record.exit_message, message);
    assert_true(record.stopped_at_ns > 0);
}

static void test_it_is_started_as_asked(void **state)
{
    struct fixture *fixture = *state;
    create_server(fixture, "web");
    assert_said(fixture, "web", "program", "serve --port 80|GREETING=hello EMPTY=|/srv");
    struct instance_record record = fixture_get(fixture, "web");
    assert_string_equal(record.program.entrypoint, "[\"serve\"]");
    assert_string_equal(record.program.cmd, "[\"--port\",\"80\"]");
    assert_string_equal(record.program.env, ENV);
    assert_false(record.has_exit_code);
}

static void test_without_one_nothing_is_started(void **state)
{
    struct fixture *fixture = *state;
    fixture_create(fixture, "web");
    assert_said(fixture, "web", "program", "");
    assert_said(fixture, "web", "environment", "environment||");
}

static void test_exec_has_the_environment(void **state)
{
    struct fixture *fixture = *state;
    create_server(fixture, "web");
    assert_said(fixture, "web", "environment", "environment|GREETING=hello EMPTY=|/srv");
    static const char *const argv[] = {"environment", NULL}, *const env[] = {"GREETING=bye", NULL};
    const struct agent_exec exec = {.argv = argv, .env = env, .cwd = "/tmp"};
    struct error err = {0};
    _cleanup_(close) int fd = instance_exec(fixture->host, "web", &exec, &err);
    assert_ok(fd < 0 ? fd : 0, &err);
    static uint8_t buffer[AGENT_FRAME_LIMIT];
    struct agent_frame frame;
    assert_int_equal(agent_frame_read(fd, buffer, &frame, &err), 1);
    /* Of two with one name the later counts. */
    static const char wanted[] = "environment|GREETING=hello EMPTY= GREETING=bye|/tmp\n";
    assert_int_equal(frame.length, strlen(wanted));
    assert_memory_equal(frame.payload, wanted, frame.length);
}

static void test_its_end_stops_the_instance(void **state)
{
    struct fixture *fixture = *state;
    create_server(fixture, "web");
    end_program(fixture, "web", "3");
    assert_ended(fixture, "web", 3, "the program exited with status 3");
    struct error err = {0};
    assert_ok(instance_start(fixture->host, "web", NULL, &err), &err);
    struct instance_record record = fixture_get(fixture, "web");
    assert_false(record.has_exit_code);
    assert_string_equal(record.exit_message, "");
    assert_said(fixture, "web", "program", "serve --port 80|GREETING=hello EMPTY=|/srv");
}

static void test_one_that_ends_at_once(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record;
    const struct program_request program = {.cmd = "[\"exit\",\"0\"]"};
    assert_ok(create(fixture, "job", &program, &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_RUNNING);
    assert_ended(fixture, "job", 0, "the program exited with status 0");
}

static void test_one_that_is_not_there(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record;
    const struct program_request program = {.cmd = "[\"no-such\"]"};
    assert_ok(create(fixture, "job", &program, &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_STOPPED);
    assert_int_equal(record.vmm_pid, 0);
    assert_ended(fixture, "job", 127, "the program could not be started: no-such: not found");
    const struct instance_fork_request fork = {
        .name = "fork", .has_target = true, .target = INSTANCE_STANDBY};
    assert_fails(instance_fork(fixture->host, "job", &fork, NULL, &err), &err, ERROR_STATE,
                 "fork can't go to standby: the program could not be started");
}

static void test_a_guest_that_does_not_power_off(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = create_server(fixture, "web");
    guest_orders(fixture, record.id, "stays\n");
    end_program(fixture, "web", "9");
    assert_ended(fixture, "web", 9, "the program exited with status 9");
}

static void test_a_stop_is_not_an_end(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record;
    create_server(fixture, "web");
    assert_ok(instance_stop(fixture->host, "web", 0, &record, &err), &err);
    assert_false(record.has_exit_code);
    assert_string_equal(record.exit_message, "");
}

static void test_it_survives_sleep(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    create_server(fixture, "web");
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    fixture_fork(fixture, "web", "fork", INSTANCE_RUNNING);
    fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "warm");
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    assert_said(fixture, "web", "program", "serve --port 80|GREETING=hello EMPTY=|/srv");
    end_program(fixture, "web", "4");
    assert_ended(fixture, "web", 4, "the program exited with status 4");
    /* The fork's goes on, and ends for itself. */
    assert_said(fixture, "fork", "program", "serve --port 80|GREETING=hello EMPTY=|/srv");
    assert_said(fixture, "fork", "environment", "environment|GREETING=hello EMPTY=|/srv");
    end_program(fixture, "fork", "5");
    assert_ended(fixture, "fork", 5, "the program exited with status 5");
}

static void test_a_snapshot_keeps_it(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record;
    create_server(fixture, "web");
    struct snapshot_record snapshot = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "warm");
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    const struct snapshot_target target = {.has_state = false};
    assert_ok(snapshot_fork(fixture->host, snapshot.id, "fork", &target, &record, &err), &err);
    assert_string_equal(record.program.env, ENV);
    assert_string_equal(record.program.working_dir, "/srv");
    assert_ok(instance_stop(fixture->host, "fork", 0, NULL, &err), &err);
    assert_ok(instance_start(fixture->host, "fork", NULL, &err), &err);
    assert_said(fixture, "fork", "program", "serve --port 80|GREETING=hello EMPTY=|/srv");
}

/* tined is not there when the program ends: its status waits in the guest. */
static void test_an_end_while_tined_is_away(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = create_server(fixture, "web");
    struct path socket = guest_path(fixture, record.id, "run/vsock.sock");
    fixture_close(fixture);
    struct agent_result result;
    static const char *const argv[] = {"end-program", "6", NULL};
    assert_ok(
        agent_exec_run(socket.text, 20000, &(struct agent_exec){.argv = argv}, 64, &result, &err),
        &err);
    free(result.out);
    free(result.err_out);
    fixture_open(fixture);
    assert_ended(fixture, "web", 6, "the program exited with status 6");
}

/* As a tined leaves it that dies between the agent's report and the program's start. */
static void test_a_tined_that_died_before_the_start(void **state)
{
    struct fixture *fixture = *state;
    char path[128];
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    fixture_close(fixture);
    snprintf(path, sizeof(path), "%s/tine.db", fixture->data);
    struct store *store = store_open(path, &err);
    assert_non_null(store);
    record.state = INSTANCE_INITIALIZING;
    snprintf(record.program.cmd, sizeof(record.program.cmd), "[\"serve\"]");
    assert_ok(store_update(store, &record, &err), &err);
    store_close(store);
    fixture_open(fixture);
    fixture_await(fixture, "web", INSTANCE_RUNNING);
    assert_said(fixture, "web", "program", "serve||");
    end_program(fixture, "web", "7");
    assert_ended(fixture, "web", 7, "the program exited with status 7");
}

/* The VMM is gone with what nobody had asked for yet. */
static void test_a_vmm_that_dies_tells_no_code(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = create_server(fixture, "web");
    assert_int_equal(kill(record.vmm_pid, SIGKILL), 0);
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    record = fixture_get(fixture, "web");
    assert_false(record.has_exit_code);
    assert_non_null(strstr(record.exit_message, "SIGKILL"));
}

static void test_start_replaces_the_program(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct program_request other = {.cmd = "[\"--port\",\"81\"]"};
    const struct program_request bad = {.cmd = "[\"\"]"};
    create_server(fixture, "web");
    assert_fails(instance_start_with(fixture->host, "web", &other, NULL, &err), &err, ERROR_STATE,
                 "cannot start web with another program: its state is Running");
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    assert_fails(instance_start_with(fixture->host, "web", &bad, NULL, &err), &err, ERROR_INVALID,
                 "cmd: its first string is empty");
    assert_ok(instance_start_with(fixture->host, "web", &other, NULL, &err), &err);
    assert_said(fixture, "web", "program", "serve --port 81|GREETING=hello EMPTY=|/srv");
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    assert_ok(instance_start(fixture->host, "web", NULL, &err), &err);
    assert_said(fixture, "web", "program", "serve --port 81|GREETING=hello EMPTY=|/srv");
}

static void test_a_failed_start_replaces_nothing(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct program_request other = {.entrypoint = "[\"other\"]"};
    struct instance_record record = create_server(fixture, "web");
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    guest_orders(fixture, record.id, "refuse /actions no start today\n");
    assert_true(instance_start_with(fixture->host, "web", &other, NULL, &err) < 0);
    guest_orders(fixture, record.id, NULL);
    record = fixture_get(fixture, "web");
    assert_int_equal(record.state, INSTANCE_STOPPED);
    assert_string_equal(record.program.entrypoint, "[\"serve\"]");
}

static void test_bad_requests(void **state)
{
    static const struct {
        struct program_request program;
        const char *words;
    } bad[] = {
        {{.entrypoint = "{}"}, "entrypoint: must be an array of strings"},
        {{.entrypoint = "[1]"}, "entrypoint: must be an array of strings"},
        {{.cmd = "[\"\",\"x\"]"}, "cmd: its first string is empty"},
        {{.cmd = "nonsense"}, "cmd: must be an array of strings"},
        {{.env = "[]"}, "env: must be an object of strings"},
        {{.env = "{\"\":\"x\"}"}, "env: \"\" is not a variable's name"},
        {{.env = "{\"A=B\":\"x\"}"}, "env: \"A=B\" is not a variable's name"},
        {{.env = "{\"A\":1}"}, "env.A: must be a string"},
        {{.working_dir = "srv"}, "working_dir: \"srv\" is not an absolute path"},
    };
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct error err = {0};
        assert_fails(create(fixture, "web", &bad[i].program, NULL, &err), &err, ERROR_INVALID,
                     bad[i].words);
    }
    struct instance_create_request request = fixture_request(fixture, "web");
    struct error err = {0};
    request.skip_guest_agent = true;
    request.program.cmd = "[\"serve\"]";
    assert_fails(instance_create(fixture->host, &request, NULL, &err), &err, ERROR_INVALID,
                 "cmd: the guest's agent starts it");
}

/* As many as are allowed, as long as is allowed, and one more. */
static void test_limits(void **state)
{
    struct program program = {.cmd = ""};
    struct error err = {0};
    static char text[sizeof(program.cmd) + 64];
    size_t used = 0;
    for (int i = 0; i < 257; i++)
        used += (size_t)sprintf(text + used, "%s\"x\"", i == 0 ? "[" : ",");
    sprintf(text + used, "]");
    assert_fails(program_set(&program, &(struct program_request){.cmd = text}, &err), &err,
                 ERROR_INVALID, "cmd: 257 strings, at most 256");
    used = 0;
    for (int i = 0; i < 257; i++)
        used += (size_t)sprintf(text + used, "%s\"v%d\":\"\"", i == 0 ? "{" : ",", i);
    sprintf(text + used, "}");
    assert_fails(program_set(&program, &(struct program_request){.env = text}, &err), &err,
                 ERROR_INVALID, "env: 257 variables, at most 256");
    memset(text, 'x', sizeof(text));
    memcpy(text, "[\"", 2);
    memcpy(text + sizeof(program.cmd) - 3, "\"]", 3);
    assert_ok(program_set(&program, &(struct program_request){.cmd = text}, &err), &err);
    memcpy(text + sizeof(program.cmd) - 3, "xx\"]", 5);
    assert_fails(program_set(&program, &(struct program_request){.cmd = text}, &err), &err,
                 ERROR_INVALID, "cmd: more than 8191 bytes in all");
    memset(text, 'x', sizeof(text));
    text[0] = '/';
    text[sizeof(program.working_dir)] = '\0';
    assert_fails(program_set(&program, &(struct program_request){.working_dir = text}, &err), &err,
                 ERROR_INVALID, "working_dir: more than 1023 bytes in all");
}

static void test_defaults_of_an_image(void **state)
{
    const struct program image = {.entrypoint = "[\"/bin/server\"]",
                                  .cmd = "[\"--help\"]",
                                  .env = "{\"PATH\":\"/bin\",\"A\":\"image\"}",
                                  .working_dir = "/app"};
    static const struct {
        struct program request, wanted;
    } cases[] = {
        {{.cmd = ""},
         {"[\"/bin/server\"]", "[\"--help\"]", "{\"PATH\":\"/bin\",\"A\":\"image\"}", "/app"}},
        {{.cmd = "[\"-v\"]"},
         {"[\"/bin/server\"]", "[\"-v\"]", "{\"PATH\":\"/bin\",\"A\":\"image\"}", "/app"}},
        /* Another entrypoint has no use for the image's arguments. */
        {{.entrypoint = "[\"sh\"]"},
         {"[\"sh\"]", "", "{\"PATH\":\"/bin\",\"A\":\"image\"}", "/app"}},
        {{.env = "{\"A\":\"mine\",\"B\":\"\"}", .working_dir = "/"},
         {"[\"/bin/server\"]", "[\"--help\"]", "{\"PATH\":\"/bin\",\"A\":\"mine\",\"B\":\"\"}",
          "/"}},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct program program = cases[i].request;
        struct error err = {0};
        assert_ok(program_defaults(&program, &image, &err), &err);
        assert_string_equal(program.entrypoint, cases[i].wanted.entrypoint);
        assert_string_equal(program.cmd, cases[i].wanted.cmd);
        assert_string_equal(program.env, cases[i].wanted.env);
        assert_string_equal(program.working_dir, cases[i].wanted.working_dir);
    }
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_it_is_started_as_asked),
    FIXTURE_TEST(test_without_one_nothing_is_started),
    FIXTURE_TEST(test_exec_has_the_environment),
    FIXTURE_TEST(test_its_end_stops_the_instance),
    FIXTURE_TEST(test_one_that_ends_at_once),
    FIXTURE_TEST(test_one_that_is_not_there),
    FIXTURE_TEST(test_a_guest_that_does_not_power_off),
    FIXTURE_TEST(test_a_stop_is_not_an_end),
    FIXTURE_TEST(test_it_survives_sleep),
    FIXTURE_TEST(test_a_snapshot_keeps_it),
    FIXTURE_TEST(test_an_end_while_tined_is_away),
    FIXTURE_TEST(test_a_tined_that_died_before_the_start),
    FIXTURE_TEST(test_a_vmm_that_dies_tells_no_code),
    FIXTURE_TEST(test_start_replaces_the_program),
    FIXTURE_TEST(test_a_failed_start_replaces_nothing),
    FIXTURE_TEST(test_bad_requests),
    cmocka_unit_test(test_limits),
    cmocka_unit_test(test_defaults_of_an_image),
};

FIXTURE_MAIN(tests)
