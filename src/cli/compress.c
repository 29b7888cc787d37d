/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/compress.h"

#include <stdlib.h>
#include <string.h>

#define LEVEL_DIGITS 6

/* -1: that is no number. */
static long level_parse(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length > LEVEL_DIGITS || strspn(text, "0123456789") != length)
        return -1;
    return strtol(text, NULL, 10);
}

int compress_add(const struct cli *cli, const char *text, json_t *body)
{
    if (!text)
        return CLI_OK;
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    long level = colon ? level_parse(colon + 1) : 0;
    if (length == 0 || level < 0)
        return cli_usage(cli, "--compress: \"%s\" is not " COMPRESS_VALUE ", as zstd:3 is", text);
    json_t *wish = json_pack("{s:b, s:s%}", "enabled", 1, "algorithm", text, length);
    if (!wish)
        return cli_usage(cli, "--compress: \"%s\" is no UTF-8", text);
    if (colon)
        json_object_set_new(wish, "level", json_integer(level));
    json_object_set_new(body, "compression", wish);
    return CLI_OK;
}
