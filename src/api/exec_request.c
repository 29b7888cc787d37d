/* SPDX-License-Identifier: Apache-2.0 */
#include "api/exec_request.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/fields.h"

#define TIMEOUT_MAX_S (UINT32_MAX / 1000)

static void env_read(const struct fields *fields, struct exec_request *request)
{
    const json_t *map = fields_string_map(fields, "env");
    if (!map)
        return;
    request->env = calloc(json_object_size(map) + 1, sizeof(*request->env));
    size_t n = 0;
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)map, name, value)
    {
        if (*name == '\0' || strchr(name, '='))
            problem_set(fields->problem, 400, "invalid_request",
                        "env: \"%.64s\" is not a variable's name", name);
        else if (!request->env ||
                 asprintf(&request->env[n++], "%s=%s", name, json_string_value(value)) < 0)
            problem_set(fields->problem, 500, "internal_error", "out of memory");
        if (fields->problem->status != 0)
            return;
    }
}

static void command_read(const struct fields *fields, struct exec_request *request)
{
    fields_strings(fields, "command", &request->argv);
    if (request->argv && request->argv[0])
        return;
    static const char *const shell[] = {"/bin/sh", NULL};
    free(request->argv);
    request->argv = malloc(sizeof(shell));
    if (request->argv)
        memcpy(request->argv, shell, sizeof(shell));
    else
        problem_set(fields->problem, 500, "internal_error", "out of memory");
}

static uint16_t dimension_read(const struct fields *fields, const char *name)
{
    int64_t value = 0;
    fields_integer(fields, name, 0, UINT32_MAX, &value);
    return (uint16_t)(value > UINT16_MAX ? UINT16_MAX : value);
}

static void request_read(const struct fields *fields, struct exec_request *request)
{
    int64_t timeout_s = 0, wait_s = 0;
    command_read(fields, request);
    env_read(fields, request);
    fields_string(fields, "cwd", &request->exec.cwd);
    fields_bool(fields, "tty", &request->exec.tty);
    fields_integer(fields, "timeout", 0, TIMEOUT_MAX_S, &timeout_s);
    fields_integer(fields, "wait_for_agent", 0, TIMEOUT_MAX_S, &wait_s);
    request->exec.rows = dimension_read(fields, "rows");
    request->exec.cols = dimension_read(fields, "cols");
    struct fields tine = fields_object(fields, "tine", "tine.");
    fields_bool(&tine, "streams", &request->streams);
    request->exec.timeout_ms = (uint32_t)timeout_s * 1000u;
    request->exec.argv = (const char *const *)request->argv;
    request->exec.env = (const char *const *)request->env;
}

int exec_request_parse(struct exec_request *request, const char *text, size_t length,
                       struct problem *problem)
{
    *request = (struct exec_request){.json = fields_parse(text, length, problem)};
    if (request->json)
        request_read(&(struct fields){request->json, "", problem}, request);
    return problem->status != 0 ? -EINVAL : 0;
}

void exec_request_release(struct exec_request *request)
{
    for (char **entry = request->env; entry && *entry; entry++)
        free(*entry);
    free(request->env);
    free(request->argv);
    json_decref(request->json);
}
