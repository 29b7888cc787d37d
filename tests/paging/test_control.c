/* SPDX-License-Identifier: Apache-2.0 */
/* What tined makes of a pager's answers, right ones and others. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/unix_socket.h"
#include "http/descriptors.h"
#include "paging/control.h"
#include "paging/paging_private.h"

#define OK "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n"

/* Answers every connection with the same text, and with descriptors if it has any. */
struct double_pager {
    char directory[64], socket[96];
    const char *answer;
    unsigned descriptors, connections;
    int listener;
    pthread_t thread;
    char request[512]; /* the last one */
};

static void answer_send(const struct double_pager *pager, int fd)
{
    int fds[4] = {STDERR_FILENO, STDERR_FILENO, STDERR_FILENO, STDERR_FILENO};
    size_t length = strlen(pager->answer), sent = 0;
    if (pager->descriptors > 0 && length > 0) {
        assert_int_equal(descriptors_send(fd, pager->answer, 1, fds, pager->descriptors), 1);
        sent = 1;
    }
    if (length > sent)
        (void)!send(fd, pager->answer + sent, length - sent, MSG_NOSIGNAL);
}

static void *pager_run(void *context)
{
    struct double_pager *pager = context;
    for (unsigned i = 0; i < pager->connections; i++) {
        int fds[4];
        size_t count = 0;
        bool too_many = false;
        _cleanup_(close) int fd = accept4(pager->listener, NULL, NULL, SOCK_CLOEXEC);
        ssize_t n = descriptors_receive(fd, pager->request, sizeof(pager->request) - 1, fds, 4,
                                        &count, &too_many);
        if (n == 1 && count > 0) /* which descriptors travel with */
            n += recv(fd, pager->request + 1, sizeof(pager->request) - 2, 0);
        pager->request[n > 0 ? n : 0] = '\0';
        for (size_t k = 0; k < count; k++)
            close(fds[k]);
        answer_send(pager, fd);
    }
    return NULL;
}

static void pager_begin(struct double_pager *pager, const char *answer, unsigned connections)
{
    struct error err = {0};
    snprintf(pager->directory, sizeof(pager->directory), "/tmp/tine-test-paging-XXXXXX");
    assert_non_null(mkdtemp(pager->directory));
    snprintf(pager->socket, sizeof(pager->socket), "%s/control.sock", pager->directory);
    pager->answer = answer;
    pager->connections = connections;
    pager->listener = unix_listen(pager->socket, 0, &err);
    assert_true(pager->listener >= 0);
    assert_int_equal(pthread_create(&pager->thread, NULL, pager_run, pager), 0);
}

static void pager_end(struct double_pager *pager)
{
    pthread_join(pager->thread, NULL);
    close(pager->listener);
    assert_int_equal(tree_remove(AT_FDCWD, pager->directory, NULL), 0);
}

/* One call, answered so; the error. */
static struct error ask(const char *answer, unsigned descriptors, struct control_reply *reply)
{
    struct double_pager pager = {.descriptors = descriptors};
    struct error err = {0};
    pager_begin(&pager, answer, 1);
    const struct control_request request = {
        .socket = pager.socket, .method = "GET", .path = "/stats"};
    int r = control_call(&request, reply, &err);
    assert_int_equal(r, -err.errnum);
    pager_end(&pager);
    return err;
}

