/* SPDX-License-Identifier: Apache-2.0 */
/* Every command against a tined with a double behind it: what it prints, for people and programs,
 * and its exit status. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon_fixture.h"
#include "http_client.h"
#include "program.h"

static size_t size_of(const json_t *object, const char *name)
{
    return json_array_size(json_object_get(object, name));
}

static void assert_field(const json_t *object, const char *name, const char *wanted)
{
    char *text = json_dumps(json_object_get(object, name), JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(text ? text : "absent", wanted);
    free(text);
}

static void test_program(void **state)
{
    struct daemon *daemon = *state;
    setenv("FROM_HERE", "yes", 1);
    json_t *json = run_json(daemon,
                            "run --json --name job -e A=b=c -e FROM_HERE -e NOT_HERE -w /srv "
                            "--entrypoint nice --entrypoint -n5 -- sh --name -c x",
                            0);
    assert_field(json, "entrypoint", "[\"nice\",\"-n5\"]");
    assert_field(json, "cmd", "[\"sh\",\"--name\",\"-c\",\"x\"]");
    assert_field(json, "env", "{\"A\":\"b=c\",\"FROM_HERE\":\"yes\"}");
    assert_field(json, "working_dir", "\"/srv\"");
    json_decref(json);
    expect_run(daemon, "inspect job", 0, "env.A                    b=c\n", NULL);
    expect_run(daemon, "inspect job", 0, "cmd                      [\"sh\",\"--name\"", NULL);
    expect_run(daemon, "start job -- x", 1, NULL,
               "start job: cannot start job with another program");
    expect_run(daemon, "stop job", 0, "", NULL);
    expect_run(daemon, "start job -- other --socket nowhere", 0, "job  ", NULL);
    json = run_json(daemon, "inspect --json job", 0);
    assert_field(json, "entrypoint", "[\"nice\",\"-n5\"]");
    assert_field(json, "cmd", "[\"other\",\"--socket\",\"nowhere\"]");
    json_decref(json);
    expect_run(daemon, "stop job", 0, "", NULL);
    expect_run(daemon, "start --entrypoint exit job", 1, NULL,
               "tine: start job: the program exited with status 3\n");
    expect_run(daemon, "run --name gone -- no-such", 1, NULL,
               "tine: run gone: the program could not be started: exec no-such");
    expect_run(daemon, "inspect gone", 0, "exit_code                127\n", NULL);
    expect_run(daemon, "run --name none --", 0, "none", NULL);
    expect_run(daemon, "run -e =x", 1, NULL, "env: \"\" is not a variable's name");
    expect_run(daemon, "run -- \xff", 1, NULL, "cmd: word 1 is not UTF-8");
    expect_run(daemon, "rm -f -- job", 0, "", NULL); /* elsewhere it only ends the options */
}

static void test_run(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web --memory 256MB --vcpus 4", 0, "web  k00001abcdef  Running ",
               NULL);
    expect_run(daemon, "run", 0, "vm-2  k00002abcdef  Running ", NULL);
    expect_run(daemon, "run --name web", 1, NULL, "tine: run web: name \"web\" is taken\n");
    expect_run(daemon, "run nginx", 1, NULL,
               "tine: run: image nginx is not here; images can't be pulled yet\n");
    expect_run(daemon, "run --name Web", 1, NULL, "tine: run Web: \"Web\" is not a name");
    expect_run(daemon, "run --vcpus 33", 1, NULL, "vcpus: 33 is not within 0 to 32");
    expect_run(daemon, "run --kernel /none", 1, NULL,
               "tine: run: kernel /none: No such file or directory\n");
    expect_run(daemon, "run --disk /none:ro", 1, NULL, "disk /none: No such file");
    json_t *json = run_json(daemon,
                            "run --json --name full -m 512MB --kernel /bin/../bin/sh --initrd "
                            "/etc/passwd --cmdline quiet --disk /etc/hosts:ro:root --disk "
                            "/etc/hostname",
                            0);
    const char *image, *size;
    json_t *disks;
    int root;
    assert_int_equal(json_unpack(json, "{s:s, s:s, s:{s:o}}", "image", &image, "size", &size,
                                 "tine", "disks", &disks),
                     0);
    assert_int_equal(image[0], '/');
    assert_null(strstr(image, ".."));
    assert_string_equal(size, "512.0 MB");
    assert_int_equal(json_array_size(disks), 2);
    assert_int_equal(json_unpack(json_array_get(disks, 0), "{s:b}", "root", &root), 0);
    assert_true(root);
    assert_true(json_is_number(json_object_get(json, "elapsed_ms")));
    json_decref(json);
    expect_run(daemon, "inspect full", 0, "\"layers\":[{\"number\":3,\"link_count\":26,", NULL);
    json = run_json(daemon, "run --json --name web", 1);
    assert_string_equal(text_of(json, "code"), "name_conflict");
    json_decref(json);
}

