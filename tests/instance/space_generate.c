/* SPDX-License-Identifier: Apache-2.0 */
#include "space.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

#define ILLEGAL_PERCENT 15
#define TROUBLE_PERCENT 60
#define KILL_PERCENT    40    /* of troubles, at any moment and not at a failpoint */
#define KILL_US         30000 /* about as long as an operation takes */
#define PACK_PERCENT    85    /* of the standbys of a sequence that compresses */
#define SLEEPS_PERCENT  40    /* of its steps: what puts to sleep, and what forks that */
#define PAGING_PERCENT  30    /* of its failpoints */
#define TRIES           100

#define PUBLISH "stack-publish-before-rename stack-publish-after-rename "
#define SHARE   "stack-share-link stack-copy-before-rename stack-copy-after-rename stack-share-sync "
#define BOOT    "boot-prepared boot-launched boot-recorded boot-ready boot-program "
#define RESTORE                                                                         \
    "restore-prepared restore-loaded restore-recorded restore-renamed restore-resumed " \
    "restore-told "
#define MERGE "merge-unshared merge-moved "
#define LAYER "layering-linked layering-saved layering-made layering-finished "
#define STANDBY                                                                                   \
    MERGE LAYER "standby-paused standby-saved standby-synced standby-published standby-recorded " \
                "stack-publish-before-rename stack-publish-after-rename "
#define SEAL                                                                 \
    "disk-seal-made disk-seal-marked disk-seal-link disk-seal-linked "       \
    "disk-seal-before-rename disk-seal-after-rename disk-top-before-rename " \
    "disk-top-after-rename disk-frozen disk-map-write disk-sync "
#define LIVE \
    "live-paused live-sealed live-prepared live-made live-child live-resumed live-recorded "
#define CAPTURE                                                                  \
    "live-paused live-sealed live-prepared live-made live-child capture-linked " \
    "capture-prepared capture-written snapshot-memory "
#define PAGING "expand-begun expand-done paging-wanted paging-begun paging-kept "
#define FORK   SEAL SHARE PUBLISH LIVE "fork-reserved fork-linked fork-published "

/* How often, and where trouble can be made. */
static const struct {
    const char *name;
    unsigned weight;
    const char *failpoints;
} kinds[STEP_KINDS] = {
    [STEP_CREATE] = {"create", 9,
                     "create-reserved create-copied create-published " PUBLISH BOOT SHARE},
    [STEP_STANDBY] = {"standby", 10, STANDBY},
    [STEP_RESTORE] = {"restore", 9, RESTORE},
    [STEP_STOP] = {"stop", 4, "stop-asked stop-killed "},
    [STEP_START] = {"start", 5, BOOT},
    [STEP_DELETE] = {"delete", 4, "delete-killed delete-renamed "},
    [STEP_FORK] = {"fork", 16, FORK RESTORE BOOT STANDBY},
    [STEP_SNAPSHOT_CREATE] = {"snapshot-create", 7,
                              "snapshot-linked snapshot-recorded snapshot-published " CAPTURE SEAL
                                  SHARE STANDBY RESTORE},
    [STEP_SNAPSHOT_FORK] = {"snapshot-fork", 8, FORK RESTORE BOOT},
    [STEP_SNAPSHOT_DELETE] = {"snapshot-delete", 3, "delete-renamed "},
    [STEP_SNAPSHOT_RESTORE] =
        {"snapshot-restore", 7,
         "snapshot-restore-linked snapshot-restore-recorded "
         "stack-exchange-before-sync snapshot-restore-exchanged " SHARE RESTORE BOOT},
    [STEP_FILL] = {"fill", 12, ""},
    [STEP_TAG] = {"tag", 6, "update-begun "},
    [STEP_KILL] = {"kill", 6, ""},
    [STEP_STORM] = {"storm", 5, ""},
    [STEP_REOPEN] = {"reopen", 6, ""},
};

/* splitmix64: a sequence is its seed. */
uint64_t random_next(struct world *world, uint64_t limit)
{
    uint64_t value = world->random += 0x9e3779b97f4a7c15ull;
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9ull;
    value = (value ^ value >> 27) * 0x94d049bb133111ebull;
    return (value ^ value >> 31) % limit;
}

bool random_percent(struct world *world, unsigned percent)
{
    return random_next(world, 100) < percent;
}

