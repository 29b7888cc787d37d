/* SPDX-License-Identifier: Apache-2.0 */
/* The session's shared state: taken over, of other versions, damaged, of another image. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/cleanup.h"
#include "pager/session_block.h"

static const struct page_source_identity image = {.size = 100 * PAGE_SIZE, .version = 5};

/* Takes over what block_make() made; `image` and `key` may be others. */
static int adopt(struct session_block *block, int fd, const struct page_source_identity *of,
                 const char *key, struct error *err)
{
    const struct session_block_expected expected = {
        .versions = {SESSION_BLOCK_OLDEST, SESSION_BLOCK_VERSION}, .image = *of, .cache_key = key};
    return session_block_adopt(block, fd, &expected, err);
}

static void block_make(struct session_block *block)
{
    static const uint64_t pages[] = {7, 9};
    uint8_t data[2 * PAGE_SIZE];
    struct error err = {0};
    const struct region_table table = {.count = 1, .regions = {{0x100000, 16 * PAGE_SIZE, 0}}};
    memset(data, 1, PAGE_SIZE);
    memset(data + PAGE_SIZE, 2, PAGE_SIZE);
    const struct session_block_config config = {.version = SESSION_BLOCK_VERSION,
                                                .image = image,
                                                .cache_key = "key",
                                                .overlay_pages = pages,
                                                .overlay_data = data,
                                                .overlay_count = 2};
    assert_int_equal(session_block_create(block, &config, &err), 0);
    session_block_set_regions(block, &table);
}

static void test_block_is_taken_over(void **state)
{
    struct session_block block, next;
    struct error err = {0};
    block_make(&block);
    bitmap_set(&block.removed, 99);
    int held = fcntl(block.fd, F_DUPFD_CLOEXEC, 0);
    assert_true(adopt(&next, fcntl(held, F_DUPFD_CLOEXEC, 0), &image, "key", &err) < 0);
    assert_int_equal(err.code, ERROR_STATE);
    session_block_release(&block);
    assert_int_equal(adopt(&next, held, &image, "key", &err), 0);
    assert_true(bitmap_get(&next.removed, 99));
    assert_false(bitmap_get(&next.removed, 98));
    assert_int_equal(session_block_regions(&next)->count, 1);
    assert_int_equal(session_block_overlay(&next, 9)[100], 2);
    assert_null(session_block_overlay(&next, 8));
    session_block_release(&next);
}

static void spoil_magic(struct session_block_header *header)
{
    header->magic[0] = 'X';
}

static void spoil_version(struct session_block_header *header)
{
    header->version++;
}

static void spoil_version_down(struct session_block_header *header)
{
    header->version = 0;
}

static void spoil_constants(struct session_block_header *header)
{
    header->overlay_count = 1000;
}

static void spoil_active(struct session_block_header *header)
{
    header->active = 2;
}

/* Still inside of everything. */
static void spoil_region(struct session_block_header *header)
{
    header->tables[header->active].regions[0].base += PAGE_SIZE;
}

static void sum_regions(struct session_block_header *header)
{
    const struct region_table *table = &header->tables[header->active];
    header->table_checksums[header->active] = XXH3_64bits(table, sizeof(*table));
}

static void spoil_count(struct session_block_header *header)
{
    header->tables[header->active].count = 1000;
    sum_regions(header);
}

static void spoil_size(struct session_block_header *header)
{
    header->tables[header->active].regions[0].size = 1ull << 40;
    sum_regions(header);
}

