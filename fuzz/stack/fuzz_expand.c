/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile compressed image: never more than the expected size is written, and what is accepted
 * has exactly that size. The first byte picks the format and what comes of the rest: a frame, but
 * for its magic number; or damage done to the frame of a known image, which is then refused or
 * comes back as it was. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/codec.h"

#define RAW_SIZE (48u << 10)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct frame {
    uint8_t bytes[PACKED_CHUNK_LIMIT];
    size_t length;
};

static uint64_t size_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        abort();
    return (uint64_t)st.st_size;
}

/* Text, noise and zeros. */
static void make_raw(uint8_t raw[RAW_SIZE])
{
    uint32_t noise = 1;
    memset(raw, 0, RAW_SIZE);
    for (size_t i = 0; i < RAW_SIZE / 3; i++)
        raw[i] = (uint8_t)("tine forks microVMs. "[i % 21] + (i % 1000 == 0));
    for (size_t i = RAW_SIZE / 3; i < RAW_SIZE / 2; i++) {
        noise = noise * 1664525u + 1013904223u;
        raw[i] = (uint8_t)(noise >> 24);
    }
}

static void make_frame(const struct codec *codec, const uint8_t *raw, struct frame *frame)
{
    void *encoder = codec->encoder_new(codec->normal);
    if (!encoder || codec->encode(encoder, raw, RAW_SIZE, frame->bytes, &frame->length, NULL) < 0)
        abort();
    codec->encoder_free(encoder);
}

static int expand(const struct codec *codec, const uint8_t *bytes, size_t length, uint64_t expected,
                  int out)
{
    _cleanup_(close) int in = memfd_create("in", MFD_CLOEXEC);
    if (in < 0 || file_pwrite_exact(in, bytes, length, 0, "in", NULL) < 0)
        abort();
    int r = unpack(codec, in, "in", out, "out", expected, NULL);
    if (size_of(out) > expected || (r == 0 && size_of(out) != expected))
        abort();
    return r;
}

/* Three bytes each: where, and what is changed there. */
static void damaged(const struct codec *codec, const uint8_t *data, size_t size, int out)
{
    static struct frame frame;
    static uint8_t raw[RAW_SIZE], back[RAW_SIZE];
    make_raw(raw);
    make_frame(codec, raw, &frame);
    for (size_t i = 0; i + 3 <= size; i += 3)
        frame.bytes[(data[i] << 8 | data[i + 1]) % frame.length] ^= data[i + 2];
    if (expand(codec, frame.bytes, frame.length, RAW_SIZE, out) < 0)
        return;
    if (file_pread_exact(out, back, RAW_SIZE, 0, "out", NULL) < 0 ||
        memcmp(raw, back, RAW_SIZE) != 0)
        abort();
}

static void made_up(const struct codec *codec, const uint8_t *data, size_t size, int out)
{
    static const uint8_t zstd[] = {0x28, 0xb5, 0x2f, 0xfd}, lz4[] = {0x04, 0x22, 0x4d, 0x18};
    uint8_t frame[4096];
    size_t length = size - 1 < sizeof(frame) - 4 ? size - 1 : sizeof(frame) - 4;
    memcpy(frame, codec == &codec_lz4 ? lz4 : zstd, 4);
    memcpy(frame + 4, data + 1, length);
    expand(codec, frame, length + 4, (uint64_t)data[0] << 10, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    const struct codec *codec = data[0] & 1 ? &codec_lz4 : &codec_zstd;
    _cleanup_(close) int out = memfd_create("out", MFD_CLOEXEC);
    if (out < 0)
        abort();
    if (data[0] & 2)
        damaged(codec, data + 1, size - 1, out);
    else
        made_up(codec, data + 1, size - 1, out);
    return 0;
}
