/* SPDX-License-Identifier: Apache-2.0 */
/* Inside the room: the order in which a fork's pages were first needed. Its pager publishes it
 * beside the fork's image; here it is handed to whom forks of the same image are made of, and these
 * get it as a link, whichever pager serves them. The file is only ever replaced, never written. */
#ifndef TINE_INSTANCE_FIRST_TOUCHES_H
#define TINE_INSTANCE_FIRST_TOUCHES_H

#include "instance/host.h"

/* Links the record in the fork's base/, if there is one, to the instance that it was forked from
 * and to snapshots, where these still have the image of that cache key. The fork is held for
 * writing. Whoever is in use just then does not get it; what fails is only logged. */
void first_touches_share(struct operation *op, const char *cache_key);

#endif
