/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes with descriptors beside them on a unix socket (SCM_RIGHTS). */
#ifndef TINE_HTTP_DESCRIPTORS_H
#define TINE_HTTP_DESCRIPTORS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Like recv(2). What descriptors come are put into `fds` (close-on-exec, owner: caller), at most
 * `limit`; those beyond are closed and `*too_many` set. `limit` is at most 16. */
ssize_t descriptors_receive(int socket, void *buffer, size_t length, int *fds, size_t limit,
                            size_t *count, bool *too_many);
/* Like send(2) with MSG_NOSIGNAL and MSG_DONTWAIT, for 1 to 16 descriptors. They stay the caller's.
 */
ssize_t descriptors_send(int socket, const void *buffer, size_t length, const int *fds,
                         size_t count);

#endif
