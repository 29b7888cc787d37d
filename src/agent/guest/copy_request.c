/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/guest/copy_request.h"

#include <errno.h>
#include <string.h>

#define PERMISSIONS 07777u

static int take_text(char text[PATH_MAX], const uint8_t *value, uint32_t length)
{
    if (length >= PATH_MAX || memchr(value, '\0', length))
        return -EINVAL;
    memcpy(text, value, length);
    text[length] = '\0';
    return 0;
}

static int request_take(void *context, uint16_t tag, const uint8_t *value, uint32_t length)
{
    struct copy_request *request = context;
    switch (tag) {
    case AGENT_TAG_PATH:
        return take_text(request->path, value, length);
    case AGENT_TAG_LINK_TARGET:
        return take_text(request->link_target, value, length);
    case AGENT_TAG_MODE:
        return agent_value_u32(value, length, &request->mode);
    case AGENT_TAG_UID:
        return agent_value_u32(value, length, &request->uid);
    case AGENT_TAG_GID:
        return agent_value_u32(value, length, &request->gid);
    case AGENT_TAG_DIRECTORY:
        request->directory = true;
        return 0;
    case AGENT_TAG_FOLLOW:
        request->follow = true;
        return 0;
    default:
        return 0;
    }
}

int copy_request_parse(struct copy_request *request, const struct agent_frame *frame,
                       struct error *err)
{
    memset(request, 0, sizeof(*request));
    int r = agent_fields_each(frame, request_take, request);
    if (r < 0)
        return error_set(err, ERROR_INVALID, EINVAL, "the request is malformed");
    if (request->path[0] != '/')
        return error_set(err, ERROR_INVALID, EINVAL, "\"%s\" is not an absolute path",
                         request->path);
    request->mode &= PERMISSIONS;
    return 0;
}
