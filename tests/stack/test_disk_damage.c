/* SPDX-License-Identifier: Apache-2.0 */
/* Damage to a layer of a disk: what was torn is cured, what was whole and is not any more is told,
 * and what somebody made up is refused. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "disk_model.h"
#include "fixture.h"
#include "layers.h"
#include "stack/disk_layer.h"
#include "stack/layer_format.h"

#define SIZE (33ull << 20) /* two regions of the map */

static const struct disk_header like = {.image_size = SIZE};

static int layer_make(void)
{
    struct error err = {0};
    struct disk_layer layer = DISK_LAYER_NONE;
    int fd = memory_file();
    if (disk_layer_create(&layer, dup(fd), "top", &like, &err) < 0)
        fail_msg("%s", err.message);
    disk_layer_close(&layer);
    return fd;
}

static void open_good(struct disk_layer *layer, int fd)
{
    struct error err = {0};
    if (disk_layer_open_fd(layer, dup(fd), "top", SIZE, &err) < 0)
        fail_msg("%s", err.message);
}

static void hold(int fd, uint64_t block, uint64_t count, bool sealed)
{
    struct error err = {0};
    struct disk_layer layer = DISK_LAYER_NONE;
    open_good(&layer, fd);
    assert_int_equal(disk_map_prepare(&layer.map, block, count), 0);
    disk_map_set(&layer.map, block, count, DISK_DATA);
    assert_int_equal(sealed ? disk_layer_mark(&layer, true, &err) : disk_layer_flush(&layer), 0);
    disk_layer_close(&layer);
}

static uint64_t held(int fd)
{
    struct disk_layer layer = DISK_LAYER_NONE;
    open_good(&layer, fd);
    uint64_t blocks = layer.map.data_blocks;
    disk_layer_close(&layer);
    return blocks;
}

static void assert_refused(int fd, uint64_t size, int errnum, const char *words)
{
    struct error err = {0};
    struct disk_layer layer = DISK_LAYER_NONE;
    assert_int_equal(disk_layer_open_fd(&layer, dup(fd), "top", size, &err), -errnum);
    if (!strstr(err.message, words))
        fail_msg("%s, not %s", err.message, words);
}

static void flip(int fd, uint64_t offset)
{
    uint8_t byte;
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
}

static uint64_t map_page(unsigned region, unsigned slot)
{
    return disk_layout(SIZE).map_offset + (2ull * region + slot) * DISK_BLOCK_SIZE;
}

/* Whatever byte of the page that is being written is wrong, the one before it counts. */
static void test_torn_map(void **state)
{
    for (uint64_t at = 0; at < sizeof(struct disk_region_page); at += 37) {
        _cleanup_(close) int fd = layer_make();
        hold(fd, 3, 5, false);  /* into the second page: a new region begins with that */
        hold(fd, 20, 4, false); /* into the first */
        assert_int_equal(held(fd), 9);
        flip(fd, map_page(0, 0) + at);
        assert_int_equal(held(fd), 5);
        hold(fd, 30, 1, false); /* over the torn one */
        assert_int_equal(held(fd), 6);
        flip(fd, map_page(0, 0) + at);
        flip(fd, map_page(0, 1) + at);
        assert_refused(fd, SIZE, EBADMSG, "both pages of its map for the blocks from 0 on");
    }
}

/* The very first page of a region. */
static void test_torn_first(void **state)
{
    _cleanup_(close) int fd = layer_make();
    hold(fd, DISK_REGION_BLOCKS + 3, 5, false);
    flip(fd, map_page(1, 1) + 100);
    assert_int_equal(held(fd), 0);
    hold(fd, DISK_REGION_BLOCKS + 9, 2, false);
    assert_int_equal(held(fd), 2);
}

static void test_torn_header(void **state)
{
    _cleanup_(close) int fd = layer_make();
    size_t size = disk_layout(SIZE).header_size;
    hold(fd, 3, 5, false); /* the second header names the region */
    flip(fd, size + 60);
    assert_int_equal(held(fd), 0); /* as before that flush */
    flip(fd, 20);
    assert_refused(fd, SIZE, EBADMSG, "no header holds");
}

