/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of forks that are kept ready. */
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

#define WEB "/instances/web/warm"

static void make_asleep(struct daemon *daemon, const char *name)
{
    char body[128], path[128];
    snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
    json_decref(http_expect(daemon, "POST", "/instances", body, 201));
    snprintf(path, sizeof(path), "/instances/%s/standby", name);
    json_decref(http_expect(daemon, "POST", path, NULL, 200));
}

/* /snapshots/ID of a new one, and `rest`. */
static void make_snapshot(struct daemon *daemon, const char *kind, const char *rest, char path[96])
{
    char body[64];
    snprintf(body, sizeof(body), "{\"kind\":\"%s\"}", kind);
    json_t *json = http_expect(daemon, "POST", "/instances/web/snapshots", body, 201);
    snprintf(path, 96, "/snapshots/%s%s", text_of(json, "id"), rest);
    json_decref(json);
}

static void assert_warm(const json_t *json, int wanted)
{
    static const char *const numbers[] = {"prepared", "pinned_bytes", "taken",
                                          "missed",   "refills",      "lost"};
    assert_int_equal(json_integer_value(json_object_get(json, "wanted")), wanted);
    assert_int_equal(json_integer_value(json_object_get(json, "ready")), wanted);
    assert_true(json_is_null(json_object_get(json, "reason")));
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        assert_true(json_is_integer(json_object_get(json, numbers[i])));
    if (wanted > 0)
        assert_string_equal(text_of(json, "state"), "ready");
    else
        assert_true(json_is_null(json_object_get(json, "state")));
}

static void expect_warm(struct daemon *daemon, const char *method, const char *path,
                        const char *body, int wanted)
{
    json_t *json = http_expect(daemon, method, path, body, 200);
    assert_warm(json, wanted);
    json_decref(json);
}

static void test_instance(void **state)
{
    struct daemon *daemon = *state;
    make_asleep(daemon, "web");
    expect_warm(daemon, "GET", WEB, NULL, 0);
    expect_warm(daemon, "PUT", WEB, "{\"ready\":3}", 3);
    expect_warm(daemon, "GET", WEB, NULL, 3);
    json_t *web = http_expect(daemon, "GET", "/instances/web", NULL, 200);
    assert_warm(json_object_get(json_object_get(web, "tine"), "warm"), 3);
    json_decref(web);
    http_expect(daemon, "DELETE", WEB, NULL, 204);
    web = http_expect(daemon, "GET", "/instances/web", NULL, 200);
    assert_true(json_is_null(json_object_get(json_object_get(web, "tine"), "warm")));
    json_decref(web);
    expect_warm(daemon, "PUT", WEB, "{\"ready\":1}", 1);
    expect_warm(daemon, "PUT", WEB, "{\"ready\":0}", 0);
}

static void test_snapshot(void **state)
{
    struct daemon *daemon = *state;
    char path[96];
    make_asleep(daemon, "web");
    make_snapshot(daemon, "Standby", "/warm", path);
    expect_warm(daemon, "PUT", path, "{\"ready\":2}", 2);
    expect_warm(daemon, "GET", path, NULL, 2);
    json_t *list = http_expect(daemon, "GET", "/snapshots", NULL, 200);
    assert_warm(json_object_get(json_object_get(json_array_get(list, 0), "tine"), "warm"), 2);
    json_decref(list);
    http_expect(daemon, "DELETE", path, NULL, 204);
    expect_warm(daemon, "GET", path, NULL, 0);
}

static void test_list(void **state)
{
    struct daemon *daemon = *state;
    char path[96];
    make_asleep(daemon, "web");
    make_asleep(daemon, "db");
    make_snapshot(daemon, "Standby", "/warm", path);
    expect_warm(daemon, "PUT", WEB, "{\"ready\":3}", 3);
    expect_warm(daemon, "PUT", path, "{\"ready\":2}", 2);
    json_t *list = http_expect(daemon, "GET", "/warm", NULL, 200);
    assert_int_equal(json_array_size(list), 2);
    assert_warm(json_array_get(list, 0), 3);
    assert_warm(json_array_get(list, 1), 2);
    assert_string_equal(text_of(json_array_get(list, 0), "name"), "web");
    assert_string_equal(text_of(json_array_get(list, 0), "kind"), "instance");
    assert_true(json_is_null(json_object_get(json_array_get(list, 1), "name")));
    assert_string_equal(text_of(json_array_get(list, 1), "kind"), "snapshot");
    json_decref(list);
}

static void test_refused(void **state)
{
    static const struct {
        const char *method, *path, *body;
        int status;
        const char *code, *words;
    } cases[] = {
        {"PUT", WEB, NULL, 400, "Bad Request", "ready: is required"},
        {"PUT", WEB, "[]", 400, "Bad Request", "object"},
        {"PUT", WEB, "{\"ready\":\"3\"}", 400, "Bad Request", "ready"},
        {"PUT", WEB, "{\"ready\":-1}", 400, "invalid_request", "ready"},
        {"PUT", WEB, "{\"ready\":257}", 400, "invalid_request", "ready"},
        {"POST", WEB, "{\"ready\":1}", 405, "Method Not Allowed", "POST"},
        {"PUT", "/instances/none/warm", "{\"ready\":1}", 404, "not_found", "none"},
        {"GET", "/instances/none/warm", NULL, 404, "not_found", "none"},
        {"DELETE", "/instances/none/warm", NULL, 404, "not_found", "none"},
        {"PUT", "/instances/awake/warm", "{\"ready\":1}", 409, "invalid_state", "Running"},
        {"PUT", "/snapshots/none/warm", "{\"ready\":1}", 404, "not_found", "none"},
        {"GET", "/snapshots/none/warm", NULL, 404, "not_found", "none"},
        {"DELETE", "/snapshots/none/warm", NULL, 404, "not_found", "none"},
    };
    struct daemon *daemon = *state;
    char path[96];
    make_asleep(daemon, "web");
    json_decref(http_expect(daemon, "POST", "/instances", "{\"name\":\"awake\"}", 201));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        http_refused(daemon, cases[i].method, cases[i].path, cases[i].body, cases[i].status,
                     cases[i].code, cases[i].words);
    make_asleep(daemon, "off");
    json_decref(http_expect(daemon, "POST", "/instances/web/restore", NULL, 200));
    json_decref(http_expect(daemon, "POST", "/instances/web/stop", NULL, 200));
    make_snapshot(daemon, "Stopped", "/warm", path);
    http_refused(daemon, "PUT", path, "{\"ready\":1}", 409, "invalid_state", "Stopped");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_instance),
        TEST(test_snapshot),
        TEST(test_list),
        TEST(test_refused),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
