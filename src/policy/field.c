/* SPDX-License-Identifier: Apache-2.0 */
#include "policy/field.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/duration.h"

#define ITEMS_MAX 64
#define PORT_MAX  65535

int field_invalid(struct error *err, const char *path, const char *name, const char *format, ...)
{
    char words[512];
    va_list args;
    va_start(args, format);
    vsnprintf(words, sizeof(words), format, args);
    va_end(args);
    return error_set(err, ERROR_INVALID, EINVAL, "%s.%s: %s", path, name, words);
}

static int integer_check(const struct field *field, const char *path, const json_t *value,
                         struct error *err)
{
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value))
        return field_invalid(err, path, field->name, "must be a whole number");
    if (number < field->minimum || number > field->maximum)
        return field_invalid(err, path, field->name, "%lld is not within %lld to %lld",
                             (long long)number, (long long)field->minimum,
                             (long long)field->maximum);
    return 0;
}

/* In its canonical form, as all values that follow: owner: caller; NULL and the error. */
static json_t *duration_canonical(const struct field *field, const char *path, const json_t *value,
                                  struct error *err)
{
    char text[40];
    int64_t nanoseconds = 0;
    struct error cause = {0};
    if (!json_is_string(value)) {
        field_invalid(err, path, field->name, "must be a string, as \"30s\" is");
        return NULL;
    }
    if (duration_parse(json_string_value(value), &nanoseconds, &cause) < 0) {
        field_invalid(err, path, field->name, "%s", cause.message);
        return NULL;
    }
    duration_format(field->minimum, text);
    if (nanoseconds < field->minimum) {
        field_invalid(err, path, field->name, "\"%.64s\" is shorter than %s",
                      json_string_value(value), text);
        return NULL;
    }
    duration_format(nanoseconds, text);
    return json_string(text);
}

static int word_check(const struct field *field, const char *path, const json_t *value,
                      struct error *err)
{
    char all[128] = "";
    for (size_t i = 0; field->words[i]; i++) {
        if (json_is_string(value) && strcmp(field->words[i], json_string_value(value)) == 0)
            return 0;
        size_t used = strlen(all);
        snprintf(all + used, sizeof(all) - used, "%s%s", i > 0 ? ", " : "", field->words[i]);
    }
    if (!json_is_string(value))
        return field_invalid(err, path, field->name, "must be a string: one of %s", all);
    return field_invalid(err, path, field->name, "\"%.64s\" is not one of %s",
                         json_string_value(value), all);
}

static int path_check(const struct field *field, const char *path, const json_t *value,
                      struct error *err)
{
    const char *text = json_string_value(value);
    if (!text || *text != '/')
        return field_invalid(err, path, field->name, "must be a string that begins with /");
    return 0;
}

static bool is_cidr(const char *text)
{
    unsigned char address[sizeof(struct in6_addr)];
    char host[INET6_ADDRSTRLEN];
    const char *slash = text ? strchr(text, '/') : NULL;
    size_t length = slash ? (size_t)(slash - text) : 0, digits = slash ? strlen(slash + 1) : 0;
    if (length == 0 || length >= sizeof(host) || digits == 0 || digits > 3 ||
        strspn(slash + 1, "0123456789") != digits)
        return false;
    memcpy(host, text, length);
    host[length] = '\0';
    long bits = strtol(slash + 1, NULL, 10);
    return (inet_pton(AF_INET, host, address) == 1 && bits <= 32) ||
           (inet_pton(AF_INET6, host, address) == 1 && bits <= 128);
}

static bool is_port(const json_t *value)
{
    return json_is_integer(value) && json_integer_value(value) >= 1 &&
           json_integer_value(value) <= PORT_MAX;
}

static bool item_fits(enum value_kind kind, const json_t *item)
{
    return kind == VALUE_PORTS   ? is_port(item)
           : kind == VALUE_CIDRS ? is_cidr(json_string_value(item))
                                 : json_is_string(item);
}

static int list_check(const struct field *field, const char *path, const json_t *value,
                      struct error *err)
{
    static const char *const wanted[] = {[VALUE_STRINGS] = "a string",
                                         [VALUE_CIDRS] = "a network, as \"10.0.0.0/8\" is",
                                         [VALUE_PORTS] = "a port, 1 to 65535"};
    size_t count = json_array_size(value);
    if (!json_is_array(value) || count > ITEMS_MAX)
        return field_invalid(err, path, field->name, "must be an array of at most %d", ITEMS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (!item_fits(field->kind, json_array_get(value, i)))
            return field_invalid(err, path, field->name, "item %zu must be %s", i,
                                 wanted[field->kind]);
    }
    if (field->kind == VALUE_STRINGS &&
        (count == 0 || !*json_string_value(json_array_get(value, 0))))
        return field_invalid(err, path, field->name, "must name a program");
    return 0;
}

static json_t *value_canonical(const struct field *field, const char *path, const json_t *value,
                               struct error *err)
{
    char inner[FIELD_PATH_MAX];
    int r = 0;
    switch (field->kind) {
    case VALUE_DURATION:
        return duration_canonical(field, path, value, err);
    case VALUE_OBJECT:
        snprintf(inner, sizeof(inner), "%s.%s", path, field->name);
        return object_canonical(field->object, inner, value, err);
    case VALUE_BOOL:
        r = json_is_boolean(value) ? 0
                                   : field_invalid(err, path, field->name, "must be true or false");
        break;
    case VALUE_INTEGER:
        r = integer_check(field, path, value, err);
        break;
    case VALUE_WORD:
        r = word_check(field, path, value, err);
        break;
    case VALUE_PATH:
        r = path_check(field, path, value, err);
        break;
    default: /* lists */
        r = list_check(field, path, value, err);
    }
    return r < 0 ? NULL : json_deep_copy(value);
}

static json_t *preset_value(const struct field *field)
{
    return field->kind == VALUE_BOOL || field->kind == VALUE_INTEGER
               ? json_loads(field->preset, JSON_DECODE_ANY, NULL)
               : json_string(field->preset);
}

static int field_add(const struct field *field, const char *path, const json_t *given,
                     json_t *canonical, struct error *err)
{
    const json_t *value = json_object_get(given, field->name);
    bool absent = !value || json_is_null(value);
    if (absent && field->required)
        return field_invalid(err, path, field->name, "is required");
    if (absent && !field->preset)
        return 0;
    json_t *found = absent ? preset_value(field) : value_canonical(field, path, value, err);
    return found ? json_object_set_new(canonical, field->name, found) : -EINVAL;
}

json_t *object_canonical(const struct field_table *table, const char *path, const json_t *given,
                         struct error *err)
{
    if (!json_is_object(given)) {
        error_set(err, ERROR_INVALID, EINVAL, "%s: must be an object", path);
        return NULL;
    }
    _cleanup_(json) json_t *canonical = json_object();
    for (size_t i = 0; i < table->count; i++) {
        if (field_add(&table->list[i], path, given, canonical, err) < 0)
            return NULL;
    }
    if (table->whole && table->whole(path, canonical, err) < 0)
        return NULL;
    return TAKE_PTR(canonical);
}
