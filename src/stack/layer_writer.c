/* SPDX-License-Identifier: Apache-2.0 */
/* Pages are collected into chunks of data, each written in one piece with its checksum taken. The
 * header comes last. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/copy.h"
#include "stack/layer_format.h"

#define FIRST_PIECES 256u
#define FIRST_SUMS   64u

struct layer_writer {
    int fd;
    char *label;
    uint64_t image_pages, data_pages, zero_pages;
    struct layer_piece *pieces;
    size_t piece_count, piece_room;
    uint64_t *sums; /* of the chunks that are written */
    size_t sum_count, sum_room;
    uint8_t *chunk; /* LAYER_CHUNK_SIZE bytes */
    size_t chunk_pages;
    uint8_t *batch; /* of a file's pages; NULL until there are some */
};

void layer_writer_free(struct layer_writer *writer)
{
    if (!writer)
        return;
    free(writer->label);
    free(writer->pieces);
    free(writer->sums);
    free(writer->chunk);
    free(writer->batch);
    free(writer);
}

static int no_memory(const struct layer_writer *writer, struct error *err)
{
    return error_errno(err, ENOMEM, writer->label, "write %s", writer->label);
}

static int check_image_size(const char *label, uint64_t image_size, struct error *err)
{
    if (image_size > 0 && image_size % LAYER_PAGE_SIZE == 0 &&
        image_size / LAYER_PAGE_SIZE <= LAYER_PAGE_LIMIT)
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL,
                     "write %s: an image of %" PRIu64 " bytes can't have layers", label,
                     image_size);
}

struct layer_writer *layer_writer_begin(int fd, const char *label, uint64_t image_size,
                                        struct error *err)
{
    if (check_image_size(label, image_size, err) < 0)
        return NULL;
    _cleanup_(layer_writer) struct layer_writer *writer = calloc(1, sizeof(*writer));
    if (writer) {
        writer->fd = fd;
        writer->image_pages = image_size / LAYER_PAGE_SIZE;
        writer->label = strdup(label);
        writer->chunk = malloc(LAYER_CHUNK_SIZE);
    }
    if (!writer || !writer->label || !writer->chunk) {
        error_errno(err, ENOMEM, label, "write %s", label);
        return NULL;
    }
    return TAKE_PTR(writer);
}

/* Makes room for one more element. */
static void *grow(void *array, size_t count, size_t *room, size_t first, size_t size)
{
    if (count < *room)
        return array;
    size_t wanted = *room ? *room * 2 : first;
    void *grown = reallocarray(array, wanted, size);
    if (grown)
        *room = wanted;
    return grown;
}

static int write_at(const struct layer_writer *writer, const char *step, const void *bytes,
                    size_t length, uint64_t offset, struct error *err)
{
    int r = failpoint(step);
    return r < 0 ? error_errno(err, -r, writer->label, "write %s", writer->label)
                 : file_pwrite_exact(writer->fd, bytes, length, offset, writer->label, err);
}

static int flush_chunk(struct layer_writer *writer, struct error *err)
{
    if (writer->chunk_pages == 0)
        return 0;
    uint64_t *sums =
        grow(writer->sums, writer->sum_count, &writer->sum_room, FIRST_SUMS, sizeof(*sums));
    if (!sums)
        return no_memory(writer, err);
    writer->sums = sums;
    size_t length = writer->chunk_pages * LAYER_PAGE_SIZE;
    uint64_t offset = layer_data_offset(writer->sum_count * (uint64_t)LAYER_CHUNK_PAGES);
    sums[writer->sum_count++] = layer_checksum(writer->chunk, length);
    writer->chunk_pages = 0;
    return write_at(writer, "stack-layer-data", writer->chunk, length, offset, err);
}

static int check_order(const struct layer_writer *writer, uint64_t page, uint64_t count,
                       struct error *err)
{
    uint64_t next = 0;
    if (writer->piece_count > 0) {
        const struct layer_piece *last = &writer->pieces[writer->piece_count - 1];
        next = (uint64_t)last->page + last->count;
    }
    if (page >= next && page <= writer->image_pages && count <= writer->image_pages - page)
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL,
                     "write %s: %" PRIu64 " pages from %" PRIu64 " on are not among %" PRIu64
                     " to %" PRIu64,
                     writer->label, count, page, next, writer->image_pages);
}

static bool continues(const struct layer_piece *last, uint64_t page, uint32_t data)
{
    if ((uint64_t)last->page + last->count != page)
        return false;
    return (last->data == LAYER_NO_DATA) == (data == LAYER_NO_DATA);
}

/* Notes pages in the index; `data` is the place of the first, or LAYER_NO_DATA. */
static int note(struct layer_writer *writer, uint64_t page, uint64_t count, uint32_t data,
                struct error *err)
{
    struct layer_piece *last =
        writer->piece_count > 0 ? &writer->pieces[writer->piece_count - 1] : NULL;
    if (last && continues(last, page, data)) {
        last->count += (uint32_t)count;
        return 0;
    }
    struct layer_piece *pieces = grow(writer->pieces, writer->piece_count, &writer->piece_room,
                                      FIRST_PIECES, sizeof(*pieces));
    if (!pieces)
        return no_memory(writer, err);
    writer->pieces = pieces;
    pieces[writer->piece_count++] = (struct layer_piece){(uint32_t)page, (uint32_t)count, data};
    return 0;
}

