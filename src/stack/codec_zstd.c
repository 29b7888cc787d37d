/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "stack/codec.h"

static void encoder_free(void *encoder)
{
    ZSTD_freeCCtx(encoder);
}

static void *encoder_new(int level)
{
    ZSTD_CCtx *encoder = ZSTD_createCCtx();
    if (encoder && !ZSTD_isError(ZSTD_CCtx_setParameter(encoder, ZSTD_c_compressionLevel, level)) &&
        !ZSTD_isError(ZSTD_CCtx_setParameter(encoder, ZSTD_c_checksumFlag, 1)))
        return encoder;
    ZSTD_freeCCtx(encoder);
    return NULL;
}

static int encode(void *encoder, const uint8_t *in, size_t length, uint8_t *out, size_t *made,
                  struct error *err)
{
    *made = ZSTD_compress2(encoder, out, PACKED_CHUNK_LIMIT, in, length);
    if (ZSTD_isError(*made))
        return error_set(err, ERROR_SYSTEM, EIO, "zstd: %s", ZSTD_getErrorName(*made));
    return 0;
}

static void decoder_free(void *decoder)
{
    ZSTD_freeDCtx(decoder);
}

static void *decoder_new(unsigned window_log)
{
    ZSTD_DCtx *decoder = ZSTD_createDCtx();
    if (decoder &&
        !ZSTD_isError(ZSTD_DCtx_setParameter(decoder, ZSTD_d_windowLogMax, (int)window_log)))
        return decoder;
    ZSTD_freeDCtx(decoder);
    return NULL;
}

static const char *decode(void *decoder, struct codec_step *step)
{
    ZSTD_inBuffer input = {step->in, step->in_length, 0};
    ZSTD_outBuffer output = {step->out, step->out_size, 0};
    size_t left = ZSTD_decompressStream(decoder, &output, &input);
    step->in_used = input.pos;
    step->out_made = output.pos;
    step->ended = left == 0;
    return ZSTD_isError(left) ? ZSTD_getErrorName(left) : NULL;
}

const struct codec codec_zstd = {
    .name = "zstd",
    .suffix = ".zst",
    .lowest = 1,
    .highest = 19,
    .normal = 1,
    .encoder_new = encoder_new,
    .encoder_free = encoder_free,
    .encode = encode,
    .decoder_new = decoder_new,
    .decoder_free = decoder_free,
    .decode = decode,
};
