/* SPDX-License-Identifier: Apache-2.0 */
/* A drive that is a stack: what a guest sees of it is what it sees of a file, whatever becomes of
 * the files; and what it flushed outlives the VMM. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "block_guest.h"
#include "stack/disk_stack.h"

static int directory = -1; /* the fixture's */

static struct stack_file in_directory(const char *name)
{
    return (struct stack_file){directory, name, NULL};
}

static int stack_setup(void **state)
{
    struct error err = {0};
    block_setup(state);
    struct fixture *f = *state;
    directory = dir_open(AT_FDCWD, f->directory, &err);
    assert_true(directory >= 0);
    const struct stack_file base = in_directory("disk");
    f->drive.is_stack = true;
    if (disk_freeze(&base, &err) < 0)
        fail_msg("%s", err.message);
    return 0;
}

static int stack_teardown(void **state)
{
    struct fixture *f = *state;
    guest_destroy(&f->guest);
    close(directory);
    assert_int_equal(tree_remove(AT_FDCWD, f->directory, NULL), 0);
    return 0;
}

/* What whoever opens it next reads. */
static void expect_bytes(uint64_t sector, const uint8_t *bytes, size_t length)
{
    uint8_t found[SECTORS * SECTOR];
    struct error err = {0};
    const struct stack_file base = in_directory("disk");
    struct iovec buffer = {found, length};
    uint64_t done = 0;
    _cleanup_(disk_stack) struct disk_stack *stack = disk_stack_open(&base, false, &err);
    if (!stack)
        fail_msg("%s", err.message);
    assert_int_equal(disk_stack_read(stack, &buffer, 1, sector * SECTOR, &done), 0);
    assert_memory_equal(found, bytes, length);
}

static void expect_fill(uint64_t sector, unsigned count, uint8_t fill)
{
    uint8_t bytes[SECTORS * SECTOR];
    memset(bytes, fill, count * SECTOR);
    expect_bytes(sector, bytes, count * SECTOR);
}

static void expect_base(uint64_t sector, unsigned count)
{
    uint8_t bytes[SECTORS * SECTOR];
    for (size_t i = 0; i < count * SECTOR; i++)
        bytes[i] = pattern(sector * SECTOR + i);
    expect_bytes(sector, bytes, count * SECTOR);
}

/* What the guest reads. */
static void expect_read(struct fixture *f, uint64_t sector, unsigned count, int fill)
{
    uint64_t data;
    assert_int_equal(read_sectors(f, sector, (uint32_t)(count * SECTOR), &data), VIRTIO_BLK_S_OK);
    const uint8_t *bytes = guest_at(&f->guest, data, count * SECTOR);
    for (size_t i = 0; i < count * SECTOR; i++)
        assert_int_equal(bytes[i], fill >= 0 ? fill : pattern(sector * SECTOR + i));
}

static void flush(struct fixture *f)
{
    assert_int_equal(request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false), VIRTIO_BLK_S_OK);
}

/* ---- tests ---- */

static void requests(void **state)
{
    struct fixture *f = *state;

    start(f);
    expect_read(f, 0, SECTORS, -1);
    assert_int_equal(write_sectors(f, 9, 2 * SECTOR, 0x5a), VIRTIO_BLK_S_OK);
    assert_int_equal(write_sectors(f, 16, 17 * SECTOR, 0x5b), VIRTIO_BLK_S_OK);
    expect_read(f, 8, 1, -1);
    expect_read(f, 9, 2, 0x5a);
    expect_read(f, 11, 5, -1);
    expect_read(f, 16, 17, 0x5b);
    expect_read(f, 33, SECTORS - 33, -1);
    flush(f);
    expect_base(0, 9);
    expect_fill(9, 2, 0x5a);
    expect_fill(16, 17, 0x5b);
    expect_pattern(f, 0, SECTORS * SECTOR); /* the base is what it was */
}

static void zeros(void **state)
{
    struct fixture *f = *state;

    start(f);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_DISCARD, 8, 16, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_WRITE_ZEROES, 30, 5, 0), VIRTIO_BLK_S_OK);
    assert_int_equal(
        send_range(f, VIRTIO_BLK_T_WRITE_ZEROES, 40, 9, VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP),
        VIRTIO_BLK_S_OK);
    expect_read(f, 0, 8, -1);
    expect_read(f, 8, 16, 0);
    expect_read(f, 24, 6, -1);
    expect_read(f, 30, 5, 0);
    expect_read(f, 35, 5, -1);
    expect_read(f, 40, 9, 0);
    expect_read(f, 49, SECTORS - 49, -1);
    flush(f);
    expect_fill(8, 16, 0);
    expect_fill(30, 5, 0);
    expect_fill(40, 9, 0);
    expect_pattern(f, 0, SECTORS * SECTOR);
}

