/* SPDX-License-Identifier: Apache-2.0 */
#include "api/options.h"

#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "api/locate.h"
#include "base/cleanup.h"
#include "base/duration.h"

typedef int option_setter(struct tined_options *options, const char *value, struct error *err);

static int set_data_dir(struct tined_options *options, const char *value, struct error *err)
{
    options->data_dir = value;
    return 0;
}

static int set_socket(struct tined_options *options, const char *value, struct error *err)
{
    options->socket = value;
    return 0;
}

static int set_vmm(struct tined_options *options, const char *value, struct error *err)
{
    options->vmm = value;
    return 0;
}

static int set_kit(struct tined_options *options, const char *value, struct error *err)
{
    options->kit = value;
    return 0;
}

static int milliseconds(const char *name, const char *value, unsigned *result, struct error *err)
{
    int64_t nanoseconds;
    int r = duration_parse(value, &nanoseconds, err);
    if (r < 0)
        return error_wrap(err, "--%s", name);
    if (nanoseconds < 1000000 || nanoseconds / 1000000 > INT_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "--%s: %s is out of range", name, value);
    *result = (unsigned)(nanoseconds / 1000000);
    return 0;
}

static int set_agent_timeout(struct tined_options *options, const char *value, struct error *err)
{
    return milliseconds("agent-timeout", value, &options->agent_timeout_ms, err);
}

static int set_request_timeout(struct tined_options *options, const char *value, struct error *err)
{
    unsigned ms = 0;
    int r = milliseconds("request-timeout", value, &ms, err);
    options->request_timeout_s = (ms + 999) / 1000;
    return r;
}

static int set_log_level(struct tined_options *options, const char *value, struct error *err)
{
    static const char *const names[] = {"error", "warning", "info", "debug"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            options->log_level = (enum log_level)i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, EINVAL,
                     "--log-level: \"%.32s\" is not error, warning, info or debug", value);
}

static int set_log_format(struct tined_options *options, const char *value, struct error *err)
{
    if (log_format_parse(value, &options->log_format) == 0)
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL,
                     "--log-format: \"%.32s\" is not text, json or journal", value);
}

static int set_version(struct tined_options *options, const char *value, struct error *err)
{
    options->version = true;
    return 0;
}

static int set_help(struct tined_options *options, const char *value, struct error *err)
{
    options->help = true;
    return 0;
}

static const struct {
    const char *name, *value, *help;
    option_setter *set;
} table[] = {
    {"data-dir", "DIR", "instances and metadata (default " DEFAULT_DATA_DIR ")", set_data_dir},
    {"socket", "PATH", "unix socket to serve, mode 0600 (default " DEFAULT_SOCKET ")", set_socket},
    {"vmm", "PATH", "the tine-vmm program (default: $TINE_VMM, beside tined, or libexec)", set_vmm},
    {"kit", "DIR", "guest kit: vmlinux, initrd.img (default: $TINE_KIT, or share/tine/kit)",
     set_kit},
    {"agent-timeout", "TIME", "how long a guest may take to boot or wake (default 2m)",
     set_agent_timeout},
    {"request-timeout", "TIME", "how long a client may be silent in a request (default 30s)",
     set_request_timeout},
    {"log-level", "LEVEL", "error, warning, info or debug (default info)", set_log_level},
    {"log-format", "FORMAT", "text, json, or journal for systemd's (default text)", set_log_format},
    {"version", NULL, "print the version", set_version},
    {"help", NULL, "print this", set_help},
};

int tined_options_parse(struct tined_options *options, int argc, char **argv, struct error *err)
{
    *options = (struct tined_options){
        .data_dir = DEFAULT_DATA_DIR,
        .socket = DEFAULT_SOCKET,
        .agent_timeout_ms = 120000,
        .request_timeout_s = 30,
        .log_level = LOG_LEVEL_INFO,
    };
    struct option longopts[ARRAY_SIZE(table) + 1] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        longopts[i] = (struct option){table[i].name,
                                      table[i].value ? required_argument : no_argument, NULL, 0};
    int index = -1, found;
    opterr = 0;
    while ((found = getopt_long(argc, argv, ":", longopts, &index)) != -1) {
        if (found != 0)
            return error_set(err, ERROR_INVALID, EINVAL,
                             found == ':' ? "%s needs a value" : "unknown option %s",
                             argv[optind - 1]);
        int r = table[index].set(options, optarg, err);
        if (r < 0)
            return r;
    }
    if (optind < argc)
        return error_set(err, ERROR_INVALID, EINVAL, "unexpected argument %s", argv[optind]);
    return 0;
}

void tined_options_help(void)
{
    printf("Usage: tined [OPTION...]\n\n"
           "Runs microVMs and serves the tine API. VMs go on when tined stops.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char left[40];
        snprintf(left, sizeof(left), "--%s%s%s", table[i].name, table[i].value ? " " : "",
                 table[i].value ? table[i].value : "");
        printf("  %-24s %s\n", left, table[i].help);
    }
    printf("\nExit status: 0 stopped by a signal, 1 could not run, 2 wrong usage.\n");
}
