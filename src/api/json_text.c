/* SPDX-License-Identifier: Apache-2.0 */
#include "api/json_text.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/utf8.h"

json_t *json_text(const char *text, size_t length)
{
    json_t *plain = json_stringn(text, length);
    if (plain)
        return plain;
    const size_t replacement = strlen(UTF8_REPLACEMENT);
    _cleanup_(free) char *clean = malloc(length * replacement + 1);
    if (!clean)
        return NULL;
    size_t used = 0;
    for (size_t i = 0; i < length;) {
        size_t n = utf8_sequence(text + i, length - i);
        memcpy(clean + used, n > 0 ? text + i : UTF8_REPLACEMENT, n > 0 ? n : replacement);
        used += n > 0 ? n : replacement;
        i += n > 0 ? n : 1;
    }
    return json_stringn(clean, used);
}
