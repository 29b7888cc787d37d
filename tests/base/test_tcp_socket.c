/* SPDX-License-Identifier: Apache-2.0 */
/* TCP addresses, and connections over both families. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/tcp_socket.h"

static void test_addresses(void **state)
{
    static const char *const bad[] = {
        "",         ":",       "8080",       ":8080",      "host",        "host:",  "host:x",
        "host:80x", "host:-1", "host:65536", "host:99999", "host:100000", "::1:80", "[::1]",
        "[::1]:",   "[]:80",   "[::1:80",    "host:http",  "host: 80",    "a:b:80",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        struct error err = {0};
        assert_int_equal(tcp_listen(bad[i], &err), -EINVAL);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_non_null(strstr(err.message, "is not HOST:PORT"));
        assert_int_equal(tcp_connect(bad[i], NULL), -EINVAL);
    }
}

static void test_unknown_host(void **state)
{
    struct error err = {0};
    /* RFC 6761: this name never resolves. */
    assert_true(tcp_connect("no.such.host.invalid:80", &err) < 0);
    assert_non_null(strstr(err.message, "no.such.host.invalid:80: "));
}

static int option(int fd, int level, int name)
{
    int value = 0;
    socklen_t length = sizeof(value);
    assert_int_equal(getsockopt(fd, level, name, &value, &length), 0);
    return value;
}

static void talk(const char *address, const char *name_begins)
{
    char name[TCP_NAME_SIZE], byte = 0;
    struct error err = {0};
    _cleanup_(close) int listener = tcp_listen(address, &err);
    assert_string_equal(err.message, "");
    tcp_name(listener, name);
    assert_int_equal(strncmp(name, name_begins, strlen(name_begins)), 0);
    _cleanup_(close) int client = tcp_connect(name, &err);
    assert_string_equal(err.message, "");
    _cleanup_(close) int server = accept(listener, NULL, NULL);
    assert_true(server >= 0);
    /* A peer that vanishes is noticed on either side. */
    assert_true(option(server, SOL_SOCKET, SO_KEEPALIVE));
    assert_true(option(client, SOL_SOCKET, SO_KEEPALIVE));
    assert_int_equal(option(server, IPPROTO_TCP, TCP_KEEPIDLE), 60);
    assert_int_equal(send(client, "x", 1, 0), 1);
    assert_int_equal(recv(server, &byte, 1, 0), 1);
    assert_int_equal(byte, 'x');
    /* Taken: a second one is told so. */
    assert_int_equal(tcp_listen(name, &err), -EADDRINUSE);
    assert_non_null(strstr(err.message, name));
}

static void test_ipv4(void **state)
{
    talk("127.0.0.1:0", "127.0.0.1:");
}

/* Hosts without IPv6 say so. */
static void test_ipv6(void **state)
{
    struct error err = {0};
    int fd = tcp_listen("[::1]:0", &err);
    if (fd < 0) {
        assert_true(fd == -EADDRNOTAVAIL || fd == -EAFNOSUPPORT);
        assert_non_null(strstr(err.message, "[::1]:0"));
        return;
    }
    close(fd);
    talk("[::1]:0", "[::1]:");
}

static void test_refused(void **state)
{
    char name[TCP_NAME_SIZE];
    struct error err = {0};
    int fd = tcp_listen("127.0.0.1:0", NULL);
    tcp_name(fd, name);
    close(fd);
    assert_int_equal(tcp_connect(name, &err), -ECONNREFUSED);
    assert_non_null(strstr(err.message, name));
    tcp_name(-1, name);
    assert_string_equal(name, "?");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_unknown_host),
        cmocka_unit_test(test_ipv4),      cmocka_unit_test(test_ipv6),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
