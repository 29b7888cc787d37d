/* SPDX-License-Identifier: Apache-2.0 */
/* What libmicrohttpd refuses by itself, before a request reaches a handler: headers that are too
 * large, what is no HTTP. It answers with a page of HTML and has no setting for that; here the page
 * is exchanged for the JSON that every other error is. */
#ifndef TINE_API_REFUSAL_H
#define TINE_API_REFUSAL_H

#include <microhttpd.h>

/* Queues an answer of ours. Not MHD_queue_response(): that name is the library's own way to
 * answer, and goes through the exchange. */
enum MHD_Result response_queue(struct MHD_Connection *connection, unsigned status,
                               struct MHD_Response *response);

#endif
