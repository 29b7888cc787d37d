/* SPDX-License-Identifier: Apache-2.0 */
#include "pager/options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "pager/chunk_cache.h"

#define THREADS_MAX 256u

#define CACHE_MIB       256ull
#define CACHE_MIB_LEAST (CHUNK_CACHE_LEAST >> 20)
#define CACHE_MIB_MAX   1048576u

const char options_help[] =
    "tine-pager: serves the memory of restored VMs through userfaultfd\n"
    "\n"
    "  --run-dir DIR        the socket is DIR/pager/VERSION/control.sock (/run/tine)\n"
    "  --threads N          threads that answer faults (one per CPU)\n"
    "  --decoded-cache MIB  memory for decoded pages of compressed images, at most (256)\n"
    "  --log-level LEVEL    error, warning, info (default), debug\n"
    "  --log-format FORMAT  text (default), json, journal\n"
    "  --version, --help    print, and end\n";

static int invalid(struct error *err, const char *name, const char *value, const char *why)
{
    return error_set(err, ERROR_INVALID, EINVAL, "%s '%s': %s", name, value, why);
}

static int set_run_dir(struct options *options, const char *value, struct error *err)
{
    options->run_dir = value;
    return value[0] == '/' ? 0 : invalid(err, "--run-dir", value, "not an absolute path");
}

static int set_threads(struct options *options, const char *value, struct error *err)
{
    char *end = NULL;
    unsigned long threads = strtoul(value, &end, 10);
    if (end == value || *end != '\0' || threads < 1 || threads > THREADS_MAX)
        return invalid(err, "--threads", value, "not a number from 1 to 256");
    options->threads = (unsigned)threads;
    return 0;
}

static int set_cache(struct options *options, const char *value, struct error *err)
{
    char *end = NULL;
    unsigned long mebibytes = strtoul(value, &end, 10);
    if (end == value || *end != '\0' || mebibytes < CACHE_MIB_LEAST || mebibytes > CACHE_MIB_MAX)
        return invalid(err, "--decoded-cache", value, "not a number of MiB from 16 to 1048576");
    options->cache_bytes = (uint64_t)mebibytes << 20;
    return 0;
}

static int set_level(struct options *options, const char *value, struct error *err)
{
    return log_level_parse(value, &options->level) == 0
               ? 0
               : invalid(err, "--log-level", value, "not a log level");
}

static int set_format(struct options *options, const char *value, struct error *err)
{
    return log_format_parse(value, &options->format) == 0
               ? 0
               : invalid(err, "--log-format", value, "not a log format");
}

static int set_help(struct options *options, const char *value, struct error *err)
{
    options->help = true;
    return 0;
}

static int set_version(struct options *options, const char *value, struct error *err)
{
    options->version = true;
    return 0;
}

static const struct {
    const char *name;
    bool has_value;
    int (*set)(struct options *options, const char *value, struct error *err);
} rules[] = {
    {"--run-dir", true, set_run_dir},     {"--threads", true, set_threads},
    {"--decoded-cache", true, set_cache}, {"--log-level", true, set_level},
    {"--log-format", true, set_format},   {"--help", false, set_help},
    {"--version", false, set_version},
};

static int option_read(struct options *options, char **argv, int *at, struct error *err)
{
    const char *name = argv[*at];
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++) {
        if (strcmp(rules[i].name, name) != 0)
            continue;
        const char *value = rules[i].has_value ? argv[++*at] : NULL;
        if (rules[i].has_value && !value)
            return error_set(err, ERROR_INVALID, EINVAL, "%s needs a value", name);
        return rules[i].set(options, value, err);
    }
    return error_set(err, ERROR_INVALID, EINVAL, "no option '%s'", name);
}

int options_read(struct options *options, int argc, char **argv, struct error *err)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    *options = (struct options){
        .run_dir = "/run/tine",
        .threads = cpus < 1             ? 1
                   : cpus > THREADS_MAX ? THREADS_MAX
                                        : (unsigned)cpus,
        .cache_bytes = CACHE_MIB << 20,
        .level = LOG_LEVEL_INFO,
        .format = LOG_FORMAT_TEXT,
    };
    for (int i = 1; i < argc; i++) {
        int r = option_read(options, argv, &i, err);
        if (r < 0)
            return r;
    }
    return 0;
}
