/* SPDX-License-Identifier: Apache-2.0 */
#include "api/create_unsupported.h"

#include "base/cleanup.h"

static bool asks_for_something(const json_t *value)
{
    if (json_is_array(value))
        return json_array_size(value) > 0;
    if (json_is_object(value))
        return json_object_size(value) > 0;
    return value && !json_is_null(value);
}

void create_unsupported_check(const struct fields *fields)
{
    static const char *const names[] = {"volumes", "devices", "gpu", "credentials"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (asks_for_something(json_object_get(fields->object, names[i])))
            problem_set(fields->problem, 501, "not_supported", "%s: instances can't have any here",
                        names[i]);
    }
}
