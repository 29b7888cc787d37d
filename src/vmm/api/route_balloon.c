/* SPDX-License-Identifier: Apache-2.0 */
/* /balloon */
#include <errno.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "http/json_fields.h"
#include "vmm/api/api_private.h"
#include "vmm/config_json.h"

static int balloon_present(const struct vm_config *config, struct error *err)
{
    if (config->balloon.present)
        return 0;
    return error_set(err, ERROR_STATE, ENODEV, "balloon: the VM has no balloon");
}

int get_balloon(struct api_call *call, struct error *err)
{
    const struct vm_config *config = vmm_config(call->vmm);
    int r = balloon_present(config, err);
    if (r < 0)
        return r;
    call->answer = balloon_config_write(&config->balloon);
    return call->answer ? 0 : error_errno(err, ENOMEM, NULL, "build the answer");
}

int put_balloon(struct api_call *call, struct error *err)
{
    struct vm_config *config = vmm_config(call->vmm);
    struct vm_config candidate = *config;
    candidate.balloon = (struct balloon_config){0};
    int r = balloon_config_read(call->body, &candidate.balloon, err);
    if (r == 0)
        r = vm_config_check(&candidate, err);
    if (r < 0)
        return r;
    config->balloon = candidate.balloon;
    call->api->boot_configured = true;
    return 0;
}

int patch_balloon(struct api_call *call, struct error *err)
{
    static const struct json_field fields[] = {
        {"amount_mib", FIELD_U32, true, .offset = offsetof(struct balloon_config, amount_mib),
         .max = UINT32_MAX}};
    struct vm_config *config = vmm_config(call->vmm);
    struct vm_config candidate = *config;
    int r = json_fields_read(call->body, "balloon", fields, ARRAY_SIZE(fields), &candidate.balloon,
                             err);
    if (r == 0)
        r = balloon_present(config, err);
    if (r == 0)
        r = vm_config_check(&candidate, err);
    if (r == 0)
        r = vmm_balloon_set(call->vmm, candidate.balloon.amount_mib, err);
    if (r == 0)
        config->balloon.amount_mib = candidate.balloon.amount_mib;
    return r;
}
