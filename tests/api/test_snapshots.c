/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of snapshots: statuses, bodies, and what is refused. */
#include <pthread.h>
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

#define FORKS 25

/* An instance in that state, by the operations that lead there ("" or "standby" or "stop"). */
static void make(struct daemon *daemon, const char *name, const char *operation)
{
    char body[128], path[128];
    snprintf(body, sizeof(body), "{\"name\":\"%s\"}", name);
    json_decref(http_expect(daemon, "POST", "/instances", body, 201));
    snprintf(path, sizeof(path), "/instances/%s/%s", name, operation);
    if (*operation)
        json_decref(http_expect(daemon, "POST", path, NULL, 200));
}

struct id {
    char text[25];
};

static struct id snapshot(struct daemon *daemon, const char *source, const char *body)
{
    char path[128];
    struct id id;
    snprintf(path, sizeof(path), "/instances/%s/snapshots", source);
    json_t *json = http_expect(daemon, "POST", path, body, 201);
    snprintf(id.text, sizeof(id.text), "%s", text_of(json, "id"));
    json_decref(json);
    return id;
}

struct target {
    char text[160];
};

static struct target fork_path(const struct id *id)
{
    struct target path;
    snprintf(path.text, sizeof(path.text), "/snapshots/%s/fork", id->text);
    return path;
}

static struct target restore_path(const char *instance, const struct id *id)
{
    struct target path;
    snprintf(path.text, sizeof(path.text), "/instances/%s/snapshots/%s/restore", instance,
             id->text);
    return path;
}

/* Every field of the contract, with its type. */
static void assert_fields(const json_t *json, const char *name, const char *kind)
{
    static const char *const nullable[] = {"compression_error", "compressed_size_bytes",
                                           "uncompressed_size_bytes"};
    assert_int_equal(strlen(text_of(json, "id")), 24);
    assert_string_equal(text_of(json, "kind"), kind);
    assert_string_equal(text_of(json, "source_instance_name"), "web");
    assert_int_equal(strlen(text_of(json, "source_instance_id")), 24);
    assert_string_equal(text_of(json, "source_hypervisor"), "builtin");
    assert_string_equal(text_of(json, "compression_state"), "none");
    assert_non_null(strstr(text_of(json, "created_at"), "T"));
    assert_int_equal(json_integer_value(json_object_get(json, "size_bytes")), 3ll << 30);
    assert_null(json_object_get(json, "compression"));
    if (name)
        assert_string_equal(text_of(json, "name"), name);
    else
        assert_true(json_is_null(json_object_get(json, "name")));
    for (size_t i = 0; i < ARRAY_SIZE(nullable); i++)
        assert_true(json_is_null(json_object_get(json, nullable[i])));
}

static void test_create(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", "");
    json_t *json = http_expect(daemon, "POST", "/instances/web/snapshots",
                               "{\"kind\":\"Standby\",\"name\":\"warm\",\"tags\":{\"a\":\"b\"},"
                               "\"compression\":{\"enabled\":false},\"unknown\":1}",
                               201);
    assert_fields(json, "warm", "Standby");
    assert_string_equal(text_of(json_object_get(json, "tags"), "a"), "b");
    json_decref(json);
    json = http_expect(daemon, "POST", "/instances/web/snapshots", "{\"kind\":\"Standby\"}", 201);
    assert_null(json_object_get(json, "tags"));
    assert_fields(json, NULL, "Standby");
    json_decref(json);
    json_decref(http_expect(daemon, "POST", "/instances/web/stop", NULL, 200));
    json = http_expect(daemon, "POST", "/instances/web/snapshots", "{\"kind\":\"Stopped\"}", 201);
    assert_fields(json, NULL, "Stopped");
    json_decref(json);
}

