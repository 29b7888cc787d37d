/* SPDX-License-Identifier: Apache-2.0 */
#include "crowd.h"

#include <stdio.h>

#include "base/clock.h"
#include "instance/host.h"

int actor_fork(struct actor *actor, struct error *err)
{
    const struct instance_fork_request request = {.name = actor->name,
                                                  .from_running = actor->from_running,
                                                  .has_target = actor->target != INSTANCE_CREATED,
                                                  .target = actor->target};
    return instance_fork(actor->fixture->host, actor->source, &request, &actor->record, err);
}

int actor_snapshot(struct actor *actor, struct error *err)
{
    const struct snapshot_create_request request = {.kind = INSTANCE_STANDBY, .name = actor->name};
    return snapshot_create(actor->fixture->host, actor->source, &request, &actor->snapshot, err);
}

int actor_fork_snapshot(struct actor *actor, struct error *err)
{
    const struct snapshot_target target = {.has_state = actor->target != INSTANCE_CREATED,
                                           .state = actor->target};
    return snapshot_fork(actor->fixture->host, actor->source, actor->name, &target, &actor->record,
                         err);
}

static void *act(void *context)
{
    struct actor *actor = context;
    actor->result = actor->run(actor, &actor->err);
    return NULL;
}

void actor_start(struct actor *actor)
{
    assert_int_equal(pthread_create(&actor->thread, NULL, act, actor), 0);
}

int actor_join(struct actor *actor)
{
    pthread_join(actor->thread, NULL);
    return actor->result;
}

void crowd_fill(struct actor *actors, int count, const struct actor *example)
{
    for (int i = 0; i < count; i++) {
        actors[i] = *example;
        snprintf(actors[i].name, sizeof(actors[i].name), "fork-%d", i);
    }
}

void crowd_start(struct actor *actors, int count)
{
    for (int i = 0; i < count; i++)
        actor_start(&actors[i]);
}

void crowd_start_together(struct actor *actors, int count, const struct instance_record *source)
{
    struct lock_table *locks = actors->fixture->host->locks;
    struct lock_hold hold;
    assert_int_equal(lock_take(locks, source->id, LOCK_EXCLUSIVE, &hold, NULL), 0);
    crowd_start(actors, count);
    while (lock_users(locks, source->id) < (unsigned)count + 1)
        time_sleep_ms(1);
    lock_release(&hold);
}

void crowd_join(struct actor *actors, int count)
{
    for (int i = 0; i < count; i++)
        assert_ok(actor_join(&actors[i]), &actors[i].err);
}

static struct hypervisor real;
static pthread_barrier_t all_here;

static int restore_together(const struct hypervisor *self, const struct vm_spec *spec,
                            const struct vm_restore *how, struct vm_process *process,
                            struct error *err)
{
    pthread_barrier_wait(&all_here);
    return real.restore(self, spec, how, process, err);
}

void crowd_meet(struct fixture *fixture, unsigned count)
{
    struct error err = {0};
    fixture_close(fixture);
    real = hypervisor_builtin(fixture->vmm);
    struct hypervisor together = real;
    together.restore = restore_together;
    const struct host_options options = {.data_dir = fixture->data, .hypervisor = &together};
    fixture->host = host_open(&options, &err);
    assert_ok(fixture->host ? 0 : -1, &err);
    assert_int_equal(pthread_barrier_init(&all_here, NULL, count), 0);
}

void crowd_part(void)
{
    pthread_barrier_destroy(&all_here);
}
