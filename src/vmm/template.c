/* SPDX-License-Identifier: Apache-2.0 */
/* A running VM, copied by fork(2). Its vCPUs are parked, which leaves no thread but the event
 * loop's that could hold a lock or be in the middle of something, and no request of a device is
 * half done, because devices serve theirs whole on that thread. KVM's part of the state is saved in
 * here, for in the new process every call on KVM's descriptors fails (EIO). What fork(2) costs, and
 * so the pause, is copying the page tables.
 *
 * Guest memory stays what it was in all copies: private pages of a file's mapping are private pages
 * in each, so that what differs from the file is known as before (memory_diff.c). */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/failpoint.h"
#include "vmm/vmm_private.h"

struct template
{
    struct guest_memory memory;
    struct state_writer state; /* finished */
};

static void template_free(struct template *template)
{
    state_writer_free(&template->state);
    free(template);
}

static int check(const struct vmm *vmm, struct error *err)
{
    if (vmm->state == VMM_NOT_STARTED)
        return error_set(err, ERROR_STATE, EINVAL, "the microVM is not started");
    if (vmm->machine->memory.backing == GUEST_UFFD)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "the microVM's memory is a page server's: what was not touched yet would "
                         "be missing in a copy");
    return 0;
}

/* Paused. What KVM has logged so far counts for both sides. */
static int save(struct vmm *vmm, struct template *template, struct error *err)
{
    int r = kvm_collect_dirty(&vmm->machine->kvm, &vmm->machine->memory, err);
    return r < 0 ? r : vmm_state_build(vmm, MACHINE_AS_IS, &template->state, err);
}

static pid_t split(struct vmm *vmm, struct template *template, uint64_t *fork_ns, struct error *err)
{
    int r = save(vmm, template, err);
    if (r == 0 && (r = failpoint("vmm-template-fork")) < 0)
        error_errno(err, -r, NULL, "fork");
    if (r < 0)
        return r;
    const uint64_t begin = time_monotonic_ns();
    pid_t pid = fork();
    *fork_ns = time_monotonic_ns() - begin;
    if (pid < 0)
        return error_errno(err, errno, NULL, "fork");
    if (pid == 0)
        template->memory = vmm->machine->memory;
    return pid;
}

/* The VM runs again; in the new process there is none. */
static pid_t split_running(struct vmm *vmm, struct template *template, struct template_times *times,
                           struct error *err)
{
    const uint64_t begin = time_monotonic_ns();
    int r = vmm_pause(vmm, err);
    if (r < 0)
        return r;
    pid_t pid = split(vmm, template, &times->fork_ns, err);
    if (pid == 0)
        return 0;
    struct error cause = {0};
    r = vmm_resume(vmm, &cause);
    times->paused_ns = time_monotonic_ns() - begin;
    if (r == 0)
        return pid;
    if (pid > 0)
        kill(pid, SIGKILL);
    return error_set(err, cause.code, cause.errnum, "the microVM stays paused: %s", cause.message);
}

pid_t vmm_template_fork(struct vmm *vmm, struct template **template, struct template_times *times,
                        struct error *err)
{
    *times = (struct template_times){.paused_ns = 0};
    int r = check(vmm, err);
    if (r < 0)
        return r;
    struct template *made = calloc(1, sizeof(*made));
    if (!made)
        return error_errno(err, ENOMEM, NULL, "make a template");
    pid_t pid = vmm->state == VMM_RUNNING ? split_running(vmm, made, times, err)
                                          : split(vmm, made, &times->fork_ns, err);
    if (pid == 0) {
        *template = made;
        return 0;
    }
    template_free(made);
    return pid < 0 ? error_wrap(err, "make a template") : pid;
}

uint64_t template_memory_bytes(const struct template *template)
{
    return template->memory.size;
}

int vmm_template_load(struct vmm *vmm, struct template *template,
                      const struct template_child *child, struct error *err)
{
    const struct snapshot_load_request request = {
        .track_dirty_pages = guest_memory_tracks(&template->memory),
        .clock_realtime = child->clock_realtime,
        .vsock_uds_path = child->vsock_uds_path,
    };
    const struct vm_load load = {.request = &request,
                                 .memory = &template->memory,
                                 .drives = child->drives,
                                 .drive_count = child->drive_count,
                                 .saving = MACHINE_AS_IS};
    struct state_reader reader;
    int r = state_reader_open(&reader, template->state.data, template->state.length, err);
    if (r == 0)
        r = vmm_state_load(vmm, &reader, &load, err);
    return r < 0 ? error_wrap(err, "make a microVM of the template") : 0;
}
