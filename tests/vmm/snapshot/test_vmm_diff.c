/* SPDX-License-Identifier: Apache-2.0 */
/* Diff snapshots of a whole VM: into the file that it was loaded from, into others, and what can be
 * wrong with that. */
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
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "vmm/vmm_private.h"
#include "world.h"

static int create_diff(struct world *world, struct error *err)
{
    const struct snapshot_create_request request = {
        .snapshot_path = world->state, .mem_file_path = world->memory, .diff = true};
    return vmm_snapshot_create(world->vmm, &request, err);
}

static struct stat stat_of(const char *path)
{
    struct stat st;
    if (stat(path, &st) < 0)
        fail_msg("%s: %s", path, strerror(errno));
    return st;
}

static uint64_t resume_and_pause(struct world *world)
{
    struct error err = {0};
    uint64_t stopped = counter(world);
    ok(vmm_resume(world->vmm, &err), &err);
    wait_counter(world, stopped);
    ok(vmm_pause(world->vmm, &err), &err);
    return counter(world);
}

/* A VM that was loaded, ran and is paused. */
static void restored(struct world *world)
{
    struct error err = {0};
    start_and_pause(world);
    ok(create(world, &err), &err);
    next_vmm(world);
    ok(load(world, false, &err), &err);
    resume_and_pause(world);
}

/* What is saved is what another VM gets. */
static void expect_saved(struct world *world)
{
    struct error err = {0};
    uint64_t value = counter(world);
    next_vmm(world);
    ok(load(world, false, &err), &err);
    assert_true(counter(world) == value);
    resume_and_pause(world);
}

static void test_in_place(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    restored(world);
    struct stat before = stat_of(world->memory);
    for (int cycle = 0; cycle < 3; cycle++) {
        resume_and_pause(world);
        ok(create_diff(world, &err), &err);
        /* It goes on after a snapshot, and the next one has that too. */
        resume_and_pause(world);
        ok(create_diff(world, &err), &err);
        expect_saved(world);
    }
    assert_int_equal(stat_of(world->memory).st_ino, before.st_ino);
    assert_int_equal(count_names(world), 5);
}

/* The base has another owner: its inode is not written, and nothing is lost. */
static void test_shared_is_refused(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    char other[96];
    restored(world);
    path_in(world, other, "other");
    assert_int_equal(link(world->memory, other), 0);
    struct stat before = stat_of(world->memory), state = stat_of(world->state);
    assert_int_equal(create_diff(world, &err), -EMLINK);
    assert_non_null(strstr(err.message, world->memory));
    assert_non_null(strstr(err.message, "2 names"));
    struct stat after = stat_of(world->memory);
    assert_int_equal(after.st_mtim.tv_nsec, before.st_mtim.tv_nsec);
    assert_int_equal(after.st_mtim.tv_sec, before.st_mtim.tv_sec);
    assert_int_equal(stat_of(world->state).st_ino, state.st_ino);
    assert_int_equal(count_names(world), 6);
    assert_int_equal(unlink(other), 0);
    ok(create_diff(world, &err), &err);
    expect_saved(world);
}

/* Once the memory file is of no moment there is no state that could be taken for its own. */
static void test_failure_leaves_no_pair(void **context)
{
    struct world *world = *context;
    static const char *const points[] = {"vmm-memory-data=ENOSPC", "vmm-snapshot-state=EIO"};
    struct error err = {0};
    restored(world);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        setenv("TINE_FAILPOINT", points[i], 1);
        assert_int_equal(create_diff(world, &err), i == 0 ? -ENOSPC : -EIO);
        unsetenv("TINE_FAILPOINT");
        assert_non_null(strstr(err.message, i == 0 ? world->memory : world->state));
        assert_int_equal(access(world->state, F_OK), -1);
        assert_int_equal(count_names(world), 4);
        assert_int_equal(vmm_state(world->vmm), VMM_PAUSED);
        resume_and_pause(world);
        ok(create_diff(world, &err), &err);
    }
    expect_saved(world);
}

/* What is no copy of the base by its size is not written into: it keeps what it has, under its
 * other names. */
