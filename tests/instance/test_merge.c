/* SPDX-License-Identifier: Apache-2.0 */
/* Standby of what was restored: when the retained base is merged, when it is unshared before, and
 * that nobody else's memory is ever touched. On ext4, XFS, btrfs and tmpfs. */
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "../metrics/exposition.h"
#include "../stack/fixture.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "listing.h"

#define SNAPSHOT_FILE "snapshot/memory"
#define BASE_FILE     "base/memory"

/* A host on one file system. */
struct site {
    struct scratch *scratch;
    struct fixture *fixture;
};

static struct site place_make(void **state, enum hypervisor_saving saving)
{
    struct site place = {.scratch = fixture_scratch(*state)};
    char dir[64];
    snprintf(dir, sizeof(dir), "%.40s/merge", place.scratch->path);
    assert_int_equal(mkdir(dir, 0700), 0);
    place.fixture = fixture_make(dir);
    place.fixture->saving = saving;
    fixture_reopen(place.fixture);
    return place;
}

static void place_remove(struct site *place)
{
    fixture_clear(place->fixture);
    fixture_close(place->fixture);
    assert_int_equal(tree_remove(AT_FDCWD, place->fixture->dir, NULL), 0);
    free(place->fixture);
}

static void standby(const struct site *place, const char *name)
{
    struct error err = {0};
    assert_ok(instance_standby(place->fixture->host, name, NULL, &err), &err);
}

static void restore(const struct site *place, const char *name)
{
    struct error err = {0};
    assert_ok(instance_restore(place->fixture->host, name, NULL, &err), &err);
}

static void fill(const struct site *place, const char *name, uint64_t token)
{
    struct error err = {0};
    assert_ok(guest_pattern(place->fixture->host, name, "fill", token, 0, &err), &err);
}

static void assert_holds(const struct site *place, const char *name, uint64_t token)
{
    struct error err = {0};
    assert_ok(guest_pattern(place->fixture->host, name, "check", token, token, &err), &err);
}

/* An instance that slept with this content and runs again. */
static struct instance_record restored(const struct site *place, const char *name, uint64_t token)
{
    struct instance_record record = fixture_create(place->fixture, name);
    fill(place, name, token);
    standby(place, name);
    restore(place, name);
    return record;
}

static double metric(const struct site *place, const char *series)
{
    struct error err = {0};
    size_t length;
    double value = 0;
    _cleanup_(free) char *text = host_metrics(place->fixture->host, &length, &err);
    assert_non_null(text);
    return exposition_value(text, series, &value) ? value : 0;
}

#define MERGES "tine_memory_saves_total{kind=\"merge\"}"
#define FULLS  "tine_memory_saves_total{kind=\"full\"}"

static ino_t inode_at(const struct site *place, const char *id, const char *name)
{
    return guest_stat(place->fixture, id, name).st_ino;
}

/* A file as it is, to be seen again. */
struct seen {
    struct path path;
    struct stat st;
    uint64_t hash;
};

static struct seen see(struct path path)
{
    struct seen seen = {.path = path};
    static uint8_t bytes[1 << 20];
    XXH3_state_t *state = XXH3_createState();
    _cleanup_(close) int fd = open(path.text, O_RDONLY | O_CLOEXEC);
    ssize_t n;
    assert_true(fd >= 0);
    assert_int_equal(fstat(fd, &seen.st), 0);
    XXH3_64bits_reset(state);
    while ((n = read(fd, bytes, sizeof(bytes))) > 0)
        XXH3_64bits_update(state, bytes, (size_t)n);
    seen.hash = XXH3_64bits_digest(state);
    XXH3_freeState(state);
    return seen;
}

static void assert_untouched(const struct seen *before)
{
    struct seen after = see(before->path);
    assert_int_equal(after.st.st_ino, before->st.st_ino);
    assert_int_equal(after.st.st_mtim.tv_sec, before->st.st_mtim.tv_sec);
    assert_int_equal(after.st.st_mtim.tv_nsec, before->st.st_mtim.tv_nsec);
    assert_true(after.hash == before->hash);
}

/* The same inode all the time, whatever the driver. */
static void test_private_base(void **state)
{
    static const enum hypervisor_saving savings[] = {HYPERVISOR_SAVES_CHEAPEST,
                                                     HYPERVISOR_SAVES_MERGED};
    for (size_t i = 0; i < ARRAY_SIZE(savings); i++) {
        struct site place = place_make(state, savings[i]);
        struct instance_record record = restored(&place, "web", 1);
        ino_t inode = inode_at(&place, record.id, BASE_FILE);
        for (uint64_t cycle = 2; cycle < 6; cycle++) {
            if (cycle % 2 == 0)
                fill(&place, "web", cycle);
            standby(&place, "web");
            assert_int_equal(inode_at(&place, record.id, SNAPSHOT_FILE), inode);
            assert_absent(place.fixture, record.id, "base");
            restore(&place, "web");
            assert_holds(&place, "web", cycle / 2 * 2);
        }
        assert_true(metric(&place, MERGES) == 4);
        assert_true(metric(&place, FULLS) == 1);
        assert_true(metric(&place, "tine_memory_unshare_total{method=\"reflink\"}") == 0);
        assert_true(metric(&place, "tine_memory_unshare_total{method=\"copy\"}") == 0);
        place_remove(&place);
    }
}

