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
#include "base/proc_stat.h"
#include "instance/live.h"
#include "instance/strays.h"

struct strays {
    const struct operation *op;
    const struct proc_vmm *vmms;
    size_t count;
    pid_t vmm; /* of the instance; 0: it has none */
};

static int end_if_child(const struct strays *strays, const char *name, struct error *err)
{
    struct proc_stat stat;
    pid_t pid = (pid_t)strtol(name, NULL, 10);
    if (pid <= 0 || proc_stat(pid, &stat, NULL) < 0 || stat.parent != strays->vmm ||
        stat.state == 'Z')
        return 0; /* none, or gone */
    return stray_end(strays->op->guest_dir, pid, stat.start_ticks, err);
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

/* The directory of a template: there was one, or was to be. */
static int end_of_template(const struct strays *strays, const char *name, struct error *err)
{
    const struct operation *op = strays->op;
    struct stat st;
    if (fstatat(op->guest_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return error_errno(err, errno, op->guest_dir, "stat %s/%s", op->guest_dir, name);
    int r = strays_end_seeing(&st, op->guest_dir, strays->vmms, strays->count, err);
    return r < 0 || strays->vmm == 0 ? r : end_children(strays, err);
}

static bool is_of_template(const char *name)
{
    return is_temporary_name(name) &&
           strncmp(name, LIVE_DIRECTORY ".", sizeof(LIVE_DIRECTORY)) == 0;
}

/* 1 if there were any. */
static int end_all(const struct strays *strays, struct error *err)
{
    const struct operation *op = strays->op;
    _cleanup_(closedir) DIR *dir = NULL;
    const char *name;
    int r = dir_stream(op->guest_fd, op->guest_dir, &dir, err);
    int any = 0;
    while (r >= 0 && (r = dir_next(dir, op->guest_dir, &name, err)) > 0) {
        if (!is_of_template(name))
            continue;
        any = 1;
        r = end_of_template(strays, name, err);
    }
    return r < 0 ? r : any;
}

int live_end_strays(const struct operation *op, const struct proc_vmm *vmms, size_t count,
                    struct error *err)
{
    struct vm_process process;
    bool lives = operation_process(op, &process);
    process_release(&process);
    const struct strays strays = {op, vmms, count, lives ? process.pid : 0};
    return end_all(&strays, err);
}
