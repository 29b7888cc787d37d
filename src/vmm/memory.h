/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: where it lies in guest-physical space, in this process and in a memory file, and
 * the one checked way to touch it. Addresses that come from the guest are hostile: everything
 * outside this file reaches guest memory through guest_pointer(), guest_view(), guest_read() or
 * guest_write(), and who writes is noticed there. */
#ifndef TINE_VMM_MEMORY_H
#define TINE_VMM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "vmm/page_set.h"

#define GUEST_PAGE_SIZE 4096u
/* Where DRAM may lie, as Firecracker lays it out on x86-64: [0, 3 GiB), [4 GiB, 256 GiB),
 * [512 GiB, ...). The gaps are skipped in the memory file. */
#define GUEST_MMIO_GAP_START 0xC0000000ull
#define GUEST_MMIO_GAP_END   0x100000000ull
#define GUEST_HIGH_GAP_START (256ull << 30)
#define GUEST_HIGH_GAP_END   (512ull << 30)
#define GUEST_MAX_REGIONS    3

struct guest_region {
    uint64_t gpa;         /* guest-physical start, page aligned */
    uint64_t size;        /* bytes, page aligned */
    uint64_t file_offset; /* of its first byte in a memory file: sum of the sizes below it */
    uint8_t *host;        /* where it is mapped in this process */
};

/* The number of the page at `host`, which lies in the region, in a memory file. */
static inline uint64_t guest_region_page(const struct guest_region *region, const uint8_t *host)
{
    return (region->file_offset + (uint64_t)(host - region->host)) / GUEST_PAGE_SIZE;
}

/* What a page is that this process has not touched yet. */
enum guest_backing {
    GUEST_ANONYMOUS, /* zero: freshly booted */
    GUEST_FILE,      /* the memory file's, mapped privately */
    GUEST_UFFD,      /* the page server's to give, once it is touched; zero after a discard */
};

struct layer_stack;
struct page_server;

struct guest_memory {
    struct guest_region regions[GUEST_MAX_REGIONS];
    unsigned region_count;
    uint64_t size; /* bytes of DRAM in all regions = size of a memory file */
    enum guest_backing backing;
    /* Pages by their place in a memory file. The sets are changed on the event-loop thread or under
     * the device lock, and read while everything stands still. */
    struct page_set dirty;      /* written since the last snapshot; not made: not tracked */
    struct page_set removed;    /* GUEST_UFFD: was discarded once */
    struct page_set zeros;      /* GUEST_FILE: zero in the stack, and of no file */
    struct page_server *server; /* GUEST_UFFD, else NULL */
};

/* Computes the regions for `size` bytes (a multiple of 4096, at least 1 MiB); maps nothing. */
int guest_memory_layout(struct guest_memory *memory, uint64_t size, struct error *err);

/* Anonymous, not reserved, zero memory; host addresses are 2 MiB aligned. */
int guest_memory_create(struct guest_memory *memory, uint64_t size, struct error *err);

/* Maps a memory file of exactly `size` bytes privately (MAP_PRIVATE, R4): nothing the guest writes
 * reaches it. `fd` is read-only and may be closed afterwards. -EINVAL with both sizes in the
 * message if the file's differs. */
int guest_memory_map(struct guest_memory *memory, uint64_t size, int fd, const char *path,
                     struct error *err);

/* The same of a stack: the base, and over it what the layers hold, each run a mapping of its own;
 * what is zero in it is anonymous memory. `stack` may be closed afterwards. -E2BIG if that took
 * more than LAYER_STACK_MAPPINGS mappings. */
int guest_memory_map_stack(struct guest_memory *memory, uint64_t size,
                           const struct layer_stack *stack, struct error *err);

/* Pages by their place in a memory file. */
struct guest_pages {
    uint64_t page, count;
};

/* The part of them that lies in the region, in bytes from its start; false: there is none. */
bool guest_region_part(const struct guest_region *region, const struct guest_pages *pages,
                       uint64_t *offset, uint64_t *length);

/* Maps pages that are to be read soon: they are fetched if need be, and stay what they are. With
 * `write` each becomes this process's own, as if it had been written. ERROR_INVALID if they are not
 * all guest memory, ERROR_UNSUPPORTED of a page server's. */
