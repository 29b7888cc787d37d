/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"

int failure_set(struct failure *failure, int exit_status, const char *code, const char *format, ...)
{
    failure->exit_status = exit_status;
    snprintf(failure->code, sizeof(failure->code), "%s", code);
    va_list args;
    va_start(args, format);
    vsnprintf(failure->message, sizeof(failure->message), format, args);
    va_end(args);
    return exit_status;
}

int cli_set_host(struct cli *cli, const char *origin, const char *url)
{
    static const char scheme[] = "http://";
    const char *host = url + strlen(scheme);
    if (strncmp(url, scheme, strlen(scheme)) != 0 || !strchr(host, ':') ||
        host[strcspn(host, "/?#@ ")] != '\0')
        return cli_usage(cli, "%s: \"%s\" is not http://HOST:PORT", origin, url);
    cli->host = host;
    return CLI_OK;
}

const char *cli_where(const struct cli *cli)
{
    return cli->host ? cli->host : cli->socket;
}

void cli_print_plain(FILE *stream, const char *text)
{
    for (; *text; text++)
        fputc((unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text, stream);
}

int cli_report(const struct cli *cli, const char *subject, const struct failure *failure)
{
    fflush(stdout); /* so that both streams keep their order on a terminal */
    fprintf(stderr, "tine: %s", cli->command ? cli->command->name : "");
    if (subject) {
        fputc(' ', stderr);
        cli_print_plain(stderr, subject);
    }
    fputs(": ", stderr);
    cli_print_plain(stderr, failure->message);
    fputc('\n', stderr);
    return failure->exit_status;
}

json_t *failure_json(const struct failure *failure)
{
    return json_pack("{s:s, s:s}", "code", failure->code, "message", failure->message);
}

int cli_fail(const struct cli *cli, const char *subject, const struct failure *failure)
{
    if (cli->json)
        cli_print_json(failure_json(failure));
    return cli_report(cli, subject, failure);
}

int cli_usage(const struct cli *cli, const char *format, ...)
{
    const char *name = cli->command ? cli->command->name : NULL;
    fprintf(stderr, "tine: %s%s", name ? name : "", name ? ": " : "");
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fprintf(stderr, "; see tine help%s%s\n", name ? " " : "", name ? name : "");
    return CLI_USAGE;
}

int cli_print_json(json_t *value)
{
    int r = json_dumpf(value, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
    json_decref(value);
    fputc('\n', stdout);
    return r == 0 ? CLI_OK : CLI_FAILED;
}

int cli_finish_output(int status)
{
    if (fflush(stdout) == 0 && !ferror(stdout))
        return status;
    fprintf(stderr, "tine: standard output: %s\n", strerror(errno));
    return status == CLI_OK ? CLI_FAILED : status;
}
