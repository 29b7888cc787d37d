/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the double of src/instance. */
#ifndef TINE_TESTS_API_DOUBLE_H
#define TINE_TESTS_API_DOUBLE_H

#include <pthread.h>
#include <string.h>

#include "instance/snapshot.h"

#define INSTANCES_MAX 512
#define SNAPSHOTS_MAX 64

struct entry {
    struct instance_record record;
    bool used;
    unsigned looks;
};

struct host {
    pthread_mutex_t lock;
    pthread_cond_t met;
    char *data_dir;
    struct events *events;
    struct store *store;
    struct image_store *images;
    struct metrics *metrics;
    struct metric *operations;
    bool has_compression;
    struct stack_compression compression;
    struct entry entries[INSTANCES_MAX];
    unsigned made, meeting;
    struct snapshot_record snapshots[SNAPSHOTS_MAX]; /* in order of creation */
    size_t snapshot_count;
    unsigned snapshots_made;
};

static inline bool begins(const char *text, const char *prefix)
{
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* The entry that the reference means; called with the lock held. */
struct entry *double_resolve(struct host *host, const char *reference, struct error *err);
/* An event and a count of what was done, or of why it was not. */
void double_tell(struct host *host, const struct instance_record *record, const char *kind,
                 const struct error *err);
/* What the record's program does, by its name. */
void double_program_outcome(struct instance_record *record);
/* Makes an entry; called with the lock held. */
int double_add(struct host *host, const char *name, struct instance_record record,
               struct instance_record *result, struct error *err);
/* How memory is compressed where a request does not say; NULL: not at all. */
const struct stack_compression *double_compression(const struct host *host,
                                                   const struct snapshot_policy *policy);
/* One change of state, legal from `from` (a set of bits). */
int double_change(struct host *host, const char *reference, unsigned from, enum instance_state to,
                  struct instance_record *record, struct error *err);

#endif
