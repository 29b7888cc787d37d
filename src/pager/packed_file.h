/* SPDX-License-Identifier: Apache-2.0 */
/* A compressed image (stack/packed_image.h) as it was when it was opened. It is counted: a chunk
 * that is being decoded keeps its file open, whatever becomes of the sessions. */
#ifndef TINE_PAGER_PACKED_FILE_H
#define TINE_PAGER_PACKED_FILE_H

#include <stdatomic.h>

#include "pager/image_file.h"
#include "stack/packed_image.h"

struct packed_file {
    struct image_file file;
    struct packed_image *image;
    atomic_uint references;
};

/* `fd`, `st` and `label` as for image_file_open(). NULL and ERROR_CORRUPT if it is damaged,
 * ERROR_UNSUPPORTED if it has no index. The reference is the caller's. */
struct packed_file *packed_file_open(int fd, const struct stat *st, const char *label,
                                     enum stack_algorithm algorithm, struct error *err);
struct packed_file *packed_file_hold(struct packed_file *file);
/* The last one closes it; NULL is nothing. */
void packed_file_release(struct packed_file *file);

/* As packed_image_decode(); of a file that has changed nothing is decoded. */
int packed_file_decode(const struct packed_file *file, struct packed_decoder *decoder,
                       uint64_t chunk, uint8_t *out, struct error *err);

#endif
