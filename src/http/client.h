/* SPDX-License-Identifier: Apache-2.0 */
/* One HTTP request to a program of ours on a unix socket, on a connection of its own. Descriptors
 * can travel beside request and answer. */
#ifndef TINE_HTTP_CLIENT_H
#define TINE_HTTP_CLIENT_H

#include <stddef.h>

#include "base/error.h"
#include "http/server.h"

struct http_call {
    const char *server; /* what it is called in messages: "pager" */
    const char *socket; /* of any length */
    const char *method, *path;
    const char *body; /* JSON text; NULL: none */
    const int *fds;   /* they stay the caller's */
    size_t fd_count;
    unsigned timeout_ms;
};

struct http_reply {
    int status; /* 0: no whole answer came, there may be nobody any more */
    char *body; /* as text; NULL: none */
    int fds[HTTP_MAX_DESCRIPTORS];
    size_t fd_count;
};

/* 0 whatever the status is. `reply` is to be given up with http_reply_free() in any case.
 * ERROR_TIMEOUT when the time is over. */
int http_call(const struct http_call *call, struct http_reply *reply, struct error *err);
void http_reply_free(struct http_reply *reply);
/* For `_cleanup_(http_reply)`. */
static inline void cleanup_http_reply(struct http_reply *reply)
{
    http_reply_free(reply);
}

#endif
