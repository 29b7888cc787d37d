/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/memory_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "stack/layer.h"
#include "vmm/memory.h"

#define RUN_LIMIT (1u << 20) /* bytes of one write */
/* Shorter zeros are written: a hole costs a file system a transaction of its own. */
#define PUNCH_MIN (64u << 10)

/* Never written to, so that it costs no VMM a page. */
static const uint8_t zeros[64 << 10];

static int write_zeros(struct memory_writer *writer, uint64_t offset, uint64_t length,
                       struct error *err)
{
    while (length > 0) {
        size_t part = length < sizeof(zeros) ? (size_t)length : sizeof(zeros);
        int r = file_pwrite_exact(writer->fd, zeros, part, offset, writer->path, err);
        if (r < 0)
            return r;
        writer->written += part;
        offset += part;
        length -= part;
    }
    return 0;
}

/* Where the file's data begins within [offset, end): 1, or 0 if it is all hole. Where that can't be
 * told all of it may be data. */
static int find_data(const struct memory_writer *writer, uint64_t *offset, uint64_t end,
                     struct error *err)
{
    off_t data = lseek(writer->fd, (off_t)*offset, SEEK_DATA);
    if (data < 0 && errno == EINVAL)
        return 1;
    if (data < 0 && errno != ENXIO)
        return error_errno(err, errno, writer->path, "find the data of %s", writer->path);
    if (data < 0 || (uint64_t)data >= end)
        return 0;
    *offset = (uint64_t)data;
    return 1;
}

/* 1 done, 0 this file system can't. A hole leaves private pages of mappings alone, unlike a cut
 * (mm/truncate.c, truncate_pagecache_range()). */
static int punch(const struct memory_writer *writer, uint64_t offset, uint64_t length,
                 struct error *err)
{
    if (fallocate(writer->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)length) == 0)
        return 1;
    return errno == EOPNOTSUPP
               ? 0
               : error_errno(err, errno, writer->path, "punch a hole into %s", writer->path);
}

static int clear(struct memory_writer *writer, uint64_t offset, uint64_t length, struct error *err)
{
    const uint64_t end = offset + length;
    int r = find_data(writer, &offset, end, err);
    if (r <= 0)
        return r;
    r = length < PUNCH_MIN ? 0 : punch(writer, offset, end - offset, err);
    return r < 0 ? r : r > 0 ? 0 : write_zeros(writer, offset, end - offset, err);
}

static int put_zeros(struct memory_writer *writer, struct error *err)
{
    if (writer->layer)
        return layer_writer_add_zeros(writer->layer, writer->offset / LAYER_PAGE_SIZE,
                                      writer->length / LAYER_PAGE_SIZE, err);
    switch (writer->zeros) {
    case MEMORY_ZEROS_WRITTEN:
        return write_zeros(writer, writer->offset, writer->length, err);
    case MEMORY_ZEROS_PUNCHED:
        return clear(writer, writer->offset, writer->length, err);
    default:
        return 0;
    }
}

static int put_data(struct memory_writer *writer, struct error *err)
{
    int r = failpoint("vmm-memory-data");
    if (r < 0)
        return error_errno(err, -r, writer->path, "write %s", writer->path);
    writer->written += writer->length;
    if (writer->layer)
        return layer_writer_add(writer->layer, writer->offset / LAYER_PAGE_SIZE, writer->data,
                                writer->length / LAYER_PAGE_SIZE, err);
    return file_pwrite_exact(writer->fd, writer->data, (size_t)writer->length, writer->offset,
                             writer->path, err);
}

int memory_write_end(struct memory_writer *writer, struct error *err)
{
    if (writer->length == 0)
        return 0;
    int r = writer->data ? put_data(writer, err) : put_zeros(writer, err);
    writer->length = 0;
    return r;
}

/* `data` is NULL for zeros. */
static int add(struct memory_writer *writer, const uint8_t *data, uint64_t offset, uint64_t length,
               struct error *err)
{
    bool follows = writer->length > 0 && writer->offset + writer->length == offset;
    bool joins = follows && (data ? writer->data && writer->data + writer->length == data &&
                                        writer->length < RUN_LIMIT
                                  : !writer->data);
    if (!joins) {
        int r = memory_write_end(writer, err);
        if (r < 0)
            return r;
        writer->data = data;
        writer->offset = offset;
    }
    writer->length += length;
    return 0;
}

bool memory_page_is_zero(const uint8_t *page)
{
    const uint64_t *words = (const uint64_t *)(const void *)page;
    for (unsigned i = 0; i < GUEST_PAGE_SIZE / sizeof(uint64_t); i += 8) {
        uint64_t any = words[i] | words[i + 1] | words[i + 2] | words[i + 3] | words[i + 4] |
                       words[i + 5] | words[i + 6] | words[i + 7];
        if (any != 0)
            return false;
    }
    return true;
}

int memory_write_page(struct memory_writer *writer, const uint8_t *page, uint64_t offset,
                      struct error *err)
{
    return add(writer, memory_page_is_zero(page) ? NULL : page, offset, GUEST_PAGE_SIZE, err);
}

int memory_write_zeros(struct memory_writer *writer, uint64_t offset, uint64_t length,
                       struct error *err)
{
    return length == 0 ? 0 : add(writer, NULL, offset, length, err);
}
