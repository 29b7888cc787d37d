/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "agent/client.h"
#include "agent/client_request.h"
#include "base/cleanup.h"
#include "base/clock.h"

/* Checked here, so that the guest is not asked what it will refuse. */
static int path_put(struct agent_fields *fields, const char *path, struct error *err)
{
    if (!path || path[0] != '/')
        return error_set(err, ERROR_INVALID, EINVAL, "\"%s\" is not an absolute path in the guest",
                         path ? path : "");
    if (strlen(path) >= PATH_MAX)
        return error_set(err, ERROR_INVALID, ENAMETOOLONG, "the path in the guest is too long");
    agent_field_put_text(fields, AGENT_TAG_PATH, path);
    return 0;
}

int agent_stat(const char *vsock_path, unsigned timeout_ms, const char *path, bool follow,
               struct agent_stat *info, struct error *err)
{
    uint8_t data[PATH_MAX + 64];
    _cleanup_(free) struct agent_reply *reply = calloc(1, sizeof(*reply));
    if (!reply)
        return error_errno(err, ENOMEM, vsock_path, "look at %s", path);
    struct agent_request request = {
        .vsock_path = vsock_path,
        .name = "look at a file",
        .type = AGENT_STAT,
        .fields = {.data = data, .capacity = sizeof(data)},
        .deadline_ns = time_after_ms(timeout_ms),
    };
    int r = path_put(&request.fields, path, err);
    if (r < 0)
        return r;
    if (follow)
        agent_field_put(&request.fields, AGENT_TAG_FOLLOW, NULL, 0);
    r = agent_request_run(&request, reply, err);
    if (r < 0)
        return r;
    if (agent_stat_parse(info, &reply->frame) < 0)
        return error_set(err, ERROR_CORRUPT, EPROTO, "%s: the agent's answer is malformed",
                         request.name);
    return 0;
}

int agent_put_start(const char *vsock_path, unsigned timeout_ms, const struct agent_put *put,
                    struct error *err)
{
    uint8_t data[2 * PATH_MAX + 128];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    int r = path_put(&fields, put->path, err);
    if (r < 0)
        return r;
    if (put->link_target && strlen(put->link_target) >= PATH_MAX)
        return error_set(err, ERROR_INVALID, ENAMETOOLONG, "the link's target is too long");
    if (put->link_target)
        agent_field_put_text(&fields, AGENT_TAG_LINK_TARGET, put->link_target);
    if (put->directory)
        agent_field_put(&fields, AGENT_TAG_DIRECTORY, NULL, 0);
    agent_field_put_u32(&fields, AGENT_TAG_MODE, put->mode);
    agent_field_put_u32(&fields, AGENT_TAG_UID, put->uid);
    agent_field_put_u32(&fields, AGENT_TAG_GID, put->gid);
    return agent_stream_open(vsock_path, timeout_ms, AGENT_PUT, &fields, err);
}

int agent_get_start(const char *vsock_path, unsigned timeout_ms, const struct agent_get *get,
                    struct error *err)
{
    uint8_t data[PATH_MAX + 64];
    struct agent_fields fields = {.data = data, .capacity = sizeof(data)};
    int r = path_put(&fields, get->path, err);
    if (r < 0)
        return r;
    if (get->follow)
        agent_field_put(&fields, AGENT_TAG_FOLLOW, NULL, 0);
    return agent_stream_open(vsock_path, timeout_ms, AGENT_GET, &fields, err);
}
