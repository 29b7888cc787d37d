/* SPDX-License-Identifier: Apache-2.0 */
/* Guest directories: made under a temporary name, published by rename, removed by renaming away
 * first, so that under its own name a guest directory is always whole (R3). */
#ifndef TINE_INSTANCE_DIRECTORY_H
#define TINE_INSTANCE_DIRECTORY_H

#include "instance/host.h"

/* A guest directory in the making: guests/<id>.tine-tmp-... with run/, log/, boot/ and disks/. If
 * it is not published it is removed. */
struct draft {
    struct host *host;
    char *name; /* NULL: published, or never made */
    int fd;
};

int draft_make(struct operation *op, struct draft *draft, struct error *err);
/* Everything in it is synced and it appears as guests/<id>; opens op->guest_fd. */
int draft_publish(struct operation *op, struct draft *draft, struct error *err);
void cleanup_draft(struct draft *draft);
/* Opens a directory of the draft, made if missing. */
int draft_subdirectory(const struct draft *draft, const char *name, struct error *err);

/* Renames the guest directory away, durably; `*trash` (owner: caller) names what is left for
 * tree_remove() in host->guests_fd, NULL when there was nothing. */
int directory_discard(struct operation *op, char **trash, struct error *err);

/* Drops snapshot/ or base/: gone at once for whoever looks, then removed. Not there is success. */
int directory_drop(struct operation *op, const char *name, struct error *err);
/* Renames within the guest directory, durably. */
int directory_rename(struct operation *op, const char *from, const char *to, struct error *err);
/* Empties run/: no VMM runs, so its sockets are nobody's. */
int directory_clean_run(struct operation *op, struct error *err);
/* Removes what an interrupted operation left half-made. */
int directory_sweep(struct operation *op, struct error *err);

#endif
