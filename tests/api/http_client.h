/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP written out by hand, so that tests can also send what no library would. */
#ifndef TINE_TESTS_API_HTTP_CLIENT_H
#define TINE_TESTS_API_HTTP_CLIENT_H

#include <jansson.h>
#include <stddef.h>

#include "daemon.h"

struct http_reply {
    int status; /* 0: the connection ended without a whole reply */
    char *head, *body;
    size_t body_length;
    json_t *json; /* of the body, or NULL */
};

/* A connection to the daemon with a receive time-out, so that no test hangs. */
int http_open(const struct daemon *daemon);
/* The same over TCP, to the daemon_port(). */
int http_open_tcp(const struct daemon *daemon);
void http_send(int fd, const void *bytes, size_t length);
void http_send_text(int fd, const char *text);
/* Reads up to the end of the connection, and takes the reply apart. Closes `fd`. */
struct http_reply http_finish(int fd);
void http_release(struct http_reply *reply);

/* One request with "Connection: close". `body` may be NULL. What is asked and answered must be as
 * documented (openapi.h). */
struct http_reply http_call(const struct daemon *daemon, const char *method, const char *path,
                            const char *body);
/* The value of a header, cut at the line's end, in a static buffer; NULL if absent. */
const char *http_header(const struct http_reply *reply, const char *name);

/* A request that must be answered with that status. Returns the JSON (owner: caller). */
json_t *http_expect(const struct daemon *daemon, const char *method, const char *path,
                    const char *body, int status);
/* A request that must be refused with that status and code, in JSON. Checks x-should-retry. */
void http_refused(const struct daemon *daemon, const char *method, const char *path,
                  const char *body, int status, const char *code, const char *message_part);

/* One row of a table of such requests, and all of a table. */
struct http_refusal {
    const char *body;
    int status;
    const char *code, *message_part;
};
void http_refused_all(const struct daemon *daemon, const char *method, const char *path,
                      const struct http_refusal *cases, size_t count);

const char *text_of(const json_t *object, const char *name);

#endif
