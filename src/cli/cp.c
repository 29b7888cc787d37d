/* SPDX-License-Identifier: Apache-2.0 */
/* tine cp: files between here and a guest. */
#include "cli/cp.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/command.h"

#define TICK_NS 200000000ull

struct cp_options {
    bool archive, follow;
};

void cp_progress(struct cp *cp, const char *name, uint64_t bytes)
{
    cp->bytes += bytes;
    if (time_monotonic_ns() - cp->shown_ns < TICK_NS)
        return;
    cp->shown_ns = time_monotonic_ns();
    if (name) {
        int n = snprintf(cp->label, sizeof(cp->label), "copying %.100s, %.1f MB", name,
                         (double)cp->bytes / (1 << 20));
        for (int i = 0; i < n && cp->label[i]; i++) {
            if ((unsigned char)cp->label[i] < 0x20 || cp->label[i] == 0x7f)
                cp->label[i] = '?'; /* a guest's file names must not steer the terminal */
        }
    }
    progress_tick(&cp->progress);
}

bool cp_means_content(const char *path)
{
    size_t length = strlen(path);
    return strcmp(path, ".") == 0 || (length >= 2 && strcmp(path + length - 2, "/.") == 0);
}

/* NAME:PATH, whose path is then absolute; a name has no slash, and "./a:b" is a file here. Splits
 * it in place; false if it is a path here. */
static bool guest_operand(char *operand, const char **instance, char **path)
{
    char *colon = strchr(operand, ':');
    if (!colon || operand[0] == '.' || memchr(operand, '/', (size_t)(colon - operand)))
        return false;
    *colon = '\0';
    *instance = operand;
    const char *rest = colon + 1;
    if (asprintf(path, "%s%s", rest[0] == '/' || !rest[0] ? "" : "/", rest) < 0)
        *path = NULL;
    return true;
}

static int signals_open(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t set;
    sigemptyset(&set);
    for (size_t i = 0; i < ARRAY_SIZE(numbers); i++)
        sigaddset(&set, numbers[i]);
    sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static int report(const struct cp *cp)
{
    if (cp->skipped > 0)
        fprintf(stderr, "tine: cp: left out %llu devices, pipes and sockets\n",
                (unsigned long long)cp->skipped);
    if (!cp->cli->json)
        return CLI_OK;
    return cli_print_json(json_pack("{s:I, s:I, s:I, s:I, s:I}", "files", (json_int_t)cp->files,
                                    "directories", (json_int_t)cp->directories, "links",
                                    (json_int_t)cp->links, "skipped", (json_int_t)cp->skipped,
                                    "bytes", (json_int_t)cp->bytes));
}

static int cp_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct cp_options *options = data;
    struct failure failure = {0};
    struct cp cp = {.cli = cli, .archive = options->archive, .follow = options->follow};
    _cleanup_(free) char *from = NULL;
    _cleanup_(free) char *to = NULL;
    bool out = guest_operand(operands[0], &cp.instance, &from);
    bool in = guest_operand(operands[1], &cp.instance, &to);
    if (in == out)
        return cli_usage(cli, "one of the two must be NAME:PATH");
    cp.guest_path = out ? from : to;
    cp.local_path = operands[out ? 1 : 0];
    if (*cp.instance == '\0' || *cp.local_path == '\0' || (cp.guest_path && !*cp.guest_path))
        return cli_usage(cli, "a name and a path are needed");
    if (strcmp(cp.local_path, "-") == 0)
        return cli_usage(cli, "there is no tar stream: use tar with tine exec, or ./- for a file");
    _cleanup_(close) int signals = signals_open();
    cp.signals = signals;
    if (!cp.guest_path || signals < 0)
        failure_set(&failure, CLI_FAILED, "failed", "%s", strerror(ENOMEM));
    snprintf(cp.label, sizeof(cp.label), "copying %.100s", cp.guest_path ? cp.guest_path : "");
    progress_begin(&cp.progress, cp.label, 1);
    int status = failure.exit_status;
    if (status == 0)
        status = out ? cp_out(&cp, &failure) : cp_in(&cp, &failure);
    progress_clear(&cp.progress);
    return status == 0 ? report(&cp) : cli_fail(cli, cp.instance, &failure);
}

#define OPTION(member) offsetof(struct cp_options, member)

static const struct command_option cp_options[] = {
    {"archive", 'a', OPTION_FLAG, OPTION(archive), NULL,
     "keep owners and modes, and times in copies from a guest"},
    {"follow-link", 'L', OPTION_FLAG, OPTION(follow), NULL,
     "copy what symbolic links lead to, not the links"},
};

const struct command cp_command = {
    .name = "cp",
    .operands = "NAME:PATH PATH | PATH NAME:PATH",
    .summary = "Copy files to or from a guest",
    .details =
        "Directories are copied with all that is in them. The copy goes into the destination\n"
        "if that is a directory, onto it if it is a file, else it gets that name. A source\n"
        "that ends in /. means what is in the directory, not itself. Devices, pipes and\n"
        "sockets are left out. A file appears complete or not at all; when a copy fails, the\n"
        "files that were complete by then stay.\n",
    .examples = "  tine cp web:/var/log/app.log .\n"
                "  tine cp -a web:/srv ./backup\n"
                "  tine cp ./src/. web:/srv/app\n",
    .options = cp_options,
    .option_count = ARRAY_SIZE(cp_options),
    .options_size = sizeof(struct cp_options),
    .operands_min = 2,
    .operands_max = 2,
    .run = cp_run,
};
