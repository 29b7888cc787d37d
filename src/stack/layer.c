/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/layer.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/copy.h"
#include "stack/image.h"
#include "stack/layer_format.h"

struct layer {
    int fd;
    char *label;
    struct layer_header header;
    struct layer_piece *pieces; /* header.runs of them */
    uint64_t *sums;             /* layer_chunks(header.data_pages) of them */
};

void layer_close(struct layer *layer)
{
    if (!layer)
        return;
    cleanup_close(&layer->fd);
    free(layer->label);
    free(layer->pieces);
    free(layer->sums);
    free(layer);
}

static int damaged(const struct layer *layer, const char *why, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EBADMSG, "%s is damaged: %s", layer->label, why);
}

/* ---- opening: nothing is trusted before it is checked ---- */

static int header_read(struct layer *layer, uint64_t file_size, struct error *err)
{
    uint8_t page[LAYER_PAGE_SIZE];
    if (file_size < sizeof(page))
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s is too short for a layer", layer->label);
    int r = file_pread_exact(layer->fd, page, sizeof(page), 0, layer->label, err);
    if (r < 0)
        return r;
    memcpy(&layer->header, page, sizeof(layer->header));
    if (memcmp(layer->header.magic, LAYER_MAGIC, sizeof(layer->header.magic)) != 0)
        return error_set(err, ERROR_CORRUPT, EBADMSG, "%s is no layer: wrong magic", layer->label);
    if (layer->header.format != LAYER_FORMAT)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "%s is a layer of format %u, this version reads %u", layer->label,
                         layer->header.format, LAYER_FORMAT);
    struct layer_header sealed = layer->header;
    layer_header_seal(&sealed);
    if (sealed.checksum != layer->header.checksum ||
        !bytes_are_zero(page + sizeof(sealed), sizeof(page) - sizeof(sealed)))
        return damaged(layer, "the checksum of its header does not match", err);
    return 0;
}

/* With the counts in these bounds no sum or product of them overflows. */
static int header_check(const struct layer *layer, struct error *err)
{
    const struct layer_header *header = &layer->header;
    if (header->page_size != LAYER_PAGE_SIZE || header->chunk_pages != LAYER_CHUNK_PAGES ||
        header->reserved != 0)
        return damaged(layer, "it has other pages or chunks than its format", err);
    if (header->image_pages == 0 || header->image_pages > LAYER_PAGE_LIMIT)
        return damaged(layer, "its image has an impossible size", err);
    if (header->data_pages > header->image_pages ||
        header->zero_pages > header->image_pages - header->data_pages)
        return damaged(layer, "it holds more pages than its image has", err);
    if (header->runs > header->data_pages + header->zero_pages)
        return damaged(layer, "it has more runs than pages", err);
    return 0;
}

static int size_check(const struct layer *layer, uint64_t file_size, uint64_t image_size,
                      struct error *err)
{
    struct layer_info info;
    layer_describe(layer, &info);
    if (info.file_bytes != file_size)
        return error_set(err, ERROR_CORRUPT, EBADMSG,
                         "%s is damaged: it has %" PRIu64 " bytes, its header says %" PRIu64,
                         layer->label, file_size, info.file_bytes);
    if (image_size != 0 && info.image_pages * LAYER_PAGE_SIZE != image_size)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "%s is of an image of %" PRIu64 " bytes, not of one of %" PRIu64,
                         layer->label, info.image_pages * LAYER_PAGE_SIZE, image_size);
    return 0;
}

/* Takes one run over, if it follows `*next` and is of the image. */
static int run_check(const struct layer *layer, const struct layer_index_run *run, uint64_t *next,
                     struct error *err)
{
    if (run->kind != LAYER_DATA && run->kind != LAYER_ZERO)
        return damaged(layer, "a run is of no known kind", err);
    if (run->count == 0)
        return damaged(layer, "a run is empty", err);
    if (run->page < *next)
        return damaged(layer, "its runs overlap or are out of order", err);
    if (run->page >= layer->header.image_pages ||
        run->count > layer->header.image_pages - run->page)
        return damaged(layer, "a run reaches beyond the image", err);
    *next = run->page + run->count;
    return 0;
}

static int index_parse(struct layer *layer, const uint8_t *index, struct error *err)
{
    const struct layer_header *header = &layer->header;
    uint64_t next = 0, data = 0, zero = 0;
    for (uint64_t i = 0; i < header->runs; i++) {
        struct layer_index_run run;
        memcpy(&run, index + i * sizeof(run), sizeof(run));
        int r = run_check(layer, &run, &next, err);
        if (r < 0)
            return r;
        bool is_data = run.kind == LAYER_DATA;
        layer->pieces[i] = (struct layer_piece){(uint32_t)run.page, run.count,
                                                is_data ? (uint32_t)data : LAYER_NO_DATA};
        *(is_data ? &data : &zero) += run.count;
    }
    if (data != header->data_pages || zero != header->zero_pages)
        return damaged(layer, "its runs have other pages than its header says", err);
    if (data > 0)
        memcpy(layer->sums, index + header->runs * sizeof(struct layer_index_run),
               layer_chunks(data) * sizeof(*layer->sums));
    return 0;
}

static int index_read(struct layer *layer, struct error *err)
{
    const struct layer_header *header = &layer->header;
    uint64_t length = layer_index_size(header->runs, header->data_pages);
    _cleanup_(free) uint8_t *index = malloc(length + 1); /* it may be empty */
    layer->pieces = calloc(header->runs + 1, sizeof(*layer->pieces));
    layer->sums = calloc(layer_chunks(header->data_pages) + 1, sizeof(*layer->sums));
    if (!index || !layer->pieces || !layer->sums)
        return error_errno(err, ENOMEM, layer->label, "open %s", layer->label);
    int r = file_pread_exact(layer->fd, index, length, layer_data_offset(header->data_pages),
                             layer->label, err);
    if (r < 0)
        return r;
    if (layer_checksum(index, length) != header->index_checksum)
        return damaged(layer, "the checksum of its index does not match", err);
    return index_parse(layer, index, err);
}

