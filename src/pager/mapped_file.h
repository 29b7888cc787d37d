/* SPDX-License-Identifier: Apache-2.0 */
/* A file of an image, mapped privately and read-only, as it was when it was opened. Its bytes are
 * the kernel's page cache, never a copy of ours. */
#ifndef TINE_PAGER_MAPPED_FILE_H
#define TINE_PAGER_MAPPED_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

struct mapped_file {
    int fd;
    struct stat st; /* as it was opened */
    char *label;
    const uint8_t *map;
};

/* `fd` and `st` are borrowed, `label` is copied; the file is not empty. Close it after a failure
 * too. */
int mapped_file_open(struct mapped_file *file, int fd, const struct stat *st, const char *label,
                     struct error *err);
void mapped_file_close(struct mapped_file *file);

int64_t mapped_file_modified_ns(const struct mapped_file *file);
/* True if it is that very file, unchanged. */
bool mapped_file_is(const struct mapped_file *file, const struct stat *st);
/* The file must be what it was: bytes of one that was written are not the image's, and the page
 * that holds a new end reads as zeros behind it. */
int mapped_file_check(const struct mapped_file *file, struct error *err);
/* Why bytes at that offset could not be copied: always an error. */
int mapped_file_explain(const struct mapped_file *file, uint64_t offset, struct error *err);
/* Begins to fetch bytes from the device; only advice. Offsets and lengths are whole pages. */
void mapped_file_advise(const struct mapped_file *file, uint64_t offset, uint64_t length);
/* How many pages from `offset` on, at most `pages`, can be read without waiting for a device. */
uint64_t mapped_file_resident(const struct mapped_file *file, uint64_t offset, uint64_t pages);

#endif
