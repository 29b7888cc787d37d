/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_HTTP_RESPONSE_H
#define TINE_HTTP_RESPONSE_H

#include <stdbool.h>
#include <stddef.h>

/* A response as micro-http, the server in Firecracker, writes it: no reason phrase; a 204 has
 * neither Content-Type nor Content-Length, all others have both. `server` is the Server header,
 * `body` (may be NULL) JSON text. Fresh memory, owner: caller; NULL when out of memory. */
char *http_response(const char *server, int status, const char *body, bool close, size_t *length);
/* "100 Continue" in the same form. */
char *http_continue(const char *server, size_t *length);

/* {"<key>": "<message>", "errno": "<its name>"} as fresh text; without "errno" where `errnum` is 0
 * or unknown. Bytes that are not UTF-8 (a message may be cut in the middle of a character) become
 * '?'. NULL when out of memory. */
char *http_error_body(const char *key, const char *message, int errnum);

#endif
