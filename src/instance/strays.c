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
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++) {
        struct vm_process process = {
            .pid = vmms[i].pid, .pidfd = -1, .start_ticks = vmms[i].start_ticks};
        if (vmms[i].device != st->st_dev || vmms[i].inode != st->st_ino)
            continue;
        log_info("%s: ending process %d, which was left behind", path, process.pid);
        r = vm_process_kill(&process, VMM_KILL_MS, err);
    }
    return r;
}

int strays_end(int dirfd, const char *path, const struct proc_vmm *vmms, size_t count,
               struct error *err)
{
    int copy = dir_open(dirfd, ".", err);
    if (copy < 0)
        return copy;
    _cleanup_(closedir) DIR *dir = fdopendir(copy);
    if (!dir) {
        int saved = errno;
        close(copy);
        return error_errno(err, saved, path, "read %s", path);
    }
    const struct dirent *entry;
    int r = 0;
    while (r == 0 && (errno = 0, entry = readdir(dir))) {
        struct stat st;
        if (is_temporary_name(entry->d_name) &&
            fstatat(dirfd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
            r = end_in(path, &st, vmms, count, err);
    }
    if (r == 0 && errno != 0)
        r = error_errno(err, errno, path, "read %s", path);
    return r;
}
