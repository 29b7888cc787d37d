/* SPDX-License-Identifier: Apache-2.0 */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define ERRNO_LAST EHWPOISON /* Linux's highest, asm-generic/errno.h */

const char *errno_name(int errnum)
{
    static __thread char unknown[24];
    const char *name = strerrorname_np(errnum);
    if (name)
        return name;
    snprintf(unknown, sizeof(unknown), "errno %d", errnum);
    return unknown;
}

const char *error_code_name(enum error_code code)
{
    static const char *const names[] = {
        [ERROR_SYSTEM] = "system",       [ERROR_INVALID] = "invalid",
        [ERROR_NOT_FOUND] = "not_found", [ERROR_AMBIGUOUS] = "ambiguous",
        [ERROR_STATE] = "state",         [ERROR_NAME] = "name",
        [ERROR_RESOURCES] = "resources", [ERROR_UNSUPPORTED] = "unsupported",
        [ERROR_CORRUPT] = "corrupt",     [ERROR_TIMEOUT] = "timeout",
        [ERROR_EXPIRED] = "expired",
    };
    return (size_t)code < sizeof(names) / sizeof(names[0]) ? names[code] : "system";
}

int errno_number(const char *name)
{
    for (int errnum = 1; errnum <= ERRNO_LAST; errnum++) {
        const char *known = strerrorname_np(errnum);
        if (known && strcmp(known, name) == 0)
            return errnum;
    }
    return 0;
}

enum error_code error_code_of_errno(int errnum)
{
    switch (errnum) {
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
        return ERROR_RESOURCES;
    default:
        return ERROR_SYSTEM;
    }
}

int error_set(struct error *err, enum error_code code, int errnum, const char *format, ...)
{
    if (!err)
        return -errnum;
    err->code = code;
    err->errnum = errnum;
    err->path[0] = '\0';
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    return -errnum;
}

int error_errno(struct error *err, int errnum, const char *path, const char *format, ...)
{
    if (!err)
        return -errnum;
    err->code = error_code_of_errno(errnum);
    err->errnum = errnum;
    snprintf(err->path, sizeof(err->path), "%s", path ? path : "");
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    size_t used = strlen(err->message);
    const char *words = strerrordesc_np(errnum);
    snprintf(err->message + used, sizeof(err->message) - used, ": %s (%s)",
             words ? words : "unknown error", errno_name(errnum));
    return -errnum;
}

int error_wrap(struct error *err, const char *format, ...)
{
    if (!err || err->errnum == 0)
        return -EIO;
    char cause[sizeof(err->message)];
    memcpy(cause, err->message, sizeof(cause));
    va_list args;
    va_start(args, format);
    vsnprintf(err->message, sizeof(err->message), format, args);
    va_end(args);
    size_t used = strlen(err->message);
    snprintf(err->message + used, sizeof(err->message) - used, ": %s", cause);
    return -err->errnum;
}

void error_clear(struct error *err)
{
    if (err)
        memset(err, 0, sizeof(*err));
}
