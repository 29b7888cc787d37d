/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: what the running VMMs hold in memory, all together. To look at one costs the
 * kernel a walk over its page tables, so a call measures for a limited time only, those first whose
 * last figure is oldest, and takes the last known figures of the others. */
#ifndef TINE_INSTANCE_VMM_SAMPLES_H
#define TINE_INSTANCE_VMM_SAMPLES_H

#include <stddef.h>
#include <stdint.h>

#include "store/store.h"

struct vmm_samples;

struct vmm_samples *vmm_samples_new(void);
void vmm_samples_free(struct vmm_samples *samples);

struct vmm_sums {
    uint64_t private_bytes; /* Private_Dirty and Private_Hugetlb */
    uint64_t shared_bytes;  /* the rest of Rss */
    size_t vmms;            /* in the sums */
};
/* The sums over the VMMs of these rows. Figures younger than a second are not measured again;
 * `budget_ns`: when to stop measuring, but at least one VMM is measured. */
struct vmm_sums vmm_samples_take(struct vmm_samples *samples, const struct instance_record *records,
                                 size_t count, uint64_t budget_ns);

#endif
