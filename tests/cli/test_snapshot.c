/* SPDX-License-Identifier: Apache-2.0 */
/* tine snapshot against a tined with a double behind it: what it prints, for people and programs,
 * and its exit status. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon_fixture.h"
#include "http_client.h"
#include "program.h"

/* "web" in Standby with the snapshots "warm" (s00001) and one without a name (s00002), and "off",
 * stopped, with its "warm" (s00003). */
static int setup(void **state)
{
    static struct daemon daemon;
    daemon_start(&daemon, daemon_program(), NULL);
    expect_run(&daemon, "run --name web", 0, "", NULL);
    expect_run(&daemon, "standby web", 0, "", NULL);
    expect_run(&daemon, "run --name off", 0, "", NULL);
    expect_run(&daemon, "stop off", 0, "", NULL);
    expect_run(&daemon, "snapshot create web --name warm", 0, "web/warm  s00001abcdef  Standby ",
               NULL);
    expect_run(&daemon, "snapshot create web", 0, "web  s00002abcdef  Standby ", NULL);
    expect_run(&daemon, "snapshot create off --kind stopped --name warm", 0,
               "off/warm  s00003abcdef  Stopped ", NULL);
    *state = &daemon;
    return 0;
}

static void test_create(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "snapshot create web --name warm", 1, NULL,
               "tine: snapshot create web: web has a snapshot \"warm\" already\n");
    expect_run(daemon, "snapshot create off", 1, NULL,
               "tine: snapshot create off: off is Stopped, which does not allow this\n");
    expect_run(daemon, "snapshot create nope", 1, NULL,
               "tine: snapshot create nope: no instance \"nope\"\n");
    json_t *json = run_json(daemon, "snapshot create --json web --name third", 0);
    assert_string_equal(text_of(json, "name"), "third");
    assert_string_equal(text_of(json, "kind"), "Standby");
    assert_true(json_is_number(json_object_get(json, "elapsed_ms")));
    json_decref(json);
    json = run_json(daemon, "snapshot create --json web --name third", 1);
    assert_string_equal(text_of(json, "code"), "conflict");
    json_decref(json);
}

static void test_compress(void **state)
{
    struct daemon *daemon = *state;
    json_t *json = run_json(daemon, "snapshot create --json web --name small --compress zstd:9", 0);
    assert_string_equal(text_of(json, "compression_state"), "compressing");
    assert_int_equal(
        json_integer_value(json_object_get(json_object_get(json, "compression"), "level")), 9);
    json_decref(json);
    expect_run(daemon, "snapshot inspect web/small", 0, "compressing", NULL);
    expect_run(daemon, "snapshot create web --compress gzip", 1, NULL, "'gzip' is no algorithm");
    expect_run(daemon, "snapshot create web --compress zstd:x", 2, NULL,
               "tine: snapshot create: --compress: \"zstd:x\" is not ALGORITHM[:LEVEL]");
    expect_run(daemon, "snapshot create off --kind stopped --compress lz4", 1, NULL,
               "no memory to compress");
    expect_run(daemon, "snapshot rm web/small", 0, "", NULL);
}

static void test_ls(void **state)
{
    struct daemon *daemon = *state;
    struct outcome outcome = program_run(daemon, "snapshot ls", NULL);
    assert_int_equal(outcome.status, 0);
    assert_int_equal(strncmp(outcome.out, "SOURCE  NAME  ID            KIND       SIZE  AGE", 48),
                     0);
    assert_non_null(strstr(outcome.out, "\nweb     warm  s00001abcdef  Standby  3.0 GB  "));
    assert_non_null(strstr(outcome.out, "\nweb           s00002abcdef  Standby  3.0 GB  "));
    assert_non_null(strstr(outcome.out, "\noff     warm  s00003abcdef  Stopped  3.0 GB  "));
    outcome_release(&outcome);
    outcome = program_run(daemon, "snapshot ls off", NULL);
    assert_null(strstr(outcome.out, "s00001"));
    assert_non_null(strstr(outcome.out, "s00003"));
    outcome_release(&outcome);
    json_t *json = run_json(daemon, "snapshot ls --json", 0);
    assert_int_equal(json_array_size(json), 3);
    json_decref(json);
    /* Options of every command may stand before the command's command. */
    json = run_json(daemon, "snapshot --json ls k00001", 0);
    assert_int_equal(json_array_size(json), 2);
    json_decref(json);
    json = run_json(daemon, "snapshot ls nope --json", 0);
    assert_int_equal(json_array_size(json), 0);
    json_decref(json);
}

