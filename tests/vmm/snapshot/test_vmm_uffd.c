/* SPDX-License-Identifier: Apache-2.0 */
/* A VM whose memory a real tine-pager serves: it runs, is saved in full and by diffs, and what is
 * saved is what another VM gets. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
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
#include "served.h"

#define MEMORY_PAGES (((uint64_t)MEMORY_MIB << 20) / PAGE)
/* What a diff may hold though it did not change: page tables whose accessed bits were set, pages
 * that were written with what they held. */
#define EXTRA_MAX 16

static void run_rounds(struct world *world, uint64_t rounds)
{
    struct error err = {0};
    uint64_t stopped = counter(world);
    ok(vmm_resume(world->vmm, &err), &err);
    wait_counter(world, stopped + rounds);
    ok(vmm_pause(world->vmm, &err), &err);
    walker_check(world);
}

static int save(struct world *world, const char *memory, bool diff, struct error *err)
{
    char state[96];
    path_in(world, state, "state2");
    const struct snapshot_create_request request = {
        .snapshot_path = state, .mem_file_path = memory, .diff = diff};
    return vmm_snapshot_create(world->vmm, &request, err);
}

/* What was saved is what another VM gets, out of the file. */
static void expect_saved(struct served *served, const char *memory)
{
    struct world *world = &served->world;
    struct error err = {0};
    uint64_t rounds = counter(world);
    char state[96];
    path_in(world, state, "state2");
    const struct snapshot_load_request request = {.snapshot_path = state, .mem_file_path = memory};
    next_vmm(world);
    ok(vmm_snapshot_load(world->vmm, &request, &err), &err);
    assert_true(counter(world) == rounds);
    walker_check(world);
    run_rounds(world, 1);
}

static void copy(const char *from, const char *to)
{
    _cleanup_(close) int in = open(from, O_RDONLY | O_CLOEXEC);
    _cleanup_(close) int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    uint8_t page[PAGE];
    assert_true(in >= 0 && out >= 0);
    while (read(in, page, PAGE) == PAGE)
        assert_int_equal(write(out, page, PAGE), PAGE);
}

struct applied {
    unsigned pages, extra; /* extra: were in the base just so */
    bool has[MEMORY_PAGES];
};

/* Puts a fresh diff over the base. */
static void apply(const char *diff, const char *base, struct applied *applied)
{
    _cleanup_(close) int from = open(diff, O_RDONLY | O_CLOEXEC);
    _cleanup_(close) int to = open(base, O_RDWR | O_CLOEXEC);
    uint8_t page[PAGE], old[PAGE];
    struct stat st;
    *applied = (struct applied){0};
    assert_true(from >= 0 && to >= 0 && fstat(from, &st) == 0);
    assert_int_equal(st.st_size, (off_t)(MEMORY_PAGES * PAGE));
    for (off_t at = lseek(from, 0, SEEK_DATA); at >= 0; at = lseek(from, at + PAGE, SEEK_DATA)) {
        assert_int_equal(pread(from, page, PAGE, at), PAGE);
        assert_int_equal(pread(to, old, PAGE, at), PAGE);
        assert_int_equal(pwrite(to, page, PAGE, at), PAGE);
        applied->pages++;
        applied->extra += memcmp(page, old, PAGE) == 0;
        applied->has[at / PAGE] = true;
    }
}

static bool has_walk(const struct applied *applied)
{
    for (uint64_t gpa = WALK_START; gpa < WALK_END; gpa += PAGE) {
        if (!applied->has[gpa / PAGE])
            return false;
    }
    return applied->has[COUNTER / PAGE];
}

static void test_runs(void **context)
{
    struct served *served = *context;
    walker_sleeps(served);
    uint64_t rounds = counter(&served->world);
    load_served(served, "one", false);
    assert_true(counter(&served->world) == rounds);
    run_rounds(&served->world, 3);
    assert_true(session_counter(&served->place, "one", "faults") > 0);
}

