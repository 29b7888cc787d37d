/* SPDX-License-Identifier: Apache-2.0 */
/* A file of an image, as it was when it was opened. */
#ifndef TINE_PAGER_IMAGE_FILE_H
#define TINE_PAGER_IMAGE_FILE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/error.h"

struct image_file {
    int fd;
    struct stat st; /* as it was opened */
    char *label;
};

/* `fd` and `st` are borrowed, `label` is copied; the file is not empty. Close it after a failure
 * too. */
int image_file_open(struct image_file *file, int fd, const struct stat *st, const char *label,
                    struct error *err);
void image_file_close(struct image_file *file);

int64_t image_file_modified_ns(const struct image_file *file);
/* True if it is that very file, unchanged. */
bool image_file_is(const struct image_file *file, const struct stat *st);
/* The file must be what it was: bytes of one that was written are not the image's, and the page
 * that holds a new end reads as zeros behind it. */
int image_file_check(const struct image_file *file, struct error *err);

#endif