static void test_ps(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "ps", 0, "NAME  ID  STATE  VCPUS  MEMORY  AGE  PARENT  IMAGE\n", NULL);
    expect_run(daemon, "run --name web --memory 2GB", 0, "", NULL);
    expect_run(daemon, "run --name database", 0, "", NULL);
    expect_run(daemon, "standby database", 0, "database  k00002abcdef  Standby ", NULL);
    expect_run(daemon, "fork database --name copy", 0, "copy  k00003abcdef  Standby ", NULL);
    struct outcome outcome = program_run(daemon, "ps -a", NULL);
    char *lines[8], *rest = outcome.out;
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++) {
        char *line = strsep(&rest, "\n");
        lines[i] = line ? line : (char *)"";
    }
    const char *state_column = strstr(lines[0], "STATE");
    assert_non_null(state_column);
    size_t at = (size_t)(state_column - lines[0]);
    assert_int_equal(strncmp(lines[1] + at, "Running", 7), 0);
    assert_int_equal(strncmp(lines[2] + at, "Standby", 7), 0);
    assert_non_null(strstr(lines[1], "  2.0 GB  "));
    assert_non_null(strstr(lines[3], "  database  tine/guest:latest"));
    assert_string_equal(lines[4], "");
    outcome_release(&outcome);
    outcome = program_run(daemon, "ps", NULL);
    assert_null(strstr(outcome.out, "database"));
    assert_string_equal(outcome.err, ""); /* the hint is for terminals */
    outcome_release(&outcome);
    json_t *json = run_json(daemon, "ps --json", 0);
    assert_int_equal(json_array_size(json), 1);
    json_decref(json);
    json = run_json(daemon, "ps --json --all", 0);
    assert_int_equal(json_array_size(json), 3);
    json_decref(json);
}

/* On a narrow terminal long columns give way, and no line is wider than it. */
static void test_ps_terminal(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name a-very-long-name-that-needs-a-lot-of-room-on-the-screen", 0, "",
               NULL);
    expect_run(daemon, "run --name asleep", 0, "", NULL);
    expect_run(daemon, "stop asleep", 0, "", NULL);
    struct program program;
    program_start_terminal(&program, daemon, "ps", 24, 80);
    struct outcome outcome = program_finish(&program);
    assert_non_null(strstr(outcome.out, "a-very"));
    assert_non_null(strstr(outcome.out, "..."));
    assert_non_null(strstr(outcome.out, "1 more in Standby or Stopped: tine ps -a"));
    for (char *line = strtok(outcome.out, "\r\n"); line; line = strtok(NULL, "\r\n"))
        assert_true(strlen(line) <= 80);
    outcome_release(&outcome);
}

static void test_inspect(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "inspect web", 0, "\ntine.memory.link_count   26\n", NULL);
    expect_run(daemon, "inspect k00001", 0, "\nname                     web\n", NULL);
    expect_run(daemon, "inspect nope", 1, NULL, "tine: inspect nope: no instance \"nope\"\n");
    expect_run(daemon, "inspect a/b%20", 1, NULL, "no instance \"a/b%20\"");
    json_t *json = run_json(daemon, "--json inspect web", 0);
    assert_string_equal(text_of(json, "name"), "web");
    json_decref(json);
    json = run_json(daemon, "--json inspect nope", 1);
    assert_string_equal(text_of(json, "code"), "not_found");
    json_decref(json);
    expect_run(daemon, "run --name web-2", 0, "", NULL);
    expect_run(daemon, "inspect k", 1, NULL, "tine: inspect k: several ids begin with \"k\"\n");
}

static void test_life(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name a", 0, "", NULL);
    expect_run(daemon, "run --name bb", 0, "", NULL);
    struct outcome outcome = program_run(daemon, "standby a bb", NULL);
    assert_int_equal(outcome.status, 0);
    assert_non_null(strstr(outcome.out, "a   k00001abcdef  Standby "));
    assert_non_null(strstr(outcome.out, "bb  k00002abcdef  Standby "));
    outcome_release(&outcome);
    expect_run(daemon, "stop a", 1, NULL,
               "tine: stop a: a is Standby, which does not allow this\n");
    expect_run(daemon, "restore a bb", 0, "Running", NULL);
    expect_run(daemon, "stop --force a", 0, "Stopped", NULL);
    expect_run(daemon, "stop --grace 2s bb", 0, "Stopped", NULL);
    expect_run(daemon, "start a", 0, "Running", NULL);
    /* Some fail, the others are done. */
    expect_run(daemon, "standby nope a", 1, "a  ", "tine: standby nope: no instance \"nope\"\n");
    json_t *json = run_json(daemon, "restore --json a nope", 1);
    assert_int_equal(size_of(json, "instances"), 1);
    assert_int_equal(size_of(json, "failed"), 1);
    const json_t *failed = json_array_get(json_object_get(json, "failed"), 0);
    assert_string_equal(text_of(failed, "name"), "nope");
    assert_string_equal(text_of(failed, "code"), "not_found");
    json_decref(json);
}

