/* SPDX-License-Identifier: Apache-2.0 */
/* A disk as a stack: what becomes of its files, where what fails leaves it, and what it refuses. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
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

/* A directory with a disk in it, and what that must hold. */
struct site {
    char path[32];
    int fd;
    struct stack_file base;
    struct disk_model model;
};

static struct site site_make(void)
{
    struct site site;
    site.fd = scratch_directory(site.path);
    site.base = in_dir(site.fd, "0.img");
    disk_model_base(site.fd, "0.img", &site.model);
    return site;
}

static void site_remove(struct site *site)
{
    disk_model_free(&site->model);
    close(site->fd);
    assert_int_equal(tree_remove(AT_FDCWD, site->path, NULL), 0);
}

static void freeze(const struct site *site)
{
    struct error err = {0};
    if (disk_freeze(&site->base, &err) < 0)
        fail_msg("%s", err.message);
}

static struct disk_chain chain_of(const struct site *site)
{
    struct disk_chain chain;
    struct error err = {0};
    if (disk_chain_find(&site->base, &chain, &err) < 0)
        fail_msg("%s", err.message);
    return chain;
}

static void write_and_close(struct site *site, unsigned index, unsigned count, uint32_t token)
{
    struct disk_stack *stack = disk_open_good(site->fd, "0.img", true);
    disk_write(stack, &site->model, index, count, token);
    assert_int_equal(disk_stack_flush(stack), 0);
    disk_model_flushed(&site->model);
    disk_stack_close(stack);
}

static void assert_content(const struct site *site)
{
    struct disk_stack *stack = disk_open_good(site->fd, "0.img", false);
    disk_model_assert(stack, &site->model);
    disk_stack_close(stack);
}

/* ---- its files ---- */

static void test_freeze(void **state)
{
    struct site site = site_make();
    assert_false(chain_of(&site).stack);
    ino_t base = inode_of(site.fd, "0.img");
    freeze(&site);
    assert_true(chain_of(&site).stack && chain_of(&site).frozen);
    assert_int_equal(chain_of(&site).count, 0);
    freeze(&site); /* it is already */
    assert_int_equal(entries_of(site.fd), 2);

    write_and_close(&site, 5, 9, 1);
    assert_false(chain_of(&site).frozen);
    freeze(&site);
    write_and_close(&site, 7, 30, 2);
    freeze(&site);
    struct disk_chain chain = chain_of(&site);
    assert_true(chain.frozen);
    assert_int_equal(chain.count, 2);
    assert_int_equal(chain.layers[0].number, 2);
    assert_int_equal(chain.layers[1].number, 1);
    assert_int_equal(chain.layers[1].data_blocks, 2);
    assert_int_equal(entries_of(site.fd), 4);
    assert_int_equal(inode_of(site.fd, "0.img"), base);
    assert_content(&site);
    site_remove(&site);
}

/* The fork has every file by link, and a top of its own; neither sees what the other writes. */
static void test_share(void **state)
{
    struct site site = site_make();
    struct stack_result result;
    struct error err = {0};
    const struct stack_file to = in_dir(site.fd, "1.img");
    freeze(&site);
    write_and_close(&site, 0, 40, 1);
    assert_int_equal(disk_share(&site.base, &to, &result, &err), -EBUSY);
    freeze(&site);
    assert_int_equal(disk_share(&site.base, &to, &result, &err), 0);
    assert_int_equal(inode_of(site.fd, "0.img.1"), inode_of(site.fd, "1.img.1"));
    assert_int_equal(link_count_of(site.fd, "1.img"), 2);
    assert_int_not_equal(inode_of(site.fd, "0.img.top"), inode_of(site.fd, "1.img.top"));

    struct disk_stack *fork = disk_open_good(site.fd, "1.img", true);
    struct disk_model its = site.model;
    its.since = NULL;
    its.since_room = 0;
    disk_write(fork, &its, 3, 5, 2);
    write_and_close(&site, 10, 5, 3);
    disk_model_assert(fork, &its);
    disk_stack_close(fork);
    disk_model_free(&its);
    assert_content(&site);
    site_remove(&site);
}

