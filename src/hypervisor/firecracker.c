/* SPDX-License-Identifier: Apache-2.0 */
/* The driver for Firecracker, with and without its jailer. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/json.h"
#include "hypervisor/api_driver.h"
#include "hypervisor/firecracker_program.h"
#include "hypervisor/jail.h"
#include "hypervisor/launch.h"

#define ID_LENGTH_MAX 64
#define NUMBER_SIZE   16
#define CLOCK_SOURCE  "/sys/devices/system/clocksource/clocksource0/current_clocksource"

struct firecracker {
    struct firecracker_program program;
    char *jailer; /* NULL: none */
    uid_t uid;
    gid_t gid;
};

static const char api_socket[] = IN_GUEST_DIR(GUEST_API_SOCKET);
static const char vmm_log[] = IN_GUEST_DIR(GUEST_VMM_LOG);
static const char *const arguments[] = {"--api-sock", api_socket, "--log-path", vmm_log, NULL};

/* Firecracker aborts on an id that it does not like, and so does the jailer. */
static int check_id(const struct vm_spec *spec, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    size_t length = strlen(spec->id);
    if (length > 0 && length <= ID_LENGTH_MAX && strspn(spec->id, allowed) == length)
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL,
                     "'%.80s' is no id for Firecracker: 1 to %d letters, digits and hyphens",
                     spec->id, ID_LENGTH_MAX);
}

static int launch_plain(const struct firecracker *firecracker, const struct vm_spec *spec,
                        struct vm_process *process, uint64_t *log_start, struct error *err)
{
    const char *all[ARRAY_SIZE(arguments) + 2] = {"--id", spec->id};
    memcpy(all + 2, arguments, sizeof(arguments));
    const struct launch launch = {.binary = firecracker->program.path,
                                  .arguments = all,
                                  .guest_dir = spec->guest_dir,
                                  .console_on_stdout = true};
    return launch_vmm(&launch, process, log_start, err);
}

static int launch_jailed(const struct firecracker *firecracker, const struct vm_spec *spec,
                         struct vm_process *process, uint64_t *log_start, struct error *err)
{
    const char *path = firecracker->program.path;
    char uid[NUMBER_SIZE], gid[NUMBER_SIZE];
    snprintf(uid, sizeof(uid), "%u", firecracker->uid);
    snprintf(gid, sizeof(gid), "%u", firecracker->gid);
    const char *const before[] = {"--id",  spec->id, "--exec-file",       path,      "--uid", uid,
                                  "--gid", gid,      "--chroot-base-dir", JAIL_BASE, "--"};
    const char *all[ARRAY_SIZE(before) + ARRAY_SIZE(arguments)];
    memcpy(all, before, sizeof(before));
    memcpy(all + ARRAY_SIZE(before), arguments, sizeof(arguments));
    _cleanup_(jail) struct jail jail = {.userns_fd = -1};
    int r = jail_prepare(&jail, path, spec->id, firecracker->uid, firecracker->gid, err);
    if (r < 0)
        return r;
    const struct launch launch = {.binary = firecracker->jailer,
                                  .arguments = all,
                                  .guest_dir = spec->guest_dir,
                                  .console_on_stdout = true,
                                  .jail = &jail};
    return launch_vmm(&launch, process, log_start, err);
}

static int firecracker_launch(const struct hypervisor *self, const struct vm_spec *spec,
                              struct vm_process *process, uint64_t *log_start, struct error *err)
{
    const struct firecracker *firecracker = self->firecracker;
    int r = hypervisor_check(self, err);
    if (r == 0)
        r = check_id(spec, err);
    if (r < 0)
        return r;
    return (firecracker->jailer ? launch_jailed : launch_plain)(firecracker, spec, process,
                                                                log_start, err);
}

/* KVM knows the time of day at which it read a guest's clock only where the host's own clock is the
 * TSC. */
static bool host_clock_is_tsc(void)
{
    char source[16] = "";
    _cleanup_(fclose) FILE *file = fopen(CLOCK_SOURCE, "re");
    return file && fgets(source, sizeof(source), file) && strcmp(source, "tsc\n") == 0;
}

static int ask_version(const struct vmm_api *api, struct firecracker_version *version,
                       struct error *err)
{
    _cleanup_(json) json_t *answer = NULL;
    int r = vmm_api_get(api, "/version", &answer, err);
    if (r < 0)
        return r;
    const char *text = json_string_value(json_object_get(answer, "firecracker_version"));
    r = firecracker_version_parse(text ? text : "", version, err);
    if (r == 0)
        r = firecracker_version_check(version, err);
    if (r < 0)
        error_wrap(err, "GET /version");
    return r;
}

/* A VM that runs may be of an older program than the one that is there now. */
static int firecracker_identify(const struct hypervisor *self, const struct vmm_api *api,
                                bool fresh, struct api_abilities *abilities, struct error *err)
{
    struct firecracker_version version, program;
    int r = ask_version(api, &version, err);
    if (r == 0 && fresh)
        r = firecracker_program_version(&self->firecracker->program, &program, err);
    if (r < 0)
        return r;
    if (fresh && strcmp(version.text, program.text) != 0)
        return error_set(err, ERROR_SYSTEM, EPROTO,
                         "%s --version says %s, but its GET /version says %s",
                         self->firecracker->program.path, program.text, version.text);
    *abilities = firecracker_abilities(&version);
    abilities->clock_realtime = abilities->clock_realtime && host_clock_is_tsc();
    return 0;
}

static const struct api_variant variant = {.launch = firecracker_launch,
                                           .identify = firecracker_identify};

static int copy_path(const char *path, char **copy, struct error *err)
{
    if (!path)
        return 0;
    *copy = strdup(path);
    return *copy ? 0 : error_errno(err, ENOMEM, path, "Firecracker %s", path);
}

int hypervisor_firecracker(const struct firecracker_options *options, struct hypervisor *hypervisor,
                           struct error *err)
{
    struct firecracker *firecracker = calloc(1, sizeof(*firecracker));
    if (!firecracker)
        return error_errno(err, ENOMEM, NULL, "Firecracker");
    firecracker->uid = options->uid;
    firecracker->gid = options->gid;
    pthread_mutex_init(&firecracker->program.lock, NULL);
    *hypervisor = api_driver("firecracker", &variant, NULL);
    hypervisor->firecracker = firecracker;
    hypervisor->saving = HYPERVISOR_SAVES_MERGED;
    if (options->jailer)
        hypervisor->uid = options->uid;
    int r = copy_path(options->binary, &firecracker->program.path, err);
    if (r == 0)
        r = copy_path(options->jailer, &firecracker->jailer, err);
    hypervisor->binary = firecracker->program.path;
    if (r < 0)
        hypervisor_release(hypervisor);
    return r;
}

void hypervisor_release(struct hypervisor *hypervisor)
{
    struct firecracker *firecracker = TAKE_PTR(hypervisor->firecracker);
    if (!firecracker)
        return;
    pthread_mutex_destroy(&firecracker->program.lock);
    free(firecracker->program.path);
    free(firecracker->jailer);
    free(firecracker);
}

int hypervisor_check(const struct hypervisor *self, struct error *err)
{
    struct firecracker_version version;
    if (!self->binary)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "there is no %s on this host",
                         self->name);
    return self->firecracker
               ? firecracker_program_version(&self->firecracker->program, &version, err)
               : 0;
}
