/* SPDX-License-Identifier: Apache-2.0 */
/* A create request, checked: everything that can be known to be wrong before anything is made. */
#ifndef TINE_INSTANCE_CREATE_REQUEST_H
#define TINE_INSTANCE_CREATE_REQUEST_H

#include "image/image.h"
#include "instance/host.h"

/* Where the files come from: absolute paths without symbolic links. */
struct create_plan {
    char *kernel;
    char *initrd;                          /* NULL: none */
    bool kernel_from_kit, initrd_from_kit; /* ours, and immutable */
    char *disks[GUEST_MAX_DISKS];          /* NULL: one of the image's */
    struct image image;                    /* with an id: an imported one */
    uint64_t overlay_bytes;                /* with such an image */
};
void cleanup_create_plan(struct create_plan *plan);

/* Fills the record (but for its id) and the plan. ERROR_INVALID or ERROR_RESOURCES names the field;
 * a file that is not there or is no regular file is named by its path. */
int create_check(const struct host *host, const struct instance_create_request *request,
                 struct instance_record *record, struct create_plan *plan, struct error *err);

#endif
