/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: reading and writing the header of a disk layer. */
#ifndef TINE_STACK_DISK_HEADER_H
#define TINE_STACK_DISK_HEADER_H

#include "stack/disk_layer.h"

/* Both need fd, label and layout. Read: the one that counts, checked. Write: the next generation,
 * into the other place; not synced. */
int disk_header_read(struct disk_layer *layer, uint64_t image_size, struct error *err);
int disk_header_write(struct disk_layer *layer);

/* If the map has pages of a region. */
bool disk_header_has(const struct disk_header *header, uint32_t region);
void disk_header_add(struct disk_layer *layer, uint32_t region);

#endif
