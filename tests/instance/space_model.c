/* SPDX-License-Identifier: Apache-2.0 */
/* The model. It is written from the documented promises, not from the code. */
#include "space.h"

#include <stdio.h>
#include <string.h>

#define BIT(place) (1u << PLACE_##place)

static void allow(struct thing *thing, struct fact fact)
{
    if (thing->diskless)
        fact.disk = 0;
    if (fact.place == PLACE_STOPPED || fact.place == PLACE_ABSENT)
        fact.memory = 0;
    if (fact.place == PLACE_ABSENT)
        fact.disk = fact.tag = 0;
    assert_true(thing->allowed_count < SPACE_ALLOWED);
    thing->allowed[thing->allowed_count++] = fact;
}

static void allow_place(struct thing *thing, struct fact fact, enum place place)
{
    fact.place = place;
    allow(thing, fact);
}

static const struct fact absent = {.place = PLACE_ABSENT};

/* Operations on one instance alone, by where it is. */
static const struct {
    unsigned allowed, nothing_to_do;
    enum place after;
} simple[STEP_KINDS] = {
    [STEP_STANDBY] = {BIT(RUNNING), BIT(STANDBY), PLACE_STANDBY},
    [STEP_RESTORE] = {BIT(STANDBY), BIT(RUNNING), PLACE_RUNNING},
    [STEP_STOP] = {BIT(RUNNING), BIT(STOPPED), PLACE_STOPPED},
    [STEP_START] = {BIT(STOPPED), BIT(RUNNING), PLACE_RUNNING},
    [STEP_DELETE] = {BIT(STOPPED) | BIT(STANDBY) | BIT(RUNNING), 0, PLACE_ABSENT},
    [STEP_FILL] = {BIT(RUNNING), 0, PLACE_RUNNING},
};

struct tags tags_of(uint64_t tag)
{
    struct tags tags = {.text = ""};
    if (tag != 0)
        snprintf(tags.text, sizeof(tags.text), "{\"t\":\"%llu\"}", (unsigned long long)tag);
    return tags;
}

static int legal_simple(enum step_kind kind, enum place place)
{
    if (place == PLACE_ABSENT)
        return ERROR_NOT_FOUND;
    if (kind == STEP_TAG)
        return STEP_LEGAL;
    return ((simple[kind].allowed | simple[kind].nothing_to_do) >> place & 1u) ? STEP_LEGAL
                                                                               : ERROR_STATE;
}

static int legal_fork(const struct world *world, const struct step *step)
{
    enum place source = world->instances[step->instance].fact.place;
    if (source == PLACE_ABSENT)
        return ERROR_NOT_FOUND;
    if (source == PLACE_RUNNING && !step->from_running)
        return ERROR_STATE;
    return world->instances[step->slots[0]].fact.place == PLACE_ABSENT ? STEP_LEGAL : ERROR_NAME;
}

static int legal_capture(const struct world *world, const struct step *step)
{
    enum place source = world->instances[step->instance].fact.place;
    if (source == PLACE_ABSENT)
        return ERROR_NOT_FOUND;
    return (source == PLACE_STOPPED) == (step->goals[0] == PLACE_STOPPED) ? STEP_LEGAL
                                                                          : ERROR_STATE;
}

static int legal_goal(const struct thing *snapshot, enum place goal)
{
    if (snapshot->fact.place == PLACE_ABSENT)
        return ERROR_NOT_FOUND;
    return snapshot->fact.place == PLACE_STOPPED && goal == PLACE_STANDBY ? ERROR_INVALID
                                                                          : STEP_LEGAL;
}

static int legal_snapshot_fork(const struct world *world, const struct step *step)
{
    int r = STEP_LEGAL;
    for (unsigned i = 0; i < step->forks && r == STEP_LEGAL; i++)
        r = legal_goal(&world->snapshots[step->snapshot], step->goals[i]);
    if (r == STEP_LEGAL && world->instances[step->slots[0]].fact.place != PLACE_ABSENT)
        return ERROR_NAME;
    return r;
}