/* Diffs in a row, fresh and in place, each of what was written since the one before. */
static void test_tracked_diffs(void **context)
{
    struct served *served = *context;
    struct world *world = &served->world;
    struct error err = {0};
    struct applied applied;
    char diff[96], image[96];
    path_in(world, diff, "diff");
    path_in(world, image, "image");
    walker_sleeps(served);
    copy(world->memory, image);
    load_served(served, "one", true);
    for (int cycle = 0; cycle < 3; cycle++) {
        run_rounds(world, 2);
        ok(save(world, diff, true, &err), &err);
        apply(diff, image, &applied);
        assert_true(has_walk(&applied));
        assert_in_range(applied.extra, 0, EXTRA_MAX);
        assert_int_equal(unlink(diff), 0);
        run_rounds(world, 1);
        ok(save(world, image, true, &err), &err);
    }
    /* Nothing ran: no more than saving itself writes. */
    ok(save(world, diff, true, &err), &err);
    apply(diff, image, &applied);
    assert_false(has_walk(&applied));
    assert_in_range(applied.pages, 0, EXTRA_MAX);
    expect_saved(served, image);
}

/* The memory that the VMM itself writes at a load, and what is given back, are in the diff. */
static void test_vmm_writes(void **context)
{
    struct served *served = *context;
    struct world *world = &served->world;
    struct error err = {0};
    struct applied applied;
    char diff[96];
    path_in(world, diff, "diff");
    walker_sleeps(served);
    load_served(served, "one", true);
    struct guest_memory *memory = &world->vmm->machine->memory;
    assert_int_equal(guest_memory_discard(memory, WALK_START, 4 * PAGE), 0);
    assert_int_equal(guest_memory_discard(memory, 0x1000000, PAGE), 0);
    ok(save(world, diff, true, &err), &err);
    apply(diff, world->memory, &applied);
    assert_true(applied.has[world->vmm->machine->vmgenid.gpa / PAGE]);
    for (uint64_t i = 0; i < 4; i++)
        assert_true(applied.has[WALK_START / PAGE + i]);
    assert_false(applied.has[WALK_START / PAGE + 4]);
    assert_true(applied.has[0x1000000 / PAGE]);
    _cleanup_(close) int fd = open(world->memory, O_RDONLY | O_CLOEXEC);
    uint64_t value = 1;
    assert_int_equal(pread(fd, &value, 8, WALK_START), 8);
    assert_int_equal(value, 0);
}

/* A snapshot that fails forgets nothing: the next one has it all. */
static void test_failure_forgets_nothing(void **context)
{
    struct served *served = *context;
    struct world *world = &served->world;
    static const char *const points[] = {"vmm-memory-data=ENOSPC", "vmm-snapshot-memory=EIO",
                                         "vmm-snapshot-state=EIO"};
    struct error err = {0};
    struct applied applied;
    char diff[96], image[96];
    path_in(world, diff, "diff");
    path_in(world, image, "image");
    walker_sleeps(served);
    copy(world->memory, image);
    load_served(served, "one", true);
    run_rounds(world, 2);
    for (size_t i = 0; i < ARRAY_SIZE(points); i++) {
        for (int whole = 0; whole < 2; whole++) {
            setenv("TINE_FAILPOINT", points[i], 1);
            assert_true(save(world, diff, !whole, &err) < 0);
            unsetenv("TINE_FAILPOINT");
            assert_int_equal(access(diff, F_OK), -1);
        }
    }
    ok(save(world, diff, true, &err), &err);
    apply(diff, image, &applied);
    assert_true(has_walk(&applied));
    expect_saved(served, image);
}

/* Without tracking a diff has all that is here, every time. */
static void test_untracked_diffs(void **context)
{
    struct served *served = *context;
    struct world *world = &served->world;
    struct error err = {0};
    struct applied applied;
    char diff[96], image[96];
    path_in(world, diff, "diff");
    path_in(world, image, "image");
    walker_sleeps(served);
    copy(world->memory, image);
    load_served(served, "one", false);
    run_rounds(world, 2);
    const int64_t faults = session_counter(&served->place, "one", "faults");
    for (int i = 0; i < 2; i++) {
        ok(save(world, diff, true, &err), &err);
        apply(diff, image, &applied);
        assert_true(has_walk(&applied));
        assert_int_equal(unlink(diff), 0);
    }
    /* Nothing was fetched for it. */
    assert_int_equal(session_counter(&served->place, "one", "faults"), faults);
    run_rounds(world, 2);
    ok(save(world, image, true, &err), &err);
    expect_saved(served, image);
}

