/* SPDX-License-Identifier: Apache-2.0 */
/* Templates, and VMs made of them, that nobody knows: who asked for them has died, or who was
 * asked. A template is a child of its VM's VMM; when that has ended too it is found, as VMs are, by
 * the guest directory that it sees. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "base/log.h"
#include "base/proc_stat.h"
#include "instance/live.h"

struct strays {
    int directory;              /* an instance's, or that of all snapshots */
    const char *path, *name;    /* of the directory; of those under temporary names in it */
    const struct operation *op; /* the instance; NULL: none */
    const struct proc_vmm *vmms;
    size_t count;
    pid_t vmm; /* of the instance; 0: it has none */
};

static int end(const struct strays *strays, pid_t pid, uint64_t start_ticks, struct error *err)
{
    struct vm_process process = {.pid = pid, .pidfd = -1, .start_ticks = start_ticks};
    log_info("ending process %d, a template or a VM of one that nobody knows, in %s", pid,
             strays->path);
    return vm_process_kill(&process, VMM_KILL_MS, err);
}

/* All that see the directory. */
static int end_in(const struct strays *strays, const struct stat *st, struct error *err)
{
    int r = 0;
    for (size_t i = 0; i < strays->count && r == 0; i++) {
        const struct proc_vmm *vmm = &strays->vmms[i];
        if (vmm->device == st->st_dev && vmm->inode == st->st_ino)
            r = end(strays, vmm->pid, vmm->start_ticks, err);
    }
    return r;
}

static int end_if_child(const struct strays *strays, const char *name, struct error *err)
{
    struct proc_stat stat;
    pid_t pid = (pid_t)strtol(name, NULL, 10);
    if (pid <= 0 || proc_stat(pid, &stat, NULL) < 0 || stat.parent != strays->vmm ||
        stat.state == 'Z')
        return 0; /* none, or gone */
    return end(strays, pid, stat.start_ticks, err);
}

/* What a tined that died had asked the VMM for it has done before it answers this. */
static void await_vmm(const struct operation *op)
{
    const struct hypervisor *hypervisor = operation_hypervisor(op);
    const struct vm_spec spec = operation_spec(op);
    char state[16];
    (void)hypervisor->query(hypervisor, &spec, state,
                            NULL); /* one that is silent is seen to later */
}

static int end_children(const struct strays *strays, struct error *err)
{
    await_vmm(strays->op);
    _cleanup_(closedir) DIR *proc = opendir("/proc");
    if (!proc)
        return error_errno(err, errno, "/proc", "open /proc");
    const struct dirent *entry;
    int r = 0;
    while (r == 0 && (entry = readdir(proc)))
        r = end_if_child(strays, entry->d_name, err);
    return r;
}

/* The directory of a template, or of a VM of one: there was one, or was to be. */
static int end_of(const struct strays *strays, const char *name, struct error *err)
{
    struct stat st;
    if (fstatat(strays->directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, strays->path, "stat %s/%s", strays->path, name);
    int r = end_in(strays, &st, err);
    return r < 0 || strays->vmm == 0 ? r : end_children(strays, err);
}

static bool is_of(const struct strays *strays, const char *name)
{
    const size_t length = strlen(strays->name);
    return is_temporary_name(name) && strncmp(name, strays->name, length) == 0 &&
           name[length] == '.';
}

/* 1 if there were any. */
static int end_all(const struct strays *strays, struct error *err)
{
    _cleanup_(closedir) DIR *dir = NULL;
    int r = dir_stream(strays->directory, strays->path, &dir, err);
    int any = 0;
    while (r == 0) {
        errno = 0;
        const struct dirent *entry = readdir(dir);
        if (!entry)
            return errno == 0 ? any
                              : error_errno(err, errno, strays->path, "read %s", strays->path);
        if (!is_of(strays, entry->d_name))
            continue;
        any = 1;
        r = end_of(strays, entry->d_name, err);
    }
    return r;
}

int live_end_strays(const struct operation *op, const struct proc_vmm *vmms, size_t count,
                    struct error *err)
{
    struct vm_process process;
    bool lives = operation_process(op, &process);
    process_release(&process);
    const struct strays strays = {.directory = op->guest_fd,
                                  .path = op->guest_dir,
                                  .name = LIVE_DIRECTORY,
                                  .op = op,
                                  .vmms = vmms,
                                  .count = count,
                                  .vmm = lives ? process.pid : 0};
    return end_all(&strays, err);
}

void live_end_captures(const struct host *host)
{
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    struct strays strays = {
        .directory = host->snapshots_fd, .path = host->snapshots_dir, .name = CAPTURE_DIRECTORY};
    struct error err = {0};
    int r = proc_vmms(&vmms, &strays.count, &err);
    strays.vmms = vmms;
    if (r == 0)
        r = end_all(&strays, &err);
    if (r < 0)
        log_error("a VM that wrote a snapshot: %s", err.message);
}

void live_end_unknown(const struct operation *op)
{
    _cleanup_(free) struct proc_vmm *vmms = NULL;
    struct strays strays = {.path = op->guest_dir};
    struct error err = {0};
    struct stat st;
    int r = fstat(op->guest_fd, &st) < 0
                ? error_errno(&err, errno, op->guest_dir, "stat %s", op->guest_dir)
                : proc_vmms(&vmms, &strays.count, &err);
    strays.vmms = vmms;
    if (r == 0)
        r = end_in(&strays, &st, &err);
    if (r < 0)
        log_error("instance %s: %s", op->record.id, err.message);
}
