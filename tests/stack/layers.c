/* SPDX-License-Identifier: Apache-2.0 */
#include "layers.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"

void page_fill(uint8_t page[PAGE], uint64_t number, unsigned seed)
{
    for (size_t i = 0; i < PAGE; i++)
        page[i] = (uint8_t)((number * 37 + i + seed * 101) % 251 + 1);
}

int memory_file(void)
{
    int fd = memfd_create("layer", MFD_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

int memory_file_of(const uint8_t *bytes, size_t length)
{
    int fd = memory_file();
    assert_int_equal(file_pwrite_exact(fd, bytes, length, 0, "layer", NULL), 0);
    return fd;
}

uint8_t *file_bytes(int fd, size_t *length)
{
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    *length = (size_t)st.st_size;
    uint8_t *bytes = malloc(*length + 1);
    assert_non_null(bytes);
    assert_int_equal(file_pread_exact(fd, bytes, *length, 0, "layer", NULL), 0);
    return bytes;
}

int scratch_directory(char path[32])
{
    snprintf(path, 32, "/tmp/tine-test-XXXXXX");
    assert_non_null(mkdtemp(path));
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    return fd;
}

static int add_one(struct layer_writer *writer, char kind, uint64_t page, unsigned seed,
                   struct error *err)
{
    uint8_t bytes[PAGE] = {0};
    if (kind == '-')
        return 0;
    if (kind == 'z')
        return layer_writer_add_zeros(writer, page, 1, err);
    if (kind == 'd')
        page_fill(bytes, page, seed);
    return layer_writer_add(writer, page, bytes, 1, err);
}

void layer_write(int fd, const char *kinds, uint64_t pages, unsigned seed)
{
    struct error err = {0};
    _cleanup_(layer_writer) struct layer_writer *writer =
        layer_writer_begin(fd, "memory.1", pages * PAGE, &err);
    int r = writer ? 0 : -1;
    for (uint64_t page = 0; r == 0 && kinds[page]; page++)
        r = add_one(writer, kinds[page], page, seed, &err);
    if (r == 0)
        r = layer_writer_finish(writer, NULL, &err);
    if (r < 0)
        fail_msg("%s", err.message);
}
