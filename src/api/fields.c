/* SPDX-License-Identifier: Apache-2.0 */
#include "api/fields.h"

#include <stdlib.h>
#include <string.h>

#include "base/size.h"

static const char *type_name(const json_t *value)
{
    switch (json_typeof(value)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
    case JSON_REAL:
        return "a number";
    case JSON_TRUE:
    case JSON_FALSE:
        return "a boolean";
    default:
        return "null";
    }
}

json_t *fields_parse(const char *text, size_t length, struct problem *problem)
{
    if (length == 0)
        return json_object();
    json_error_t error;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &error);
    if (!root) {
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "the body is not JSON: %s (line %d)",
                    error.text, error.line);
        return NULL;
    }
    if (json_is_object(root))
        return root;
    problem_set(problem, 400, PROBLEM_BAD_REQUEST, "the body must be a JSON object, not %s",
                type_name(root));
    json_decref(root);
    return NULL;
}

static void wrong_type(const struct fields *fields, const char *name, const char *wanted,
                       const json_t *value)
{
    problem_set(fields->problem, 400, PROBLEM_BAD_REQUEST, "%s%s: must be %s, not %s",
                fields->prefix, name, wanted, type_name(value));
}

/* The field's value; NULL if it is absent, null, or there is a problem already. */
static const json_t *field_value(const struct fields *fields, const char *name)
{
    if (fields->problem->status != 0 || !fields->object)
        return NULL;
    const json_t *value = json_object_get(fields->object, name);
    return json_is_null(value) ? NULL : value;
}

struct fields fields_object(const struct fields *fields, const char *name, const char *prefix)
{
    struct fields inner = {.prefix = prefix, .problem = fields->problem};
    const json_t *value = field_value(fields, name);
    if (value && !json_is_object(value))
        wrong_type(fields, name, "an object", value);
    else
        inner.object = value;
    return inner;
}

const json_t *fields_array(const struct fields *fields, const char *name)
{
    const json_t *value = field_value(fields, name);
    if (!value || json_is_array(value))
        return value;
    wrong_type(fields, name, "an array", value);
    return NULL;
}

void fields_string(const struct fields *fields, const char *name, const char **value)
{
    const json_t *json = field_value(fields, name);
    if (json && !json_is_string(json))
        wrong_type(fields, name, "a string", json);
    else if (json)
        *value = json_string_value(json);
}

void fields_bool(const struct fields *fields, const char *name, bool *value)
{
    const json_t *json = field_value(fields, name);
    if (json && !json_is_boolean(json))
        wrong_type(fields, name, "a boolean", json);
    else if (json)
        *value = json_is_true(json);
}

void fields_integer(const struct fields *fields, const char *name, int64_t minimum, int64_t maximum,
                    int64_t *value)
{
    const json_t *json = field_value(fields, name);
    if (!json)
        return;
    if (!json_is_integer(json)) {
        wrong_type(fields, name, "a whole number", json);
        return;
    }
    int64_t number = json_integer_value(json);
    if (number < minimum || number > maximum)
        problem_set(fields->problem, 400, "invalid_request",
                    "%s%s: %lld is not within %lld to %lld", fields->prefix, name,
                    (long long)number, (long long)minimum, (long long)maximum);
    else
        *value = number;
}

void fields_size(const struct fields *fields, const char *name, const char *code, uint64_t *bytes)
{
    const char *text = NULL;
    fields_string(fields, name, &text);
    if (!text || !*text)
        return;
    struct error err = {0};
    if (size_parse(text, bytes, &err) < 0)
        problem_set(fields->problem, 400, code, "%s%s: %s", fields->prefix, name, err.message);
}

void fields_strings(const struct fields *fields, const char *name, const char ***values)
{
    const json_t *array = fields_array(fields, name);
    if (!array)
        return;
    const char **vector = calloc(json_array_size(array) + 1, sizeof(*vector));
    if (!vector) {
        problem_set(fields->problem, 500, "internal_error", "out of memory");
        return;
    }
    size_t i;
    json_t *value;
    json_array_foreach(array, i, value)
    {
        vector[i] = json_string_value(value);
        if (!vector[i]) {
            wrong_type(fields, name, "an array of strings", value);
            free(vector);
            return;
        }
    }
    *values = vector;
}

const json_t *fields_string_map(const struct fields *fields, const char *name)
{
    struct fields map = fields_object(fields, name, fields->prefix);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)map.object, key, value)
    {
        if (!json_is_string(value)) {
            problem_set(fields->problem, 400, PROBLEM_BAD_REQUEST,
                        "%s%s.%.64s: must be a string, not %s", fields->prefix, name, key,
                        type_name(value));
            return NULL;
        }
    }
    return map.object;
}
