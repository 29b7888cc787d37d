/* SPDX-License-Identifier: Apache-2.0 */
/* What tined is told by its configuration file and its command line, and the service manager that
 * may have started it. */
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "http_client.h"

static const char *double_path, *example_path;
static char directory[64], config_path[96];

static int group_setup(void **state)
{
    snprintf(directory, sizeof(directory), "/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(config_path, sizeof(config_path), "%s/x.conf", directory);
    return 0;
}

static int group_teardown(void **state)
{
    return tree_remove(AT_FDCWD, directory, NULL);
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    assert_int_equal(file_publish(AT_FDCWD, path, text, strlen(text), mode, NULL), 0);
    assert_int_equal(chmod(path, mode), 0);
}

/* A tined that must refuse to start with this configuration, in these words. */
static void expect_refused(const char *text, mode_t mode, const char *part)
{
    char output[4096];
    const char *const arguments[] = {"--config", config_path, NULL};
    write_file(config_path, text, mode);
    int status = program_output(double_path, arguments, output, sizeof(output));
    if (status != 2 || !strstr(output, part))
        fail_msg("\"%s\": %d, \"%s\" is not in \"%s\"", text, status, part, output);
}

static void test_wrong_settings(void **state)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"colour = blue\n", "x.conf:1: unknown setting colour"},
        {"# ok\n\nlog-level = info\nsockt = /x\n", "x.conf:4: unknown setting sockt"},
        {"log-level = loud\n", "x.conf:1: log-level: \"loud\" is not error, warning"},
        {"agent-timeout = fast\n", "x.conf:1: agent-timeout: \"fast\" is not a duration"},
        {"request-timeout = -1s\n", "x.conf:1: request-timeout: -1s is out of range"},
        {"firecracker-jailer = /j\nfirecracker-user = 1:1\n", "there is no program for it"},
        {"firecracker = /f\nfirecracker-jailer = /j\n", "it needs a user"},
        {"firecracker = /f\nfirecracker-user = 1:1\n", "only a jailer can change the user"},
        {"firecracker-user = 1\n", "x.conf:1: firecracker-user: \"1\" is not UID:GID"},
        {"firecracker-user = root:root\n", "is not UID:GID"},
        {"firecracker-user = -1:1\n", "is not UID:GID"},
        {"firecracker-user = 1:4294967295\n", "is not UID:GID"},
        {"firecracker-user = 1:2:3\n", "is not UID:GID"},
        {"max-connections = 0\n", "x.conf:1: max-connections: \"0\" is not a number from 1"},
        {"max-connections = many\n", "x.conf:1: max-connections: \"many\""},
        {"max-connections = 5x\n", "x.conf:1: max-connections: \"5x\""},
        {"standby-memory = deep\n",
         "x.conf:1: standby-memory: \"deep\" is not auto, merge, layer or full"},
        {"memory-backend = swap\n",
         "x.conf:1: memory-backend: \"swap\" is not auto, file or pager"},
        {"pager-dir = run\n", "x.conf:1: pager-dir: \"run\" is no absolute path"},
        {"compact-after = soon\n", "x.conf:1: compact-after: \"soon\" is not a duration"},
        {"compact-bandwidth = 1KB/s\n", "x.conf:1: compact-bandwidth: 1KB/s is less than 1MiB/s"},
        {"graduate-after = soon\n", "x.conf:1: graduate-after: \"soon\" is not a duration"},
        {"graduate-bandwidth = fast\n", "x.conf:1: graduate-bandwidth: "},
        {"graduate-bandwidth = 1KB/s\n", "x.conf:1: graduate-bandwidth: 1KB/s is not from 1MiB/s"},
        {"graduate-at-once = 0\n", "x.conf:1: graduate-at-once: \"0\" is not a number from 1"},
        {"decoded-cache = 15\n",
         "x.conf:1: decoded-cache: \"15\" is not a number of MiB from 16 to 1048576"},
        {"decoded-cache = 1048577\n", "x.conf:1: decoded-cache: \"1048577\" is not a number"},
        {"decoded-cache = 64MiB\n", "x.conf:1: decoded-cache: \"64MiB\" is not a number"},
        {"log-level = info\nlog-level = debug\n", "x.conf:2: log-level is set twice"},
        {"log-level\n", "x.conf:1: this is not NAME = VALUE"},
        {"log-level =\n", "x.conf:1: log-level has no value"},
        {"log-level = ; info\n", "x.conf:1: log-level has no value"},
        {"[server]\nlog-level = info\n", "x.conf:2: there are no sections here"},
        {"log-level = info\n  debug\n", "x.conf:2: the line begins with a space"},
        {"help = yes\n", "x.conf:1: help is for the command line only"},
        {"config = /x\n", "x.conf:1: config is for the command line only"},
        {"listen = 127.0.0.1:0\n", "listen: TCP needs a token secret"},
        {"token-secret = short\n", "x.conf:1: token-secret: the token secret has 5 bytes"},
        {"token-secret-file = /nonexistent/secret\n", "/nonexistent/secret"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect_refused(cases[i].text, 0600, cases[i].part);
    _cleanup_(free) char *text = calloc(1, 400);
    snprintf(text, 400, "# %0300d\n", 0);
    expect_refused(text, 0600, "x.conf:1: the line has 302 bytes");
}

