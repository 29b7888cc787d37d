/* SPDX-License-Identifier: Apache-2.0 */
/* /drives/{id} */
#include <errno.h>
#include <jansson.h>
#include <string.h>

#include "base/cleanup.h"
#include "http/json_fields.h"
#include "vmm/api/api_private.h"
#include "vmm/api/host_file.h"
#include "vmm/config_json.h"

static int id_check(const char *in_path, const char *in_body, struct error *err)
{
    if (!vm_id_valid(in_path))
        return error_set(
            err, ERROR_INVALID, EINVAL,
            "drives: the id in the path may hold letters, digits and underscores only");
    if (strcmp(in_path, in_body) != 0)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "drives: the id in the path, '%s', is not the drive_id of the body, '%s'",
                         in_path, in_body);
    return 0;
}

static unsigned drive_index(const struct vm_config *config, const char *id)
{
    unsigned i = 0;
    while (i < config->drive_count && strcmp(config->drives[i].drive_id, id) != 0)
        i++;
    return i;
}

/* The base of a stack is only read. */
static bool is_written(const struct drive_config *drive)
{
    return !drive->is_read_only && !drive->is_stack;
}

static int drive_check(const struct vm_config *config, const struct drive_config *drive,
                       unsigned place, struct error *err)
{
    if (place == VM_MAX_DRIVES)
        return error_set(err, ERROR_INVALID, ENOSPC, "drives: at most %d drives are possible",
                         VM_MAX_DRIVES);
    struct vm_config candidate = *config;
    candidate.drives[place] = *drive;
    if (place == candidate.drive_count)
        candidate.drive_count++;
    int r = vm_config_check(&candidate, err);
    if (r == 0)
        r = host_drive_check(drive->path_on_host, "drives: path_on_host", is_written(drive), err);
    return r;
}

int put_drive(struct api_call *call, struct error *err)
{
    struct vm_config *config = vmm_config(call->vmm);
    struct drive_config drive = {0};
    unsigned place = 0;
    int r = drive_config_read(call->body, &drive, err);
    if (r == 0)
        r = id_check(call->id, drive.drive_id, err);
    if (r == 0) {
        place = drive_index(config, drive.drive_id);
        r = drive_check(config, &drive, place, err);
    }
    if (r < 0) {
        drive_config_free(&drive);
        return r;
    }
    if (place < config->drive_count)
        drive_config_free(&config->drives[place]);
    else
        config->drive_count++;
    config->drives[place] = drive;
    call->api->boot_configured = true;
    return 0;
}

struct drive_patch {
    char *drive_id;
    char *path_on_host;
};

static const struct json_field patch_fields[] = {
    {"drive_id", FIELD_STRING, true, .offset = offsetof(struct drive_patch, drive_id), .min = 1,
     .max = VM_ID_MAX},
    {"path_on_host", FIELD_STRING, .offset = offsetof(struct drive_patch, path_on_host), .min = 1,
     .max = VM_PATH_MAX},
    {"rate_limiter", FIELD_RATE_LIMIT},
};

static int patch_apply(struct api_call *call, const struct drive_patch *patch, struct error *err)
{
    const struct vm_config *config = vmm_config(call->vmm);
    int r = id_check(call->id, patch->drive_id, err);
    if (r < 0)
        return r;
    unsigned place = drive_index(config, patch->drive_id);
    if (place == config->drive_count)
        return error_set(err, ERROR_NOT_FOUND, ENOENT, "drives: there is no drive '%s'",
                         patch->drive_id);
    if (!patch->path_on_host)
        return 0;
    r = host_drive_check(patch->path_on_host, "drives: path_on_host",
                         is_written(&config->drives[place]), err);
    return r < 0 ? r : vmm_drive_update(call->vmm, patch->drive_id, patch->path_on_host, err);
}

int patch_drive(struct api_call *call, struct error *err)
{
    struct drive_patch patch = {0};
    int r =
        json_fields_read(call->body, "drives", patch_fields, ARRAY_SIZE(patch_fields), &patch, err);
    if (r == 0)
        r = patch_apply(call, &patch, err);
    free(patch.drive_id);
    free(patch.path_on_host);
    return r;
}