static void test_compression(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", "");
    json_t *json = http_expect(daemon, "POST", "/instances/web/snapshots",
                               "{\"kind\":\"Standby\",\"compression\":{\"enabled\":true,"
                               "\"level\":3}}",
                               201);
    const json_t *wish = json_object_get(json, "compression");
    assert_string_equal(text_of(json, "compression_state"), "compressing");
    assert_string_equal(text_of(wish, "algorithm"), "zstd");
    assert_int_equal(json_integer_value(json_object_get(wish, "level")), 3);
    assert_true(json_is_null(json_object_get(json, "compression_error")));
    json_decref(json);
    json = http_expect(daemon, "POST", "/instances/web/snapshots",
                       "{\"kind\":\"Standby\",\"name\":\"fail-compression\","
                       "\"compression\":{\"enabled\":true,\"algorithm\":\"lz4\"}}",
                       201);
    assert_string_equal(text_of(json, "compression_state"), "error");
    assert_string_equal(text_of(json, "compression_error"), "as told");
    assert_true(json_is_null(json_object_get(json, "compressed_size_bytes")));
    json_decref(json);
}

static void test_create_refused(void **state)
{
    static const struct {
        const char *path, *body;
        int status;
        const char *code, *words;
    } cases[] = {
        {"web", NULL, 400, "Bad Request", "kind: is required"},
        {"web", "[]", 400, "Bad Request", "object"},
        {"web", "{\"kind\":1}", 400, "Bad Request", "kind: must be a string"},
        {"web", "{\"kind\":\"standby\"}", 400, "invalid_request", "\"standby\""},
        {"web", "{\"kind\":\"Running\"}", 400, "invalid_request", "\"Running\""},
        {"web", "{\"kind\":\"Standby\",\"name\":\"No\"}", 400, "invalid_request", "\"No\""},
        {"web", "{\"kind\":\"Standby\",\"name\":7}", 400, "Bad Request", "name"},
        {"web", "{\"kind\":\"Standby\",\"tags\":{\"a\":1}}", 400, "Bad Request", "tags.a"},
        {"web", "{\"kind\":\"Standby\",\"tags\":{\"\":\"x\"}}", 400, "invalid_request",
         "not a key"},
        {"web", "{\"kind\":\"Standby\",\"compression\":{}}", 400, "invalid_snapshot_compression",
         "enabled"},
        {"web", "{\"kind\":\"Stopped\",\"compression\":{\"enabled\":true}}", 400,
         "invalid_snapshot_compression", "Stopped"},
        {"web", "{\"kind\":\"Standby\",\"compression\":{\"enabled\":true,\"level\":20}}", 400,
         "invalid_snapshot_compression", "levels 1 to 19, not 20"},
        {"none", "{\"kind\":\"Standby\"}", 404, "not_found", "none"},
        {"web", "{\"kind\":\"Stopped\"}", 409, "conflict", "Running"},
        {"off", "{\"kind\":\"Standby\"}", 409, "conflict", "Stopped"},
        {"web", "{\"kind\":\"Standby\",\"name\":\"taken\"}", 409, "conflict", "taken"},
        {"web", "{\"kind\":\"Standby\",\"name\":\"fail-resources\"}", 409, "insufficient_resources",
         "as told"},
        {"web", "{\"kind\":\"Standby\",\"name\":\"fail-unsupported\"}", 501, "not_supported",
         "as told"},
    };
    struct daemon *daemon = *state;
    make(daemon, "web", "");
    make(daemon, "off", "stop");
    snapshot(daemon, "web", "{\"kind\":\"Standby\",\"name\":\"taken\"}");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        char path[64];
        snprintf(path, sizeof(path), "/instances/%s/snapshots", cases[i].path);
        http_refused(daemon, "POST", path, cases[i].body, cases[i].status, cases[i].code,
                     cases[i].words);
    }
    http_refused(daemon, "GET", "/instances/web/snapshots", NULL, 405, "Method Not Allowed", "GET");
}

static void assert_list(struct daemon *daemon, const char *query, size_t count)
{
    char path[256];
    snprintf(path, sizeof(path), "/snapshots%s", query);
    json_t *json = http_expect(daemon, "GET", path, NULL, 200);
    assert_true(json_is_array(json));
    assert_int_equal(json_array_size(json), count);
    json_decref(json);
}

