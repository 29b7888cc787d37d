/* SPDX-License-Identifier: Apache-2.0 */
/* A daemon for each test of a group, as cmocka's set-up and teardown: its state. */
#ifndef TINE_TESTS_API_DAEMON_FIXTURE_H
#define TINE_TESTS_API_DAEMON_FIXTURE_H

#include "daemon.h"

/* The program that is started, for the whole group. */
void daemon_program_set(const char *path);
const char *daemon_program(void);

int daemon_setup(void **state);
/* With an instance "vm", Running. */
int daemon_setup_vm(void **state);
int daemon_teardown(void **state);

#endif
