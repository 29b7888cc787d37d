/* SPDX-License-Identifier: Apache-2.0 */
/* The client of the VMM's HTTP API against servers that answer well, badly and not at all. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "hypervisor/firecracker_api.h"
#include "support.h"

/* A server that reads one request, sends `answer`, and closes unless it is to hang. */
struct server {
    pthread_t thread;
    char *guest, *path;
    int listener;
    const char *answer;
    size_t length;
    bool hang;
    unsigned waiting; /* connections in the queue before the one to serve */
    int hold[2];      /* closed by the test when a hanging server may end */
    char request[4096];
};

/* Reads until the blank line and the body behind it have arrived. */
static void read_request(struct server *server, int fd)
{
    size_t used = 0;
    for (;;) {
        ssize_t n = read(fd, server->request + used, sizeof(server->request) - 1 - used);
        if (n <= 0)
            return;
        used += (size_t)n;
        server->request[used] = '\0';
        const char *body = strstr(server->request, "\r\n\r\n");
        const char *length = strcasestr(server->request, "content-length:");
        if (body && (!length || strlen(body + 4) >= strtoul(length + 15, NULL, 10)))
            return;
    }
}

static void *server_run(void *context)
{
    struct server *server = context;
    int fd = accept(server->listener, NULL, NULL);
    read_request(server, fd);
    for (size_t done = 0; done < server->length;) {
        ssize_t n = send(fd, server->answer + done, server->length - done, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    char byte;
    if (server->hang && read(server->hold[0], &byte, 1) < 0)
        abort();
    close(fd);
    return NULL;
}

static struct server *server_start(const char *answer, bool hang)
{
    struct server *server = calloc(1, sizeof(*server));
    assert_non_null(server);
    server->guest = guest_make();
    server->path = strdup(in_guest(server->guest, GUEST_API_SOCKET));
    server->listener = unix_listen(server->path, 0, NULL);
    assert_true(server->listener >= 0);
    server->answer = answer;
    server->length = strlen(answer);
    server->hang = hang;
    assert_int_equal(pipe(server->hold), 0);
    assert_int_equal(pthread_create(&server->thread, NULL, server_run, server), 0);
    return server;
}

static void server_stop(struct server *server)
{
    close(server->hold[1]);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    close(server->hold[0]);
    close(server->listener);
    guest_remove(server->guest);
    free(server->path);
    free(server);
}

static struct vmm_api api_of(const struct server *server)
{
    return (struct vmm_api){.socket_path = server->path, .connect_ms = 1000, .request_ms = 20000};
}

static void test_put(void **state)
{
    struct server *server = server_start("HTTP/1.1 204 \r\nServer: x\r\n\r\n", false);
    struct vmm_api api = api_of(server);
    struct error err = {0};
    assert_int_equal(vmm_api_put(&api, "/actions", json_pack("{s:s}", "a", "b"), &err), 0);
    assert_int_equal(err.errnum, 0);
    assert_int_equal(strncmp(server->request, "PUT /actions HTTP/1.1\r\n", 23), 0);
    assert_true(contains(server->request, "Content-Type: application/json\r\n"));
    assert_true(contains(server->request, "Content-Length: 9\r\n"));
    assert_true(contains(server->request, "\r\n\r\n{\"a\":\"b\"}"));
    assert_false(contains(server->request, "Expect"));
    server_stop(server);
}

static void test_patch(void **state)
{
    struct server *server = server_start("HTTP/1.1 204 \r\n\r\n", false);
    struct vmm_api api = api_of(server);
    assert_int_equal(vmm_api_patch(&api, "/vm", json_pack("{s:s}", "state", "Paused"), NULL), 0);
    assert_int_equal(strncmp(server->request, "PATCH /vm HTTP/1.1\r\n", 20), 0);
    server_stop(server);
}

static void test_get(void **state)
{
    struct server *server = server_start("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                                         "Content-Length: 19\r\n\r\n{\"state\":\"Running\"}",
                                         false);
    struct vmm_api api = api_of(server);
    json_t *answer = NULL;
    assert_int_equal(vmm_api_get(&api, "/", &answer, NULL), 0);
    assert_string_equal(json_string_value(json_object_get(answer, "state")), "Running");
    json_decref(answer);
    assert_int_equal(strncmp(server->request, "GET / HTTP/1.1\r\n", 16), 0);
    server_stop(server);
}

static void test_body_out_of_memory(void **state)
{
    const struct vmm_api api = {.socket_path = "/nowhere", .connect_ms = 1, .request_ms = 1};
    assert_int_equal(vmm_api_put(&api, "/x", NULL, NULL), -ENOMEM);
}

/* What the VMM refuses in words. */
static void fault(const char *answer, int errnum, enum error_code code, const char *words)
{
    struct server *server = server_start(answer, false);
    struct vmm_api api = api_of(server);
    struct error err = {0};
    assert_int_equal(vmm_api_put(&api, "/drives/d", json_object(), &err), -errnum);
    assert_int_equal(err.errnum, errnum);
    assert_int_equal(err.code, code);
    if (!contains(err.message, words) || !contains(err.message, "PUT /drives/d"))
        fail_msg("'%s' lacks '%s'", err.message, words);
    for (const char *p = err.message; *p; p++)
        assert_true((unsigned char)*p >= 0x20);
    server_stop(server);
}

/* A whole answer: the length is that of `body`. */
static char *answer_of(const char *status, const char *body)
{
    char *answer = NULL;
    assert_true(asprintf(&answer,
                         "HTTP/1.1 %s \r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\n\r\n%s",
                         status, strlen(body), body) > 0);
    return answer;
}

static void test_faults(void **state)
{
    static const struct {
        const char *status, *body;
        enum error_code code;
        const char *words;
    } faults[] = {
        {"400", "{\"fault_message\":\"no disk\"}", ERROR_INVALID, "(status 400): no disk"},
        {"500", "{\"fault_message\":\"it broke\"", ERROR_SYSTEM, "(status 500): no message"},
        {"503", "{\"error\":\"busy!\"}", ERROR_SYSTEM, "(status 503): busy!"},
        {"400", "", ERROR_INVALID, "no message"},
        {"400", "{\"fault_message\":42}", ERROR_INVALID, "no message"},
        {"400", "[\"fault_message\"]", ERROR_INVALID, "no message"},
        {"400", "{\"fault_message\":\"two\\nlines\\u001b[0m\"}", ERROR_INVALID, "two lines [0m"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        char *answer = answer_of(faults[i].status, faults[i].body);
        fault(answer, EREMOTEIO, faults[i].code, faults[i].words);
        free(answer);
    }
    fault("HTTP/1.1 302 \r\nLocation: http://example.com/\r\nContent-Length: 0\r\n\r\n", EREMOTEIO,
          ERROR_SYSTEM, "(status 302)"); /* never followed */
}

/* The errno behind a fault counts where it says that the host failed the VMM. One that a missing
 * VMM would give is not taken over. */
static void test_fault_errno(void **state)
{
    static const struct {
        const char *value;
        int errnum;
        enum error_code code;
    } faults[] = {
        {"\"ENOSPC\"", ENOSPC, ERROR_RESOURCES},
        {"\"EDQUOT\"", EDQUOT, ERROR_RESOURCES},
        {"\"ENOMEM\"", ENOMEM, ERROR_RESOURCES},
        {"\"EMFILE\"", EMFILE, ERROR_RESOURCES},
        {"\"EIO\"", EIO, ERROR_SYSTEM},
        {"\"ENOENT\"", EREMOTEIO, ERROR_INVALID},
        {"\"EINVAL\"", EREMOTEIO, ERROR_INVALID},
        {"\"ECONNRESET\"", EREMOTEIO, ERROR_INVALID},
        {"\"ENONSENSE\"", EREMOTEIO, ERROR_INVALID},
        {"\"\"", EREMOTEIO, ERROR_INVALID},
        {"28", EREMOTEIO, ERROR_INVALID},
        {"null", EREMOTEIO, ERROR_INVALID},
    };
    for (size_t i = 0; i < ARRAY_SIZE(faults); i++) {
        char body[128];
        snprintf(body, sizeof(body), "{\"fault_message\":\"it broke\",\"errno\":%s}",
                 faults[i].value);
        char *answer = answer_of("400", body);
        fault(answer, faults[i].errnum, faults[i].code, "(status 400): it broke");
        free(answer);
    }
}

static void test_long_fault(void **state)
{
    char *body = malloc(200100);
    assert_non_null(body);
    int used = snprintf(body, 200100, "{\"fault_message\":\"");
    memset(body + used, 'x', 200000);
    snprintf(body + used + 200000, 4, "\"}");
    char *answer = answer_of("400", body);
    fault(answer, EREMOTEIO, ERROR_INVALID, "xxxxxxxx");
    free(answer);
    free(body);
}

/* What is no answer. */
static void broken(const char *answer, int errnum)
{
    struct server *server = server_start(answer, false);
    struct vmm_api api = api_of(server);
    struct error err = {0};
    json_t *json = NULL;
    assert_int_equal(vmm_api_get(&api, "/vm/config", &json, &err), -errnum);
    assert_null(json);
    assert_true(contains(err.message, "GET /vm/config"));
    server_stop(server);
}

static void test_broken_answers(void **state)
{
    broken("", ECONNRESET);
    broken("\001\002\003 nonsense\r\n\r\n", ECONNRESET);
    broken("HTTP/1.1 200 \r\nContent-Length: 100\r\n\r\n{\"short\":", ECONNRESET);
    broken("HTTP/1.1 200 \r\nContent-Length: 8\r\n\r\nnot JSON", EPROTO);
    broken("HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", EPROTO);
    broken("HTTP/1.1 200 \r\nContent-Length: 5\r\n\r\n[[[[[", EPROTO);
    broken("HTTP/1.1 204 \r\n\r\n", EPROTO); /* where JSON was asked for */
}

/* Good JSON, but more than any VMM has to say. */
static void test_huge_answer(void **state)
{
    size_t size = 3 << 20;
    char *body = malloc(size + 3);
    assert_non_null(body);
    memset(body, ' ', size);
    snprintf(body + size, 3, "{}");
    char *answer = answer_of("200", body);
    broken(answer, ECONNRESET);
    free(answer);
    free(body);
}

static void test_no_answer_in_time(void **state)
{
    static const char *const beginnings[] = {"", "HTTP/1.1 204",
                                             "HTTP/1.1 200 \r\nContent-Length: 9\r\n"};
    for (size_t i = 0; i < ARRAY_SIZE(beginnings); i++) {
        struct server *server = server_start(beginnings[i], true);
        struct vmm_api api = api_of(server);
        api.request_ms = 50;
        struct error err = {0};
        assert_int_equal(vmm_api_put(&api, "/actions", json_object(), &err), -ETIMEDOUT);
        assert_int_equal(err.code, ERROR_TIMEOUT);
        assert_true(contains(err.message, "PUT /actions within 50 ms"));
        server_stop(server);
    }
}

static void test_nobody_there(void **state)
{
    char *guest = guest_make();
    char *path = strdup(in_guest(guest, GUEST_API_SOCKET));
    struct vmm_api api = {.socket_path = path, .connect_ms = 1000, .request_ms = 1000};
    struct error err = {0};
    assert_int_equal(vmm_api_get(&api, "/", NULL, &err), -ENOENT);
    assert_true(contains(err.message, path));
    int listener = unix_listen(path, 0, NULL);
    close(listener);
    assert_int_equal(vmm_api_get(&api, "/", NULL, &err), -ECONNREFUSED);
    assert_true(contains(err.message, path));
    api.socket_path = in_guest(guest, "missing/api.sock");
    assert_int_equal(vmm_api_get(&api, "/", NULL, &err), -ENOENT);
    free(path);
    guest_remove(guest);
}

/* Fills the queue of a socket that accepts nobody; returns how many connections that took. */
static unsigned fill_queue(const char *path, int *fds, unsigned max)
{
    unsigned count = 0;
    while (count < max && (fds[count] = unix_connect(path, SOCK_NONBLOCK, NULL)) >= 0)
        count++;
    assert_in_range(count, 1, max - 1);
    return count;
}

/* One who asks from a thread of its own. */
struct patient {
    struct vmm_api api;
    int outcome;
};

static void *patient_run(void *context)
{
    struct patient *patient = context;
    patient->outcome = vmm_api_put(&patient->api, "/x", json_object(), NULL);
    return NULL;
}

static void test_full_queue(void **state)
{
    struct server *server = server_start("", false);
    int fd = unix_connect(server->path, 0, NULL); /* its one customer */
    close(fd);
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    assert_int_equal(listen(server->listener, 0), 0);
    int fds[8] = {0};
    unsigned count = fill_queue(server->path, fds, 8);
    struct vmm_api api = api_of(server);
    api.connect_ms = 30;
    struct error err = {0};
    assert_int_equal(vmm_api_get(&api, "/", NULL, &err), -ETIMEDOUT);
    assert_int_equal(err.code, ERROR_TIMEOUT);
    assert_true(contains(err.message, "accepts nobody"));
    for (unsigned i = 0; i < count; i++)
        close(fds[i]);
    server->hang = false;
    assert_int_equal(pthread_create(&server->thread, NULL, server_run, server), 0);
    server_stop(server);
}

/* Makes room in a full queue, then serves the one who waited for it. */
static void *late_server_run(void *context)
{
    struct server *server = context;
    for (unsigned i = 0; i < server->waiting; i++) {
        int fd = accept(server->listener, NULL, NULL);
        close(fd);
    }
    return server_run(server);
}

/* A VMM that is busy for a while is waited for. */
static void test_queue_becomes_free(void **state)
{
    struct server *server = server_start("", false);
    close(unix_connect(server->path, 0, NULL)); /* its one customer */
    assert_int_equal(pthread_join(server->thread, NULL), 0);
    assert_int_equal(listen(server->listener, 0), 0);
    int fds[8] = {0};
    server->waiting = fill_queue(server->path, fds, 8);
    server->answer = "HTTP/1.1 204 \r\n\r\n";
    server->length = strlen(server->answer);
    pthread_t client;
    struct patient patient = {.api = api_of(server), .outcome = 1};
    patient.api.connect_ms = 20000;
    assert_int_equal(pthread_create(&client, NULL, patient_run, &patient), 0);
    time_sleep_ms(20); /* so that it is refused at least once; passes whatever is first */
    assert_int_equal(pthread_create(&server->thread, NULL, late_server_run, server), 0);
    assert_int_equal(pthread_join(client, NULL), 0);
    assert_int_equal(patient.outcome, 0);
    for (unsigned i = 0; i < server->waiting; i++)
        close(fds[i]);
    server_stop(server);
}

/* A path far beyond sun_path, and a socket's name in the working directory. */
static void test_long_path(void **state)
{
    char *guest = guest_make();
    char directory[400], path[420];
    memset(directory, 'd', sizeof(directory));
    snprintf(directory, sizeof(directory), "%s/%0200d", guest, 1);
    assert_int_equal(mkdir(directory, 0700), 0);
    snprintf(path, sizeof(path), "%s/api.sock", directory);
    struct server server = {.path = path, .answer = "HTTP/1.1 204 \r\n\r\n"};
    server.length = strlen(server.answer);
    server.listener = unix_listen(path, 0, NULL);
    assert_true(server.listener >= 0);
    assert_int_equal(pthread_create(&server.thread, NULL, server_run, &server), 0);
    struct vmm_api api = api_of(&server);
    struct error err = {0};
    if (vmm_api_put(&api, "/x", json_object(), &err) != 0)
        fail_msg("%s", err.message);
    assert_int_equal(pthread_join(server.thread, NULL), 0);
    close(server.listener);
    guest_remove(guest);
}

static void test_no_descriptors_leak(void **state)
{
    int before = dup(0);
    close(before);
    test_put(state);
    test_broken_answers(state);
    test_nobody_there(state);
    int after = dup(0);
    close(after);
    assert_int_equal(before, after);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_put),
        cmocka_unit_test(test_patch),
        cmocka_unit_test(test_get),
        cmocka_unit_test(test_body_out_of_memory),
        cmocka_unit_test(test_faults),
        cmocka_unit_test(test_fault_errno),
        cmocka_unit_test(test_long_fault),
        cmocka_unit_test(test_broken_answers),
        cmocka_unit_test(test_huge_answer),
        cmocka_unit_test(test_no_answer_in_time),
        cmocka_unit_test(test_nobody_there),
        cmocka_unit_test(test_full_queue),
        cmocka_unit_test(test_queue_becomes_free),
        cmocka_unit_test(test_long_path),
        cmocka_unit_test(test_no_descriptors_leak),
    };
    return cmocka_run_group_tests_name("api", tests, NULL, NULL);
}
