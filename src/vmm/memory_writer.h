/* SPDX-License-Identifier: Apache-2.0 */
/* Pages on their way into a memory file or a layer, in ascending order: neighbours are written in
 * one piece, and zeros as the file wants them. */
#ifndef TINE_VMM_MEMORY_WRITER_H
#define TINE_VMM_MEMORY_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum memory_zeros {
    MEMORY_ZEROS_ARE_HOLES, /* a fresh file: nothing has to be done */
    MEMORY_ZEROS_WRITTEN,   /* a fresh file in which a hole means "as in the base" */
    MEMORY_ZEROS_PUNCHED,   /* a file with older content: becomes a hole, or zeros */
};

struct layer_writer;

struct memory_writer {
    int fd;
    const char *path;
    enum memory_zeros zeros;
    struct layer_writer *layer; /* not NULL: all goes there, zeros by name, and none to `fd` */
    uint64_t written;           /* bytes of data, zeros that had to be written among them */
    /* What is collected: `length` bytes for `offset`, from `data`, or zeros where that is NULL. */
    const uint8_t *data;
    uint64_t offset, length;
};

bool memory_page_is_zero(const uint8_t *page);
/* One page; found out to be zero or not. */
int memory_write_page(struct memory_writer *writer, const uint8_t *page, uint64_t offset,
                      struct error *err);
/* Zeros that need not be read; page aligned. */
int memory_write_zeros(struct memory_writer *writer, uint64_t offset, uint64_t length,
                       struct error *err);
/* Writes what is still collected. Does not sync. */
int memory_write_end(struct memory_writer *writer, struct error *err);

#endif
