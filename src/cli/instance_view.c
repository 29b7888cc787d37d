/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/instance_view.h"

#include <stdio.h>
#include <stdlib.h>
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

/* In seconds since 1970; false for none. */
static bool time_read(const char *text, time_t *when)
{
    struct tm tm = {0};
    bool good = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) != NULL;
    *when = good ? timegm(&tm) : 0;
    return good;
}

static void span_format(time_t seconds, char text[32])
{
    static const struct {
        const char *name;
        long seconds;
    } units[] = {{"day", 86400}, {"hour", 3600}, {"minute", 60}, {"second", 1}};
    for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
        long number = seconds < 0 ? 0 : (long)seconds / units[i].seconds;
        if (number == 0 && i + 1 < ARRAY_SIZE(units))
            continue;
        snprintf(text, 32, "%ld %s%s", number, units[i].name, number == 1 ? "" : "s");
        return;
    }
}

void view_age(const char *time_text, char text[32])
{
    time_t when;
    text[0] = '\0';
    if (time_read(time_text, &when))
        span_format(time(NULL) - when, text);
}

void view_left(const char *time_text, char text[32])
{
    time_t when, now = time(NULL);
    text[0] = '\0';
    if (!time_read(time_text, &when))
        return;
    if (when > now)
        span_format(when - now, text);
    else
        snprintf(text, 32, "now");
}

void view_bytes(const json_t *number, char text[32])
{
    text[0] = '\0';
    if (json_is_integer(number))
        size_format((uint64_t)json_integer_value(number), text);
}

#define NAME_WIDTH 24

static void print_object(const json_t *object, const char *prefix);

static void print_value(const char *name, const json_t *value)
{
    if (json_is_null(value) || (json_is_string(value) && *json_string_value(value) == '\0')) {
        printf("%-*s -\n", NAME_WIDTH, name);
    } else if (json_is_object(value)) {
        print_object(value, name);
    } else if (json_is_string(value)) {
        printf("%-*s ", NAME_WIDTH, name);
        for (const char *c = json_string_value(value); *c; c++)
            putchar((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c);
        putchar('\n');
    } else {
        _cleanup_(free) char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        printf("%-*s %s\n", NAME_WIDTH, name, text ? text : "");
    }
}

/* Objects inside are shown as "outer.inner". */
static void print_object(const json_t *object, const char *prefix)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char name[128];
        snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", key);
        print_value(name, value);
    }
}

void view_print(const json_t *object)
{
    print_object(object, "");
}
