/* SPDX-License-Identifier: Apache-2.0 */
#include "api/tags.h"

#include <string.h>

#include "base/cleanup.h"

#define TAGS_MAX     50
#define KEY_MAX      128
#define VALUE_MAX    256
#define QUERY_PREFIX "tags["
#define TAG_CHARACTERS                                               \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789" \
    " _.:/=+@-"

static bool is_tag_text(const char *text, size_t maximum)
{
    size_t length = strlen(text);
    return length <= maximum && strspn(text, TAG_CHARACTERS) == length;
}

static void tags_check(const struct fields *fields, const json_t *tags)
{
    struct problem *problem = fields->problem;
    const char *key;
    json_t *value;
    if (json_object_size(tags) > TAGS_MAX)
        problem_set(problem, 400, "invalid_request", "%stags: at most %d tags", fields->prefix,
                    TAGS_MAX);
    json_object_foreach((json_t *)tags, key, value)
    {
        if (!*key || !is_tag_text(key, KEY_MAX))
            problem_set(problem, 400, "invalid_request",
                        "%stags: \"%.160s\" is not a key: 1 to %d letters, digits and _.:/=+@-",
                        fields->prefix, key, KEY_MAX);
        if (!is_tag_text(json_string_value(value), VALUE_MAX))
            problem_set(problem, 400, "invalid_request",
                        "%stags.%.128s: is not a value: up to %d letters, digits and _.:/=+@-",
                        fields->prefix, key, VALUE_MAX);
    }
}

char *tags_text(const struct fields *fields)
{
    const json_t *tags = fields_string_map(fields, "tags");
    if (json_object_size(tags) == 0)
        return NULL;
    tags_check(fields, tags);
    return fields->problem->status == 0 ? json_dumps(tags, JSON_COMPACT) : NULL;
}

static bool parameter_fits(const json_t *tags, const struct uri_parameter *parameter)
{
    size_t prefix = strlen(QUERY_PREFIX), length = strlen(parameter->name);
    if (strncmp(parameter->name, QUERY_PREFIX, prefix) != 0 || parameter->name[length - 1] != ']')
        return true;
    const char *value =
        json_string_value(json_object_getn(tags, parameter->name + prefix, length - 1 - prefix));
    return value && strcmp(value, parameter->value) == 0;
}

bool tags_match(const char *text, const struct uri *uri)
{
    _cleanup_(json) json_t *tags = *text ? json_loads(text, 0, NULL) : NULL;
    for (size_t i = 0; i < uri->parameter_count; i++) {
        if (!parameter_fits(tags, &uri->parameters[i]))
            return false;
    }
    return true;
}
