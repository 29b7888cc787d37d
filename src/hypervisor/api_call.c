/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to a VMM that runs. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/json.h"
#include "hypervisor/api_driver.h"

#define CONNECT_MS 5000 /* for a VMM that listens but is busy */

void cleanup_call(struct call *call)
{
    free(call->socket);
}

int call_init(struct call *call, const struct vm_spec *spec, unsigned request_ms, struct error *err)
{
    if (asprintf(&call->socket, "%s/" GUEST_API_SOCKET, spec->guest_dir) < 0) {
        call->socket = NULL;
        return error_errno(err, ENOMEM, spec->guest_dir, "call the VMM of %s", spec->id);
    }
    call->api = (struct vmm_api){
        .socket_path = call->socket, .connect_ms = CONNECT_MS, .request_ms = request_ms};
    return 0;
}

static int patch_state(const struct hypervisor *self, const struct vm_spec *spec, const char *state,
                       struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = call_init(&call, spec, self->request_ms, err);
    return r < 0 ? r : vmm_api_patch(&call.api, "/vm", json_pack("{s:s}", "state", state), err);
}

int api_pause(const struct hypervisor *self, const struct vm_spec *spec, struct error *err)
{
    return patch_state(self, spec, "Paused", err);
}

int api_resume(const struct hypervisor *self, const struct vm_spec *spec, struct error *err)
{
    return patch_state(self, spec, "Resumed", err);
}

static int act(const struct vm_spec *spec, const char *type, unsigned timeout_ms, struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    int r = call_init(&call, spec, timeout_ms, err);
    return r < 0 ? r
                 : vmm_api_put(&call.api, "/actions", json_pack("{s:s}", "action_type", type), err);
}

int api_shutdown(const struct hypervisor *self, const struct vm_spec *spec, struct error *err)
{
    return act(spec, "SendCtrlAltDel", self->request_ms, err);
}

/* Both may have much to sync, as a snapshot has. */
int api_disks_flush(const struct hypervisor *self, const struct vm_spec *spec, struct error *err)
{
    return act(spec, "FlushDisks", self->snapshot_ms, err);
}

int api_disks_seal(const struct hypervisor *self, const struct vm_spec *spec, struct error *err)
{
    return act(spec, "SealDisks", self->snapshot_ms, err);
}

int api_query(const struct hypervisor *self, const struct vm_spec *spec, char state[16],
              struct error *err)
{
    _cleanup_(call) struct call call = {.socket = NULL};
    _cleanup_(json) json_t *answer = NULL;
    int r = call_init(&call, spec, self->request_ms, err);
    if (r == 0)
        r = vmm_api_get(&call.api, "/", &answer, err);
    if (r < 0)
        return r;
    const char *text = json_string_value(json_object_get(answer, "state"));
    if (!text || strlen(text) >= 16)
        return error_set(err, ERROR_SYSTEM, EPROTO, "VMM of %s does not tell its state", spec->id);
    snprintf(state, 16, "%s", text);
    return 0;
}

struct hypervisor api_driver(const char *name, const struct api_variant *variant,
                             const char *binary)
{
    return (struct hypervisor){
        .name = name,
        .boot = api_boot,
        .restore = api_restore,
        .pause = api_pause,
        .resume = api_resume,
        .can_save = api_can_save,
        .snapshot = api_snapshot,
        .template_check = variant->templates ? api_template_check : NULL,
        .disks_flush = variant->templates ? api_disks_flush : NULL,
        .disks_seal = variant->templates ? api_disks_seal : NULL,
        .populate = variant->templates ? api_populate : NULL,
        .touched = variant->templates ? api_touched : NULL,
        .template_make = variant->templates ? api_template_make : NULL,
        .template_child = variant->templates ? api_template_child : NULL,
        .shutdown = api_shutdown,
        .query = api_query,
        .variant = variant,
        .binary = binary,
        .uid = geteuid(),
        .ready_ms = 10000,
        .request_ms = 30000,
        .snapshot_ms = 600000,
    };
}
