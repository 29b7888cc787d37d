/* SPDX-License-Identifier: Apache-2.0 */
/* Deletes the instances whose time is over, in a thread of its own, by the same operation as a
 * delete that somebody asks for. The deadlines are in the rows and are times of the wall clock: one
 * that passed while no tined ran counts at the next start, and a clock that is set counts at once.
 * The thread sleeps until the earliest of them.
 *
 * What an operation holds is tried again soon, and after some time waited for; a delete that fails
 * is tried again, less and less often, for as long as the row is there. */
#ifndef TINE_INSTANCE_EXPIRY_H
#define TINE_INSTANCE_EXPIRY_H

#include "base/error.h"

struct expiry;
struct host;

struct expiry *expiry_start(struct host *host, struct error *err);
/* A delete that is under way is finished. */
void expiry_stop(struct expiry *expiry);
/* A deadline in a row has changed. */
void expiry_poke(struct expiry *expiry);

#endif
