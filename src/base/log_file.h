/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_BASE_LOG_FILE_H
#define TINE_BASE_LOG_FILE_H

#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Opens a log for appending, mode 0600; emptied when it is larger than `limit`. What has other
 * names as well, or is no file, is refused: whoever writes in the directory may have put it there.
 * `label` is the directory's path, for messages. `start` (may be NULL) receives its size. Returns
 * the descriptor. */
int log_file_open(int dirfd, const char *label, const char *name, off_t limit, uint64_t *start,
                  struct error *err);

#endif
