/* SPDX-License-Identifier: Apache-2.0 */
/* Typed query parameters. One that is absent leaves its target as it was. */
#ifndef TINE_API_QUERY_H
#define TINE_API_QUERY_H

#include <stdbool.h>

#include "api/problem.h"
#include "api/uri.h"

/* "true" or "false"; anything else is a problem. */
void query_bool(const struct uri *uri, const char *name, bool *value, struct problem *problem);

#endif
