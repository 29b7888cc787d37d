/* SPDX-License-Identifier: Apache-2.0 */
/* The TCP listener: nothing without a token, and with one only what it permits. */
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

#include "api/json_text.h"
#include "api/token.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "daemon_fixture.h"
#include "http_client.h"
#include "openapi.h"

static unsigned char secret_bytes[] = "the secret of this very test, that no log may show";
static const struct token_secret secret = {secret_bytes, sizeof(secret_bytes) - 1};

static int setup(void **state)
{
    static struct daemon daemon;
    static char directory[] = "/tmp/tine-test-XXXXXX", path[64];
    strcpy(directory + strlen(directory) - 6, "XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/secret", directory);
    assert_int_equal(
        file_publish(AT_FDCWD, path, secret_bytes, sizeof(secret_bytes) - 1, 0600, NULL), 0);
    const char *const arguments[] = {"--listen", "127.0.0.1:0", "--token-secret-file", path, NULL};
    daemon_start(&daemon, daemon_program(), arguments);
    *state = &daemon;
    assert_true(daemon_port(&daemon) > 0);
    /* Read once, at the start. */
    assert_int_equal(tree_remove(AT_FDCWD, directory, NULL), 0);
    return 0;
}

static void expect_no_secret_in_log(const struct daemon *daemon)
{
    char path[256];
    _cleanup_(free) char *log = NULL;
    size_t length;
    snprintf(path, sizeof(path), "%s/log", daemon->dir);
    assert_int_equal(file_read_all(AT_FDCWD, path, 16 << 20, &log, &length, NULL), 0);
    assert_null(strstr(log, "the secret of"));
    assert_null(strstr(log, "eyJ")); /* how every token begins */
}

static int teardown(void **state)
{
    expect_no_secret_in_log(*state);
    daemon_stop(*state);
    return 0;
}

/* An Authorization header with a token that has these permissions (JSON, NULL: all). */
static char *authorization(const char *permissions)
{
    _cleanup_(json) json_t *list = permissions ? json_loads(permissions, 0, NULL) : NULL;
    int64_t now = (int64_t)(time_realtime_ns() / 1000000000u);
    struct token_request request = {
        .user = "test", .now = now, .expires = now + 600, .permissions = list};
    _cleanup_(free) char *token = token_make(&secret, &request);
    char *header = NULL;
    assert_true(asprintf(&header, "Authorization: Bearer %s\r\n", token) > 0);
    return header;
}

static struct http_reply call(const struct daemon *daemon, const char *method, const char *path,
                              const char *header, const char *body)
{
    _cleanup_(free) char *text = NULL;
    assert_true(asprintf(&text,
                         "%s %s HTTP/1.1\r\nHost: t\r\nConnection: close\r\n%s"
                         "Content-Length: %zu\r\n\r\n%s",
                         method, path, header, strlen(body), body) > 0);
    int fd = http_open_tcp(daemon);
    http_send_text(fd, text);
    struct http_reply reply = http_finish(fd);
    openapi_check(method, path, body, &reply);
    return reply;
}

/* A request over TCP, and the status and error it gets. */
static void expect(const struct daemon *daemon, const char *method, const char *path,
                   const char *header, int status, const char *code, const char *message)
{
    struct http_reply reply = call(daemon, method, path, header, "");
    if (reply.status != status)
        fprintf(stderr, "%s %s: %s\n", method, path, reply.body ? reply.body : "no reply");
    assert_int_equal(reply.status, status);
    const char *challenge = http_header(&reply, "WWW-Authenticate");
    assert_string_equal(challenge ? challenge : "none", status == 401 ? "Bearer" : "none");
    if (code) {
        assert_string_equal(http_header(&reply, "Content-Type"), "application/json");
        assert_string_equal(text_of(reply.json, "code"), code);
        assert_string_equal(text_of(reply.json, "message"), message);
        assert_int_equal(json_object_size(reply.json), 2);
    }
    http_release(&reply);
}

