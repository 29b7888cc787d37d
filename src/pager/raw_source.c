/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/raw_source.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pager/bitmap.h"
#include "pager/guard.h"
#include "pager/regions.h"
#include "pager/uffd.h"

/* Looking for zeros goes on while one page of so many is worth it, else only at every so manieth
 * run, to find out whether that has changed. */
#define ZERO_WORTH 32u
#define ZERO_PROBE 16u

struct raw_source {
    struct page_source base;
    int fd;
    struct stat st; /* as it was opened */
    char *label;
    const uint8_t *map;
    struct bitmap zero;      /* known zero pages; bits are only ever set */
    struct bitmap inspected; /* pages that were looked at */
    atomic_uint looked, found, runs;
};

static struct raw_source *raw_of(struct page_source *source)
{
    return CONTAINER_OF(source, struct raw_source, base);
}

static void raw_destroy(struct page_source *source)
{
    struct raw_source *raw = raw_of(source);
    if (raw->map && raw->map != MAP_FAILED)
        munmap((void *)raw->map, raw->base.identity.size);
    bitmap_free(&raw->zero);
    bitmap_free(&raw->inspected);
    cleanup_close(&raw->fd);
    free(raw->label);
    free(raw);
}

static int64_t modified_ns(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000000000 + st->st_mtim.tv_nsec;
}

static bool same_content(const struct stat *a, const struct stat *b)
{
    return a->st_size == b->st_size && modified_ns(a) == modified_ns(b);
}

bool raw_source_is(const struct page_source *source, const struct stat *st)
{
    const struct raw_source *raw = raw_of((struct page_source *)source);
    return raw->st.st_dev == st->st_dev && raw->st.st_ino == st->st_ino &&
           same_content(&raw->st, st);
}

static const uint8_t *page_address(const struct raw_source *raw, uint64_t page)
{
    return raw->map + (page << PAGE_SHIFT);
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

/* The file must be what it was: bytes of one that was written are not this image's, and the page
 * that holds a new end reads as zeros behind it. */
static int raw_check(struct page_source *source, struct error *err)
{
    const struct raw_source *raw = raw_of(source);
    struct stat st;
    if (fstat(raw->fd, &st) < 0)
        return error_errno(err, errno, raw->label, "stat %s", raw->label);
    if (st.st_size != raw->st.st_size)
        return error_set(err, ERROR_CORRUPT, EIO, "%s had %lld bytes and has %lld now", raw->label,
                         (long long)raw->st.st_size, (long long)st.st_size);
    if (!same_content(&st, &raw->st))
        return error_set(err, ERROR_CORRUPT, EIO, "%s was written while it was in use", raw->label);
    return 0;
}

static const void *raw_pages(struct page_source *source, uint64_t page, uint64_t count,
                             struct error *err)
{
    return page_address(raw_of(source), page);
}

static int raw_explain(struct page_source *source, uint64_t page, struct error *err)
{
    struct raw_source *raw = raw_of(source);
    uint64_t offset = page << PAGE_SHIFT;
    char byte = 0;
    int r = raw_check(source, err);
    if (r == 0 && pread(raw->fd, &byte, 1, (off_t)offset) < 0)
        r = error_errno(err, errno, raw->label, "read %s at %" PRIu64, raw->label, offset);
    if (r == 0)
        r = error_set(err, ERROR_SYSTEM, EFAULT, "read %s at %" PRIu64 ": the mapping failed",
                      raw->label, offset);
    return r;
}

static void raw_advise(struct page_source *source, uint64_t page, uint64_t count)
{
    struct raw_source *raw = raw_of(source);
    /* Only advice: what is not fetched now is fetched by the copy. */
    (void)madvise((void *)page_address(raw, page), count << PAGE_SHIFT, MADV_WILLNEED);
}

static bool raw_resident(struct page_source *source, uint64_t page, uint64_t count)
{
    struct raw_source *raw = raw_of(source);
    unsigned char resident[256];
    for (uint64_t done = 0; done < count;) {
        uint64_t now = count - done < sizeof(resident) ? count - done : sizeof(resident);
        if (mincore((void *)page_address(raw, page + done), now << PAGE_SHIFT, resident) < 0)
            return true; /* it can't be told: the copy finds out */
        for (uint64_t i = 0; i < now; i++) {
            if (!(resident[i] & 1) && !bitmap_get(&raw->zero, page + done + i))
                return false;
        }
        done += now;
    }
    return true;
}

static const struct page_source_ops raw_ops = {
    .destroy = raw_destroy,
    .run = raw_run,
    .check = raw_check,
    .pages = raw_pages,
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
    off_t at = 0, size = raw->st.st_size;
    while (at < size) {
        off_t data = lseek(raw->fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            data = size; /* nothing but a hole up to the end */
        if (data < 0 && errno == EINVAL)
            return 0;
        if (data < 0)
            return error_errno(err, errno, raw->label, "look for data in %s", raw->label);
        mark_hole(raw, at, data);
        if (data >= size)
            return 0;
        at = lseek(raw->fd, data, SEEK_HOLE);
        if (at < 0)
            return error_errno(err, errno, raw->label, "look for holes in %s", raw->label);
    }
    return 0;
}

static int raw_map(struct raw_source *raw, struct error *err)
{
    uint64_t size = raw->base.identity.size;
    if (bitmap_create(&raw->zero, size >> PAGE_SHIFT) < 0 ||
        bitmap_create(&raw->inspected, size >> PAGE_SHIFT) < 0)
        return error_errno(err, ENOMEM, raw->label, "map %s", raw->label);
    raw->map = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_NORESERVE, raw->fd, 0);
    if (raw->map == MAP_FAILED)
        return error_errno(err, errno, raw->label, "map %s", raw->label);
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
    raw->base = (struct page_source){
        .ops = &raw_ops,
        .identity = {.size = size, .modified_ns = modified_ns(st)},
        .references = 1,
    };
    raw->st = *st;
    raw->label = strdup(label);
    raw->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (!raw->label || raw->fd < 0)
        error_errno(err, raw->label ? errno : ENOMEM, label, "open %s", label);
    else if (raw_map(raw, err) == 0)
        return &raw->base;
    raw_destroy(&raw->base);
    return NULL;
}
