/* SPDX-License-Identifier: Apache-2.0 */
/* Until when an instance lives, its policies, and what of the contract's create is not here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "daemon_fixture.h"
#include "http_client.h"

static uint64_t time_of(const json_t *instance, const char *name)
{
    uint64_t ns = 0;
    assert_int_equal(time_parse_rfc3339(text_of(instance, name), &ns, NULL), 0);
    return ns;
}

static void test_lifetimes(void **state)
{
    struct daemon *daemon = *state;
    json_t *json = http_expect(daemon, "POST", "/instances", "{\"name\":\"a\"}", 201);
    assert_true(json_is_null(json_object_get(json, "expires_at")));
    json_decref(json);
    uint64_t before = time_realtime_ns() / 1000000 * 1000000;
    json = http_expect(daemon, "POST", "/instances", "{\"name\":\"b\",\"ttl\":\"1h30m\"}", 201);
    assert_true(time_of(json, "expires_at") >= before + 5400000000000);
    json_decref(json);
    json = http_expect(daemon, "POST", "/instances",
                       "{\"name\":\"c\",\"expires_at\":\"2100-01-01T02:00:00.25+02:00\"}", 201);
    assert_string_equal(text_of(json, "expires_at"), "2100-01-01T00:00:00.250Z");
    json_decref(json);
    json = http_expect(daemon, "POST", "/instances", "{\"name\":\"d\",\"ttl\":\"0s\"}", 201);
    assert_true(json_is_null(json_object_get(json, "expires_at")));
    json_decref(json);
    json = http_expect(daemon, "PATCH", "/instances/d", "{\"expires_at\":\"2100-01-01T00:00:00Z\"}",
                       200);
    assert_string_equal(text_of(json, "expires_at"), "2100-01-01T00:00:00.000Z");
    json_decref(json);
    json = http_expect(daemon, "PATCH", "/instances/d", "{\"ttl\":\"0s\"}", 200);
    assert_true(json_is_null(json_object_get(json, "expires_at")));
    json_decref(json);
}

#define POLICIES                                                                     \
    "\"snapshot_policy\":{\"compression\":{\"enabled\":true,\"algorithm\":\"lz4\"}," \
    "\"standby_compression_delay\":\"0s\"},"                                         \
    "\"auto_standby\":{\"enabled\":true,\"idle_timeout\":\"300s\","                  \
    "\"ignore_source_cidrs\":[\"10.0.0.0/8\"],\"ignore_destination_ports\":[22]},"   \
    "\"health_check\":{\"type\":\"http\",\"http\":{\"port\":80}},"                   \
    "\"restart_policy\":{\"policy\":\"always\",\"max_attempts\":3}"

static void assert_policies(const json_t *json)
{
    const char *algorithm, *delay, *idle, *type, *interval, *scheme, *policy, *backoff;
    int level, port, status, attempts;
    assert_int_equal(
        json_unpack((json_t *)json,
                    "{s:{s:{s:s,s:i},s:s},s:{s:s},s:{s:s,s:s,s:{s:i,s:s,s:i}},s:{s:s,s:s,s:i}}",
                    "snapshot_policy", "compression", "algorithm", &algorithm, "level", &level,
                    "standby_compression_delay", &delay, "auto_standby", "idle_timeout", &idle,
                    "health_check", "type", &type, "interval", &interval, "http", "port", &port,
                    "scheme", &scheme, "expected_status", &status, "restart_policy", "policy",
                    &policy, "backoff", &backoff, "max_attempts", &attempts),
        0);
    assert_string_equal(algorithm, "lz4");
    assert_int_equal(level, 0);
    assert_string_equal(delay, "0s");
    assert_string_equal(idle, "5m0s");
    assert_string_equal(type, "http");
    assert_string_equal(interval, "10s");
    assert_int_equal(port, 80);
    assert_string_equal(scheme, "http");
    assert_int_equal(status, 200);
    assert_string_equal(policy, "always");
    assert_string_equal(backoff, "5s");
    assert_int_equal(attempts, 3);
}

static void test_policies(void **state)
{
    struct daemon *daemon = *state;
    json_t *json = http_expect(daemon, "POST", "/instances", "{\"name\":\"a\"," POLICIES "}", 201);
    assert_policies(json);
    json_decref(json);
    json = http_expect(daemon, "POST", "/instances/a/fork",
                       "{\"name\":\"fork\",\"from_running\":true}", 201);
    assert_policies(json);
    json_decref(json);
    json = http_expect(daemon, "PATCH", "/instances/a",
                       "{\"restart_policy\":{\"policy\":\"never\"},\"auto_standby\":{}}", 200);
    assert_string_equal(text_of(json_object_get(json, "restart_policy"), "policy"), "never");
    const json_t *status = json_object_get(json, "restart_status");
    assert_int_equal(json_integer_value(json_object_get(status, "attempts")), 0);
    assert_true(json_is_null(json_object_get(status, "next_attempt_at")));
    assert_true(json_is_false(json_object_get(json_object_get(json, "auto_standby"), "enabled")));
    assert_string_equal(text_of(json_object_get(json, "health_check"), "type"), "http");
    json_decref(json);
    json = http_expect(daemon, "POST", "/instances",
                       "{\"name\":\"none\",\"auto_standby\":null,\"restart_policy\":null}", 201);
    assert_null(json_object_get(json, "auto_standby"));
    assert_null(json_object_get(json, "restart_policy"));
    assert_null(json_object_get(json, "restart_status"));
    json_decref(json);
}

static void expect_wish(struct daemon *daemon, const char *path, const char *body, int status,
                        const char *algorithm)
{
    json_t *json = http_expect(daemon, "POST", path, body, status);
    const json_t *memory = json_object_get(json_object_get(json, "tine"), "memory");
    const json_t *wish = json_object_get(memory ? memory : json, "compression"); /* a snapshot's */
    if (algorithm)
        assert_string_equal(text_of(wish, "algorithm"), algorithm);
    else
        assert_null(wish);
    json_decref(json);
}

