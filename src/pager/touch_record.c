/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/touch_record.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/cleanup.h"
#include "pager/session_block.h"

#define CHECKSUM_SIZE sizeof(uint64_t)

struct file_header {
    uint8_t magic[8];
    uint32_t version, runs;
    uint64_t image_pages;
    char cache_key[SESSION_KEY_SIZE];
};

static const uint8_t magic[8] = "TINETUCH";

static bool grow(struct touch_record *record)
{
    uint32_t capacity = record->capacity ? 2 * record->capacity : 64;
    if (record->count == TOUCH_RECORD_MAX_RUNS)
        return false;
    struct touch_run *runs = reallocarray(record->runs, capacity, sizeof(*runs));
    if (!runs)
        return false;
    record->runs = runs;
    record->capacity = capacity;
    return true;
}

bool touch_record_add(struct touch_record *record, uint64_t page, uint64_t count)
{
    struct touch_run *last = record->count ? &record->runs[record->count - 1] : NULL;
    if (last && last->page + last->count == page) {
        last->count += count;
    } else {
        if ((!record->runs || record->count == record->capacity) && !grow(record))
            return false;
        record->runs[record->count++] = (struct touch_run){.page = page, .count = count};
    }
    record->pages += count;
    return true;
}

void touch_record_free(struct touch_record *record)
{
    free(record->runs);
    *record = (struct touch_record){0};
}

uint8_t *touch_record_encode(const struct touch_record *record, const char *cache_key,
                             uint64_t image_pages, size_t *length)
{
    struct file_header header = {
        .version = TOUCH_RECORD_VERSION, .runs = record->count, .image_pages = image_pages};
    size_t runs_size = record->count * sizeof(*record->runs);
    *length = sizeof(header) + runs_size + CHECKSUM_SIZE;
    uint8_t *data = malloc(*length);
    if (!data)
        return NULL;
    memcpy(header.magic, magic, sizeof(magic));
    snprintf(header.cache_key, sizeof(header.cache_key), "%s", cache_key);
    memcpy(data, &header, sizeof(header));
    if (runs_size > 0)
        memcpy(data + sizeof(header), record->runs, runs_size);
    uint64_t checksum = XXH3_64bits(data, *length - CHECKSUM_SIZE);
    memcpy(data + *length - CHECKSUM_SIZE, &checksum, CHECKSUM_SIZE);
    return data;
}

static int corrupt(struct error *err, const char *why)
{
    return error_set(err, ERROR_CORRUPT, EINVAL, "the record of first touches %s", why);
}

static int frame_check(const uint8_t *data, size_t length, struct file_header *header,
                       struct error *err)
{
    uint64_t checksum = 0;
    if (length < sizeof(*header) + CHECKSUM_SIZE)
        return corrupt(err, "is too short");
    memcpy(header, data, sizeof(*header));
    memcpy(&checksum, data + length - CHECKSUM_SIZE, CHECKSUM_SIZE);
    if (memcmp(header->magic, magic, sizeof(magic)) != 0)
        return corrupt(err, "has no magic number");
    if (header->version != TOUCH_RECORD_VERSION)
        return error_set(err, ERROR_CORRUPT, EINVAL,
                         "the record of first touches has version %u, this pager knows %u",
                         header->version, TOUCH_RECORD_VERSION);
    if (header->runs > TOUCH_RECORD_MAX_RUNS ||
        length != sizeof(*header) + header->runs * sizeof(struct touch_run) + CHECKSUM_SIZE)
        return corrupt(err, "has a length that does not fit its number of runs");
    if (XXH3_64bits(data, length - CHECKSUM_SIZE) != checksum)
        return corrupt(err, "has a checksum that does not match");
    return 0;
}

static int runs_check(const struct touch_record *record, uint64_t image_pages, struct error *err)
{
    uint64_t left = image_pages;
    for (uint32_t i = 0; i < record->count; i++) {
        const struct touch_run *run = &record->runs[i];
        if (run->count == 0 || run->page >= image_pages || run->count > image_pages - run->page)
            return corrupt(err, "has a run outside the image");
        if (run->count > left)
            return corrupt(err, "has more pages than the image");
        left -= run->count;
    }
    return 0;
}

int touch_record_decode(struct touch_record *record, const uint8_t *data, size_t length,
                        const char *cache_key, uint64_t image_pages, struct error *err)
{
    struct file_header header = {0};
    int r = frame_check(data, length, &header, err);
    if (r < 0)
        return r;
    if (strncmp(header.cache_key, cache_key, sizeof(header.cache_key)) != 0)
        return corrupt(err, "has another cache key");
    if (header.image_pages != image_pages)
        return corrupt(err, "is of an image of another size");
    struct touch_record made = {.count = header.runs, .capacity = header.runs};
    made.runs = calloc(header.runs ? header.runs : 1, sizeof(*made.runs));
    if (!made.runs)
        return error_errno(err, ENOMEM, NULL, "read the record of first touches");
    memcpy(made.runs, data + sizeof(header), header.runs * sizeof(*made.runs));
    for (uint32_t i = 0; i < made.count; i++)
        made.pages += made.runs[i].count;
    r = runs_check(&made, image_pages, err);
    if (r < 0)
        touch_record_free(&made);
    else
        *record = made;
    return r;
}
