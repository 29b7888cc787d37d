/* SPDX-License-Identifier: Apache-2.0 */
#include "instance/reach.h"

static int exec_start(const char *vsock_path, unsigned timeout_ms, const void *request,
                      struct error *err)
{
    return agent_exec_start(vsock_path, timeout_ms, request, err);
}

int instance_exec(struct host *host, const char *reference, const struct agent_exec *exec,
                  struct error *err)
{
    return agent_reach(host, reference, OPERATION_EXEC, exec_start, exec, err);
}