static void test_compact(void **state)
{
    struct site site = site_make();
    struct error err = {0};
    freeze(&site);
    for (unsigned i = 1; i <= 5; i++) {
        write_and_close(&site, i * 7, 20, i);
        freeze(&site);
    }
    write_and_close(&site, 0, 3, 9);
    struct disk_stack *reader = disk_open_good(site.fd, "0.img", true);
    uint64_t id = chain_of(&site).layers[0].id;
    assert_int_equal(disk_compact(&site.base, &err), 0);
    struct disk_chain chain = chain_of(&site);
    assert_int_equal(chain.count, 1);
    assert_int_equal(chain.layers[0].number, 5);
    assert_int_equal(chain.layers[0].id, id);
    assert_int_equal(entries_of(site.fd), 3);
    /* Who has it open goes on, and seals over what is there now. */
    disk_write(reader, &site.model, 50, 9, 10);
    disk_model_assert(reader, &site.model);
    assert_int_equal(disk_stack_seal(reader, &err), 0);
    disk_model_assert(reader, &site.model);
    disk_stack_close(reader);
    assert_content(&site);
    assert_int_equal(disk_compact(&site.base, &err), 0);
    assert_int_equal(disk_compact(&site.base, &err), 0); /* there is nothing left to do */
    assert_int_equal(entries_of(site.fd), 3);
    assert_content(&site);
    site_remove(&site);
}

/* Zeros are zeros, not what lies below, in whatever layer they were said. */
static void test_discard(void **state)
{
    struct site site = site_make();
    struct error err = {0};
    freeze(&site);
    struct disk_stack *stack = disk_open_good(site.fd, "0.img", true);
    assert_int_equal(disk_stack_discard(stack, 0, 64 * DISK_SECTOR), 0);
    disk_model_set(&site.model, 0, 64, 0);
    disk_model_assert(stack, &site.model);
    assert_int_equal(disk_stack_seal(stack, &err), 0);
    disk_model_assert(stack, &site.model);
    disk_write(stack, &site.model, 9, 2, 1); /* the rest of its block is zeros */
    assert_int_equal(disk_stack_zero(stack, 30 * DISK_SECTOR, 50 * DISK_SECTOR, false), 0);
    disk_model_set(&site.model, 30, 50, 0);
    disk_model_assert(stack, &site.model);
    /* An edge of a block that is discarded stays what it was. */
    assert_int_equal(disk_stack_discard(stack, 100 * DISK_SECTOR, 3 * DISK_SECTOR), 0);
    disk_model_assert(stack, &site.model);
    disk_stack_close(stack);
    site_remove(&site);
}

static void test_depth(void **state)
{
    struct site site = site_make();
    struct error err = {0};
    freeze(&site);
    struct disk_stack *stack = disk_open_good(site.fd, "0.img", true);
    for (unsigned i = 0; i < 32; i++) {
        disk_write(stack, &site.model, i, 1, i + 1);
        assert_int_equal(disk_stack_seal(stack, &err), 0);
    }
    disk_write(stack, &site.model, 99, 1, 99);
    assert_int_equal(disk_stack_seal(stack, &err), -EMLINK);
    disk_model_assert(stack, &site.model);
    assert_int_equal(disk_stack_flush(stack), 0);
    disk_stack_close(stack);
    assert_int_equal(disk_compact(&site.base, &err), 0);
    freeze(&site);
    assert_int_equal(chain_of(&site).count, 2);
    assert_content(&site);
    site_remove(&site);
}

static unsigned open_descriptors(void)
{
    unsigned count = 0;
    _cleanup_(closedir) DIR *dir = opendir("/proc/self/fd");
    assert_non_null(dir);
    while (readdir(dir))
        count++;
    return count;
}

/* One that stays in use is sealed for ever, if somebody compacts it; old files are let go of. */
static void test_sealed_for_ever(void **state)
{
    struct site site = site_make();
    struct error err = {0};
    freeze(&site);
    struct disk_stack *stack = disk_open_good(site.fd, "0.img", true);
    const unsigned begin = open_descriptors();
    for (unsigned i = 0; i < 3 * DISK_STACK_DEEP + 1; i++) {
        if (chain_of(&site).count >= DISK_STACK_DEEP)
            assert_int_equal(disk_compact(&site.base, &err), 0);
        disk_write(stack, &site.model, i * 3, 5, i + 1);
        if (disk_stack_seal(stack, &err) < 0)
            fail_msg("round %u: %s", i, err.message);
        assert_true(open_descriptors() <= begin + DISK_STACK_DEEP);
        disk_model_assert(stack, &site.model);
    }
    disk_stack_close(stack);
    assert_true(chain_of(&site).count <= DISK_STACK_DEEP);
    assert_content(&site);
    site_remove(&site);
}

