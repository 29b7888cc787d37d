/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_IMAGE_DIGEST_H
#define TINE_IMAGE_DIGEST_H

#include <nettle/sha2.h>

#include "base/error.h"

#define DIGEST_PREFIX   "sha256:"
#define DIGEST_HEX_SIZE (2 * SHA256_DIGEST_SIZE + 1)

/* Ends the context's hash. */
void digest_hex(struct sha256_ctx *context, char hex[DIGEST_HEX_SIZE]);
/* The hash of a file's content. */
int digest_file(int dirfd, const char *name, char hex[DIGEST_HEX_SIZE], struct error *err);

#endif
