/* SPDX-License-Identifier: Apache-2.0 */
/* One thread that notices when a VMM ends by itself or a guest's main program is over, and that
 * asks the agents of adopted guests until they answer. It takes the instance's lock like everybody
 * else; while an operation has it, the watcher leaves the instance to the operation and comes back.
 */
#ifndef TINE_INSTANCE_WATCH_H
#define TINE_INSTANCE_WATCH_H

#include <stdbool.h>

#include "base/error.h"

struct host;
struct watch;

struct watch *watch_start(struct host *host, struct error *err);
/* Ends the thread; NULL is nothing. */
void watch_stop(struct watch *watch);

/* Watches the instance's VMM from now on, in place of an earlier one; the pidfd is duplicated.
 * `probe`: the guest's agent has not answered yet. */
int watch_add(struct watch *watch, const char *id, int pidfd, bool probe, struct error *err);
/* Follows the main program of a watched instance too. Its end goes into the row, then the guest
 * powers off by itself; one that does not is ended. */
void watch_program(struct watch *watch, const char *id);
/* The session of a watched instance with its pager has changed (paged.h). */
void watch_pager(struct watch *watch, const char *id);
/* Its VMM was ended by somebody: waits until it is gone, and reaps it if nobody has yet. */
void watch_remove(struct watch *watch, const char *id);

#endif
