/* SPDX-License-Identifier: Apache-2.0 */
/* Power cuts. The data directory is on a file system on a loop device, whose backing file lies on
 * an XFS. While operations run, the backing file is reflinked at random moments: that is what was
 * on the disk then, and nothing of what was only in memory. Afterwards each of these disks is
 * mounted, as after a reboot: what an operation had reported done before the cut must be there,
 * exactly; what was under way must have come to one of its ends.
 *
 * TINE_SEED=N repeats the operations, not the moments. */
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <unistd.h>

#include "../hypervisor/pattern.h"
#include "../stack/loop.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "stack/disk_stack.h"

#define CUTS       12u
#define STEPS_MAX  2000u
#define OUTER_SIZE (4ull << 30)
#define INNER_SIZE (512ull << 20)

/* The world before a step, and the step. */
struct moment {
    struct thing instances[SPACE_INSTANCES], snapshots[SPACE_SNAPSHOTS];
    struct step step;
};

/* One reflink: all steps before `done` had ended when it began, and none from `begun` on had begun
 * when it was finished. */
struct cut {
    unsigned done, begun;
    int failed; /* errno */
};

struct power {
    const char *type; /* of the inner file system */
    char dir[64], outer[96], disk[128], inner[96];
    struct world world;
    struct moment *moments;
    atomic_uint begun, done;
    struct cut cuts[CUTS];
    atomic_uint cut_count;
    pthread_t cutter;
};

static void must(int r, const char *what)
{
    if (r < 0)
        fail_msg("%s: %s", what, strerror(errno));
}

static void cut_path(const struct power *power, unsigned i, char path[160])
{
    snprintf(path, 160, "%s/cut-%u", power->outer, i);
}

static int reflink_file(const char *from, const char *to)
{
    _cleanup_(close) int in = open(from, O_RDONLY | O_CLOEXEC);
    _cleanup_(close) int out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return in < 0 || out < 0 || ioctl(out, FICLONE, in) < 0 ? errno : 0;
}

/* A thread of its own: it asserts nothing. The moments are random, within a step and between. */
static void *cut_run(void *context)
{
    struct power *power = context;
    uint64_t random = time_monotonic_ns();
    for (unsigned i = 0; i < CUTS; i++) {
        struct cut *cut = &power->cuts[i];
        char path[160];
        cut_path(power, i, path);
        unsigned wanted = atomic_load(&power->begun) + 2 + (unsigned)(random % 12);
        while (atomic_load(&power->begun) < wanted)
            time_sleep_ms(1);
        random = random * 6364136223846793005ull + 1442695040888963407ull;
        time_sleep_ms((unsigned)(random >> 60));
        cut->done = atomic_load(&power->done);
        cut->failed = reflink_file(power->disk, path);
        cut->begun = atomic_load(&power->begun);
        atomic_fetch_add(&power->cut_count, 1);
    }
    return NULL;
}

/* Without those that end tined or its VMMs: there is one host all the time. */
static struct step next_step(struct world *world)
{
    for (;;) {
        struct step step = step_generate(world);
        step.diskless = false;
        if (step.kind != STEP_REOPEN && step.kind != STEP_KILL && step.kind != STEP_STORM)
            return step;
    }
}

static void remember(struct power *power, unsigned at, const struct step *step)
{
    struct moment *moment = &power->moments[at];
    memcpy(moment->instances, power->world.instances, sizeof(moment->instances));
    memcpy(moment->snapshots, power->world.snapshots, sizeof(moment->snapshots));
    moment->step = *step;
}

/* Operations until all cuts are made. */
static void operate(struct power *power)
{
    struct world *world = &power->world;
    unsigned count = 0;
    while (atomic_load(&power->cut_count) < CUTS) {
        struct ends ends;
        const struct step step = next_step(world);
        assert_true(count + 1 < STEPS_MAX);
        remember(power, count, &step);
        atomic_store(&power->begun, count + 1);
        step_run(world, &step, &ends);
        atomic_store(&power->done, count + 1);
        count++;
        step_predict(world, &step, &ends);
        world_observe(world);
        world->counts.steps++;
        world->counts.kinds[step.kind]++;
    }
    remember(power, count, &(struct step){.kind = STEP_REOPEN});
}