/* The request's word, else the policy's. */
static void test_compression(void **state)
{
    struct daemon *daemon = *state;
    static const char *const names[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char body[1024];
        snprintf(body, sizeof(body), "{\"name\":\"%s\"," POLICIES "}", names[i]);
        json_decref(http_expect(daemon, "POST", "/instances", body, 201));
    }
    expect_wish(daemon, "/instances/a/snapshots", "{\"kind\":\"Standby\"}", 201, "lz4");
    expect_wish(daemon, "/instances/a/snapshots",
                "{\"kind\":\"Standby\",\"compression\":{\"enabled\":false}}", 201, NULL);
    expect_wish(daemon, "/instances/a/snapshots",
                "{\"kind\":\"Standby\",\"compression\":{\"enabled\":true}}", 201, "zstd");
    expect_wish(daemon, "/instances/a/standby", NULL, 200, "lz4");
    expect_wish(daemon, "/instances/a/standby", NULL, 200, "lz4"); /* nothing to do */
    http_refused(daemon, "POST", "/instances/a/standby", "{\"compression\":{\"enabled\":false}}",
                 409, "invalid_state", "too late");
    expect_wish(daemon, "/instances/b/standby", "{\"compression\":{\"enabled\":false}}", 200, NULL);
    expect_wish(daemon, "/instances/c/standby", "{\"compression_delay\":\"1h\"}", 200, "lz4");
}

/* What neither says is up to the host. */
static void test_compression_of_host(void **state)
{
    struct daemon *daemon = *state;
    static const char *const arguments[] = {"--snapshot-compression", "lz4:3", NULL};
    daemon_terminate(daemon);
    daemon_spawn(daemon, daemon_program(), arguments);
    json_decref(http_expect(daemon, "POST", "/instances", "{\"name\":\"a\"}", 201));
    json_decref(http_expect(daemon, "POST", "/instances",
                            "{\"name\":\"b\",\"snapshot_policy\":{\"compression\":"
                            "{\"enabled\":false}}}",
                            201));
    expect_wish(daemon, "/instances/a/snapshots", "{\"kind\":\"Standby\"}", 201, "lz4");
    expect_wish(daemon, "/instances/a/standby", NULL, 200, "lz4");
    expect_wish(daemon, "/instances/b/standby", NULL, 200, NULL);
}

