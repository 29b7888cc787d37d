/* SPDX-License-Identifier: Apache-2.0 */
#include "api/query.h"

#include <string.h>

void query_bool(const struct uri *uri, const char *name, bool *value, struct problem *problem)
{
    const char *text = uri_query(uri, name);
    if (!text)
        return;
    *value = strcmp(text, "true") == 0;
    if (!*value && strcmp(text, "false") != 0)
        problem_set(problem, 400, PROBLEM_BAD_REQUEST, "%s: must be true or false, not \"%.32s\"",
                    name, text);
}
