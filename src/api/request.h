/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request on its way to a handler, and the ways to answer it. A handler runs in the
 * thread of its connection and may block. */
#ifndef TINE_API_REQUEST_H
#define TINE_API_REQUEST_H

#include <jansson.h>
#include <microhttpd.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "api/fields.h"
#include "api/problem.h"
#include "api/server.h"
#include "api/uri.h"
#include "instance/instance.h"

struct body_stream;

struct request {
    struct server *server;
    struct MHD_Connection *connection;
    const char *method;
    struct uri uri;
    int uri_status;                  /* of uri_parse() */
    const char *reference;           /* the {id} of the route, or NULL */
    const char *inner;               /* its second {id}, or NULL */
    char id[INSTANCE_ID_LENGTH + 1]; /* of a stream's instance */
    char *body;
    size_t body_length, body_capacity;
    bool body_too_large, dispatched;
    const struct body_stream *body_stream; /* that the body goes to; NULL: it is kept in `body` */
    void *body_taker;                      /* the stream's own */
    bool needs_token;                      /* the listener asks for one */
    const char *missing_scope;             /* what its token may not do; NULL: nothing is missing */
    atomic_uint *counter;                  /* the server's counter that this request is part of */
    uint64_t started_ns;
    unsigned status; /* answered; 0: not yet */
};

/* Each queues one answer and returns what the HTTP library wants back. */
enum MHD_Result reply_json(struct request *request, unsigned status, json_t *body); /* takes body */
enum MHD_Result reply_empty(struct request *request, unsigned status);
enum MHD_Result reply_problem(struct request *request, const struct problem *problem);
enum MHD_Result reply_error(struct request *request, const struct error *err);
/* Answers with any response, which stays the caller's. */
enum MHD_Result reply_response(struct request *request, unsigned status,
                               struct MHD_Response *response);

/* Makes the request a stream: tined does not wait for its end before it stops. */
void request_becomes_stream(struct request *request);

/* The body as a JSON object, or NULL and a problem. */
json_t *request_body(const struct request *request, struct problem *problem);

/* The connection's descriptor, for watching whether the client went away; -1 if unknown. */
int request_descriptor(const struct request *request);
/* Waits until the client hung up, tined stops (both 1) or the time is over (0). */
int request_wait(const struct request *request, int timeout_ms);

#endif