/* What is made of a fact when the power goes. */
static struct fact without_power(struct fact fact)
{
    if (fact.place == PLACE_RUNNING)
        fact = (struct fact){.place = PLACE_STOPPED, .tag = fact.tag};
    return fact;
}

static bool is_allowed(const struct thing *thing, const struct fact *fact)
{
    for (unsigned i = 0; i < thing->allowed_count; i++) {
        const struct fact *known = &thing->allowed[i];
        if (known->place == fact->place && known->memory == fact->memory &&
            known->disk == fact->disk && known->tag == fact->tag)
            return true;
    }
    return false;
}

static void also(struct thing *thing, struct fact fact)
{
    fact = without_power(fact);
    if (is_allowed(thing, &fact))
        return;
    assert_true(thing->allowed_count < SPACE_ALLOWED);
    thing->allowed[thing->allowed_count++] = fact;
}

static void also_all(struct thing *into, const struct thing *from, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        also(&into[i], from[i].fact);
        for (unsigned j = 0; j < from[i].allowed_count; j++)
            also(&into[i], from[i].allowed[j]);
    }
}

/* All that may be found after this cut. */
static void predict_cut(const struct power *power, const struct cut *cut, struct world *found)
{
    static const struct ends crashed = {
        .list = {ENDED_CRASHED, ENDED_CRASHED, ENDED_CRASHED, ENDED_CRASHED}};
    memcpy(found->instances, power->moments[cut->done].instances, sizeof(found->instances));
    memcpy(found->snapshots, power->moments[cut->done].snapshots, sizeof(found->snapshots));
    for (unsigned i = 0; i < SPACE_INSTANCES; i++)
        found->instances[i].allowed_count = 0;
    for (unsigned i = 0; i < SPACE_SNAPSHOTS; i++)
        found->snapshots[i].allowed_count = 0;
    for (unsigned at = cut->done; at <= cut->begun; at++) {
        struct world before = {.seed = 0};
        memcpy(before.instances, power->moments[at].instances, sizeof(before.instances));
        memcpy(before.snapshots, power->moments[at].snapshots, sizeof(before.snapshots));
        if (at < cut->begun)
            step_predict(&before, &power->moments[at].step, &crashed);
        also_all(found->instances, before.instances, SPACE_INSTANCES);
        also_all(found->snapshots, before.snapshots, SPACE_SNAPSHOTS);
    }
}

/* The disk of a guest that ran, or was stopped without a flush, may hold of each page what was
 * there before, but nothing of another place. */
static void take_loose_disk(struct world *found, struct thing *thing)
{
    uint8_t page[PATTERN_PAGE];
    const struct instance_record record = fixture_get(found->fixture, thing->name);
    struct path path = guest_path(found->fixture, record.id, "disks");
    struct error err = {0};
    _cleanup_(close) int fd = dir_open(AT_FDCWD, path.text, &err);
    const struct stack_file base = {fd, "0.img", path.text};
    _cleanup_(disk_stack) struct disk_stack *stack = disk_stack_open(&base, false, &err);
    if (!stack)
        fail_msg("%s", err.message);
    for (unsigned i = PATTERN_DISK_FIRST; i < PATTERN_DISK_END; i++) {
        uint64_t token;
        struct iovec buffer = {page, sizeof(page)};
        uint64_t done = 0;
        assert_int_equal(disk_stack_read(stack, &buffer, 1, (uint64_t)i * PATTERN_PAGE, &done), 0);
        memcpy(&token, page, sizeof(token));
        if (!pattern_holds(token, i, page))
            fail_msg("page %u of %s is mixed", i, path.text);
    }
}

static enum instance_state state_in(struct world *found, const struct thing *thing)
{
    struct instance_record record = {.state = INSTANCE_CREATED};
    struct error err = {0};
    if (instance_get(found->fixture->host, thing->name, &record, &err) < 0)
        assert_int_equal(err.code, ERROR_NOT_FOUND);
    return record.state;
}

