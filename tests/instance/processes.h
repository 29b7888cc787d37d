/* SPDX-License-Identifier: Apache-2.0 */
/* What the VMs of the fixture's host did, and which of them are there. */
#ifndef TINE_TESTS_INSTANCE_PROCESSES_H
#define TINE_TESTS_INSTANCE_PROCESSES_H

#include "fixture.h"

#include <stdbool.h>
#include <sys/types.h>

/* If a guest's VMM was ever asked for what holds that text. */
bool guest_was_asked(const struct fixture *fixture, const char *id, const char *what);

/* Hands over every process whose guest directory has a temporary name: a template's, a ready
 * fork's. Returns how many such directories there are. `take` NULL: no process is looked for, which
 * takes a while. */
typedef void process_take(void *context, pid_t pid);
unsigned temporary_each(const struct fixture *fixture, process_take *take, void *context);

/* Deletes all instances; then every VM has ended, those too that nobody knew, or does so. */
void assert_no_vm_left(struct fixture *fixture);

#endif
