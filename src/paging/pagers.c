/* SPDX-License-Identifier: Apache-2.0 */
/* The pager processes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "paging/paging_private.h"

#define LIVED_NS       (1000 * MS) /* a pager that ended sooner is a failed start */
#define START_FIRST_MS 10u
#define START_LIMIT_MS 2000u
#define END_MS         2000 /* what one that does not answer may take to be gone */

void pager_bury(struct paging *paging, struct pager *pager)
{
    uint64_t now = time_monotonic_ns();
    log_warning("the pager of version %s (process %d) has ended", pager->version,
                pager->process.pid);
    pager_process_close(&pager->process);
    pager->cache = (struct paging_cache){.bytes = 0};
    bool lived = now - pager->started_ns >= LIVED_NS;
    pager->start_failures = lived ? 0 : pager->start_failures + 1;
    pager->start_ns =
        lived ? now : now + paging_pause_ns(pager->start_failures, START_FIRST_MS, START_LIMIT_MS);
    for (struct paging_session *session = paging->sessions; session; session = session->next) {
        if (session->pager != pager || session->state == PAGING_COMPLETED)
            continue;
        paging_receive(paging, session); /* what it sent last is still there */
        session->orphan = true;
        session->graduates = false;
        session->takeover_ns = now;
        session->takeover_failures = 0;
    }
}

void pagers_check(struct paging *paging)
{
    for (struct pager *pager = paging->pagers; pager; pager = pager->next) {
        if (pager->process.pidfd >= 0 && !pager_process_lives(&pager->process))
            pager_bury(paging, pager);
    }
}

void pager_suspect(struct paging *paging, struct pager *pager)
{
    pthread_mutex_lock(&paging->mutex);
    _cleanup_(close) int pidfd = fcntl(pager->process.pidfd, F_DUPFD_CLOEXEC, 0);
    pthread_mutex_unlock(&paging->mutex);
    struct pollfd end = {.fd = pidfd, .events = POLLIN};
    if (pidfd >= 0)
        poll(&end, 1, END_MS);
    pthread_mutex_lock(&paging->mutex);
    pagers_check(paging);
    pthread_mutex_unlock(&paging->mutex);
}

/* ---- starting ---- */

/* 1: one is at work; 0: it is to be started at `*start_ns`. */
static bool is_at_work(struct paging *paging, const struct pager *pager, uint64_t *start_ns)
{
    pthread_mutex_lock(&paging->mutex);
    pagers_check(paging);
    bool works = pager->process.pidfd >= 0;
    *start_ns = pager->start_ns;
    pthread_mutex_unlock(&paging->mutex);
    return works;
}

static void take_process(struct pager *pager, const struct pager_process *process)
{
    pager->process = *process;
    pager->started_ns = time_monotonic_ns();
    pager->drain_asked = process->draining;
    pager->state_oldest = process->state_oldest;
    pager->state_newest = process->state_newest;
    cleanup_close(&pager->program);
    pager->program = pager_process_program(process);
}

static void begun(struct paging *paging, struct pager *pager, const struct pager_process *process,
                  bool started)
{
    pthread_mutex_lock(&paging->mutex);
    take_process(pager, process);
    pager->revived = started && pager != paging->current;
    paging->counts.pagers_started += started;
    pthread_mutex_unlock(&paging->mutex);
    log_info("pager of version %s: process %d%s", pager->version, process->pid,
             started ? "" : ", which was there");
    paging_poke(paging);
}

static void not_begun(struct paging *paging, struct pager *pager)
{
    pthread_mutex_lock(&paging->mutex);
    pager->start_failures++;
    pager->start_ns = time_monotonic_ns() +
                      paging_pause_ns(pager->start_failures, START_FIRST_MS, START_LIMIT_MS);
    pthread_mutex_unlock(&paging->mutex);
}

/* Another version's program may have been removed by now, or replaced: what its last process ran is
 * still held. */
static int start(const struct paging *paging, const struct pager *pager,
                 struct pager_process *process, struct error *err)
{
    char program[32];
    const struct pager_program ours = {paging->binary, paging->run_dir, paging->cache_mib};
    if (pager == paging->current)
        return pager_process_start(&ours, pager->version, process, err);
    int r = failpoint("paging-revive");
    if (r < 0)
        return error_errno(err, -r, NULL, "failpoint paging-revive");
    if (pager->program < 0)
        return error_set(err, ERROR_UNSUPPORTED, ENOENT,
                         "the program of the pager of version %s is not known", pager->version);
    snprintf(program, sizeof(program), "/proc/self/fd/%d", pager->program);
    /* It may not know what ours does. */
    const struct pager_program theirs = {.binary = program, .run_dir = paging->run_dir};
    return pager_process_start(&theirs, pager->version, process, err);
}

