/* SPDX-License-Identifier: Apache-2.0 */
/* Random writes, discards, flushes, seals, forks, compactions and ends of the process, against a
 * reference in memory. TINE_SEED=N repeats one sequence. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "disk_model.h"
#include "fixture.h"
#include "layers.h"

#define DISKS     4u
#define STEPS     400u
#define SEQUENCES 6u

struct disk {
    char name[8];
    struct disk_stack *stack; /* NULL: there is no such disk */
    struct disk_model model;
};

struct world {
    char path[32];
    int fd;
    unsigned random;
    uint32_t token;
    struct disk disks[DISKS];
};

static unsigned chance(struct world *world, unsigned below)
{
    return (unsigned)rand_r(&world->random) % below;
}

static void must(int r, const struct error *err)
{
    if (r < 0)
        fail_msg("%s", err->message);
}

static void step_write(struct world *world, struct disk *disk)
{
    unsigned window = chance(world, DISK_WINDOWS) * DISK_WINDOW;
    unsigned at = chance(world, DISK_WINDOW), count = 1 + chance(world, 24);
    if (count > DISK_WINDOW - at)
        count = DISK_WINDOW - at;
    disk_write(disk->stack, &disk->model, window + at, count, ++world->token);
}

/* Of what is discarded only whole blocks are sure to be zeros; an edge stays. */
static void step_discard(struct world *world, struct disk *disk)
{
    unsigned window = chance(world, DISK_WINDOWS) * DISK_WINDOW;
    unsigned at = chance(world, DISK_WINDOW), count = 1 + chance(world, 60);
    if (count > DISK_WINDOW - at)
        count = DISK_WINDOW - at;
    uint64_t sector = disk_model_sector(window + at), end = sector + count;
    assert_int_equal(
        disk_stack_discard(disk->stack, sector * DISK_SECTOR, (uint64_t)count * DISK_SECTOR), 0);
    for (uint64_t i = sector; i < end; i++) {
        uint64_t block = i / 8 * 8, block_end = block + 8 > DISK_SECTORS ? DISK_SECTORS : block + 8;
        if (block >= sector && block_end <= end)
            disk_model_set(&disk->model, window + at + (unsigned)(i - sector), 1, 0);
    }
}

static void step_zero(struct world *world, struct disk *disk)
{
    unsigned window = chance(world, DISK_WINDOWS) * DISK_WINDOW;
    unsigned at = chance(world, DISK_WINDOW), count = 1 + chance(world, 60);
    if (count > DISK_WINDOW - at)
        count = DISK_WINDOW - at;
    uint64_t sector = disk_model_sector(window + at);
    assert_int_equal(disk_stack_zero(disk->stack, sector * DISK_SECTOR,
                                     (uint64_t)count * DISK_SECTOR, chance(world, 2) == 0),
                     0);
    disk_model_set(&disk->model, window + at, count, 0);
}

static void step_flush(struct world *world, struct disk *disk)
{
    assert_int_equal(disk_stack_flush(disk->stack), 0);
    disk_model_flushed(&disk->model);
}

static void step_compact(struct world *world, struct disk *disk)
{
    struct error err = {0};
    const struct stack_file base = in_dir(world->fd, disk->name);
    must(disk_compact(&base, &err), &err);
}

static void step_seal(struct world *world, struct disk *disk)
{
    struct error err = {0};
    struct disk_chain chain;
    const struct stack_file base = in_dir(world->fd, disk->name);
    must(disk_stack_seal(disk->stack, &err), &err);
    disk_model_flushed(&disk->model);
    must(disk_chain_find(&base, &chain, &err), &err);
    assert_true(chain.frozen);
    if (chain.count > 6) /* whoever has it open reads on from the old files */
        step_compact(world, disk);
}

/* The process ends: what was not flushed may be there or not. */
static void step_end(struct world *world, struct disk *disk)
{
    disk_stack_close(disk->stack);
    disk->stack = disk_open_good(world->fd, disk->name, true);
    disk_model_take(disk->stack, &disk->model);
}

static void copy_model(struct disk_model *to, const struct disk_model *from)
{
    disk_model_free(to);
    memset(to, 0, sizeof(*to));
    memcpy(to->now, from->now, sizeof(to->now));
    disk_model_flushed(to);
}

