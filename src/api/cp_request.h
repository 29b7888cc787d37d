/* SPDX-License-Identifier: Apache-2.0 */
/* The first message of a cp connection: what to copy, and which way. */
#ifndef TINE_API_CP_REQUEST_H
#define TINE_API_CP_REQUEST_H

#include <jansson.h>

#include "agent/client.h"
#include "api/problem.h"

struct cp_request {
    bool into_guest;
    struct agent_put put; /* into the guest; its strings live in `json` */
    struct agent_get get; /* out of it */
    json_t *json;
};

/* Reads the JSON text. On failure the problem says why, and `into_guest` is still right if the
 * direction could be read. cp_request_release() in every case. */
int cp_request_parse(struct cp_request *request, const char *text, size_t length,
                     struct problem *problem);
void cp_request_release(struct cp_request *request);

#endif
