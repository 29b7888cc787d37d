/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/program.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/instance_view.h"

json_t *env_json(const struct option_list *list)
{
    json_t *env = json_object();
    for (unsigned i = 0; i < list->count; i++) {
        const char *item = list->items[i], *equals = strchr(item, '=');
        _cleanup_(free) char *name = equals ? strndup(item, (size_t)(equals - item)) : strdup(item);
        const char *value = equals ? equals + 1 : (name ? getenv(name) : NULL);
        if (name && value)
            json_object_set_new(env, name, json_string(value));
    }
    return env;
}

static int add_list(json_t *body, const char *field, const char *const *words, unsigned count,
                    struct failure *failure)
{
    if (count == 0)
        return 0;
    json_t *list = json_array();
    json_object_set_new(body, field, list);
    for (unsigned i = 0; i < count; i++) {
        if (json_array_append_new(list, json_string(words[i])) < 0) {
            failure_set(failure, CLI_FAILED, "failed", "%s: word %u is not UTF-8", field, i + 1);
            return -1;
        }
    }
    return 0;
}

int program_add(json_t *body, const struct option_list *entrypoint, const struct command_rest *cmd,
                struct failure *failure)
{
    int r = add_list(body, "entrypoint", entrypoint->items, entrypoint->count, failure);
    return r < 0 ? r : add_list(body, "cmd", (const char *const *)cmd->words, cmd->count, failure);
}

void program_check(const json_t *instance, struct failure *failure)
{
    const char *message = view_text(instance, "exit_message");
    if (failure->exit_status == 0 && strcmp(view_text(instance, "state"), "Stopped") == 0)
        failure_set(failure, CLI_FAILED, "failed", "%s", *message ? message : "it is Stopped");
}
