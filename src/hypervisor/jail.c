/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/jail.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "hypervisor/hypervisor.h"

#define ROOM_BYTES (1u << 20) /* for what the jailer makes besides the program's copy */
#define INODES     64

static int write_map(pid_t pid, const char *name, unsigned id, struct error *err)
{
    char path[64], map[64];
    snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
    int length = snprintf(map, sizeof(map), "0 %u 1\n", id);
    _cleanup_(close) int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return error_errno(err, errno, path, "open %s", path);
    return file_write_exact(fd, map, (size_t)length, path, err);
}

static int map_owners(pid_t pid, uid_t uid, gid_t gid, struct error *err)
{
    char path[64];
    int r = write_map(pid, "uid_map", uid, err);
    if (r == 0)
        r = write_map(pid, "gid_map", gid, err);
    if (r < 0)
        return r;
    snprintf(path, sizeof(path), "/proc/%d/ns/user", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? error_errno(err, errno, path, "open %s", path) : fd;
}

/* Nobody in a chroot can make a user namespace (user_namespaces(7)): the holder, which looks at no
 * file, leaves it. */
static int enter_namespace(void)
{
    if (unshare(CLONE_NEWUSER) == 0)
        return 0;
    return errno == EPERM && chroot("/proc/1/root") == 0 ? unshare(CLONE_NEWUSER) : -1;
}

/* Tells by a byte that it has its namespace, and waits for its end. */
static _Noreturn void hold_namespace(int writer)
{
    if (enter_namespace() < 0 || write(writer, "", 1) != 1)
        _exit(errno);
    for (;;)
        pause();
}

/* A user namespace has to be some process's; it stays when that ends and a descriptor is open. */
static pid_t start_holder(int writer)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = _Fork();
    if (pid == 0)
        hold_namespace(writer);
    int saved = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = saved;
    return pid;
}

static int end_holder(pid_t pid)
{
    int status = 0;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

/* A user namespace in which root is `uid` and `gid` of the host. */
static int namespace_open(uid_t uid, gid_t gid, struct error *err)
{
    int ends[2];
    char byte;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, NULL, "make a pipe");
    _cleanup_(close) int reader = ends[0];
    _cleanup_(close) int writer = ends[1];
    pid_t pid = start_holder(writer);
    if (pid < 0)
        return error_errno(err, errno, NULL, "make a user namespace: fork");
    close(TAKE_FD(writer));
    ssize_t n = read(reader, &byte, 1);
    int r = n == 1 ? map_owners(pid, uid, gid, err) : 0;
    int ended = end_holder(pid);
    if (n == 1)
        return r;
    return error_errno(err, ended > 0 ? ended : EPROTO, NULL, "make a user namespace");
}

int jail_prepare(struct jail *jail, const char *program, const char *id, uid_t uid, gid_t gid,
                 struct error *err)
{
    struct stat st;
    const char *slash = strrchr(program, '/');
    *jail = (struct jail){.userns_fd = -1};
    if (stat(program, &st) < 0)
        return error_errno(err, errno, program, "jail %s", program);
    snprintf(jail->options, sizeof(jail->options), "size=%llu,nr_inodes=%d,mode=755",
             (unsigned long long)st.st_size + ROOM_BYTES, INODES);
    /* The jailer's root: <base>/<program's name>/<id>/root. */
    if (asprintf(&jail->guest_dir, JAIL_BASE "/%s/%s/root" HYPERVISOR_GUEST_DIR,
                 slash ? slash + 1 : program, id) < 0) {
        jail->guest_dir = NULL;
        return error_errno(err, ENOMEM, program, "jail %s", program);
    }
    if (uid == 0 && gid == 0)
        return 0;
    jail->userns_fd = namespace_open(uid, gid, err);
    if (jail->userns_fd >= 0)
        return 0;
    error_wrap(err, "jail %s", program);
    return jail->userns_fd;
}

void cleanup_jail(struct jail *jail)
{
    cleanup_close(&jail->userns_fd);
    free(jail->guest_dir);
}

/* Not without devices and programs: the jailer makes /dev/kvm, and copies the program. */
int jail_mount(const struct jail *jail)
{
    if (mkdir(JAIL_BASE, 0755) < 0 ||
        mount("none", JAIL_BASE, "tmpfs", MS_NOSUID, jail->options) < 0)
        return errno;
    return 0;
}

/* The path is the child's own to change. */
int jail_make_directories(const struct jail *jail)
{
    umask(022);
    for (char *slash = jail->guest_dir + strlen(JAIL_BASE "/"); (slash = strchr(slash, '/'));
         slash++) {
        *slash = '\0';
        int r = mkdir(jail->guest_dir, 0755);
        *slash = '/';
        if (r < 0)
            return errno;
    }
    return mkdir(jail->guest_dir, 0755) < 0 ? errno : 0;
}

int jail_show_guest(const struct jail *jail)
{
    int tree = open_tree(AT_FDCWD, ".", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (tree < 0)
        return errno;
    struct mount_attr mapped = {.attr_set = MOUNT_ATTR_IDMAP,
                                .userns_fd = (uint64_t)jail->userns_fd};
    if (jail->userns_fd >= 0 && mount_setattr(tree, "", AT_EMPTY_PATH, &mapped, sizeof(mapped)) < 0)
        return errno;
    return move_mount(tree, "", AT_FDCWD, jail->guest_dir, MOVE_MOUNT_F_EMPTY_PATH) < 0 ? errno : 0;
}
