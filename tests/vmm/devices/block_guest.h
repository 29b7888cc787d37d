/* SPDX-License-Identifier: Apache-2.0 */
/* A drive in a file, and a guest that makes requests of it. */
#ifndef TINE_TESTS_BLOCK_GUEST_H
#define TINE_TESTS_BLOCK_GUEST_H

#include <linux/virtio_blk.h>
#include <stdint.h>

#include "virtio_guest.h"

#define SECTORS      64ull
#define SECTOR       512ull
#define FEATURE(bit) (1ull << (bit))
#define ALL_FEATURES                                                   \
    (FEATURE(VIRTIO_BLK_F_SIZE_MAX) | FEATURE(VIRTIO_BLK_F_SEG_MAX) |  \
     FEATURE(VIRTIO_BLK_F_BLK_SIZE) | FEATURE(VIRTIO_BLK_F_TOPOLOGY) | \
     FEATURE(VIRTIO_BLK_F_FLUSH) | FEATURE(VIRTIO_BLK_F_DISCARD) |     \
     FEATURE(VIRTIO_BLK_F_WRITE_ZEROES))
#define NO_STATUS 0xee /* what the status byte holds before the request */

struct fixture {
    struct guest guest;
    char directory[32];
    char path[64];
    struct drive_config drive;
    uint32_t used_length;
};

uint8_t pattern(uint64_t offset);
void make_file(const char *path, uint64_t bytes);
int block_setup(void **state);
int block_teardown(void **state);
void plug(struct fixture *f);
void start(struct fixture *f);
void expect_file(const struct fixture *f, uint64_t offset, const void *data, size_t length);
/* The file still holds the pattern in that range. */
void expect_pattern(const struct fixture *f, uint64_t offset, size_t length);
void expect_zeros(const struct fixture *f, uint64_t offset, size_t length);
uint64_t put_header(struct guest *g, uint32_t type, uint64_t sector);
/* Hands a chain over, waits for its return, leaves the used length in the fixture. */
void submit(struct fixture *f, const struct guest_buffer *buffers, unsigned count);
/* A request of the usual form: header, one data buffer (or none), status. Returns the status. */
uint8_t request(struct fixture *f, uint32_t type, uint64_t sector, uint64_t data, uint32_t length,
                bool writable);
uint8_t read_sectors(struct fixture *f, uint64_t sector, uint32_t bytes, uint64_t *data);
uint8_t write_sectors(struct fixture *f, uint64_t sector, uint32_t bytes, uint8_t fill);

struct range {
    uint64_t sector;
    uint32_t sectors, flags;
};

uint8_t send_ranges(struct fixture *f, uint32_t type, const struct range *ranges, unsigned count);
uint8_t send_range(struct fixture *f, uint32_t type, uint64_t sector, uint32_t sectors,
                   uint32_t flags);

#define BLOCK_TEST(name) cmocka_unit_test_setup_teardown(name, block_setup, block_teardown)

#endif
