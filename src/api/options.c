/* SPDX-License-Identifier: Apache-2.0 */
#include "api/options.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <limits.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/config_file.h"
#include "api/locate.h"
#include "base/cleanup.h"
#include "base/duration.h"
#include "base/file.h"
#include "base/rate.h"

#define CONFIG_LIMIT        (64u << 10)
#define MAX_CONNECTIONS_MAX 100000ul
#define BANDWIDTH_MIB_MAX   1048576u
#define AT_ONCE_MAX         1024ul
#define CACHE_MIB_MIN       16ul /* as tine-pager has it */
#define CACHE_MIB_MAX       1048576ul

/* Stores the value at the option's target, or says what is wrong with it. */
typedef int option_setter(void *target, const char *value, struct error *err);

static int set_text(void *target, const char *value, struct error *err)
{
    *(const char **)target = value;
    return 0;
}

static int set_flag(void *target, const char *value, struct error *err)
{
    *(bool *)target = true;
    return 0;
}

static int set_milliseconds(void *target, const char *value, struct error *err)
{
    int64_t nanoseconds;
    int r = duration_parse(value, &nanoseconds, err);
    if (r < 0)
        return r;
    if (nanoseconds < 1000000 || nanoseconds / 1000000 > INT_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "%s is out of range", value);
    *(unsigned *)target = (unsigned)(nanoseconds / 1000000);
    return 0;
}

static int set_seconds(void *target, const char *value, struct error *err)
{
    unsigned ms = 0;
    int r = set_milliseconds(&ms, value, err);
    *(unsigned *)target = (ms + 999) / 1000;
    return r;
}

static int set_connections(void *target, const char *value, struct error *err)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || number == 0 || number > MAX_CONNECTIONS_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "\"%.32s\" is not a number from 1 to %lu",
                         value, MAX_CONNECTIONS_MAX);
    *(unsigned *)target = (unsigned)number;
    return 0;
}

static int set_log_level(void *target, const char *value, struct error *err)
{
    if (log_level_parse(value, target) == 0)
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL, "\"%.32s\" is not error, warning, info or debug",
                     value);
}

static int set_log_format(void *target, const char *value, struct error *err)
{
    if (log_format_parse(value, target) == 0)
        return 0;
    return error_set(err, ERROR_INVALID, EINVAL, "\"%.32s\" is not text, json or journal", value);
}

static int set_compression(void *target, const char *value, struct error *err)
{
    struct compression_option *option = target;
    int r = stack_compression_parse(value, &option->how, err);
    option->given = r == 0;
    return r;
}

static int set_memory_backend(void *target, const char *value, struct error *err)
{
    static const char *const names[] = {
        [MEMORY_AUTO] = "auto", [MEMORY_FILE] = "file", [MEMORY_PAGER] = "pager"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *(enum memory_backend *)target = (enum memory_backend)i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, EINVAL, "\"%.32s\" is not auto, file or pager", value);
}

static int set_standby_memory(void *target, const char *value, struct error *err)
{
    static const char *const names[] = {[STANDBY_AUTO] = "auto",
                                        [STANDBY_MERGE] = "merge",
                                        [STANDBY_LAYER] = "layer",
                                        [STANDBY_FULL] = "full"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (strcmp(value, names[i]) == 0) {
            *(enum standby_memory *)target = (enum standby_memory)i;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, EINVAL, "\"%.32s\" is not auto, merge, layer or full",
                     value);
}

static int set_directory(void *target, const char *value, struct error *err)
{
    if (*value != '/')
        return error_set(err, ERROR_INVALID, EINVAL, "\"%.200s\" is no absolute path", value);
    return set_text(target, value, err);
}

static int set_graduate_after(void *target, const char *value, struct error *err)
{
    struct paging_graduation *graduation = target;
    graduation->off = strcmp(value, "never") == 0;
    return graduation->off ? 0 : set_milliseconds(&graduation->after_ms, value, err);
}

static int set_compact_after(void *target, const char *value, struct error *err)
{
    struct compaction_options *compaction = target;
    compaction->on = strcmp(value, "never") != 0;
    return compaction->on ? set_milliseconds(&compaction->after_ms, value, err) : 0;
}

static int set_compact_bandwidth(void *target, const char *value, struct error *err)
{
    uint64_t *bytes = target;
    int r = rate_parse_disk(value, bytes, err);
    return r < 0 || *bytes >> 20 > 0
               ? r
               : error_set(err, ERROR_INVALID, EINVAL, "%s is less than 1MiB/s", value);
}

static int set_graduate_bandwidth(void *target, const char *value, struct error *err)
{
    uint64_t bytes = 0;
    int r = rate_parse_disk(value, &bytes, err);
    if (r < 0)
        return r;
    if (bytes >> 20 == 0 || bytes >> 20 > BANDWIDTH_MIB_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "%s is not from 1MiB/s to %u MiB/s", value,
                         BANDWIDTH_MIB_MAX);
    *(unsigned *)target = (unsigned)(bytes >> 20);
    return 0;
}

static int set_graduate_at_once(void *target, const char *value, struct error *err)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || number == 0 || number > AT_ONCE_MAX)
        return error_set(err, ERROR_INVALID, EINVAL, "\"%.32s\" is not a number from 1 to %lu",
                         value, AT_ONCE_MAX);
    *(unsigned *)target = (unsigned)number;
    return 0;
}

