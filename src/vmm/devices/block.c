/* SPDX-License-Identifier: Apache-2.0 */
/* The block device (virtio 1.2, section 5.2): one queue, requests served in order and synchronously
 * on the event loop, so nothing is in flight when the VM is paused. A host error is an I/O error of
 * the guest, never the end of the VM. */
#include <errno.h>
#include <linux/virtio_blk.h>
#include <linux/virtio_ids.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "stack/disk_stack.h"
#include "vmm/devices/block_file.h"
#include "vmm/devices/virtio.h"

#define BLOCK_STATE_VERSION 1u

/* Limits told to the driver. Together they bound what one notification can cost the event loop. */
#define REQUESTS_PER_TURN   16u
#define SEGMENTS_MAX        (VIRTQUEUE_MAX_SIZE - 2) /* header and status take a descriptor each */
#define SEGMENT_BYTES_MAX   (128u << 10)
#define DATA_BYTES_MAX      ((uint64_t)SEGMENTS_MAX * SEGMENT_BYTES_MAX)
#define DISCARD_SECTORS_MAX (1u << 21) /* 1 GiB */
#define DISCARD_RANGES_MAX  16u
#define DISCARD_GRANULARITY 8u         /* sectors: one page of the host's file systems */
#define ZEROING_SECTORS_MAX (1u << 15) /* 16 MiB: they may have to be written */
#define ZEROING_RANGES_MAX  1u
#define CONFIG_BYTES        offsetof(struct virtio_blk_config, max_secure_erase_sectors)
#define FEATURE(bit)        (1ull << (bit))
#define WRITABLE_FEATURES   (FEATURE(VIRTIO_BLK_F_DISCARD) | FEATURE(VIRTIO_BLK_F_WRITE_ZEROES))
#define ALWAYS_FEATURES                                               \
    (FEATURE(VIRTIO_BLK_F_SIZE_MAX) | FEATURE(VIRTIO_BLK_F_SEG_MAX) | \
     FEATURE(VIRTIO_BLK_F_BLK_SIZE) | FEATURE(VIRTIO_BLK_F_TOPOLOGY))

struct block {
    struct virtio_device device;
    struct block_file file;
    char *drive_id;
    char serial[VIRTIO_BLK_ID_BYTES]; /* padded with NUL, not terminated */
    bool writeback;
    bool full_reported; /* "no space left" was logged */
};

struct request {
    const struct virtqueue_chain *chain;
    uint32_t type;
    uint64_t sector;
    uint64_t data_bytes; /* readable, behind the header */
    uint64_t room;       /* writable, before the status byte */
    uint64_t written;    /* into `room`, from its start */
};

struct block_state {
    uint64_t sectors;
    uint32_t read_only, writeback;
    char serial[VIRTIO_BLK_ID_BYTES];
    uint32_t reserved;
};

_Static_assert(sizeof(struct block_state) == 40, "the layout of the saved device is fixed");

static struct block *from_device(struct virtio_device *device)
{
    return CONTAINER_OF(device, struct block, device);
}

/* ---- requests ---- */

/* Logs a host error, a full disk once only: it concerns every write from now on. */
static uint8_t host_error(struct block *block, const struct request *request, int errnum)
{
    bool full = errnum == ENOSPC || errnum == EDQUOT;

    if (full && !block->full_reported)
        log_error("drive %s: %s: %s at sector %llu; the guest sees I/O errors", block->drive_id,
                  block->file.path, errno_name(errnum), (unsigned long long)request->sector);
    else if (!full)
        virtio_complain(&block->device, "drive %s: %s: request type %u at sector %llu: %s",
                        block->drive_id, block->file.path, request->type,
                        (unsigned long long)request->sector, errno_name(errnum));
    block->full_reported |= full;
    return VIRTIO_BLK_S_IOERR;
}

static bool range_valid(const struct block *block, uint64_t sector, uint64_t sectors)
{
    return sector <= block->file.sectors && sectors <= block->file.sectors - sector;
}

static bool data_valid(const struct block *block, uint64_t sector, uint64_t bytes)
{
    return bytes % SECTOR_SIZE == 0 && bytes <= DATA_BYTES_MAX &&
           range_valid(block, sector, bytes / SECTOR_SIZE);
}

/* The `length` bytes behind the first `skip` of a vector, as a vector of its own. */
static unsigned slice(const struct iovec *in, unsigned count, uint64_t skip, uint64_t length,
                      struct iovec *out)
{
    unsigned used = 0;

    for (unsigned i = 0; i < count && length > 0; i++) {
        if (skip >= in[i].iov_len) {
            skip -= in[i].iov_len;
            continue;
        }
        uint64_t piece = in[i].iov_len - skip;
        if (piece > length)
            piece = length;
        out[used++] = (struct iovec){.iov_base = (char *)in[i].iov_base + skip, .iov_len = piece};
        length -= piece;
        skip = 0;
    }
    return used;
}

