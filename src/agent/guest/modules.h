/* SPDX-License-Identifier: Apache-2.0 */
#ifndef TINE_AGENT_GUEST_MODULES_H
#define TINE_AGENT_GUEST_MODULES_H

/* Loads the kernel modules of a flat directory in the order of its file "order" (one file name a
 * line), and removes each: the initramfs is memory. Missing hardware is no error; what else fails
 * is said on the console. */
void modules_load(const char *directory);

#endif
