/* SPDX-License-Identifier: Apache-2.0 */
/* What an instance is told to be and to do by itself: tags, lifetime, policies, compression. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "daemon_fixture.h"
#include "http_client.h"
#include "program.h"

static void test_tags(void **state)
{
    expect_run(*state, "run --name web --tag team=back=end --tag x=", 0, "web", NULL);
    expect_run(*state, "run --name other --tag team=front", 0, "other", NULL);
    expect_run(*state, "inspect web", 0, "tags.team                back=end\n", NULL);
    struct outcome outcome = program_run(*state, "ps --tag team=back=end --tag x=", NULL);
    assert_int_equal(outcome.status, 0);
    assert_non_null(strstr(outcome.out, "\nweb "));
    assert_null(strstr(outcome.out, "other"));
    outcome_release(&outcome);
    expect_run(*state, "ps --json --tag team=none", 0, "[]", NULL);
    expect_run(*state, "ps --tag team", 1, NULL, "--tag: \"team\" is not KEY=VALUE");
    expect_run(*state, "run --tag team", 1, NULL, "--tag: \"team\" is not KEY=VALUE");
    expect_run(*state, "run --tag =x", 1, NULL, "is not a key");
    expect_run(*state, "run --tag t,m=x", 1, NULL, "tags: \"t,m\" is not a key");
}

/* What PATCH and create are asked for, and what ps makes of it. */
static void test_update(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web --tag a=b --tag c=d --ttl 2h30m", 0, "web", NULL);
    expect_run(daemon, "run --name db", 0, "db", NULL);
    expect_run(daemon, "ps", 0, "EXPIRES IN\n", NULL);
    expect_run(daemon, "ps", 0, "  2 hours\n", NULL);
    expect_run(daemon, "update web db --no-expiry --untag a --untag never --tag c=e", 0,
               "web  k00001abcdef  Running", NULL);
    json_t *json = run_json(daemon, "inspect --json web", 0);
    assert_int_equal(json_object_size(json_object_get(json, "tags")), 1);
    assert_string_equal(text_of(json_object_get(json, "tags"), "c"), "e");
    assert_true(json_is_null(json_object_get(json, "expires_at")));
    json_decref(json);
    struct outcome outcome = program_run(daemon, "ps", NULL);
    assert_null(strstr(outcome.out, "EXPIRES"));
    outcome_release(&outcome);
    json = run_json(daemon, "update web --expires-at 2100-01-01T00:00:00Z --json", 0);
    const json_t *done = json_array_get(json_object_get(json, "instances"), 0);
    assert_string_equal(text_of(done, "expires_at"), "2100-01-01T00:00:00.000Z");
    assert_int_equal(json_array_size(json_object_get(json, "failed")), 0);
    json_decref(json);
    expect_run(daemon, "update web --untag c", 0, "web", NULL);
    expect_run(daemon, "update web --restart on-failure:5", 0, "web", NULL);
    expect_run(daemon, "inspect web", 0, "restart_policy.policy    on_failure\n", NULL);
    expect_run(daemon, "inspect web", 0, "expires_at               2100-01-01T00:00:00.000Z\n",
               NULL);
}

static void test_update_refused(void **state)
{
    static const struct {
        const char *arguments;
        int status;
        const char *words;
    } cases[] = {
        {"update", 2, "NAME"},
        {"update web", 2, "tine: update: there is nothing to change: give --ttl"},
        {"update web --ttl 1h --expires-at 2100-01-01T00:00:00Z", 2, "exclude each other"},
        {"update web --ttl 1h --no-expiry", 2, "--no-expiry excludes"},
        {"update web --restart sometimes", 2, "--restart: \"sometimes\" is not never"},
        {"update web --restart always:", 2, "--restart: \"always:\""},
        {"update web --restart always:-1", 2, "--restart: \"always:-1\""},
        {"update web --ttl soon", 1, "tine: update web: ttl: \"soon\" is not a duration"},
        {"update web --expires-at 2020-01-01T00:00:00Z", 1, "is past"},
        {"update web --tag x", 1, "--tag: \"x\" is not KEY=VALUE"},
        {"update web --tag =x", 1, "is not a key"},
        {"update web none --tag a=b", 1, "tine: update none: no instance"},
        {"update late-1 --ttl 1h", 1, "late-1 expired"},
        {"run --ttl soon", 1, "ttl: \"soon\""},
        {"run --restart x", 2, "--restart: \"x\""},
        {"run --compress-delay 1s", 2, "there is no --compress to delay"},
        {"run --compress :1", 2, "--compress: \":1\""},
        {"run --compress zstd:99", 1, "snapshot_policy.compression.level: zstd has levels 1 to 19"},
    };
    expect_run(*state, "run --name web", 0, "web", NULL);
    expect_run(*state, "run --name late-1", 0, "late-1", NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect_run(*state, cases[i].arguments, cases[i].status, NULL, cases[i].words);
    json_t *json = run_json(*state, "inspect --json web", 0);
    assert_null(json_object_get(json, "tags"));
    assert_true(json_is_null(json_object_get(json, "expires_at")));
    json_decref(json);
}

static void test_run_policies(void **state)
{
    expect_run(*state, "run --name web --restart always --compress lz4:3 --compress-delay 5m", 0,
               "web", NULL);
    json_t *json = run_json(*state, "inspect --json web", 0);
    const json_t *policy = json_object_get(json, "snapshot_policy");
    assert_string_equal(text_of(json_object_get(policy, "compression"), "algorithm"), "lz4");
    assert_string_equal(text_of(policy, "standby_compression_delay"), "5m0s");
    assert_string_equal(text_of(json_object_get(json, "restart_policy"), "policy"), "always");
    json_decref(json);
}

static void test_compress(void **state)
{
    struct daemon *daemon = *state;
    expect_run(daemon, "run --name web", 0, "", NULL);
    expect_run(daemon, "standby web --compress zstd:99", 1, "", "zstd has levels 1 to 19, not 99");
    expect_run(daemon, "standby web --compress :3", 2, "", "is not ALGORITHM[:LEVEL], as zstd:3");
    expect_run(daemon, "standby web --compress zstd:", 2, "", "is not ALGORITHM[:LEVEL]");
    expect_run(daemon, "standby web --compress zstd:-1", 2, "", "is not ALGORITHM[:LEVEL]");
    expect_run(daemon, "standby web --compress-delay 1m", 2, "", "there is no --compress");
    expect_run(daemon, "standby web --compress lz4:3", 0, "web  k00001abcdef  Standby ", NULL);
    expect_run(daemon, "inspect web", 0, "tine.memory.compression_state", NULL);
    json_t *json = run_json(daemon, "inspect --json web", 0);
    const json_t *memory = json_object_get(json_object_get(json, "tine"), "memory");
    assert_string_equal(text_of(memory, "compression_state"), "compressed");
    assert_string_equal(text_of(json_object_get(memory, "compression"), "algorithm"), "lz4");
    json_decref(json);
    expect_run(daemon, "run --name other", 0, "", NULL);
    expect_run(daemon, "standby other --compress zstd --compress-delay 10m", 0, "other", NULL);
    json = run_json(daemon, "inspect --json other", 0);
    memory = json_object_get(json_object_get(json, "tine"), "memory");
    assert_string_equal(text_of(memory, "compression_state"), "none");
    json_decref(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tags),         TEST(test_update),   TEST(test_update_refused),
        TEST(test_run_policies), TEST(test_compress),
    };
    if (argc != 3)
        return 2;
    program_path_set(argv[1]);
    daemon_program_set(argv[2]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
