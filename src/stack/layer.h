/* SPDX-License-Identifier: Apache-2.0 */
/* A delta layer: one immutable file that holds only some pages of an image. It names them itself,
 * zero pages among them; nothing is ever concluded from holes of the file.
 *
 * Layout, little-endian, in pages of 4096 bytes:
 *   header  one page: layer_header (layer_format.h) with its checksum, then zeros
 *   data    the pages that are held, in the order of their runs
 *   index   the runs {u64 page, u32 count, u32 kind}, ascending and disjoint; then the XXH3-64
 *           checksum of every 256 pages of data (of fewer at the end), as it was when written
 * Where something lies follows from the counts in the header alone. Data is page aligned, so that a
 * run can be mapped, or be the source of a UFFDIO_COPY.
 *
 * A file is hostile input: layer_open() checks header, length and all of the index before anybody
 * looks at a page. The checksums of the data are checked when somebody asks (layer_verify()). */
#ifndef TINE_STACK_LAYER_H
#define TINE_STACK_LAYER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "stack/stack.h"

#define LAYER_PAGE_SIZE  4096u
#define LAYER_PAGE_LIMIT UINT32_MAX /* pages of an image: 16 TiB less a page */

/* What a layer says of a page. */
enum layer_kind {
    LAYER_DATA = 1,
    LAYER_ZERO = 2,
    LAYER_ABSENT = 3, /* nothing: what lies below shows. Never in a file. */
};

struct layer_info {
    uint64_t image_pages;
    uint64_t data_pages, zero_pages;
    uint64_t runs;
    uint64_t file_bytes;
    uint64_t id; /* checksum of the header, which holds that of the index: differs with content */
};

/* ---- reading ---- */

/* Pages that follow one another in the image and are of one kind; where they are LAYER_DATA, in the
 * file too. */
struct layer_run {
    uint64_t page, count;
    enum layer_kind kind;
    uint64_t offset; /* bytes into the file, of LAYER_DATA */
};

struct layer;

/* Opens a layer for reading. Unless 0, `image_size` is the size in bytes of the image that it must
 * be of. ERROR_CORRUPT says what is wrong with it. What an open layer takes of memory is bounded by
 * the size of its image, less than a hundredth of it. It can be read by several threads. */
struct layer *layer_open(const struct stack_file *file, uint64_t image_size, struct error *err);
/* The same of a regular file that is open for reading; the layer owns `fd`, after a failure too. */
struct layer *layer_open_fd(int fd, const char *label, uint64_t image_size, struct error *err);
void layer_close(struct layer *layer);
static inline void cleanup_layer(struct layer **layer)
{
    layer_close(*layer);
}

/* The descriptor (borrowed), to be read or mapped. */
int layer_fd(const struct layer *layer);
/* How messages name it. */
const char *layer_label(const struct layer *layer);
void layer_describe(const struct layer *layer, struct layer_info *info);

/* What the layer says of `page`, which must be one of the image's, and of as many pages from there
 * on as it says the same of. */
struct layer_run layer_find(const struct layer *layer, uint64_t page);
/* Finds what the layer holds at or behind `page`, data or zeros; false: nothing more. */
bool layer_next(const struct layer *layer, uint64_t page, struct layer_run *run);

/* Reads all data and compares it with its checksums. ERROR_CORRUPT names the first pages of the
 * image that are damaged. */
int layer_verify(const struct layer *layer, struct error *err);

/* ---- writing ---- */

struct layer_writer;

/* Begins a layer of an image of `image_size` bytes, whole pages, in the empty file `fd` (borrowed,
 * open for writing). `label` names it in messages. NULL and `err` when that fails. */
struct layer_writer *layer_writer_begin(int fd, const char *label, uint64_t image_size,
                                        struct error *err);
void layer_writer_free(struct layer_writer *writer);
static inline void cleanup_layer_writer(struct layer_writer **writer)
{
    layer_writer_free(*writer);
}

/* Each adds `count` pages from `page` of the image on. Pages come in ascending order, each once
 * (else ERROR_INVALID). What is all zero is found out and takes no room. The bytes are taken before
 * the call returns, each read once, so that the checksums are of what is written even if somebody
 * changes them meanwhile. After a failure the file is good for nothing. */
int layer_writer_add(struct layer_writer *writer, uint64_t page, const void *bytes, uint64_t count,
                     struct error *err);
int layer_writer_add_zeros(struct layer_writer *writer, uint64_t page, uint64_t count,
                           struct error *err);
/* From `offset` of a file that is open for reading; `from_label` names it in messages. */
int layer_writer_add_file(struct layer_writer *writer, uint64_t page, int from, uint64_t offset,
                          uint64_t count, const char *from_label, struct error *err);

/* Writes index and header and syncs the file, which is then whole: the caller gives it its name by
 * rename, or publishes the directory it is in (R3). Fills `info`, unless NULL. */
int layer_writer_finish(struct layer_writer *writer, struct layer_info *info, struct error *err);

#endif