/* A reflink unshares; a copy would cost more than a fresh file. Either way once. */
static void test_shared_base(void **state)
{
    struct site place = place_make(state, HYPERVISOR_SAVES_CHEAPEST);
    struct instance_record web = restored(&place, "web", 1);
    standby(&place, "web");
    struct instance_record fork = fixture_fork(place.fixture, "web", "fork", INSTANCE_STANDBY);
    restore(&place, "web");
    struct seen shared = see(guest_path(place.fixture, fork.id, SNAPSHOT_FILE));
    bool reflinks = place.scratch->reflinks;
    assert_int_equal(shared.st.st_nlink, 2);
    fill(&place, "web", 2);
    double merges = metric(&place, MERGES), fulls = metric(&place, FULLS);
    standby(&place, "web");
    assert_true(metric(&place, MERGES) == merges + reflinks);
    assert_true(metric(&place, FULLS) == fulls + !reflinks);
    assert_true(metric(&place, "tine_memory_unshare_total{method=\"reflink\"}") == reflinks);
    assert_untouched(&shared);
    ino_t own = inode_at(&place, web.id, SNAPSHOT_FILE);
    assert_true(own != shared.st.st_ino);
    restore(&place, "web");
    assert_holds(&place, "web", 2);
    fill(&place, "web", 3);
    standby(&place, "web");
    assert_int_equal(inode_at(&place, web.id, SNAPSHOT_FILE), own);
    assert_true(metric(&place, "tine_memory_unshare_total{method=\"reflink\"}") == reflinks);
    assert_untouched(&shared);
    restore(&place, "fork");
    assert_holds(&place, "fork", 1);
    restore(&place, "web");
    assert_holds(&place, "web", 3);
    place_remove(&place);
}

/* A VMM that writes into whatever file is there gets one of its own, always. */
static void test_always_merged(void **state)
{
    struct site place = place_make(state, HYPERVISOR_SAVES_MERGED);
    const char *method = place.scratch->reflinks ? "reflink" : "copy";
    char total[80], bytes[80], seconds[80];
    snprintf(total, sizeof(total), "tine_memory_unshare_total{method=\"%s\"}", method);
    snprintf(bytes, sizeof(bytes), "tine_memory_unshare_bytes_total{method=\"%s\"}", method);
    snprintf(seconds, sizeof(seconds), "tine_memory_unshare_duration_seconds_count{method=\"%s\"}",
             method);
    restored(&place, "web", 1);
    standby(&place, "web");
    fixture_fork(place.fixture, "web", "a", INSTANCE_STANDBY);
    fixture_fork(place.fixture, "web", "b", INSTANCE_STANDBY);
    struct snapshot_record kept = fixture_snapshot(place.fixture, "web", INSTANCE_STANDBY, "kept");
    struct seen shared = see(snapshot_path(place.fixture, kept.id, SNAPSHOT_FILE));
    assert_int_equal(shared.st.st_nlink, 4);
    for (uint64_t i = 0; i < 2; i++) {
        const char *name = i == 0 ? "web" : "a";
        for (uint64_t cycle = 0; cycle < 3; cycle++) {
            restore(&place, name);
            fill(&place, name, 10 * i + cycle + 2);
            standby(&place, name);
            assert_untouched(&shared);
            assert_true(metric(&place, total) == (double)(i + 1));
            assert_true(metric(&place, seconds) == (double)(i + 1));
            assert_true((metric(&place, bytes) > 0) == !place.scratch->reflinks);
        }
    }
    assert_true(metric(&place, FULLS) == 1);
    restore(&place, "web");
    assert_holds(&place, "web", 4);
    restore(&place, "a");
    assert_holds(&place, "a", 14);
    restore(&place, "b");
    assert_holds(&place, "b", 1);
    assert_untouched(&shared);
    place_remove(&place);
}

