/* SPDX-License-Identifier: Apache-2.0 */
/* What a VMM process has to itself, split into the guest's memory and the VMM's own. */
#ifndef TINE_INSTANCE_SMAPS_H
#define TINE_INSTANCE_SMAPS_H

#include <stdint.h>
#include <stdio.h>

#include "base/error.h"

struct smaps {
    uint64_t private_bytes; /* Private_Dirty and Private_Hugetlb of all mappings */
    uint64_t guest_bytes;   /* of these, in the guest's memory */
};

/* Reads /proc/<pid>/smaps (proc(5)). The guest's memory is the mappings of a file named "memory",
 * then the largest anonymous mappings, until they add up to `guest_size`: a booted guest has only
 * the latter, a restored one has them where its balloon gave pages back. */
int smaps_read(FILE *smaps, uint64_t guest_size, struct smaps *result, struct error *err);

#endif
