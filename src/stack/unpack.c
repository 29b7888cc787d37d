/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding what may be damaged, or made to do harm: no more than the expected size is ever written,
 * and memory is bounded by the format's window. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/failpoint.h"
#include "base/file.h"
#include "stack/codec.h"
#include "stack/copy.h"

#define IN_SIZE  (256u << 10)
#define OUT_SIZE (1u << 20)

struct unpack {
    const struct codec *codec;
    void *decoder;
    int in, out;
    const char *in_label, *out_label;
    uint64_t size, done, written;
    uint8_t *in_buffer, *out_buffer;
    size_t in_length, in_used, out_made;
    bool at_end; /* of the input file */
    bool ended;  /* a frame, just now */
};

static void cleanup_unpack(struct unpack *unpack)
{
    if (unpack->decoder)
        unpack->codec->decoder_free(unpack->decoder);
    free(unpack->in_buffer);
    free(unpack->out_buffer);
}

static int corrupt(const struct unpack *unpack, const char *why, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EUCLEAN, "%s is damaged: %s", unpack->in_label, why);
}

static int wrong_size(const struct unpack *unpack, const char *words, struct error *err)
{
    return error_set(err, ERROR_CORRUPT, EUCLEAN,
                     "%s is damaged: it holds %s than %" PRIu64 " bytes", unpack->in_label, words,
                     unpack->size);
}

static int refill(struct unpack *unpack, struct error *err)
{
    ssize_t got;
    do
        got = read(unpack->in, unpack->in_buffer, IN_SIZE);
    while (got < 0 && errno == EINTR);
    if (got < 0)
        return error_errno(err, errno, unpack->in_label, "read %s", unpack->in_label);
    unpack->in_length = (size_t)got;
    unpack->in_used = 0;
    unpack->at_end = got == 0;
    return 0;
}

static int flush(struct unpack *unpack, struct error *err)
{
    if (unpack->out_made > unpack->size - unpack->done)
        return wrong_size(unpack, "more", err);
    int r = failpoint("stack-expand-data");
    if (r < 0)
        return error_errno(err, -r, unpack->out_label, "write %s", unpack->out_label);
    if (unpack->out_made > 0)
        r = sparse_write(unpack->out, unpack->out_buffer, unpack->out_made, unpack->done,
                         unpack->out_label, &unpack->written, err);
    unpack->done += unpack->out_made;
    unpack->out_made = 0;
    return r;
}

static int decode_step(struct unpack *unpack, struct error *err)
{
    struct codec_step step = {
        .in = unpack->in_buffer + unpack->in_used,
        .in_length = unpack->in_length - unpack->in_used,
        .out = unpack->out_buffer + unpack->out_made,
        .out_size = OUT_SIZE - unpack->out_made,
    };
    const char *why = unpack->codec->decode(unpack->decoder, &step);
    if (why)
        return corrupt(unpack, why, err);
    unpack->in_used += step.in_used;
    unpack->out_made += step.out_made;
    unpack->ended = step.ended;
    if (!step.ended && step.in_used == 0 && step.out_made == 0) {
        if (unpack->at_end)
            return corrupt(unpack, "it ends too early", err);
        if (step.in_length > 0)
            return corrupt(unpack, "it can't be decoded any further", err);
    }
    return 0;
}

/* Behind the last frame there must be nothing. */
static int check_end(struct unpack *unpack, struct error *err)
{
    int r = flush(unpack, err);
    if (r == 0 && unpack->done != unpack->size)
        r = wrong_size(unpack, "less", err);
    if (r == 0 && unpack->in_used == unpack->in_length)
        r = refill(unpack, err);
    if (r == 0 && unpack->in_used < unpack->in_length)
        r = corrupt(unpack, "something follows its end, or its index is cut", err);
    return r;
}

static int decode_all(struct unpack *unpack, struct error *err)
{
    int r = 0;
    while (r == 0 && !(unpack->ended && unpack->done + unpack->out_made >= unpack->size)) {
        if (unpack->in_used == unpack->in_length && !unpack->at_end)
            r = refill(unpack, err);
        if (r == 0 && unpack->ended && unpack->at_end)
            break;
        if (r == 0)
            r = decode_step(unpack, err);
        if (r == 0 && unpack->out_made == OUT_SIZE)
            r = flush(unpack, err);
    }
    return r < 0 ? r : check_end(unpack, err);
}

int unpack(const struct codec *codec, int in, const char *in_label, int out, const char *out_label,
           uint64_t size, struct error *err)
{
    _cleanup_(unpack) struct unpack unpack = {.codec = codec,
                                              .in = in,
                                              .out = out,
                                              .in_label = in_label,
                                              .out_label = out_label,
                                              .size = size};
    unpack.decoder = codec->decoder_new(CODEC_WHOLE_WINDOW);
    unpack.in_buffer = malloc(IN_SIZE);
    unpack.out_buffer = malloc(OUT_SIZE);
    if (!unpack.decoder || !unpack.in_buffer || !unpack.out_buffer)
        return error_errno(err, ENOMEM, in_label, "expand %s", in_label);
    int r = decode_all(&unpack, err);
    if (r == 0 && ftruncate(out, (off_t)size) < 0)
        r = error_errno(err, errno, out_label, "set the size of %s", out_label);
    return r;
}
