/* SPDX-License-Identifier: Apache-2.0 */
/* The file `compacted` in a snapshot/ that has taken the place of another: which image that was,
 * and which this is. It is there until the row says so too. */
#ifndef TINE_INSTANCE_COMPACTION_MARK_H
#define TINE_INSTANCE_COMPACTION_MARK_H

#include "instance/host.h"

struct compaction_mark {
    unsigned old_layers, new_layers;
    char old_top[INSTANCE_MEMORY_TOP_SIZE], new_top[INSTANCE_MEMORY_TOP_SIZE]; /* "": no layer */
};

int compaction_mark_write(int directory, const struct compaction_mark *mark, struct error *err);
/* 1, or 0: there is none. ERROR_CORRUPT where it can't be read. */
int compaction_mark_read(int directory, struct compaction_mark *mark, struct error *err);
/* Durably. Not there is success. */
int compaction_mark_remove(int directory, struct error *err);

#endif