static void test_refused(void **state)
{
    static const struct http_refusal cases[] = {
        {"{\"ttl\":\"1h\",\"expires_at\":\"2100-01-01T00:00:00Z\"}", 400, "invalid_request",
         "ttl and expires_at exclude each other"},
        {"{\"ttl\":\"0s\",\"expires_at\":\"2100-01-01T00:00:00Z\"}", 400, "invalid_request",
         "exclude"},
        {"{\"ttl\":\"\"}", 400, "invalid_ttl", "ttl: \"\""},
        {"{\"ttl\":\"60\"}", 400, "invalid_ttl", "ttl: \"60\" is not a duration"},
        {"{\"ttl\":\"-1s\"}", 400, "invalid_ttl", "ttl: must not be negative"},
        {"{\"ttl\":\"2562047h\"}", 400, "invalid_ttl", "ttl: \"2562047h\" goes beyond"},
        {"{\"ttl\":60}", 400, "Bad Request", "ttl: must be a string, not a number"},
        {"{\"expires_at\":\"tomorrow\"}", 400, "invalid_expires_at", "expires_at: \"tomorrow\""},
        {"{\"expires_at\":\"2020-01-01T00:00:00Z\"}", 400, "invalid_expires_at", "is past"},
        {"{\"expires_at\":\"2300-01-01T00:00:00Z\"}", 400, "invalid_expires_at", "1970 to 2262"},
        {"{\"expires_at\":1}", 400, "Bad Request", "expires_at: must be a string"},
        {"{\"snapshot_policy\":{\"compression\":{}}}", 400, "invalid_snapshot_policy",
         "snapshot_policy.compression.enabled: is required"},
        {"{\"snapshot_policy\":{\"compression\":{\"enabled\":true,\"level\":20}}}", 400,
         "invalid_snapshot_policy", "snapshot_policy.compression.level: zstd has levels 1 to 19"},
        {"{\"snapshot_policy\":{\"standby_compression_delay\":\"x\"}}", 400,
         "invalid_snapshot_policy", "snapshot_policy.standby_compression_delay: \"x\""},
        {"{\"auto_standby\":{\"ignore_destination_ports\":[0]}}", 400, "invalid_auto_standby",
         "auto_standby.ignore_destination_ports"},
        {"{\"health_check\":{\"type\":\"exec\"}}", 400, "invalid_health_check",
         "health_check.exec: is required"},
        {"{\"restart_policy\":{\"backoff\":5}}", 400, "invalid_restart_policy",
         "restart_policy.backoff: must be a string"},
        {"{\"restart_policy\":\"always\"}", 400, "invalid_restart_policy",
         "restart_policy: must be an object"},
        {"{\"platform\":\"amd64\"}", 400, "invalid_platform", "\"amd64\" is not"},
        {"{\"platform\":\"linux/arm64\"}", 404, "platform_not_available", "linux/arm64"},
        {"{\"platform\":1}", 400, "Bad Request", "platform: must be a string"},
        {"{\"credentials\":{\"github\":{}}}", 501, "not_supported", "credentials: "},
        {"{\"credentials\":[]}", 400, "Bad Request", "credentials: must be an object"},
        {"{\"devices\":[\"0000:01:00.0\"]}", 501, "not_supported", "devices: "},
        {"{\"devices\":\"x\"}", 400, "Bad Request", "devices: must be an array"},
        {"{\"gpu\":{\"profile\":\"L40S-1Q\"}}", 501, "not_supported", "gpu: "},
        {"{\"volumes\":[{\"volume_id\":\"v\",\"mount_path\":\"/v\"}]}", 501, "not_supported",
         "volumes: "},
        {"{\"volumes\":{}}", 400, "Bad Request", "volumes: must be an array"},
        {"{\"network\":{\"egress\":{\"enabled\":true}}}", 501, "not_supported", "network.egress: "},
        {"{\"network\":{\"egress\":1}}", 400, "Bad Request", "network.egress: must be an object"},
        {"{\"network\":{\"enabled\":1}}", 400, "Bad Request", "network.enabled: must be a boolean"},
        {"{\"network\":{\"bandwidth_download\":\"x\"}}", 400, "invalid_bandwidth_download",
         "network.bandwidth_download: \"x\" is not a rate"},
        {"{\"network\":{\"bandwidth_upload\":\"-1bps\"}}", 400, "invalid_bandwidth_upload",
         "network.bandwidth_upload: \"-1bps\""},
        {"{\"disk_io_bps\":\"fast\"}", 400, "invalid_disk_io_bps", "disk_io_bps: \"fast\""},
        {"{\"skip_kernel_headers\":1}", 400, "Bad Request", "skip_kernel_headers: must be"},
    };
    http_refused_all(*state, "POST", "/instances", cases, ARRAY_SIZE(cases));
    json_t *json = http_expect(*state, "GET", "/instances", NULL, 200);
    assert_int_equal(json_array_size(json), 0);
    json_decref(json);
}

/* What a client may send without harm. */
static void test_ignored(void **state)
{
    json_decref(http_expect(
        *state, "POST", "/instances",
        "{\"name\":\"a\",\"platform\":\"linux/amd64\",\"credentials\":{},\"devices\":[],\"gpu\":{},"
        "\"volumes\":[],\"network\":{\"enabled\":true,\"bandwidth_download\":\"1Gbps\","
        "\"bandwidth_upload\":\"100MB/s\",\"egress\":{\"enabled\":false}},"
        "\"disk_io_bps\":\"100MB/s\",\"skip_kernel_headers\":true}",
        201));
    json_decref(http_expect(*state, "POST", "/instances",
                            "{\"name\":\"b\",\"credentials\":null,\"devices\":null,\"gpu\":null,"
                            "\"volumes\":null,\"network\":null,\"disk_io_bps\":\"\"}",
                            201));
}

/* All in all they are no longer than a row may hold. */
static void test_too_long(void **state)
{
    char body[8192];
    snprintf(body, sizeof(body),
             "{\"name\":\"a\",\"health_check\":{\"exec\":{\"command\":[\"%05000d\"]}}}", 0);
    http_refused(*state, "POST", "/instances", body, 400, "invalid_request",
                 "more than 4095 bytes of JSON in all");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_lifetimes),   TEST(test_policies),
        TEST(test_compression), TEST(test_compression_of_host),
        TEST(test_refused),     TEST(test_ignored),
        TEST(test_too_long),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
