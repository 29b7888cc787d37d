/* SPDX-License-Identifier: Apache-2.0 */
/* The snapshots of one host: named captures of instances, immutable, each with files of its own
 * (R1), so that nothing that becomes of the source or of another snapshot matters to it. Memory,
 * kernel and read-only disks are links, writable disks private copies. All functions are safe from
 * any thread. A failed operation leaves everything as it was, and nothing behind.
 *
 * Snapshots are found by their full id only. */
#ifndef TINE_INSTANCE_SNAPSHOT_H
#define TINE_INSTANCE_SNAPSHOT_H

#include "instance/instance.h"

struct snapshot_create_request {
    enum instance_state kind; /* Standby: of a Running or Standby instance; Stopped: of a Stopped */
    const char *name;         /* NULL: none; the rule is that of instance names */
    const char *tags;         /* a JSON object of strings, kept as it is; NULL: none */
    bool has_compression;     /* else as the source's snapshot_policy or the host says */
    const struct stack_compression *compression; /* of the memory image, later, when no other owner
                                                    of it is left; kind Standby; NULL: none */
};
/* A Running source goes to standby, is linked, and runs again before this returns. ERROR_STATE;
 * ERROR_NAME if the source has a snapshot of that name. `record` may be NULL. */
int snapshot_create(struct host *host, const char *instance,
                    const struct snapshot_create_request *request, struct snapshot_record *record,
                    struct error *err);

/* ERROR_NOT_FOUND. */
int snapshot_get(struct host *host, const char *id, struct snapshot_record *record,
                 struct error *err);
/* In order of creation; owner: caller. */
int snapshot_list(struct host *host, const struct snapshot_filter *filter,
                  struct snapshot_record **records, size_t *count, struct error *err);
/* Waits for forks and restores that are reading it. What was made of it is not affected. */
int snapshot_delete(struct host *host, const char *id, struct error *err);

/* What is to come of a snapshot. */
struct snapshot_target {
    bool has_state;
    enum instance_state state; /* kind Standby: Running (default), Standby or Stopped;
                                  kind Stopped: Stopped (default) or Running */
    const char *hypervisor;    /* NULL: the source's; only for kind Stopped */
};
/* Replaces everything the instance has by what the snapshot has; id and name stay. The snapshot
 * must be of that instance (ERROR_INVALID), which must be Stopped or in Standby (ERROR_STATE). When
 * the target can't be reached the instance is as before. */
int snapshot_restore(struct host *host, const char *instance, const char *id,
                     const struct snapshot_target *target, struct instance_record *record,
                     struct error *err);
/* A new instance. Many forks of one snapshot are made at the same time. ERROR_NAME. */
int snapshot_fork(struct host *host, const char *id, const char *name,
                  const struct snapshot_target *target, struct instance_record *record,
                  struct error *err);

#endif
