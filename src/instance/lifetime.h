/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: until when an instance lives. */
#ifndef TINE_INSTANCE_LIFETIME_H
#define TINE_INSTANCE_LIFETIME_H

#include "instance/instance.h"

#define LIFETIME_NOTE 64

/* The row's part of it. A ttl counts from `now_ns`. ERROR_INVALID. */
int lifetime_begin(struct instance_record *record, const struct instance_lifetime *lifetime,
                   uint64_t now_ns, struct error *err);
/* Of a row that was copied and has its own time of birth: a ttl begins anew, a time stays. */
void lifetime_inherit(struct instance_record *record);
/* By the wall clock, now. */
bool lifetime_is_over(const struct instance_record *record);
/* "expired at 2026-01-31T12:00:00.000Z" */
void lifetime_note(const struct instance_record *record, char note[LIFETIME_NOTE]);

#endif
