/* SPDX-License-Identifier: Apache-2.0 */
#include <stdbool.h>
#include <string.h>

#include "base/file.h"
#include "stack/copy.h"

#define BLOCK 4096u

bool bytes_are_zero(const uint8_t *bytes, size_t length)
{
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, length - 1) == 0;
}

/* The block of the file that holds `offset`, cut to what is left. */
static size_t block_length(uint64_t offset, size_t left)
{
    size_t length = BLOCK - (size_t)(offset % BLOCK);
    return length < left ? length : left;
}

int sparse_write(int fd, const uint8_t *bytes, size_t length, uint64_t offset, const char *label,
                 uint64_t *written, struct error *err)
{
    size_t start = 0; /* of the run not written yet */
    size_t at = 0;
    while (at <= length) {
        size_t block = block_length(offset + at, length - at);
        bool data = block > 0 && !bytes_are_zero(bytes + at, block);
        if (!data && at > start) {
            int r = file_pwrite_exact(fd, bytes + start, at - start, offset + start, label, err);
            if (r < 0)
                return r;
            *written += at - start;
        }
        if (block == 0)
            break;
        at += block;
        if (!data)
            start = at;
    }
    return 0;
}
