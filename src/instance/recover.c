/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/recover.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "instance/directory.h"
#include "instance/live.h"
#include "instance/proc.h"
#include "instance/settle.h"
#include "instance/strangers.h"
#include "instance/strays.h"
#include "stack/stack.h"

#define ENDED "the VMM ended while tined was not running"

/* The VMMs of this host, looked up once, and again when a template has ended. */
struct found {
    struct proc_vmm *vmms;
    size_t count;
};

static int look(struct found *found, struct error *err)
{
    free(found->vmms);
    return proc_vmms(&found->vmms, &found->count, err);
}

static void cleanup_found(struct found *found)
{
    free(found->vmms);
}

/* One beside snapshot/ was being loaded, and one that does not listen yet was never told to run its
 * guest: the row knows a VMM before that, and now nobody will tell it. The first is not even asked:
 * it may wait for pages of a pager that has ended too. One that has been silent for another reason
 * is left to settle(). */
static int end_unborn(struct operation *op, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    char state[16];
    int loads = file_exists(op->guest_fd, GUEST_SNAPSHOT, err);
    if (loads != 0)
        return loads < 0 ? loads : kill_locked(op, err);
    int r = hypervisor->query(hypervisor, &spec, state, NULL);
    return r == -ENOENT || r == -ECONNREFUSED ? kill_locked(op, err) : 0;
}

/* tined may have died between the start of a VMM and the row that says so: a VMM that sees this
 * guest directory as its own is ours, whatever the row says. */
static int find_vmm(struct operation *op, const struct found *found, struct error *err)
{
    struct stat st;
    struct vm_process process;
    bool known = operation_process(op, &process);
    process_release(&process);
    int r = 0;
    if (known)
        return 0;
    if (fstat(op->guest_fd, &st) < 0)
        return error_errno(err, errno, op->guest_dir, "stat %s", op->guest_dir);
    for (size_t i = 0; i < found->count; i++) {
        if (found->vmms[i].device != st.st_dev || found->vmms[i].inode != st.st_ino)
            continue;
        op->record.vmm_pid = found->vmms[i].pid;
        op->record.vmm_start_ticks = found->vmms[i].start_ticks;
        r = store_update(op->host->store, &op->record, err);
        return r < 0 ? r : end_unborn(op, err);
    }
    return 0;
}

/* 1: there is a directory of this instance under a temporary name: it was being deleted. */
static int was_being_deleted(struct host *host, const char *id, struct error *err)
{
    _cleanup_(closedir) DIR *dir = NULL;
    const char *name;
    int r = dir_stream(host->guests_fd, host->guests_dir, &dir, err);
    if (r < 0)
        return r;
    while ((r = dir_next(dir, host->guests_dir, &name, err)) > 0) {
        if (strncmp(name, id, strlen(id)) == 0 && is_temporary_name(name))
            return 1;
    }
    return r;
}

/* A row without its directory. */
static int recover_missing(struct operation *op, struct error *err)
{
    int deleted =
        op->record.state == INSTANCE_CREATED ? 1 : was_being_deleted(op->host, op->record.id, err);
    if (deleted < 0)
        return deleted;
    if (deleted) {
        log_info("instance %s (%s): removed: it was half-made or half-deleted", op->record.id,
                 op->record.name);
        return store_delete(op->host->store, op->record.id, err);
    }
    char text[sizeof(op->record.state_error)];
    snprintf(text, sizeof(text), "its guest directory %.400s is not there", op->guest_dir);
    return settle_unknown(op, text, err);
}

static int recover_half_made(struct operation *op, struct error *err)
{
    log_info("instance %s (%s): removed: its creation was not finished", op->record.id,
             op->record.name);
    int r = kill_locked(op, err);
    return r < 0 ? r : remove_locked(op, err);
}

/* What is made of an instance has its row behind the instance's own, so it comes after. */
static int recover_present(struct operation *op, struct found *found, struct error *err)
{
    int r = live_end_strays(op, found->vmms, found->count, err);
    if (r > 0)
        r = look(found, err);
    if (r == 0)
        r = find_vmm(op, found, err);
    if (r < 0)
        return r;
    return op->record.state == INSTANCE_CREATED ? recover_half_made(op, err)
                                                : settle(op, ENDED, err);
}

static int recover_one(struct host *host, struct found *found, const char *id, struct error *err)
{
    _cleanup_(log_context) struct log_context context;
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    log_context_begin(&context, id, NULL);
    int r = operation_begin_raw(host, id, LOCK_EXCLUSIVE, &op, err);
    if (r < 0)
        return r;
    struct error cause = {0};
    r = operation_check_hypervisor(&op, &cause);
    if (r == 0)
        r = operation_open_directory(&op, &cause);
    r = r == -ENOENT ? recover_missing(&op, &cause)
        : r == 0     ? recover_present(&op, found, &cause)
                     : r;
    return r < 0 ? settle_unknown(&op, cause.message, err) : 0;
}

int recover(struct host *host, struct error *err)
{
    _cleanup_(free) struct instance_record *records = NULL;
    _cleanup_(found) struct found found = {.vmms = NULL};
    size_t count = 0;
    int r = store_list(host->store, &records, &count, err);
    strays_end(host->guests_fd, host->guests_dir);
    if (r == 0)
        r = look(&found, err);
    for (size_t i = 0; r == 0 && i < count; i++)
        r = recover_one(host, &found, records[i].id, err);
    if (r < 0)
        return r;
    /* When the templates have ended: until then a VM of one may come to see its directory. */
    strays_end(host->snapshots_fd, host->snapshots_dir);
    /* Last: a temporary name is how a half-done delete is told. */
    int swept = stack_sweep(host->guests_fd, host->guests_dir, err);
    if (swept < 0)
        return swept;
    const struct known_rows known = {records, count, sizeof(*records),
                                     offsetof(struct instance_record, id)};
    r = strangers_warn(host->guests_fd, host->guests_dir, "instance", &known, err);
    return r < 0 ? r : recover_snapshots(host, err);
}
