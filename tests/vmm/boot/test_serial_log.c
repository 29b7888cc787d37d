/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "vmm/devices/serial_log.h"

#define LIMIT 16384u /* 1024 lines */

/* Appends `count` numbered lines of 16 bytes. */
static void log_lines(struct serial_log *log, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        char line[17];
        snprintf(line, sizeof(line), "line %010u\n", i);
        for (const char *c = line; *c; c++)
            serial_log_put(log, (uint8_t)*c);
    }
}

static void assert_log(int fd, unsigned first, size_t count)
{
    const size_t length = count * 16;
    char *wanted = malloc(length + 1), *got = malloc(length);
    assert_non_null(wanted);
    assert_non_null(got);
    for (size_t i = 0; i < count; i++)
        snprintf(wanted + i * 16, 17, "line %010u\n", first + (unsigned)i);
    assert_int_equal(lseek(fd, 0, SEEK_END), length);
    assert_int_equal(pread(fd, got, length, 0), length);
    assert_memory_equal(got, wanted, length);
    free(wanted);
    free(got);
}

static void log_keeps_the_newer_half(void **state)
{
    (void)state;
    struct error err = {0};
    int fd = memfd_create("log", MFD_CLOEXEC);
    assert_true(fd >= 0);
    struct serial_log *log = serial_log_create(dup(fd), LIMIT, &err);
    assert_non_null(log);
    log_lines(log, 0, 1024);
    assert_log(fd, 0, 1024); /* just full */
    log_lines(log, 1024, 1);
    assert_log(fd, 512, 513);
    log_lines(log, 1025, 511);
    assert_log(fd, 512, 1024);
    log_lines(log, 1536, 5000);
    assert_true(lseek(fd, 0, SEEK_END) <= LIMIT);
    serial_log_destroy(log);

    /* A second life: it goes on at the end, and the old bytes count. */
    assert_int_equal(ftruncate(fd, 0), 0);
    log = serial_log_create(dup(fd), LIMIT, &err);
    log_lines(log, 0, 1000);
    serial_log_destroy(log);
    log = serial_log_create(dup(fd), LIMIT, &err);
    log_lines(log, 1000, 100);
    serial_log_destroy(log);
    assert_log(fd, 512, 588);
    close(fd);
}

static int log_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

/* Other ways to open it: append mode trims as well; write-only can't keep anything, but is capped.
 */
static void log_cap_holds_for_every_open_mode(void **state)
{
    (void)state;
    struct error err = {0};
    char path[] = "/tmp/tine-serial-test-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct serial_log *log = serial_log_create(log_open(path, O_RDWR | O_APPEND), 1024, &err);
    log_lines(log, 0, 65);
    assert_log(fd, 32, 33);
    serial_log_destroy(log);
    assert_int_equal(ftruncate(fd, 0), 0);
    log = serial_log_create(log_open(path, O_WRONLY), 1024, &err);
    log_lines(log, 0, 65);
    assert_log(fd, 64, 1);
    serial_log_destroy(log);
    /* A file that is far too large already. */
    assert_int_equal(ftruncate(fd, 1 << 20), 0);
    log = serial_log_create(log_open(path, O_RDWR), 1024, &err);
    log_lines(log, 7, 1);
    assert_int_equal(lseek(fd, 0, SEEK_END), 512 + 16);
    serial_log_destroy(log);
    close(fd);
    unlink(path);
}

/* A reader that doesn't read costs bytes, not the guest's time; a write-only full file costs bytes.
 */
static void blocked_output_loses_bytes(void **state)
{
    (void)state;
    struct error err = {0};
    int fds[2];
    assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
    int write_end = dup(fds[1]);
    struct serial_log *log = serial_log_create(fds[1], 1024, &err);
    assert_non_null(log);
    assert_true(fcntl(write_end, F_GETFL) & O_NONBLOCK);
    log_lines(log, 0, 100000); /* a pipe holds 64 KiB */
    serial_log_destroy(log);
    assert_false(fcntl(write_end, F_GETFL) & O_NONBLOCK);
    char first[16];
    assert_int_equal(read(fds[0], first, sizeof(first)), 16);
    assert_memory_equal(first, "line 0000000000\n", 16);
    close(write_end);
    close(fds[0]);
    log = serial_log_create(open("/dev/full", O_WRONLY | O_CLOEXEC), 1024, &err);
    assert_non_null(log);
    log_lines(log, 0, 10);
    serial_log_destroy(log);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(log_keeps_the_newer_half),
        cmocka_unit_test(log_cap_holds_for_every_open_mode),
        cmocka_unit_test(blocked_output_loses_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
