/* SPDX-License-Identifier: Apache-2.0 */
/* File systems on loop devices, for tests that need real ones. */
#ifndef TINE_TESTS_STACK_LOOP_H
#define TINE_TESTS_STACK_LOOP_H

#include <stddef.h>

/* Runs a program, silently, and asserts that it succeeds. */
void program_run(const char *const *argv);
/* A loop device over the file, which clears itself with its last user; returns a descriptor, its
 * path in `path`. The file needs no name. */
int loop_attach(int backing, char *path, size_t size);

#endif
