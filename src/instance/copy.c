/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/reach.h"

struct look {
    const char *path;
    bool follow;
    struct agent_stat *info;
};

static int look_ask(const struct instance_record *record, const char *vsock_path,
                    unsigned timeout_ms, const void *request, struct error *err)
{
    const struct look *look = request;
    return agent_stat(vsock_path, timeout_ms, look->path, look->follow, look->info, err);
}

static int put_start(const struct instance_record *record, const char *vsock_path,
                     unsigned timeout_ms, const void *request, struct error *err)
{
    return agent_put_start(vsock_path, timeout_ms, request, err);
}

static int get_start(const struct instance_record *record, const char *vsock_path,
                     unsigned timeout_ms, const void *request, struct error *err)
{
    return agent_get_start(vsock_path, timeout_ms, request, err);
}

int instance_file_stat(struct host *host, const char *reference, const char *path, bool follow,
                       struct agent_stat *info, struct error *err)
{
    const struct look look = {path, follow, info};
    return agent_reach(host, reference, OPERATION_COPY, look_ask, &look, err);
}

int instance_file_put(struct host *host, const char *reference, const struct agent_put *put,
                      struct error *err)
{
    return agent_reach(host, reference, OPERATION_COPY, put_start, put, err);
}

int instance_file_get(struct host *host, const char *reference, const struct agent_get *get,
                      struct error *err)
{
    return agent_reach(host, reference, OPERATION_COPY, get_start, get, err);
}