static int set_decoded_cache(void *target, const char *value, struct error *err)
{
    char *end;
    unsigned long number = strtoul(value, &end, 10);
    if (*value < '0' || *value > '9' || *end || number < CACHE_MIB_MIN || number > CACHE_MIB_MAX)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "\"%.32s\" is not a number of MiB from %lu to %lu", value, CACHE_MIB_MIN,
                         CACHE_MIB_MAX);
    *(unsigned *)target = (unsigned)number;
    return 0;
}

/* Two numbers below 2^32 - 1, which stands for nobody in particular. */
static int set_user(void *target, const char *value, struct error *err)
{
    struct user_option *user = target;
    unsigned long ids[2];
    const char *at = value;
    for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
        char *end;
        errno = 0;
        ids[i] = strtoul(at, &end, 10);
        if (*at < '0' || *at > '9' || errno != 0 || ids[i] >= UINT32_MAX ||
            *end != (i == 0 ? ':' : '\0'))
            return error_set(err, ERROR_INVALID, EINVAL, "\"%.32s\" is not UID:GID, two numbers",
                             value);
        at = end + 1;
    }
    *user = (struct user_option){.given = true, .uid = (uid_t)ids[0], .gid = (gid_t)ids[1]};
    return 0;
}

static int set_secret(void *target, const char *value, struct error *err)
{
    return token_secret_set(target, value, strlen(value), err);
}

enum place { ANYWHERE, ARGUMENT_ONLY, FILE_ONLY };