static int legal_snapshot_restore(const struct world *world, const struct step *step)
{
    const struct thing *instance = &world->instances[step->instance];
    const struct thing *snapshot = &world->snapshots[step->snapshot];
    if (instance->fact.place == PLACE_ABSENT || snapshot->fact.place == PLACE_ABSENT)
        return ERROR_NOT_FOUND;
    if (strcmp(instance->id, snapshot->source_id) != 0)
        return ERROR_INVALID;
    int r = legal_goal(snapshot, step->goals[0]);
    return r == STEP_LEGAL && instance->fact.place == PLACE_RUNNING ? ERROR_STATE : r;
}

int step_legal(const struct world *world, const struct step *step)
{
    const struct thing *instance = &world->instances[step->instance];
    switch (step->kind) {
    case STEP_CREATE:
        return instance->fact.place == PLACE_ABSENT ? STEP_LEGAL : ERROR_NAME;
    case STEP_FORK:
        return legal_fork(world, step);
    case STEP_SNAPSHOT_CREATE:
        return legal_capture(world, step);
    case STEP_SNAPSHOT_FORK:
        return legal_snapshot_fork(world, step);
    case STEP_SNAPSHOT_DELETE:
        return world->snapshots[step->snapshot].fact.place == PLACE_ABSENT ? ERROR_NOT_FOUND
                                                                           : STEP_LEGAL;
    case STEP_SNAPSHOT_RESTORE:
        return legal_snapshot_restore(world, step);
    case STEP_KILL: /* it is Stopped by then */
        return step->race                ? STEP_ANY
               : step->then == STEP_KILL ? STEP_LEGAL
                                         : legal_simple(step->then, PLACE_STOPPED);
    case STEP_STORM:
        return STEP_ANY;
    case STEP_REOPEN:
        return STEP_LEGAL;
    default:
        return legal_simple(step->kind, instance->fact.place);
    }
}

unsigned step_results(const struct step *step)
{
    bool forks = step->kind == STEP_FORK || step->kind == STEP_SNAPSHOT_FORK;
    return step->kind == STEP_STORM ? step->forks + 1 : forks ? step->forks : 1;
}

static struct fact after_simple(enum step_kind kind, struct fact fact, uint64_t token)
{
    if (kind == STEP_TAG && fact.place != PLACE_ABSENT)
        fact.tag = token;
    if (!(simple[kind].allowed >> fact.place & 1u))
        return fact;
    if (kind == STEP_FILL)
        fact.memory = fact.disk = token;
    if (kind == STEP_START)
        fact.memory = 0;
    fact.place = simple[kind].after;
    return fact;
}

/* A stop or delete that fails may have ended the guest already; a guest that woke may not be able
 * to go back. */
static void predict_simple(struct thing *thing, enum step_kind kind, struct fact before,
                           uint64_t token, enum ending ending)
{
    const struct fact after = after_simple(kind, before, token);
    if (ending != ENDED_FAILED)
        allow(thing, after);
    if (ending == ENDED_WELL)
        return;
    allow(thing, before);
    bool ended = kind == STEP_STOP || kind == STEP_DELETE;
    if (ended && before.place == PLACE_RUNNING)
        allow_place(thing, before, PLACE_STOPPED);
    if (kind == STEP_RESTORE || kind == STEP_FILL)
        allow(thing, after);
}

/* What is made of a source, an instance or a snapshot. On its way to standby it runs where it has
 * to boot, or never slept because its source did not. */
static void predict_made(struct thing *made, const struct thing *source, struct fact from,
                         enum place goal, enum ending ending)
{
    made->diskless = source->diskless;
    bool memory = from.place != PLACE_STOPPED && goal != PLACE_STOPPED;
    struct fact reached = {goal, memory ? from.memory : 0, from.disk, from.tag};
    if (ending != ENDED_WELL)
        allow(made, absent);
    if (ending != ENDED_FAILED)
        allow(made, reached);
    if (ending != ENDED_CRASHED)
        return;
    allow_place(made, reached, memory ? PLACE_STANDBY : PLACE_STOPPED);
    if (goal == PLACE_STANDBY && (!memory || from.place == PLACE_RUNNING))
        allow_place(made, reached, PLACE_RUNNING);
}

