/* SPDX-License-Identifier: Apache-2.0 */
/* Rules of a configuration that involve more than one field. */
#include <errno.h>
#include <string.h>

#include "vmm/config_json.h"

static int refuse(struct error *err, const char *why)
{
    return error_set(err, ERROR_INVALID, EINVAL, "%s", why);
}

static int machine_check(const struct machine_config *machine, struct error *err)
{
    if (machine->smt && machine->vcpu_count > 1 && machine->vcpu_count % 2 != 0)
        return refuse(err, "machine-config: with smt, vcpu_count must be 1 or even");
    if (strcmp(machine->huge_pages, "2M") == 0)
        return refuse(err, "machine-config: huge_pages '2M' is not supported by this VMM");
    if (strcmp(machine->huge_pages, "None") != 0 && machine->mem_size_mib % 2 != 0)
        return refuse(err, "machine-config: with huge_pages, mem_size_mib must be even");
    return 0;
}

static int boot_check(const struct boot_source *boot, struct error *err)
{
    for (const char *p = boot->boot_args; p && *p; p++) {
        if (*p < 0x20 || *p > 0x7e)
            return refuse(err, "boot-source: boot_args must be printable ASCII on one line");
    }
    return 0;
}

bool vm_id_valid(const char *id)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    size_t length = strlen(id);
    return length > 0 && length <= VM_ID_MAX && strspn(id, allowed) == length;
}

static int drives_check(const struct vm_config *config, struct error *err)
{
    const struct drive_config *root = NULL;
    for (unsigned i = 0; i < config->drive_count; i++) {
        const struct drive_config *drive = &config->drives[i];
        if (!vm_id_valid(drive->drive_id))
            return refuse(err, "drives: drive_id may hold letters, digits and underscores only");
        if (drive->is_root_device && root)
            return error_set(err, ERROR_INVALID, EINVAL,
                             "drives: '%s' can't be the root device, '%s' is already",
                             drive->drive_id, root->drive_id);
        if (drive->is_root_device)
            root = drive;
        for (unsigned other = 0; other < i; other++) {
            if (strcmp(config->drives[other].drive_id, drive->drive_id) == 0)
                return error_set(err, ERROR_INVALID, EINVAL, "drives: '%s' is there twice",
                                 drive->drive_id);
        }
    }
    return 0;
}

static int balloon_check(const struct vm_config *config, struct error *err)
{
    if (!config->balloon.present)
        return 0;
    if (config->balloon.free_page_hinting)
        return refuse(err, "balloon: free_page_hinting is not supported by this VMM");
    if (config->balloon.amount_mib > config->machine.mem_size_mib)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "balloon: amount_mib %u is more than the guest's memory, %llu MiB",
                         config->balloon.amount_mib,
                         (unsigned long long)config->machine.mem_size_mib);
    return 0;
}

int vm_config_check(const struct vm_config *config, struct error *err)
{
    int r = machine_check(&config->machine, err);
    if (r == 0)
        r = boot_check(&config->boot, err);
    if (r == 0)
        r = drives_check(config, err);
    if (r == 0)
        r = balloon_check(config, err);
    return r;
}
