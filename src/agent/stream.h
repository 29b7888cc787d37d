/* SPDX-License-Identifier: Apache-2.0 */
/* Whole reads and writes on a stream with a deadline, whether the descriptor blocks or not.
 * `deadline_ns` is of CLOCK_MONOTONIC; 0: none. Functions return 0 or a negative errno; the caller,
 * who knows what the bytes are, words the error. */
#ifndef TINE_AGENT_STREAM_H
#define TINE_AGENT_STREAM_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* Waits for poll events (or a hang-up): 0, or -ETIMEDOUT. */
int stream_wait(int fd, short events, uint64_t deadline_ns);
/* Reads up to `length` bytes until they are all there or the peer closed; `*done` says how many. */
int stream_read(int fd, void *buffer, size_t length, uint64_t deadline_ns, size_t *done);
/* Writes both parts, whole. A socket never raises SIGPIPE. Uses up `parts`. */
int stream_write(int fd, struct iovec parts[2], uint64_t deadline_ns);

#endif
