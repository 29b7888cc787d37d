/* SPDX-License-Identifier: Apache-2.0 */
/* docs/openapi.yaml against a server: what it documents is what the server says. */
#ifndef TINE_TESTS_API_OPENAPI_H
#define TINE_TESTS_API_OPENAPI_H

#include "http_client.h"

/* The document, as JSON; from the file that $TINE_OPENAPI names. NULL if that is not set. */
const json_t *openapi_document(void);
/* The path of the document that a request's path falls under, or NULL. */
const char *openapi_path(const json_t *document, const char *path);

/* Fails the test if the reply is not one that the document names for the request: path, method,
 * status, content type, body; and, for a success, the request's own body. Does nothing without a
 * document. */
void openapi_check(const char *method, const char *path, const char *body,
                   const struct http_reply *reply);

/* Fails the test if the value is not of the document's schema of that name. Does nothing without a
 * document. */
void openapi_check_value(const char *schema, const json_t *value);

#endif