static uint8_t serve_in(struct block *block, struct request *request)
{
    const struct virtqueue_chain *chain = request->chain;
    struct iovec buffers[VIRTQUEUE_MAX_SIZE];

    if (!data_valid(block, request->sector, request->room))
        return VIRTIO_BLK_S_IOERR;
    unsigned count = slice(chain->writable, chain->writable_count, 0, request->room, buffers);
    int r = block_file_read(&block->file, buffers, count, request->sector * SECTOR_SIZE,
                            &request->written);
    return r < 0 ? host_error(block, request, -r) : VIRTIO_BLK_S_OK;
}

static uint8_t serve_out(struct block *block, struct request *request)
{
    const struct virtqueue_chain *chain = request->chain;
    struct iovec buffers[VIRTQUEUE_MAX_SIZE];
    uint64_t done = 0;

    if (block->file.read_only || !data_valid(block, request->sector, request->data_bytes))
        return VIRTIO_BLK_S_IOERR;
    unsigned count = slice(chain->readable, chain->readable_count, sizeof(struct virtio_blk_outhdr),
                           request->data_bytes, buffers);
    int r = block_file_write(&block->file, buffers, count, request->sector * SECTOR_SIZE, &done);
    return r < 0 ? host_error(block, request, -r) : VIRTIO_BLK_S_OK;
}

static uint8_t serve_flush(struct block *block, struct request *request)
{
    int r = block_file_flush(&block->file);

    return r < 0 ? host_error(block, request, -r) : VIRTIO_BLK_S_OK;
}

static uint8_t serve_get_id(struct block *block, struct request *request)
{
    if (request->room < sizeof(block->serial))
        return VIRTIO_BLK_S_IOERR;
    request->written = virtqueue_write(request->chain, 0, block->serial, sizeof(block->serial));
    return VIRTIO_BLK_S_OK;
}

/* The two requests that name ranges (5.2.6.2). */
struct range_rules {
    uint32_t flags; /* those allowed */
    uint32_t ranges_max, sectors_max;
    int (*apply)(const struct block_file *file,
                 const struct virtio_blk_discard_write_zeroes *range);
};

static int apply_discard(const struct block_file *file,
                         const struct virtio_blk_discard_write_zeroes *range)
{
    return block_file_discard(file, range->sector * SECTOR_SIZE,
                              (uint64_t)range->num_sectors * SECTOR_SIZE);
}

static int apply_zeroing(const struct block_file *file,
                         const struct virtio_blk_discard_write_zeroes *range)
{
    return block_file_zero(file, range->sector * SECTOR_SIZE,
                           (uint64_t)range->num_sectors * SECTOR_SIZE,
                           (range->flags & VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP) != 0);
}

static const struct range_rules discard_rules = {
    .ranges_max = DISCARD_RANGES_MAX, .sectors_max = DISCARD_SECTORS_MAX, .apply = apply_discard};
static const struct range_rules zeroing_rules = {.flags = VIRTIO_BLK_WRITE_ZEROES_FLAG_UNMAP,
                                                 .ranges_max = ZEROING_RANGES_MAX,
                                                 .sectors_max = ZEROING_SECTORS_MAX,
                                                 .apply = apply_zeroing};

/* Applies one range; an empty one (fallocate would refuse it) is done already. */
static uint8_t serve_range(struct block *block, const struct request *request,
                           const struct range_rules *rules,
                           const struct virtio_blk_discard_write_zeroes *range)
{
    if (range->flags & ~rules->flags)
        return VIRTIO_BLK_S_UNSUPP;
    if (range->num_sectors > rules->sectors_max ||
        !range_valid(block, range->sector, range->num_sectors))
        return VIRTIO_BLK_S_IOERR;
    int r = range->num_sectors > 0 ? rules->apply(&block->file, range) : 0;
    return r < 0 ? host_error(block, request, -r) : VIRTIO_BLK_S_OK;
}

static uint8_t serve_ranges(struct block *block, const struct request *request,
                            const struct range_rules *rules)
{
    struct virtio_blk_discard_write_zeroes range;
    uint64_t count = request->data_bytes / sizeof(range);
    uint8_t status = VIRTIO_BLK_S_OK;

    if (request->data_bytes % sizeof(range) != 0 || count == 0 || count > rules->ranges_max)
        return VIRTIO_BLK_S_IOERR;
    for (uint64_t i = 0; i < count && status == VIRTIO_BLK_S_OK; i++) {
        (void)virtqueue_read(request->chain, sizeof(struct virtio_blk_outhdr) + i * sizeof(range),
                             &range, sizeof(range));
        status = serve_range(block, request, rules, &range);
    }
    return status;
}

