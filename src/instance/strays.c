/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/strays.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "instance/host.h"

static int end_in(const char *path, const struct stat *st, const struct proc_vmm *vmms,
                  size_t count, struct error *err)
{
    int ended = 0;
    for (size_t i = 0; i < count; i++) {
        struct vm_process process = {
            .pid = vmms[i].pid, .pidfd = -1, .start_ticks = vmms[i].start_ticks};
        if (vmms[i].device != st->st_dev || vmms[i].inode != st->st_ino)
            continue;
        log_info("%s: ending process %d, which nobody knows", path, process.pid);
        int r = vm_process_kill(&process, VMM_KILL_MS, err);
        if (r < 0)
            return r;
        ended++;
    }
    return ended;
}

static int end_in_named(int dirfd, const char *path, const char *name, const struct proc_vmm *vmms,
                        size_t count, struct error *err)
{
    struct stat st;
    if (!is_temporary_name(name))
        return 0;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, path, "stat %s/%s", path, name);
    return end_in(path, &st, vmms, count, err);
}

int strays_end(int dirfd, const char *path, const struct proc_vmm *vmms, size_t count,
               struct error *err)
{
    int ended = 0;
    int copy = dir_open(dirfd, ".", err);
    if (copy < 0)
        return copy;
    _cleanup_(closedir) DIR *dir = fdopendir(copy);
    if (!dir) {
        int saved = errno;
        close(copy);
        return error_errno(err, saved, path, "read %s", path);
    }
    for (;;) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno == 0 ? ended : error_errno(err, errno, path, "read %s", path);
        int r = end_in_named(dirfd, path, entry->d_name, vmms, count, err);
        if (r < 0)
            return r;
        ended += r;
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
        r = end_in(path, &st, vmms, count, &err);
    if (r < 0)
        log_error("%s", err.message);
}
