/* SPDX-License-Identifier: Apache-2.0 */
#include "fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/log.h"
#include "loop.h"

#define BLOCK 4096u

/* One per process, like the namespace it describes. */
static struct {
    char root[32];
    struct scratch scratches[SCRATCH_LIMIT];
    unsigned count;
    int log_fd;
} fixture;

static void must(int r, const char *what)
{
    if (r < 0)
        fail_msg("%s: %s", what, strerror(errno));
}

static void mount_image(struct scratch *scratch, uint64_t size, const char *const *mkfs,
                        const char *options)
{
    char image[64], device[32];
    snprintf(image, sizeof(image), "%s/%s.img", fixture.root, scratch->type);
    scratch->backing = open(image, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(scratch->backing, image);
    must(ftruncate(scratch->backing, (off_t)size), image);
    const char *argv[16];
    size_t count = 0;
    while (mkfs[count]) {
        argv[count] = mkfs[count];
        count++;
    }
    argv[count++] = image;
    argv[count] = NULL;
    program_run(argv);
    int loop = loop_attach(scratch->backing, device, sizeof(device));
    must(unlink(image), image);
    must(mount(device, scratch->path, scratch->type, 0, options), device);
    close(loop);
}

static struct scratch *scratch_add(const char *type, bool reflinks)
{
    struct scratch *scratch = &fixture.scratches[fixture.count++];
    *scratch = (struct scratch){.type = type, .reflinks = reflinks, .backing = -1};
    char root[sizeof(fixture.root)];
    memcpy(root, fixture.root, sizeof(root));
    snprintf(scratch->path, sizeof(scratch->path), "%s/%s", root, type);
    must(mkdir(scratch->path, 0755), scratch->path);
    return scratch;
}

int fixture_start(void **state)
{
    static const char *const ext4[] = {"mkfs.ext4", "-q", "-F", "-b", "4096", "-N", "4096", NULL};
    static const char *const xfs[] = {"mkfs.xfs", "-q", "-f", "-m", "reflink=1", NULL};
    static const char *const btrfs[] = {"mkfs.btrfs", "-q", "-f", NULL};
    snprintf(fixture.root, sizeof(fixture.root), "/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(fixture.root));
    must(chmod(fixture.root, 0755), fixture.root);
    must(unshare(CLONE_NEWNS), "unshare: these tests need root");
    must(mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL), "make mounts private");
    mount_image(scratch_add("ext4", false), 192u << 20, ext4, NULL);
    mount_image(scratch_add("xfs", true), 320u << 20, xfs, NULL);
    mount_image(scratch_add("btrfs", true), 256u << 20, btrfs, NULL);
    struct scratch *tmpfs = scratch_add("tmpfs", false);
    must(mount("none", tmpfs->path, "tmpfs", 0, "size=128m"), "mount tmpfs");
    struct scratch *ramfs = scratch_add("ramfs", false);
    must(mount("none", ramfs->path, "ramfs", 0, NULL), "mount ramfs");
    fixture.log_fd = -1;
    log_set_level(LOG_LEVEL_ERROR); /* hundreds of expected warnings */
    return 0;
}

int fixture_stop(void **state)
{
    for (unsigned i = 0; i < fixture.count; i++) {
        must(umount2(fixture.scratches[i].path, MNT_DETACH), fixture.scratches[i].path);
        if (fixture.scratches[i].backing >= 0)
            close(fixture.scratches[i].backing);
    }
    must(tree_remove(AT_FDCWD, fixture.root, NULL), fixture.root);
    fixture.count = 0;
    return 0;
}

struct scratch *fixture_scratch(const char *type)
{
    for (unsigned i = 0; i < fixture.count; i++) {
        if (strcmp(fixture.scratches[i].type, type) == 0)
            return &fixture.scratches[i];
    }
    fail_msg("no scratch file system %s", type);
    return NULL;
}

static int fresh_directory(const struct scratch *scratch, char *path, size_t size)
{
    snprintf(path, size, "%s/XXXXXX", scratch->path);
    assert_non_null(mkdtemp(path));
    must(chmod(path, 0755), path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(fd, path);
    return fd;
}

struct pair pair_make(struct scratch *from, struct scratch *to)
{
    struct pair pair = {.from = from, .to = to};
    pair.a = fresh_directory(from, pair.from_path, sizeof(pair.from_path));
    pair.b = fresh_directory(to, pair.to_path, sizeof(pair.to_path));
    return pair;
}

void pair_remove(struct pair *pair)
{
    close(pair->a);
    close(pair->b);
    assert_int_equal(tree_remove(AT_FDCWD, pair->from_path, NULL), 0);
    assert_int_equal(tree_remove(AT_FDCWD, pair->to_path, NULL), 0);
}

/* Never zero at the first byte of a block, so that a lost block is seen. */
static uint8_t byte_at(uint64_t offset, unsigned seed)
{
    return (uint8_t)((offset / BLOCK * 31 + offset + seed) % 251 + 1);
}

void image_make(int dirfd, const char *name, uint64_t size, const struct extent *extents,
                size_t count, unsigned seed)
{
    int fd = openat(dirfd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    must(fd, name);
    must(ftruncate(fd, (off_t)size), name);
    static uint8_t buffer[1 << 16];
    for (size_t i = 0; i < count; i++) {
        for (uint64_t done = 0; done < extents[i].length;) {
            uint64_t left = extents[i].length - done;
            size_t length = left < sizeof(buffer) ? (size_t)left : sizeof(buffer);
            for (size_t at = 0; at < length; at++)
                buffer[at] = byte_at(extents[i].start + done + at, seed);
            must(file_pwrite_exact(fd, buffer, length, extents[i].start + done, name, NULL), name);
            done += length;
        }
    }
    must(fsync(fd), name);
    close(fd);
}

static uint8_t expected_at(uint64_t offset, const struct extent *extents, size_t count,
                           unsigned seed)
{
    for (size_t i = 0; i < count; i++) {
        if (offset >= extents[i].start && offset - extents[i].start < extents[i].length)
            return byte_at(offset, seed);
    }
    return 0;
}

/* Checks the bytes around each extent and in it; all of a small file. */
static void check_range(int fd, const char *name, uint64_t start, uint64_t end,
                        const struct extent *extents, size_t count, unsigned seed)
{
    static uint8_t buffer[1 << 16];
    while (start < end) {
        size_t length = end - start < sizeof(buffer) ? (size_t)(end - start) : sizeof(buffer);
        must(file_pread_exact(fd, buffer, length, start, name, NULL), name);
        for (size_t at = 0; at < length; at++) {
            if (buffer[at] != expected_at(start + at, extents, count, seed))
                fail_msg("%s: wrong byte at %llu", name, (unsigned long long)(start + at));
        }
        start += length;
    }
}

void image_assert(int dirfd, const char *name, uint64_t size, const struct extent *extents,
                  size_t count, unsigned seed)
{
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    must(fd, name);
    struct stat st;
    must(fstat(fd, &st), name);
    assert_int_equal(st.st_size, size);
    if (size <= 4u << 20)
        check_range(fd, name, 0, size, extents, count, seed);
    for (size_t i = 0; size > 4u << 20 && i < count; i++) {
        uint64_t end = extents[i].start + extents[i].length + BLOCK;
        uint64_t start = extents[i].start > BLOCK ? extents[i].start - BLOCK : 0;
        check_range(fd, name, start, end < size ? end : size, extents, count, seed);
    }
    close(fd);
}

void image_assert_sparse(int dirfd, const char *name, uint64_t at_most)
{
    struct stat st;
    must(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW), name);
    if ((uint64_t)st.st_blocks * 512 > at_most)
        fail_msg("%s: %llu bytes allocated, at most %llu are data", name,
                 (unsigned long long)st.st_blocks * 512, (unsigned long long)at_most);
}

struct stack_file in_dir(int dirfd, const char *name)
{
    return (struct stack_file){.dirfd = dirfd, .name = name, .label = name};
}

static struct stat stat_of(int dirfd, const char *name)
{
    struct stat st;
    must(fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW), name);
    return st;
}

uint64_t link_count_of(int dirfd, const char *name)
{
    return stat_of(dirfd, name).st_nlink;
}

ino_t inode_of(int dirfd, const char *name)
{
    return stat_of(dirfd, name).st_ino;
}

bool is_there(int dirfd, const char *name)
{
    struct stat st;
    int r = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW);
    assert_true(r == 0 || errno == ENOENT);
    return r == 0;
}