static uint8_t serve_discard(struct block *block, struct request *request)
{
    return serve_ranges(block, request, &discard_rules);
}

static uint8_t serve_write_zeroes(struct block *block, struct request *request)
{
    return serve_ranges(block, request, &zeroing_rules);
}

static uint8_t serve_request(struct block *block, struct request *request)
{
    static const struct {
        uint32_t type;
        uint64_t feature; /* that must have been accepted; 0: none */
        uint8_t (*serve)(struct block *block, struct request *request);
    } types[] = {
        {VIRTIO_BLK_T_IN, 0, serve_in},
        {VIRTIO_BLK_T_OUT, 0, serve_out},
        {VIRTIO_BLK_T_FLUSH, FEATURE(VIRTIO_BLK_F_FLUSH), serve_flush},
        {VIRTIO_BLK_T_GET_ID, 0, serve_get_id},
        {VIRTIO_BLK_T_DISCARD, FEATURE(VIRTIO_BLK_F_DISCARD), serve_discard},
        {VIRTIO_BLK_T_WRITE_ZEROES, FEATURE(VIRTIO_BLK_F_WRITE_ZEROES), serve_write_zeroes},
    };

    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        if (types[i].type != request->type)
            continue;
        if ((block->device.acked_features & types[i].feature) != types[i].feature)
            break;
        return types[i].serve(block, request);
    }
    return VIRTIO_BLK_S_UNSUPP;
}

/* 5.2.6: a header of 16 bytes, the data, and a status that is the very last writable byte, however
 * the driver cut the buffers. Without room for either the driver can't be answered. */
static int64_t serve(struct virtio_device *device, const struct virtqueue_chain *chain)
{
    struct block *block = from_device(device);
    struct virtio_blk_outhdr header;

    if (chain->readable_bytes < sizeof(header) || chain->writable_bytes == 0)
        return -EPROTO;
    (void)virtqueue_read(chain, 0, &header, sizeof(header));

    struct request request = {.chain = chain,
                              .type = header.type,
                              .sector = header.sector,
                              .data_bytes = chain->readable_bytes - sizeof(header),
                              .room = chain->writable_bytes - 1};
    uint8_t status = serve_request(block, &request);
    (void)virtqueue_write(chain, request.room, &status, sizeof(status));
    /* 2.7.8.2: the used length counts from the start and promises no byte that was not written. */
    return (int64_t)(request.written == request.room ? request.room + 1 : request.written);
}

static void block_notify(struct virtio_device *device, unsigned index)
{
    virtio_serve_queue(device, index, REQUESTS_PER_TURN, serve);
}

/* ---- features and configuration space ---- */

static uint64_t block_features(const struct virtio_device *device)
{
    const struct block *block = (const struct block *)device;

    return ALWAYS_FEATURES |
           (block->file.read_only ? FEATURE(VIRTIO_BLK_F_RO) : WRITABLE_FEATURES) |
           (block->writeback ? FEATURE(VIRTIO_BLK_F_FLUSH) : 0);
}

static void block_config_read(struct virtio_device *device, uint64_t offset, uint8_t *data,
                              size_t size)
{
    const struct block *block = from_device(device);
    struct virtio_blk_config config = {
        .capacity = block->file.sectors,
        .size_max = SEGMENT_BYTES_MAX,
        .seg_max = SEGMENTS_MAX,
        .blk_size = SECTOR_SIZE,
        .min_io_size = 1,
    };

    if (!block->file.read_only) {
        config.max_discard_sectors = DISCARD_SECTORS_MAX;
        config.max_discard_seg = DISCARD_RANGES_MAX;
        config.discard_sector_alignment = DISCARD_GRANULARITY;
        config.max_write_zeroes_sectors = ZEROING_SECTORS_MAX;
        config.max_write_zeroes_seg = ZEROING_RANGES_MAX;
        config.write_zeroes_may_unmap = 1;
    }
    virtio_config_read(&config, CONFIG_BYTES, offset, data, size);
}

/* ---- save and load ---- */

static void block_save(const struct virtio_device *device, uint32_t slot,
                       struct state_writer *writer)
{
    const struct block *block = (const struct block *)device;
    struct block_state state = {.sectors = block->file.sectors,
                                .read_only = block->file.read_only,
                                .writeback = block->writeback};

    memcpy(state.serial, block->serial, sizeof(state.serial));
    state_put(writer, STATE_VIRTIO_BLOCK, slot, BLOCK_STATE_VERSION, &state, sizeof(state));
}

/* A file that grew while the VM slept is like a drive that was updated; one that shrank has lost
 * data the guest may have in use. */
