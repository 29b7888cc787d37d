/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile index of a compressed image. The first byte picks the format and what is done: the rest
 * is a file, but for the checksums and the magic number at its end, which are set right so that
 * what lies behind them is reached; or it is damage done to the file of a known image. What is
 * accepted must keep its promises, and the known image comes back as it was, chunk by chunk, or not
 * at all. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/codec.h"
#include "stack/packed_format.h"

#define CHUNKS   2u
#define RAW_SIZE (PACKED_CHUNK_SIZE + 3 * PACKED_PAGE_SIZE)
#define FILE_MAX (CHUNKS * PACKED_CHUNK_LIMIT + 4096)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct file {
    uint8_t bytes[FILE_MAX];
    size_t length;
};

static void require(int condition)
{
    if (!condition)
        abort();
}

static void append(struct file *file, const void *bytes, size_t length)
{
    require(length <= sizeof(file->bytes) - file->length);
    memcpy(file->bytes + file->length, bytes, length);
    file->length += length;
}

static void make_raw(uint8_t raw[RAW_SIZE])
{
    for (size_t i = 0; i < RAW_SIZE; i++)
        raw[i] = i / PACKED_PAGE_SIZE % 3 == 0 ? 0 : (uint8_t)(i / 7 * (i / 4096));
}

static void make_file(enum stack_algorithm algorithm, const uint8_t *raw, struct file *file)
{
    static uint8_t frame[PACKED_CHUNK_LIMIT];
    const struct codec *codec = codec_of(algorithm);
    struct packed_entry entries[CHUNKS];
    struct packed_head head;
    struct packed_foot foot;
    void *encoder = codec->encoder_new(codec->normal);
    require(encoder != NULL);
    file->length = 0;
    for (size_t i = 0; i < CHUNKS; i++) {
        const uint8_t *chunk = raw + i * PACKED_CHUNK_SIZE;
        size_t length = packed_chunk_length(RAW_SIZE, i), made = 0;
        require(codec->encode(encoder, chunk, length, frame, &made, NULL) == 0);
        append(file, frame, made);
        entries[i] = packed_entry_of(chunk, length, made);
    }
    codec->encoder_free(encoder);
    packed_seal(entries, RAW_SIZE, &head, &foot);
    append(file, &head, sizeof(head));
    append(file, entries, sizeof(entries));
    append(file, &foot, sizeof(foot));
}

static void make_right(uint8_t *bytes, size_t length)
{
    struct packed_foot foot;
    if (length < PACKED_FRAME_SIZE)
        return;
    memcpy(&foot, bytes + length - sizeof(foot), sizeof(foot));
    foot.raw_bytes %= 64 * PACKED_CHUNK_SIZE;
    foot.chunk_size = PACKED_CHUNK_SIZE;
    foot.format = PACKED_FORMAT;
    size_t entries = packed_chunks(foot.raw_bytes) * sizeof(struct packed_entry);
    if (entries + PACKED_FRAME_SIZE <= length) {
        size_t at = length - sizeof(foot) - entries;
        struct packed_head head = {PACKED_SKIPPABLE, (uint32_t)(entries + sizeof(foot))};
        memcpy(bytes + at - sizeof(head), &head, sizeof(head));
        foot.index_checksum = packed_checksum(bytes + at, entries);
    }
    foot.checksum = packed_checksum(&foot, offsetof(struct packed_foot, checksum));
    memcpy(foot.magic, PACKED_MAGIC, sizeof(foot.magic));
    memcpy(bytes + length - sizeof(foot), &foot, sizeof(foot));
}

/* Decodes all; with `raw` it must be that. */
static void read_all(enum stack_algorithm algorithm, const uint8_t *bytes, size_t length,
                     const uint8_t *raw)
{
    static uint8_t chunk[PACKED_CHUNK_SIZE];
    int fd = memfd_create("file", MFD_CLOEXEC);
    require(fd >= 0 && file_pwrite_exact(fd, bytes, length, 0, "file", NULL) == 0);
    _cleanup_(packed_decoder) struct packed_decoder *decoder = packed_decoder_new();
    _cleanup_(packed_image) struct packed_image *image =
        packed_image_open_fd(fd, "file", algorithm, NULL);
    require(decoder != NULL);
    if (!image)
        return;
    uint64_t size = packed_image_size(image);
    require(!raw || size == RAW_SIZE);
    for (uint64_t i = 0; i < packed_chunks(size); i++) {
        size_t part = packed_chunk_length(size, i);
        require((packed_image_zeros(image, i) & ~packed_all_zeros(part)) == 0);
        if (packed_image_decode(image, decoder, i, chunk, NULL) == 0 && raw)
            require(memcmp(chunk, raw + i * PACKED_CHUNK_SIZE, part) == 0);
    }
}

/* Three bytes each: where, counted from the end, and what is changed there. */
static void damaged(enum stack_algorithm algorithm, const uint8_t *data, size_t size)
{
    static struct file file;
    static uint8_t raw[RAW_SIZE];
    make_raw(raw);
    make_file(algorithm, raw, &file);
    for (size_t i = 0; i + 3 <= size; i += 3)
        file.bytes[file.length - 1 - (size_t)(data[i] << 8 | data[i + 1]) % file.length] ^=
            data[i + 2];
    read_all(algorithm, file.bytes, file.length, raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    enum stack_algorithm algorithm = data[0] & 1 ? STACK_LZ4 : STACK_ZSTD;
    if (data[0] & 2) {
        damaged(algorithm, data + 1, size - 1);
        return 0;
    }
    uint8_t *copy = malloc(size - 1);
    require(copy != NULL);
    memcpy(copy, data + 1, size - 1);
    make_right(copy, size - 1);
    read_all(algorithm, copy, size - 1, NULL);
    free(copy);
    return 0;
}
