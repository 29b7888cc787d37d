/* SPDX-License-Identifier: Apache-2.0 */
/* Records of first touches by cache key: in memory for the siblings that come next, and beside the
 * image for those that come after this pager. Belongs to the control thread. */
#ifndef TINE_PAGER_RECORD_STORE_H
#define TINE_PAGER_RECORD_STORE_H

#include <stdint.h>

#include "base/error.h"
#include "pager/touch_record.h"

#define RECORD_STORE_MAX 64u /* keys */

struct record_store;
struct stored_record;

struct record_store *record_store_create(void);
void record_store_destroy(struct record_store *store);

/* The record of that key and size of image, or NULL. It stays until it is given back. */
struct stored_record *record_store_find(struct record_store *store, const char *cache_key,
                                        uint64_t image_pages);
void stored_record_release(struct stored_record *stored);
const struct touch_record *stored_record_get(const struct stored_record *stored);

/* Keeps a record (taken over, emptied); one that is there already is kept instead. The one that
 * nobody has used for longest gives way. */
void record_store_put(struct record_store *store, const char *cache_key, uint64_t image_pages,
                      struct touch_record *record);

/* Reads a record file into the store. -ENOENT (and `err`) if there is none. */
int record_store_load(struct record_store *store, int dirfd, const char *name,
                      const char *cache_key, uint64_t image_pages, struct error *err);

#endif
