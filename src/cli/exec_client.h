/* SPDX-License-Identifier: Apache-2.0 */
/* The client's side of an exec connection: standard streams and signals on one side, WebSocket
 * messages on the other. */
#ifndef TINE_CLI_EXEC_CLIENT_H
#define TINE_CLI_EXEC_CLIENT_H

#include <jansson.h>

#include "cli/cli.h"

/* Takes the command's output. */
typedef void exec_output(void *data, bool is_stderr, const char *bytes, size_t length);

struct exec_client_options {
    int fd;                /* the connection, behind the handshake; borrowed */
    const json_t *request; /* the first message, with "tine": {"streams": true} */
    bool stdin_open;       /* forward standard input; else it ends at once */
    bool tty;              /* forward changes of the window's size */
    exec_output *output;
    void *data;
};

/* Runs until the command has ended. Returns its exit status, 0 to 255; or -1 and the failure. */
int exec_client_run(const struct exec_client_options *options, struct failure *failure);

#endif
