/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: removing what an interrupted attempt left behind. */
#ifndef TINE_STACK_SWEEP_H
#define TINE_STACK_SWEEP_H

#include <stdbool.h>

#include "stack/stack.h"

/* Removes every entry of the directory that `doomed` picks; returns how many. */
typedef bool sweep_filter(const char *name, const void *context);
int sweep_directory(int dirfd, const char *label, sweep_filter *doomed, const void *context,
                    struct error *err);

/* Removes the temporaries of this one name. The caller is the only one that writes it. */
int sweep_temporaries_of(const struct stack_file *file, struct error *err);

#endif
