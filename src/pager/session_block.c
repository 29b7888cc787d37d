/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/session_block.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/cleanup.h"
#include "pager/process_mark.h"

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static const uint8_t magic[8] = "TINEPAGE";

/* What every version has, and where. */
_Static_assert(offsetof(struct session_block_header, version) == 8 &&
                   offsetof(struct session_block_header, checksum) == 296 &&
                   offsetof(struct session_block_header, tables) == 320 &&
                   offsetof(struct session_block_header, journal) == 3480 &&
                   offsetof(struct session_block_header, table_checksums) == 5528 &&
                   sizeof(struct session_block_header) <= SESSION_HEADER_SIZE,
               "a block of an older version would be read wrongly");

static uint64_t whole_pages(uint64_t bytes)
{
    return (bytes + PAGE_SIZE - 1) / PAGE_SIZE * PAGE_SIZE;
}

static uint64_t bitmap_size(uint64_t image_size)
{
    return whole_pages(bitmap_bytes(image_size >> PAGE_SHIFT));
}

static uint64_t total_size(uint64_t image_size)
{
    return SESSION_HEADER_SIZE + (uint64_t)SESSION_MAX_OVERLAYS * PAGE_SIZE +
           2 * bitmap_size(image_size);
}

static uint64_t checksum(const struct session_block_header *header)
{
    return XXH3_64bits(header, offsetof(struct session_block_header, checksum));
}

static uint64_t table_checksum(const struct region_table *table)
{
    return XXH3_64bits(table, sizeof(*table));
}

/* Two pagers must not serve one session. A lock on the file would not do: those of a process end
 * when it closes any descriptor of it, those of a descriptor live on in whoever has a duplicate. */
static int block_own(struct session_block_header *header, struct error *err)
{
    uint64_t owner = __atomic_load_n(&header->owner, __ATOMIC_ACQUIRE);
    if (owner == 0 || !process_lives(owner)) {
        uint64_t own = process_mark();
        if (__atomic_compare_exchange_n(&header->owner, &owner, own, false, __ATOMIC_ACQ_REL,
                                        __ATOMIC_ACQUIRE))
            return 0;
    }
    return error_set(err, ERROR_STATE, EBUSY, "process %d still serves the session",
                     process_mark_pid(owner));
}

static int block_map(struct session_block *block, uint64_t image_size, struct error *err)
{
    uint64_t size = total_size(image_size), pages = image_size >> PAGE_SHIFT;
    uint8_t *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, block->fd, 0);
    if (map == MAP_FAILED)
        return error_errno(err, errno, NULL, "map the session's state");
    block->header = (struct session_block_header *)(void *)map;
    block->overlays = map + SESSION_HEADER_SIZE;
    uint8_t *bits = block->overlays + (size_t)SESSION_MAX_OVERLAYS * PAGE_SIZE;
    block->present = (struct bitmap){.words = (uint64_t *)(void *)bits, .bits = pages};
    block->removed = (struct bitmap){.words = (uint64_t *)(void *)(bits + bitmap_size(image_size)),
                                     .bits = pages};
    /* So that the kernel can always put an event into the journal. Without the right to lock
     * memory, only swap could be in the way. */
    (void)mlock(map, SESSION_HEADER_SIZE);
    return 0;
}

static void header_fill(struct session_block *block, const struct session_block_config *config)
{
    struct session_block_header *header = block->header;
    memcpy(header->magic, magic, sizeof(magic));
    header->version = config->version;
    header->overlay_count = config->overlay_count;
    header->total_size = total_size(config->image.size);
    header->image = config->image;
    for (uint32_t i = 0; i < config->overlay_count; i++) {
        header->overlay_pages[i] = config->overlay_pages[i];
        memcpy(block->overlays + (size_t)i * PAGE_SIZE,
               config->overlay_data + (size_t)i * PAGE_SIZE, PAGE_SIZE);
    }
    snprintf(header->cache_key, sizeof(header->cache_key), "%s", config->cache_key);
    header->checksum = checksum(header);
    header->owner = process_mark();
}

