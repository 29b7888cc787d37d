/* SPDX-License-Identifier: Apache-2.0 */
/* POST /images/import, and what the other routes make of imported images. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "../image/tar.h"
#include "base/cleanup.h"
#include "daemon_fixture.h"
#include "http_client.h"
#include "openapi.h"

#define PIECE ((size_t)100000)

static char *small_tar(size_t *length)
{
    struct tar *tar = tar_begin("gzip");
    tar_add(tar, &(struct tar_entry){.path = "bin/sh", .content = "#!", .uid = 5});
    return tar_end(tar, length);
}

static void send_head(int fd, const char *path, const char *headers)
{
    char head[2048];
    snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\n%s\r\n", path,
             headers);
    http_send_text(fd, head);
}

/* In chunks, as a client sends what it does not know the length of. */
static struct http_reply import(const struct daemon *daemon, const char *query, const char *data,
                                size_t length)
{
    char path[1536], size[32];
    int fd = http_open(daemon);
    snprintf(path, sizeof(path), "/images/import?%s", query);
    send_head(fd, path, "Transfer-Encoding: chunked\r\n");
    for (size_t i = 0; i < length; i += PIECE) {
        size_t part = length - i < PIECE ? length - i : PIECE;
        snprintf(size, sizeof(size), "%zx\r\n", part);
        http_send_text(fd, size);
        http_send(fd, data + i, part);
        http_send_text(fd, "\r\n");
    }
    http_send_text(fd, "0\r\n\r\n");
    struct http_reply reply = http_finish(fd);
    openapi_check("POST", path, NULL, &reply);
    return reply;
}

static void imported(const struct daemon *daemon, const char *query)
{
    size_t length;
    _cleanup_(free) char *data = small_tar(&length);
    struct http_reply reply = import(daemon, query, data, length);
    if (reply.status != 201)
        fail_msg("%s: %d %s", query, reply.status, reply.body);
    http_release(&reply);
}

static void refused(const struct daemon *daemon, const char *query, const char *data, size_t length,
                    int status, const char *code, const char *words)
{
    struct http_reply reply = import(daemon, query, data, length);
    if (reply.status != status || strcmp(text_of(reply.json, "code"), code) != 0 ||
        !strstr(text_of(reply.json, "message"), words))
        fail_msg("%s: not %d %s \"%s\" but %d %s", query, status, code, words, reply.status,
                 reply.body);
    http_release(&reply);
}

static void test_import(void **state)
{
    struct daemon *daemon = *state;
    size_t length;
    _cleanup_(free) char *data = small_tar(&length);
    struct http_reply reply =
        import(daemon,
               "name=me/app:2&entrypoint=/app&entrypoint=-v%20x&cmd=serve&env[A]=b%3Dc&env%5BB%5D="
               "&working_dir=/srv&tags[team]=web&size_limit=1GB&entry_limit=1K",
               data, length);
    assert_int_equal(reply.status, 201);
    json_t *wanted = json_pack("{s:[s, s], s:[s], s:{s:s, s:s}, s:s, s:{s:s}}", "entrypoint",
                               "/app", "-v x", "cmd", "serve", "env", "A", "b=c", "B", "",
                               "working_dir", "/srv", "tags", "team", "web");
    const char *key;
    json_t *value;
    json_object_foreach(wanted, key, value)
    {
        if (!json_equal(json_object_get(reply.json, key), value))
            fail_msg("%s: %s", key, reply.body);
    }
    json_decref(wanted);
    json_t *got = http_expect(daemon, "GET", "/images/me%2Fapp:2", NULL, 200);
    assert_true(json_equal(got, reply.json));
    json_decref(got);
    got = http_expect(daemon, "POST", "/images", "{\"name\":\"me/app:2\"}", 202);
    assert_true(json_equal(got, reply.json));
    json_decref(got);
    http_release(&reply);
    imported(daemon, "name=plain");
    got = http_expect(daemon, "GET", "/images/plain", NULL, 200);
    assert_true(json_is_null(json_object_get(got, "entrypoint")));
    assert_true(json_is_null(json_object_get(got, "working_dir")));
    assert_int_equal(json_object_size(json_object_get(got, "env")), 0);
    json_decref(got);
    got = http_expect(daemon, "GET", "/images?tags[team]=web", NULL, 200);
    assert_int_equal(json_array_size(got), 1);
    assert_string_equal(text_of(json_array_get(got, 0), "name"), "docker.io/me/app:2");
    json_decref(got);
}

/* Of an image, an instance is made by any spelling of its name; and then the image goes. */
static void test_instance(void **state)
{
    struct daemon *daemon = *state;
    imported(daemon, "name=plain");
    json_t *json = http_expect(daemon, "POST", "/instances",
                               "{\"image\":\"plain:latest\",\"overlay_size\":\"1GB\"}", 201);
    assert_string_equal(text_of(json, "image"), "docker.io/library/plain:latest");
    json_decref(json);
    http_refused(daemon, "POST", "/instances", "{\"image\":\"plane\"}", 404, "not_found",
                 "image plane is not here");
    http_refused(daemon, "POST", "/instances", "{\"image\":\"plain\",\"overlay_size\":\"big\"}",
                 400, "invalid_overlay_size", "overlay_size");
    json_decref(http_expect(daemon, "DELETE", "/images/plain", NULL, 204));
    http_refused(daemon, "DELETE", "/images/plain", NULL, 404, "not_found", "is not here");
    http_refused(daemon, "POST", "/images", "{\"name\":\"plain\"}", 404, "not_found",
                 "can't be pulled yet");
}