/* Stopped is compared here; the rest by world_observe(), exactly. */
static void loosen(struct world *found)
{
    for (unsigned i = 0; i < SPACE_INSTANCES; i++) {
        struct thing *thing = &found->instances[i];
        if (state_in(found, thing) != INSTANCE_STOPPED)
            continue;
        unsigned kept = 0;
        for (unsigned j = 0; j < thing->allowed_count; j++) {
            const struct fact fact = thing->allowed[j];
            if (fact.place == PLACE_STOPPED)
                thing->allowed[kept++] = (struct fact){.place = fact.place, .tag = fact.tag};
        }
        if (kept == 0)
            fail_msg("%s is Stopped, and that is not allowed", thing->name);
        take_loose_disk(found, thing);
        thing->allowed_count = kept;
        thing->diskless = true; /* for the comparison */
    }
}

/* What is there can be used: it wakes with its memory. */
static unsigned wake_all(struct world *found)
{
    unsigned woken = 0;
    struct error err = {0};
    for (unsigned i = 0; i < SPACE_INSTANCES; i++) {
        const struct thing *thing = &found->instances[i];
        if (thing->fact.place == PLACE_ABSENT)
            continue;
        bool asleep = thing->fact.place == PLACE_STANDBY;
        struct host *host = found->fixture->host;
        assert_ok(asleep ? instance_restore(host, thing->name, NULL, &err)
                         : instance_start(host, thing->name, NULL, &err),
                  &err);
        if (asleep)
            assert_ok(guest_pattern(host, thing->name, "check", thing->fact.memory,
                                    thing->fact.disk, &err),
                      &err);
        woken += asleep;
    }
    return woken;
}

static unsigned wake_snapshots(struct world *found)
{
    const struct snapshot_target target = {.has_state = true, .state = INSTANCE_RUNNING};
    unsigned woken = 0;
    struct error err = {0};
    for (unsigned i = 0; i < SPACE_SNAPSHOTS; i++) {
        const struct thing *thing = &found->snapshots[i];
        struct host *host = found->fixture->host;
        if (thing->fact.place == PLACE_ABSENT)
            continue;
        assert_ok(snapshot_fork(host, thing->id, "woken", &target, NULL, &err), &err);
        assert_ok(guest_pattern(host, "woken", "check", thing->fact.memory, thing->fact.disk, &err),
                  &err);
        assert_ok(instance_delete(host, "woken", &err), &err);
        woken++;
    }
    return woken;
}

static void mount_disk(const struct power *power, const char *path)
{
    char device[32];
    _cleanup_(close) int backing = open(path, O_RDWR | O_CLOEXEC);
    must(backing, path);
    _cleanup_(close) int loop = loop_attach(backing, device, sizeof(device));
    /* A copy has the same identity as the original. */
    must(mount(device, power->inner, power->type, 0,
               strcmp(power->type, "xfs") == 0 ? "nouuid" : NULL),
         path);
}

static void check_cut(struct power *power, unsigned i)
{
    const struct cut *cut = &power->cuts[i];
    struct world found = {.seed = power->world.seed};
    char path[160];
    cut_path(power, i, path);
    if (cut->failed)
        fail_msg("%s: %s", path, strerror(cut->failed));
    mount_disk(power, path);
    found.fixture = fixture_on(power->inner);
    fixture_open(found.fixture);
    if (!warm_settle(&found))
        fail_msg("what is kept warm does not come to rest after cut %u", i);
    predict_cut(power, cut, &found);
    loosen(&found);
    world_observe(&found);
    for (unsigned j = 0; j < SPACE_INSTANCES; j++)
        found.instances[j].diskless = false;
    rules_check(&found, true);
    unsigned instances = wake_all(&found), snapshots = wake_snapshots(&found);
    print_message("cut %u of %s, in steps %u to %u: %u instances and %u snapshots woken\n", i,
                  power->type, cut->done, cut->begun, instances, snapshots);
    rules_forget(&found);
    fixture_clear(found.fixture);
    fixture_close(found.fixture);
    free(found.fixture);
    must(umount2(power->inner, 0), power->inner);
}

