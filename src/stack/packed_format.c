/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/packed_format.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "stack/copy.h"

_Static_assert(PACKED_CHUNK_SIZE == PACKED_CHUNK_PAGES * PACKED_PAGE_SIZE, "a chunk is full");

uint64_t packed_checksum(const void *bytes, size_t length)
{
    return XXH3_64bits(bytes, length);
}

struct packed_entry packed_entry_of(const uint8_t *raw, size_t length, size_t packed)
{
    struct packed_entry entry = {.length = (uint32_t)packed,
                                 .checksum = packed_checksum(raw, length)};
    for (size_t at = 0, page = 0; at < length; at += PACKED_PAGE_SIZE, page++) {
        size_t left = length - at < PACKED_PAGE_SIZE ? length - at : PACKED_PAGE_SIZE;
        if (bytes_are_zero(raw + at, left))
            entry.zeros |= 1ull << page;
    }
    return entry;
}

void packed_seal(const struct packed_entry *entries, uint64_t raw_bytes, struct packed_head *head,
                 struct packed_foot *foot)
{
    size_t length = packed_chunks(raw_bytes) * sizeof(*entries);
    *head = (struct packed_head){.magic = PACKED_SKIPPABLE,
                                 .length = (uint32_t)(length + sizeof(*foot))};
    *foot = (struct packed_foot){.raw_bytes = raw_bytes,
                                 .chunk_size = PACKED_CHUNK_SIZE,
                                 .format = PACKED_FORMAT,
                                 .index_checksum = packed_checksum(entries, length)};
    foot->checksum = packed_checksum(foot, offsetof(struct packed_foot, checksum));
    memcpy(foot->magic, PACKED_MAGIC, sizeof(foot->magic));
}

bool packed_foot_is(const struct packed_foot *foot)
{
    return memcmp(foot->magic, PACKED_MAGIC, sizeof(foot->magic)) == 0;
}

const char *packed_foot_check(const struct packed_foot *foot, uint64_t file_bytes)
{
    if (packed_checksum(foot, offsetof(struct packed_foot, checksum)) != foot->checksum)
        return "the checksum at its end does not match";
    if (foot->format != PACKED_FORMAT)
        return "its index has a format that this version can't read";
    if (foot->chunk_size != PACKED_CHUNK_SIZE)
        return "it has other chunks than its format";
    if (foot->raw_bytes > PACKED_SIZE_LIMIT)
        return "its image has an impossible size";
    /* A frame is never empty. */
    if (packed_chunks(foot->raw_bytes) * (sizeof(struct packed_entry) + 1) + PACKED_FRAME_SIZE >
        file_bytes)
        return "it is too short for its index";
    return NULL;
}

static const char *entry_check(const struct packed_entry *entry, size_t raw_length)
{
    if (entry->length == 0 || entry->length > PACKED_CHUNK_LIMIT)
        return "a chunk has an impossible length";
    if (entry->reserved != 0 || entry->zeros & ~packed_all_zeros(raw_length))
        return "a chunk has pages that there are none of";
    return NULL;
}

const char *packed_index_parse(const struct packed_foot *foot, uint64_t file_bytes,
                               const uint8_t *bytes, struct packed_chunk *chunks)
{
    struct packed_head head;
    uint64_t count = packed_chunks(foot->raw_bytes), offset = 0;
    size_t length = count * sizeof(struct packed_entry);
    memcpy(&head, bytes, sizeof(head));
    bytes += sizeof(head);
    if (head.magic != PACKED_SKIPPABLE || head.length != length + sizeof(*foot))
        return "its index does not begin where it should";
    if (packed_checksum(bytes, length) != foot->index_checksum)
        return "the checksum of its index does not match";
    for (uint64_t i = 0; i < count; i++) {
        struct packed_entry entry;
        memcpy(&entry, bytes + i * sizeof(entry), sizeof(entry));
        const char *why = entry_check(&entry, packed_chunk_length(foot->raw_bytes, i));
        if (why)
            return why;
        chunks[i] = (struct packed_chunk){offset, entry.zeros, entry.checksum, entry.length};
        offset += entry.length;
    }
    if (offset + length + PACKED_FRAME_SIZE != file_bytes)
        return "its chunks do not end where its index begins";
    return NULL;
}
