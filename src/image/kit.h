/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_IMAGE_KIT_H
#define TINE_IMAGE_KIT_H

#include <pthread.h>
#include <sys/stat.h>

#include "image/image.h"

#define KIT_FILES 2

/* The guest kit as an image. Its digest is that of what sha256sum prints for its files, so it can
 * be checked by hand: (cd KIT && sha256sum initrd.img vmlinux | sha256sum). */
struct image_kit {
    char *dir;                      /* owned; NULL: there is none */
    pthread_mutex_t lock;           /* guards what is below */
    struct stat files[KIT_FILES];   /* as they were when the digest was made; all zero: never */
    char digest[IMAGE_DIGEST_SIZE]; /* made anew when a file has changed */
};

/* ERROR_NOT_FOUND (-ENOENT) if there is no kit, or one of its files is missing. */
int image_kit_read(struct image_kit *kit, struct image *image, struct error *err);

#endif
