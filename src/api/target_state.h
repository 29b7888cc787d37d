/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_API_TARGET_STATE_H
#define TINE_API_TARGET_STATE_H

#include "api/fields.h"
#include "store/store.h"

/* The field "target_state": true and the state if it is there. Another one than Running, Standby
 * and Stopped is a problem. */
bool target_state_read(const struct fields *fields, enum instance_state *state);

#endif
