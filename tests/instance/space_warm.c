/* SPDX-License-Identifier: Apache-2.0 */
/* What is kept warm, beside the steps: it follows them by itself, and is waited for. */
#include "processes.h"
#include "space.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "instance/warm.h"

#define SETTLE_MS 30000

static struct thing *thing_with(struct thing *things, unsigned count, const char *id)
{
    for (unsigned i = 0; i < count; i++) {
        if (things[i].fact.place != PLACE_ABSENT && strcmp(things[i].id, id) == 0)
            return &things[i];
    }
    return NULL;
}

/* How many directories under temporary names there must be, -1 if something is still to come. */
static int expected(const struct warm_entry *entries, size_t count)
{
    int sum = 0;
    for (size_t i = 0; i < count; i++) {
        const struct warm_status *status = &entries[i].status;
        if (strcmp(status->state, WARM_READY) == 0)
            sum += (int)status->ready + 1; /* and the template's */
        else if (strcmp(status->state, WARM_AWAKE) != 0)
            return -1;
    }
    return sum;
}

/* What is under a temporary name in guests/: directories, and processes that see one as their own.
 */
struct found {
    unsigned directories, processes;
};

static void count_one(void *context, pid_t pid)
{
    struct found *found = context;
    found->processes++;
}

/* Processes are only looked for where there should be some: it takes a while. */
static struct found find(const struct world *world, int wanted)
{
    struct found found = {.directories = 0};
    found.directories = temporary_each(world->fixture, wanted > 0 ? count_one : NULL, &found);
    return found;
}

static void await_killed(struct world *world)
{
    while (world->killed_count > 0) {
        struct pollfd end = {.fd = world->killed[--world->killed_count], .events = POLLIN};
        assert_int_equal(poll(&end, 1, SETTLE_MS), 1);
        close(end.fd);
    }
}

static void tell(const struct warm_entry *entries, size_t count, const struct found *found)
{
    for (size_t i = 0; i < count; i++)
        print_error("%s: %u of %u ready, %s: %s\n", entries[i].id, entries[i].status.ready,
                    entries[i].status.wanted, entries[i].status.state, entries[i].status.reason);
    print_error("there are %u directories and %u processes under temporary names\n",
                found->directories, found->processes);
}

bool warm_settle(struct world *world)
{
    const uint64_t deadline = time_monotonic_ns() + SETTLE_MS * 1000000ull;
    await_killed(world);
    for (;;) {
        _cleanup_(free) struct warm_entry *entries = NULL;
        struct error err = {0};
        size_t count = 0;
        if (warm_list(world->fixture->host, &entries, &count, &err) < 0)
            return false;
        const int wanted = expected(entries, count);
        const struct found found = find(world, wanted);
        world->temporaries = found.directories;
        if ((int)found.directories == wanted && (int)found.processes == wanted)
            return true;
        if (time_monotonic_ns() > deadline) {
            tell(entries, count, &found);
            return false;
        }
        time_sleep_ms(2);
    }
}

/* A wish has an owner, and what is ready one that sleeps. */
void warm_check(struct world *world)
{
    _cleanup_(free) struct warm_entry *entries = NULL;
    struct error err = {0};
    size_t count = 0;
    assert_ok(warm_list(world->fixture->host, &entries, &count, &err), &err);
    for (unsigned i = 0; i < SPACE_INSTANCES; i++)
        world->instances[i].warm = false;
    for (unsigned i = 0; i < SPACE_SNAPSHOTS; i++)
        world->snapshots[i].warm = false;
    for (size_t i = 0; i < count; i++) {
        struct thing *owner = entries[i].snapshot
                                  ? thing_with(world->snapshots, SPACE_SNAPSHOTS, entries[i].id)
                                  : thing_with(world->instances, SPACE_INSTANCES, entries[i].id);
        if (!owner)
            fail_msg("%s is kept warm and is not there", entries[i].id);
        bool ready = strcmp(entries[i].status.state, WARM_READY) == 0;
        if (ready != (owner->fact.place == PLACE_STANDBY))
            fail_msg("%s is at place %d, and %s", owner->name, (int)owner->fact.place,
                     entries[i].status.state);
        owner->warm = ready;
    }
}

static void kill_some(void *context, pid_t pid)
{
    struct world *world = context;
    if (!random_percent(world, 70) || world->killed_count == SPACE_KILLED)
        return;
    int fd = pidfd_open(pid, 0);
    if (fd < 0)
        return;
    assert_int_equal(pidfd_send_signal(fd, SIGKILL, NULL, 0), 0);
    world->killed[world->killed_count++] = fd;
}

void warm_kill(struct world *world)
{
    if (world->temporaries > 0)
        temporary_each(world->fixture, kill_some, world);
}

int warm_wish(struct host *host, const char *id, bool snapshot, unsigned ready, struct error *err)
{
    struct warm_status status = {.wanted = 0};
    int r = (snapshot ? snapshot_warm : instance_warm)(host, id, ready, &status, err);
    while (r == 0 && ready > 0 && strcmp(status.state, WARM_WARMING) == 0) {
        _cleanup_(free) struct warm_entry *entries = NULL;
        size_t count = 0;
        time_sleep_ms(1);
        r = warm_list(host, &entries, &count, err);
        for (size_t i = 0; r == 0 && i < count; i++) {
            if (strcmp(entries[i].id, id) == 0 || strcmp(entries[i].name, id) == 0)
                status = entries[i].status;
        }
    }
    return r;
}
