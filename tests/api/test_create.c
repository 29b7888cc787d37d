/* SPDX-License-Identifier: Apache-2.0 */
/* What POST /instances takes and answers, and what it refuses. */
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

/* Every field of the contract that must be there, with its type. */
static void test_instance_fields(void **state)
{
    struct daemon *daemon = *state;
    json_t *json = http_expect(
        daemon, "POST", "/instances",
        "{\"name\":\"full\",\"image\":\"tine/guest\",\"size\":\"256MB\",\"vcpus\":4,"
        "\"hotplug_size\":\"3GB\",\"overlay_size\":\"10GB\",\"env\":{\"A\":\"b\"},"
        "\"network\":{\"enabled\":true},\"not_known\":[1,{}],\"tine\":{\"initrd\":\"/i\","
        "\"kernel\":\"/boot/k\",\"cmdline\":\"quiet\",\"disks\":[{\"path\":\"/d\",\"root\":true},"
        "{\"path\":\"/e\",\"read_only\":true}]}}",
        201);
    const char *id, *name, *image, *instance_state, *created, *started, *size, *hypervisor;
    const char *kernel, *cmdline;
    int vcpus, snapshot, initrd;
    json_t *expires, *error, *stopped, *exit_code, *disks, *network;
    assert_int_equal(json_unpack(json,
                                 "{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:b,s:o,s:o,s:o,s:o,s:o,"
                                 "s:{s:s,s:s,s:b,s:o}}",
                                 "id", &id, "name", &name, "image", &image, "state",
                                 &instance_state, "created_at", &created, "started_at", &started,
                                 "size", &size, "hypervisor", &hypervisor, "vcpus", &vcpus,
                                 "has_snapshot", &snapshot, "expires_at", &expires, "state_error",
                                 &error, "stopped_at", &stopped, "exit_code", &exit_code, "network",
                                 &network, "tine", "kernel", &kernel, "cmdline", &cmdline, "initrd",
                                 &initrd, "disks", &disks),
                     0);
    assert_int_equal(strlen(id), 24);
    assert_string_equal(name, "full");
    assert_string_equal(instance_state, "Running");
    assert_string_equal(size, "256.0 MB");
    assert_string_equal(hypervisor, "builtin");
    assert_string_equal(kernel, "/boot/k");
    assert_string_equal(cmdline, "quiet");
    assert_int_equal(vcpus, 4);
    assert_false(snapshot);
    assert_true(initrd);
    assert_true(json_is_null(expires) && json_is_null(error) && json_is_null(stopped) &&
                json_is_null(exit_code));
    assert_int_equal(json_array_size(disks), 2);
    assert_true(json_is_true(json_object_get(json_array_get(disks, 1), "read_only")));
    assert_true(json_is_false(json_object_get(network, "enabled")));
    assert_null(json_object_get(json_array_get(disks, 0), "stack"));
    json_decref(json);
}

static void assert_json(const json_t *object, const char *name, const char *wanted)
{
    char *text = json_dumps(json_object_get(object, name), JSON_COMPACT | JSON_ENCODE_ANY);
    assert_string_equal(text ? text : "absent", wanted);
    free(text);
}

/* What their files say is told of one that is asked for. */
static void test_disks(void **state)
{
    struct daemon *daemon = *state;
    json_decref(http_expect(daemon, "POST", "/instances",
                            "{\"name\":\"two\",\"tine\":{\"disks\":[{\"path\":\"/d\"},"
                            "{\"path\":\"/e\",\"read_only\":true}]}}",
                            201));
    json_t *json = http_expect(daemon, "GET", "/instances/two", NULL, 200);
    const json_t *disks = json_object_get(json_object_get(json, "tine"), "disks");
    assert_json(json_array_get(disks, 0), "size_bytes", "67108864");
    assert_json(json_array_get(disks, 0), "link_count", "26");
    assert_json(json_array_get(disks, 0), "stack",
                "{\"top_allocated_bytes\":8192,\"layers\":["
                "{\"number\":3,\"link_count\":26,\"data_bytes\":40960,\"zero_bytes\":0},"
                "{\"number\":4,\"link_count\":2,\"data_bytes\":4096,\"zero_bytes\":8192}]}");
    assert_json(json_array_get(disks, 1), "link_count", "26");
    assert_json(json_array_get(disks, 1), "stack", "null");
    json_decref(json);
}

