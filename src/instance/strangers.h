/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_STRANGERS_H
#define TINE_INSTANCE_STRANGERS_H

#include <stdbool.h>

#include "base/error.h"

typedef bool strangers_known(const char *name, const void *context);

/* Warns of every directory entry that `known` does not know: it belongs to no `thing`. It is never
 * removed: with a lost database that would be everybody's memory. */
int strangers_warn(int dirfd, const char *path, const char *thing, strangers_known *known,
                   const void *context, struct error *err);

#endif
