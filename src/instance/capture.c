/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/capture.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "instance/disks.h"
#include "instance/fork_files.h"
#include "instance/live.h"
#include "instance/saving.h"

struct capture {
    pthread_mutex_t lock; /* guards what comes next; held while the VM is made */
    unsigned users;
    bool made;
    pthread_mutex_t writing; /* guards what comes next; held while it writes */
    bool written;
    struct draft draft;
    struct operation op; /* the VM as if it were an instance: the source's row, this directory; it
                            holds no lock and has no row of its own */
};

struct capture *capture_new(void)
{
    struct capture *capture = calloc(1, sizeof(*capture));
    if (!capture)
        return NULL;
    pthread_mutex_init(&capture->lock, NULL);
    pthread_mutex_init(&capture->writing, NULL);
    capture->users = 1;
    capture->draft.fd = capture->op.guest_fd = -1;
    return capture;
}

/* What the row knows of paging is the source's, so kill_locked() is not for this. */
static int end_vm(struct capture *capture, struct error *err)
{
    struct operation *op = &capture->op;
    struct vm_process process;
    int r = operation_process(op, &process) ? vm_process_kill(&process, VMM_KILL_MS, err) : 0;
    process_release(&process);
    if (r == 0)
        op->record.vmm_pid = 0;
    return r;
}

static void unmake(struct capture *capture)
{
    struct error err = {0};
    if (end_vm(capture, &err) < 0)
        log_error("instance %s: end the VM that wrote its snapshot: %s", capture->op.record.id,
                  err.message);
    cleanup_draft(&capture->draft);
    free(capture->op.guest_dir);
    capture->draft = (struct draft){.fd = -1};
    capture->op.guest_fd = -1;
    capture->op.guest_dir = NULL;
}

void capture_put(struct capture *capture)
{
    if (!capture)
        return;
    pthread_mutex_lock(&capture->lock);
    bool last = --capture->users == 0;
    pthread_mutex_unlock(&capture->lock);
    if (!last)
        return;
    unmake(capture);
    pthread_mutex_destroy(&capture->lock);
    pthread_mutex_destroy(&capture->writing);
    free(capture);
}

struct owner capture_owner(const struct capture *capture)
{
    const struct host *host = capture->op.host;
    return (struct owner){.thing = "instance",
                          .id = capture->op.record.id,
                          .parent = host->snapshots_fd,
                          .parent_path = host->snapshots_dir,
                          .fd = capture->draft.fd};
}

/* ---- the VM ---- */

static int make_directory(struct capture *capture, const struct live *live,
                          const struct operation *source, struct error *err)
{
    struct operation *op = &capture->op;
    const struct owner from = operation_owner(source), to = capture_owner(capture);
    struct handover handover = {.from = &from,
                                .to = &to,
                                .draft = &capture->draft,
                                .record = &op->record,
                                .base = true,
                                .disks = &live->owner,
                                .stacks = disks_are_stacks(op->host, &op->record)};
    struct owner place = to;
    place.id = CAPTURE_DIRECTORY;
    int r = draft_make_for(&place, &capture->draft, err);
    if (r < 0)
        return r;
    op->guest_fd = capture->draft.fd;
    if (asprintf(&op->guest_dir, "%s/%s", op->host->snapshots_dir, capture->draft.name) < 0) {
        op->guest_dir = NULL;
        return error_errno(err, ENOMEM, op->host->snapshots_dir, "capture %s", op->record.name);
    }
    r = fork_files(&handover, err);
    return r < 0 ? r : step("capture-linked", err);
}

static int make(struct capture *capture, const struct live *live, const struct operation *source,
                const char *compression, struct error *err)
{
    struct operation *op = &capture->op;
    op->host = source->host;
    op->record = source->record;
    op->record.vmm_pid = 0;
    int r = make_directory(capture, live, source, err);
    snprintf(op->record.compression, sizeof(op->record.compression), "%s", compression);
    if (r == 0)
        r = live_child(op, live, err);
    if (r < 0)
        unmake(capture);
    return r;
}

int capture_take(const struct live *live, const struct operation *source, const char *compression,
                 struct capture **capture, struct error *err)
{
    struct capture *shared = live->capture;
    pthread_mutex_lock(&shared->lock);
    int r = shared->made ? 0 : make(shared, live, source, compression, err);
    if (r == 0) {
        shared->made = true;
        shared->users++;
        *capture = shared;
    }
    pthread_mutex_unlock(&shared->lock);
    return r;
}

/* ---- the image ---- */

static int write_into(struct capture *capture, struct saving *saving, struct error *err)
{
    struct operation *op = &capture->op;
    struct instance_record record = op->record;
    int r = saving_prepare(op, saving, err);
    if (r == 0)
        r = step("capture-prepared", err);
    if (r == 0)
        r = saving_write(op, saving, err);
    if (r == 0)
        r = saving_record(saving, &record, err);
    if (r == 0)
        r = directory_rename(op, saving->temporary, GUEST_SNAPSHOT, err);
    if (r == 0)
        op->record = record;
    return r;
}

/* An image that could not be written leaves the VM as it was, for the next one who tries. */
static int write_image(struct capture *capture, struct error *err)
{
    struct operation *op = &capture->op;
    struct error cause = {0};
    _cleanup_(saving) struct saving saving = {.temporary = NULL};
    const uint64_t begin_ns = time_monotonic_ns();
    int r = saving_name(op, &saving, err);
    if (r < 0)
        return r;
    r = write_into(capture, &saving, err);
    if (r < 0 && saving_undo(op, &saving, &cause) < 0)
        log_warning("instance %s: %s", op->record.id, cause.message);
    if (r < 0) {
        error_wrap(err, "save the memory of %s, which runs", op->record.name);
        return r;
    }
    saving_count(op, &saving);
    log_info("instance %s: its memory is saved while it runs, in %llu ms", op->record.id,
             (unsigned long long)((time_monotonic_ns() - begin_ns) / 1000000));
    if (end_vm(capture, &cause) < 0)
        log_warning("instance %s: %s", op->record.id, cause.message);
    return 0;
}

static void describe(const struct capture *capture, struct instance_record *record)
{
    const struct instance_record *from = &capture->op.record;
    record->memory_layers = from->memory_layers;
    memcpy(record->memory_top, from->memory_top, sizeof(record->memory_top));
    memcpy(record->cache_key, from->cache_key, sizeof(record->cache_key));
}

int capture_write(struct capture *capture, struct instance_record *record, struct error *err)
{
    pthread_mutex_lock(&capture->writing);
    int r = capture->written ? 0 : write_image(capture, err);
    capture->written = r == 0;
    if (r == 0)
        describe(capture, record);
    pthread_mutex_unlock(&capture->writing);
    return r < 0 ? r : step("capture-written", err);
}
