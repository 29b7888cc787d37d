/* SPDX-License-Identifier: Apache-2.0 */
/* A tined (with the double behind it) of a test's own, in a directory of its own. */
#ifndef TINE_TESTS_API_DAEMON_H
#define TINE_TESTS_API_DAEMON_H

#include <stddef.h>
#include <sys/types.h>

struct daemon {
    pid_t pid;
    char dir[128];    /* temporary */
    char socket[160]; /* dir/tined.sock */
    char data[160];   /* dir/data */
    char config[160]; /* dir/tined.conf, empty unless the test writes it */
};

/* Makes the directory and starts `program` there, with the extra arguments; waits until it
 * answers. */
void daemon_start(struct daemon *daemon, const char *program, const char *const *arguments);
/* Only the process again, in the same directory. */
void daemon_spawn(struct daemon *daemon, const char *program, const char *const *arguments);
/* SIGTERM; fails the test unless it exits with 0 (a leak found by a sanitizer is another status).
 */
void daemon_terminate(struct daemon *daemon);
/* Terminates it and removes the directory. */
void daemon_stop(struct daemon *daemon);
/* Waits until the daemon has logged the text. Returns what follows it on its line (owner: caller).
 */
char *daemon_await_log(const struct daemon *daemon, const char *text);
/* The port of 127.0.0.1 that it serves, for a tined with "--listen 127.0.0.1:0"; waits for it. */
unsigned daemon_port(const struct daemon *daemon);
/* Waits for the process and returns its exit status, 128 + N for a signal. */
int daemon_reap(struct daemon *daemon);

/* Runs the program to its end; what it printed lands in `output`. Returns its exit status, 128 + N
 * for a signal. */
int program_output(const char *program, const char *const *arguments, char *output, size_t size);

#endif
