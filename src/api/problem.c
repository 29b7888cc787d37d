/* SPDX-License-Identifier: Apache-2.0 */
#include "api/problem.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "base/cleanup.h"

static const struct {
    unsigned status;
    const char *code;
} error_table[] = {
    [ERROR_SYSTEM] = {500, "internal_error"},
    [ERROR_INVALID] = {400, "invalid_request"},
    [ERROR_NOT_FOUND] = {404, "not_found"},
    [ERROR_AMBIGUOUS] = {409, "ambiguous"},
    [ERROR_STATE] = {409, "invalid_state"},
    [ERROR_NAME] = {409, "name_conflict"},
    [ERROR_RESOURCES] = {409, "insufficient_resources"},
    [ERROR_UNSUPPORTED] = {501, "not_supported"},
    [ERROR_CORRUPT] = {500, "internal_error"},
    [ERROR_TIMEOUT] = {500, "internal_error"},
    [ERROR_EXPIRED] = {409, "instance_expired"},
};

int problem_set(struct problem *problem, unsigned status, const char *code, const char *format, ...)
{
    if (problem->status != 0)
        return -EINVAL;
    problem->status = status;
    problem->code = code;
    va_list args;
    va_start(args, format);
    vsnprintf(problem->message, sizeof(problem->message), format, args);
    va_end(args);
    return -EINVAL;
}

void problem_from_error(struct problem *problem, const struct error *err)
{
    enum error_code code = err->code;
    if (code >= ARRAY_SIZE(error_table))
        code = ERROR_SYSTEM;
    problem_set(problem, error_table[code].status, error_table[code].code, "%s", err->message);
}