static int block_load(struct virtio_device *device, uint32_t slot,
                      const struct state_reader *reader, struct error *err)
{
    struct block *block = from_device(device);
    struct block_state state;

    int r = state_get(reader, STATE_VIRTIO_BLOCK, slot, BLOCK_STATE_VERSION, &state, sizeof(state),
                      err);
    if (r < 0)
        return r;
    if (state.read_only != block->file.read_only || state.writeback != block->writeback ||
        memcmp(state.serial, block->serial, sizeof(state.serial)) != 0 || state.reserved != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "saved state of virtio block (device %u) is not of drive %s", slot,
                         block->drive_id);
    if (block->file.sectors < state.sectors)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "drive %s: %s has %llu sectors, it had %llu when the VM was saved",
                         block->drive_id, block->file.path, (unsigned long long)block->file.sectors,
                         (unsigned long long)state.sectors);
    if (block->file.sectors > state.sectors && virtio_device_active(device))
        virtio_signal_config(device);
    return 0;
}

/* ---- life ---- */

/* A VM that ends by itself has its disk whole, whether its guest flushed it or not. */
static void flush_at_end(struct block *block)
{
    int r = block->file.stack ? block_file_flush(&block->file) : 0;

    if (r < 0)
        log_error("drive %s: %s: %s: what the guest wrote last is lost", block->drive_id,
                  block->file.path, errno_name(-r));
}

static void block_destroy(struct virtio_device *device)
{
    struct block *block = from_device(device);

    flush_at_end(block);
    block_file_close(&block->file);
    free(block->drive_id);
    free(block);
}

static const struct virtio_ops block_ops = {
    .name = "block",
    .device_id = VIRTIO_ID_BLOCK,
    .queue_count = 1,
    .features = block_features,
    .config_read = block_config_read,
    .notify = block_notify,
    .save = block_save,
    .load = block_load,
    .destroy = block_destroy,
};

/* The serial number is the drive id, so it is the same in every fork and after every move. A longer
 * id ends in a hash (32-bit FNV-1a), or ids with a common beginning would get the same. */
static void make_serial(const char *drive_id, char serial[VIRTIO_BLK_ID_BYTES])
{
    size_t length = strlen(drive_id);
    char tail[10];
    uint32_t hash = 2166136261u;

    memcpy(serial, drive_id, length < VIRTIO_BLK_ID_BYTES ? length : VIRTIO_BLK_ID_BYTES);
    if (length <= VIRTIO_BLK_ID_BYTES)
        return;
    for (const char *c = drive_id; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 16777619u;
    (void)snprintf(tail, sizeof(tail), "-%08x", hash);
    memcpy(serial + VIRTIO_BLK_ID_BYTES - 9, tail, 9);
}

struct virtio_device *virtio_block_create(const struct drive_config *drive,
                                          struct guest_memory *memory, struct loop *loop,
                                          struct error *err)
{
    struct block *block = calloc(1, sizeof(*block));
    char *drive_id = strdup(drive->drive_id);

    if (!block || !drive_id) {
        free(block);
        free(drive_id);
        error_errno(err, ENOMEM, NULL, "drive %s", drive->drive_id);
        return NULL;
    }
    virtio_device_init(&block->device, &block_ops, memory, loop);
    block->drive_id = drive_id;
    block->writeback = drive->writeback;
    block->file.fd = -1;
    make_serial(drive_id, block->serial);
    const struct block_source source = {.drive_id = drive_id,
                                        .path = drive->path_on_host,
                                        .read_only = drive->is_read_only,
                                        .stack = drive->is_stack};
    if (block_file_open(&block->file, &source, err) < 0) {
        block_destroy(&block->device);
        return NULL;
    }
    return &block->device;
}

int virtio_block_reopen(struct virtio_device *device, const char *path, struct error *err)
{
    struct block *block = from_device(device);
    struct block_file opened;
    const struct block_source source = {.drive_id = block->drive_id,
                                        .path = path,
                                        .read_only = block->file.read_only,
                                        .stack = block->file.stack != NULL};

    int r = block_file_open(&opened, &source, err);
    if (r < 0)
        return r;
    flush_at_end(block);
    block_file_close(&block->file);
    block->file = opened;
    block->full_reported = false;
    if (virtio_device_active(device))
        virtio_signal_config(device);
    return 0;
}

int virtio_block_flush(struct virtio_device *device, struct error *err)
{
    struct block *block = from_device(device);
    int r = block->file.stack && !block->file.read_only ? block_file_flush(&block->file) : 0;

    return r < 0 ? error_errno(err, -r, block->file.path, "drive %s: flush %s", block->drive_id,
                               block->file.path)
                 : 0;
}

int virtio_block_seal(struct virtio_device *device, struct error *err)
{
    struct block *block = from_device(device);

    if (!block->file.stack || block->file.read_only)
        return 0;
    int r = disk_stack_seal(block->file.stack, err);
    return r < 0 ? error_wrap(err, "drive %s", block->drive_id) : 0;
}
