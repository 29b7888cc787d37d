/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_JSON_TEXT_H
#define TINE_API_JSON_TEXT_H

#include <stddef.h>

#include "base/json.h"

/* A JSON string of any bytes: what is not UTF-8 becomes U+FFFD. NULL only for lack of memory. */
json_t *json_text(const char *text, size_t length);

#endif
