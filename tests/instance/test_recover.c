/* SPDX-License-Identifier: Apache-2.0 */
/* tined comes back: VMMs are adopted, and what is on disk decides what is true. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/proc_stat.h"
#include "hypervisor/launch.h"
#include "store/store.h"

static void standby(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_standby(fixture->host, reference, NULL, &err), &err);
}

static void restore(struct fixture *fixture, const char *reference)
{
    struct error err = {0};
    assert_ok(instance_restore(fixture->host, reference, NULL, &err), &err);
}

/* Between two hosts: the row as a tined that died might have left it. */
static void change_row(struct fixture *fixture, const char *id,
                       void (*change)(struct instance_record *record))
{
    char path[128];
    struct error err = {0};
    struct instance_record record;
    snprintf(path, sizeof(path), "%s/tine.db", fixture->data);
    struct store *store = store_open(path, &err);
    assert_non_null(store);
    assert_ok(store_get(store, id, &record, &err), &err);
    change(&record);
    assert_ok(store_update(store, &record, &err), &err);
    store_close(store);
}

static void forget_vmm(struct instance_record *record)
{
    record->vmm_pid = 0;
    record->vmm_start_ticks = 0;
}

static void say_standby(struct instance_record *record)
{
    record->state = INSTANCE_STANDBY;
    forget_vmm(record);
}

static void say_running(struct instance_record *record)
{
    record->state = INSTANCE_RUNNING;
}

static void say_initializing(struct instance_record *record)
{
    record->state = INSTANCE_INITIALIZING;
}

static void say_created(struct instance_record *record)
{
    record->state = INSTANCE_CREATED;
    forget_vmm(record);
}

static void reuse_pid(struct instance_record *record)
{
    record->vmm_pid = getpid();
}

static struct vm_spec spec_of(const struct fixture *fixture, const struct instance_record *record,
                              char guest_dir[256])
{
    struct path path = guest_path(fixture, record->id, "");
    snprintf(guest_dir, 256, "%s", path.text);
    return (struct vm_spec){.id = record->id, .guest_dir = guest_dir};
}

static void pause_vm(const struct fixture *fixture, const struct instance_record *record)
{
    char guest_dir[256];
    struct error err = {0};
    const struct hypervisor driver = hypervisor_builtin(fixture->vmm);
    const struct vm_spec spec = spec_of(fixture, record, guest_dir);
    assert_ok(driver.pause(&driver, &spec, &err), &err);
}

