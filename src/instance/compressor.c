/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/compressor.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "base/clock.h"
#include "base/condition.h"
#include "base/log.h"
#include "instance/compressor_job.h"

#define NICEST   19
#define RETRY_NS 20000000u /* an operation holds the owner */
#define FOREVER  UINT64_MAX

struct compressor {
    struct host *host;
    pthread_t thread;
    pthread_mutex_t mutex; /* guards the list, the jobs but for what a running one works on, and
                              what follows; never held while anything else is waited for */
    pthread_cond_t changed;
    struct job *jobs; /* in order of arrival */
    pid_t thread_id;
    bool started, stopping;
};

/* With the mutex held: the link that points to the owner's job of that kind, or to NULL. */
static struct job **find_link(struct compressor *compressor, const char *id, enum job_kind kind)
{
    struct job **link = &compressor->jobs;
    while (*link && (strcmp((*link)->id, id) != 0 || (*link)->kind != kind))
        link = &(*link)->next;
    return link;
}

static void remove_job(struct job **link)
{
    struct job *job = *link;
    *link = job->next;
    free(job);
}

/* With the mutex held: the first job whose time has come, else NULL and when to look again. */
static struct job *next_job(struct compressor *compressor, uint64_t *wake_ns)
{
    uint64_t now = time_monotonic_ns();
    *wake_ns = FOREVER;
    for (struct job *job = compressor->jobs; job; job = job->next) {
        if (job->state != JOB_DUE)
            continue;
        if (job->due_ns <= now)
            return job;
        if (job->due_ns < *wake_ns)
            *wake_ns = job->due_ns;
    }
    return NULL;
}

/* With the mutex held. */
static void wait_until(struct compressor *compressor, uint64_t wake_ns)
{
    if (wake_ns == FOREVER)
        pthread_cond_wait(&compressor->changed, &compressor->mutex);
    else
        condition_wait_until(&compressor->changed, &compressor->mutex, wake_ns);
}

/* -EBUSY: somebody holds the owner; he may be about to cancel this job, and waits for it then. */
static int publish(struct compressor *compressor, struct job *job, struct error *err)
{
    for (;;) {
        int r = job_publish(compressor->host, job, err);
        if (r != -EBUSY)
            return r;
        pthread_mutex_lock(&compressor->mutex);
        bool cancelled = atomic_load(job_cancelled(job));
        if (!cancelled)
            wait_until(compressor, time_monotonic_ns() + RETRY_NS);
        pthread_mutex_unlock(&compressor->mutex);
        if (cancelled)
            return error_set(err, ERROR_STATE, ECANCELED,
                             "the job on the memory of %s was cancelled", job->id);
    }
}

static int run(struct compressor *compressor, struct job *job, struct error *err)
{
    int r = job_make(compressor->host, job, err);
    if (r == 0)
        r = publish(compressor, job, err);
    job_end(compressor->host, job, r, err);
    return r;
}

/* With the mutex held: what becomes of a job that ended with `r`. */
static void settle_job(struct compressor *compressor, struct job *job, int r,
                       const struct error *err)
{
    if (job->kind == JOB_COMPACT) { /* who cancels it has no use for it */
        remove_job(find_link(compressor, job->id, JOB_COMPACT));
        return;
    }
    if (r == -EMLINK || r == -ECANCELED) {
        job->state = job->poked ? JOB_DUE : JOB_SHARED;
        return;
    }
    if (r == 0 || r == -ENOENT || r == -ESTALE) {
        remove_job(find_link(compressor, job->id, JOB_COMPRESS));
        return;
    }
    job->state = JOB_FAILED;
    snprintf(job->error, sizeof(job->error), "%.*s", (int)sizeof(job->error) - 1, err->message);
}

/* With the mutex held, but not while it works. */
static void run_one(struct compressor *compressor, struct job *job)
{
    struct error err = {0};
    job->state = JOB_RUNNING;
    job->poked = false;
    atomic_store(job_cancelled(job), false);
    pthread_mutex_unlock(&compressor->mutex);
    setpriority(PRIO_PROCESS, 0, NICEST); /* of this thread alone, on Linux */
    int r = run(compressor, job, &err);
    pthread_mutex_lock(&compressor->mutex);
    settle_job(compressor, job, r, &err);
    pthread_cond_broadcast(&compressor->changed);
}

static void *worker(void *context)
{
    struct compressor *compressor = context;
    pthread_mutex_lock(&compressor->mutex);
    compressor->thread_id = gettid();
    while (!compressor->stopping) {
        uint64_t wake_ns;
        struct job *job = next_job(compressor, &wake_ns);
        if (job)
            run_one(compressor, job);
        else
            wait_until(compressor, wake_ns);
    }
    pthread_mutex_unlock(&compressor->mutex);
    return NULL;
}

struct compressor *compressor_start(struct host *host, struct error *err)
{
    struct compressor *compressor = calloc(1, sizeof(*compressor));
    if (!compressor) {
        error_errno(err, ENOMEM, host->data_dir, "start the compressor");
        return NULL;
    }
    condition_init(&compressor->changed);
    pthread_mutex_init(&compressor->mutex, NULL);
    compressor->host = host;
    int r = pthread_create(&compressor->thread, NULL, worker, compressor);
    compressor->started = r == 0;
    if (r == 0)
        return compressor;
    error_errno(err, r, host->data_dir, "start the compressor");
    compressor_stop(compressor);
    return NULL;
}

