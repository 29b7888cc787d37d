/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the store of images. */
#ifndef TINE_IMAGE_IMAGE_STORE_H
#define TINE_IMAGE_IMAGE_STORE_H

#include "image/kit.h"
#include "image/reference.h"

/* Nothing in it changes after image_store_open() but what its parts guard themselves. */
struct image_store {
    struct image_kit kit;
    struct store *store;
    int directory; /* <data_dir>/images */
};

/* "<id>.img" */
struct image_file {
    char name[INSTANCE_ID_LENGTH + 8];
};
struct image_file image_file(const struct image *image);

/* The name an image has in the database, from what a client calls it. ERROR_INVALID: no reference,
 * one with a digest, one that is too long, or the guest kit's. */
int image_name_new(const char *text, char name[IMAGE_NAME_SIZE], struct error *err);

#endif
