/* SPDX-License-Identifier: Apache-2.0 */
/* Every route of tined: statuses, bodies, and what is refused. */
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

/* Makes an instance; its id lands in `id` (25 bytes) if that is not NULL. */
static void make(struct daemon *daemon, const char *name, char *id)
{
    char body[128];
    snprintf(body, sizeof(body), "{\"name\":\"%s\",\"image\":\"tine/guest:latest\"}", name);
    json_t *json = http_expect(daemon, "POST", "/instances", body, 201);
    if (id)
        snprintf(id, 25, "%s", text_of(json, "id"));
    json_decref(json);
}

/* POSTs to an instance's action and checks the state it answers with. */
static void act(struct daemon *daemon, const char *path, const char *body, const char *wanted)
{
    json_t *json = http_expect(daemon, "POST", path, body, 200);
    assert_string_equal(text_of(json, "state"), wanted);
    json_decref(json);
}

static void test_health(void **state)
{
    json_t *json = http_expect(*state, "GET", "/health", NULL, 200);
    assert_string_equal(text_of(json, "status"), "ok");
    json_decref(json);
}

static void test_no_route(void **state)
{
    struct daemon *daemon = *state;
    http_refused(daemon, "GET", "/", NULL, 404, "Not Found", "route");
    http_refused(daemon, "GET", "/nothing", NULL, 404, "Not Found", "route");
    http_refused(daemon, "GET", "/instances/a/nothing", NULL, 404, "Not Found", "route");
    http_refused(daemon, "GET", "/instances/a/b/c", NULL, 404, "Not Found", "route");
    http_refused(daemon, "GET", "/instances//stats", NULL, 404, "Not Found", "route");
    http_refused(daemon, "PUT", "/instances", "{}", 405, "Method Not Allowed", "PUT");
    http_refused(daemon, "DELETE", "/instances/", NULL, 405, "Method Not Allowed", "DELETE");
    http_refused(daemon, "GET", "/instances/a/stop", NULL, 405, "Method Not Allowed", "GET");
    http_refused(daemon, "GET", "/%zz", NULL, 400, "Bad Request", "malformed");
    http_refused(daemon, "GET", "/instances/%00", NULL, 400, "Bad Request", "malformed");
}

static void test_list(void **state)
{
    struct daemon *daemon = *state;
    json_t *json = http_expect(daemon, "GET", "/instances", NULL, 200);
    assert_true(json_is_array(json));
    assert_int_equal(json_array_size(json), 0);
    json_decref(json);
    make(daemon, "a", NULL);
    make(daemon, "b", NULL);
    act(daemon, "/instances/b/standby", "{}", "Standby");
    json = http_expect(daemon, "GET", "/instances?unknown%5Bteam%5D=x&other=1", NULL, 200);
    assert_int_equal(json_array_size(json), 2);
    assert_string_equal(text_of(json_array_get(json, 0), "name"), "a");
    json_decref(json);
    json = http_expect(daemon, "GET", "/instances?state=Standby", NULL, 200);
    assert_int_equal(json_array_size(json), 1);
    assert_string_equal(text_of(json_array_get(json, 0), "name"), "b");
    json_decref(json);
    http_refused(daemon, "GET", "/instances?state=running", NULL, 400, "Bad Request", "running");
}