unsigned entries_of(int dirfd)
{
    DIR *dir = fdopendir(openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    assert_non_null(dir);
    unsigned count = 0;
    while (readdir(dir))
        count++;
    closedir(dir);
    return count - 2;
}

void failpoints(const char *list)
{
    if (list)
        must(setenv("TINE_FAILPOINT", list, 1), "setenv");
    else
        must(unsetenv("TINE_FAILPOINT"), "unsetenv");
}

int in_child(void (*body)(void *context), void *context)
{
    fflush(NULL);
    pid_t pid = fork();
    must(pid, "fork");
    if (pid == 0) {
        body(context);
        _exit(0);
    }
    int status = -1;
    must(waitpid(pid, &status, 0), "waitpid");
    return status;
}

void child_check(bool holds, const char *what)
{
    if (holds)
        return;
    fprintf(stderr, "in a child: %s does not hold\n", what);
    _exit(99);
}

bool was_killed(int status)
{
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
}

void fixture_log_start(void)
{
    int fd = openat(AT_FDCWD, fixture.root, O_TMPFILE | O_RDWR | O_APPEND | O_CLOEXEC, 0600);
    must(fd, "log");
    fixture.log_fd = fd;
    log_set_fd(fcntl(fd, F_DUPFD_CLOEXEC, 3));
    log_set_level(LOG_LEVEL_WARNING);
}

unsigned fixture_log_take(char *text, size_t size)
{
    ssize_t n = pread(fixture.log_fd, text, size - 1, 0);
    must((int)n, "log");
    text[n] = '\0';
    log_set_fd(2);
    log_set_level(LOG_LEVEL_ERROR);
    close(fixture.log_fd);
    unsigned lines = 0;
    for (const char *p = text; *p; p++)
        lines += *p == '\n';
    return lines;
}

static size_t add_cases(struct CMUnitTest *tests, const struct fs_case *cases, size_t count,
                        const char *type)
{
    for (size_t i = 0; i < count; i++) {
        char *name = NULL;
        assert_true(asprintf(&name, "%s%s%s", type ? type : "", type ? ": " : "", cases[i].name) >
                    0);
        tests[i] = (struct CMUnitTest){
            .name = name, .test_func = cases[i].run, .initial_state = (void *)(uintptr_t)type};
    }
    return count;
}

int run_on_each(const char *group, const struct fs_case *cases, size_t count,
                const struct fs_case *others, size_t other_count)
{
    static const char *const types[] = {"ext4", "xfs", "btrfs", "tmpfs"};
    static struct CMUnitTest tests[256];
    size_t total = 0;
    for (size_t i = 0; i < 4; i++)
        total += add_cases(tests + total, cases, count, types[i]);
    total += add_cases(tests + total, others, other_count, NULL);
    int failures = _cmocka_run_group_tests(group, tests, total, fixture_start, fixture_stop);
    for (size_t i = 0; i < total; i++)
        free((void *)(uintptr_t)tests[i].name);
    return failures;
}
