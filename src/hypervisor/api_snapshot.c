/* SPDX-License-Identifier: Apache-2.0 */
/* Saving a paused VM, into a fresh memory file or into the one it was restored from, or only what
 * differs from that. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "hypervisor/api_driver.h"
#include "hypervisor/dirty_log.h"
#include "stack/stack.h"

/* One snapshot on its way. */
struct saving {
    const struct vm_spec *spec;
    const char *directory; /* a name in the guest directory */
    enum vm_save how;
    const char *memory; /* the file's name in there */
    int guest_fd, fd;   /* the guest directory, and that one in it */
    struct api_abilities abilities;
    bool uses_log;    /* a Diff is made of the log of dirty pages */
    const char *type; /* what is asked for: "Full", "Diff" or "Layer" */
};

static void cleanup_saving(struct saving *saving)
{
    cleanup_close(&saving->fd);
    cleanup_close(&saving->guest_fd);
}

static int saving_wrap(const struct saving *saving, int r, struct error *err)
{
    if (r < 0)
        error_wrap(err, "%s/%s", saving->spec->guest_dir, saving->directory);
    return r;
}

static int saving_open(struct saving *saving, struct error *err)
{
    saving->guest_fd = dir_open(AT_FDCWD, saving->spec->guest_dir, err);
    return saving->guest_fd < 0 ? saving->guest_fd : 0;
}

/* The directory is opened when the VMM has written into it, so that one that is missing is the
 * VMM's to tell. */
static int snapshot_open(struct saving *saving, struct error *err)
{
    if (saving->fd >= 0)
        return 0;
    saving->fd = dir_open(saving->guest_fd, saving->directory, err);
    return saving->fd < 0 ? saving_wrap(saving, saving->fd, err) : 0;
}

static int memory_stat(struct saving *saving, struct stack_stat *stat, struct error *err)
{
    int r = snapshot_open(saving, err);
    if (r < 0)
        return r;
    const struct stack_file memory = {saving->fd, saving->memory, "the snapshot's memory"};
    if (saving->how != VM_SAVE_LAYER) /* which has a size of its own */
        r = stack_check_size(&memory, saving->spec->memory_bytes, err);
    if (r == 0)
        r = stack_stat(&memory, stat, err);
    return saving_wrap(saving, r, err);
}

/* A snapshot that is cut short must not become a standby. */
static int check_result(struct saving *saving, struct error *err)
{
    struct stack_stat stat;
    int r = memory_stat(saving, &stat, err);
    if (r < 0)
        return r;
    const struct stack_file state = {saving->fd, SNAPSHOT_STATE, "the snapshot's state"};
    r = stack_stat(&state, &stat, err);
    if (r == 0 && stat.size == 0)
        r = error_set(err, ERROR_CORRUPT, ENODATA, "the snapshot's state is empty");
    return saving_wrap(saving, r, err);
}

/* A Diff, or a Layer, where it is what is wanted, and whole. */
static const char *type_of(const struct saving *saving)
{
    static const char *const without_log[] = {[VM_SAVE_FULL] = "Full",
                                              [VM_SAVE_MERGED] = "Diff",
                                              [VM_SAVE_DIFF] = "Full",
                                              [VM_SAVE_LAYER] = "Layer"};
    if (!saving->uses_log)
        return without_log[saving->how];
    enum dirty_log wanted =
        saving->how == VM_SAVE_FULL ? DIRTY_LOG_SINCE_BOOT : DIRTY_LOG_SINCE_BASE;
    bool right = saving->spec->memory_bytes <= saving->abilities.diff_limit &&
                 dirty_log_read(saving->guest_fd) == wanted;
    return !right ? "Full" : saving->how == VM_SAVE_LAYER ? "Layer" : "Diff";
}

/* A Full is always right: into a fresh file, and of a VMM that leaves alone what has the right
 * size, also into the file that is there. */
static bool is_whole(const struct saving *saving)
{
    bool full_in_place = saving->abilities.dirty_log != NULL;
    return saving->how == VM_SAVE_FULL || strcmp(type_of(saving), "Full") != 0 ||
           (saving->how == VM_SAVE_MERGED && full_in_place);
}

