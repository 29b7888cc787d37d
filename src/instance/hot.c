/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/hot.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "instance/disks.h"
#include "instance/fork_files.h"
#include "instance/memory_image.h"
#include "instance/memory_stack.h"
#include "instance/source.h"
#include "instance/strays.h"
#include "instance/working_set.h"
#include "stack/stack.h"

#define BASE_STATE  GUEST_BASE "/" SNAPSHOT_STATE
#define BASE_MEMORY GUEST_BASE "/" SNAPSHOT_MEMORY
#define SLEEPS_WITH GUEST_SNAPSHOT "/" SNAPSHOT_STATE

/* ---- the files of the template ---- */

static int directory_make(struct hot *hot, struct error *err)
{
    struct live *live = &hot->live;
    int r = id_make(hot->id, err);
    if (r < 0)
        return r;
    live->owner = (struct owner){.thing = "instance",
                                 .id = hot->id,
                                 .parent = hot->host->guests_fd,
                                 .parent_path = hot->host->guests_dir};
    r = draft_make_for(&live->owner, &live->draft, err);
    if (r < 0)
        return r;
    live->owner.fd = live->draft.fd;
    if (asprintf(&live->path, "%s/%s", hot->host->guests_dir, live->draft.name) < 0) {
        live->path = NULL;
        return error_errno(err, ENOMEM, hot->host->guests_dir, "make a template");
    }
    return mkdirat(live->draft.fd, "run", 0700) < 0
               ? error_errno(err, errno, live->path, "make %s/run", live->path)
               : 0;
}

/* Nobody could tell which image a copy is of. */
static int mark_image(const struct hot *hot, const struct owner *from, struct image_mark *mark,
                      struct error *err)
{
    int r = image_mark_take(hot->live.draft.fd, BASE_STATE, mark, err);
    if (r == 0)
        r = image_mark_compare(mark, from->fd, SLEEPS_WITH, err);
    if (r < 0 || r == IMAGE_SAME)
        return r < 0 ? r : 0;
    return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                     "the image of %s %s can't be shared by links, and so not be kept hot",
                     from->thing, from->id);
}

static int link_from(struct hot *hot, const struct owner *from,
                     const struct instance_record *record, struct image_mark *mark,
                     struct error *err)
{
    const struct hypervisor *hypervisor = host_hypervisor(hot->host, record->hypervisor);
    struct live *live = &hot->live;
    if (!hypervisor || !hypervisor->template_make)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "%s %s can't be kept hot: its hypervisor is %s", from->thing, from->id,
                         record->hypervisor);
    int r = directory_make(hot, err);
    if (r < 0)
        return r;
    hot->record = *record;
    struct handover handover = {.from = from,
                                .to = &live->owner,
                                .draft = &live->draft,
                                .record = &hot->record,
                                .memory = true,
                                .stacks = disks_are_stacks(hot->host, record)};
    r = fork_files(&handover, err);
    if (r == 0 && renameat(live->draft.fd, GUEST_SNAPSHOT, live->draft.fd, GUEST_BASE) < 0)
        r = error_errno(err, errno, live->path, "rename %s/" GUEST_SNAPSHOT, live->path);
    if (r == 0)
        r = mark_image(hot, from, mark, err);
    return r < 0 ? r : step("warm-linked", err);
}

static int not_asleep(const char *name, enum instance_state state, struct error *err)
{
    return error_set(err, ERROR_STATE, EBUSY, "%s does not sleep: it is %s", name,
                     instance_state_name(state));
}

static int expand(struct host *host, const char *id, struct error *err)
{
    _cleanup_(operation) struct operation source = OPERATION_NONE;
    int r = operation_begin(host, id, LOCK_EXCLUSIVE, &source, err);
    return r < 0 || source.record.state != INSTANCE_STANDBY ? r : memory_expand(&source, err);
}

/* One that sleeps with an image that is compressed, and that pagers would serve, gets it raw: it is
 * mapped, and once for all. */
static int begin_raw(struct host *host, const char *id, struct operation *source, struct error *err)
{
    const struct source_wish wish = {.kind = OPERATION_FORK, .memory = true};
    for (;;) {
        struct stack_packed packed;
        int r = source_begin(host, id, &wish, source, err);
        if (r < 0 || source->record.state != INSTANCE_STANDBY)
            return r;
        r = memory_is_packed(source, &packed, err);
        if (r <= 0)
            return r;
        operation_end(source);
        r = expand(host, id, err);
        if (r < 0)
            return r;
    }
}

