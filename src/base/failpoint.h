/* SPDX-License-Identifier: Apache-2.0 */
/* Named places where a test can make a process die or fail. TINE_FAILPOINT holds a comma-separated
 * list: "name" kills the process there with SIGKILL, "name=ENOSPC" makes failpoint() return that
 * errno. Without the variable a failpoint costs one load and one branch. */
#ifndef TINE_BASE_FAILPOINT_H
#define TINE_BASE_FAILPOINT_H

/* Returns 0, or a negative errno that the caller must treat as if the next step had failed so. */
int failpoint(const char *name);

#endif
