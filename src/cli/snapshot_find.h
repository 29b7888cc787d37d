/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_CLI_SNAPSHOT_FIND_H
#define TINE_CLI_SNAPSHOT_FIND_H

#include "cli/http.h"

/* The list of all snapshots (owner: caller), or NULL and the failure. */
json_t *snapshots_get(const struct cli *cli, struct failure *failure);
/* The one in the list that an argument means: its id, SOURCE/NAME, or the beginning of an id that
 * no other has; SOURCE is the name or the beginning of the id of the source instance. Borrowed from
 * the list; NULL and the failure ("not_found", "ambiguous") if there is no such one. */
const json_t *snapshot_match(const json_t *list, const char *argument, struct failure *failure);
/* Both for one argument. Owner: caller. */
json_t *snapshot_find(const struct cli *cli, const char *argument, struct failure *failure);

#endif