#define TARGET(field) offsetof(struct tined_options, field)
static const struct row {
    const char *name, *value, *help;
    option_setter *set;
    size_t target;
    enum place place;
} table[] = {
    {"config", "PATH", "configuration file (default " DEFAULT_CONFIG ", if it is there)", set_text,
     TARGET(config), ARGUMENT_ONLY},
    {"data-dir", "DIR", "instances and metadata (default " DEFAULT_DATA_DIR ")", set_text,
     TARGET(data_dir)},
    {"socket", "PATH", "unix socket to serve, mode 0600 (default " DEFAULT_SOCKET ")", set_text,
     TARGET(socket)},
    {"listen", "HOST:PORT", "serve TCP too; every request there needs a token", set_text,
     TARGET(listen)},
    {"token-secret-file", "PATH", "the secret that signs tokens; its owner's alone (0600)",
     set_text, TARGET(token_secret_file)},
    {"token-secret", "TEXT", "the secret itself", set_secret, TARGET(token_secret), FILE_ONLY},
    {"vmm", "PATH", "the tine-vmm program (default: $TINE_VMM, beside tined, or libexec)", set_text,
     TARGET(vmm)},
    {"firecracker", "PATH", "the Firecracker program, for instances that ask for it (default none)",
     set_text, TARGET(firecracker)},
    {"firecracker-jailer", "PATH", "start Firecracker through this jailer", set_text,
     TARGET(firecracker_jailer)},
    {"firecracker-user", "UID:GID", "whom the jailer makes Firecracker run as", set_user,
     TARGET(firecracker_user)},
    {"kit", "DIR", "guest kit: vmlinux, initrd.img (default: $TINE_KIT, or share/tine/kit)",
     set_text, TARGET(kit)},
    {"snapshot-compression", "HOW", "of sleeping memory by default: zstd, lz4:3 (default none)",
     set_compression, TARGET(compression)},
    {"pager", "PATH", "the tine-pager program (default: $TINE_PAGER, beside tined, or libexec)",
     set_text, TARGET(pager.binary)},
    {"pager-dir", "DIR", "pagers have their sockets in DIR/pager (default " DEFAULT_RUN_DIR ")",
     set_directory, TARGET(pager.run_dir)},
    {"decoded-cache", "MIB", "of a pager, for pages of compressed memory (default 256)",
     set_decoded_cache, TARGET(pager.cache_mib)},
    {"memory-backend", "HOW", "of a fork's first restore: file, pager or auto (default auto)",
     set_memory_backend, TARGET(pager.backend)},
    {"standby-memory", "HOW", "of a restored VM: merge, layer, full or auto (default auto)",
     set_standby_memory, TARGET(standby_memory)},
    {"compact-after", "TIME", "then sleeping memory in layers gets fewer of them (default 30s)",
     set_compact_after, TARGET(compaction)},
    {"compact-bandwidth", "RATE", "written for that at most (default 64MiB/s)",
     set_compact_bandwidth, TARGET(compaction.bytes_per_second)},
    {"graduate-after", "TIME", "then a VM gets all its memory and leaves its pager (default 1m)",
     set_graduate_after, TARGET(pager.graduation)},
    {"graduate-bandwidth", "RATE", "memory per second for each that does (default 256MiB/s)",
     set_graduate_bandwidth, TARGET(pager.graduation.bandwidth_mib)},
    {"graduate-at-once", "N", "VMs that do so at a time (default 2)", set_graduate_at_once,
     TARGET(pager.graduation.at_once)},
    {"agent-timeout", "TIME", "how long a guest may take to boot or wake (default 2m)",
     set_milliseconds, TARGET(agent_timeout_ms)},
    {"request-timeout", "TIME", "how long a client may be silent in a request (default 30s)",
     set_seconds, TARGET(request_timeout_s)},
    {"stop-timeout", "TIME", "how long running operations may take when tined stops (default 1m)",
     set_milliseconds, TARGET(stop_timeout_ms)},
    {"max-connections", "N", "clients at a time, of the socket and of TCP each (default 4096)",
     set_connections, TARGET(max_connections)},
    {"log-level", "LEVEL", "error, warning, info or debug (default info)", set_log_level,
     TARGET(log_level)},
    {"log-format", "FORMAT", "text, json, or journal for systemd's (default text)", set_log_format,
     TARGET(log_format)},
    {"version", NULL, "print the version", set_flag, TARGET(version), ARGUMENT_ONLY},
    {"help", NULL, "print this", set_flag, TARGET(help), ARGUMENT_ONLY},
};
_Static_assert(ARRAY_SIZE(table) <= OPTIONS_MAX, "values[] has a place for every option");

static int option_apply(struct tined_options *options, size_t index, const char *value,
                        struct error *err)
{
    return table[index].set((char *)options + table[index].target, value, err);
}