static enum step_kind pick_kind(struct world *world)
{
    unsigned sum = 0;
    if (world->packed && random_percent(world, SLEEPS_PERCENT))
        return random_percent(world, 50) ? STEP_STANDBY : STEP_FORK;
    for (unsigned i = 0; i < STEP_KINDS; i++)
        sum += kinds[i].weight;
    uint64_t at = random_next(world, sum);
    for (unsigned i = 0; i < STEP_KINDS; i++) {
        if (at < kinds[i].weight)
            return (enum step_kind)i;
        at -= kinds[i].weight;
    }
    return STEP_REOPEN;
}

/* Mostly one that is there. */
static unsigned pick_present(struct world *world, const struct thing *things, unsigned count)
{
    unsigned slot = (unsigned)random_next(world, count);
    for (unsigned i = 0; i < count && things[slot].fact.place == PLACE_ABSENT; i++)
        slot = (slot + 1) % count;
    return slot;
}

static enum place pick_goal(struct world *world)
{
    return (enum place)random_next(world, PLACE_RUNNING + 1);
}

/* Free names, as many as there are of those wanted; where there is none, one that is taken. */
static void pick_forks(struct world *world, struct step *step)
{
    unsigned wanted = random_percent(world, 65) ? 1 : 2 + (unsigned)random_next(world, 2);
    unsigned first = (unsigned)random_next(world, SPACE_INSTANCES);
    for (unsigned i = 0; i < SPACE_INSTANCES && step->forks < wanted; i++) {
        unsigned slot = (first + i) % SPACE_INSTANCES;
        if (world->instances[slot].fact.place == PLACE_ABSENT)
            step->slots[step->forks++] = slot;
    }
    if (step->forks == 0)
        step->slots[step->forks++] = first;
    for (unsigned i = 0; i < step->forks; i++)
        step->goals[i] = pick_goal(world);
}

/* Of several at once all are legal or none: a step has one legality. */
static void agree_on_goals(const struct world *world, struct step *step)
{
    bool stopped = world->snapshots[step->snapshot].fact.place == PLACE_STOPPED;
    for (unsigned i = 0; i < step->forks && step->forks > 1; i++) {
        if (stopped && step->goals[i] == PLACE_STANDBY)
            step->goals[i] = PLACE_RUNNING;
    }
}

static void pick_storm(struct world *world, struct step *step)
{
    static const enum step_kind rivals[] = {STEP_STANDBY, STEP_RESTORE, STEP_STOP, STEP_START,
                                            STEP_DELETE,  STEP_FILL,    STEP_TAG};
    step->then = rivals[random_next(world, ARRAY_SIZE(rivals))];
    step->from_running = true;
    for (unsigned i = 0; i < step->forks; i++) {
        if (step->goals[i] == PLACE_ABSENT)
            step->goals[i] = PLACE_RUNNING;
    }
}

static void pick_kill(struct world *world, struct step *step)
{
    static const enum step_kind next[] = {STEP_KILL,  STEP_STANDBY, STEP_RESTORE, STEP_STOP,
                                          STEP_START, STEP_DELETE,  STEP_TAG};
    step->then = next[random_next(world, ARRAY_SIZE(next))];
    step->closed = random_percent(world, 30);
    step->race = !step->closed && random_percent(world, 50);
}

/* Mostly to the instance that the snapshot is of. */
static void pick_owner(struct world *world, struct step *step)
{
    for (unsigned i = 0; i < SPACE_INSTANCES && random_percent(world, 95); i++) {
        if (world->instances[i].fact.place != PLACE_ABSENT &&
            strcmp(world->instances[i].id, world->snapshots[step->snapshot].source_id) == 0)
            step->instance = i;
    }
}

static struct step candidate(struct world *world)
{
    struct step step = {.kind = pick_kind(world)};
    step.then = step.kind;
    step.instance = pick_present(world, world->instances, SPACE_INSTANCES);
    step.snapshot = pick_present(world, world->snapshots, SPACE_SNAPSHOTS);
    step.from_running = random_percent(world, 80);
    step.diskless = random_percent(world, 25);
    step.token = (world->seed & 0xffffffffu) << 16 | ++world->fills;
    if (step.kind == STEP_CREATE || random_percent(world, 3))
        step.instance = (unsigned)random_next(world, SPACE_INSTANCES);
    pick_forks(world, &step);
    if (step.kind == STEP_STORM)
        pick_storm(world, &step);
    else if (step.kind == STEP_KILL)
        pick_kill(world, &step);
    else if (step.kind == STEP_SNAPSHOT_FORK)
        agree_on_goals(world, &step);
    else if (step.kind == STEP_SNAPSHOT_RESTORE)
        pick_owner(world, &step);
    else if (step.kind == STEP_SNAPSHOT_CREATE) {
        step.snapshot = (unsigned)random_next(world, SPACE_SNAPSHOTS);
        step.goals[0] = random_percent(world, 50) ? PLACE_STANDBY : PLACE_STOPPED;
    }
    step.pack = world->packed && step.kind == STEP_STANDBY &&
                world->instances[step.instance].fact.place == PLACE_RUNNING &&
                random_percent(world, PACK_PERCENT);
    return step;
}

