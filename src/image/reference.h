/* SPDX-License-Identifier: Apache-2.0 */
/* Image references: [HOST[:PORT]/]PATH[:TAG][@sha256:DIGEST], the grammar of the OCI distribution
 * specification and of Docker's short names. */
#ifndef TINE_IMAGE_REFERENCE_H
#define TINE_IMAGE_REFERENCE_H

#include "image/image.h"

struct image_reference {
    char repository[IMAGE_NAME_SIZE]; /* with its host: "docker.io/library/alpine" */
    char tag[129];                    /* "latest" unless given; empty with a digest */
    char digest[IMAGE_DIGEST_SIZE];   /* empty unless given */
};

/* ERROR_INVALID names the text. */
int image_reference_parse(const char *text, struct image_reference *reference, struct error *err);

/* The normal form: "docker.io/library/alpine:latest", "docker.io/tine/guest@sha256:...". */
#define IMAGE_REFERENCE_SIZE (IMAGE_NAME_SIZE + 130)
void image_reference_format(const struct image_reference *reference,
                            char text[IMAGE_REFERENCE_SIZE]);

/* 1 if the text is a name of the guest kit (without a digest), 0 if not. */
int image_reference_is_kit(const char *text);

#endif
