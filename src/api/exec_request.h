/* SPDX-License-Identifier: Apache-2.0 */
/* The first message of an exec connection: what to run, and how. */
#ifndef TINE_API_EXEC_REQUEST_H
#define TINE_API_EXEC_REQUEST_H

#include <jansson.h>

#include "agent/client.h"
#include "api/problem.h"

struct exec_request {
    struct agent_exec exec; /* its strings live in the members below */
    bool streams;           /* our extension: output marked by stream, controls from the client */
    json_t *json;
    const char **argv;
    char **env;
};

/* Reads the JSON text. On failure the problem says why. exec_request_release() in every case. */
int exec_request_parse(struct exec_request *request, const char *text, size_t length,
                       struct problem *problem);
void exec_request_release(struct exec_request *request);

#endif
