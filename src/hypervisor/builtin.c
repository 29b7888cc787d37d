/* SPDX-License-Identifier: Apache-2.0 */
/* The driver for tine-vmm, whatever its version: it comes with tined. */
#include <stdint.h>

#include "hypervisor/api_driver.h"
#include "hypervisor/launch.h"

static int builtin_launch(const struct hypervisor *self, const struct vm_spec *spec,
                          struct vm_process *process, uint64_t *log_start, struct error *err)
{
    static const char socket[] = IN_GUEST_DIR(GUEST_API_SOCKET);
    const char *const arguments[] = {"--api-sock", socket, "--id", spec->id, NULL};
    const struct launch launch = {
        .binary = self->binary, .arguments = arguments, .guest_dir = spec->guest_dir};
    return launch_vmm(&launch, process, log_start, err);
}

static int builtin_identify(const struct hypervisor *self, const struct vmm_api *api, bool fresh,
                            struct api_abilities *abilities, struct error *err)
{
    *abilities = (struct api_abilities){
        .diff_limit = UINT64_MAX,
        .serial = true,
        .free_page_reporting = true,
        .clock_realtime = true,
        .bzimage = true,
        .disk_stacks = true,
    };
    return 0;
}

static const struct api_variant builtin = {
    .templates = true, .launch = builtin_launch, .identify = builtin_identify};

struct hypervisor hypervisor_builtin(const char *binary)
{
    struct hypervisor driver = api_driver("builtin", &builtin, binary);
    driver.knows_layers = true;
    driver.disk_stacks = true;
    return driver;
}
