/* SPDX-License-Identifier: Apache-2.0 */
/* A guest's files: a real agent on a unix socket, behind a double of the VMM's vsock socket. Paths
 * that begin with /hostile/ are answered by a script instead (the last part is its name):
 *   old       an agent that does not know the request
 *   garble    no frame              hangup    closes at once
 *   deaf      reads nothing until the host closes
 *   early     says OK before the put's end
 *   dots      a file ../evil        absolute  a file /tmp/evil
 *   stray     a second root         latin     a name that is not UTF-8
 *   long      more content than announced     short     less
 *   cut       closes in the middle  unended   says OK in the middle
 *   endless   content for ever, of a file of 2^62 bytes
 *   link      a tree with a link "out" to /tmp, and then a file below it: for clients */
#ifndef TINE_TESTS_API_DOUBLE_GUEST_H
#define TINE_TESTS_API_DOUBLE_GUEST_H

void double_guest_start(const char *data_dir);
void double_guest_stop(void);
/* The VMM's socket, for the agent's client. */
const char *double_guest_vsock(void);

#endif