static int link_instance(struct hot *hot, const char *id, struct image_mark *mark,
                         struct error *err)
{
    _cleanup_(operation) struct operation source = OPERATION_NONE;
    int r = begin_raw(hot->host, id, &source, err);
    if (r < 0)
        return r;
    if (source.record.state != INSTANCE_STANDBY || source.hold.joined)
        return not_asleep(source.record.name, source.record.state, err);
    const struct owner from = operation_owner(&source);
    return link_from(hot, &from, &source.record, mark, err);
}

static int link_snapshot(struct hot *hot, const char *id, struct image_mark *mark,
                         struct error *err)
{
    _cleanup_(snapshot_operation) struct snapshot_operation snapshot = SNAPSHOT_OPERATION_NONE;
    int r = memory_begin_snapshot(hot->host, id, false, &snapshot, err);
    if (r < 0)
        return r;
    if (snapshot.record.kind != INSTANCE_STANDBY)
        return not_asleep(id, snapshot.record.kind, err);
    const struct owner from = snapshot_owner(&snapshot);
    return link_from(hot, &from, &snapshot.record.source, mark, err);
}

/* ---- a VM in a directory of its own, whether loader or parked ---- */

/* Nobody else knows its id, so there is no lock. */
static int vm_begin(const struct hot *hot, struct operation *op, struct draft *draft,
                    struct error *err)
{
    *op = (struct operation){.host = hot->host, .record = hot->record, .guest_fd = -1};
    int r = id_make(op->record.id, err);
    if (r == 0)
        r = draft_make(op, draft, err);
    if (r < 0)
        return r;
    if (asprintf(&op->guest_dir, "%s/%s", hot->host->guests_dir, draft->name) < 0) {
        op->guest_dir = NULL;
        return error_errno(err, ENOMEM, hot->host->guests_dir, "make a VM of a template");
    }
    op->guest_fd = dir_open(draft->fd, ".", err);
    return op->guest_fd < 0 ? op->guest_fd : 0;
}

static int vm_link(const struct hot *hot, struct operation *op, const struct draft *draft,
                   struct error *err)
{
    const struct owner to = operation_owner(op);
    op->record.memory_bytes_copied = op->record.disk_bytes_copied = 0;
    struct handover handover = {.from = &hot->live.owner,
                                .to = &to,
                                .draft = draft,
                                .record = &op->record,
                                .base = true,
                                .disks = &hot->live.owner,
                                .stacks = disks_are_stacks(op->host, &op->record)};
    return fork_files(&handover, err);
}

/* ---- the loader ---- */

static int check_image(const struct operation *op, struct error *err)
{
    const struct label label = operation_label(op, BASE_MEMORY);
    _cleanup_(close) int dir = dir_open(op->guest_fd, GUEST_BASE, err);
    if (dir < 0)
        return dir;
    const struct stack_file memory = {dir, SNAPSHOT_MEMORY, label.text};
    int r = stack_check_size(&memory, op->record.memory_bytes, err);
    return r < 0 ? r : memory_stack_check(dir, label.text, &op->record, err);
}

/* It has the state, too, which a VM of the template does not need. */
static int loader_files(const struct hot *hot, struct operation *op, const struct draft *draft,
                        struct error *err)
{
    int r = vm_link(hot, op, draft, err);
    if (r == 0 && linkat(hot->live.draft.fd, BASE_STATE, draft->fd, BASE_STATE, 0) < 0)
        r = error_errno(err, errno, hot->live.path, "link %s/" BASE_STATE, hot->live.path);
    return r < 0 ? r : check_image(op, err);
}

static int template_make(struct hot *hot, const struct operation *op, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    const struct vm_template template = {.id = hot->id, .guest_dir = hot->live.path};
    uint64_t paused_ns;
    int r = step("warm-loaded", err);
    if (r == 0)
        r = hypervisor->template_check(hypervisor, &spec, err);
    if (r == 0)
        r = hypervisor->template_make(hypervisor, &spec, &template, &hot->live.process, &paused_ns,
                                      err);
    return r < 0 ? r : step("warm-template", err);
}

static int map_working_set(const struct hot *hot, const struct operation *op, struct error *err)
{
    _cleanup_(close) int base = dir_open(hot->live.draft.fd, GUEST_BASE, err);
    if (base < 0)
        return base;
    working_set_populate(op, base);
    return 0;
}

