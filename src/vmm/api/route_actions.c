/* SPDX-License-Identifier: Apache-2.0 */
/* /actions and /vm: starting, pausing, resuming. */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/json_fields.h"
#include "vmm/api/api_private.h"

struct choice {
    char value[24];
};

static int flush_metrics(struct api_call *call, struct error *err)
{
    return metrics_flush(call->api, err);
}

static int instance_start(struct api_call *call, struct error *err)
{
    return vmm_start(call->vmm, err);
}

static int send_ctrl_alt_del(struct api_call *call, struct error *err)
{
    return vmm_send_ctrl_alt_del(call->vmm, err);
}

static int flush_disks(struct api_call *call, struct error *err)
{
    return vmm_disks_flush(call->vmm, err);
}

static int seal_disks(struct api_call *call, struct error *err)
{
    return vmm_disks_seal(call->vmm, err);
}

static const struct {
    const char *type;
    enum route_phase phase;
    int (*act)(struct api_call *call, struct error *err);
} actions[] = {
    {"InstanceStart", PHASE_PREBOOT, instance_start},
    {"SendCtrlAltDel", PHASE_POSTBOOT, send_ctrl_alt_del},
    {"FlushMetrics", PHASE_POSTBOOT, flush_metrics},
    {"FlushDisks", PHASE_POSTBOOT, flush_disks},
    {"SealDisks", PHASE_POSTBOOT, seal_disks},
};

int put_actions(struct api_call *call, struct error *err)
{
    static const char *const types[] = {"InstanceStart", "SendCtrlAltDel", "FlushMetrics",
                                        "FlushDisks",    "SealDisks",      NULL};
    static const struct json_field fields[] = {
        {"action_type", FIELD_TEXT, true, .max = sizeof(struct choice), .choices = types}};
    struct choice type = {""};
    int r = json_fields_read(call->body, "actions", fields, ARRAY_SIZE(fields), &type, err);
    if (r < 0)
        return r;
    unsigned i = 0;
    while (strcmp(actions[i].type, type.value) != 0)
        i++;
    bool before = vmm_state(call->vmm) == VMM_NOT_STARTED;
    if (!(actions[i].phase & (before ? PHASE_PREBOOT : PHASE_POSTBOOT)))
        return error_set(err, ERROR_STATE, EINVAL,
                         "actions: %s is not supported %s starting the microVM", type.value,
                         before ? "before" : "after");
    return actions[i].act(call, err);
}

int patch_vm(struct api_call *call, struct error *err)
{
    static const char *const states[] = {"Paused", "Resumed", NULL};
    static const struct json_field fields[] = {
        {"state", FIELD_TEXT, true, .max = sizeof(struct choice), .choices = states}};
    struct choice state = {""};
    int r = json_fields_read(call->body, "vm", fields, ARRAY_SIZE(fields), &state, err);
    if (r < 0)
        return r;
    return strcmp(state.value, "Paused") == 0 ? vmm_pause(call->vmm, err)
                                              : vmm_resume(call->vmm, err);
}