/* The checks are those of any drive. */
static void hostile(void **state)
{
    struct fixture *f = *state;
    uint64_t data;

    start(f);
    assert_int_equal(read_sectors(f, SECTORS, SECTOR, &data), VIRTIO_BLK_S_IOERR);
    assert_int_equal(read_sectors(f, UINT64_MAX, SECTOR, &data), VIRTIO_BLK_S_IOERR);
    assert_int_equal(write_sectors(f, SECTORS - 1, 2 * SECTOR, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(write_sectors(f, UINT64_MAX / SECTOR, SECTOR, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(write_sectors(f, 3, SECTOR + 7, 1), VIRTIO_BLK_S_IOERR);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_DISCARD, SECTORS - 1, 2, 0), VIRTIO_BLK_S_IOERR);
    assert_int_equal(send_range(f, VIRTIO_BLK_T_WRITE_ZEROES, UINT64_MAX, 2, 0),
                     VIRTIO_BLK_S_IOERR);
    expect_read(f, 0, SECTORS, -1);
    flush(f);
    expect_base(0, SECTORS);
}

/* Sealed under a guest that goes on. */
static void seals(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    char layer[80];

    start(f);
    assert_int_equal(write_sectors(f, 9, 2 * SECTOR, 0x5a), VIRTIO_BLK_S_OK);
    assert_int_equal(virtio_block_seal(virtio_mmio_device(f->guest.transport), &err), 0);
    snprintf(layer, sizeof(layer), "%s.1", f->path);
    assert_int_equal(access(layer, F_OK), 0);
    expect_fill(9, 2, 0x5a);
    assert_int_equal(write_sectors(f, 10, 2 * SECTOR, 0x5b), VIRTIO_BLK_S_OK);
    expect_read(f, 9, 1, 0x5a);
    expect_read(f, 10, 2, 0x5b);
    expect_fill(10, 1, 0x5a); /* not flushed yet */
    flush(f);
    expect_fill(10, 2, 0x5b);
}

/* Of a guest that can't flush, too. */
static void saved_and_ended(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};

    f->drive.writeback = false;
    start(f);
    assert_int_equal(write_sectors(f, 9, 2 * SECTOR, 0x5a), VIRTIO_BLK_S_OK);
    expect_base(9, 2);
    assert_int_equal(virtio_block_flush(virtio_mmio_device(f->guest.transport), &err), 0);
    expect_fill(9, 2, 0x5a);
    assert_int_equal(write_sectors(f, 20, SECTOR, 0x5b), VIRTIO_BLK_S_OK);
    virtio_mmio_destroy(f->guest.transport);
    f->guest.transport = NULL;
    expect_fill(20, 1, 0x5b);
}

/* kill -9: what was flushed is there; what was not is that, or what was there. */
static void killed(void **state)
{
    struct fixture *f = *state;
    int status;

    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        start(f);
        if (write_sectors(f, 9, 2 * SECTOR, 0x5a) == VIRTIO_BLK_S_OK &&
            send_range(f, VIRTIO_BLK_T_DISCARD, 24, 8, 0) == VIRTIO_BLK_S_OK &&
            request(f, VIRTIO_BLK_T_FLUSH, 0, 0, 0, false) == VIRTIO_BLK_S_OK &&
            write_sectors(f, 40, SECTOR, 0x5b) == VIRTIO_BLK_S_OK)
            kill(getpid(), SIGKILL);
        _exit(1);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    expect_fill(9, 2, 0x5a);
    expect_fill(24, 8, 0);
    expect_base(32, 32);
    start(f);
    expect_read(f, 9, 2, 0x5a);
    expect_read(f, 11, 13, -1);
    expect_read(f, 24, 8, 0);
    expect_read(f, 32, 32, -1);
}

static void assert_refused(struct fixture *f, int errnum, const char *words)
{
    struct error err = {0};
    assert_null(virtio_block_create(&f->drive, &f->guest.memory, f->guest.loop, &err));
    assert_int_equal(err.errnum, errnum);
    if (!strstr(err.message, words) || !strstr(err.message, "drive rootfs"))
        fail_msg("%s, not %s", err.message, words);
}

static void refused(void **state)
{
    struct fixture *f = *state;
    char top[80];

    f->drive.is_stack = false;
    assert_refused(f, EBUSY, "is the base of a stack, and can't be written");
    f->drive.is_stack = true;
    snprintf(top, sizeof(top), "%s.top", f->path);
    assert_int_equal(truncate(top, 100), 0);
    assert_refused(f, EBADMSG, "has 100 bytes");
    assert_int_equal(unlink(top), 0);
    assert_refused(f, ENOENT, "disk.top");
    f->drive.path_on_host = (char *)"/nonesuch/disk";
    assert_refused(f, ENOENT, "/nonesuch");
}

static void read_only(void **state)
{
    struct fixture *f = *state;

    start(f);
    assert_int_equal(write_sectors(f, 9, SECTOR, 0x5a), VIRTIO_BLK_S_OK);
    virtio_mmio_destroy(f->guest.transport);
    f->drive.is_read_only = true;
    start(f);
    expect_read(f, 9, 1, 0x5a);
    assert_int_equal(write_sectors(f, 9, SECTOR, 0x5b), VIRTIO_BLK_S_IOERR);
}

/* Another stack in its place, and a file that is none. */
static void reopens(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    struct stack_result result;
    char fork[80], plain[80];

    start(f);
    snprintf(fork, sizeof(fork), "%s-fork", f->path);
    snprintf(plain, sizeof(plain), "%s-plain", f->path);
    make_file(plain, SECTORS * SECTOR);
    const struct stack_file base = in_directory("disk"), to = in_directory("disk-fork");
    assert_int_equal(disk_share(&base, &to, &result, &err), 0);
    assert_int_equal(write_sectors(f, 9, SECTOR, 0x5a), VIRTIO_BLK_S_OK);
    struct virtio_device *device = virtio_mmio_device(f->guest.transport);
    assert_int_equal(virtio_block_reopen(device, plain, &err), -ENOENT);
    expect_read(f, 9, 1, 0x5a);
    assert_int_equal(virtio_block_reopen(device, fork, &err), 0);
    expect_read(f, 9, 1, -1);
    expect_fill(9, 1, 0x5a); /* of the first one, which was left whole */
}

#define STACK_TEST(name) cmocka_unit_test_setup_teardown(name, stack_setup, stack_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        STACK_TEST(requests),        STACK_TEST(zeros),   STACK_TEST(hostile),
        STACK_TEST(seals),           STACK_TEST(killed),  STACK_TEST(refused),
        STACK_TEST(saved_and_ended), STACK_TEST(reopens), STACK_TEST(read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