/* True if a Running source that had to sleep for others may not have been woken again. */
static bool may_sleep_on(const struct thing *source, const struct step *step, enum ending ending)
{
    bool wake_failed = strncmp(step->failpoint, "restore-", 8) == 0;
    return source->fact.place == PLACE_RUNNING &&
           (ending == ENDED_CRASHED || (ending == ENDED_FAILED && wake_failed));
}

static void predict_napper(struct thing *source, const struct step *step, enum ending ending)
{
    allow(source, source->fact);
    if (may_sleep_on(source, step, ending))
        allow_place(source, source->fact, PLACE_STANDBY);
}

static void predict_forks(struct world *world, const struct step *step, const struct ends *ends)
{
    struct thing *source = &world->instances[step->instance];
    enum ending worst = ENDED_WELL;
    for (unsigned i = 0; i < step->forks; i++)
        worst = ends->list[i] > worst ? ends->list[i] : worst;
    for (unsigned i = 0; i < step->forks; i++) {
        struct thing *made = &world->instances[step->slots[i]];
        enum place goal = step->goals[i] ? step->goals[i] : source->fact.place;
        predict_made(made, source, source->fact, goal, ends->list[i]);
        if (!step->goals[i] && ends->list[i] == ENDED_WELL && may_sleep_on(source, step, worst))
            predict_made(made, source, source->fact, PLACE_STANDBY, ENDED_WELL);
    }
    predict_napper(source, step, worst);
}

static void predict_capture(struct world *world, const struct step *step, enum ending ending)
{
    struct thing *source = &world->instances[step->instance];
    struct thing *snapshot = &world->snapshots[step->snapshot];
    snapshot->diskless = source->diskless;
    memcpy(snapshot->source_id, source->id, sizeof(snapshot->source_id));
    if (ending != ENDED_FAILED)
        allow_place(snapshot, source->fact, step->goals[0]);
    if (ending != ENDED_WELL)
        allow(snapshot, absent);
    predict_napper(source, step, ending);
}

static enum place snapshot_goal(const struct thing *snapshot, enum place goal)
{
    return goal ? goal : snapshot->fact.place == PLACE_STANDBY ? PLACE_RUNNING : PLACE_STOPPED;
}

static void predict_snapshot_forks(struct world *world, const struct step *step,
                                   const struct ends *ends)
{
    struct thing *snapshot = &world->snapshots[step->snapshot];
    for (unsigned i = 0; i < step->forks; i++)
        predict_made(&world->instances[step->slots[i]], snapshot, snapshot->fact,
                     snapshot_goal(snapshot, step->goals[i]), ends->list[i]);
}

static void predict_snapshot_restore(struct world *world, const struct step *step,
                                     enum ending ending)
{
    struct thing *instance = &world->instances[step->instance];
    struct thing *snapshot = &world->snapshots[step->snapshot];
    if (ending != ENDED_WELL)
        allow(instance, instance->fact);
    if (ending == ENDED_FAILED)
        return;
    struct fact from = snapshot->fact;
    from.tag = instance->fact.tag; /* its own, as its name */
    predict_made(instance, snapshot, from, snapshot_goal(snapshot, step->goals[0]), ending);
    for (unsigned i = 0; i < instance->allowed_count; i++) {
        if (instance->allowed[i].place == PLACE_ABSENT) /* it is never gone */
            instance->allowed[i] = instance->fact;
    }
}