static void test_other_size(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    char base[96], other[96];
    restored(world);
    path_in(world, base, "base");
    path_in(world, other, "other");
    assert_int_equal(rename(world->memory, base), 0);
    write_file(other, "something else", 14);
    assert_int_equal(link(other, world->memory), 0);
    ok(create_diff(world, &err), &err);
    assert_int_equal(stat_of(other).st_size, 14);
    struct stat diff = stat_of(world->memory);
    assert_int_equal(diff.st_size, (off_t)MEMORY_MIB << 20);
    assert_true(diff.st_blocks * 512 < (off_t)MEMORY_MIB << 19);
    /* Over the base it is the image: here it holds all that differs, as whole pages. */
    _cleanup_(close) int from = open(world->memory, O_RDONLY | O_CLOEXEC);
    _cleanup_(close) int to = open(base, O_WRONLY | O_CLOEXEC);
    uint8_t page[4096];
    for (off_t at = lseek(from, 0, SEEK_DATA); at >= 0; at = lseek(from, at + 4096, SEEK_DATA)) {
        assert_int_equal(pread(from, page, sizeof(page), at), sizeof(page));
        assert_int_equal(pwrite(to, page, sizeof(page), at), sizeof(page));
    }
    assert_int_equal(rename(base, world->memory), 0);
    expect_saved(world);
}

/* Without a base it holds everything, whatever was in the file. */
static void test_of_a_fresh_vm(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    start_and_pause(world);
    ok(create_diff(world, &err), &err);
    resume_and_pause(world);
    ok(create_diff(world, &err), &err);
    expect_saved(world);
}

/* memory.<number> over the memory file. */
static int create_layer(struct world *world, unsigned number, struct error *err)
{
    char path[112];
    snprintf(path, sizeof(path), "%s.%u", world->memory, number);
    const struct snapshot_create_request request = {
        .snapshot_path = world->state, .mem_file_path = path, .layer = true};
    return vmm_snapshot_create(world->vmm, &request, err);
}

static int load_layers(struct world *world, unsigned layers, struct error *err)
{
    const struct snapshot_load_request request = {
        .snapshot_path = world->state, .mem_file_path = world->memory, .layers = layers};
    return vmm_snapshot_load(world->vmm, &request, err);
}

/* A chain of them; the file that the first VM was loaded from is never written. */
static void test_layers(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    restored(world);
    struct stat base = stat_of(world->memory);
    for (unsigned number = 1; number <= 4; number++) {
        resume_and_pause(world);
        ok(create_layer(world, number, &err), &err);
        uint64_t value = counter(world);
        next_vmm(world);
        ok(load_layers(world, number, &err), &err);
        assert_true(counter(world) == value);
    }
    struct stat after = stat_of(world->memory);
    assert_int_equal(after.st_mtim.tv_nsec, base.st_mtim.tv_nsec);
    /* As one file again. */
    resume_and_pause(world);
    ok(create(world, &err), &err);
    expect_saved(world);
}

static void test_layers_refused(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    char layer[112];
    restored(world);
    ok(create_layer(world, 1, &err), &err);
    next_vmm(world);
    assert_int_equal(load_layers(world, 2, &err), -EINVAL);
    assert_non_null(strstr(err.message, "has 1 layers, and should have 2"));
    next_vmm(world);
    snprintf(layer, sizeof(layer), "%s.1", world->memory);
    assert_int_equal(truncate(layer, 8192), 0);
    assert_true(load_layers(world, 1, &err) < 0);
    assert_non_null(strstr(err.message, "memory.1 is damaged"));
    assert_int_equal(err.code, ERROR_CORRUPT);
}

static void test_bad_targets(void **context)
{
    struct world *world = *context;
    struct error err = {0};
    char real[96], alias[128];
    restored(world);
    path_in(world, real, "real");
    assert_int_equal(rename(world->memory, real), 0);
    assert_int_equal(symlink(real, world->memory), 0);
    assert_int_equal(create_diff(world, &err), -ELOOP);
    assert_non_null(strstr(err.message, world->memory));
    assert_int_equal(unlink(world->memory), 0);
    assert_int_equal(mkdir(world->memory, 0700), 0);
    assert_int_equal(create_diff(world, &err), -EEXIST);
    assert_int_equal(rmdir(world->memory), 0);
    assert_int_equal(rename(real, world->memory), 0);
    snprintf(alias, sizeof(alias), "%s/./memory", world->directory);
    const struct snapshot_create_request twice = {
        .snapshot_path = alias, .mem_file_path = world->memory, .diff = true};
    assert_int_equal(vmm_snapshot_create(world->vmm, &twice, &err), -EINVAL);
    assert_non_null(strstr(err.message, "same file"));
    ok(create_diff(world, &err), &err);
    assert_int_equal(count_names(world), 5);
    expect_saved(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_WORLD(test_in_place),      WITH_WORLD(test_shared_is_refused),
        WITH_WORLD(test_other_size),    WITH_WORLD(test_failure_leaves_no_pair),
        WITH_WORLD(test_of_a_fresh_vm), WITH_WORLD(test_bad_targets),
        WITH_WORLD(test_layers),        WITH_WORLD(test_layers_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
