/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/proc.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/proc_stat.h"
#include "hypervisor/hypervisor.h"

/* True if the process sees a guest directory of its own: the mount is in its namespace only, so
 * everybody else sees the host's empty directory there, or nothing. */
static bool look_at(pid_t pid, const struct stat *host_view, struct proc_vmm *vmm)
{
    char path[64];
    struct stat st;
    struct proc_stat process;
    snprintf(path, sizeof(path), "/proc/%d/root" HYPERVISOR_GUEST_DIR, pid);
    if (stat(path, &st) < 0 || !S_ISDIR(st.st_mode))
        return false; /* gone, a kernel thread, or another's namespace */
    if (st.st_dev == host_view->st_dev && st.st_ino == host_view->st_ino)
        return false;
    if (proc_stat(pid, &process, NULL) < 0)
        return false;
    *vmm = (struct proc_vmm){
        .pid = pid, .start_ticks = process.start_ticks, .device = st.st_dev, .inode = st.st_ino};
    return true;
}

static int append(struct proc_vmm **vmms, size_t *count, const struct proc_vmm *vmm)
{
    void *grown = reallocarray(*vmms, *count + 1, sizeof(**vmms));
    if (!grown)
        return -ENOMEM;
    *vmms = grown;
    (*vmms)[(*count)++] = *vmm;
    return 0;
}

int proc_vmms(struct proc_vmm **vmms, size_t *count, struct error *err)
{
    struct stat host_view = {.st_ino = 0};
    *vmms = NULL;
    *count = 0;
    if (stat(HYPERVISOR_GUEST_DIR, &host_view) < 0 && errno != ENOENT)
        return error_errno(err, errno, HYPERVISOR_GUEST_DIR, "stat " HYPERVISOR_GUEST_DIR);
    _cleanup_(closedir) DIR *proc = opendir("/proc");
    if (!proc)
        return error_errno(err, errno, "/proc", "open /proc");
    struct dirent *entry;
    while ((entry = readdir(proc))) {
        struct proc_vmm vmm;
        pid_t pid = (pid_t)strtol(entry->d_name, NULL, 10);
        if (pid <= 0 || !look_at(pid, &host_view, &vmm))
            continue;
        if (append(vmms, count, &vmm) < 0) {
            free(*vmms);
            *vmms = NULL;
            return error_errno(err, ENOMEM, "/proc", "list VMMs");
        }
    }
    return 0;
}
