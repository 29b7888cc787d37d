/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/raw_source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pager/bitmap.h"
#include "pager/guard.h"
#include "pager/mapped_file.h"
#include "pager/regions.h"
#include "pager/uffd.h"

/* Looking for zeros goes on while one page of so many is worth it, else only at every so manieth
 * run, to find out whether that has changed. */
#define ZERO_WORTH 32u
#define ZERO_PROBE 64u

#define WINDOW_PAGES 16u

struct raw_source {
    struct page_source base;
    struct mapped_file file;
    struct bitmap zero;      /* known zero pages; bits are only ever set */
    struct bitmap inspected; /* pages that were looked at */
    struct bitmap windows;   /* by which the kernel maps pages around one that is touched */
    atomic_uint looked, found, runs;
};

static struct raw_source *raw_of(struct page_source *source)
{
    return CONTAINER_OF(source, struct raw_source, base);
}

static void raw_destroy(struct page_source *source)
{
    struct raw_source *raw = raw_of(source);
    mapped_file_close(&raw->file);
    bitmap_free(&raw->zero);
    bitmap_free(&raw->inspected);
    bitmap_free(&raw->windows);
    free(raw);
}

static const uint8_t *page_address(const struct raw_source *raw, uint64_t page)
{
    return raw->file.map + (page << PAGE_SHIFT);
}

static bool worth_looking(struct raw_source *raw)
{
    unsigned looked = atomic_load_explicit(&raw->looked, memory_order_relaxed);
    unsigned found = atomic_load_explicit(&raw->found, memory_order_relaxed);
    if (looked < 4 * ZERO_WORTH || found * (uint64_t)ZERO_WORTH >= looked)
        return true;
    return atomic_fetch_add_explicit(&raw->runs, 1, memory_order_relaxed) % ZERO_PROBE == 0;
}

static void look(struct raw_source *raw, uint64_t page)
{
    if (bitmap_get(&raw->inspected, page))
        return;
    atomic_fetch_add_explicit(&raw->looked, 1, memory_order_relaxed);
    if (page_is_zero(page_address(raw, page))) {
        atomic_fetch_add_explicit(&raw->found, 1, memory_order_relaxed);
        bitmap_set(&raw->zero, page);
    }
    bitmap_set(&raw->inspected, page);
}

static uint64_t raw_run(struct page_source *source, uint64_t page, uint64_t limit,
                        enum page_kind *kind)
{
    struct raw_source *raw = raw_of(source);
    bool looking = !bitmap_get(&raw->zero, page) && worth_looking(raw);
    if (looking)
        look(raw, page);
    bool zero = bitmap_get(&raw->zero, page);
    uint64_t count = 1;
    for (; count < limit; count++) {
        if (looking)
            look(raw, page + count);
        if (bitmap_get(&raw->zero, page + count) != zero)
            break;
    }
    *kind = zero ? PAGE_ZERO : PAGE_DATA;
    return count;
}

static bool raw_is(const struct page_source *source, const struct stat *files, unsigned count)
{
    const struct raw_source *raw = raw_of((struct page_source *)source);
    return count == 1 && image_file_is(&raw->file.file, &files[0]);
}

static int raw_check(struct page_source *source, struct error *err)
{
    return image_file_check(&raw_of(source)->file.file, err);
}

static int raw_pages(struct page_source *source, uint64_t page, uint64_t count, const void **from,
                     struct error *err)
{
    *from = page_address(raw_of(source), page);
    return 1;
}

static void raw_release(struct page_source *source, const void *from)
{
    /* It is mapped as long as the source is there. */
}

static bool raw_unmapped(struct page_source *source, uint64_t page, uint64_t count)
{
    struct raw_source *raw = raw_of(source);
    bool any = false;
    for (uint64_t i = page / WINDOW_PAGES; i <= (page + count - 1) / WINDOW_PAGES; i++) {
        if (bitmap_get(&raw->windows, i))
            continue;
        bitmap_set(&raw->windows, i);
        any = true;
    }
    return any;
}

