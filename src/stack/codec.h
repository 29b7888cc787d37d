/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: the compression formats, each a table of functions over its library. */
#ifndef TINE_STACK_CODEC_H
#define TINE_STACK_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "stack/compression.h"
#include "stack/packed_image.h"

/* Bytes on their way through a decoder. */
struct codec_step {
    const uint8_t *in;
    size_t in_length, in_used;
    uint8_t *out;
    size_t out_size, out_made;
    bool ended; /* the frame is complete and its checksum holds */
};

struct codec {
    const char *name, *suffix; /* of the file: ".zst" */
    int lowest, highest, normal;
    /* NULL: no memory. */
    void *(*encoder_new)(int level);
    void (*encoder_free)(void *encoder);
    /* Makes one whole frame, with the size and a checksum of the raw bytes, of at most
     * PACKED_CHUNK_SIZE bytes, for which `out` has room (PACKED_CHUNK_LIMIT). The failure of the
     * library is -EIO and its words. */
    int (*encode)(void *encoder, const uint8_t *in, size_t length, uint8_t *out, size_t *made,
                  struct error *err);
    /* Frames that need a larger window, of 2^window_log bytes, are refused: a frame may claim any,
     * and its decoder allocates it. */
    void *(*decoder_new)(unsigned window_log);
    void (*decoder_free)(void *decoder);
    /* One step on: NULL, or what is wrong with the input, in words. */
    const char *(*decode)(void *decoder, struct codec_step *step);
};

#define CODEC_CHUNK_WINDOW 18u /* a frame of a chunk has at most PACKED_CHUNK_SIZE bytes */
#define CODEC_WHOLE_WINDOW 23u /* one of a whole image: what level 19 makes of it */

extern const struct codec codec_zstd, codec_lz4;
const struct codec *codec_of(enum stack_algorithm algorithm);

/* Where the compressed image of a raw one is: "<name><suffix>". */
struct packed_file {
    struct stack_file file; /* points into the rest */
    char name[STACK_PACKED_NAME], label[160];
};
void packed_file_of(const struct stack_file *raw, enum stack_algorithm algorithm,
                    struct packed_file *packed);

/* Decodes the frames that `in` must hold from its beginning to its end into the empty file `out`,
 * which is then `size` bytes with holes where the content is zero. The way for files without an
 * index. */
int unpack(const struct codec *codec, int in, const char *in_label, int out, const char *out_label,
           uint64_t size, struct error *err);
/* The same of an image with an index. */
int unpack_chunks(const struct packed_image *image, const char *in_label, int out,
                  const char *out_label, uint64_t size, struct error *err);
/* The error of an image that has an index, and is not of `size` bytes. */
int packed_wrong_size(const struct packed_image *image, const char *label, uint64_t size,
                      struct error *err);

#endif
