/* SPDX-License-Identifier: Apache-2.0 */
/* Deletes the instances whose time is over, by the same operation as a delete that somebody asks
 * for. */
#ifndef TINE_INSTANCE_EXPIRY_H
#define TINE_INSTANCE_EXPIRY_H

#include "instance/due.h"

extern const struct due_kind expiry_kind;

#endif