static void test_rm(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name a", 0, "", NULL);
    expect_run(daemon, "run --name b", 0, "", NULL);
    expect_run(daemon, "stop a", 0, "", NULL);
    expect_run(daemon, "rm a b", 1, NULL,
               "tine: rm b: it is Running: stop it first, or use rm -f; nothing was removed\n");
    expect_run(daemon, "inspect a", 0, "", NULL);
    expect_run(daemon, "rm a", 0, "a\n", NULL);
    expect_run(daemon, "rm a", 1, NULL, "no instance \"a\"");
    expect_run(daemon, "rm -f nope b", 1, "b\n", "tine: rm nope: no instance \"nope\"\n");
    expect_run(daemon, "run --name c", 0, "", NULL);
    json_t *json = run_json(daemon, "rm --json -f c", 0);
    assert_int_equal(size_of(json, "removed"), 1);
    json_decref(json);
}

static void test_fork(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "fork web", 1, NULL,
               "tine: fork web: web is Running: from_running is needed\n");
    expect_run(daemon, "fork web --from-running --name one", 0, "one  k00002abcdef  Running ",
               NULL);
    expect_run(daemon, "fork web --from-running --name one", 1, NULL,
               "tine: fork web: name \"one\" is taken\n");
    expect_run(daemon, "fork nope", 1, NULL, "tine: fork nope: no instance \"nope\"\n");
    expect_run(daemon, "fork nope --name x", 1, NULL, "tine: fork nope: no instance \"nope\"\n");
    expect_run(daemon, "standby web", 0, "", NULL);
    /* Free numbers, whatever is taken. */
    expect_run(daemon, "fork web --name web-2", 0, "web-2  ", NULL);
    struct outcome outcome = program_run(daemon, "fork web -n 3 --target-state running", NULL);
    assert_int_equal(outcome.status, 0);
    static const char *const lines[] = {"web-1  ", "web-3  ", "web-4  ", "  Running "};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        assert_non_null(strstr(outcome.out, lines[i]));
    assert_non_null(strstr(outcome.err, "3 of 3 forks of web ready in "));
    outcome_release(&outcome);
    /* A prefix means exactly these names: some are taken. */
    outcome = program_run(daemon, "fork web --name-prefix web --count 6", NULL);
    assert_int_equal(outcome.status, 1);
    assert_non_null(strstr(outcome.out, "web-5  "));
    assert_non_null(strstr(outcome.out, "web-6  "));
    assert_non_null(strstr(outcome.err, "tine: fork web: web-1: name \"web-1\" is taken\n"));
    assert_non_null(strstr(outcome.err, "2 of 6 forks of web ready in "));
    outcome_release(&outcome);
}

/* None of them is answered before all are under way. */
static void test_fork_concurrent(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "standby web", 0, "", NULL);
    json_t *json = run_json(
        daemon, "fork web --count 25 --name-prefix meet-25 --json --target-state Running", 0);
    assert_int_equal(size_of(json, "instances"), 25);
    assert_int_equal(size_of(json, "failed"), 0);
    assert_int_equal(json_integer_value(json_object_get(json, "requested")), 25);
    const json_t *first = json_array_get(json_object_get(json, "instances"), 0);
    assert_string_equal(text_of(first, "name"), "meet-25-1");
    assert_string_equal(text_of(first, "state"), "Running");
    assert_true(json_number_value(json_object_get(first, "elapsed_ms")) > 0);
    json_decref(json);
    json = run_json(daemon, "fork web --count 2 --name-prefix fail-resources --json", 1);
    assert_int_equal(size_of(json, "failed"), 2);
    assert_string_equal(text_of(json_array_get(json_object_get(json, "failed"), 0), "code"),
                        "insufficient_resources");
    json_decref(json);
}

