/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/tag_option.h"

#include <string.h>

int tags_add(json_t *map, const struct option_list *tags, struct failure *failure)
{
    for (unsigned i = 0; i < tags->count; i++) {
        const char *key = tags->items[i], *equals = strchr(key, '=');
        json_t *value = equals ? json_string(equals + 1) : NULL;
        if (!value || json_object_setn_new(map, key, (size_t)(equals - key), value) < 0) {
            failure_set(failure, CLI_FAILED, "failed", "--tag: \"%s\" is not KEY=VALUE", key);
            return -1;
        }
    }
    return 0;
}