#define SECRET "0123456789abcdef0123456789abcdef"

static void test_secret_in_config(void **state)
{
    expect_refused("token-secret = " SECRET "\n", 0644, "x.conf holds a secret and is open");
    expect_refused("token-secret = " SECRET "\ntoken-secret-file = /x\n", 0600,
                   "token-secret and token-secret-file are both set");
    /* A secret is no argument: others could read it. */
    char output[4096];
    const char *const argument[] = {"--token-secret", SECRET, NULL};
    assert_int_equal(program_output(double_path, argument, output, sizeof(output)), 2);
    assert_null(strstr(output, SECRET));
    struct daemon daemon;
    const char *const arguments[] = {"--config", config_path, NULL};
    write_file(config_path, "listen = 127.0.0.1:0\ntoken-secret = " SECRET "\n", 0600);
    daemon_start(&daemon, double_path, arguments);
    int fd = http_open_tcp(&daemon);
    http_send_text(fd, "GET /instances HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    struct http_reply reply = http_finish(fd);
    assert_int_equal(reply.status, 401);
    http_release(&reply);
    daemon_stop(&daemon);
}

static void test_missing_config(void **state)
{
    char output[4096];
    const char *const arguments[] = {"--config", "/nonexistent/x.conf", NULL};
    assert_int_equal(program_output(double_path, arguments, output, sizeof(output)), 2);
    assert_non_null(strstr(output, "/nonexistent/x.conf"));
}

static void test_listen_errors(void **state)
{
    static const char *const addresses[] = {"8080",        ":8080",     "127.0.0.1",
                                            "127.0.0.1:",  "::1:80",    "127.0.0.1:99999",
                                            "127.0.0.1:x", "[::1]:http"};
    char output[4096], socket[96], data[96], secret[96];
    snprintf(socket, sizeof(socket), "%s/s", directory);
    snprintf(data, sizeof(data), "%s/d", directory);
    snprintf(secret, sizeof(secret), "%s/secret", directory);
    write_file(secret, SECRET, 0600);
    write_file(config_path, "", 0600);
    for (size_t i = 0; i < ARRAY_SIZE(addresses); i++) {
        const char *const arguments[] = {
            "--config", config_path,           "--socket", socket,     "--data-dir",
            data,       "--token-secret-file", secret,     "--listen", addresses[i],
            NULL};
        assert_int_equal(program_output(double_path, arguments, output, sizeof(output)), 1);
        assert_non_null(strstr(output, "is not HOST:PORT"));
        assert_int_equal(access(socket, F_OK), -1); /* nothing is left behind */
    }
}

/* The command line wins over the file, the file over the defaults. */
static void test_precedence(void **state)
{
    struct daemon daemon;
    char text[256], other[128];
    snprintf(other, sizeof(other), "%s/other.sock", directory);
    snprintf(text, sizeof(text),
             "# a comment\n; another\nsocket = %s ; behind a value\nmax-connections=7\n", other);
    write_file(config_path, text, 0644);
    const char *const arguments[] = {"--config", config_path, NULL};
    daemon_start(&daemon, double_path, arguments); /* waits for the socket of its arguments */
    assert_int_equal(access(other, F_OK), -1);
    daemon_stop(&daemon);
}

/* True if the daemon answers a fresh connection. */
static bool answers(const struct daemon *daemon)
{
    int fd = http_open(daemon);
    http_send_text(fd, "GET /health HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
    struct http_reply reply = http_finish(fd);
    bool answered = reply.status == 200;
    http_release(&reply);
    return answered;
}

/* A connection that surely counts: it was answered and stays open. */
static int occupy(const struct daemon *daemon)
{
    for (;;) {
        char text[4096];
        size_t length = 0;
        ssize_t n = 1;
        int fd = http_open(daemon);
        http_send_text(fd, "GET /health HTTP/1.1\r\nHost: t\r\n\r\n");
        for (text[0] = '\0'; n > 0 && !strstr(text, "\"ok\""); text[length] = '\0') {
            n = recv(fd, text + length, sizeof(text) - 1 - length, 0);
            length += n > 0 ? (size_t)n : 0;
        }
        if (n > 0)
            return fd;
        close(fd); /* another one still holds the place */
        time_sleep_ms(5);
    }
}

/* Over the limit connections are closed; when others end there is room again. */
static void test_connection_limit(void **state)
{
    struct daemon daemon;
    const char *const arguments[] = {"--config", config_path, NULL};
    write_file(config_path, "max-connections = 2\n", 0600);
    daemon_start(&daemon, double_path, arguments);
    int first = occupy(&daemon), second = occupy(&daemon);
    assert_false(answers(&daemon));
    close(first);
    close(second);
    while (!answers(&daemon))
        time_sleep_ms(5);
    daemon_stop(&daemon);
}

static void expect_notice(int fd, const char *wanted)
{
    char text[64];
    ssize_t n = recv(fd, text, sizeof(text) - 1, 0);
    assert_true(n > 0);
    text[n] = '\0';
    assert_string_equal(text, wanted);
}

static int notify_socket(struct sockaddr_un *address, socklen_t length)
{
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct timeval timeout = {.tv_sec = 60};
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout)), 0);
    assert_int_equal(bind(fd, (struct sockaddr *)address, length), 0);
    return fd;
}