static void make_outer(struct power *power)
{
    static const char *const mkfs[] = {"mkfs.xfs", "-q", "-f", "-m", "reflink=1"};
    char image[128], device[32];
    snprintf(image, sizeof(image), "%s/image", power->dir);
    _cleanup_(close) int backing = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(backing, image);
    must(ftruncate(backing, OUTER_SIZE), image);
    const char *const argv[] = {mkfs[0], mkfs[1], mkfs[2], mkfs[3], mkfs[4], image, NULL};
    program_run(argv);
    _cleanup_(close) int loop = loop_attach(backing, device, sizeof(device));
    must(unlink(image), image);
    must(mount(device, power->outer, "xfs", 0, NULL), device);
}

static void make_inner(struct power *power)
{
    bool xfs = strcmp(power->type, "xfs") == 0;
    _cleanup_(close) int backing = open(power->disk, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(backing, power->disk);
    must(ftruncate(backing, INNER_SIZE), power->disk);
    const char *const argv[] = {xfs ? "mkfs.xfs" : "mkfs.ext4", "-q", xfs ? "-f" : "-F",
                                power->disk, NULL};
    program_run(argv);
    mount_disk(power, power->disk);
}

static struct power *power_make(const char *type)
{
    struct power *power = calloc(1, sizeof(*power));
    assert_non_null(power);
    power->moments = calloc(STEPS_MAX + 1, sizeof(*power->moments));
    assert_non_null(power->moments);
    power->type = type;
    snprintf(power->dir, sizeof(power->dir), "/tmp/tine-test-power-XXXXXX");
    assert_non_null(mkdtemp(power->dir));
    snprintf(power->outer, sizeof(power->outer), "%s/outer", power->dir);
    snprintf(power->inner, sizeof(power->inner), "%s/inner", power->dir);
    snprintf(power->disk, sizeof(power->disk), "%s/disk", power->outer);
    must(mkdir(power->outer, 0700), power->outer);
    must(mkdir(power->inner, 0700), power->inner);
    make_outer(power);
    make_inner(power);
    return power;
}

static void power_remove(struct power *power)
{
    must(umount2(power->outer, 0), power->outer);
    assert_int_equal(tree_remove(AT_FDCWD, power->dir, NULL), 0);
    free(power->moments);
    free(power);
}

static void inner_sync(const struct power *power)
{
    _cleanup_(close) int fd = open(power->inner, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(fd, power->inner);
    must(syncfs(fd), power->inner);
}

static void run_on(const char *type, uint64_t fallback)
{
    const char *seed = getenv("TINE_SEED");
    struct power *power = power_make(type);
    struct world *world = &power->world;
    world_begin(world, seed ? strtoull(seed, NULL, 10) : fallback);
    world->trouble = TROUBLE_NONE;
    world->fixture = fixture_make(power->inner);
    world->fixture->saving = HYPERVISOR_SAVES_MERGED;
    world->fixture->warm.retry_max_ms = SPACE_RETRY_MS;
    fixture_reopen(world->fixture);
    inner_sync(power); /* the files that instances are made of are not what is tested */
    assert_int_equal(pthread_create(&power->cutter, NULL, cut_run, power), 0);
    operate(power);
    assert_int_equal(pthread_join(power->cutter, NULL), 0);
    print_message("TINE_SEED=%llu: %u cuts in %u steps on %s\n", (unsigned long long)world->seed,
                  CUTS, world->counts.steps, type);
    fixture_clear(world->fixture);
    fixture_close(world->fixture);
    free(world->fixture);
    must(umount2(power->inner, 0), power->inner);
    boot_id_fake(power->dir, "after the power cut\n");
    for (unsigned i = 0; i < CUTS; i++)
        check_cut(power, i);
    boot_id_real();
    power_remove(power);
}

static void test_ext4(void **state)
{
    run_on("ext4", 7000);
}

static void test_xfs(void **state)
{
    run_on("xfs", 7100);
}

static int setup(void **state)
{
    must(unshare(CLONE_NEWNS), "unshare: this test needs root");
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
    if (!getenv("TINE_TEST_LOG"))
        log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    return 0;
}

static int teardown(void **state)
{
    children_end();
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_ext4, setup, teardown),
    cmocka_unit_test_setup_teardown(test_xfs, setup, teardown),
};
FIXTURE_MAIN(tests)
