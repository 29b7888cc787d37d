/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/paged.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/id.h"
#include "base/log.h"
#include "instance/first_touches.h"
#include "instance/memory_image.h"
#include "instance/operation_log.h"
#include "instance/proc.h"
#include "instance/settle.h"
#include "instance/telemetry.h"
#include "instance/watch.h"
#include "paging/paging.h"

#define PAGER_BINARY "tine-pager"
#define CONNECT_MS   10000
#define WHAT_NOW                                                                           \
    "its VM waits for its memory; if that can't be cured, delete it: what it was made of " \
    "can be forked again"

int cache_key_renew(struct instance_record *record, struct error *err)
{
    const size_t length = sizeof(record->cache_key) - 1;
    record->cache_key[length] = '\0';
    int r = id_characters(record->cache_key, length, err);
    return r < 0 ? error_wrap(err, "a cache key for %s", record->name) : 0;
}

/* ---- a restore ---- */

bool paged_is_possible(const struct operation *op, struct error *err)
{
    const char *why = op->host->memory_backend == MEMORY_FILE ? "memory-backend is file"
                      : !op->host->paging                     ? "this host has no pager"
                                                              : NULL;
    if (why) {
        error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "%s", why);
        return false;
    }
    return paging_check(op->host->paging, err) == 0;
}

bool paged_serves_packed(const struct host *host)
{
    return host->memory_backend != MEMORY_FILE && host->paging &&
           paging_check(host->paging, NULL) == 0;
}

bool paged_takes_packed(const struct operation *op)
{
    return record_is_new_fork(&op->record) && paged_serves_packed(op->host);
}

/* 1: through the pager. What the VMM can map itself `auto` maps: one raw file, and layers if it
 * knows these. A compressed file is still there only if it is to be served (memory_take()). */
static int is_wanted(const struct operation *op, struct error *err)
{
    const struct instance_record *record = &op->record;
    struct stack_packed packed;
    int r = memory_is_packed(op, &packed, err);
    if (r != 0)
        return r;
    if (record->memory_layers == 0 || operation_hypervisor(op)->knows_layers)
        return op->host->memory_backend == MEMORY_PAGER && op->host->paging &&
               record_is_new_fork(record);
    if (paged_is_possible(op, err))
        return 1;
    error_wrap(err, "the memory of %s has %u layers, and only a pager can serve these",
               record->name, record->memory_layers);
    return -EOPNOTSUPP;
}

/* The pager gives its socket to the user that may connect. A VMM that runs as another user than
 * tined sees tined's files as its own (hypervisor/jail.h): so it has to stay one of them. */