static int row_find(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        if (strcmp(table[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

/* One setting of the configuration file. */
static int on_setting(void *data, const char *name, const char *value, struct error *err)
{
    struct tined_options *options = data;
    int index = row_find(name);
    if (index < 0)
        return error_set(err, ERROR_INVALID, EINVAL, "unknown setting %s", name);
    if (table[index].place == ARGUMENT_ONLY)
        return error_set(err, ERROR_INVALID, EINVAL, "%s is for the command line only", name);
    if (options->values[index])
        return error_set(err, ERROR_INVALID, EINVAL, "%s is set twice", name);
    if (!*value)
        return error_set(err, ERROR_INVALID, EINVAL, "%s has no value", name);
    options->values[index] = strdup(value);
    if (!options->values[index])
        return error_errno(err, ENOMEM, NULL, "%s", name);
    int r = option_apply(options, (size_t)index, options->values[index], err);
    return r < 0 ? error_wrap(err, "%s", name) : 0;
}

static int config_load(struct tined_options *options, const char *path, struct error *err)
{
    _cleanup_(free) char *text = NULL;
    size_t length = 0;
    int r = file_read_all(AT_FDCWD, path, CONFIG_LIMIT, &text, &length, err);
    if (r < 0)
        return r;
    if (strlen(text) != length)
        r = error_set(err, ERROR_INVALID, EINVAL, "%s: there is a NUL byte in it", path);
    r = r < 0 ? r : config_parse(text, path, on_setting, options, err);
    explicit_bzero(text, length);
    if (r < 0 || options->token_secret.length == 0)
        return r;
    _cleanup_(close) int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    return fd < 0 ? error_errno(err, errno, path, "open %s", path)
                  : token_file_check(fd, path, err);
}

/* Applies every argument, or only --config, which must be known before the others count. */
static int arguments_parse(struct tined_options *options, bool only_config, int argc, char **argv,
                           struct error *err)
{
    struct option longopts[ARRAY_SIZE(table) + 1] = {0};
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        longopts[i] = (struct option){table[i].name,
                                      table[i].value ? required_argument : no_argument, NULL, 0};
    int index = -1, found;
    opterr = 0;
    optind = 0; /* 0 makes glibc begin afresh */
    while ((found = getopt_long(argc, argv, ":", longopts, &index)) != -1) {
        if (found != 0)
            return error_set(err, ERROR_INVALID, EINVAL,
                             found == ':' ? "%s needs a value" : "unknown option %s",
                             argv[optind - 1]);
        if (table[index].place == FILE_ONLY)
            return error_set(err, ERROR_INVALID, EINVAL,
                             "--%s: only the configuration file may say it", table[index].name);
        if (only_config && table[index].place != ARGUMENT_ONLY)
            continue;
        if (option_apply(options, (size_t)index, optarg, err) < 0)
            return error_wrap(err, "--%s", table[index].name);
    }
    if (optind < argc)
        return error_set(err, ERROR_INVALID, EINVAL, "unexpected argument %s", argv[optind]);
    return 0;
}

static int config_find(struct tined_options *options, struct error *err)
{
    if (options->config)
        return config_load(options, options->config, err);
    int r = file_exists(AT_FDCWD, DEFAULT_CONFIG, err);
    return r <= 0 ? r : config_load(options, DEFAULT_CONFIG, err);
}

/* A secret of the configuration file is not mixed with one of another file. */
static int secret_load(struct tined_options *options, struct error *err)
{
    if (options->token_secret_file && options->token_secret.length > 0)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "token-secret and token-secret-file are both set");
    if (options->token_secret_file)
        return token_secret_read(&options->token_secret, options->token_secret_file, err);
    if (options->listen && options->token_secret.length == 0)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "listen: TCP needs a token secret (--token-secret-file)");
    return 0;
}

static int firecracker_check(const struct tined_options *options, struct error *err)
{
    if (options->firecracker_jailer && !options->firecracker)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "firecracker-jailer: there is no program for it (--firecracker)");
    if (options->firecracker_jailer && !options->firecracker_user.given)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "firecracker-jailer: it needs a user (--firecracker-user)");
    if (options->firecracker_user.given && !options->firecracker_jailer)
        return error_set(err, ERROR_INVALID, EINVAL,
                         "firecracker-user: only a jailer can change the user "
                         "(--firecracker-jailer)");
    return 0;
}

int tined_options_parse(struct tined_options *options, int argc, char **argv, struct error *err)
{
    *options = (struct tined_options){
        .data_dir = DEFAULT_DATA_DIR,
        .socket = DEFAULT_SOCKET,
        .pager = {.run_dir = DEFAULT_RUN_DIR,
                  .graduation = {.after_ms = 60000, .at_once = 2, .bandwidth_mib = 256}},
        .compaction = {.on = true, .after_ms = 30000, .bytes_per_second = 64ull << 20},
        .agent_timeout_ms = 120000,
        .request_timeout_s = 30,
        .stop_timeout_ms = 60000,
        .max_connections = 4096,
        .log_level = LOG_LEVEL_INFO,
    };
    int r = arguments_parse(options, true, argc, argv, err);
    if (r < 0 || options->help || options->version)
        return r;
    r = config_find(options, err);
    r = r < 0 ? r : arguments_parse(options, false, argc, argv, err);
    r = r < 0 ? r : firecracker_check(options, err);
    return r < 0 ? r : secret_load(options, err);
}

void tined_options_release(struct tined_options *options)
{
    for (size_t i = 0; i < OPTIONS_MAX; i++) {
        if (options->values[i])
            explicit_bzero(options->values[i], strlen(options->values[i]));
        free(options->values[i]);
        options->values[i] = NULL;
    }
    token_secret_release(&options->token_secret);
}

void tined_options_help(void)
{
    printf("Usage: tined [OPTION...]\n\n"
           "Runs microVMs and serves the tine API. VMs go on when tined stops. All but --config,\n"
           "--version and --help may also stand in the configuration file, as NAME = VALUE.\n\n");
    for (size_t i = 0; i < ARRAY_SIZE(table); i++) {
        char left[40];
        if (table[i].place == FILE_ONLY)
            continue;
        snprintf(left, sizeof(left), "--%s%s%s", table[i].name, table[i].value ? " " : "",
                 table[i].value ? table[i].value : "");
        printf("  %-24s %s\n", left, table[i].help);
    }
    printf("\nExit status: 0 stopped by a signal, 1 could not run, 2 wrong usage.\n");
}
