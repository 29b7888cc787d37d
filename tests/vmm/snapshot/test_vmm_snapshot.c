/* SPDX-License-Identifier: Apache-2.0 */
/* Everything that can be wrong with a snapshot is told, and leaves the VM, or the files, as they
 * were. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vmm/snapshot_file.h"
#include "vmm/vmm_private.h"
#include "world.h"

/* ---- what goes wrong with a create ---- */

/* A create that failed left nothing, the VM is paused, runs on, and can be saved after all. */
static void expect_untouched(struct world *world, unsigned names)
{
    struct error err = {0};
    assert_int_equal(count_names(world), names);
    assert_int_equal(vmm_state(world->vmm), VMM_PAUSED);
    uint64_t stopped = counter(world);
    ok(vmm_resume(world->vmm, &err), &err);
    wait_counter(world, stopped);
    ok(vmm_pause(world->vmm, &err), &err);
}

static void test_create_at_failpoints(void **context)
{
    struct world *world = *context;
    static const char *const points[] = {"vmm-snapshot-memory=ENOSPC", "vmm-snapshot-state=EIO"};
    struct error err = {0};
    start_and_pause(world);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        setenv("TINE_FAILPOINT", points[i], 1);
        assert_true(create(world, &err) < 0);
        assert_non_null(strstr(err.message, i == 0 ? world->memory : world->state));
        assert_non_null(strstr(err.message, i == 0 ? "ENOSPC" : "EIO"));
        assert_int_equal(err.errnum, i == 0 ? ENOSPC : EIO);
        assert_int_equal(err.code, i == 0 ? ERROR_RESOURCES : ERROR_SYSTEM);
        unsetenv("TINE_FAILPOINT");
        expect_untouched(world, 3);
    }
    /* Over an older snapshot: that one is whole again after the failure. */
    write_file(world->state, "old state", 9);
    write_file(world->memory, "old memory", 10);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        setenv("TINE_FAILPOINT", points[i], 1);
        assert_true(create(world, &err) < 0);
        unsetenv("TINE_FAILPOINT");
        expect_untouched(world, 5);
        char text[16] = "";
        _cleanup_(close) int fd = open(world->memory, O_RDONLY | O_CLOEXEC);
        assert_int_equal(read(fd, text, sizeof(text)), 10);
        assert_string_equal(text, "old memory");
    }
    ok(create(world, &err), &err);
    assert_int_equal(count_names(world), 5);
}

/* How often a directory was synced while no state was there and the old memory still was. */
static struct {
    const struct world *world;
    unsigned between;
} syncs;

int __real_snapshot_file_sync_directory(const struct snapshot_file *file, struct error *err);
int __wrap_snapshot_file_sync_directory(const struct snapshot_file *file, struct error *err);
int __wrap_snapshot_file_sync_directory(const struct snapshot_file *file, struct error *err)
{
    struct stat st;
    if (syncs.world && access(syncs.world->state, F_OK) < 0 &&
        stat(syncs.world->memory, &st) == 0 && st.st_size == 10)
        syncs.between++;
    return __real_snapshot_file_sync_directory(file, err);
}

/* In two directories nothing else orders the two renames: the old state must be gone for good
 * before the memory that belongs to it goes. */
static void test_create_in_two_directories(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    char other[96];
    path_in(world, other, "other");
    assert_int_equal(mkdir(other, 0700), 0);
    path_in(world, world->memory, "other/memory");
    write_file(world->state, "old state", 9);
    write_file(world->memory, "old memory", 10);
    start_and_pause(world);
    syncs.world = world;
    ok(create(world, &err), &err);
    syncs.world = NULL;
    assert_int_equal(syncs.between, 1);
    next_vmm(world);
    ok(load(world, true, &err), &err);
}

