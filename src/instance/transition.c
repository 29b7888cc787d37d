/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/transition.h"

#include <errno.h>

#include "base/cleanup.h"
#include "instance/instance.h"

#define BIT(state) (1u << INSTANCE_##state)

/* Single hops, by the state they start from. Unknown is reached from everywhere (what can't be
 * determined is no hop) and left by delete only. */
static const unsigned hops[] = {
    [INSTANCE_CREATED] = BIT(INITIALIZING) | BIT(RUNNING) | BIT(SHUTDOWN),
    [INSTANCE_INITIALIZING] = BIT(RUNNING) | BIT(SHUTDOWN),
    [INSTANCE_RUNNING] = BIT(PAUSED) | BIT(SHUTDOWN),
    [INSTANCE_PAUSED] = BIT(RUNNING) | BIT(SHUTDOWN) | BIT(STANDBY),
    [INSTANCE_SHUTDOWN] = BIT(RUNNING) | BIT(STOPPED),
    [INSTANCE_STOPPED] = BIT(CREATED),
    [INSTANCE_STANDBY] = BIT(PAUSED) | BIT(STOPPED),
    [INSTANCE_UNKNOWN] = 0,
};

bool instance_transition_legal(enum instance_state from, enum instance_state to)
{
    return (size_t)from < ARRAY_SIZE(hops) && (size_t)to < ARRAY_SIZE(hops) &&
           (hops[from] & 1u << to) != 0;
}

static const struct {
    const char *name;
    unsigned allowed, nothing_to_do;
    const char *hint;
} operations[] = {
    [OPERATION_START] = {"start", BIT(STOPPED), BIT(RUNNING) | BIT(INITIALIZING), ""},
    [OPERATION_STOP] = {"stop", BIT(RUNNING) | BIT(INITIALIZING), BIT(STOPPED), ""},
    [OPERATION_STANDBY] = {"put into standby", BIT(RUNNING), BIT(STANDBY), ""},
    [OPERATION_RESTORE] = {"restore", BIT(STANDBY), BIT(RUNNING) | BIT(INITIALIZING), ""},
    [OPERATION_FORK] = {"fork", BIT(STOPPED) | BIT(STANDBY), 0,
                        "; a Running source needs from_running"},
    [OPERATION_FORK_RUNNING] = {"fork", BIT(STOPPED) | BIT(STANDBY) | BIT(RUNNING), 0, ""},
    [OPERATION_EXEC] = {"execute in", BIT(RUNNING), 0, ""},
    [OPERATION_SNAPSHOT_STANDBY] = {"take a Standby snapshot of", BIT(RUNNING) | BIT(STANDBY), 0,
                                    ""},
    [OPERATION_SNAPSHOT_STOPPED] = {"take a Stopped snapshot of", BIT(STOPPED), 0, ""},
    [OPERATION_SNAPSHOT_RESTORE] = {"restore a snapshot in", BIT(STOPPED) | BIT(STANDBY), 0, ""},
    [OPERATION_COPY] = {"copy files of", BIT(RUNNING), 0, ""},
    [OPERATION_WARM] = {"keep forks ready of", BIT(STANDBY), 0, ""},
};

const char *operation_verb(enum instance_operation operation)
{
    return operations[operation].name;
}

int transition_check(enum instance_operation operation, const struct instance_record *record,
                     struct error *err)
{
    unsigned state = 1u << record->state;
    if (operations[operation].allowed & state)
        return 1;
    if (operations[operation].nothing_to_do & state)
        return 0;
    return error_set(err, ERROR_STATE, EBUSY, "cannot %s %s: its state is %s%s%s%s",
                     operations[operation].name, record->name, instance_state_name(record->state),
                     operations[operation].hint, record->state_error[0] ? ": " : "",
                     record->state_error);
}
