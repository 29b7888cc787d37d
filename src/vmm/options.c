/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "vmm/api/api.h"

#define ID_MAX 64

const char options_help[] =
    "tine-vmm: runs one virtual machine on /dev/kvm, controlled through Firecracker's HTTP API\n"
    "\n"
    "  --api-sock PATH                   socket of the API (" OPTIONS_DEFAULT_SOCKET ")\n"
    "  --id ID                           name of the instance (" OPTIONS_DEFAULT_ID ")\n"
    "  --log-path PATH                   log there instead of to standard error\n"
    "  --level LEVEL                     Off, Error, Warning, Info (default), Debug, Trace\n"
    "  --http-api-max-payload-size N     largest body of a request, in bytes (51200)\n"
    "  --no-seccomp, --seccomp-filter P  accepted; whoever starts tine-vmm confines it\n"
    "  --describe-snapshot FILE          print what a state file holds, and end\n"
    "  --snapshot-version                print the version of the state format, and end\n"
    "  --version, --help                 print, and end\n";

struct option_rule {
    const char *name;
    bool has_value;
    int (*set)(struct options *options, const char *value, struct error *err);
};

static int set_socket(struct options *options, const char *value, struct error *err)
{
    (void)err;
    options->api_socket = value;
    return 0;
}

static int set_id(struct options *options, const char *value, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-";
    size_t length = strlen(value);
    if (length < 1 || length > ID_MAX || strspn(value, allowed) != length)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "--id '%s': 1 to %d letters, digits and hyphens are allowed", value,
                         ID_MAX);
    options->id = value;
    return 0;
}

static int set_log_path(struct options *options, const char *value, struct error *err)
{
    (void)err;
    options->log_path = value;
    return 0;
}

static int set_level(struct options *options, const char *value, struct error *err)
{
    static const struct {
        const char *name;
        enum log_level level;
    } levels[] = {
        {"off", LOG_LEVEL_ERROR},       {"error", LOG_LEVEL_ERROR}, {"warn", LOG_LEVEL_WARNING},
        {"warning", LOG_LEVEL_WARNING}, {"info", LOG_LEVEL_INFO},   {"debug", LOG_LEVEL_DEBUG},
        {"trace", LOG_LEVEL_DEBUG},
    };
    for (size_t i = 0; i < ARRAY_SIZE(levels); i++) {
        if (strcasecmp(levels[i].name, value) == 0) {
            options->level = levels[i].level;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, EINVAL, "--level '%s': not a log level", value);
}

static int set_body_limit(struct options *options, const char *value, struct error *err)
{
    char *end = NULL;
    errno = 0;
    unsigned long long limit = strtoull(value, &end, 10);
    if (errno != 0 || *end || value[0] < '0' || value[0] > '9' || limit < 1 || limit > 1u << 30)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "--http-api-max-payload-size '%s': not a number of bytes, 1 to 1 GiB",
                         value);
    options->body_limit = (size_t)limit;
    return 0;
}

static int set_describe(struct options *options, const char *value, struct error *err)
{
    (void)err;
    options->describe_snapshot = value;
    return 0;
}

static int set_snapshot_version(struct options *options, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    options->snapshot_version = true;
    return 0;
}

static int set_version(struct options *options, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    options->version = true;
    return 0;
}

static int set_help(struct options *options, const char *value, struct error *err)
{
    (void)value;
    (void)err;
    options->help = true;
    return 0;
}

static int ignore(struct options *options, const char *value, struct error *err)
{
    (void)options;
    (void)value;
    (void)err;
    return 0;
}

static const struct option_rule rules[] = {
    {"--api-sock", true, set_socket},
    {"--id", true, set_id},
    {"--log-path", true, set_log_path},
    {"--level", true, set_level},
    {"--http-api-max-payload-size", true, set_body_limit},
    {"--no-seccomp", false, ignore},
    {"--seccomp-filter", true, ignore},
    {"--describe-snapshot", true, set_describe},
    {"--snapshot-version", false, set_snapshot_version},
    {"--version", false, set_version},
    {"--help", false, set_help},
};

static int find_rule(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        if (strcmp(rules[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static int bad(struct error *err, const char *argument, const char *what)
{
    return error_set(err, ERROR_INVALID, EINVAL, "argument '%s': %s", argument, what);
}

int options_read(struct options *options, int argc, char **argv, struct error *err)
{
    bool seen[ARRAY_SIZE(rules)] = {false};
    *options = (struct options){.api_socket = OPTIONS_DEFAULT_SOCKET,
                                .id = OPTIONS_DEFAULT_ID,
                                .level = LOG_LEVEL_INFO,
                                .body_limit = API_BODY_LIMIT};
    for (int i = 1; i < argc; i++) {
        int rule = find_rule(argv[i]);
        if (rule < 0)
            return bad(err, argv[i], "not known");
        if (seen[rule])
            return bad(err, argv[i], "given more than once");
        seen[rule] = true;
        const char *value = NULL;
        if (rules[rule].has_value) {
            if (i + 1 == argc || strncmp(argv[i + 1], "--", 2) == 0)
                return bad(err, argv[i], "its value is missing");
            value = argv[++i];
        }
        int r = rules[rule].set(options, value, err);
        if (r < 0)
            return r;
    }
    return 0;
}