/* What is sealed was whole: an older page is damage there. */
static void test_sealed(void **state)
{
    _cleanup_(close) int fd = layer_make();
    hold(fd, 3, 5, false);
    hold(fd, 20, 4, true);
    assert_int_equal(held(fd), 9);
    flip(fd, map_page(0, 0) + 40);
    assert_refused(fd, SIZE, EBADMSG, "not the one that was sealed");
}

static void test_length(void **state)
{
    _cleanup_(close) int fd = layer_make();
    assert_refused(fd, SIZE - 4096, EBADMSG, "bytes, a layer of its disk has");
    assert_refused(fd, SIZE - 512, EINVAL, "is of a disk of 34603008 bytes, not of one of");
    assert_refused(fd, 0, EINVAL, "can't have layers");
    assert_refused(fd, DISK_IMAGE_LIMIT + 1, EINVAL, "can't have layers");
    assert_int_equal(ftruncate(fd, 8192), 0);
    assert_refused(fd, SIZE, EBADMSG, "has 8192 bytes");
    _cleanup_(close) int other = memory_file();
    assert_int_equal(ftruncate(other, (off_t)disk_layout(SIZE).file_size), 0);
    assert_refused(other, SIZE, EBADMSG, "is no disk layer");
}

/* ---- made up, with checksums that hold ---- */

static void header_change(int fd, void (*change)(struct disk_header *header))
{
    size_t size = disk_layout(SIZE).header_size;
    struct disk_header *header = calloc(1, size);
    assert_int_equal(pread(fd, header, size, 0), size);
    change(header);
    header->checksum = 0;
    header->checksum = layer_checksum(header, size);
    assert_int_equal(pwrite(fd, header, size, 0), size);
    free(header);
}

static void other_format(struct disk_header *header)
{
    header->format = 2;
}
static void other_blocks(struct disk_header *header)
{
    header->block_size = 65536;
}
static void too_many(struct disk_header *header)
{
    header->data_blocks = UINT64_MAX;
    header->zero_blocks = 2;
}
static void twice_sealed(struct disk_header *header)
{
    header->sealed = 2;
}
static void below_nobody(struct disk_header *header)
{
    header->below = 3;
}

static void test_made_up_header(void **state)
{
    static const struct {
        void (*change)(struct disk_header *header);
        const char *words;
    } lies[] = {{other_format, "another format"},
                {other_blocks, "other blocks"},
                {too_many, "more blocks than its disk has"},
                {twice_sealed, "contradicts itself"},
                {below_nobody, "contradicts itself"}};
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        _cleanup_(close) int fd = layer_make();
        header_change(fd, lies[i].change);
        assert_refused(fd, SIZE, EBADMSG, lies[i].words);
    }
}

static void map_change(int fd, unsigned region, void (*change)(struct disk_region_page *page))
{
    struct disk_region_page page;
    off_t offset = (off_t)map_page(region, 1);
    assert_int_equal(pread(fd, &page, sizeof(page), offset), sizeof(page));
    change(&page);
    page.checksum =
        layer_checksum(&page.layer_id, sizeof(page) - offsetof(struct disk_region_page, layer_id));
    assert_int_equal(pwrite(fd, &page, sizeof(page), offset), sizeof(page));
}

static void another_layers(struct disk_region_page *page)
{
    page->layer_id++;
}
static void another_region(struct disk_region_page *page)
{
    page->region++;
}
static void beyond_the_end(struct disk_region_page *page)
{
    page->bits.held[DISK_REGION_WORDS - 1] = 1;
}
static void zero_unheld(struct disk_region_page *page)
{
    page->bits.zero[0] = 1ull << 63;
}

/* As good as torn: the page is not taken, and nothing was there before it. */
static void test_made_up_map(void **state)
{
    static void (*const lies[])(struct disk_region_page *) = {another_layers, another_region,
                                                              beyond_the_end, zero_unheld};
    for (size_t i = 0; i < ARRAY_SIZE(lies); i++) {
        _cleanup_(close) int fd = layer_make();
        hold(fd, DISK_REGION_BLOCKS + 3, 5, false);
        assert_int_equal(held(fd), 5);
        map_change(fd, 1, lies[i]);
        assert_int_equal(held(fd), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torn_map),    cmocka_unit_test(test_torn_first),
        cmocka_unit_test(test_torn_header), cmocka_unit_test(test_sealed),
        cmocka_unit_test(test_length),      cmocka_unit_test(test_made_up_header),
        cmocka_unit_test(test_made_up_map),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