/* Longer than a second: a terminal sees that something goes on, and the line is gone at the end. */
static void test_progress(void **state)
{
    struct daemon *daemon = *state;
    char text[4096];
    struct program program;
    program_start_terminal(&program, daemon, "run --name nap-1", 24, 80);
    await_output(program.terminal, "booting (1 s)", text, sizeof(text));
    await_output(program.terminal, "nap-1  k00001abcdef  Running", text, sizeof(text));
    assert_non_null(strstr(text, "\r\033[Knap-1"));
    struct outcome outcome = program_finish(&program);
    assert_int_equal(outcome.status, 0);
    outcome_release(&outcome);
    /* And nobody else does. */
    outcome = program_run(daemon, "run --name nap-2", NULL);
    assert_string_equal(outcome.err, "");
    outcome_release(&outcome);
}

static void test_logs(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web", 0, "", NULL);
    struct outcome outcome = program_run(daemon, "logs -n 2 web", NULL);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.out, "line 4 of web\nline 5 of web\n");
    outcome_release(&outcome);
    outcome = program_run(daemon, "logs --json --tail 1 web", NULL);
    assert_string_equal(outcome.out, "{\"line\":\"line 5 of web\"}\n");
    outcome_release(&outcome);
    expect_run(daemon, "logs nope", 1, NULL, "tine: logs nope: no instance \"nope\"\n");
    expect_run(daemon, "logs --vmm web", 1, NULL, "tine: logs web: no log yet\n");
    expect_run(daemon, "logs --operations web", 1, NULL, "tine: logs web: no log yet\n");
    struct program program;
    char text[4096], path[256];
    snprintf(path, sizeof(path), "%s/web.operations.log", daemon->data);
    FILE *operations = fopen(path, "we");
    assert_non_null(operations);
    fputs("standby: ok\n", operations);
    fclose(operations);
    expect_run(daemon, "logs --operations web", 0, "standby: ok\n", "");
    program_start(&program, daemon, "logs -f -n 1 web");
    await_output(program.out, "line 5 of web\n", text, sizeof(text));
    snprintf(path, sizeof(path), "%s/web.app.log", daemon->data);
    FILE *file = fopen(path, "ae");
    assert_non_null(file);
    fputs("written later\n", file);
    fclose(file);
    await_output(program.out, "written later\n", text, sizeof(text));
    /* The stream ends with the instance. */
    expect_run(daemon, "rm -f web", 0, "", NULL);
    outcome = program_finish(&program);
    assert_int_equal(outcome.status, 0);
    outcome_release(&outcome);
}

static void test_stats(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web --memory 256MB", 0, "", NULL);
    expect_run(daemon, "run --name off", 0, "", NULL);
    expect_run(daemon, "stop off", 0, "", NULL);
    struct outcome outcome = program_run(daemon, "stats", NULL);
    assert_string_equal(outcome.out,
                        "NAME  CPU S      RSS  PRIVATE       VMM  MEMORY FILE  LINKS\n"
                        "web     1.5  64.0 MB   3.0 MB  700.0 KB     256.0 MB     26\n");
    outcome_release(&outcome);
    expect_run(daemon, "stats off nope", 1, "off  ", "tine: stats nope: no instance \"nope\"\n");
    json_t *json = run_json(daemon, "stats --json web", 0);
    assert_int_equal(json_array_size(json), 1);
    json_decref(json);
}

static void test_version(void **state)
{
    expect_run(*state, "version", 0, "\ntined 0.", NULL);
    json_t *json = run_json(*state, "version --json", 0);
    assert_true(json_is_string(json_object_get(json, "tined")));
    json_decref(json);
}

/* tined goes away in the middle: an error, not silence. */
static void test_connection_lost(void **state)
{
    struct daemon *daemon = *state;
    struct program program;
    char text[256];
    expect_run(daemon, "run --name web", 0, "", NULL);
    program_start(&program, daemon, "exec web wait");
    await_output(program.out, "waiting", text, sizeof(text));
    kill(daemon->pid, SIGKILL);
    daemon_reap(daemon);
    struct outcome outcome = program_finish(&program);
    assert_int_equal(outcome.status, 1);
    assert_non_null(strstr(outcome.err, "the connection was lost before the command ended"));
    outcome_release(&outcome);
    daemon_spawn(daemon, daemon_program(), NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_run),
        TEST(test_program),
        TEST(test_ps),
        TEST(test_ps_terminal),
        TEST(test_inspect),
        TEST(test_life),
        TEST(test_rm),
        TEST(test_fork),
        TEST(test_fork_concurrent),
        TEST(test_progress),
        TEST(test_logs),
        TEST(test_stats),
        TEST(test_version),
        TEST(test_connection_lost),
    };
    if (argc != 3)
        return 2;
    program_path_set(argv[1]);
    daemon_program_set(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
