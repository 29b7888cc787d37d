/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: looking at and opening one image file, never through a symbolic link and never
 * anything but a regular file. */
#ifndef TINE_STACK_IMAGE_H
#define TINE_STACK_IMAGE_H

#include <stdbool.h>
#include <sys/stat.h>

#include "stack/stack.h"

/* How messages name the file. */
const char *image_label(const struct stack_file *file);

/* Stats the name itself. -ENOENT only when it is not there; -ELOOP for a symbolic link, -EISDIR for
 * a directory, -EINVAL for anything else that is not a regular file. */
int image_stat(const struct stack_file *file, struct stat *st, struct error *err);

/* Opens the image with `flags` (an access mode) and fills `st` from the descriptor. The type is
 * checked before the open, since opening a device or a FIFO may have effects of its own. Returns
 * the descriptor (owner: caller). */
int image_open(const struct stack_file *file, int flags, struct stat *st, struct error *err);

/* Whoever copied a file that was written meanwhile has something that it never was: -EBUSY
 * (ERROR_STATE) if `fd` has another size or modification time than `before`. */
int image_check_unchanged(const struct stack_file *file, int fd, const struct stat *before,
                          struct error *err);

/* 0 if nothing has that name, -EEXIST if something has, another errno if that can't be told (R6).
 */
int image_absent(const struct stack_file *file, struct error *err);

#endif