static int find_or_start(struct paging *paging, struct pager *pager, uint64_t start_ns,
                         struct error *err)
{
    struct pager_process process = {.pidfd = -1};
    int found = pager_process_find(pager->socket, pager->version, &process, err);
    if (found < 0)
        return found;
    if (found == 0)
        time_sleep_ms((unsigned)time_left_ms(start_ns));
    int r = found ? 0 : start(paging, pager, &process, err);
    if (r == 0)
        begun(paging, pager, &process, !found);
    else
        not_begun(paging, pager);
    return r;
}

int pager_ensure(struct paging *paging, struct pager *pager, struct error *err)
{
    uint64_t start_ns = 0;
    pthread_mutex_lock(&paging->starting);
    int r = is_at_work(paging, pager, &start_ns) ? 0 : find_or_start(paging, pager, start_ns, err);
    pthread_mutex_unlock(&paging->starting);
    return r;
}

bool pager_reads(const struct pager *pager, unsigned state_version)
{
    return pager->state_newest == 0 ||
           (state_version >= pager->state_oldest && state_version <= pager->state_newest);
}

/* ---- ending ---- */

void pager_retire(struct pager *pager)
{
    struct error err = {0};
    pager->drain_asked = true;
    if (call_drain(pager->socket, &err) < 0)
        log_warning("drain the pager of version %s: %s", pager->version, err.message);
}

static bool has_done(struct paging *paging, const struct pager *pager)
{
    pthread_mutex_lock(&paging->mutex);
    bool done = pager->revived && !pager->drain_asked && pager->process.pidfd >= 0;
    for (const struct paging_session *session = paging->sessions; session; session = session->next)
        done = done && !(session->pager == pager && session->orphan);
    pthread_mutex_unlock(&paging->mutex);
    return done;
}

void pagers_retire(struct paging *paging)
{
    for (struct pager *pager = paging->pagers; pager; pager = pager->next) {
        if (has_done(paging, pager))
            pager_retire(pager);
    }
}

/* ---- finding ---- */

static struct pager *pager_new(struct paging *paging, const char *version, struct error *err)
{
    struct pager *pager = calloc(1, sizeof(*pager));
    if (pager) {
        pager->process.pidfd = pager->program = -1;
        snprintf(pager->version, sizeof(pager->version), "%s", version);
        pager->socket = pager_socket_path(paging->run_dir, version);
    }
    if (!pager || !pager->socket) {
        free(pager);
        error_errno(err, ENOMEM, NULL, "look for pagers");
        return NULL;
    }
    pager->next = paging->pagers;
    paging->pagers = pager;
    return pager;
}

/* One that does not answer is left alone: a session that is on it shows as one that nobody has. */
static int look_at(struct paging *paging, const char *version, struct error *err)
{
    struct error cause = {0};
    struct pager_process process = {.pidfd = -1};
    bool current = strcmp(version, paging->version) == 0;
    struct pager *pager = pager_new(paging, version, err);
    if (!pager)
        return -ENOMEM;
    if (current)
        paging->current = pager;
    int r = pager_process_find(pager->socket, version, &process, &cause);
    if (r > 0) {
        take_process(pager, &process);
        log_info("pager of version %s: process %d, which was there", version, process.pid);
    } else if (r < 0)
        log_warning("%s", cause.message);
    return 0;
}

static bool is_other_version(const struct paging *paging, const char *name)
{
    return name[0] != '.' && strlen(name) < PAGING_VERSION_SIZE &&
           strcmp(name, paging->version) != 0;
}

int pagers_find(struct paging *paging, struct error *err)
{
    _cleanup_(free) char *path = NULL;
    if (asprintf(&path, "%s/pager", paging->run_dir) < 0) {
        path = NULL;
        return error_errno(err, ENOMEM, NULL, "look for pagers");
    }
    _cleanup_(closedir) DIR *dir = opendir(path);
    if (!dir && errno != ENOENT)
        return error_errno(err, errno, path, "open %s", path);
    const char *name;
    int r = look_at(paging, paging->version, err);
    while (dir && r == 0 && (r = dir_next(dir, path, &name, err)) > 0)
        r = is_other_version(paging, name) ? look_at(paging, name, err) : 0;
    return r;
}