/* Whoever ends it, a test's child must be reaped by the test. */
static void kill_and_reap(pid_t pid)
{
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_adoption(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record running = fixture_create(fixture, "running");
    guest_remember(fixture, "running", "still here");
    fixture_create(fixture, "asleep");
    guest_remember(fixture, "asleep", "dreaming");
    standby(fixture, "asleep");
    fixture_create(fixture, "off");
    assert_ok(instance_stop(fixture->host, "off", 0, NULL, &err), &err);
    fixture_reopen(fixture);
    assert_state(fixture, "running", INSTANCE_RUNNING);
    assert_int_equal(fixture_get(fixture, "running").vmm_pid, running.vmm_pid);
    assert_recalls(fixture, "running", "still here");
    assert_state(fixture, "asleep", INSTANCE_STANDBY);
    assert_state(fixture, "off", INSTANCE_STOPPED);
    restore(fixture, "asleep");
    assert_recalls(fixture, "asleep", "dreaming");
    /* Adopted VMMs are operated, and watched, as others. */
    standby(fixture, "running");
    restore(fixture, "running");
    fixture_reopen(fixture);
    assert_int_equal(kill(fixture_get(fixture, "running").vmm_pid, SIGKILL), 0);
    fixture_await(fixture, "running", INSTANCE_STOPPED);
}

static void test_vmm_the_row_does_not_know(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", "found again");
    fixture_close(fixture);
    change_row(fixture, record.id, say_standby);
    fixture_open(fixture);
    assert_int_equal(fixture_get(fixture, "web").vmm_pid, record.vmm_pid);
    fixture_await(fixture, "web", INSTANCE_RUNNING);
    assert_recalls(fixture, "web", "found again");
}

static void test_a_reused_pid_is_left_alone(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    fixture_close(fixture);
    kill_and_reap(record.vmm_pid);
    change_row(fixture, record.id, reuse_pid);
    fixture_open(fixture);
    assert_state(fixture, "web", INSTANCE_STOPPED);
}

/* Somebody who has nothing to do with it. */
static pid_t passer_by(void)
{
    pid_t pid = fork();
    if (pid == 0) {
        for (;;)
            pause();
    }
    assert_true(pid > 0);
    return pid;
}

static struct proc_stat process_taken; /* what change_row() is to write */
static pid_t pid_taken;

static void take_over(struct instance_record *record)
{
    record->vmm_pid = pid_taken;
    record->vmm_start_ticks = process_taken.start_ticks;
}

/* After a reboot another process may have the pid of a VMM, and by chance its start time too. */
static void test_another_boot(void **state)
{
    static const char *const names[] = {"running", "asleep", "off"};
    struct fixture *fixture = *state;
    struct error err = {0};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        fixture_create(fixture, names[i]);
    pid_t vmm = fixture_get(fixture, "running").vmm_pid;
    standby(fixture, "asleep");
    assert_ok(instance_stop(fixture->host, "off", 0, NULL, &err), &err);
    fixture_close(fixture);
    kill_and_reap(vmm);
    pid_taken = passer_by();
    assert_ok(proc_stat(pid_taken, &process_taken, &err), &err);
    fixture_open(fixture);
    char ids[ARRAY_SIZE(names)][INSTANCE_ID_LENGTH + 1];
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        memcpy(ids[i], fixture_get(fixture, names[i]).id, sizeof(ids[i]));
    fixture_close(fixture);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        change_row(fixture, ids[i], take_over);
    boot_id_fake(fixture->dir, "another boot\n");
    fixture_open(fixture);
    assert_state(fixture, "running", INSTANCE_STOPPED);
    assert_state(fixture, "asleep", INSTANCE_STANDBY);
    assert_state(fixture, "off", INSTANCE_STOPPED);
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        assert_ok(instance_delete(fixture->host, names[i], &err), &err);
    assert_int_equal(waitpid(pid_taken, NULL, WNOHANG), 0);
    kill_and_reap(pid_taken);
    boot_id_real();
}

/* A tined that never wrote down the boot id left a VMM: it is found by what it sees. */
static void test_a_boot_that_is_not_known(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", "before the upgrade");
    fixture_close(fixture);
    boot_id_fake(fixture->dir, "as if it were the first\n");
    fixture_open(fixture);
    fixture_await(fixture, "web", INSTANCE_RUNNING);
    assert_int_equal(fixture_get(fixture, "web").vmm_pid, record.vmm_pid);
    assert_recalls(fixture, "web", "before the upgrade");
    boot_id_real();
}

/* tined was killed between a VMM's start and its first request: it never ran its guest. */
static void test_vmm_that_does_not_listen_yet(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", "asleep");
    standby(fixture, "web");
    fixture_close(fixture);
    guest_orders(fixture, record.id, "no-listen\n");
    struct path guest = guest_path(fixture, record.id, "");
    const char *const arguments[] = {"--api-sock", HYPERVISOR_GUEST_DIR "/" GUEST_API_SOCKET,
                                     "--id", record.id, NULL};
    const struct launch launch = {
        .binary = fixture->vmm, .arguments = arguments, .guest_dir = guest.text};
    struct vm_process process;
    uint64_t log_start;
    assert_ok(launch_vmm(&launch, &process, &log_start, &err), &err);
    fixture_open(fixture);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_int_equal(vm_process_wait(&process, 0, &err), 1);
    close(process.pidfd);
    guest_orders(fixture, record.id, NULL);
    restore(fixture, "web");
    assert_recalls(fixture, "web", "asleep");
}

/* A VMM that was being started when tined was killed holds tined's lock until its exec. */
static void test_a_lock_that_outlives_its_tined_for_a_moment(void **state)
{
    struct fixture *fixture = *state;
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) { /* has the lock too, until the next host is waiting for it */
        char byte;
        close(ends[1]);
        _exit(read(ends[0], &byte, 1) == 0 ? usleep(100000) : 1);
    }
    assert_true(pid > 0);
    fixture_close(fixture);
    close(ends[0]);
    close(ends[1]);
    fixture_open(fixture);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void test_vmm_that_died_meanwhile(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    fixture_close(fixture);
    kill_and_reap(record.vmm_pid);
    fixture_open(fixture);
    assert_state(fixture, "web", INSTANCE_STOPPED);
    assert_non_null(strstr(fixture_get(fixture, "web").exit_message, "not running"));
    assert_absent(fixture, record.id, "run/api.sock");
}

static void test_standby_cut_before_its_snapshot_was_whole(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", "going on");
    pause_vm(fixture, &record);
    fixture_close(fixture);
    _cleanup_(free) char *name = temporary_name(GUEST_SNAPSHOT);
    struct path half = guest_path(fixture, record.id, name);
    assert_int_equal(mkdir(half.text, 0700), 0);
    fixture_open(fixture);
    assert_state(fixture, "web", INSTANCE_RUNNING);
    assert_absent(fixture, record.id, name);
    assert_recalls(fixture, "web", "going on");
}

/* snapshot/ is there and the VM is paused: what a standby, or a restore, leaves that is cut short.
 */
static void test_paused_with_a_snapshot(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", "kept");
    standby(fixture, "web");
    restore(fixture, "web");
    record = fixture_get(fixture, "web");
    /* Put together again what restore took apart; the memory is that of base/. */
    char guest_dir[256];
    struct error err = {0};
    const struct hypervisor driver = hypervisor_builtin(fixture->vmm);
    struct vm_spec spec = spec_of(fixture, &record, guest_dir);
    spec.memory_bytes = record.memory_bytes;
    pause_vm(fixture, &record);
    struct path snapshot = guest_path(fixture, record.id, GUEST_SNAPSHOT);
    assert_int_equal(mkdir(snapshot.text, 0700), 0);
    assert_ok(driver.snapshot(&driver, &spec, GUEST_SNAPSHOT, false, &err), &err);
    fixture_reopen(fixture);
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_absent(fixture, record.id, GUEST_BASE);
    restore(fixture, "web");
    assert_recalls(fixture, "web", "kept");
}

/* A snapshot beside a guest that runs does not fit its disks any more. */
static void test_running_with_a_snapshot(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    guest_remember(fixture, "web", "newer");
    fixture_close(fixture);
    struct path snapshot = guest_path(fixture, record.id, GUEST_SNAPSHOT);
    assert_int_equal(mkdir(snapshot.text, 0700), 0);
    fixture_open(fixture);
    assert_state(fixture, "web", INSTANCE_RUNNING);
    assert_absent(fixture, record.id, GUEST_SNAPSHOT);
    assert_recalls(fixture, "web", "newer");
}

/* The host lost power while a restore was between its rename and the guest's acknowledgement. */
static void restore_cut_short(struct fixture *fixture, const struct instance_record *record)
{
    standby(fixture, record->id);
    fixture_close(fixture);
    struct path snapshot = guest_path(fixture, record->id, GUEST_SNAPSHOT);
    struct path base = guest_path(fixture, record->id, GUEST_BASE);
    assert_int_equal(rename(snapshot.text, base.text), 0);
    change_row(fixture, record->id, say_running);
    fixture_open(fixture);
}

static void test_restore_cut_short(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record diskless = fixture_create_diskless(fixture, "diskless");
    guest_remember(fixture, "diskless", "no trace");
    restore_cut_short(fixture, &diskless);
    assert_state(fixture, "diskless", INSTANCE_STANDBY);
    restore(fixture, "diskless");
    assert_recalls(fixture, "diskless", "no trace");

    struct instance_record record = fixture_create(fixture, "web");
    restore_cut_short(fixture, &record);
    assert_state(fixture, "web", INSTANCE_STOPPED);
    assert_absent(fixture, record.id, GUEST_BASE);
}

/* tined died when the guest ran but had not been told. */
static void test_restore_not_acknowledged(void **state)
{
    struct fixture *fixture = *state;
    fixture_create(fixture, "source");
    guest_remember(fixture, "source", "note");
    standby(fixture, "source");
    struct instance_record record = fixture_fork(fixture, "source", "fork", INSTANCE_RUNNING);
    fixture_close(fixture);
    struct path base = guest_path(fixture, record.id, "base/state");
    file_make(base.text, "state", 0);
    fixture_open(fixture);
    fixture_await(fixture, "fork", INSTANCE_RUNNING);
    assert_absent(fixture, record.id, "base/state");
    assert_recalls(fixture, "fork", "note");
}

static void test_boot_not_finished(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    fixture_close(fixture);
    guest_orders(fixture, record.id, "no-agent\n");
    change_row(fixture, record.id, say_initializing);
    fixture_open(fixture);
    assert_state(fixture, "web", INSTANCE_INITIALIZING);
    guest_orders(fixture, record.id, NULL);
    fixture_await(fixture, "web", INSTANCE_RUNNING);
    assert_recalls(fixture, "web", "");
}

/* Its creation was never answered: nothing of it stays, not even its VMM. */
static void test_half_made_instances_go(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    fixture_close(fixture);
    change_row(fixture, record.id, say_created);
    fixture_open(fixture);
    assert_fails(instance_get(fixture->host, "web", NULL, &err), &err, ERROR_NOT_FOUND, "web");
    assert_absent(fixture, record.id, "");
    assert_int_equal(waitpid(record.vmm_pid, NULL, WNOHANG), -1);
}

static void test_half_deleted_instances_go(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    standby(fixture, "web");
    fixture_close(fixture);
    _cleanup_(free) char *name = temporary_name(record.id);
    struct path guest = guest_path(fixture, record.id, "");
    struct path trash = guest_path(fixture, name, "");
    guest.text[strlen(guest.text) - 1] = trash.text[strlen(trash.text) - 1] = '\0';
    assert_int_equal(rename(guest.text, trash.text), 0);
    fixture_open(fixture);
    assert_fails(instance_get(fixture->host, "web", NULL, &err), &err, ERROR_NOT_FOUND, "web");
    assert_absent(fixture, name, "");
}

static void test_missing_guest_directory(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    standby(fixture, "web");
    fixture_close(fixture);
    struct path guest = guest_path(fixture, record.id, "");
    assert_int_equal(tree_remove(AT_FDCWD, guest.text, NULL), 0);
    fixture_open(fixture);
    record = fixture_get(fixture, "web");
    assert_int_equal(record.state, INSTANCE_UNKNOWN);
    assert_non_null(strstr(record.state_error, record.id));
    assert_true(instance_restore(fixture->host, "web", NULL, &err) < 0);
    assert_true(instance_start(fixture->host, "web", NULL, &err) < 0);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
}

static void test_strangers_are_left_alone(void **state)
{
    struct fixture *fixture = *state;
    fixture_close(fixture);
    struct path stranger = guest_path(fixture, "stranger", "");
    assert_int_equal(mkdir(stranger.text, 0700), 0);
    _cleanup_(free) char *name = temporary_name("abc");
    struct path half = guest_path(fixture, name, "");
    assert_int_equal(mkdir(half.text, 0700), 0);
    fixture_open(fixture);
    assert_absent(fixture, name, "");
    assert_int_equal(rmdir(stranger.text), 0);
}

/* A VMM that is there and says nothing: only delete is allowed, and it works. */
/* tined was killed when it had just killed the VMM, say: it is still there, and ends when asked. */
static void test_vmm_that_ends_when_it_is_asked(void **state)
{
    struct fixture *fixture = *state;
    struct instance_record record = fixture_create(fixture, "web");
    fixture_close(fixture);
    guest_orders(fixture, record.id, "die / out of luck\n");
    fixture_open(fixture);
    assert_state(fixture, "web", INSTANCE_STOPPED);
    assert_non_null(strstr(fixture_get(fixture, "web").exit_message, "not running"));
    guest_orders(fixture, record.id, NULL);
}

static void test_silent_vmm(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record = fixture_create(fixture, "web");
    fixture_close(fixture);
    assert_int_equal(kill(record.vmm_pid, SIGSTOP), 0);
    struct hypervisor impatient = hypervisor_builtin(fixture->vmm);
    impatient.request_ms = 300;
    const struct host_options options = {.data_dir = fixture->data, .hypervisor = &impatient};
    fixture->host = host_open(&options, &err);
    assert_ok(fixture->host ? 0 : -1, &err);
    record = fixture_get(fixture, "web");
    assert_int_equal(record.state, INSTANCE_UNKNOWN);
    assert_true(record.state_error[0]);
    assert_fails(instance_stop(fixture->host, "web", 0, NULL, &err), &err, ERROR_STATE, "Unknown");
    assert_fails(instance_standby(fixture->host, "web", NULL, &err), &err, ERROR_STATE, "Unknown");
    /* It was only stuck: the next start finds it well. */
    assert_int_equal(kill(record.vmm_pid, SIGCONT), 0);
    fixture_reopen(fixture);
    assert_state(fixture, "web", INSTANCE_RUNNING);
    fixture_close(fixture);
    assert_int_equal(kill(record.vmm_pid, SIGSTOP), 0);
    fixture->host = host_open(&options, &err);
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
}

static const struct CMUnitTest tests[] = {
    FIXTURE_TEST(test_adoption),
    FIXTURE_TEST(test_vmm_the_row_does_not_know),
    FIXTURE_TEST(test_a_reused_pid_is_left_alone),
    FIXTURE_TEST(test_another_boot),
    FIXTURE_TEST(test_a_boot_that_is_not_known),
    FIXTURE_TEST(test_vmm_that_does_not_listen_yet),
    FIXTURE_TEST(test_a_lock_that_outlives_its_tined_for_a_moment),
    FIXTURE_TEST(test_vmm_that_died_meanwhile),
    FIXTURE_TEST(test_standby_cut_before_its_snapshot_was_whole),
    FIXTURE_TEST(test_paused_with_a_snapshot),
    FIXTURE_TEST(test_running_with_a_snapshot),
    FIXTURE_TEST(test_restore_cut_short),
    FIXTURE_TEST(test_restore_not_acknowledged),
    FIXTURE_TEST(test_boot_not_finished),
    FIXTURE_TEST(test_half_made_instances_go),
    FIXTURE_TEST(test_half_deleted_instances_go),
    FIXTURE_TEST(test_missing_guest_directory),
    FIXTURE_TEST(test_strangers_are_left_alone),
    FIXTURE_TEST(test_vmm_that_ends_when_it_is_asked),
    FIXTURE_TEST(test_silent_vmm),
};
FIXTURE_MAIN(tests)
