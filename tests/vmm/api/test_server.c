/* SPDX-License-Identifier: Apache-2.0 */
/* Connections: keep-alive, pipelining, pieces, limits, clients that misbehave. */
/* clang-format off */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <setjmp.h>
#include <cmocka.h>
/* clang-format on */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "api_fixture.h"
#include "base/clock.h"

#define GET_VERSION "GET /version HTTP/1.1\r\n\r\n"

static uint64_t cpu_ns(pthread_t thread)
{
    struct timespec used;
    clockid_t clock = 0;
    assert_int_equal(pthread_getcpuclockid(thread, &clock), 0);
    assert_int_equal(clock_gettime(clock, &used), 0);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

static void send_text(int fd, const char *text)
{
    client_send(fd, text, strlen(text));
}

static void receive(int fd, struct response *response, int status)
{
    assert_true(client_receive(fd, response));
    assert_int_equal(response->status, status);
}

static void test_keep_alive(void **state)
{
    struct fixture *f = *state;
    struct response response;
    for (int i = 0; i < 200; i++) {
        send_text(f->client, GET_VERSION);
        receive(f->client, &response, 200);
        assert_true(response.keep_alive);
    }
}

static void test_connection_close(void **state)
{
    struct fixture *f = *state;
    struct response response;
    int fd = client_connect(f);
    send_text(fd, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    receive(fd, &response, 200);
    assert_false(response.keep_alive);
    assert_true(client_at_end(fd));
    close(fd);
    fd = client_connect(f);
    send_text(fd, "GET / HTTP/1.0\r\n\r\n");
    receive(fd, &response, 200);
    assert_true(client_at_end(fd));
    close(fd);
    fd = client_connect(f);
    send_text(fd, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" GET_VERSION);
    receive(fd, &response, 200);
    receive(fd, &response, 200);
    close(fd);
}

static void test_pipelined(void **state)
{
    struct fixture *f = *state;
    struct response response;
    /* 36 bytes of body: the last one is the first of the next request line, which is then wrong. */
    send_text(f->client, "PUT /machine-config HTTP/1.1\r\nContent-Length: 35\r\n\r\n"
                         "{\"vcpu_count\":7,\"mem_size_mib\":1234}");
    receive(f->client, &response, 400);
    close(f->client);
    f->client = client_connect(f);
    send_text(f->client, "PUT /machine-config HTTP/1.1\r\nContent-Length: 36\r\n\r\n"
                         "{\"vcpu_count\":7,\"mem_size_mib\":1234}"
                         "GET /machine-config HTTP/1.1\r\n\r\n"
                         "GET /nothing HTTP/1.1\r\n\r\n" GET_VERSION);
    receive(f->client, &response, 204);
    receive(f->client, &response, 200);
    assert_non_null(strstr(response.body, "\"vcpu_count\":7,\"mem_size_mib\":1234"));
    receive(f->client, &response, 400);
    receive(f->client, &response, 200);
    assert_non_null(strstr(response.body, "firecracker_version"));
}

/* A client that sends without end and reads nothing stops itself; others are served, and in the end
 * every request has its answer. */
static void test_pipelined_without_reading(void **state)
{
    struct fixture *f = *state;
    struct response response;
    int fd = client_connect(f);
    size_t sent = 0, answered = 0;
    const char request[] = GET_VERSION;
    for (;;) {
        ssize_t n =
            send(fd, request + sent % (sizeof(request) - 1),
                 sizeof(request) - 1 - sent % (sizeof(request) - 1), MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            /* Full, or the server has not read yet: a round trip on another connection tells. */
            expect(f, 200, NULL, "GET", "/", NULL);
            expect(f, 200, NULL, "GET", "/", NULL);
            n = send(fd, request + sent % (sizeof(request) - 1), 1, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (n < 0)
                break;
        }
        assert_true(n > 0);
        sent += (size_t)n;
        assert_true(sent < (64u << 20));
    }
    uint64_t before = cpu_ns(f->thread);
    time_sleep_ms(200);
    assert_true(cpu_ns(f->thread) - before < 100000000u);
    expect(f, 200, NULL, "GET", "/", NULL);
    shutdown(fd, SHUT_WR);
    while (client_receive(fd, &response)) {
        assert_int_equal(response.status, 200);
        answered++;
    }
    assert_int_equal(answered, sent / (sizeof(request) - 1));
    assert_true(answered > 100);
    close(fd);
}

static void test_byte_by_byte(void **state)
{
    static const char request[] =
        "PUT /machine-config HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        "Content-Length: 35\r\n\r\n{\"vcpu_count\":3,\"mem_size_mib\":300}";
    struct fixture *f = *state;
    struct response response;
    for (size_t i = 0; i < sizeof(request) - 1; i++) {
        client_send(f->client, request + i, 1);
        /* Another request in between makes sure that the piece was seen by itself. */
        if (i % 8 == 0) {
            int fd = client_connect(f);
            send_text(fd, GET_VERSION);
            receive(fd, &response, 200);
            close(fd);
        }
    }
    receive(f->client, &response, 204);
    expect(f, 200, "\"mem_size_mib\":300", "GET", "/machine-config", NULL);
}

static void test_expect_continue(void **state)
{
    struct fixture *f = *state;
    struct response response;
    send_text(f->client, "PATCH /machine-config HTTP/1.1\r\nExpect: 100-continue\r\n"
                         "Content-Length: 16\r\n\r\n");
    receive(f->client, &response, 100);
    assert_false(response.has_length);
    send_text(f->client, "{\"vcpu_count\":5}");
    receive(f->client, &response, 204);
    expect(f, 200, "\"vcpu_count\":5", "GET", "/machine-config", NULL);
}

/* What is not HTTP is told so, under the key "error", and ends the connection. */
static void test_malformed(void **state)
{
    static const char *const bad[] = {
        "hello\r\n\r\n",
        "GET /\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET relative HTTP/1.1\r\n\r\n",
        "get / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nNo colon\r\n\r\n",
        "GET / HTTP/1.1\r\n: empty name\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\nHost: x\n\n",
        "PUT /vm HTTP/1.1\r\nContent-Length: 51201\r\n\r\n",
        "PUT /vm HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 999999999999\r\n\r\n",
    };
    struct fixture *f = *state;
    struct response response;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        int fd = client_connect(f);
        send_text(fd, bad[i]);
        receive(fd, &response, 400);
        assert_non_null(strstr(response.body, "{\"error\":\""));
        assert_false(response.keep_alive);
        assert_true(client_at_end(fd));
        close(fd);
    }
    expect(f, 200, NULL, "GET", "/", NULL);
}

static void send_line_of(int fd, const char *start, size_t length)
{
    char line[2048];
    memset(line, 'a', sizeof(line));
    for (size_t i = 0; start[i]; i++)
        line[i] = start[i];
    client_send(fd, line, length - 2);
    client_send(fd, "\r\n", 2);
}

static void test_line_limit(void **state)
{
    struct fixture *f = *state;
    struct response response;
    int fd = client_connect(f);
    send_text(fd, "GET / HTTP/1.1\r\n");
    send_line_of(fd, "X: ", 1024);
    client_send(fd, "\r\n", 2);
    receive(fd, &response, 200);
    send_text(fd, "GET / HTTP/1.1\r\n");
    send_line_of(fd, "X: ", 1025);
    receive(fd, &response, 400);
    close(fd);
    fd = client_connect(f);
    send_line_of(fd, "GET /", 1500);
    receive(fd, &response, 400);
    assert_non_null(strstr(response.body, "1024"));
    close(fd);
}

/* A body of the largest size is read; one that is too large gets its answer although the client is
 * still sending. */
static void test_body_limit(void **state)
{
    struct fixture *f = *state;
    struct response response;
    char head[128];
    const size_t too_large = (size_t)API_BODY_LIMIT * 8;
    char *body = malloc(too_large);
    assert_non_null(body);
    memset(body, ' ', too_large);
    static const char object[16] = "{\"vcpu_count\":6}"; /* no NUL: blanks follow */
    memcpy(body, object, sizeof(object));
    snprintf(head, sizeof(head), "PATCH /machine-config HTTP/1.1\r\nContent-Length: %u\r\n\r\n",
             API_BODY_LIMIT);
    send_text(f->client, head);
    client_send(f->client, body, API_BODY_LIMIT);
    receive(f->client, &response, 204);
    int fd = client_connect(f);
    snprintf(head, sizeof(head), "PATCH /machine-config HTTP/1.1\r\nContent-Length: %zu\r\n\r\n",
             too_large);
    send_text(fd, head);
    client_send(fd, body, too_large);
    receive(fd, &response, 400);
    assert_non_null(strstr(response.body, "limit"));
    assert_true(client_at_end(fd));
    close(fd);
    free(body);
}

static void test_eleventh_connection(void **state)
{
    struct fixture *f = *state;
    struct response response;
    int clients[9];
    for (int i = 0; i < 9; i++) {
        clients[i] = client_connect(f);
        send_text(clients[i], GET_VERSION);
        receive(clients[i], &response, 200);
    }
    int eleventh = client_connect(f);
    receive(eleventh, &response, 503);
    assert_non_null(strstr(response.body, "{\"error\":\""));
    assert_true(client_at_end(eleventh));
    close(eleventh);
    /* The ten others live on, and a place that becomes free is given again. */
    for (int i = 0; i < 9; i++) {
        send_text(clients[i], GET_VERSION);
        receive(clients[i], &response, 200);
    }
    close(clients[0]);
    expect(f, 200, NULL, "GET", "/", NULL); /* the server has seen the close before this */
    clients[0] = client_connect(f);
    send_text(clients[0], GET_VERSION);
    receive(clients[0], &response, 200);
    for (int i = 0; i < 9; i++)
        close(clients[i]);
}

/* Firecracker drops the answer then; here the client gets it. */
static void test_half_close(void **state)
{
    struct fixture *f = *state;
    struct response response;
    int fd = client_connect(f);
    send_text(fd, GET_VERSION);
    assert_int_equal(shutdown(fd, SHUT_WR), 0);
    receive(fd, &response, 200);
    assert_true(client_at_end(fd));
    close(fd);
}

/* Clients that vanish at every point leave nothing behind and make nothing spin. */
static void test_vanishing_clients(void **state)
{
    struct fixture *f = *state;
    static const char *const parts[] = {"", "GET", "GET / HTTP/1.1\r\n", GET_VERSION,
                                        "PUT /vm HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"};
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
            int fd = client_connect(f);
            send_text(fd, parts[i]);
            close(fd);
            expect(f, 200, NULL, "GET", "/", NULL);
        }
    }
    uint64_t before = cpu_ns(f->thread);
    time_sleep_ms(200);
    assert_true(cpu_ns(f->thread) - before < 100000000u);
}

static void test_socket_exists(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    assert_null(api_create(f->socket_path, API_BODY_LIMIT, f->loop, f->vmm, &err));
    assert_int_equal(err.errnum, EADDRINUSE);
    assert_non_null(strstr(err.message, f->socket_path));
}

#define SERVER_TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        SERVER_TEST(test_keep_alive),    SERVER_TEST(test_connection_close),
        SERVER_TEST(test_pipelined),     SERVER_TEST(test_pipelined_without_reading),
        SERVER_TEST(test_byte_by_byte),  SERVER_TEST(test_expect_continue),
        SERVER_TEST(test_malformed),     SERVER_TEST(test_line_limit),
        SERVER_TEST(test_body_limit),    SERVER_TEST(test_eleventh_connection),
        SERVER_TEST(test_half_close),    SERVER_TEST(test_vanishing_clients),
        SERVER_TEST(test_socket_exists),
    };
    return cmocka_run_group_tests_name("api server", tests, NULL, NULL);
}
