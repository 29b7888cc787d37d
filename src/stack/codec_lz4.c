/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <lz4frame.h>
#include <stdlib.h>

#include "stack/codec.h"

struct encoder {
    LZ4F_cctx *context;
    LZ4F_preferences_t preferences;
    bool begun;
    size_t out_size; /* enough for what one call of the library makes */
    uint8_t out[];
};

static void encoder_free(void *data)
{
    struct encoder *encoder = data;
    if (encoder)
        LZ4F_freeCompressionContext(encoder->context);
    free(encoder);
}

static void *encoder_new(int level, uint64_t raw_bytes)
{
    const LZ4F_preferences_t preferences = {
        .frameInfo = {.blockSizeID = LZ4F_max1MB,
                      .contentChecksumFlag = LZ4F_contentChecksumEnabled,
                      .contentSize = raw_bytes},
        .compressionLevel = level,
    };
    size_t size = LZ4F_compressBound(STACK_TASK_STEP, &preferences) + LZ4F_HEADER_SIZE_MAX;
    struct encoder *encoder = calloc(1, sizeof(*encoder) + size);
    if (!encoder)
        return NULL;
    encoder->preferences = preferences;
    encoder->out_size = size;
    if (!LZ4F_isError(LZ4F_createCompressionContext(&encoder->context, LZ4F_VERSION)))
        return encoder;
    encoder_free(encoder);
    return NULL;
}

/* Hands on what one call of the library made. */
static int hand_on(struct encoder *encoder, size_t made, codec_sink *sink, void *context,
                   struct error *err)
{
    if (LZ4F_isError(made))
        return error_set(err, ERROR_SYSTEM, EIO, "lz4: %s", LZ4F_getErrorName(made));
    return made > 0 ? sink(context, encoder->out, made, err) : 0;
}

static int encode(void *data, const uint8_t *in, size_t length, bool last, codec_sink *sink,
                  void *context, struct error *err)
{
    struct encoder *encoder = data;
    int r = 0;
    if (!encoder->begun)
        r = hand_on(encoder,
                    LZ4F_compressBegin(encoder->context, encoder->out, encoder->out_size,
                                       &encoder->preferences),
                    sink, context, err);
    encoder->begun = true;
    if (r == 0 && length > 0)
        r = hand_on(encoder,
                    LZ4F_compressUpdate(encoder->context, encoder->out, encoder->out_size, in,
                                        length, NULL),
                    sink, context, err);
    if (r == 0 && last)
        r = hand_on(encoder,
                    LZ4F_compressEnd(encoder->context, encoder->out, encoder->out_size, NULL), sink,
                    context, err);
    return r;
}

static void decoder_free(void *decoder)
{
    LZ4F_freeDecompressionContext(decoder);
}

static void *decoder_new(void)
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