static void test_list_get_delete(void **state)
{
    struct daemon *daemon = *state;
    char path[128], query[128];
    assert_list(daemon, "", 0);
    make(daemon, "web", "standby");
    make(daemon, "off", "stop");
    const struct id warm = snapshot(daemon, "web", "{\"kind\":\"Standby\",\"name\":\"one\"}");
    snapshot(daemon, "off", "{\"kind\":\"Stopped\",\"name\":\"one\"}");
    snapshot(daemon, "off", "{\"kind\":\"Stopped\",\"tags\":{\"team\":\"backend\"}}");
    assert_list(daemon, "", 3);
    assert_list(daemon, "?name=one", 2);
    assert_list(daemon, "?kind=Stopped&name=one", 1);
    assert_list(daemon, "?source_instance_id=web", 0);
    assert_list(daemon, "?tags[team]=backend", 1);
    assert_list(daemon, "?tags[team]=backend&name=one", 0);
    assert_list(daemon, "?unknown=1", 3);
    snprintf(path, sizeof(path), "/snapshots/%s", warm.text);
    json_t *json = http_expect(daemon, "GET", path, NULL, 200);
    assert_fields(json, "one", "Standby");
    snprintf(query, sizeof(query), "?source_instance_id=%s", text_of(json, "source_instance_id"));
    json_decref(json);
    assert_list(daemon, query, 1);
    http_refused(daemon, "GET", "/snapshots?kind=standby", NULL, 400, "Bad Request", "standby");
    http_refused(daemon, "GET", "/snapshots?kind=Running", NULL, 400, "Bad Request", "Running");
    http_refused(daemon, "GET", "/snapshots/one", NULL, 404, "not_found", "one");
    http_refused(daemon, "GET", "/snapshots/s0", NULL, 404, "not_found", "s0");
    http_refused(daemon, "DELETE", "/snapshots/one", NULL, 404, "not_found", "one");
    http_refused(daemon, "POST", path, "{}", 405, "Method Not Allowed", "POST");
    struct http_reply reply = http_call(daemon, "DELETE", path, NULL);
    assert_int_equal(reply.status, 204);
    assert_int_equal(reply.body_length, 0);
    http_release(&reply);
    http_refused(daemon, "GET", path, NULL, 404, "not_found", warm.text);
    assert_list(daemon, "", 2);
}

