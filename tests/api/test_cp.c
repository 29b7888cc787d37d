/* SPDX-License-Identifier: Apache-2.0 */
/* GET /instances/{id}/cp: what both ways have in common. */
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "cp_calls.h"
#include "daemon_fixture.h"
#include "files.h"
#include "http_client.h"
#include "websocket_client.h"

static void test_bad_requests(void **state)
{
    static const struct {
        const char *request, *part;
    } cases[] = {
        {"nonsense", "JSON"},
        {"{\"guest_path\":\"/x\"}", "direction"},
        {"{\"direction\":\"sideways\",\"guest_path\":\"/x\"}", "direction"},
        {"{\"direction\":\"from\"}", "guest_path"},
        {"{\"direction\":\"from\",\"guest_path\":\"x\"}", "absolute"},
        {"{\"direction\":\"from\",\"guest_path\":\"/x\",\"follow_links\":1}", "follow_links"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        int fd = cp_open(*state, "%s", cases[i].request);
        struct ws_frame frame = ws_receive(fd);
        json_t *error = json_loads(frame.payload, 0, NULL);
        assert_string_equal(text_of(error, "type"), "error");
        if (!strstr(text_of(error, "message"), cases[i].part))
            fail_msg("%s: %s", cases[i].request, frame.payload);
        json_decref(error);
        free(frame.payload);
        close(fd);
    }
}

static void test_refused_before_upgrade(void **state)
{
    const struct daemon *daemon = *state;
    json_decref(http_expect(daemon, "POST", "/instances", "{\"name\":\"init-x\"}", 201));
    http_refused(daemon, "GET", "/instances/none/cp", NULL, 404, "not_found", "none");
    http_refused(daemon, "GET", "/instances/k/cp", NULL, 409, "ambiguous", "several");
    http_refused(daemon, "GET", "/instances/init-x/cp", NULL, 409, "invalid_state",
                 "instance must be running (current state: Initializing)");
    http_refused(daemon, "GET", "/instances/vm/cp", NULL, 400, "Bad Request", "WebSocket");
}

/* tined ends while copies are under way: both are told, and nothing hangs. */
static void test_stopping(void **state)
{
    struct daemon *daemon = *state;
    int to =
        cp_open(daemon, "{\"direction\":\"to\",\"guest_path\":\"%s\"}", path_in(daemon->dir, "f"));
    int from = cp_open(daemon, "{\"direction\":\"from\",\"guest_path\":\"/hostile/endless\"}");
    ws_send(to, WS_FIN | WS_BINARY, "half", 4);
    ws_send(to, WS_FIN | WS_PING, "p", 1);
    struct ws_frame pong = ws_receive(to); /* what came before it has been taken up */
    assert_int_equal(pong.first, WS_FIN | WS_PONG);
    free(pong.payload);
    free(ws_receive(from).payload);
    kill(daemon->pid, SIGTERM);
    bool told = false;
    for (struct ws_frame frame = ws_receive(from); frame.first != 0; frame = ws_receive(from)) {
        told = told || (frame.first == (WS_FIN | WS_TEXT) && strstr(frame.payload, "is stopping"));
        free(frame.payload);
    }
    assert_true(told);
    expect_unwritten(to, "tined is stopping");
    assert_int_equal(daemon_reap(daemon), 0);
    close(from);
    assert_int_equal(access(path_in(daemon->dir, "f"), F_OK), -1);
    daemon_spawn(daemon, daemon_program(), NULL);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, daemon_setup_vm, daemon_teardown)

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bad_requests),
        TEST(test_refused_before_upgrade),
        TEST(test_stopping),
    };
    if (argc != 2)
        return 2;
    daemon_program_set(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
