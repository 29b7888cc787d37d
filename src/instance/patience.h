/* SPDX-License-Identifier: Apache-2.0 */
/* Waiting for an agent in tries that get longer: between two of them one looks whether the VMM
 * still lives, so its death is noticed soon, and a slow guest still has time to answer one of them.
 */
#ifndef TINE_INSTANCE_PATIENCE_H
#define TINE_INSTANCE_PATIENCE_H

#include <stdbool.h>
#include <stdint.h>

struct patience {
    uint64_t deadline_ns;
    unsigned try_ms;
    bool last; /* the try that patience_next() returned is the last one */
};

struct patience patience_start(unsigned timeout_ms);
/* How long the next try may take, in milliseconds. */
unsigned patience_next(struct patience *patience);

#endif