/* Every way to say which, and what is no way. */
static void test_which(void **state)
{
    static const struct {
        const char *argument, *out, *err;
    } cases[] = {
        {"s00001abcdefghijklmnopqr", "s00001abcdefghijklmnopqr", NULL},
        {"s00002", "s00002abcdefghijklmnopqr", NULL},
        {"web/warm", "s00001abcdefghijklmnopqr", NULL},
        {"off/warm", "s00003abcdefghijklmnopqr", NULL},
        {"k00001/warm", "s00001abcdefghijklmnopqr", NULL},
        {"k0/warm", NULL, "s00001abcdef and s00003abcdef among them"},
        {"s0", NULL, "several snapshots are meant by \"s0\", s00001abcdef and s00002abcdef"},
        {"warm", NULL, "tine: snapshot inspect warm: no snapshot \"warm\"\n"},
        {"we/warm", NULL, "no snapshot \"we/warm\""},
        {"web/", NULL, "no snapshot \"web/\""},
        {"/warm", NULL, "no snapshot \"/warm\""},
        {"web/war", NULL, "no snapshot \"web/war\""},
        {"s00001abcdefghijklmnopqrs", NULL, "no snapshot"},
    };
    struct daemon *daemon = *state;
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char arguments[128];
        snprintf(arguments, sizeof(arguments), "snapshot inspect %s", cases[i].argument);
        expect_run(daemon, arguments, cases[i].out ? 0 : 1, cases[i].out, cases[i].err);
    }
    json_t *json = run_json(daemon, "snapshot inspect --json s0", 1);
    assert_string_equal(text_of(json, "code"), "ambiguous");
    json_decref(json);
    json = run_json(daemon, "snapshot inspect --json nope", 1);
    assert_string_equal(text_of(json, "code"), "not_found");
    json_decref(json);
    json = run_json(daemon, "snapshot inspect --json web/warm", 0);
    assert_string_equal(text_of(json, "source_instance_name"), "web");
    json_decref(json);
    expect_run(daemon, "snapshot inspect web/warm", 0, "\nkind                     Standby\n",
               NULL);
}

/* A source that is gone is still one to be named by. */
static void test_source_gone(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "rm web", 0, "", NULL);
    expect_run(daemon, "snapshot fork web/warm", 0, "web-1  k00003abcdef  Running ", NULL);
    /* Two sources of one name, each with a snapshot of one name. */
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "snapshot create web --name warm", 0, "web/warm  s00004", NULL);
    expect_run(daemon, "snapshot inspect web/warm", 1, NULL,
               "several snapshots are meant by \"web/warm\"");
    expect_run(daemon, "snapshot inspect k00004/warm", 0, "s00004", NULL);
}

static void test_fork(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "snapshot fork web/warm --name one", 0, "one  k00003abcdef  Running ", NULL);
    expect_run(daemon, "snapshot fork web/warm --name one", 1, NULL,
               "tine: snapshot fork web/warm: name \"one\" is taken\n");
    expect_run(daemon, "snapshot fork s00003 --name cold", 0, "cold  k00004abcdef  Stopped ", NULL);
    expect_run(daemon, "snapshot fork off/warm --name x --target-state standby", 1, NULL,
               "target_state");
    expect_run(daemon, "snapshot fork web/nope", 1, NULL,
               "tine: snapshot fork web/nope: no snapshot \"web/nope\"\n");
    struct outcome outcome = program_run(daemon, "snapshot fork web/warm -n 3", NULL);
    assert_int_equal(outcome.status, 0);
    static const char *const lines[] = {"web-1  ", "web-2  ", "web-3  ", "  Running "};
    for (size_t i = 0; i < ARRAY_SIZE(lines); i++)
        assert_non_null(strstr(outcome.out, lines[i]));
    assert_non_null(strstr(outcome.err, "3 of 3 forks of web/warm ready in "));
    outcome_release(&outcome);
}

/* None of them is answered before all are under way. */
static void test_fork_concurrent(void **state)
{
    struct daemon *daemon = *state;
    json_t *json =
        run_json(daemon, "snapshot fork web/warm --count 25 --name-prefix meet-25 --json", 0);
    assert_int_equal(json_array_size(json_object_get(json, "instances")), 25);
    assert_int_equal(json_array_size(json_object_get(json, "failed")), 0);
    assert_int_equal(json_integer_value(json_object_get(json, "requested")), 25);
    assert_string_equal(text_of(json, "source"), "web/warm");
    json_decref(json);
    json =
        run_json(daemon, "snapshot fork web/warm --count 2 --name-prefix fail-resources --json", 1);
    assert_int_equal(json_array_size(json_object_get(json, "failed")), 2);
    json_decref(json);
}

