/* SPDX-License-Identifier: Apache-2.0 */
/* What an older layout may have left: a fork whose snapshot/memory or snapshot/state is a symbolic
 * link to its source's file. Such a file is not its owner's (R1), so nobody wakes from it, links it
 * or follows it. */
#ifndef TINE_INSTANCE_MEMORY_LINK_H
#define TINE_INSTANCE_MEMORY_LINK_H

#include "instance/owner.h"

/* `snapshot` is the owner's snapshot/. ERROR_STATE names the link, its target and what can still be
 * done with the owner. */
int memory_link_refuse(const struct owner *owner, int snapshot, struct error *err);
/* 1: snapshot/memory is a link; 0: it is a file, or not there. */
int memory_link_find(int snapshot, struct error *err);

#endif