/* What can't be taken note of is told, and the stack is what it was. */
static void test_compacted_and_damaged(void **state)
{
    struct site site = site_make();
    struct error err = {0};
    freeze(&site);
    struct disk_stack *stack = disk_open_good(site.fd, "0.img", true);
    for (unsigned i = 0; i < DISK_STACK_DEEP; i++) {
        disk_write(stack, &site.model, i, 1, i + 1);
        assert_int_equal(disk_stack_seal(stack, &err), 0);
    }
    disk_write(stack, &site.model, 50, 1, 50);
    assert_int_equal(renameat(site.fd, "0.img.7", site.fd, "away"), 0);
    assert_true(disk_stack_seal(stack, &err) < 0);
    assert_non_null(strstr(err.message, "0.img.7 is missing"));
    disk_model_assert(stack, &site.model);
    assert_int_equal(renameat(site.fd, "away", site.fd, "0.img.7"), 0);
    assert_int_equal(disk_stack_seal(stack, &err), 0);
    disk_model_assert(stack, &site.model);
    disk_stack_close(stack);
    assert_content(&site);
    site_remove(&site);
}

/* ---- what fails, and what dies ---- */

static const char *const seal_steps[] = {"disk-seal-made",          "disk-seal-marked",
                                         "disk-seal-link",          "disk-seal-linked",
                                         "disk-seal-before-rename", "disk-seal-after-rename"};

/* A sealing that fails leaves a disk that is written on, and sealed later. */
static void test_seal_fails(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(seal_steps); i++) {
        struct site site = site_make();
        struct error err = {0};
        char list[64];
        freeze(&site);
        struct disk_stack *stack = disk_open_good(site.fd, "0.img", true);
        disk_write(stack, &site.model, 3, 20, 1);
        snprintf(list, sizeof(list), "%s=ENOSPC", seal_steps[i]);
        failpoints(list);
        assert_int_equal(disk_stack_seal(stack, &err), -ENOSPC);
        failpoints(NULL);
        disk_write(stack, &site.model, 4, 2, 2);
        disk_model_assert(stack, &site.model);
        assert_int_equal(disk_stack_seal(stack, &err), 0);
        disk_model_assert(stack, &site.model);
        disk_stack_close(stack);
        assert_content(&site);
        site_remove(&site);
    }
}

static void freeze_in_child(void *context)
{
    disk_freeze(context, NULL);
}

/* Whoever comes next finds the content whole, and can finish what was begun. */
static void test_seal_dies(void **state)
{
    for (size_t i = 0; i < ARRAY_SIZE(seal_steps); i++) {
        struct site site = site_make();
        freeze(&site);
        write_and_close(&site, 3, 20, 1);
        failpoints(seal_steps[i]);
        assert_true(was_killed(in_child(freeze_in_child, &site.base)));
        failpoints(NULL);
        assert_content(&site);
        write_and_close(&site, 4, 1, 2);
        assert_content(&site);
        freeze(&site);
        assert_true(chain_of(&site).frozen);
        assert_content(&site);
        site_remove(&site);
    }
}

static void compact_in_child(void *context)
{
    disk_compact(context, NULL);
}

static void test_compact_dies(void **state)
{
    static const char *const steps[] = {"disk-compact-data", "disk-compact-before-rename",
                                        "disk-compact-after-rename"};
    for (size_t i = 0; i < ARRAY_SIZE(steps); i++) {
        struct site site = site_make();
        struct error err = {0};
        freeze(&site);
        for (unsigned layer = 1; layer <= 3; layer++) {
            write_and_close(&site, layer * 9, 20, layer);
            freeze(&site);
        }
        failpoints(steps[i]);
        assert_true(was_killed(in_child(compact_in_child, &site.base)));
        failpoints(NULL);
        assert_content(&site);
        assert_int_equal(disk_compact(&site.base, &err), 0);
        assert_content(&site);
        assert_int_equal(chain_of(&site).count, 1);
        assert_int_equal(entries_of(site.fd), 3); /* base, layer, top */
        site_remove(&site);
    }
}

