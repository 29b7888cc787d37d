/* SPDX-License-Identifier: Apache-2.0 */
/* A VM out of a snapshot. The memory file, and the layers over it, are mapped privately and never
 * written; or a page server gives the pages. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "stack/layer_stack.h"
#include "vmm/disks.h"
#include "vmm/machine_state.h"
#include "vmm/page_server.h"
#include "vmm/vmm_private.h"

static inline void cleanup_vm_config(struct vm_config *config)
{
    vm_config_free(config);
}

static void swap_strings(char **a, char **b)
{
    char *old = *a;
    *a = *b;
    *b = old;
}

/* Where to log and print is a matter of this process, not of the one that was saved. */
static void keep_outputs(struct vm_config *loaded, struct vm_config *current)
{
    struct logger_config logger = loaded->logger;
    loaded->logger = current->logger;
    current->logger = logger;
    swap_strings(&loaded->serial_out_path, &current->serial_out_path);
}

static int apply_drive(struct vm_config *config, const struct drive_path *drive, struct error *err)
{
    unsigned place = 0;
    while (place < config->drive_count &&
           strcmp(config->drives[place].drive_id, drive->drive_id) != 0)
        place++;
    if (place == config->drive_count)
        return error_set(err, ERROR_INVALID, ENOENT, "the saved VM has no drive '%s'",
                         drive->drive_id);
    char *path = strdup(drive->path_on_host);
    if (!path)
        return error_errno(err, ENOMEM, NULL, "drive %s", drive->drive_id);
    free(config->drives[place].path_on_host);
    config->drives[place].path_on_host = path;
    return 0;
}

static int apply_request(struct vm_config *config, const struct vm_load *load, struct error *err)
{
    const struct snapshot_load_request *request = load->request;
    int r = 0;
    config->machine.track_dirty_pages = request->track_dirty_pages;
    for (unsigned i = 0; i < load->drive_count && r == 0; i++)
        r = apply_drive(config, &load->drives[i], err);
    if (r < 0)
        return r;
    if (!request->vsock_uds_path)
        return 0;
    if (!config->vsock.present)
        return error_set(err, ERROR_INVALID, ENODEV,
                         "vsock_override: the saved VM has no vsock device");
    char *path = strdup(request->vsock_uds_path);
    if (!path)
        return error_errno(err, ENOMEM, NULL, "vsock_override");
    free(config->vsock.uds_path);
    config->vsock.uds_path = path;
    return 0;
}

static int file_map(struct guest_memory *memory, uint64_t size, const char *path, struct error *err)
{
    /* Non-blocking, so that a FIFO given by mistake is an error and no hang. */
    _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return error_errno(err, errno, path, "open memory file %s", path);
    return guest_memory_map(memory, size, fd, path, err);
}

static int stack_map(struct guest_memory *memory, uint64_t size,
                     const struct snapshot_load_request *request, struct error *err)
{
    const char *path = request->mem_file_path;
    struct error cause = {0};
    const struct stack_file base = {AT_FDCWD, path, path};
    _cleanup_(layer_stack) struct layer_stack *stack = layer_stack_open(&base, &cause);
    int r = stack ? 0 : -cause.errnum;
    if (stack && layer_stack_depth(stack) != request->layers)
        r = error_set(&cause, ERROR_INVALID, EINVAL,
                      "memory file %s has %u layers, and should have %u", path,
                      layer_stack_depth(stack), request->layers);
    if (r == 0)
        r = guest_memory_map_stack(memory, size, stack, &cause);
    if (r < 0 && err)
        *err = cause;
    return r;
}

static int memory_open(struct guest_memory *memory, uint64_t size,
                       const struct snapshot_load_request *request, struct error *err)
{
    int r = request->uffd_socket  ? guest_memory_serve(memory, size, request->uffd_socket, err)
            : request->layers > 0 ? stack_map(memory, size, request, err)
                                  : file_map(memory, size, request->mem_file_path, err);
    if (r < 0 || !request->track_dirty_pages)
        return r;
    r = guest_memory_track(memory, err);
    if (r < 0)
        guest_memory_release(memory);
    return r;
}

/* A template's memory is here already. */
static int memory_take(struct guest_memory *memory, uint64_t size, const struct vm_load *load,
                       struct error *err)
{
    if (!load->memory)
        return memory_open(memory, size, load->request, err);
    *memory = *load->memory;
    *load->memory = (struct guest_memory){.size = 0};
    return 0;
}

static int machine_restore(struct vmm *vmm, const struct state_reader *reader,
                           const struct vm_load *load, struct error *err)
{
    const struct machine_loading how = {.clock_realtime = load->request->clock_realtime,
                                        .saving = load->saving};
    struct guest_memory memory;
    int r = memory_take(&memory, vmm->config.machine.mem_size_mib << 20, load, err);
    if (r < 0)
        return r;
    const struct machine_place place = vmm_place(vmm);
    vmm->machine = machine_create(&place, &vmm->config, &memory, err);
    if (!vmm->machine)
        return err && err->errnum ? -err->errnum : -EIO;
    r = machine_load(vmm->machine, reader, &how, err);
    if (r < 0 || !vmm->machine->memory.server)
        return r;
    return page_server_watch(vmm->machine->memory.server, vmm->loop, err);
}

int vmm_state_load(struct vmm *vmm, const struct state_reader *reader, const struct vm_load *load,
                   struct error *err)
{
    _cleanup_(vm_config) struct vm_config config;
    struct machine_state state;
    vm_config_init(&config);
    int r = machine_state_read(reader, &state, &config, err);
    if (r == 0)
        r = apply_request(&config, load, err);
    if (r == 0)
        r = disks_find_stacks(&config, err);
    if (r < 0)
        return r;
    keep_outputs(&config, &vmm->config);
    struct vm_config old = vmm->config;
    vmm->config = config;
    config = old; /* freed here */
    r = machine_restore(vmm, reader, load, err);
    if (r < 0) {
        machine_destroy(vmm->machine);
        vmm->machine = NULL;
        return r;
    }
    vmm->state = VMM_PAUSED;
    return 0;
}

int vmm_snapshot_load(struct vmm *vmm, const struct snapshot_load_request *request,
                      struct error *err)
{
    if (vmm->state != VMM_NOT_STARTED)
        return error_set(err, ERROR_STATE, EALREADY, "the microVM is already started");
    const char *path = request->snapshot_path;
    const struct vm_load load = {.request = request, .saving = MACHINE_PREPARED};
    _cleanup_(free) char *data = NULL;
    size_t length = 0;
    struct state_reader reader;
    int r = file_read_all(AT_FDCWD, path, STATE_FILE_LIMIT, &data, &length, err);
    if (r == 0)
        r = state_reader_open(&reader, data, length, err);
    if (r == 0)
        r = vmm_state_load(vmm, &reader, &load, err);
    if (r < 0)
        return error_wrap(err, "load snapshot %s", path);
    free(TAKE_PTR(data));
    malloc_trim(0); /* what only the load needed is paid for once per VM otherwise */
    log_info("loaded snapshot: %u vCPUs, %llu MiB", vmm->config.machine.vcpu_count,
             (unsigned long long)vmm->config.machine.mem_size_mib);
    return request->resume_vm ? vmm_resume(vmm, err) : 0;
}
