/* SPDX-License-Identifier: Apache-2.0 */
/* What tined is told: defaults, then the configuration file, then the command line. */
#ifndef TINE_API_OPTIONS_H
#define TINE_API_OPTIONS_H

#include <stdbool.h>
#include <sys/types.h>

#include "api/token_secret.h"
#include "base/error.h"
#include "base/log.h"
#include "instance/instance.h"
#include "stack/compression.h"

#define DEFAULT_CONFIG "/etc/tine/tined.conf"
#define OPTIONS_MAX    40

struct tined_options {
    const char *config; /* NULL: DEFAULT_CONFIG if it is there */
    const char *data_dir, *socket;
    const char *listen;                           /* HOST:PORT, or NULL: no TCP */
    const char *vmm, *kit;                        /* NULL: to be located */
    const char *firecracker, *firecracker_jailer; /* NULL: none */
    struct user_option {
        bool given;
        uid_t uid;
        gid_t gid;
    } firecracker_user; /* with the jailer, and only with it */
    const char *token_secret_file;
    struct token_secret token_secret; /* of the configuration file or of that file; may be empty */
    struct compression_option {
        bool given;
        struct stack_compression how;
    } compression;              /* of memory images, by default */
    struct pager_options pager; /* its binary NULL: to be located */
    enum standby_memory standby_memory;
    struct compaction_options compaction;
    struct warm_options warm;
    unsigned agent_timeout_ms;
    unsigned request_timeout_s;
    unsigned stop_timeout_ms;
    unsigned max_connections;
    enum log_level log_level;
    enum log_format log_format;
    bool version, help;
    char *values[OPTIONS_MAX]; /* of the configuration file, owned: the texts above point there */
};

/* Fills in defaults, then what the configuration file says, then what the arguments say.
 * ERROR_INVALID names the argument, or the file and line. tined_options_release() in every case. */
int tined_options_parse(struct tined_options *options, int argc, char **argv, struct error *err);
void tined_options_release(struct tined_options *options);

/* The help text on standard output. */
void tined_options_help(void);

#endif
