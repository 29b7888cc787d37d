/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: a client of tine-pager's control API (docs/pager.md). One connection per
 * request. */
#ifndef TINE_PAGING_CONTROL_H
#define TINE_PAGING_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"

#define CONTROL_DESCRIPTORS 2u /* that travel beside a request or an answer, at most */

struct control_request {
    const char *socket; /* of any length */
    const char *method, *path;
    json_t *body; /* the reference is taken; NULL: none */
    bool has_body;
    const int *fds; /* they stay the caller's */
    size_t fd_count;
};

struct control_reply {
    int status;   /* of HTTP; 0: no whole answer came, there may be no pager any more */
    json_t *body; /* NULL: none */
    int fds[CONTROL_DESCRIPTORS];
    size_t fd_count;
};

/* `reply` is to be given up with control_reply_free() in any case. A fault that the pager reports
 * has its message and errno; ERROR_NOT_FOUND for a session that is not there, ERROR_STATE where the
 * state does not allow it. ERROR_TIMEOUT after ten seconds. */
int control_call(const struct control_request *request, struct control_reply *reply,
                 struct error *err);
void control_reply_free(struct control_reply *reply);
/* For `_cleanup_(control_reply)`. */
static inline void cleanup_control_reply(struct control_reply *reply)
{
    control_reply_free(reply);
}

#endif