static int keep_socket(const struct operation *op, struct error *err)
{
    if (operation_hypervisor(op)->uid == geteuid() ||
        fchownat(op->guest_fd, GUEST_PAGER_SOCKET, geteuid(), (gid_t)-1, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    return error_errno(err, errno, op->guest_dir, "give %s/" GUEST_PAGER_SOCKET " back",
                       op->guest_dir);
}

static int session_begin(struct operation *op, struct error *err)
{
    const struct instance_record *record = &op->record;
    struct stack_packed packed = {.bytes = 0};
    int r = memory_is_packed(op, &packed, err);
    if (r < 0)
        return r;
    const struct paging_request request = {.id = record->id,
                                           .guest_dir = op->guest_dir,
                                           .directory = GUEST_SNAPSHOT,
                                           .format = {r > 0, packed.algorithm},
                                           .layers = record->memory_layers,
                                           .cache_key = record->cache_key,
                                           .socket = GUEST_PAGER_SOCKET,
                                           .peer_uid = operation_hypervisor(op)->uid};
    r = step("paging-wanted", err);
    if (r == 0)
        r = paging_begin(op->host->paging, &request, err);
    if (r == 0)
        r = keep_socket(op, err);
    if (r == 0)
        r = step("paging-begun", err);
    return r < 0 ? error_wrap(err, "restore %s through the pager", record->name) : 0;
}

/* The session that is left of the first attempt is ended. */
static int session_again(void *context, struct error *err)
{
    return session_begin(context, err);
}

int paged_begin(struct operation *op, struct vm_restore *how, struct error *err)
{
    struct instance_record *record = &op->record;
    record->paged = false;
    int r = is_wanted(op, err);
    if (r <= 0) {
        how->layers = record->memory_layers;
        return r;
    }
    r = record->cache_key[0] ? 0 : cache_key_renew(record, err);
    if (r == 0)
        r = session_begin(op, err);
    if (r < 0)
        return r;
    record->paged = true;
    how->pager_socket = GUEST_PAGER_SOCKET;
    how->pager_again = session_again;
    how->context = op;
    return 0;
}

int paged_loaded(struct operation *op, struct error *err)
{
    if (!op->record.paged)
        return 0;
    int r = paging_await(op->host->paging, op->record.id, CONNECT_MS, err);
    if (r < 0)
        return error_wrap(err, "restore %s through the pager", op->record.name);
    return step("paging-kept", err);
}

void paged_explain(const struct operation *op, struct error *err)
{
    struct paging_status status;
    if (!op->record.paged || !err)
        return;
    paging_look(op->host->paging, op->record.id, &status);
    if (status.state == PAGING_LOST)
        error_set(err, ERROR_SYSTEM, EIO, "restore %s through the pager: %s", op->record.name,
                  status.reason);
}

void paged_moved(struct operation *op)
{
    if (op->record.paged)
        paging_moved(op->host->paging, op->record.id, GUEST_BASE);
}

void paged_end(struct operation *op)
{
    char key[PAGING_KEY_SIZE];
    bool had = op->host->paging && paging_key(op->host->paging, op->record.id, key);
    if (op->host->paging)
        paging_forget(op->host->paging, op->record.id);
    /* One that ends early has its record only now. */
    if (had)
        first_touches_share(op, key);
}

int paged_reads_base(struct operation *op)
{
    return op->host->paging && !paging_release(op->host->paging, op->record.id);
}

/* ---- what becomes of it ---- */

/* True if the kernel still asks somebody for pages of that process ("um" in VmFlags, proc(5)). */
static bool waits_for_pages(pid_t pid)
{
    char path[32], *line = NULL;
    size_t size = 0;
    bool found = false;
    snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
    _cleanup_(fclose) FILE *file = fopen(path, "re");
    while (file && !found && getline(&line, &size, file) > 0)
        found = strncmp(line, "VmFlags:", 8) == 0 && strstr(line, " um");
    free(line);
    return found || !file;
}

/* It needs no pager any more: the next standby may write into its base. */
static int graduate(struct operation *op, struct error *err)
{
    op->record.paged = false;
    int r = store_update(op->host->store, &op->record, err);
    if (r < 0) {
        op->record.paged = true;
        return r;
    }
    paged_end(op);
    telemetry_event(op, "graduated", "", "", "");
    operation_log_add(op, "graduated: all of its memory is there, it needs its pager no more");
    return 0;
}

static int lose(struct operation *op, const char *why, struct error *err)
{
    char text[sizeof(op->record.state_error)];
    if (op->record.state == INSTANCE_UNKNOWN)
        return 0;
    snprintf(text, sizeof(text), "%.300s; " WHAT_NOW, why);
    return settle_unknown(op, text, err);
}

/* Its session is not known: its pager and the last tined ended together, or the session had done
 * its work before. */
static int lose_or_graduate(struct operation *op, struct error *err)
{
    if (!waits_for_pages(op->record.vmm_pid))
        return graduate(op, err);
    return lose(op, "its pager ended while tined was not running, and nobody holds its userfaultfd",
                err);
}

static void look(struct host *host, const char *id, struct paging_status *status)
{
    *status = (struct paging_status){.state = PAGING_NONE};
    if (host->paging)
        paging_look(host->paging, id, status);
}

int paged_settle(struct operation *op, struct error *err)
{
    struct paging_status status;
    if (!op->record.paged)
        return 0;
    look(op->host, op->record.id, &status);
    switch (status.state) {
    case PAGING_NONE:
        return lose_or_graduate(op, err);
    case PAGING_LOST:
        return lose(op, status.reason, err);
    case PAGING_COMPLETED:
        return graduate(op, err);
    default:
        paging_moved(op->host->paging, op->record.id, GUEST_BASE);
        return 0;
    }
}

int paged_follow(struct operation *op, struct error *err)
{
    struct paging_status status;
    look(op->host, op->record.id, &status);
    bool serves = status.state == PAGING_SERVING || status.state == PAGING_COMPLETING;
    if (op->record.state == INSTANCE_UNKNOWN && serves)
        return settle(op, "the VMM ended", err);
    if (!record_has_vmm(&op->record) || !op->record.paged)
        return 0;
    if (serves && status.takeovers > 0) {
        telemetry_event(op, "pager-replaced", "", "", "");
        operation_log_add(op, "pager-replaced: now of version %s", status.version);
    }
    char key[PAGING_KEY_SIZE];
    if (op->host->paging && paging_key(op->host->paging, op->record.id, key))
        first_touches_share(op, key);
    return paged_settle(op, err);
}

/* Whoever restores it waits for an answer of a VMM that may wait for pages: its end is one. */
static void end_unborn(struct host *host, const char *id)
{
    struct stat st;
    struct error err = {0};
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    size_t count = 0;
    _cleanup_(close) int dir = dir_open(host->guests_fd, id, &err);
    if (dir < 0 || fstat(dir, &st) < 0 || step("paging-unborn", &err) < 0 ||
        proc_vmms(&vmms, &count, &err) < 0) {
        log_warning("instance %s: look for its VMM: %s", id, err.message);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        struct vm_process process = {
            .pid = vmms[i].pid, .pidfd = -1, .start_ticks = vmms[i].start_ticks};
        if (vmms[i].device == st.st_dev && vmms[i].inode == st.st_ino &&
            vm_process_kill(&process, VMM_KILL_MS, &err) < 0)
            log_warning("instance %s: %s", id, err.message);
    }
}

static void changed(void *context, const char *id)
{
    struct host *host = context;
    struct paging_status status;
    paging_look(host->paging, id, &status);
    if (status.state == PAGING_LOST && status.unborn)
        end_unborn(host, id);
    else if (host->watch)
        watch_pager(host->watch, id);
}

void paged_look(struct host *host, struct instance_record *record)
{
    struct paging_status status;
    struct pager_status *shown = &record->pager_status;
    if (!record->paged)
        return;
    look(host, record->id, &status);
    if (status.state == PAGING_NONE)
        status.state = PAGING_LOST;
    snprintf(shown->state, sizeof(shown->state), "%s", paging_state_name(status.state));
    snprintf(shown->version, sizeof(shown->version), "%s", status.version);
    snprintf(shown->reason, sizeof(shown->reason), "%s", status.reason);
    shown->pages = status.pages;
    shown->present = status.present;
    shown->takeovers = status.takeovers;
}

/* ---- the host's ---- */

int paged_open(struct host *host, const struct host_options *options, struct error *err)
{
    const struct pager_options *pager = &options->pager;
    host->memory_backend = pager->backend;
    if (!pager->run_dir)
        return 0;
    const struct paging_config config = {.binary = pager->binary ? pager->binary : PAGER_BINARY,
                                         .run_dir = pager->run_dir,
                                         .version = pager->version,
                                         .guests_dir = host->guests_dir,
                                         .graduation = pager->graduation,
                                         .cache_mib = pager->cache_mib,
                                         .changed = changed,
                                         .context = host};
    host->paging = paging_open(&config, err);
    return host->paging ? 0 : -EIO;
}

static bool is_needed(struct host *host, const char *id)
{
    struct instance_record *record = calloc(1, sizeof(*record));
    struct error err = {0};
    int r = record ? store_get(host->store, id, record, &err) : -ENOMEM;
    bool needed = r == 0 ? record->paged && record->vmm_pid > 0 : r != -ENOENT;
    free(record);
    return needed;
}

void paged_prune(struct host *host)
{
    size_t count = 0;
    _cleanup_(free) char *ids = host->paging ? paging_list(host->paging, &count) : NULL;
    for (size_t i = 0; ids && i < count; i++) {
        const char *id = ids + i * PAGING_ID_SIZE;
        if (is_needed(host, id))
            continue;
        log_info("session %s: ended, its instance has no such VM", id);
        paging_forget(host->paging, id);
    }
}
