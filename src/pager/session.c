/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/session.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "base/log.h"

const char *session_state_name(enum session_state state)
{
    static const char *const names[] = {
        [SESSION_WAITING] = "waiting",       [SESSION_SERVING] = "serving",
        [SESSION_COMPLETING] = "completing", [SESSION_COMPLETED] = "completed",
        [SESSION_ENDED] = "ended",           [SESSION_FAILED] = "failed",
    };
    return names[state];
}

void session_fail(struct session *session, const char *format, ...)
{
    va_list arguments;
    if (session->state > SESSION_COMPLETING)
        return;
    session->state = SESSION_FAILED;
    session->prefetch.active = session->complete.active = false;
    session->ahead.work.active = false;
    va_start(arguments, format);
    vsnprintf(session->reason, sizeof(session->reason), format, arguments);
    va_end(arguments);
    log_error("session %s failed: %s", session->id, session->reason);
}

void session_touched(struct session *session, uint64_t page, uint64_t count)
{
    if (session->recording && !touch_record_add(&session->touched, page, count))
        session->recording = false; /* full: what there is will be published */
}
