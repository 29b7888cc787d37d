/* SPDX-License-Identifier: Apache-2.0 */
/* tine run: make an instance and boot it. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli/batch.h"
#include "cli/command.h"
#include "cli/compress.h"
#include "cli/instance_view.h"
#include "cli/policy_options.h"
#include "cli/program.h"
#include "cli/tag_option.h"

struct run_options {
    const char *name, *image, *kernel, *initrd, *cmdline, *hypervisor;
    unsigned vcpus;
    uint64_t memory, overlay;
    struct option_list disks, tags, env, entrypoint;
    const char *working_dir;
    struct command_rest cmd;
    struct policy_options policy;
    const char *compress;
    int64_t compress_delay_ns;
    bool no_agent;
};

/* A path for tined, which runs in another directory, or on another host. Owner: caller; NULL and
 * the failure if it is not there, or can't be made absolute from here. */
static char *absolute(const struct cli *cli, const char *path, const char *what,
                      struct failure *failure)
{
    if (cli->host && *path == '/')
        return strdup(path);
    if (cli->host) {
        failure_set(failure, CLI_FAILED, "failed",
                    "%s %s: with --host it must be an absolute path there", what, path);
        return NULL;
    }
    char *real = realpath(path, NULL);
    if (!real)
        failure_set(failure, CLI_FAILED, "failed", "%s %s: %s", what, path, strerror(errno));
    return real;
}

static int add_path(const struct cli *cli, json_t *tine, const char *field, const char *path,
                    struct failure *failure)
{
    if (!path)
        return 0;
    _cleanup_(free) char *real = absolute(cli, path, field, failure);
    if (!real)
        return -1;
    return json_object_set_new(tine, field, json_string(real));
}

/* "PATH[:ro][:root]" */
static json_t *disk_json(const struct cli *cli, const char *text, struct failure *failure)
{
    _cleanup_(free) char *copy = strdup(text);
    bool read_only = false, root = false;
    for (char *colon; copy && (colon = strrchr(copy, ':'));) {
        if (strcmp(colon, ":ro") == 0)
            read_only = true;
        else if (strcmp(colon, ":root") == 0)
            root = true;
        else
            break;
        *colon = '\0';
    }
    _cleanup_(free) char *real = copy ? absolute(cli, copy, "disk", failure) : NULL;
    if (!real)
        return NULL;
    return json_pack("{s:s, s:b, s:b}", "path", real, "read_only", read_only, "root", root);
}

static int add_disks(const struct cli *cli, json_t *tine, const struct option_list *disks,
                     struct failure *failure)
{
    json_t *list = json_array();
    json_object_set_new(tine, "disks", list);
    for (unsigned i = 0; i < disks->count; i++) {
        json_t *disk = disk_json(cli, disks->items[i], failure);
        if (!disk)
            return -1;
        json_array_append_new(list, disk);
    }
    return 0;
}

/* How its memory is kept when it sleeps. */
static int add_snapshot_policy(const struct cli *cli, const struct run_options *options,
                               json_t *body)
{
    if (!options->compress)
        return options->compress_delay_ns > 0
                   ? cli_usage(cli, "--compress-delay: there is no --compress to delay")
                   : CLI_OK;
    char delay[32];
    json_t *policy = json_object();
    snprintf(delay, sizeof(delay), "%" PRId64 "ns", options->compress_delay_ns);
    json_object_set_new(policy, "standby_compression_delay", json_string(delay));
    json_object_set_new(body, "snapshot_policy", policy);
    return compress_add(cli, options->compress, policy);
}

static int add_policies(const struct cli *cli, const struct run_options *options, json_t *body)
{
    int status = policy_options_add(cli, &options->policy, body);
    return status == CLI_OK ? add_snapshot_policy(cli, options, body) : status;
}

static void add_size(json_t *body, const char *field, uint64_t bytes)
{
    char size[32];
    if (bytes == 0)
        return;
    snprintf(size, sizeof(size), "%llu", (unsigned long long)bytes);
    json_object_set_new(body, field, json_string(size));
}

/* The request; NULL and the failure if a file is missing. */
static json_t *request_json(const struct cli *cli, const struct run_options *options,
                            const char *image, struct failure *failure)
{
    _cleanup_(json) json_t *tine = json_object();
    if (add_path(cli, tine, "kernel", options->kernel, failure) < 0 ||
        add_path(cli, tine, "initrd", options->initrd, failure) < 0 ||
        add_disks(cli, tine, &options->disks, failure) < 0)
        return NULL;
    if (options->cmdline)
        json_object_set_new(tine, "cmdline", json_string(options->cmdline));
    json_t *body = json_pack("{s:I, s:b, s:O}", "vcpus", (json_int_t)options->vcpus,
                             "skip_guest_agent", options->no_agent, "tine", tine);
    if (options->name)
        json_object_set_new(body, "name", json_string(options->name));
    if (image)
        json_object_set_new(body, "image", json_string(image));
    if (options->hypervisor)
        json_object_set_new(body, "hypervisor", json_string(options->hypervisor));
    json_t *tags = json_object();
    json_object_set_new(body, "tags", tags);
    if (tags_add(tags, &options->tags, failure) < 0 ||
        program_add(body, &options->entrypoint, &options->cmd, failure) < 0) {
        json_decref(body);
        return NULL;
    }
    if (options->env.count > 0)
        json_object_set_new(body, "env", env_json(&options->env));
    if (options->working_dir)
        json_object_set_new(body, "working_dir", json_string(options->working_dir));
    add_size(body, "size", options->memory);
    add_size(body, "overlay_size", options->overlay);
    return body;
}

