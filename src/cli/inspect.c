/* SPDX-License-Identifier: Apache-2.0 */
/* tine inspect: everything about one instance. */
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "cli/command.h"
#include "cli/http.h"

#define NAME_WIDTH 24

static void print_object(const json_t *object, const char *prefix);

static void print_value(const char *name, const json_t *value)
{
    if (json_is_null(value) || (json_is_string(value) && *json_string_value(value) == '\0')) {
        printf("%-*s -\n", NAME_WIDTH, name);
    } else if (json_is_object(value)) {
        print_object(value, name);
    } else if (json_is_string(value)) {
        printf("%-*s ", NAME_WIDTH, name);
        for (const char *c = json_string_value(value); *c; c++)
            putchar((unsigned char)*c < 0x20 || *c == 0x7f ? '?' : *c);
        putchar('\n');
    } else {
        _cleanup_(free) char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
        printf("%-*s %s\n", NAME_WIDTH, name, text ? text : "");
    }
}

/* Objects inside are shown as "outer.inner". */
static void print_object(const json_t *object, const char *prefix)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        char name[128];
        snprintf(name, sizeof(name), "%s%s%s", prefix, *prefix ? "." : "", key);
        print_value(name, value);
    }
}

static int inspect_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    struct failure failure = {0};
    _cleanup_(free) char *path = instance_path(operands[0], "");
    json_t *instance = http_get(cli, NULL, path, &failure);
    if (!instance)
        return cli_fail(cli, operands[0], &failure);
    if (cli->json)
        return cli_print_json(instance);
    print_object(instance, "");
    json_decref(instance);
    return CLI_OK;
}

const struct command inspect_command = {
    .name = "inspect",
    .operands = "NAME",
    .summary = "Show everything about one instance",
    .details =
        "Its state, sizes, disks and times, what it was forked from, and how it got its memory.\n"
        "A field inside another is shown as outer.inner.\n",
    .examples = "  tine inspect web\n"
                "  tine inspect --json web | jq .tine.memory\n",
    .operands_min = 1,
    .operands_max = 1,
    .run = inspect_run,
};
