/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/root.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define HOME      "/run/tine"
#define ROOT      HOME "/root"
#define IMAGE     HOME "/image"
#define OVERLAY   HOME "/overlay"
#define UPPER     OVERLAY "/upper"
#define WORK      OVERLAY "/work"
#define DEVICE_MS 10000 /* for a disk's driver to find it */
#define POLL_MS   10

/* Of linux/mount.h, which does not go together with every C library's sys/mount.h. */
#define TREE_CLONE     1u
#define TREE_RECURSIVE 0x8000u /* AT_RECURSIVE */
#define MOVE_FROM_FD   4u      /* MOVE_MOUNT_F_EMPTY_PATH */

bool root_option(const char *cmdline, const char *key, char *value, size_t size)
{
    size_t key_length = strlen(key);
    bool found = false;
    for (const char *word = cmdline; *(word += strspn(word, " \n"));) {
        size_t length = strcspn(word, " \n");
        if (length > key_length + 1 && length - key_length - 1 < size &&
            strncmp(word, key, key_length) == 0 && word[key_length] == '=') {
            memcpy(value, word + key_length + 1, length - key_length - 1);
            value[length - key_length - 1] = '\0';
            found = true;
        }
        word += length;
    }
    return found;
}

static int directory_make(const char *path, struct error *err)
{
    if (mkdir(path, 0755) < 0 && errno != EEXIST)
        return error_errno(err, errno, path, "mkdir %s", path);
    return 0;
}

static int device_await(const char *what, const char *device, struct error *err)
{
    struct stat st;
    for (unsigned waited = 0; stat(device, &st) < 0; waited += POLL_MS) {
        if (errno != ENOENT || waited >= DEVICE_MS)
            return error_errno(err, errno, device, "%s disk %s", what, device);
        time_sleep_ms(POLL_MS);
    }
    return S_ISBLK(st.st_mode) ? 0 : error_errno(err, ENOTBLK, device, "%s disk %s", what, device);
}

static int disk_mount(const char *what, const char *device, const char *target, unsigned long flags,
                      struct error *err)
{
    int r = device_await(what, device, err);
    if (r == 0)
        r = directory_make(target, err);
    if (r == 0 && mount(device, target, "ext4", flags, "") < 0)
        r = error_errno(err, errno, device, "mount the %s disk %s", what, device);
    return r;
}

static int overlay_mount(struct error *err)
{
    static const char options[] = "lowerdir=" IMAGE ",upperdir=" UPPER ",workdir=" WORK;
    int r = directory_make(UPPER, err);
    if (r == 0)
        r = directory_make(WORK, err);
    if (r == 0)
        r = directory_make(ROOT, err);
    if (r == 0 && mount("overlay", ROOT, "overlay", 0, options) < 0)
        r = error_errno(err, errno, ROOT, "lay the overlay disk over the image");
    return r;
}

/* --- inside ---------------------------------------------------------------------------------- */

/* The agent's own /dev, with what is mounted in it: a terminal that the agent opens is found there
 * under its name. */
static int dev_attach(int tree)
{
    return (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, "/dev", MOVE_FROM_FD);
}

static int mount_inside(const char *type, const char *target, const char *options)
{
    if (mkdir(target, 0755) < 0 && errno != EEXIST)
        return -1;
    return mount(type, target, type, MS_NOSUID | MS_NODEV, options);
}

/* Names what failed; errno says why. /tmp is the image's own, on the overlay disk: what is put
 * there need not fit in memory. */
static const char *furnish(int dev)
{
    if (root_enter() < 0)
        return "enter it";
    if (mount_inside("proc", "/proc", "") < 0)
        return "mount /proc";
    if (mount_inside("sysfs", "/sys", "") < 0)
        return "mount /sys";
    if (mount_inside("tmpfs", "/run", "mode=0755") < 0)
        return "mount /run";
    if ((mkdir("/dev", 0755) < 0 && errno != EEXIST) || dev_attach(dev) < 0)
        return "mount /dev";
    bool has_tmp = mkdir("/tmp", 0777) < 0;
    if (has_tmp ? errno != EEXIST : chmod("/tmp", 01777) < 0)
        return "make /tmp";
    return NULL;
}

/* What a child that could not furnish the root tells. */
struct complaint {
    int errnum;
    char what[32];
};

static _Noreturn void furnish_child(int dev, int tell)
{
    struct complaint complaint = {0};
    const char *what = furnish(dev);
    if (!what)
        _exit(0);
    complaint.errnum = errno;
    snprintf(complaint.what, sizeof(complaint.what), "%s", what);
    ssize_t written = write(tell, &complaint, sizeof(complaint));
    _exit(written < 0 ? 2 : 1);
}

/* In a child, as links in the image must lead nowhere else. */
static int furnish_inside(struct error *err)
{
    _cleanup_(close) int dev =
        (int)syscall(SYS_open_tree, AT_FDCWD, "/dev", TREE_CLONE | TREE_RECURSIVE | O_CLOEXEC);
    int ends[2], status;
    if (dev < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return error_errno(err, errno, "/dev", "prepare /dev for the image");
    _cleanup_(close) int tell = ends[1], listen = ends[0];
    pid_t pid = fork();
    if (pid == 0)
        furnish_child(dev, tell);
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return error_errno(err, errno, ROOT, "prepare the image's root");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    struct complaint complaint = {.errnum = EIO, .what = "unknown"};
    close(TAKE_FD(tell));
    if (read(listen, &complaint, sizeof(complaint)) < 0)
        return error_errno(err, errno, ROOT, "prepare the image's root");
    return error_errno(err, complaint.errnum, ROOT, "the image's root: %s", complaint.what);
}

/* --- all of it ------------------------------------------------------------------------------- */

static int cmdline_read(char *cmdline, size_t size, struct error *err)
{
    _cleanup_(close) int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, cmdline, size - 1);
    if (n < 0)
        return error_errno(err, errno, "/proc/cmdline", "read /proc/cmdline");
    cmdline[n] = '\0';
    return 0;
}

int root_set_up(struct error *err)
{
    char cmdline[4096], image[64], overlay[64];
    int r = cmdline_read(cmdline, sizeof(cmdline), err);
    if (r < 0 || !root_option(cmdline, "tine.root", image, sizeof(image)))
        return r;
    if (!root_option(cmdline, "tine.overlay", overlay, sizeof(overlay)))
        return error_set(err, ERROR_INVALID, EINVAL, "tine.root without tine.overlay");
    r = directory_make(HOME, err);
    if (r == 0)
        r = disk_mount("root", image, IMAGE, MS_RDONLY, err);
    if (r == 0)
        r = disk_mount("overlay", overlay, OVERLAY, 0, err);
    if (r == 0)
        r = overlay_mount(err);
    return r < 0 ? r : furnish_inside(err);
}

int root_enter(void)
{
    if (chroot(ROOT) < 0)
        return errno == ENOENT ? 0 : -errno;
    return chdir("/") < 0 ? -errno : 0;
}