static void test_no_base_and_no_merge(void **state)
{
    struct site place = place_make(state, HYPERVISOR_SAVES_MERGED);
    struct error err = {0};
    struct instance_record web = restored(&place, "web", 1);
    assert_int_equal(unlink(guest_path(place.fixture, web.id, BASE_FILE).text), 0);
    fill(&place, "web", 2);
    standby(&place, "web");
    restore(&place, "web");
    assert_holds(&place, "web", 2);
    assert_true(metric(&place, FULLS) == 2);
    /* A driver without diffs. */
    place.fixture->saving = HYPERVISOR_SAVES_FULL;
    fixture_reopen(place.fixture);
    fill(&place, "web", 3);
    standby(&place, "web");
    restore(&place, "web");
    assert_holds(&place, "web", 3);
    assert_true(metric(&place, FULLS) == 1);
    /* A base of another size is nobody's image; the guest runs on. */
    place.fixture->saving = HYPERVISOR_SAVES_CHEAPEST;
    fixture_reopen(place.fixture);
    struct path base = guest_path(place.fixture, web.id, BASE_FILE);
    assert_int_equal(truncate(base.text, (off_t)FIXTURE_MEMORY + 4096), 0);
    int r = instance_standby(place.fixture->host, "web", NULL, &err);
    assert_fails(r, &err, ERROR_CORRUPT, BASE_FILE);
    assert_state(place.fixture, "web", INSTANCE_RUNNING);
    assert_holds(&place, "web", 3);
    place_remove(&place);
}

/* Half of a diff is written: the guest runs on, its base is good for the next. */
static void test_half_a_diff(void **state)
{
    struct site place = place_make(state, HYPERVISOR_SAVES_MERGED);
    struct error err = {0};
    struct instance_record web = restored(&place, "web", 1);
    standby(&place, "web");
    struct instance_record fork = fixture_fork(place.fixture, "web", "fork", INSTANCE_STANDBY);
    struct seen shared = see(guest_path(place.fixture, fork.id, SNAPSHOT_FILE));
    restore(&place, "web");
    for (uint64_t cycle = 2; cycle < 5; cycle++) {
        fill(&place, "web", cycle);
        guest_orders(place.fixture, web.id, "half-diff\n");
        int r = instance_standby(place.fixture->host, "web", NULL, &err);
        assert_fails(r, &err, ERROR_INVALID, "write a diff into");
        guest_orders(place.fixture, web.id, NULL);
        assert_state(place.fixture, "web", INSTANCE_RUNNING);
        assert_absent(place.fixture, web.id, "base/state");
        /* Of a shared base it was a copy that was half written. */
        assert_int_equal(guest_stat(place.fixture, web.id, BASE_FILE).st_nlink, cycle == 2 ? 2 : 1);
        assert_holds(&place, "web", cycle);
        /* A new tined, and other content: nothing of the first attempt may be left in the second.
         */
        fixture_reopen(place.fixture);
        if (cycle == 3)
            fill(&place, "web", 33);
        standby(&place, "web");
        assert_untouched(&shared);
        restore(&place, "web");
        assert_holds(&place, "web", cycle == 3 ? 33 : cycle);
    }
    assert_true(metric(&place, FULLS) == 0);
    place_remove(&place);
}

/* A VM whose merge failed maps the base that it had: nobody writes into that as long as it runs,
 * and be it the last other owner. */
static void test_failed_beside_a_merge(void **state)
{
    struct site place = place_make(state, HYPERVISOR_SAVES_MERGED);
    struct error err = {0};
    restored(&place, "web", 1);
    standby(&place, "web");
    fixture_fork(place.fixture, "web", "fork", INSTANCE_RUNNING);
    failpoints("standby-saved=EIO");
    assert_true(instance_standby(place.fixture->host, "fork", NULL, &err) == -EIO);
    failpoints(NULL);
    assert_state(place.fixture, "fork", INSTANCE_RUNNING);
    restore(&place, "web");
    fill(&place, "web", 2);
    standby(&place, "web");
    assert_holds(&place, "fork", 1);
    standby(&place, "fork");
    restore(&place, "fork");
    assert_holds(&place, "fork", 1);
    restore(&place, "web");
    assert_holds(&place, "web", 2);
    place_remove(&place);
}

