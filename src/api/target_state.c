/* SPDX-License-Identifier: Apache-2.0 */
#include "api/target_state.h"

bool target_state_read(const struct fields *fields, enum instance_state *state)
{
    const char *target = NULL;
    fields_string(fields, "target_state", &target);
    if (!target)
        return false;
    if (instance_state_parse(target, state) < 0 ||
        (*state != INSTANCE_RUNNING && *state != INSTANCE_STANDBY && *state != INSTANCE_STOPPED))
        problem_set(fields->problem, 400, "invalid_request",
                    "target_state: must be Running, Standby or Stopped, not \"%.64s\"", target);
    return true;
}
