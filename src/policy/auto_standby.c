/* SPDX-License-Identifier: Apache-2.0 */
/* auto_standby: when an instance that nobody talks to is to go to standby. */
#include "base/cleanup.h"
#include "policy/tables.h"

static int whole(const char *path, json_t *policy, struct error *err)
{
    if (json_is_true(json_object_get(policy, "enabled")) &&
        !json_object_get(policy, "idle_timeout"))
        return field_invalid(err, path, "idle_timeout", "is required when enabled is true");
    return 0;
}

static const struct field fields[] = {
    {"enabled", VALUE_BOOL, .preset = "false"},
    {"idle_timeout", VALUE_DURATION, .minimum = 1},
    {"ignore_source_cidrs", VALUE_CIDRS},
    {"ignore_destination_ports", VALUE_PORTS},
};
const struct field_table auto_standby_fields = {fields, ARRAY_SIZE(fields), whole};
