/* SPDX-License-Identifier: Apache-2.0 */
/* The drives of a machine as a whole: some are stacks, some are not, and each has a guest that
 * writes to it. No vCPU is needed for that. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "block_guest.h"
#include "stack/disk_stack.h"
#include "vmm/disks.h"
#include "vmm/machine.h"

enum { FIRST, PLAIN, LAST, DRIVES };

struct site {
    char *directory;
    int fd;
    struct fixture drives[DRIVES];
    pthread_mutex_t lock;
    struct machine machine;
};

static const char *const names[DRIVES] = {"first", "plain", "last"};

static void drive_add(struct site *site, unsigned i)
{
    struct fixture *f = &site->drives[i];
    struct error err = {0};
    const struct stack_file base = {site->fd, names[i], names[i]};
    snprintf(f->path, sizeof(f->path), "%s/%s", site->directory, names[i]);
    make_file(f->path, SECTORS * SECTOR);
    if (i != PLAIN && disk_freeze(&base, &err) < 0)
        fail_msg("%s", err.message);
    f->drive = (struct drive_config){.drive_id = (char *)(uintptr_t)names[i],
                                     .path_on_host = f->path,
                                     .writeback = true,
                                     .is_stack = i != PLAIN};
    guest_create(&f->guest, 8);
    start(f);
    site->machine.drives[2 * i] = virtio_mmio_device(f->guest.transport); /* with gaps */
}

static int setup(void **state)
{
    struct site *site = calloc(1, sizeof(*site));
    assert_non_null(site);
    site->directory = strdup("/tmp/tine-disks-XXXXXX");
    assert_non_null(site->directory);
    assert_non_null(mkdtemp(site->directory));
    site->fd = dir_open(AT_FDCWD, site->directory, NULL);
    pthread_mutex_init(&site->lock, NULL);
    site->machine.place.device_lock = &site->lock;
    for (unsigned i = 0; i < DRIVES; i++)
        drive_add(site, i);
    *state = site;
    return 0;
}

static int teardown(void **state)
{
    struct site *site = *state;
    for (unsigned i = 0; i < DRIVES; i++)
        guest_destroy(&site->drives[i].guest);
    close(site->fd);
    assert_int_equal(tree_remove(AT_FDCWD, site->directory, NULL), 0);
    pthread_mutex_destroy(&site->lock);
    free(site->directory);
    free(site);
    return 0;
}

static void write_all(struct site *site, uint8_t fill)
{
    for (unsigned i = 0; i < DRIVES; i++)
        assert_int_equal(write_sectors(&site->drives[i], 8, 2 * SECTOR, fill), VIRTIO_BLK_S_OK);
}

static void seal(struct site *site)
{
    struct error err = {0};
    if (disks_seal(&site->machine, &err) < 0)
        fail_msg("%s", err.message);
}

static struct disk_chain chain_of(const struct site *site, unsigned drive)
{
    struct disk_chain chain;
    struct error err = {0};
    const struct stack_file base = {site->fd, names[drive], names[drive]};
    if (disk_chain_find(&base, &chain, &err) < 0)
        fail_msg("%s", err.message);
    return chain;
}

static void assert_fill(const uint8_t *bytes, uint8_t fill)
{
    for (unsigned i = 0; i < 2 * SECTOR; i++)
        assert_int_equal(bytes[i], fill);
}

/* What the drive's guest reads. */
static void expect_read(struct site *site, unsigned drive, uint8_t fill)
{
    uint64_t data;
    struct fixture *f = &site->drives[drive];
    assert_int_equal(read_sectors(f, 8, 2 * SECTOR, &data), VIRTIO_BLK_S_OK);
    assert_fill(guest_at(&f->guest, data, 2 * SECTOR), fill);
}

/* What whoever opens that name reads. */
static void expect_bytes(const struct site *site, const char *name, uint8_t fill)
{
    uint8_t bytes[2 * SECTOR];
    struct iovec buffer = {bytes, sizeof(bytes)};
    struct error err = {0};
    uint64_t done = 0;
    const struct stack_file base = {site->fd, name, name};
    _cleanup_(disk_stack) struct disk_stack *stack = disk_stack_open(&base, false, &err);
    if (!stack)
        fail_msg("%s", err.message);
    assert_int_equal(disk_stack_read(stack, &buffer, 1, 8 * SECTOR, &done), 0);
    assert_fill(bytes, fill);
}

static void fork_disk(const struct site *site, unsigned drive, const char *name)
{
    struct error err = {0};
    struct stack_result result;
    const struct stack_file base = {site->fd, names[drive], names[drive]};
    const struct stack_file to = {site->fd, name, name};
    if (disk_share(&base, &to, &result, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(result.bytes_copied, 0);
}

/* All of one moment can be linked, and what is written later is nobody else's. */
static void sealed(void **state)
{
    struct site *site = *state;
    write_all(site, 0x11);
    seal(site);
    fork_disk(site, FIRST, "fork-of-first");
    fork_disk(site, LAST, "fork-of-last");
    write_all(site, 0x22);
    for (unsigned i = 0; i < DRIVES; i++)
        expect_read(site, i, 0x22);
    expect_bytes(site, "fork-of-first", 0x11);
    expect_bytes(site, "fork-of-last", 0x11);
    assert_false(chain_of(site, PLAIN).stack);
    /* What has not been written to since is left as it is. */
    seal(site);
    seal(site);
    assert_int_equal(chain_of(site, FIRST).count, 2);
    assert_int_equal(chain_of(site, LAST).count, 2);
    for (unsigned i = 0; i < DRIVES; i++)
        expect_read(site, i, 0x22);
}

/* One that can't be sealed is named, the others stay what they are, and all guests go on. */
static void not_sealed(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    write_all(site, 0x11);
    _cleanup_(close) int foreign =
        openat(site->fd, "last.1", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(foreign >= 0);
    assert_int_equal(disks_seal(&site->machine, &err), -EEXIST);
    assert_non_null(strstr(err.message, "drive last"));
    assert_int_equal(chain_of(site, FIRST).count, 1);
    assert_int_equal(unlinkat(site->fd, "last.1", 0), 0);
    assert_int_equal(chain_of(site, LAST).count, 0);
    for (unsigned i = 0; i < DRIVES; i++)
        expect_read(site, i, 0x11);
    write_all(site, 0x22);
    seal(site);
    assert_int_equal(chain_of(site, FIRST).count, 2);
    assert_int_equal(chain_of(site, LAST).count, 1);
    fork_disk(site, LAST, "fork");
    expect_bytes(site, "fork", 0x22);
}

/* Of a guest that has not flushed. */
static void flushed(void **state)
{
    struct site *site = *state;
    struct error err = {0};
    write_all(site, 0x11);
    assert_int_equal(disks_flush(&site->machine, &err), 0);
    expect_bytes(site, "first", 0x11);
    expect_bytes(site, "last", 0x11);
    assert_int_equal(chain_of(site, FIRST).count, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(not_sealed, setup, teardown),
        cmocka_unit_test_setup_teardown(flushed, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
