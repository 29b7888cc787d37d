/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing a stack. A block has its place in every file, so blocks that follow one
 * another and come from one layer are moved by one call, straight from and to the guest. */
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "base/vector.h"
#include "stack/disk_private.h"

#define PARTS 64u /* buffers that one call moves */

/* ---- reading ---- */

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Up to where the first look-up reaches. */
static struct disk_place place_first(const struct disk_stack *stack, uint64_t offset,
                                     uint64_t length)
{
    uint64_t block = offset / DISK_BLOCK_SIZE;
    struct disk_run run = disk_map_find(&stack->top.map, block);
    struct disk_place place = {.fd = -1};
    uint64_t count = run.count;
    if (run.kind == DISK_DATA) {
        place = (struct disk_place){stack->top.fd, disk_layer_offset(&stack->top, offset), 0};
    } else if (run.kind == DISK_ABSENT) {
        struct disk_below_found found = disk_below_find(&stack->below, block);
        count = least(count, found.count);
        if (!found.zero)
            place = (struct disk_place){stack->below.layers[found.layer].fd,
                                        stack->below.layers[found.layer].data_offset + offset, 0};
    }
    place.length = least(length, (block + count) * DISK_BLOCK_SIZE - offset);
    return place;
}

struct disk_place disk_stack_place(const struct disk_stack *stack, uint64_t offset, uint64_t length)
{
    struct disk_place place = place_first(stack, offset, length);
    while (place.length < length) {
        struct disk_place next = place_first(stack, offset + place.length, length - place.length);
        if (next.fd != place.fd)
            break;
        place.length += next.length;
    }
    return place;
}

int disk_stack_read(struct disk_stack *stack, struct iovec *buffers, unsigned count,
                    uint64_t offset, uint64_t *done)
{
    struct vector left = {buffers, count};
    uint64_t length = vector_bytes(&left);
    int r = 0;
    while (r == 0 && length > 0) {
        struct iovec parts[PARTS];
        struct vector piece = {parts, 0};
        struct disk_place place = disk_stack_place(stack, offset, length);
        uint64_t bytes = vector_take(&left, place.length, &piece, PARTS);
        if (place.fd < 0)
            vector_zero(&piece, done);
        else
            r = vector_read(place.fd, &piece, place.offset, done);
        offset += bytes;
        length -= bytes;
    }
    return r;
}

/* ---- writing: data first, then the map, in memory until the next flush ---- */

/* How many blocks a range has that begins with one. */
static uint64_t blocks_of(uint64_t length)
{
    return (length + DISK_BLOCK_SIZE - 1) / DISK_BLOCK_SIZE;
}

static int write_whole(struct disk_stack *stack, struct vector *left, uint64_t offset,
                       uint64_t length, uint64_t *done)
{
    struct disk_layer *top = &stack->top;
    uint64_t block = offset / DISK_BLOCK_SIZE;
    int r = disk_map_prepare(&top->map, block, blocks_of(length));
    for (uint64_t moved = 0; r == 0 && moved < length;) {
        struct iovec parts[PARTS];
        struct vector piece = {parts, 0};
        uint64_t bytes = vector_take(left, length - moved, &piece, PARTS);
        r = vector_write(top->fd, &piece, disk_layer_offset(top, offset + moved), done);
        moved += bytes;
    }
    if (r == 0)
        disk_map_set(&top->map, block, blocks_of(length), DISK_DATA);
    return r;
}

/* A block that the top does not hold is completed from below. */
static int write_completed(struct disk_stack *stack, struct vector *piece, uint64_t offset,
                           uint64_t *done)
{
    uint8_t block[DISK_BLOCK_SIZE] = {0};
    struct disk_layer *top = &stack->top;
    uint64_t start = offset - offset % DISK_BLOCK_SIZE, read = 0;
    struct iovec old = {block, (size_t)least(sizeof(block), stack->size - start)};
    struct iovec whole = {block, sizeof(block)};
    struct vector full = {&whole, 1};
    uint64_t length = vector_bytes(piece);
    int r = disk_map_prepare(&top->map, start / DISK_BLOCK_SIZE, 1);
    if (r == 0)
        r = disk_stack_read(stack, &old, 1, start, &read);
    if (r < 0)
        return r;
    vector_copy_out(piece, block + (offset - start));
    r = vector_write(top->fd, &full, disk_layer_offset(top, start), &read);
    if (r < 0)
        return r;
    disk_map_set(&top->map, start / DISK_BLOCK_SIZE, 1, DISK_DATA);
    *done += length;
    return 0;
}

/* Less than a block, and of one block. Returns how much was moved, or a negative errno. */
static int64_t write_part(struct disk_stack *stack, struct vector *left, uint64_t offset,
                          uint64_t length, uint64_t *done)
{
    struct iovec parts[PARTS];
    struct vector piece = {parts, 0};
    uint64_t bytes = vector_take(left, length, &piece, PARTS);
    struct disk_run run = disk_map_find(&stack->top.map, offset / DISK_BLOCK_SIZE);
    int r = run.kind == DISK_DATA
                ? vector_write(stack->top.fd, &piece, disk_layer_offset(&stack->top, offset), done)
                : write_completed(stack, &piece, offset, done);
    return r < 0 ? r : (int64_t)bytes;
}

