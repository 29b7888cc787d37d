/* SPDX-License-Identifier: Apache-2.0 */
/* A Linux guest that is forked live, by the raw API. One argument: a directory for its files. Needs
 * a KVM that boots Linux, so tests/e2e/live.test runs it. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "agent/client.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/unix_socket.h"
#include "linux_vm.h"

static const char *work; /* the argument */

static void wait_listening(const char *path)
{
    struct error err = {0};
    for (unsigned i = 0;; i++) {
        _cleanup_(close) int fd = unix_connect(path, 0, &err);
        if (fd >= 0)
            return;
        assert_true(i < PATIENCE_MS);
        time_sleep_ms(1);
    }
}

static json_t *call(const char *socket, const char *method, const char *path, json_t *body)
{
    struct place place = {.pid = 0};
    snprintf(place.control, sizeof(place.control), "%s", socket);
    struct reply reply = pager_call(&place, method, path, body, NULL, 0);
    if (reply.status != 200)
        fail_msg("%s: %d %s", path, reply.status,
                 json_string_value(json_object_get(reply.body, "fault_message")));
    json_t *answer = json_incref(reply.body);
    reply_free(&reply);
    return answer;
}

static void test_live(void **state)
{
    struct linux_vm vm = {.process.pid = 0}, child = {.process.pid = 0};
    char template[192], api[192], log[192];
    struct error err = {0};
    snprintf(vm.directory, sizeof(vm.directory), "%s", work);
    child = vm;
    vm_path(&vm, template, "template.sock");
    vm_path(&vm, api, "child.sock");
    vm_path(&vm, log, "child.log");
    vm_path(&vm, child.vsock, "child.vsock");
    vm_boot(&vm);
    oracle_fill(&vm, 64, 1);
    json_t *answer = call(vm.process.api.control, "PUT", "/template",
                          json_pack("{s:s, s:s}", "socket_path", template, "log_path", log));
    print_message("%s\n", json_dumps(answer, 0));
    wait_listening(template);
    for (unsigned i = 0; i < 2; i++) {
        unlink(api);
        unlink(child.vsock);
        answer = call(template, "PUT", "/children",
                      json_pack("{s:s, s:s, s:s, s:s, s:{s:s}, s:b, s:b}", "id", "child",
                                "socket_path", api, "log_path", log, "serial_out_path",
                                "/dev/null", "vsock_override", "uds_path", child.vsock, "resume_vm",
                                1, "clock_realtime", 1));
        pid_t pid = (pid_t)json_integer_value(json_object_get(answer, "pid"));
        wait_listening(api);
        uint64_t begin = time_monotonic_ns();
        if (agent_restored(child.vsock, 60000, "child", "0123456789abcdef", 16, &err) < 0)
            fail_msg("%s", err.message);
        print_message("agent after %llu ms\n",
                      (unsigned long long)((time_monotonic_ns() - begin) / 1000000));
        assert_oracle(&child, 1);
        oracle_fill(&child, 64, 3);
        assert_oracle(&vm, i == 0 ? 1 : 2);
        oracle_fill(&vm, 64, 2);
        assert_oracle(&child, 3);
        assert_oracle(&vm, 2);
        kill(pid, SIGKILL);
    }
    process_kill(&vm.process);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_live)};
    if (argc != 2)
        return 2;
    work = argv[1];
    return cmocka_run_group_tests(tests, NULL, NULL);
}
