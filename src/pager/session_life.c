/* SPDX-License-Identifier: Apache-2.0 */
/* A session from its request to its end. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "http/descriptors.h"
#include "pager/background.h"
#include "pager/pager_private.h"
#include "pager/serve.h"
#include "pager/stack_source.h"
#include "pager/uffd.h"

/* ---- the image ---- */

/* A plain file of that name in the directory, never through a symbolic link. */
static int file_open(const struct session *session, const char *name, struct stat *st,
                     struct error *err)
{
    _cleanup_(close) int fd = openat(session->directory_fd, name,
                                     O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return error_errno(err, errno, name, "open %s", name);
    if (fstat(fd, st) < 0)
        return error_errno(err, errno, name, "stat %s", name);
    if (!S_ISREG(st->st_mode))
        return error_set(err, ERROR_INVALID, EINVAL, "%s is not a regular file", name);
    return TAKE_FD(fd);
}

/* The files of an image while it is being opened. */
struct opened_files {
    struct source_file files[STACK_SOURCE_FILES];
    struct stat stats[STACK_SOURCE_FILES];
    char *labels[STACK_SOURCE_FILES];
    unsigned count;
};

static void cleanup_opened_files(struct opened_files *opened)
{
    for (unsigned i = 0; i < opened->count; i++) {
        close(opened->files[i].fd);
        free(opened->labels[i]);
    }
}

static int layer_file_open(const struct session *session, const char *directory, const char *name,
                           struct opened_files *opened, struct error *err)
{
    struct source_file *file = &opened->files[opened->count];
    file->fd = file_open(session, name, &file->st, err);
    if (file->fd < 0)
        return error_wrap(err, "%s", directory);
    unsigned index = opened->count++;
    opened->stats[index] = file->st;
    if (asprintf(&opened->labels[index], "%s/%s", directory, name) < 0) {
        opened->labels[index] = NULL;
        return error_errno(err, ENOMEM, NULL, "session %s", session->id);
    }
    file->label = opened->labels[index];
    return 0;
}

static struct page_source *shared_source(const struct pager *pager,
                                         const struct opened_files *opened,
                                         const struct base_format *base)
{
    for (unsigned i = 0; i < PAGER_MAX_SESSIONS; i++) {
        const struct session *session = pager->sessions[i];
        if (session && session->source && session->source->format == base_format_number(base) &&
            session->source->ops->is(session->source, opened->stats, opened->count))
            return session->source;
    }
    return NULL;
}

static int source_open(struct pager *pager, struct session *session,
                       const struct pager_session_request *request, struct error *err)
{
    _cleanup_(opened_files) struct opened_files opened = {0};
    struct base_format base = {.packed = request->compression != NULL, .cache = pager->cache};
    if (base.packed && stack_algorithm_parse(request->compression, &base.algorithm, err) < 0)
        return -err->errnum;
    session->directory_fd = dir_open(AT_FDCWD, request->directory, err);
    if (session->directory_fd < 0)
        return session->directory_fd;
    for (unsigned i = 0; i < request->layer_count; i++) {
        int r = layer_file_open(session, request->directory, request->layers[i], &opened, err);
        if (r < 0)
            return r;
    }
    if (opened.count == 0)
        return error_set(err, ERROR_INVALID, EINVAL, "session %s has no layers", session->id);
    session->label = strdup(opened.files[opened.count - 1].label);
    if (!session->label)
        return error_errno(err, ENOMEM, NULL, "session %s", session->id);
    session->source = shared_source(pager, &opened, &base);
    if (session->source)
        session->source->references++;
    else
        session->source = stack_source_open(opened.files, opened.count, &base, err);
    return session->source ? 0 : -err->errnum;
}

static void source_release(struct page_source *source)
{
    if (source && --source->references == 0)
        source->ops->destroy(source);
}

static int overlay_read(const struct session *session, const struct pager_overlay *overlay,
                        uint8_t *page, struct error *err)
{
    struct stat st = {0};
    if (overlay->page >= session->source->identity.size >> PAGE_SHIFT)
        return error_set(err, ERROR_INVALID, EINVAL, "page %" PRIu64 " is outside the image",
                         overlay->page);
    _cleanup_(close) int fd = file_open(session, overlay->file, &st, err);
    if (fd < 0)
        return fd;
    if (st.st_size != PAGE_SIZE)
        return error_set(err, ERROR_INVALID, EINVAL, "%s has %lld bytes, not %u", overlay->file,
                         (long long)st.st_size, PAGE_SIZE);
    return file_pread_exact(fd, page, PAGE_SIZE, 0, overlay->file, err);
}

static int block_new(struct session *session, const struct pager_session_request *request,
                     struct error *err)
{
    uint64_t pages[SESSION_MAX_OVERLAYS] = {0};
    _cleanup_(free) uint8_t *data = calloc(SESSION_MAX_OVERLAYS, PAGE_SIZE);
    if (!data)
        return error_errno(err, ENOMEM, NULL, "session %s", session->id);
    for (uint32_t i = 0; i < request->overlay_count; i++) {
        pages[i] = request->overlays[i].page;
        int r = overlay_read(session, &request->overlays[i], data + (size_t)i * PAGE_SIZE, err);
        if (r < 0)
            return error_wrap(err, "overlay %u", i);
    }
    const struct session_block_config config = {
        .version = session->pager->versions.newest,
        .image = session->source->identity,
        .cache_key = request->cache_key,
        .overlay_pages = pages,
        .overlay_data = data,
        .overlay_count = request->overlay_count,
    };
    return session_block_create(&session->block, &config, err);
}

/* ---- serving ---- */

/* The creator's duplicates are on their way before the first event is read: a VM that was served
 * for a moment can always be taken over. */
static void keeper_inform(struct session *session)
{
    const int fds[] = {session->uffd, session->block.fd};
    if (session->keeper_fd < 0)
        return;
    if (descriptors_send(session->keeper_fd, session->id, strlen(session->id), fds, 2) < 0)
        log_warning("session %s: its creator did not take the descriptors: %s", session->id,
                    errno_name(errno));
    cleanup_close(&session->keeper_fd);
    session->keeper_fd = -1;
}

/* `begin` is called under the worker's lock, before the first event is read. */
static int serve_begin(struct pager *pager, struct session *session,
                       void (*begin)(struct session *), struct error *err)
{
    struct worker *worker = pager_idlest_worker(pager);
    run_length_init(&session->runs);
    session_record_begin(pager, session);
    worker_lock(worker);
    session->state = SESSION_SERVING;
    int r = worker_attach(worker, session, err);
    if (r == 0 && begin)
        begin(session);
    worker_unlock(worker);
    return r;
}

/* A failpoint. */
static int step(const char *name, struct error *err)
{
    int r = failpoint(name);
    return r < 0 ? error_errno(err, -r, NULL, "failpoint %s", name) : 0;
}

static int peer_accept(struct pager *pager, struct session *session, struct handshake_peer *peer,
                       struct error *err)
{
    int r = regions_check(&peer->regions, session->source->identity.size, err);
    if (r < 0)
        return error_wrap(err, "handshake");
    session->uffd = TAKE_FD(peer->uffd);
    session->peer = TAKE_FD(peer->socket);
    session->peer_pid = peer->pid;
    session->peer_uid = peer->uid;
    session_block_set_regions(&session->block, &peer->regions);
    r = step("pager-introduced", err);
    if (r < 0)
        return r;
    keeper_inform(session);
    r = step("pager-kept", err);
    return r < 0 ? r : serve_begin(pager, session, NULL, err);
}

static void peer_introduced(void *context, struct handshake_peer *peer, const struct error *err)
{
    struct session *session = context;
    struct error failure = {0};
    if (err)
        failure = *err;
    /* First of all: a pager that is killed once it serves must leave no socket behind. */
    handshake_destroy(session->handshake);
    session->handshake = NULL;
    if (peer && peer_accept(session->pager, session, peer, &failure) == 0)
        log_info("session %s: serves process %d from %s", session->id, session->peer_pid,
                 session->label);
    else
        session_fail(session, "%s", failure.message);
}

static int wait_for_peer(struct pager *pager, struct session *session,
                         const struct pager_session_request *request, struct error *err)
{
    const struct handshake_config config = {
        .path = request->handshake_socket,
        .uid = request->peer_uid,
        .timeout_ms = request->handshake_timeout_ms,
        .done = peer_introduced,
        .context = session,
    };
    session->handshake = handshake_create(&config, pager->loop, err);
    return session->handshake ? 0 : -err->errnum;
}

static int take_over(struct pager *pager, struct session *session,
                     struct pager_session_request *request, struct error *err)
{
    const struct session_block_expected expected = {.versions = pager->versions,
                                                    .image = session->source->identity,
                                                    .cache_key = request->cache_key};
    int r = uffd_accept(request->uffd, err);
    if (r == 0)
        r = session_block_adopt(&session->block, TAKE_FD(request->state_fd), &expected, err);
    if (r < 0)
        return r;
    session->uffd = TAKE_FD(request->uffd);
    session->record_ms = 0; /* its first touches are over */
    r = serve_begin(pager, session, serve_take_over, err);
    if (r == 0)
        log_info("session %s: taken over, from %s", session->id, session->label);
    return r;
}

/* ---- its beginning and end ---- */

static struct session *session_new(struct pager *pager, const struct pager_session_request *request)
{
    struct session *session = calloc(1, sizeof(*session));
    if (!session)
        return NULL;
    session->pager = pager;
    snprintf(session->id, sizeof(session->id), "%s", request->id);
    session->block.fd = session->uffd = session->peer = session->directory_fd = -1;
    session->keeper_fd = -1;
    session->record_ms = request->record_ms;
    if (request->record && !(session->record_name = strdup(request->record)))
        free(TAKE_PTR(session));
    return session;
}

static int session_start(struct pager *pager, struct session *session,
                         struct pager_session_request *request, struct error *err)
{
    int r = source_open(pager, session, request, err);
    if (r == 0 && request->state_fd >= 0)
        return take_over(pager, session, request, err);
    if (r == 0)
        r = block_new(session, request, err);
    session->keeper_fd = TAKE_FD(request->keeper_fd);
    return r < 0 ? r : wait_for_peer(pager, session, request, err);
}

static int find_place(struct pager *pager, const char *id, struct error *err)
{
    int place = -1;
    for (unsigned i = 0; i < PAGER_MAX_SESSIONS; i++) {
        if (!pager->sessions[i])
            place = place < 0 ? (int)i : place;
        else if (strcmp(pager->sessions[i]->id, id) == 0)
            return error_set(err, ERROR_NAME, EEXIST, "there is a session '%s' already", id);
    }
    if (place < 0)
        return error_set(err, ERROR_RESOURCES, EMFILE, "there are %u sessions already",
                         PAGER_MAX_SESSIONS);
    return place;
}

int pager_session_create(struct pager *pager, struct pager_session_request *request,
                         struct error *err)
{
    if (pager->draining)
        return error_set(err, ERROR_STATE, ESHUTDOWN, "this pager is draining");
    int place = find_place(pager, request->id, err);
    if (place < 0)
        return place;
    struct session *session = session_new(pager, request);
    if (!session)
        return error_errno(err, ENOMEM, NULL, "session %s", request->id);
    int r = session_start(pager, session, request, err);
    if (r < 0) {
        session_destroy(pager, session);
        return r;
    }
    pager->sessions[place] = session;
    pager->session_count++;
    return 0;
}

static void detach(struct session *session, void *data)
{
    if (session->worker)
        worker_detach(session);
    if (session->state <= SESSION_COMPLETING)
        session->state = SESSION_ENDED;
}

void session_destroy(struct pager *pager, struct session *session)
{
    pager_session_visit(session, detach, NULL);
    if (session->block.header)
        session_record_tick(pager, session, 0);
    for (unsigned i = 0; i < PAGER_MAX_SESSIONS; i++) {
        if (pager->sessions[i] == session) {
            pager->sessions[i] = NULL;
            pager->session_count--;
        }
    }
    handshake_destroy(session->handshake);
    stored_record_release(session->stored);
    cleanup_close(&session->uffd);
    cleanup_close(&session->peer);
    cleanup_close(&session->keeper_fd);
    cleanup_close(&session->directory_fd);
    session_block_release(&session->block);
    source_release(session->source);
    touch_record_free(&session->touched);
    free(session->pending.faults);
    free(session->awaited.faults);
    free(session->record_name);
    free(session->label);
    free(session);
}

static void read_needed(struct session *session, void *data)
{
    bool lives = session->uffd >= 0 && !uffd_gone(session->uffd);
    *(bool *)data = lives && session->state != SESSION_COMPLETED;
}

int pager_session_delete(struct pager *pager, struct session *session, bool detached,
                         struct error *err)
{
    bool needed = false;
    pager_session_visit(session, read_needed, &needed);
    if (needed && !detached)
        return error_set(err, ERROR_STATE, EBUSY,
                         "session %s: its VM still runs on it; complete it, end the VM, or detach",
                         session->id);
    session_destroy(pager, session);
    return 0;
}

struct completion {
    uint64_t bandwidth;
    int result;
    struct error *err;
};

static void begin_complete(struct session *session, void *data)
{
    struct completion *completion = data;
    if (session->state != SESSION_SERVING && session->state != SESSION_COMPLETING) {
        completion->result =
            error_set(completion->err, ERROR_STATE, EINVAL, "session %s is %s, not serving",
                      session->id, session_state_name(session->state));
        return;
    }
    background_complete(session, completion->bandwidth);
    worker_kick(session->worker);
}

int pager_session_complete(struct session *session, uint64_t bandwidth, struct error *err)
{
    struct completion completion = {.bandwidth = bandwidth, .err = err};
    pager_session_visit(session, begin_complete, &completion);
    return completion.result;
}

int pager_session_descriptors(struct session *session, int fds[2], struct error *err)
{
    if (session->uffd < 0)
        return error_set(err, ERROR_STATE, ENOTCONN, "session %s: no VM has connected",
                         session->id);
    fds[0] = fcntl(session->uffd, F_DUPFD_CLOEXEC, 0);
    fds[1] = fcntl(session->block.fd, F_DUPFD_CLOEXEC, 0);
    if (fds[0] >= 0 && fds[1] >= 0)
        return 0;
    int errnum = errno;
    cleanup_close(&fds[0]);
    cleanup_close(&fds[1]);
    return error_errno(err, errnum, NULL, "session %s: duplicate its descriptors", session->id);
}