static void predict_kill(struct world *world, const struct step *step, enum ending ending)
{
    struct thing *thing = &world->instances[step->instance];
    struct fact dead = thing->fact;
    dead.place = PLACE_STOPPED;
    dead.memory = 0;
    if (step->then == STEP_KILL || step->race)
        allow(thing, dead);
    if (step->then != STEP_KILL)
        predict_simple(thing, step->then, dead, step->token, ending);
}

/* Each fork may have come before or after the other operation, but never in between. */
static void predict_storm(struct world *world, const struct step *step, const struct ends *ends)
{
    struct thing *source = &world->instances[step->instance];
    const struct fact before = source->fact;
    const struct fact after = after_simple(step->then, before, step->token);
    predict_simple(source, step->then, before, step->token, ends->list[step->forks]);
    for (unsigned i = 0; i < step->forks; i++) {
        struct thing *fork = &world->instances[step->slots[i]];
        predict_made(fork, source, before, step->goals[i], ends->list[i]);
        if (ends->list[i] == ENDED_WELL && after.place != PLACE_ABSENT)
            predict_made(fork, source, after, step->goals[i], ends->list[i]);
    }
}

static void allow_rest(struct thing *things, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        if (things[i].allowed_count == 0)
            allow(&things[i], things[i].fact);
    }
}

static void predict_legal(struct world *world, const struct step *step, const struct ends *ends)
{
    struct thing *instance = &world->instances[step->instance];
    struct thing *snapshot = &world->snapshots[step->snapshot];
    enum ending ending = ends->list[0];
    switch (step->kind) {
    case STEP_CREATE:
        instance->diskless = step->diskless;
        if (ending != ENDED_WELL)
            allow(instance, absent);
        if (ending != ENDED_FAILED)
            allow_place(instance, absent, PLACE_RUNNING);
        break;
    case STEP_FORK:
        predict_forks(world, step, ends);
        break;
    case STEP_SNAPSHOT_CREATE:
        predict_capture(world, step, ending);
        break;
    case STEP_SNAPSHOT_FORK:
        predict_snapshot_forks(world, step, ends);
        break;
    case STEP_SNAPSHOT_DELETE:
        if (ending != ENDED_WELL)
            allow(snapshot, snapshot->fact);
        if (ending != ENDED_FAILED)
            allow(snapshot, absent);
        break;
    case STEP_SNAPSHOT_RESTORE:
        predict_snapshot_restore(world, step, ending);
        break;
    case STEP_KILL:
        predict_kill(world, step, ending);
        break;
    case STEP_STORM:
        predict_storm(world, step, ends);
        break;
    case STEP_REOPEN:
        break;
    default:
        predict_simple(instance, step->kind, instance->fact, step->token, ending);
        break;
    }
}

void step_predict(struct world *world, const struct step *step, const struct ends *ends)
{
    for (unsigned i = 0; i < SPACE_INSTANCES; i++)
        world->instances[i].allowed_count = 0;
    for (unsigned i = 0; i < SPACE_SNAPSHOTS; i++)
        world->snapshots[i].allowed_count = 0;
    bool killed = step->kind == STEP_KILL;
    if (step_legal(world, step) < 0 || killed)
        predict_legal(world, step, ends);
    allow_rest(world->instances, SPACE_INSTANCES);
    allow_rest(world->snapshots, SPACE_SNAPSHOTS);
}

void world_begin(struct world *world, uint64_t seed)
{
    world->seed = world->random = seed;
    world->fills = 0;
    world->trouble = (enum trouble)(seed % TROUBLE_KINDS);
    memset(world->instances, 0, sizeof(world->instances));
    memset(world->snapshots, 0, sizeof(world->snapshots));
    /* With a hyphen, so that no name is the beginning of an id. */
    for (unsigned i = 0; i < SPACE_INSTANCES; i++)
        snprintf(world->instances[i].name, sizeof(world->instances[i].name), "i-%u", i);
    for (unsigned i = 0; i < SPACE_SNAPSHOTS; i++)
        snprintf(world->snapshots[i].name, sizeof(world->snapshots[i].name), "s-%u", i);
}
