/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_STRANGERS_H
#define TINE_INSTANCE_STRANGERS_H

#include <stddef.h>

#include "base/error.h"

/* Rows, each `size` bytes long, with a text id at the offset `id`. */
struct known_rows {
    const void *rows;
    size_t count, size, id;
};

/* Warns of every directory entry that is the id of no row: it belongs to no `thing`. It is never
 * removed: with a lost database that would be everybody's memory. */
int strangers_warn(int dirfd, const char *path, const char *thing, const struct known_rows *known,
                   struct error *err);

#endif
