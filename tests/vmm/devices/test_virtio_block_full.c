/* SPDX-License-Identifier: Apache-2.0 */
/* A drive on a file system without space left: the guest gets I/O errors, the host's log one line,
 * and the drive works again when there is space. Needs root: it mounts a small tmpfs in a mount
 * namespace of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/virtio_blk.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "virtio_guest.h"

#define DISK_BYTES (1u << 20)
#define DATA_BYTES (64u << 10)

static uint8_t write_at(struct guest *g, uint64_t sector)
{
    struct virtio_blk_outhdr header = {.type = VIRTIO_BLK_T_OUT, .sector = sector};
    uint64_t gpa = guest_allocate(g, sizeof(header) + DATA_BYTES + 1, 16);
    uint64_t status = gpa + sizeof(header) + DATA_BYTES;
    struct guest_buffer buffers[] = {{gpa, sizeof(header) + DATA_BYTES, false}, {status, 1, true}};
    uint16_t head;
    uint32_t length;

    assert_int_equal(guest_write(&g->memory, gpa, &header, sizeof(header)), 0);
    memset(guest_at(g, gpa + sizeof(header), DATA_BYTES), 1, DATA_BYTES);
    guest_add(g, 0, buffers, 2);
    guest_notify(g, 0);
    assert_true(guest_take_used(g, 0, &head, &length));
    return *(uint8_t *)guest_at(g, status, 1);
}

static unsigned count_lines(int fd, const char *words)
{
    char text[8192] = {0};
    unsigned lines = 0;

    assert_true(pread(fd, text, sizeof(text) - 1, 0) >= 0);
    for (const char *at = text; (at = strstr(at, words)); at++)
        lines++;
    return lines;
}

static void no_space_left(void **state)
{
    (void)state;
    char directory[] = "/tmp/tine-full-XXXXXX", path[64], ballast[64];
    struct guest guest;
    struct error err = {0};

    assert_int_equal(unshare(CLONE_NEWNS), 0);
    assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
    assert_non_null(mkdtemp(directory));
    assert_int_equal(mount("tmpfs", directory, "tmpfs", 0, "size=512k"), 0);
    (void)snprintf(path, sizeof(path), "%s/disk", directory);
    (void)snprintf(ballast, sizeof(ballast), "%s/ballast", directory);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(ftruncate(fd, DISK_BYTES), 0);
    close(fd);
    fd = open(ballast, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_int_equal(fallocate(fd, 0, 0, 320 << 10), 0);
    close(fd);

    int log = memfd_create("log", MFD_CLOEXEC);
    log_set_fd(dup(log));
    struct drive_config drive = {.drive_id = (char *)"data", .path_on_host = path};
    guest_create(&guest, 8);
    guest_plug(&guest, virtio_block_create(&drive, &guest.memory, guest.loop, &err));
    guest_start(&guest, 0, 64);

    unsigned failed = 0;
    for (uint64_t i = 0; i < DISK_BYTES / DATA_BYTES; i++)
        failed += write_at(&guest, i * DATA_BYTES / 512) == VIRTIO_BLK_S_IOERR;
    assert_true(failed >= 12 && failed < 16); /* 192 KiB of 1 MiB fit, less what tmpfs takes */
    assert_int_equal(count_lines(log, "ENOSPC"), 1);
    assert_true(virtio_device_active(virtio_mmio_device(guest.transport)));

    assert_int_equal(unlink(ballast), 0);
    assert_int_equal(write_at(&guest, DISK_BYTES / 512 - DATA_BYTES / 512), VIRTIO_BLK_S_OK);

    guest_destroy(&guest);
    log_set_fd(dup(STDERR_FILENO));
    close(log);
    assert_int_equal(umount(directory), 0);
    assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_space_left)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
