/* SPDX-License-Identifier: Apache-2.0 */
/* For whoever holds a session's shared state and is no pager. */
#include <stddef.h>
#include <unistd.h>

#include "pager/session_block.h"

static bool read_number(int fd, size_t at, uint64_t *number)
{
    return pread(fd, number, sizeof(*number), (off_t)at) == (ssize_t)sizeof(*number);
}

bool session_block_completed(int fd)
{
    uint64_t checksum = 0, completed = 0;
    return read_number(fd, offsetof(struct session_block_header, checksum), &checksum) &&
           read_number(fd, offsetof(struct session_block_header, completed), &completed) &&
           completed != 0 && completed == checksum;
}
