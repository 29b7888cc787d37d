/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/record_store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "pager/session_block.h"

struct stored_record {
    char cache_key[SESSION_KEY_SIZE];
    uint64_t image_pages;
    struct touch_record record;
    unsigned users;
    uint64_t used; /* counts the store's uses */
};

struct record_store {
    struct stored_record places[RECORD_STORE_MAX];
    uint64_t uses;
};

struct record_store *record_store_create(void)
{
    return calloc(1, sizeof(struct record_store));
}

void record_store_destroy(struct record_store *store)
{
    for (unsigned i = 0; store && i < RECORD_STORE_MAX; i++)
        touch_record_free(&store->places[i].record);
    free(store);
}

static struct stored_record *lookup(struct record_store *store, const char *cache_key,
                                    uint64_t image_pages)
{
    for (unsigned i = 0; i < RECORD_STORE_MAX; i++) {
        struct stored_record *place = &store->places[i];
        if (place->used > 0 && place->image_pages == image_pages &&
            strcmp(place->cache_key, cache_key) == 0)
            return place;
    }
    return NULL;
}

struct stored_record *record_store_find(struct record_store *store, const char *cache_key,
                                        uint64_t image_pages)
{
    struct stored_record *found = lookup(store, cache_key, image_pages);
    if (found) {
        found->users++;
        found->used = ++store->uses;
    }
    return found;
}

void stored_record_release(struct stored_record *stored)
{
    if (stored)
        stored->users--;
}

const struct touch_record *stored_record_get(const struct stored_record *stored)
{
    return &stored->record;
}

static struct stored_record *make_place(struct record_store *store)
{
    struct stored_record *oldest = NULL;
    for (unsigned i = 0; i < RECORD_STORE_MAX; i++) {
        struct stored_record *place = &store->places[i];
        if (place->users == 0 && (!oldest || place->used < oldest->used))
            oldest = place;
    }
    if (oldest)
        touch_record_free(&oldest->record);
    return oldest;
}

void record_store_put(struct record_store *store, const char *cache_key, uint64_t image_pages,
                      struct touch_record *record)
{
    struct stored_record *place = lookup(store, cache_key, image_pages) ? NULL : make_place(store);
    if (!place) {
        touch_record_free(record);
        return;
    }
    snprintf(place->cache_key, sizeof(place->cache_key), "%s", cache_key);
    place->image_pages = image_pages;
    place->record = *record;
    place->used = ++store->uses;
    *record = (struct touch_record){0};
}

int record_store_load(struct record_store *store, int dirfd, const char *name,
                      const char *cache_key, uint64_t image_pages, struct error *err)
{
    _cleanup_(free) char *data = NULL;
    struct touch_record record = {0};
    size_t length = 0;
    struct stat st;
    if (fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISREG(st.st_mode))
        return error_set(err, ERROR_INVALID, EINVAL, "%s is not a regular file", name);
    int r = file_read_all(dirfd, name, TOUCH_RECORD_MAX_FILE, &data, &length, err);
    if (r == 0)
        r = touch_record_decode(&record, (const uint8_t *)data, length, cache_key, image_pages,
                                err);
    if (r < 0)
        return error_wrap(err, "%s", name);
    record_store_put(store, cache_key, image_pages, &record);
    return 0;
}
