/* SPDX-License-Identifier: Apache-2.0 */
/* Tags of instances: given, sought for, exchanged by PATCH, refused. */
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
#include "daemon_fixture.h"
#include "http_client.h"

static void expect_tagged(struct daemon *daemon, const char *query, const char *names)
{
    char path[256], found[64] = "";
    size_t i;
    json_t *instance;
    snprintf(path, sizeof(path), "/instances?%s", query);
    json_t *list = http_expect(daemon, "GET", path, NULL, 200);
    json_array_foreach(list, i, instance)
    {
        strcat(found, text_of(instance, "name"));
    }
    if (strcmp(found, names) != 0)
        fail_msg("%s: \"%s\" instead of \"%s\"", query, found, names);
    json_decref(list);
}

static void test_tags(void **state)
{
    struct daemon *daemon = *state;
    json_t *json =
        http_expect(daemon, "POST", "/instances",
                    "{\"name\":\"a\",\"tags\":{\"team\":\"backend\",\"a b/c=d\":\"\"}}", 201);
    assert_int_equal(json_object_size(json_object_get(json, "tags")), 2);
    json_decref(json);
    json_decref(http_expect(daemon, "POST", "/instances",
                            "{\"name\":\"b\",\"tags\":{\"team\":\"backend\"}}", 201));
    json = http_expect(daemon, "POST", "/instances", "{\"name\":\"c\",\"tags\":{}}", 201);
    assert_null(json_object_get(json, "tags"));
    json_decref(json);
    json = http_expect(daemon, "POST", "/instances/a/fork",
                       "{\"name\":\"f\",\"from_running\":true}", 201);
    assert_string_equal(text_of(json_object_get(json, "tags"), "team"), "backend");
    json_decref(json);
    expect_tagged(daemon, "", "abcf");
    expect_tagged(daemon, "tags%5Bteam%5D=backend", "abf");
    expect_tagged(daemon, "tags[team]=backend", "abf");
    expect_tagged(daemon, "tags[team]=backend&tags[a+b/c%3Dd]=", "af");
    expect_tagged(daemon, "tags[team]=backend&state=Standby", "");
    expect_tagged(daemon, "tags[team]=back", "");
    expect_tagged(daemon, "tags[team]", "");
    expect_tagged(daemon, "tags[]=x", "");
    expect_tagged(daemon, "tags[none]=", "");
    expect_tagged(daemon, "tags=x&tags[=x&tags]=x&tag[team]=x", "abcf"); /* unknown parameters */
}

static void test_tags_refused(void **state)
{
    static const struct {
        const char *tags, *code, *part;
    } cases[] = {
        {"[]", "Bad Request", "tags: must be an object"},
        {"{\"a\":1}", "Bad Request", "tags.a: must be a string, not a number"},
        {"{\"\":\"x\"}", "invalid_request", "tags: \"\" is not a key"},
        {"{\"a,b\":\"x\"}", "invalid_request", "tags: \"a,b\" is not a key"},
        {"{\"a\":\"gr\u00fcn\"}", "invalid_request", "tags.a: is not a value"},
        {"{\"a\":\"x\\n\"}", "invalid_request", "tags.a: is not a value"},
    };
    char body[8192];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        snprintf(body, sizeof(body), "{\"tags\":%s}", cases[i].tags);
        http_refused(*state, "POST", "/instances", body, 400, cases[i].code, cases[i].part);
    }
    snprintf(body, sizeof(body), "{\"tags\":{\"%0129d\":\"x\"}}", 0);
    http_refused(*state, "POST", "/instances", body, 400, "invalid_request", "is not a key");
    snprintf(body, sizeof(body), "{\"tags\":{\"a\":\"%0257d\"}}", 0);
    http_refused(*state, "POST", "/instances", body, 400, "invalid_request", "is not a value");
    size_t length = (size_t)snprintf(body, sizeof(body), "{\"tags\":{\"x\":\"\"");
    for (int i = 0; i < 50; i++)
        length += (size_t)snprintf(body + length, sizeof(body) - length, ",\"%d\":\"\"", i);
    snprintf(body + length, sizeof(body) - length, "}}");
    http_refused(*state, "POST", "/instances", body, 400, "invalid_request", "at most 50 tags");
}

static void expect_patched(struct daemon *daemon, const char *tags, const char *found)
{
    char body[256];
    snprintf(body, sizeof(body), "{\"tine\":{\"tags\":%s},\"env\":null}", tags);
    json_t *json = http_expect(daemon, "PATCH", "/instances/a", body, 200);
    char *text = json_dumps(json_object_get(json, "tags"), JSON_COMPACT);
    assert_string_equal(text ? text : "none", found);
    free(text);
    json_decref(json);
}