static int layer_load(struct layer *layer, uint64_t image_size, struct error *err)
{
    struct stat st;
    if (fstat(layer->fd, &st) < 0)
        return error_errno(err, errno, layer->label, "stat %s", layer->label);
    int r = header_read(layer, (uint64_t)st.st_size, err);
    if (r == 0)
        r = header_check(layer, err);
    if (r == 0)
        r = size_check(layer, (uint64_t)st.st_size, image_size, err);
    if (r == 0)
        r = index_read(layer, err);
    return r;
}

struct layer *layer_open_fd(int fd, const char *label, uint64_t image_size, struct error *err)
{
    _cleanup_(close) int owned = fd;
    _cleanup_(layer) struct layer *layer = calloc(1, sizeof(*layer));
    if (layer) {
        layer->fd = TAKE_FD(owned);
        layer->label = strdup(label);
    }
    if (!layer || !layer->label) {
        error_errno(err, ENOMEM, label, "open %s", label);
        return NULL;
    }
    return layer_load(layer, image_size, err) == 0 ? TAKE_PTR(layer) : NULL;
}

struct layer *layer_open(const struct stack_file *file, uint64_t image_size, struct error *err)
{
    struct stat st;
    int fd = image_open(file, O_RDONLY, &st, err);
    return fd < 0 ? NULL : layer_open_fd(fd, image_label(file), image_size, err);
}

/* ---- looking up ---- */

int layer_fd(const struct layer *layer)
{
    return layer->fd;
}

const char *layer_label(const struct layer *layer)
{
    return layer->label;
}

void layer_describe(const struct layer *layer, struct layer_info *info)
{
    layer_header_describe(&layer->header, info);
}

/* The first piece that ends behind `page`; how many there are if none does. */
static uint64_t piece_behind(const struct layer *layer, uint64_t page)
{
    uint64_t low = 0, high = layer->header.runs;
    while (low < high) {
        uint64_t middle = low + (high - low) / 2;
        const struct layer_piece *piece = &layer->pieces[middle];
        if ((uint64_t)piece->page + piece->count > page)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

/* The piece from `page` on, which lies in it. */
static struct layer_run run_from(const struct layer_piece *piece, uint64_t page)
{
    uint64_t skipped = page - piece->page;
    struct layer_run run = {.page = page, .count = piece->count - skipped, .kind = LAYER_ZERO};
    if (piece->data != LAYER_NO_DATA) {
        run.kind = LAYER_DATA;
        run.offset = layer_data_offset(piece->data + skipped);
    }
    return run;
}

struct layer_run layer_find(const struct layer *layer, uint64_t page)
{
    uint64_t i = piece_behind(layer, page);
    bool last = i == layer->header.runs;
    if (!last && layer->pieces[i].page <= page)
        return run_from(&layer->pieces[i], page);
    uint64_t end = last ? layer->header.image_pages : layer->pieces[i].page;
    return (struct layer_run){.page = page, .count = end - page, .kind = LAYER_ABSENT};
}

bool layer_next(const struct layer *layer, uint64_t page, struct layer_run *run)
{
    uint64_t i = piece_behind(layer, page);
    if (i == layer->header.runs)
        return false;
    const struct layer_piece *piece = &layer->pieces[i];
    *run = run_from(piece, page > piece->page ? page : piece->page);
    return true;
}

/* ---- verifying ---- */

/* Which page of the image a page of the data is. */
static uint64_t image_page(const struct layer *layer, uint64_t data_page)
{
    for (uint64_t i = 0; i < layer->header.runs; i++) {
        const struct layer_piece *piece = &layer->pieces[i];
        if (piece->data != LAYER_NO_DATA && data_page - piece->data < piece->count)
            return piece->page + (data_page - piece->data);
    }
    return 0;
}

static int chunk_verify(const struct layer *layer, uint64_t chunk, uint8_t *buffer,
                        struct error *err)
{
    uint64_t first = chunk * LAYER_CHUNK_PAGES;
    uint64_t left = layer->header.data_pages - first;
    uint64_t pages = left < LAYER_CHUNK_PAGES ? left : LAYER_CHUNK_PAGES;
    size_t length = pages * LAYER_PAGE_SIZE;
    int r =
        file_pread_exact(layer->fd, buffer, length, layer_data_offset(first), layer->label, err);
    if (r < 0 || layer_checksum(buffer, length) == layer->sums[chunk])
        return r;
    return error_set(err, ERROR_CORRUPT, EBADMSG,
                     "%s is damaged: the checksum of the pages %" PRIu64 " to %" PRIu64
                     " of the image does not match",
                     layer->label, image_page(layer, first), image_page(layer, first + pages - 1));
}

int layer_verify(const struct layer *layer, struct error *err)
{
    _cleanup_(free) uint8_t *buffer = malloc(LAYER_CHUNK_SIZE);
    if (!buffer)
        return error_errno(err, ENOMEM, layer->label, "verify %s", layer->label);
    uint64_t chunks = layer_chunks(layer->header.data_pages);
    int r = 0;
    for (uint64_t chunk = 0; r == 0 && chunk < chunks; chunk++)
        r = chunk_verify(layer, chunk, buffer, err);
    return r;
}
