/* SPDX-License-Identifier: Apache-2.0 */
/* The thread: it receives duplicates, notices the end of a pager, and looks at every session once a
 * second. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "paging/paging_private.h"

#define SAMPLE_NS (1000 * MS)

/* ---- waiting ---- */

struct wait_set {
    struct pollfd *fds;
    size_t count, capacity;
};

static void wait_add(struct wait_set *set, int fd)
{
    if (fd < 0)
        return;
    if (set->count == set->capacity) {
        size_t capacity = set->capacity > 0 ? 2 * set->capacity : 16;
        struct pollfd *more = realloc(set->fds, capacity * sizeof(*more));
        if (!more)
            return; /* it is looked at a second later */
        set->fds = more;
        set->capacity = capacity;
    }
    set->fds[set->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

/* False: the thread is to end. */
static bool wait_fill(struct paging *paging, struct wait_set *set, bool *idle)
{
    pthread_mutex_lock(&paging->mutex);
    bool stopping = paging->stopping;
    set->count = 0;
    wait_add(set, paging->event_fd);
    *idle = !paging->sessions;
    for (const struct pager *pager = paging->pagers; pager; pager = pager->next) {
        wait_add(set, pager->process.pidfd);
        *idle = *idle && pager->cache.bytes == 0;
    }
    for (const struct paging_session *session = paging->sessions; session; session = session->next)
        wait_add(set, session->keeper);
    pthread_mutex_unlock(&paging->mutex);
    return !stopping;
}

/* A descriptor of the set may be closed meanwhile, and its number another's: so whatever woke it,
 * everything is looked at. */
static void look(struct paging *paging)
{
    uint64_t ignored;
    if (read(paging->event_fd, &ignored, sizeof(ignored)) < 0 && errno != EAGAIN)
        log_warning("keep pagers: %s", errno_name(errno));
    pthread_mutex_lock(&paging->mutex);
    pagers_check(paging);
    for (struct paging_session *session = paging->sessions; session; session = session->next)
        paging_receive(paging, session);
    pthread_mutex_unlock(&paging->mutex);
}

void *keeper_run(void *context)
{
    struct paging *paging = context;
    struct wait_set set = {.fds = NULL};
    uint64_t sample_ns = 0, orphans_ns = UINT64_MAX;
    bool idle = true;
    while (wait_fill(paging, &set, &idle)) {
        uint64_t until = orphans_ns < sample_ns ? orphans_ns : sample_ns;
        poll(set.fds, (nfds_t)set.count, idle ? -1 : time_left_ms(until));
        look(paging);
        orphans_ns = orphans_take_over(paging);
        if (time_monotonic_ns() >= sample_ns) {
            sessions_sample(paging);
            sessions_graduate(paging);
            pagers_retire(paging);
            sample_ns = time_monotonic_ns() + SAMPLE_NS;
        }
    }
    free(set.fds);
    return NULL;
}
