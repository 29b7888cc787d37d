/* SPDX-License-Identifier: Apache-2.0 */
/* The part of JSON Schema that docs/openapi.yaml uses. A keyword that it does not know is a
 * failure: nothing in the document goes unchecked. */
#ifndef TINE_TESTS_API_SCHEMA_H
#define TINE_TESTS_API_SCHEMA_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct schema_check {
    const json_t *document; /* what "$ref" points into */
    /* Replies may hold nothing that the document does not name; requests may, and null in them is
     * as good as nothing. */
    bool is_request;
    char fault[512]; /* where and what; empty: none */
};

/* Follows a "$ref" of the document; the value itself if it has none. */
const json_t *schema_resolve(const json_t *document, const json_t *value);
/* False, and the fault, if `value` is not what the schema says. `where` names it. */
bool schema_check(struct schema_check *check, const json_t *schema, const json_t *value,
                  const char *where);

#endif
