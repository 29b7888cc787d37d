/* SPDX-License-Identifier: Apache-2.0 */
/* The routes of images, with a guest kit of two small files. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "daemon_fixture.h"
#include "http_client.h"

static char kit[64];

static int setup(void **state)
{
    static struct daemon daemon;
    char path[96];
    const char *const arguments[] = {"--kit", kit, NULL};
    snprintf(kit, sizeof(kit), "/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(kit));
    snprintf(path, sizeof(path), "%s/vmlinux", kit);
    assert_int_equal(file_publish(AT_FDCWD, path, "kernel", 6, 0644, NULL), 0);
    snprintf(path, sizeof(path), "%s/initrd.img", kit);
    assert_int_equal(file_publish(AT_FDCWD, path, "initrd", 6, 0644, NULL), 0);
    daemon_start(&daemon, daemon_program(), arguments);
    *state = &daemon;
    return 0;
}

static int teardown(void **state)
{
    daemon_stop(*state);
    return tree_remove(AT_FDCWD, kit, NULL);
}

static void expect_kit(const json_t *image)
{
    assert_string_equal(text_of(image, "name"), "tine/guest:latest");
    assert_string_equal(text_of(image, "status"), "ready");
    assert_int_equal(strlen(text_of(image, "digest")), 71);
    assert_int_equal(json_integer_value(json_object_get(image, "size_bytes")), 12);
    assert_true(json_is_null(json_object_get(image, "entrypoint")));
}

static void test_list(void **state)
{
    json_t *list = http_expect(*state, "GET", "/images", NULL, 200);
    assert_int_equal(json_array_size(list), 1);
    expect_kit(json_array_get(list, 0));
    json_decref(list);
    list = http_expect(*state, "GET", "/images?tags[a]=b", NULL, 200);
    assert_true(json_is_array(list));
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

/* However clients write the name into the path. */
static void test_get(void **state)
{
    static const char *const paths[] = {
        "/images/tine%2Fguest:latest",
        "/images/tine/guest:latest",
        "/images/tine%252Fguest:latest",
        "/images/tine%2fguest",
        "/images/docker.io%2Ftine%2Fguest%3Alatest",
        "/images/docker.io/tine/guest/",
    };
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        json_t *image = http_expect(*state, "GET", paths[i], NULL, 200);
        expect_kit(image);
        json_decref(image);
    }
    json_t *image = http_expect(*state, "GET", "/images/tine/guest", NULL, 200);
    char path[128];
    snprintf(path, sizeof(path), "/images/tine%%2Fguest@%s", text_of(image, "digest"));
    json_decref(http_expect(*state, "GET", path, NULL, 200));
    json_decref(image);
}

static void test_unknown(void **state)
{
    struct daemon *daemon = *state;
    static const char *const unknown[] = {"alpine", "guest", "tine%2Fguest:1", "tine",
                                          "ghcr.io%2Ftine%2Fguest:latest"};
    static const char *const invalid[] = {"Alpine", "a:b:c",    "..%2F..%2Fetc%2Fpasswd",
                                          "a%20b",  "tine%252", "a%252Fb%2Fc%25zz",
                                          "a//b",   "%2F",      "a%252F%25zz"};
    char path[128];
    for (size_t i = 0; i < ARRAY_SIZE(unknown); i++) {
        snprintf(path, sizeof(path), "/images/%s", unknown[i]);
        http_refused(daemon, "GET", path, NULL, 404, "not_found", "is not here");
        http_refused(daemon, "DELETE", path, NULL, 404, "not_found", "is not here");
    }
    for (size_t i = 0; i < ARRAY_SIZE(invalid); i++) {
        snprintf(path, sizeof(path), "/images/%s", invalid[i]);
        http_refused(daemon, "GET", path, NULL, 400, "invalid_name", "is not an image reference");
    }
    http_refused(daemon, "GET", "/images/%zz", NULL, 400, "Bad Request", "malformed");
    http_refused(daemon, "PUT", "/images/alpine", "{}", 405, "Method Not Allowed", "PUT");
    http_refused(daemon, "DELETE", "/images/tine/guest", NULL, 501, "not_supported", "guest kit");
}

static void test_create(void **state)
{
    struct daemon *daemon = *state;
    json_t *image = http_expect(daemon, "POST", "/images", "{\"name\":\"tine/guest\"}", 202);
    expect_kit(image);
    json_decref(image);
    json_decref(http_expect(daemon, "POST", "/images",
                            "{\"name\":\"tine/guest\",\"platform\":\"linux/amd64\"}", 202));
    static const struct http_refusal cases[] = {
        {"{}", 400, "Bad Request", "name: is required"},
        {"{\"name\":1}", 400, "Bad Request", "name: must be a string"},
        {"{\"name\":\"\"}", 400, "invalid_name", "\"\" is not an image reference"},
        {"{\"name\":\"a b\"}", 400, "invalid_name", "\"a b\" is not an image"},
        {"{\"name\":\"alpine\"}", 404, "not_found", "images can't be pulled yet"},
        {"{\"name\":\"tine/guest\",\"platform\":\"linux/arm64\"}", 404, "platform_not_available",
         "linux/arm64"},
        {"{\"name\":\"tine/guest\",\"platform\":\"linux\"}", 400, "invalid_platform", "\"linux\""},
        {"{\"name\":\"tine/guest\",\"platform\":\"/x\"}", 400, "invalid_platform", "\"/x\""},
        {"{\"name\":\"tine/guest\",\"platform\":{}}", 400, "Bad Request", "platform: must be"},
    };
    http_refused_all(daemon, "POST", "/images", cases, ARRAY_SIZE(cases));
}

/* What "run" of other clients does: ask, then make an instance of the name in the reply. */
static void test_instance(void **state)
{
    static const char *const names[] = {"tine/guest", "tine/guest:latest", "docker.io/tine/guest"};
    char body[128];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        snprintf(body, sizeof(body), "{\"image\":\"%s\"}", names[i]);
        json_t *json = http_expect(*state, "POST", "/instances", body, 201);
        assert_string_equal(text_of(json, "image"), "tine/guest:latest");
        json_decref(json);
    }
    http_refused(*state, "POST", "/instances", "{\"image\":\"No Name\"}", 400, "invalid_name",
                 "image: \"No Name\" is not");
    http_refused(*state, "POST", "/instances", "{\"image\":\"alpine\"}", 404, "not_found",
                 "alpine");
}

/* The kit's files are read anew when they change, and a kit that goes is gone. */
static void test_kit_changes(void **state)
{
    char path[96];
    json_t *before = http_expect(*state, "GET", "/images/tine/guest", NULL, 200);
    snprintf(path, sizeof(path), "%s/vmlinux", kit);
    assert_int_equal(file_publish(AT_FDCWD, path, "Kernel", 6, 0644, NULL), 0);
    json_t *after = http_expect(*state, "GET", "/images/tine/guest", NULL, 200);
    assert_string_not_equal(text_of(before, "digest"), text_of(after, "digest"));
    json_decref(before);
    json_decref(after);
    assert_int_equal(unlink(path), 0);
    http_refused(*state, "GET", "/images/tine/guest", NULL, 404, "not_found", "no guest kit");
    json_t *list = http_expect(*state, "GET", "/images", NULL, 200);
    assert_int_equal(json_array_size(list), 0);
    json_decref(list);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_list),   TEST(test_get),      TEST(test_unknown),
        TEST(test_create), TEST(test_instance), TEST(test_kit_changes),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