static void test_without_token(void **state)
{
    static const struct {
        const char *method, *path;
    } routes[] = {
        {"GET", "/resources"},
        {"GET", "/instances"},
        {"POST", "/instances"},
        {"GET", "/instances/a"},
        {"DELETE", "/instances/a"},
        {"POST", "/instances/a/stop"},
        {"GET", "/instances/a/exec"},
        {"GET", "/instances/a/logs"},
        {"GET", "/nothing"},
        {"GET", "/instances/a/stats"},
        {"PUT", "/x"},
        {"GET", "/"},
        {"GET", "/%zz"},
        {"POST", "/health"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++)
        expect(*state, routes[i].method, routes[i].path, "", 401, "Unauthorized",
               "authorization header required");
    expect(*state, "GET", "/health", "", 200, NULL, NULL);
}

static void test_header_format(void **state)
{
    static const struct {
        const char *header, *message;
    } cases[] = {
        {"Authorization: \r\n", "authorization header required"},
        {"Authorization: Bearer\r\n", "invalid authorization header format"},
        {"Authorization: Basic YTpi\r\n", "invalid authorization header format"},
        {"Authorization: Bearerx.y.z\r\n", "invalid authorization header format"},
        {"Authorization: a.b.c\r\n", "invalid authorization header format"},
        {"Authorization: Bearer a.b.c\r\n", "invalid token"},
        {"Authorization: Bearer eyJhbGciOiJub25lIn0.e30.\r\n", "invalid token"},
        {"Authorization: Bearer eyJhbGciOiJIUzI1NiJ9.e30.AAAA\r\n", "invalid token"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect(*state, "GET", "/instances", cases[i].header, 401, "Unauthorized", cases[i].message);
}

static void test_with_token(void **state)
{
    _cleanup_(free) char *header = authorization(NULL);
    expect(*state, "GET", "/instances", header, 200, NULL, NULL);
    expect(*state, "GET", "/nothing", header, 404, "Not Found", "there is no such route");
    struct http_reply reply =
        call(*state, "POST", "/instances", header, "{\"name\":\"a\",\"image\":\"tine/guest\"}");
    assert_int_equal(reply.status, 201);
    http_release(&reply);
    /* The scheme's case does not matter, nor do more spaces. */
    memcpy(header + strlen("Authorization: "), "bEaReR", 6);
    expect(*state, "GET", "/instances/a", header, 200, NULL, NULL);
}

static void test_bad_tokens(void **state)
{
    int64_t now = (int64_t)(time_realtime_ns() / 1000000000u);
    static unsigned char other_bytes[] = "the Secret of this very test, that no log may show";
    const struct token_secret other = {other_bytes, sizeof(other_bytes) - 1};
    const struct {
        const struct token_secret *secret;
        struct token_request request;
        const char *message;
    } cases[] = {
        {&secret, {.user = "a", .now = now - 60, .expires = now - 1}, "invalid token"},
        {&other, {.user = "a", .now = now, .expires = now + 60}, "invalid token"},
        {&secret, {.user = "builder-1", .now = now}, "invalid token type"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(free) char *token = token_make(cases[i].secret, &cases[i].request);
        char header[1024];
        snprintf(header, sizeof(header), "Authorization: Bearer %s\r\n", token);
        expect(*state, "GET", "/instances", header, 401, "Unauthorized", cases[i].message);
    }
}

static void test_permissions(void **state)
{
    _cleanup_(free) char *nothing = authorization("[]");
    _cleanup_(free) char *reader = authorization("[\"image:read\",\"instance:read\"]");
    _cleanup_(free) char *all = authorization("[\"x\",\"*\"]");
    expect(*state, "GET", "/instances", nothing, 403, "Forbidden",
           "missing required scope: instance:read");
    expect(*state, "GET", "/health", nothing, 200, NULL, NULL);
    expect(*state, "GET", "/nothing", nothing, 404, "Not Found", "there is no such route");
    expect(*state, "GET", "/instances", reader, 200, NULL, NULL);
    expect(*state, "GET", "/instances/none", reader, 404, "not_found", "no instance \"none\"");
    expect(*state, "GET", "/resources", reader, 403, "Forbidden",
           "missing required scope: resource:read");
    expect(*state, "POST", "/instances", reader, 403, "Forbidden",
           "missing required scope: instance:write");
    expect(*state, "DELETE", "/instances/none", reader, 403, "Forbidden",
           "missing required scope: instance:delete");
    expect(*state, "GET", "/instances/none/exec", reader, 403, "Forbidden",
           "missing required scope: instance:write");
    expect(*state, "DELETE", "/instances/none", all, 404, "not_found", "no instance \"none\"");
}

/* A stranger's body is not even read. */
static void test_body_unread(void **state)
{
    int fd = http_open_tcp(*state);
    http_send_text(fd, "POST /instances HTTP/1.1\r\nHost: t\r\nContent-Length: 1000000\r\n\r\n{");
    struct http_reply reply = http_finish(fd);
    assert_int_equal(reply.status, 401);
    http_release(&reply);
}

/* The unix socket asks for no token, and takes none amiss. */
static void test_unix_socket(void **state)
{
    json_decref(http_expect(*state, "GET", "/instances", NULL, 200));
    int fd = http_open(*state);
    http_send_text(fd, "GET /instances HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
                       "Authorization: Bearer wrong\r\n\r\n");
    struct http_reply reply = http_finish(fd);
    assert_int_equal(reply.status, 200);
    http_release(&reply);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_without_token), TEST(test_header_format), TEST(test_with_token),
        TEST(test_bad_tokens),    TEST(test_permissions),   TEST(test_body_unread),
        TEST(test_unix_socket),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
