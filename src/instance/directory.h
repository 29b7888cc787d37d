/* SPDX-License-Identifier: Apache-2.0 */
/* Guest and snapshot directories: made under a temporary name, published by rename, removed by
 * renaming away first, so that under its own name a directory is always whole (R3). */
#ifndef TINE_INSTANCE_DIRECTORY_H
#define TINE_INSTANCE_DIRECTORY_H

#include "instance/owner.h"

/* A directory in the making: <parent>/<id>.tine-tmp-... If it is not published it is removed. */
struct draft {
    int parent;
    char *name; /* NULL: published, or never made */
    int fd;
};

/* Empty. */
int draft_make_for(const struct owner *owner, struct draft *draft, struct error *err);
/* Everything in it is synced and it appears as <parent>/<id>. */
int draft_publish_for(const struct owner *owner, struct draft *draft, struct error *err);
/* The same where there is a directory already: the two change places, at once and durably, so that
 * what the draft names is now the old one. A second call undoes it. ERROR_UNSUPPORTED where the
 * file system can't do it. */
int draft_exchange(const struct owner *owner, const struct draft *draft, struct error *err);
/* For guest directories: with run/ and log/; and op->guest_fd is opened. */
int draft_make(struct operation *op, struct draft *draft, struct error *err);
int draft_publish(struct operation *op, struct draft *draft, struct error *err);
/* In two parts: syncs everything in it; then it only has to appear. */
int draft_sync(const struct draft *draft, struct error *err);
int draft_publish_synced(struct operation *op, struct draft *draft, struct error *err);
void cleanup_draft(struct draft *draft);
/* Opens a directory of the draft, made if missing. */
int draft_subdirectory(const struct draft *draft, const char *name, struct error *err);

/* Renames an owner's directory away, durably; `*trash` (owner: caller) names what is left for
 * tree_remove() in its parent, NULL when there was nothing. */
int directory_discard(const struct owner *owner, char **trash, struct error *err);

/* Drops snapshot/ or base/: gone at once for whoever looks, then removed. Not there is success. */
int directory_drop(struct operation *op, const char *name, struct error *err);
/* Renames within the guest directory, durably. */
int directory_rename(struct operation *op, const char *from, const char *to, struct error *err);
/* Empties run/: no VMM runs, so its sockets are nobody's. */
int directory_clean_run(struct operation *op, struct error *err);
/* Removes what an interrupted operation left half-made. */
int directory_sweep(struct operation *op, struct error *err);

#endif
