/* SPDX-License-Identifier: Apache-2.0 */
/* Image references: the normal form of anything that parses parses to itself. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "image/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct image_reference reference, again;
    char normal[IMAGE_REFERENCE_SIZE], second[IMAGE_REFERENCE_SIZE];
    _cleanup_(free) char *text = strndup((const char *)data, size);
    image_reference_is_kit(text);
    if (image_reference_parse(text, &reference, NULL) < 0)
        return 0;
    image_reference_format(&reference, normal);
    if (image_reference_parse(normal, &again, NULL) < 0)
        abort();
    image_reference_format(&again, second);
    if (strcmp(normal, second) != 0 || strpbrk(normal, " %\\\n") ||
        strstr(reference.repository, ".."))
        abort();
    return 0;
}
