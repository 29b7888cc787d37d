/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of what a VMM wrote that knows none. */
#ifndef TINE_STACK_LAYER_DIFF_H
#define TINE_STACK_LAYER_DIFF_H

#include "stack/layer.h"

/* Makes a layer of a diff as Firecracker writes it into a fresh file: of the image's size, and what
 * is data in it are the pages that changed. That is believed only where the file system proves,
 * each time, to tell data from holes page by page; else ERROR_UNSUPPORTED. ERROR_CORRUPT if the
 * diff has another size, or data that is not whole pages; -EBUSY if it is written meanwhile. `to`
 * must not exist and is published whole. The diff stays; it need not be synced. Fills `info`,
 * unless NULL. */
int layer_from_diff(const struct stack_file *diff, const struct stack_file *to, uint64_t image_size,
                    struct layer_info *info, struct error *err);

#endif