/* Says when it serves and when it stops, to a path and to an abstract address. */
static void test_service_manager(void **state)
{
    for (int abstract = 0; abstract < 2; abstract++) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char name[96];
        struct daemon daemon;
        snprintf(name, sizeof(name), "%s%s/notify", abstract ? "@" : "", directory);
        memcpy(address.sun_path, name, strlen(name));
        if (abstract)
            address.sun_path[0] = '\0';
        int fd = notify_socket(&address,
                               (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(name)));
        setenv("NOTIFY_SOCKET", name, 1);
        daemon_start(&daemon, double_path, NULL);
        unsetenv("NOTIFY_SOCKET");
        expect_notice(fd, "READY=1");
        daemon_stop(&daemon);
        expect_notice(fd, "STOPPING=1");
        close(fd);
    }
}

/* An operation that goes on for too long is cut off when tined stops. */
static void test_stop_timeout(void **state)
{
    struct daemon daemon;
    const char *const arguments[] = {"--stop-timeout", "100ms", NULL};
    daemon_start(&daemon, double_path, arguments);
    int fd = http_open(&daemon);
    http_send_text(fd, "POST /instances HTTP/1.1\r\nHost: t\r\nContent-Length: 19\r\n\r\n"
                       "{\"name\":\"meet-9-1\"}");
    free(daemon_await_log(&daemon, "meet-9-1 is under way"));
    kill(daemon.pid, SIGTERM);
    assert_int_equal(daemon_reap(&daemon), 1);
    free(daemon_await_log(&daemon, "the time to stop is over: operations are cut off"));
    close(fd);
    daemon_spawn(&daemon, double_path, NULL);
    daemon_stop(&daemon);
}

/* The example with every setting in force, but for those that would collide with other tests. */
static char *example_in_force(const char *text)
{
    char *copy = strdup(text);
    for (char *at = copy; (at = strchr(at, '\n')); at++) {
        if (at[1] == '#' && at[2] >= 'a' && at[2] <= 'z')
            at[1] = '\n';
    }
    return copy;
}

/* The example names every setting, and tined takes them all. */
static void test_example(void **state)
{
    char help[8192], secret[96];
    const char *const ask[] = {"--help", NULL};
    _cleanup_(free) char *text = NULL;
    size_t length, settings = 0;
    assert_int_equal(file_read_all(AT_FDCWD, example_path, 1 << 16, &text, &length, NULL), 0);
    assert_int_equal(program_output(double_path, ask, help, sizeof(help)), 0);
    for (const char *at = help; (at = strstr(at, "\n  --")); settings++) {
        char line[64];
        at += strlen("\n  --");
        size_t name = strcspn(at, " \n");
        snprintf(line, sizeof(line), "\n#%.*s = ", (int)name, at);
        bool argument_only = strncmp(at, "config ", 7) == 0 || strncmp(at, "help ", 5) == 0 ||
                             strncmp(at, "version ", 8) == 0;
        if (argument_only == (strstr(text, line) != NULL))
            fail_msg("the example and --%.*s", (int)name, at);
    }
    assert_true(settings > 10);
    _cleanup_(free) char *in_force = example_in_force(text);
    write_file(config_path, in_force, 0600);
    snprintf(secret, sizeof(secret), "%s/secret", directory);
    write_file(secret, SECRET, 0600);
    struct daemon daemon;
    const char *const arguments[] = {
        "--config", config_path, "--listen", "127.0.0.1:0", "--token-secret-file", secret, NULL};
    daemon_start(&daemon, double_path, arguments);
    assert_true(daemon_port(&daemon) > 0);
    daemon_stop(&daemon);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrong_settings),  cmocka_unit_test(test_secret_in_config),
        cmocka_unit_test(test_missing_config),  cmocka_unit_test(test_listen_errors),
        cmocka_unit_test(test_precedence),      cmocka_unit_test(test_connection_limit),
        cmocka_unit_test(test_service_manager), cmocka_unit_test(test_stop_timeout),
        cmocka_unit_test(test_example),
    };
    if (argc != 3)
        return 2;
    double_path = argv[1];
    example_path = argv[2];
    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
