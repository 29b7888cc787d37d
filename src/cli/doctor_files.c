/* SPDX-License-Identifier: Apache-2.0 */
/* What the file system of the data directory can do: tried on temporary files there. */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "base/size.h"
#include "cli/doctor.h"

#define XFS_MAGIC      0x58465342
#define SPARSE_SIZE    (64ll << 20)
#define FREE_WANTED    (4ull << 30)
#define CONTENT        "tine doctor"
#define CONTENT_LENGTH (sizeof(CONTENT) - 1)

static const struct {
    long magic;
    const char *name;
} file_systems[] = {
    {EXT4_SUPER_MAGIC, "ext4"},         {XFS_MAGIC, "xfs"},
    {BTRFS_SUPER_MAGIC, "btrfs"},       {TMPFS_MAGIC, "tmpfs"},
    {OVERLAYFS_SUPER_MAGIC, "overlay"}, {NFS_SUPER_MAGIC, "nfs"},
};

static const char *file_system_name(long magic)
{
    for (size_t i = 0; i < ARRAY_SIZE(file_systems); i++) {
        if (file_systems[i].magic == magic)
            return file_systems[i].name;
    }
    return "another file system";
}

/* The directory, or the nearest one above it that exists. Owner: caller. */
static char *existing_directory(const char *path)
{
    char *directory = strdup(path);
    struct stat st;
    while (directory && stat(directory, &st) < 0 && errno == ENOENT) {
        char *slash = strrchr(directory, '/');
        if (!slash || slash == directory) {
            free(directory);
            return strdup(slash ? "/" : ".");
        }
        *slash = '\0';
    }
    return directory;
}

static void check_space(const char *directory, const char *wanted, struct findings *findings)
{
    struct statfs fs;
    if (statfs(directory, &fs) < 0) {
        finding_add(findings, "data directory", FINDING_FAIL, "%s: %s", directory, strerror(errno));
        return;
    }
    uint64_t available = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    char text[32];
    size_format(available, text);
    finding_add(findings, "data directory", available < FREE_WANTED ? FINDING_WARN : FINDING_OK,
                "%s%s: %s, %s free", wanted,
                strcmp(directory, wanted) == 0 ? "" : " (not made yet)",
                file_system_name(fs.f_type), text);
}

static void check_links(int dirfd, int fd, const char *name, struct findings *findings)
{
    _cleanup_(free) char *second = temporary_name("doctor-link");
    struct stat st;
    if (!second || linkat(dirfd, name, dirfd, second, 0) < 0) {
        finding_add(findings, "hard links", FINDING_WARN,
                    "%s: every fork will cost a reflink or a copy of the memory file",
                    strerror(errno));
        return;
    }
    bool counted = fstat(fd, &st) == 0 && st.st_nlink == 2;
    unlinkat(dirfd, second, 0);
    finding_add(findings, "hard links", counted ? FINDING_OK : FINDING_FAIL, "%s",
                counted ? "yes, link count is right: forks share memory files"
                        : "the link count is wrong: shared files can't be told from private ones");
}

static void check_reflink(int dirfd, int fd, struct findings *findings)
{
    _cleanup_(free) char *second = temporary_name("doctor-reflink");
    _cleanup_(close) int copy =
        second ? openat(dirfd, second, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600) : -1;
    if (copy < 0) {
        finding_add(findings, "reflink", FINDING_WARN, "not known: %s", strerror(errno));
        return;
    }
    int r = ioctl(copy, FICLONE, fd);
    int cause = errno;
    unlinkat(dirfd, second, 0);
    if (r == 0)
        finding_add(findings, "reflink", FINDING_OK, "yes: disks are forked without copying");
    else
        finding_add(findings, "reflink", FINDING_WARN,
                    "%s: writable disks are copied sparsely at each fork", strerror(cause));
}

static void check_sparse(int fd, struct findings *findings)
{
    struct stat st;
    if (ftruncate(fd, SPARSE_SIZE) < 0 || fstat(fd, &st) < 0) {
        finding_add(findings, "sparse files", FINDING_FAIL, "%s", strerror(errno));
        return;
    }
    bool sparse = st.st_blocks * 512 < SPARSE_SIZE / 2;
    bool holes = lseek(fd, 0, SEEK_HOLE) < SPARSE_SIZE;
    if (sparse && holes)
        finding_add(findings, "sparse files", FINDING_OK, "yes, and holes are reported");
    else
        finding_add(findings, "sparse files", sparse ? FINDING_WARN : FINDING_FAIL, "%s",
                    sparse ? "yes, but holes are not reported: copies read every byte"
                           : "no: memory files would take their whole size");
}

void check_data_dir(const struct cli *cli, const struct doctor_options *options,
                    struct findings *findings)
{
    _cleanup_(free) char *directory = existing_directory(options->data_dir);
    struct error err = {0};
    if (!directory)
        return;
    check_space(directory, options->data_dir, findings);
    _cleanup_(close) int dirfd = dir_open(AT_FDCWD, directory, &err);
    _cleanup_(free) char *name = temporary_name("doctor");
    _cleanup_(close) int fd =
        dirfd < 0 || !name ? -1 : openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0) {
        finding_add(findings, "data directory writable", FINDING_FAIL, "%s: %s", directory,
                    dirfd < 0 ? err.message : strerror(errno));
        return;
    }
    if (file_write_exact(fd, CONTENT, CONTENT_LENGTH, name, &err) < 0)
        finding_add(findings, "data directory writable", FINDING_FAIL, "%s", err.message);
    check_links(dirfd, fd, name, findings);
    check_reflink(dirfd, fd, findings);
    check_sparse(fd, findings);
    unlinkat(dirfd, name, 0);
}
