/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/working_set.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"
#include "base/log.h"
#include "pager/touch_record.h"
#include "paging/paging.h"

#define PAGE_BYTES 4096u

/* 1: there is one. */
static int record_read(const struct operation *op, int dir, struct touch_record *record,
                       struct error *err)
{
    _cleanup_(free) char *data = NULL;
    size_t length = 0;
    struct error cause = {0};
    int r = file_read_all(dir, PAGING_RECORD, TOUCH_RECORD_MAX_FILE, &data, &length, &cause);
    if (r == 0)
        r = touch_record_decode(record, (const uint8_t *)data, length, op->record.cache_key,
                                op->record.memory_bytes / PAGE_BYTES, &cause);
    if (r < 0 && r != -ENOENT)
        *err = cause;
    return r == -ENOENT ? 0 : r < 0 ? r : 1;
}

/* In their order, so many at a time. */
static int populate(const struct operation *op, const struct vm_pages *runs, size_t count,
                    struct vm_populate how, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    int r = 0;
    for (size_t i = 0; r == 0 && i < count; i += VM_POPULATE_MAX) {
        how.runs = runs + i;
        how.count = count - i < VM_POPULATE_MAX ? count - i : VM_POPULATE_MAX;
        r = hypervisor->populate(hypervisor, &spec, &how, err);
    }
    return r;
}

static int populate_recorded(const struct operation *op, const struct touch_record *record,
                             struct error *err)
{
    _cleanup_(free) struct vm_pages *runs = calloc(record->count + 1u, sizeof(*runs));
    if (!runs)
        return error_errno(err, ENOMEM, op->record.name, "map pages");
    for (uint32_t i = 0; i < record->count; i++)
        runs[i] = (struct vm_pages){record->runs[i].page, record->runs[i].count};
    return populate(op, runs, record->count, (struct vm_populate){.runs = NULL}, err);
}

void working_set_populate(const struct operation *op, int dir)
{
    struct touch_record record = {.runs = NULL};
    struct error err = {0};
    int r = record_read(op, dir, &record, &err);
    if (r > 0)
        r = populate_recorded(op, &record, &err);
    if (r < 0)
        log_warning("what forks of %s needed first is not mapped for the next: %s", op->record.name,
                    err.message);
    touch_record_free(&record);
}

void working_set_map(const struct operation *op, const struct vm_touched *needed)
{
    struct error err = {0};
    int r = populate(op, needed->written, needed->written_count,
                     (struct vm_populate){.write = true, .kvm = true}, &err);
    if (r == 0)
        r = populate(op, needed->read, needed->read_count, (struct vm_populate){.kvm = true}, &err);
    if (r < 0)
        log_warning("what a fork of %s will need is not all mapped: %s", op->record.name,
                    err.message);
}

/* ---- what a fork needed ---- */

static uint64_t pages_of(const struct vm_pages *runs, size_t count)
{
    uint64_t pages = 0;
    for (size_t i = 0; i < count && pages <= WORKING_SET_OWN_MAX; i++)
        pages = runs[i].count > WORKING_SET_OWN_MAX ? UINT64_MAX : pages + runs[i].count;
    return pages;
}

/* Nobody is kept waiting for it, so it is not held: whoever ends it meanwhile, or puts it to sleep,
 * ends the VMM that is asked. */
static int begin_to_look(struct host *host, const char *id, struct operation *op, struct error *err)
{
    op->host = host;
    int r = store_get(host->store, id, &op->record, err);
    if (r < 0)
        return r;
    if (asprintf(&op->guest_dir, "%s/%s", host->guests_dir, id) >= 0)
        return 0;
    op->guest_dir = NULL;
    return error_errno(err, ENOMEM, id, "look at %s", id);
}

int working_set_learn(struct host *host, const char *id, struct vm_touched *needed,
                      struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    *needed = (struct vm_touched){.read = NULL};
    int r = begin_to_look(host, id, &op, err);
    if (r < 0)
        return r;
    const struct hypervisor *hypervisor = operation_hypervisor(&op);
    const struct vm_spec spec = operation_spec(&op);
    if (op.record.state == INSTANCE_CREATED || op.record.state == INSTANCE_PAUSED)
        return -EBUSY;
    if (op.record.state != INSTANCE_RUNNING)
        return error_set(err, ERROR_STATE, ESRCH, "%s is %s", op.record.name,
                         instance_state_name(op.record.state));
    r = hypervisor->touched(hypervisor, &spec, needed, err);
    if (r < 0)
        return r;
    if (pages_of(needed->written, needed->written_count) > WORKING_SET_OWN_MAX)
        needed->written_count = 0;
    return 0;
}
