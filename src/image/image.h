/* SPDX-License-Identifier: Apache-2.0 */
/* Images: what instances are made from. For now there is one, the guest kit. Safe from any thread.
 */
#ifndef TINE_IMAGE_IMAGE_H
#define TINE_IMAGE_IMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

#define IMAGE_NAME_SIZE   256
#define IMAGE_DIGEST_SIZE 72 /* "sha256:", 64 hex digits, NUL */
#define IMAGE_KIT         "tine/guest:latest"

struct image {
    char name[IMAGE_NAME_SIZE];
    char digest[IMAGE_DIGEST_SIZE];
    uint64_t created_at_ns; /* realtime */
    uint64_t size_bytes;
};

struct image_store;

/* `kit_dir` (vmlinux, initrd.img; NULL: none) is copied. NULL: out of memory. */
struct image_store *image_store_open(const char *kit_dir);
void image_store_close(struct image_store *store);

/* All images; owner: caller (free()). */
int image_list(struct image_store *store, struct image **images, size_t *count, struct error *err);
/* By any spelling of its name (reference.h), or by name and digest. ERROR_INVALID: that is no image
 * reference; ERROR_NOT_FOUND: it is not here. */
int image_get(struct image_store *store, const char *reference, struct image *image,
              struct error *err);

#endif
