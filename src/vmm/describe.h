/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_VMM_DESCRIBE_H
#define TINE_VMM_DESCRIBE_H

#include <stdio.h>

#include "base/error.h"

/* Prints what the state file at `path` holds, for people: machine, configuration, each section with
 * its size. Checks it as a load would, as far as that goes without KVM. */
int snapshot_describe(const char *path, FILE *out, struct error *err);

#endif
