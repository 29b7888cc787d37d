/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/saving.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "instance/layering.h"
#include "instance/memory_stack.h"
#include "instance/merge.h"
#include "instance/paged.h"
#include "instance/telemetry.h"
#include "instance/trace.h"

static bool adds_layer(const struct saving *saving)
{
    return saving->how == VM_SAVE_DIFF || saving->how == VM_SAVE_LAYER;
}

int saving_name(const struct operation *op, struct saving *saving, struct error *err)
{
    saving->temporary = temporary_name(GUEST_SNAPSHOT);
    return saving->temporary ? 0
                             : error_errno(err, ENOMEM, op->guest_dir, "save %s", op->record.name);
}

int saving_prepare(struct operation *op, struct saving *saving, struct error *err)
{
    if (mkdirat(op->guest_fd, saving->temporary, 0700) < 0)
        return error_errno(err, errno, op->guest_dir, "make %s/%s", op->guest_dir,
                           saving->temporary);
    trace_phase(op, "unshare");
    enum vm_save how = VM_SAVE_FULL;
    bool merges = false;
    int r = layering_prepare(op, saving->temporary, &how, err);
    if (r > 0)
        saving->how = how;
    if (r != 0)
        return r < 0 ? r : 0;
    r = merge_prepare(op, saving->temporary, &merges, err);
    if (merges)
        saving->how = VM_SAVE_MERGED;
    return r;
}

int saving_write(struct operation *op, struct saving *saving, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    trace_phase(op, "save");
    int r = hypervisor->snapshot(hypervisor, &spec, saving->temporary, saving->how, err);
    if (r == 0)
        r = step("standby-saved", err);
    if (r == 0 && adds_layer(saving))
        r = layering_finish(op, saving->temporary, saving->how, &saving->top, err);
    return r;
}

int saving_record(const struct saving *saving, struct instance_record *record, struct error *err)
{
    memory_stack_set(record, adds_layer(saving) ? record->memory_layers + 1 : 0, saving->top);
    return cache_key_renew(record, err);
}

void saving_count(const struct operation *op, const struct saving *saving)
{
    static const char *const kinds[] = {[VM_SAVE_FULL] = "full",
                                        [VM_SAVE_MERGED] = "merge",
                                        [VM_SAVE_DIFF] = "layer",
                                        [VM_SAVE_LAYER] = "layer"};
    metric_add(op->host->telemetry->memory_saves, 1, &kinds[saving->how]);
}

int saving_undo(struct operation *op, const struct saving *saving, struct error *err)
{
    int r = saving->how == VM_SAVE_MERGED ? merge_undo(op, saving->temporary, err) : 0;
    return r < 0 ? r : tree_remove(op->guest_fd, saving->temporary, err);
}

void cleanup_saving(struct saving *saving)
{
    free(saving->temporary);
}
