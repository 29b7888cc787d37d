/* SPDX-License-Identifier: Apache-2.0 */
/* The main program of an instance, on a command line: --entrypoint, --env, and what is behind "--".
 */
#ifndef TINE_CLI_PROGRAM_H
#define TINE_CLI_PROGRAM_H

#include <jansson.h>

#include "cli/cli.h"
#include "cli/command.h"

/* -e NAME=VALUE, or -e NAME for the value it has here: an object of strings. */
json_t *env_json(const struct option_list *list);
/* Into a request's body: entrypoint and cmd, where they are given. -1 and the failure if they are
 * no text. */
int program_add(json_t *body, const struct option_list *entrypoint, const struct command_rest *cmd,
                struct failure *failure);
/* An instance that was to run and is Stopped: its program could not be started, which is a failure.
 */
void program_check(const json_t *instance, struct failure *failure);

#endif
