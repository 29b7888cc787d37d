/* SPDX-License-Identifier: Apache-2.0 */
/* The option --tag of run and update. */
#ifndef TINE_CLI_TAG_OPTION_H
#define TINE_CLI_TAG_OPTION_H

#include "cli/command.h"

/* Adds each "KEY=VALUE" to an object of tags. -1 and the failure for one that is none. */
int tags_add(json_t *map, const struct option_list *tags, struct failure *failure);

#endif