static void test_block_is_hostile(void **state)
{
    static const struct {
        void (*spoil)(struct session_block_header *header);
        const char *reason;
    } cases[] = {
        {spoil_magic, "magic"},
        {spoil_version, "has version 3, this pager knows 1 to 2"},
        {spoil_version_down, "has version 0, this pager knows 1 to 2"},
        {spoil_constants, "checksum"},
        {spoil_active, "without a VM"},
        {spoil_region, "regions whose checksum"},
        {spoil_count, "1000 regions"},
        {spoil_size, "in the image"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct session_block block, next;
        struct error err = {0};
        block_make(&block);
        int held = fcntl(block.fd, F_DUPFD_CLOEXEC, 0);
        cases[i].spoil(block.header);
        session_block_release(&block);
        assert_true(adopt(&next, held, &image, "key", &err) < 0);
        assert_non_null(strstr(err.message, cases[i].reason));
    }
}

/* As a pager of version 1 left it: nothing behind its journal. */
static void make_old(struct session_block_header *header)
{
    header->version = 1;
    header->checksum = XXH3_64bits(header, offsetof(struct session_block_header, checksum));
    memset(header->table_checksums, 0, sizeof(header->table_checksums));
}

/* It is served, and stays one that a pager of that version can take back. */
static void test_block_of_an_older_version(void **state)
{
    const struct session_block_expected old = {
        .versions = {1, 1}, .image = image, .cache_key = "key"};
    struct session_block block, next;
    struct error err = {0};
    block_make(&block);
    make_old(block.header);
    int held = dup(block.fd);
    session_block_release(&block);
    assert_int_equal(adopt(&next, dup(held), &image, "key", &err), 0);
    struct region_table table = *session_block_regions(&next);
    table.regions[0].base += PAGE_SIZE;
    session_block_set_regions(&next, &table);
    session_block_release(&next);
    assert_int_equal(session_block_adopt(&block, held, &old, &err), 0);
    assert_int_equal(block.header->version, 1);
    assert_int_equal(session_block_regions(&block)->regions[0].base, table.regions[0].base);
    session_block_release(&block);
}

/* Whoever refuses it for its version leaves it to whoever knows that. */
static void test_block_of_a_newer_version(void **state)
{
    const struct session_block_expected old = {
        .versions = {1, 1}, .image = image, .cache_key = "key"};
    struct session_block block, next;
    struct error err = {0};
    block_make(&block);
    int held = dup(block.fd);
    session_block_release(&block);
    assert_int_equal(session_block_adopt(&next, dup(held), &old, &err), -EPROTONOSUPPORT);
    assert_int_equal(err.code, ERROR_UNSUPPORTED);
    assert_string_equal(err.message, "the session's state has version 2, this pager knows 1 to 1");
    assert_int_equal(adopt(&next, held, &image, "key", &err), 0);
    session_block_release(&next);
}

/* Whoever holds it can tell, and takes nothing else for it. */
static void test_block_is_completed(void **state)
{
    struct session_block block;
    block_make(&block);
    assert_false(session_block_completed(block.fd));
    session_block_complete(&block);
    assert_true(session_block_completed(block.fd));
    block.header->completed++;
    assert_false(session_block_completed(block.fd));
    session_block_release(&block);
    int other = memfd_create("other", MFD_CLOEXEC);
    assert_false(session_block_completed(other));
    close(other);
}

static void test_block_of_another_image(void **state)
{
    struct session_block block, next;
    struct error err = {0};
    const struct page_source_identity longer = {.size = 100000 * PAGE_SIZE, .version = 5};
    const struct page_source_identity written = {.size = image.size, .version = 6};
    block_make(&block);
    int held = fcntl(block.fd, F_DUPFD_CLOEXEC, 0);
    session_block_release(&block);
    assert_true(adopt(&next, dup(held), &longer, "key", &err) < 0);
    assert_non_null(strstr(err.message, "bytes, the image needs"));
    assert_true(adopt(&next, dup(held), &written, "key", &err) < 0);
    assert_non_null(strstr(err.message, "another image"));
    assert_true(adopt(&next, dup(held), &image, "other", &err) < 0);
    assert_non_null(strstr(err.message, "another cache key"));
    assert_int_equal(adopt(&next, held, &image, "key", &err), 0);
    session_block_release(&next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_block_is_taken_over),
        cmocka_unit_test(test_block_is_hostile),
        cmocka_unit_test(test_block_of_an_older_version),
        cmocka_unit_test(test_block_of_a_newer_version),
        cmocka_unit_test(test_block_is_completed),
        cmocka_unit_test(test_block_of_another_image),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
