/* SPDX-License-Identifier: Apache-2.0 */
/* A new tined takes up what the last one has left: the pagers have it all. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "paging/paging_private.h"

#define IMAGE "/memory"

struct adoption {
    struct paging *paging;
    struct pager *pager;
    unsigned others; /* sessions that are not ours */
    bool failed;     /* no memory */
};

/* The image of a session of ours is <guests_dir>/<id>/<directory>/memory; false: it is not. */
static bool split(const struct paging *paging, const struct session_facts *facts, char **guest_dir,
                  char **directory)
{
    size_t base = strlen(paging->guests_dir), id = strlen(facts->id);
    size_t length = strlen(facts->image), tail = strlen(IMAGE);
    *guest_dir = *directory = NULL;
    if (id >= PAGING_ID_SIZE || length < base + id + tail + 3 ||
        strncmp(facts->image, paging->guests_dir, base) != 0 || facts->image[base] != '/' ||
        strncmp(facts->image + base + 1, facts->id, id) != 0 ||
        facts->image[base + 1 + id] != '/' || strcmp(facts->image + length - tail, IMAGE) != 0)
        return false;
    const char *name = facts->image + base + id + 2;
    size_t name_length = length - tail - (base + id + 2);
    if (name_length == 0 || memchr(name, '/', name_length))
        return false;
    *guest_dir = strndup(facts->image, base + id + 1);
    *directory = strndup(name, name_length);
    return true;
}

/* Where it was said to be when it was made: the instance's room knows where it is now. */
static void adopt_one(const struct session_facts *facts, void *data)
{
    struct adoption *adoption = data;
    _cleanup_(free) char *guest_dir = NULL;
    _cleanup_(free) char *directory = NULL;
    if (!split(adoption->paging, facts, &guest_dir, &directory)) {
        adoption->others++;
        return;
    }
    struct paging_session *session =
        guest_dir && directory
            ? paging_add(adoption->paging, facts->id, guest_dir, directory, facts->cache_key)
            : NULL;
    adoption->failed = adoption->failed || !session;
    if (!session)
        return;
    session->pager = adoption->pager;
    session->state = facts->ended ? PAGING_COMPLETED : facts->state;
    session->pages = facts->pages;
    session->present = facts->present;
    session->faults = facts->faults;
    session->awaited = true;
    if (facts->state == PAGING_LOST)
        paging_lose(adoption->paging, session, facts->reason ? facts->reason : "it failed");
}

/* One without a VM has no descriptors, and none that it could lose. */
static void fetch(struct paging_session *session)
{
    struct error err = {0};
    if (session->state == PAGING_WAITING || session->state == PAGING_COMPLETED)
        return;
    if (call_descriptors(session->pager->socket, session->id, &session->uffd, &session->block,
                         &err) < 0)
        log_warning("session %s: it can't be taken over: %s", session->id, err.message);
}

/* A version that was replaced takes nothing new; it ends when it serves nobody any more. */
static void drain(struct pager *pager)
{
    struct error err = {0};
    pager->drain_asked = true;
    if (call_drain(pager->socket, &err) < 0)
        log_warning("drain the pager of version %s: %s", pager->version, err.message);
}

int sessions_adopt(struct paging *paging, struct error *err)
{
    for (struct pager *pager = paging->pagers; pager; pager = pager->next) {
        struct adoption adoption = {.paging = paging, .pager = pager};
        struct error cause = {0};
        if (pager->process.pidfd < 0)
            continue;
        if (call_stats(pager->socket, adopt_one, &adoption, &cause) < 0)
            log_warning("%s", cause.message);
        if (adoption.failed)
            return error_errno(err, ENOMEM, NULL, "take up sessions");
        if (pager != paging->current && adoption.others == 0)
            drain(pager);
    }
    for (struct paging_session *session = paging->sessions; session; session = session->next)
        fetch(session);
    return 0;
}
