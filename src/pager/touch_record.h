/* SPDX-License-Identifier: Apache-2.0 */
/* The order in which pages of an image were first needed, in runs. As a file, little-endian: magic
 * "TINETUCH", u32 version, u32 number of runs, u64 pages of the image, the cache key in 128 bytes,
 * runs {u64 first page, u64 count}, and the XXH3-64 checksum of all before it. */
#ifndef TINE_PAGER_TOUCH_RECORD_H
#define TINE_PAGER_TOUCH_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define TOUCH_RECORD_VERSION  1u
#define TOUCH_RECORD_MAX_RUNS 65536u
#define TOUCH_RECORD_MAX_FILE (1024u + 16u * TOUCH_RECORD_MAX_RUNS)

struct touch_run {
    uint64_t page, count;
};

struct touch_record {
    struct touch_run *runs;
    uint32_t count, capacity;
    uint64_t pages; /* of all runs */
};

/* Adds pages that were just needed; a run that goes on is made longer. False: it is full. */
bool touch_record_add(struct touch_record *record, uint64_t page, uint64_t count);
void touch_record_free(struct touch_record *record);

/* The file's bytes, fresh (owner: caller); NULL when out of memory. */
uint8_t *touch_record_encode(const struct touch_record *record, const char *cache_key,
                             uint64_t image_pages, size_t *length);
/* Reads them; what comes in is hostile. ERROR_CORRUPT unless every run lies in the image, they have
 * no more pages than that, and it is that key's. */
int touch_record_decode(struct touch_record *record, const uint8_t *data, size_t length,
                        const char *cache_key, uint64_t image_pages, struct error *err);

#endif