static void test_patch(void **state)
{
    struct daemon *daemon = *state;
    json_decref(http_expect(daemon, "POST", "/instances",
                            "{\"name\":\"a\",\"tags\":{\"team\":\"backend\",\"x\":\"y\"}}", 201));
    expect_patched(daemon, "{\"team\":\"front\"}", "{\"team\":\"front\"}");
    expect_tagged(daemon, "tags[team]=front", "a");
    expect_tagged(daemon, "tags[x]=y", "");
    json_t *json = http_expect(daemon, "PATCH", "/instances/a", "{\"ttl\":\"1h\",\"env\":{}}", 200);
    assert_non_null(strstr(text_of(json, "expires_at"), "T"));
    assert_string_equal(text_of(json_object_get(json, "tags"), "team"), "front");
    json_decref(json);
    expect_patched(daemon, "{}", "none");
    expect_tagged(daemon, "tags[team]=front", "");
}

static void test_patch_refused(void **state)
{
    static const struct http_refusal cases[] = {
        {NULL, 400, "invalid_request", "changes nothing: one of ttl"},
        {"{}", 400, "invalid_request", "changes nothing: one of ttl"},
        {"{\"env\":null,\"ttl\":null,\"tine\":{\"tags\":null}}", 400, "invalid_request",
         "changes nothing"},
        {"{\"tags\":{\"b\":\"c\"}}", 400, "invalid_request", "changes nothing: one of ttl"},
        {"{\"env\":{}}", 400, "invalid_request", "changes nothing"},
        {"{\"snapshot_policy\":{}}", 400, "invalid_request", "changes nothing"},
        {"[]", 400, "Bad Request", "must be a JSON object"},
        {"{\"tine\":[]}", 400, "Bad Request", "tine: must be an object"},
        {"{\"tine\":{\"tags\":[]}}", 400, "Bad Request", "tine.tags: must be an object"},
        {"{\"tine\":{\"tags\":{\"b\":1}}}", 400, "Bad Request", "tine.tags.b: must be a string"},
        {"{\"tine\":{\"tags\":{\"\":\"c\"}}}", 400, "invalid_request",
         "tine.tags: \"\" is not a key"},
        {"{\"tine\":{\"tags\":{\"b\":\"\\n\"}}}", 400, "invalid_request",
         "tine.tags.b: is not a value"},
        {"{\"env\":{\"A\":\"b\"}}", 400, "invalid_request", "env.A: no credential"},
        {"{\"env\":{\"A\":\"b\"},\"ttl\":\"1h\"}", 400, "invalid_request", "env.A: no credential"},
        {"{\"env\":{\"A\":1}}", 400, "Bad Request", "env.A: must be a string"},
        {"{\"auto_standby\":7}", 400, "invalid_auto_standby", "auto_standby: must be an object"},
        {"{\"health_check\":{\"type\":\"tcp\"}}", 400, "invalid_health_check", "health_check.tcp"},
        {"{\"restart_policy\":{\"policy\":\"x\"}}", 400, "invalid_restart_policy",
         "restart_policy.policy"},
        {"{\"ttl\":\"1h\",\"expires_at\":\"2100-01-01T00:00:00Z\"}", 400, "invalid_request",
         "ttl and expires_at"},
        {"{\"ttl\":\"soon\"}", 400, "invalid_ttl", "ttl: \"soon\""},
        {"{\"ttl\":60}", 400, "Bad Request", "ttl: must be a string"},
        {"{\"expires_at\":\"x\",\"tine\":{\"tags\":{\"b\":\"c\"}}}", 400, "invalid_expires_at",
         "expires_at: \"x\""},
    };
    struct daemon *daemon = *state;
    json_decref(http_expect(daemon, "POST", "/instances",
                            "{\"name\":\"a\",\"tags\":{\"team\":\"backend\"}}", 201));
    http_refused_all(daemon, "PATCH", "/instances/a", cases, ARRAY_SIZE(cases));
    http_refused(daemon, "PATCH", "/instances/none", "{\"tine\":{\"tags\":{}}}", 404, "not_found",
                 "none");
    http_refused(daemon, "PATCH", "/instances", "{}", 405, "Method Not Allowed", "PATCH");
    json_decref(http_expect(daemon, "POST", "/instances", "{\"name\":\"late-1\"}", 201));
    http_refused(daemon, "PATCH", "/instances/late-1", "{\"ttl\":\"1h\"}", 409, "instance_expired",
                 "late-1 expired");
    expect_tagged(daemon, "tags[team]=backend", "a");
    expect_tagged(daemon, "tags[b]=c", "");
    json_t *json = http_expect(daemon, "GET", "/instances/a", NULL, 200);
    assert_true(json_is_null(json_object_get(json, "expires_at")));
    assert_null(json_object_get(json, "auto_standby"));
    json_decref(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_tags),
        TEST(test_tags_refused),
        TEST(test_patch),
        TEST(test_patch_refused),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