/* With the mutex held. Whoever may wait for the thread lends it his priority. */
static void cancel(struct compressor *compressor, struct job *job)
{
    if (job->state != JOB_RUNNING)
        return;
    atomic_store(job_cancelled(job), true);
    setpriority(PRIO_PROCESS, (id_t)compressor->thread_id, 0);
    pthread_cond_broadcast(&compressor->changed);
}

void compressor_stop(struct compressor *compressor)
{
    if (!compressor)
        return;
    pthread_mutex_lock(&compressor->mutex);
    compressor->stopping = true;
    for (struct job *job = compressor->jobs; job; job = job->next)
        cancel(compressor, job);
    pthread_cond_broadcast(&compressor->changed);
    pthread_mutex_unlock(&compressor->mutex);
    if (compressor->started)
        pthread_join(compressor->thread, NULL);
    while (compressor->jobs)
        remove_job(&compressor->jobs);
    pthread_cond_destroy(&compressor->changed);
    pthread_mutex_destroy(&compressor->mutex);
    free(compressor);
}

/* With the mutex held, so that who ceases to own the image after the look pokes the job. */
static void append_job(struct compressor *compressor, const struct owner *owner, struct job *job)
{
    struct job **link = &compressor->jobs;
    while (*link)
        link = &(*link)->next;
    *link = job;
    job->state = JOB_DUE;
    if (job->kind == JOB_COMPACT)
        return;
    job->state = compress_image_is_alone(owner) ? JOB_DUE : JOB_SHARED;
    if (job->state == JOB_SHARED)
        log_info("%s %s: its memory has other owners: it is compressed when it has none",
                 owner->thing, owner->id);
}

static int add_job(struct compressor *compressor, const struct owner *owner,
                   const char *compression, uint64_t delay_ns, struct error *err)
{
    struct error cause = {0};
    uint64_t now = time_monotonic_ns();
    struct job *job = job_new(compressor->host, owner, compression, &cause);
    if (!job && err)
        *err = cause;
    if (!job)
        return -cause.errnum;
    job->due_ns = delay_ns < FOREVER - now ? now + delay_ns : FOREVER - 1;
    pthread_mutex_lock(&compressor->mutex);
    append_job(compressor, owner, job);
    pthread_cond_broadcast(&compressor->changed);
    pthread_mutex_unlock(&compressor->mutex);
    return 0;
}

void compressor_want(struct compressor *compressor, const struct owner *owner,
                     const char *compression, uint64_t delay_ns)
{
    struct error err = {0};
    compressor_drop(compressor, owner->id);
    if (*compression && add_job(compressor, owner, compression, delay_ns, &err) < 0)
        log_warning("%s %s: its memory is not compressed: %s", owner->thing, owner->id,
                    err.message);
}

void compressor_compact(struct compressor *compressor, const struct owner *owner)
{
    struct error err = {0};
    const struct compaction_options *options = &compressor->host->compaction;
    if (options->on &&
        add_job(compressor, owner, NULL, (uint64_t)options->after_ms * 1000000, &err) < 0)
        log_warning("%s %s: its layers stay as they are: %s", owner->thing, owner->id, err.message);
}

/* With the mutex held, but not while it waits. */
static void drop(struct compressor *compressor, const char *id, enum job_kind kind)
{
    struct job **link;
    while (*(link = find_link(compressor, id, kind)) && (*link)->state == JOB_RUNNING) {
        cancel(compressor, *link);
        pthread_cond_wait(&compressor->changed, &compressor->mutex);
    }
    if (*link)
        remove_job(link);
}

void compressor_drop(struct compressor *compressor, const char *id)
{
    pthread_mutex_lock(&compressor->mutex);
    drop(compressor, id, JOB_COMPRESS);
    drop(compressor, id, JOB_COMPACT);
    pthread_mutex_unlock(&compressor->mutex);
}

void compressor_interrupt(struct compressor *compressor, const char *id)
{
    pthread_mutex_lock(&compressor->mutex);
    struct job *job = *find_link(compressor, id, JOB_COMPRESS);
    if (job)
        cancel(compressor, job);
    pthread_mutex_unlock(&compressor->mutex);
}

void compressor_poke(struct compressor *compressor)
{
    pthread_mutex_lock(&compressor->mutex);
    for (struct job *job = compressor->jobs; job; job = job->next) {
        job->poked = true;
        if (job->state == JOB_SHARED)
            job->state = JOB_DUE;
    }
    pthread_cond_broadcast(&compressor->changed);
    pthread_mutex_unlock(&compressor->mutex);
}

bool compressor_look(struct compressor *compressor, const char *id,
                     struct compression_status *status)
{
    pthread_mutex_lock(&compressor->mutex);
    const struct job *job = *find_link(compressor, id, JOB_COMPRESS);
    if (job && job->state == JOB_FAILED) {
        status->state = COMPRESSION_FAILED;
        memcpy(status->error, job->error, sizeof(status->error));
    } else if (job && (job->state == JOB_RUNNING ||
                       (job->state == JOB_DUE && job->due_ns <= time_monotonic_ns()))) {
        status->state = COMPRESSION_RUNNING;
    }
    bool known = job != NULL;
    pthread_mutex_unlock(&compressor->mutex);
    return known;
}