int guest_memory_populate(const struct guest_memory *memory, const struct guest_pages *pages,
                          bool write, struct error *err);

/* Told of each run of pages that this process has mapped, in ascending order: those that are its
 * own, which the guest or a device wrote, and those that are still the file's, with the neighbours
 * that the kernel maps along. Negative: enough. */
typedef int guest_touched(void *context, const struct guest_pages *pages, bool own,
                          struct error *err);
int guest_memory_touched(const struct guest_memory *memory, guest_touched *tell, void *context,
                         struct error *err);

/* Anonymous memory whose pages the page server that listens at `socket_path` gives when they are
 * touched, in this process, in KVM or in a system call (page_server.h): whoever touches a page
 * waits for as long as the server takes, killable. */
int guest_memory_serve(struct guest_memory *memory, uint64_t size, const char *socket_path,
                       struct error *err);

/* From now on what is written through this file is collected in `dirty`, and KVM, asked when its
 * memory slots are made, logs what the guest writes (kvm_collect_dirty()). Of memory out of a file
 * the kernel knows as much anyway (memory_diff.c), and nothing is tracked. */
int guest_memory_track(struct guest_memory *memory, struct error *err);
static inline bool guest_memory_tracks(const struct guest_memory *memory)
{
    return page_set_made(&memory->dirty);
}
/* Everything up to now is in a snapshot. */
void guest_memory_saved(struct guest_memory *memory);

void guest_memory_release(struct guest_memory *memory);

/* The host address of [gpa, gpa + length), or NULL if not every byte of it lies in one region or
 * the sum overflows. The bytes may change under the caller at any time: read values once. The pages
 * count as written, now: a pointer must not be kept beyond a pause. */
void *guest_pointer(const struct guest_memory *memory, uint64_t gpa, uint64_t length);
/* The same for who only reads. */
const void *guest_view(const struct guest_memory *memory, uint64_t gpa, uint64_t length);
/* Copies; 0 or -EFAULT, and then nothing was copied. */
int guest_read(const struct guest_memory *memory, uint64_t gpa, void *buffer, size_t length);
int guest_write(const struct guest_memory *memory, uint64_t gpa, const void *buffer, size_t length);

/* Gives [gpa, gpa + length) back to the host; the guest reads zeros there from now on. Page
 * aligned. In file-backed memory an anonymous mapping is laid over the range, because dropping the
 * private page would bring the file's old content back. Of served memory the server is told (it
 * gives zeros from then on), and the call returns when it has taken note. -EFAULT outside DRAM. */
int guest_memory_discard(struct guest_memory *memory, uint64_t gpa, uint64_t length);

/* Writes the whole memory into `fd`, a fresh empty file: zero pages become holes, the size is
 * `memory->size`. Anonymous pages that were never touched are not read; served ones are, and come
 * from the server. vCPUs and devices must stand still. Does not sync. `*data_bytes` (may be NULL)
 * receives how many bytes were written. */
int guest_memory_save(const struct guest_memory *memory, int fd, const char *path,
                      uint64_t *data_bytes, struct error *err);

/* Writes what differs, or may differ, from a base: of memory out of a file, from that file; of
 * tracked memory, from the last snapshot, or from how it began; else all that was ever touched,
 * which of anonymous memory is everything.
 *   in_place: `fd` is open for reading and writing and has `memory->size` bytes: the base, which
 *     becomes an image of now, or a copy of it. Its size is not changed. Only whoever knows that
 *     nobody else has the file may do that (R2). After a failure it has some pages of now and is
 *     good for another diff in place and for nothing else; the guest never notices.
 *   else: a fresh empty file; a hole in it means "as in the base", or zero where there is no base.
 * Memory that was discarded is zero. A page that was never touched is not read. vCPUs and devices
 * must stand still, and what KVM logged is collected. Does not sync. */
int guest_memory_diff(const struct guest_memory *memory, int fd, const char *path, bool in_place,
                      uint64_t *data_bytes, struct error *err);

/* The same diff as a layer (stack/layer.h), in a fresh empty file, which is synced; with nothing to
 * differ from it holds all memory. */
int guest_memory_layer(const struct guest_memory *memory, int fd, const char *path,
                       uint64_t *data_bytes, struct error *err);

#endif
