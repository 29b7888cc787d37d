/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_CLI_COMPLETE_H
#define TINE_CLI_COMPLETE_H

#include "cli/cli.h"

/* Prints what may stand in place of the last word, one candidate a line, given the words behind
 * "tine": commands, options, their values, names of instances if tined answers. Nothing is printed
 * where files are meant or nothing is known. */
void complete_print(const struct cli *cli, char **words, unsigned count);

#endif
