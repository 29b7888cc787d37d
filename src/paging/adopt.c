/* SPDX-License-Identifier: Apache-2.0 */
/* A new tined takes up what the last one has left: the pagers have it all. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "paging/paging_private.h"
#include "stack/layer_stack.h"

/* Where a session's image is. */
struct image_place {
    char *guest_dir, *directory; /* NULL: no memory */
    struct paging_format format;
    unsigned layers;
};

static void cleanup_image_place(struct image_place *place)
{
    free(place->guest_dir);
    free(place->directory);
}

struct adoption {
    struct paging *paging;
    struct pager *pager;
    unsigned others; /* sessions that are not ours */
    bool failed;     /* no memory */
};

/* "memory", compressed "memory.zst" or, topmost of a stack, "memory.<layers>". What lies below
 * layers is raw: tined puts none over anything else. */
static bool read_name(const char *name, struct image_place *place)
{
    char again[sizeof(IMAGE) + 16];
    place->layers = 0;
    place->format.packed = stack_packed_name_is(name, IMAGE, &place->format.algorithm);
    if (place->format.packed || strcmp(name, IMAGE) == 0)
        return true;
    if (sscanf(name, IMAGE ".%5u", &place->layers) != 1)
        return false;
    layer_stack_format(again, sizeof(again), IMAGE, place->layers);
    return strcmp(name, again) == 0;
}

/* The image of a session of ours is <guests_dir>/<id>/<directory>/memory, or as it is called
 * compressed; with layers over it the last of these. False: it is not. */
static bool split(const struct paging *paging, const struct session_facts *facts,
                  struct image_place *place)
{
    size_t base = strlen(paging->guests_dir), id = strlen(facts->id);
    const char *image = facts->image;
    if (id >= PAGING_ID_SIZE || strlen(image) < base + id + 3 ||
        strncmp(image, paging->guests_dir, base) != 0 || image[base] != '/' ||
        strncmp(image + base + 1, facts->id, id) != 0 || image[base + 1 + id] != '/')
        return false;
    const char *name = image + base + id + 2, *slash = strchr(name, '/');
    if (!slash || slash == name || !read_name(slash + 1, place))
        return false;
    place->guest_dir = strndup(image, base + id + 1);
    place->directory = strndup(name, (size_t)(slash - name));
    return true;
}

/* Where it was said to be when it was made: the instance's room knows where it is now. */
static void adopt_one(const struct session_facts *facts, void *data)
{
    struct adoption *adoption = data;
    _cleanup_(image_place) struct image_place place = {.guest_dir = NULL};
    if (!split(adoption->paging, facts, &place)) {
        adoption->others++;
        return;
    }
    struct paging_session *session =
        place.guest_dir && place.directory
            ? paging_add(adoption->paging, facts->id, place.guest_dir, place.directory,
                         place.layers, facts->cache_key)
            : NULL;
    adoption->failed = adoption->failed || !session;
    if (!session)
        return;
    session->format = place.format;
    session->pager = adoption->pager;
    session->state_version = facts->state_version;
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

int sessions_adopt(struct paging *paging, struct error *err)
{
    for (struct pager *pager = paging->pagers; pager; pager = pager->next) {
        struct adoption adoption = {.paging = paging, .pager = pager};
        struct error cause = {0};
        if (pager->process.pidfd < 0)
            continue;
        if (call_stats(pager->socket, adopt_one, &adoption, &pager->cache, &cause) < 0)
            log_warning("%s", cause.message);
        if (adoption.failed)
            return error_errno(err, ENOMEM, NULL, "take up sessions");
        if (pager != paging->current && adoption.others == 0)
            pager_retire(pager);
    }
    for (struct paging_session *session = paging->sessions; session; session = session->next)
        fetch(session);
    return 0;
}