static void test_references(void **state)
{
    struct daemon *daemon = *state;
    char id[25], path[64];
    make(daemon, "one", id);
    make(daemon, "two", NULL);
    snprintf(path, sizeof(path), "/instances/%s", id);
    json_t *json = http_expect(daemon, "GET", path, NULL, 200);
    assert_string_equal(text_of(json, "name"), "one");
    const json_t *memory = json_object_get(json_object_get(json, "tine"), "memory");
    assert_int_equal(json_integer_value(json_object_get(memory, "link_count")), 26);
    assert_int_equal(json_integer_value(json_object_get(memory, "shared_file_bytes")), 64 << 20);
    assert_int_equal(json_integer_value(json_object_get(memory, "private_file_bytes")), 0);
    json_decref(json);
    snprintf(path, sizeof(path), "/instances/%.8s", id);
    json_decref(http_expect(daemon, "GET", path, NULL, 200));
    http_refused(daemon, "GET", "/instances/k", NULL, 409, "ambiguous", "several");
    http_refused(daemon, "GET", "/instances/none", NULL, 404, "not_found", "none");
    static const char *const actions[] = {"start", "stop", "standby", "restore"};
    for (size_t i = 0; i < ARRAY_SIZE(actions); i++) {
        snprintf(path, sizeof(path), "/instances/none/%s", actions[i]);
        http_refused(daemon, "POST", path, NULL, 404, "not_found", "none");
        snprintf(path, sizeof(path), "/instances/k/%s", actions[i]);
        http_refused(daemon, "POST", path, NULL, 409, "ambiguous", "several");
    }
    http_refused(daemon, "POST", "/instances/none/fork", "{\"name\":\"x\"}", 404, "not_found", "");
    static const char *const views[] = {"wait?state=Running", "stats", "logs", "exec"};
    for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
        snprintf(path, sizeof(path), "/instances/none/%s", views[i]);
        http_refused(daemon, "GET", path, NULL, 404, "not_found", "none");
    }
    http_refused(daemon, "DELETE", "/instances/none", NULL, 404, "not_found", "none");
    http_refused(daemon, "DELETE", "/instances/k", NULL, 409, "ambiguous", "several");
    /* A name that needs escapes is just unknown. */
    http_refused(daemon, "GET", "/instances/a%2Fb%20%ff", NULL, 404, "not_found", "a/b ");
}

static void test_life(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", NULL);
    act(daemon, "/instances/web/restore", NULL, "Running"); /* nothing to do */
    act(daemon, "/instances/web/start", "{}", "Running");   /* nothing to do */
    act(daemon, "/instances/web/standby", NULL, "Standby");
    act(daemon, "/instances/web/standby", "{}", "Standby"); /* nothing to do */
    http_refused(daemon, "POST", "/instances/web/standby", "{\"compression_delay\":\"1s\"}", 409,
                 "invalid_state", "Standby");
    http_refused(daemon, "POST", "/instances/web/start", NULL, 409, "invalid_state", "Standby");
    http_refused(daemon, "POST", "/instances/web/stop", NULL, 409, "invalid_state", "Standby");
    json_t *json = http_expect(daemon, "GET", "/instances/web", NULL, 200);
    assert_true(json_is_true(json_object_get(json, "has_snapshot")));
    json_decref(json);
    act(daemon, "/instances/web/restore", NULL, "Running");
    act(daemon, "/instances/web/stop", NULL, "Stopped");
    act(daemon, "/instances/web/stop", "{\"tine\":{\"grace_ms\":10}}", "Stopped");
    http_refused(daemon, "POST", "/instances/web/standby", NULL, 409, "invalid_state", "Stopped");
    http_refused(daemon, "POST", "/instances/web/restore", NULL, 409, "invalid_state", "Stopped");
    act(daemon, "/instances/web/start", NULL, "Running");
    struct http_reply reply = http_call(daemon, "DELETE", "/instances/web", NULL);
    assert_int_equal(reply.status, 204);
    assert_int_equal(reply.body_length, 0);
    http_release(&reply);
    http_refused(daemon, "GET", "/instances/web", NULL, 404, "not_found", "web");
}

