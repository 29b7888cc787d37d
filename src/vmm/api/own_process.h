/* SPDX-License-Identifier: Apache-2.0 */
/* A process that came of fork(2), not of an exec: it begins with all that the other one has, and
 * must let go of it before it does anything of its own. */
#ifndef TINE_VMM_API_OWN_PROCESS_H
#define TINE_VMM_API_OWN_PROCESS_H

#include "base/error.h"
#include "http/server.h"

/* What makes it another one; strings are owned. */
struct own_process {
    char *log_path;    /* NULL: standard error, as it is */
    char *mount_point; /* with `mount_fd` */
    int mount_fd;      /* a mount that is nowhere yet (open_tree(2)); -1: none */
};

/* Takes the mount out of what came with a request. It comes with a mount point or not at all. */
int own_process_mount(struct own_process *process, struct http_descriptors *descriptors,
                      const char *what, struct error *err);

/* Closes every descriptor above standard error, begins a session, and with a mount a mount
 * namespace in which that lies on `mount_point`, in place of what did, and is the working
 * directory. The log goes on in `log_path`, which is opened in there. Children that end are reaped
 * by themselves. The mount is given up, the strings stay. */
int own_process_begin(struct own_process *process, struct error *err);

void own_process_free(struct own_process *process);

#endif
