/* SPDX-License-Identifier: Apache-2.0 */
/* Guest directories and other helpers for the tests of this room. Mounts are private to the test
 * process, and /run is an empty tmpfs of its own. */
#ifndef TINE_TESTS_HYPERVISOR_SUPPORT_H
#define TINE_TESTS_HYPERVISOR_SUPPORT_H

#include <stdbool.h>
#include <stddef.h>

#include "hypervisor/hypervisor.h"

/* A copy of the fake VMM that is called firecracker-VERSION; owner: caller. */
char *firecracker_make(const char *fake_vmm, const char *version);
void firecracker_remove(char *path);

int support_start(void **state);
int support_stop(void **state);

/* A fresh guest directory with boot/kernel, disks/, run/ and log/; owner: caller. */
char *guest_make(void);
void guest_remove(char *guest);
/* "<guest>/<name>"; one static buffer per call site is enough for a test. */
const char *in_guest(const char *guest, const char *name);

void write_file(const char *path, const char *text);
char *read_file(const char *path); /* owner: caller; "" if it is not there */
/* Waits until the file holds `text` somewhere; fails after ten seconds. */
char *await_text(const char *path, const char *text);

/* Asserts that this process has no child left, running or zombie. */
void assert_no_children(void);
bool contains(const char *text, const char *part);

#endif
