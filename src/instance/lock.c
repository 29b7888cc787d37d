/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/lock.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct lock_entry {
    struct lock_entry *next;
    char id[INSTANCE_ID_LENGTH + 1];
    unsigned users; /* holders and those who wait */
    unsigned readers;
    bool writer;
    bool nap;           /* the writer does not write, and lets readers with LOCK_NAP in */
    const void *nap_is; /* of the one that is open, or was last */
    uint64_t naps;      /* opened so far */
    unsigned writers_waiting;
    unsigned naps_waiting; /* those of them with LOCK_NAP */
    bool shows;
    enum instance_state shown;
    pthread_cond_t changed;
};

/* As many entries as operations are under way, so a list is enough. */
struct lock_table {
    pthread_mutex_t mutex; /* guards the list and every entry in it; never held while waiting */
    struct lock_entry *entries;
};

struct lock_table *lock_table_new(void)
{
    struct lock_table *table = calloc(1, sizeof(*table));
    if (table)
        pthread_mutex_init(&table->mutex, NULL);
    return table;
}

void lock_table_free(struct lock_table *table)
{
    if (!table)
        return;
    pthread_mutex_destroy(&table->mutex);
    free(table);
}

static struct lock_entry *entry_find(struct lock_table *table, const char *id)
{
    struct lock_entry *entry = table->entries;
    while (entry && strcmp(entry->id, id) != 0)
        entry = entry->next;
    return entry;
}

static struct lock_entry *entry_use(struct lock_table *table, const char *id)
{
    struct lock_entry *entry = entry_find(table, id);
    if (!entry) {
        entry = calloc(1, sizeof(*entry));
        if (!entry)
            return NULL;
        snprintf(entry->id, sizeof(entry->id), "%s", id);
        pthread_cond_init(&entry->changed, NULL);
        entry->next = table->entries;
        table->entries = entry;
    }
    entry->users++;
    return entry;
}

static void entry_leave(struct lock_table *table, struct lock_entry *entry)
{
    pthread_cond_broadcast(&entry->changed);
    if (--entry->users > 0)
        return;
    struct lock_entry **link = &table->entries;
    while (*link != entry)
        link = &(*link)->next;
    *link = entry->next;
    pthread_cond_destroy(&entry->changed);
    free(entry);
}

static void wait_write(struct lock_table *table, struct lock_entry *entry)
{
    entry->writers_waiting++;
    while (entry->writer || entry->readers > 0)
        pthread_cond_wait(&entry->changed, &table->mutex);
    entry->writers_waiting--;
    entry->writer = true;
}

static void wait_read(struct lock_table *table, struct lock_entry *entry)
{
    while (entry->writer || entry->writers_waiting > 0)
        pthread_cond_wait(&entry->changed, &table->mutex);
    entry->readers++;
}

/* True if it came into a nap, false if it is the writer. Whoever waits when a nap is opened is in
 * it from then on, however late it wakes up. */
static bool wait_nap(struct lock_table *table, struct lock_entry *entry)
{
    const uint64_t naps = entry->naps;
    if (entry->nap) {
        entry->readers++;
        return true;
    }
    entry->writers_waiting++;
    entry->naps_waiting++;
    while (entry->naps == naps && (entry->writer || entry->readers > 0))
        pthread_cond_wait(&entry->changed, &table->mutex);
    if (entry->naps != naps)
        return true;
    entry->writers_waiting--;
    entry->naps_waiting--;
    entry->writer = true;
    return false;
}

/* Waits for its turn and fills what the hold says of it. */
static void entry_enter(struct lock_table *table, struct lock_entry *entry, enum lock_kind kind,
                        struct lock_hold *hold)
{
    hold->joined = false;
    hold->nap = NULL;
    if (kind == LOCK_SHARED)
        wait_read(table, entry);
    else if (kind == LOCK_NAP)
        hold->joined = wait_nap(table, entry);
    else
        wait_write(table, entry);
    if (hold->joined)
        hold->nap = entry->nap_is;
    hold->table = table;
    hold->entry = entry;
    hold->writing = kind != LOCK_SHARED && !hold->joined;
}

int lock_take(struct lock_table *table, const char *id, enum lock_kind kind, struct lock_hold *hold,
              struct error *err)
{
    pthread_mutex_lock(&table->mutex);
    /* An entry exists only while somebody holds it or waits for it. */
    bool busy = kind == LOCK_TRY_EXCLUSIVE && entry_find(table, id);
    struct lock_entry *entry = busy ? NULL : entry_use(table, id);
    if (entry)
        entry_enter(table, entry, kind, hold);
    pthread_mutex_unlock(&table->mutex);
    if (busy)
        return -EBUSY;
    return entry ? 0 : error_errno(err, ENOMEM, id, "lock instance %s", id);
}

void lock_release(struct lock_hold *hold)
{
    struct lock_table *table = hold->table;
    if (!table)
        return;
    pthread_mutex_lock(&table->mutex);
    if (hold->writing) {
        hold->entry->writer = false;
        hold->entry->nap = false;
        hold->entry->shows = false;
    } else {
        hold->entry->readers--;
    }
    entry_leave(table, hold->entry);
    pthread_mutex_unlock(&table->mutex);
    *hold = (struct lock_hold){.table = NULL};
}

void lock_nap_open(struct lock_hold *hold, const void *nap)
{
    pthread_mutex_lock(&hold->table->mutex);
    struct lock_entry *entry = hold->entry;
    hold->nap = entry->nap_is = nap;
    entry->nap = true;
    entry->naps++;
    entry->readers += entry->naps_waiting;
    entry->writers_waiting -= entry->naps_waiting;
    entry->naps_waiting = 0;
    pthread_cond_broadcast(&entry->changed);
    pthread_mutex_unlock(&hold->table->mutex);
}

void lock_nap_close(const struct lock_hold *hold)
{
    pthread_mutex_lock(&hold->table->mutex);
    hold->entry->nap = false;
    while (hold->entry->readers > 0)
        pthread_cond_wait(&hold->entry->changed, &hold->table->mutex);
    pthread_mutex_unlock(&hold->table->mutex);
}

unsigned lock_users(struct lock_table *table, const char *id)
{
    pthread_mutex_lock(&table->mutex);
    const struct lock_entry *entry = entry_find(table, id);
    unsigned users = entry ? entry->users : 0;
    pthread_mutex_unlock(&table->mutex);
    return users;
}

void lock_show(const struct lock_hold *hold, enum instance_state state)
{
    pthread_mutex_lock(&hold->table->mutex);
    hold->entry->shows = true;
    hold->entry->shown = state;
    pthread_mutex_unlock(&hold->table->mutex);
}

bool lock_shown(struct lock_table *table, const char *id, enum instance_state *state)
{
    pthread_mutex_lock(&table->mutex);
    const struct lock_entry *entry = entry_find(table, id);
    bool shown = entry && entry->shows;
    if (shown)
        *state = entry->shown;
    pthread_mutex_unlock(&table->mutex);
    return shown;
}
