/* SPDX-License-Identifier: Apache-2.0 */
/* Every fork owns its memory: random sequences of every operation, against a model (space.h).
 *
 * TINE_SEED=N runs the one sequence of that seed and tells its steps; TINE_SEQUENCES=N says how
 * many are run, one seed after the other, with TINE_SEED from there on. A third of them is without
 * trouble, in a third steps fail at failpoints, in a third tined is killed there; in half of them
 * standbys add layers, in a quarter some are compressed, and forks of these are served by a pager,
 * the program that TINE_PAGER names. Behind the fake VMM the arguments "I N" run only every Nth
 * sequence, from the Ith (from 0) on: sequences spend most of their time waiting for processes, so
 * the parts run beside each other. */
#include "pager_site.h"
#include "space.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"

#define SEQUENCES  500
#define FIRST_SEED 1000
#define STEPS_MIN  12
#define HASH_EVERY 8

static struct {
    uint64_t first, step;
} part = {0, 1};

/* Of the sequence that is under way, told when it fails. */
static struct {
    uint64_t seed;
    char steps[SPACE_STEPS][256];
    unsigned count;
} story;

static void tell(void)
{
    print_error("TINE_SEED=%llu fails at its last step:\n", (unsigned long long)story.seed);
    for (unsigned i = 0; i < story.count; i++)
        print_error("  %2u %s\n", i + 1, story.steps[i]);
}

static uint64_t number_from(const char *variable, uint64_t fallback)
{
    const char *text = getenv(variable);
    return text && *text ? strtoull(text, NULL, 10) : fallback;
}

/* The result must be the one that the model knows. */
static void judge(const struct step *step, int legal, const struct ends *ends)
{
    for (unsigned i = 0; i < step_results(step); i++) {
        const struct error *err = &ends->errors[i];
        bool failed = ends->list[i] == ENDED_FAILED;
        if (legal == STEP_LEGAL && failed && !step->failpoint[0] && step->kill_us == 0)
            fail_msg("a legal step failed: %s", err->message);
        if (legal >= 0 && (!failed || (int)err->code != legal))
            fail_msg("an illegal step ended with code %d, expected %d: %s", (int)err->code, legal,
                     err->message);
        if (legal == STEP_ANY && failed && !step->race && err->code != ERROR_STATE &&
            err->code != ERROR_NOT_FOUND)
            fail_msg("in a storm an operation failed with code %d: %s", (int)err->code,
                     err->message);
    }
}

static void count(struct counts *counts, const struct step *step, int legal,
                  const struct ends *ends)
{
    counts->steps++;
    counts->kinds[step->kind]++;
    counts->illegal += legal >= 0;
    counts->crashed += ends->list[0] == ENDED_CRASHED;
    counts->packed += step->pack && ends->list[0] == ENDED_WELL;
    counts->failed += step->failpoint[0] && ends->list[0] == ENDED_FAILED;
}

static struct site site_of(const struct world *world)
{
    struct site site = {.fixture = world->fixture};
    snprintf(site.run_dir, sizeof(site.run_dir), "%s", world->run_dir);
    return site;
}

/* It is killed, and whoever was on it is taken over by another: it and tined must not be away
 * together. */
static void replace_pager(const struct world *world)
{
    struct site site = site_of(world);
    _cleanup_(free) struct instance_record *records = NULL;
    size_t count = 0;
    struct error err = {0};
    assert_ok(instance_list(world->fixture->host, &records, &count, &err), &err);
    pager_kill(&site, SITE_VERSION);
    for (size_t i = 0; i < count; i++) {
        if (records[i].paged)
            await_takeovers(&site, records[i].id, records[i].pager_status.takeovers + 1);
    }
}

static void step_once(struct world *world, bool thorough)
{
    struct ends ends;
    struct step step = step_generate(world);
    step_describe(world, &step, story.steps[story.count], sizeof(story.steps[0]));
    story.count++;
    if (getenv("TINE_SEED") && !getenv("TINE_SEQUENCES"))
        print_message("%s\n", story.steps[story.count - 1]);
    int legal = step_legal(world, &step);
    step_run(world, &step, &ends);
    if (world->packed && step.kind == STEP_REOPEN)
        replace_pager(world);
    judge(&step, legal, &ends);
    step_predict(world, &step, &ends);
    world_observe(world);
    rules_check(world, thorough);
    count(&world->counts, &step, legal, &ends);
}

static struct pager_options pager_with(const struct world *world, enum memory_backend backend)
{
    const char *binary = getenv("TINE_PAGER");
    if (!binary)
        fail_msg("TINE_PAGER names no tine-pager");
    return (struct pager_options){
        .binary = binary, .run_dir = world->run_dir, .backend = backend, .graduation.off = true};
}

