/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP/1.1 on a unix socket, for programs with an event loop: requests are answered at once, one at
 * a time per connection. Descriptors can travel beside requests and answers (SCM_RIGHTS). */
#ifndef TINE_HTTP_SERVER_H
#define TINE_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/loop.h"
#include "http/parser.h"

#define HTTP_MAX_DESCRIPTORS 4u

enum {
    HTTP_OK = 200,
    HTTP_NO_CONTENT = 204,
    HTTP_BAD_REQUEST = 400,
    HTTP_UNAVAILABLE = 503,
};

struct http_answer {
    int status;
    char *body; /* JSON text, taken over by the server; NULL: none */
    bool fatal; /* the loop ends with status 1 once the answer is out */
    /* Sent with the answer's first byte; taken over by the server. */
    int descriptors[HTTP_MAX_DESCRIPTORS];
    size_t descriptor_count;
};

/* Descriptors that came with a request. The server closes what is still there after the handler:
 * TAKE_FD() keeps one. */
struct http_descriptors {
    int fds[HTTP_MAX_DESCRIPTORS];
    size_t count;
};

struct http_server_config {
    const char *path; /* of the socket; an existing file is an error */
    const char *name; /* of the Server header */
    size_t body_limit;
    unsigned max_connections; /* one more is answered 503 */
    bool descriptors;         /* whether requests may carry any; else they are closed unseen */
    void (*handle)(void *context, const struct http_request *request,
                   struct http_descriptors *descriptors, struct http_answer *answer);
    void *context;
};

struct http_server;

/* Binds and answers from `loop` (borrowed). The strings are borrowed too. */
struct http_server *http_server_create(const struct http_server_config *config, struct loop *loop,
                                       struct error *err);
void http_server_destroy(struct http_server *server);

#endif
