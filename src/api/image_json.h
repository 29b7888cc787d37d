/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_IMAGE_JSON_H
#define TINE_API_IMAGE_JSON_H

#include <jansson.h>

#include "api/request.h"
#include "image/image.h"

/* Image, as in the contract. */
json_t *image_json(const struct image *image);
/* ERROR_INVALID is about the name: invalid_name. */
enum MHD_Result reply_image_error(struct request *request, const struct error *err);

#endif
