/* SPDX-License-Identifier: Apache-2.0 */
/* Commands in the fixture's agent, and what comes of them. */
#ifndef TINE_TESTS_AGENT_COMMAND_H
#define TINE_TESTS_AGENT_COMMAND_H

#include "fixture.h"

#include <stdbool.h>

#include "agent/client.h"

/* From its start to its end; fails if it could not be asked for. */
struct agent_result command_run(struct fixture *fixture, const struct agent_exec *exec);
struct agent_result shell_run(struct fixture *fixture, const char *script);
void result_free(struct agent_result *result);

/* The connection of a command that has begun. */
int shell_start(struct fixture *fixture, const char *script, bool tty);
void send_frame(int fd, uint8_t type, const void *payload, size_t length);

/* What comes until EXIT, which is told; output beyond the buffer is only counted. */
struct outcome {
    char text[4096];
    size_t length, total;
    int code, signal;
};
/* Until EXIT; closes the connection. */
void outcome_finish(int fd, struct outcome *outcome);
/* Until that text has come. */
void outcome_await(int fd, struct outcome *outcome, const char *text);

/* Waits for its end. */
void assert_process_goes(pid_t pid);

#endif
