/* SPDX-License-Identifier: Apache-2.0 */
/* tine start, stop, standby, restore: one operation on instances by name, all at the same time. */
#include <inttypes.h>
#include <stdio.h>

#include "base/cleanup.h"
#include "cli/batch.h"
#include "cli/command.h"
#include "cli/compress.h"
#include "cli/program.h"

struct start_options {
    struct option_list entrypoint;
    struct command_rest cmd;
};

static int start_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct start_options *options = data;
    _cleanup_(json) json_t *body = json_object();
    struct failure failure = {0};
    if (program_add(body, &options->entrypoint, &options->cmd, &failure) < 0)
        return cli_report(cli, NULL, &failure);
    return batch_over_names(cli, "starting", "POST", "/start", body, operands, count);
}

struct standby_options {
    const char *compress;
    int64_t delay_ns;
};

static int standby_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct standby_options *options = data;
    if (!options->compress)
        return options->delay_ns > 0
                   ? cli_usage(cli, "--compress-delay: there is no --compress to delay")
                   : batch_over_names(cli, "going to standby", "POST", "/standby", NULL, operands,
                                      count);
    _cleanup_(json) json_t *body = json_object();
    int status = compress_add(cli, options->compress, body);
    if (status != CLI_OK)
        return status;
    char delay[32];
    snprintf(delay, sizeof(delay), "%" PRId64 "ns", options->delay_ns);
    json_object_set_new(body, "compression_delay", json_string(delay));
    return batch_over_names(cli, "going to standby", "POST", "/standby", body, operands, count);
}

static int restore_run(const struct cli *cli, const void *options, char **operands, unsigned count)
{
    return batch_over_names(cli, "restoring", "POST", "/restore", NULL, operands, count);
}

struct stop_options {
    int64_t grace_ns;
    bool force;
};

#define GRACE_MAX_MS 600000

static int stop_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct stop_options *options = data;
    int64_t grace_ms = options->force ? 1 : options->grace_ns / 1000000;
    _cleanup_(json) json_t *body = NULL;
    if (grace_ms > GRACE_MAX_MS)
        return cli_usage(cli, "--grace: at most 10m");
    if (grace_ms > 0)
        body = json_pack("{s:{s:I}}", "tine", "grace_ms", (json_int_t)grace_ms);
    return batch_over_names(cli, "stopping", "POST", "/stop", body, operands, count);
}

static const struct command_option start_options[] = {
    {"entrypoint", 0, OPTION_LIST, offsetof(struct start_options, entrypoint), "ARG",
     "a word in front of COMMAND, in place of the present ones; may be repeated"},
};

static const struct command_option standby_options[] = {
    {"compress", 0, OPTION_TEXT, offsetof(struct standby_options, compress), COMPRESS_VALUE,
     "compress memory meanwhile: zstd, levels 1 to 19, or lz4, 0 to 9"},
    {"compress-delay", 0, OPTION_DURATION, offsetof(struct standby_options, delay_ns), "TIME",
     "but only after that long (default 0s)"},
};

static const struct command_option stop_options[] = {
    {"grace", 0, OPTION_DURATION, offsetof(struct stop_options, grace_ns), "TIME",
     "how long the guest may take to power off (default 5s)"},
    {"force", 'f', OPTION_FLAG, offsetof(struct stop_options, force), NULL,
     "end the VM without asking the guest"},
};

const struct command start_command = {
    .name = "start",
    .operands = "NAME... [-- COMMAND [ARGUMENT...]]",
    .summary = "Boot stopped instances",
    .details =
        "Boots from the disks as they were left. One in Standby is woken by restore instead.\n"
        "COMMAND is the main program from now on, in place of the one that it had.\n",
    .examples = "  tine start web\n"
                "  tine start job -- sh -c 'echo once more'\n",
    .options = start_options,
    .option_count = ARRAY_SIZE(start_options),
    .options_size = sizeof(struct start_options),
    .has_rest = true,
    .rest = offsetof(struct start_options, cmd),
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = start_run,
};

const struct command stop_command = {
    .name = "stop",
    .operands = "NAME...",
    .summary = "Power instances off",
    .details = "The guest is asked to power off and has some time for it; then the VM is ended.\n"
               "Disks are kept, memory is not.\n",
    .examples = "  tine stop web db\n"
                "  tine stop --grace 30s db\n",
    .options = stop_options,
    .option_count = ARRAY_SIZE(stop_options),
    .options_size = sizeof(struct stop_options),
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = stop_run,
};

const struct command standby_command = {
    .name = "standby",
    .operands = "NAME...",
    .summary = "Put running instances to sleep",
    .details = "Memory, device state and disks go to disk and the VM ends; restore wakes it where\n"
               "it was. It costs no memory meanwhile, and forks fastest.\n"
               "Compressed, it takes less disk but longer to wake or to fork: for a long sleep.\n",
    .examples = "  tine standby web\n"
                "  tine standby web --compress zstd:3 --compress-delay 10m\n",
    .options = standby_options,
    .option_count = ARRAY_SIZE(standby_options),
    .options_size = sizeof(struct standby_options),
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = standby_run,
};

const struct command restore_command = {
    .name = "restore",
    .operands = "NAME...",
    .summary = "Wake instances from standby",
    .details =
        "They go on where they were, with their memory, under the present time. Returns when\n"
        "the guest is ready for exec. A stopped one is booted by start instead.\n",
    .examples = "  tine restore web\n"
                "  tine restore web-1 web-2 web-3\n",
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = restore_run,
};
