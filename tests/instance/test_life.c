/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

static void test_a_whole_life(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    const char *id = record.id;
    assert_int_equal(record.state, INSTANCE_RUNNING);
    assert_true(record.vmm_pid > 0);
    assert_true(record.started_at_ns >= record.created_at_ns && record.created_at_ns > 0);
    assert_string_equal(record.image, "tine/guest:latest");
    assert_string_equal(record.hypervisor, "builtin");
    guest_remember(fixture, "web", "the first note");

    assert_ok(instance_standby(fixture->host, "web", &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_STANDBY);
    assert_int_equal(record.vmm_pid, 0);
    assert_int_equal(guest_stat(fixture, id, "snapshot/memory").st_size, (off_t)FIXTURE_MEMORY);
    assert_absent(fixture, id, "base");
    assert_absent(fixture, id, "run/api.sock");

    assert_ok(instance_restore(fixture->host, "web", &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_RUNNING);
    assert_recalls(fixture, "web", "the first note");
    assert_absent(fixture, id, "snapshot");
    guest_stat(fixture, id, "base/memory");
    assert_absent(fixture, id, "base/state");

    guest_remember(fixture, "web", "the second note");
    assert_ok(instance_standby(fixture->host, id, &record, &err), &err);
    assert_absent(fixture, id, "base");
    assert_ok(instance_restore(fixture->host, id, &record, &err), &err);
    assert_recalls(fixture, "web", "the second note");

    assert_ok(instance_stop(fixture->host, "web", 0, &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_STOPPED);
    assert_true(record.stopped_at_ns >= record.started_at_ns);
    assert_string_equal(record.exit_message, "");
    assert_absent(fixture, id, "base");
    assert_absent(fixture, id, "snapshot");

    assert_ok(instance_start(fixture->host, "web", &record, &err), &err);
    assert_int_equal(record.state, INSTANCE_RUNNING);
    assert_recalls(fixture, "web", "");

    assert_ok(instance_delete(fixture->host, "web", &err), &err);
    assert_absent(fixture, id, "");
    assert_fails(instance_get(fixture->host, id, NULL, &err), &err, ERROR_NOT_FOUND, id);
}

static void test_hostname_stays_over_a_restore(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    _cleanup_(free) char *hostname = guest_run(fixture, "web", "hostname", NULL);
    assert_string_equal(hostname, "fake-guest");
}

typedef int operation(struct fixture *fixture, const char *reference, struct error *err);

static int do_start(struct fixture *fixture, const char *reference, struct error *err)
{
    return instance_start(fixture->host, reference, NULL, err);
}
static int do_stop(struct fixture *fixture, const char *reference, struct error *err)
{
    return instance_stop(fixture->host, reference, 0, NULL, err);
}
static int do_standby(struct fixture *fixture, const char *reference, struct error *err)
{
    return instance_standby(fixture->host, reference, NULL, err);
}
static int do_restore(struct fixture *fixture, const char *reference, struct error *err)
{
    return instance_restore(fixture->host, reference, NULL, err);
}
static int do_fork(struct fixture *fixture, const char *reference, struct error *err)
{
    const struct instance_fork_request request = {.name = "never"};
    return instance_fork(fixture->host, reference, &request, NULL, err);
}
static int do_exec(struct fixture *fixture, const char *reference, struct error *err)
{
    const char *const argv[] = {"true", NULL};
    const struct agent_exec exec = {.argv = argv};
    return instance_exec(fixture->host, reference, &exec, err);
}
static int do_look(struct fixture *fixture, const char *reference, struct error *err)
{
    struct agent_stat info;
    return instance_file_stat(fixture->host, reference, "/", false, &info, err);
}
static int do_put(struct fixture *fixture, const char *reference, struct error *err)
{
    return instance_file_put(fixture->host, reference, &(struct agent_put){.path = "/f"}, err);
}
static int do_get_file(struct fixture *fixture, const char *reference, struct error *err)
{
    return instance_file_get(fixture->host, reference, &(struct agent_get){.path = "/f"}, err);
}
static int do_delete(struct fixture *fixture, const char *reference, struct error *err)
{
    return instance_delete(fixture->host, reference, err);
}
static int do_get(struct fixture *fixture, const char *reference, struct error *err)
{
    return instance_get(fixture->host, reference, NULL, err);
}
static int do_stats(struct fixture *fixture, const char *reference, struct error *err)
{
    struct instance_stats stats;
    return instance_stats(fixture->host, reference, &stats, err);
}
static int do_log(struct fixture *fixture, const char *reference, struct error *err)
{
    return instance_log_open(fixture->host, reference, INSTANCE_LOG_CONSOLE, err);
}

static void test_wrong_states(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    fixture_create(fixture, "web");
    assert_fails(do_fork(fixture, "web", &err), &err, ERROR_STATE, "from_running");
    assert_ok(do_look(fixture, "web", &err), &err);
    assert_ok(do_start(fixture, "web", &err), &err);
    assert_ok(do_restore(fixture, "web", &err), &err);
    assert_state(fixture, "web", INSTANCE_RUNNING);

    assert_ok(do_standby(fixture, "web", &err), &err);
    assert_ok(do_standby(fixture, "web", &err), &err);
    assert_fails(do_start(fixture, "web", &err), &err, ERROR_STATE, "Standby");
    assert_fails(do_stop(fixture, "web", &err), &err, ERROR_STATE, "Standby");
    assert_fails(do_exec(fixture, "web", &err), &err, ERROR_STATE, "Standby");
    assert_fails(do_look(fixture, "web", &err), &err, ERROR_STATE, "Standby");
    assert_fails(do_put(fixture, "web", &err), &err, ERROR_STATE, "copy files of web");
    assert_fails(do_get_file(fixture, "web", &err), &err, ERROR_STATE, "copy files of web");
    assert_state(fixture, "web", INSTANCE_STANDBY);

    assert_ok(do_restore(fixture, "web", &err), &err);
    assert_ok(do_stop(fixture, "web", &err), &err);
    assert_ok(do_stop(fixture, "web", &err), &err);
    assert_fails(do_standby(fixture, "web", &err), &err, ERROR_STATE, "Stopped");
    assert_fails(do_restore(fixture, "web", &err), &err, ERROR_STATE, "Stopped");
    assert_fails(do_exec(fixture, "web", &err), &err, ERROR_STATE, "Stopped");
    assert_state(fixture, "web", INSTANCE_STOPPED);
}

static void test_unknown_and_ambiguous_references(void **state)
{
    static operation *const operations[] = {do_start, do_stop,   do_standby, do_restore, do_fork,
                                            do_exec,  do_delete, do_get,     do_stats,   do_log};
    struct fixture *fixture = *state;
    struct error err = {0};
    char prefix[2] = "", seen[256] = "";
    fixture_create_diskless(fixture, "first");
    assert_ok(do_stop(fixture, "first", &err), &err);
    /* 26 first letters: at the latest the 27th instance shares one. */
    for (int i = 0; i < 27 && !prefix[0]; i++) {
        char name[32];
        snprintf(name, sizeof(name), "fork-%d", i);
        char letter = fixture_fork(fixture, "first", name, INSTANCE_STOPPED).id[0];
        if (strchr(seen, letter))
            prefix[0] = letter;
        seen[strlen(seen)] = letter;
    }
    assert_true(prefix[0]);
    for (size_t i = 0; i < ARRAY_SIZE(operations); i++) {
        assert_fails(operations[i](fixture, "nobody", &err), &err, ERROR_NOT_FOUND, "nobody");
        assert_fails(operations[i](fixture, "", &err), &err, ERROR_NOT_FOUND, "");
        assert_fails(operations[i](fixture, prefix, &err), &err, ERROR_AMBIGUOUS, prefix);
    }
}

static void test_prefix_resolves(void **state)
{
    struct fixture *fixture = *state;
    char prefix[13];
    struct instance_record record = fixture_create_diskless(fixture, "web");
    memcpy(prefix, record.id, 12);
    prefix[12] = 0;
    assert_string_equal(fixture_get(fixture, prefix).id, record.id);
}

static void test_list(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count;
    fixture_create_diskless(fixture, "zeta");
    fixture_create_diskless(fixture, "alpha");
    assert_ok(do_standby(fixture, "zeta", &err), &err);
    assert_ok(instance_list(fixture->host, &records, &count, &err), &err);
    assert_int_equal(count, 2);
    assert_string_equal(records[0].name, "zeta");
    assert_int_equal(records[0].state, INSTANCE_STANDBY);
    assert_int_equal(records[0].vmm_pid, 0);
    assert_string_equal(records[1].name, "alpha");
    assert_true(records[1].vmm_pid > 0);
}

static void test_stats(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_stats stats;
    fixture_create(fixture, "web");
    guest_remember(fixture, "web", "note");
    assert_ok(instance_stats(fixture->host, "web", &stats, &err), &err);
    assert_true(stats.private_bytes > stats.vmm_private_bytes);
    assert_true(stats.vmm_private_bytes > 0);
    assert_true(stats.vms_bytes >= FIXTURE_MEMORY && stats.rss_bytes > 0);
    assert_int_equal(stats.memory_link_count, 0);
    assert_ok(do_standby(fixture, "web", &err), &err);
    assert_ok(instance_stats(fixture->host, "web", &stats, &err), &err);
    assert_int_equal(stats.private_bytes, 0);
    assert_int_equal(stats.memory_link_count, 1);
    assert_int_equal(stats.memory_file_bytes, FIXTURE_MEMORY);
    assert_true(stats.memory_file_allocated < FIXTURE_MEMORY);
    assert_ok(do_restore(fixture, "web", &err), &err);
    fixture_get(fixture, "web");
    assert_ok(instance_stats(fixture->host, "web", &stats, &err), &err);
    assert_int_equal(stats.memory_link_count, 1);
    /* Only what the guest has written since is its own. */
    uint64_t before = stats.private_bytes - stats.vmm_private_bytes;
    guest_remember(fixture, "web", "another");
    assert_ok(instance_stats(fixture->host, "web", &stats, &err), &err);
    assert_int_equal(stats.private_bytes - stats.vmm_private_bytes, before + 4096);
    assert_ok(do_stop(fixture, "web", &err), &err);
    assert_ok(instance_stats(fixture->host, "web", &stats, &err), &err);
    assert_int_equal(stats.memory_link_count, 0);
}

static void test_logs(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    char text[4096];
    struct instance_record record = fixture_create(fixture, "web");
    _cleanup_(close) int vmm = instance_log_open(fixture->host, "web", INSTANCE_LOG_VMM, &err);
    assert_true(vmm >= 0);
    ssize_t length = read(vmm, text, sizeof(text) - 1);
    assert_true(length > 0);
    text[length] = '\0';
    assert_non_null(strstr(text, record.id));
    _cleanup_(close) int console =
        instance_log_open(fixture->host, "web", INSTANCE_LOG_CONSOLE, &err);
    assert_true(console >= 0);
    struct path path = guest_path(fixture, record.id, GUEST_CONSOLE_LOG);
    assert_int_equal(unlink(path.text), 0);
    assert_fails(instance_log_open(fixture->host, "web", INSTANCE_LOG_CONSOLE, &err), &err,
                 ERROR_NOT_FOUND, "console");
    assert_int_equal(mkfifo(path.text, 0600), 0);
    assert_fails(instance_log_open(fixture->host, "web", INSTANCE_LOG_CONSOLE, &err), &err,
                 ERROR_CORRUPT, "regular");
    assert_int_equal(unlink(path.text), 0);
    assert_int_equal(symlink("/etc/passwd", path.text), 0);
    assert_true(instance_log_open(fixture->host, "web", INSTANCE_LOG_CONSOLE, &err) < 0);
}

static void test_a_killed_vmm_is_noticed(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    struct path console = guest_path(fixture, record.id, GUEST_CONSOLE_LOG);
    file_make(console.text, "booting\nKernel panic\x1b[0m\n\n[ 1.2] reboot: Power down\n", 0);
    assert_int_equal(kill(record.vmm_pid, SIGKILL), 0);
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    record = fixture_get(fixture, "web");
    assert_non_null(strstr(record.exit_message, "SIGKILL"));
    assert_non_null(strstr(record.exit_message, "Kernel panic?[0m"));
    assert_true(record.stopped_at_ns > 0);
    /* Still usable. */
    assert_ok(do_start(fixture, "web", &err), &err);
    assert_string_equal(fixture_get(fixture, "web").exit_message, "");
}

static void test_a_guest_that_powers_off_is_noticed(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    struct path vsock = guest_path(fixture, record.id, GUEST_VSOCK_SOCKET);
    assert_ok(agent_poweroff(vsock.text, 5000, &err), &err);
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    assert_string_equal(fixture_get(fixture, "web").exit_message, "the guest powered off");
}

static void test_a_restored_vm_that_dies_is_stopped(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create_diskless(fixture, "web");
    assert_ok(do_standby(fixture, "web", &err), &err);
    assert_ok(do_restore(fixture, "web", &err), &err);
    assert_int_equal(kill(fixture_get(fixture, "web").vmm_pid, SIGKILL), 0);
    fixture_await(fixture, "web", INSTANCE_STOPPED);
    assert_absent(fixture, record.id, "base");
}

/* The watcher may not have had its turn yet. */
static void test_an_operation_after_a_death(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    for (int i = 0; i < 20; i++) {
        char name[16];
        snprintf(name, sizeof(name), "web-%d", i);
        struct instance_record record = fixture_create_diskless(fixture, name);
        assert_int_equal(kill(record.vmm_pid, SIGKILL), 0);
        if (i % 2) {
            assert_ok(do_start(fixture, name, &err), &err);
            assert_ok(do_delete(fixture, name, &err), &err);
        } else {
            int r = do_exec(fixture, name, &err);
            assert_true(r < 0);
            assert_true(err.code == ERROR_STATE || err.code == ERROR_SYSTEM ||
                        err.code == ERROR_TIMEOUT);
            assert_ok(do_delete(fixture, name, &err), &err);
        }
    }
}

static void test_without_agent(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_create_request request = fixture_request(fixture, "plain");
    request.skip_guest_agent = true;
    assert_ok(instance_create(fixture->host, &request, NULL, &err), &err);
    assert_fails(do_exec(fixture, "plain", &err), &err, ERROR_UNSUPPORTED, "agent");
    assert_fails(do_look(fixture, "plain", &err), &err, ERROR_UNSUPPORTED, "agent");
    assert_ok(do_standby(fixture, "plain", &err), &err);
    assert_ok(do_restore(fixture, "plain", &err), &err);
    assert_ok(do_stop(fixture, "plain", &err), &err);
    assert_state(fixture, "plain", INSTANCE_STOPPED);
}

static void test_second_host_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    const struct host_options options = {.data_dir = fixture->data, .vmm_binary = fixture->vmm};
    assert_null(host_open(&options, &err));
    assert_fails(-err.errnum, &err, ERROR_STATE, "another tined");
    assert_int_equal(err.errnum, EBUSY);
}

static void test_data_directory_that_cannot_be(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    char path[128];
    snprintf(path, sizeof(path), "%s/below", fixture->kernel);
    struct host_options options = {.data_dir = path, .vmm_binary = fixture->vmm};
    assert_null(host_open(&options, &err));
    assert_non_null(strstr(err.message, "ENOTDIR"));
    fixture_close(fixture);
    snprintf(path, sizeof(path), "%s/tine.db", fixture->data);
    file_make(path, "garbage garbage garbage", 0);
    options.data_dir = fixture->data;
    assert_null(host_open(&options, &err));
    assert_int_equal(err.code, ERROR_CORRUPT);
    assert_non_null(strstr(err.message, "tine.db"));
    assert_int_equal(unlink(path), 0);
    fixture_open(fixture);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_a_whole_life),
    FIXTURE_TEST(test_hostname_stays_over_a_restore),
    FIXTURE_TEST(test_wrong_states),
    FIXTURE_TEST(test_unknown_and_ambiguous_references),
    FIXTURE_TEST(test_prefix_resolves),
    FIXTURE_TEST(test_list),
    FIXTURE_TEST(test_stats),
    FIXTURE_TEST(test_logs),
    FIXTURE_TEST(test_a_killed_vmm_is_noticed),
    FIXTURE_TEST(test_a_guest_that_powers_off_is_noticed),
    FIXTURE_TEST(test_a_restored_vm_that_dies_is_stopped),
    FIXTURE_TEST(test_an_operation_after_a_death),
    FIXTURE_TEST(test_without_agent),
    FIXTURE_TEST(test_second_host_is_refused),
    FIXTURE_TEST(test_data_directory_that_cannot_be),
};
FIXTURE_MAIN(tests)