static int raw_explain(struct page_source *source, uint64_t page, struct error *err)
{
    return mapped_file_explain(&raw_of(source)->file, page << PAGE_SHIFT, err);
}

static void raw_advise(struct page_source *source, uint64_t page, uint64_t count)
{
    mapped_file_advise(&raw_of(source)->file, page << PAGE_SHIFT, count << PAGE_SHIFT);
}

static bool raw_resident(struct page_source *source, uint64_t page, uint64_t count)
{
    struct raw_source *raw = raw_of(source);
    for (uint64_t done = 0; done < count; done++) {
        done += mapped_file_resident(&raw->file, (page + done) << PAGE_SHIFT, count - done);
        if (done < count && !bitmap_get(&raw->zero, page + done))
            return false;
    }
    return true;
}

static const struct page_source_ops raw_ops = {
    .destroy = raw_destroy,
    .is = raw_is,
    .run = raw_run,
    .check = raw_check,
    .pages = raw_pages,
    .release = raw_release,
    .unmapped = raw_unmapped,
    .explain = raw_explain,
    .advise = raw_advise,
    .resident = raw_resident,
};

/* Marks the pages of [start, end) that lie in it whole. */
static void mark_hole(struct raw_source *raw, off_t start, off_t end)
{
    uint64_t first = ((uint64_t)start + PAGE_SIZE - 1) >> PAGE_SHIFT;
    uint64_t last = (uint64_t)end >> PAGE_SHIFT;
    for (uint64_t page = first; page < last; page++)
        bitmap_set(&raw->zero, page);
}

/* Where the file system can't tell holes from data everything is data. */
static int holes_find(struct raw_source *raw, struct error *err)
{
    off_t at = 0, size = raw->file.file.st.st_size;
    while (at < size) {
        off_t data = lseek(raw->file.file.fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            data = size; /* nothing but a hole up to the end */
        if (data < 0 && errno == EINVAL)
            return 0;
        if (data < 0)
            return error_errno(err, errno, raw->file.file.label, "look for data in %s",
                               raw->file.file.label);
        mark_hole(raw, at, data);
        if (data >= size)
            return 0;
        at = lseek(raw->file.file.fd, data, SEEK_HOLE);
        if (at < 0)
            return error_errno(err, errno, raw->file.file.label, "look for holes in %s",
                               raw->file.file.label);
    }
    return 0;
}

static int raw_load(struct raw_source *raw, int fd, const struct stat *st, const char *label,
                    struct error *err)
{
    uint64_t pages = (uint64_t)st->st_size >> PAGE_SHIFT;
    int r = mapped_file_open(&raw->file, fd, st, label, err);
    if (r < 0)
        return r;
    if (bitmap_create(&raw->zero, pages) < 0 || bitmap_create(&raw->inspected, pages) < 0 ||
        bitmap_create(&raw->windows, pages / WINDOW_PAGES + 1) < 0)
        return error_errno(err, ENOMEM, label, "map %s", label);
    raw->base = (struct page_source){
        .ops = &raw_ops,
        .identity = {.size = (uint64_t)st->st_size,
                     .version = (uint64_t)image_file_modified_ns(&raw->file.file)},
        .references = 1,
    };
    return holes_find(raw, err);
}

struct page_source *raw_source_open(int fd, const struct stat *st, const char *label,
                                    struct error *err)
{
    uint64_t size = (uint64_t)st->st_size;
    if (size == 0 || size % PAGE_SIZE != 0 || size > IMAGE_SIZE_LIMIT) {
        error_set(err, ERROR_INVALID, EINVAL, "%s has %" PRIu64 " bytes, not a number of pages",
                  label, size);
        return NULL;
    }
    struct raw_source *raw = calloc(1, sizeof(*raw));
    if (!raw) {
        error_errno(err, ENOMEM, label, "open %s", label);
        return NULL;
    }
    if (raw_load(raw, fd, st, label, err) == 0)
        return &raw->base;
    raw_destroy(&raw->base);
    return NULL;
}