static void test_answers(void **state)
{
    static const struct {
        const char *answer;
        enum error_code code;
        int errnum;
        const char *words;
    } cases[] = {
        {"", ERROR_SYSTEM, ECONNRESET, "GET /stats"},
        {"what?", ERROR_SYSTEM, EPROTO, "GET /stats"},
        {"HTTP/1.1 200 OK\r\n", ERROR_SYSTEM, EPROTO, "GET /stats"},
        {"HTTP/2 200 OK\r\n\r\n{}", ERROR_SYSTEM, EPROTO, "GET /stats"},
        {OK "{\"half\":", ERROR_SYSTEM, EPROTO, "GET /stats"},
        {"HTTP/1.1 404 Not Found\r\n\r\n{\"fault_message\":\"no session "
         "'a'\",\"errno\":\"ENOENT\"}",
         ERROR_NOT_FOUND, ENOENT, "no session 'a'"},
        {"HTTP/1.1 409 Conflict\r\n\r\n{\"fault_message\":\"draining\",\"errno\":\"ESHUTDOWN\"}",
         ERROR_STATE, ESHUTDOWN, "draining"},
        {"HTTP/1.1 501 \r\n\r\n{\"fault_message\":\"2 layers\",\"errno\":\"EOPNOTSUPP\"}",
         ERROR_UNSUPPORTED, EOPNOTSUPP, "2 layers"},
        {"HTTP/1.1 400 Bad\r\n\r\n{\"fault_message\":\"x\",\"errno\":\"ENONSENSE\"}", ERROR_SYSTEM,
         EREMOTEIO, "x"},
        {"HTTP/1.1 500 Bad\r\n\r\n[]", ERROR_SYSTEM, EREMOTEIO, "refused"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(control_reply) struct control_reply reply;
        struct error err = ask(cases[i].answer, 0, &reply);
        assert_int_equal(err.code, cases[i].code);
        assert_int_equal(err.errnum, cases[i].errnum);
        assert_non_null(strstr(err.message, cases[i].words));
    }
}

static void test_descriptors(void **state)
{
    for (unsigned count = 0; count <= 4; count++) {
        _cleanup_(control_reply) struct control_reply reply;
        struct error err = ask(OK "{}", count, &reply);
        assert_int_equal(err.errnum, count > CONTROL_DESCRIPTORS ? EPROTO : 0);
        assert_int_equal(reply.fd_count, count > CONTROL_DESCRIPTORS ? CONTROL_DESCRIPTORS : count);
    }
    /* Two are wanted of a session. */
    struct double_pager pager = {.descriptors = 1};
    int uffd = -1, block = -1;
    struct error err = {0};
    pager_begin(&pager, OK "{}", 1);
    assert_int_equal(call_descriptors(pager.socket, "a", &uffd, &block, &err), -EPROTO);
    assert_non_null(strstr(err.message, "1 descriptors of session a"));
    pager_end(&pager);
}

static void test_nobody_listens(void **state)
{
    struct control_reply reply;
    struct error err = {0};
    const struct control_request request = {
        .socket = "/tmp/tine-nowhere/control.sock", .method = "GET", .path = "/health"};
    assert_int_equal(control_call(&request, &reply, &err), -ENOENT);
    assert_non_null(strstr(err.message, "/tmp/tine-nowhere/control.sock"));
    control_reply_free(&reply);
    struct pager_process process;
    assert_int_equal(pager_process_find(request.socket, "1", &process, &err), 0);
}

static void test_health(void **state)
{
    static const struct {
        const char *answer, *words; /* NULL: it is found */
    } cases[] = {
        {OK "{\"status\":\"ok\",\"version\":\"2\",\"pid\":1}", "it is version 2, not 1"},
        {OK "{\"status\":\"ok\",\"version\":\"1\"}", "makes no sense"},
        {OK "{\"status\":\"ok\",\"version\":\"1\",\"pid\":-5}", "makes no sense"},
        {OK "[]", "makes no sense"},
        {OK "{\"status\":\"draining\",\"version\":\"1\",\"pid\":1}", NULL},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct double_pager pager = {0};
        struct pager_process process = {.pidfd = -1};
        struct error err = {0};
        pager_begin(&pager, cases[i].answer, cases[i].words ? 1 : 2);
        int r = pager_process_find(pager.socket, "1", &process, &err);
        pager_end(&pager);
        assert_int_equal(r, cases[i].words ? -EPROTO : 1);
        if (cases[i].words)
            assert_non_null(strstr(err.message, cases[i].words));
        else
            assert_true(process.pid == 1 && process.draining && pager_process_lives(&process));
        pager_process_close(&process);
    }
}

#define SESSION                                                                    \
    "\"id\":\"a\",\"image\":\"/g/a/base/memory\",\"cache_key\":\"k\",\"pages\":5," \
    "\"present\":3,\"counters\":{\"faults\":7}"

static void take(const struct session_facts *facts, void *data)
{
    struct session_facts *last = data;
    *last = *facts;
    last->id = NULL;
}

static void test_stats(void **state)
{
    static const struct {
        const char *answer;
        int result;
        enum paging_state wanted;
    } cases[] = {
        {OK "{\"sessions\":[{\"state\":\"serving\"," SESSION "}]}", 0, PAGING_SERVING},
        {OK "{\"sessions\":[{\"state\":\"failed\",\"reason\":\"r\"," SESSION "}]}", 0, PAGING_LOST},
        {OK "{\"sessions\":[{\"state\":\"asleep\"," SESSION "}]}", -EPROTO, PAGING_NONE},
        {OK "{\"sessions\":[{\"state\":\"serving\"}]}", -EPROTO, PAGING_NONE},
        {OK "{\"sessions\":[7]}", -EPROTO, PAGING_NONE},
        {OK "{}", 0, PAGING_NONE},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct double_pager pager = {0};
        struct session_facts facts = {.state = PAGING_NONE};
        struct error err = {0};
        pager_begin(&pager, cases[i].answer, 1);
        assert_int_equal(call_stats(pager.socket, take, &facts, NULL, &err), cases[i].result);
        pager_end(&pager);
        assert_int_equal(facts.state, cases[i].wanted);
        if (cases[i].wanted != PAGING_NONE)
            assert_true(facts.pages == 5 && facts.present == 3 && facts.faults == 7);
    }
}

/* A pager that says nothing of a cache, or nonsense, has none. */
static void test_cache(void **state)
{
    static const struct {
        const char *answer;
        struct paging_cache wanted;
    } cases[] = {
        {OK "{\"cache\":{\"limit_bytes\":9,\"bytes\":8,\"hits\":7,\"misses\":6,\"ahead\":5,"
            "\"evictions\":4,\"failures\":3}}",
         {9, 8, 7, 6, 5, 4, 3}},
        {OK "{\"cache\":{\"bytes\":-1,\"hits\":\"many\",\"misses\":2}}", {.misses = 2}},
        {OK "{\"cache\":[]}", {.bytes = 0}},
        {OK "{}", {.bytes = 0}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct double_pager pager = {0};
        struct paging_cache cache = {.bytes = 1};
        struct error err = {0};
        pager_begin(&pager, cases[i].answer, 1);
        assert_int_equal(call_stats(pager.socket, take, NULL, &cache, &err), 0);
        pager_end(&pager);
        assert_memory_equal(&cache, &cases[i].wanted, sizeof(cache));
    }
}

/* Of what format the lowest file is; the layers over it have their names. */
static void test_images(void **state)
{
    static const struct {
        struct paging_format format;
        unsigned layers;
        const char *words;
    } cases[] = {
        {{.packed = false}, 1, "\"layers\":[\"memory\",\"memory.1\"],\"cache_key\""},
        {{true, STACK_ZSTD}, 0, "\"layers\":[\"memory.zst\"],\"compression\":\"zstd\""},
        {{true, STACK_LZ4}, 0, "\"layers\":[\"memory.lz4\"],\"compression\":\"lz4\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct paging_request request = {.id = "a",
                                               .guest_dir = "/g/a",
                                               .directory = "snapshot",
                                               .format = cases[i].format,
                                               .layers = cases[i].layers,
                                               .cache_key = "k",
                                               .socket = "run/s"};
        const struct takeover takeover = {.id = "a",
                                          .directory = "/g/a/base",
                                          .format = cases[i].format,
                                          .layers = cases[i].layers,
                                          .cache_key = "k",
                                          .uffd = STDERR_FILENO,
                                          .block = STDERR_FILENO};
        struct double_pager pager = {0};
        struct error err = {0};
        pager_begin(&pager, OK "{}", 1);
        assert_int_equal(call_make(pager.socket, &request, STDERR_FILENO, &err), 0);
        pager_end(&pager);
        assert_non_null(strstr(pager.request, cases[i].words));
        pager_begin(&pager, OK "{}", 1);
        assert_int_equal(call_take_over(pager.socket, &takeover, &err), 0);
        pager_end(&pager);
        assert_non_null(strstr(pager.request, cases[i].words));
    }
}

static void test_requests(void **state)
{
    struct double_pager pager = {0};
    struct error err = {0};
    pager_begin(&pager, OK "{}", 1);
    assert_int_equal(call_complete(pager.socket, "a", 12, &err), 0);
    pager_end(&pager);
    assert_non_null(strstr(pager.request, "POST /sessions/a/complete HTTP/1.1\r\n"));
    assert_non_null(strstr(pager.request, "{\"bandwidth_mib\":12}"));
    pager_begin(&pager, "HTTP/1.1 204 No Content\r\n\r\n", 1);
    assert_int_equal(call_delete(pager.socket, "a", true, &err), 0);
    pager_end(&pager);
    assert_non_null(strstr(pager.request, "DELETE /sessions/a HTTP/1.1\r\n"));
    assert_non_null(strstr(pager.request, "{\"detach\":true}"));
}

static void test_pauses(void **state)
{
    assert_true(paging_pause_ns(0, 20, 1000) == 20 * MS);
    assert_true(paging_pause_ns(3, 20, 1000) == 160 * MS);
    assert_true(paging_pause_ns(6, 20, 1000) == 1000 * MS);
    assert_true(paging_pause_ns(4000000000u, 20, 1000) == 1000 * MS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers),        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_nobody_listens), cmocka_unit_test(test_health),
        cmocka_unit_test(test_stats),          cmocka_unit_test(test_requests),
        cmocka_unit_test(test_pauses),         cmocka_unit_test(test_cache),
        cmocka_unit_test(test_images),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
