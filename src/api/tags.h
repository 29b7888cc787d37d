/* SPDX-License-Identifier: Apache-2.0 */
/* Tags: the client's own notes on an instance, to find it again. At most 50, keys of 1 to 128 and
 * values of up to 256 characters out of [A-Za-z0-9 _.:/=+@-]. */
#ifndef TINE_API_TAGS_H
#define TINE_API_TAGS_H

#include "api/fields.h"
#include "api/uri.h"

/* The field `tags` as the JSON text that is stored (owner: caller); NULL if there are none, or a
 * problem. */
char *tags_text(const struct fields *fields);

/* True if the stored text has every tag that the query asks for: tags[KEY]=VALUE. */
bool tags_match(const char *text, const struct uri *uri);

#endif
