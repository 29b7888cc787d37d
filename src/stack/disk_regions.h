/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: the pages of a disk layer's map. */
#ifndef TINE_STACK_DISK_REGIONS_H
#define TINE_STACK_DISK_REGIONS_H

#include "stack/disk_layer.h"

/* Reads all regions that the header names into the map, checked. A page that was torn is cured:
 * `*cured` counts those. */
int disk_regions_read(struct disk_layer *layer, unsigned *cured, struct error *err);
/* Writes the dirty ones beside what is there, and names them in the header; not synced. A negative
 * errno leaves them dirty. */
int disk_regions_write(struct disk_layer *layer);
/* What was written is synced: from now on it is what counts. */
void disk_regions_commit(struct disk_layer *layer);
/* Over all that the map holds. */
uint64_t disk_regions_checksum(const struct disk_layer *layer);

#endif
