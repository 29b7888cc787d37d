/* SPDX-License-Identifier: Apache-2.0 */
#include "image/ext4.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/cleanup.h"
#include "base/spawn.h"

#define INODE_SIZE  256u
#define SLACK_BYTES (8u << 20)
/* mke2fs sees the file and the tree under these names. */
#define FILE_FD    3
#define TREE_FD    4
#define FILE_PATH  "/proc/self/fd/3"
#define TREE_PATH  "/proc/self/fd/4"
#define FIXED_UUID "74696e65-0000-4000-8000-696d61676500"

#define ARGUMENTS_MAX 32

static const char *mke2fs_find(void)
{
    static const char *const paths[] = {"/usr/sbin/mke2fs", "/sbin/mke2fs", "/usr/bin/mke2fs"};
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        if (access(paths[i], X_OK) == 0)
            return paths[i];
    }
    return NULL;
}

/* The descriptors of the child: above what dup2() will overwrite, or it would overwrite itself. */
static int spawn(const char *program, const char *const *arguments, const int fds[3], pid_t *pid)
{
    static const char *const environment[] = {"LC_ALL=C", "PATH=/usr/sbin:/usr/bin:/sbin:/bin",
                                              NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return r;
    spawn_attributes_init(&attributes, 0);
    const int targets[] = {STDERR_FILENO, FILE_FD, TREE_FD};
    r = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    for (size_t i = 0; r == 0 && i < ARRAY_SIZE(targets); i++) {
        if (fds[i] >= 0)
            r = posix_spawn_file_actions_adddup2(&actions, fds[i], targets[i]);
    }
    if (r == 0)
        r = posix_spawn(pid, program, &actions, &attributes, (char *const *)arguments,
                        (char *const *)environment);
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
    return r;
}

static int duplicate_high(int fd)
{
    return fcntl(fd, F_DUPFD_CLOEXEC, TREE_FD + 1);
}

/* What it said last, as one line. */
static void last_words(int fd, char words[256])
{
    char text[1024];
    ssize_t n = pread(fd, text, sizeof(text) - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    for (size_t length = strlen(text); length > 0 && strchr("\n ", text[length - 1]); length--)
        text[length - 1] = '\0';
    for (char *c = text; *c; c++)
        *c = *c == '\n' ? ' ' : *c;
    size_t length = strlen(text), kept = length < 255 ? length : 255;
    memcpy(words, text + length - kept, kept + 1);
}

static int await(pid_t pid, int words_fd, const char *name, struct error *err)
{
    char words[256];
    int status;
    while (waitpid(pid, &status, 0) < 0) {
        if (errno != EINTR)
            return error_errno(err, errno, name, "make the file system %s", name);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    last_words(words_fd, words);
    bool full = strstr(words, strerror(ENOSPC)) != NULL;
    return error_set(err, full ? ERROR_RESOURCES : ERROR_SYSTEM, full ? ENOSPC : EIO,
                     "make the file system %s: mke2fs ended with %s %d: %s", name,
                     WIFEXITED(status) ? "status" : "signal",
                     WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status), words);
}

/* No shell, and no name of ours on its command line. */
static int mke2fs_run(int file, int tree, const char *name, const char *const *arguments,
                      struct error *err)
{
    const char *program = mke2fs_find();
    if (!program)
        return error_set(err, ERROR_UNSUPPORTED, ENOENT,
                         "make the file system %s: there is no mke2fs here (Debian package "
                         "e2fsprogs)",
                         name);
    _cleanup_(close) int said = memfd_create("mke2fs", MFD_CLOEXEC);
    _cleanup_(close) int words = said < 0 ? -1 : duplicate_high(said);
    _cleanup_(close) int high_file = duplicate_high(file);
    _cleanup_(close) int high_tree = tree < 0 ? -1 : duplicate_high(tree);
    if (words < 0 || high_file < 0 || (tree >= 0 && high_tree < 0))
        return error_errno(err, errno, name, "make the file system %s", name);
    const int fds[] = {words, high_file, high_tree};
    pid_t pid;
    int r = spawn(program, arguments, fds, &pid);
    if (r != 0)
        return error_errno(err, r, name, "start %s", program);
    return await(pid, words, name, err);
}

static int file_make(int dirfd, const char *name, uint64_t size, struct error *err)
{
    _cleanup_(close) int fd =
        openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return error_errno(err, errno, name, "create %s", name);
    if (ftruncate(fd, (off_t)size) < 0) {
        int r = error_errno(err, errno, name, "make %s %" PRIu64 " bytes large", name, size);
        unlinkat(dirfd, name, 0);
        return r;
    }
    return TAKE_FD(fd);
}

static int make(int dirfd, const char *name, uint64_t size, int tree, const char *const *arguments,
                struct error *err)
{
    _cleanup_(close) int fd = file_make(dirfd, name, size, err);
    if (fd < 0)
        return fd;
    int r = mke2fs_run(fd, tree, name, arguments, err);
    if (r < 0)
        unlinkat(dirfd, name, 0);
    return r;
}

int ext4_make_image(int dirfd, const char *name, const struct ext4_content *content,
                    struct error *err)
{
    static const char options[] = "lazy_itable_init=0,hash_seed=" FIXED_UUID;
    char inodes[24];
    uint64_t count = content->inodes + 16; /* those of the file system itself */
    uint64_t bytes = content->blocks * EXT4_BLOCK + count * INODE_SIZE;
    uint64_t size = (bytes + bytes / 32 + SLACK_BYTES) / EXT4_BLOCK * EXT4_BLOCK;
    snprintf(inodes, sizeof(inodes), "%" PRIu64, count);
    const char *const arguments[] = {
        "mke2fs",  "-q",       "-F",   "-t",    "ext4",
        "-b",      "4096",     "-I",   "256",   "-m",
        "0",       "-N",       inodes, "-O",    "^has_journal,^resize_inode",
        "-U",      FIXED_UUID, "-E",   options, "-d",
        TREE_PATH, FILE_PATH,  NULL};
    return make(dirfd, name, size, content->tree, arguments, err);
}

int ext4_make_empty(int dirfd, const char *name, uint64_t size, struct error *err)
{
    static const char *const arguments[] = {"mke2fs",
                                            "-q",
                                            "-F",
                                            "-t",
                                            "ext4",
                                            "-b",
                                            "4096",
                                            "-m",
                                            "0",
                                            "-O",
                                            "^resize_inode",
                                            "-J",
                                            "size=16",
                                            "-E",
                                            "lazy_itable_init=0,lazy_journal_init=1",
                                            FILE_PATH,
                                            NULL};
    return make(dirfd, name, size, -1, arguments, err);
}
