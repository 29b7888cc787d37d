/* SPDX-License-Identifier: Apache-2.0 */
#include "boots.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"

void test_file_make(struct test_file *file, const void *data, size_t size)
{
    file->fd = memfd_create("image", MFD_CLOEXEC);
    assert_true(file->fd >= 0);
    assert_int_equal(pwrite(file->fd, data, size, 0), size);
    snprintf(file->path, sizeof(file->path), "/proc/self/fd/%d", file->fd);
}

void test_file_close(struct test_file *file)
{
    close(file->fd);
}

void test_memory_make(struct guest_memory *memory, uint64_t mib)
{
    struct error err = {0};
    assert_int_equal(guest_memory_create(memory, mib << 20, &err), 0);
}

int test_boot(const struct guest_memory *memory, const void *kernel, size_t size,
              struct boot_entry *entry, struct error *err)
{
    struct test_file file;
    test_file_make(&file, kernel, size);
    struct boot_request request = {.kernel_path = file.path, .cmdline = "console=ttyS0"};
    int status = boot_load(memory, &request, entry, err);
    test_file_close(&file);
    return status;
}

void assert_refused(const void *kernel, size_t size, uint64_t mib, const char *cause)
{
    struct guest_memory memory;
    struct boot_entry entry;
    struct error err = {0};
    test_memory_make(&memory, mib);
    int status = test_boot(&memory, kernel, size, &entry, &err);
    guest_memory_release(&memory);
    if (status == 0 || !strstr(err.message, cause))
        print_error("expected \"%s\", got %d \"%s\"\n", cause, status, err.message);
    assert_true(status < 0);
    assert_int_equal(err.code, ERROR_INVALID);
    assert_int_equal(-status, err.errnum);
    assert_non_null(strstr(err.message, cause));
    assert_int_equal(strncmp(err.path, "/proc/self/fd/", 14), 0);
    assert_int_equal(strncmp(err.message, err.path, strlen(err.path)), 0);
}

static void put_flaws(uint8_t *image, size_t size, const struct test_refusal *refusal)
{
    for (size_t i = 0; i < ARRAY_SIZE(refusal->flaws); i++) {
        const struct test_flaw *flaw = &refusal->flaws[i];
        assert_true(flaw->offset + flaw->size <= size);
        memcpy(image + flaw->offset, &flaw->value, flaw->size); /* little-endian */
    }
}

void assert_refusals(const void *good, size_t size, const struct test_refusal *refusals,
                     size_t count)
{
    _cleanup_(free) uint8_t *image = malloc(size);
    assert_non_null(image);
    for (size_t i = 0; i < count; i++) {
        memcpy(image, good, size);
        put_flaws(image, size, &refusals[i]);
        assert_refused(image, size, refusals[i].mib ? refusals[i].mib : 32, refusals[i].cause);
    }
}