/* Each step from the shared base to the merged image fails. */
static void test_failing_steps(void **state)
{
    static const char *const points[] = {"stack-stat",
                                         "stack-share-sync",
                                         "stack-unshare-before-rename",
                                         "merge-unshared",
                                         "merge-moved",
                                         "stack-unshare-after-rename",
                                         "standby-paused",
                                         "standby-saved",
                                         "stack-publish-before-rename",
                                         "standby-synced",
                                         "stack-publish-after-rename",
                                         "standby-published",
                                         "standby-recorded"};
    struct site place = place_make(state, HYPERVISOR_SAVES_MERGED);
    struct error err = {0};
    struct instance_record web = restored(&place, "web", 1);
    for (uint64_t i = 0; i < ARRAY_SIZE(points); i++) {
        standby(&place, "web");
        struct snapshot_record kept =
            fixture_snapshot(place.fixture, "web", INSTANCE_STANDBY, "kept");
        struct seen shared = see(snapshot_path(place.fixture, kept.id, SNAPSHOT_FILE));
        restore(&place, "web");
        fill(&place, "web", i + 2);
        char setting[64];
        snprintf(setting, sizeof(setting), "%s=ENOSPC", points[i]);
        failpoints(setting);
        int r = instance_standby(place.fixture->host, "web", NULL, &err);
        failpoints(NULL);
        if (r != -ENOSPC)
            fail_msg("%s: %d %s", points[i], r, err.message);
        assert_state(place.fixture, "web", INSTANCE_RUNNING);
        guest_stat(place.fixture, web.id, BASE_FILE);
        _cleanup_(free) char *names = listing(place.fixture->dir);
        assert_null(strstr(names, ".tine-tmp-"));
        assert_holds(&place, "web", i + 2);
        assert_untouched(&shared);
        standby(&place, "web");
        assert_untouched(&shared);
        restore(&place, "web");
        assert_holds(&place, "web", i + 2);
        assert_ok(snapshot_delete(place.fixture->host, kept.id, &err), &err);
    }
    assert_true(metric(&place, FULLS) == 1);
    place_remove(&place);
}

/* The VMM dies in the middle: its guest is lost, and so is the base that was half written. */
static void test_vmm_dies(void **state)
{
    struct site place = place_make(state, HYPERVISOR_SAVES_MERGED);
    struct error err = {0};
    struct instance_record web = restored(&place, "web", 1);
    guest_orders(place.fixture, web.id, "die /snapshot/create its end\n");
    assert_true(instance_standby(place.fixture->host, "web", NULL, &err) < 0);
    assert_non_null(strstr(err.message, "the VMM ended"));
    guest_orders(place.fixture, web.id, NULL);
    assert_state(place.fixture, "web", INSTANCE_STOPPED);
    assert_absent(place.fixture, web.id, "base");
    assert_absent(place.fixture, web.id, "snapshot");
    place_remove(&place);
}

/* What was compressed is expanded into a file like any other. */
static void test_after_compression(void **state)
{
    const struct stack_compression zstd = {STACK_ZSTD, 1};
    const struct standby_options options = {.has_compression = true, .compression = &zstd};
    struct site place = place_make(state, HYPERVISOR_SAVES_CHEAPEST);
    struct error err = {0};
    struct instance_record web = restored(&place, "web", 1);
    for (uint64_t cycle = 2; cycle < 4; cycle++) {
        fill(&place, "web", cycle);
        assert_ok(instance_standby_with(place.fixture->host, "web", &options, NULL, &err), &err);
        while (fixture_get(place.fixture, "web").compression_status.state != COMPRESSION_DONE)
            time_sleep_ms(5);
        assert_absent(place.fixture, web.id, SNAPSHOT_FILE);
        restore(&place, "web");
        assert_holds(&place, "web", cycle);
    }
    /* And what was unshared before can be compressed, and expanded for a fork. */
    struct snapshot_record old = fixture_snapshot(place.fixture, "web", INSTANCE_STANDBY, "old");
    struct seen shared = see(snapshot_path(place.fixture, old.id, SNAPSHOT_FILE));
    assert_ok(instance_standby_with(place.fixture->host, "web", &options, NULL, &err), &err);
    while (fixture_get(place.fixture, "web").compression_status.state != COMPRESSION_DONE)
        time_sleep_ms(5);
    assert_untouched(&shared);
    fixture_fork(place.fixture, "web", "fork", INSTANCE_RUNNING);
    assert_holds(&place, "fork", 3);
    restore(&place, "web");
    assert_holds(&place, "web", 3);
    fixture_snapshot(place.fixture, "web", INSTANCE_STANDBY, "kept");
    place_remove(&place);
}

static const struct fs_case cases[] = {
    {"a private base is merged", test_private_base},
    {"a base that a VM still maps is nobody else's to write", test_failed_beside_a_merge},
    {"a shared base is merged where a reflink unshares it", test_shared_base},
    {"a driver that always merges", test_always_merged},
    {"no base, no diffs, a wrong base", test_no_base_and_no_merge},
    {"a diff that fails half way", test_half_a_diff},
    {"each step fails", test_failing_steps},
    {"a VMM that dies", test_vmm_dies},
    {"after compression", test_after_compression},
};

static int run_all(void)
{
    return run_on_each("merge", cases, ARRAY_SIZE(cases), NULL, 0);
}

int main(int argc, char **argv)
{
    return fixture_main_with(argc, argv, run_all);
}
