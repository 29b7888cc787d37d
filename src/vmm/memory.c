/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "vmm/page_server.h"

#define HOST_ALIGNMENT (2ull << 20) /* so that the host can back guest memory with huge pages */
#define MINIMUM_SIZE   (1ull << 20)

/* Where DRAM may lie, in address order; the last span has no end that matters. */
static const struct {
    uint64_t start, end;
} dram_spans[GUEST_MAX_REGIONS] = {
    {0, GUEST_MMIO_GAP_START},
    {GUEST_MMIO_GAP_END, GUEST_HIGH_GAP_START},
    {GUEST_HIGH_GAP_END, 1ull << 46},
};

int guest_memory_layout(struct guest_memory *memory, uint64_t size, struct error *err)
{
    memset(memory, 0, sizeof(*memory));
    if (size % GUEST_PAGE_SIZE != 0 || size < MINIMUM_SIZE)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "guest memory of %llu bytes: not a multiple of 4096, or below 1 MiB",
                         (unsigned long long)size);
    uint64_t left = size;
    for (unsigned i = 0; i < GUEST_MAX_REGIONS && left > 0; i++) {
        uint64_t room = dram_spans[i].end - dram_spans[i].start;
        uint64_t used = left < room ? left : room;
        memory->regions[memory->region_count++] = (struct guest_region){
            .gpa = dram_spans[i].start, .size = used, .file_offset = size - left};
        left -= used;
    }
    if (left > 0)
        return error_set(err, ERROR_INVALID, EINVAL, "guest memory of %llu bytes is too large",
                         (unsigned long long)size);
    memory->size = size;
    return 0;
}

/* Maps one region at a 2 MiB aligned address: a larger reservation is made, the ends are given
 * back and the middle is mapped over. */
static int region_map(struct guest_region *region, int flags, int fd)
{
    size_t reserved = region->size + HOST_ALIGNMENT;
    uint8_t *start =
        mmap(NULL, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (start == MAP_FAILED)
        return -errno;
    size_t head = (size_t)(-(uintptr_t)start % HOST_ALIGNMENT);
    uint8_t *host = start + head;
    size_t tail = reserved - head - region->size;
    off_t offset = fd < 0 ? 0 : (off_t)region->file_offset;
    if (mmap(host, region->size, PROT_READ | PROT_WRITE, flags | MAP_PRIVATE | MAP_FIXED, fd,
             offset) == MAP_FAILED) {
        int saved = errno;
        munmap(start, reserved);
        return -saved;
    }
    if (head > 0)
        munmap(start, head);
    if (tail > 0)
        munmap(host + region->size, tail);
    region->host = host;
    return 0;
}

static int memory_map(struct guest_memory *memory, int flags, int fd, const char *path,
                      struct error *err)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        int r = region_map(&memory->regions[i], flags | MAP_NORESERVE, fd);
        if (r < 0) {
            guest_memory_release(memory);
            return error_errno(err, -r, path, "map %llu bytes of guest memory%s%s",
                               (unsigned long long)memory->size, path ? " from " : "",
                               path ? path : "");
        }
    }
    return 0;
}

int guest_memory_create(struct guest_memory *memory, uint64_t size, struct error *err)
{
    int r = guest_memory_layout(memory, size, err);
    if (r < 0)
        return r;
    return memory_map(memory, MAP_ANONYMOUS, -1, NULL, err);
}

int guest_memory_map(struct guest_memory *memory, uint64_t size, int fd, const char *path,
                     struct error *err)
{
    int r = guest_memory_layout(memory, size, err);
    if (r < 0)
        return r;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, path, "stat memory file %s", path);
    if (!S_ISREG(st.st_mode))
        return error_set(err, ERROR_INVALID, EINVAL, "memory file %s: not a regular file", path);
    if ((uint64_t)st.st_size != size)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "memory file %s has %lld bytes, the VM has %llu bytes of memory", path,
                         (long long)st.st_size, (unsigned long long)size);
    memory->backing = GUEST_FILE;
    return memory_map(memory, 0, fd, path, err);
}