static int load(struct hot *hot, struct operation *op, struct error *err)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    const struct vm_restore how = {.snapshot_dir = GUEST_BASE, .layers = op->record.memory_layers};
    struct vm_process process = {.pidfd = -1};
    struct error cause = {0};
    int r = hypervisor->restore(hypervisor, &spec, &how, &process, err);
    if (r < 0)
        return r;
    r = map_working_set(hot, op, err);
    if (r == 0)
        r = template_make(hot, op, err);
    if (r < 0) /* it may have been born all the same */
        strays_end_in(hot->live.draft.fd, hot->live.path);
    if (vm_process_kill(&process, VMM_KILL_MS, &cause) < 0)
        log_error("end the loader of a template: %s", cause.message);
    process_release(&process);
    return r;
}

static int load_image(struct hot *hot, struct error *err)
{
    _cleanup_(draft) struct draft draft = {.fd = -1};
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = vm_begin(hot, &op, &draft, err);
    if (r == 0)
        r = loader_files(hot, &op, &draft, err);
    return r < 0 ? r : load(hot, &op, err);
}

struct hot *hot_make(struct host *host, const struct warm_source *source, struct image_mark *mark,
                     struct error *err)
{
    struct hot *hot = calloc(1, sizeof(*hot));
    if (!hot) {
        error_errno(err, ENOMEM, source->id, "keep %s hot", source->id);
        return NULL;
    }
    hot->host = host;
    hot->live = (struct live)LIVE_NONE;
    int r = source->snapshot ? link_snapshot(hot, source->id, mark, err)
                             : link_instance(hot, source->id, mark, err);
    if (r == 0)
        r = load_image(hot, err);
    if (r == 0)
        return hot;
    hot_end(hot);
    return NULL;
}

void hot_end(struct hot *hot)
{
    if (!hot)
        return;
    live_end(&hot->live);
    free(hot);
}

/* ---- a VM that waits ---- */

static int park(struct hot *hot, struct operation *op, const struct vm_touched *needed,
                struct parked *parked, struct error *err)
{
    int r = vm_begin(hot, op, &parked->draft, err);
    if (r == 0)
        r = vm_link(hot, op, &parked->draft, err);
    if (r == 0)
        r = draft_sync(&parked->draft, err);
    if (r == 0)
        r = live_child(op, &hot->live, err);
    if (r == 0 && needed)
        working_set_map(op, needed);
    parked->mapped = needed != NULL;
    parked->record = op->record;
    parked->process.pid = op->record.vmm_pid;
    parked->process.start_ticks = op->record.vmm_start_ticks;
    if (r == 0 && !vm_process_alive(&parked->process))
        r = error_set(err, ERROR_SYSTEM, ECONNRESET, "a VM of a template ended at its birth");
    return r < 0 ? r : step("warm-parked", err);
}

struct parked *hot_park(struct hot *hot, const struct vm_touched *needed, struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    struct parked *parked = calloc(1, sizeof(*parked));
    if (!parked) {
        error_errno(err, ENOMEM, hot->live.path, "make a VM of a template");
        return NULL;
    }
    parked->draft.fd = parked->process.pidfd = -1;
    if (park(hot, &op, needed, parked, err) == 0)
        return parked;
    parked_end(parked);
    return NULL;
}

void parked_end(struct parked *parked)
{
    struct error err = {0};
    if (!parked)
        return;
    if (parked->process.pid > 0 && vm_process_kill(&parked->process, VMM_KILL_MS, &err) < 0)
        log_error("end a VM that waits for a fork: %s", err.message);
    process_release(&parked->process);
    cleanup_draft(&parked->draft);
    free(parked);
}

int parked_become(struct parked *parked, struct operation *op, struct error *err)
{
    const struct instance_record *record = &parked->record;
    struct instance_record *mine = &op->record;
    mine->memory_bytes_copied = record->memory_bytes_copied;
    mine->disk_bytes_copied = record->disk_bytes_copied;
    mine->memory_layers = record->memory_layers;
    mine->compression[0] = '\0';
    snprintf(mine->memory_method, sizeof(mine->memory_method), "%s", record->memory_method);
    snprintf(mine->memory_top, sizeof(mine->memory_top), "%s", record->memory_top);
    mine->vmm_pid = record->vmm_pid;
    mine->vmm_start_ticks = record->vmm_start_ticks;
    mine->state = INSTANCE_PAUSED;
    parked->process.pid = 0; /* whoever removes the instance ends it */
    int r = step("warm-taken", err);
    if (r == 0)
        r = draft_publish_synced(op, &parked->draft, err);
    return r < 0 ? r : step("warm-published", err);
}
