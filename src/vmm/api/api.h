/* SPDX-License-Identifier: Apache-2.0 */
/* Firecracker's HTTP API on a unix socket, in front of a vmm. Runs on the event loop; at most ten
 * connections; one request at a time each. */
#ifndef TINE_VMM_API_API_H
#define TINE_VMM_API_API_H

#include "base/error.h"
#include "base/loop.h"
#include "vmm/vmm.h"

#define API_BODY_LIMIT 51200u /* bytes, default of --http-api-max-payload-size */

struct api;

/* Binds `socket_path` (an existing file is an error) and answers from `loop`. */
struct api *api_create(const char *socket_path, size_t body_limit, struct loop *loop,
                       struct vmm *vmm, struct error *err);
void api_destroy(struct api *api);

#endif
