/* SPDX-License-Identifier: Apache-2.0 */
/* What an EXEC frame asks for. */
#ifndef TINE_AGENT_GUEST_EXEC_REQUEST_H
#define TINE_AGENT_GUEST_EXEC_REQUEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct exec_request {
    char **argv, **env; /* NULL-terminated; env is complete: the defaults and what was asked for */
    char *cwd;          /* never NULL */
    bool tty;
    bool console; /* no input, the outputs on our own standard error; set by the caller */
    uint16_t rows, cols;
    uint32_t timeout_ms; /* 0: none */
};

/* Reads the fields of an EXEC frame. -EINVAL with words if they are malformed or no command is
 * among them. Release it in any case. */
int exec_request_parse(struct exec_request *request, const void *payload, size_t length,
                       struct error *err);
void exec_request_release(struct exec_request *request);

#endif
