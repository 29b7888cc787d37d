/* SPDX-License-Identifier: Apache-2.0 */
/* A snapshot of a paused VM: memory file and state file. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "base/log.h"
#include "vmm/disks.h"
#include "vmm/machine_state.h"
#include "vmm/snapshot_file.h"
#include "vmm/vmm_private.h"

static int config_save(const struct vmm *vmm, struct state_writer *writer, struct error *err)
{
    _cleanup_(free) char *json = vm_config_to_json(&vmm->config);
    if (!json)
        return error_errno(err, ENOMEM, NULL, "save the configuration");
    state_put(writer, STATE_CONFIG, 0, CONFIG_STATE_VERSION, json, strlen(json));
    return 0;
}

int vmm_state_build(struct vmm *vmm, enum machine_saving saving, struct state_writer *writer,
                    struct error *err)
{
    state_writer_init(writer);
    int r = config_save(vmm, writer, err);
    if (r == 0)
        r = machine_save(vmm->machine, saving, writer, err);
    return r < 0 ? r : state_writer_finish(writer, err);
}

static int state_write(struct vmm *vmm, struct snapshot_file *file, struct error *err)
{
    _cleanup_(state_writer) struct state_writer writer;
    int r = vmm_state_build(vmm, MACHINE_PREPARED, &writer, err);
    if (r == 0)
        r = file_write_exact(file->fd, writer.data, writer.length, file->path, err);
    return r < 0 ? r : snapshot_file_sync(file, err);
}

/* What became of the memory file. */
struct written {
    uint64_t bytes;
    const char *how;
};

static int memory_write(struct vmm *vmm, struct snapshot_file *file,
                        const struct snapshot_create_request *request, struct written *written,
                        struct error *err)
{
    const struct guest_memory *memory = &vmm->machine->memory;
    int r = kvm_collect_dirty(&vmm->machine->kvm, memory, err);
    if (r < 0)
        return r;
    if (request->layer) {
        written->how = "a layer";
        return guest_memory_layer(memory, file->fd, file->path, &written->bytes, err);
    }
    written->how = file->in_place ? "a diff in place" : request->diff ? "a diff" : "all";
    r = request->diff
            ? guest_memory_diff(memory, file->fd, file->path, file->in_place, &written->bytes, err)
            : guest_memory_save(memory, file->fd, file->path, &written->bytes, err);
    return r < 0 ? r : snapshot_file_sync(file, err);
}

static int failpoint_check(const char *name, const char *path, struct error *err)
{
    int r = failpoint(name);
    return r < 0 ? error_errno(err, -r, path, "publish %s", path) : 0;
}

static int state_place(struct snapshot_file *state, struct error *err)
{
    int r = failpoint_check("vmm-snapshot-state", state->path, err);
    if (r == 0)
        r = snapshot_file_place(state, err);
    return r < 0 ? r : snapshot_file_sync_directory(state, err);
}

static int publish(struct snapshot_file *state, struct snapshot_file *memory, struct error *err)
{
    int r = failpoint_check("vmm-snapshot-memory", memory->path, err);
    if (r == 0)
        r = snapshot_file_set_aside(state, err);
    /* The memory may lie in another directory, whose changes no journal orders with these. */
    if (r == 0 && state->aside)
        r = snapshot_file_sync_directory(state, err);
    if (r == 0)
        r = snapshot_file_set_aside(memory, err);
    if (r == 0)
        r = snapshot_file_place(memory, err);
    if (r == 0)
        r = snapshot_file_sync_directory(memory, err);
    return r < 0 ? r : state_place(state, err);
}

/* Both files are new. */
static int create_new(struct vmm *vmm, struct snapshot_file *state, struct snapshot_file *memory,
                      const struct snapshot_create_request *request, struct written *written,
                      struct error *err)
{
    int r = state_write(vmm, state, err);
    if (r == 0)
        r = memory_write(vmm, memory, request, written, err);
    return r < 0 ? r : publish(state, memory, err);
}

/* The state alone is new. */
static int create_in_place(struct vmm *vmm, struct snapshot_file *state,
                           struct snapshot_file *memory,
                           const struct snapshot_create_request *request, struct written *written,
                           struct error *err)
{
    int r = state_write(vmm, state, err);
    if (r == 0)
        r = snapshot_file_remove_old(state, memory, err);
    if (r == 0)
        r = memory_write(vmm, memory, request, written, err);
    return r < 0 ? r : state_place(state, err);
}

static int memory_open(const struct vmm *vmm, const struct snapshot_create_request *request,
                       struct snapshot_file *memory, struct error *err)
{
    const uint64_t size = vmm->machine->memory.size;
    int r = request->diff ? snapshot_file_open(memory, request->mem_file_path, size, err) : 0;
    return r == 0 ? snapshot_file_create(memory, request->mem_file_path, err) : r < 0 ? r : 0;
}

static int check(const struct vmm *vmm, const struct snapshot_create_request *request,
                 struct error *err)
{
    if (vmm->state != VMM_PAUSED)
        return error_set(err, ERROR_STATE, EBUSY,
                         "a snapshot needs a paused microVM, this one is %s",
                         vmm_state_name(vmm->state));
    if (strcmp(request->snapshot_path, request->mem_file_path) == 0)
        return error_set(err, ERROR_INVALID, EINVAL, "snapshot_path and mem_file_path are both %s",
                         request->snapshot_path);
    return 0;
}

int vmm_snapshot_create(struct vmm *vmm, const struct snapshot_create_request *request,
                        struct error *err)
{
    uint64_t start = time_monotonic_ns();
    struct written written = {.bytes = 0};
    _cleanup_(snapshot_file) struct snapshot_file state = SNAPSHOT_FILE_NONE;
    _cleanup_(snapshot_file) struct snapshot_file memory = SNAPSHOT_FILE_NONE;
    int r = check(vmm, request, err);
    if (r < 0)
        return r;
    r = disks_flush(vmm->machine, err);
    if (r == 0)
        r = snapshot_file_create(&state, request->snapshot_path, err);
    if (r == 0)
        r = memory_open(vmm, request, &memory, err);
    /* The state first, in both: saving devices may still write into guest memory. */
    if (r == 0)
        r = memory.in_place ? create_in_place(vmm, &state, &memory, request, &written, err)
                            : create_new(vmm, &state, &memory, request, &written, err);
    if (r < 0)
        return error_wrap(err, "create snapshot");
    /* Only now: what a snapshot that failed would have held is still to be written. */
    guest_memory_saved(&vmm->machine->memory);
    snapshot_file_commit(&memory);
    snapshot_file_commit(&state);
    log_info("snapshot: %s: %llu of %llu KiB written in %llu ms", written.how,
             (unsigned long long)(written.bytes >> 10),
             (unsigned long long)(vmm->machine->memory.size >> 10),
             (unsigned long long)((time_monotonic_ns() - start) / 1000000));
    return 0;
}
