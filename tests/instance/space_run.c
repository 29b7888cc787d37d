/* SPDX-License-Identifier: Apache-2.0 */
#include "space.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"

#define DEATH_MS 20000

/* One of the operations of a step. */
struct job {
    const struct world *world;
    const struct step *step;
    unsigned index;
    int result;
    struct error err;
    pthread_t thread;
};

static enum instance_state state_of(enum place place)
{
    return place == PLACE_STOPPED   ? INSTANCE_STOPPED
           : place == PLACE_STANDBY ? INSTANCE_STANDBY
                                    : INSTANCE_RUNNING;
}

static struct host *host_of(const struct job *job)
{
    return job->world->fixture->host;
}

static const char *instance_of(const struct job *job)
{
    return job->world->instances[job->step->instance].name;
}

/* A slot that never had a snapshot has no id. */
static const char *snapshot_of(const struct job *job)
{
    const char *id = job->world->snapshots[job->step->snapshot].id;
    return *id ? id : "none";
}

static const char *fork_of(const struct job *job)
{
    return job->world->instances[job->step->slots[job->index]].name;
}

static int run_create(struct job *job)
{
    struct instance_create_request request = fixture_request(job->world->fixture, instance_of(job));
    if (job->step->diskless)
        request.disk_count = 0;
    return instance_create(host_of(job), &request, NULL, &job->err);
}

static int run_fork(struct job *job)
{
    enum place goal = job->step->goals[job->index];
    const struct instance_fork_request request = {.name = fork_of(job),
                                                  .from_running = job->step->from_running,
                                                  .has_target = goal != PLACE_ABSENT,
                                                  .target = state_of(goal)};
    return instance_fork(host_of(job), instance_of(job), &request, NULL, &job->err);
}

static struct snapshot_target target_of(enum place goal)
{
    return (struct snapshot_target){.has_state = goal != PLACE_ABSENT, .state = state_of(goal)};
}

static int run_snapshot_create(struct job *job)
{
    const struct snapshot_create_request request = {
        .kind = state_of(job->step->goals[0]),
        .name = job->world->snapshots[job->step->snapshot].name};
    return snapshot_create(host_of(job), instance_of(job), &request, NULL, &job->err);
}

static int run_snapshot_fork(struct job *job)
{
    const struct snapshot_target target = target_of(job->step->goals[job->index]);
    return snapshot_fork(host_of(job), snapshot_of(job), fork_of(job), &target, NULL, &job->err);
}

static int run_snapshot_restore(struct job *job)
{
    const struct snapshot_target target = target_of(job->step->goals[0]);
    return snapshot_restore(host_of(job), instance_of(job), snapshot_of(job), &target, NULL,
                            &job->err);
}

static int run_warm(struct job *job)
{
    const struct step *step = job->step;
    return warm_wish(host_of(job), step->of_snapshot ? snapshot_of(job) : instance_of(job),
                     step->of_snapshot, step->ready, &job->err);
}

static int retag(struct host *host, const char *name, const char *tags, struct error *err)
{
    const struct instance_changes changes = {.tags = tags};
    return instance_update(host, name, &changes, NULL, err);
}

static int run_standby(struct job *job)
{
    static const struct stack_compression how = {STACK_ZSTD, 1};
    const struct standby_options options = {.has_compression = true, .compression = &how};
    if (!job->step->pack)
        return instance_standby(host_of(job), instance_of(job), NULL, &job->err);
    return instance_standby_with(host_of(job), instance_of(job), &options, NULL, &job->err);
}

static int run_simple(struct job *job, enum step_kind kind)
{
    struct host *host = host_of(job);
    const char *name = instance_of(job);
    switch (kind) {
    case STEP_STANDBY:
        return run_standby(job);
    case STEP_RESTORE:
        return instance_restore(host, name, NULL, &job->err);
    case STEP_STOP:
        return instance_stop(host, name, 0, NULL, &job->err);
    case STEP_START:
        return instance_start(host, name, NULL, &job->err);
    case STEP_DELETE:
        return instance_delete(host, name, &job->err);
    case STEP_FILL:
        return guest_pattern(host, name, "fill", job->step->token, 0, &job->err);
    case STEP_TAG:
        return retag(host, name, tags_of(job->step->token).text, &job->err);
    default:
        return 0;
    }
}

