/* SPDX-License-Identifier: Apache-2.0 */
/* A record of first touches: as it is, and with its checksum set right, so that what lies behind it
 * is reached. What is accepted comes back the same from its own bytes. */
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "pager/touch_record.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PAGES 65536u

static void require(int condition)
{
    if (!condition)
        abort();
}

static void decode(const uint8_t *data, size_t size)
{
    struct touch_record record = {0}, again = {0};
    struct error err = {0};
    size_t length = 0;
    if (touch_record_decode(&record, data, size, "", PAGES, &err) < 0)
        return;
    for (uint32_t i = 0; i < record.count; i++)
        require(record.runs[i].count > 0 && record.runs[i].page + record.runs[i].count <= PAGES);
    uint8_t *encoded = touch_record_encode(&record, "", PAGES, &length);
    require(encoded && touch_record_decode(&again, encoded, length, "", PAGES, &err) == 0);
    require(again.count == record.count && again.pages == record.pages);
    free(encoded);
    touch_record_free(&record);
    touch_record_free(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    decode(data, size);
    if (size < 8)
        return 0;
    uint8_t *copy = malloc(size);
    require(copy != NULL);
    memcpy(copy, data, size);
    uint64_t checksum = XXH3_64bits(copy, size - 8);
    memcpy(copy + size - 8, &checksum, 8);
    decode(copy, size);
    free(copy);
    return 0;
}