static void test_operation_bodies(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", NULL);
    http_refused(daemon, "POST", "/instances/web/start", "{\"cmd\":[\"x\"]}", 409, "invalid_state",
                 "another program");
    http_refused(daemon, "POST", "/instances/web/start", "{\"cmd\":\"x\"}", 400, "Bad Request",
                 "cmd: must be an array");
    http_refused(daemon, "POST", "/instances/web/start", "{\"entrypoint\":[1]}", 400, "Bad Request",
                 "entrypoint: must be an array of strings");
    act(daemon, "/instances/web/start", "{\"cmd\":[],\"entrypoint\":null}", "Running");
    http_refused(daemon, "POST", "/instances/web/stop", "{\"tine\":{\"grace_ms\":0}}", 400,
                 "invalid_request", "tine.grace_ms");
    http_refused(daemon, "POST", "/instances/web/stop", "nonsense", 400, "Bad Request", "JSON");
    http_refused(daemon, "POST", "/instances/web/standby", "{\"compression\":{}}", 400,
                 "invalid_snapshot_compression", "enabled");
    http_refused(daemon, "POST", "/instances/web/standby", "{\"compression\":{\"enabled\":1}}", 400,
                 "Bad Request", "compression.enabled");
    static const struct {
        const char *body, *code, *words;
    } wishes[] = {
        {"{\"enabled\":true,\"algorithm\":\"gzip\"}", "invalid_snapshot_compression", "'gzip'"},
        {"{\"enabled\":true,\"algorithm\":7}", "Bad Request", "compression.algorithm"},
        {"{\"enabled\":true,\"level\":0}", "invalid_snapshot_compression", "levels 1 to 19"},
        {"{\"enabled\":true,\"level\":20}", "invalid_snapshot_compression", "not 20"},
        {"{\"enabled\":true,\"level\":1.5}", "Bad Request", "compression.level"},
        {"{\"enabled\":true,\"level\":4294967297}", "invalid_snapshot_compression", "levels"},
        {"{\"enabled\":true,\"algorithm\":\"lz4\",\"level\":10}", "invalid_snapshot_compression",
         "compression.level: lz4 has levels 0 to 9, not 10"},
        {"[]", "Bad Request", "compression"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(wishes); i++) {
        _cleanup_(free) char *body = NULL;
        assert_true(asprintf(&body, "{\"compression\":%s}", wishes[i].body) > 0);
        http_refused(daemon, "POST", "/instances/web/standby", body, 400, wishes[i].code,
                     wishes[i].words);
    }
    http_refused(daemon, "POST", "/instances/web/standby", "{\"compression_delay\":\"soon\"}", 400,
                 "invalid_compression_delay", "soon");
    http_refused(daemon, "POST", "/instances/web/standby", "{\"compression_delay\":\"-1s\"}", 400,
                 "invalid_compression_delay", "negative");
    act(daemon, "/instances/web/standby", "{\"compression\":{\"enabled\":false}}", "Standby");
}

static void assert_wish(const json_t *object, const char *algorithm, int level)
{
    const json_t *wish = json_object_get(object, "compression");
    assert_true(json_is_true(json_object_get(wish, "enabled")));
    assert_string_equal(text_of(wish, "algorithm"), algorithm);
    assert_int_equal(json_integer_value(json_object_get(wish, "level")), level);
}

static void test_compression(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", NULL);
    json_t *json = http_expect(daemon, "POST", "/instances/web/standby",
                               "{\"compression\":{\"enabled\":true}}", 200);
    const json_t *memory = json_object_get(json_object_get(json, "tine"), "memory");
    assert_string_equal(text_of(memory, "compression_state"), "compressed");
    assert_wish(memory, "zstd", 1);
    assert_true(json_integer_value(json_object_get(memory, "compressed_size_bytes")) > 0);
    assert_int_equal(json_integer_value(json_object_get(memory, "uncompressed_size_bytes")),
                     1 << 30);
    assert_true(json_is_null(json_object_get(memory, "compression_error")));
    json_decref(json);
    http_refused(daemon, "POST", "/instances/web/standby", "{\"compression\":{\"enabled\":true}}",
                 409, "invalid_state", "too late");
    make(daemon, "other", NULL);
    json = http_expect(daemon, "POST", "/instances/other/standby",
                       "{\"compression\":{\"enabled\":true,\"algorithm\":\"lz4\",\"level\":3},"
                       "\"compression_delay\":\"1h\"}",
                       200);
    memory = json_object_get(json_object_get(json, "tine"), "memory");
    assert_string_equal(text_of(memory, "compression_state"), "none");
    assert_wish(memory, "lz4", 3);
    assert_true(json_is_null(json_object_get(memory, "compressed_size_bytes")));
    json_decref(json);
}

static const json_t *pager_of(const json_t *instance)
{
    const json_t *memory = json_object_get(json_object_get(instance, "tine"), "memory");
    return json_object_get(memory, "pager");
}

static void test_fork(void **state)
{
    struct daemon *daemon = *state;
    char id[25];
    make(daemon, "web", id);
    http_refused(daemon, "POST", "/instances/web/fork", "{\"name\":\"f\"}", 409, "invalid_state",
                 "from_running");
    http_refused(daemon, "POST", "/instances/web/fork", "{}", 400, "Bad Request", "name: is");
    http_refused(daemon, "POST", "/instances/web/fork", NULL, 400, "Bad Request", "name: is");
    http_refused(daemon, "POST", "/instances/web/fork", "{\"name\":\"F\"}", 400, "invalid_request",
                 "is not a name");
    http_refused(daemon, "POST", "/instances/web/fork", "{\"name\":\"f\",\"from_running\":\"yes\"}",
                 400, "Bad Request", "from_running: must be a boolean, not a string");
    http_refused(daemon, "POST", "/instances/web/fork", "{\"name\":\"f\",\"target_state\":5}", 400,
                 "Bad Request", "target_state: must be a string");
    static const char *const wrong[] = {"running", "Paused", "Created", "x"};
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        char body[64];
        snprintf(body, sizeof(body), "{\"name\":\"f\",\"target_state\":\"%s\"}", wrong[i]);
        http_refused(daemon, "POST", "/instances/web/fork", body, 400, "invalid_request",
                     "target_state");
    }
    json_t *json = http_expect(daemon, "POST", "/instances/web/fork",
                               "{\"name\":\"f\",\"from_running\":true,\"wait_for_network\":false,"
                               "\"target_state\":\"Standby\"}",
                               201);
    assert_string_equal(text_of(json, "state"), "Standby");
    assert_string_equal(text_of(json_object_get(json, "tine"), "parent_id"), id);
    assert_string_equal(text_of(json_object_get(json_object_get(json, "tine"), "memory"), "method"),
                        "link");
    assert_true(json_is_null(pager_of(json)));
    json_decref(json);
    json = http_expect(daemon, "POST", "/instances/web/fork",
                       "{\"name\":\"paged\",\"from_running\":true}", 201);
    assert_string_equal(text_of(pager_of(json), "state"), "serving");
    assert_string_equal(text_of(pager_of(json), "version"), "1.2.3");
    assert_true(json_is_null(json_object_get(pager_of(json), "reason")));
    assert_int_equal(json_integer_value(json_object_get(pager_of(json), "pages_present")), 7);
    json_decref(json);
    http_refused(daemon, "POST", "/instances/f/fork", "{\"name\":\"fail-resources\"}", 409,
                 "insufficient_resources", "as told");
}

