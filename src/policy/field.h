/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the fields of a policy as a table, and what checks a JSON object against it. */
#ifndef TINE_POLICY_FIELD_H
#define TINE_POLICY_FIELD_H

#include "base/json.h"
#include "policy/policy.h"

enum value_kind {
    VALUE_BOOL,
    VALUE_INTEGER,
    VALUE_DURATION,
    VALUE_WORD,
    VALUE_PATH,    /* absolute: of a request, or in the guest */
    VALUE_STRINGS, /* a command: at least one, the first not empty */
    VALUE_CIDRS,
    VALUE_PORTS,
    VALUE_OBJECT,
};

struct field_table;

struct field {
    const char *name;
    enum value_kind kind;
    bool required;
    int64_t minimum, maximum;         /* of an integer or, in nanoseconds, of a duration */
    const char *const *words;         /* up to a NULL */
    const struct field_table *object; /* of a nested one */
    const char *preset;               /* a word, a duration, or a number as text; NULL: none */
};

/* What no single field tells: 0, or ERROR_INVALID. `path` is the object's. */
typedef int field_whole_check(const char *path, json_t *object, struct error *err);

struct field_table {
    const struct field *list;
    size_t count;
    field_whole_check *whole; /* NULL: nothing more; may change the object */
};

#define FIELD_PATH_MAX 128 /* "health_check.http.port" */

/* "<path>.<name>: <words>" */
int field_invalid(struct error *err, const char *path, const char *name, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The canonical form of an object; owner: caller. NULL: ERROR_INVALID. */
json_t *object_canonical(const struct field_table *table, const char *path, const json_t *given,
                         struct error *err);

#endif