/* What the step needs to be one at all. */
static bool makes_sense(const struct world *world, const struct step *step)
{
    const struct thing *instance = &world->instances[step->instance];
    bool free_slot = world->instances[step->slots[0]].fact.place == PLACE_ABSENT;
    if (step->kind == STEP_KILL)
        return instance->fact.place == PLACE_RUNNING;
    if (step->kind == STEP_STORM)
        return instance->fact.place != PLACE_ABSENT && free_slot;
    if (step->kind == STEP_SNAPSHOT_CREATE)
        return world->snapshots[step->snapshot].fact.place == PLACE_ABSENT;
    return true;
}

static void pick_failpoint(struct world *world, struct step *step)
{
    static const char *const errors[] = {"EIO", "ENOSPC"};
    static const char *const link_errors[] = {"EIO", "ENOSPC", "EXDEV", "EMLINK"};
    const char *points = kinds[step->kind].failpoints;
    unsigned count = 0;
    if (world->packed && *points && random_percent(world, PAGING_PERCENT))
        points = PAGING;
    for (const char *p = points; *p; p++)
        count += *p == ' ';
    if (count == 0 || world->trouble == TROUBLE_NONE || !random_percent(world, TROUBLE_PERCENT))
        return;
    if (world->trouble == TROUBLE_CRASH && random_percent(world, KILL_PERCENT)) {
        step->kill_us = 1 + (unsigned)random_next(world, KILL_US);
        return;
    }
    for (uint64_t skip = random_next(world, count); skip > 0; skip--)
        points = strchr(points, ' ') + 1;
    int length = (int)strcspn(points, " ");
    bool link = strncmp(points, "stack-share-link", (size_t)length) == 0;
    const char *error = link ? link_errors[random_next(world, 4)] : errors[random_next(world, 2)];
    bool crash = world->trouble == TROUBLE_CRASH;
    snprintf(step->failpoint, sizeof(step->failpoint), "%.*s%s%s", length, points, crash ? "" : "=",
             crash ? "" : error);
}

struct step step_generate(struct world *world)
{
    for (unsigned i = 0; i < TRIES; i++) {
        struct step step = candidate(world);
        if (!makes_sense(world, &step))
            continue;
        if (step_legal(world, &step) < 0) {
            pick_failpoint(world, &step);
            return step;
        }
        if (random_percent(world, ILLEGAL_PERCENT))
            return step;
    }
    return (struct step){.kind = STEP_REOPEN};
}

void step_describe(const struct world *world, const struct step *step, char *text, size_t size)
{
    static const char goals[] = "-TBR";
    int used = snprintf(text, size, "%s i-%u", kinds[step->kind].name, step->instance);
    if (strncmp(kinds[step->kind].name, "snapshot", 8) == 0)
        used += snprintf(text + used, size - (size_t)used, " s-%u", step->snapshot);
    bool forks =
        step->kind == STEP_FORK || step->kind == STEP_SNAPSHOT_FORK || step->kind == STEP_STORM;
    for (unsigned i = 0; forks && i < step->forks; i++)
        used += snprintf(text + used, size - (size_t)used, " ->i-%u:%c", step->slots[i],
                         goals[step->goals[i]]);
    if (step->kind == STEP_SNAPSHOT_CREATE || step->kind == STEP_SNAPSHOT_RESTORE)
        used += snprintf(text + used, size - (size_t)used, " %c", goals[step->goals[0]]);
    if (step->kind == STEP_FORK && step->from_running)
        used += snprintf(text + used, size - (size_t)used, " from-running");
    if (step->pack)
        used += snprintf(text + used, size - (size_t)used, " compressed");
    if (step->then != step->kind)
        used += snprintf(text + used, size - (size_t)used, "%s %s",
                         step->closed ? " closed"
                         : step->race ? " racing"
                                      : "",
                         kinds[step->then].name);
    if (step->failpoint[0])
        snprintf(text + used, size - (size_t)used, " at %s", step->failpoint);
    if (step->kill_us > 0)
        snprintf(text + used, size - (size_t)used, " killed after %u us", step->kill_us);
}

const char *step_kind_name(enum step_kind kind)
{
    return kinds[kind].name;
}
