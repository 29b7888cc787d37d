/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a request names are looked at when it comes, so that the client learns then what is
 * wrong with them. */
#ifndef TINE_VMM_API_HOST_FILE_H
#define TINE_VMM_API_HOST_FILE_H

#include <stdbool.h>

#include "base/error.h"

/* A regular file that can be opened for reading. `what` names the field in messages. */
int host_file_check(const char *path, const char *what, struct error *err);
/* A regular file or block device that can be opened for reading, and writing. */
int host_drive_check(const char *path, const char *what, bool writable, struct error *err);
/* Opens a file or FIFO for output, made if it is missing (mode 0600), and appends. Never blocks.
 * Returns the descriptor or a negative errno. */
int host_output_open(const char *path, const char *what, struct error *err);

#endif