static void step_fork(struct world *world, struct disk *disk)
{
    struct stack_result result;
    struct error err = {0};
    struct disk *fork = &world->disks[chance(world, DISKS)];
    if (fork->stack)
        return;
    const struct stack_file base = in_dir(world->fd, disk->name),
                            to = in_dir(world->fd, fork->name);
    disk_stack_close(disk->stack);
    must(disk_freeze(&base, &err), &err);
    disk->stack = disk_open_good(world->fd, disk->name, true);
    disk_model_take(disk->stack, &disk->model);
    must(disk_share(&base, &to, &result, &err), &err);
    assert_int_equal(result.method, STACK_LINK);
    assert_int_equal(result.bytes_copied, 0);
    fork->stack = disk_open_good(world->fd, fork->name, true);
    copy_model(&fork->model, &disk->model);
}

static void files_remove(struct world *world, const struct disk *disk)
{
    struct disk_chain chain;
    struct error err = {0};
    const struct stack_file base = in_dir(world->fd, disk->name);
    must(disk_chain_find(&base, &chain, &err), &err);
    for (unsigned i = 0; i <= chain.count; i++) {
        char *name = disk_stack_name(disk->name, i == 0 ? DISK_TOP : chain.layers[i - 1].number);
        assert_int_equal(unlinkat(world->fd, name, 0), 0);
        free(name);
    }
    assert_int_equal(unlinkat(world->fd, disk->name, 0), 0);
}

static void step_delete(struct world *world, struct disk *disk)
{
    unsigned others = 0;
    for (unsigned i = 0; i < DISKS; i++)
        others += world->disks[i].stack && &world->disks[i] != disk;
    if (others == 0)
        return;
    disk_stack_close(disk->stack);
    disk->stack = NULL;
    files_remove(world, disk);
}

static void step_flatten(struct world *world, struct disk *disk)
{
    struct stack_result result;
    struct error err = {0};
    const struct stack_file base = in_dir(world->fd, disk->name), to = in_dir(world->fd, "flat");
    step_flush(world, disk);
    must(disk_flatten(&base, &to, &result, &err), &err);
    disk_model_assert_flat(world->fd, "flat", &disk->model);
    assert_int_equal(unlinkat(world->fd, "flat", 0), 0);
}

static void step_random(struct world *world)
{
    static void (*const steps[])(struct world *, struct disk *) = {
        step_write, step_write, step_write,   step_write, step_write,  step_discard,
        step_zero,  step_flush, step_compact, step_seal,  step_end,    step_fork,
        step_fork,  step_write, step_discard, step_zero,  step_delete, step_flatten};
    struct disk *disk = &world->disks[chance(world, DISKS)];
    if (disk->stack)
        steps[chance(world, sizeof(steps) / sizeof(steps[0]))](world, disk);
    if (disk->stack)
        disk_model_assert(disk->stack, &disk->model);
}

static void run_sequence(unsigned seed)
{
    struct world world = {.random = seed};
    struct error err = {0};
    world.fd = scratch_directory(world.path);
    for (unsigned i = 0; i < DISKS; i++)
        snprintf(world.disks[i].name, sizeof(world.disks[i].name), "%u.img", i);
    struct disk *first = &world.disks[0];
    disk_model_base(world.fd, first->name, &first->model);
    const struct stack_file base = in_dir(world.fd, first->name);
    must(disk_freeze(&base, &err), &err);
    first->stack = disk_open_good(world.fd, first->name, true);
    print_message("seed %u\n", seed);
    for (unsigned i = 0; i < STEPS; i++)
        step_random(&world);
    for (unsigned i = 0; i < DISKS; i++) {
        if (world.disks[i].stack)
            disk_model_assert(world.disks[i].stack, &world.disks[i].model);
        disk_stack_close(world.disks[i].stack);
        disk_model_free(&world.disks[i].model);
    }
    close(world.fd);
    assert_int_equal(tree_remove(AT_FDCWD, world.path, NULL), 0);
}

static void test_random(void **state)
{
    const char *seed = getenv("TINE_SEED");
    for (unsigned i = 1; i <= (seed ? 1 : SEQUENCES); i++)
        run_sequence(seed ? (unsigned)atoi(seed) : i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
