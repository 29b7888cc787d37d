/* SPDX-License-Identifier: Apache-2.0 */
/* Instances of two hypervisors on one host: the fake VMM as tine-vmm and as Firecracker. */
#include "fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../hypervisor/support.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "disk_text.h"
#include "instance/console_cap.h"

static const char *fake_vmm;

static int setup(void **state)
{
    fixture_setup(state);
    struct fixture *fixture = *state;
    fixture->firecracker = firecracker_make(fake_vmm, "1.17.0");
    fixture_reopen(fixture);
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    char *path = (char *)fixture->firecracker;
    int r = fixture_teardown(state);
    firecracker_remove(path);
    return r;
}

static struct instance_record create(struct fixture *fixture, const char *name)
{
    struct instance_create_request request = fixture_request(fixture, name);
    struct instance_record record;
    struct error err = {0};
    request.hypervisor = "firecracker";
    assert_ok(instance_create(fixture->host, &request, &record, &err), &err);
    assert_string_equal(record.hypervisor, "firecracker");
    return record;
}

static void refuse_create(struct fixture *fixture, const char *hypervisor, enum error_code code,
                          const char *words)
{
    struct instance_create_request request = fixture_request(fixture, "refused");
    struct instance_record record;
    struct error err = {0};
    request.hypervisor = hypervisor;
    assert_fails(instance_create(fixture->host, &request, &record, &err), &err, code, words);
    assert_true(instance_get(fixture->host, "refused", &record, NULL) < 0);
}

static void without_firecracker(struct fixture *fixture)
{
    const char *path = fixture->firecracker;
    fixture->firecracker = NULL;
    fixture_reopen(fixture);
    fixture->firecracker = path;
}

static void test_which_there_are(void **state)
{
    struct fixture *fixture = *state;
    refuse_create(fixture, "qemu", ERROR_UNSUPPORTED,
                  "hypervisor: 'qemu' is not here; there is builtin, firecracker");
    refuse_create(fixture, "", ERROR_UNSUPPORTED, "hypervisor: '' is not here");
    refuse_create(fixture, "Firecracker", ERROR_UNSUPPORTED, "'Firecracker' is not here");
    without_firecracker(fixture);
    refuse_create(fixture, "firecracker", ERROR_UNSUPPORTED,
                  "hypervisor: 'firecracker' is not here; there is builtin");
    const char *path = fixture->firecracker;
    fixture->firecracker = "/bin/true";
    fixture_reopen(fixture);
    refuse_create(fixture, "firecracker", ERROR_UNSUPPORTED,
                  "hypervisor: /bin/true is not Firecracker");
    fixture->firecracker = path;
}

/* Standby, forks and merges, beside an instance of the builtin one. */
static void test_a_life(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record builtin = fixture_create(fixture, "other");
    struct instance_record record = create(fixture, "web");
    assert_string_equal(builtin.hypervisor, "builtin");
    guest_remember(fixture, "web", "first");
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    struct stat before = guest_stat(fixture, record.id, "snapshot/memory");
    struct instance_record fork = fixture_fork(fixture, "web", "fork", INSTANCE_RUNNING);
    assert_string_equal(fork.hypervisor, "firecracker");
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    guest_remember(fixture, "web", "second");
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    struct stat after = guest_stat(fixture, record.id, "snapshot/memory");
    assert_true(before.st_ino != after.st_ino); /* the fork's is not written */
    assert_int_equal(after.st_nlink, 1);
    assert_recalls(fixture, "fork", "first");
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    assert_recalls(fixture, "web", "second");
    guest_remember(fixture, "web", "third");
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    before = after;
    after = guest_stat(fixture, record.id, "snapshot/memory");
    assert_int_equal(before.st_ino, after.st_ino);
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    assert_recalls(fixture, "web", "third");
    assert_recalls(fixture, "fork", "first");
    assert_recalls(fixture, "other", "");
}

