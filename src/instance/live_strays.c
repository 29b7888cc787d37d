/* SPDX-License-Identifier: Apache-2.0 */
/* Templates, and VMs made of them, that nobody knows: who asked for them has died, or who was
 * asked. They are found by the guest directory that they see, which is their maker's until they
 * move into their own; for a moment in between they see none. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/live.h"

#define LATE_MS      100
#define LATE_STEP_MS 5

struct strays {
    int directory;           /* an instance's, or that of all snapshots */
    const char *path, *name; /* of the directory; of those under temporary names in it */
    const struct proc_vmm *vmms;
    size_t count;
    pid_t known; /* is none; 0: all are */
};

/* All that see the directory; returns how many. */
static int end_in(const struct strays *strays, const struct stat *st, struct error *err)
{
    int ended = 0;
    for (size_t i = 0; i < strays->count; i++) {
        const struct proc_vmm *vmm = &strays->vmms[i];
        struct vm_process process = {.pid = vmm->pid, .pidfd = -1, .start_ticks = vmm->start_ticks};
        if (vmm->device != st->st_dev || vmm->inode != st->st_ino || vmm->pid == strays->known)
            continue;
        log_info("ending process %d, a template or a VM of one that nobody knows, of %s", vmm->pid,
                 strays->path);
        int r = vm_process_kill(&process, VMM_KILL_MS, err);
        if (r < 0)
            return r;
        ended++;
    }
    return ended;
}

static int end_in_directory(const struct strays *strays, struct error *err)
{
    struct stat st;
    if (fstat(strays->directory, &st) < 0)
        return error_errno(err, errno, strays->path, "stat %s", strays->path);
    return end_in(strays, &st, err);
}

/* Looks anew. */
static int end_in_now(const struct strays *strays, const struct stat *st, struct error *err)
{
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    struct strays now = *strays;
    int r = proc_vmms(&vmms, &now.count, err);
    now.vmms = vmms;
    return r < 0 ? r : end_in(&now, st, err);
}

/* A template's directory that nobody sees may be of one that is about to. */
static int end_in_template(const struct strays *strays, const struct stat *st, struct error *err)
{
    int ended = end_in(strays, st, err);
    for (unsigned i = 0; ended == 0 && i < LATE_MS / LATE_STEP_MS; i++) {
        time_sleep_ms(LATE_STEP_MS);
        ended = end_in_now(strays, st, err);
    }
    return ended;
}

static int end_in_named(const struct strays *strays, const char *name, struct error *err)
{
    const size_t length = strlen(strays->name);
    struct stat st;
    if (!is_temporary_name(name) || strncmp(name, strays->name, length) != 0 || name[length] != '.')
        return 0;
    if (fstatat(strays->directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, strays->path, "stat %s/%s", strays->path, name);
    return end_in_template(strays, &st, err);
}

static int end_in_all_named(const struct strays *strays, struct error *err)
{
    int copy = dir_open(strays->directory, ".", err);
    if (copy < 0)
        return copy;
    _cleanup_(closedir) DIR *dir = fdopendir(copy);
    if (!dir) {
        int saved = errno;
        close(copy);
        return error_errno(err, saved, strays->path, "read %s", strays->path);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno == 0 ? 0 : error_errno(err, errno, strays->path, "read %s", strays->path);
        int r = end_in_named(strays, entry->d_name, err);
        if (r < 0)
            return r;
    }
}

int live_end_strays(const struct operation *op, const struct proc_vmm *vmms, size_t count,
                    struct error *err)
{
    struct vm_process process;
    bool known = operation_process(op, &process);
    process_release(&process);
    const struct strays strays = {.directory = op->guest_fd,
                                  .path = op->guest_dir,
                                  .name = LIVE_DIRECTORY,
                                  .vmms = vmms,
                                  .count = count,
                                  .known = known ? process.pid : 0};
    int r = 0;
    if (known && operation_hypervisor(op)->template_make)
        r = end_in_directory(&strays, err);
    if (r >= 0)
        r = end_in_all_named(&strays, err);
    return r < 0 ? r : 0;
}

int live_end_captures(const struct host *host, const struct proc_vmm *vmms, size_t count,
                      struct error *err)
{
    const struct strays strays = {.directory = host->snapshots_fd,
                                  .path = host->snapshots_dir,
                                  .name = CAPTURE_DIRECTORY,
                                  .vmms = vmms,
                                  .count = count};
    return end_in_all_named(&strays, err);
}

void live_end_unknown(const struct operation *op)
{
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    struct strays strays = {.directory = op->guest_fd, .path = op->guest_dir};
    struct error err = {0};
    int r = proc_vmms(&vmms, &strays.count, &err);
    strays.vmms = vmms;
    if (r == 0)
        r = end_in_directory(&strays, &err);
    if (r < 0)
        log_error("instance %s: %s", op->record.id, err.message);
}
