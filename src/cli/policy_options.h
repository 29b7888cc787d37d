/* SPDX-License-Identifier: Apache-2.0 */
/* The options of run and update about what an instance is to do by itself. */
#ifndef TINE_CLI_POLICY_OPTIONS_H
#define TINE_CLI_POLICY_OPTIONS_H

#include "cli/cli.h"

#define RESTART_VALUE "POLICY[:MAX]"

/* Texts as they were given; NULL: not. */
struct policy_options {
    const char *ttl, *expires_at, *restart;
};

/* Adds what they ask for to a request's body; tined knows what is a duration and a time. Returns
 * CLI_OK or CLI_USAGE. */
int policy_options_add(const struct cli *cli, const struct policy_options *options, json_t *body);

#endif
