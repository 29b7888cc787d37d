/* SPDX-License-Identifier: Apache-2.0 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "instance/compressor.h"
#include "instance/host.h"
#include "instance/memory_image.h"
#include "instance/owner.h"
#include "instance/paged.h"
#include "instance/settle.h"
#include "stack/stack.h"

#define LAST_WORDS_MS 2000

int step(const char *name, struct error *err)
{
    int r = failpoint(name);
    return r < 0 ? error_errno(err, -r, NULL, "failpoint %s", name) : 0;
}

static int operation_init(struct host *host, const char *id, enum lock_kind kind,
                          struct operation *op, struct error *err)
{
    *op = (struct operation){.host = host, .guest_fd = -1};
    snprintf(op->record.id, sizeof(op->record.id), "%s", id);
    if (asprintf(&op->guest_dir, "%s/%s", host->guests_dir, id) < 0) {
        op->guest_dir = NULL;
        return error_errno(err, ENOMEM, id, "instance %s", id);
    }
    uint64_t begin = time_monotonic_ns();
    int r = lock_take(host->locks, id, kind, &op->hold, err);
    op->waited_ns = time_monotonic_ns() - begin;
    if (r < 0)
        operation_end(op);
    return r;
}

int operation_begin_raw(struct host *host, const char *id, enum lock_kind kind,
                        struct operation *op, struct error *err)
{
    int r = operation_init(host, id, kind, op, err);
    if (r < 0)
        return r;
    r = store_get(host->store, id, &op->record, err);
    if (r < 0)
        operation_end(op);
    return r;
}

int operation_begin_new(struct host *host, struct operation *op, struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    int r = id_make(id, err);
    return r < 0 ? r : operation_init(host, id, LOCK_EXCLUSIVE, op, err);
}

int operation_open_directory(struct operation *op, struct error *err)
{
    int fd = dir_open(op->host->guests_fd, op->record.id, err);
    if (fd < 0) {
        error_wrap(err, "instance %s", op->record.name);
        return fd;
    }
    op->guest_fd = fd;
    return 0;
}

/* True if the row says that a VMM runs and it does not: it died and the watcher had no turn yet. */
static bool is_stale(const struct operation *op)
{
    if (!record_has_vmm(&op->record))
        return false;
    struct vm_process process;
    bool alive = operation_process(op, &process);
    process_release(&process);
    return !alive;
}

static int begin_by_id(struct host *host, const char *id, enum lock_kind kind, struct operation *op,
                       struct error *err)
{
    int r = operation_begin_raw(host, id, kind, op, err);
    if (r == 0)
        r = operation_check_hypervisor(op, err);
    if (r == 0)
        r = operation_open_directory(op, err);
    if (r == 0 && op->hold.writing && is_stale(op))
        r = settle(op, "the VMM ended", err);
    if (r < 0)
        operation_end(op);
    return r;
}

int operation_begin(struct host *host, const char *reference, enum lock_kind kind,
                    struct operation *op, struct error *err)
{
    char id[INSTANCE_ID_LENGTH + 1];
    int r = store_resolve(host->store, reference, id, err);
    if (r < 0)
        return r;
    for (;;) {
        r = begin_by_id(host, id, kind, op, err);
        if (r < 0 || op->hold.writing || !is_stale(op))
            return r;
        /* Only a writer may put the row right. */
        operation_end(op);
        r = begin_by_id(host, id, LOCK_EXCLUSIVE, op, err);
        operation_end(op);
        if (r < 0)
            return r;
    }
}

void operation_end(struct operation *op)
{
    if (op->guest_fd >= 0)
        close(op->guest_fd);
    op->guest_fd = -1;
    free(op->guest_dir);
    op->guest_dir = NULL;
    if (op->hold.table) {
        lock_release(&op->hold);
        compressor_poke(op->host->compressor);
    }
}

/* One that can't be read has no state to tell. */
void operation_look(struct operation *op)
{
    struct instance_record now;
    op->removed = store_get(op->host->store, op->record.id, &now, NULL) < 0;
    if (op->removed)
        return;
    lock_shown(op->host->locks, now.id, &now.state);
    op->record = now;
}

void operation_show(struct operation *op, enum instance_state state)
{
    enum instance_state from = op->record.state;
    lock_shown(op->host->locks, op->record.id, &from);
    assert(from == state || instance_transition_legal(from, state));
    lock_show(&op->hold, state);
}

bool record_has_vmm(const struct instance_record *record)
{
    return record->state == INSTANCE_INITIALIZING || record->state == INSTANCE_RUNNING ||
           record->state == INSTANCE_PAUSED || record->state == INSTANCE_SHUTDOWN;
}

bool record_is_new_fork(const struct instance_record *record)
{
    return record->parent_id[0] && record->stopped_at_ns == 0;
}

bool record_has_writable_disk(const struct instance_record *record)
{
    for (unsigned i = 0; i < record->disk_count; i++) {
        if (!record->disks[i].read_only)
            return true;
    }
    return false;
}

void record_tidy(struct instance_record *record)
{
    if (!record_has_vmm(record) && record->state != INSTANCE_UNKNOWN) {
        record->vmm_pid = 0;
        record->paged = false;
        record->vmm_start_ticks = 0;
    }
}

void operation_result(const struct operation *op, struct instance_record *record)
{
    if (!record)
        return;
    *record = op->record;
    record_tidy(record);
    memory_look(op->host, record);
    paged_look(op->host, record);
}

struct vm_spec operation_spec(const struct operation *op)
{
    const struct instance_record *record = &op->record;
    struct vm_spec spec = {
        .id = record->id,
        .guest_dir = op->guest_dir,
        .vcpus = record->vcpus,
        .memory_bytes = record->memory_bytes,
        .has_initrd = record->has_initrd,
        .cmdline = record->cmdline[0] ? record->cmdline : NULL,
        .disk_count = record->disk_count,
    };
    memcpy(spec.disks, record->disks, sizeof(spec.disks));
    return spec;
}

bool operation_process(const struct operation *op, struct vm_process *process)
{
    *process = (struct vm_process){
        .pid = op->record.vmm_pid, .pidfd = -1, .start_ticks = op->record.vmm_start_ticks};
    return process->pid > 0 && vm_process_alive(process);
}

void process_release(struct vm_process *process)
{
    if (process->pidfd >= 0)
        close(process->pidfd);
    process->pidfd = -1;
}

bool process_has_ended(const struct vm_process *process, int r)
{
    bool vanished = r == -ECONNRESET || r == -ECONNREFUSED || r == -ENOENT;
    return vm_process_wait(process, vanished ? LAST_WORDS_MS : 0, NULL) > 0;
}

struct label operation_label(const struct operation *op, const char *name)
{
    const struct owner owner = operation_owner(op);
    return owner_label(&owner, name);
}

int operation_share(const struct operation *op, int from, const char *directory, int to,
                    const char *name, struct error *err)
{
    char path[64];
    struct stack_result result;
    snprintf(path, sizeof(path), "%s/%s", directory, name);
    const struct label label = operation_label(op, path), to_label = operation_label(op, name);
    const struct stack_file source = {from, name, label.text}, link = {to, name, to_label.text};
    return stack_share(&source, &link, &result, err);
}

char *operation_path(const struct operation *op, const char *name)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s", op->guest_dir, name) < 0 ? NULL : path;
}
