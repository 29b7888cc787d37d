/* SPDX-License-Identifier: Apache-2.0 */
/* tine update: change until when instances live, their restart policy, or their tags. */
#include <string.h>

#include "base/cleanup.h"
#include "cli/batch.h"
#include "cli/command.h"
#include "cli/instance_view.h"
#include "cli/policy_options.h"
#include "cli/tag_option.h"

struct update_options {
    struct policy_options policy;
    struct option_list tags, untags;
    bool no_expiry;
};

/* tined takes all tags or none: those that the instance has, but for what is to be other. */
static json_t *tags_json(const struct update_options *options, const json_t *instance,
                         struct failure *failure)
{
    json_t *tags = json_object();
    json_object_update(tags, json_object_get(instance, "tags"));
    for (unsigned i = 0; i < options->untags.count; i++)
        json_object_del(tags, options->untags.items[i]);
    if (tags_add(tags, &options->tags, failure) == 0)
        return tags;
    json_decref(tags);
    return NULL;
}

static int request_json(const struct cli *cli, const struct update_options *options,
                        const char *name, json_t *body)
{
    struct failure failure = {0};
    if (options->tags.count + options->untags.count == 0)
        return CLI_OK;
    _cleanup_(free) char *path = instance_path(name, "");
    _cleanup_(json) json_t *instance = path ? http_get(cli, NULL, path, &failure) : NULL;
    json_t *tags = instance ? tags_json(options, instance, &failure) : NULL;
    if (!tags)
        return cli_fail(cli, name, &failure);
    json_object_set_new(body, "tine", json_pack("{s:o}", "tags", tags));
    return CLI_OK;
}

/* What is the same for all. */
static int common_json(const struct cli *cli, const struct update_options *options, json_t *body)
{
    struct policy_options policy = options->policy;
    if (options->no_expiry && (policy.ttl || policy.expires_at))
        return cli_usage(cli, "--no-expiry excludes --ttl and --expires-at");
    if (options->no_expiry)
        policy.ttl = "0s";
    int status = policy_options_add(cli, &policy, body);
    if (status == CLI_OK && json_object_size(body) == 0 && options->tags.count == 0 &&
        options->untags.count == 0)
        return cli_usage(cli, "there is nothing to change: give --ttl, --expires-at, --no-expiry, "
                              "--restart, --tag or --untag");
    return status;
}

/* Nothing is changed unless all are there. */
static int prepare(const struct cli *cli, const struct update_options *options,
                   const json_t *common, char **names, struct batch *batch)
{
    int status = CLI_OK;
    for (size_t i = 0; i < batch->count && status == CLI_OK; i++) {
        struct http_call *call = &batch->calls[i];
        call->method = "PATCH";
        call->name = names[i];
        call->path = instance_path(names[i], "");
        call->body = json_deep_copy(common);
        status = call->path && call->body ? request_json(cli, options, names[i], call->body)
                                          : CLI_FAILED;
    }
    return status;
}

static int update_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct update_options *options = data;
    _cleanup_(json) json_t *common = json_object();
    int status = common_json(cli, options, common);
    if (status != CLI_OK)
        return status;
    _cleanup_(batch) struct batch *batch = batch_new(cli, count);
    if (!batch)
        return CLI_FAILED;
    batch->label = "updating";
    status = prepare(cli, options, common, operands, batch);
    return status == CLI_OK ? batch_run_all(batch) : status;
}

#define OPTION(member) offsetof(struct update_options, member)

static const struct command_option update_options[] = {
    {"ttl", 0, OPTION_TEXT, OPTION(policy.ttl), "TIME", "delete it after that long from now"},
    {"expires-at", 0, OPTION_TEXT, OPTION(policy.expires_at), "WHEN",
     "delete it then: 2026-01-31T12:00:00Z"},
    {"no-expiry", 0, OPTION_FLAG, OPTION(no_expiry), NULL, "keep it until somebody deletes it"},
    {"restart", 0, OPTION_TEXT, OPTION(policy.restart), RESTART_VALUE,
     "never, always, on-failure, or on-failure:5: at most so often"},
    {"tag", 0, OPTION_LIST, OPTION(tags), "KEY=VALUE", "give it this tag; may be repeated"},
    {"untag", 0, OPTION_LIST, OPTION(untags), "KEY", "take this tag away; may be repeated"},
};

const struct command update_command = {
    .name = "update",
    .operands = "NAME...",
    .summary = "Change until when instances live, or their tags",
    .details =
        "In any state, without a disturbance. Nothing is changed unless all are there. Other\n"
        "tags than those named stay.\n",
    .examples = "  tine update web --ttl 2h\n"
                "  tine update web-1 web-2 --no-expiry --tag team=backend --untag draft\n",
    .options = update_options,
    .option_count = ARRAY_SIZE(update_options),
    .options_size = sizeof(struct update_options),
    .operands_min = 1,
    .operands_max = OPERANDS_ANY,
    .run = update_run,
};
