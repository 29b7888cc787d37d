/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: the pace of a job on a stack (struct layer_task), and its end. */
#ifndef TINE_STACK_LAYER_TASK_H
#define TINE_STACK_LAYER_TASK_H

#include "stack/layer_stack.h"

#define LAYER_TASK_STEP (1u << 20) /* bytes between two looks */

struct layer_pace {
    struct layer_task *task; /* NULL: there is nobody to be asked */
    uint64_t begin_ns, bytes;
};

struct layer_pace layer_pace_begin(struct layer_task *task);
/* `bytes` are to be written next: waits until they may be. */
int layer_pace_step(struct layer_pace *pace, uint64_t bytes, const char *label, struct error *err);

#endif
