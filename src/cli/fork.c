/* SPDX-License-Identifier: Apache-2.0 */
/* tine fork: one instance becomes many, all requested at the same time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "cli/batch.h"
#include "cli/command.h"
#include "cli/instance_view.h"

#define COUNT_MAX 10000

struct fork_options {
    const char *name, *prefix, *target;
    unsigned count;
    bool from_running;
};

/* A list of names to give; owned. */
struct names {
    char **items;
    size_t count;
};

static void names_release(struct names *names)
{
    for (size_t i = 0; i < names->count; i++)
        free(names->items[i]);
    free(names->items);
}

static bool is_taken(const json_t *instances, const char *name)
{
    size_t i;
    json_t *instance;
    json_array_foreach((json_t *)instances, i, instance)
    {
        if (strcmp(view_text(instance, "name"), name) == 0)
            return true;
    }
    return false;
}

/* PREFIX-1, PREFIX-2 ...; those in `instances` are skipped. */
static int names_number(struct names *names, const char *prefix, unsigned count,
                        const json_t *instances)
{
    names->items = calloc(count, sizeof(*names->items));
    for (unsigned number = 1; names->items && names->count < count; number++) {
        char *name;
        if (asprintf(&name, "%s-%u", prefix, number) < 0)
            return -1;
        if (is_taken(instances, name))
            free(name);
        else
            names->items[names->count++] = name;
    }
    return names->items ? 0 : -1;
}

/* Without a name or prefix: the source's name and the lowest free numbers. */
static int names_from_source(const struct cli *cli, struct names *names, const char *source,
                             unsigned count, struct failure *failure)
{
    _cleanup_(free) char *path = instance_path(source, "");
    _cleanup_(json) json_t *instance = http_get(cli, NULL, path, failure);
    if (!instance)
        return -1;
    _cleanup_(json) json_t *list = http_get(cli, NULL, "/instances", failure);
    if (!list)
        return -1;
    return names_number(names, view_text(instance, "name"), count, list);
}

static int names_choose(const struct cli *cli, const struct fork_options *options,
                        const char *source, struct names *names, struct failure *failure)
{
    unsigned count = options->count > 0 ? options->count : 1;
    if (options->name) {
        names->items = calloc(1, sizeof(*names->items));
        if (!names->items || !(names->items[0] = strdup(options->name)))
            return -1;
        names->count = 1;
        return 0;
    }
    if (options->prefix)
        return names_number(names, options->prefix, count, NULL);
    return names_from_source(cli, names, source, count, failure);
}

static struct batch *batch_make(const struct cli *cli, const struct fork_options *options,
                                const char *target, const char *source, const struct names *names)
{
    struct batch *batch = batch_new(cli, names->count);
    if (!batch)
        return NULL;
    batch->label = "forking";
    batch->subject = source;
    for (size_t i = 0; i < names->count; i++) {
        struct http_call *call = &batch->calls[i];
        call->method = "POST";
        call->name = names->items[i];
        call->path = instance_path(source, "/fork");
        call->body =
            json_pack("{s:s, s:b}", "name", names->items[i], "from_running", options->from_running);
        if (target)
            json_object_set_new(call->body, "target_state", json_string(target));
    }
    return batch;
}

static void print_summary(const struct batch *batch, const char *source)
{
    size_t ready = batch->count - batch->failed;
    if (batch->count < 2)
        return;
    fflush(stdout);
    fprintf(stderr, "%zu of %zu forks of %s ready in %.2f s\n", ready, batch->count, source,
            batch->elapsed_ms / 1000);
}

/* The API's spelling of a state, whatever the case; NULL if it is none that a fork can have. */
static const char *target_spelling(const char *text)
{
    static const char *const states[] = {"Running", "Standby", "Stopped"};
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        if (strcasecmp(text, states[i]) == 0)
            return states[i];
    }
    return NULL;
}

static int fork_all(const struct cli *cli, const struct fork_options *options, const char *target,
                    const char *source, const struct names *names)
{
    _cleanup_(batch) struct batch *batch = batch_make(cli, options, target, source, names);
    if (!batch)
        return CLI_FAILED;
    json_t *summary = NULL;
    int status = batch_run(batch, &summary);
    if (summary) {
        json_object_set_new(summary, "source", json_string(source));
        json_object_set_new(summary, "requested", json_integer((json_int_t)batch->count));
        cli_print_json(summary);
    } else {
        print_summary(batch, source);
    }
    return status;
}

static int fork_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct fork_options *options = data;
    const char *target = options->target ? target_spelling(options->target) : NULL;
    if (options->target && !target)
        return cli_usage(cli, "--target-state: \"%s\" is not Running, Standby or Stopped",
                         options->target);
    if (options->name && (options->count > 1 || options->prefix))
        return cli_usage(cli, "--name is for one fork; --name-prefix names several");
    if (options->count > COUNT_MAX)
        return cli_usage(cli, "--count: at most %d", COUNT_MAX);
    struct names names = {0};
    struct failure failure = {0};
    int status;
    if (names_choose(cli, options, operands[0], &names, &failure) < 0) {
        if (failure.exit_status == 0)
            failure_set(&failure, CLI_FAILED, "failed", "out of memory");
        status = cli_fail(cli, operands[0], &failure);
    } else {
        status = fork_all(cli, options, target, operands[0], &names);
    }
    names_release(&names);
    return status;
}

#define OPTION(member) offsetof(struct fork_options, member)

static const struct command_option fork_options[] = {
    {"count", 'n', OPTION_NUMBER, OPTION(count), "N", "how many forks (default 1)"},
    {"name", 0, OPTION_TEXT, OPTION(name), "NAME", "the name of the one fork"},
    {"name-prefix", 0, OPTION_TEXT, OPTION(prefix), "P", "call the forks P-1, P-2 ..."},
    {"from-running", 0, OPTION_FLAG, OPTION(from_running), NULL,
     "fork a running source: it sleeps for a moment and goes on"},
    {"target-state", 0, OPTION_TEXT, OPTION(target), "STATE",
     "Running, Standby or Stopped (default: the source's state)"},
};

const struct command fork_command = {
    .name = "fork",
    .operands = "SOURCE",
    .summary = "Make independent copies of an instance",
    .details = "A fork has its source's memory and disks at this moment and its own identity, and\n"
               "owns all its files: the source may be deleted at any time. Forks are made at the\n"
               "same time, one line each as it gets ready. Without a name or prefix they take the\n"
               "source's name and the lowest free numbers. If some fail, the others stay, each\n"
               "failure is told, and the exit status is not 0.\n",
    .examples = "  tine standby web && tine fork web --count 25 --target-state Running\n"
                "  tine fork web --name web-test --from-running\n"
                "  tine fork web --count 3 --name-prefix job --target-state Standby\n"
                "  tine fork web --count 25 --json | jq '.instances[].elapsed_ms'\n",
    .options = fork_options,
    .option_count = ARRAY_SIZE(fork_options),
    .options_size = sizeof(struct fork_options),
    .operands_min = 1,
    .operands_max = 1,
    .run = fork_run,
};
