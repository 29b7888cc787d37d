/* SPDX-License-Identifier: Apache-2.0 */
#include "stack/packed_image.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/codec.h"
#include "stack/packed_format.h"

#define ALGORITHMS 2

_Static_assert(PACKED_CHUNK_SIZE <= 1u << CODEC_CHUNK_WINDOW, "a chunk fits its window");

struct packed_image {
    int fd;
    char *label;
    enum stack_algorithm algorithm;
    struct packed_foot foot;
    struct packed_chunk *chunks;
};

struct packed_decoder {
    void *decoders[ALGORITHMS]; /* made when they are needed */
    uint8_t frame[PACKED_CHUNK_LIMIT];
};

void packed_image_close(struct packed_image *image)
{
    if (!image)
        return;
    cleanup_close(&image->fd);
    free(image->label);
    free(image->chunks);
    free(image);
}

static int damaged(const struct packed_image *image, const char *why, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EUCLEAN, "%s is damaged: %s", image->label, why);
}

/* ---- opening ---- */

static int foot_read(struct packed_image *image, uint64_t file_bytes, struct error *err)
{
    struct packed_foot *foot = &image->foot;
    int r = 0;
    if (file_bytes >= PACKED_FRAME_SIZE)
        r = file_pread_exact(image->fd, foot, sizeof(*foot), file_bytes - sizeof(*foot),
                             image->label, err);
    if (r < 0)
        return r;
    if (!packed_foot_is(foot))
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "%s has no index: it can only be expanded as a whole", image->label);
    const char *why = packed_foot_check(foot, file_bytes);
    return why ? damaged(image, why, err) : 0;
}

static int index_read(struct packed_image *image, uint64_t file_bytes, struct error *err)
{
    uint64_t count = packed_chunks(image->foot.raw_bytes);
    size_t length = sizeof(struct packed_head) + count * sizeof(struct packed_entry);
    uint64_t offset = file_bytes - sizeof(image->foot) - length;
    _cleanup_(free) uint8_t *bytes = malloc(length);
    image->chunks = calloc(count + 1, sizeof(*image->chunks));
    if (!bytes || !image->chunks)
        return error_errno(err, ENOMEM, image->label, "open %s", image->label);
    int r = file_pread_exact(image->fd, bytes, length, offset, image->label, err);
    if (r < 0)
        return r;
    const char *why = packed_index_parse(&image->foot, file_bytes, bytes, image->chunks);
    return why ? damaged(image, why, err) : 0;
}

static int load(struct packed_image *image, struct error *err)
{
    struct stat st;
    if (fstat(image->fd, &st) < 0)
        return error_errno(err, errno, image->label, "stat %s", image->label);
    int r = foot_read(image, (uint64_t)st.st_size, err);
    return r < 0 ? r : index_read(image, (uint64_t)st.st_size, err);
}

struct packed_image *packed_image_open_fd(int fd, const char *label, enum stack_algorithm algorithm,
                                          struct error *err)
{
    _cleanup_(close) int owned = fd;
    _cleanup_(packed_image) struct packed_image *image = calloc(1, sizeof(*image));
    if (image) {
        image->fd = TAKE_FD(owned);
        image->algorithm = algorithm;
        image->label = strdup(label);
    }
    if (!image || !image->label) {
        error_errno(err, ENOMEM, label, "open %s", label);
        return NULL;
    }
    return load(image, err) == 0 ? TAKE_PTR(image) : NULL;
}

/* ---- what is known ---- */

uint64_t packed_image_size(const struct packed_image *image)
{
    return image->foot.raw_bytes;
}

uint64_t packed_image_id(const struct packed_image *image)
{
    return image->foot.checksum;
}

uint64_t packed_image_zeros(const struct packed_image *image, uint64_t chunk)
{
    return image->chunks[chunk].zeros;
}

bool packed_image_is_zero(const struct packed_image *image, uint64_t chunk)
{
    return image->chunks[chunk].zeros ==
           packed_all_zeros(packed_chunk_length(image->foot.raw_bytes, chunk));
}

/* ---- decoding ---- */

struct packed_decoder *packed_decoder_new(void)
{
    return calloc(1, sizeof(struct packed_decoder));
}

void packed_decoder_free(struct packed_decoder *decoder)
{
    for (int i = 0; decoder && i < ALGORITHMS; i++) {
        if (decoder->decoders[i])
            codec_of((enum stack_algorithm)i)->decoder_free(decoder->decoders[i]);
    }
    free(decoder);
}

/* The frame must hold these bytes and end with them. NULL, or what is wrong. */
static const char *frame_decode(const struct codec *codec, void *decoder, struct codec_step all)
{
    size_t used = 0, made = 0;
    for (;;) {
        struct codec_step step = {.in = all.in + used,
                                  .in_length = all.in_length - used,
                                  .out = all.out + made,
                                  .out_size = all.out_size - made};
        const char *why = codec->decode(decoder, &step);
        if (why)
            return why;
        used += step.in_used;
        made += step.out_made;
        if (step.ended)
            break;
        if (step.in_used == 0 && step.out_made == 0)
            return made == all.out_size ? "it holds more than it should"
                                        : "it does not end where it should";
    }
    if (made < all.out_size)
        return "it holds less than it should";
    return used < all.in_length ? "it ends too early" : NULL;
}

/* A decoder that has failed is in no state to be used again. */
static const char *chunk_decode(const struct packed_image *image, struct packed_decoder *decoder,
                                const struct packed_chunk *chunk, uint8_t *out, size_t length)
{
    const struct codec *codec = codec_of(image->algorithm);
    void **of_codec = &decoder->decoders[image->algorithm];
    const struct codec_step all = {
        .in = decoder->frame, .in_length = chunk->length, .out = out, .out_size = length};
    const char *why = frame_decode(codec, *of_codec, all);
    if (why) {
        codec->decoder_free(*of_codec);
        *of_codec = NULL;
        return why;
    }
    return packed_checksum(out, length) == chunk->checksum ? NULL : "its checksum does not match";
}

int packed_image_decode(const struct packed_image *image, struct packed_decoder *decoder,
                        uint64_t chunk, uint8_t *out, struct error *err)
{
    const struct packed_chunk *packed = &image->chunks[chunk];
    const struct codec *codec = codec_of(image->algorithm);
    void **of_codec = &decoder->decoders[image->algorithm];
    size_t length = packed_chunk_length(image->foot.raw_bytes, chunk);
    if (!*of_codec && !(*of_codec = codec->decoder_new(CODEC_CHUNK_WINDOW)))
        return error_errno(err, ENOMEM, image->label, "decode %s", image->label);
    int r = file_pread_exact(image->fd, decoder->frame, packed->length, packed->offset,
                             image->label, err);
    if (r < 0)
        return r;
    const char *why = chunk_decode(image, decoder, packed, out, length);
    if (why)
        return error_set(err, ERROR_CORRUPT, EUCLEAN,
                         "%s is damaged: chunk %" PRIu64 " at %" PRIu64 ": %s", image->label, chunk,
                         packed->offset, why);
    memset(out + length, 0, PACKED_CHUNK_SIZE - length);
    return 0;
}
