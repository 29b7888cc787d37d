/* SPDX-License-Identifier: Apache-2.0 */
#include "http/json_fields.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"

static int invalid(struct error *err, const char *what, const char *field, const char *why)
{
    return error_set(err, ERROR_INVALID, EINVAL, "%s: field '%s' %s", what, field, why);
}

static const char *choice_find(const struct json_field *field, const char *text)
{
    for (const char *const *choice = field->choices; *choice; choice++) {
        if (strcasecmp(*choice, text) == 0)
            return *choice;
    }
    return NULL;
}

static int choice_unknown(struct error *err, const char *what, const struct json_field *field)
{
    char list[160] = "";
    for (const char *const *choice = field->choices; *choice; choice++) {
        size_t used = strlen(list);
        snprintf(list + used, sizeof(list) - used, "%s'%s'", used ? ", " : "", *choice);
    }
    return error_set(err, ERROR_INVALID, EINVAL, "%s: field '%s' must be one of %s", what,
                     field->name, list);
}

static int read_bool(const struct json_field *field, const char *what, const json_t *value,
                     void *slot, struct error *err)
{
    if (!json_is_boolean(value))
        return invalid(err, what, field->name, "must be true or false");
    *(bool *)slot = json_is_true(value);
    return 0;
}

static int read_number(const struct json_field *field, const char *what, const json_t *value,
                       void *slot, struct error *err)
{
    if (!json_is_integer(value))
        return invalid(err, what, field->name, "must be an integer");
    json_int_t number = json_integer_value(value);
    if (number < 0 || (uint64_t)number < field->min || (uint64_t)number > field->max)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%s: field '%s' must be between %llu and %llu, not %lld", what,
                         field->name, (unsigned long long)field->min,
                         (unsigned long long)field->max, (long long)number);
    if (field->kind == FIELD_U32)
        *(uint32_t *)slot = (uint32_t)number;
    else
        *(uint64_t *)slot = (uint64_t)number;
    return 0;
}

static int read_string(const struct json_field *field, const char *what, const json_t *value,
                       void *slot, struct error *err)
{
    if (!json_is_string(value))
        return invalid(err, what, field->name, "must be a string");
    size_t length = json_string_length(value);
    if (length < field->min)
        return invalid(err, what, field->name, "must not be empty");
    if (length > field->max)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "%s: field '%s' has %zu bytes, at most %llu are allowed", what,
                         field->name, length, (unsigned long long)field->max);
    char *copy = strdup(json_string_value(value));
    if (!copy)
        return error_errno(err, ENOMEM, NULL, "%s: field '%s'", what, field->name);
    free(*(char **)slot);
    *(char **)slot = copy;
    return 0;
}

static int read_choice(const struct json_field *field, const char *what, const json_t *value,
                       void *slot, struct error *err)
{
    if (!json_is_string(value))
        return invalid(err, what, field->name, "must be a string");
    const char *choice = choice_find(field, json_string_value(value));
    if (!choice)
        return choice_unknown(err, what, field);
    if (field->kind == FIELD_TEXT)
        snprintf(slot, field->max, "%s", choice);
    else if (field->kind == FIELD_FLAG)
        *(bool *)slot = choice == field->choices[1];
    return 0;
}

static int read_rate_limit(const struct json_field *field, const char *what, const json_t *value,
                           void *slot, struct error *err)
{
    if (!json_is_object(value))
        return invalid(err, what, field->name, "must be an object");
    const char *name = NULL;
    json_t *bucket = NULL;
    json_object_foreach((json_t *)value, name, bucket)
    {
        if (strcmp(name, "bandwidth") != 0 && strcmp(name, "ops") != 0)
            return error_set(err, ERROR_INVALID, EINVAL, "%s: field '%s' has unknown field '%.64s'",
                             what, field->name, name);
        if (!json_is_null(bucket))
            return invalid(err, what, field->name, "is not supported by this VMM");
    }
    return 0;
}

static int read_unsupported(const struct json_field *field, const char *what, const json_t *value,
                            void *slot, struct error *err)
{
    return invalid(err, what, field->name, "is not supported by this VMM");
}

static int read_object(const struct json_field *field, const char *what, const json_t *value,
                       void *slot, struct error *err)
{
    if (!json_is_object(value))
        return invalid(err, what, field->name, "must be an object");
    *(const json_t **)slot = value;
    return 0;
}

static int read_array(const struct json_field *field, const char *what, const json_t *value,
                      void *slot, struct error *err)
{
    if (!json_is_array(value))
        return invalid(err, what, field->name, "must be an array");
    *(const json_t **)slot = value;
    return 0;
}

typedef int field_reader(const struct json_field *field, const char *what, const json_t *value,
                         void *slot, struct error *err);

static field_reader *const readers[] = {
    [FIELD_BOOL] = read_bool,
    [FIELD_U32] = read_number,
    [FIELD_U64] = read_number,
    [FIELD_STRING] = read_string,
    [FIELD_TEXT] = read_choice,
    [FIELD_FLAG] = read_choice,
    [FIELD_FIXED] = read_choice,
    [FIELD_RATE_LIMIT] = read_rate_limit,
    [FIELD_UNSUPPORTED] = read_unsupported,
    [FIELD_OBJECT] = read_object,
    [FIELD_ARRAY] = read_array,
};

static bool field_known(const struct json_field *fields, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++) {
        if (strcmp(fields[i].name, name) == 0)
            return true;
    }
    return false;
}

int json_fields_read(const json_t *object, const char *what, const struct json_field *fields,
                     size_t count, void *out, struct error *err)
{
    if (!json_is_object(object))
        return error_set(err, ERROR_INVALID, EINVAL, "%s: must be a JSON object", what);
    const char *name = NULL;
    json_t *member = NULL;
    json_object_foreach((json_t *)object, name, member)
    {
        if (!field_known(fields, count, name))
            return error_set(err, ERROR_INVALID, EINVAL, "%s: unknown field '%.64s'", what, name);
    }
    for (size_t i = 0; i < count; i++) {
        const struct json_field *field = &fields[i];
        const json_t *value = json_object_get(object, field->name);
        if (!value && field->required)
            return invalid(err, what, field->name, "is missing");
        if (!value || (json_is_null(value) && !field->required))
            continue;
        int r = readers[field->kind](field, what, value, (char *)out + field->offset, err);
        if (r < 0)
            return r;
    }
    return 0;
}

static json_t *field_value(const struct json_field *field, const void *slot)
{
    switch (field->kind) {
    case FIELD_BOOL:
        return json_boolean(*(const bool *)slot);
    case FIELD_U32:
        return json_integer(*(const uint32_t *)slot);
    case FIELD_U64:
        return json_integer((json_int_t) * (const uint64_t *)slot);
    case FIELD_STRING:
        return *(char *const *)slot ? json_string(*(char *const *)slot) : json_null();
    case FIELD_TEXT:
        return json_string(slot);
    case FIELD_FLAG:
        return json_string(field->choices[*(const bool *)slot ? 1 : 0]);
    case FIELD_FIXED:
        return json_string(field->choices[0]);
    default:
        return json_null();
    }
}

json_t *json_fields_write(const struct json_field *fields, size_t count, const void *in)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < count; i++) {
        const struct json_field *field = &fields[i];
        if (field->hidden)
            continue;
        const void *slot = (const char *)in + field->offset;
        /* json_object_set_new() takes the value also when it fails, and fails for NULL. */
        if (json_object_set_new(object, field->name, field_value(field, slot)) < 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}
