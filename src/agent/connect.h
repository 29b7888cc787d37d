/* SPDX-License-Identifier: Apache-2.0 */
/* Reaching a guest's port through the VMM's vsock unix socket (Firecracker's protocol: "CONNECT
 * <port>\n" answered by "OK <host port>\n", a plain close being a refusal). */
#ifndef TINE_AGENT_CONNECT_H
#define TINE_AGENT_CONNECT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* One try. Returns a blocking stream descriptor; otherwise a negative errno, and `*again` says
 * whether a later try may do better (nobody listens yet, refused, no answer yet). */
int vsock_connect_once(const char *vsock_path, unsigned port, uint64_t deadline_ns, bool *again,
                       struct error *err);
/* True if this is the VMM's consent to a CONNECT, without its newline. */
bool vsock_line_ok(const char *line);
#define VSOCK_LINE_LIMIT 32u /* bytes of a handshake's line */
/* Tries until `deadline_ns`, then ERROR_TIMEOUT with the last reason. */
int vsock_connect_until(const char *vsock_path, unsigned port, uint64_t deadline_ns,
                        struct error *err);

/* Short pauses between tries that grow: 5, 10, ... 100 ms, never beyond the deadline. */
struct backoff {
    unsigned next_ms; /* 0 at the start */
};
void backoff_sleep(struct backoff *backoff, uint64_t deadline_ns);

#endif
