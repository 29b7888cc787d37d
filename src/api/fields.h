/* SPDX-License-Identifier: Apache-2.0 */
/* Reads the typed fields of a request's JSON object. A field that is absent or null leaves its
 * target as it was; one of the wrong type fills the problem with the field's name. Once there is a
 * problem, every further read does nothing, so a handler checks once, at the end. Strings point
 * into the JSON value. */
#ifndef TINE_API_FIELDS_H
#define TINE_API_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/json_text.h"
#include "api/problem.h"

struct fields {
    const json_t *object; /* NULL reads as an empty object */
    const char *prefix;   /* before the names in messages: "tine." or "" */
    struct problem *problem;
};

/* Parses a request body; an empty one reads as {}. The result is an object, owned by the caller, or
 * NULL and a problem (400). */
json_t *fields_parse(const char *text, size_t length, struct problem *problem);

/* A nested object; its `object` is NULL if there is none. */
struct fields fields_object(const struct fields *fields, const char *name, const char *prefix);
/* The array itself, NULL if absent. */
const json_t *fields_array(const struct fields *fields, const char *name);

void fields_string(const struct fields *fields, const char *name, const char **value);
void fields_bool(const struct fields *fields, const char *name, bool *value);
/* A whole number within the limits; outside is a problem too. */
void fields_integer(const struct fields *fields, const char *name, int64_t minimum, int64_t maximum,
                    int64_t *value);
/* A size string (base/size.h); `code` is the problem's code when it does not parse. */
void fields_size(const struct fields *fields, const char *name, const char *code, uint64_t *bytes);
/* An array of strings as a NULL-terminated vector (owner: caller, free(); the strings are not
 * copied). Absent or null: NULL. */
void fields_strings(const struct fields *fields, const char *name, const char ***values);
/* An object whose values are strings; only checked. */
const json_t *fields_string_map(const struct fields *fields, const char *name);

#endif
