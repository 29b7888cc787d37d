/* SPDX-License-Identifier: Apache-2.0 */
/* Power cuts: what was written to the top since its last fdatasync(2) reaches the disk sector by
 * sector, some of it and in any order. The file's calls are watched, and a top is made of what was
 * synced and a chance part of the rest; what the disk then holds must be what was flushed, or was
 * written since. TINE_SEED=N repeats one sequence. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "disk_model.h"
#include "fixture.h"
#include "layers.h"

#define STEPS     60u
#define SEQUENCES 40u

/* One sector that was written and not synced, in the order of writing. */
struct loose {
    uint64_t offset;
    uint8_t bytes[DISK_SECTOR];
};

/* The top that is watched; calls on other files pass. */
static struct watch {
    ino_t inode; /* 0: nothing is watched */
    int durable; /* a file of what was synced */
    struct loose *loose;
    size_t count, room;
} watch;

ssize_t __real_pwrite64(int fd, const void *bytes, size_t length, off_t offset);
ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t length, off_t offset);
ssize_t __real_pwritev64(int fd, const struct iovec *buffers, int count, off_t offset);
ssize_t __wrap_pwritev64(int fd, const struct iovec *buffers, int count, off_t offset);
int __real_fallocate64(int fd, int mode, off_t offset, off_t length);
int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length);
int __real_fdatasync(int fd);
int __wrap_fdatasync(int fd);

static bool watched(int fd)
{
    struct stat st;
    return watch.inode != 0 && fstat(fd, &st) == 0 && st.st_ino == watch.inode;
}

/* Notes a range of the file as it is now. */
static void note(int fd, uint64_t offset, uint64_t length)
{
    for (uint64_t at = offset / DISK_SECTOR * DISK_SECTOR; at < offset + length;
         at += DISK_SECTOR) {
        if (watch.count == watch.room) {
            watch.room = watch.room ? 2 * watch.room : 1024;
            watch.loose = reallocarray(watch.loose, watch.room, sizeof(*watch.loose));
            assert_non_null(watch.loose);
        }
        struct loose *loose = &watch.loose[watch.count++];
        loose->offset = at;
        assert_int_equal(pread(fd, loose->bytes, DISK_SECTOR, (off_t)at), DISK_SECTOR);
    }
}

ssize_t __wrap_pwrite64(int fd, const void *bytes, size_t length, off_t offset)
{
    ssize_t n = __real_pwrite64(fd, bytes, length, offset);
    if (n > 0 && watched(fd))
        note(fd, (uint64_t)offset, (uint64_t)n);
    return n;
}

ssize_t __wrap_pwritev64(int fd, const struct iovec *buffers, int count, off_t offset)
{
    ssize_t n = __real_pwritev64(fd, buffers, count, offset);
    if (n > 0 && watched(fd))
        note(fd, (uint64_t)offset, (uint64_t)n);
    return n;
}

int __wrap_fallocate64(int fd, int mode, off_t offset, off_t length)
{
    int r = __real_fallocate64(fd, mode, offset, length);
    if (r == 0 && watched(fd))
        note(fd, (uint64_t)offset, (uint64_t)length);
    return r;
}

static void loose_write(int fd, const struct loose *loose)
{
    assert_int_equal(__real_pwrite64(fd, loose->bytes, DISK_SECTOR, (off_t)loose->offset),
                     DISK_SECTOR);
}

int __wrap_fdatasync(int fd)
{
    if (watched(fd)) {
        for (size_t i = 0; i < watch.count; i++)
            loose_write(watch.durable, &watch.loose[i]);
        watch.count = 0;
    }
    return 0;
}

static void copy_all(int from, int to)
{
    static uint8_t buffer[1 << 20];
    off_t size = lseek(from, 0, SEEK_END);
    assert_int_equal(ftruncate(to, 0), 0);
    assert_int_equal(ftruncate(to, size), 0);
    for (off_t data = lseek(from, 0, SEEK_DATA); data >= 0; data = lseek(from, data, SEEK_DATA)) {
        ssize_t n = pread(from, buffer, sizeof(buffer), data);
        assert_true(n > 0);
        assert_int_equal(__real_pwrite64(to, buffer, (size_t)n, data), n);
        data += n;
    }
}

