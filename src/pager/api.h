/* SPDX-License-Identifier: Apache-2.0 */
/* The pager's HTTP API: docs/pager.md. */
#ifndef TINE_PAGER_API_H
#define TINE_PAGER_API_H

#include "http/server.h"
#include "pager/pager.h"

#define API_BODY_LIMIT 65536u /* bytes */

/* For struct http_server_config; `context` is the pager. */
void api_handle(void *context, const struct http_request *request,
                struct http_descriptors *descriptors, struct http_answer *answer);

#endif
