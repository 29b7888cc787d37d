/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <zstd.h>

#include "stack/codec.h"

#define WINDOW_LOG_MAX 27 /* 128 MiB: what any decoder accepts by default; a bound for ours */

struct encoder {
    ZSTD_CCtx *context;
    size_t out_size;
    uint8_t out[];
};

static void encoder_free(void *data)
{
    struct encoder *encoder = data;
    if (encoder)
        ZSTD_freeCCtx(encoder->context);
    free(encoder);
}

static bool configure(ZSTD_CCtx *context, int level, uint64_t raw_bytes)
{
    return context &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_compressionLevel, level)) &&
           !ZSTD_isError(ZSTD_CCtx_setParameter(context, ZSTD_c_checksumFlag, 1)) &&
           !ZSTD_isError(ZSTD_CCtx_setPledgedSrcSize(context, raw_bytes));
}

static void *encoder_new(int level, uint64_t raw_bytes)
{
    size_t size = ZSTD_CStreamOutSize();
    struct encoder *encoder = calloc(1, sizeof(*encoder) + size);
    if (!encoder)
        return NULL;
    encoder->out_size = size;
    encoder->context = ZSTD_createCCtx();
    if (configure(encoder->context, level, raw_bytes))
        return encoder;
    encoder_free(encoder);
    return NULL;
}

static int encode(void *data, const uint8_t *in, size_t length, bool last, codec_sink *sink,
                  void *context, struct error *err)
{
    struct encoder *encoder = data;
    ZSTD_inBuffer input = {in, length, 0};
    size_t left = 0;
    do {
        ZSTD_outBuffer output = {encoder->out, encoder->out_size, 0};
        left = ZSTD_compressStream2(encoder->context, &output, &input,
                                    last ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left))
            return error_set(err, ERROR_SYSTEM, EIO, "zstd: %s", ZSTD_getErrorName(left));
        int r = output.pos > 0 ? sink(context, encoder->out, output.pos, err) : 0;
        if (r < 0)
            return r;
    } while (last ? left > 0 : input.pos < input.size);
    return 0;
}

static void decoder_free(void *decoder)
{
    ZSTD_freeDCtx(decoder);
}

static void *decoder_new(void)
{
    ZSTD_DCtx *decoder = ZSTD_createDCtx();
    if (decoder &&
        !ZSTD_isError(ZSTD_DCtx_setParameter(decoder, ZSTD_d_windowLogMax, WINDOW_LOG_MAX)))
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