static void test_fork(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", "standby");
    make(daemon, "off", "stop");
    const struct id warm = snapshot(daemon, "web", "{\"kind\":\"Standby\"}");
    const struct id cold = snapshot(daemon, "off", "{\"kind\":\"Stopped\"}");
    const struct target of_warm = fork_path(&warm), of_cold = fork_path(&cold);
    static const struct {
        bool warm;
        const char *body, *state;
    } made[] = {
        {true, "{\"name\":\"a\"}", "Running"},
        {true, "{\"name\":\"b\",\"target_state\":\"Standby\"}", "Standby"},
        {true, "{\"name\":\"c\",\"target_state\":\"Stopped\"}", "Stopped"},
        {false, "{\"name\":\"d\",\"wait_for_network\":false}", "Stopped"},
        {false, "{\"name\":\"e\",\"target_state\":\"Running\"}", "Running"},
        {false, "{\"name\":\"f\",\"target_hypervisor\":\"builtin\"}", "Stopped"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(made); i++) {
        const char *path = made[i].warm ? of_warm.text : of_cold.text;
        json_t *json = http_expect(daemon, "POST", path, made[i].body, 201);
        assert_string_equal(text_of(json, "state"), made[i].state);
        assert_int_equal(strlen(text_of(json, "id")), 24);
        json_decref(json);
    }
    static const struct {
        bool warm;
        const char *body;
        int status;
        const char *code, *words;
    } refused[] = {
        {true, NULL, 400, "Bad Request", "name: is required"},
        {true, "{\"name\":1}", 400, "Bad Request", "name"},
        {true, "{\"name\":\"No\"}", 400, "invalid_request", "No"},
        {true, "{\"name\":\"x\",\"target_state\":\"Asleep\"}", 400, "invalid_request", "Asleep"},
        {true, "{\"name\":\"x\",\"target_state\":3}", 400, "Bad Request", "target_state"},
        {true, "{\"name\":\"x\",\"target_hypervisor\":\"builtin\"}", 400, "invalid_request",
         "target_hypervisor"},
        {false, "{\"name\":\"x\",\"target_hypervisor\":\"qemu\"}", 501, "not_supported",
         "target_hypervisor"},
        {false, "{\"name\":\"x\",\"target_state\":\"Standby\"}", 400, "invalid_request",
         "target_state"},
        {true, "{\"name\":\"a\"}", 409, "conflict", "\"a\" is taken"},
        {true, "{\"name\":\"fail-state\"}", 409, "conflict", "as told"},
        {true, "{\"name\":\"fail-resources\"}", 409, "insufficient_resources", "as told"},
        {true, "{\"name\":\"fail-corrupt\"}", 500, "internal_error", "as told"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++)
        http_refused(daemon, "POST", refused[i].warm ? of_warm.text : of_cold.text, refused[i].body,
                     refused[i].status, refused[i].code, refused[i].words);
    http_refused(daemon, "POST", "/snapshots/none/fork", "{\"name\":\"x\"}", 404, "not_found",
                 "none");
}

struct forker {
    pthread_t thread;
    struct daemon *daemon;
    struct target path;
    int number, status;
};

static void *forker_run(void *context)
{
    struct forker *forker = context;
    char body[64];
    snprintf(body, sizeof(body), "{\"name\":\"meet-%d-%d\"}", FORKS, forker->number);
    struct http_reply reply = http_call(forker->daemon, "POST", forker->path.text, body);
    forker->status = reply.status;
    http_release(&reply);
    return NULL;
}

/* None of them is answered before all are under way. */
static void test_forks_at_once(void **state)
{
    struct daemon *daemon = *state;
    struct forker forkers[FORKS];
    make(daemon, "web", "standby");
    const struct id warm = snapshot(daemon, "web", "{\"kind\":\"Standby\"}");
    for (int i = 0; i < FORKS; i++) {
        forkers[i] = (struct forker){.daemon = daemon, .path = fork_path(&warm), .number = i};
        assert_int_equal(pthread_create(&forkers[i].thread, NULL, forker_run, &forkers[i]), 0);
    }
    for (int i = 0; i < FORKS; i++) {
        pthread_join(forkers[i].thread, NULL);
        assert_int_equal(forkers[i].status, 201);
    }
}

static void test_restore(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", "standby");
    make(daemon, "off", "stop");
    const struct id warm = snapshot(daemon, "web", "{\"kind\":\"Standby\"}");
    const struct id cold = snapshot(daemon, "off", "{\"kind\":\"Stopped\"}");
    const struct target of_warm = restore_path("web", &warm), of_cold = restore_path("off", &cold);
    json_t *json = http_expect(daemon, "POST", of_warm.text, "{\"target_state\":\"Standby\"}", 200);
    assert_string_equal(text_of(json, "state"), "Standby");
    assert_string_equal(text_of(json, "name"), "web");
    json_decref(json);
    json = http_expect(daemon, "POST", of_cold.text, "{}", 200);
    assert_string_equal(text_of(json, "state"), "Stopped");
    json_decref(json);
    json = http_expect(daemon, "POST", of_warm.text, NULL, 200);
    assert_string_equal(text_of(json, "state"), "Running");
    json_decref(json);
    http_refused(daemon, "POST", of_warm.text, "{}", 409, "invalid_state", "Running");
    http_refused(daemon, "POST", restore_path("off", &warm).text, "{}", 400, "invalid_request",
                 "not of off");
    http_refused(daemon, "POST", restore_path("none", &warm).text, "{}", 404, "not_found", "none");
    http_refused(daemon, "POST", "/instances/off/snapshots/none/restore", "{}", 404, "not_found",
                 "none");
    http_refused(daemon, "POST", "/instances/off/snapshots//restore", "{}", 404, "Not Found",
                 "route");
    http_refused(daemon, "POST", of_cold.text, "{\"target_state\":\"Standby\"}", 400,
                 "invalid_request", "target_state");
    http_refused(daemon, "POST", of_cold.text, "{\"target_state\":[]}", 400, "Bad Request",
                 "target_state");
    http_refused(daemon, "POST", of_warm.text, "{\"target_hypervisor\":\"qemu\"}", 400,
                 "invalid_request", "target_hypervisor");
    http_refused(daemon, "POST", of_cold.text, "{\"target_hypervisor\":\"qemu\"}", 501,
                 "not_supported", "target_hypervisor");
    http_refused(daemon, "GET", of_cold.text, NULL, 405, "Method Not Allowed", "GET");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_create),          TEST(test_compression), TEST(test_create_refused),
        TEST(test_list_get_delete), TEST(test_fork),        TEST(test_forks_at_once),
        TEST(test_restore),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
