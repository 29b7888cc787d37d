/* SPDX-License-Identifier: Apache-2.0 */
/* Something to read at the beginning of an owner's writable disk, a stack or one file. */
#ifndef TINE_TESTS_INSTANCE_DISK_TEXT_H
#define TINE_TESTS_INSTANCE_DISK_TEXT_H

#include "fixture.h"

/* Writes and flushes, as an instance's guest would. */
void disk_write_text(const struct fixture *fixture, const char *id, const char *text);
/* `disks` is an owner's directory of disks. */
void disk_assert_text(const struct path *disks, const char *text);

#endif
