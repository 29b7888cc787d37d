/* SPDX-License-Identifier: Apache-2.0 */
/* A base, raw or compressed, and delta layers over it (stack/layer.h) as a page source: each raw
 * file mapped, each page copied from the highest layer that names it. */
#ifndef TINE_PAGER_STACK_SOURCE_H
#define TINE_PAGER_STACK_SOURCE_H

#include <sys/stat.h>

#include "pager/packed_source.h"

#define STACK_SOURCE_FILES 33u /* a base and as many layers as a stack may have */

/* A file as it was opened. */
struct source_file {
    int fd;
    struct stat st;
    const char *label;
};

/* `files`, lowest first, are borrowed; the lowest, the base, may be alone. ERROR_CORRUPT if a file
 * is damaged or of an image of another size. The reference belongs to the caller. */
struct page_source *stack_source_open(const struct source_file *files, unsigned count,
                                      const struct base_format *base, struct error *err);

#endif