static void test_program(void **state)
{
    struct daemon *daemon = *state;
    json_decref(
        http_expect(daemon, "POST", "/instances",
                    "{\"name\":\"web\",\"entrypoint\":[\"/bin/serve\"],\"cmd\":[\"-v\",\"\"],"
                    "\"env\":{\"A\":\"b=c\"},\"working_dir\":\"/srv\"}",
                    201));
    json_t *json = http_expect(daemon, "GET", "/instances/web", NULL, 200);
    assert_json(json, "entrypoint", "[\"/bin/serve\"]");
    assert_json(json, "cmd", "[\"-v\",\"\"]");
    assert_json(json, "env", "{\"A\":\"b=c\"}");
    assert_json(json, "working_dir", "\"/srv\"");
    assert_json(json, "exit_code", "null");
    json_decref(json);
    json_decref(http_expect(daemon, "POST", "/instances/web/stop", NULL, 200));
    json = http_expect(daemon, "POST", "/instances/web/start",
                       "{\"entrypoint\":[],\"cmd\":[\"-q\"]}", 200);
    assert_json(json, "entrypoint", "[\"/bin/serve\"]");
    assert_json(json, "cmd", "[\"-q\"]");
    json_decref(json);
    json_decref(http_expect(daemon, "POST", "/instances/web/stop", NULL, 200));
    json = http_expect(daemon, "POST", "/instances/web/start", "{\"entrypoint\":[\"exit\"]}", 200);
    assert_string_equal(text_of(json, "state"), "Stopped");
    assert_json(json, "exit_code", "3");
    assert_string_equal(text_of(json, "exit_message"), "the program exited with status 3");
    json_decref(json);
}

/* What is empty is as if it was not given. */
static void test_no_program(void **state)
{
    json_t *json =
        http_expect(*state, "POST", "/instances",
                    "{\"entrypoint\":[],\"cmd\":null,\"env\":{},\"working_dir\":\"\"}", 201);
    assert_json(json, "entrypoint", "absent");
    assert_json(json, "cmd", "absent");
    assert_json(json, "env", "absent");
    assert_json(json, "working_dir", "absent");
    json_decref(json);
}

static void test_create_defaults(void **state)
{
    json_t *json = http_expect(*state, "POST", "/instances", NULL, 201);
    assert_string_equal(text_of(json, "image"), "tine/guest:latest");
    assert_string_equal(text_of(json, "size"), "1024.0 MB");
    assert_int_equal(json_integer_value(json_object_get(json, "vcpus")), 2);
    json_decref(json);
    json = http_expect(*state, "POST", "/instances",
                       "{\"name\":null,\"vcpus\":0,\"size\":\"\",\"tine\":null,\"hypervisor\":null,"
                       "\"volumes\":[],\"devices\":[],\"gpu\":{},\"credentials\":null}",
                       201);
    json_decref(json);
}

