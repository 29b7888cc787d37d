/* SPDX-License-Identifier: Apache-2.0 */
/* Loading a snapshot: one process per attempt, because a failed load ends it. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/log.h"
#include "hypervisor/api_driver.h"
#include "hypervisor/dirty_log.h"

/* One load: what is asked for, and what of it this time. */
struct load {
    const char *snapshot_dir;
    const struct vm_restore *how;
    bool clock_realtime;
};

int api_check_snapshot_dir(const char *name, struct error *err)
{
    if (!*name || strchr(name, '/') || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
        return error_set(err, ERROR_INVALID, EINVAL, "'%s' is no name of a snapshot directory",
                         name);
    return 0;
}

static json_t *load_body(const struct attempt *attempt, const struct load *load)
{
    const char *pager = load->how->pager_socket;
    char state[PATH_MAX], backend[PATH_MAX];
    snprintf(state, sizeof(state), HYPERVISOR_GUEST_DIR "/%s/" SNAPSHOT_STATE, load->snapshot_dir);
    if (pager)
        snprintf(backend, sizeof(backend), HYPERVISOR_GUEST_DIR "/%s", pager);
    else
        snprintf(backend, sizeof(backend), HYPERVISOR_GUEST_DIR "/%s/" SNAPSHOT_MEMORY,
                 load->snapshot_dir);
    json_t *body =
        json_pack("{s:s, s:{s:s, s:s}, s:b}", "snapshot_path", state, "mem_backend", "backend_type",
                  pager ? "Uffd" : "File", "backend_path", backend, "resume_vm", load->how->resume);
    if (load->how->layers > 0)
        json_object_set_new(json_object_get(body, "mem_backend"), "layers",
                            json_integer(load->how->layers));
    if (load->clock_realtime)
        json_object_set_new(body, "clock_realtime", json_true());
    /* Not in the state: asked for again each time. A VMM that needs none for memory it maps has no
     * other way to tell what changed in memory that it was given. */
    const char *log = attempt->abilities.dirty_log ? attempt->abilities.dirty_log
                      : pager                      ? "track_dirty_pages"
                                                   : NULL;
    if (log)
        json_object_set_new(body, log, json_true());
    return body;
}

static int put_load(const struct attempt *attempt, const struct load *load, struct error *err)
{
    int r = api_put_serial(attempt, err);
    if (r < 0)
        return r;
    r = vmm_api_put(&attempt->call.api, "/snapshot/load", load_body(attempt, load), err);
    /* The request was ours: what the VMM can't load is the files' fault, not the user's. */
    if (r == -EREMOTEIO && err)
        err->code = ERROR_SYSTEM;
    return r;
}

/* Before the guest can run: what it writes is logged against the file that was loaded. */
static int note_log(const struct attempt *attempt, const struct load *load, struct error *err)
{
    const char *guest_dir = attempt->spec->guest_dir;
    if (!attempt->abilities.dirty_log && !load->how->pager_socket)
        return 0;
    _cleanup_(close) int guest_fd = dir_open(AT_FDCWD, guest_dir, err);
    if (guest_fd < 0)
        return guest_fd;
    int r = attempt->abilities.dirty_log ? 0 : dirty_log_require(guest_fd, guest_dir, err);
    if (r == 0)
        dirty_log_note(guest_fd, DIRTY_LOG_SINCE_BASE);
    return r;
}

static int try_load(const struct hypervisor *self, const struct vm_spec *spec, struct load *load,
                    struct vm_process *process, struct error *err)
{
    _cleanup_(attempt) struct attempt attempt;
    int r = attempt_start(&attempt, self, spec, self->snapshot_ms, err);
    if (r < 0)
        return r;
    load->clock_realtime = load->clock_realtime && attempt.abilities.clock_realtime;
    r = note_log(&attempt, load, err);
    if (r == 0)
        r = put_load(&attempt, load, err);
    if (r < 0)
        return attempt_fail(&attempt, r, err);
    *process = attempt.process;
    return 0;
}

/* A state that was saved where KVM could not tell the time of day with the guest's has none in it,
 * and Firecracker refuses to advance a clock without. */
static bool lacks_clock(const struct load *load, int r, const struct error *cause)
{
    const struct vm_restore *how = load->how;
    return r == -EREMOTEIO && load->clock_realtime && (!how->pager_socket || how->pager_again) &&
           strstr(cause->message, "clock_realtime");
}

static int try_without_clock(const struct hypervisor *self, const struct vm_spec *spec,
                             struct load *load, struct vm_process *process, struct error *err)
{
    const struct vm_restore *how = load->how;
    load->clock_realtime = false;
    int r = how->pager_socket ? how->pager_again(how->context, err) : 0;
    return r < 0 ? r : try_load(self, spec, load, process, err);
}

int api_restore(const struct hypervisor *self, const struct vm_spec *spec,
                const struct vm_restore *how, struct vm_process *process, struct error *err)
{
    struct error cause = {0};
    struct load load = {.snapshot_dir = how->snapshot_dir ? how->snapshot_dir : GUEST_SNAPSHOT,
                        .how = how,
                        .clock_realtime = true};
    int r = api_check_snapshot_dir(load.snapshot_dir, err);
    if (r < 0)
        return r;
    r = try_load(self, spec, &load, process, &cause);
    if (lacks_clock(&load, r, &cause)) {
        log_info("instance %s: its guest's clock stands still while it sleeps: %s", spec->id,
                 cause.message);
        error_clear(&cause);
        r = try_without_clock(self, spec, &load, process, &cause);
    }
    if (r < 0 && err)
        *err = cause;
    return r;
}
