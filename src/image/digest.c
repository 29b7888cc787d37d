/* SPDX-License-Identifier: Apache-2.0 */
#include "image/digest.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/cleanup.h"

#define BLOCK (256u << 10)

void digest_hex(struct sha256_ctx *context, char hex[DIGEST_HEX_SIZE])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(context, sizeof(digest), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

int digest_file(int dirfd, const char *name, char hex[DIGEST_HEX_SIZE], struct error *err)
{
    _cleanup_(close) int fd = openat(dirfd, name, O_RDONLY | O_CLOEXEC);
    _cleanup_(free) uint8_t *block = malloc(BLOCK);
    struct sha256_ctx context;
    ssize_t n;
    if (fd < 0 || !block)
        return error_errno(err, fd < 0 ? errno : ENOMEM, name, "open %s", name);
    sha256_init(&context);
    while ((n = read(fd, block, BLOCK)) > 0)
        sha256_update(&context, (size_t)n, block);
    if (n < 0)
        return error_errno(err, errno, name, "read %s", name);
    digest_hex(&context, hex);
    return 0;
}
