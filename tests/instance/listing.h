/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_TESTS_INSTANCE_LISTING_H
#define TINE_TESTS_INSTANCE_LISTING_H

/* Every name below a directory, sorted, one per line, with the type and, for regular files, the
 * link count: what must be the same before and after something that failed. Logs are left out, and
 * what is in run/: a VMM's sockets. Owner: caller. */
char *listing(const char *path);

#endif
