/* SPDX-License-Identifier: Apache-2.0 */
/* What a token may be limited to: the scopes of its `permissions` claim, and the one that each
 * route needs. */
#ifndef TINE_API_SCOPES_H
#define TINE_API_SCOPES_H

#include <stdbool.h>
#include <stddef.h>

/* Everything; what a route needs that no scope is for. */
#define SCOPE_ALL "*"

/* The scope for a method on a path, given as its decoded segments; NULL: open, no token is needed.
 */
const char *scope_needed(const char *method, const char *const *segments, size_t count);

/* All scopes, SCOPE_ALL the first, up to a NULL. */
extern const char *const scope_names[];
bool scope_is_known(const char *name);

#endif
