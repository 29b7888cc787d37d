/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding an image that has an index, as a whole: every chunk is checked by itself, and chunks of
 * zeros are left out. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "stack/codec.h"
#include "stack/copy.h"
#include "stack/packed_format.h"

struct unpack_chunks {
    const struct packed_image *image;
    struct packed_decoder *decoder;
    int out;
    const char *out_label;
    uint8_t *buffer;
    uint64_t written;
};

static int one_chunk(struct unpack_chunks *unpack, uint64_t chunk, struct error *err)
{
    size_t length = packed_chunk_length(packed_image_size(unpack->image), chunk);
    int r = packed_image_decode(unpack->image, unpack->decoder, chunk, unpack->buffer, err);
    if (r < 0)
        return r;
    r = failpoint("stack-expand-data");
    if (r < 0)
        return error_errno(err, -r, unpack->out_label, "write %s", unpack->out_label);
    return sparse_write(unpack->out, unpack->buffer, length, chunk * PACKED_CHUNK_SIZE,
                        unpack->out_label, &unpack->written, err);
}

int packed_wrong_size(const struct packed_image *image, const char *label, uint64_t size,
                      struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EUCLEAN,
                     "%s is damaged: it holds %s than %" PRIu64 " bytes", label,
                     packed_image_size(image) > size ? "more" : "less", size);
}

int unpack_chunks(const struct packed_image *image, const char *in_label, int out,
                  const char *out_label, uint64_t size, struct error *err)
{
    _cleanup_(packed_decoder) struct packed_decoder *decoder = packed_decoder_new();
    _cleanup_(free) uint8_t *buffer = malloc(PACKED_CHUNK_SIZE);
    struct unpack_chunks unpack = {
        .image = image, .decoder = decoder, .out = out, .out_label = out_label, .buffer = buffer};
    if (!decoder || !buffer)
        return error_errno(err, ENOMEM, in_label, "expand %s", in_label);
    if (packed_image_size(image) != size)
        return packed_wrong_size(image, in_label, size, err);
    /* Before the first byte: XFS allocates more than is written where writes make a file longer. */
    if (ftruncate(out, (off_t)size) < 0)
        return error_errno(err, errno, out_label, "set the size of %s", out_label);
    int r = 0;
    for (uint64_t chunk = 0; r == 0 && chunk < packed_chunks(size); chunk++)
        r = packed_image_is_zero(image, chunk) ? 0 : one_chunk(&unpack, chunk, err);
    return r;
}
