/* SPDX-License-Identifier: Apache-2.0 */
/* Whoever owns files (R1): an instance with its guest directory, or a snapshot with its own. What
 * is done to a directory as a whole is written once, for both. */
#ifndef TINE_INSTANCE_OWNER_H
#define TINE_INSTANCE_OWNER_H

#include "instance/host.h"

/* Everything in it is borrowed. */
struct owner {
    const char *thing; /* "instance" or "snapshot" */
    const char *id;
    int parent;              /* <data_dir>/guests or <data_dir>/snapshots */
    const char *parent_path; /* the same, absolute */
    int fd;                  /* its own directory; -1: not made yet, or missing */
};

struct owner operation_owner(const struct operation *op);
/* "guests/<id>/<name>" or "snapshots/<id>/<name>", for messages. */
struct label owner_label(const struct owner *owner, const char *name);

/* Removes everything there is of it, in this order: rename its directory away, durably; remove the
 * row; remove the tree. A tined that dies after the rename finds a row whose directory has a
 * temporary name and finishes; one that dies after the row finds a temporary name and sweeps it. So
 * there is never half a directory. When the row can't be removed the directory is put back. */
typedef int owner_forget(struct store *store, const char *id, struct error *err);
int owner_remove(const struct owner *owner, struct store *store, owner_forget *forget,
                 struct error *err);

#endif
