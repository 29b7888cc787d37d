/* SPDX-License-Identifier: Apache-2.0 */
#include "schema.h"

#include <regex.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"

static bool fault(struct schema_check *check, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static bool fault(struct schema_check *check, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(check->fault, sizeof(check->fault), format, args);
    va_end(args);
    return false;
}

const json_t *schema_resolve(const json_t *document, const json_t *value)
{
    const char *reference;
    while ((reference = json_string_value(json_object_get(value, "$ref")))) {
        char path[256], *rest = path;
        if (strncmp(reference, "#/", 2) != 0)
            return NULL;
        snprintf(path, sizeof(path), "%s", reference + 2);
        value = document;
        for (char *part; (part = strsep(&rest, "/"));)
            value = json_object_get(value, part);
    }
    return value;
}

static bool is_type(const json_t *value, const char *type)
{
    static const struct {
        const char *name;
        json_type types[2];
    } table[] = {
        {"object", {JSON_OBJECT, JSON_OBJECT}}, {"array", {JSON_ARRAY, JSON_ARRAY}},
        {"string", {JSON_STRING, JSON_STRING}}, {"integer", {JSON_INTEGER, JSON_INTEGER}},
        {"number", {JSON_INTEGER, JSON_REAL}},  {"boolean", {JSON_TRUE, JSON_FALSE}},
        {"null", {JSON_NULL, JSON_NULL}},
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (strcmp(table[i].name, type) == 0)
            return json_typeof(value) == table[i].types[0] ||
                   json_typeof(value) == table[i].types[1];
    }
    return false;
}

/* Each checks one keyword of a schema. */
typedef bool keyword_check(struct schema_check *check, const json_t *schema, const json_t *rule,
                           const json_t *value, const char *where);

static bool check_type(struct schema_check *check, const json_t *schema, const json_t *rule,
                       const json_t *value, const char *where)
{
    size_t i;
    json_t *one;
    if (json_is_string(rule) && is_type(value, json_string_value(rule)))
        return true;
    json_array_foreach(rule, i, one)
    {
        if (is_type(value, json_string_value(one)))
            return true;
    }
    _cleanup_(free) char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return fault(check, "%s: %.100s has the wrong type", where, text);
}

static bool check_enum(struct schema_check *check, const json_t *schema, const json_t *rule,
                       const json_t *value, const char *where)
{
    size_t i;
    json_t *one;
    json_array_foreach(rule, i, one)
    {
        if (json_equal(one, value))
            return true;
    }
    _cleanup_(free) char *text = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY);
    return fault(check, "%s: %.100s is none of the enum", where, text);
}

static bool check_properties(struct schema_check *check, const json_t *schema, const json_t *rule,
                             const json_t *value, const char *where)
{
    const char *name;
    json_t *item;
    const json_t *others = json_object_get(schema, "additionalProperties");
    json_object_foreach((json_t *)value, name, item)
    {
        char inner[256];
        const json_t *property = json_object_get(rule, name);
        snprintf(inner, sizeof(inner), "%s.%s", where, name);
        if (!property && !others && !check->is_request)
            return fault(check, "%s is not documented", inner);
        property = property ? property : others;
        if (!json_is_object(property) || (check->is_request && json_is_null(item)))
            continue;
        if (!schema_check(check, property, item, inner))
            return false;
    }
    return true;
}

static bool check_others(struct schema_check *check, const json_t *schema, const json_t *rule,
                         const json_t *value, const char *where)
{
    return json_object_get(schema, "properties") ||
           check_properties(check, schema, NULL, value, where);
}

static bool check_required(struct schema_check *check, const json_t *schema, const json_t *rule,
                           const json_t *value, const char *where)
{
    size_t i;
    json_t *name;
    json_array_foreach(rule, i, name)
    {
        if (json_is_object(value) && !json_object_get(value, json_string_value(name)))
            return fault(check, "%s.%s is missing", where, json_string_value(name));
    }
    return true;
}

static bool check_items(struct schema_check *check, const json_t *schema, const json_t *rule,
                        const json_t *value, const char *where)
{
    size_t i;
    json_t *item;
    json_array_foreach(value, i, item)
    {
        char inner[256];
        snprintf(inner, sizeof(inner), "%s[%zu]", where, i);
        if (!schema_check(check, rule, item, inner))
            return false;
    }
    return true;
}

static bool check_pattern(struct schema_check *check, const json_t *schema, const json_t *rule,
                          const json_t *value, const char *where)
{
    regex_t regex;
    if (!json_is_string(value))
        return true;
    if (regcomp(&regex, json_string_value(rule), REG_EXTENDED | REG_NOSUB) != 0)
        return fault(check, "%s: the pattern %s", where, json_string_value(rule));
    int r = regexec(&regex, json_string_value(value), 0, NULL, 0);
    regfree(&regex);
    return r == 0 || fault(check, "%s: \"%.100s\" does not match %s", where,
                           json_string_value(value), json_string_value(rule));
}

static bool check_limit(struct schema_check *check, const json_t *schema, const json_t *rule,
                        const json_t *value, const char *where)
{
    const json_t *minimum = json_object_get(schema, "minimum");
    const json_t *maximum = json_object_get(schema, "maximum");
    double number = json_number_value(value);
    if (!json_is_number(value))
        return true;
    if ((minimum && number < json_number_value(minimum)) ||
        (maximum && number > json_number_value(maximum)))
        return fault(check, "%s: %g is out of range", where, number);
    return true;
}

static bool check_length(struct schema_check *check, const json_t *schema, const json_t *rule,
                         const json_t *value, const char *where)
{
    size_t length = json_is_array(value)    ? json_array_size(value)
                    : json_is_object(value) ? json_object_size(value)
                                            : json_string_length(value);
    return length <= (size_t)json_integer_value(rule) || fault(check, "%s: is too long", where);
}

static const struct {
    const char *name;
    keyword_check *check; /* NULL: only words */
} keywords[] = {
    {"type", check_type},
    {"enum", check_enum},
    {"properties", check_properties},
    {"additionalProperties", check_others},
    {"required", check_required},
    {"items", check_items},
    {"pattern", check_pattern},
    {"minimum", check_limit},
    {"maximum", check_limit},
    {"maxLength", check_length},
    {"maxItems", check_length},
    {"maxProperties", check_length},
    {"description", NULL},
};

static bool check_keyword(struct schema_check *check, const json_t *schema, const char *name,
                          const json_t *value, const char *where)
{
    for (size_t i = 0; i < ARRAY_SIZE(keywords); i++) {
        if (strcmp(keywords[i].name, name) == 0)
            return !keywords[i].check ||
                   keywords[i].check(check, schema, json_object_get(schema, name), value, where);
    }
    return fault(check, "%s: the schema's keyword %s is not known to this test", where, name);
}

bool schema_check(struct schema_check *check, const json_t *schema, const json_t *value,
                  const char *where)
{
    const char *name;
    json_t *rule;
    schema = schema_resolve(check->document, schema);
    if (!json_is_object(schema))
        return fault(check, "%s: its schema is not there", where);
    json_object_foreach((json_t *)schema, name, rule)
    {
        if (!check_keyword(check, schema, name, value, where))
            return false;
    }
    return true;
}
