/* SPDX-License-Identifier: Apache-2.0 */
/* What makes the fake VMM Firecracker: its version, and that it refuses every path, field and
 * option that this version does not know. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fake_vmm.h"

#define PROGRAM "firecracker-"

/* A field of the bodies for a path (a prefix where it ends with a slash), and since which minor
 * version of 1 it is there; NULL: the path itself. */
static const struct {
    const char *path, *field;
    unsigned since;
} known[] = {
    {"/machine-config", "vcpu_count", 0},
    {"/machine-config", "mem_size_mib", 0},
    {"/machine-config", "track_dirty_pages", 0},
    {"/boot-source", "kernel_image_path", 0},
    {"/boot-source", "initrd_path", 0},
    {"/boot-source", "boot_args", 0},
    {"/drives/", "drive_id", 0},
    {"/drives/", "path_on_host", 0},
    {"/drives/", "is_root_device", 0},
    {"/drives/", "is_read_only", 0},
    {"/drives/", "cache_type", 0},
    {"/vsock", "guest_cid", 0},
    {"/vsock", "uds_path", 0},
    {"/entropy", NULL, 4},
    {"/balloon", "amount_mib", 0},
    {"/balloon", "deflate_on_oom", 0},
    {"/balloon", "free_page_reporting", 14},
    {"/serial", "serial_out_path", 14},
    {"/actions", "action_type", 0},
    {"/vm", "state", 0},
    {"/snapshot/create", "snapshot_type", 0},
    {"/snapshot/create", "snapshot_path", 0},
    {"/snapshot/create", "mem_file_path", 0},
    {"/snapshot/load", "snapshot_path", 0},
    {"/snapshot/load", "mem_backend", 1},
    {"/snapshot/load", "resume_vm", 0},
    {"/snapshot/load", "enable_diff_snapshots", 0},
    {"/snapshot/load", "track_dirty_pages", 13},
    {"/snapshot/load", "clock_realtime", 16},
};

static int path_is(const char *pattern, const char *path)
{
    size_t length = strlen(pattern);
    return pattern[length - 1] == '/' ? strncmp(pattern, path, length) == 0
                                      : strcmp(pattern, path) == 0;
}

static int knows(const struct fake *fake, const char *path, const char *field)
{
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].since <= fake->minor && path_is(known[i].path, path) &&
            (!field || (known[i].field && strcmp(known[i].field, field) == 0)))
            return 1;
    }
    return 0;
}

int fake_knows(const struct fake *fake, const char *path, json_t *body, char *fault, size_t size)
{
    const char *field;
    json_t *value;
    if (!fake->version)
        return 1;
    if (!knows(fake, path, NULL)) {
        snprintf(fault, size, "Invalid request method and/or path: PUT %s.", path);
        return 0;
    }
    json_object_foreach(body, field, value)
    {
        if (!knows(fake, path, field)) {
            snprintf(fault, size,
                     "An error occurred when deserializing the json body of a request: unknown "
                     "field `%s`.",
                     field);
            return 0;
        }
    }
    return 1;
}

/* A "-dev" version has none of what is new in it. */
void fake_become(struct fake *fake, const char *program)
{
    const char *slash = strrchr(program, '/');
    const char *name = slash ? slash + 1 : program;
    unsigned major, patch;
    if (strncmp(name, PROGRAM, strlen(PROGRAM)) != 0)
        return;
    fake->version = name + strlen(PROGRAM);
    if (sscanf(fake->version, "%u.%u.%u", &major, &fake->minor, &patch) != 3)
        abort();
    fake->minor -= strstr(fake->version, "-dev") != NULL;
}

void fake_check_arguments(const struct fake *fake, int argc, char **argv)
{
    static const char *const options[] = {"--api-sock", "--id", "--log-path"};
    for (int i = 1; i < argc; i += 2) {
        int ok = 0;
        for (size_t j = 0; j < sizeof(options) / sizeof(options[0]); j++)
            ok = ok || strcmp(argv[i], options[j]) == 0;
        if (!ok || i + 1 == argc) {
            fprintf(stderr, "Error: Found argument '%s' which wasn't expected.\n", argv[i]);
            exit(153);
        }
    }
    if (strspn(fake->id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") !=
        strlen(fake->id))
        abort();
}
