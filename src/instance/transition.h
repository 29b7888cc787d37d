/* SPDX-License-Identifier: Apache-2.0 */
/* Which state allows which operation. The hops from state to state are in instance.h. */
#ifndef TINE_INSTANCE_TRANSITION_H
#define TINE_INSTANCE_TRANSITION_H

#include "store/store.h"

enum instance_operation {
    OPERATION_START,
    OPERATION_STOP,
    OPERATION_STANDBY,
    OPERATION_RESTORE,
    OPERATION_FORK,
    OPERATION_FORK_RUNNING, /* with from_running */
    OPERATION_EXEC,
    OPERATION_SNAPSHOT_STANDBY, /* create, by kind */
    OPERATION_SNAPSHOT_STOPPED,
    OPERATION_SNAPSHOT_RESTORE,
    OPERATION_COPY, /* files in or out, or a look at one */
    OPERATION_WARM,
};

/* What it is called in messages, with the instance behind it: "execute in". */
const char *operation_verb(enum instance_operation operation);

/* 1: go on; 0: nothing to do, and that is success; ERROR_STATE otherwise. */
int transition_check(enum instance_operation operation, const struct instance_record *record,
                     struct error *err);

#endif
