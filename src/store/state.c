/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/store.h"

static const char *const state_names[] = {
    [INSTANCE_CREATED] = "Created",   [INSTANCE_INITIALIZING] = "Initializing",
    [INSTANCE_RUNNING] = "Running",   [INSTANCE_PAUSED] = "Paused",
    [INSTANCE_SHUTDOWN] = "Shutdown", [INSTANCE_STOPPED] = "Stopped",
    [INSTANCE_STANDBY] = "Standby",   [INSTANCE_UNKNOWN] = "Unknown",
};

const char *instance_state_name(enum instance_state state)
{
    return (size_t)state < ARRAY_SIZE(state_names) ? state_names[state]
                                                   : state_names[INSTANCE_UNKNOWN];
}

int instance_state_parse(const char *name, enum instance_state *state)
{
    for (size_t i = 0; i < ARRAY_SIZE(state_names); i++) {
        if (strcmp(name, state_names[i]) == 0) {
            *state = (enum instance_state)i;
            return 0;
        }
    }
    return -EINVAL;
}

const char *compression_state_name(enum compression_state state)
{
    static const char *const words[] = {"none", "compressing", "compressed", "error"};
    return (size_t)state < ARRAY_SIZE(words) ? words[state] : "none";
}
