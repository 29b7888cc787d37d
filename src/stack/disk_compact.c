/* SPDX-License-Identifier: Apache-2.0 */
/* Many sealed layers become one, which says of every block what they said together. It takes the
 * number and the id of the topmost, so that the top, and whoever has it open, finds below it what
 * it found before; and it lies on the base itself, so the others are no part of the stack from that
 * rename on. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/disk_private.h"
#include "stack/image.h"
#include "stack/sweep.h"

#define BUFFER_SIZE (1u << 20)

struct merge {
    struct disk_below *below;
    struct disk_layer *layer; /* that is made */
    uint8_t *buffer;
};

/* By the file system, where it can: it may share the blocks. 0: it can't. */
static ssize_t copy_by_kernel(int from, off_t from_offset, int to, off_t to_offset, size_t length)
{
    ssize_t n = copy_file_range(from, &from_offset, to, &to_offset, length, 0);
    bool unable = n < 0 && (errno == EXDEV || errno == EOPNOTSUPP || errno == ENOSYS ||
                            errno == EINVAL || errno == EINTR);
    return unable ? 0 : n;
}

static int copy_piece(struct merge *merge, int from, uint64_t from_offset, uint64_t to_offset,
                      size_t length, struct error *err)
{
    int r = file_pread_exact(from, merge->buffer, length, from_offset, merge->layer->label, err);
    return r < 0 ? r
                 : file_pwrite_exact(merge->layer->fd, merge->buffer, length, to_offset,
                                     merge->layer->label, err);
}

static int copy_data(struct merge *merge, unsigned from, uint64_t offset, uint64_t length,
                     struct error *err)
{
    int fd = merge->below->layers[from].fd, r = failpoint("disk-compact-data");
    uint64_t source = merge->below->layers[from].data_offset + offset;
    uint64_t target = disk_layer_offset(merge->layer, offset);
    if (r < 0)
        return error_errno(err, -r, merge->layer->label, "write %s", merge->layer->label);
    for (uint64_t done = 0; r == 0 && done < length;) {
        size_t step = length - done < BUFFER_SIZE ? (size_t)(length - done) : BUFFER_SIZE;
        ssize_t n = copy_by_kernel(fd, (off_t)(source + done), merge->layer->fd,
                                   (off_t)(target + done), step);
        if (n < 0)
            return error_errno(err, errno, merge->layer->label, "write %s", merge->layer->label);
        if (n == 0)
            r = copy_piece(merge, fd, source + done, target + done, step, err);
        done += n > 0 ? (uint64_t)n : step;
    }
    return r;
}

static int take_run(struct merge *merge, uint64_t block, const struct disk_below_found *run,
                    struct error *err)
{
    struct disk_map *map = &merge->layer->map;
    if (!run->zero && run->layer == 0)
        return 0;
    if (disk_map_prepare(map, block, run->count) < 0)
        return error_errno(err, ENOMEM, merge->layer->label, "write %s", merge->layer->label);
    int r = run->zero ? 0
                      : copy_data(merge, run->layer, block * DISK_BLOCK_SIZE,
                                  run->count * DISK_BLOCK_SIZE, err);
    if (r == 0)
        disk_map_set(map, block, run->count, run->zero ? DISK_ZERO : DISK_DATA);
    return r;
}

static int take_all(struct disk_below *below, struct disk_layer *layer, struct error *err)
{
    _cleanup_(free) uint8_t *buffer = malloc(BUFFER_SIZE);
    struct merge merge = {below, layer, buffer};
    if (!buffer)
        return error_errno(err, ENOMEM, layer->label, "write %s", layer->label);
    for (uint64_t block = 0; block < below->blocks;) {
        struct disk_below_found run = disk_below_find(below, block);
        int r = take_run(&merge, block, &run, err);
        if (r < 0)
            return r;
        block += run.count;
    }
    return disk_layer_mark(layer, true, err);
}

static int below_load(struct disk_below *below, const struct stack_file *base,
                      const struct disk_chain *chain, struct error *err)
{
    struct stat st;
    const struct disk_header over = {.image_size = chain->image_size,
                                     .below = chain->layers[0].number,
                                     .below_id = chain->layers[0].id};
    int fd = image_open(base, O_RDONLY, &st, err);
    return fd < 0 ? fd : disk_below_open(below, base, fd, &over, err);
}

/* Makes the one layer and puts it in the place of the topmost. */
static int make_one(const struct stack_file *base, const struct disk_chain *chain,
                    struct disk_below *below, struct error *err)
{
    static const struct copy_publication how = {.replace = true,
                                                .before_rename = "disk-compact-before-rename",
                                                .after_rename = "disk-compact-after-rename"};
    _cleanup_(disk_file) struct disk_file file = DISK_FILE_NONE;
    _cleanup_(disk_layer) struct disk_layer layer = DISK_LAYER_NONE;
    _cleanup_(temporary) struct temporary temporary = {.dirfd = -1};
    const struct disk_header like = {.image_size = chain->image_size, .id = chain->layers[0].id};
    struct stat st = {.st_mode = 0};
    int r = disk_file_of(base, chain->layers[0].number, &file, err);
    if (r == 0)
        r = image_stat(&file.file, &st, err);
    if (r == 0)
        r = disk_layer_begin(&file.file, st.st_mode, &like, &temporary, &layer, err);
    if (r == 0)
        r = take_all(below, &layer, err);
    return r < 0 ? r : copy_publish(&file.file, &temporary, &how, err);
}

static int compact(const struct stack_file *base, const struct disk_chain *chain, struct error *err)
{
    _cleanup_(disk_below) struct disk_below below = {.layers[0].fd = -1};
    int r = below_load(&below, base, chain, err);
    return r < 0 ? r : make_one(base, chain, &below, err);
}

/* Those that are no part of the stack any more, also where an earlier attempt has left them. */
static int remove_others(const struct stack_file *base, const struct disk_chain *chain,
                         struct error *err)
{
    if (chain->count == 0)
        return 0;
    const struct disk_others others = {.base = base->name, .chain = chain};
    int r = sweep_directory(base->dirfd, image_label(base), disk_is_other, &others, err);
    return r <= 0 ? r : dir_sync(base->dirfd, image_label(base), err);
}

int disk_compact(const struct stack_file *base, struct error *err)
{
    struct disk_chain chain;
    int r = disk_chain_find(base, &chain, err);
    if (r == 0 && chain.count > 1)
        r = compact(base, &chain, err);
    if (r == 0 && chain.count > 1)
        chain.count = 1; /* the topmost, which is all of them now */
    return r < 0 ? r : remove_others(base, &chain, err);
}
