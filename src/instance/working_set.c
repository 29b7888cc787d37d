/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/working_set.h"

#include <errno.h>

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

/* In the order in which they were needed, so many at a time. */
static int populate(const struct operation *op, const struct touch_record *record,
                    struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < record->count; i += VM_POPULATE_MAX) {
        struct vm_pages runs[VM_POPULATE_MAX];
        size_t count = 0;
        for (; count < VM_POPULATE_MAX && i + count < record->count; count++)
            runs[count] =
                (struct vm_pages){record->runs[i + count].page, record->runs[i + count].count};
        r = hypervisor->populate(hypervisor, &spec, runs, count, err);
    }
    return r;
}

void working_set_populate(const struct operation *op, int dir)
{
    struct touch_record record = {.runs = NULL};
    struct error err = {0};
    int r = record_read(op, dir, &record, &err);
    if (r > 0)
        r = populate(op, &record, &err);
    if (r < 0)
        log_warning("what forks of %s needed first is not mapped for the next: %s", op->record.name,
                    err.message);
    touch_record_free(&record);
}
