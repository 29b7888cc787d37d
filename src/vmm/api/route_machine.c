/* SPDX-License-Identifier: Apache-2.0 */
/* /machine-config and /boot-source. */
#include <errno.h>
#include <jansson.h>

#include "base/cleanup.h"
#include "vmm/api/api_private.h"
#include "vmm/api/host_file.h"
#include "vmm/config_json.h"

int get_machine_config(struct api_call *call, struct error *err)
{
    call->answer = machine_config_write(&vmm_config(call->vmm)->machine);
    return call->answer ? 0 : error_errno(err, ENOMEM, NULL, "build the answer");
}

/* Checks `machine` together with all else that is configured, and only then takes it. */
static int machine_apply(struct api_call *call, const struct machine_config *machine,
                         struct error *err)
{
    struct vm_config *config = vmm_config(call->vmm);
    struct vm_config candidate = *config;
    candidate.machine = *machine;
    int r = vm_config_check(&candidate, err);
    if (r < 0)
        return r;
    config->machine = *machine;
    call->api->boot_configured = true;
    return 0;
}

int put_machine_config(struct api_call *call, struct error *err)
{
    static const char *const required[] = {"vcpu_count", "mem_size_mib"};
    struct machine_config machine;
    machine_config_init(&machine);
    int r = machine_config_read(call->body, &machine, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ARRAY_SIZE(required); i++) {
        json_t *value = json_object_get(call->body, required[i]);
        if (!value || json_is_null(value))
            return error_set(err, ERROR_INVALID, EINVAL, "machine-config: field '%s' is missing",
                             required[i]);
    }
    return machine_apply(call, &machine, err);
}

int patch_machine_config(struct api_call *call, struct error *err)
{
    struct machine_config machine = vmm_config(call->vmm)->machine;
    int r = machine_config_read(call->body, &machine, err);
    if (r < 0)
        return r;
    if (json_object_size(call->body) == 0)
        return error_set(err, ERROR_INVALID, EINVAL, "machine-config: an empty PATCH");
    return machine_apply(call, &machine, err);
}

static int boot_check(struct vm_config *config, const struct boot_source *boot, struct error *err)
{
    struct vm_config candidate = *config;
    candidate.boot = *boot;
    int r = vm_config_check(&candidate, err);
    if (r == 0)
        r = host_file_check(boot->kernel_image_path, "boot-source: kernel_image_path", err);
    if (r == 0 && boot->initrd_path)
        r = host_file_check(boot->initrd_path, "boot-source: initrd_path", err);
    return r;
}

int put_boot_source(struct api_call *call, struct error *err)
{
    struct vm_config *config = vmm_config(call->vmm);
    struct boot_source boot = {0};
    int r = boot_source_read(call->body, &boot, err);
    if (r == 0)
        r = boot_check(config, &boot, err);
    if (r < 0) {
        boot_source_free(&boot);
        return r;
    }
    boot_source_free(&config->boot);
    config->boot = boot;
    call->api->boot_configured = true;
    return 0;
}
