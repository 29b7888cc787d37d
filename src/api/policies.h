/* SPDX-License-Identifier: Apache-2.0 */
/* The policies of an instance in requests and replies: what the contract knows, checked. */
#ifndef TINE_API_POLICIES_H
#define TINE_API_POLICIES_H

#include "api/fields.h"
#include "policy/policy.h"

/* The policies of a request, but for `but` (POLICY_KINDS: all), as the text that is stored (owner:
 * caller); NULL if there are none, or a problem: each has a code of its own. */
char *policies_text(const struct fields *fields, enum policy_kind but);
/* Adds those of a row to an instance. */
void policies_add_json(json_t *instance, const char *text);

#endif