int layer_writer_add_zeros(struct layer_writer *writer, uint64_t page, uint64_t count,
                           struct error *err)
{
    int r = check_order(writer, page, count, err);
    if (r == 0 && count > 0)
        r = note(writer, page, count, LAYER_NO_DATA, err);
    if (r == 0)
        writer->zero_pages += count;
    return r;
}

/* The page is read once, into the chunk, and looked at there. */
static int add_page(struct layer_writer *writer, uint64_t page, const uint8_t *bytes,
                    struct error *err)
{
    uint8_t *place = writer->chunk + writer->chunk_pages * LAYER_PAGE_SIZE;
    memcpy(place, bytes, LAYER_PAGE_SIZE);
    if (bytes_are_zero(place, LAYER_PAGE_SIZE)) {
        writer->zero_pages++;
        return note(writer, page, 1, LAYER_NO_DATA, err);
    }
    int r = note(writer, page, 1, (uint32_t)writer->data_pages, err);
    writer->data_pages++;
    writer->chunk_pages++;
    if (r == 0 && writer->chunk_pages == LAYER_CHUNK_PAGES)
        r = flush_chunk(writer, err);
    return r;
}

int layer_writer_add(struct layer_writer *writer, uint64_t page, const void *bytes, uint64_t count,
                     struct error *err)
{
    int r = check_order(writer, page, count, err);
    for (uint64_t i = 0; r == 0 && i < count; i++)
        r = add_page(writer, page + i, (const uint8_t *)bytes + i * LAYER_PAGE_SIZE, err);
    return r;
}

int layer_writer_add_file(struct layer_writer *writer, uint64_t page, int from, uint64_t offset,
                          uint64_t count, const char *from_label, struct error *err)
{
    int r = check_order(writer, page, count, err);
    if (!writer->batch && !(writer->batch = malloc(LAYER_CHUNK_SIZE)))
        return no_memory(writer, err);
    while (r == 0 && count > 0) {
        uint64_t pages = count < LAYER_CHUNK_PAGES ? count : LAYER_CHUNK_PAGES;
        r = file_pread_exact(from, writer->batch, pages * LAYER_PAGE_SIZE, offset, from_label, err);
        if (r == 0)
            r = layer_writer_add(writer, page, writer->batch, pages, err);
        page += pages;
        count -= pages;
        offset += pages * LAYER_PAGE_SIZE;
    }
    return r;
}

static void fill_index(const struct layer_writer *writer, uint8_t *index)
{
    for (size_t i = 0; i < writer->piece_count; i++) {
        const struct layer_piece *piece = &writer->pieces[i];
        const struct layer_index_run run = {.page = piece->page,
                                            .count = piece->count,
                                            .kind = piece->data == LAYER_NO_DATA ? LAYER_ZERO
                                                                                 : LAYER_DATA};
        memcpy(index + i * sizeof(run), &run, sizeof(run));
    }
    if (writer->sum_count > 0)
        memcpy(index + writer->piece_count * sizeof(struct layer_index_run), writer->sums,
               writer->sum_count * sizeof(*writer->sums));
}

static int write_index(const struct layer_writer *writer, struct layer_header *header,
                       struct error *err)
{
    size_t length = layer_index_size(header->runs, header->data_pages);
    _cleanup_(free) uint8_t *index = malloc(length + 1); /* it may be empty */
    if (!index)
        return no_memory(writer, err);
    fill_index(writer, index);
    header->index_checksum = layer_checksum(index, length);
    return write_at(writer, "stack-layer-index", index, length,
                    layer_data_offset(header->data_pages), err);
}

static int write_header(const struct layer_writer *writer, struct layer_header *header,
                        struct error *err)
{
    uint8_t page[LAYER_PAGE_SIZE] = {0};
    layer_header_seal(header);
    memcpy(page, header, sizeof(*header));
    return write_at(writer, "stack-layer-header", page, sizeof(page), 0, err);
}

static int sync_layer(const struct layer_writer *writer, struct error *err)
{
    int r = failpoint("stack-layer-sync");
    if (r == 0 && fsync(writer->fd) < 0)
        r = -errno;
    return r < 0 ? error_errno(err, -r, writer->label, "sync %s", writer->label) : 0;
}

int layer_writer_finish(struct layer_writer *writer, struct layer_info *info, struct error *err)
{
    struct layer_header header = {.format = LAYER_FORMAT,
                                  .page_size = LAYER_PAGE_SIZE,
                                  .chunk_pages = LAYER_CHUNK_PAGES,
                                  .image_pages = writer->image_pages,
                                  .data_pages = writer->data_pages,
                                  .zero_pages = writer->zero_pages,
                                  .runs = writer->piece_count};
    memcpy(header.magic, LAYER_MAGIC, sizeof(header.magic));
    int r = flush_chunk(writer, err);
    if (r == 0)
        r = write_index(writer, &header, err);
    if (r == 0)
        r = write_header(writer, &header, err);
    if (r == 0)
        r = sync_layer(writer, err);
    if (r == 0 && info)
        layer_header_describe(&header, info);
    return r;
}
