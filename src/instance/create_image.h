/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_INSTANCE_CREATE_IMAGE_H
#define TINE_INSTANCE_CREATE_IMAGE_H

#include "instance/create_request.h"

/* An imported image's disk, and what is changed in it, as the guest sees them. The agent is told on
 * the kernel's command line. */
#define ROOT_DISK    "/dev/vda"
#define OVERLAY_DISK "/dev/vdb"
#define ROOT_CMDLINE "tine.root=" ROOT_DISK " tine.overlay=" OVERLAY_DISK

/* Finds the image the request names. An imported one fills plan->image and the overlay's size, and
 * takes the record's disks 0 and 1 and the end of its command line. ERROR_NOT_FOUND: it is not
 * here. */
int create_check_image(const struct host *host, const struct instance_create_request *request,
                       struct instance_record *record, struct create_plan *plan, struct error *err);

#endif
