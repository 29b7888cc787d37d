/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/restart.h"
#include "instance/trace.h"
#include "instance/transition.h"

int instance_start(struct host *host, const char *reference, struct instance_record *record,
                   struct error *err)
{
    _cleanup_(operation) struct operation op = OPERATION_NONE;
    int r = operation_begin(host, reference, LOCK_EXCLUSIVE, &op, err);
    if (r < 0)
        return r;
    r = transition_check(OPERATION_START, &op.record, err);
    if (r > 0) {
        restart_reset(&op.record);
        operation_show(&op, INSTANCE_CREATED);
        r = traced(&op, "start", boot_locked, err);
    }
    if (r < 0)
        return r;
    operation_result(&op, record);
    return 0;
}
