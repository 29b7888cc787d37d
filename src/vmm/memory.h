/* SPDX-License-Identifier: Apache-2.0 */
/* Guest memory: where it lies in guest-physical space, in this process and in a memory file, and
 * the one checked way to touch it. Addresses that come from the guest are hostile: everything
 * outside this file reaches guest memory through guest_pointer(), guest_read() or guest_write(). */
#ifndef TINE_VMM_MEMORY_H
#define TINE_VMM_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

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

struct guest_memory {
    struct guest_region regions[GUEST_MAX_REGIONS];
    unsigned region_count;
    uint64_t size; /* bytes of DRAM in all regions = size of a memory file */
    int from_file; /* 1: a private file mapping (restored); 0: anonymous (freshly booted) */
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

void guest_memory_release(struct guest_memory *memory);

/* The host address of [gpa, gpa + length), or NULL if not every byte of it lies in one region or
 * the sum overflows. The bytes may change under the caller at any time: read values once. */
void *guest_pointer(const struct guest_memory *memory, uint64_t gpa, uint64_t length);
/* Copies; 0 or -EFAULT, and then nothing was copied. */
int guest_read(const struct guest_memory *memory, uint64_t gpa, void *buffer, size_t length);
int guest_write(const struct guest_memory *memory, uint64_t gpa, const void *buffer, size_t length);

/* Gives [gpa, gpa + length) back to the host; the guest reads zeros there from now on. Page
 * aligned. In file-backed memory an anonymous mapping is laid over the range, because dropping the
 * private page would bring the file's old content back. -EFAULT outside DRAM. */
int guest_memory_discard(struct guest_memory *memory, uint64_t gpa, uint64_t length);

/* Writes the whole memory into `fd`, a fresh empty file: zero pages become holes, the size is
 * `memory->size`. Pages that were never touched are not read. vCPUs and devices must stand still.
 * Does not sync. `*data_bytes` (may be NULL) receives how many bytes were written. */
int guest_memory_save(const struct guest_memory *memory, int fd, const char *path,
                      uint64_t *data_bytes, struct error *err);

/* Writes what differs from the file that the memory is mapped from; without one, everything.
 *   in_place: `fd` is open for reading and writing and has `memory->size` bytes: that file, which
 *     becomes an image of now, or a copy of it. Its size is not changed. Only whoever knows that
 *     nobody else has the file may do that (R2). After a failure it has some pages of now and is
 *     good for another diff in place and for nothing else; the guest never notices.
 *   else: a fresh empty file; a hole in it means "as in the base", or zero where there is no base.
 * Memory that was discarded is zero. vCPUs and devices must stand still. Does not sync. */
int guest_memory_diff(const struct guest_memory *memory, int fd, const char *path, bool in_place,
                      uint64_t *data_bytes, struct error *err);

#endif
