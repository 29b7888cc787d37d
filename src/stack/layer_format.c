/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/layer_format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

uint64_t layer_checksum(const void *bytes, size_t length)
{
    return XXH3_64bits(bytes, length);
}

void layer_header_seal(struct layer_header *header)
{
    header->checksum = layer_checksum(header, offsetof(struct layer_header, checksum));
}

void layer_header_describe(const struct layer_header *header, struct layer_info *info)
{
    *info = (struct layer_info){.image_pages = header->image_pages,
                                .data_pages = header->data_pages,
                                .zero_pages = header->zero_pages,
                                .runs = header->runs,
                                .file_bytes = layer_data_offset(header->data_pages) +
                                              layer_index_size(header->runs, header->data_pages),
                                .id = header->checksum};
}