static void choose(struct world *world, uint64_t seed)
{
    struct fixture *fixture = world->fixture;
    const uint64_t way = seed / TROUBLE_KINDS;
    fixture->saving = way % 2 ? HYPERVISOR_SAVES_MERGED : HYPERVISOR_SAVES_CHEAPEST;
    world->layers = way / 2 % 2;
    world->packed = !world->layers && way / 4 % 2;
    fixture->warm.retry_max_ms = SPACE_RETRY_MS;
    fixture->warm.learn_ms = 1;
    fixture->standby_memory = world->layers && way / 4 % 2 == 0    ? STANDBY_LAYER
                              : world->layers || way / 16 % 2 == 1 ? STANDBY_AUTO
                                                                   : STANDBY_MERGE;
    fixture->pager = (struct pager_options){.run_dir = NULL};
    if (world->packed)
        fixture->pager = pager_with(world, way / 8 % 2 ? MEMORY_PAGER : MEMORY_AUTO);
}

/* None is started any more, and none is left to be a child of this process. */
static void end_pagers(struct world *world)
{
    const struct site site = site_of(world);
    fixture_delete_instances(world->fixture);
    fixture_close(world->fixture);
    pager_kill(&site, SITE_VERSION);
    fixture_open(world->fixture);
}

static void sequence(struct world *world, uint64_t seed)
{
    world_begin(world, seed);
    choose(world, seed);
    fixture_reopen(world->fixture);
    story.seed = seed;
    story.count = 0;
    unsigned steps = STEPS_MIN + (unsigned)random_next(world, SPACE_STEPS - STEPS_MIN + 1);
    for (unsigned i = 0; i < steps; i++)
        step_once(world, i % HASH_EVERY == HASH_EVERY - 1 || i + 1 == steps);
    if (world->packed)
        end_pagers(world);
    fixture_clear(world->fixture);
    rules_forget(world);
    world->counts.sequences++;
}

static void report(const struct counts *counts)
{
    print_message("%u sequences, %u steps: %u refused, %u failed, %u killed; %u compacted, "
                  "%u compressed and so served %u times, %u taken;",
                  counts->sequences, counts->steps, counts->illegal, counts->failed,
                  counts->crashed, counts->compacted, counts->packed, counts->served,
                  counts->taken);
    for (unsigned i = 0; i < STEP_KINDS; i++)
        print_message(" %s %u", step_kind_name((enum step_kind)i), counts->kinds[i]);
    print_message("\n");
}

static void test_ownership(void **state)
{
    struct world *world = *state;
    uint64_t first = number_from("TINE_SEED", FIRST_SEED);
    uint64_t sequences = number_from("TINE_SEQUENCES", getenv("TINE_SEED") ? 1 : SEQUENCES);
    print_message("TINE_SEED from %llu, %llu sequences\n", (unsigned long long)first,
                  (unsigned long long)sequences);
    for (uint64_t i = part.first; i < sequences; i += part.step)
        sequence(world, first + i);
    report(&world->counts);
}

/* In memory: it is about names and bytes, not about a disk; test_power.c is. */
static int setup(void **state)
{
    char dir[] = "/tmp/tine-test-space-XXXXXX";
    struct world *world = calloc(1, sizeof(*world));
    assert_non_null(world);
    assert_non_null(mkdtemp(dir));
    assert_int_equal(unshare(CLONE_NEWNS), 0); /* needs root */
    assert_int_equal(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_int_equal(mount("tine", dir, "tmpfs", 0, "size=1g"), 0);
    if (!getenv("TINE_TEST_LOG")) /* hundreds of expected failures */
        log_set_fd(open("/dev/null", O_WRONLY | O_CLOEXEC));
    world->fixture = fixture_make(dir);
    snprintf(world->run_dir, sizeof(world->run_dir), "%s/run", dir);
    *state = world;
    return 0;
}

static int teardown(void **state)
{
    struct world *world = *state;
    struct fixture *fixture = world->fixture;
    rules_forget(world);
    fixture_close(fixture);
    children_end();
    assert_int_equal(umount2(fixture->dir, MNT_DETACH), 0);
    assert_int_equal(rmdir(fixture->dir), 0);
    free(fixture);
    free(world);
    return 0;
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test_setup_teardown(test_ownership, setup, teardown),
};

int main(int argc, char **argv)
{
    if (argc == 4) {
        part.first = strtoull(argv[2], NULL, 10);
        part.step = strtoull(argv[3], NULL, 10);
    }
    int failures = fixture_main(argc, argv, tests, ARRAY_SIZE(tests));
    if (failures > 0)
        tell();
    return failures;
}