static void test_create_without_room(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    struct rlimit before, low;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    for (rlim_t limit = 1000; limit < 10u << 20; limit *= 100) {
        low = (struct rlimit){.rlim_cur = limit, .rlim_max = before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
        int r = create(world, &err);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        assert_int_equal(r, -EFBIG);
        assert_non_null(strstr(err.message, limit == 1000 ? world->state : world->memory));
        expect_untouched(world, 3);
    }
    signal(SIGXFSZ, SIG_DFL);
    ok(create(world, &err), &err);
}

static void expect_create_error(struct world *world, const char *state, const char *memory,
                                const char *words)
{
    struct error err = {0};
    const struct snapshot_create_request request = {.snapshot_path = state,
                                                    .mem_file_path = memory};
    assert_true(vmm_snapshot_create(world->vmm, &request, &err) < 0);
    assert_non_null(strstr(err.message, words));
    expect_untouched(world, 3);
}

static void test_create_bad_paths(void **context)
{
    struct world *world = *context;
    char nowhere[128];
    snprintf(nowhere, sizeof(nowhere), "%s/no/where", world->directory);
    start_and_pause(world);
    expect_create_error(world, world->state, nowhere, nowhere);
    expect_create_error(world, nowhere, world->memory, nowhere);
    expect_create_error(world, world->state, world->state, world->state);
    expect_create_error(world, world->directory, world->memory, world->directory);
    expect_create_error(world, world->state, "/dev/null", "/dev/null");
    char alias[128];
    snprintf(alias, sizeof(alias), "%s/./state", world->directory);
    expect_create_error(world, world->state, alias, world->state);
}

/* ---- what goes wrong with a load ---- */

/* One line that names the file; nothing runs. */
static void expect_load_error(struct world *world, const char *words)
{
    struct error err = {0};
    next_vmm(world);
    assert_true(load(world, true, &err) < 0);
    if (!strstr(err.message, words))
        fail_msg("expected '%s' in: %s", words, err.message);
    assert_null(strchr(err.message, '\n'));
    assert_int_equal(vmm_state(world->vmm), VMM_NOT_STARTED);
    assert_null(world->vmm->machine);
}

static void test_load_damaged_state(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    _cleanup_(free) char *data = NULL;
    size_t length = 0;
    ok(file_read_all(AT_FDCWD, world->state, 1 << 20, &data, &length, &err), &err);
    for (size_t cut = 0; cut < length; cut += 997) {
        write_file(world->state, data, cut);
        expect_load_error(world, world->state);
    }
    for (size_t at = 0; at < length; at += 499) {
        data[at] = (char)(data[at] ^ 0x10);
        write_file(world->state, data, length);
        data[at] = (char)(data[at] ^ 0x10);
        expect_load_error(world, world->state);
    }
    write_file(world->state, data, length);
    next_vmm(world);
    ok(load(world, true, &err), &err);
}

static void test_load_memory_of_wrong_size(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    static const off_t sizes[] = {0, 4096, ((off_t)MEMORY_MIB << 20) - 1,
                                  ((off_t)MEMORY_MIB << 20) + 4096};
    for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
        assert_int_equal(truncate(world->memory, sizes[i]), 0);
        expect_load_error(world, world->memory);
    }
}

static void test_load_missing_things(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    char away[96];
    path_in(world, away, "away");
    const char *const things[] = {world->memory, world->disk, world->state};
    for (size_t i = 0; i < ARRAY_SIZE(things); i++) {
        assert_int_equal(rename(things[i], away), 0);
        expect_load_error(world, things[i]);
        assert_int_equal(rename(away, things[i]), 0);
    }
    /* A vsock socket that another process holds. */
    next_vmm(world);
    write_file(world->vsock, "", 0);
    assert_true(load(world, true, &err) < 0);
    assert_non_null(strstr(err.message, world->vsock));
    next_vmm(world);
    ok(load(world, true, &err), &err);
}

static void test_override_without_vsock(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    free(vmm_config(world->vmm)->vsock.uds_path);
    vmm_config(world->vmm)->vsock = (struct vsock_config){0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    next_vmm(world);
    const struct snapshot_load_request request = {.snapshot_path = world->state,
                                                  .mem_file_path = world->memory,
                                                  .vsock_uds_path = world->vsock};
    assert_true(vmm_snapshot_load(world->vmm, &request, &err) < 0);
    assert_non_null(strstr(err.message, "vsock"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(test_create_at_failpoints), WITH_WORLD(test_create_in_two_directories),
        WITH_WORLD(test_create_without_room),  WITH_WORLD(test_create_bad_paths),
        WITH_WORLD(test_load_damaged_state),   WITH_WORLD(test_load_memory_of_wrong_size),
        WITH_WORLD(test_load_missing_things),  WITH_WORLD(test_override_without_vsock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
