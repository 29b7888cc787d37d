/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/answer.h"

#include <errno.h>
#include <stdio.h>

#define ERRNO_MAX 4095u /* MAX_ERRNO of Linux */

static int take_number(const uint8_t *value, uint32_t length, uint32_t limit, int *number)
{
    uint32_t wire;
    if (agent_value_u32(value, length, &wire) < 0 || wire > limit)
        return -EPROTO;
    *number = (int)wire;
    return 0;
}

static int exit_take(void *context, uint16_t tag, const uint8_t *value, uint32_t length)
{
    struct agent_exit *outcome = context;
    switch (tag) {
    case AGENT_TAG_EXIT_CODE:
        return take_number(value, length, UINT8_MAX, &outcome->code);
    case AGENT_TAG_SIGNAL:
        return take_number(value, length, AGENT_SIGNAL_MAX, &outcome->signal);
    case AGENT_TAG_TIMED_OUT:
        outcome->timed_out = true;
        return 0;
    case AGENT_TAG_MESSAGE:
        agent_value_text(value, length, outcome->message, sizeof(outcome->message));
        return 0;
    default:
        return 0;
    }
}

int agent_outcome_parse(struct agent_exit *outcome, const struct agent_frame *frame)
{
    *outcome = (struct agent_exit){.code = -1};
    return agent_fields_each(frame, exit_take, outcome);
}

int agent_exit_parse(struct agent_exit *outcome, const struct agent_frame *frame)
{
    int r = agent_outcome_parse(outcome, frame);
    return r < 0 || outcome->code < 0 ? -EPROTO : 0;
}

static int failure_take(void *context, uint16_t tag, const uint8_t *value, uint32_t length)
{
    struct agent_failure *failure = context;
    uint32_t errnum;
    if (tag == AGENT_TAG_MESSAGE)
        agent_value_text(value, length, failure->message, sizeof(failure->message));
    if (tag != AGENT_TAG_ERRNO)
        return 0;
    if (agent_value_u32(value, length, &errnum) < 0)
        return -EPROTO;
    failure->errnum = errnum > 0 && errnum <= ERRNO_MAX ? (int)errnum : EIO;
    return 0;
}

int agent_failure_parse(struct agent_failure *failure, const struct agent_frame *frame)
{
    *failure = (struct agent_failure){.errnum = EIO};
    snprintf(failure->message, sizeof(failure->message), "no reason given");
    return agent_fields_each(frame, failure_take, failure);
}

int agent_failure_error(const struct agent_failure *failure, struct error *err)
{
    if (failure->errnum == EOPNOTSUPP)
        return error_set(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                         "the guest's agent, which may be older than tined, says: %s",
                         failure->message);
    return error_set(err, ERROR_SYSTEM, failure->errnum, "the agent says: %s", failure->message);
}
