/* SPDX-License-Identifier: Apache-2.0 */
/* Inside src/hypervisor: a client of Firecracker's HTTP API on a unix socket. One connection per
 * request: the server counts its connections, and a VMM is asked seldom. */
#ifndef TINE_HYPERVISOR_FIRECRACKER_API_H
#define TINE_HYPERVISOR_FIRECRACKER_API_H

#include <jansson.h>

#include "base/error.h"

struct vmm_api {
    const char *socket_path; /* of any length */
    unsigned connect_ms;     /* for a socket whose queue is full */
    unsigned request_ms;     /* the whole request, connecting aside */
};

/* One request. `body` may be NULL; the reference is taken, so json_pack() can be the argument;
 * `has_body` and a NULL body is out of memory. `answer` (may be NULL) receives the JSON of a 200,
 * or NULL if there was none; owner: caller.
 *
 * A fault the VMM reports is -EREMOTEIO with its fault_message, ERROR_INVALID for status 400 and
 * ERROR_SYSTEM for others. Where its field `errno` says that the host failed the VMM, it is that
 * errno: ENOSPC, EDQUOT, ENOMEM, EMFILE and ENFILE are ERROR_RESOURCES, EIO is ERROR_SYSTEM.
 * ERROR_TIMEOUT when time is over; any other errno: no answer. */
int vmm_api_get(const struct vmm_api *api, const char *path, json_t **answer, struct error *err);
int vmm_api_put(const struct vmm_api *api, const char *path, json_t *body, struct error *err);
int vmm_api_patch(const struct vmm_api *api, const char *path, json_t *body, struct error *err);

#endif
