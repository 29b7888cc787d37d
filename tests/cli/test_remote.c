/* SPDX-License-Identifier: Apache-2.0 */
/* tine over TCP: tokens made by tine itself, and where tined is. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "http_client.h"
#include "program.h"

static const char *double_path;
static char directory[64], secret_path[96], host[64];
static struct daemon daemon_;
/* Nobody listens on its socket: what works with it works over TCP. */
static struct daemon nobody = {.socket = "/tmp/tine-test-nobody.sock"};

static int setup(void **state)
{
    static const char secret[] = "a secret of more than thirty-two bytes\n";
    snprintf(directory, sizeof(directory), "/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(secret_path, sizeof(secret_path), "%s/secret", directory);
    assert_int_equal(file_publish(AT_FDCWD, secret_path, secret, strlen(secret), 0600, NULL), 0);
    const char *const arguments[] = {"--listen", "127.0.0.1:0", "--token-secret-file", secret_path,
                                     NULL};
    daemon_start(&daemon_, double_path, arguments);
    snprintf(host, sizeof(host), "http://127.0.0.1:%u", daemon_port(&daemon_));
    return 0;
}

static int teardown(void **state)
{
    unsetenv("TINE_HOST");
    unsetenv("TINE_TOKEN");
    daemon_stop(&daemon_);
    return tree_remove(AT_FDCWD, directory, NULL);
}

/* Runs "tine token" with more options and puts the token into TINE_TOKEN. */
static void take_token(const char *options)
{
    char arguments[256];
    snprintf(arguments, sizeof(arguments), "token --secret-file %s %s", secret_path, options);
    struct outcome outcome = program_run(&nobody, arguments, NULL);
    assert_int_equal(outcome.status, 0);
    assert_string_equal(outcome.err, "");
    outcome.out[strcspn(outcome.out, "\n")] = '\0';
    assert_int_equal(setenv("TINE_TOKEN", outcome.out, 1), 0);
    outcome_release(&outcome);
}

static void over_tcp(const char *arguments, int status, const char *out, const char *err)
{
    char line[256];
    snprintf(line, sizeof(line), "--host %s %s", host, arguments);
    expect_run(&nobody, line, status, out, err);
}

static void test_commands(void **state)
{
    over_tcp("ps", 1, NULL, "authorization header required");
    over_tcp("version", 0, "tined 0.", NULL); /* needs no token */
    take_token("");
    over_tcp("run --name web", 0, "web", NULL);
    over_tcp("ps", 0, "web", NULL);
    over_tcp("logs web", 0, "line 5 of web", NULL);
    over_tcp("exec web echo over tcp", 0, "over tcp", NULL);
    over_tcp("rm -f web", 0, "", NULL);
    /* Files are tined's, wherever that is. */
    over_tcp("run --name disky --kernel /nonexistent/k --disk /nonexistent/d:ro", 0, "disky", NULL);
    over_tcp("run --kernel vmlinux", 1, NULL, "kernel vmlinux: with --host it must be an absolute");
    over_tcp("run --disk d:root", 1, NULL, "disk d: with --host it must be an absolute path there");
    setenv("TINE_HOST", host, 1);
    expect_run(&nobody, "run --name two", 0, "two", NULL);
    /* A socket on the command line makes the host void. */
    expect_run(&nobody, "--socket /tmp/tine-test-nobody.sock ps", 3, NULL, "nobody.sock");
    setenv("TINE_TOKEN", "wrong", 1);
    expect_run(&nobody, "ps", 1, NULL, "tine: ps: invalid token\n");
    expect_run(&nobody, "logs two", 1, NULL, "invalid token");
    expect_run(&nobody, "exec two true", 1, NULL, "invalid token");
}

static void test_permissions(void **state)
{
    take_token("--permissions instance:read,resource:read --user reader");
    over_tcp("ps", 0, "", NULL);
    over_tcp("run", 1, NULL, "missing required scope: instance:write");
    take_token("--expires 0s --permissions *");
    over_tcp("run --name web", 0, "web", NULL);
}

static void test_token(void **state)
{
    char arguments[256];
    snprintf(arguments, sizeof(arguments), "token --json --expires 1h --secret-file %s",
             secret_path);
    expect_run(&nobody, arguments, 0, "\"expires_at\": \"20", NULL);
    snprintf(arguments, sizeof(arguments), "token --json --expires 0s --secret-file %s",
             secret_path);
    expect_run(&nobody, arguments, 0, "\"expires_at\": null", NULL);
    expect_run(&nobody, "token --secret-file /nonexistent/secret", 1, NULL, "/nonexistent/secret");
    assert_int_equal(chmod(secret_path, 0644), 0);
    snprintf(arguments, sizeof(arguments), "token --secret-file %s", secret_path);
    expect_run(&nobody, arguments, 1, NULL, "open to others (mode 0644)");
    static const struct {
        const char *arguments, *message;
    } wrong[] = {
        {"token --expires soon", "--expires: \"soon\""},
        {"token --expires -1h", "--expires: -1h is less than a second"},
        {"token --expires 10ms", "--expires: 10ms is less"},
        {"token --permissions instance:all", "\"instance:all\" is not a scope"},
        {"token --permissions instance:read,,*", "\"\" is not a scope"},
        {"token --user builder-7", "--user: names that begin with builder-"},
        {"token --user \xff", "--user: it is not UTF-8"},
        {"token extra", "unexpected argument \"extra\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++)
        expect_run(&nobody, wrong[i].arguments, 2, NULL, wrong[i].message);
}

static void test_host(void **state)
{
    static const char *const wrong[] = {"127.0.0.1:8080",   "https://127.0.0.1:8080",
                                        "http://localhost", "http://u@h:1",
                                        "http://h:1/path",  "http://"};
    char arguments[128];
    for (size_t i = 0; i < ARRAY_SIZE(wrong); i++) {
        snprintf(arguments, sizeof(arguments), "--host %s ps", wrong[i]);
        expect_run(&nobody, arguments, 2, NULL, "is not http://HOST:PORT");
    }
    expect_run(&nobody, "ps --host http://127.0.0.1:1 --socket /x", 2, NULL, "exclude each other");
    expect_run(&nobody, "--host http://127.0.0.1:1 ps", 3, NULL,
               "tined does not answer on 127.0.0.1:1");
    expect_run(&nobody, "--host http://127.0.0.1:1 exec web true", 3, NULL, "on 127.0.0.1:1");
    expect_run(&nobody, "--host http://127.0.0.1:1 version", 0, "does not answer on 127.0.0.1:1",
               NULL);
    setenv("TINE_HOST", "nonsense", 1);
    expect_run(&nobody, "ps", 2, NULL, "TINE_HOST: \"nonsense\" is not http://HOST:PORT");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_commands),
        TEST(test_permissions),
        TEST(test_token),
        TEST(test_host),
    };
    if (argc != 3)
        return 2;
    program_path_set(argv[1]);
    double_path = argv[2];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
