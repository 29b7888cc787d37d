/* SPDX-License-Identifier: Apache-2.0 */
/* tine wait: until an instance is in a state. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli/command.h"
#include "cli/http.h"
#include "cli/instance_view.h"

#define TIMEOUT_NS 60000000000ll
#define CALL_MS    240000 /* tined waits five minutes at most */

struct wait_options {
    const char *state;
    int64_t timeout_ns;
};

/* The states that can be waited for. */
static const char *const states[] = {"Running", "Standby", "Stopped", "Initializing",
                                     "Paused",  "Created", "Shutdown"};

/* As the API spells it; NULL: no such state. */
static const char *state_spelling(const char *text)
{
    for (size_t i = 0; i < ARRAY_SIZE(states); i++) {
        if (strcasecmp(text, states[i]) == 0)
            return states[i];
    }
    return NULL;
}

static json_t *ask(const struct cli *cli, const char *name, const char *state, int left_ms,
                   struct failure *failure)
{
    char query[96], label[96];
    snprintf(query, sizeof(query), "/wait?state=%s&timeout=%dms", state,
             left_ms < CALL_MS ? left_ms : CALL_MS);
    snprintf(label, sizeof(label), "waiting for %s", state);
    _cleanup_(free) char *path = instance_path(name, query);
    return http_get(cli, label, path, failure);
}

/* Asks until it is there, can't get there or the time is over. */
static json_t *wait_for(const struct cli *cli, const char *name, const char *state,
                        int64_t timeout_ns, struct failure *failure)
{
    uint64_t deadline = time_monotonic_ns() + (uint64_t)timeout_ns;
    for (;;) {
        int left_ms = time_left_ms(deadline);
        json_t *reply = ask(cli, name, state, left_ms > 0 ? left_ms : 1, failure);
        bool timed_out = json_is_true(json_object_get(reply, "timed_out"));
        if (!timed_out || left_ms <= CALL_MS)
            return reply;
        json_decref(reply);
    }
}

static int wait_run(const struct cli *cli, const void *data, char **operands, unsigned count)
{
    const struct wait_options *options = data;
    struct failure failure = {0};
    if (!options->state)
        return cli_usage(cli, "--state is needed: what to wait for, as Running");
    const char *state = state_spelling(options->state);
    if (!state)
        return cli_usage(cli,
                         "--state: \"%s\" is not Running, Standby, Stopped, Initializing, Paused, "
                         "Created or Shutdown",
                         options->state);
    int64_t timeout_ns = options->timeout_ns > 0 ? options->timeout_ns : TIMEOUT_NS;
    json_t *reply = wait_for(cli, operands[0], state, timeout_ns, &failure);
    if (!reply)
        return cli_fail(cli, operands[0], &failure);
    char found[32];
    snprintf(found, sizeof(found), "%s", view_text(reply, "state"));
    bool timed_out = json_is_true(json_object_get(reply, "timed_out"));
    if (cli->json)
        cli_print_json(json_incref(reply));
    json_decref(reply);
    if (strcmp(found, state) == 0) {
        if (!cli->json)
            printf("%s\n", found);
        return CLI_OK;
    }
    failure_set(&failure, CLI_FAILED, "failed",
                timed_out ? "the time is over and it is %s, not %s"
                          : "it is %s and does not become %s by itself",
                found, state);
    return cli_report(cli, operands[0], &failure);
}

#define OPTION(member) offsetof(struct wait_options, member)

static const struct command_option wait_options[] = {
    {"state", 's', OPTION_TEXT, OPTION(state), "STATE", "what to wait for: Running, Standby ..."},
    {"timeout", 't', OPTION_DURATION, OPTION(timeout_ns), "TIME",
     "for how long (default 60s), as 90s or 10m"},
};

const struct command wait_command = {
    .name = "wait",
    .operands = "NAME",
    .summary = "Wait until an instance is in a state",
    .details =
        "Prints the state when it is reached. Ends at once, with status 1, if the instance\n"
        "is Stopped, Standby or Unknown and another state is asked for: it does not get\n"
        "there by itself. Status 1 also when the time is over, or the instance is deleted.\n",
    .examples = "  tine wait web --state Running\n"
                "  tine wait web --state Stopped --timeout 10m && tine rm web\n",
    .options = wait_options,
    .option_count = ARRAY_SIZE(wait_options),
    .options_size = sizeof(struct wait_options),
    .operands_min = 1,
    .operands_max = 1,
    .run = wait_run,
};
