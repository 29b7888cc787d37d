/* SPDX-License-Identifier: Apache-2.0 */
/* The option --compress of standby and snapshot create. */
#ifndef TINE_CLI_COMPRESS_H
#define TINE_CLI_COMPRESS_H

#include "cli/cli.h"

#define COMPRESS_VALUE "ALGORITHM[:LEVEL]"

/* Adds what "zstd", "lz4:3" and the like ask for to a request's body; tined knows which algorithms
 * and levels there are. NULL: nothing is added. Returns CLI_OK or CLI_USAGE. */
int compress_add(const struct cli *cli, const char *text, json_t *body);

#endif