int guest_memory_serve(struct guest_memory *memory, uint64_t size, const char *socket_path,
                       struct error *err)
{
    int r = guest_memory_create(memory, size, err);
    if (r < 0)
        return r;
    memory->backing = GUEST_UFFD;
    r = page_set_make(&memory->removed, size / GUEST_PAGE_SIZE, err);
    if (r == 0)
        r = page_server_connect(&memory->server, memory, socket_path, err);
    if (r < 0)
        guest_memory_release(memory);
    return r;
}

int guest_memory_track(struct guest_memory *memory, struct error *err)
{
    if (memory->backing == GUEST_FILE)
        return 0;
    return page_set_make(&memory->dirty, memory->size / GUEST_PAGE_SIZE, err);
}

void guest_memory_saved(struct guest_memory *memory)
{
    page_set_clear(&memory->dirty);
}

void guest_memory_release(struct guest_memory *memory)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        if (memory->regions[i].host)
            munmap(memory->regions[i].host, memory->regions[i].size);
    }
    page_set_free(&memory->dirty);
    page_set_free(&memory->removed);
    page_set_free(&memory->zeros);
    page_server_close(memory->server);
    memset(memory, 0, sizeof(*memory));
}

/* True if [gpa, gpa + length) lies in the region, without computing a sum that could overflow. */
static bool region_holds(const struct guest_region *region, uint64_t gpa, uint64_t length)
{
    return gpa >= region->gpa && gpa - region->gpa <= region->size &&
           length <= region->size - (gpa - region->gpa);
}

static const struct guest_region *region_find(const struct guest_memory *memory, uint64_t gpa,
                                              uint64_t length)
{
    for (unsigned i = 0; i < memory->region_count; i++) {
        const struct guest_region *region = &memory->regions[i];
        if (region->host && region_holds(region, gpa, length))
            return region;
    }
    return NULL;
}

/* Puts [gpa, gpa + length) of the region into the set. */
static void region_mark(const struct guest_region *region, const struct page_set *set, uint64_t gpa,
                        uint64_t length)
{
    if (!page_set_made(set) || length == 0)
        return;
    uint64_t offset = region->file_offset + (gpa - region->gpa);
    uint64_t first = offset / GUEST_PAGE_SIZE, last = (offset + length - 1) / GUEST_PAGE_SIZE;
    page_set_add(set, first, last - first + 1);
}

void *guest_pointer(const struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
    const struct guest_region *region = region_find(memory, gpa, length);
    if (!region)
        return NULL;
    region_mark(region, &memory->dirty, gpa, length);
    return region->host + (gpa - region->gpa);
}

const void *guest_view(const struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
    const struct guest_region *region = region_find(memory, gpa, length);
    return region ? region->host + (gpa - region->gpa) : NULL;
}

int guest_read(const struct guest_memory *memory, uint64_t gpa, void *buffer, size_t length)
{
    const void *host = guest_view(memory, gpa, length);
    if (!host)
        return -EFAULT;
    memcpy(buffer, host, length);
    return 0;
}

int guest_write(const struct guest_memory *memory, uint64_t gpa, const void *buffer, size_t length)
{
    void *host = guest_pointer(memory, gpa, length);
    if (!host)
        return -EFAULT;
    memcpy(host, buffer, length);
    return 0;
}

static int pages_drop(const struct guest_memory *memory, void *host, uint64_t length)
{
    if (memory->backing != GUEST_FILE)
        return madvise(host, length, MADV_DONTNEED) < 0 ? -errno : 0;
    void *mapped = mmap(host, length, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0);
    return mapped == MAP_FAILED ? -errno : 0;
}

int guest_memory_discard(struct guest_memory *memory, uint64_t gpa, uint64_t length)
{
    if (gpa % GUEST_PAGE_SIZE != 0 || length % GUEST_PAGE_SIZE != 0)
        return -EINVAL;
    const struct guest_region *region = region_find(memory, gpa, length);
    if (!region)
        return -EFAULT;
    if (length == 0)
        return 0;
    int r = pages_drop(memory, region->host + (gpa - region->gpa), length);
    if (r < 0)
        return r;
    region_mark(region, &memory->dirty, gpa, length);
    region_mark(region, &memory->removed, gpa, length);
    return 0;
}