/* What runs is driven by a tined that has no such program; nothing is started there. */
static void test_adopted_without_the_program(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    create(fixture, "web");
    create(fixture, "cold");
    guest_remember(fixture, "web", "note");
    without_firecracker(fixture);
    assert_state(fixture, "web", INSTANCE_RUNNING);
    assert_recalls(fixture, "web", "note");
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    assert_fails(instance_restore(fixture->host, "web", NULL, &err), &err, ERROR_UNSUPPORTED,
                 "there is no firecracker on this host");
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_ok(instance_stop(fixture->host, "cold", 0, NULL, &err), &err);
    assert_fails(instance_start(fixture->host, "cold", NULL, &err), &err, ERROR_UNSUPPORTED,
                 "there is no firecracker on this host");
    fixture_reopen(fixture);
    assert_ok(instance_start(fixture->host, "cold", NULL, &err), &err);
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    assert_recalls(fixture, "web", "note");
}

/* A standby that failed once it was saved has cleared the VMM's log: all of memory is saved next,
 * and nothing is lost. */
static void test_standby_after_one_that_failed(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    create(fixture, "web");
    for (int i = 0; i < 2; i++) {
        guest_remember(fixture, "web", i == 0 ? "of the boot" : "of the restore");
        assert_int_equal(setenv("TINE_FAILPOINT", "standby-saved=ENOSPC", 1), 0);
        assert_fails(instance_standby(fixture->host, "web", NULL, &err), &err, ERROR_RESOURCES,
                     "standby-saved");
        assert_int_equal(setenv("TINE_FAILPOINT", "", 1), 0);
        assert_state(fixture, "web", INSTANCE_RUNNING);
        assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
        assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
        assert_recalls(fixture, "web", i == 0 ? "of the boot" : "of the restore");
    }
}

static struct snapshot_target to(const char *hypervisor)
{
    return (struct snapshot_target){
        .has_state = true, .state = INSTANCE_RUNNING, .hypervisor = hypervisor};
}

static void test_disks_go_over(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    struct instance_record record;
    struct snapshot_target target = to("firecracker");
    const struct instance_record web = fixture_create(fixture, "web");
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    disk_write_text(fixture, web.id, "of web");
    struct snapshot_record cold = fixture_snapshot(fixture, "web", INSTANCE_STOPPED, "cold");
    assert_string_equal(cold.source.hypervisor, "builtin");
    assert_ok(snapshot_fork(fixture->host, cold.id, "fork", &target, &record, &err), &err);
    assert_string_equal(record.hypervisor, "firecracker");
    /* One file, that holds all of the stack. */
    const struct path disks = guest_path(fixture, record.id, "disks");
    assert_absent(fixture, record.id, "disks/0.img.top");
    assert_absent(fixture, record.id, "disks/0.img.1");
    assert_int_equal(guest_stat(fixture, record.id, "disks/0.img").st_nlink, 1);
    disk_assert_text(&disks, "of web");
    assert_ok(snapshot_restore(fixture->host, "web", cold.id, &target, &record, &err), &err);
    assert_string_equal(record.hypervisor, "firecracker");
    assert_int_equal(record.state, INSTANCE_RUNNING);
    fixture_reopen(fixture);
    assert_string_equal(fixture_get(fixture, "web").hypervisor, "firecracker");

    struct snapshot_record warm = fixture_snapshot(fixture, "web", INSTANCE_STANDBY, "warm");
    assert_string_equal(warm.source.hypervisor, "firecracker");
    target = to("builtin");
    assert_fails(snapshot_fork(fixture->host, warm.id, "x", &target, &record, &err), &err,
                 ERROR_INVALID, "target_hypervisor");
    /* Its memory is Firecracker's: it has to go first. */
    assert_ok(instance_standby(fixture->host, "web", NULL, &err), &err);
    target = to(NULL);
    assert_fails(snapshot_restore(fixture->host, "web", cold.id, &target, &record, &err), &err,
                 ERROR_STATE, "sleeps under firecracker and can't go over to builtin");
    assert_state(fixture, "web", INSTANCE_STANDBY);
    assert_ok(instance_restore(fixture->host, "web", NULL, &err), &err);
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    assert_ok(snapshot_restore(fixture->host, "web", cold.id, &target, &record, &err), &err);
    assert_string_equal(record.hypervisor, "builtin");
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    assert_ok(snapshot_restore(fixture->host, "web", warm.id, &target, &record, &err), &err);
    assert_string_equal(record.hypervisor, "firecracker");
    assert_int_equal(record.state, INSTANCE_RUNNING);
}