static void test_bad(void **state)
{
    struct daemon *daemon = *state;
    static const struct {
        const char *query;
        int status;
        const char *code, *words;
    } cases[] = {
        {"", 400, "Bad Request", "name: is required"},
        {"name=", 400, "invalid_name", "is not an image reference"},
        {"name=A%20b", 400, "invalid_name", "\"A b\""},
        {"name=tine/guest", 409, "name_conflict", "the guest kit's name"},
        {"name=plain", 409, "name_conflict", "there is an image docker.io/library/plain:latest"},
        {"name=x&size_limit=many", 400, "invalid_size", "size_limit"},
        {"name=x&size_limit=0", 400, "invalid_size", "size_limit"},
        {"name=x&entry_limit=-1", 400, "invalid_size", "entry_limit"},
        {"name=x&working_dir=srv", 400, "invalid_request", "working_dir: \"srv\" is not an"},
        {"name=x&env[]=a", 400, "invalid_request", "env: \"\" is not a variable's name"},
        {"name=x&env[a%3Db]=a", 400, "invalid_request", "env: \"a=b\""},
        {"name=x&env[a]=%ff", 400, "Bad Request", "env[a]: must be UTF-8"},
        {"name=x&env[%ff]=a", 400, "Bad Request", "env: a key must be UTF-8"},
        {"name=x&cmd=&cmd=a", 400, "invalid_request", "cmd: its first string is empty"},
        {"name=x&entrypoint=%ff", 400, "Bad Request", "entrypoint: must be UTF-8"},
        {"name=x&tags[a]=%22", 400, "invalid_request", "tags.a"},
        {"name=x&entry_limit=1", 413, "Content Too Large", "the limit of 1 files"},
        {"name=x&size_limit=1", 413, "Content Too Large", "the limit of 1 bytes"},
        {"name=x&%zz", 400, "Bad Request", "malformed"},
    };
    size_t length;
    _cleanup_(free) char *data = small_tar(&length);
    imported(daemon, "name=plain");
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        refused(daemon, cases[i].query, data, length, cases[i].status, cases[i].code,
                cases[i].words);
    refused(daemon, "name=x", "no tar", 6, 400, "invalid_request", "the archive is");
    refused(daemon, "name=x", NULL, 0, 400, "invalid_request", "the archive is");
    http_refused(daemon, "GET", "/images/x", NULL, 404, "not_found", "is not here");
    imported(daemon, "name=x");
}

/* The body is far above what other routes take, and the reason for its being refused comes although
 * the archive was wrong from the start. */
static void test_large(void **state)
{
    struct daemon *daemon = *state;
    size_t length;
    struct tar *tar = tar_begin("none");
    tar_add(tar, &(struct tar_entry){.path = "large", .content = "x", .size = 12 << 20});
    _cleanup_(free) char *data = tar_end(tar, &length);
    struct http_reply reply = import(daemon, "name=large", data, length);
    assert_int_equal(reply.status, 201);
    http_release(&reply);
    data[0] = '/';
    refused(daemon, "name=other", data, length, 400, "invalid_request", "the archive");
}

/* With Expect, what is refused at once need not be sent. */
static void test_expect(void **state)
{
    struct daemon *daemon = *state;
    int fd = http_open(daemon);
    send_head(fd, "/images/import?name=a%20b",
              "Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n");
    struct http_reply reply = http_finish(fd);
    assert_int_equal(reply.status, 400);
    assert_string_equal(text_of(reply.json, "code"), "invalid_name");
    http_release(&reply);
}

/* A client that goes away in the middle has made nothing, and its name is free. */
static void test_gone(void **state)
{
    struct daemon *daemon = *state;
    size_t length;
    char headers[64];
    _cleanup_(free) char *data = small_tar(&length);
    snprintf(headers, sizeof(headers), "Content-Length: %zu\r\n", length + 1000);
    int fd = http_open(daemon);
    send_head(fd, "/images/import?name=x", headers);
    http_send(fd, data, length); /* all of the archive, but not of what was announced */
    shutdown(fd, SHUT_WR);
    struct http_reply reply = http_finish(fd);
    assert_int_not_equal(reply.status, 201);
    http_release(&reply);
    http_refused(daemon, "GET", "/images/x", NULL, 404, "not_found", "is not here");
    imported(daemon, "name=x");
}

/* What was imported is there for the next tined. */
static void test_restart(void **state)
{
    struct daemon *daemon = *state;
    imported(daemon, "name=x");
    json_t *before = http_expect(daemon, "GET", "/images", NULL, 200);
    daemon_terminate(daemon);
    daemon_spawn(daemon, daemon_program(), NULL);
    json_t *after = http_expect(daemon, "GET", "/images", NULL, 200);
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_import), TEST(test_instance), TEST(test_bad),     TEST(test_large),
        TEST(test_expect), TEST(test_gone),     TEST(test_restart),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
