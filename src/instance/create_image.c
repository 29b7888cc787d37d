/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/create_image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "image/ext4.h"
#include "image/program.h"
#include "image/reference.h"

#define MIB             (1ull << 20)
#define OVERLAY_DEFAULT (10ull << 30)
#define OVERLAY_MINIMUM (64 * MIB)
#define OVERLAY_MAXIMUM (16ull << 40) /* of ext4 with blocks of 4 KiB */

static int add_cmdline(struct instance_record *record, struct error *err)
{
    char line[sizeof(record->cmdline)];
    const char *before = record->cmdline[0] ? record->cmdline : HYPERVISOR_CMDLINE;
    int length = snprintf(line, sizeof(line), "%s " ROOT_CMDLINE, before);
    if (length >= (int)sizeof(line))
        return error_set(err, ERROR_INVALID, E2BIG, "cmdline: longer than %zu bytes, with an image",
                         sizeof(line) - sizeof(" " ROOT_CMDLINE));
    memcpy(record->cmdline, line, sizeof(line));
    return 0;
}

static int check_overlay(const struct instance_create_request *request, struct create_plan *plan,
                         struct error *err)
{
    plan->overlay_bytes = request->overlay_bytes ? request->overlay_bytes : OVERLAY_DEFAULT;
    plan->overlay_bytes -= plan->overlay_bytes % EXT4_BLOCK;
    if (plan->overlay_bytes >= OVERLAY_MINIMUM && plan->overlay_bytes <= OVERLAY_MAXIMUM)
        return 0;
    return error_set(
        err, ERROR_INVALID, EINVAL, "overlay_size: %llu bytes, it must be %llu MiB to %llu MiB",
        (unsigned long long)request->overlay_bytes, OVERLAY_MINIMUM / MIB, OVERLAY_MAXIMUM / MIB);
}

int create_check_image(const struct host *host, const struct instance_create_request *request,
                       struct instance_record *record, struct create_plan *plan, struct error *err)
{
    if (!request->image || image_reference_is_kit(request->image))
        return 0;
    if (image_get(host->images, request->image, &plan->image, err) < 0)
        return error_wrap(err, "image");
    if (!*plan->image.id) /* the guest kit, by its digest */
        return 0;
    if (request->kernel || request->initrd)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%s: an imported image boots with the guest kit's",
                         request->kernel ? "kernel" : "initrd");
    record->disks[0] = (struct vm_disk){.read_only = true};
    record->disks[1] = (struct vm_disk){.read_only = false};
    record->disk_count = 2;
    int r = check_overlay(request, plan, err);
    if (r == 0)
        r = program_defaults(&record->program, &plan->image.program, err);
    return r < 0 ? r : add_cmdline(record, err);
}
