/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile layer: what is accepted answers every look-up within the image and the file, the same
 * way whoever asks. The first byte says whether the checksums are put right first, since no fuzzer
 * finds those; then the header's counts may be put right as well. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/layer_format.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define SEAL       1u
#define FIT        2u
#define FILE_LIMIT (256u << 10)

/* A header of which the input has only the counts, in few bytes, and the pages none at all. */
static size_t fit(const uint8_t *data, size_t size, uint8_t *file)
{
    struct layer_header header = {
        .format = LAYER_FORMAT, .page_size = LAYER_PAGE_SIZE, .chunk_pages = LAYER_CHUNK_PAGES};
    memcpy(header.magic, LAYER_MAGIC, sizeof(header.magic));
    uint8_t counts[4] = {0};
    size_t used = size < sizeof(counts) ? size : sizeof(counts);
    memcpy(counts, data, used);
    header.image_pages = counts[0];
    header.data_pages = counts[1] % 16;
    header.zero_pages = counts[2];
    header.runs = counts[3];
    memcpy(file, &header, sizeof(header));
    uint64_t offset = layer_data_offset(header.data_pages);
    uint64_t length = layer_index_size(header.runs, header.data_pages);
    memcpy(file + offset, data + used, size - used < length ? size - used : length);
    return offset + length;
}

static void seal(uint8_t *file, size_t length)
{
    struct layer_header header;
    if (length < LAYER_PAGE_SIZE)
        return;
    memcpy(&header, file, sizeof(header));
    uint64_t index = layer_data_offset(header.data_pages);
    if (header.data_pages < length && index <= length)
        header.index_checksum = layer_checksum(file + index, length - index);
    layer_header_seal(&header);
    memcpy(file, &header, sizeof(header));
}

static void check_run(const struct layer *layer, const struct layer_info *info,
                      const struct layer_run *run)
{
    if (run->count == 0 || run->count > info->image_pages - run->page)
        abort();
    if (run->kind == LAYER_DATA &&
        (run->offset % LAYER_PAGE_SIZE != 0 || run->offset >= info->file_bytes ||
         run->count * LAYER_PAGE_SIZE > info->file_bytes - run->offset))
        abort();
    struct layer_run next;
    if (run->kind != LAYER_ABSENT &&
        (!layer_next(layer, run->page, &next) || next.page != run->page ||
         next.count != run->count || next.kind != run->kind || next.offset != run->offset))
        abort();
}

static void walk(const struct layer *layer)
{
    struct layer_info info;
    uint64_t data = 0, zero = 0;
    layer_describe(layer, &info);
    for (uint64_t page = 0; page < info.image_pages;) {
        struct layer_run run = layer_find(layer, page);
        if (run.page != page)
            abort();
        check_run(layer, &info, &run);
        data += run.kind == LAYER_DATA ? run.count : 0;
        zero += run.kind == LAYER_ZERO ? run.count : 0;
        page += run.count;
    }
    if (data != info.data_pages || zero != info.zero_pages)
        abort();
    (void)layer_verify(layer, NULL); /* the data is as the fuzzer has it */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static uint8_t file[FILE_LIMIT];
    if (size < 1 || size > sizeof(file) / 2)
        return 0;
    uint8_t mode = data[0];
    size_t length = size - 1;
    memset(file, 0, sizeof(file));
    if (mode & FIT)
        length = fit(data + 1, size - 1, file);
    else
        memcpy(file, data + 1, length);
    if (mode & SEAL)
        seal(file, length);
    _cleanup_(close) int fd = memfd_create("layer", MFD_CLOEXEC);
    if (fd < 0 || file_pwrite_exact(fd, file, length, 0, "layer", NULL) < 0)
        abort();
    struct error err = {0};
    struct layer *layer = layer_open_fd(TAKE_FD(fd), "layer", 0, &err);
    if (!layer && err.errnum == 0)
        abort();
    if (layer)
        walk(layer);
    layer_close(layer);
    return 0;
}
