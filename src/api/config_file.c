/* SPDX-License-Identifier: Apache-2.0 */
#include "api/config_file.h"

#include <errno.h>
#include <ini.h>
#include <string.h>

/* inih cuts lines of more bytes in two and reads the second half as a line of its own. */
#define LINE_LIMIT (INI_MAX_LINE - 3)

struct parse {
    config_setter *set;
    void *data;
    struct error err; /* of the first wrong setting */
};

static int on_setting(void *user, const char *section, const char *name, const char *value)
{
    struct parse *parse = user;
    /* inih goes on behind an error; nothing more is taken then. */
    if (parse->err.errnum != 0)
        return 1;
    int r = *section ? error_set(&parse->err, ERROR_INVALID, EINVAL, "there are no sections here")
                     : parse->set(parse->data, name, value, &parse->err);
    return r == 0;
}

static int lines_check(const char *text, const char *path, struct error *err)
{
    unsigned line = 1;
    for (const char *at = text; *at; line++) {
        size_t length = strcspn(at, "\n");
        if (length > LINE_LIMIT)
            return error_set(err, ERROR_INVALID, EINVAL, "%s:%u: the line has %zu bytes, over %d",
                             path, line, length, LINE_LIMIT);
        /* A line that begins with a space would go on with the setting above it. */
        if ((*at == ' ' || *at == '\t') && strspn(at, " \t\r") != length)
            return error_set(err, ERROR_INVALID, EINVAL, "%s:%u: the line begins with a space",
                             path, line);
        at += length + (at[length] == '\n');
    }
    return 0;
}

int config_parse(const char *text, const char *path, config_setter *set, void *data,
                 struct error *err)
{
    int r = lines_check(text, path, err);
    if (r < 0)
        return r;
    struct parse parse = {.set = set, .data = data};
    int line = ini_parse_string(text, on_setting, &parse);
    if (line == 0)
        return 0;
    if (line < 0)
        return error_errno(err, ENOMEM, path, "read %s", path);
    if (parse.err.errnum == 0)
        return error_set(err, ERROR_INVALID, EINVAL, "%s:%d: this is not NAME = VALUE", path, line);
    return error_set(err, parse.err.code, parse.err.errnum, "%s:%d: %s", path, line,
                     parse.err.message);
}
