/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of the contract's create that have no effect here. */
#ifndef TINE_API_CREATE_IGNORED_H
#define TINE_API_CREATE_IGNORED_H

#include "api/fields.h"

/* Those that a client can do without must be right (400); what it would rely on and is not here is
 * 501, unless it is empty or off. */
void create_ignored_check(const struct fields *fields);

#endif