int session_block_create(struct session_block *block, const struct session_block_config *config,
                         struct error *err)
{
    *block =
        (struct session_block){.fd = memfd_create("tine-pager", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
    if (block->fd < 0)
        return error_errno(err, errno, NULL, "create the session's state");
    int r = 0;
    if (ftruncate(block->fd, (off_t)total_size(config->image.size)) < 0 ||
        fcntl(block->fd, F_ADD_SEALS, SEALS) < 0)
        r = error_errno(err, errno, NULL, "create the session's state");
    if (r == 0)
        r = block_map(block, config->image.size, err);
    if (r < 0) {
        session_block_release(block);
        return r;
    }
    header_fill(block, config);
    return 0;
}

static int corrupt(struct error *err, const char *why)
{
    return error_set(err, ERROR_CORRUPT, EINVAL, "the session's state %s", why);
}

/* Of a version that this pager does not know nothing more can be said. */
static int version_check(int fd, const struct session_block_versions *known, struct error *err)
{
    struct {
        uint8_t magic[8];
        uint32_t version;
    } head = {.version = 0};
    if (pread(fd, &head, sizeof(head), 0) != (ssize_t)sizeof(head) ||
        memcmp(head.magic, magic, sizeof(magic)) != 0)
        return corrupt(err, "has no magic number");
    if (head.version < known->oldest || head.version > known->newest)
        return error_set(err, ERROR_UNSUPPORTED, EPROTONOSUPPORT,
                         "the session's state has version %u, this pager knows %u to %u",
                         head.version, known->oldest, known->newest);
    return 0;
}

/* What must hold before anything of it is mapped: its size can't change, and fits the image. */
static int file_check(int fd, const struct session_block_expected *expected, struct error *err)
{
    const uint64_t size = total_size(expected->image.size);
    struct stat st;
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0)
        return corrupt(err, "is not a memfd");
    if ((seals & SEALS) != SEALS)
        return corrupt(err, "is not sealed");
    int r = version_check(fd, &expected->versions, err);
    if (r < 0)
        return r;
    if (fstat(fd, &st) < 0)
        return error_errno(err, errno, NULL, "stat the session's state");
    if ((uint64_t)st.st_size != size)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "the session's state has %lld bytes, the image needs %" PRIu64,
                         (long long)st.st_size, size);
    return 0;
}

static int tables_check(const struct session_block_header *header, uint64_t image_size,
                        struct error *err)
{
    if (header->active > 1 || !header->handshaken)
        return corrupt(err, "is of a session without a VM");
    const struct region_table *table = &header->tables[header->active];
    if (header->version >= 2 && header->table_checksums[header->active] != table_checksum(table))
        return corrupt(err, "has regions whose checksum does not match");
    return regions_check(table, image_size, err);
}

static int header_check(const struct session_block_header *header,
                        const struct session_block_expected *expected, struct error *err)
{
    if (header->checksum != checksum(header))
        return corrupt(err, "has a checksum that does not match");
    if (memcmp(&header->image, &expected->image, sizeof(header->image)) != 0)
        return corrupt(err, "is of another image, or the image was written");
    if (strncmp(header->cache_key, expected->cache_key, sizeof(header->cache_key)) != 0)
        return corrupt(err, "has another cache key");
    if (header->overlay_count > SESSION_MAX_OVERLAYS)
        return corrupt(err, "has too many overlays");
    return tables_check(header, expected->image.size, err);
}

int session_block_adopt(struct session_block *block, int fd,
                        const struct session_block_expected *expected, struct error *err)
{
    *block = (struct session_block){.fd = fd};
    int r = file_check(fd, expected, err);
    if (r == 0)
        r = block_map(block, expected->image.size, err);
    if (r == 0)
        r = header_check(block->header, expected, err);
    if (r == 0)
        r = block_own(block->header, err);
    if (r < 0)
        session_block_release(block);
    return r;
}

void session_block_release(struct session_block *block)
{
    if (block->header && block->header->owner == process_mark())
        __atomic_store_n(&block->header->owner, 0, __ATOMIC_RELEASE);
    if (block->header)
        munmap(block->header, total_size(block->present.bits << PAGE_SHIFT));
    block->header = NULL;
    cleanup_close(&block->fd);
    block->fd = -1;
}

void session_block_set_regions(struct session_block *block, const struct region_table *table)
{
    struct session_block_header *header = block->header;
    uint32_t other = !header->active;
    header->tables[other] = *table;
    header->table_checksums[other] = table_checksum(&header->tables[other]);
    __atomic_store_n(&header->active, other, __ATOMIC_RELEASE);
    __atomic_store_n(&header->handshaken, 1u, __ATOMIC_RELEASE);
}

void session_block_complete(struct session_block *block)
{
    block->header->completed = block->header->checksum;
}

const uint8_t *session_block_overlay(const struct session_block *block, uint64_t page)
{
    for (uint32_t i = 0; i < block->header->overlay_count; i++) {
        if (block->header->overlay_pages[i] == page)
            return block->overlays + (size_t)i * PAGE_SIZE;
    }
    return NULL;
}
