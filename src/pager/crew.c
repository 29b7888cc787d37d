/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/crew.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define MEMBERS_MAX 256
/* Less is filled sooner than anybody wakes up. */
#define CALL_LEAST  (48ull * PAGE_SIZE)
#define LEAVE_SPINS 2000u /* a helper is nearly done when its turn to be waited for comes */
#define ANYWHERE    (-1)

/* On the stack of who began it. */
struct job {
    int uffd;
    struct crew_piece *pieces;
    unsigned count;
    atomic_uint next;    /* the first piece that nobody has taken */
    atomic_uint helpers; /* that still work on it */
    struct job *other;
};

struct member {
    int event_fd;
    atomic_int tid; /* 0: not known yet */
    atomic_bool idle, serving, awaits;
    atomic_int avoids; /* the CPU that it may not run on, or ANYWHERE */
};

struct crew {
    pthread_mutex_t lock; /* guards `jobs` and their `helpers` */
    pthread_cond_t left;  /* a helper has left its job */
    struct job *jobs;
    atomic_uint open; /* number of jobs: read without the lock */
    struct member members[MEMBERS_MAX];
    atomic_int count;
    _Atomic uint64_t arrivals;
    cpu_set_t cpus; /* of the process */
};

struct crew *crew_create(void)
{
    struct crew *crew = calloc(1, sizeof(*crew));
    if (!crew)
        return NULL;
    pthread_mutex_init(&crew->lock, NULL);
    pthread_cond_init(&crew->left, NULL);
    if (sched_getaffinity(0, sizeof(crew->cpus), &crew->cpus) < 0)
        CPU_ZERO(&crew->cpus); /* more CPUs than the set has room for: left to the kernel */
    return crew;
}

void crew_destroy(struct crew *crew)
{
    if (!crew)
        return;
    pthread_cond_destroy(&crew->left);
    pthread_mutex_destroy(&crew->lock);
    free(crew);
}

int crew_join(struct crew *crew, int event_fd)
{
    pthread_mutex_lock(&crew->lock);
    int number = atomic_load(&crew->count);
    if (number < MEMBERS_MAX) {
        crew->members[number].event_fd = event_fd;
        crew->members[number].avoids = ANYWHERE;
        atomic_store(&crew->count, number + 1);
    }
    pthread_mutex_unlock(&crew->lock);
    return number < MEMBERS_MAX ? number : -1;
}

void crew_set_thread(struct crew *crew, int member)
{
    if (member >= 0)
        atomic_store(&crew->members[member].tid, gettid());
}

void crew_set_idle(struct crew *crew, int member, bool idle)
{
    if (member >= 0)
        atomic_store(&crew->members[member].idle, idle);
}

void crew_arrived(struct crew *crew)
{
    int count = atomic_load(&crew->count);
    atomic_fetch_add(&crew->arrivals, 1);
    for (int i = 0; i < count; i++) {
        struct member *member = &crew->members[i];
        if (atomic_load(&member->awaits) && atomic_exchange(&member->awaits, false))
            (void)eventfd_write(member->event_fd, 1); /* full means that it is readable */
    }
}

uint64_t crew_arrivals(const struct crew *crew)
{
    return atomic_load(&crew->arrivals);
}

/* In this order: what arrives in between is seen by one of the two. */
bool crew_await(struct crew *crew, int member, uint64_t arrivals)
{
    if (member < 0)
        return false;
    atomic_store(&crew->members[member].awaits, true);
    return atomic_load(&crew->arrivals) == arrivals;
}

/* Takes pieces until there are none left. */
static void work(struct job *job)
{
    for (;;) {
        unsigned index = atomic_fetch_add(&job->next, 1);
        if (index >= job->count)
            return;
        struct crew_piece *piece = &job->pieces[index];
        piece->result = uffd_fill(job->uffd, piece->address, piece->from, piece->length, false);
    }
}

