/* SPDX-License-Identifier: Apache-2.0 */
/* Starts again what ended by itself, as the instance's restart_policy says: after `backoff`, twice
 * as long at each further attempt, so often as `max_attempts` allows; what then runs for
 * `stable_after` begins anew. Whatever somebody asks for ends that. It is all in the row, so that
 * it goes on with another tined, or another boot of the host. */
#ifndef TINE_INSTANCE_RESTART_H
#define TINE_INSTANCE_RESTART_H

#include "instance/due.h"

#define RESTART_MANUAL_STOP "manual_stop"
#define RESTART_EXHAUSTED   "max_attempts_exceeded"

#define ENDED_POWERED_OFF "the guest powered off" /* no failure, unless its program says so */

extern const struct due_kind restart_kind;

/* Its VM ended by itself: fills in when it is started again, if it is. `why`: how it ended. The
 * caller writes the row, and then tells (restart_tell()). */
void restart_plan(struct instance_record *record, const char *why);
/* What was planned is under way. */
void restart_tell(struct host *host, const struct instance_record *record);
/* Somebody wants it stopped: it is not started again before somebody starts it. */
void restart_forbid(struct instance_record *record);
/* Somebody has started it, or it is another: nothing has happened yet. */
void restart_reset(struct instance_record *record);

#endif