/* All of it comes through the pager, and the next diff is against it. */
static void test_full(void **context)
{
    struct served *served = *context;
    struct world *world = &served->world;
    struct error err = {0};
    struct applied applied;
    char full[96], diff[96];
    path_in(world, full, "full");
    path_in(world, diff, "diff");
    walker_sleeps(served);
    load_served(served, "one", true);
    run_rounds(world, 1);
    ok(save(world, full, false, &err), &err);
    ok(save(world, diff, true, &err), &err);
    apply(diff, full, &applied);
    assert_in_range(applied.pages, 0, EXTRA_MAX);
    assert_int_equal(unlink(diff), 0);
    run_rounds(world, 1);
    ok(save(world, diff, true, &err), &err);
    apply(diff, full, &applied);
    assert_true(has_walk(&applied));
    expect_saved(served, full);
}

/* A VM that was booted with tracking: its first diff is an image, the next ones are of what was
 * written since. */
static void test_booted(void **context)
{
    struct served *served = *context;
    struct world *world = &served->world;
    struct error err = {0};
    struct applied applied;
    char image[96], diff[96];
    path_in(world, image, "image");
    path_in(world, diff, "diff");
    vmm_config(world->vmm)->machine.track_dirty_pages = true;
    ok(vmm_start(world->vmm, &err), &err);
    wait_counter(world, 2);
    ok(vmm_pause(world->vmm, &err), &err);
    ok(save(world, image, true, &err), &err);
    for (int cycle = 0; cycle < 2; cycle++) {
        run_rounds(world, 1);
        assert_int_equal(guest_memory_discard(&world->vmm->machine->memory, 0x1000000, 16 * PAGE),
                         0);
        ok(save(world, diff, true, &err), &err);
        apply(diff, image, &applied);
        assert_true(has_walk(&applied) && applied.has[0x1000000 / PAGE]);
        assert_false(applied.has[0x100000 / PAGE]); /* the kernel */
        assert_in_range(applied.extra, 0, 16 + EXTRA_MAX);
        assert_int_equal(unlink(diff), 0);
    }
    run_rounds(world, 1);
    ok(save(world, image, true, &err), &err);
    expect_saved(served, image);
}

/* What was not touched yet would be missing in a copy. */
static void test_no_template(void **context)
{
    struct served *served = *context;
    struct world *world = &served->world;
    struct template *template = NULL;
    struct template_times times;
    struct error err = {0};
    walker_sleeps(served);
    load_served(served, "one", false);
    assert_int_equal(vmm_template_fork(world->vmm, &template, &times, &err), -ENOTSUP);
    assert_int_equal(err.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.message, "page server"));
    run_rounds(world, 1);
}

/* The pager is killed while the guest runs, and another one takes over. */
static void test_take_over(void **context)
{
    struct served *served = *context;
    struct world *world = &served->world;
    struct error err = {0};
    walker_sleeps(served);
    load_served(served, "one", true);
    struct reply held =
        pager_call(&served->place, "GET", "/sessions/one/descriptors", NULL, NULL, 0);
    assert_int_equal(held.status, 200);
    assert_int_equal(held.fd_count, 2);
    const uint64_t stopped = counter(world);
    ok(vmm_resume(world->vmm, &err), &err);
    pager_kill(&served->place);
    pager_begin(&served->place, "TINE_PAGER", TINE_VERSION);
    json_t *body = session_make_body(served, "one");
    json_object_del(body, "handshake_socket");
    json_object_set_new(body, "take_over", json_true());
    struct reply reply =
        pager_call(&served->place, "POST", "/sessions", body, held.fds, held.fd_count);
    assert_int_equal(reply.status, 200);
    reply_free(&reply);
    reply_free(&held);
    wait_counter(world, stopped + 2);
    ok(vmm_pause(world->vmm, &err), &err);
    walker_check(world);
    char full[96];
    path_in(world, full, "full");
    ok(save(world, full, false, &err), &err);
    expect_saved(served, full);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVED(test_runs),
        WITH_SERVED(test_tracked_diffs),
        WITH_SERVED(test_vmm_writes),
        WITH_SERVED(test_failure_forgets_nothing),
        WITH_SERVED(test_untracked_diffs),
        WITH_SERVED(test_full),
        WITH_SERVED(test_booted),
        WITH_SERVED(test_no_template),
        WITH_SERVED(test_take_over),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
