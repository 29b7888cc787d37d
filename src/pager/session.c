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
    uint64_t image_pages = session->source->identity.size >> PAGE_SHIFT;
    if (!session->recording)
        return;
    /* Full: what there is will be published. What was given back is needed more than once. */
    if (count > image_pages - session->touched.pages ||
        !touch_record_add(&session->touched, page, count))
        session->recording = false;
}
