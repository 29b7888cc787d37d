/* SPDX-License-Identifier: Apache-2.0 */
/* JSON objects from and to C structs by a table of fields, one table for both ways. Reading is
 * strict: unknown fields, missing required ones, wrong types and values out of range are errors
 * that name the field. A null optional field counts as absent. */
#ifndef TINE_HTTP_JSON_FIELDS_H
#define TINE_HTTP_JSON_FIELDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

enum field_kind {
    FIELD_BOOL,        /* bool */
    FIELD_U32,         /* uint32_t within [min, max] */
    FIELD_U64,         /* uint64_t within [min, max] */
    FIELD_STRING,      /* char *, owned; non-empty, at most `max` bytes; NULL is written as null */
    FIELD_TEXT,        /* char[], `max` bytes with the NUL; any of `choices`, in any case */
    FIELD_FLAG,        /* bool: choices[0] is false, choices[1] is true */
    FIELD_FIXED,       /* not stored: choices[0] is the one value that is supported */
    FIELD_RATE_LIMIT,  /* not stored: null, or a limiter without buckets */
    FIELD_UNSUPPORTED, /* not stored: null only */
    FIELD_OBJECT,      /* const json_t *, borrowed from the object being read; never written */
    FIELD_ARRAY,       /* the same for an array */
};

struct json_field {
    const char *name;
    enum field_kind kind;
    bool required;
    bool hidden; /* accepted, never written */
    size_t offset;
    uint64_t min, max;
    const char *const *choices; /* NULL-terminated */
};

/* Reads `object` into the struct at `out`. Fields that are absent leave the struct as it is, so it
 * carries the defaults, or for a PATCH the old values. `what` names the object in messages. On
 * failure `out` may be half filled; its strings stay owned by it. -EINVAL or -ENOMEM. */
int json_fields_read(const json_t *object, const char *what, const struct json_field *fields,
                     size_t count, void *out, struct error *err);

/* The struct as a fresh object; NULL when out of memory. */
json_t *json_fields_write(const struct json_field *fields, size_t count, const void *in);

#endif