static int boot(const struct cli *cli, const struct run_options *options, struct http_call *call)
{
    if (http_run(cli, "booting", call, 1, NULL, NULL) != CLI_OK)
        return cli_fail(cli, options->name, &call->failure);
    struct failure failure = {0};
    program_check(call->reply, &failure);
    if (failure.exit_status != 0)
        return cli_fail(cli, view_text(call->reply, "name"), &failure);
    if (cli->json) {
        json_object_set_new(call->reply, "elapsed_ms", json_real(call->elapsed_ms));
        return cli_print_json(json_incref(call->reply));
    }
    printf("%s  %.12s  %s %6.0f ms\n", view_text(call->reply, "name"), view_text(call->reply, "id"),
           view_text(call->reply, "state"), call->elapsed_ms);
    return CLI_OK;
}

static int run_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct run_options *options = data;
    struct failure failure = {0};
    const char *image = count > 0 ? operands[0] : options->image;
    if (count > 0 && options->image)
        return cli_usage(cli, "the image is given twice: %s and --image %s", operands[0],
                         options->image);
    struct http_call call = {
        .method = "POST",
        .path = strdup("/instances"),
        .body = request_json(cli, options, image, &failure),
    };
    int status = failure.exit_status == 0 ? add_policies(cli, options, call.body)
                                          : cli_fail(cli, options->name, &failure);
    if (status == CLI_OK)
        status = boot(cli, options, &call);
    http_calls_release(&call, 1);
    return status;
}

#define OPTION(member) offsetof(struct run_options, member)

static const struct command_option run_options[] = {
    {"name", 0, OPTION_TEXT, OPTION(name), "NAME", "its name (default: made up)"},
    {"image", 0, OPTION_TEXT, OPTION(image), "IMAGE", "the same as IMAGE"},
    {"overlay-size", 0, OPTION_SIZE, OPTION(overlay), "SIZE",
     "of the disk for what is changed in an imported image (default 10GB)"},
    {"vcpus", 0, OPTION_NUMBER, OPTION(vcpus), "N", "virtual CPUs, 1 to 32 (default 2)"},
    {"memory", 'm', OPTION_SIZE, OPTION(memory), "SIZE", "memory, as 256MB or 2GB (default 1GB)"},
    {"hypervisor", 0, OPTION_TEXT, OPTION(hypervisor), "NAME",
     "builtin (default), or firecracker where tined has one"},
    {"kernel", 0, OPTION_TEXT, OPTION(kernel), "FILE", "boot this kernel instead of an image's"},
    {"initrd", 0, OPTION_TEXT, OPTION(initrd), "FILE", "with this initial RAM file system"},
    {"cmdline", 0, OPTION_TEXT, OPTION(cmdline), "TEXT", "the kernel's command line"},
    {"disk", 0, OPTION_LIST, OPTION(disks), "FILE[:ro][:root]",
     "a disk: a copy of its own, or with :ro shared; may be repeated"},
    {"tag", 0, OPTION_LIST, OPTION(tags), "KEY=VALUE", "a note of yours; may be repeated"},
    {"env", 'e', OPTION_LIST, OPTION(env), "NAME[=VALUE]",
     "a variable of the program's and of every exec; may be repeated"},
    {"workdir", 'w', OPTION_TEXT, OPTION(working_dir), "DIR", "where both run (default /)"},
    {"entrypoint", 0, OPTION_LIST, OPTION(entrypoint), "ARG",
     "a word in front of COMMAND; may be repeated"},
    {"ttl", 0, OPTION_TEXT, OPTION(policy.ttl), "TIME", "delete it after that long: 90m, 24h"},
    {"expires-at", 0, OPTION_TEXT, OPTION(policy.expires_at), "WHEN",
     "delete it then: 2026-01-31T12:00:00Z"},
    {"restart", 0, OPTION_TEXT, OPTION(policy.restart), RESTART_VALUE,
     "never, always, on-failure, or on-failure:5: at most so often"},
    {"compress", 0, OPTION_TEXT, OPTION(compress), COMPRESS_VALUE,
     "compress memory when it sleeps: zstd, levels 1 to 19, or lz4, 0 to 9"},
    {"compress-delay", 0, OPTION_DURATION, OPTION(compress_delay_ns), "TIME",
     "but only after that long (default 0s)"},
    {"no-agent", 0, OPTION_FLAG, OPTION(no_agent), NULL,
     "do not wait for the guest's agent; no exec then"},
};

const struct command run_command = {
    .name = "run",
    .operands = "[IMAGE] [-- COMMAND [ARGUMENT...]]",
    .summary = "Make an instance and boot it",
    .details =
        "Returns when the guest is ready for exec. IMAGE is tine/guest:latest, the guest\n"
        "kit, unless given; tine image ls lists those that were imported. Disks are\n"
        "/dev/vda, /dev/vdb ... in the order given, the one with :root first; with an\n"
        "imported image they begin with /dev/vdc.\n"
        "COMMAND is the main program: its output is in tine logs, and with its end the\n"
        "instance is Stopped, with its exit_code. Without it, and without one of the image's,\n"
        "the guest stays up for exec.\n",
    .examples = "  tine run --name web\n"
                "  tine run debian --name db --overlay-size 40GB\n"
                "  tine run --name big --vcpus 8 --memory 16GB\n"
                "  tine run --name try --ttl 2h --tag team=backend\n"
                "  tine run --kernel vmlinux --disk root.img:root --cmdline 'root=/dev/vda rw'\n"
                "  tine run --name job -e LEVEL=3 -w /srv -- sh -c 'echo level $LEVEL; exit 3'\n",
    .options = run_options,
    .option_count = ARRAY_SIZE(run_options),
    .options_size = sizeof(struct run_options),
    .operands_max = 1,
    .has_rest = true,
    .rest = OPTION(cmd),
    .run = run_run,
};