/* A console that nobody caps loses its older half, and only if it is one. */
static void test_console_cap(void **state)
{
    static const char end[] = "the last line\n";
    char dir[] = "/tmp/tine-test-console-XXXXXX", path[64], other[64], tail[sizeof(end)] = "";
    struct error err = {0};
    struct stat st;
    assert_non_null(mkdtemp(dir));
    _cleanup_(close) int directory = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    snprintf(path, sizeof(path), "%s/console.log", dir);
    snprintf(other, sizeof(other), "%s/other", dir);
    assert_int_equal(console_cut(directory, "console.log", &err), 0); /* not there */
    file_make(path, "", CONSOLE_CAP);
    assert_int_equal(console_cut(directory, "console.log", &err), 0);
    file_make(path, "", CONSOLE_CAP + 1000000);
    _cleanup_(close) int vmm = open(path, O_RDWR | O_APPEND | O_CLOEXEC);
    assert_int_equal(write(vmm, end, strlen(end)), (ssize_t)strlen(end));
    assert_int_equal(link(path, other), 0);
    assert_int_equal(console_cut(directory, "console.log", &err),
                     0); /* it is somebody else's too */
    assert_int_equal(unlink(other), 0);
    assert_int_equal(symlink(path, other), 0);
    assert_int_equal(console_cut(directory, "other", &err), 0);
    assert_int_equal(console_cut(directory, "console.log", &err), 1);
    assert_int_equal(write(vmm, end, strlen(end)), (ssize_t)strlen(end));
    assert_int_equal(fstat(vmm, &st), 0);
    assert_in_range(st.st_size, strlen(end), CONSOLE_CAP);
    assert_int_equal(pread(vmm, tail, strlen(end), st.st_size - (off_t)strlen(end)),
                     (ssize_t)strlen(end));
    assert_string_equal(tail, end);
    assert_int_equal(tree_remove(AT_FDCWD, dir, NULL), 0);
}

static void rename_hypervisor(const struct fixture *fixture, const char *name)
{
    char path[128], statement[128];
    sqlite3 *database;
    snprintf(path, sizeof(path), "%s/tine.db", fixture->data);
    snprintf(statement, sizeof(statement), "UPDATE instances SET hypervisor = '%s'", name);
    assert_int_equal(sqlite3_open(path, &database), SQLITE_OK);
    assert_int_equal(sqlite3_exec(database, statement, NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(sqlite3_close(database), SQLITE_OK);
}

/* A row of a later tine: nothing is done with it that needs its hypervisor, but it can be deleted.
 */
static void test_unknown_hypervisor(void **state)
{
    struct fixture *fixture = *state;
    struct error err = {0};
    create(fixture, "web");
    assert_ok(instance_stop(fixture->host, "web", 0, NULL, &err), &err);
    fixture_close(fixture);
    rename_hypervisor(fixture, "qemu");
    fixture_open(fixture);
    assert_state(fixture, "web", INSTANCE_UNKNOWN);
    assert_non_null(strstr(fixture_get(fixture, "web").state_error, "'qemu' is not known"));
    assert_fails(instance_start(fixture->host, "web", NULL, &err), &err, ERROR_UNSUPPORTED,
                 "web: its hypervisor 'qemu' is not known");
    assert_ok(instance_delete(fixture->host, "web", &err), &err);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_which_there_are, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_life, setup, teardown),
        cmocka_unit_test_setup_teardown(test_adopted_without_the_program, setup, teardown),
        cmocka_unit_test_setup_teardown(test_standby_after_one_that_failed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_disks_go_over, setup, teardown),
        cmocka_unit_test_setup_teardown(test_unknown_hypervisor, setup, teardown),
        cmocka_unit_test(test_console_cap),
    };
    fake_vmm = argc > 1 ? argv[1] : NULL;
    return fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
}
