/* SPDX-License-Identifier: Apache-2.0 */
/* Small files that tests make and look at. */
#ifndef TINE_TESTS_BASE_FILES_H
#define TINE_TESTS_BASE_FILES_H

#include <sys/types.h>

/* "directory/name", in static buffers in turn, so that one line may use several. */
const char *path_in(const char *directory, const char *name);
void write_file(const char *path, const char *text, mode_t mode);
void assert_content(const char *path, const char *text);
/* Waits until nothing but `name` is in the directory, whatever begins with a dot aside. */
void await_alone(const char *directory, const char *name);

#endif