static void job_open(struct crew *crew, struct job *job)
{
    pthread_mutex_lock(&crew->lock);
    job->other = crew->jobs;
    crew->jobs = job;
    atomic_fetch_add(&crew->open, 1);
    pthread_mutex_unlock(&crew->lock);
}

/* Nobody finds it any more, and whoever has found it has left. */
static void job_close(struct crew *crew, struct job *job)
{
    pthread_mutex_lock(&crew->lock);
    struct job **at = &crew->jobs;
    while (*at != job)
        at = &(*at)->other;
    *at = job->other;
    atomic_fetch_sub(&crew->open, 1);
    pthread_mutex_unlock(&crew->lock);
    for (unsigned i = 0; i < LEAVE_SPINS && atomic_load(&job->helpers) > 0; i++)
        __builtin_ia32_pause();
    pthread_mutex_lock(&crew->lock);
    while (atomic_load(&job->helpers) > 0)
        pthread_cond_wait(&crew->left, &crew->lock);
    pthread_mutex_unlock(&crew->lock);
}

/* The kernel likes to wake a thread on the CPU of who wakes it, where it helps nobody. */
static void keep_off(struct crew *crew, struct member *member, int cpu)
{
    cpu_set_t cpus = crew->cpus;
    pid_t tid = atomic_load(&member->tid);
    if (tid == 0 || atomic_load(&member->avoids) == cpu || CPU_COUNT(&crew->cpus) < 2)
        return;
    if (cpu != ANYWHERE)
        CPU_CLR(cpu, &cpus);
    if (sched_setaffinity(tid, sizeof(cpus), &cpus) == 0) /* else it is only slower */
        atomic_store(&member->avoids, cpu);
}

void crew_set_serving(struct crew *crew, int member, bool serving)
{
    if (member < 0)
        return;
    atomic_store(&crew->members[member].serving, serving);
    if (serving)
        keep_off(crew, &crew->members[member], ANYWHERE);
}

static void call_idle(struct crew *crew, unsigned wanted)
{
    int count = atomic_load(&crew->count), cpu = sched_getcpu();
    for (int i = 0; i < count && wanted > 0; i++) {
        struct member *member = &crew->members[i];
        if (!atomic_load(&member->idle) || !atomic_exchange(&member->idle, false))
            continue;
        if (!atomic_load(&member->serving))
            keep_off(crew, member, cpu);
        (void)eventfd_write(member->event_fd, 1); /* full means that it is readable */
        wanted--;
    }
}

void crew_fill(struct crew *crew, int member, int uffd, struct crew_piece *pieces, unsigned count)
{
    struct job job = {.uffd = uffd, .pieces = pieces, .count = count};
    uint64_t length = 0;
    for (unsigned i = 0; i < count; i++)
        length += pieces[i].length;
    if (count < 2 || length < CALL_LEAST) {
        work(&job);
        return;
    }
    if (member >= 0)
        keep_off(crew, &crew->members[member], ANYWHERE);
    job_open(crew, &job);
    call_idle(crew, count - 1);
    work(&job);
    job_close(crew, &job);
}

static struct job *job_find(struct crew *crew)
{
    for (struct job *job = crew->jobs; job; job = job->other) {
        if (atomic_load(&job->next) < job->count)
            return job;
    }
    return NULL;
}

bool crew_help(struct crew *crew)
{
    if (atomic_load(&crew->open) == 0)
        return false;
    pthread_mutex_lock(&crew->lock);
    struct job *job = job_find(crew);
    if (job) {
        atomic_fetch_add(&job->helpers, 1);
        pthread_mutex_unlock(&crew->lock);
        work(job);
        pthread_mutex_lock(&crew->lock);
        if (atomic_fetch_sub(&job->helpers, 1) == 1)
            pthread_cond_broadcast(&crew->left);
    }
    pthread_mutex_unlock(&crew->lock);
    return job != NULL;
}
