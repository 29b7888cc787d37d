/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of tine-vmm: `--flag` or `--flag value`, never `--flag=value`; each flag at most
 * once; a value does not begin with "--". */
#ifndef TINE_VMM_OPTIONS_H
#define TINE_VMM_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/log.h"

#define OPTIONS_DEFAULT_SOCKET "/run/firecracker.socket"
#define OPTIONS_DEFAULT_ID     "anonymous-instance"

struct options {
    const char *api_socket;
    const char *id;
    const char *log_path; /* NULL: standard error */
    enum log_level level;
    size_t body_limit;             /* bytes */
    const char *describe_snapshot; /* NULL: not asked for */
    bool version, snapshot_version, help;
};

/* Strings are borrowed from `argv`. ERROR_INVALID naming the argument. */
int options_read(struct options *options, int argc, char **argv, struct error *err);

extern const char options_help[];

#endif
