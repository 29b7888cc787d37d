/* SPDX-License-Identifier: Apache-2.0 */
/* Pages that are mapped before the guest needs them: as if each had been read. */
#include <errno.h>
#include <sys/mman.h>

#include "vmm/memory.h"

static int region_populate(const struct guest_region *region, uint64_t start, uint64_t end,
                           struct error *err)
{
    const uint64_t region_end = region->file_offset + region->size;
    const uint64_t from = start > region->file_offset ? start : region->file_offset;
    const uint64_t to = end < region_end ? end : region_end;
    if (from >= to)
        return 0;
    return madvise(region->host + (from - region->file_offset), to - from, MADV_POPULATE_READ) < 0
               ? error_errno(err, errno, NULL, "populate guest memory")
               : 0;
}

int guest_memory_populate(const struct guest_memory *memory, uint64_t page, uint64_t count,
                          struct error *err)
{
    const uint64_t pages = memory->size / GUEST_PAGE_SIZE;
    if (memory->backing == GUEST_UFFD)
        return error_set(err, ERROR_UNSUPPORTED, ENOTSUP,
                         "the microVM's memory is a page server's");
    if (page > pages || count > pages - page)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%llu pages from page %llu on are not all in guest memory",
                         (unsigned long long)count, (unsigned long long)page);
    int r = 0;
    for (unsigned i = 0; r == 0 && i < memory->region_count; i++)
        r = region_populate(&memory->regions[i], page * GUEST_PAGE_SIZE,
                            (page + count) * GUEST_PAGE_SIZE, err);
    return r;
}
