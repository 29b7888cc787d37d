/* SPDX-License-Identifier: Apache-2.0 */
/* A directory as a tar, while it is sent. */
#ifndef TINE_CLI_IMAGE_TAR_H
#define TINE_CLI_IMAGE_TAR_H

#include <stdint.h>

#include "cli/cli.h"

struct image_tar;

/* Begins to write the tree below `path` as a tar into a pipe, in a thread of its own: owners,
 * modes, times, extended attributes, ACLs, hard links and holes as they are, names relative to it.
 * Other file systems mounted in it are left out, and sockets. NULL and the failure. */
struct image_tar *image_tar_begin(const char *path, struct failure *failure);
/* Where the tar is read; it ends when it is whole, or has failed. */
int image_tar_fd(const struct image_tar *tar);
/* Waits for its end, which comes when the pipe is read to its end or closed here. 0, or the exit
 * status and the failure: what was read is no whole tar then. `*skipped`: how many were left out.
 * Takes `tar`. */
int image_tar_end(struct image_tar *tar, uint64_t *skipped, struct failure *failure);

#endif
