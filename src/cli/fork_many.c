/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/fork_many.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "cli/batch.h"
#include "cli/instance_view.h"

#define COUNT_MAX 10000

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

/* Without a name or prefix: `base` and the lowest free numbers. */
static int names_free(const struct cli *cli, struct names *names, const char *base, unsigned count,
                      struct failure *failure)
{
    _cleanup_(json) json_t *list = http_get(cli, NULL, "/instances", failure);
    return list ? names_number(names, base, count, list) : -1;
}

static int names_choose(const struct cli *cli, const struct fork_options *options,
                        const struct fork_source *source, struct names *names,
                        struct failure *failure)
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
    return names_free(cli, names, source->base, count, failure);
}

static struct batch *batch_make(const struct cli *cli, const struct fork_options *options,
                                const char *target, const struct fork_source *source,
                                const struct names *names)
{
    struct batch *batch = batch_new(cli, names->count);
    if (!batch)
        return NULL;
    batch->label = "forking";
    batch->subject = source->subject;
    for (size_t i = 0; i < names->count; i++) {
        struct http_call *call = &batch->calls[i];
        call->method = "POST";
        call->name = names->items[i];
        call->path = strdup(source->path);
        call->body = json_pack("{s:s}", "name", names->items[i]);
        if (options->from_running)
            json_object_set_new(call->body, "from_running", json_true());
        if (target)
            json_object_set_new(call->body, "target_state", json_string(target));
        if (options->hypervisor)
            json_object_set_new(call->body, "target_hypervisor", json_string(options->hypervisor));
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

const char *target_spelling(const char *text)
{
    static const char *const states[] = {"Running", "Standby", "Stopped"};
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        if (strcasecmp(text, states[i]) == 0)
            return states[i];
    }
    return NULL;
}

static int fork_all(const struct cli *cli, const struct fork_options *options,
                    const struct fork_source *source, const struct names *names)
{
    const char *target = options->target ? target_spelling(options->target) : NULL;
    _cleanup_(batch) struct batch *batch = batch_make(cli, options, target, source, names);
    if (!batch)
        return CLI_FAILED;
    json_t *summary = NULL;
    int status = batch_run(batch, &summary);
    if (summary) {
        json_object_set_new(summary, "source", json_string(source->subject));
        json_object_set_new(summary, "requested", json_integer((json_int_t)batch->count));
        cli_print_json(summary);
    } else {
        print_summary(batch, source->subject);
    }
    return status;
}

int fork_check(const struct cli *cli, const struct fork_options *options)
{
    if (options->target && !target_spelling(options->target))
        return cli_usage(cli, "--target-state: \"%s\" is not Running, Standby or Stopped",
                         options->target);
    if (options->name && (options->count > 1 || options->prefix))
        return cli_usage(cli, "--name is for one fork; --name-prefix names several");
    if (options->count > COUNT_MAX)
        return cli_usage(cli, "--count: at most %d", COUNT_MAX);
    return CLI_OK;
}

int fork_many(const struct cli *cli, const struct fork_options *options,
              const struct fork_source *source)
{
    struct names names = {0};
    struct failure failure = {0};
    int status;
    if (names_choose(cli, options, source, &names, &failure) < 0) {
        if (failure.exit_status == 0)
            failure_set(&failure, CLI_FAILED, "failed", "out of memory");
        status = cli_fail(cli, source->subject, &failure);
    } else {
        status = fork_all(cli, options, source, &names);
    }
    names_release(&names);
    return status;
}
