/* SPDX-License-Identifier: Apache-2.0 */
#include "api/warm_json.h"

#include "api/instance_json.h"

json_t *warm_json(const struct warm_status *status)
{
    return json_pack("{s:I, s:I, s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I}", "wanted",
                     (json_int_t)status->wanted, "ready", (json_int_t)status->ready, "prepared",
                     (json_int_t)status->prepared, "state", text_or_null(status->state), "reason",
                     text_or_null(status->reason), "pinned_bytes", (json_int_t)status->pinned_bytes,
                     "taken", (json_int_t)status->taken, "missed", (json_int_t)status->missed,
                     "refills", (json_int_t)status->refills, "lost", (json_int_t)status->lost);
}

json_t *warm_json_or_null(const struct warm_status *status)
{
    return status->wanted > 0 ? warm_json(status) : json_null();
}