/* How many bytes from `offset` on are whole blocks; the disk's last one is whole where it ends. */
static uint64_t whole_bytes(const struct disk_stack *stack, uint64_t offset, uint64_t length)
{
    if (offset % DISK_BLOCK_SIZE != 0)
        return 0;
    return offset + length == stack->size ? length : length - length % DISK_BLOCK_SIZE;
}

int disk_stack_write(struct disk_stack *stack, struct iovec *buffers, unsigned count,
                     uint64_t offset, uint64_t *done)
{
    struct vector left = {buffers, count};
    uint64_t length = vector_bytes(&left);
    if (!stack->writable || stack->top.failed)
        return stack->writable ? -stack->top.failed : -EROFS;
    while (length > 0) {
        uint64_t whole = whole_bytes(stack, offset, length);
        uint64_t part = least(DISK_BLOCK_SIZE - offset % DISK_BLOCK_SIZE, length);
        int64_t moved = whole > 0 ? write_whole(stack, &left, offset, whole, done)
                                  : write_part(stack, &left, offset, part, done);
        if (moved < 0)
            return (int)moved;
        moved = whole > 0 ? (int64_t)whole : moved;
        offset += (uint64_t)moved;
        length -= (uint64_t)moved;
    }
    return 0;
}

/* ---- discarding and zeroing ---- */

static int allocate(const struct disk_layer *top, int mode, uint64_t offset, uint64_t length)
{
    int r;
    do
        r = fallocate(top->fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)disk_layer_offset(top, offset),
                      (off_t)(blocks_of(length) * DISK_BLOCK_SIZE));
    while (r < 0 && errno == EINTR);
    return r < 0 ? -errno : 0;
}

static int write_zeros(struct disk_stack *stack, uint64_t offset, uint64_t length)
{
    static const uint8_t zeros[DISK_BLOCK_SIZE];
    uint64_t done = 0;
    int r = 0;
    while (r == 0 && done < length) {
        uint64_t at = offset + done;
        size_t piece = (size_t)least(DISK_BLOCK_SIZE - at % DISK_BLOCK_SIZE, length - done);
        struct iovec buffer = {.iov_base = (void *)(uintptr_t)zeros, .iov_len = piece};
        r = disk_stack_write(stack, &buffer, 1, at, &done);
    }
    return r;
}

/* Of whole blocks. A hole where data was is what a discard may leave at any moment. */
static int discard_whole(struct disk_stack *stack, uint64_t offset, uint64_t length)
{
    struct disk_layer *top = &stack->top;
    int r = disk_map_prepare(&top->map, offset / DISK_BLOCK_SIZE, blocks_of(length));
    if (r == 0)
        r = allocate(top, FALLOC_FL_PUNCH_HOLE, offset, length);
    if (r < 0 && r != -EOPNOTSUPP) /* without holes it keeps its room */
        return r;
    disk_map_set(&top->map, offset / DISK_BLOCK_SIZE, blocks_of(length), DISK_ZERO);
    return 0;
}

static int zero_whole(struct disk_stack *stack, uint64_t offset, uint64_t length)
{
    struct disk_layer *top = &stack->top;
    int r = disk_map_prepare(&top->map, offset / DISK_BLOCK_SIZE, blocks_of(length));
    if (r == 0)
        r = allocate(top, FALLOC_FL_ZERO_RANGE, offset, length);
    if (r == -EOPNOTSUPP)
        return write_zeros(stack, offset, length);
    if (r == 0)
        disk_map_set(&top->map, offset / DISK_BLOCK_SIZE, blocks_of(length), DISK_DATA);
    return r;
}

/* The part of a range that is whole blocks. */
struct middle {
    uint64_t offset, length;
};

static struct middle middle_of(const struct disk_stack *stack, uint64_t offset, uint64_t length)
{
    uint64_t start = blocks_of(offset) * DISK_BLOCK_SIZE;
    if (start >= offset + length)
        return (struct middle){offset + length, 0};
    return (struct middle){start, whole_bytes(stack, start, offset + length - start)};
}

int disk_stack_discard(struct disk_stack *stack, uint64_t offset, uint64_t length)
{
    struct middle middle = middle_of(stack, offset, length);
    if (!stack->writable || stack->top.failed)
        return stack->writable ? -stack->top.failed : -EROFS;
    return middle.length > 0 ? discard_whole(stack, middle.offset, middle.length) : 0;
}

int disk_stack_zero(struct disk_stack *stack, uint64_t offset, uint64_t length, bool unmap)
{
    struct middle middle = middle_of(stack, offset, length);
    if (!stack->writable || stack->top.failed)
        return stack->writable ? -stack->top.failed : -EROFS;
    uint64_t end = middle.offset + middle.length;
    int r = write_zeros(stack, offset, middle.offset - offset);
    if (r == 0 && middle.length > 0)
        r = unmap ? discard_whole(stack, middle.offset, middle.length)
                  : zero_whole(stack, middle.offset, middle.length);
    return r < 0 ? r : write_zeros(stack, end, offset + length - end);
}

int disk_stack_flush(struct disk_stack *stack)
{
    return stack->writable ? disk_layer_flush(&stack->top) : 0;
}
