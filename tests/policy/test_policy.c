/* SPDX-License-Identifier: Apache-2.0 */
/* Policies: their canonical form, and what is refused with the field's name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "policy/policy.h"

struct row {
    enum policy_kind kind;
    const char *given, *wanted; /* canonical, or part of the message */
};

static json_t *load(const char *text)
{
    json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
    if (!json)
        fail_msg("the test's JSON: %s", text);
    return json;
}

static void test_canonical(void **state)
{
    static const struct row rows[] = {
        {POLICY_SNAPSHOT, "{}", "{}"},
        {POLICY_SNAPSHOT, "{\"compression\":null,\"unknown\":[1]}", "{}"},
        {POLICY_SNAPSHOT,
         "{\"compression\":{\"enabled\":true},\"standby_compression_delay\":\"300s\"}",
         "{\"compression\":{\"enabled\":true,\"algorithm\":\"zstd\",\"level\":1},"
         "\"standby_compression_delay\":\"5m0s\"}"},
        {POLICY_SNAPSHOT, "{\"compression\":{\"enabled\":true,\"algorithm\":\"lz4\",\"level\":9}}",
         "{\"compression\":{\"enabled\":true,\"algorithm\":\"lz4\",\"level\":9}}"},
        {POLICY_SNAPSHOT, "{\"compression\":{\"enabled\":false,\"level\":99}}",
         "{\"compression\":{\"enabled\":false}}"},
        {POLICY_AUTO_STANDBY, "{}", "{\"enabled\":false}"},
        {POLICY_AUTO_STANDBY,
         "{\"enabled\":true,\"idle_timeout\":\"90s\",\"ignore_source_cidrs\":[\"10.0.0.0/8\","
         "\"fd00::/8\"],\"ignore_destination_ports\":[1,65535]}",
         "{\"enabled\":true,\"idle_timeout\":\"1m30s\",\"ignore_source_cidrs\":[\"10.0.0.0/8\","
         "\"fd00::/8\"],\"ignore_destination_ports\":[1,65535]}"},
        {POLICY_HEALTH_CHECK, "{}",
         "{\"type\":\"none\",\"interval\":\"10s\",\"timeout\":\"2s\",\"start_period\":\"30s\","
         "\"failure_threshold\":3,\"success_threshold\":1}"},
        {POLICY_HEALTH_CHECK,
         "{\"type\":\"http\",\"http\":{\"port\":80},\"interval\":\"1500ms\",\"timeout\":\"1s\","
         "\"start_period\":\"0s\",\"failure_threshold\":1,\"success_threshold\":1000}",
         "{\"type\":\"http\",\"interval\":\"1.5s\",\"timeout\":\"1s\",\"start_period\":\"0s\","
         "\"failure_threshold\":1,\"success_threshold\":1000,\"http\":{\"port\":80,\"path\":\"/\","
         "\"scheme\":\"http\",\"expected_status\":200}}"},
        {POLICY_HEALTH_CHECK,
         "{\"type\":\"exec\",\"exec\":{\"command\":[\"true\",\"\"],\"working_dir\":\"/tmp\"},"
         "\"tcp\":{\"port\":22}}",
         "{\"type\":\"exec\",\"interval\":\"10s\",\"timeout\":\"2s\",\"start_period\":\"30s\","
         "\"failure_threshold\":3,\"success_threshold\":1,\"tcp\":{\"port\":22},"
         "\"exec\":{\"command\":[\"true\",\"\"],\"working_dir\":\"/tmp\"}}"},
        {POLICY_RESTART, "{}",
         "{\"policy\":\"never\",\"backoff\":\"5s\",\"max_attempts\":0,\"stable_after\":\"10m0s\"}"},
        {POLICY_RESTART,
         "{\"policy\":\"on_failure\",\"backoff\":\"100ms\",\"max_attempts\":5,"
         "\"stable_after\":\"0s\"}",
         "{\"policy\":\"on_failure\",\"backoff\":\"100ms\",\"max_attempts\":5,"
         "\"stable_after\":\"0s\"}"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = {0};
        json_t *given = load(rows[i].given), *wanted = load(rows[i].wanted);
        json_t *canonical = policy_check(rows[i].kind, given, &err);
        if (!json_equal(canonical, wanted)) {
            char *text = canonical ? json_dumps(canonical, JSON_COMPACT) : NULL;
            fail_msg("%s: %s, not %s %s", rows[i].given, text, rows[i].wanted, err.message);
        }
        json_t *again = policy_check(rows[i].kind, canonical, &err);
        assert_true(json_equal(again, canonical));
        json_decref(given);
        json_decref(wanted);
        json_decref(canonical);
        json_decref(again);
    }
}

static void test_refused(void **state)
{
    static const struct row rows[] = {
        {POLICY_SNAPSHOT, "[]", "snapshot_policy: must be an object"},
        {POLICY_SNAPSHOT, "\"x\"", "snapshot_policy: must be an object"},
        {POLICY_SNAPSHOT, "{\"compression\":1}", "snapshot_policy.compression: must be an object"},
        {POLICY_SNAPSHOT, "{\"compression\":{}}",
         "snapshot_policy.compression.enabled: is required"},
        {POLICY_SNAPSHOT, "{\"compression\":{\"enabled\":1}}",
         "snapshot_policy.compression.enabled: must be true or false"},
        {POLICY_SNAPSHOT, "{\"compression\":{\"enabled\":true,\"algorithm\":\"gzip\"}}",
         "snapshot_policy.compression.algorithm: \"gzip\" is not one of zstd, lz4"},
        {POLICY_SNAPSHOT, "{\"compression\":{\"enabled\":true,\"algorithm\":7}}",
         "snapshot_policy.compression.algorithm: must be a string: one of zstd, lz4"},
        {POLICY_SNAPSHOT, "{\"compression\":{\"enabled\":true,\"level\":20}}",
         "snapshot_policy.compression.level: zstd has levels 1 to 19, not 20"},
        {POLICY_SNAPSHOT, "{\"compression\":{\"enabled\":true,\"level\":4294967297}}",
         "snapshot_policy.compression.level: 4294967297 is not within"},
        {POLICY_SNAPSHOT, "{\"standby_compression_delay\":\"-1s\"}",
         "snapshot_policy.standby_compression_delay: \"-1s\" is shorter than 0s"},
        {POLICY_SNAPSHOT, "{\"standby_compression_delay\":5}",
         "snapshot_policy.standby_compression_delay: must be a string"},
        {POLICY_SNAPSHOT, "{\"standby_compression_delay\":\"soon\"}", "\"soon\" is not a duration"},
        {POLICY_AUTO_STANDBY, "{\"enabled\":true}",
         "auto_standby.idle_timeout: is required when enabled is true"},
        {POLICY_AUTO_STANDBY, "{\"idle_timeout\":\"0s\"}",
         "auto_standby.idle_timeout: \"0s\" is shorter than 1ns"},
        {POLICY_AUTO_STANDBY, "{\"ignore_source_cidrs\":[\"10.0.0.0/8\",\"10.0.0.1\"]}",
         "auto_standby.ignore_source_cidrs: item 1 must be a network"},
        {POLICY_AUTO_STANDBY, "{\"ignore_source_cidrs\":[\"10.0.0.0/33\"]}", "item 0"},
        {POLICY_AUTO_STANDBY, "{\"ignore_source_cidrs\":[\"fd00::/129\"]}", "item 0"},
        {POLICY_AUTO_STANDBY, "{\"ignore_source_cidrs\":[\"/8\"]}", "item 0"},
        {POLICY_AUTO_STANDBY, "{\"ignore_source_cidrs\":[\"10.0.0.0/\"]}", "item 0"},
        {POLICY_AUTO_STANDBY, "{\"ignore_source_cidrs\":[\"10.0.0.0/+8\"]}", "item 0"},
        {POLICY_AUTO_STANDBY, "{\"ignore_source_cidrs\":[8]}", "item 0"},
        {POLICY_AUTO_STANDBY, "{\"ignore_destination_ports\":[0]}",
         "auto_standby.ignore_destination_ports: item 0 must be a port"},
        {POLICY_AUTO_STANDBY, "{\"ignore_destination_ports\":[65536]}", "item 0"},
        {POLICY_AUTO_STANDBY, "{\"ignore_destination_ports\":[\"80\"]}", "item 0"},
        {POLICY_AUTO_STANDBY, "{\"ignore_destination_ports\":80}", "must be an array"},
        {POLICY_HEALTH_CHECK, "{\"type\":\"icmp\"}",
         "health_check.type: \"icmp\" is not one of none, http, tcp, exec"},
        {POLICY_HEALTH_CHECK, "{\"type\":\"http\"}",
         "health_check.http: is required when type is http"},
        {POLICY_HEALTH_CHECK, "{\"type\":\"tcp\",\"http\":{\"port\":1}}",
         "health_check.tcp: is required when type is tcp"},
        {POLICY_HEALTH_CHECK, "{\"http\":{}}", "health_check.http.port: is required"},
        {POLICY_HEALTH_CHECK, "{\"http\":{\"port\":0}}",
         "health_check.http.port: 0 is not within 1 to 65535"},
        {POLICY_HEALTH_CHECK, "{\"http\":{\"port\":1.5}}",
         "health_check.http.port: must be a whole number"},
        {POLICY_HEALTH_CHECK, "{\"http\":{\"port\":80,\"path\":\"health\"}}",
         "health_check.http.path: must be a string that begins with /"},
        {POLICY_HEALTH_CHECK, "{\"http\":{\"port\":80,\"scheme\":\"ftp\"}}",
         "health_check.http.scheme: \"ftp\""},
        {POLICY_HEALTH_CHECK, "{\"http\":{\"port\":80,\"expected_status\":99}}",
         "health_check.http.expected_status: 99"},
        {POLICY_HEALTH_CHECK, "{\"exec\":{}}", "health_check.exec.command: is required"},
        {POLICY_HEALTH_CHECK, "{\"exec\":{\"command\":[]}}",
         "health_check.exec.command: must name a program"},
        {POLICY_HEALTH_CHECK, "{\"exec\":{\"command\":[\"\"]}}", "must name a program"},
        {POLICY_HEALTH_CHECK, "{\"exec\":{\"command\":[\"a\",1]}}", "item 1 must be a string"},
        {POLICY_HEALTH_CHECK, "{\"exec\":{\"command\":\"true\"}}", "must be an array"},
        {POLICY_HEALTH_CHECK, "{\"interval\":\"0s\"}", "health_check.interval: \"0s\""},
        {POLICY_HEALTH_CHECK, "{\"failure_threshold\":0}", "health_check.failure_threshold: 0"},
        {POLICY_RESTART, "{\"policy\":\"maybe\"}",
         "restart_policy.policy: \"maybe\" is not one of never, always, on_failure"},
        {POLICY_RESTART, "{\"backoff\":\"99ms\"}",
         "restart_policy.backoff: \"99ms\" is shorter than 100ms"},
        {POLICY_RESTART, "{\"max_attempts\":-1}", "restart_policy.max_attempts: -1"},
        {POLICY_RESTART, "{\"max_attempts\":true}",
         "restart_policy.max_attempts: must be a whole number"},
        {POLICY_RESTART, "{\"stable_after\":\"\"}", "restart_policy.stable_after: \"\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        struct error err = {0};
        json_t *given = load(rows[i].given);
        if (policy_check(rows[i].kind, given, &err))
            fail_msg("%s passes", rows[i].given);
        assert_int_equal(err.code, ERROR_INVALID);
        if (!strstr(err.message, rows[i].wanted))
            fail_msg("%s: \"%s\", not \"%s\"", rows[i].given, err.message, rows[i].wanted);
        json_decref(given);
    }
}

static void test_long_lists(void **state)
{
    struct error err = {0};
    json_t *policy = json_pack("{s:[]}", "ignore_destination_ports");
    for (int i = 0; i < 65; i++)
        json_array_append_new(json_object_get(policy, "ignore_destination_ports"), json_integer(1));
    assert_null(policy_check(POLICY_AUTO_STANDBY, policy, &err));
    assert_non_null(strstr(err.message, "an array of at most 64"));
    json_decref(policy);
}

#define NEVER                                                                          \
    "{\"restart_policy\":{\"policy\":\"never\",\"backoff\":\"5s\",\"max_attempts\":0," \
    "\"stable_after\":\"10m0s\"}}"

static void test_valid(void **state)
{
    static const char *const good[] = {"", "{}", NEVER, "{\"auto_standby\":{\"enabled\":false}}"};
    static const char *const bad[] = {
        "x",
        "[]",
        "null",
        "{\"restart_policy\":{}}", /* the defaults are not there */
        "{\"restart_policy\":1}",
        "{\"restart_policy\":null}",
        "{\"other\":{}}",
        "{\"auto_standby\":{\"enabled\":false,\"unknown\":1}}",
        "{\"auto_standby\":{\"enabled\":false,\"idle_timeout\":\"60s\"}}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        if (!policies_valid(good[i]))
            fail_msg("%s is refused", good[i]);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        if (policies_valid(bad[i]))
            fail_msg("%s passes", bad[i]);
    }
}

static void test_merge(void **state)
{
    char text[POLICIES_SIZE] = "", before[POLICIES_SIZE], large[POLICIES_SIZE + 64];
    struct error err = {0};
    assert_int_equal(policies_merge(text, "", &err), 0);
    assert_string_equal(text, "");
    assert_int_equal(policies_merge(text, "{\"auto_standby\":{\"enabled\":false}}", &err), 0);
    assert_int_equal(policies_merge(text, NEVER, &err), 0);
    assert_true(policies_valid(text));
    assert_non_null(strstr(text, "auto_standby"));
    assert_int_equal(
        policies_merge(text, "{\"auto_standby\":{\"enabled\":true,\"idle_timeout\":\"1s\"}}", &err),
        0);
    assert_non_null(strstr(text, "\"idle_timeout\":\"1s\""));
    assert_non_null(strstr(text, "\"never\""));
    snprintf(before, sizeof(before), "%s", text);
    snprintf(large, sizeof(large), "{\"health_check\":{\"exec\":{\"command\":[\"%0*d\"]}}}",
             POLICIES_SIZE, 0);
    assert_int_equal(policies_merge(text, large, &err), -E2BIG);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_string_equal(text, before);
}

static void test_snapshot_policy(void **state)
{
    struct snapshot_policy policy = policies_snapshot("");
    assert_false(policy.has_compression || policy.compress);
    assert_int_equal(policy.standby_compression_delay_ns, 0);
    policy = policies_snapshot(NEVER);
    assert_false(policy.has_compression);
    policy = policies_snapshot("{\"snapshot_policy\":{\"compression\":{\"enabled\":false}}}");
    assert_true(policy.has_compression);
    assert_false(policy.compress);
    policy = policies_snapshot("{\"snapshot_policy\":{\"compression\":{\"enabled\":true,"
                               "\"algorithm\":\"lz4\",\"level\":3},"
                               "\"standby_compression_delay\":\"1m0s\"}}");
    assert_true(policy.has_compression && policy.compress);
    assert_int_equal(policy.how.algorithm, STACK_LZ4);
    assert_int_equal(policy.how.level, 3);
    assert_int_equal(policy.standby_compression_delay_ns, 60000000000);
}

static void test_restart_policy(void **state)
{
    struct restart_policy policy = policies_restart("");
    assert_int_equal(policy.when, RESTART_NEVER);
    policy = policies_restart(NEVER);
    assert_int_equal(policy.when, RESTART_NEVER);
    assert_int_equal(policy.backoff_ns, 5000000000);
    assert_int_equal(policy.max_attempts, 0);
    assert_int_equal(policy.stable_after_ns, 600000000000);
    policy = policies_restart("{\"restart_policy\":{\"policy\":\"on_failure\",\"backoff\":"
                              "\"100ms\",\"max_attempts\":3,\"stable_after\":\"0s\"}}");
    assert_int_equal(policy.when, RESTART_ON_FAILURE);
    assert_int_equal(policy.backoff_ns, 100000000);
    assert_int_equal(policy.max_attempts, 3);
    assert_int_equal(policy.stable_after_ns, 0);
    policy = policies_restart("{\"restart_policy\":{\"policy\":\"always\"}}");
    assert_int_equal(policy.when, RESTART_ALWAYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_canonical),      cmocka_unit_test(test_refused),
        cmocka_unit_test(test_long_lists),     cmocka_unit_test(test_valid),
        cmocka_unit_test(test_merge),          cmocka_unit_test(test_snapshot_policy),
        cmocka_unit_test(test_restart_policy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
