/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_PAGER_OPTIONS_H
#define TINE_PAGER_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/log.h"

struct options {
    const char *run_dir;
    unsigned threads;
    uint64_t cache_bytes;
    enum log_level level;
    enum log_format format;
    bool help, version;
};

/* Strings are borrowed from `argv`. ERROR_INVALID naming the argument. */
int options_read(struct options *options, int argc, char **argv, struct error *err);

extern const char options_help[];

#endif
