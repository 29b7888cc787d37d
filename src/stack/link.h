/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: link(2) of one image, and which of its failures a copy can cure. */
#ifndef TINE_STACK_LINK_H
#define TINE_STACK_LINK_H

#include <stdbool.h>

#include "stack/stack.h"

/* Gives the inode behind `from` the name `to`, and fills method and link_count. Fails with the
 * errno of linkat(2), or -ESTALE if `from` was replaced meanwhile; nothing is left then. */
int link_image(const struct stack_file *from, const struct stack_file *to, const char *failpoint,
               struct stack_result *result, struct error *err);

/* True for EXDEV, EMLINK, EPERM and EOPNOTSUPP: the only reasons to copy instead (R6). */
bool link_failure_is_curable(int errnum);

#endif
