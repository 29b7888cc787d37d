/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_text.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/disk_stack.h"

/* NULL: it is one file. */
static struct disk_stack *stack_open(int directory, bool writable)
{
    struct error err = {0};
    struct disk_chain chain;
    const struct stack_file base = {directory, "0.img", NULL};
    if (disk_chain_find(&base, &chain, &err) < 0)
        fail_msg("%s", err.message);
    struct disk_stack *stack = chain.stack ? disk_stack_open(&base, writable, &err) : NULL;
    if (chain.stack && !stack)
        fail_msg("%s", err.message);
    return stack;
}

void disk_write_text(const struct fixture *fixture, const char *id, const char *text)
{
    const struct path path = guest_path(fixture, id, "disks");
    _cleanup_(close) int directory = dir_open(AT_FDCWD, path.text, NULL);
    _cleanup_(disk_stack) struct disk_stack *stack = stack_open(directory, true);
    if (!stack) {
        _cleanup_(close) int fd = openat(directory, "0.img", O_WRONLY | O_CLOEXEC);
        assert_int_equal(pwrite(fd, text, strlen(text), 0), (ssize_t)strlen(text));
        return;
    }
    struct iovec buffer = {(void *)(uintptr_t)text, strlen(text)};
    uint64_t done = 0;
    assert_int_equal(disk_stack_write(stack, &buffer, 1, 0, &done), 0);
    assert_int_equal(disk_stack_flush(stack), 0);
}

void disk_assert_text(const struct path *disks, const char *text)
{
    char bytes[64];
    _cleanup_(close) int directory = dir_open(AT_FDCWD, disks->text, NULL);
    _cleanup_(disk_stack) struct disk_stack *stack = stack_open(directory, false);
    struct iovec buffer = {bytes, strlen(text)};
    uint64_t done = 0;
    assert_true(strlen(text) < sizeof(bytes));
    if (stack) {
        assert_int_equal(disk_stack_read(stack, &buffer, 1, 0, &done), 0);
    } else {
        _cleanup_(close) int fd = openat(directory, "0.img", O_RDONLY | O_CLOEXEC);
        assert_int_equal(pread(fd, bytes, strlen(text), 0), (ssize_t)strlen(text));
    }
    assert_memory_equal(bytes, text, strlen(text));
}
