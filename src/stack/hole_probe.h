/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_STACK_HOLE_PROBE_H
#define TINE_STACK_HOLE_PROBE_H

#include "stack/stack.h"

/* Finds out, with a small file beside `file`, whether SEEK_DATA and SEEK_HOLE tell there which
 * pages were written, zeros among them, and no others: before and after they are on the disk. Not
 * so on file systems that know no holes, have blocks larger than a page or drop written zeros;
 * whose error is ERROR_UNSUPPORTED, -EOPNOTSUPP. */
int hole_probe(const struct stack_file *file, struct error *err);

#endif
