/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/snapshot_find.h"

#include <string.h>

#include "base/cleanup.h"
#include "cli/instance_view.h"

json_t *snapshots_get(const struct cli *cli, struct failure *failure)
{
    return http_get(cli, "listing", "/snapshots", failure);
}

static bool begins(const char *text, const char *prefix, size_t length)
{
    return length > 0 && strncmp(text, prefix, length) == 0;
}

/* SOURCE/NAME with the slash at `slash`. */
static bool is_named(const json_t *snapshot, const char *argument, const char *slash)
{
    const char *source = view_text(snapshot, "source_instance_name");
    size_t length = (size_t)(slash - argument);
    bool of_source = (strlen(source) == length && begins(source, argument, length)) ||
                     begins(view_text(snapshot, "source_instance_id"), argument, length);
    return of_source && slash[1] != '\0' && strcmp(view_text(snapshot, "name"), slash + 1) == 0;
}

static bool is_meant(const json_t *snapshot, const char *argument)
{
    const char *slash = strchr(argument, '/');
    return slash ? is_named(snapshot, argument, slash)
                 : begins(view_text(snapshot, "id"), argument, strlen(argument));
}

const json_t *snapshot_match(const json_t *list, const char *argument, struct failure *failure)
{
    const json_t *found = NULL;
    size_t i;
    json_t *snapshot;
    json_array_foreach((json_t *)list, i, snapshot)
    {
        if (!is_meant(snapshot, argument))
            continue;
        if (found) {
            failure_set(failure, CLI_FAILED, "ambiguous",
                        "several snapshots are meant by \"%s\", %.12s and %.12s among them: give "
                        "an id",
                        argument, view_text(found, "id"), view_text(snapshot, "id"));
            return NULL;
        }
        found = snapshot;
    }
    if (!found)
        failure_set(failure, CLI_FAILED, "not_found", "no snapshot \"%s\"", argument);
    return found;
}

json_t *snapshot_find(const struct cli *cli, const char *argument, struct failure *failure)
{
    _cleanup_(json) json_t *list = snapshots_get(cli, failure);
    const json_t *found = list ? snapshot_match(list, argument, failure) : NULL;
    return json_incref((json_t *)found);
}
