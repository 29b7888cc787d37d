/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_VMM_API_HTTP_RESPONSE_H
#define TINE_VMM_API_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

#define HTTP_CONTINUE_LINE \
    "HTTP/1.1 100 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n"

/* A response as micro-http, the server in Firecracker, writes it: no reason phrase; a 204 has
 * neither Content-Type nor Content-Length, all others have both. `body` (may be NULL) is JSON text.
 * Fresh memory, owner: caller; NULL when out of memory. */
char *http_response(int status, const char *body, bool close, size_t *length);

/* {"<key>": "<message>", "errno": "<its name>"} as fresh text; without "errno" where `errnum` is 0
 * or unknown. Bytes that are not UTF-8 (a message may be cut in the middle of a character) become
 * '?'. NULL when out of memory. */
char *http_error_body(const char *key, const char *message, int errnum);

#endif
