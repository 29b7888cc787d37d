/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/instance_view.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/size.h"

const char *view_text(const json_t *object, const char *name)
{
    const char *text = json_string_value(json_object_get(object, name));
    return text ? text : "";
}

const json_t *view_inner(const json_t *object, const char *outer, const char *name)
{
    return json_object_get(json_object_get(object, outer), name);
}

void view_parent(const json_t *list, const json_t *instance, char text[64])
{
    const char *id = json_string_value(view_inner(instance, "tine", "parent_id"));
    size_t i;
    json_t *other;
    text[0] = '\0';
    if (!id)
        return;
    snprintf(text, 64, "%.12s", id);
    json_array_foreach((json_t *)list, i, other)
    {
        if (strcmp(view_text(other, "id"), id) == 0)
            snprintf(text, 64, "%.63s", view_text(other, "name"));
    }
}

bool view_is_asleep(const json_t *instance)
{
    const char *state = view_text(instance, "state");
    return strcmp(state, "Stopped") == 0 || strcmp(state, "Standby") == 0;
}

void view_age(const char *time_text, char text[32])
{
    static const struct {
        const char *name;
        long seconds;
    } units[] = {{"day", 86400}, {"hour", 3600}, {"minute", 60}, {"second", 1}};
    struct tm tm = {0};
    text[0] = '\0';
    if (!strptime(time_text, "%Y-%m-%dT%H:%M:%S", &tm))
        return;
    long age = (long)(time(NULL) - timegm(&tm));
    age = age < 0 ? 0 : age;
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        long number = age / units[i].seconds;
        if (number == 0 && i + 1 < ARRAY_SIZE(units))
            continue;
        snprintf(text, 32, "%ld %s%s", number, units[i].name, number == 1 ? "" : "s");
        return;
    }
}

void view_bytes(const json_t *number, char text[32])
{
    text[0] = '\0';
    if (json_is_integer(number))
        size_format((uint64_t)json_integer_value(number), text);
}
