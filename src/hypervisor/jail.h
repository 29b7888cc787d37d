/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/hypervisor: what Firecracker's jailer finds when it is started. It makes a directory
 * its VMM's root and gives up root's rights. That directory is prepared here, on a small file
 * system that goes with the VMM's mount namespace, and in it the guest directory is at
 * HYPERVISOR_GUEST_DIR as for every VMM. The guest directory's files stay root's on the host: they
 * are seen through a mount that maps root to the jail's user (mount_setattr(2), "ID-mapped
 * mounts"). */
#ifndef TINE_HYPERVISOR_JAIL_H
#define TINE_HYPERVISOR_JAIL_H

#include <sys/types.h>

#include "base/error.h"

#define JAIL_BASE \
    "/run/tine/jail" /* in the VMM's mount namespace; the jailer's --chroot-base-dir */

struct jail {
    char *guest_dir;  /* where the guest directory is to be seen */
    char options[64]; /* of the file system */
    int userns_fd;    /* has the map of owners; -1: they are as they are */
};

/* For the program at `program`, which the jailer copies, in the jail called `id`. */
int jail_prepare(struct jail *jail, const char *program, const char *id, uid_t uid, gid_t gid,
                 struct error *err);
void cleanup_jail(struct jail *jail);

/* Steps of a child between fork and exec: async-signal-safe, 0 or an errno. The working directory
 * is the guest directory, JAIL_BASE's parent is there. */
int jail_mount(const struct jail *jail);
int jail_make_directories(const struct jail *jail);
int jail_show_guest(const struct jail *jail);

#endif