static void wait_refused(struct daemon *daemon, const char *query, const char *code)
{
    char path[128];
    snprintf(path, sizeof(path), "/instances/web/wait%s", query);
    http_refused(daemon, "GET", path, NULL, 400, code, "");
}

static void expect_wait(struct daemon *daemon, const char *path, const char *wanted, bool timed_out)
{
    json_t *json = http_expect(daemon, "GET", path, NULL, 200);
    assert_string_equal(text_of(json, "state"), wanted);
    assert_int_equal(json_is_true(json_object_get(json, "timed_out")), timed_out);
    assert_non_null(json_object_get(json, "state_error"));
    json_decref(json);
}

static void test_wait(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", NULL);
    make(daemon, "later-1", NULL);
    make(daemon, "init-1", NULL);
    make(daemon, "broken-1", NULL);
    wait_refused(daemon, "", "Bad Request");
    wait_refused(daemon, "?state=", "invalid_state");
    wait_refused(daemon, "?state=Unknown", "invalid_state");
    wait_refused(daemon, "?state=running", "invalid_state");
    wait_refused(daemon, "?state=Running&timeout=5", "invalid_timeout");
    wait_refused(daemon, "?state=Running&timeout=0s", "invalid_timeout");
    wait_refused(daemon, "?state=Running&timeout=-1s", "invalid_timeout");
    expect_wait(daemon, "/instances/web/wait?state=Running", "Running", false);
    expect_wait(daemon, "/instances/later-1/wait?state=Running&timeout=1m", "Running", false);
    expect_wait(daemon, "/instances/init-1/wait?state=Running&timeout=100ms", "Initializing", true);
    expect_wait(daemon, "/instances/broken-1/wait?state=Running", "Unknown", false);
    act(daemon, "/instances/web/standby", NULL, "Standby");
    expect_wait(daemon, "/instances/web/wait?state=Running", "Standby", false);
    make(daemon, "again-1", NULL);
    act(daemon, "/instances/again-1/stop", NULL, "Stopped");
    expect_wait(daemon, "/instances/again-1/wait?state=Running&timeout=1m", "Running", false);
}

/* An instance that is deleted while somebody waits for it: 404. A new one of its name is another.
 */
static void test_wait_deleted(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "init-1", NULL);
    int fd = http_open(daemon);
    http_send_text(fd, "GET /instances/init-1/wait?state=Running HTTP/1.1\r\nHost: t\r\n"
                       "Connection: close\r\n\r\n");
    free(daemon_await_log(daemon, "wait: init-1 is Initializing"));
    struct http_reply reply = http_call(daemon, "DELETE", "/instances/init-1", NULL);
    http_release(&reply);
    make(daemon, "init-1", NULL);
    reply = http_finish(fd);
    assert_int_equal(reply.status, 404);
    assert_string_equal(text_of(reply.json, "code"), "not_found");
    http_release(&reply);
}

