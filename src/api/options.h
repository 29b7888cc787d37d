/* SPDX-License-Identifier: Apache-2.0 */
/* tined's command line. */
#ifndef TINE_API_OPTIONS_H
#define TINE_API_OPTIONS_H

#include <stdbool.h>

#include "base/error.h"
#include "base/log.h"

struct tined_options {
    const char *data_dir, *socket;
    const char *vmm, *kit; /* NULL: to be located */
    unsigned agent_timeout_ms;
    unsigned request_timeout_s;
    enum log_level log_level;
    enum log_format log_format;
    bool version, help;
};

/* Fills in defaults, then what the arguments say. ERROR_INVALID names the argument. */
int tined_options_parse(struct tined_options *options, int argc, char **argv, struct error *err);

/* The help text on standard output. */
void tined_options_help(void);

#endif
