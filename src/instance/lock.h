/* SPDX-License-Identifier: Apache-2.0 */
/* One reader/writer lock per instance, made when first wanted and gone with its last user. It
 * guards the instance's row, its guest directory and its VMM: fork holds its source for reading,
 * everything that may write holds it for writing (R5). A writer that waits goes before readers that
 * come later, so that a stream of forks can't starve a standby.
 *
 * Forks and snapshots of a running source share one nap of it: the first holds the source for
 * writing, puts it to sleep and opens the nap; the others, all who wait for the same kind of hold
 * by then or come while it is open, are in it as readers beside the first; before it wakes the
 * source it closes the nap, which waits until they have left.
 *
 * A snapshot has its lock in the same table: fork and restore hold it for reading, create and
 * delete for writing.
 *
 * Order: first that of what is being made, a fork or a snapshot, while nobody else can know its id;
 * then that of an instance; then that of a snapshot. Never two instances or two snapshots that
 * others know of, but for one that is only tried. */
#ifndef TINE_INSTANCE_LOCK_H
#define TINE_INSTANCE_LOCK_H

#include <stdbool.h>

#include "store/store.h"

struct lock_table;
struct lock_entry;

enum lock_kind {
    LOCK_SHARED,
    LOCK_EXCLUSIVE,
    LOCK_TRY_EXCLUSIVE, /* does not wait */
    LOCK_NAP,           /* exclusive, or a reader in a nap that somebody has opened */
};

struct lock_hold {
    struct lock_table *table; /* NULL: nothing is held */
    struct lock_entry *entry;
    bool writing;
    bool joined;     /* a nap: LOCK_NAP found one open */
    const void *nap; /* in a nap: what was given to lock_nap_open() */
};

struct lock_table *lock_table_new(void);
/* Nothing may be held any more. */
void lock_table_free(struct lock_table *table);

/* Waits for its turn. -ENOMEM; with LOCK_TRY_EXCLUSIVE -EBUSY, without a message, if anybody holds
 * the lock or waits for it. */
int lock_take(struct lock_table *table, const char *id, enum lock_kind kind, struct lock_hold *hold,
              struct error *err);
void lock_release(struct lock_hold *hold);
/* By the holder for writing: what the lock guards is not written until the nap is closed or the
 * hold released. Everybody in it sees `nap`, which may be NULL and stays the holder's. Closing
 * returns when nobody reads any more. */
void lock_nap_open(struct lock_hold *hold, const void *nap);
void lock_nap_close(const struct lock_hold *hold);
/* How many hold it or wait for it. */
unsigned lock_users(struct lock_table *table, const char *id);

/* The state that the operation which holds the lock for writing is passing through, for those who
 * only look. It ends with the hold. */
void lock_show(const struct lock_hold *hold, enum instance_state state);
bool lock_shown(struct lock_table *table, const char *id, enum instance_state *state);

#endif