static void test_stats(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", NULL);
    json_t *json = http_expect(daemon, "GET", "/instances/web/stats", NULL, 200);
    const char *id, *name;
    double cpu, ratio;
    json_int_t rss, vms, rx, tx, vcpus, memory, links;
    assert_int_equal(
        json_unpack(json, "{s:s,s:s,s:f,s:I,s:I,s:I,s:I,s:I,s:I,s:f,s:{s:I}}", "instance_id", &id,
                    "instance_name", &name, "cpu_seconds", &cpu, "memory_rss_bytes", &rss,
                    "memory_vms_bytes", &vms, "network_rx_bytes", &rx, "network_tx_bytes", &tx,
                    "allocated_vcpus", &vcpus, "allocated_memory_bytes", &memory,
                    "memory_utilization_ratio", &ratio, "tine", "memory_link_count", &links),
        0);
    assert_string_equal(name, "web");
    assert_int_equal(memory, 1 << 30);
    assert_true(ratio > 0.24 && ratio < 0.26);
    assert_int_equal(links, 26);
    json_decref(json);
}

static void test_resources(void **state)
{
    struct daemon *daemon = *state;
    make(daemon, "web", NULL);
    make(daemon, "off", NULL);
    act(daemon, "/instances/off/stop", NULL, "Stopped");
    json_t *json = http_expect(daemon, "GET", "/resources", NULL, 200);
    static const char *const kinds[] = {"cpu", "memory", "disk"};
    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        json_t *kind = json_object_get(json, kinds[i]);
        assert_string_equal(text_of(kind, "type"), kinds[i]);
        assert_true(json_integer_value(json_object_get(kind, "capacity")) > 0);
    }
    json_t *network = json_object_get(json, "network");
    assert_string_equal(text_of(network, "type"), "network");
    assert_int_equal(json_integer_value(json_object_get(network, "available")), 0);
    json_t *allocations = json_object_get(json, "allocations");
    assert_int_equal(json_array_size(allocations), 1);
    assert_string_equal(text_of(json_array_get(allocations, 0), "instance_name"), "web");
    assert_int_equal(json_integer_value(json_object_get(json_object_get(json, "cpu"), "allocated")),
                     2);
    json_decref(json);
}

/* An error text that is not UTF-8 must still come as JSON. */
static void test_broken_text(void **state)
{
    make(*state, "broken-x", NULL);
    json_t *json = http_expect(*state, "GET", "/instances/broken-x", NULL, 200);
    assert_string_equal(text_of(json, "state"), "Unknown");
    assert_string_equal(text_of(json, "state_error"), "broken \xef\xbf\xbd here");
    json_decref(json);
}

struct fork_call {
    struct daemon *daemon;
    pthread_t thread;
    unsigned number;
    int status;
};

#define FORKS 25

static void *fork_one(void *data)
{
    struct fork_call *call = data;
    char body[64];
    snprintf(body, sizeof(body), "{\"name\":\"meet-%d-%u\"}", FORKS, call->number);
    struct http_reply reply = http_call(call->daemon, "POST", "/instances/src/fork", body);
    call->status = reply.status;
    http_release(&reply);
    return NULL;
}

/* None is answered before all are under way. */
static void test_concurrent(void **state)
{
    struct fork_call calls[FORKS];
    make(*state, "src", NULL);
    act(*state, "/instances/src/standby", NULL, "Standby");
    for (unsigned i = 0; i < FORKS; i++) {
        calls[i] = (struct fork_call){.daemon = *state, .number = i};
        assert_int_equal(pthread_create(&calls[i].thread, NULL, fork_one, &calls[i]), 0);
    }
    for (unsigned i = 0; i < FORKS; i++) {
        pthread_join(calls[i].thread, NULL);
        assert_int_equal(calls[i].status, 201);
    }
    json_t *json = http_expect(*state, "GET", "/instances", NULL, 200);
    assert_int_equal(json_array_size(json), FORKS + 1);
    json_decref(json);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_health),       TEST(test_no_route),   TEST(test_list),
        TEST(test_references),   TEST(test_life),       TEST(test_operation_bodies),
        TEST(test_compression),  TEST(test_fork),       TEST(test_wait),
        TEST(test_wait_deleted), TEST(test_stats),      TEST(test_resources),
        TEST(test_broken_text),  TEST(test_concurrent),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