static int run_one(struct job *job)
{
    const struct step *step = job->step;
    switch (step->kind) {
    case STEP_CREATE:
        return run_create(job);
    case STEP_FORK:
        return run_fork(job);
    case STEP_SNAPSHOT_CREATE:
        return run_snapshot_create(job);
    case STEP_SNAPSHOT_FORK:
        return run_snapshot_fork(job);
    case STEP_SNAPSHOT_DELETE:
        return snapshot_delete(host_of(job), snapshot_of(job), &job->err);
    case STEP_SNAPSHOT_RESTORE:
        return run_snapshot_restore(job);
    case STEP_WARM:
        return run_warm(job);
    case STEP_STORM:
        return job->index < step->forks ? run_fork(job) : run_simple(job, step->then);
    default:
        return run_simple(job, step->then);
    }
}

static void *run_thread(void *context)
{
    struct job *job = context;
    job->result = run_one(job);
    return NULL;
}

static void run_all(const struct world *world, const struct step *step, struct job *jobs)
{
    unsigned count = step_results(step);
    for (unsigned i = 0; i < count; i++)
        jobs[i] = (struct job){.world = world, .step = step, .index = i};
    if (count == 1) {
        run_thread(&jobs[0]);
        return;
    }
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_create(&jobs[i].thread, NULL, run_thread, &jobs[i]), 0);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(pthread_join(jobs[i].thread, NULL), 0);
}

static void run_here(struct world *world, const struct step *step, struct ends *ends)
{
    struct job jobs[SPACE_FORKS + 1];
    if (step->failpoint[0])
        setenv("TINE_FAILPOINT", step->failpoint, 1);
    run_all(world, step, jobs);
    setenv("TINE_FAILPOINT", "", 1);
    for (unsigned i = 0; i < step_results(step); i++) {
        ends->list[i] = jobs[i].result < 0 ? ENDED_FAILED : ENDED_WELL;
        ends->errors[i] = jobs[i].err;
    }
}

/* A tined of its own, whose end is the failpoint, or its parent's doing. If that does not come, the
 * exit status tells which operations failed. It closes `begun` when it is going to begin. */
static void child_main(struct world *world, const struct step *step, int begun)
{
    struct job jobs[SPACE_FORKS + 1];
    struct fixture *fixture = world->fixture;
    struct error err = {0};
    int status = 0;
    fixture->host = fixture_host(fixture, &err);
    if (!fixture->host) {
        fprintf(stderr, "tined does not start: %s\n", err.message);
        _exit(100);
    }
    if (!warm_settle(world)) {
        fprintf(stderr, "what is kept ready does not settle\n");
        _exit(100);
    }
    if (step->kill_warm)
        warm_kill(world);
    if (step->failpoint[0])
        setenv("TINE_FAILPOINT", step->failpoint, 1);
    close(begun);
    run_all(world, step, jobs);
    for (unsigned i = 0; i < step_results(step); i++)
        status |= jobs[i].result < 0 ? 1 << i : 0;
    _exit(status);
}

static void kill_later(pid_t pid, int begun, unsigned us)
{
    char byte;
    assert_int_equal(read(begun, &byte, 1), 0);
    usleep(us);
    assert_int_equal(kill(pid, SIGKILL), 0); /* a zombie, if it has ended */
}

