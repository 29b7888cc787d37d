/* SPDX-License-Identifier: Apache-2.0 */
/* A file of an image, mapped privately and read-only, as it was when it was opened. Its bytes are
 * the kernel's page cache, never a copy of ours. */
#ifndef TINE_PAGER_MAPPED_FILE_H
#define TINE_PAGER_MAPPED_FILE_H

#include "pager/image_file.h"

struct mapped_file {
    struct image_file file;
    const uint8_t *map;
};

/* As image_file_open(). */
int mapped_file_open(struct mapped_file *file, int fd, const struct stat *st, const char *label,
                     struct error *err);
void mapped_file_close(struct mapped_file *file);

/* Why bytes at that offset could not be copied: always an error. */
int mapped_file_explain(const struct mapped_file *file, uint64_t offset, struct error *err);
/* Begins to fetch bytes from the device; only advice. Offsets and lengths are whole pages. */
void mapped_file_advise(const struct mapped_file *file, uint64_t offset, uint64_t length);
/* How many pages from `offset` on, at most `pages`, can be read without waiting for a device. */
uint64_t mapped_file_resident(const struct mapped_file *file, uint64_t offset, uint64_t pages);

#endif
