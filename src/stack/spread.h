/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/stack: when an inode has as many names as its file system allows (EMLINK), one fresh
 * copy beside it, "<name>.spread-<n>", takes the next links. A spread copy carries its source's
 * modification time, so that one whose source changed since is recognised and never linked to. */
#ifndef TINE_STACK_SPREAD_H
#define TINE_STACK_SPREAD_H

#include "stack/stack.h"

/* Links `to` to a spread copy of `from`, making the copy if none has room. Concurrent callers make
 * one copy, the others wait for it. Adds what was copied to `result->bytes_copied`. */
int spread_link(const struct stack_file *from, const struct stack_file *to,
                struct stack_result *result, struct error *err);

/* Removes all spread copies of `file`'s name, and half-made ones: before the image is changed. The
 * links made to them stay. */
int spread_remove_all(const struct stack_file *file, struct error *err);

#endif