static void run_in_child(struct world *world, const struct step *step, struct ends *ends)
{
    int status = 0, ends_of_pipe[2];
    fixture_close(world->fixture);
    fflush(NULL);
    assert_int_equal(pipe2(ends_of_pipe, O_CLOEXEC), 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(ends_of_pipe[0]);
        child_main(world, step, ends_of_pipe[1]);
    }
    close(ends_of_pipe[1]);
    if (step->kill_us > 0)
        kill_later(pid, ends_of_pipe[0], step->kill_us);
    close(ends_of_pipe[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    bool killed = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    if (!killed && (!WIFEXITED(status) || WEXITSTATUS(status) >= 100))
        fail_msg("the tined of its own ended with status %#x", status);
    /* VMMs that it ended are children of this process, which has no descriptor of them. */
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    world->fixture->orphans = true;
    fixture_open(world->fixture);
    for (unsigned i = 0; i < step_results(step); i++)
        ends->list[i] = killed                          ? ENDED_CRASHED
                        : WEXITSTATUS(status) >> i & 1u ? ENDED_FAILED
                                                        : ENDED_WELL;
}

/* Dead, but the watcher may not know yet. */
static void kill_vmm(struct world *world, const struct step *step)
{
    pid_t pid = fixture_get(world->fixture, world->instances[step->instance].name).vmm_pid;
    if (step->closed)
        fixture_close(world->fixture);
    _cleanup_(close) int pidfd = pidfd_open(pid, 0);
    assert_true(pidfd >= 0);
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    assert_int_equal(pidfd_send_signal(pidfd, SIGKILL, NULL, 0), 0);
    if (step->race)
        return;
    assert_int_equal(poll(&end, 1, DEATH_MS), 1);
    if (!step->closed)
        return;
    assert_int_equal(waitpid(pid, NULL, 0), pid); /* nobody else waits for it */
    fixture_open(world->fixture);
}

/* How many compactions have ended, whatever came of it; `*done`: how many images were changed. */
static unsigned compactions(struct world *world, unsigned *done)
{
    size_t length = 0;
    struct error err = {0};
    _cleanup_(free) char *text = host_metrics(world->fixture->host, &length, &err);
    unsigned sum = 0;
    assert_non_null(text);
    *done = 0;
    for (const char *at = text; (at = strstr(at, "\ntine_compactions_total{")); at++) {
        assert_null(memmem(at, strcspn(at + 1, "\n") + 1, "error", 5));
        unsigned value = (unsigned)strtoul(strchr(at, '}') + 1, NULL, 10);
        sum += value;
        if (memmem(at, strcspn(at + 1, "\n") + 1, "ed\"", 3) &&
            !memmem(at, strcspn(at + 1, "\n") + 1, "\"unneeded", 9))
            *done += value;
    }
    return sum;
}

/* Of this host's life. */
static unsigned taken(struct world *world)
{
    size_t length = 0;
    struct error err = {0};
    _cleanup_(free) char *text = host_metrics(world->fixture->host, &length, &err);
    assert_non_null(text);
    const char *at = strstr(text, "\ntine_warm_taken_total ");
    return at ? (unsigned)strtoul(strchr(at, ' '), NULL, 10) : 0;
}

/* Of every instance that sleeps in layers it is looked whether fewer would do. */
static void compact(struct world *world)
{
    size_t count = 0;
    unsigned wanted = 0, done = 0;
    struct error err = {0};
    struct instance_record *records = NULL;
    assert_ok(instance_list(world->fixture->host, &records, &count, &err), &err);
    for (size_t i = 0; i < count; i++)
        wanted += records[i].state == INSTANCE_STANDBY && records[i].memory_layers > 0;
    free(records);
    world->fixture->compaction.on = true;
    fixture_reopen(world->fixture);
    for (unsigned waited = 0; compactions(world, &done) < wanted; waited++) {
        assert_true(waited < 4000);
        usleep(5000);
    }
    world->counts.compacted += done;
    world->fixture->compaction.on = false;
    fixture_reopen(world->fixture);
}

void step_run(struct world *world, const struct step *step, struct ends *ends)
{
    *ends = (struct ends){.list = {ENDED_WELL}};
    const unsigned before = taken(world);
    if (step->kind == STEP_REOPEN && world->layers)
        compact(world);
    else if (step->kind == STEP_REOPEN)
        fixture_reopen(world->fixture);
    else if (step->kill_us > 0 || (step->failpoint[0] && !strchr(step->failpoint, '=')))
        run_in_child(world, step, ends);
    else {
        if (step->kind == STEP_KILL)
            kill_vmm(world, step);
        if (step->kill_warm)
            warm_kill(world);
        run_here(world, step, ends);
    }
    if (!warm_settle(world))
        fail_msg("what is kept warm does not come to rest");
    const unsigned after = taken(world);
    world->counts.taken += after > before ? after - before : 0;
}
