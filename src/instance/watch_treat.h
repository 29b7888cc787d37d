/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the watcher: what it does for one instance, with the instance's lock. */
#ifndef TINE_INSTANCE_WATCH_TREAT_H
#define TINE_INSTANCE_WATCH_TREAT_H

#include "agent/answer.h"
#include "instance/host.h"

enum need {
    NEED_NOTHING,
    NEED_SETTLE, /* its VMM has ended */
    NEED_PAGER,  /* its session with its pager has changed */
    NEED_PROBE,  /* its agent has not answered yet */
    NEED_RECORD, /* its program is over */
    NEED_KILL,   /* and the VM did not power off */
};

struct need_of {
    char id[INSTANCE_ID_LENGTH + 1];
    enum need need;
    char how[64];              /* NEED_SETTLE: how the VMM ended */
    struct agent_exit outcome; /* NEED_RECORD: of the program */
    unsigned pager_changes;    /* NEED_PAGER: how many are dealt with when this is done */
};

enum outcome {
    DONE,
    BUSY,  /* an operation has the instance */
    LATER, /* it did not work, or there is no answer yet */
};

enum outcome watch_treat(struct host *host, const struct need_of *need);

#endif
