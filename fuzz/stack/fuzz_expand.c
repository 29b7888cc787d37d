/* SPDX-License-Identifier: Apache-2.0 */
/* A hostile compressed image: never more than the expected size is written, and what is accepted
 * has exactly that size. The first byte picks the format, the second the expected size. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "stack/codec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t size_of(int fd)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        abort();
    return (uint64_t)st.st_size;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 2)
        return 0;
    _cleanup_(close) int in = memfd_create("in", MFD_CLOEXEC);
    _cleanup_(close) int out = memfd_create("out", MFD_CLOEXEC);
    uint64_t expected = (uint64_t)data[1] << 12;
    if (in < 0 || out < 0 || file_pwrite_exact(in, data + 2, size - 2, 0, "in", NULL) < 0)
        abort();
    int r = unpack(data[0] & 1 ? &codec_lz4 : &codec_zstd, in, "in", out, "out", expected, NULL);
    if (size_of(out) > expected || (r == 0 && size_of(out) != expected))
        abort();
    return 0;
}
