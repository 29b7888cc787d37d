/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/hypervisor: the program that is Firecracker on this host. */
#ifndef TINE_HYPERVISOR_FIRECRACKER_PROGRAM_H
#define TINE_HYPERVISOR_FIRECRACKER_PROGRAM_H

#include <pthread.h>
#include <sys/stat.h>

#include "hypervisor/firecracker_version.h"

struct firecracker_program {
    char *path;
    pthread_mutex_t lock;               /* guards what is below */
    struct stat seen;                   /* the file when it was asked; all zero: never */
    struct firecracker_version version; /* what it said */
};

/* The version of the program, which is asked only when its file is another than last time.
 * ERROR_NOT_FOUND where there is no such file; ERROR_UNSUPPORTED where it can't be executed, is
 * another program, or too old. */
int firecracker_program_version(struct firecracker_program *program,
                                struct firecracker_version *version, struct error *err);

#endif