static void test_restore(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "snapshot restore web web/warm --target-state standby", 0,
               "web  k00001abcdef  Standby ", NULL);
    expect_run(daemon, "snapshot restore k00001 s00001", 0, "web  k00001abcdef  Running ", NULL);
    expect_run(daemon, "snapshot restore web web/warm", 1, NULL,
               "tine: snapshot restore web: web is Running\n");
    expect_run(daemon, "snapshot restore off web/warm", 1, NULL, "is not of off");
    expect_run(daemon, "snapshot restore nope web/warm", 1, NULL,
               "tine: snapshot restore nope: no instance \"nope\"\n");
    expect_run(daemon, "snapshot restore web nope", 1, NULL,
               "tine: snapshot restore web: no snapshot \"nope\"\n");
    json_t *json = run_json(daemon, "snapshot restore --json off off/warm", 0);
    assert_string_equal(text_of(json, "state"), "Stopped");
    assert_true(json_is_number(json_object_get(json, "elapsed_ms")));
    json_decref(json);
}

static void test_rm(void **state)
{
    struct daemon *daemon = *state;
    /* All or none. */
    expect_run(daemon, "snapshot rm web/warm nope", 1, NULL,
               "tine: snapshot rm nope: no snapshot \"nope\"\n");
    expect_run(daemon, "snapshot inspect web/warm", 0, "", NULL);
    expect_run(daemon, "snapshot rm web/warm", 0, "web/warm\n", NULL);
    expect_run(daemon, "snapshot inspect web/warm", 1, NULL, "no snapshot");
    json_t *json = run_json(daemon, "snapshot rm --json s00002 off/warm", 0);
    assert_int_equal(json_array_size(json_object_get(json, "removed")), 2);
    json_decref(json);
    json = run_json(daemon, "snapshot ls --json", 0);
    assert_int_equal(json_array_size(json), 0);
    json_decref(json);
    expect_run(daemon, "inspect web", 0, "", NULL);
}

static void test_warm(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "warm", 0,
               "NAME  ID  KIND  READY  WANTED  STATE  TAKEN  MISSED  MEMORY  REASON\n", NULL);
    expect_run(daemon, "warm web --ready 3", 0, "web: 3 of 3 forks ready, ready\n", NULL);
    expect_run(daemon, "warm --snapshot web/warm --ready 2", 0,
               "web/warm: 2 of 2 forks ready, ready\n", NULL);
    json_t *json = run_json(daemon, "warm --json", 0);
    assert_int_equal(json_array_size(json), 2);
    assert_string_equal(text_of(json_array_get(json, 0), "name"), "web");
    assert_string_equal(text_of(json_array_get(json, 1), "kind"), "snapshot");
    json_decref(json);
    expect_run(daemon, "inspect web", 0, "", NULL);
    expect_run(daemon, "warm web --off", 0, "web is not kept warm\n", NULL);
    expect_run(daemon, "warm --snapshot web/warm --ready 0", 0, "web/warm is not kept warm\n",
               NULL);
    json = run_json(daemon, "warm web --ready 1 --json", 0);
    assert_int_equal(json_integer_value(json_object_get(json, "ready")), 1);
    json_decref(json);
}

static void test_warm_refused(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "warm web", 2, NULL, "--ready N, or --off");
    expect_run(daemon, "warm web --off --ready 1", 2, NULL, "--off excludes --ready");
    expect_run(daemon, "warm --ready 1", 2, NULL, "A NAME is needed");
    expect_run(daemon, "warm web --ready some", 2, NULL, "\"some\" is not a number");
    expect_run(daemon, "warm web --ready 257", 1, NULL, "ready");
    expect_run(daemon, "warm off --ready 1", 1, NULL, "Stopped");
    expect_run(daemon, "warm nobody --ready 1", 1, NULL, "nobody");
    expect_run(daemon, "warm --snapshot web/none --ready 1", 1, NULL, "no snapshot \"web/none\"");
    expect_run(daemon, "warm --snapshot off/warm --ready 1", 1, NULL, "Stopped");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),
        TEST(test_compress),
        TEST(test_ls),
        TEST(test_which),
        TEST(test_source_gone),
        TEST(test_fork),
        TEST(test_fork_concurrent),
        TEST(test_restore),
        TEST(test_rm),
        TEST(test_warm),
        TEST(test_warm_refused),
    };
    if (argc != 3)
        return 2;
    program_path_set(argv[1]);
    daemon_program_set(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