static int create(const struct saving *saving, const struct vmm_api *api, struct error *err)
{
    char state[PATH_MAX], memory[PATH_MAX];
    int r = dirty_log_forget(saving->guest_fd, saving->spec->guest_dir, err);
    if (r < 0)
        return r;
    snprintf(state, sizeof(state), HYPERVISOR_GUEST_DIR "/%s/" SNAPSHOT_STATE, saving->directory);
    snprintf(memory, sizeof(memory), HYPERVISOR_GUEST_DIR "/%s/%s", saving->directory,
             saving->memory);
    return vmm_api_put(api, "/snapshot/create",
                       json_pack("{s:s, s:s, s:s}", "snapshot_type", saving->type, "snapshot_path",
                                 state, "mem_file_path", memory),
                       err);
}

/* The file that is there is what the VMM has to write into: where it is missing, or of another
 * size, a VMM makes one that has the changes alone. */
static int merge(struct saving *saving, const struct vmm_api *api, struct error *err)
{
    struct stack_stat before, after;
    int r = memory_stat(saving, &before, err);
    if (r == 0)
        r = create(saving, api, err);
    if (r == 0)
        r = memory_stat(saving, &after, err);
    if (r == 0 && (before.inode != after.inode || before.device != after.device))
        r = error_set(err, ERROR_CORRUPT, ESTALE,
                      "%s: the VMM has not written into the memory file that was there",
                      saving->spec->id);
    return r;
}

static int save(struct saving *saving, const struct vmm_api *api, struct error *err)
{
    if (!is_whole(saving))
        return error_set(
            err, ERROR_STATE, ESTALE,
            "%s: its VMM does not know all that has changed since its memory was loaded",
            saving->spec->id);
    saving->type = type_of(saving);
    int r = saving->how == VM_SAVE_MERGED ? merge(saving, api, err) : create(saving, api, err);
    if (r == 0)
        r = check_result(saving, err);
    /* Merged, it is what the next Diff adds to, also if the VM has to go on now. */
    if (r == 0 && saving->how == VM_SAVE_MERGED && saving->uses_log)
        dirty_log_note(saving->guest_fd, DIRTY_LOG_SINCE_BASE);
    return r;
}

static int drop_zeros(const struct saving *saving, struct error *err)
{
    const struct stack_file memory = {saving->fd, SNAPSHOT_MEMORY, "the snapshot's memory"};
    bool changes_alone = saving->how == VM_SAVE_DIFF || saving->how == VM_SAVE_LAYER ||
                         (saving->how == VM_SAVE_MERGED && strcmp(saving->type, "Diff") == 0);
    if (!saving->abilities.writes_zeros || changes_alone)
        return 0;
    return saving_wrap(saving, stack_drop_zeros(&memory, err), err);
}

static int saving_begin(struct saving *saving, const struct hypervisor *self,
                        const struct vmm_api *api, struct error *err)
{
    int r = saving_open(saving, err);
    if (r == 0)
        r = self->variant->identify(self, api, false, &saving->abilities, err);
    saving->uses_log = saving->abilities.dirty_log || dirty_log_is_required(saving->guest_fd);
    return r;
}

int api_can_save(const struct hypervisor *self, const struct vm_spec *spec, enum vm_save how,
                 struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    _cleanup_(saving) struct saving saving = {.spec = spec, .how = how, .guest_fd = -1, .fd = -1};
    int r = call_init(&call, spec, self->request_ms, err);
    if (r == 0)
        r = saving_begin(&saving, self, &call.api, err);
    return r < 0 ? r : (how != VM_SAVE_LAYER || self->knows_layers) && is_whole(&saving);
}

int api_snapshot(const struct hypervisor *self, const struct vm_spec *spec,
                 const char *snapshot_dir, enum vm_save how, struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    static const char *const names[] = {[VM_SAVE_FULL] = SNAPSHOT_MEMORY,
                                        [VM_SAVE_MERGED] = SNAPSHOT_MEMORY,
                                        [VM_SAVE_DIFF] = SNAPSHOT_DIFF,
                                        [VM_SAVE_LAYER] = SNAPSHOT_LAYER};
    _cleanup_(saving) struct saving saving = {.spec = spec,
                                              .directory = snapshot_dir,
                                              .how = how,
                                              .type = "Full",
                                              .memory = names[how],
                                              .guest_fd = -1,
                                              .fd = -1};
    int r = api_check_snapshot_dir(snapshot_dir, err);
    if (r == 0)
        r = call_init(&call, spec, self->snapshot_ms, err);
    if (r == 0)
        r = saving_begin(&saving, self, &call.api, err);
    if (r == 0)
        r = save(&saving, &call.api, err);
    return r < 0 ? r : drop_zeros(&saving, err);
}
