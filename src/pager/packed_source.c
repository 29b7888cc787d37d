/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/packed_source.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/cleanup.h"
#include "pager/regions.h"
#include "pager/uffd.h"

_Static_assert(PACKED_PAGE_SIZE == PAGE_SIZE, "a bit of the index is a page");

struct packed_source {
    struct page_source base;
    struct packed_file *file;
    struct chunk_cache *cache;
};

static struct packed_source *packed_of(const struct page_source *source)
{
    return CONTAINER_OF((struct page_source *)source, struct packed_source, base);
}

static void packed_destroy(struct page_source *source)
{
    struct packed_source *packed = packed_of(source);
    packed_file_release(packed->file);
    free(packed);
}

static bool packed_is(const struct page_source *source, const struct stat *files, unsigned count)
{
    return count == 1 && image_file_is(&packed_of(source)->file->file, &files[0]);
}

/* How many pages of the chunk, at most `limit`, are of the kind of the one at `bit`. */
static uint64_t same_kind(uint64_t zeros, unsigned bit, uint64_t limit, bool zero)
{
    uint64_t others = (zero ? ~zeros : zeros) >> bit;
    uint64_t room = PACKED_CHUNK_PAGES - bit < limit ? PACKED_CHUNK_PAGES - bit : limit;
    uint64_t same = others ? (uint64_t)__builtin_ctzll(others) : PACKED_CHUNK_PAGES;
    return same < room ? same : room;
}

/* Data is never of more than one chunk. */
static uint64_t packed_run(struct page_source *source, uint64_t page, uint64_t limit,
                           enum page_kind *kind)
{
    const struct packed_image *image = packed_of(source)->file->image;
    uint64_t zeros = packed_image_zeros(image, page / PACKED_CHUNK_PAGES), count = 0;
    bool zero = zeros >> page % PACKED_CHUNK_PAGES & 1;
    *kind = zero ? PAGE_ZERO : PAGE_DATA;
    for (;;) {
        unsigned bit = (unsigned)((page + count) % PACKED_CHUNK_PAGES);
        uint64_t same = same_kind(zeros, bit, limit - count, zero);
        count += same;
        if (!zero || count == limit || bit + same < PACKED_CHUNK_PAGES)
            return count;
        zeros = packed_image_zeros(image, (page + count) / PACKED_CHUNK_PAGES);
        if (!(zeros & 1))
            return count;
    }
}

/* What was decoded is right whatever becomes of the file; decoding looks at it. */
static int packed_check(struct page_source *source, struct error *err)
{
    return 0;
}

static int packed_pages(struct page_source *source, uint64_t page, uint64_t count,
                        const void **from, struct error *err)
{
    struct packed_source *packed = packed_of(source);
    const uint8_t *bytes = NULL;
    switch (chunk_cache_take(packed->cache, packed->file, page / PACKED_CHUNK_PAGES, &bytes, err)) {
    case CHUNK_HERE:
        *from = bytes + (page % PACKED_CHUNK_PAGES << PAGE_SHIFT);
        return 1;
    case CHUNK_LATER:
        return 0;
    default:
        return -1;
    }
}

static void packed_release(struct page_source *source, const void *from)
{
    chunk_cache_give_back(packed_of(source)->cache, from);
}

static bool packed_unmapped(struct page_source *source, uint64_t page, uint64_t count)
{
    return false;
}

static int packed_explain(struct page_source *source, uint64_t page, struct error *err)
{
    const char *label = packed_of(source)->file->file.label;
    return error_set(err, ERROR_SYSTEM, EFAULT, "copy page %" PRIu64 " of %s: the memory failed",
                     page, label);
}

/* True if pages of the chunk within [page, end) have to be decoded. */
static bool has_data(const struct packed_source *packed, uint64_t chunk, uint64_t page,
                     uint64_t end)
{
    uint64_t first = chunk * PACKED_CHUNK_PAGES, data;
    data = ~packed_image_zeros(packed->file->image, chunk);
    if (page > first)
        data &= UINT64_MAX << (page - first);
    if (end - first < PACKED_CHUNK_PAGES)
        data &= (1ull << (end - first)) - 1;
    return data != 0;
}

static void packed_advise(struct page_source *source, uint64_t page, uint64_t count)
{
    const struct packed_source *packed = packed_of(source);
    uint64_t end = page + count;
    for (uint64_t chunk = page / PACKED_CHUNK_PAGES; chunk * PACKED_CHUNK_PAGES < end; chunk++) {
        if (has_data(packed, chunk, page, end))
            chunk_cache_want(packed->cache, packed->file, chunk);
    }
}

static bool packed_resident(struct page_source *source, uint64_t page, uint64_t count)
{
    const struct packed_source *packed = packed_of(source);
    uint64_t end = page + count;
    for (uint64_t chunk = page / PACKED_CHUNK_PAGES; chunk * PACKED_CHUNK_PAGES < end; chunk++) {
        if (has_data(packed, chunk, page, end) &&
            !chunk_cache_has(packed->cache, packed->file, chunk))
            return false;
    }
    return true;
}

static const struct page_source_ops packed_ops = {
    .destroy = packed_destroy,
    .is = packed_is,
    .run = packed_run,
    .check = packed_check,
    .pages = packed_pages,
    .release = packed_release,
    .unmapped = packed_unmapped,
    .explain = packed_explain,
    .advise = packed_advise,
    .resident = packed_resident,
};

static int load(struct packed_source *packed, int fd, const struct stat *st, const char *label,
                const struct base_format *base, struct error *err)
{
    packed->cache = base->cache;
    packed->file = packed_file_open(fd, st, label, base->algorithm, err);
    if (!packed->file)
        return -err->errnum;
    const struct packed_image *image = packed->file->image;
    uint64_t size = packed_image_size(image);
    if (size == 0 || size % PAGE_SIZE != 0 || size > IMAGE_SIZE_LIMIT)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%s is of %" PRIu64 " bytes, not a number of pages", label, size);
    const uint64_t version[] = {packed_image_id(image),
                                (uint64_t)image_file_modified_ns(&packed->file->file)};
    packed->base = (struct page_source){
        .ops = &packed_ops,
        .identity = {.size = size, .version = XXH3_64bits(version, sizeof(version))},
        .format = base_format_number(base),
        .references = 1,
    };
    return 0;
}

struct page_source *packed_source_open(int fd, const struct stat *st, const char *label,
                                       const struct base_format *base, struct error *err)
{
    struct packed_source *packed = calloc(1, sizeof(*packed));
    if (!packed) {
        error_errno(err, ENOMEM, label, "open %s", label);
        return NULL;
    }
    if (load(packed, fd, st, label, base, err) == 0)
        return &packed->base;
    packed_destroy(&packed->base);
    return NULL;
}