static void test_create_refused(void **state)
{
    static const struct http_refusal cases[] = {
        {"{", 400, "Bad Request", "not JSON"},
        {"[]", 400, "Bad Request", "object, not an array"},
        {"\"x\"", 400, "Bad Request", "not JSON"},
        {"{} x", 400, "Bad Request", "not JSON"},
        {"{\"name\":1}", 400, "Bad Request", "name: must be a string, not a number"},
        {"{\"name\":\"a\",\"name\":\"b\"}", 400, "Bad Request", "duplicate"},
        {"{\"name\":\"a\\u0000b\"}", 400, "Bad Request", "not JSON"},
        {"{\"name\":\"\xff\"}", 400, "Bad Request", "not JSON"},
        {"{\"name\":\"\"}", 400, "invalid_request", "is not a name"},
        {"{\"name\":\"Web\"}", 400, "invalid_request", "is not a name"},
        {"{\"name\":\"../x\"}", 400, "invalid_request", "is not a name"},
        {"{\"vcpus\":\"2\"}", 400, "Bad Request", "vcpus: must be a whole number, not a string"},
        {"{\"vcpus\":2.5}", 400, "Bad Request", "vcpus"},
        {"{\"vcpus\":-1}", 400, "invalid_request", "vcpus: -1"},
        {"{\"vcpus\":33}", 400, "invalid_request", "vcpus: 33"},
        {"{\"size\":256}", 400, "Bad Request", "size: must be a string, not a number"},
        {"{\"size\":\"1.5GB\"}", 400, "invalid_size", "1.5GB"},
        {"{\"hotplug_size\":\"x\"}", 400, "invalid_hotplug_size", "hotplug_size"},
        {"{\"overlay_size\":\"x\"}", 400, "invalid_overlay_size", "overlay_size"},
        {"{\"env\":[]}", 400, "Bad Request", "env: must be an object"},
        {"{\"env\":{\"A\":1}}", 400, "Bad Request", "env.A: must be a string"},
        {"{\"env\":{\"\":\"x\"}}", 400, "invalid_request", "env: \"\" is not a variable's name"},
        {"{\"env\":{\"A=B\":\"x\"}}", 400, "invalid_request", "env: \"A=B\""},
        {"{\"env\":{\"A\\u0000\":\"x\"}}", 400, "Bad Request", "not JSON"},
        {"{\"entrypoint\":\"sh\"}", 400, "Bad Request", "entrypoint: must be an array"},
        {"{\"cmd\":[\"sh\",1]}", 400, "Bad Request", "cmd: must be an array of strings"},
        {"{\"cmd\":[\"\"]}", 400, "invalid_request", "cmd: its first string is empty"},
        {"{\"working_dir\":1}", 400, "Bad Request", "working_dir: must be a string"},
        {"{\"working_dir\":\"srv\"}", 400, "invalid_request", "working_dir: \"srv\""},
        {"{\"skip_guest_agent\":\"no\"}", 400, "Bad Request", "skip_guest_agent"},
        {"{\"tine\":[]}", 400, "Bad Request", "tine: must be an object"},
        {"{\"tine\":{\"kernel\":1}}", 400, "Bad Request", "tine.kernel: must be a string"},
        {"{\"tine\":{\"kernel\":\"k\"}}", 400, "invalid_request", "not an absolute path"},
        {"{\"tine\":{\"disks\":{}}}", 400, "Bad Request", "tine.disks: must be an array"},
        {"{\"tine\":{\"disks\":[1]}}", 400, "Bad Request", "array of objects"},
        {"{\"tine\":{\"disks\":[{}]}}", 400, "Bad Request", "tine.disks.path: is required"},
        {"{\"tine\":{\"disks\":[{\"path\":\"d\"}]}}", 400, "invalid_request", "absolute"},
        {"{\"tine\":{\"disks\":[{\"path\":\"/d\",\"root\":1}]}}", 400, "Bad Request",
         "tine.disks.root"},
        {"{\"tine\":{\"disks\":[{},{},{},{},{},{},{},{},{}]}}", 400, "invalid_request", "at most"},
        {"{\"image\":\"nginx\"}", 404, "not_found", "nginx"},
        {"{\"name\":\"fail-system\"}", 500, "internal_error", "as told"},
        {"{\"name\":\"fail-invalid\"}", 400, "invalid_request", "as told"},
        {"{\"name\":\"fail-resources\"}", 409, "insufficient_resources", "as told"},
        {"{\"name\":\"fail-unsupported\"}", 501, "not_supported", "as told"},
        {"{\"hypervisor\":7}", 400, "Bad Request", "hypervisor: must be a string"},
        {"{\"volumes\":[{\"volume_id\":\"v\"}]}", 501, "not_supported", "volumes: "},
        {"{\"devices\":[\"d\"]}", 501, "not_supported", "devices: "},
        {"{\"gpu\":{\"profile\":\"p\"}}", 501, "not_supported", "gpu: "},
        {"{\"credentials\":{\"c\":{}}}", 501, "not_supported", "credentials: "},
        {"{\"gpu\":true}", 400, "Bad Request", "gpu"},
        {"{\"name\":\"fail-corrupt\"}", 500, "internal_error", "as told"},
        {"{\"name\":\"fail-timeout\"}", 500, "internal_error", "as told"},
        {"{\"name\":\"fail-state\"}", 409, "invalid_state", "as told"},
    };
    http_refused_all(*state, "POST", "/instances", cases, ARRAY_SIZE(cases));
    json_t *json = http_expect(*state, "GET", "/instances", NULL, 200);
    assert_int_equal(json_array_size(json), 0);
    json_decref(json);
}

/* JSON nested a hundred thousand deep must not take the stack. */
static void test_create_deep(void **state)
{
    const size_t depth = 100000;
    _cleanup_(free) char *body = malloc(depth + 1);
    memset(body, '[', depth);
    body[depth] = '\0';
    http_refused(*state, "POST", "/instances", body, 400, "Bad Request", "not JSON");
}

static void test_name_taken(void **state)
{
    struct daemon *daemon = *state;
    json_decref(http_expect(daemon, "POST", "/instances", "{\"name\":\"web\"}", 201));
    http_refused(daemon, "POST", "/instances", "{\"name\":\"web\"}", 400, "name_conflict", "taken");
    http_refused(daemon, "POST", "/instances/web/fork", "{\"name\":\"web\",\"from_running\":true}",
                 409, "name_conflict", "name \"web\" is taken");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_instance_fields), TEST(test_disks),      TEST(test_create_defaults),
        TEST(test_program),         TEST(test_no_program), TEST(test_create_refused),
        TEST(test_create_deep),     TEST(test_name_taken),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
