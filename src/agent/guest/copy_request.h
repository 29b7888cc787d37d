/* SPDX-License-Identifier: Apache-2.0 */
/* What a STAT, PUT or GET frame asks for. */
#ifndef TINE_AGENT_GUEST_COPY_REQUEST_H
#define TINE_AGENT_GUEST_COPY_REQUEST_H

#include <limits.h>
#include <stdbool.h>

#include "agent/protocol.h"

struct copy_request {
    char path[PATH_MAX];        /* absolute */
    char link_target[PATH_MAX]; /* "": no symbolic link */
    bool directory, follow;
    uint32_t mode; /* permissions */
    uint32_t uid, gid;
};

/* -EINVAL with words if the frame is malformed or has no absolute path. */
int copy_request_parse(struct copy_request *request, const struct agent_frame *frame,
                       struct error *err);

#endif
