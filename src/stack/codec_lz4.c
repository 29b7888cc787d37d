/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <lz4frame.h>
#include <stdlib.h>

#include "stack/codec.h"

static void encoder_free(void *encoder)
{
    free(encoder);
}

static void *encoder_new(int level)
{
    LZ4F_preferences_t *encoder = malloc(sizeof(*encoder));
    if (encoder)
        *encoder = (LZ4F_preferences_t){
            .frameInfo = {.blockSizeID = LZ4F_max256KB,
                          .contentChecksumFlag = LZ4F_contentChecksumEnabled},
            .compressionLevel = level,
        };
    return encoder;
}

static int encode(void *encoder, const uint8_t *in, size_t length, uint8_t *out, size_t *made,
                  struct error *err)
{
    LZ4F_preferences_t *preferences = encoder;
    preferences->frameInfo.contentSize = length;
    *made = LZ4F_compressFrame(out, PACKED_CHUNK_LIMIT, in, length, preferences);
    if (LZ4F_isError(*made))
        return error_set(err, ERROR_SYSTEM, EIO, "lz4: %s", LZ4F_getErrorName(*made));
    return 0;
}

static void decoder_free(void *decoder)
{
    LZ4F_freeDecompressionContext(decoder);
}

/* No frame of this format has blocks of more than 4 MiB. */
static void *decoder_new(unsigned window_log)
{
    LZ4F_dctx *decoder = NULL;
    return LZ4F_isError(LZ4F_createDecompressionContext(&decoder, LZ4F_VERSION)) ? NULL : decoder;
}

static const char *decode(void *decoder, struct codec_step *step)
{
    step->in_used = step->in_length;
    step->out_made = step->out_size;
    size_t left =
        LZ4F_decompress(decoder, step->out, &step->out_made, step->in, &step->in_used, NULL);
    step->ended = left == 0;
    return LZ4F_isError(left) ? LZ4F_getErrorName(left) : NULL;
}

const struct codec codec_lz4 = {
    .name = "lz4",
    .suffix = ".lz4",
    .lowest = 0,
    .highest = 9,
    .normal = 0,
    .encoder_new = encoder_new,
    .encoder_free = encoder_free,
    .encode = encode,
    .decoder_new = decoder_new,
    .decoder_free = decoder_free,
    .decode = decode,
};
