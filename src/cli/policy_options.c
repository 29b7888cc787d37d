/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/policy_options.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define ATTEMPTS_DIGITS 7

static int add_text(const struct cli *cli, const char *option, const char *text, const char *field,
                    json_t *body)
{
    if (!text)
        return CLI_OK;
    json_t *value = json_string(text);
    if (!value)
        return cli_usage(cli, "%s: \"%s\" is no UTF-8", option, text);
    json_object_set_new(body, field, value);
    return CLI_OK;
}

/* -1: that is no number. */
static long attempts_parse(const char *text)
{
    size_t length = strlen(text);
    if (length == 0 || length > ATTEMPTS_DIGITS || strspn(text, "0123456789") != length)
        return -1;
    return strtol(text, NULL, 10);
}

/* "on-failure:5"; the API's words have underscores. */
static int add_restart(const struct cli *cli, const char *text, json_t *body)
{
    static const struct {
        const char *name, *policy;
    } names[] = {{"never", "never"}, {"always", "always"}, {"on-failure", "on_failure"}};
    if (!text)
        return CLI_OK;
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    long attempts = colon ? attempts_parse(colon + 1) : 0;
    for (size_t i = 0; i < ARRAY_SIZE(names) && attempts >= 0; i++) {
        if (strlen(names[i].name) != length || strncmp(names[i].name, text, length) != 0)
            continue;
        json_object_set_new(body, "restart_policy",
                            json_pack("{s:s, s:I}", "policy", names[i].policy, "max_attempts",
                                      (json_int_t)attempts));
        return CLI_OK;
    }
    return cli_usage(
        cli, "--restart: \"%s\" is not never, always or on-failure, as on-failure:5 is", text);
}

int policy_options_add(const struct cli *cli, const struct policy_options *options, json_t *body)
{
    if (options->ttl && options->expires_at)
        return cli_usage(cli, "--ttl and --expires-at exclude each other");
    int status = add_text(cli, "--ttl", options->ttl, "ttl", body);
    if (status == CLI_OK)
        status = add_text(cli, "--expires-at", options->expires_at, "expires_at", body);
    return status == CLI_OK ? add_restart(cli, options->restart, body) : status;
}
