/* SPDX-License-Identifier: Apache-2.0 */
/* A file of a snapshot on its way to its name. Two of them must appear together: a state beside
 * another snapshot's memory would be a corrupt VM. So both are first complete and synced under
 * temporary names; then the old files are set aside, state first, and the new ones put in place,
 * state last. A crash in between leaves no state, never a wrong pair; a failure puts everything
 * back.
 *
 * A diff may instead be written into a memory file that is there. Then nothing can be put back: the
 * old state is removed, durably, before the first byte changes, and a failure leaves none. */
#ifndef TINE_VMM_SNAPSHOT_FILE_H
#define TINE_VMM_SNAPSHOT_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

struct snapshot_file {
    const char *path; /* borrowed */
    char *temporary;  /* where the new file is while it is made */
    char *aside;      /* where the old file of that name waits; NULL: there was none */
    int fd;           /* of the new file */
    bool made;        /* `temporary` exists */
    bool placed;      /* the new file has its name */
    bool in_place;    /* the file had its name before and keeps it */
};

#define SNAPSHOT_FILE_NONE ((struct snapshot_file){.fd = -1})

/* Makes an empty file (mode 0600) under a temporary name beside `path`. ERROR_INVALID if something
 * that is not a file is at `path`. */
int snapshot_file_create(struct snapshot_file *file, const char *path, struct error *err);
/* Opens the file at `path` for reading and writing if it has `size` bytes: 1. 0 if there is none,
 * or one of another size. -EMLINK if it has other names: who has them would see it change (R2). */
int snapshot_file_open(struct snapshot_file *file, const char *path, uint64_t size,
                       struct error *err);
/* Removes the old state of that name for good, durably; -EINVAL if that is `memory`. */
int snapshot_file_remove_old(const struct snapshot_file *state, const struct snapshot_file *memory,
                             struct error *err);
/* fsync. */
int snapshot_file_sync(struct snapshot_file *file, struct error *err);
/* Takes the old file of that name, if there is one, out of the way. */
int snapshot_file_set_aside(struct snapshot_file *file, struct error *err);
/* Gives the new file its name; -EEXIST if that is taken again. */
int snapshot_file_place(struct snapshot_file *file, struct error *err);
/* Makes the names durable. */
int snapshot_file_sync_directory(const struct snapshot_file *file, struct error *err);
/* Removes the old file (its other names stay), closes and frees. */
void snapshot_file_commit(struct snapshot_file *file);
/* Puts everything back as it was before the create, closes and frees. Harmless after a commit. */
void snapshot_file_cancel(struct snapshot_file *file);

static inline void cleanup_snapshot_file(struct snapshot_file *file)
{
    snapshot_file_cancel(file);
}

#endif
