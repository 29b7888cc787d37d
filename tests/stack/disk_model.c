/* SPDX-License-Identifier: Apache-2.0 */
#include "disk_model.h"

#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "fixture.h"

static const unsigned windows[DISK_WINDOWS] = {0, 65536 - DISK_WINDOW / 2,
                                               DISK_SECTORS - DISK_WINDOW};

unsigned disk_model_sector(unsigned index)
{
    return windows[index / DISK_WINDOW] + index % DISK_WINDOW;
}

static void fill(uint32_t *sector, uint32_t token)
{
    for (unsigned i = 0; i < DISK_SECTOR / sizeof(token); i++)
        sector[i] = token;
}

void disk_model_base(int dirfd, const char *name, struct disk_model *model)
{
    uint32_t sector[DISK_SECTOR / sizeof(uint32_t)];
    _cleanup_(close) int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)DISK_SECTORS * DISK_SECTOR), 0);
    memset(model, 0, sizeof(*model));
    for (unsigned i = 0; i < DISK_WINDOWS * DISK_WINDOW; i++) {
        model->now[i] = model->durable[i] = i % 3 == 0 ? 0 : 0x80000000u + i;
        fill(sector, model->now[i]);
        if (model->now[i] != 0)
            assert_int_equal(
                pwrite(fd, sector, sizeof(sector), (off_t)disk_model_sector(i) * DISK_SECTOR),
                sizeof(sector));
    }
}

void disk_model_free(struct disk_model *model)
{
    free(model->since);
}

void disk_model_set(struct disk_model *model, unsigned index, unsigned count, uint32_t token)
{
    for (unsigned i = index; i < index + count; i++) {
        model->now[i] = token;
        if (model->since_count == model->since_room) {
            model->since_room = model->since_room ? 2 * model->since_room : 64;
            model->since = reallocarray(model->since, model->since_room, sizeof(*model->since));
            assert_non_null(model->since);
        }
        model->since[model->since_count++] = (struct disk_since){i, token};
    }
}

void disk_model_flushed(struct disk_model *model)
{
    memcpy(model->durable, model->now, sizeof(model->durable));
    model->since_count = 0;
}

void disk_write(struct disk_stack *stack, struct disk_model *model, unsigned index, unsigned count,
                uint32_t token)
{
    static uint32_t bytes[DISK_WINDOW][DISK_SECTOR / sizeof(uint32_t)];
    struct iovec pieces[DISK_WINDOW];
    uint64_t done = 0;
    for (unsigned i = 0; i < count; i++) {
        fill(bytes[i], token);
        pieces[i] = (struct iovec){bytes[i], DISK_SECTOR};
    }
    assert_int_equal(disk_stack_write(stack, pieces, count,
                                      (uint64_t)disk_model_sector(index) * DISK_SECTOR, &done),
                     0);
    assert_int_equal(done, count * DISK_SECTOR);
    disk_model_set(model, index, count, token);
}

/* What the sector is; fails if it is two things. */
static uint32_t token_of(const uint32_t *sector, unsigned index)
{
    for (unsigned i = 1; i < DISK_SECTOR / sizeof(uint32_t); i++) {
        if (sector[i] != sector[0])
            fail_msg("sector %u is mixed: %#x and %#x", disk_model_sector(index), sector[0],
                     sector[i]);
    }
    return sector[0];
}

static void window_read(struct disk_stack *stack, unsigned window,
                        uint32_t bytes[DISK_WINDOW][DISK_SECTOR / sizeof(uint32_t)])
{
    struct iovec pieces[] = {{bytes, 700}, {(char *)bytes + 700, DISK_WINDOW * DISK_SECTOR - 700}};
    uint64_t done = 0;
    assert_int_equal(
        disk_stack_read(stack, pieces, 2, (uint64_t)windows[window] * DISK_SECTOR, &done), 0);
    assert_int_equal(done, DISK_WINDOW * DISK_SECTOR);
}

void disk_model_assert(struct disk_stack *stack, const struct disk_model *model)
{
    static uint32_t bytes[DISK_WINDOW][DISK_SECTOR / sizeof(uint32_t)];
    for (unsigned i = 0; i < DISK_WINDOWS * DISK_WINDOW; i++) {
        if (i % DISK_WINDOW == 0)
            window_read(stack, i / DISK_WINDOW, bytes);
        uint32_t token = token_of(bytes[i % DISK_WINDOW], i);
        if (token != model->now[i])
            fail_msg("sector %u is %#x, and should be %#x", disk_model_sector(i), token,
                     model->now[i]);
    }
}

static bool possible(const struct disk_model *model, unsigned index, uint32_t token)
{
    bool found = model->durable[index] == token;
    for (unsigned i = 0; !found && i < model->since_count; i++)
        found = model->since[i].sector == index && model->since[i].token == token;
    return found;
}

void disk_model_take(struct disk_stack *stack, struct disk_model *model)
{
    static uint32_t bytes[DISK_WINDOW][DISK_SECTOR / sizeof(uint32_t)];
    for (unsigned i = 0; i < DISK_WINDOWS * DISK_WINDOW; i++) {
        if (i % DISK_WINDOW == 0)
            window_read(stack, i / DISK_WINDOW, bytes);
        uint32_t token = token_of(bytes[i % DISK_WINDOW], i);
        if (!possible(model, i, token))
            fail_msg("sector %u is %#x, which it was not since it was flushed as %#x",
                     disk_model_sector(i), token, model->durable[i]);
        model->now[i] = token;
    }
    disk_model_flushed(model);
}

void disk_model_assert_flat(int dirfd, const char *name, const struct disk_model *model)
{
    uint32_t sector[DISK_SECTOR / sizeof(uint32_t)];
    _cleanup_(close) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(lseek(fd, 0, SEEK_END), (off_t)DISK_SECTORS * DISK_SECTOR);
    for (unsigned i = 0; i < DISK_WINDOWS * DISK_WINDOW; i++) {
        assert_int_equal(
            pread(fd, sector, sizeof(sector), (off_t)disk_model_sector(i) * DISK_SECTOR),
            sizeof(sector));
        assert_int_equal(token_of(sector, i), model->now[i]);
    }
}

struct disk_stack *disk_open_good(int dirfd, const char *name, bool writable)
{
    struct error err = {0};
    const struct stack_file base = in_dir(dirfd, name);
    struct disk_stack *stack = disk_stack_open(&base, writable, &err);
    if (!stack)
        fail_msg("%s", err.message);
    return stack;
}
