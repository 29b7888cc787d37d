/* SPDX-License-Identifier: Apache-2.0 */
/* tine token: make a token for clients that come over TCP. */
#include "api/token.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/scopes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/duration.h"
#include "base/utf8.h"
#include "cli/command.h"

#define EXPIRES_DEFAULT "24h"
#define USER_DEFAULT    "tine"
#define NS_PER_S        1000000000ll

struct token_options {
    const char *secret_file, *user, *expires, *permissions;
};

/* "a,b" as a JSON array, each a known scope. */
static json_t *permissions_parse(const struct cli *cli, const char *text)
{
    _cleanup_(json) json_t *list = json_array();
    _cleanup_(free) char *copy = strdup(text);
    char *rest = copy;
    for (char *name; (name = strsep(&rest, ","));) {
        if (!scope_is_known(name)) {
            cli_usage(cli, "--permissions: \"%s\" is not a scope", name);
            return NULL;
        }
        json_array_append_new(list, json_string(name));
    }
    return TAKE_PTR(list);
}

static int expires_parse(const struct cli *cli, const char *text, int64_t now, int64_t *expires)
{
    struct error err = {0};
    int64_t ns = 0;
    if (duration_parse(text, &ns, &err) < 0)
        return cli_usage(cli, "--expires: %s", err.message);
    if (ns < 0 || (ns > 0 && ns < NS_PER_S))
        return cli_usage(cli, "--expires: %s is less than a second", text);
    *expires = ns == 0 ? 0 : now + ns / NS_PER_S;
    return CLI_OK;
}

static int user_check(const struct cli *cli, const char *user)
{
    for (const char *at = user; *at;) {
        size_t length = utf8_sequence(at, strlen(at));
        if (length == 0)
            return cli_usage(cli, "--user: it is not UTF-8");
        at += length;
    }
    /* Every server of this API refuses such tokens. */
    if (strncmp(user, "builder-", strlen("builder-")) == 0)
        return cli_usage(cli, "--user: names that begin with builder- are for builders");
    return CLI_OK;
}

static int print_token(const struct cli *cli, const char *token, int64_t expires)
{
    if (!cli->json) {
        puts(token);
        return CLI_OK;
    }
    char text[32];
    time_format_rfc3339((uint64_t)(expires * NS_PER_S), text);
    return cli_print_json(
        json_pack("{s:s, s:s?}", "token", token, "expires_at", expires ? text : NULL));
}

static int make_and_print(const struct cli *cli, const char *secret_file,
                          const struct token_request *request)
{
    struct token_secret secret = {0};
    struct failure failure = {0};
    struct error err = {0};
    if (token_secret_read(&secret, secret_file, &err) < 0) {
        failure_set(&failure, CLI_FAILED, "failed", "%s", err.message);
        return cli_fail(cli, NULL, &failure);
    }
    _cleanup_(free) char *token = token_make(&secret, request);
    token_secret_release(&secret);
    if (token)
        return print_token(cli, token, request->expires);
    failure_set(&failure, CLI_FAILED, "failed", "out of memory");
    return cli_fail(cli, NULL, &failure);
}

static int token_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct token_options *options = data;
    struct token_request request = {
        .user = options->user ? options->user : USER_DEFAULT,
        .now = (int64_t)(time_realtime_ns() / NS_PER_S),
    };
    _cleanup_(json) json_t *permissions =
        options->permissions ? permissions_parse(cli, options->permissions) : NULL;
    if (options->permissions && !permissions)
        return CLI_USAGE;
    request.permissions = permissions;
    int r = user_check(cli, request.user);
    if (r == CLI_OK)
        r = expires_parse(cli, options->expires ? options->expires : EXPIRES_DEFAULT, request.now,
                          &request.expires);
    if (r != CLI_OK)
        return r;
    return make_and_print(cli, options->secret_file ? options->secret_file : TOKEN_SECRET_FILE,
                          &request);
}

#define OPTION(member) offsetof(struct token_options, member)

static const struct command_option token_options[] = {
    {"secret-file", 0, OPTION_TEXT, OPTION(secret_file), "PATH",
     "tined's token-secret-file (default " TOKEN_SECRET_FILE ")"},
    {"user", 0, OPTION_TEXT, OPTION(user), "NAME", "who it is for (default " USER_DEFAULT ")"},
    {"expires", 0, OPTION_TEXT, OPTION(expires), "TIME",
     "how long it is good (default " EXPIRES_DEFAULT "; 0s: for ever)"},
    {"permissions", 0, OPTION_TEXT, OPTION(permissions), "A,B",
     "what it may do (default: everything)"},
};

const struct command token_command = {
    .name = "token",
    .operands = "",
    .summary = "Make a token for clients over TCP",
    .details = "Signs it with tined's secret; tined need not run. Scopes for --permissions:\n"
               "*, instance:read, instance:write, instance:delete, snapshot:read, snapshot:write,\n"
               "snapshot:delete, image:read, image:write, image:delete, resource:read.\n",
    .examples = "  tine token --user ci --expires 720h\n"
                "  tine token --permissions instance:read,resource:read\n"
                "  export TINE_HOST=http://10.0.0.5:8080 TINE_TOKEN=$(ssh host tine token)\n",
    .options = token_options,
    .option_count = ARRAY_SIZE(token_options),
    .options_size = sizeof(struct token_options),
    .run = token_run,
};