/* From here on the top, as it is now, is durable and watched. */
static void watch_begin(int dirfd)
{
    struct stat st;
    _cleanup_(close) int top = openat(dirfd, "0.img.top", O_RDWR | O_CLOEXEC);
    assert_true(top >= 0 && fstat(top, &st) == 0);
    copy_all(top, watch.durable);
    watch.inode = st.st_ino;
    watch.count = 0;
}

/* The power is cut: of each sector that was written, perhaps one of the times. */
static void cut(int dirfd, unsigned *random)
{
    _cleanup_(close) int top = openat(dirfd, "0.img.top", O_RDWR | O_CLOEXEC);
    int percent = rand_r(random) % 101;
    watch.inode = 0;
    copy_all(watch.durable, top);
    for (size_t i = 0; i < watch.count; i++) {
        if (rand_r(random) % 100 < percent)
            loose_write(top, &watch.loose[i]);
    }
}

static void step(struct disk_stack *stack, struct disk_model *model, unsigned *random,
                 uint32_t token)
{
    unsigned window = (unsigned)rand_r(random) % DISK_WINDOWS * DISK_WINDOW;
    unsigned at = (unsigned)rand_r(random) % (DISK_WINDOW - 24);
    unsigned count = 1 + (unsigned)rand_r(random) % 24, what = (unsigned)rand_r(random) % 8;
    uint64_t offset = (uint64_t)disk_model_sector(window + at) * DISK_SECTOR;
    if (what < 5) {
        disk_write(stack, model, window + at, count, token);
    } else if (what < 7) {
        assert_int_equal(disk_stack_zero(stack, offset, (uint64_t)count * DISK_SECTOR, what == 5),
                         0);
        disk_model_set(model, window + at, count, 0);
    } else if (disk_stack_flush(stack) == 0) {
        disk_model_flushed(model);
    }
}

/* The flush that the power cut interrupts, at one of its steps. */
static void last_flush(struct disk_stack *stack, struct disk_model *model, unsigned *random)
{
    static const char *const places[] = {"disk-sync=EIO", "disk-map-write=EIO",
                                         "disk-map-written=EIO", NULL};
    const char *place = places[rand_r(random) % 4];
    failpoints(place);
    if (disk_stack_flush(stack) == 0)
        disk_model_flushed(model);
    failpoints(NULL);
}

static void run_sequence(unsigned seed)
{
    char path[32];
    struct error err = {0};
    struct disk_model model;
    unsigned random = seed;
    int fd = scratch_directory(path);
    const struct stack_file base = in_dir(fd, "0.img");
    disk_model_base(fd, "0.img", &model);
    assert_int_equal(disk_freeze(&base, &err), 0);
    print_message("seed %u\n", seed);
    for (unsigned life = 0; life < 4; life++) {
        struct disk_stack *stack = disk_open_good(fd, "0.img", true);
        watch_begin(fd);
        for (unsigned i = 0; i < STEPS; i++)
            step(stack, &model, &random, seed * 1000000 + life * 1000 + i + 1);
        last_flush(stack, &model, &random);
        disk_stack_close(stack);
        cut(fd, &random);
        stack = disk_open_good(fd, "0.img", true);
        disk_model_take(stack, &model);
        disk_stack_close(stack);
    }
    disk_model_free(&model);
    close(fd);
    assert_int_equal(tree_remove(AT_FDCWD, path, NULL), 0);
}

static void test_power(void **state)
{
    const char *seed = getenv("TINE_SEED");
    watch.durable = memory_file();
    for (unsigned i = 1; i <= (seed ? 1 : SEQUENCES); i++)
        run_sequence(seed ? (unsigned)atoi(seed) : i);
    close(watch.durable);
    free(watch.loose);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_power)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
