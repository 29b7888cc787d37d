/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "image/program.h"
#include "instance/reach.h"

/* The instance's variables, then the command's: of two with one name the agent takes the later.
 * Owner of the vector: caller; its strings are those of the two. */
static const char **env_join(const char *const *first, const char *const *second)
{
    size_t before = vector_length(first), behind = vector_length(second);
    const char **env = calloc(before + behind + 1, sizeof(*env));
    for (size_t i = 0; env && i < before + behind; i++)
        env[i] = i < before ? first[i] : second[i - before];
    return env;
}

static int exec_start(const struct instance_record *record, const char *vsock_path,
                      unsigned timeout_ms, const void *request, struct error *err)
{
    struct agent_exec exec = *(const struct agent_exec *)request;
    _cleanup_(program_vectors) struct program_vectors vectors = {NULL, NULL};
    int r = program_vectors(&record->program, &vectors, err);
    if (r < 0)
        return r;
    _cleanup_(free) const char **env = env_join((const char *const *)vectors.env, exec.env);
    if (!env)
        return error_errno(err, ENOMEM, NULL, "exec");
    exec.env = env;
    if (!exec.cwd && *record->program.working_dir)
        exec.cwd = record->program.working_dir;
    return agent_exec_start(vsock_path, timeout_ms, &exec, err);
}

int instance_exec(struct host *host, const char *reference, const struct agent_exec *exec,
                  struct error *err)
{
    return agent_reach(host, reference, OPERATION_EXEC, exec_start, exec, err);
}
