/* SPDX-License-Identifier: Apache-2.0 */
/* Requests to tined, one or many at once. */
#ifndef TINE_CLI_HTTP_H
#define TINE_CLI_HTTP_H

#include <jansson.h>
#include <stdint.h>
#include <sys/types.h>

#include "cli/cli.h"

/* Fills the buffer with what comes next of a body; 0 at its end, -1 to give up. */
typedef ssize_t http_reader(void *data, char *buffer, size_t size);

struct http_call {
    const char *method;
    char *path;        /* owned */
    json_t *body;      /* owned, or NULL */
    http_reader *read; /* of a POST, instead of `body`: a stream of bytes */
    void *read_data;
    const char *name; /* what the call is about, for the caller's messages */
    /* Set when it is done: */
    json_t *reply; /* owned; NULL if there was no body, or on failure */
    struct failure failure;
    double elapsed_ms;
};

/* Called as each call is done, in that order. */
typedef void http_done(struct http_call *call, void *data);

/* Makes all calls at the same time and waits for all. `label` is what a progress line on a terminal
 * says after a second ("forking web"). Returns the exit status of the first failure, or 0. */
int http_run(const struct cli *cli, const char *label, struct http_call *calls, size_t count,
             http_done *done, void *data);
/* One call: the reply (owner: caller), or NULL and the failure. */
json_t *http_get(const struct cli *cli, const char *label, const char *path,
                 struct failure *failure);
/* The same for a POST; takes `body`, which may be NULL. The reply has "elapsed_ms" added. */
json_t *http_post(const struct cli *cli, const char *label, const char *path, json_t *body,
                  struct failure *failure);
void http_calls_release(struct http_call *calls, size_t count);

/* A GET whose body is handed on as it comes. The receiver returns false to end the stream. */
typedef bool http_receiver(void *data, const char *bytes, size_t length);
int http_stream(const struct cli *cli, const char *path, http_receiver *receive, void *data,
                struct failure *failure);

/* Percent-encoded for a path's segment or a query's value. Owner: caller; NULL: no memory. */
char *uri_escape(const char *text);
/* "/instances/REFERENCE" and `rest`, the reference percent-encoded. Owner: caller. */
char *instance_path(const char *reference, const char *rest);
/* "/images/NAME", percent-encoded. Owner: caller. */
char *image_path(const char *name);
/* "/snapshots/ID" and `rest`. Owner: caller. */
char *snapshot_path(const char *id, const char *rest);

/* What a reply that is no success says. */
void failure_from_reply(struct failure *failure, long status, const char *body, size_t length);
/* "unreachable", with the exit status for it. */
int failure_unreachable(struct failure *failure, const struct cli *cli, const char *cause);

#endif