/* A flush that failed once has failed: what it was to save is lost, whatever the next one says. */
static void test_flush_fails(void **state)
{
    struct site site = site_make();
    freeze(&site);
    struct disk_stack *stack = disk_open_good(site.fd, "0.img", true);
    disk_write(stack, &site.model, 3, 20, 1);
    failpoints("disk-map-write=ENOSPC"); /* of the map there was nothing to lose */
    assert_int_equal(disk_stack_flush(stack), -ENOSPC);
    failpoints(NULL);
    assert_int_equal(disk_stack_flush(stack), 0);
    disk_model_flushed(&site.model);
    failpoints("disk-sync=EIO");
    assert_int_equal(disk_stack_flush(stack), -EIO);
    failpoints(NULL);
    assert_int_equal(disk_stack_flush(stack), -EIO);
    struct iovec none = {.iov_base = NULL};
    uint64_t done = 0;
    assert_int_equal(disk_stack_write(stack, &none, 1, 0, &done), -EIO);
    disk_stack_close(stack);
    assert_content(&site);
    site_remove(&site);
}

/* ---- what it refuses ---- */

static void assert_refused(const struct site *site, bool writable, int errnum, const char *words)
{
    struct error err = {0};
    struct disk_stack *stack = disk_stack_open(&site->base, writable, &err);
    assert_null(stack);
    if (err.errnum != errnum || !strstr(err.message, words))
        fail_msg("%s (%d), not %s", err.message, err.errnum, words);
}

static void test_refused(void **state)
{
    struct site site = site_make();
    struct error err = {0};
    assert_refused(&site, true, ENOENT, "0.img.top");
    freeze(&site);
    assert_int_equal(linkat(site.fd, "0.img.top", site.fd, "other", 0), 0);
    assert_refused(&site, true, EMLINK, "has 2 names");
    assert_int_equal(unlinkat(site.fd, "other", 0), 0);
    write_and_close(&site, 3, 20, 1);
    freeze(&site);
    write_and_close(&site, 3, 20, 2);
    freeze(&site);
    /* One layer in the place of another, or none. */
    assert_int_equal(renameat2(site.fd, "0.img.1", site.fd, "0.img.2", RENAME_EXCHANGE), 0);
    assert_refused(&site, false, ESTALE, "another layer");
    assert_int_equal(renameat2(site.fd, "0.img.1", site.fd, "0.img.2", RENAME_EXCHANGE), 0);
    assert_int_equal(renameat(site.fd, "0.img.1", site.fd, "away"), 0);
    assert_refused(&site, true, ENOENT, "0.img.1 is missing");
    assert_int_equal(renameat(site.fd, "away", site.fd, "0.img.1"), 0);
    /* A base that was exchanged for one of another size. */
    _cleanup_(close) int fd = openat(site.fd, "0.img", O_RDWR | O_CLOEXEC);
    assert_int_equal(ftruncate(fd, (off_t)(DISK_SECTORS - 1) * DISK_SECTOR), 0);
    assert_refused(&site, false, EINVAL, "is of a disk of 34604544 bytes, not of one of");
    assert_int_equal(ftruncate(fd, (off_t)DISK_SECTORS * DISK_SECTOR), 0);
    /* The layers that are there say that there was a top. */
    assert_int_equal(unlinkat(site.fd, "0.img.top", 0), 0);
    struct disk_chain chain;
    assert_int_equal(disk_chain_find(&site.base, &chain, &err), -ENOENT);
    assert_non_null(strstr(err.message, "0.img.top is missing"));
    assert_int_equal(err.code, ERROR_CORRUPT);
    site_remove(&site);
}

static void test_read_only(void **state)
{
    struct site site = site_make();
    struct error err = {0};
    freeze(&site);
    struct disk_stack *stack = disk_open_good(site.fd, "0.img", false);
    struct iovec none = {.iov_base = NULL};
    uint64_t done = 0;
    assert_int_equal(disk_stack_write(stack, &none, 1, 0, &done), -EROFS);
    assert_int_equal(disk_stack_discard(stack, 0, 4096), -EROFS);
    assert_int_equal(disk_stack_zero(stack, 0, 4096, true), -EROFS);
    assert_int_equal(disk_stack_seal(stack, &err), -EROFS);
    assert_int_equal(disk_stack_size(stack), (uint64_t)DISK_SECTORS * DISK_SECTOR);
    disk_stack_close(stack);
    site_remove(&site);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_freeze),
        cmocka_unit_test(test_share),
        cmocka_unit_test(test_compact),
        cmocka_unit_test(test_discard),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_sealed_for_ever),
        cmocka_unit_test(test_compacted_and_damaged),
        cmocka_unit_test(test_seal_fails),
        cmocka_unit_test(test_seal_dies),
        cmocka_unit_test(test_compact_dies),
        cmocka_unit_test(test_flush_fails),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_read_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
