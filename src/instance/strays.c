/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/strays.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "instance/host.h"

#define LATE_MS      100u
#define LATE_STEP_MS 5u

int stray_end(const char *path, pid_t pid, uint64_t start_ticks, struct error *err)
{
    struct vm_process process = {.pid = pid, .pidfd = -1, .start_ticks = start_ticks};
    log_info("%s: ending process %d, which nobody knows", path, pid);
    return vm_process_kill(&process, VMM_KILL_MS, err);
}

int strays_end_seeing(const struct stat *st, const char *path, const struct proc_vmm *vmms,
                      size_t count, struct error *err)
{
    int ended = 0;
    for (size_t i = 0; i < count; i++) {
        if (vmms[i].device != st->st_dev || vmms[i].inode != st->st_ino)
            continue;
        int r = stray_end(path, vmms[i].pid, vmms[i].start_ticks, err);
        if (r < 0)
            return r;
        ended++;
    }
    return ended;
}

/* A look at all of them. */
struct look {
    const struct proc_vmm *vmms;
    size_t count;
    unsigned ended, unseen; /* processes; directories that nobody sees as his own */
};

static int end_in_named(struct look *look, int dirfd, const char *path, const char *name,
                        struct error *err)
{
    struct stat st;
    if (!is_temporary_name(name))
        return 0;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, path, "stat %s/%s", path, name);
    int r = strays_end_seeing(&st, path, look->vmms, look->count, err);
    if (r < 0)
        return r;
    look->ended += (unsigned)r;
    look->unseen += r == 0;
    return 0;
}

static int end_in_all(struct look *look, int dirfd, const char *path, struct error *err)
{
    _cleanup_(closedir) DIR *dir = NULL;
    const char *name;
    int r = dir_stream(dirfd, path, &dir, err);
    while (r == 0 && (r = dir_next(dir, path, &name, err)) > 0)
        r = end_in_named(look, dirfd, path, name, err);
    return r;
}

static int look_once(struct look *look, int dirfd, const char *path, struct error *err)
{
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    *look = (struct look){.count = 0};
    int r = proc_vmms(&vmms, &look->count, err);
    look->vmms = vmms;
    return r < 0 ? r : end_in_all(look, dirfd, path, err);
}

/* One that was ended may just have made another one. */
void strays_end(int dirfd, const char *path)
{
    struct look look;
    struct error err = {0};
    for (unsigned late_ms = 0; late_ms < LATE_MS; late_ms += LATE_STEP_MS) {
        int r = look_once(&look, dirfd, path, &err);
        if (r < 0)
            log_error("end what a tined has left behind: %s", err.message);
        if (r < 0 || look.ended + look.unseen == 0)
            return;
        if (look.ended > 0)
            late_ms = 0;
        else
            time_sleep_ms(LATE_STEP_MS);
    }
}

void strays_end_in(int guest_fd, const char *path)
{
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    struct error err = {0};
    struct stat st;
    size_t count = 0;
    int r = fstat(guest_fd, &st) < 0 ? error_errno(&err, errno, path, "stat %s", path)
                                     : proc_vmms(&vmms, &count, &err);
    if (r == 0)
        r = strays_end_seeing(&st, path, vmms, count, &err);
    if (r < 0)
        log_error("%s", err.message);
}
